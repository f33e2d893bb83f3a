# SPDX-License-Identifier: Apache-2.0

"""Which networks a living host has lost, and whose loss that is.

A host whose heartbeats come is asked on every network now and then. Silence
counts only while it is unbroken: one answer, or one look that could not be
made, begins it anew. It counts against the host only when another host
answers on the same network at the same time (otherwise it may be the leg of
this machine) and no other host went silent there together with it (otherwise
it is the network).
"""

import bisect
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import enum
import math
import typing

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident

Response = evidence.Response
Sign = incident.Sign

_STRENGTH: typing.Final = (Response.ALERT, Response.MIGRATE, Response.FENCE)

# Codes of losses that are not the host's own.
_SHARED: typing.Final = ('own-reach', 'network-outage')

# So many turns of the look may be missing before a silence is broken.
_MISSED = 3.0


class Cause(enum.StrEnum):
    """Whose loss it is."""

    HOST = 'host'
    OUTAGE = 'network-outage'
    OWN_REACH = 'own-reach'


@dataclasses.dataclass(frozen=True)
class Rules:
    """What the operator configured; see the options of the same names.

    :ivar responses: what is done, by network; alert where nothing is said.
    """

    responses: tuple[tuple[str, Response], ...] = ()
    interval: float = 10.0
    lost_after: float = 30.0
    together: float = 300.0
    max_migrations: int = 2

    def response(self, network: str) -> Response:
        """Return what is done about a host that lost that network."""
        return dict(self.responses).get(network, Response.ALERT)

    @property
    def enough(self) -> float:
        """Seconds of silence that count: never less than two turns."""
        return max(self.lost_after, 2 * self.interval)

    @property
    def gap(self) -> float:
        """Seconds after which an answer, or a silence, is old."""
        return max(_MISSED * self.interval, 10.0)


@dataclasses.dataclass(frozen=True)
class Track:
    """What the looks at one host on one network gave so far.

    Times are those of the clock of whoever looks.

    :ivar at: when it was last asked.
    :ivar silent_since: when the silence that lasts was first noticed.
    :ivar heard_at: when it last answered.
    :ivar heard_since: since when every look got an answer.
    """

    host: str
    network: str
    sign: Sign
    at: float
    silent_since: float | None = None
    heard_at: float | None = None
    heard_since: float | None = None


@dataclasses.dataclass(frozen=True)
class Loss:
    """A network that a living host lost.

    :ivar seconds: how long it has been silent.
    :ivar others: for an outage those that went silent with it, else those
        that answer.
    :ivar heard: it had answered there before, so the address is right.
    """

    host: str
    network: str
    seconds: float
    cause: Cause
    others: tuple[str, ...] = ()
    heard: bool = True


@dataclasses.dataclass(frozen=True)
class Picture:
    """All losses that are known in one round."""

    losses: tuple[Loss, ...] = ()

    def of(self, host: str) -> dict[str, Loss]:
        """Return the losses of one host by network."""
        return {
            loss.network: loss for loss in self.losses if loss.host == host
        }


def track(
    before: Track | None,
    host: str,
    network: str,
    sign: Sign,
    at: float,
    gap: float,
) -> Track:
    """Return what is known after one more look.

    :param gap: looks that lie farther apart are no unbroken silence.
    """
    heard_at = before.heard_at if before else None
    if before is not None and not 0.0 <= at - before.at <= gap:
        before = None
    if sign == Sign.ALIVE:
        since = before.heard_since if before else None
        return Track(
            host, network, sign, at, None, at, at if since is None else since
        )
    if sign == Sign.UNKNOWN:
        return Track(host, network, sign, at, None, heard_at)
    since = before.silent_since if before else None
    if since is None:
        since = at
    return Track(host, network, sign, at, since, heard_at)


def judge(
    tracks: Iterable[Track],
    living: Iterable[str],
    off: Iterable[str],
    now: float,
    rules: Rules,
) -> Picture:
    """Return what is lost now.

    :param living: hosts whose heartbeats come; the others are not judged.
    :param off: hosts that were fenced: their silence is no wonder.
    """
    living, off = frozenset(living), frozenset(off)
    by_network: dict[str, list[Track]] = {}
    for each in tracks:
        if each.host not in off:
            by_network.setdefault(each.network, []).append(each)
    return Picture(
        tuple(
            loss
            for network in sorted(by_network)
            for loss in _lost(by_network[network], living, now, rules)
        )
    )


def _lost(
    members: list[Track], living: frozenset[str], now: float, rules: Rules
) -> Iterable[Loss]:
    silent = sorted(
        (each.silent_since, each.host)
        for each in members
        if each.silent_since is not None and now - each.at <= rules.gap
    )
    since_when = [at for at, _ in silent]
    answers = [
        each
        for each in members
        if each.sign == Sign.ALIVE and now - each.at <= rules.gap
    ]
    newest = max((each.at for each in answers), default=-math.inf)
    for each in members:
        since = each.silent_since
        if (
            since is None
            or each.host not in living
            or now - each.at > rules.gap
            or now - since < rules.enough
        ):
            continue
        first = bisect.bisect_left(since_when, since - rules.together)
        last = bisect.bisect_right(since_when, since + rules.together)
        others = [host for _, host in silent[first:last] if host != each.host]
        if newest < since:
            cause = Cause.OWN_REACH
        elif others:
            cause = Cause.OUTAGE
        else:
            cause = Cause.HOST
            witnesses = [other for other in answers if other.at >= since]
            others = sorted(other.host for other in witnesses)
            # Before anybody else was heard it was perhaps our own leg.
            since = max(since, min(_heard_since(o) for o in witnesses))
            # It may have broken and come back between two looks at them.
            if now - since < rules.enough + rules.interval:
                continue
        yield Loss(
            each.host,
            each.network,
            now - since,
            cause,
            tuple(others),
            each.heard_at is not None,
        )


