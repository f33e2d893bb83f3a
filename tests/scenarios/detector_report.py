# SPDX-License-Identifier: Apache-2.0

"""``tools/simulate --detector``: our defaults and others, on the same beats.

False verdicts are counted as what is expected: how often a living host is
down for long enough to be fenced had it been silent to every probe, times the
chance that it is silent to as many as the decision stood on. So few of them
happen that counting would give 0 whatever the defaults are.
"""

import dataclasses
import json
import math
import pathlib
import statistics
import sys
import time
import typing

import numpy
from oslo_config import cfg
import yaml

from nova_ha_plugins.conf import opts
from nova_ha_plugins.engine import context
from tests.scenarios import detector_engine as engine
from tests.scenarios import detector_models as models
from tests.scenarios import detector_peers as peers
from tests.scenarios import detector_runs as runs

Times = models.Times

YEAR = 365.25 * 86400
YEARS = 4.0
HOSTS = 10
SEED = 1
# Crashes of each model, and stalls of the pipe of each.
CRASHES = 1000
STALLS = 100
# ceilometer's smallest interval; the watcher has it in polling_ha_central.
LOOK = 1.0

_POLLING = (
    pathlib.Path(__file__).parents[2]
    / 'ceilometer_pollsters/data/polling_ha.yaml'
)


def defaults() -> engine.Defaults:
    """Return what the product does when nobody configures anything.

    The storm gates are opened: how many hosts may be fenced at once must not
    hide how many would be.
    """
    conf = cfg.ConfigOpts()
    opts.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    settings = context.settings_from(conf)
    sources = yaml.safe_load(_POLLING.read_text(encoding='utf-8'))['sources']
    return engine.Defaults(
        beat=float(
            next(
                source['interval']
                for source in sources
                if 'hypervisor.heartbeat' in source['meters']
            )
        ),
        rules=settings.rules,
        limits=dataclasses.replace(
            settings.limits,
            storm_max_hosts=10**6,
            storm_max_share=1.0,
            storm_max_domains=0,
            storm_interval=0.0,
            storm_cooldown=0.0,
        ),
        look=LOOK,
        round=settings.interval,
        probe=conf.probe.timeout,
    )


@dataclasses.dataclass
class Result:
    """What one way to detect did, by model.

    :ivar late: hosts that were suspected, of ours only.
    :ivar suspicions: living hosts called silent, per host-year.
    :ivar dead: living hosts that would be fenced, per host-year.
    :ivar alike: the same as ``dead`` if all probes of one silence share a
        fate, of ours only.
    :ivar latencies: from a crash to the verdict.
    :ivar stalled: living hosts that would be fenced because of a stall.
    """

    late: dict[str, float] = dataclasses.field(default_factory=dict)
    suspicions: dict[str, float] = dataclasses.field(default_factory=dict)
    dead: dict[str, float] = dataclasses.field(default_factory=dict)
    alike: dict[str, float] = dataclasses.field(default_factory=dict)
    latencies: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    stalled: float = 0.0

    def told(self) -> dict[str, typing.Any]:
        """Return the keys of the line that the issue asks for."""
        # The model that is neither ideal nor broken.
        typical = self.latencies[models.BUSY.name]
        return {
            'p50_s': quantile(typical, 0.5),
            'p95_s': quantile(typical, 0.95),
            **{
                f'false_per_host_year_{name}': rounded(self.dead[name])
                for name in self.dead
            },
            'false_pipe_stall': rounded(self.stalled),
        }

    def more(self) -> dict[str, typing.Any]:
        """Return what else is worth to be known."""
        return {
            'mean_s': rounded(
                statistics.fmean(self.latencies[models.BUSY.name])
            ),
            'latency_s': {
                name: {
                    'mean': rounded(statistics.fmean(found)),
                    'p50': quantile(found, 0.5),
                    'p95': quantile(found, 0.95),
                    'max': rounded(max(found)),
                }
                for name, found in self.latencies.items()
            },
            'suspicions_per_host_year': {
                name: rounded(count) for name, count in self.suspicions.items()
            },
        }


def quantile(found: list[float], share: float) -> float:
    """Return the value that so large a share does not exceed."""
    return rounded(sorted(found)[math.ceil(share * len(found)) - 1])


def rounded(value: float) -> float:
    """Return three digits of a figure; more would be pretence."""
    return float(f'{value:.3g}') if math.isfinite(value) else value


