# SPDX-License-Identifier: Apache-2.0

"""How well hosts were recovered, as meters; read from the store.

A stage of a recovery is a measure of the failed host, with the time at which
that stage ended. It is published again for as long as ``KEPT``, and for
``KEPT_AT_START`` by an agent that was just started: gnocchi keeps one value
per time, so that nothing is counted twice, and nothing is lost with an agent,
an engine or a gnocchi that was away.
"""

from collections.abc import Iterable
import dataclasses
import datetime
import threading
from typing import Any
import weakref

from ceilometer.polling import plugin_base
from ceilometer import sample
from oslo_log import log

from ceilometer_pollsters import discovery
from ceilometer_pollsters import meters
from nova_ha_plugins.conf import opts
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import levels
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# Seconds for which an end is published again.
KEPT = 3600.0
KEPT_AT_START = 86400.0
# Of the newest incidents; more of them within an hour are no service level.
LIMIT = 200

CACHE_KEY = 'nova_ha.service_levels'


class EndedSample(sample.Sample):
    """A sample of something that ended at a time, whenever it is polled."""

    def set_timestamp(self, timestamp: str) -> None:
        """Keep the time of the end: the agent would replace it."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What one look at the store gave.

    :ivar since: what ended before was published often enough.
    :ivar lag: seconds since the newest heartbeat of anybody.
    """

    since: float
    incidents: tuple[incident.Incident, ...]
    standing: levels.Standing
    engine_age: float | None
    lag: float | None
    census: values.Census | None


class Reader:
    """Looks at the store once per polling cycle."""

    def __init__(
        self, store: store_api.Store, heartbeats: liveness.Liveness
    ) -> None:
        self._store = store
        self._heartbeats = heartbeats
        self._kept = KEPT_AT_START
        self._away = ''
        self._lock = threading.Lock()

    def look(self, cache: dict[str, Any]) -> Look | None:
        """Return what the store has, None while it does not answer.

        :param cache: ceilometer's dictionary of one cycle; who comes second
            gets what the first one saw.
        """
        with self._lock:
            if CACHE_KEY not in cache:
                cache[CACHE_KEY] = self._read()
            found: Look | None = cache[CACHE_KEY]
            return found

    def _read(self) -> Look | None:
        try:
            status = self._store.engine_status()
            ages = [beat.age for beat in self._heartbeats.read()]
            found = Look(
                since=self._store.now() - self._kept,
                incidents=self._store.incidents(limit=LIMIT),
                standing=levels.standing(self._store.open_incidents()),
                engine_age=status.get('age'),
                lag=max(0.0, min(ages)) if ages else None,
                census=self._store.census(),
            )
        except errors.AWAY as error:
            if not self._away:
                LOG.warning(
                    'Service levels are not published: the store does not '
                    'answer: %s. They are as soon as it does',
                    type(error).__name__,
                )
            self._away = type(error).__name__
            return None
        if self._away:
            LOG.info('Service levels are published again')
            self._away = ''
        self._kept = KEPT
        return found


# ceilometer makes one pollster per meter and agent, all of them share one
# reader; it ends with its agent.
_READERS: weakref.WeakKeyDictionary[Any, Reader] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()
# It was told that nothing can be read.
_REFUSED = threading.Event()


def reader_of(manager: Any, conf: Any) -> Reader:
    """Return the reader of a polling agent, a new one the first time."""
    with _LOCK:
        reader = _READERS.get(manager)
        if reader is None:
            reader = _READERS[manager] = Reader(
                store_api.open_store(conf), liveness.open_liveness(conf)
            )
        return reader


class _Pollster(plugin_base.PollsterBase):
    """One meter of the look."""

    meter: str

    def setup_environment(self) -> None:
        """Make our options known, and say why if nothing can be read.

        ceilometer would swallow the reason at DEBUG; it is the same for all
        of our meters, so the first one says it.
        """
        opts.register_plugin_opts(self.conf)
        try:
            store_api.open_store(self.conf)
        except errors.AWAY as error:
            if not _REFUSED.is_set():
                LOG.error(
                    'Service levels (instance_ha.*) are not published: '
                    '%s. The other meters of this agent are',
                    str(error).rstrip('.'),
                )
            _REFUSED.set()
            raise

    @property
    def default_discovery(self) -> str:
        return 'ha_fleet'

    def get_samples(
        self, manager: Any, cache: dict[str, Any], resources: Iterable[str]
    ) -> Iterable[sample.Sample]:
        if discovery.FLEET not in resources:
            return []
        look = reader_of(manager, self.conf).look(cache)
        return [] if look is None else list(self.samples(look))

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return the samples of a look."""
        raise NotImplementedError

    def _of_host(
        self, subject: incident.Incident, volume: float, at: float
    ) -> sample.Sample:
        ended = datetime.datetime.fromtimestamp(at, datetime.UTC)
        return EndedSample(
            **self._values(volume),
            resource_id=meters.host_id(subject.host, subject.service_uuid),
            timestamp=ended.replace(tzinfo=None).isoformat(),
            resource_metadata={
                'host': subject.host,
                'service_uuid': subject.service_uuid,
                'incident': subject.uuid,
            },
        )

    def _of_service(self, volume: float) -> sample.Sample:
        return sample.Sample(
            **self._values(volume), resource_id=meters.SERVICE_ID
        )

    def _values(self, volume: float) -> dict[str, Any]:
        return {
            'name': self.meter,
            'type': sample.TYPE_GAUGE,
            'unit': meters.of(self.meter).unit,
            'volume': round(volume, 3),
            'user_id': None,
            'project_id': None,
        }


class _StagePollster(_Pollster):
    """Seconds of one stage of each recovery."""

    stage: levels.Stage

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return one per recovery in which the stage ended lately."""
        for subject in reversed(look.incidents):
            for each in levels.reached(subject):
                if each.stage == self.stage and each.at >= look.since:
                    yield self._of_host(subject, each.seconds, each.at)


