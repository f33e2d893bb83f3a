# SPDX-License-Identifier: Apache-2.0

"""Alarms of type ``hypervisor_heartbeat``: the net below the event alarm.

Aodh delivers an event at most once; this alarm looks at the same heartbeats,
by level. It goes by the rules of the watcher: no host is accused while
monitoring is blind, waits or has just begun, and then the alarm keeps its
state. It is never 'insufficient data'.

Of the service itself it says that nobody recovers hosts. There a store that
cannot be read is bad news as well, once that lasts: it moves no host, it wakes
a person.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import Any

from aodh import evaluator
from oslo_log import log

from aodh_actions import lookout
from aodh_actions import message
from aodh_actions import rule
from nova_ha_plugins.conf import nova_ha as nova_ha_conf
from nova_ha_plugins.conf import opts
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness

LOG = log.getLogger(__name__)

# A sentence names so many hosts; the list has all of them.
_NAMED = 10


@dataclasses.dataclass(frozen=True)
class Finding:
    """What an alarm is about now.

    :ivar trouble: what is wrong, by name; nothing while all is well.
    :ivar reason: the same as a sentence.
    :ivar told: what else an action is handed.
    """

    trouble: frozenset[str]
    reason: str
    told: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class _Memory:
    """What was told of an alarm, and when."""

    trouble: frozenset[str] = frozenset()
    told_at: float = 0.0


def silent(look: detector.Look, max_age: float) -> Finding:
    """Return which hosts a look convicts."""
    hosts = []
    for host in look.hosts:
        if host.verdict != detector.Liveness.DOWN:
            continue
        if not message.HOST.fullmatch(host.host):
            # The engine would take no such name; the doctor names it.
            continue
        hosts.append(
            {
                'host': host.host,
                'service_uuid': host.service_uuid,
                'silent_for': round(host.silent_for, 1),
                'reason': f'No heartbeat for {host.silent_for:.1f}s, '
                f'expected one within {max_age:.1f}s',
            }
        )
    if not hosts:
        return Finding(
            frozenset(),
            f'All of {len(look.hosts)} hosts were heard within '
            f'{max_age:.0f}s, or were taken away long ago',
            {'hosts': []},
        )
    names = [str(host['host']) for host in hosts]
    return Finding(
        frozenset(names),
        f'{len(hosts)} of {len(look.hosts)} hosts silent for more than '
        f'{max_age:.0f}s: {_some(names)}',
        {'hosts': hosts},
    )


def nobody(seen: lookout.Service, max_age: float) -> Finding:
    """Return why nobody recovers hosts, if that is so.

    :param max_age: seconds for which each of the reasons may last.
    """
    found = dict(_reasons(seen, max_age))
    return Finding(
        frozenset(found),
        '. '.join(found.values())
        or f'An engine and a watcher were at work within {max_age:.0f}s',
        {'trouble': [{'code': c, 'reason': r} for c, r in found.items()]},
    )


def _reasons(
    seen: lookout.Service, max_age: float
) -> Iterable[tuple[str, str]]:
    if seen.away_for is not None:
        if seen.away_for >= max_age:
            yield (
                'store-away',
                f'The heartbeats could not be read for {seen.away_for:.0f}s, '
                'so nothing is known of engines and watchers. Look at the '
                'database and at [nova_ha] liveness_backend',
            )
        return
    if seen.engine_age is None:
        yield (
            'no-engine',
            'No engine ever acted. Start nova-ha-engine',
        )
    elif seen.engine_age >= max_age:
        yield (
            'no-engine',
            f'The engine that acts said nothing for {seen.engine_age:.0f}s, '
            f'expected a word within {max_age:.0f}s. A host that fails now '
            'is not recovered. Look at nova-ha-engine',
        )
    looked = min((watch.age for watch in seen.watches), default=None)
    if looked is None or looked >= max_age:
        yield (
            'no-watcher',
            (
                f'No watcher looked at the heartbeats for {looked:.0f}s'
                if looked is not None
                else 'No watcher ever looked at the heartbeats'
            )
            + '. A host that fails now is found by the engine alone. Look at '
            'ceilometer-polling-ha-central',
        )
    elif seen.blind_for >= max_age:
        texts = {watch.text for watch in seen.watches if watch.text}
        yield (
            'blind',
            f'Monitoring is blind for {seen.blind_for:.0f}s: '
            f'{_some(sorted(texts)) or "no watcher sees clearly"}',
        )
    if seen.hosts and seen.newest >= max_age:
        yield (
            'all-silent',
            f'Monitoring is blind: no host of {seen.hosts} was heard for '
            f'{seen.newest:.0f}s. Look at the message bus and at '
            'ceilometer-ha-notification',
        )


def _some(names: Collection[str]) -> str:
    shown = ', '.join(list(names)[:_NAMED])
    more = len(names) - _NAMED
    return f'{shown} and {more} more' if more > 0 else shown


class HypervisorHeartbeatEvaluator(evaluator.Evaluator):
    """Evaluates our alarms from what its lookout saw last."""

    def __init__(self, conf: Any) -> None:
        super().__init__(conf)
        opts.register_plugin_opts(conf)
        try:
            self._lookout = lookout.Lookout(
                _rules(conf),
                liveness.open_liveness(conf),
                store_api.open_store(conf),
            )
        except errors.AWAY as error:
            LOG.error(
                "Alarms of type '%s' are not evaluated: %s",
                message.TYPE,
                error,
            )
            raise
        self._memories: dict[str, _Memory] = {}
        self._waiting: set[str] = set()

    def evaluate(self, alarm: Any) -> None:
        """Bring an alarm up to date, and tell what is new.

        Nothing is waited for, and nothing changes while nothing is known.
        """
        if not self.within_time_constraint(alarm):
            return
        self._lookout.start()
        found = self._find(alarm)
        if found is not None:
            self._tell(alarm, found)

    def _find(self, alarm: Any) -> Finding | None:
        """Return what an alarm is about, None when that is not known."""
        max_age = float(alarm.rule.get('max_age') or rule.DEFAULT_MAX_AGE)
        if alarm.rule.get('subject') == rule.SERVICE:
            seen = self._lookout.service()
            found = nobody(seen, max_age)
            # Nothing known is no good news either.
            known = seen.away_for is None
            return found if found.trouble or known else None
        look = self._lookout.hosts(max_age)
        if look is None or look.sight != detector.Sight.CLEAR:
            self._say_waits(alarm, look)
            return None
        self._waiting.discard(alarm.alarm_id)
        return silent(look, max_age)

    def _say_waits(self, alarm: Any, look: detector.Look | None) -> None:
        if alarm.alarm_id in self._waiting:
            return
        self._waiting.add(alarm.alarm_id)
        LOG.warning(
            "Alarm '%s' stays '%s': %s",
            message.clean(alarm.name),
            alarm.state,
            look.reason if look else 'the heartbeats were not read lately',
        )

    def _tell(self, alarm: Any, found: Finding) -> None:
        now = self._lookout.clock()
        memory = self._memories.setdefault(alarm.alarm_id, _Memory())
        state = evaluator.ALARM if found.trouble else evaluator.OK
        new = found.trouble - memory.trouble
        remind = alarm.rule.get('remind') or 0
        due = remind and now - memory.told_at >= remind
        again = bool(found.trouble and (new or due))
        if state != alarm.state or again:
            memory.told_at = now
        memory.trouble = found.trouble
        data = {
            'type': message.TYPE,
            'subject': alarm.rule.get('subject') or rule.HOSTS,
            'count': len(found.trouble),
            'new': sorted(new),
            **found.told,
        }
        # With always_record aodh tells although the state stays: a second
        # host, or a reminder.
        self._refresh(alarm, state, found.reason, data, always_record=again)


def _rules(conf: Any) -> detector.Rules:
    group = conf[nova_ha_conf.GROUP]
    return detector.Rules(
        timeout=group.heartbeat_timeout,
        reemit_interval=group.reemit_interval,
        mass_silence_share=group.mass_silence_share,
        reconnect_max=group.reconnect_max,
    )
