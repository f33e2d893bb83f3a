# SPDX-License-Identifier: Apache-2.0

"""The detector over made-up heartbeats: what the simulation must notice."""

import dataclasses
import math
import pathlib
import random
import re
import unittest
from unittest import mock

import numpy

from nova_ha_plugins.recovery import detector
from tests.scenarios import detector_engine as engine
from tests.scenarios import detector_models as models
from tests.scenarios import detector_peers as peers
from tests.scenarios import detector_report as report
from tests.scenarios import detector_runs as runs

ROOT = pathlib.Path(__file__).parents[2]
DEFAULTS = report.defaults()
HOUR = 3600.0


def words(text):
    """Return what a page says, without its figures."""
    return re.findall(r'[A-Za-z][\w*-]*', re.sub(r'e[-+]\d+', '', text))


def watched(model, plain=False, defaults=DEFAULTS, seconds=HOUR):
    """Return what a long run gave of ten hosts."""
    watching = runs.Watch(defaults, 10)
    pipes = models.pipes(5, model, defaults.beat, 10, -runs.BEFORE)
    known = [pipe.until(0.0) for pipe in pipes]
    for begin, end, fresh in runs.pieces(pipes, seconds):
        known = [
            numpy.concatenate((old[-1:], new))
            for old, new in zip(known, fresh, strict=True)
        ]
        runs.watch(watching, begin, end, known, plain)
    return watching


def blamed(defaults=DEFAULTS):
    """Return who was called down because of ten stalls of the pipe."""
    return [
        silence
        for stall in runs.stalls(models.QUIET, defaults.beat, 10, 3, 10)
        for silence in runs.blamed(defaults, stall)
    ]


def latencies(model, count, defaults=DEFAULTS):
    return sorted(
        found.dead for found in runs.crashes(defaults, model, 10, 7, count)
    )


class SkippingTest(unittest.TestCase):
    """What a long run does not look at changes nothing."""

    def test_a_long_run_sees_what_a_look_at_each_second_sees(self):
        for model in models.MODELS:
            with self.subTest(model.name):
                quick, plain = watched(model), watched(model, plain=True)

                self.assertEqual(plain.silences, quick.silences)
                self.assertEqual(plain.late, quick.late)
                self.assertLess(quick.looks, plain.looks)

    def test_the_rough_model_is_not_without_silences(self):
        self.assertGreater(len(watched(models.ROUGH).silences), 100)


class ModelTest(unittest.TestCase):
    """The models are those of the calculated table."""

    def false(self, name, model):
        peer = next(p for p in peers.all_of(2, 2.0) if p.name == name)
        tally, seconds = peers.Tally(), report.YEAR / 2
        pipe = models.Pipe(
            numpy.random.default_rng(1), model, peer.interval, 0.0
        )
        peers.judge(peer, pipe.until(seconds), tally, numpy.array([0.5]), 1e-3)
        return tally.suspicions * 2

    def test_three_missed_and_phi_are_as_wrong_as_calculated(self):
        for name, model, expected in (
            ('3-missed-10s', models.QUIET, 0),
            ('3-missed-10s', models.BUSY, 2735),
            ('3-missed-10s', models.ROUGH, 19579),
            ('phi-8-10s', models.QUIET, 5734),
            ('phi-8-10s', models.BUSY, 9196),
            ('phi-8-10s', models.ROUGH, 21833),
            ('phi-12-10s', models.ROUGH, 18685),
        ):
            with self.subTest(name=name, model=model.name):
                found = self.false(name, model)

                self.assertLessEqual(abs(found - expected), 0.1 * expected)

    def test_reporters_come_back_within_the_time_that_a_stall_lasted(self):
        for lasted in (10.0, 25.0, 60.0):
            back = models.reconnected(0.0, lasted)

            self.assertLessEqual(lasted, back)
            self.assertLessEqual(
                back - lasted, min(lasted, models.RECONNECT_MAX)
            )


class GoalTest(unittest.TestCase):
    """The goals of the default configuration, on a few runs."""

    def test_a_crash_is_a_dead_verdict_within_five_seconds(self):
        found = latencies(models.QUIET, 60)

        self.assertLessEqual(found[30], 5.0)
        self.assertLessEqual(found[57], 10.0)

    def test_a_stall_of_the_pipe_makes_nobody_dead(self):
        self.assertEqual([], blamed())

    def test_a_living_host_is_fenced_once_in_a_hundred_years_at_most(self):
        silences = watched(models.ROUGH).silences
        years = 10 * HOUR / report.YEAR
        expected = sum(
            DEFAULTS.chance**silence.fenced.probes
            for silence in silences
            if silence.dead()
        )

        self.assertLess(0.0, expected / years)
        self.assertLessEqual(expected / years, 0.01)