class DetectPollster(_StagePollster):
    """From the last heartbeat to the incident."""

    meter = 'instance_ha.recovery.detect'
    stage = levels.Stage.DETECT


class CorroboratePollster(_StagePollster):
    """Until every channel was silent for long enough."""

    meter = 'instance_ha.recovery.corroborate'
    stage = levels.Stage.CORROBORATE


class HoldPollster(_StagePollster):
    """How long gates held it."""

    meter = 'instance_ha.recovery.hold'
    stage = levels.Stage.HOLD


class FencePollster(_StagePollster):
    """From the decision to the proof."""

    meter = 'instance_ha.recovery.fence'
    stage = levels.Stage.FENCE


class ForceDownPollster(_StagePollster):
    """From the proof until nova was told."""

    meter = 'instance_ha.recovery.force_down'
    stage = levels.Stage.FORCE_DOWN


class FirstServerPollster(_StagePollster):
    """From the last heartbeat to the first server elsewhere."""

    meter = 'instance_ha.recovery.first_server'
    stage = levels.Stage.FIRST_SERVER


class LastServerPollster(_StagePollster):
    """From the last heartbeat to the last server elsewhere."""

    meter = 'instance_ha.recovery.last_server'
    stage = levels.Stage.LAST_SERVER


class _EndPollster(_Pollster):
    """Servers of a failed host, by what became of them."""

    state: incident.ServerState

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return one per recovery that came to its end lately."""
        for subject in reversed(look.incidents):
            ended = [e for e in subject.timeline if e.code == 'recovered']
            if ended and ended[-1].at >= look.since:
                count = sum(s.state == self.state for s in subject.servers)
                yield self._of_host(subject, count, ended[-1].at)


class RecoveredPollster(_EndPollster):
    """Servers that run elsewhere."""

    meter = 'instance_ha.recovery.servers.recovered'
    state = incident.ServerState.RECOVERED


class ParkedPollster(_EndPollster):
    """Servers that wait for an operator."""

    meter = 'instance_ha.recovery.servers.parked'
    state = incident.ServerState.PARKED


class FalseSuspicionPollster(_Pollster):
    """Hosts that lived."""

    meter = 'instance_ha.recovery.false_suspicion'

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return one per suspicion that turned out to be false lately."""
        for subject in reversed(look.incidents):
            at = subject.closed_at
            if at is None or at < look.since:
                continue
            if levels.vain(subject) is not None:
                yield self._of_host(subject, 1, at)


class FenceFailurePollster(_Pollster):
    """Fences that were not confirmed, or not for long."""

    meter = 'instance_ha.recovery.fence_failure'

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return one per failure."""
        for subject in reversed(look.incidents):
            for entry in subject.timeline:
                if (
                    entry.code in levels.FENCE_FAILURES
                    and entry.at >= look.since
                ):
                    yield self._of_host(subject, 1, entry.at)


class EngineAgePollster(_Pollster):
    """Since the acting engine reported."""

    meter = 'instance_ha.engine.age'

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return one, none before any engine ever acted."""
        if look.engine_age is not None:
            yield self._of_service(look.engine_age)


class IncidentsPollster(_Pollster):
    """Incidents that are not closed."""

    meter = 'instance_ha.incidents.open'

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return one."""
        yield self._of_service(sum(look.standing.phases.values()))


class LagPollster(_Pollster):
    """Since the newest heartbeat of anybody."""

    meter = 'instance_ha.observer.lag'

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return one, none before any host was heard."""
        if look.lag is not None:
            yield self._of_service(look.lag)


class WaitingPollster(_Pollster):
    """Servers of fenced hosts that find no room."""

    meter = 'instance_ha.servers.without_room'

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return one."""
        yield self._of_service(look.standing.waiting.get('no-valid-host', 0))


class ProtectedPollster(_Pollster):
    """Servers that would be recovered."""

    meter = 'instance_ha.servers.protected'

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return one, none while nobody counts."""
        if look.census is not None:
            yield self._of_service(look.census.protected)


class UnprotectedPollster(_Pollster):
    """Servers that would not."""

    meter = 'instance_ha.servers.unprotected'

    def samples(self, look: Look) -> Iterable[sample.Sample]:
        """Return one, none while nobody counts."""
        if look.census is not None:
            yield self._of_service(sum(look.census.unprotected.values()))
