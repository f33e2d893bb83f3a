# SPDX-License-Identifier: Apache-2.0

"""The process in which libvirtd is asked, and which may hang with it.

``python -m ceilometer_pollsters.libvirt_child URI`` answers three questions:

``look``
    whether libvirtd answers, how long that took, and the state of every
    domain; nothing that needs the monitor of a QEMU. From the first one on,
    what libvirtd tells is passed on as it comes.
``servers``
    what is known of every domain without asking its QEMU.
``server``
    what one QEMU says of itself. It may hang where libvirtd does not.
"""

from collections.abc import Callable
import contextlib
import functools
import os
import sys
import threading
import time
from typing import Any

# Not a way in: libvirt has read this text itself and wrote it again.
from xml.etree import ElementTree as etree

from ceilometer_pollsters import answering

try:
    import libvirt
except ImportError:
    libvirt = None

# Newest first.
_NOVA = (
    'http://openstack.org/xmlns/libvirt/nova/1.1',
    'http://openstack.org/xmlns/libvirt/nova/1.0',
)
_AGENT = 'org.qemu.guest_agent.0'
_PING = '{"execute":"guest-ping"}'

_STATES = (
    'nostate',
    'running',
    'blocked',
    'paused',
    'shutdown',
    'shutoff',
    'crashed',
    'pmsuspended',
)
# libvirt has flags of the same prefix.
_SHUTDOWN = ('unknown', 'user')
_CONTROL = ('ok', 'job', 'occupied', 'error')
_LIFECYCLE = (
    'defined',
    'undefined',
    'started',
    'suspended',
    'resumed',
    'stopped',
    'shutdown',
    'pmsuspended',
    'crashed',
)

Asked = dict[str, Any]
Told = dict[str, Any]


@functools.cache
def word(prefix: str, value: int) -> str:
    """Return libvirt's own word for one of its numbers, in lower case."""
    for name in dir(libvirt):
        if name.startswith(prefix) and getattr(libvirt, name) == value:
            return name[len(prefix) :].lower()
    return str(value)


def _pick(words: tuple[str, ...], value: int) -> str:
    return words[value] if 0 <= value < len(words) else str(value)


def state_words(state: int, reason: int) -> tuple[str, str]:
    """Return the words for the state of a domain and the reason of that."""
    if not 0 <= state < len(_STATES):
        return str(state), str(reason)
    name = _STATES[state]
    if name == 'shutdown':
        return name, _pick(_SHUTDOWN, reason)
    return name, word(f'VIR_DOMAIN_{name.upper()}_', reason)


def lifecycle_words(event: int, detail: int) -> tuple[str, str]:
    """Return the words for an event in the life of a domain."""
    if not 0 <= event < len(_LIFECYCLE):
        return str(event), str(detail)
    name = _LIFECYCLE[event]
    return name, word(f'VIR_DOMAIN_EVENT_{name.upper()}_', detail)


def of_nova(root: etree.Element) -> Told:
    """Return what nova wrote into a domain, nothing if it is not nova's."""
    for space in _NOVA:
        node = root.find(f'./metadata/{{{space}}}instance')
        if node is not None:
            break
    else:
        return {}

    def value(path: str, attribute: str) -> str:
        found = node.find('/'.join(f'{{{space}}}{p}' for p in path.split('/')))
        return '' if found is None else found.get(attribute, '')

    return {
        'project_id': value('owner/project', 'uuid'),
        'user_id': value('owner/user', 'uuid'),
        'display_name': node.findtext(f'{{{space}}}name', ''),
        'flavor_name': value('flavor', 'name'),
        'flavor_id': value('flavor', 'id'),
    }


def agent_of(root: etree.Element) -> bool | None:
    """Whether the guest's agent is connected, None if it has no channel."""
    for target in root.iterfind('./devices/channel/target'):
        if target.get('name') == _AGENT:
            return target.get('state') == 'connected'
    return None


def _said(event: str, domain: Any, **more: Any) -> None:
    answering.say(
        {
            'event': event,
            'id': domain.UUIDString(),
            'at': time.time(),
            **more,
        }
    )


