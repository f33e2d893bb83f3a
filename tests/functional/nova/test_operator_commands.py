# SPDX-License-Identifier: Apache-2.0

"""The commands of operators against nova's API in this process."""

import dataclasses
import json

from osc_lib import exceptions
from oslo_utils.fixture import uuidsentinel

from nova_ha_plugins.api import compat
from nova_ha_plugins.client import arming
from nova_ha_plugins.client import attest
from nova_ha_plugins.client import brakes
from nova_ha_plugins.client import ha
from nova_ha_plugins.conf import database as database_conf
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import schema
from nova_ha_plugins.store import values
from tests.functional.nova import commands

INCIDENT = '5d4c2f6e-0000-4000-8000-000000000002'


class OperatorCommandsTest(commands.CommandTestCase):
    def setUp(self):
        super().setUp()
        database_conf.register_opts(compat.CONF)
        self.flags(
            connection=f'sqlite:///{self.directory}/ha.sqlite',
            group='nova_ha_database',
        )
        schema.sync(compat.CONF)
        self.store = store_api.open_store(compat.CONF)
        self.watch(sees=True)

    def watch(self, sees):
        """Leave the word of a watcher."""
        liveness.open_liveness(compat.CONF).healths(
            [values.Health('', 'watcher:ctl-1', sees, 1.0)]
        )

    def store_incident(self, phase=incident.Phase.HELD, **changes):
        subject = incident.Incident(
            uuid=INCIDENT,
            host='host1',
            service_uuid='s1',
            epoch=1,
            phase=phase,
            opened_at=1700000000.0,
            updated_at=1700000001.0,
            reason='2 of 3 hosts failed',
            servers=(incident.Server(uuid='a', name='db'),),
            timeline=(incident.Entry(1, 1700000000.0, 'suspected', 'Silent'),),
        )
        return self.store.create(dataclasses.replace(subject, **changes), None)

    def answer(self, state, text):
        """Let the engine answer while the command waits."""

        def sleep(seconds):
            for fact in self.store.pending_facts():
                self.store.settle_fact(fact.uuid, state, text)

        self.doubles['sleep'] = sleep

    def test_arm_and_disarm_need_a_reason_and_show_the_state(self):
        code, armed = self.run_command(
            arming.Arm, '--reason', 'tested', '-f', 'json'
        )
        self.run_command(arming.Disarm, '--reason', 'switch')

        self.assertEqual(0, code)
        self.assertTrue(json.loads(armed)['armed'])
        self.assertFalse(self.store.arm_state().armed)
        self.assertEqual('switch', self.store.arm_state().reason)
        with self.assertRaises(SystemExit):
            self.run_command(arming.Arm)

    def test_status_fails_while_no_watcher_sees(self):
        self.store.save_engine_status({'owner': 'ctl:1'})
        fine, table = self.run_command(ha.ShowStatus)
        self.watch(sees=False)
        blind, _ = self.run_command(ha.ShowStatus)

        self.assertEqual((0, 1), (fine, blind))
        self.assertIn('ctl-1: sees, 1 hosts', table)

    def test_status_says_by_its_exit_code_who_has_to_act(self):
        never, first = self.run_command(ha.ShowStatus, '-f', 'json')
        self.store.save_engine_status({'owner': 'ctl:1'})
        fine, _ = self.run_command(ha.ShowStatus)
        self.store.save_host_record(values.HostRecord('host1'))
        unprotected, table = self.run_command(ha.ShowStatus)
        self.store_incident()
        held, last = self.run_command(ha.ShowStatus, '-f', 'json')

        self.assertEqual((1, 0, 3, 1), (never, fine, unprotected, held))
        self.assertEqual('never reported', json.loads(first)['engine'])
        self.assertIn('host1: never heard, fencing absent', table)
        self.assertEqual(
            {'held': 1}, json.loads(last)['open_incidents_by_phase']
        )

    def test_status_fails_while_the_engine_sees_nothing(self):
        self.store.save_engine_status({'owner': 'ctl:1', 'sight': 'blind'})
        blind, _ = self.run_command(ha.ShowStatus)
        self.store.save_engine_status({'owner': 'ctl:1', 'sight': 'clear'})
        clear, _ = self.run_command(ha.ShowStatus)

        self.assertEqual((1, 0), (blind, clear))

    def test_status_fails_while_servers_get_no_further(self):
        self.store.save_engine_status({'owner': 'ctl:1', 'sight': 'clear'})
        self.store_incident(incident.Phase.EVACUATING)
        moving, _ = self.run_command(ha.ShowStatus)
        waiting = incident.Server(
            uuid='a',
            state=incident.ServerState.READY,
            code='no-valid-host',
            retry_at=1700000009.0,
        )
        parked = incident.Server(
            uuid='b', state=incident.ServerState.PARKED, code='failed'
        )
        self.store_incident(
            incident.Phase.EVACUATING,
            uuid=uuidsentinel.second,
            host='host2',
            servers=(waiting, parked),
        )
        stuck, printed = self.run_command(ha.ShowStatus, '-f', 'json')

        self.assertEqual((0, 1), (moving, stuck))
        self.assertEqual(
            {'failed': 1, 'no-valid-host': 1},
            json.loads(printed)['servers_waiting_by_code'],
        )

    def test_status_fails_while_a_host_waits_for_its_release(self):
        self.store.save_engine_status({'owner': 'ctl:1', 'sight': 'clear'})
        self.store_incident(incident.Phase.RETURNING, code='healthy-delay')
        moving, _ = self.run_command(ha.ShowStatus)
        self.store_incident(
            incident.Phase.RETURNING,
            uuid=uuidsentinel.second,
            host='host2',
            code='quarantined',
        )
        waiting, _ = self.run_command(ha.ShowStatus)

        self.assertEqual((0, 1), (moving, waiting))

    def test_incidents_are_listed_and_shown_by_host_or_uuid(self):
        self.store_incident()

        _, listed = self.run_command(ha.ListIncident, '--open', '-f', 'json')
        _, by_host = self.run_command(ha.ShowIncident, 'host1', '-f', 'json')
        _, by_uuid = self.run_command(ha.ShowIncident, INCIDENT, '-f', 'json')
        _, table = self.run_command(ha.ShowIncident, 'host1')

        self.assertEqual('held', json.loads(listed)[0]['Phase'])
        self.assertEqual(json.loads(by_host), json.loads(by_uuid))
        self.assertEqual(1, json.loads(by_uuid)['timeline'][0]['seq'])
        self.assertIn('22:13:20.000Z suspected: Silent', table)
        self.assertIn('db: queued', table)
        with self.assertRaisesRegex(exceptions.CommandError, "'host9'"):
            self.run_command(ha.ShowIncident, 'host9')

    def test_release_waits_for_the_engines_answer(self):
        self.store_incident()
        self.answer(facts.FactState.ACCEPTED, 'It passed')

        code, printed = self.run_command(
            ha.Release, 'host1', '--reason', 'rack move', '-f', 'json'
        )

        self.assertEqual(0, code)
        self.assertEqual('accepted', json.loads(printed)['state'])
        self.assertEqual('It passed', json.loads(printed)['text'])

    def test_refusal_of_the_engine_is_an_error_with_its_sentence(self):
        self.store_incident()
        self.answer(facts.FactState.REJECTED, 'It still beats')

        with self.assertRaisesRegex(exceptions.CommandError, 'still beats'):
            self.run_command(ha.Release, INCIDENT, '--reason', 'x')

    def test_silence_of_the_engine_is_said(self):
        self.store_incident()

        with self.assertRaisesRegex(exceptions.CommandError, 'not answered'):
            self.run_command(
                ha.Release, 'host1', '--reason', 'x', '--wait', '0'
            )
        self.assertEqual(1, len(self.store.pending_facts()))

    def test_closed_incident_is_not_released(self):
        self.store_incident(phase=incident.Phase.CLOSED)

        with self.assertRaisesRegex(exceptions.CommandError, 'no open'):
            self.run_command(ha.Release, 'host1', '--reason', 'x')

    def run_json(self, command, *words, **who):
        code, printed = self.run_command(command, *words, '-f', 'json', **who)
        self.assertEqual(0, code)
        return json.loads(printed)

    def test_maintenance_is_set_listed_and_ended(self):
        self.store.save_host_record(values.HostRecord('host1', zone='az1'))
        self.store_incident(incident.Phase.EVACUATING)

        item = self.run_json(
            brakes.SetMaintenance,
            *('host1', '--until', '2h', '--reason', 'disk'),
        )
        listed = self.run_json(brakes.ListMaintenance)
        _, table = self.run_command(
            brakes.SetMaintenance, 'host1', '--reason', 'fan'
        )
        self.run_command(
            brakes.UnsetMaintenance, 'host1', '--reason', 'replaced'
        )

        self.assertEqual('evacuating', item['open_incident'][0]['phase'])
        self.assertEqual(
            [('host1', 'admin', 'disk')],
            [(row['Host'], row['By'], row['Reason']) for row in listed],
        )
        self.assertEqual(item['until'], listed[0]['Until'])
        self.assertIn('host1: evacuating, 0 of 1 servers settled', table)
        self.assertEqual([], self.run_json(brakes.ListMaintenance))
        self.assertEqual(
            ['maintenance', 'maintenance'],
            [row['What'] for row in self.run_json(brakes.ListHistory)],
        )

    def test_pauses_are_set_listed_and_ended(self):
        self.store.save_host_record(values.HostRecord('host1', zone='az1'))

        self.run_json(brakes.SetPause, 'upgrade', '--reason', 'new release')
        self.run_json(
            brakes.SetPause,
            *('rack-4', '--zone', 'az1', '--until', '30m'),
            *('--reason', 'cables'),
        )
        listed = self.run_json(brakes.ListPause)
        self.run_command(brakes.UnsetPause, 'upgrade')

        self.assertEqual(
            [('rack-4', 'az1'), ('upgrade', None)],
            [(row['Name'], row['Zone']) for row in listed],
        )
        [left] = self.run_json(brakes.ListPause)
        self.assertEqual('rack-4', left['Name'])
        history = self.run_json(brakes.ListHistory, '--limit', '1')
        self.assertEqual(['rack-4'], [row['Name'] for row in history])

    def test_mistakes_are_told_and_change_nothing(self):
        self.store.save_host_record(values.HostRecord('host1', zone='az1'))
        reason = ('--reason', 'x')
        for command, words, told in (
            (brakes.SetMaintenance, ('host9', *reason), "on a host 'host9'"),
            (
                brakes.SetMaintenance,
                ('host1', '--until', '17:00', *reason),
                "'17:00' is not understood",
            ),
            (
                brakes.SetPause,
                ('p', '--until', '2000-01-01T00:00Z', *reason),
                'is over',
            ),
            (brakes.SetPause, ('p', '--zone', 'az9', *reason), "'az9'"),
            (brakes.SetPause, ('two words', *reason), 'two words'),
            (brakes.UnsetMaintenance, ('host1',), 'not in maintenance'),
            (brakes.UnsetPause, ('p/../q',), 'pause'),
            (arming.Disarm, ('--until', '2h', *reason), 'never armed'),
        ):
            with self.assertRaisesRegex(exceptions.CommandError, told):
                self.run_command(command, *words)
        for command in (brakes.SetMaintenance, brakes.SetPause):
            for words in ((), ('--reason', ' ')):
                with self.assertRaises(SystemExit):
                    self.run_command(command, 'host1', *words)

        self.assertEqual((), self.store.brake_history())
        self.assertEqual((), self.store.arm_history())

    def test_disarm_waits_until_what_was_begun_is_over(self):
        moving = self.store_incident(incident.Phase.EVACUATING)
        self.store.save_engine_status({'owner': 'ctl:1', 'sight': 'clear'})
        self.run_command(arming.Arm, '--reason', 'tested')
        now = [0.0]

        def sleep(seconds):
            now[0] += seconds
            if now[0] == 4.0:
                lease = self.store.take_lease('ctl', 15)
                closed = dataclasses.replace(
                    moving, phase=incident.Phase.CLOSED
                )
                self.store.save(closed, lease)

        self.doubles.update(sleep=sleep, clock=lambda: now[0])
        item = self.run_json(
            arming.Disarm,
            *('--reason', 'switch', '--until', '2h', '--wait'),
        )

        self.assertEqual('disarmed', item['state'])
        self.assertIsNotNone(item['until'])
        self.assertEqual(
            [
                'In flight: host1: evacuating, 0 of 1 servers settled',
                'Nothing is in flight',
            ],
            self.told.getvalue().splitlines(),
        )

    def test_status_shows_state_brakes_engines_and_waits(self):
        self.store.save_host_record(
            values.HostRecord('host1', zone='az1', map_state='verified')
        )
        self.store.note_engine('ctl-1:7', 15.0, {'acting': True, 'warm': True})
        self.store.save_engine_status({'owner': 'ctl-1:7', 'sight': 'clear'})
        self.run_command(brakes.SetPause, 'upgrade', '--reason', 'new release')
        self.run_command(arming.Arm, '--reason', 'tested', '--until', '2h')
        self.store_incident(code='paused', next_look_at=1700000009.0)

        _, table = self.run_command(ha.ShowStatus)
        shown = self.run_json(ha.ListEngine)
        hosts = self.run_json(ha.ListHost)

        for text in (
            'armed',
            'pause upgrade until somebody ends it, by admin: new release',
            'ctl-1:7: acting, reported',
            'host1 held, paused: 2 of 3 hosts failed (next look 22:13:29',
        ):
            self.assertIn(text, table)
        self.assertEqual('acting', shown[0]['Role'])
        self.assertEqual(
            ('host1', 'az1', 'verified'),
            (hosts[0]['Host'], hosts[0]['Zone'], hosts[0]['Fencing']),
        )

    def begin_attest(self, **changes):
        self.store.set_arm_state(True, 'admin', 'tested')
        self.store_incident(**changes)
        self.doubles['on_terminal'] = lambda: False
        words = ('host1', '--off', '--reason', 'unplugged', '-f', 'json')
        code, printed = self.run_command(attest.Attest, *words)
        self.assertEqual(0, code)
        return json.loads(printed)

    def test_attest_without_a_terminal_takes_two_commands(self):
        self.answer(facts.FactState.ACCEPTED, 'Believed')
        begun = self.begin_attest(
            readings=(
                incident.Reading(
                    'probe', incident.Sign.SILENT, self.store.now() - 7.0
                ),
            )
        )
        told = self.told.getvalue()

        self.assertEqual('unconfirmed', begun['state'])
        self.assertEqual(
            ['heartbeat', 'probe', 'power'],
            [item['channel'] for item in begun['evidence']],
        )
        self.assertIn(f'ha attest host1 --confirm {begun["uuid"]}', told)
        self.assertEqual((), self.store.pending_facts())
        code, printed = self.run_command(
            attest.Attest, 'host1', '--confirm', begun['uuid'], '-f', 'json'
        )

        self.assertEqual(0, code)
        confirmed = json.loads(printed)
        self.assertEqual(
            ('accepted', 'Believed', 'unplugged', 'admin', 'admin'),
            tuple(
                confirmed[key]
                for key in ('state', 'text', 'reason', 'by', 'confirmed_by')
            ),
        )
        fact = self.store.fact(begun['uuid'])
        self.assertEqual(facts.FactKind.ATTEST, fact.kind)
        self.assertEqual('off', fact.detail['power'])

    def test_attest_on_a_terminal_shows_the_evidence_and_asks_the_name(self):
        self.store.set_arm_state(True, 'admin', 'tested')
        now = self.store.now()
        self.store_incident(
            readings=(
                incident.Reading(
                    'probe', incident.Sign.SILENT, now - 7.0, 31.0, 'no answer'
                ),
            )
        )
        self.answer(facts.FactState.ACCEPTED, 'Believed')
        self.doubles['on_terminal'] = lambda: True
        asked = []
        words = ('host1', '--off', '--reason', 'unplugged')
        for wrong in ('host2', '', 'HOST1'):
            self.doubles['ask'] = lambda text, wrong=wrong: wrong
            with self.assertRaisesRegex(
                exceptions.CommandError, 'Nothing was attested.*--confirm'
            ):
                self.run_command(attest.Attest, *words)
        self.assertEqual((), self.store.pending_facts())

        def ask(text):
            asked.append(text)
            return 'host1'

        self.doubles['ask'] = ask
        code, printed = self.run_command(attest.Attest, *words)

        self.assertEqual(0, code)
        self.assertIn('run twice', asked[0])
        self.assertRegex(
            self.told.getvalue(),
            r'probe silent: last heard 3[89]\.\d s ago, asked [78]\.\d s ago: '
            'no answer',
        )
        self.assertIn('accepted', printed)

    def test_attest_with_the_words_of_both_steps_or_of_none_is_refused(self):
        self.store_incident()
        for words in (
            (),
            ('--off',),
            ('--reason', 'x'),
            ('--off', '--reason', 'x', '--confirm', INCIDENT),
        ):
            with self.assertRaisesRegex(
                exceptions.CommandError, 'Nothing was attested'
            ):
                self.run_command(attest.Attest, 'host1', *words)
        self.assertEqual((), self.store.pending_facts())

    def test_attest_of_another_host_is_not_confirmed(self):
        begun = self.begin_attest()
        self.store_incident(uuid=uuidsentinel.second, host='host2')

        with self.assertRaisesRegex(
            exceptions.CommandError, "about host 'host1'.*'host2' was named"
        ):
            self.run_command(
                attest.Attest, 'host2', '--confirm', begun['uuid']
            )

        self.assertEqual((), self.store.pending_facts())

    def test_refused_calls_carry_novas_sentence(self):
        for command, words in (
            (ha.ShowStatus, ()),
            (arming.Arm, ('--reason', 'x')),
            (ha.ListIncident, ()),
        ):
            with self.assertRaisesRegex(
                exceptions.CommandError, 'instance-ha.*HTTP 403'
            ):
                self.run_command(
                    command, *words, user='fake', roles='reader,member'
                )
