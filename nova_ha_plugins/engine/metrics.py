# SPDX-License-Identifier: Apache-2.0

"""What the engine tells Prometheus: how well it recovers, and how it is.

Times and counts are told by the engine that acts, as it saves what happened;
what is true right now is read from the store by every engine, so that one
that watches tells that the acting one is dead. What was not read lately is
not told at all: no series is better than one that stands still.

What is told here is lost with the process, as Prometheus expects. Gnocchi
gets the same from the store, where nothing is lost.
"""

from collections.abc import Callable
from collections.abc import Iterator
import threading
import time
import typing

from oslo_config import cfg
from oslo_log import log
import prometheus_client
from prometheus_client import core
from prometheus_client import registry as registries

from nova_ha_plugins.engine import exporter
from nova_ha_plugins.engine import situation
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import levels

LOG = log.getLogger(__name__)

# Bounds where promises are, so that the share that was kept is exact: 5 and
# 10 s until a host is called dead, 10 and 60 s until it is off, 70 and 120 s
# until the first server is asked for.
STEP_BUCKETS = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 60, 120, 300, 600)
SERVER_BUCKETS = (
    *(10, 20, 30, 40, 50, 60, 70, 90, 120, 180, 240, 300),
    *(450, 600, 900, 1200, 1800, 3600, 7200),
)
ROUND_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30)

# Seconds after which a watcher that does not look sees nothing any more,
# whatever it said last.
WATCHER_GONE = 30.0

_Stage = levels.Stage

_STAGES: dict[_Stage, tuple[str, str, tuple[float, ...]]] = {
    _Stage.DETECT: (
        'nova_ha_detect_seconds',
        'From the last heartbeat of a dead host to its incident',
        STEP_BUCKETS,
    ),
    _Stage.CORROBORATE: (
        'nova_ha_corroborate_seconds',
        'From the incident until every channel was silent for long enough',
        STEP_BUCKETS,
    ),
    _Stage.HOLD: (
        'nova_ha_hold_seconds',
        'How long gates held a host that was fenced in the end',
        SERVER_BUCKETS,
    ),
    _Stage.FENCE: (
        'nova_ha_fence_seconds',
        'From the decision to fence to the proof that the host is off',
        STEP_BUCKETS,
    ),
    _Stage.FORCE_DOWN: (
        'nova_ha_force_down_seconds',
        'From that proof until nova had the service forced down',
        STEP_BUCKETS,
    ),
    _Stage.FIRST_SERVER: (
        'nova_ha_first_server_seconds',
        'From the last heartbeat of a host to its first server elsewhere',
        SERVER_BUCKETS,
    ),
    _Stage.LAST_SERVER: (
        'nova_ha_last_server_seconds',
        'From the last heartbeat of a host to its last server elsewhere',
        SERVER_BUCKETS,
    ),
}


