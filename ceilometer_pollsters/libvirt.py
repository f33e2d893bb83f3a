# SPDX-License-Identifier: Apache-2.0

"""Whether libvirtd answers, and what it tells while it does.

Asked in a process of its own: a call to a libvirtd that hangs never returns,
and a connection to it says that it is alive.
"""

from collections.abc import Callable, Iterable
import dataclasses
import threading
import time
from typing import Any

from ceilometer import sample
from oslo_log import log

from ceilometer_pollsters import children
from ceilometer_pollsters import happenings
from ceilometer_pollsters import probes
from ceilometer_pollsters import servers
from ceilometer_pollsters import telling
from nova_ha_plugins.conf import nova_ha_libvirt
from nova_ha_plugins import printable

LOG = log.getLogger(__name__)

_CACHE_KEY = 'nova_ha.libvirt'


@dataclasses.dataclass(frozen=True)
class Look:
    """What was found.

    :ivar seconds: how long libvirt took, or how long it is waited for.
    :ivar reason: why it is not up, for people.
    :ivar stuck: processes that ask it and cannot be killed.
    """

    up: bool
    seconds: float
    reason: str = ''
    stuck: int = 0


class Libvirtd:
    """The libvirtd of this host, and the process that asks and hears it."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(
        self,
        uri: str,
        host: str,
        deadline: float,
        told: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        """Prepare to ask; nothing is started yet.

        :param told: is called with each thing that libvirt tells.
        """
        self._uri = uri
        self._host = host
        self._deadline = deadline
        self._told = told
        self._child = children.Child(
            'libvirt', servers.command(uri), deadline, told
        )
        # A host without libvirt is none of ours; one that had it is broken.
        self._was_up = False
        self._waits_since: float | None = None
        self._said = ''
        self._states: happenings.States = {}
        self._lock = threading.Lock()

    @property
    def is_down(self) -> bool:
        """Whether it was found down last, so that nobody else need wait."""
        return bool(self._said)

    @property
    def pid(self) -> int | None:
        """The process that asks, for whoever wants to see it."""
        return self._child.pid

    def close(self) -> None:
        """End the process that asks."""
        self._child.close()

    def look(self, cache: dict[str, Any]) -> Look:
        """Return what is found, once per cycle.

        :param cache: ceilometer's dictionary of one cycle.
        :raises probes.Absent: there is no libvirt here, or it cannot be
            known.
        """
        with self._lock:
            if _CACHE_KEY not in cache:
                cache[_CACHE_KEY] = self._look_once()
            found: Look | probes.Absent = cache[_CACHE_KEY]
        if isinstance(found, probes.Absent):
            raise found
        return found

    def _look_once(self) -> Look | probes.Absent:
        try:
            return self._look()
        except probes.Absent as error:
            return error

    def _look(self) -> Look:
        began = self.clock()
        answer = {}
        late = broken = ''
        try:
            answer = self._child.ask(
                {'ask': 'look'}, self._deadline + self._child.starting
            )
        except children.Late:
            late = f'no answer within the deadline of {self._deadline:g}s'
        except children.Stuck:
            late = 'the process that waits for it cannot be killed'
        except children.Broken as error:
            broken = str(error)
        if broken:
            # It says nothing of libvirt.
            raise probes.Absent(f'its probe is broken: {broken}')
        if late:
            if self._waits_since is None:
                self._waits_since = began
            return self._failed(self.clock() - self._waits_since, late)
        self._waits_since = None
        if 'failed' in answer:
            reason = printable.line(str(answer['failed']))
            if not self._was_up:
                raise probes.Absent(
                    f"expected a libvirt at '{self._uri}', found: {reason}"
                )
            return self._failed(self.clock() - began, reason)
        return self._answered(answer)

    def _answered(self, answer: dict[str, Any]) -> Look:
        if self._said:
            LOG.warning("Host '%s': libvirt answers again", self._host)
            self._said = ''
        self._was_up = True
        states = {
            server: (str(state), str(reason))
            for server, (state, reason) in answer['servers'].items()
        }
        if answer['fresh'] and self._told:
            # Nobody has listened since the last look.
            for item in happenings.missed(self._states, states, time.time()):
                self._told(item)
        self._states = states
        return Look(True, float(answer['seconds']))

    def _failed(self, seconds: float, reason: str) -> Look:
        if self._said != reason:
            self._said = reason
            LOG.error(
                "Host '%s': libvirt at '%s' is down: %s. Its servers may "
                'run on; nobody can start, stop or see them',
                self._host,
                self._uri,
                reason,
            )
        return Look(False, seconds, reason, self._child.stuck)


class Libvirt:
    """All that one agent has to do with libvirt.

    :ivar libvirtd: whether it answers.
    :ivar servers: what it knows of them.
    """

    def __init__(self, conf: Any, host: str, notifier: Any) -> None:
        own = conf.nova_ha_libvirt
        uri = servers.uri(conf)
        self.servers = servers.Servers(uri, host, own)
        self._teacher = happenings.Teacher(host, conf.nova_ha.project_id)
        self.teller: telling.Teller | None = None
        if notifier is None:
            LOG.error(
                "Host '%s' sends no events of its servers: expected [polling] "
                'enable_notifications = true, found false',
                host,
            )
        else:
            self.teller = telling.Teller(
                notifier, own.event_interval, own.event_queue
            )
        if self.teller and not conf.nova_ha.project_id:
            LOG.warning(
                "Host '%s': [nova_ha] project_id is empty: expected the id of "
                'the project that owns the event alarms. Events of its '
                'servers are sent, but no alarm fires',
                host,
            )
        self.libvirtd = Libvirtd(
            uri, host, own.deadline, self.tell if self.teller else None
        )

    def tell(self, told: dict[str, Any]) -> None:
        """Send what libvirt told as an event."""
        known = self.servers.known(str(told.get('id', '')))
        event = self._teacher.event(told, known)
        if event and self.teller:
            self.teller.put(event)

    def close(self) -> None:
        """End what was started."""
        self.libvirtd.close()
        self.servers.close()
        if self.teller:
            self.teller.close()


def libvirt_of(manager: Any, conf: Any, host: str) -> Libvirt:
    """Return what a polling agent has to do with libvirt."""
    return probes.shared_of(manager).keep(
        'libvirt',
        lambda: Libvirt(conf, host, getattr(manager, 'notifier', None)),
    )


class _LibvirtPollster(probes.HostPollster):
    sensor = 'libvirt'
    _ours: Libvirt

    def setup_environment(self) -> None:
        super().setup_environment()
        nova_ha_libvirt.register_opts(self.conf)

    def get_samples(
        self, manager: Any, cache: dict[str, Any], resources: Iterable[str]
    ) -> Iterable[sample.Sample]:
        self._ours = libvirt_of(manager, self.conf, self.host)
        return super().get_samples(manager, cache, resources)

    def read(
        self, shared: probes.Shared, cache: dict[str, Any]
    ) -> Iterable[probes.Reading]:
        look = self._ours.libvirtd.look(cache)
        told: dict[str, str | float] = {}
        if look.reason:
            told['reason'] = look.reason
        if look.stuck:
            told['stuck'] = look.stuck
        return [probes.Reading(self.value(look), told=told)]

    def value(self, look: Look) -> float:
        """Return what this meter says of a look."""
        raise NotImplementedError


class LibvirtUpPollster(_LibvirtPollster):
    """1 while libvirtd answers in time."""

    meter = 'hypervisor.libvirt.up'

    def value(self, look: Look) -> float:
        return int(look.up)


class LibvirtLatencyPollster(_LibvirtPollster):
    """How long libvirtd takes to answer."""

    meter = 'hypervisor.libvirt.latency'

    def value(self, look: Look) -> float:
        return round(look.seconds, 6)
