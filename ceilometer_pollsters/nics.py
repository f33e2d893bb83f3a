# SPDX-License-Identifier: Apache-2.0

"""Whether network interfaces have a carrier, and bonds their ports."""

from collections.abc import Iterable
import pathlib
import re
from typing import Any

from ceilometer_pollsters import probes

NICS = pathlib.Path('/sys/class/net')
BONDS = pathlib.Path('/proc/net/bonding')

# The kernel's names for ports of virtual and of sub-functions: 'c1pf0vf3'.
_OF_A_GUEST = re.compile(r'pf\d+[vs]f\d+$')


def is_physical(path: pathlib.Path) -> bool:
    """Whether an interface is a device, and no part of another one."""
    device = path / 'device'
    # A virtual function goes to a guest, and its carrier with it.
    if not device.exists() or (device / 'physfn').exists():
        return False
    # So does the port of the switch in a card that it is plugged into.
    try:
        port = (path / 'phys_port_name').read_text(encoding='ascii')
    except OSError:
        # Most drivers have no names for their ports.
        return True
    return not _OF_A_GUEST.search(port.strip())


def has_carrier(path: pathlib.Path) -> bool:
    """Whether an interface has a link; not, if it is off or gone."""
    try:
        return (path / 'carrier').read_text(encoding='ascii').strip() == '1'
    except OSError:
        # The kernel refuses to say it of one that is switched off.
        return False


class Nics:
    """The interfaces of a host, and those that it had."""

    def __init__(self, named: Iterable[str], root: pathlib.Path) -> None:
        self._named = tuple(named)
        self._root = root
        self._seen: set[str] = set()

    def look(self) -> dict[str, bool]:
        """Return which interfaces have a carrier.

        One that had a carrier is told of until the agent ends: gone or
        switched off it has none. One that never had is of no use to anybody.

        :raises probes.Absent: there is none.
        """
        names = set(self._named) or self._find()
        if not names:
            raise probes.Absent(
                f"'{self._root}' has no physical interface with a carrier"
            )
        return {name: has_carrier(self._root / name) for name in sorted(names)}

    def _find(self) -> set[str]:
        try:
            paths = list(self._root.iterdir())
        except OSError:
            paths = []
        self._seen |= {
            path.name
            for path in paths
            if is_physical(path) and has_carrier(path)
        }
        return self._seen


class NicUpPollster(probes.HostPollster):
    """1 for an interface that has a carrier."""

    meter = 'hypervisor.nic.up'
    sensor = 'network interfaces'

    def read(
        self, shared: probes.Shared, cache: dict[str, Any]
    ) -> Iterable[probes.Reading]:
        nics = shared.keep(
            'nics', lambda: Nics(self.conf.nova_ha_host.nics, NICS)
        )
        return [
            probes.Reading(
                int(up),
                device=name,
                told={} if up else {'reason': f"'{name}' has no carrier"},
            )
            for name, up in nics.look().items()
        ]


def ports(text: str) -> dict[str, bool]:
    """Return which ports of a bond are up, from the kernel's account."""
    found: dict[str, bool] = {}
    port = ''
    for line in text.splitlines():
        key, _, value = line.partition(':')
        if key == 'Slave Interface':
            port = value.strip()
        elif key == 'MII Status' and port:
            found[port] = value.strip() == 'up'
    return found


class BondPortsPollster(probes.HostPollster):
    """How many ports of a bond are up."""

    meter = 'hypervisor.bond.ports_up'
    sensor = 'bonds'

    def read(
        self, shared: probes.Shared, cache: dict[str, Any]
    ) -> Iterable[probes.Reading]:
        try:
            paths = sorted(BONDS.iterdir())
        except OSError:
            raise probes.Absent(f"'{BONDS}' is not there") from None
        if not paths:
            raise probes.Absent(f"'{BONDS}' has no bond")
        for path in paths:
            try:
                found = ports(path.read_text(encoding='utf-8'))
            except OSError:
                # Taken apart since it was listed.
                continue
            down = ', '.join(sorted(p for p, up in found.items() if not up))
            yield probes.Reading(
                sum(found.values()),
                device=path.name,
                told={'ports': len(found), 'ports_down': down},
            )
