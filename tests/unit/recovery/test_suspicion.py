# SPDX-License-Identifier: Apache-2.0

"""A late host: what its probes say before its silence counts."""

import dataclasses
import unittest

from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import suspicion
from nova_ha_plugins.recovery import views
from tests.unit.recovery import examples

Sign = incident.Sign
Response = evidence.Response
NOW = 1000.0
RULES = detector.Rules(5.0, 10.0, 0.5)


def reading(sign, channel='probe'):
    return incident.Reading(channel, sign, NOW)


def probed(*probes, track=None, lost=Response.ALERT):
    """Return the track after probes, a second apart; each a tuple of signs."""
    track = track or suspicion.Track('cmp-1')
    for number, signs in enumerate(probes):
        channels = ('probe', 'probe:storage')
        readings = tuple(
            reading(sign, channel)
            for sign, channel in zip(signs, channels, strict=False)
        )
        track = suspicion.probed(track, readings, NOW + number, lost)
    return track


def look(*silences, sight=detector.Sight.CLEAR):
    hosts = tuple(
        detector.HostLook(
            f'cmp-{number}',
            '',
            detector.Liveness.UP,
            silence,
            silence,
            suspected=silence >= RULES.quiet,
        )
        for number, silence in enumerate(silences, 1)
    )
    return detector.Look(detector.begin(0.0), sight, '', hosts, ())


class SuspectsTest(unittest.TestCase):
    def test_the_most_silent_ones_come_first(self):
        found = suspicion.suspects(look(0.1, 2.5, 4.0, 2.4))

        self.assertEqual(('cmp-3', 'cmp-2'), found)

    def test_what_is_known_of_a_host_that_was_heard_is_forgotten(self):
        tracks = [suspicion.Track('cmp-1'), suspicion.Track('cmp-2')]

        (kept,) = suspicion.kept(tracks, look(0.1, 2.5), RULES)

        self.assertEqual('cmp-2', kept.host)

    def test_blindness_ends_a_count_and_keeps_an_answer(self):
        track = probed((Sign.ALIVE,), (Sign.SILENT,), (Sign.SILENT,))
        seen = look(4.0, sight=detector.Sight.HOLDING_OFF)

        (kept,) = suspicion.kept([track], seen, RULES)

        self.assertEqual((0, None), (kept.silent, kept.told_at))
        self.assertEqual(NOW, kept.answered_at)

    def test_another_heartbeat_is_another_silence(self):
        track = dataclasses.replace(probed((Sign.SILENT,)), mark=('boot', 1))
        beat = views.Beat('cmp-1', '', 'boot', 2, '', 4.0)
        seen = look(4.0)
        seen = dataclasses.replace(
            seen, state=dataclasses.replace(seen.state, heard={'cmp-1': beat})
        )

        self.assertEqual((), suspicion.kept([track], seen, RULES))
        self.assertEqual(('boot', 2), suspicion.mark_of(seen, 'cmp-1'))


class ProbedTest(unittest.TestCase):
    def test_silent_probes_in_a_row_are_counted(self):
        track = probed((Sign.SILENT,), (Sign.SILENT,), (Sign.SILENT,))

        self.assertEqual(3, track.silent)
        self.assertIsNone(track.answered_at)
        self.assertTrue(suspicion.complete(track, 3, NOW + 2))

    def test_an_answer_begins_the_count_anew_and_is_remembered(self):
        track = probed((Sign.SILENT,), (Sign.ALIVE,), (Sign.SILENT,))

        self.assertEqual(1, track.silent)
        self.assertEqual(NOW + 1, track.answered_at)
        self.assertFalse(suspicion.complete(track, 3, NOW + 2))

    def test_what_could_not_be_read_is_no_silence(self):
        for signs in ((Sign.UNKNOWN,), (Sign.SILENT, Sign.UNKNOWN), ()):
            with self.subTest(signs):
                track = probed((Sign.SILENT,), signs)

                self.assertEqual(0, track.silent)
                self.assertIsNone(track.answered_at)

    def test_another_network_that_answers_keeps_it_from_being_dead(self):
        track = probed(*[(Sign.SILENT, Sign.ALIVE)] * 5)

        self.assertEqual(incident.Verdict.ISOLATED, track.verdict)
        self.assertEqual(NOW + 4, track.answered_at)
        self.assertFalse(suspicion.complete(track, 3, NOW + 4))

    def test_it_forbids_nothing_where_the_policy_fences_such_a_host(self):
        track = probed(*[(Sign.SILENT, Sign.ALIVE)] * 3, lost=Response.FENCE)

        self.assertEqual(3, track.silent)
        self.assertIsNone(track.answered_at)

    def test_what_was_asked_a_while_ago_is_asked_again(self):
        track = probed(*[(Sign.SILENT,)] * 3)

        self.assertTrue(suspicion.complete(track, 3, NOW + 5.0))
        self.assertFalse(suspicion.complete(track, 3, NOW + 5.1))
        # The clock of the store went back.
        self.assertFalse(suspicion.complete(track, 3, NOW))

    def test_the_next_probe_follows_only_a_silent_one(self):
        self.assertFalse(suspicion.unfinished(probed((Sign.ALIVE,)), 3))
        self.assertTrue(suspicion.unfinished(probed((Sign.SILENT,)), 3))
        self.assertFalse(
            suspicion.unfinished(probed(*[(Sign.SILENT,)] * 3), 3)
        )


class TakenUpTest(unittest.TestCase):
    """An incident goes on where the suspicion left off."""

    def take_up(self, track, now=NOW + 2, **changes):
        subject = dataclasses.replace(examples.make(), **changes)
        return suspicion.taken_up(subject, track, 3, now)

    def test_probes_of_just_now_are_those_of_its_first_look(self):
        track = probed(*[(Sign.SILENT,)] * 3)

        subject, readings = self.take_up(track)

        self.assertEqual(track.readings, readings)
        dead = incident.Verdict.DEAD
        self.assertEqual(3, evidence.in_a_row(subject, dead, Response.ALERT))

    def test_too_few_of_them_are_counted_with_the_ones_that_follow(self):
        subject, readings = self.take_up(probed(*[(Sign.SILENT,)] * 2))

        self.assertEqual((), readings)
        dead = incident.Verdict.DEAD
        self.assertEqual(3, evidence.in_a_row(subject, dead, Response.ALERT))

    def test_those_of_long_ago_are_not_counted(self):
        subject, readings = self.take_up(
            probed((Sign.ALIVE,), *[(Sign.SILENT,)] * 3), now=NOW + 60
        )

        self.assertEqual((), readings)
        dead = incident.Verdict.DEAD
        self.assertEqual(1, evidence.in_a_row(subject, dead, Response.ALERT))
        self.assertEqual(NOW, subject.answered_at)

    def test_an_answer_from_before_still_forbids(self):
        track = probed((Sign.ALIVE,), *[(Sign.SILENT,)] * 3)

        subject, _ = self.take_up(track, now=NOW + 3)

        self.assertEqual(NOW, subject.answered_at)

    def test_an_incident_that_was_looked_at_needs_its_own(self):
        track = probed(*[(Sign.SILENT,)] * 3)

        subject, readings = self.take_up(
            track, readings=(reading(Sign.ALIVE),)
        )

        self.assertEqual((), readings)
        self.assertEqual(0, subject.silent_probes)

    def test_without_a_suspicion_nothing_is_taken_up(self):
        for track in (None, suspicion.Track('cmp-1')):
            subject, readings = self.take_up(track)

            self.assertEqual(((), 0), (readings, subject.silent_probes))


if __name__ == '__main__':
    unittest.main()