def _lifecycle(_: Any, domain: Any, event: int, detail: int, *__: Any) -> None:
    name, why = lifecycle_words(event, detail)
    _said('lifecycle', domain, name=name, detail=why)


def _watchdog(_: Any, domain: Any, action: int, *__: Any) -> None:
    why = word('VIR_DOMAIN_EVENT_WATCHDOG_', action)
    _said('watchdog', domain, name='expired', detail=why)


def _io_error(
    _: Any,
    domain: Any,
    path: str,
    alias: str,
    action: int,
    reason: str,
    *__: Any,
) -> None:
    _said(
        'ioerror',
        domain,
        name=reason or 'unknown',
        detail=word('VIR_DOMAIN_EVENT_IO_ERROR_', action),
        device=alias,
    )


def _agent(_: Any, domain: Any, state: int, reason: int, *__: Any) -> None:
    prefix = 'VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_'
    _said(
        'agent',
        domain,
        name=word(f'{prefix}STATE_', state),
        detail=word(f'{prefix}REASON_', reason),
    )


def _memory(
    _: Any, domain: Any, recipient: int, action: int, flags: int, *__: Any
) -> None:
    prefix = 'VIR_DOMAIN_EVENT_MEMORY_FAILURE_'
    _said(
        'memory_failure',
        domain,
        name=word(f'{prefix}RECIPIENT_', recipient),
        detail=word(f'{prefix}ACTION_', action),
    )


def _callbacks() -> dict[int, Callable[..., None]]:
    return {
        libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE: _lifecycle,
        libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG: _watchdog,
        libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON: _io_error,
        libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE: _agent,
        libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE: _memory,
    }


def _run_events() -> None:
    """Call back until that fails; then the parent starts another child."""
    with contextlib.suppress(libvirt.libvirtError):
        while True:
            libvirt.virEventRunDefaultImpl()
    os._exit(1)


class Connections:
    """The connections to one libvirtd, opened when they are needed.

    A hung libvirtd does not show on a connection: ``isAlive`` still says
    yes, and a new one does not open either. Whoever asked us ends us then.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._open: dict[bool, Any] = {}
        self._listens = False
        self._callbacks: list[int] = []

    def get(
        self, listen: bool = False, write: bool = False
    ) -> tuple[Any, bool]:
        """Return a connection, and whether it is a new one.

        :param listen: pass on what libvirtd tells on it.
        """
        known = self._open.get(write)
        if known is not None and known.isAlive():
            return known, False
        self.drop(write)
        if listen and not self._listens:
            # Before the connection is opened, or it tells nothing.
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(
                target=_run_events, name='libvirt', daemon=True
            ).start()
            self._listens = True
        opened = (libvirt.open if write else libvirt.openReadOnly)(self._uri)
        self._open[write] = opened
        if listen:
            for number, callback in _callbacks().items():
                # A driver that never tells one of them refuses it.
                with contextlib.suppress(libvirt.libvirtError):
                    self._callbacks.append(
                        opened.domainEventRegisterAny(
                            None, number, callback, None
                        )
                    )
        return opened, True

    def drop(self, write: bool = False) -> None:
        """Close a connection, so that the next question opens another."""
        known = self._open.pop(write, None)
        if known is not None:
            # Each of them keeps a connection, and its file, open.
            while self._callbacks and not write:
                with contextlib.suppress(libvirt.libvirtError):
                    known.domainEventDeregisterAny(self._callbacks.pop())
            with contextlib.suppress(libvirt.libvirtError):
                known.close()


def _states(connection: Any) -> list[tuple[Any, int, int]]:
    """Return every domain with its state, in one call."""
    return [
        (domain, stats['state.state'], stats.get('state.reason', 0))
        for domain, stats in connection.getAllDomainStats(
            libvirt.VIR_DOMAIN_STATS_STATE, 0
        )
        if 'state.state' in stats
    ]


def look(connections: Connections, asked: Asked) -> Told:
    """Whether libvirtd answers, and the state of every domain."""
    connection, fresh = connections.get(listen=True)
    began = time.monotonic()
    connection.getLibVersion()
    states = _states(connection)
    seconds = time.monotonic() - began
    return {
        'seconds': seconds,
        'fresh': fresh,
        'servers': {
            domain.UUIDString(): state_words(state, reason)
            for domain, state, reason in states
        },
    }


def _control(domain: Any) -> tuple[str, float]:
    """Return what the monitor of a domain does, and since how many seconds."""
    state, _, milliseconds = domain.controlInfo()
    return _pick(_CONTROL, state), milliseconds / 1000


def describe(domain: Any, state: int, reason: int) -> Told | None:
    """Return what is known of a domain, None if it is not nova's."""
    root = etree.fromstring(domain.XMLDesc())  # noqa: S314
    known = of_nova(root)
    if not known:
        return None
    words = state_words(state, reason)
    told = {
        **known,
        'id': domain.UUIDString(),
        'state': state,
        'reason': reason,
        'state_word': words[0],
        'reason_word': words[1],
        'active': bool(domain.isActive()),
    }
    if told['active']:
        told['agent'] = agent_of(root)
        told['monitor'] = _control(domain)
    return told


