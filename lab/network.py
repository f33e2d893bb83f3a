# SPDX-License-Identifier: Apache-2.0
"""The networks of a lab: bridges in its own namespace, a cable per host.

Nothing of it touches the namespace of the machine. A namespace of a host
outlives its power, as a rack outlives it.
"""

import ctypes
import os
import pathlib
import signal
import subprocess
import time

from lab import plan as planning

# <sched.h>
CLONE_NEWNET = 0x40000000

# A killed QEMU gives its memory back first.
_PATIENCE = 20.0

Machine = planning.Host | planning.Engine

_SHORT = {'management': 'mgmt', 'storage': 'stor', 'tenant': 'tenant'}


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise planning.LabError(
            f"'{' '.join(argv)}' failed: {done.stderr.strip()}. Namespaces "
            'and bridges need root.'
        )
    return done.stdout


def exists(namespace: str) -> bool:
    return pathlib.Path('/run/netns', namespace).exists()


def enter(namespace: str) -> None:
    """Move this thread, and those it starts, into a network namespace."""
    try:
        descriptor = os.open(f'/run/netns/{namespace}', os.O_RDONLY)
    except FileNotFoundError:
        raise planning.LabError(
            f"The lab is not up: there is no network namespace '{namespace}'. "
            "'lab up' makes a new lab; the logs of this one go with it."
        ) from None
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise planning.LabError(
                f"The network namespace '{namespace}' cannot be entered: "
                f'{os.strerror(ctypes.get_errno())}'
            )
    finally:
        os.close(descriptor)


def up(plan: planning.Plan) -> None:
    """Make the namespaces, bridges and cables of a lab."""
    control = plan.namespace
    _run('ip', 'netns', 'add', control)
    _run('ip', '-n', control, 'link', 'set', 'lo', 'up')
    for network, prefix in planning.NETWORKS.items():
        bridge = f'br-{_SHORT[network]}'
        _run('ip', '-n', control, 'link', 'add', bridge, 'type', 'bridge')
        _run(
            'ip', '-n', control, 'address', 'add', f'{prefix}.1/24',
            'dev', bridge,
        )  # fmt: skip
        _run('ip', '-n', control, 'link', 'set', bridge, 'up')
    for host in plan.hosts:
        _run(
            'ip', '-n', control, 'address', 'add', f'{host.bmc_address}/32',
            'dev', 'lo',
        )  # fmt: skip
        _add(plan, plan.host_namespace(host), host)
    for number in range(plan.engines):
        add_engine(plan, planning.Engine(number + 1))


def add_engine(plan: planning.Plan, engine: planning.Engine) -> None:
    """Make the namespace and the cables of an engine, unless they exist."""
    inner = plan.engine_namespace(engine)
    if exists(inner):
        return
    _add(plan, inner, engine)
    # As a controller reaches the BMCs: over a router.
    _run(
        'ip', '-n', inner, 'route', 'add', f'{planning.OUT_OF_BAND}.0/24',
        'via', planning.CONTROLLER,
    )  # fmt: skip


def _add(plan: planning.Plan, inner: str, host: Machine) -> None:
    control = plan.namespace
    _run('ip', 'netns', 'add', inner)
    _run('ip', '-n', inner, 'link', 'set', 'lo', 'up')
    for network in planning.NETWORKS:
        short = _SHORT[network]
        outer, inside = cable(host, network), card(network)
        _run(
            'ip', '-n', control, 'link', 'add', outer, 'type', 'veth',
            'peer', 'name', inside, 'netns', inner,
        )  # fmt: skip
        _run(
            'ip', '-n', control, 'link', 'set', outer, 'master',
            f'br-{short}', 'up',
        )  # fmt: skip
        _run(
            'ip', '-n', inner, 'address', 'add',
            f'{host.address(network)}/24', 'dev', inside,
        )  # fmt: skip
        _run('ip', '-n', inner, 'link', 'set', inside, 'up')


def cable(host: Machine, network: str) -> str:
    """Return the controller's end of a machine's cable."""
    name = host.cable if isinstance(host, planning.Engine) else host.name
    return f'{_SHORT[network]}-{name}'


def card(network: str) -> str:
    """Return the machine's end of its cable."""
    return f'{_SHORT[network]}0'


def set_link(
    plan: planning.Plan, host: planning.Host, network: str, up: bool
) -> None:
    """Plug a host's cable in or pull it; nothing else of it changes."""
    if network not in planning.NETWORKS:
        raise planning.LabError(
            f"There is no network '{network}', only "
            f'{", ".join(planning.NETWORKS)}'
        )
    _run(
        'ip', '-n', plan.namespace, 'link', 'set', cable(host, network),
        'up' if up else 'down',
    )  # fmt: skip


def link_is_up(plan: planning.Plan, host: planning.Host, network: str) -> bool:
    shown = _run(
        'ip', '-n', plan.namespace, '-oneline', 'link', 'show',
        cable(host, network),
    )  # fmt: skip
    return ',UP' in shown.partition('>')[0]


def set_cards(plan: planning.Plan, host: planning.Host, up: bool) -> None:
    """Give the network cards of a host power, or take it from them.

    Without, its namespace would go on refusing connections, which only a
    machine that is on does, and killed processes would say goodbye.
    """
    for network in planning.NETWORKS:
        _run(
            'ip', '-n', plan.host_namespace(host), 'link', 'set',
            f'{_SHORT[network]}0', 'up' if up else 'down',
        )  # fmt: skip


def remains(prefix: str) -> list[str]:
    """Return the namespaces whose name begins so: a lab's, hosts first."""
    directory = pathlib.Path('/run/netns')
    if not directory.is_dir():
        return []
    found = [
        path.name
        for path in directory.iterdir()
        if path.name == prefix or path.name.startswith(f'{prefix}-')
    ]
    return sorted(found, key=len, reverse=True)


def down(plan: planning.Plan) -> None:
    """Remove the namespaces, and first whatever still runs in them.

    This finds also what a crash left behind before its pid was recorded:
    everything of a lab is in its namespaces.
    """
    for namespace in remains(plan.namespace):
        deadline = time.monotonic() + _PATIENCE
        while pids := _strangers(namespace):
            if time.monotonic() > deadline:
                raise planning.LabError(
                    f"Processes {pids} of network namespace '{namespace}' do "
                    f'not end after SIGKILL for {_PATIENCE:.0f} s'
                )
            for pid in pids:
                _kill(pid)
            time.sleep(0.02)
        _run('ip', 'netns', 'delete', namespace)


def _strangers(namespace: str) -> list[int]:
    """Return the living processes in a namespace, except the caller."""
    found = map(int, _run('ip', 'netns', 'pids', namespace).split())
    return [pid for pid in found if pid != os.getpid() and _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # Nobody may be there to collect a zombie.
    return stat.rpartition(')')[2].split()[0] not in 'ZX'


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        # It has ended meanwhile, which is all we want.
        pass