@dataclasses.dataclass
class Report:
    """Everything in one run."""

    set: engine.Defaults
    years: float = YEARS
    hosts: int = HOSTS
    seed: int = SEED
    crashes: int = CRASHES
    stalls: int = STALLS

    def __post_init__(self) -> None:
        self.ours = Result()
        enough = self.set.limits.silent_after
        self.peers = {
            peer: Result()
            for peer in peers.all_of(enough, enough * self.set.probe)
        }

    def run(self) -> None:
        """Play all models."""
        for model in models.MODELS:
            self._long(model)
            self.ours.latencies[model.name] = [
                found.dead
                for found in runs.crashes(
                    self.set, model, self.hosts, self.seed, self.crashes
                )
            ]
            self._stalls(model)

    def _long(self, model: models.Model) -> None:
        intervals = {self.set.beat, *(peer.interval for peer in self.peers)}
        for interval in sorted(intervals):
            ours = interval == self.set.beat
            watching = runs.Watch(self.set, self.hosts) if ours else None
            self._beats(model, interval, watching)
            if watching is not None:
                self._count(model, watching)

    def _count(self, model: models.Model, watching: runs.Watch) -> None:
        chance, name = self.set.chance, model.name
        self.ours.late[name] = watching.late / self.years
        self.ours.suspicions[name] = len(watching.silences) / self.years
        dead = [
            silence.fenced.probes
            for silence in watching.silences
            if silence.fenced is not None and silence.dead()
        ]
        self.ours.dead[name] = sum(chance**each for each in dead) / self.years
        # A link that flaps is silent to all of them, not to each by itself.
        self.ours.alike[name] = len(dead) * chance / self.years

    def _beats(
        self,
        model: models.Model,
        interval: float,
        watching: runs.Watch | None,
    ) -> None:
        before = max(runs.BEFORE, (peers.WINDOW + 50) * interval)
        pipes = models.pipes(self.seed, model, interval, self.hosts, -before)
        known = [pipe.until(0.0) for pipe in pipes]
        mine = [peer for peer in self.peers if peer.interval == interval]
        tallies = {peer: peers.Tally() for peer in mine}
        stale = numpy.zeros(self.hosts, dtype=bool)
        chance = numpy.random.default_rng((self.seed, 2000))
        seconds = self.years * YEAR / self.hosts
        for begin, end, fresh in runs.pieces(pipes, seconds):
            known = [
                numpy.concatenate((old[-peers.WINDOW - 1 :], new))
                for old, new in zip(known, fresh, strict=True)
            ]
            if watching is not None:
                runs.watch(watching, begin, end, known)
            for peer, tally in tallies.items():
                for arrive in known:
                    times = chance.uniform(begin, end, 1)
                    peers.judge(peer, arrive, tally, times, self.set.chance)
                if peer.polls:
                    stale = _polled(known, begin, end, stale, tally)
        for peer, tally in tallies.items():
            result = self.peers[peer]
            result.suspicions[model.name] = tally.suspicions / self.years
            result.dead[model.name] = tally.dead / self.years
            result.latencies[model.name] = tally.latencies

    def _stalls(self, model: models.Model) -> None:
        for stall in runs.stalls(
            model, self.set.beat, self.hosts, self.seed, self.stalls
        ):
            for silence in runs.blamed(self.set, stall):
                if silence.fenced is not None and silence.dead():
                    chance = self.set.chance**silence.fenced.probes
                    self.ours.stalled += chance
        for interval in sorted({peer.interval for peer in self.peers}):
            before = (peers.WINDOW + 50) * interval
            for stall in runs.stalls(
                model, interval, self.hosts, self.seed, self.stalls, before
            ):
                for peer, result in self.peers.items():
                    if peer.interval == interval:
                        result.stalled += _stalled(
                            peer, stall, self.set.chance
                        )


def _polled(
    known: list[Times],
    begin: float,
    end: float,
    stale: typing.Any,
    tally: peers.Tally,
) -> typing.Any:
    first = math.floor(begin / peers.POLL) + 1
    ticks = peers.POLL * numpy.arange(first, math.floor(end / peers.POLL) + 1)
    ages = numpy.stack([runs.ages_at(one, ticks) for one in known], axis=1)
    for row in ages:
        stale, fenced = peers.poll(row, stale)
        tally.suspicions += fenced
        tally.dead += fenced
    return stale


def _stalled(peer: peers.Peer, stall: runs.Stall, chance: float) -> float:
    """Return how many hosts a peer would fence because of the stall."""
    if peer.polls:
        tally = peers.Tally()
        stale = numpy.zeros(len(stall.arrivals), dtype=bool)
        offset = peers.POLL * (stall.begin % 1.0)
        _polled(
            [one + offset for one in stall.arrivals],
            0.0,
            stall.end + 150.0,
            stale,
            tally,
        )
        healthy = peers.Tally()
        _polled(
            [one + offset for one in stall.healthy],
            0.0,
            stall.end + 150.0,
            stale,
            healthy,
        )
        return max(tally.dead - healthy.dead, 0.0)
    blamed = 0
    for arrive, healthy_one in zip(stall.arrivals, stall.healthy, strict=True):
        blamed += max(
            _too_long(peer, arrive) - _too_long(peer, healthy_one), 0
        )
    return blamed * chance**peer.probes


