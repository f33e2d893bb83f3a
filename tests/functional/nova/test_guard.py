# SPDX-License-Identifier: Apache-2.0

"""A second evacuation of a server: what nova does, and what the guard does."""

from concurrent import futures
import threading
import time

import fixtures
from nova.tests import fixtures as nova_fixtures
from nova.virt import fake

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import guard
from nova_ha_plugins.api import policies
from nova_ha_plugins.conf import database as database_conf
from nova_ha_plugins.conf import nova_progress
from nova_ha_plugins.nova import client
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import schema
from tests.functional.nova import base
from tests.unit.recovery import examples

ASKED = '{"evacuate": {}}'


class GuardTestCase(base.NovaTestCase):
    """Three hosts; the destination's spawn waits until it is let go."""

    def setUp(self):
        super().setUp()
        nova_progress.register_opts(compat.CONF)
        database_conf.register_opts(compat.CONF)
        self.gate = threading.Event()
        self.begun = []
        spawn = fake.FakeDriver.spawn

        def held(driver, context, instance, *args, **kwargs):
            if instance.task_state == 'rebuild_spawning':
                self.begun.append(instance.uuid)
                self.gate.wait(60)
            return spawn(driver, context, instance, *args, **kwargs)

        self.useFixture(
            fixtures.MonkeyPatch('nova.virt.fake.FakeDriver.spawn', held)
        )

    def tearDown(self):
        # Before the services are stopped: they wait for what they work on.
        self.gate.set()
        super().tearDown()

    def use_store(self):
        self.flags(
            connection=f'sqlite:///{self.directory}/ha.sqlite',
            group='nova_ha_database',
        )
        schema.sync(compat.CONF)
        return store_api.open_store(compat.CONF)

    def ask(self, server, **kwargs):
        """Ask for an evacuation; give nova's answer as it is."""
        kwargs.setdefault('version', f'compute {self.microversion}')
        return self.request(
            f'/servers/{server["id"]}/action',
            method='POST',
            data=ASKED,
            **kwargs,
        )

    def accept(self, server, **kwargs):
        answer = self.ask(server, **kwargs)
        self.assertEqual(200, answer.status_code, answer.text)

    def refuse(self, server, **kwargs):
        """Ask and be refused by the guard; give the answer."""
        before = self.get_evacuations(server)
        answer = self.ask(server, **kwargs)

        self.assertEqual(409, answer.status_code, answer.text)
        self.assertIn(guard.HEADER, answer.headers)
        self.assertEqual(
            [item['uuid'] for item in before],
            [item['uuid'] for item in self.get_evacuations(server)],
        )
        return answer

    def sentence(self, answer):
        return answer.json()['conflictingRequest']['message']

    def wait(self, what, check, seconds=30):
        deadline = time.monotonic() + seconds
        while not check():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)

    def wait_spawning(self, server, number=1):
        self.wait('spawning', lambda: self.begun.count(server['id']) >= number)

    def wait_state(self, server, state):
        self.wait(
            state, lambda: self.get_evacuations(server)[0]['state'] == state
        )
        return self.get_evacuations(server)[0]

    def guests(self, server):
        """The hosts whose hypervisor has the server."""
        return sorted(
            host
            for host, compute in self.computes.items()
            if server['id'] in compute.manager.driver.instances
        )


class DoubleSpawnTest(GuardTestCase):
    """What is guarded against, and that the guard does so."""

    def test_nova_alone_spawns_a_server_twice_and_the_guard_refuses(self):
        self.start_hosts('host1', 'host2', 'host3')
        unguarded, guarded = self.boot('host1'), self.boot('host1')
        self.kill('host1')

        self.flags(guard=False, group='nova_ha_progress')
        self.accept(unguarded)
        self.wait_spawning(unguarded)
        self.accept(unguarded)
        self.wait_spawning(unguarded, 2)
        self.flags(guard=True, group='nova_ha_progress')
        self.accept(guarded)
        self.wait_spawning(guarded)
        answer = self.refuse(guarded)
        [item] = self.get_evacuations(guarded)
        self.gate.set()
        self.wait_state(guarded, 'succeeded')
        self.wait(
            'both records closed',
            lambda: (
                {item['status'] for item in self.get_evacuations(unguarded)}
                <= {'done', 'failed'}
            ),
        )

        self.assertEqual(['host1', 'host2', 'host3'], self.guests(unguarded))
        self.assertEqual(1, self.begun.count(guarded['id']))
        self.assertEqual(['host1', item['dest_compute']], self.guests(guarded))
        text = self.sentence(answer)
        self.assertEqual(item['uuid'], answer.headers[guard.HEADER])
        self.assertEqual(client.GUARD_HEADER, guard.HEADER)
        for part in (
            guarded['id'],
            item['uuid'],
            item['created_at'][:19],
            "from host 'host1'",
            f"to host '{item['dest_compute']}'",
            "nova's record says 'pre-migrating'",
            'Nova would start the server on a second host; nothing was done',
            'Wait for its end',
        ):
            self.assertIn(part, text)
        self.assertEqual(
            f'compute {self.microversion}',
            answer.headers['OpenStack-API-Version'],
        )


