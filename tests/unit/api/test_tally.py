# SPDX-License-Identifier: Apache-2.0

"""The numbers of a host add up, whatever happened to its servers."""

import datetime
import types
import unittest

import hypothesis
from hypothesis import strategies

from nova_ha_plugins.api import tally
from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import progress

STATES = progress.State
OPEN = (STATES.QUEUED, STATES.RUNNING)
PERCENT = {STATES.SUCCEEDED: 100, STATES.RUNNING: 40, STATES.QUEUED: 2}
TYPICAL = estimate.Estimate(60.0, 90.5, 7)
BEGAN = datetime.datetime(2026, 11, 20, 14, 3)
USUAL = estimate.Estimate(30.0, 45.0, 20)


def one(server='a', state='succeeded', host='h1', left=USUAL, **fields):
    """An evacuation, as far as it counts."""
    state = STATES(state)
    ended = state in (STATES.SUCCEEDED, STATES.FAILED)
    found = {'state': state, 'stalled': False, 'progress': PERCENT.get(state)}
    return types.SimpleNamespace(
        record=types.SimpleNamespace(
            source_compute=host, instance_uuid=server, created_at=BEGAN
        ),
        found=types.SimpleNamespace(**{**found, **fields}),
        left=left if state in OPEN else None,
        finished_at=1795183500.0 if ended else None,
    )


def counted(*evacuations, planned=None, typical=None):
    [row] = tally.hosts(evacuations, planned, typical)
    return row


def eta(row):
    return tuple(
        row[name] for name in ('eta_seconds', 'eta_p90_seconds', 'eta_samples')
    )


@strategies.composite
def waves(draw):
    servers = strategies.sampled_from('abcde')
    evacuations = draw(
        strategies.lists(
            strategies.builds(
                one,
                server=servers,
                state=strategies.sampled_from(list(STATES)),
                host=strategies.sampled_from(('h1', 'h2')),
                left=strategies.sampled_from((None, USUAL)),
                stalled=strategies.booleans(),
                progress=strategies.none() | strategies.integers(0, 99),
            ),
            max_size=12,
        )
    )
    planned = draw(
        strategies.none()
        | strategies.dictionaries(
            strategies.sampled_from(('h1', 'h3')),
            strategies.frozensets(servers),
        )
    )
    return evacuations, planned


class HostsTest(unittest.TestCase):
    def test_of_each_server_the_newest_evacuation_counts(self):
        row = counted(
            one('a', 'running'), one('b'), one('a', 'failed'), one('b')
        )

        self.assertEqual(2, row['total'])
        self.assertEqual(
            {
                **dict.fromkeys(map(str, STATES), 0),
                'running': 1,
                'succeeded': 1,
            },
            row['states'],
        )
        self.assertEqual(70, row['progress'])

    def test_each_host_has_its_own_row(self):
        rows = tally.hosts(
            [one('a', host='h2'), one('a', 'failed', host='h1')], None
        )

        self.assertEqual(
            [('h1', 0), ('h2', 100)],
            [(row['source_compute'], row['progress']) for row in rows],
        )

    def test_what_failed_or_was_superseded_has_done_nothing(self):
        row = counted(one('a'), one('b', 'failed'), one('c', 'superseded'))

        self.assertEqual(33, row['progress'])
        self.assertEqual((14, 5), self.clock(row['finished_at']))
        self.assertEqual((14, 3), self.clock(row['started_at']))

    def test_servers_to_come_make_the_whole_larger(self):
        planned = {'h1': frozenset('abc')}

        row = counted(one('a'), planned=planned)

        self.assertEqual((1, 2, 33), self.shown(row))
        # The server that was asked for is not counted twice.
        self.assertIsNone(row['finished_at'])

    def test_host_whose_servers_all_are_to_come_is_there(self):
        row = counted(planned={'h1': frozenset('ab'), 'h2': frozenset()})

        self.assertEqual((0, 2, 0), self.shown(row))
        self.assertEqual(dict.fromkeys(map(str, STATES), 0), row['states'])
        self.assertIsNone(row['started_at'])

    def test_who_does_not_know_what_is_to_come_says_so(self):
        self.assertEqual((1, None, 100), self.shown(counted(one())))
        self.assertEqual((1, 0, 100), self.shown(counted(one(), planned={})))

    def test_last_server_decides_how_long_it_takes(self):
        row = counted(
            one('a', 'running', left=estimate.Estimate(7.0, 98.1, 20)),
            one('b', 'queued', left=estimate.Estimate(30.0, 45.0, 5)),
            one('c'),
        )

        self.assertEqual((30, 99, 5), eta(row))

    def test_one_without_an_estimate_leaves_the_host_without(self):
        nothing = (None, None, None)
        unknown = one('b', 'running', left=None)

        self.assertEqual(nothing, eta(counted(one('a', 'queued'), unknown)))
        self.assertEqual(nothing, eta(counted(one('a'))))

    def test_servers_to_come_need_turns_of_what_is_typical(self):
        items = [one('a', 'running'), one('b', 'running')]
        planned = {'h1': frozenset('cde')}

        known = counted(*items, planned=planned, typical=TYPICAL)

        self.assertEqual((150, 226, 7), eta(known))
        for row in (
            counted(*items, planned=planned),
            counted(planned=planned, typical=TYPICAL),
        ):
            self.assertEqual((None, None, None), eta(row))

    @hypothesis.given(waves())
    def test_numbers_add_up(self, wave):
        evacuations, planned = wave

        rows = tally.hosts(evacuations, planned, TYPICAL)

        pairs = {
            (each.record.source_compute, each.record.instance_uuid)
            for each in evacuations
        }
        self.assertEqual(len(pairs), sum(row['total'] for row in rows))
        for row in rows:
            self.assertEqual(row['total'], sum(row['states'].values()))
            self.assertLessEqual(row['stalled'], row['total'])
            everything = row['total'] + (row['planned'] or 0)
            self.assertGreater(everything, 0)
            self.assertEqual(
                row['states']['succeeded'] == everything,
                row['progress'] == 100,
            )
            if row['eta_seconds'] is None:
                self.assertIsNone(row['eta_p90_seconds'])

    def clock(self, at):
        return at.hour, at.minute

    def shown(self, row):
        return row['total'], row['planned'], row['progress']


class PlannedTest(unittest.TestCase):
    def test_what_nova_was_asked_or_never_will_be_is_not_planned(self):
        states = incident.ServerState
        subject = incident.Incident(
            uuid='i',
            host='h1',
            service_uuid='s',
            epoch=1,
            phase=incident.Phase.EVACUATING,
            opened_at=1.0,
            updated_at=1.0,
            servers=tuple(
                incident.Server(uuid=str(state), state=state)
                for state in states
            ),
        )

        self.assertEqual(
            {'h1': frozenset({'queued', 'ready', 'requested'})},
            tally.planned_of([subject]),
        )


if __name__ == '__main__':
    unittest.main()
