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
import dataclasses
import re
import time
import typing
from unittest import mock


from nova_ha_plugins.engine import context
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
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.recovery import records
from nova_ha_plugins.recovery import restoring
from nova_ha_plugins.store import leases
from tests.scenarios import bugs
from tests.scenarios import expectations
from tests.scenarios import invariants
from tests.scenarios import language
from tests.scenarios import random_runs

# Random runs that are tried when no story finds a bug.
SEEDS = 100
# CPU seconds after which nobody looks any further.
LONGEST = 60.0
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
    until = time.process_time() + LONGEST
    with mutation.plant():
        for name in (*mutation.stories, *names):
            if time.process_time() > until:
                break
            wrong = _play(name)
            if _LAW.match(wrong):
                return f'{wrong.partition(":")[0]} in story {name}'
            second = second or (wrong and f'story {name}: {wrong}')
        if second:
            return second
        for seed in range(SEEDS):
            if time.process_time() > until:
                break
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

ALL = (
    Mutation(
        'skip-read-back',
        'once the device was asked, whatever it reads counts as off',
        _event(events.PowerRead, bugs.reads_off),
        ('device-lies',),
    ),
    Mutation(
        'changing-is-off',
        'a device that is switching off reads as off',
        _event(events.PowerRead, bugs.nearly_off),
        ('device-never-settles',),
    ),
    Mutation(
        'name-for-key',
        "a device counts by the host's name in the map, not by its identity",
        _event(events.PowerRead, bugs.by_its_name),
        ('wrong-device-reads-off',),
    ),
    Mutation(
        'error-is-failure',
        'an error of the API counts as a failed evacuation',
        bugs.errors_refuse,
        ('reply-lost-record-late',),
    ),
    Mutation(
        'retry-without-record',
        "an evacuation is asked for again without reading nova's record",
        _event(events.EvacuationSeen, bugs.without_record),
        ('record-slow',),
    ),
    Mutation(
        'wrong-source',
        'the newest evacuation of a server counts, whatever host it left',
        _instead(servers.Servers, '_look_at_servers', bugs.any_source),
        ('source-after-source',),
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
        _instead(gates, 'hold', bugs.expiring),
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
        _instead(pacing, 'may_begin', bugs.unlimited),
        ('caps',),
    ),
    Mutation(
        'everybody',
        'servers that nobody opted in, or that opted out, are evacuated',
        _instead(policy, 'choose', bugs.everybody),
        ('tenant-opts-out-waiting',),
    ),
    Mutation(
        'stays-started',
        'a server that was stopped is left running',
        _instead(restoring, 'arrived', bugs.stays_started),
        ('stopped-after-failure',),
    ),
    Mutation(
        'unclean-return',
        'a host returns before its old guests are removed',
        _event(events.HostSeen, bugs.nothing_uncleaned),
        ('return-in-order',),
    ),
    Mutation(
        'unknown-is-silent',
        'a channel that could not be read counts as silent',
        _instead(evidence, 'verdict', bugs.heard_nothing),
        ('probe-unknown',),
    ),
    Mutation(
        'one-channel',
        'a missing heartbeat alone convicts',
        _instead(evidence, 'verdict', bugs.one_channel),
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
        _instead(observer, 'watched_enough', bugs.warm),
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
            lambda real: lambda self: bugs.forgetting(real, self),
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
        ('store-slow-after-fence',),
    ),
    Mutation(
        'no-intent',
        'an intent is kept in memory, and its call made all the same',
        _instead(context.Context, 'apply', bugs.unsaved),
        ('host-hangs',),
    ),
    Mutation(
        'same-token',
        'an engine takes over without a higher token',
        _instead(leases, 'take', bugs.same_token),
        ('engines-frozen-in-the-call',),
    ),
    Mutation(
        'no-quiet-after-take-over',
        'an engine that has just taken over fences at once',
        _instead(observer, 'watched_enough', bugs.no_quiet),
        ('engines-take-over-clear-eyes',),
    ),
)