def servers(connections: Connections, asked: Asked) -> Told:
    """What is known of every server of nova."""
    connection, _ = connections.get()
    found = []
    for domain, state, reason in _states(connection):
        try:
            told = describe(domain, state, reason)
        except libvirt.libvirtError:
            # Gone since, or gone now.
            if not connection.isAlive():
                raise
            continue
        except etree.ParseError as error:
            # One that nobody can read must not hide all others.
            print(f'{domain.UUIDString()}: {error}', file=sys.stderr)
            continue
        if told:
            found.append(told)
    return {'servers': found}


def server(connections: Connections, asked: Asked) -> Told:
    """What QEMU says of the disks of one server, and whether its agent does.

    Asks for more than reading where the agent is pinged: libvirtd lets
    nobody else talk to it.
    """
    connection, _ = connections.get()
    domain = connection.lookupByUUIDString(asked['id'])
    errors = domain.diskErrors()
    told: Told = {
        'disks': {
            device: word('VIR_DOMAIN_DISK_ERROR_', value)
            for device, value in errors.items()
            if value
        }
    }
    if asked.get('ping'):
        try:
            told['ping'] = _ping(connections, asked)
        except libvirt.libvirtError as error:
            # Of us, not of the guest: the disks count all the same.
            told['no_ping'] = error.get_error_message()
            connections.drop(write=True)
    return told


def _agent_failures() -> set[int]:
    """Return the failures that are the guest's, whatever libvirt knows."""
    return {
        getattr(libvirt, name)
        for name in dir(libvirt)
        if name.startswith('VIR_ERR_AGENT_')
    }


def _ping(connections: Connections, asked: Asked) -> bool:
    import libvirt_qemu

    writable, _ = connections.get(write=True)
    domain = writable.lookupByUUIDString(asked['id'])
    try:
        libvirt_qemu.qemuAgentCommand(domain, _PING, asked['ping'], 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() in _agent_failures():
            return False
        raise
    return True


QUESTIONS: dict[str, Callable[[Connections, Asked], Told]] = {
    'look': look,
    'servers': servers,
    'server': server,
}


def answer(connections: Connections, asked: Asked) -> Told:
    """Return the answer to a question, or why there is none."""
    if libvirt is None:
        return {
            'failed': 'the module libvirt of Python (python3-libvirt) is '
            'not installed',
        }
    question = QUESTIONS[asked['ask']]
    try:
        return question(connections, asked)
    except libvirt.libvirtError as error:
        if question is server:
            return _failure(error)
        # A libvirtd that was restarted has cut the connection.
        connections.drop()
    try:
        return question(connections, asked)
    except libvirt.libvirtError as error:
        connections.drop()
        return _failure(error)


def _failure(error: Any) -> Told:
    return {
        'failed': error.get_error_message() or str(error),
        'code': error.get_error_code(),
    }


def main(uri: str) -> None:
    """Answer until whoever asks has gone."""
    os.chdir('/')
    if libvirt is not None:
        # Failures are answered; libvirt would print each one as well.
        libvirt.registerErrorHandler(lambda *_: None, None)
    connections = Connections(uri)
    answering.serve(lambda asked: answer(connections, asked))


if __name__ == '__main__':
    main(sys.argv[1])