class OpenTest(GuardTestCase):
    """What opens the guard, and what does not."""

    def setUp(self):
        super().setUp()
        self.start_hosts('host1', 'host2', 'host3')
        self.server = self.boot('host1')
        self.kill('host1')

    def fence(self, store, host, at):
        store.create(
            examples.make(
                uuid=f'inc-{host}',
                host=host,
                opened_at=at,
                phase=incident.Phase.EVACUATING,
                fence=examples.valid_fence(confirmed_at=at),
            ),
            None,
        )

    def test_only_a_fence_ends_the_wait_for_a_dead_destination(self):
        store = self.use_store()
        self.accept(self.server)
        self.wait_spawning(self.server)
        [first] = self.get_evacuations(self.server)
        self.force_down(first['dest_compute'])
        stalled = self.refuse(self.server)
        self.admin_api.post_server_action(
            self.server['id'], {'os-resetState': {'state': 'active'}}
        )
        self.refuse(self.server)
        self.fence(store, 'host1', store.now())
        self.refuse(self.server)
        self.fence(store, first['dest_compute'], store.now())

        # A fence that nobody can read is none.
        self.flags(
            connection=f'sqlite:///{self.directory}/absent/ha.sqlite',
            group='nova_ha_database',
        )
        backend._stores.clear()
        self.refuse(self.server)
        self.assertRegex(
            self.stdlog.logger.output,
            r'does without the store .* So whether host '
            rf"'{first['dest_compute']}' was fenced is not known",
        )
        self.use_store()
        # It was away a moment ago, and is left alone for a while.
        self.refuse(self.server)
        self.useFixture(
            fixtures.MonkeyPatch('nova_ha_plugins.api.guard.STORE_PAUSE', 0.0)
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_ha_plugins.api.guard.Store._ask', _ask_at_once
            )
        )
        self.accept(self.server)
        self.wait_spawning(self.server, 2)
        newest, oldest = self.get_evacuations(self.server)

        text = self.sentence(stalled)
        self.assertIn('It does not go on (destination_down)', text)
        self.assertIn('is fenced by nova-ha-engine', text)
        self.assertEqual(first['uuid'], oldest['uuid'])
        self.assertNotEqual(first['dest_compute'], newest['dest_compute'])

    def test_nova_answers_what_is_not_about_an_open_evacuation(self):
        self.accept(self.server)
        self.wait_spawning(self.server)

        self.check_requests_that_nova_refuses()
        self.check_same_request_in_other_words()
        self.check_cell_that_is_down()
        self.check_who_may_ask_and_who_may_override()
        self.check_end_opens_it_whether_good_or_bad()

    def post(self, data, path=None, **kwargs):
        kwargs.setdefault('version', f'compute {self.microversion}')
        path = path or f'/servers/{self.server["id"]}/action'
        return self.request(path, method='POST', data=data, **kwargs)

    def put(self, path):
        return self.request(
            path,
            method='PUT',
            data=ASKED,
            version=f'compute {self.microversion}',
        )

    def check_requests_that_nova_refuses(self):
        for data, status in (
            ('', 400),
            ('[', 400),
            ('[1]', 404),
            ('7', 404),
            ('{}', 400),
            ('{"evacuate": {}, "x": 1}', 400),
        ):
            answer = self.post(data)
            self.assertEqual(status, answer.status_code, (data, answer.text))
            self.assertNotIn(guard.HEADER, answer.headers)
        for version, status in (('2.999', 406), ('x', 400)):
            answer = self.post(ASKED, version=f'compute {version}')
            self.assertEqual(status, answer.status_code, answer.text)
        unknown = self.ask({'id': '5d4c2f6e-0000-4000-8000-000000000001'})
        self.assertEqual(404, unknown.status_code, unknown.text)

    def check_same_request_in_other_words(self):
        path = f'/servers/{self.server["id"]}/action'
        project = f'/{self.api.project_id}'
        for answer in (
            self.post(ASKED, path=project + path),
            self.post('{"\\u0065vacuate": {}}'),
            self.post(ASKED, base='v2', path=project + path, version=None),
            # Nova's router lets a query name the method.
            self.put(f'{path}?_method=POST'),
            self.put(f'{project}{path}?x=1&_method=post'),
        ):
            self.assertEqual(409, answer.status_code, answer.text)
            self.assertIn(guard.HEADER, answer.headers)

    def check_cell_that_is_down(self):
        with nova_fixtures.DownCellFixture():
            answer = self.ask(self.server)
        self.assertEqual(503, answer.status_code, answer.text)
        text = answer.json()['serviceUnavailable']['message']
        self.assertIn('database of the cell', text)
        self.assertIn('Nothing was done', text)
        self.assertEqual(1, len(self.get_evacuations(self.server)))

    def check_who_may_ask_and_who_may_override(self):
        member = {'user': 'fake', 'roles': 'reader,member'}

        forbidden = self.ask(self.server, **member)
        self.policy.set_rules({compat.EVACUATE_RULE: ''}, overwrite=False)
        hidden = self.sentence(self.refuse(self.server, **member))
        self.policy.set_rules(
            {policies.GUARD_OVERRIDE: 'role:admin'}, overwrite=False
        )
        self.refuse(self.server, **member)
        other = self.ask(self.server)
        self.policy.set_rules({policies.GUARD_OVERRIDE: '!'}, overwrite=False)

        self.assertEqual(403, forbidden.status_code, forbidden.text)
        self.assertNotIn(guard.HEADER, forbidden.headers)
        self.assertIn('is being evacuated since', hidden)
        self.assertNotIn('host1', hidden)
        self.assertEqual(200, other.status_code, other.text)
        self.assertIn(
            "let through unguarded: 'admin' may do so by policy",
            self.stdlog.logger.output,
        )

    def check_end_opens_it_whether_good_or_bad(self):
        self.wait_spawning(self.server, 2)
        self.gate.set()
        self.wait(
            'both closed',
            lambda: (
                {item['status'] for item in self.get_evacuations(self.server)}
                <= {'done', 'failed', 'error'}
            ),
        )
        # Nova gets the body as it was: it knows no such host.
        answer = self.post('{"evacuate": {"host": "host9"}}')
        self.assertEqual(404, answer.status_code, answer.text)
        self.assertIn('host9', answer.text)
        for host in ('host2', 'host3'):
            self.force_down(host)
        for _ in range(2):
            self.accept(self.server)
            self.wait_state(self.server, 'failed')
        self.assertEqual(4, len(self.get_evacuations(self.server)))