class MistakeTest(unittest.TestCase):
    """A mistake in the product shows in the figures."""

    def with_rules(self, **changes):
        return dataclasses.replace(
            DEFAULTS, rules=dataclasses.replace(DEFAULTS.rules, **changes)
        )

    def test_without_hold_off_a_stall_makes_living_hosts_dead(self):
        real = detector._see

        def see(*args):
            return dataclasses.replace(real(*args), hold_until=-math.inf)

        with mock.patch.object(detector, '_see', see):
            self.assertNotEqual([], blamed())

    def test_without_watermark_a_stall_makes_living_hosts_dead(self):
        """No look at the newest heartbeat, neither of all nor of most."""
        defaults = self.with_rules(mass_silence_share=1.0)

        with mock.patch.object(
            detector, 'min', lambda *_, **__: 0.0, create=True
        ):
            self.assertNotEqual([], blamed(defaults))

    def test_a_timeout_of_one_interval_overlooks_crashes(self):
        defaults = self.with_rules(timeout=2.0)

        self.assertEqual(math.inf, latencies(models.QUIET, 20, defaults)[-1])

    def test_one_silent_probe_makes_living_hosts_dead(self):
        limits = dataclasses.replace(DEFAULTS.limits, silent_after=1)
        defaults = dataclasses.replace(DEFAULTS, limits=limits)
        silences = watched(models.ROUGH, defaults=defaults).silences

        self.assertLess(
            0.01,
            sum(
                defaults.chance**silence.fenced.probes
                for silence in silences
                if silence.dead()
            )
            / (10 * HOUR / report.YEAR),
        )


class EngineTest(unittest.TestCase):
    """One host, second by second."""

    def test_an_answer_in_the_same_silence_keeps_it_from_being_fenced(self):
        trace = runs.Trace(self.arrivals())
        answers = dataclasses.replace(DEFAULTS, chance=0.0)

        found = runs.crash(answers, trace, 20.0, random.Random(1))

        # It is asked in each round: the last answer is a second old at most.
        quiet = DEFAULTS.limits.answer_quiet
        self.assertGreaterEqual(found.dead, quiet - DEFAULTS.round)

    def arrivals(self):
        # Ten hosts that beat; the pipe of the first one stalls at 10.
        beats = [numpy.arange(-200.0 + n / 5, 300.0, 2.0) for n in range(10)]
        beats[0] = beats[0][beats[0] < 10.0]
        return beats


class ReportTest(unittest.TestCase):
    def test_the_line_has_the_keys_that_were_asked_for(self):
        small = report.Report(
            DEFAULTS, years=0.001, hosts=4, crashes=3, stalls=1
        )
        small.run()
        line = report.line(small, 1.0)
        asked = {
            'p50_s',
            'p95_s',
            'false_per_host_year_quiet',
            'false_per_host_year_busy',
            'false_per_host_year_rough',
            'false_pipe_stall',
        }

        self.assertLessEqual({*asked, 'peers', 'defaults'}, set(line))
        self.assertIn('3-missed-2s', line['peers'])
        self.assertIn('instanceha', line['peers'])
        for told in line['peers'].values():
            self.assertLessEqual(asked, set(told))
        # What the page shows has the words that the command prints.
        page = ROOT / 'doc' / 'source' / 'admin' / 'detection.inc'
        self.assertEqual(words(page.read_text()), words(report.table(small)))

    def test_what_the_independence_of_probes_is_worth_is_told(self):
        small = report.Report(DEFAULTS, years=0.02)
        watching = runs.Watch(DEFAULTS, small.hosts)
        small._beats(models.BUSY, DEFAULTS.beat, watching)
        small._count(models.BUSY, watching)

        alike = small.ours.alike['busy']

        self.assertAlmostEqual(
            1.0,
            alike
            * small.years
            / DEFAULTS.chance
            / sum(silence.dead() for silence in watching.silences),
        )
        self.assertLess(1000 * small.ours.dead['busy'], alike)

    def test_what_is_simulated_is_what_the_product_comes_with(self):
        self.assertEqual(
            (2.0, 5.0, 3, 1.0),
            (
                DEFAULTS.beat,
                DEFAULTS.rules.timeout,
                DEFAULTS.limits.silent_after,
                DEFAULTS.round,
            ),
        )
        self.assertIsInstance(DEFAULTS, engine.Defaults)
