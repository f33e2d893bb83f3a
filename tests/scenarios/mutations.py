# SPDX-License-Identifier: Apache-2.0

"""Planted bugs: what the stories must find, or they prove nothing.

Each changes a function of the product while it is looked for, as a bug of
that kind would. ``find`` plays the stories, then random faults, until a law
is broken. To plant one: a name, what it breaks in one sentence, a function
that gives the patched product; ``tools/simulate --mutation NAME`` tells who
finds it. One that nobody finds means a missing story or a missing law.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import copy
import dataclasses
import re
import types
import typing
from unittest import mock

import sqlalchemy as sa

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import part
from nova_ha_plugins.engine import permits
from nova_ha_plugins.engine import power
from nova_ha_plugins.engine import servers
from nova_ha_plugins.recovery import brakes
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import observer
from nova_ha_plugins.recovery import outcomes
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import records
from nova_ha_plugins.recovery import restoring
from nova_ha_plugins.store import leases
from nova_ha_plugins.store import models
from tests.scenarios import expectations
from tests.scenarios import invariants
from tests.scenarios import language
from tests.scenarios import random_runs

# Random runs that are tried when no story finds a bug.
SEEDS = 100
Planted = contextlib.AbstractContextManager[typing.Any]
_LAW = re.compile(r'[SL]\d+:')


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One bug.

    :ivar text: what the product does wrong.
    :ivar plant: the patched product, as long as the context lasts.
    :ivar stories: who are likely to find it; they are asked first.
    """

    name: str
    text: str
    plant: Callable[[], Planted]
    stories: tuple[str, ...] = ()


def by_name(name: str) -> Mutation:
    """Return the mutation of that name.

    :raises KeyError: there is none.
    """
    return {each.name: each for each in ALL}[name]


def find(mutation: Mutation) -> str:
    """Return which law was broken where, '' when nobody noticed.

    A law is looked for first; an expectation of a story, or a fault of the
    engine, counts when no law was broken by any story.
    """
    second = ''
    names = language.names()
    with mutation.plant():
        for name in (*mutation.stories, *names):
            wrong = _play(name)
            if _LAW.match(wrong):
                return f'{wrong.partition(":")[0]} in story {name}'
            second = second or (wrong and f'story {name}: {wrong}')
        if second:
            return second
        for seed in range(SEEDS):
            wrong = (
                random_runs.why(
                    random_runs.plan(seed), random_runs.crash_of(seed)
                )
                or ''
            )
            if wrong:
                return f'{wrong[:60]} in seed {seed}'
    return ''


def _play(name: str) -> str:
    try:
        story = language.load(name)
        wrong = expectations.failures(language.play(story), story)
    except invariants.Violation as error:
        return str(error)
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return ' '.join(wrong[0].split()) if wrong else ''


# --- how to plant ----------------------------------------------------------


def _instead(
    owner: typing.Any, name: str, make: Callable[[typing.Any], typing.Any]
) -> Callable[[], Planted]:
    """A function of the product is replaced by what is made from it."""
    return lambda: mock.patch.object(owner, name, make(getattr(owner, name)))


def _gives(
    owner: typing.Any, name: str, answer: typing.Any
) -> Callable[[], Planted]:
    """A function of the product always gives the same."""
    return _instead(owner, name, lambda real: lambda *args, **more: answer)


def _event(
    kind: type[events.Event],
    change: Callable[[incident.Incident, typing.Any], typing.Any],
) -> Callable[[], Planted]:
    """The machine takes every such event for another one."""

    @contextlib.contextmanager
    def planted() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for handlers in machine.TABLE.values():
                if kind not in handlers:
                    continue
                stack.enter_context(
                    mock.patch.dict(
                        handlers, {kind: _changed(handlers[kind], change)}
                    )
                )
            yield

    return planted


