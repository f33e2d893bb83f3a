# SPDX-License-Identifier: Apache-2.0

"""Our type of alarm inside aodh's own services: API, evaluator, notifier.

Heartbeats are written into the store by hand; nothing else is played.
"""

import http.server
import json
import threading
import time
import types
import unittest
from unittest import mock

from keystoneauth1.identity import v3
from keystoneauth1 import session
from osc_lib import exceptions

from aodh_actions import lookout
from lab.embedded import plan as planning
from nova_ha_plugins.client import alarming
from nova_ha_plugins.client import alarms
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import liveness_sql
from nova_ha_plugins.store import values
from tests.functional import telemetry

TIMEOUT = 2.0
HOSTS = ('cmp-1', 'cmp-2', 'cmp-3', 'cmp-4', 'cmp-5')


def text(column):
    """What a program gets of a column."""
    return column.machine_readable()


class People(http.server.BaseHTTPRequestHandler):
    """Whoever is told by ``--notify``."""

    told: list[dict] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.told.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        return


class Beating:
    """Hosts that beat, a watcher that looks, an engine that acts.

    :ivar silent: who does not, hosts and others by their names.
    """

    def __init__(self, conf):
        self.silent = set()
        self._store = store_api.open_store(conf)
        self._beats = liveness.open_liveness(conf)
        self._stopping = threading.Event()
        self._sequence = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stopping.set()
        self._thread.join(10)

    def _run(self):
        while not self._stopping.wait(0.4):
            self._sequence += 1
            self._beats.beats(
                values.Heard(host, 'boot', self._sequence, '', f'u-{host}')
                for host in HOSTS
                if host not in self.silent
            )
            if 'watcher' not in self.silent:
                seen = values.Health('', 'watcher:ctl-1', True, len(HOSTS))
                self._beats.healths([seen])
            if 'engine' not in self.silent:
                self._store.save_engine_status({'sight': 'clear'})


