# SPDX-License-Identifier: Apache-2.0

"""The summary of each host on a real nova, over evacuations and our store."""

from unittest import mock

from nova import context as nova_context

from nova_ha_plugins.recovery import incident
from tests.functional.nova import test_instance_ha

PATH = '/os-evacuations/summary'
LATEST = 'instance-ha 1.2'
RULE = 'os_compute_api:instance-ha:evacuations:'
NO_STATES = dict.fromkeys(
    ('queued', 'running', 'succeeded', 'failed', 'superseded', 'unknown'), 0
)
DAY = 86400


class SummaryTest(test_instance_ha.RecoveryTestCase):
    def summary(self, query='', **kwargs):
        kwargs.setdefault('version', LATEST)
        return self.ask(f'{PATH}{query}', **kwargs)['evacuations_summary']

    def rows(self, query='', **kwargs):
        return {
            row['source_compute']: row
            for row in self.summary(query, **kwargs)['hosts']
        }

    def refused(self, status, fault, query='', **kwargs):
        kwargs.setdefault('version', LATEST)
        return self.refuse(f'{PATH}{query}', status, fault, **kwargs)

    def plan(self, host, *servers):
        """Say what the engine is going to do about the servers of a host."""
        store = self.use_store()
        self.store_incident(
            store,
            host=host,
            phase=incident.Phase.EVACUATING,
            servers=tuple(
                incident.Server(
                    uuid=uuid, state=incident.ServerState.READY, protected=True
                )
                for uuid in servers
            ),
        )

    def write_wave(self):
        """Four evacuations from host1, the last one of which is open."""
        for status in ('done', 'error', 'done'):
            self.write_evacuation('host1', 'host2', age=60, status=status)
        return self.write_evacuation(
            'host1', 'host3', age=30, status='pre-migrating', host='host1'
        )

    def test_every_server_of_a_host_is_in_one_state(self):
        self.write_wave()
        self.write_evacuation('host4', 'host2', age=9)

        first, second = self.summary()['hosts']

        self.assertEqual(
            ('host1', 4), (first['source_compute'], first['total'])
        )
        self.assertEqual(
            {**NO_STATES, 'succeeded': 2, 'failed': 1, 'running': 1},
            first['states'],
        )
        # The one that runs has come to 90, two to 100, one is lost.
        self.assertEqual(290 // 4, first['progress'])
        self.assertIsNone(first['finished_at'])
        self.assertEqual(
            ('host4', 1, 100),
            (second['source_compute'], second['total'], second['progress']),
        )
        self.assertLess(second['started_at'], second['finished_at'])
        self.assertEqual(0, self.summary()['cells_down'])

    def test_what_is_long_over_is_not_of_this_wave(self):
        self.write_evacuation('host1', 'host2', age=2 * DAY)
        self.write_evacuation(
            'host1', 'host2', age=2 * DAY, status='completed'
        )
        # Nova made its record again, and never closes it.
        self.write_evacuation(
            'host1', 'host2', age=2 * DAY, status='pre-migrating'
        )
        self.write_evacuation('host2', 'host3', age=DAY - 60)
        self.write_evacuation(
            'host3',
            'host2',
            age=3 * DAY,
            status='pre-migrating',
            host='host3',
        )

        recent = self.rows()
        everything = self.rows('?changes-since=2000-01-01T00:00:00Z')
        nothing = self.rows('?changes-since=2100-01-01T00:00:00%2B01:00')

        self.assertEqual({'host2', 'host3'}, set(recent))
        # One that was never closed is still somebody's business.
        self.assertEqual(1, recent['host3']['states']['running'])
        self.assertEqual({'host1', 'host2', 'host3'}, set(everything))
        self.assertEqual(3, everything['host1']['total'])
        self.assertEqual({}, nothing)

    def test_one_host_can_be_asked_for(self):
        self.write_wave()
        self.write_evacuation('host2', 'host3')
        self.plan('host9', 'x')

        self.assertEqual({'host2'}, set(self.rows('?source_compute=host2')))
        self.assertEqual({'host9'}, set(self.rows('?source_compute=host9')))
        self.assertEqual([], self.summary('?source_compute=x')['hosts'])

    def test_servers_that_nova_was_not_asked_for_are_planned(self):
        self.write_wave()
        asked = self.write_evacuation('host1', 'host2')

        self.plan('host1', asked['id'], 'b', 'c')
        row = self.rows()['host1']

        self.assertEqual((5, 2), (row['total'], row['planned']))
        self.assertEqual(390 // 7, row['progress'])

    def test_store_that_is_away_takes_nothing_but_the_plan(self):
        self.write_wave()
        self.name_database('nowhere/ha.sqlite')

        row = self.rows()['host1']

        self.assertIsNone(row['planned'])
        self.assertEqual(4, row['total'])
        with mock.patch(
            'nova_ha_plugins.api.backend.open_store', autospec=True
        ) as asked:
            self.assertIsNone(self.rows()['host1']['planned'])
        asked.assert_not_called()

    def test_cells_that_do_not_answer_are_counted(self):
        self.write_wave()
        real = nova_context.scatter_gather_skip_cell0
        dead = nova_context.did_not_respond_sentinel

        def with_a_dead_cell(*args, **kwargs):
            return {**real(*args, **kwargs), 'dead': dead}

        target = 'nova.context.scatter_gather_skip_cell0'
        with mock.patch(target, with_a_dead_cell):
            found = self.summary()
        with mock.patch(target, lambda *args, **kwargs: {'dead': dead}):
            text = self.refused(503, 'serviceUnavailable')

        self.assertEqual(1, found['cells_down'])
        self.assertEqual(4, found['hosts'][0]['total'])
        self.assertIn('None of the 1 cells answered', text)

    def test_who_may_not_ask_is_refused_and_so_are_wrong_questions(self):
        owner = {'user': 'fake', 'roles': 'reader,member'}
        text = self.refused(403, 'forbidden', **owner)
        self.assertIn(f'{RULE}summary', text)
        self.policy.set_rules({f'{RULE}summary': '@'}, overwrite=False)
        text = self.refused(403, 'forbidden', **owner)
        self.assertIn(f'{RULE}show:host', text)

        for query, word in (
            ('?color=red', 'color'),
            ('?changes-since=yesterday', 'yesterday'),
            ('?changes-since=9999-12-31T23:59:59-14:00', '9999-12-31'),
            ('?source_compute=a&source_compute=b', 'too long'),
        ):
            self.assertIn(word, self.refused(400, 'badRequest', query))
        for version in (None, 'instance-ha 1.1'):
            text = self.refused(404, 'itemNotFound', version=version)
            self.assertIn('instance-ha 1.2', text)
        self.refused(406, 'computeFault', version='instance-ha 1.99')

    def test_project_in_the_path_works_as_in_nova(self):
        self.write_wave()
        project = self.api.project_id

        answers = [
            self.request(f'{prefix}{PATH}', version=LATEST)
            for prefix in ('', f'/{project}', '/f00d')
        ]

        self.assertEqual(answers[0].json(), answers[1].json())
        self.assertEqual(400, answers[2].status_code)
        self.assertIn(LATEST, answers[0].headers['OpenStack-API-Version'])
