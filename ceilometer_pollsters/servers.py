# SPDX-License-Identifier: Apache-2.0

"""What libvirt knows of the servers of a host, once per cycle.

First what libvirtd knows by itself, of all of them at once. Then each QEMU is
asked how its disks are. A QEMU can hang where libvirtd does not, and each
question that waits for it takes a thread of libvirtd, which has twenty. So one
that did not answer is not asked again before libvirtd says that its monitor is
free, and when several do not answer nobody else is asked.
"""

from collections.abc import Callable, Iterable
import dataclasses
import threading
import time
from typing import Any

from oslo_log import log

from ceilometer_pollsters import children
from ceilometer_pollsters import happenings
from ceilometer_pollsters import probes
from nova_ha_plugins import printable

LOG = log.getLogger(__name__)

_CACHE_KEY = 'nova_ha.servers'
_MODULE = 'ceilometer_pollsters.libvirt_child'

# Servers that did not answer, each of which holds a thread of libvirtd.
MOST_SILENT = 3
# Servers in one cycle of which the process that asks dies: a new one each
# time would keep a processor of the host busy.
MOST_BROKEN = 3
# Seconds that a guest's agent may think about a ping.
PING = 2


@dataclasses.dataclass(frozen=True)
class Server:
    """One server as it is now; None is what nobody could tell.

    :ivar state: libvirt's number, and its reason.
    :ivar agent: whether the guest's agent is connected.
    :ivar stuck: seconds for which its monitor has not answered.
    :ivar monitor: libvirt's word for what the monitor does.
    :ivar disks: the disks with an error, and which.
    :ivar ping: whether the guest's agent answered.
    """

    id: str
    state: int
    reason: int
    state_word: str
    reason_word: str
    project_id: str
    user_id: str
    display_name: str
    flavor_id: str
    flavor_name: str
    active: bool
    agent: bool | None = None
    monitor: str = ''
    stuck: float | None = None
    disks: dict[str, str] | None = None
    ping: bool | None = None


def uri(conf: Any) -> str:
    """Return how the libvirt of this host is reached."""
    return (
        conf.nova_ha_libvirt.uri
        or getattr(conf, 'libvirt_uri', '')
        or 'qemu:///system'
    )


def command(where: str) -> list[str]:
    """Return the command that asks the libvirt at a URI."""
    return [*children.program(_MODULE), where]


def server_of(told: dict[str, Any]) -> Server:
    """Return a server from what the child told of it."""
    monitor, seconds = told.get('monitor') or ('', 0.0)
    return Server(
        id=str(told['id']),
        state=int(told['state']),
        reason=int(told['reason']),
        state_word=str(told['state_word']),
        reason_word=str(told['reason_word']),
        project_id=str(told['project_id']),
        user_id=str(told['user_id']),
        display_name=printable.line(str(told['display_name'])),
        flavor_id=str(told['flavor_id']),
        flavor_name=str(told['flavor_name']),
        active=bool(told['active']),
        agent=told.get('agent'),
        monitor=monitor,
        # Only a monitor that is waited for is stuck: a migration keeps it
        # busy for an hour and is no failure.
        stuck=(seconds if monitor == 'occupied' else 0.0) if monitor else None,
    )