class HeartbeatAlarmTest(unittest.TestCase):
    """The recommended alarms of admin, and what alice may not do."""

    @classmethod
    def setUpClass(cls):
        for name, seconds in (('PERIOD', 0.5), ('STALE_AFTER', 2.0)):
            patch = mock.patch.object(lookout, name, seconds)
            patch.start()
            cls.addClassCleanup(patch.stop)
        cls.cloud = telemetry.Cloud(
            heartbeat_timeout=TIMEOUT, settings={'evaluation_interval': 1}
        )
        cls.addClassCleanup(cls.cloud.stop)
        cls.cloud.start_keystone()
        cls.cloud.telemetry.start_aodh()
        cls.store = store_api.open_store(cls.cloud.conf)
        cls.beating = Beating(cls.cloud.conf)
        cls.addClassCleanup(cls.beating.stop)
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), People)
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.people = f'http://127.0.0.1:{server.server_port}/'
        cls.client = alarming.connect(cls.app('admin'))
        # Updated at once: the trust of an action has to survive that.
        cls.create_alarms('admin', '--max-age', '9')
        cls.made = cls.create_alarms('admin')
        telemetry.wait_for(
            lambda: cls.state('ha-hypervisor-heartbeat') == 'ok',
            'the evaluator sees',
        )

    @classmethod
    def create_alarms(cls, user, *words):
        return cls.run_command(
            alarms.CreateAlarms,
            user,
            *('--notify', cls.people, '--max-age', '3', '--dead-after', '4'),
            *words,
        )

    @classmethod
    def app(cls, user):
        """What a running openstack command has of a user."""
        auth = v3.Password(**planning.credentials(cls.cloud.plan, user))
        manager = types.SimpleNamespace(
            setup_auth=lambda: None,
            session=session.Session(auth=auth),
            interface='public',
            region_name=cls.cloud.plan['region'],
        )
        return types.SimpleNamespace(client_manager=manager)

    @classmethod
    def run_command(cls, kind, user, *words):
        command = kind(cls.app(user), None)
        parsed = command.get_parser('openstack').parse_args(words)
        return command.take_action(parsed)

    @classmethod
    def state(cls, name):
        (alarm,) = cls.client.named(name)
        return alarm['state']

    def setUp(self):
        self.addCleanup(self.all_well)
        People.told.clear()

    def all_well(self):
        self.beating.silent.clear()
        for name in ('ha-hypervisor-heartbeat', 'ha-dead-man'):
            telemetry.wait_for(
                lambda name=name: self.state(name) == 'ok', f'{name} is ok'
            )
        for fact in self.store.pending_facts():
            self.store.settle_fact(fact.uuid, 'accepted', 'seen')

    def told(self, name, state='alarm'):
        return [
            each
            for each in People.told
            if (each['alarm_name'], each['current']) == (name, state)
        ]

    def fact_of(self, host):
        def found():
            return [
                fact
                for fact in self.store.pending_facts()
                if fact.host == host
            ]

        return telemetry.wait_for(found, f'a fact of {host}')[0]

    def test_each_silent_host_becomes_a_fact_with_a_trust(self):
        began = time.monotonic()
        self.beating.silent.add('cmp-1')
        first = self.fact_of('cmp-1')
        took = time.monotonic() - began
        self.beating.silent.add('cmp-2')
        second = self.fact_of('cmp-2')

        self.assertLess(took, 12)
        for fact, host in ((first, 'cmp-1'), (second, 'cmp-2')):
            self.assertEqual(
                (facts.FactKind.HOST_DOWN, 'notifier', f'u-{host}', False),
                (fact.kind, fact.channel, fact.service_uuid, fact.verified),
            )
            self.assertTrue(fact.trust_id)
            self.assertIn('expected one within 3.0s', fact.reason)
        # People were told of each once, the second while the alarm stood.
        telemetry.wait_for(
            lambda: len(self.told('ha-host-silent')) == 2, 'two were told'
        )
        self.assertEqual(
            [['cmp-1'], ['cmp-2']],
            [one['reason_data']['new'] for one in self.told('ha-host-silent')],
        )
        self.beating.silent.clear()
        telemetry.wait_for(
            lambda: self.told('ha-host-silent', 'ok'), 'the all-clear'
        )

    def test_nobody_at_work_is_told_and_accuses_nobody(self):
        self.beating.silent.update(('engine', 'watcher'))

        def codes():
            return {
                item['code']
                for each in self.told('ha-dead-man')
                for item in each['reason_data']['trouble']
            }

        telemetry.wait_for(
            lambda: codes() == {'no-engine', 'no-watcher'},
            'both are told of',
        )
        self.assertEqual('ok', self.state('ha-hypervisor-heartbeat'))
        self.assertEqual((), self.store.pending_facts())

    def test_a_store_that_hangs_stops_no_evaluation_and_accuses_nobody(self):
        released = threading.Event()
        self.addCleanup(released.set)
        read = liveness_sql.SqlLiveness.read

        def hang(store):
            if threading.current_thread().name == 'nova-ha-lookout':
                released.wait(30)
            return read(store)

        patch = mock.patch.object(liveness_sql.SqlLiveness, 'read', hang)
        patch.start()
        self.addCleanup(patch.stop)
        self.beating.silent.add('cmp-4')
        telemetry.wait_for(
            lambda: self.told('ha-dead-man'), 'the dead man is told of'
        )

        trouble = self.told('ha-dead-man')[0]['reason_data']['trouble']
        self.assertEqual(['store-away'], [item['code'] for item in trouble])
        self.assertEqual('ok', self.state('ha-hypervisor-heartbeat'))
        self.assertEqual((), self.store.pending_facts())

    def test_the_recommended_alarms_are_made_once(self):
        _, rows = self.create_alarms('admin')

        self.assertEqual({'unchanged'}, {text(row[1]) for row in rows})
        self.assertEqual(
            [(text(row[0]), text(row[2])) for row in self.made[1]],
            [(text(row[0]), text(row[2])) for row in rows],
        )
        for name, *_ in rows:
            self.assertEqual(1, len(self.client.named(text(name))))

    def test_an_update_changes_what_differs_and_keeps_the_state(self):
        _, rows = self.create_alarms('admin', '--dead-after', '60')
        state = self.state('ha-dead-man')
        self.create_alarms('admin')

        done = {text(row[0]): text(row[1]) for row in rows}
        self.assertEqual(
            {'ha-dead-man': 'updated'},
            {name: how for name, how in done.items() if how != 'unchanged'},
        )
        self.assertEqual('ok', state)

    def test_a_tenant_can_neither_make_nor_take_one(self):
        for kind, words in (
            (alarms.CreateAlarm, ('mine', '--max-age', '5')),
            (alarms.CreateAlarms, ()),
        ):
            with (
                self.subTest(kind=kind.__name__),
                self.assertRaises(exceptions.CommandError) as caught,
            ):
                self.run_command(kind, 'alice', *words)
            self.assertIn('HTTP 403', str(caught.exception))
        stock = {
            'name': 'mine',
            'type': 'event',
            'event_rule': {'event_type': 'x'},
        }
        alice = alarming.connect(self.app('alice'))
        made = alice.create(stock)
        rule = {
            'type': 'hypervisor_heartbeat',
            'hypervisor_heartbeat_rule': {},
        }
        with self.assertRaises(exceptions.CommandError) as caught:
            alice.update(made, rule)
        self.assertIn(
            'should be made by an administrator', str(caught.exception)
        )
        with self.assertRaises(exceptions.CommandError) as caught:
            alice.create({'name': 'other', **rule})
        self.assertIn('HTTP 403', str(caught.exception))

    def test_the_rule_refuses_what_makes_no_sense(self):
        for words in (('--max-age', '999999999'), ('--remind', '-1')):
            with (
                self.subTest(words=words),
                self.assertRaises(exceptions.CommandError) as caught,
            ):
                self.run_command(alarms.CreateAlarm, 'admin', 'odd', *words)
            self.assertIn('HTTP 400', str(caught.exception))


if __name__ == '__main__':
    unittest.main()
