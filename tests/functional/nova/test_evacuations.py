# SPDX-License-Identifier: Apache-2.0

"""The evacuation resources on a real nova, with evacuations of stock nova."""

import threading
import time

import fixtures
from nova import conf
from nova import exception
from nova.virt import fake

from nova_ha_plugins.conf import nova_progress
from tests.functional.nova import base

UNKNOWN = '5d4c2f6e-0000-4000-8000-000000000001'
HOST_FIELDS = (
    'source_compute',
    'source_node',
    'dest_compute',
    'dest_node',
    'dest_host',
    'user_id',
    'project_id',
)


class FollowTest(base.NovaTestCase):
    """One evacuation, watched through the API while nova does it."""

    def hold_spawn(self, error=None):
        """Let the driver's spawn wait, then work or raise."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        spawn = fake.FakeDriver.spawn

        def held(driver, *args, **kwargs):
            gate.wait(20)
            if error is not None:
                raise error
            return spawn(driver, *args, **kwargs)

        self.useFixture(
            fixtures.MonkeyPatch('nova.virt.fake.FakeDriver.spawn', held)
        )
        return gate

    def poll(self, server, until, seen=None):
        """Ask until the newest evacuation is like that; give all answers."""
        seen = [] if seen is None else seen
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = self.get_evacuations(server)
            if found:
                seen.append(found[0])
                if until(found[0]):
                    return seen
            time.sleep(0.02)
        self.fail(f'Not reached, last seen: {seen[-1:]}')

    def test_percent_never_goes_back_until_one_hundred(self):
        self.start_hosts('host1', 'host2')
        server = self.boot('host1')
        self.assertEqual([], self.get_evacuations(server))
        self.kill('host1')
        gate = self.hold_spawn()

        self.evacuate(server)
        seen = self.poll(server, lambda item: item['phase'] == 'spawning')
        spawning = seen[-1]
        gate.set()
        self.poll(server, lambda item: item['state'] == 'succeeded', seen)
        done = seen[-1]

        percents = [item['progress'] for item in seen]
        self.assertEqual(sorted(percents), percents)
        self.assertEqual(('running', 40), (spawning['state'], percents[-2]))
        self.assertEqual(100, done['progress'])
        self.assertEqual(server['id'], done['server_uuid'])
        self.assertEqual('evacuation', done['migration_type'])
        self.assertEqual('host1', done['source_compute'])
        self.assertEqual('host2', done['dest_compute'])
        self.assertFalse(done['stalled'])
        self.assertIsNone(done['reason'])
        self.assertIsNotNone(done['started_at'])
        stock = self.admin_api.api_get('/os-migrations').body['migrations'][0]
        for name in ('id', 'uuid', 'created_at', 'dest_host', 'user_id'):
            self.assertEqual(stock[name], done[name])

    def test_no_valid_host_is_a_failure_with_that_reason(self):
        self.start_hosts('host1')
        server = self.boot('host1')
        self.kill('host1')

        self.evacuate(server)
        last = self.poll(server, lambda item: item['state'] == 'failed')[-1]

        self.assertEqual('no_valid_host', last['reason'])
        self.assertEqual('error', last['status'])
        self.assertIsNone(last['progress'])
        self.assertIsNone(last['dest_compute'])

    def test_failed_spawn_is_the_destinations_failure(self):
        self.start_hosts('host1', 'host2')
        server = self.boot('host1')
        self.kill('host1')
        gate = self.hold_spawn(exception.NovaException('disk on fire'))
        gate.set()

        self.evacuate(server)
        last = self.poll(server, lambda item: item['state'] == 'failed')[-1]

        self.assertEqual('destination_failed', last['reason'])
        self.assertEqual('failed', last['status'])
        self.assertEqual('host2', last['dest_compute'])
        self.assertIsNone(last['progress'])

    def test_dead_destination_stalls_and_a_second_evacuation_supersedes(self):
        # Only nova itself would begin a second one here.
        nova_progress.register_opts(conf.CONF)
        self.flags(guard=False, group=nova_progress.GROUP)
        self.start_hosts('host1', 'host2', 'host3')
        server = self.boot('host1')
        self.kill('host1')
        self.hold_spawn()
        self.evacuate(server)
        first = self.poll(server, lambda item: item['phase'] == 'spawning')[-1]

        self.force_down(first['dest_compute'])
        stalled = self.get_evacuations(server)[0]
        self.admin_api.post_server_action(
            server['id'], {'os-resetState': {'state': 'active'}}
        )
        self.evacuate(server)
        self.poll(
            server,
            lambda item: (
                item['uuid'] != first['uuid'] and item['phase'] == 'spawning'
            ),
        )
        newest, oldest = self.get_evacuations(server)

        self.assertTrue(stalled['stalled'])
        self.assertEqual('destination_down', stalled['reason'])
        self.assertEqual('running', stalled['state'])
        self.assertEqual(first['uuid'], oldest['uuid'])
        self.assertEqual('superseded', oldest['state'])
        self.assertEqual('record_left_open', oldest['reason'])
        self.assertIsNone(oldest['progress'])
        self.assertEqual(
            ('running', 40), (newest['state'], newest['progress'])
        )


class ResourceTest(base.NovaTestCase):
    """The two resources, with one evacuation that has ended."""

    def setUp(self):
        super().setUp()
        self.server = self.write_evacuation('host1', 'host2', age=60)
        self.path = f'/servers/{self.server["id"]}/evacuations'

    def ask(self, path, status=200, **kwargs):
        answer = self.request(path, **kwargs)
        self.assertEqual(status, answer.status_code, answer.text)
        return answer

    def refuse(self, path, status, fault, **kwargs):
        """Ask, be refused in nova's format, give the sentence."""
        answer = self.ask(path, status, **kwargs).json()
        self.assertEqual(status, answer[fault]['code'])
        return answer[fault]['message']

    def test_shown_by_uuid_and_by_number(self):
        [item] = self.get_evacuations(self.server)

        for key in (item['uuid'], item['id']):
            shown = self.ask(f'{self.path}/{key}').json()['evacuation']
            self.assertEqual(item, shown)
        for key in (UNKNOWN, 99, 'x'):
            text = self.refuse(f'{self.path}/{key}', 404, 'itemNotFound')
            self.assertIn(f"no evacuation '{key}'", text)
        self.refuse(f'/servers/{UNKNOWN}/evacuations', 404, 'itemNotFound')

    def test_owner_sees_everything_but_hosts_and_who_asked(self):
        for user, roles in (('fake', 'reader,member'), ('reader', 'reader')):
            [item] = self.get_evacuations(self.server, user=user, roles=roles)

            self.assertEqual('succeeded', item['state'])
            self.assertEqual(100, item['progress'])
            for name in HOST_FIELDS:
                self.assertIsNone(item[name], name)
            self.assertNotIn('host1', str(item))
            self.assertNotIn('host2', str(item))
            # Nova's number counts everybody's migrations.
            self.assertIsNone(item['id'])
            self.refuse(
                f'{self.path}/1', 404, 'itemNotFound', user=user, roles=roles
            )

    def test_other_project_finds_no_server(self):
        for path in (self.path, f'{self.path}/1'):
            self.refuse(
                path,
                404,
                'itemNotFound',
                user='fake',
                roles='reader,member',
                project='f00d',
            )

    def test_user_without_a_role_of_nova_is_refused(self):
        text = self.refuse(
            self.path, 403, 'forbidden', user='other', roles='other'
        )

        self.assertIn('os_compute_api:instance-ha:evacuations:show', text)

    def test_all_evacuations_are_the_administrators_unless_policy_says_so(
        self,
    ):
        owner = {'user': 'fake', 'roles': 'reader,member'}
        text = self.refuse('/os-evacuations', 403, 'forbidden', **owner)
        self.assertIn('os_compute_api:instance-ha:evacuations:index', text)

        self.policy.set_rules(
            {'os_compute_api:instance-ha:evacuations:index': '@'},
            overwrite=False,
        )
        [item] = self.ask('/os-evacuations', **owner).json()['evacuations']

        self.assertIsNone(item['source_compute'])
        for name in ('host', 'source_compute', 'dest_compute'):
            text = self.refuse(
                f'/os-evacuations?{name}=host1', 403, 'forbidden', **owner
            )
            self.assertIn('evacuations:show:host', text)

    def test_every_filter_of_the_list_filters(self):
        uuid = self.server['id']
        for match, miss in (
            ('state=succeeded', 'state=failed'),
            ('state=running&state=succeeded', 'state=running&state=queued'),
            ('status=done', 'status=error'),
            ('status=error&status=done', 'status=accepted'),
            ('source_compute=host1', 'source_compute=host2'),
            ('dest_compute=host2', 'dest_compute=host1'),
            ('host=host1', 'host=host3'),
            ('host=host2', 'host=host2&source_compute=host2'),
            (f'instance_uuid={uuid}', f'instance_uuid={UNKNOWN}'),
        ):
            found = self.ask(f'/os-evacuations?{match}').json()
            none = self.ask(f'/os-evacuations?{miss}').json()
            self.assertEqual(1, len(found['evacuations']), match)
            self.assertEqual([], none['evacuations'], miss)

    def test_state_is_not_what_nova_calls_status(self):
        # The source came back, and later the server went back to it.
        moved = self.write_evacuation(
            'host1', 'host2', status='completed', host='host1'
        )

        found = {
            state: [
                item['server_uuid']
                for item in self.ask(f'/os-evacuations?state={state}').json()[
                    'evacuations'
                ]
            ]
            for state in ('succeeded', 'running', 'failed')
        }

        self.assertEqual(
            {
                'succeeded': [moved['id'], self.server['id']],
                'running': [],
                'failed': [],
            },
            found,
        )

    def test_wrong_questions_are_refused_with_a_sentence(self):
        for query, text in (
            ('color=red', 'color'),
            ('state=happy', 'happy'),
            ('limit=-1', '-1'),
            ('limit=many', 'many'),
            ('instance_uuid=7', '7'),
            ('host=a&host=b', 'too long'),
            ('marker=7', '7'),
            (f'marker={UNKNOWN}', UNKNOWN),
        ):
            message = self.refuse(
                f'/os-evacuations?{query}', 400, 'badRequest'
            )
            self.assertIn(text, message)
        self.refuse(f'{self.path}?limit=1', 400, 'badRequest')

    def test_list_comes_in_pages(self):
        second = self.write_evacuation('host2', 'host3')
        everything = self.ask('/os-evacuations').json()

        page = self.ask('/os-evacuations?limit=1&state=succeeded').json()
        [link] = page['evacuations_links']
        last = self.ask(link['href'].partition('/v2.1')[2]).json()

        self.assertNotIn('evacuations_links', everything)
        self.assertEqual(
            [second['id'], self.server['id']],
            [item['server_uuid'] for item in everything['evacuations']],
        )
        self.assertEqual(
            everything['evacuations'],
            page['evacuations'] + last['evacuations'],
        )
        self.assertEqual(
            [], self.ask('/os-evacuations?limit=0').json()['evacuations']
        )

    def test_project_in_the_path_works_as_in_nova(self):
        project = self.api.project_id
        expected = self.ask(self.path).json()

        self.assertEqual(expected, self.ask(f'/{project}{self.path}').json())
        self.ask(f'/{project}/os-evacuations')
        self.ask(f'/{project}{self.path}', base='v2')
        self.refuse(f'/f00d{self.path}', 400, 'badRequest')

    def test_every_microversion_of_nova_is_welcome(self):
        for version in ('2.1', '2.96', 'latest'):
            answer = self.ask(self.path, version=f'compute {version}')
            shown = answer.headers['OpenStack-API-Version']
            self.assertIn('instance-ha 1.0', shown)
            self.assertIn('compute 2.', shown)
            if version != 'latest':
                self.assertIn(f'compute {version}', shown)
        self.ask(self.path, 406, version='compute 2.999')

    def test_own_version_is_negotiated_beside_novas(self):
        for version, found in (
            ('1.0', '1.0'),
            ('1.1', '1.1'),
            ('1.2', '1.2'),
            ('1.3', '1.3'),
            ('latest', '1.3'),
        ):
            answer = self.ask(
                self.path, version=f'compute 2.94, instance-ha {version}'
            )
            self.assertIn(
                f'instance-ha {found}', answer.headers['OpenStack-API-Version']
            )
        for version, status in (('1.4', 406), ('0.9', 406), ('x', 400)):
            self.ask(self.path, status, version=f'instance-ha {version}')

    def test_everything_else_is_still_novas(self):
        self.assertEqual(1, len(self.admin_api.get_servers(detail=False)))
        self.ask('/servers/evacuations', 404)
        self.ask(self.path, 404, method='POST', json={})
        self.ask('/os-evacuations/x', 404)
        answer = self.ask('/servers')
        self.assertNotIn(
            'instance-ha', answer.headers['OpenStack-API-Version']
        )