class TurnTest(GuardTestCase):
    """Two requests at the same moment, before nova has written anything."""

    def setUp(self):
        super().setUp()
        self.start_hosts('host1', 'host2', 'host3')
        self.servers = [self.boot('host1') for _ in range(5)]
        self.kill('host1')

    def both_at_once(self, server):
        """Ask twice at the same moment; give the statuses."""
        start = threading.Barrier(2)

        def ask(_):
            start.wait(10)
            return self.ask(server).status_code

        with futures.ThreadPoolExecutor(2) as pool:
            return sorted(pool.map(ask, range(2)))

    def test_one_of_two_is_refused_in_one_process_and_in_two(self):
        inside, go_on = threading.Event(), threading.Event()
        evacuate = compat.compute_api.API.evacuate

        def slow(*args, **kwargs):
            inside.set()
            go_on.wait(10)
            return evacuate(*args, **kwargs)

        first, second, third, fourth, fifth = self.servers
        with fixtures.MonkeyPatch('nova.compute.api.API.evacuate', slow):
            with futures.ThreadPoolExecutor(1) as pool:
                asked = pool.submit(self.ask, first)
                inside.wait(10)
                refused = self.refuse(first)
                go_on.set()
                self.assertEqual(200, asked.result().status_code)
        after = self.refuse(first)
        lock_only = self.both_at_once(second)
        store = self.use_store()
        # Another process has a lock of its own.
        with fixtures.MonkeyPatch(
            'nova_ha_plugins.api.guard._TURNS.take', lambda *_: None
        ):
            row_only = self.both_at_once(third)
        token = store.take_turn(f'evacuate:{fourth["id"]}', 60.0)
        elsewhere = self.refuse(fourth)
        store.end_turn(f'evacuate:{fourth["id"]}', token)
        self.accept(fourth)
        self.check_store_that_hangs(fifth)

        self.assertEqual('turn', refused.headers[guard.HEADER])
        self.assertIn('at this moment', self.sentence(refused))
        self.assertIn('is being evacuated', self.sentence(after))
        self.assertEqual([200, 409], lock_only)
        self.assertEqual([200, 409], row_only)
        self.assertEqual('turn', elsewhere.headers[guard.HEADER])
        for server in self.servers:
            self.assertEqual(1, len(self.get_evacuations(server)))
        # Each turn was given back.
        self.assertEqual(set(), guard._TURNS._taken)
        self.assertIsNotNone(store.take_turn(f'evacuate:{third["id"]}', 60.0))

    def check_store_that_hangs(self, server):
        answers = threading.Event()
        self.addCleanup(answers.set)
        take_turn = store_api.Store.take_turn
        late = []

        def hang(*args):
            answers.wait(20)
            late.append(take_turn(*args))
            return late[0]

        began = time.monotonic()
        with (
            fixtures.MonkeyPatch('nova_ha_plugins.api.guard.PATIENCE', 0.2),
            fixtures.MonkeyPatch(
                'nova_ha_plugins.store.api.Store.take_turn', hang
            ),
        ):
            self.accept(server)
            took = time.monotonic() - began
            answers.set()
            self.wait('late turn', lambda: late)

        self.assertLess(took, 10.0)
        self.assertRegex(
            self.stdlog.logger.output,
            'no answer within 0.2 s. So a second evacuation of server '
            f"'{server['id']}' at this very moment is kept out of this "
            'process only',
        )
        # A turn that nobody waited for is not kept from who comes next.
        store = store_api.open_store(compat.CONF)
        self.wait(
            'turn ended',
            lambda: store.take_turn(f'evacuate:{server["id"]}', 60.0),
        )


def _ask_at_once(store, question, otherwise):
    with backend.store() as opened:
        return question(opened)