def _changed(
    real: machine.Handler,
    change: Callable[[incident.Incident, typing.Any], typing.Any],
) -> machine.Handler:
    return lambda subject, event, patience: real(
        subject, change(subject, event), patience
    )


# --- what is planted -------------------------------------------------------


def _reads_off(
    subject: incident.Incident, event: events.PowerRead
) -> events.PowerRead:
    if subject.fence is None or not subject.fence.calls:
        return event
    reading = dataclasses.replace(event.reading, power=incident.Power.OFF)
    return dataclasses.replace(event, reading=reading)


def _nearly_off(
    subject: incident.Incident, event: events.PowerRead
) -> events.PowerRead:
    if event.reading.power != incident.Power.CHANGING:
        return event
    reading = dataclasses.replace(event.reading, power=incident.Power.OFF)
    return dataclasses.replace(event, reading=reading)


def _by_its_name(
    subject: incident.Incident, event: events.PowerRead
) -> events.PowerRead:
    reading = dataclasses.replace(
        event.reading, system_uuid=subject.expected_system_uuid
    )
    return dataclasses.replace(event, reading=reading)


def _without_record(
    subject: incident.Incident, event: events.EvacuationSeen
) -> events.EvacuationSeen:
    return dataclasses.replace(event, record=None)


def _nothing_uncleaned(
    subject: incident.Incident, event: events.HostSeen
) -> events.HostSeen:
    return dataclasses.replace(event, uncleaned=0)


def _errors_refuse() -> Planted:
    def attempt(call: Callable[..., object], *args: object) -> object:
        answer = doors.attempt(call, *args)
        if isinstance(answer, doors.Unanswered):
            return doors.Refused(str(answer), 504)
        return answer

    proxy = types.SimpleNamespace(
        attempt=attempt, DoorError=doors.DoorError, Refused=doors.Refused
    )
    return mock.patch.object(servers, 'doors', proxy)


class _AnySource:
    """Nova, whose records of other hosts are taken for those of a host."""

    def __init__(self, nova: doors.Nova) -> None:
        self._nova = nova

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._nova, name)

    def evacuations(self, host: str) -> tuple[typing.Any, ...]:
        return tuple(
            record
            for service in self._nova.services()
            for record in self._nova.evacuations(service.host)
        )


def _any_source(real: typing.Any) -> typing.Any:
    def look_at_servers(
        self: servers.Servers, *args: typing.Any
    ) -> typing.Any:
        other = copy.copy(self)
        other.ctx = copy.copy(self.ctx)
        other.ctx.nova = _AnySource(self.ctx.nova)
        return real(other, *args)

    return look_at_servers


def _expiring(real: typing.Any) -> typing.Any:
    def hold(case: gates.Case) -> gates.Hold | None:
        found: gates.Hold | None = real(case)
        since = case.suspect.dead_since
        if found and since is not None and case.scene.now - since > 60.0:
            return None
        return found

    return hold


def _unlimited(real: typing.Any) -> typing.Any:
    def may_begin(
        subjects: typing.Any, caps: pacing.Caps, *args: typing.Any
    ) -> typing.Any:
        return real(subjects, pacing.Caps(999, 999), *args)

    return may_begin


def _everybody(real: typing.Any) -> typing.Any:
    def choose(*args: typing.Any, **more: typing.Any) -> policy.Choice:
        return dataclasses.replace(real(*args, **more), protected=True)

    return choose


def _stays_started(real: typing.Any) -> typing.Any:
    def arrived(
        subject: incident.Incident,
        at: float,
        server: incident.Server,
        view: typing.Any,
    ) -> incident.Incident:
        if server.vm_state == 'stopped' and view.vm_state == 'active':
            return outcomes.end(
                subject,
                at,
                dataclasses.replace(server, destination=view.host),
                incident.ServerState.RECOVERED,
                '',
                'it is there',
            )
        return real(subject, at, server, view)

    return arrived