def _heard_since(witness: Track) -> float:
    if witness.heard_since is None:
        return witness.at
    return witness.heard_since


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is done about the networks that a living host has lost.

    :ivar lost: all networks that are lost.
    :ivar heard: those on which it was heard before.
    :ivar acting: those for which the response is the one that is given.
    :ivar response: the strongest that is allowed for them.
    :ivar code: why nothing is done, '' when something is.
    :ivar text: the same as a sentence; the policy, when something is done.
    """

    lost: tuple[str, ...]
    response: Response
    code: str
    text: str
    heard: tuple[str, ...] = ()
    acting: tuple[str, ...] = ()


def code_of(network: str) -> str:
    """Return the code of a host that lost that network."""
    code = 'network-lost'
    if network == evidence.MANAGEMENT:
        code = 'management-one-way'
    elif network == 'storage':
        code = 'storage-lost'
    elif network == 'tenant':
        code = 'tenant-lost'
    return code


def answer(
    host: str,
    losses: Mapping[str, Loss | None],
    signs: Mapping[str, Sign],
    rules: Rules,
    machine: str,
) -> Answer | None:
    """Return what to do about the losses of a living host, None if it heals.

    :param losses: by network; None where the loss was known before and this
        engine has not watched long enough to say so itself.
    :param signs: what the host answers at this moment. One answer ends the
        loss of that network; a look that could not be made ends nothing, and
        allows nothing.
    :param machine: the name of the machine on which the engine runs.
    """
    weighed = [
        _weigh(
            host, network, losses[network], signs.get(network), rules, machine
        )
        for network in sorted(losses)
        if signs.get(network) != Sign.ALIVE
    ]
    if not weighed:
        return None
    # The network itself, or our own leg, may explain the other losses too.
    shared = [each for each in weighed if each.code in _SHARED]
    first = max(
        shared or weighed, key=lambda each: _STRENGTH.index(each.response)
    )
    return dataclasses.replace(
        first,
        lost=tuple(name for each in weighed for name in each.lost),
        heard=tuple(
            name
            for name in sorted(losses)
            for loss in (losses[name],)
            if loss is not None and loss.heard
        ),
        acting=tuple(
            name
            for each in weighed
            if each.response == first.response
            for name in each.lost
        ),
    )


def _weigh(
    host: str,
    network: str,
    loss: Loss | None,
    sign: Sign | None,
    rules: Rules,
    machine: str,
) -> Answer:
    wanted = rules.response(network)

    def alert(code: str, text: str) -> Answer:
        return Answer((network,), Response.ALERT, code, text)

    if loss is None or sign != Sign.SILENT:
        return alert(
            code_of(network),
            f"Host '{host}' lost network '{network}', and it is not certain "
            'whether that is still so: it is asked again. Nothing is done to '
            'its servers.',
        )
    silent = (
        f"Host '{host}' sends heartbeats and was silent on network "
        f"'{network}' for {loss.seconds:.0f} s"
    )
    names = evidence.quoted(loss.others[:5])
    if loss.cause == Cause.OWN_REACH:
        return alert(
            'own-reach',
            f"{silent}, but no other host answers there: the engine's "
            f"machine '{machine}' may be cut off itself. Nobody is accused; "
            f"check the link of '{machine}' to network '{network}'.",
        )
    if loss.cause == Cause.OUTAGE:
        return alert(
            'network-outage',
            f'{silent}, and so was {names}'
            + (f' and {len(loss.others) - 5} more' if loss.others[5:] else '')
            + ' since the same time: it is the network, not the hosts. '
            f"Nothing is done to servers; repair network '{network}'.",
        )
    said = f'{silent}, while {names} answered there'
    if network == evidence.MANAGEMENT:
        return alert(
            code_of(network),
            f'{said}. The heartbeats show that the other direction works: '
            'the channels disagree, and nothing is done. Check the way back '
            'to the host, its firewall, and [probe] port.',
        )
    if not loss.heard:
        return alert(
            code_of(network),
            f'{said}. It never answered there since this engine began, so '
            'the address may be wrong: nothing is done. Check networks.'
            f'{network} of the host in the fencing map.',
        )
    if wanted == Response.ALERT:
        return alert(
            code_of(network),
            f'{said}. Nothing is done to its servers ([networks] {network} = '
            f'{wanted}); repair its link. It ends by itself when it answers.',
        )
    return Answer(
        (network,), wanted, '', f'{said} ([networks] {network} = {wanted})'
    )
