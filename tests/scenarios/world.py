# SPDX-License-Identifier: Apache-2.0

"""The truth: hosts, their power, kernels, networks, guests and devices.

Nothing of the product reads this. What the product may see of it goes through
``doors``, and is as lossy as the real thing.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import heapq
import itertools

BEAT_INTERVAL = 2
BOOT_SECONDS = 3.0
# A service that was not seen for this long is down for nova.
SERVICE_DOWN_TIME = 60.0


# What part of the jitter a heartbeat gets, one after another.
_TAIL = (0.0, 0.1, 0.0, 0.02, 0.3, 0.0, 0.05, 1.0, 0.0, 0.2, 0.01, 0.6)


@dataclasses.dataclass
class Device:
    """A power device.

    :ivar cabled: the host whose power it really switches.
    :ivar fault: '' or 'hang' (no answer), 'mute' (obeys without an answer),
        'error', 'lie' (says done, does nothing), 'changing' (never settles),
        'reboot' (off for two seconds),
        'says-off' (whatever is so).
    :ivar delay: seconds between the command and the power being off.
    """

    cabled: str
    system_uuid: str
    fault: str = ''
    delay: float = 0.0
    commands: int = 0


@dataclasses.dataclass
class Network:
    """The link of a host to one network, as a probe finds it.

    :ivar known: the engine's machine has a way there, so it can tell.
    :ivar changed_at: when the link was last cut or healed.
    :ivar unknown_since: when the way was lost, if it is.
    """

    works: bool = True
    known: bool = True
    changed_at: float = 0.0
    unknown_since: float = 0.0


MANAGEMENT = 'management'
NETWORKS = (MANAGEMENT, 'storage', 'tenant')


@dataclasses.dataclass
class Host:
    """One hypervisor.

    :ivar kernel: runs; a host whose kernel hangs still has its guests' disks
        open and may go on at any moment.
    :ivar agent: ceilometer-polling runs.
    :ivar compute: nova-compute runs.
    :ivar starts: how often nova-compute was started.
    :ivar guests: server uuid to whether the domain runs.
    :ivar capacity: guests that the scheduler would put there.
    :ivar beat_as: the name in its heartbeats, where it is a wrong one.
    :ivar beat_twice: each heartbeat arrives once more, ten seconds later.
    :ivar beat_jitter: heartbeats take up to so long, and overtake each other.
    :ivar beat_lost: one of so many heartbeats is lost; 0 for none.
    """

    name: str
    zone: str = 'az1'
    power: bool = True
    kernel: bool = True
    bus: bool = True
    agent: bool = True
    compute: bool = True
    autostart: bool = True
    starts: int = 1
    boot: int = 1
    booted_at: float = 0.0
    running_since: float = 0.0
    capacity: int = 100
    guests: dict[str, bool] = dataclasses.field(default_factory=dict)
    beat_delay: float = 0.0
    beat_as: str = ''
    beat_twice: bool = False
    beat_jitter: float = 0.0
    beat_lost: int = 0
    beats: int = 0
    networks: dict[str, Network] = dataclasses.field(
        default_factory=lambda: {name: Network() for name in NETWORKS}
    )

    @property
    def system_uuid(self) -> str:
        return f'sys-{self.name}'

    @property
    def boot_id(self) -> str:
        return f'{self.name}-boot{self.boot}'

    @property
    def running(self) -> bool:
        return self.power and self.kernel

    def answers(self, network: str) -> bool:
        """Whether a probe over that network would be answered."""
        return self.running and self.networks[network].works

    def answering_since(self, network: str) -> float:
        """When it last began to be so."""
        return max(self.running_since, self.networks[network].changed_at)


@dataclasses.dataclass(frozen=True)
class Heard:
    """A heartbeat on its way."""

    host: str
    boot_id: str
    sequence: int
    system_uuid: str


class World:
    """Everything that is so, whoever sees it.

    :ivar clock_error: how far the store's clock is from ``now``.
    :ivar watch: called after everything that happens.
    :ivar probed: networks of every host that the fencing map names.
    :ivar legs: the links of the engine's own machine.
    """

    def __init__(self, zones: dict[str, str]) -> None:
        self.now = 100000.0
        self.clock_error = 0.0
        self.clock_jumped = False
        self.hosts = {name: Host(name, zone) for name, zone in zones.items()}
        self.devices = {
            name: Device(name, host.system_uuid)
            for name, host in self.hosts.items()
        }
        # Which device the fencing map names for a host.
        self.map = {name: name for name in self.hosts}
        self.probed: tuple[str, ...] = ()
        self.legs = {name: Network() for name in NETWORKS}
        self.bus = True
        self.bus_since = self.now
        self.past: list[Heard] = []
        self.watch: Callable[[str], None] = lambda what: None
        self.on_beat: Callable[[Heard], None] = lambda beat: None
        self.on_compute_start: Callable[[str], None] = lambda host: None
        self.on_power_off: Callable[[str], None] = lambda host: None
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._next_tick = self.now

    # --- time -------------------------------------------------------------

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(
            self._heap, (self.now + seconds, next(self._order), what)
        )

    def advance(self, seconds: float) -> None:
        """Let time pass; everything that is due happens on the way."""
        until = self.now + seconds
        while True:
            due = self._heap[0][0] if self._heap else float('inf')
            if min(due, self._next_tick) > until:
                break
            if due <= self._next_tick:
                at, _, what = heapq.heappop(self._heap)
                self.now = max(self.now, at)
                what()
                self.watch('timer')
            else:
                self.now = max(self.now, self._next_tick)
                self._next_tick += BEAT_INTERVAL
                self._beat()
        # What happened on the way may have taken longer by itself.
        self.now = max(self.now, until)

    def _beat(self) -> None:
        for host in self.hosts.values():
            ready = self.now - host.booted_at >= BOOT_SECONDS
            if not (host.running and host.agent and host.bus and ready):
                continue
            host.beats += 1
            lost = host.beat_lost and host.beats % host.beat_lost == 0
            if lost or not self.bus:
                continue
            beat = Heard(
                host.beat_as or host.name,
                host.boot_id,
                int((self.now - host.booted_at) * 1000),
                host.system_uuid,
            )
            self.past.append(beat)
            if host.beat_twice:
                self.later(10.0, self._deliver(beat))
            # A few take very long: a host that is slow has a heavy tail.
            delay = (
                host.beat_delay
                + host.beat_jitter * _TAIL[host.beats % len(_TAIL)]
            )
            if delay:
                self.later(delay, self._deliver(beat))
            else:
                self.on_beat(beat)
        del self.past[: -50 * len(self.hosts)]

    def _deliver(self, beat: Heard) -> Callable[[], None]:
        return lambda: self.on_beat(beat)

    def redeliver(self) -> None:
        """The bus delivers once more what it delivered lately."""
        for beat in self.past:
            self.on_beat(beat)

    # --- power ------------------------------------------------------------

    def power_off(self, name: str) -> None:
        host = self.hosts[name]
        if not host.power:
            return
        host.power = host.compute = False
        for server in host.guests:
            host.guests[server] = False
        self.on_power_off(name)
        self.watch(f'{name} is off')

    def power_on(self, name: str) -> None:
        host = self.hosts[name]
        if host.power:
            return
        host.power = host.kernel = True
        host.boot += 1
        host.booted_at = self.now
        host.running_since = self.now
        host.agent = True
        host.compute = False
        self.watch(f'{name} is on')
        if host.autostart:
            self.later(
                BOOT_SECONDS + 1, lambda: self._autostart(name, host.boot)
            )

    def _autostart(self, name: str, boot: int) -> None:
        if self.hosts[name].boot == boot:
            self.compute_start(name)

    def hang(self, name: str) -> None:
        self.hosts[name].kernel = False
        self.watch(f'{name} hangs')

    def resume(self, name: str) -> None:
        host = self.hosts[name]
        if host.power and not host.kernel:
            host.kernel = True
            host.running_since = self.now
            self.watch(f'{name} goes on')

    def compute_start(self, name: str) -> None:
        host = self.hosts[name]
        if host.running and not host.compute:
            host.compute = True
            host.starts += 1
            self.on_compute_start(name)
            self.watch(f'nova-compute of {name} started')

    def compute_stop(self, name: str) -> None:
        self.hosts[name].compute = False
        self.watch(f'nova-compute of {name} stopped')

    def net(self, name: str, network: str, works: bool) -> None:
        """Cut or heal the link of a host."""
        link = self.hosts[name].networks[network]
        if works != link.works:
            link.works, link.changed_at = works, self.now

    def leg(self, network: str, works: bool) -> None:
        """Cut or heal the link of the engine's own machine."""
        link = self.legs[network]
        if works != link.works:
            link.works, link.changed_at = works, self.now

    def net_known(self, name: str, network: str, known: bool) -> None:
        """Take or give the way from the engine's machine to it."""
        link = self.hosts[name].networks[network]
        if known != link.known:
            link.known, link.unknown_since = known, self.now

    def bus_works(self, works: bool) -> None:
        if works != self.bus:
            self.bus, self.bus_since = works, self.now

    def clock_jumps(self, seconds: float) -> None:
        self.clock_error += seconds
        self.clock_jumped = True

    # --- devices ----------------------------------------------------------

    def command_off(self, device: Device) -> None:
        """The device was told to switch off."""
        device.commands += 1
        if device.fault in ('lie', 'says-off'):
            return
        if device.delay:
            self.later(device.delay, lambda: self.power_off(device.cabled))
        else:
            self.power_off(device.cabled)
        if device.fault == 'reboot':
            self.later(2.0, lambda: self.power_on(device.cabled))

    # --- questions --------------------------------------------------------

    def writers(self) -> Iterator[tuple[str, str]]:
        """Each (server, host) with a domain that may write to its disk."""
        for host in self.hosts.values():
            if host.power:
                for server, runs in host.guests.items():
                    if runs:
                        yield server, host.name