def _heard_nothing(real: typing.Any) -> typing.Any:
    def verdict(readings: typing.Any) -> incident.Verdict:
        return real(
            tuple(
                dataclasses.replace(each, sign=incident.Sign.SILENT)
                if each.sign == incident.Sign.UNKNOWN
                else each
                for each in readings
            )
        )

    return verdict


def _one_channel(real: typing.Any) -> typing.Any:
    def verdict(readings: typing.Any) -> incident.Verdict:
        heartbeat = evidence.of(readings, evidence.HEARTBEAT)
        if heartbeat and heartbeat.sign == incident.Sign.SILENT:
            return incident.Verdict.DEAD
        return real(readings)

    return verdict


class _Forgetful:
    """A store that forgets what is closed."""

    def __init__(self, store: context.Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._store, name)

    def recent_fences(self, since: float) -> tuple[gates.PastFence, ...]:
        return ()


def _forgetting(
    real: Callable[[context.Context], None], self: context.Context
) -> None:
    self.store = typing.cast(context.Store, _Forgetful(self.store))
    real(self)


def _warm(real: typing.Any) -> typing.Any:
    def watched_enough(
        suspect: typing.Any, scene: gates.Scene, limits: gates.Limits
    ) -> typing.Any:
        seen = dataclasses.replace(scene, watching=limits.warm_up)
        return real(suspect, seen, limits)

    return watched_enough


def _no_quiet(real: typing.Any) -> typing.Any:
    def watched_enough(
        suspect: typing.Any, scene: gates.Scene, limits: gates.Limits
    ) -> typing.Any:
        seen = dataclasses.replace(scene, since_take_over=None)
        return real(suspect, seen, limits)

    return watched_enough


def _unsaved(real: typing.Any) -> typing.Any:
    def apply(
        self: context.Context,
        subject: incident.Incident,
        *happened: typing.Any,
    ) -> incident.Incident:
        if not any(isinstance(e, events.PowerCalled) for e in happened):
            return real(self, subject, *happened)
        for event in happened:
            subject = machine.step(subject, event, self.settings.patience)
        self._permits.give(self.monotonic())
        return subject

    return apply


def _same_token(real: typing.Any) -> typing.Any:
    def take(db: typing.Any, *args: typing.Any) -> typing.Any:
        lease = real(db, *args)
        if lease.token == 1:
            return lease
        db.write(
            lambda connection: connection.execute(
                sa.update(models.leases).values(token=lease.token - 1)
            )
        )
        return dataclasses.replace(lease, token=lease.token - 1)

    return take


