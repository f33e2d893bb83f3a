# SPDX-License-Identifier: Apache-2.0

"""What a list says of each evacuation, and which ones it finds."""

import itertools
from unittest import mock

import fixtures


from nova_ha_plugins.api import estimates
from nova_ha_plugins.api import evacuations
from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import following
from nova_ha_plugins.recovery import progress
from tests.functional.nova import base
from tests.functional.nova import rows

LATEST = 'instance-ha 1.2'
LATER_FIELDS = {
    'eta_p90_seconds',
    'eta_samples',
    'explanation',
    'storage',
    'boot_source',
    'size_class',
    'ahead',
    'phase_started_at',
}
SCHEDULED = rows.Event('rebuild_server', 0, 1, 'Success')


def rebuild(started=1, finished=None, result=None, host='host2'):
    return rows.Event(
        'compute_rebuild_instance', started, finished, result, host
    )


class ListingTestCase(base.NovaTestCase):
    """Rows written, and asked for through nova's API."""

    def setUp(self):
        super().setUp()
        # Ages are those of the moment of the test.
        self.useFixture(self.clock_at(5))

    def clock_at(self, seconds):
        return fixtures.MonkeyPatch(
            'nova_ha_plugins.api.joining.now', lambda: rows.epoch(seconds)
        )

    def write(self, **values):
        return rows.Evacuation(**values).write(self.api.project_id)

    def ask(
        self, path='/os-evacuations', status=200, version=LATEST, **kwargs
    ):
        answer = self.request(path, version=version, **kwargs)
        self.assertEqual(status, answer.status_code, answer.text)
        return answer.json()

    def list(self, query='', **kwargs):
        return self.ask(f'/os-evacuations{query}', **kwargs)['evacuations']

    def item(self, written, **kwargs):
        """Give what the list says of one of them."""
        [item] = self.list(f'?instance_uuid={written.server}', **kwargs)
        return item


class FindingTest(ListingTestCase):
    def test_database_leaves_out_nothing_of_a_state(self):
        ends = (
            (),
            (SCHEDULED, rebuild()),
            (SCHEDULED, rebuild(1, 2, 'Success')),
            (SCHEDULED, rebuild(1, 2, 'Error')),
            (rows.Event('rebuild_server', 0, 1, 'Error'),),
        )
        statuses = (
            'accepted',
            'pre-migrating',
            'completed',
            'done',
            'failed',
            'error',
            'odd',
        )
        for number, (status, events) in enumerate(
            itertools.product(statuses, ends)
        ):
            destination = None if status == 'accepted' else 'host2'
            one = self.write(
                status=status,
                created=-0.001 * number,
                destination=destination,
                events=events,
                task=(None, 'rebuild_spawning')[number % 2],
                host=('host1', 'host2')[number % 3 == 0],
                deleted=number % 11 == 0,
            )
            if number % 4 == 0:
                one.write_again(created=1, status='pre-migrating', events=())
        everything = self.list()

        by_state = {
            state: [item for item in everything if item['state'] == state]
            for state in map(str, progress.State)
        }
        self.assertTrue(all(by_state.values()), by_state.keys())
        for state, expected in by_state.items():
            self.assertEqual(expected, self.list(f'?state={state}'), state)
        unfinished = by_state['queued'] + by_state['running']
        self.assertCountEqual(
            unfinished, self.list('?state=queued&state=running')
        )

    def test_pages_of_a_state_have_nothing_twice_and_miss_nothing(self):
        for number in range(7):
            self.write(
                created=number,
                status=('pre-migrating', 'completed')[number % 2],
                host='host1',
                events=(SCHEDULED, rebuild(number + 1)),
            )
            self.write(
                created=number,
                status='completed',
                host='host2',
                task=None,
                events=(SCHEDULED, rebuild(number + 1, 9, 'Success')),
            )
        whole = self.list('?state=succeeded')

        with mock.patch.object(evacuations, '_SEARCH_PAGE', 2):
            path, found = '/os-evacuations?state=succeeded&limit=3', []
            while path:
                page = self.ask(path)
                found += page['evacuations']
                [link] = page.get('evacuations_links', [{'href': ''}])
                path = link['href'].partition('/v2.1')[2]

        self.assertEqual(7, len(whole))
        self.assertEqual(whole, found)

    def test_changes_are_those_of_novas_record(self):
        fresh = self.write(created=30)
        written = self.write(created=10, updated=20)
        old = self.write(created=5, updated=6)

        def uuids(query):
            return [item['uuid'] for item in self.list(f'?{query}')]

        def time(seconds):
            return rows.at(seconds).isoformat() + 'Z'

        for query, expected in (
            (f'changes-since={time(20)}', [fresh, written]),
            (f'changes-since={time(21)}', [fresh]),
            (f'changes-before={time(20)}', [written, old]),
            (f'changes-since={time(6)}&changes-before={time(6)}', [old]),
            ('changes-since=2026-01-01T02:00:20%2B02:00', [fresh, written]),
        ):
            self.assertEqual(
                [each.uuid for each in expected], uuids(query), query
            )
        for query in (
            f'changes-since={time(7)}&changes-before={time(6)}',
            'changes-since=yesterday',
            'changes-since=0001-01-01T00:00:00%2B14:00',
        ):
            text = self.ask(f'/os-evacuations?{query}', 400)['badRequest']
            self.assertIn('changes-since', text['message'])

    def test_deleted_server_is_how_its_evacuation_ended(self):
        written = self.write(
            deleted=True, task=None, events=(SCHEDULED, rebuild())
        )

        item = self.item(written)

        self.assertEqual(
            ('failed', 'server_deleted'), (item['state'], item['reason'])
        )
        self.assertIsNone(item['progress'])
        self.ask(f'/servers/{written.server}/evacuations', 404)