def _too_long(peer: peers.Peer, arrive: Times) -> int:
    gaps = numpy.diff(arrive)
    limits = peer.limits(gaps) + peer.corroborating
    return int((gaps[peers.WINDOW :] > limits).sum())


def line(report: Report, took: float) -> dict[str, typing.Any]:
    """Return the one line of ``--json``."""
    own = report.set
    return {
        **report.ours.told(),
        'peers': {
            peer.name: {**result.told(), **result.more()}
            for peer, result in report.peers.items()
        },
        **report.ours.more(),
        'false_if_probes_share_a_fate': {
            name: rounded(count) for name, count in report.ours.alike.items()
        },
        'late_per_host_year': {
            name: rounded(count) for name, count in report.ours.late.items()
        },
        'defaults': {
            'heartbeat_interval': own.beat,
            'heartbeat_timeout': own.rules.timeout,
            'suspected_after': own.rules.quiet,
            'mass_silence_share': own.rules.mass_silence_share,
            'reconnect_max': own.rules.reconnect_max,
            'watcher_interval': own.look,
            'engine_interval': own.round,
            'probe_timeout': own.probe,
            'silent_after': own.limits.silent_after,
            'answer_quiet': own.limits.answer_quiet,
            'probe_silent_chance': own.chance,
        },
        'host_years': report.years,
        'hosts': report.hosts,
        'seed': report.seed,
        'crashes': report.crashes,
        'pipe_stalls': report.stalls * len(models.MODELS),
        'seconds': round(took, 1),
    }


PAGE = """\
Seconds from a crash to the verdict (*busy*), and hosts called silent that
live, per host-year:

{seconds}

Hosts that live and would be fenced, per host-year, and in {stalls} stalls of a
cloud of {hosts} hosts:

{verdicts}

From a crash to the verdict of ours, by model:

{models}
"""


def table(report: Report) -> str:
    """Return the tables for people: doc/source/admin/detection.inc."""
    names = [model.name for model in models.MODELS]
    rows = [('**ours**', report.ours)]
    rows += [(peer.name, result) for peer, result in report.peers.items()]
    seconds, verdicts = [], []
    for name, result in rows:
        told = result.told()
        seconds.append(
            [
                name,
                result.more()['mean_s'],
                told['p50_s'],
                told['p95_s'],
                *(rounded(result.suspicions[each]) for each in names),
            ]
        )
        verdicts.append(
            [
                name,
                *(rounded(result.dead[each]) for each in names),
                rounded(result.stalled),
            ]
        )
    models_of_ours = [
        [name, *report.ours.more()['latency_s'][name].values()]
        for name in names
    ]
    return PAGE.format(
        seconds=_simple(['detector', 'mean', 'p50', 'p95', *names], seconds),
        verdicts=_simple(['detector', *names, 'stalls'], verdicts),
        models=_simple(['model', 'mean', 'p50', 'p95', 'max'], models_of_ours),
        stalls=report.stalls * len(models.MODELS),
        hosts=report.hosts,
    )


def _simple(head: list[str], rows: list[list[typing.Any]]) -> str:
    """Return a simple table."""
    cells = [head, *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    rule = '  '.join('=' * width for width in widths)
    lines = [
        '  '.join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]
    return '\n'.join([rule, lines[0], rule, *lines[1:], rule])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'{value:.0f}' if value >= 100 else f'{value:.3g}'
    return str(value)


def changed(
    own: engine.Defaults, beat: float | None, timeout: float | None
) -> engine.Defaults:
    """Return the defaults with another interval, or another timeout.

    :param timeout: None for two and a half intervals, as in the defaults.
    """
    if beat is None and timeout is None:
        return own
    beat = own.beat if beat is None else beat
    timeout = 2.5 * beat if timeout is None else timeout
    rules = dataclasses.replace(own.rules, timeout=timeout)
    return dataclasses.replace(own, beat=beat, rules=rules)


def everything(
    years: float, hosts: int, seed: int, as_json: bool, own: engine.Defaults
) -> int:
    """Run and tell; the last line is JSON if asked for."""
    began = time.process_time()
    report = Report(own, years, hosts, seed)
    report.run()
    took = time.process_time() - began
    if as_json:
        sys.stdout.write(json.dumps(line(report, took)) + '\n')
        return 0
    sys.stdout.write(table(report))
    sys.stderr.write(f'{json.dumps(line(report, took)["defaults"])}\n')
    return 0
