# SPDX-License-Identifier: Apache-2.0

"""The second channel: a TCP connection from the controller to the hypervisor.

One over the management network, and one over each network that the fencing
map names for the host; all at once, so that a silent host costs one timeout
(two where a name resolves slowly).
It shares neither the message bus nor the telemetry daemons with the
heartbeat. The rule: what a *remote* machine did not do is SILENT, what *this*
machine could not do is UNKNOWN. Anything that only a running kernel can send
is ALIVE, a refusal included: it is wrong to fence a host that still refuses.
"""

import collections.abc
from concurrent import futures
import errno
import queue
import socket
import threading
import time

from oslo_config import cfg

from nova_ha_plugins.fencing import address as fencing_address
from nova_ha_plugins.fencing import map as fencing_map
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import reach

# The answers to a connection attempt that come from somewhere else than this
# machine and say that the host is not there.
_SILENT = frozenset({errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT})

# Sent by a kernel, or by a process that closed its socket.
_ALIVE = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}
)

# For so long an answer of another host serves other comparisons as well.
_COMPARED = 5.0

# Hosts that are asked at once for comparison, whoever wants to compare.
_COMPARING = 16

_Found = tuple[incident.Sign, str]
_Target = tuple[int, tuple[object, ...]]


class TcpProbe:
    """Connects, and in the kind 'banner' waits for one byte."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        clock: collections.abc.Callable[[], float] = time.time,
    ) -> None:
        """Keep the options of [probe] and the addresses of the fencing map.

        :param clock: gives ``Reading.at``; the store's clock in the engine.
        :raises fencing_map.MapError: the fencing map has a mistake.
        """
        entries = fencing_map.load(conf.fencing.map_file)
        self._own_addresses = {
            host: entry.probe for host, entry in entries.items() if entry.probe
        }
        self._networks = {
            host: entry.networks for host, entry in entries.items()
        }
        self._port = conf.probe.port
        self._banner = conf.probe.kind == 'banner'
        self._timeout = conf.probe.timeout
        self._clock = clock
        self._compared: dict[
            reach.Target,
            tuple[float, futures.Future[incident.Sign | None]],
        ] = {}
        self._comparing = threading.Lock()
        self._pool = futures.ThreadPoolExecutor(
            _COMPARING, thread_name_prefix='compare'
        )
        self._sweepers = futures.ThreadPoolExecutor(
            conf.networks.connections, thread_name_prefix='sweep'
        )

    def probe_all(
        self, host: str, address: str
    ) -> tuple[incident.Reading, ...]:
        """Return what the host does on each of its networks.

        The management network first, then those of the fencing map in their
        order; within one timeout for all of them together.

        :param host: nova's service host.
        :param address: of the management network; see ``probe``.
        """
        others = self._networks.get(host, {})
        if not others:
            return (self.probe(host, address),)
        at = self._clock()
        with futures.ThreadPoolExecutor(
            len(others), thread_name_prefix='probe'
        ) as pool:
            looks = [
                (network, pool.submit(self._look, where))
                for network, where in others.items()
            ]
            first = self._look(self._own_addresses.get(host, address))
            return (
                _reading(evidence.PROBE, first, at),
                *(
                    _reading(evidence.channel_of(network), look.result(), at)
                    for network, look in looks
                ),
            )

    def probe(self, host: str, address: str) -> incident.Reading:
        """Return what the host does on the management network.

        :param host: nova's service host, for texts.
        :param address: 'address', 'address:port' or '[address]:port'; '' when
            nothing is known. The host's 'probe' in the fencing map wins.
        """
        at = self._clock()
        return _reading(
            evidence.PROBE,
            self._look(self._own_addresses.get(host, address)),
            at,
        )

    def networks_of(self, host: str, address: str) -> tuple[str, ...]:
        """Return the networks on which the host has an address.

        :param address: of the management network; see ``probe``.
        """
        own = self._own_addresses.get(host, address)
        others = tuple(self._networks.get(host, {}))
        return (evidence.MANAGEMENT, *others) if own else others

    def compare(
        self, targets: collections.abc.Iterable[reach.Target], since: float
    ) -> tuple[reach.Witness, ...]:
        """Return what other hosts answer, all asked at once.

        Many incidents compare at the same time: an answer, or a question on
        its way, serves all of them if it was asked since their own silence
        began. An older one may be from before our own leg broke. This
        machine itself is no witness: it hears itself without any network.

        :param since: by the clock of the readings.
        """
        asked = [(target, self._ask(target, since)) for target in targets]
        signs = [(target, answer.result()) for target, answer in asked]
        return tuple(
            reach.Witness(target.host, target.network, sign)
            for target, sign in signs
            if sign is not None
        )

    def sweep(
        self, targets: collections.abc.Iterable[reach.Target]
    ) -> tuple[reach.Witness, ...]:
        """Return what hosts answer now; nothing is kept for comparisons.

        With threads of its own: many silent hosts must not keep a suspected
        one waiting.
        """
        asked = [
            (target, self._sweepers.submit(self._sign_of, target))
            for target in targets
        ]
        signs = [(target, answer.result()) for target, answer in asked]
        return tuple(
            reach.Witness(target.host, target.network, sign)
            for target, sign in signs
            if sign is not None
        )

    def _ask(
        self, target: reach.Target, since: float
    ) -> futures.Future[incident.Sign | None]:
        now = self._clock()
        with self._comparing:
            self._compared = {
                other: kept
                for other, kept in self._compared.items()
                if 0.0 <= now - kept[0] <= _COMPARED
            }
            kept = self._compared.get(target)
            if kept is not None and kept[0] >= since:
                return kept[1]
            answer = self._pool.submit(self._sign_of, target)
            self._compared[target] = now, answer
            return answer

    def _sign_of(self, target: reach.Target) -> incident.Sign | None:
        """Return how the other host answers, None if it is this machine."""
        if target.network == evidence.MANAGEMENT:
            address = self._own_addresses.get(target.host, target.address)
        else:
            address = self._networks[target.host][target.network]
        if self._is_here(address):
            return None
        return self._look(address)[0]

    def _is_here(self, address: str) -> bool:
        """Whether an address is one of this machine; nothing is sent."""
        try:
            name, port = fencing_address.split(address, self._port)
            targets = _resolve(name, port, time.monotonic() + self._timeout)
        except (OSError, ValueError):
            return False
        for family, target in targets:
            try:
                with socket.socket(family, socket.SOCK_DGRAM) as connection:
                    connection.connect(target)
                    if connection.getsockname()[0] == target[0]:
                        return True
            except OSError:
                continue
        return False

    def _look(self, address: str) -> _Found:
        # The time counts from here, not from when it was asked for: what
        # this machine was too late to begin is not the host's silence.
        try:
            name, port = fencing_address.split(address, self._port)
        except ValueError as exc:
            return incident.Sign.UNKNOWN, str(exc)
        where = f"'{name}' port {port}"
        try:
            targets = _resolve(name, port, time.monotonic() + self._timeout)
        except (OSError, UnicodeError) as exc:
            return incident.Sign.UNKNOWN, f'{where} does not resolve: {exc}'
        found: _Found = incident.Sign.UNKNOWN, f'{where} has no address'
        signs = set()
        deadline = time.monotonic() + self._timeout
        for tried, (family, target) in enumerate(targets):
            # Each address gets its share, or the first would take it all.
            now = time.monotonic()
            share = (deadline - now) / (len(targets) - tried)
            if share <= 0:
                return incident.Sign.UNKNOWN, f'{where}: no time was left'
            sign, text = self._try(family, target, now + share)
            found = sign, f'{where} {text}'
            if sign == incident.Sign.ALIVE:
                return found
            signs.add(sign)
        if len(signs) > 1:
            return (
                incident.Sign.UNKNOWN,
                f'{where}: not every address of it could be tried',
            )
        return found

    def _try(
        self, family: int, target: tuple[object, ...], deadline: float
    ) -> _Found:
        try:
            connection = socket.socket(family, socket.SOCK_STREAM)
        except OSError as exc:
            return incident.Sign.UNKNOWN, f'could not be tried: {exc}'
        with connection:
            try:
                _limit(connection, deadline)
                connection.connect(target)
            except OSError as exc:
                return _judge(exc, 'connection')
            if not self._banner:
                return incident.Sign.ALIVE, 'accepted a connection'
            try:
                _limit(connection, deadline)
                greeting = connection.recv(1)
            except OSError as exc:
                return _judge(exc, 'banner')
        if greeting:
            return incident.Sign.ALIVE, 'sent a banner'
        return incident.Sign.ALIVE, 'closed the connection, so it is running'


def _reading(channel: str, found: _Found, at: float) -> incident.Reading:
    sign, text = found
    return incident.Reading(
        channel=channel,
        sign=sign,
        at=at,
        age=0.0 if sign == incident.Sign.ALIVE else None,
        text=text,
    )


def _limit(connection: socket.socket, deadline: float) -> None:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        # Not the host's silence: this machine came to it too late.
        raise OSError('no time was left')
    connection.settimeout(remaining)


def _judge(exc: OSError, awaited: str) -> _Found:
    if isinstance(exc, TimeoutError) or exc.errno in _SILENT:
        why = 'in time' if exc.errno is None else f'({exc.strerror})'
        return incident.Sign.SILENT, f'gave no {awaited} {why}'
    if exc.errno in _ALIVE:
        return incident.Sign.ALIVE, f'answered: {exc.strerror}'
    return incident.Sign.UNKNOWN, f'could not be tried: {exc}'


def _resolve(name: str, port: int, deadline: float) -> list[_Target]:
    """Return the addresses of a name within a time.

    The resolver knows no time limit: for a name it runs in a thread that is
    left to itself when it takes too long. An address needs no resolver.
    """
    try:
        return _addresses(name, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    answers: queue.SimpleQueue[list[_Target] | OSError | UnicodeError]
    answers = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_addresses(name, port, 0))
        except (OSError, UnicodeError) as exc:
            answers.put(exc)

    threading.Thread(target=ask, name='resolve', daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise TimeoutError('the resolver did not answer in time') from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _addresses(name: str, port: int, flags: int) -> list[_Target]:
    return [
        (family, target)
        for family, _, _, _, target in socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=flags
        )
    ]