class TellingTest(ListingTestCase):
    def test_volumes_move_the_percentage_as_each_is_written(self):
        on_volumes = {'image': '', 'events': (SCHEDULED, rebuild())}
        found = [
            self.item(self.write(**{**on_volumes, **values}))
            for values in (
                {
                    'status': 'accepted',
                    'destination': None,
                    'task': 'rebuilding',
                    'volumes': (-9, -9, -9),
                },
                {'task': 'rebuilding', 'volumes': (2, -9, None)},
                {'task': 'rebuilding', 'volumes': (2, 3, -9)},
                {
                    'task': 'rebuild_block_device_mapping',
                    'written': 4,
                    'volumes': (2, 3, 4),
                },
                {
                    'task': 'rebuild_block_device_mapping',
                    'written': 4,
                    'volumes': (5, 3, 5),
                },
                {'task': 'rebuild_spawning', 'volumes': (5, 6, 7)},
                {
                    'status': 'done',
                    'task': None,
                    'host': 'host2',
                    'volumes': (5, 6, 7),
                },
                # It moved on: which volumes it had then nobody knows.
                {
                    'status': 'done',
                    'task': None,
                    'host': 'host3',
                    'volumes': (5, 6, 7),
                },
            )
        ]

        self.assertEqual(
            [(3, n) for n in (0, 1, 2, 0, 2, 3, 3)] + [(None, None)],
            [(item['volumes_total'], item['volumes_done']) for item in found],
        )
        percents = [item['progress'] for item in found]
        self.assertEqual(sorted(percents), percents)
        self.assertEqual(percents[:-1], sorted(set(percents)))
        for item in found:
            self.assertEqual('volume', item['boot_source'])
            self.assertEqual('volumes', item['storage'])

    def test_bytes_move_the_percentage_of_what_is_copied(self):
        spawning = {'events': (SCHEDULED, rebuild())}
        found = [
            self.item(self.write(disk=disk, **spawning))
            for disk in ((None, None), (0, 0), (100, 0), (100, 50), (100, 100))
        ]

        self.assertEqual(
            ['unknown', 'in_place', 'copy', 'copy', 'copy'],
            [item['storage'] for item in found],
        )
        self.assertEqual(
            [40, 40, 40, 65, 89], [item['progress'] for item in found]
        )
        self.assertEqual({'image'}, {item['boot_source'] for item in found})

    def test_queue_of_a_destination_is_counted_from_who_began_there(self):
        waiting = {
            'status': 'accepted',
            'destination': None,
            'task': 'rebuilding',
        }
        found = [
            self.write(**{**waiting, **values})
            for values in (
                {'created': 3, 'events': (SCHEDULED, rebuild(3.2))},
                {'created': 1, 'events': (SCHEDULED, rebuild(3.1))},
                {'created': 2, 'events': (SCHEDULED, rebuild(3.3))},
                {'events': (SCHEDULED, rebuild(1, host='host3'))},
                {'events': (SCHEDULED,)},
                # Somebody named the host; it has not begun there.
                {'events': (SCHEDULED,), 'destination': 'host2'},
                {
                    'status': 'pre-migrating',
                    'destination': 'host2',
                    'events': (SCHEDULED, rebuild()),
                },
                {
                    'status': 'done',
                    'task': None,
                    'host': 'host2',
                    'destination': 'host2',
                    'events': (SCHEDULED, rebuild(1, 2, 'Success')),
                },
            )
        ]

        self.assertEqual(
            [1, 0, 2, 0, None, 3, 0, None],
            [self.item(each)['ahead'] for each in found],
        )

    def test_estimate_needs_history_and_something_that_goes_on(self):
        running = self.write(
            disk=(100, 50), events=(SCHEDULED, rebuild()), created=-3
        )
        stalled = self.write(
            task=None, disk=(100, 100), events=(SCHEDULED, rebuild())
        )
        facts = progress.Facts(
            'pre-migrating',
            'host1',
            'host2',
            None,
            0.0,
            0.0,
            boot=progress.Boot.IMAGE,
            disk_total=100,
        )
        past = estimate.Past(
            estimate.kind_of(facts),
            tuple((phase, 100.0) for phase in list(progress.PERCENT)[:-1]),
            50.0,
        )
        trace = following.Trace(
            uuid=running.uuid,
            server_uuid=running.server,
            source='host1',
            created_at=0.0,
            phase='spawning',
            phase_since=rows.epoch(2),
            rate=10.0,
            progress=77,
        )
        without = self.item(running)

        with (
            mock.patch.object(
                estimates,
                'book',
                autospec=True,
                return_value=estimate.Book([past] * 5),
            ),
            mock.patch.object(
                estimates,
                'traces',
                autospec=True,
                return_value={running.uuid: trace},
            ),
            self.clock_at(60),
        ):
            found, other = self.item(running), self.item(stalled)
            old = self.item(running, version=None)

        self.assertEqual(
            [None] * 3,
            [
                without[name]
                for name in ('eta_seconds', 'eta_p90_seconds', 'eta_samples')
            ],
        )
        self.assertEqual(5, found['eta_samples'])
        # What was seen once is not taken back.
        self.assertEqual((65, 77), (without['progress'], found['progress']))
        # 50 bytes at 10 a second, and then what its like needed to finish.
        self.assertLessEqual(5, found['eta_seconds'])
        self.assertLessEqual(found['eta_seconds'], found['eta_p90_seconds'])
        self.assertEqual(found['eta_seconds'], old['eta_seconds'])
        self.assertIn('left', found['explanation'])
        self.assertEqual(
            rows.at(2).isoformat(timespec='microseconds'),
            found['phase_started_at'],
        )
        self.assertTrue(other['stalled'])
        self.assertIsNone(other['eta_seconds'])

    def test_later_fields_are_those_of_the_later_version_only(self):
        written = self.write(events=(SCHEDULED, rebuild()))

        for version in (None, 'instance-ha 1.1'):
            self.assertEqual(
                LATER_FIELDS,
                self.item(written).keys()
                - self.item(written, version=version).keys(),
            )

    def test_explanation_names_no_host_to_who_may_not_see_hosts(self):
        for number, (status, events, task) in enumerate(
            (
                ('pre-migrating', (SCHEDULED, rebuild()), 'rebuild_spawning'),
                ('pre-migrating', (SCHEDULED, rebuild()), None),
                ('failed', (SCHEDULED, rebuild(1, 2, 'Error')), None),
                ('error', (), None),
                ('accepted', (), 'rebuilding'),
            )
        ):
            written = self.write(
                status=status,
                events=events,
                task=task,
                source='secret1',
                host='secret1',
                destination='secret2',
            )
            if number % 2:
                written.write_again(created=1)
            path = f'/servers/{written.server}/evacuations'
            for each in self.ask(path, user='fake', roles='reader,member')[
                'evacuations'
            ]:
                self.assertNotIn('secret', str(each))
                self.assertIsNone(each['ahead'])
                self.assertTrue(each['explanation'], each)

    def test_times_are_written_as_nova_writes_them(self):
        written = self.write(
            created=1.5,
            updated=2,
            status='failed',
            events=(SCHEDULED, rebuild(1.25, 2, 'Error')),
        )

        item = self.item(written)

        [stock] = self.request(
            '/os-migrations?migration_type=evacuation', version='compute 2.80'
        ).json()['migrations']
        for name in ('created_at', 'updated_at'):
            self.assertEqual(stock[name], item[name])
        self.assertEqual('2026-01-01T00:00:01.250000', item['started_at'])
        self.assertEqual('2026-01-01T00:00:02.000000', item['finished_at'])
        self.assertEqual(item['finished_at'], item['phase_started_at'])