ALL = (
    Mutation(
        'skip-read-back',
        'once the device was asked, whatever it reads counts as off',
        _event(events.PowerRead, _reads_off),
        ('device-lies',),
    ),
    Mutation(
        'changing-is-off',
        'a device that is switching off reads as off',
        _event(events.PowerRead, _nearly_off),
        ('device-never-settles',),
    ),
    Mutation(
        'name-for-key',
        "a device counts by the host's name in the map, not by its identity",
        _event(events.PowerRead, _by_its_name),
        ('wrong-device-reads-off',),
    ),
    Mutation(
        'error-is-failure',
        'an error of the API counts as a failed evacuation',
        _errors_refuse,
        ('reply-lost-record-late',),
    ),
    Mutation(
        'retry-without-record',
        "an evacuation is asked for again without reading nova's record",
        _event(events.EvacuationSeen, _without_record),
        ('by-hand',),
    ),
    Mutation(
        'wrong-source',
        'the newest evacuation of a server counts, whatever host it left',
        _instead(servers.Servers, '_look_at_servers', _any_source),
        ('server-fails-twice',),
    ),
    Mutation(
        'other-destination',
        'after a failure with a destination another one is tried',
        _gives(records, '_unproven', False),
        ('spawn-fails-with-guest',),
    ),
    Mutation(
        'gate-expires',
        'a host that was held for a minute is fenced',
        _instead(gates, 'hold', _expiring),
        ('storm-held',),
    ),
    Mutation(
        'deaf-after-fence',
        'a heartbeat after the fence is ignored',
        _instead(
            part.Part, 'check_off', lambda real: lambda self, subject: subject
        ),
        ('back-heard-only-by-bus',),
    ),
    Mutation(
        'deaf-before-fence',
        'the host is not asked again right before it is switched off',
        _gives(power.Power, '_signs_of_life', ''),
        ('heard-before-fence', 'answers-before-fence'),
    ),
    Mutation(
        'batch-unread',
        'the power is not read before a batch of evacuations',
        _gives(servers.Servers, '_still_off', None),
        ('back-in-a-slow-batch',),
    ),
    Mutation(
        'no-caps',
        'any number of evacuations begins at once',
        _instead(pacing, 'may_begin', _unlimited),
        ('caps',),
    ),
    Mutation(
        'everybody',
        'servers that nobody opted in, or that opted out, are evacuated',
        _instead(policy, 'choose', _everybody),
        ('tenant-opts-out-waiting',),
    ),
    Mutation(
        'stays-started',
        'a server that was stopped is left running',
        _instead(restoring, 'arrived', _stays_started),
        ('stopped-after-failure',),
    ),
    Mutation(
        'unclean-return',
        'a host returns before its old guests are removed',
        _event(events.HostSeen, _nothing_uncleaned),
        ('return-in-order',),
    ),
    Mutation(
        'unknown-is-silent',
        'a channel that could not be read counts as silent',
        _instead(evidence, 'verdict', _heard_nothing),
        ('forged-operator',),
    ),
    Mutation(
        'one-channel',
        'a missing heartbeat alone convicts',
        _instead(evidence, 'verdict', _one_channel),
        ('forged-operator',),
    ),
    Mutation(
        'attest-unseen',
        "an operator's word counts although a channel hears the host",
        _gives(machine, '_why_not_attest', ''),
        ('attest-alive',),
    ),
    Mutation(
        'foreign-force-down',
        'a host that somebody else forced down is fenced',
        _gives(gates, '_foreign', None),
        ('foreign-behind-an-old-list',),
    ),
    Mutation(
        'no-warm-up',
        'an engine that has just begun convicts',
        _instead(observer, 'watched_enough', _warm),
        ('warm-up',),
    ),
    Mutation(
        'blind-convicts',
        'hosts are fenced although most of them fell silent at once',
        _gives(observer, '_blind', None),
        ('blind-by-and-by',),
    ),
    Mutation(
        'disarmed-acts',
        'a disarmed engine fences',
        _gives(gates, '_armed', None),
        ('observe-only',),
    ),
    Mutation(
        'storm-forgets',
        'the storm gate counts the fences of open incidents only',
        _instead(
            context.Context,
            '__post_init__',
            lambda real: lambda self: _forgetting(real, self),
        ),
        ('storm-of-closed-incidents',),
    ),
    Mutation(
        'maintenance-ignored',
        'a host in maintenance is fenced',
        _gives(brakes, 'maintenance', None),
        ('maintenance-ends-dead',),
    ),
    Mutation(
        'late-call',
        'a call is made however long ago its intent was saved',
        _gives(permits.Permits, '_in_time', None),
        ('store-slow',),
    ),
    Mutation(
        'no-intent',
        'an intent is kept in memory, and its call made all the same',
        _instead(context.Context, 'apply', _unsaved),
        ('host-hangs',),
    ),
    Mutation(
        'same-token',
        'an engine takes over without a higher token',
        _instead(leases, 'take', _same_token),
        ('engines-frozen-in-the-call',),
    ),
    Mutation(
        'no-quiet-after-take-over',
        'an engine that has just taken over fences at once',
        _instead(observer, 'watched_enough', _no_quiet),
        ('engines-take-over-clear-eyes',),
    ),
)
