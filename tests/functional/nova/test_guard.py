# SPDX-License-Identifier: Apache-2.0

"""A second evacuation of a server: what nova does, and what the guard does."""

import threading
import time
from unittest import mock

import fixtures
from nova.tests import fixtures as nova_fixtures
from nova.virt import fake

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import guard
from nova_ha_plugins.api import policies
from nova_ha_plugins.conf import database as database_conf
from nova_ha_plugins.conf import nova_progress
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import schema
from tests.functional.nova import base

EVACUATE = {'evacuate': {}}


class GuardTestCase(base.NovaTestCase):
    """Three hosts; the destination's spawn waits until it is let go."""

    def setUp(self):
        super().setUp()
        nova_progress.register_opts(compat.CONF)
        database_conf.register_opts(compat.CONF)
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)
        self.begun = []
        spawn = fake.FakeDriver.spawn

        def held(driver, context, instance, *args, **kwargs):
            if instance.task_state == 'rebuild_spawning':
                self.begun.append(instance.uuid)
                self.gate.wait(20)
            return spawn(driver, context, instance, *args, **kwargs)

        self.useFixture(
            fixtures.MonkeyPatch('nova.virt.fake.FakeDriver.spawn', held)
        )

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
            json=EVACUATE,
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

    def wait(self, what, check, seconds=15):
        deadline = time.monotonic() + seconds
        while not check():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.02)

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
