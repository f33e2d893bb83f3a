# SPDX-License-Identifier: Apache-2.0

"""The rows of the fault matrix that a simulation can show (level D).

A story says ``rows F03`` among its events; a kind of random fault has its
rows here. What is left is listed by ``tools/simulate --report``.
"""

from collections.abc import Iterable

LEVEL_D = {
    'F01': 'host power loss',
    'F02': 'kernel hang with a living BMC',
    'F03': 'nova-compute dead, guests fine',
    'F04': 'libvirtd dead, guests fine',
    'F05': 'heartbeat publisher dead',
    'F06': 'management network cut',
    'F07': 'storage path lost on one host',
    'F08': 'tenant network lost',
    'F09': 'asymmetric partition',
    'F10': 'rack or zone partition',
    'F11': 'all heartbeats vanish',
    'F12': 'faults of the message bus',
    'F13': 'faults of the database',
    'F14': 'telemetry lags',
    'F15': 'alarm evaluator down, slow or twice',
    'F16': 'duplicate alarm notifications',
    'F17': 'alarm flapping',
    'F18': 'late alarm',
    'F19': 'controller crash at each step',
    'F20': 'two controllers active',
    'F25': 'no valid host',
    'F26': 'target dies during evacuation',
    'F28': 'storage or image slow',
    'F29': 'fencing device faults',
    'F30': 'all fencing devices away',
    'F31': 'fence reboots instead of switching off',
    'F32': 'host returns in the middle of an evacuation',
    'F33': 'clock skew and jumps',
    'F34': 'mass failure',
    'F35': 'slow (gray) host',
    'F36': 'slow observer',
    'F38': 'operator acts in the middle of an incident',
    'F41': 'scale',
    'F42': 'poison server',
    'F46': 'cell or edge site cut off',
    'F47': 'everything restarts at once',
    'F48': 'two HA systems fence',
}

# What has no story of its own: every story is played this way.
BY_METHOD = {
    'F19': 'every story is killed before and after each side effect',
}


def covered(told: Iterable[str]) -> tuple[str, ...]:
    """Return the rows of level D that were told, or that a method covers."""
    found = {*told, *BY_METHOD}
    return tuple(row for row in LEVEL_D if row in found)


def missing(told: Iterable[str]) -> tuple[str, ...]:
    """Return the rows of level D that nothing covers."""
    found = covered(told)
    return tuple(row for row in LEVEL_D if row not in found)