class Metrics:
    """The numbers of one engine process.

    Nothing here raises, whatever it is given: a number that is wrong costs
    less than a recovery that ends.

    :ivar registry: what is told, and nothing of the process around it.
    """

    def __init__(
        self,
        is_acting: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self._monotonic = monotonic
        self._turned_at = monotonic()
        self._make_counts()
        gauge = prometheus_client.Gauge
        gauge(
            'nova_ha_engine_acting',
            '1 for the engine that acts, 0 for one that watches',
            registry=self.registry,
        ).set_function(lambda: float(is_acting()))
        gauge(
            'nova_ha_round_age_seconds',
            'Since this engine ended a round, or looked at the heartbeats',
            registry=self.registry,
        ).set_function(lambda: self._monotonic() - self._turned_at)

    def _make_counts(self) -> None:
        made: dict[str, typing.Any] = {'registry': self.registry}
        histogram = prometheus_client.Histogram
        counter = prometheus_client.Counter
        self._stages = {
            stage: histogram(name, text, buckets=buckets, **made)
            for stage, (name, text, buckets) in _STAGES.items()
        }
        self._round = histogram(
            'nova_ha_round_seconds',
            'How long a round of the acting engine took',
            buckets=ROUND_BUCKETS,
            **made,
        )
        self._incidents = counter(
            'nova_ha_incidents', 'Hosts that were suspected', **made
        )
        self._vain = counter(
            'nova_ha_false_suspicions',
            'Hosts that lived, by how far it came',
            ['stage'],
            **made,
        )
        self._failures = counter(
            'nova_ha_fence_failures',
            'Fences that were not confirmed, or not for long',
            ['code'],
            **made,
        )
        self._servers = counter(
            'nova_ha_servers_ended',
            'Servers of failed hosts, by what became of them',
            ['outcome'],
            **made,
        )
        # A series that begins with its first event hides that event from
        # every rate: they begin with 0.
        for vain in levels.Vain:
            self._vain.labels(vain.value)
        for code in levels.FENCE_FAILURES:
            self._failures.labels(code)
        for state in levels.OUTCOMES:
            self._servers.labels(state.value)

    def saved(
        self,
        before: incident.Incident | None,
        after: incident.Incident,
    ) -> None:
        """Count what a save of an incident added.

        :param before: None of one that this save created.
        """
        try:
            self._saved(before, after)
        except Exception:
            LOG.exception('What became of an incident was not counted')

    def _saved(
        self,
        before: incident.Incident | None,
        after: incident.Incident,
    ) -> None:
        if before is None or not before.engine:
            # Opened by this engine, or by the webhook and now taken on.
            self._incidents.inc()
        found = levels.change(before, after)
        for each in found.reached:
            self._stages[each.stage].observe(each.seconds)
        if found.vain is not None:
            self._vain.labels(found.vain.value).inc()
        for code in found.failures:
            self._failures.labels(code).inc()
        for state, number in found.outcomes.items():
            self._servers.labels(state.value).inc(number)

    def turned(self, took: float | None = None) -> None:
        """Note that a round ended; of one that acts, after how long."""
        self._turned_at = self._monotonic()
        if took is not None:
            self._round.observe(took)

    def show(self, reader: situation.Reader) -> None:
        """Tell what a reader sees in the store, too."""
        self.registry.register(_Situation(reader))


class _Situation(registries.Collector):
    """What is true right now, as the store has it."""

    def __init__(self, reader: situation.Reader) -> None:
        self._reader = reader

    def describe(self) -> list[core.Metric]:
        # Asked at registration, when nothing was read yet.
        return []

    def collect(self) -> Iterator[core.Metric]:
        seen = self._reader.latest()
        yield _gauge(
            'store_up', '1 while the store answers', 0 if seen is None else 1
        )
        if seen is None:
            return
        yield from _of_engine(seen)
        yield from _of_hosts(seen)
        yield from _of_incidents(seen)
        yield from _of_servers(seen)


def _gauge(
    name: str, text: str, value: float | None
) -> core.GaugeMetricFamily:
    """Return one value, no series at all if it is not known."""
    return core.GaugeMetricFamily(f'nova_ha_{name}', text, value=value)


def _family(
    name: str,
    text: str,
    label: str,
    values: typing.Mapping[str, float],
) -> core.GaugeMetricFamily:
    family = core.GaugeMetricFamily(f'nova_ha_{name}', text, labels=[label])
    for key in sorted(values):
        family.add_metric([key], values[key])
    return family


def _of_engine(seen: situation.Situation) -> Iterator[core.Metric]:
    yield _gauge(
        'acting_engine_age_seconds',
        'Since the acting engine last reported to the store',
        seen.engine_age,
    )
    yield _gauge('armed', '1 while the engine may fence', int(seen.armed))
    yield _gauge(
        'loop_late_seconds',
        'How late the last round of the acting engine began',
        seen.loop_late,
    )
    if seen.sight:
        yield _family(
            'sight',
            'How well the acting engine sees the hosts; 1 for what holds',
            'sight',
            {each.value: int(each == seen.sight) for each in detector.Sight},
        )
    yield _family(
        'watcher_age_seconds',
        'Since a watcher last looked at the heartbeats',
        'watcher',
        {each.name: each.age for each in seen.watchers},
    )
    yield _family(
        'watcher_sees',
        '1 while a watcher sees the hosts, 0 if it is blind or gone',
        'watcher',
        {
            each.name: int(each.clear and each.age < WATCHER_GONE)
            for each in seen.watchers
        },
    )


def _of_hosts(seen: situation.Situation) -> Iterator[core.Metric]:
    yield _gauge(
        'observer_lag_seconds',
        'Since the newest heartbeat of any host was stored',
        seen.lag,
    )
    yield _family(
        'hosts',
        'Hosts with a heartbeat ever, by whether it is in time',
        'heartbeat',
        {'in-time': seen.heard, 'missing': seen.silent},
    )
    yield _family(
        'hosts_fencing',
        'Hosts by what is known of their power device',
        'state',
        seen.fencing,
    )
    yield _gauge(
        'fence_check_age_seconds',
        'Since the power device was read that was read longest ago',
        seen.fence_check_age,
    )
    yield _family(
        'hosts_degraded',
        'Hosts of which a channel says that something is wrong',
        'channel',
        seen.degraded,
    )


def _of_incidents(seen: situation.Situation) -> Iterator[core.Metric]:
    standing = seen.standing
    yield _family(
        'incidents_open',
        'Incidents that are not closed, by phase',
        'phase',
        {
            phase.value: standing.phases.get(phase, 0)
            for phase in incident.Phase
            if phase not in incident.CLOSED_PHASES
        },
    )
    yield _family(
        'incidents_held',
        'Incidents that a gate holds, by its code',
        'code',
        standing.held,
    )
    yield _gauge(
        'evacuations_open',
        'Servers that are being evacuated by the engine',
        standing.evacuating,
    )
    yield _gauge(
        'evacuations_limit',
        'How many the engine lets be evacuated at once',
        seen.evacuations_limit,
    )
    yield _family(
        'servers_waiting',
        'Servers of fenced hosts that wait, by what for',
        'code',
        standing.waiting,
    )


def _of_servers(seen: situation.Situation) -> Iterator[core.Metric]:
    if seen.census is None:
        return
    yield _gauge(
        'servers_protected',
        'Servers that would be recovered',
        seen.census.protected,
    )
    yield _family(
        'servers_unprotected',
        'Servers that would not be recovered, by why not',
        'reason',
        seen.census.unprotected,
    )
    yield _gauge(
        'census_age_seconds',
        'Since the servers were counted',
        seen.census.age,
    )


def open_metrics(
    conf: cfg.ConfigOpts, is_acting: Callable[[], bool], stop: threading.Event
) -> Metrics:
    """Return the numbers of this process; told where the options say.

    Never raises: an engine that nobody can ask recovers hosts all the same.
    """
    metrics = Metrics(is_acting)
    group = conf.metrics
    if not group.port:
        return metrics
    try:
        reader = situation.open_reader(conf)
        metrics.show(reader)
        exporter.serve(group.address, group.port, metrics.registry)
    except Exception as error:
        LOG.error(
            'Prometheus is told nothing: %(error)s; expected to listen on '
            '%(address)s port %(port)d ([metrics]). The engine goes on '
            'without, and its death shows only by the other engines',
            {
                'error': error,
                'address': group.address,
                'port': group.port,
            },
        )
        return metrics
    threading.Thread(
        target=reader.run,
        args=(stop, group.interval),
        name='metrics',
        daemon=True,
    ).start()
    LOG.info('Prometheus is answered on %s port %d', group.address, group.port)
    return metrics