class Servers:
    """The servers of this host, and the process that asks for them."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, where: str, host: str, own: Any) -> None:
        """Prepare to ask; nothing is started yet.

        :param own: the options [nova_ha_libvirt].
        """
        self._host = host
        self._own = own
        self._child = children.Child(
            'servers', command(where), own.servers_deadline
        )
        self._lock = threading.Lock()
        self._known: dict[str, happenings.Known] = {}
        # Since when a monitor gives no answer, by server.
        self._silent: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._no_ping = ''
        self._broken = 0

    @property
    def pid(self) -> int | None:
        """The process that asks, for whoever wants to see it."""
        return self._child.pid

    def known(self, server: str) -> happenings.Known:
        """Return what was found of a server last, nothing if it is new."""
        return self._known.get(server, happenings.Known())

    def close(self) -> None:
        """End the process that asks."""
        self._child.close()

    def look(self, cache: dict[str, Any]) -> tuple[Server, ...]:
        """Return the servers of nova that libvirt has, once per cycle.

        :param cache: ceilometer's dictionary of one cycle.
        :raises probes.Absent: they are not known.
        """
        with self._lock:
            if _CACHE_KEY not in cache:
                try:
                    cache[_CACHE_KEY] = self._look()
                except probes.Absent as error:
                    cache[_CACHE_KEY] = error
            found: tuple[Server, ...] | probes.Absent = cache[_CACHE_KEY]
        if isinstance(found, probes.Absent):
            raise found
        return found

    def _look(self) -> tuple[Server, ...]:
        until = self.clock() + self._own.servers_deadline
        found = {one.id: one for one in self._all()}
        self._known = {
            one.id: happenings.Known(one.display_name, one.project_id)
            for one in found.values()
        }
        self._follow(found)
        self._broken = 0
        for one in self._turn(found.values()):
            if self._is_over(until):
                break
            found[one.id] = self._ask(one)
        now = self.clock()
        return tuple(
            dataclasses.replace(one, stuck=round(now - since, 3))
            if (since := self._silent.get(one.id)) is not None
            else one
            for one in found.values()
        )

    def _all(self) -> list[Server]:
        try:
            answer = self._child.ask({'ask': 'servers'})
        except (children.Late, children.Stuck, children.Broken) as error:
            raise probes.Absent(str(error)) from None
        if 'failed' in answer:
            raise probes.Absent(
                f'libvirt says: {printable.line(str(answer["failed"]))}'
            )
        return [server_of(told) for told in answer['servers']]

    def _follow(self, found: dict[str, Server]) -> None:
        """Keep since when which monitor is stuck, and drop who has left."""
        now = self.clock()
        self._asked = {k: v for k, v in self._asked.items() if k in found}
        self._said = {k: v for k, v in self._said.items() if k in found}
        silent: dict[str, float] = {}
        for one in found.values():
            if one.monitor in ('occupied', 'error'):
                since = now - (one.stuck or 0.0)
                silent[one.id] = min(self._silent.get(one.id, since), since)
        self._silent = silent

    def _turn(self, found: Iterable[Server]) -> list[Server]:
        """Return whose QEMU is asked, who has waited longest first.

        One that is being moved or saved answers nobody else.
        """
        return sorted(
            (one for one in found if one.active and one.monitor == 'ok'),
            key=lambda one: self._asked.get(one.id, float('-inf')),
        )

    def _is_over(self, until: float) -> bool:
        left = until - self.clock()
        return (
            left < self._patience()
            or len(self._silent) >= MOST_SILENT
            or self._broken >= MOST_BROKEN
        )

    def _patience(self) -> float:
        ping = PING if self._own.agent_ping else 0
        return float(self._own.monitor_deadline) + ping

    def _ask(self, one: Server) -> Server:
        """Return a server with what its QEMU says."""
        began = self._asked[one.id] = self.clock()
        ping = PING if self._own.agent_ping and one.agent else 0
        try:
            # The one before may have cost the process.
            answer = self._child.ask(
                {'ask': 'server', 'id': one.id, 'ping': ping},
                self._patience() + self._child.starting,
            )
        except children.Late:
            self._silent[one.id] = began
            LOG.error(
                "Server '%s' on host '%s': its QEMU gives no answer within "
                '%gs; it is asked again when libvirt says that it can be',
                one.id,
                self._host,
                self._patience(),
            )
            return one
        except (children.Stuck, children.Broken) as error:
            self._broken += 1
            self._say(one.id, str(error))
            return one
        if 'failed' in answer:
            self._say(one.id, printable.line(str(answer['failed'])))
            return one
        self._say(one.id, '')
        self._say_no_ping(printable.line(str(answer.get('no_ping', ''))))
        return dataclasses.replace(
            one, disks=dict(answer['disks']), ping=answer.get('ping')
        )

    def _say_no_ping(self, text: str) -> None:
        """Log once why agents cannot be pinged; mostly for want of rights."""
        if text and text != self._no_ping:
            LOG.warning(
                "Host '%s': agents of guests cannot be pinged, though "
                '[nova_ha_libvirt] agent_ping asks for it: %s',
                self._host,
                text,
            )
            self._no_ping = text

    def _say(self, server: str, text: str) -> None:
        """Log why something of a server is not published, when that is new."""
        if text and self._said.get(server) != text:
            LOG.warning(
                "Server '%s' on host '%s': not all is published: %s",
                server,
                self._host,
                text,
            )
        self._said[server] = text
