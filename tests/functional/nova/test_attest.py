# SPDX-License-Identifier: Apache-2.0

"""The two steps of an attest, from nova's API into the engine's inbox."""

import dataclasses

from oslo_utils import uuidutils
import sqlalchemy as sa

from nova_ha_plugins.api import compat
from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values
from tests.functional.nova import test_instance_ha

UNKNOWN = test_instance_ha.UNKNOWN
STATUS = test_instance_ha.STATUS
INCIDENTS = test_instance_ha.INCIDENTS
LATEST = 'instance-ha 1.1'


class AttestTest(test_instance_ha.RecoveryTestCase):
    def setUp(self):
        super().setUp()
        self.store = self.use_store()
        self.store.set_arm_state(True, 'admin', 'tested')

    def open_incident(self, **changes):
        return self.store_incident(
            self.store, uuid=uuidutils.generate_uuid(), **changes
        )

    def begin(self, subject, status=202, **kwargs):
        kwargs.setdefault('version', LATEST)
        body = {'attest': {'power': 'off', 'reason': 'unplugged'}}
        path = f'{INCIDENTS}/{subject.uuid}'
        answer = self.act(path, body, status, **kwargs)
        return answer['fact' if status == 202 else 'conflictingRequest']

    def confirm(self, fact, status=202, host='host1', **kwargs):
        kwargs.setdefault('version', LATEST)
        path = f'{STATUS}/facts/{fact["uuid"]}'
        return self.act(path, {'confirm': {'host': host}}, status, **kwargs)

    def refuse_confirm(self, fact, *words, **kwargs):
        answer = self.confirm(fact, 409, **kwargs)
        text = answer['conflictingRequest']['message']
        for word in ('Nothing was attested', *words):
            self.assertIn(word, text)
        return text

    def close(self, subject, phase=incident.Phase.CANCELLED):
        lease = self.store.take_lease('ctl', 15)
        return self.store.save(
            dataclasses.replace(subject, phase=phase), lease
        )

    def test_first_step_shows_the_evidence_and_tells_the_engine_nothing(self):
        now = self.store.now()
        liveness.open_liveness(compat.CONF).beat(
            'host1', boot_id='b', sequence=9, system_uuid='u'
        )
        subject = self.open_incident(
            readings=(
                incident.Reading(
                    'heartbeat', incident.Sign.SILENT, now - 20, 35.0
                ),
                incident.Reading(
                    'probe', incident.Sign.SILENT, now - 3, None, 'timed out'
                ),
            ),
            fence=incident.FenceRecord(
                state=incident.FenceState.INTENDED,
                epoch=1,
                attempt=1,
                intended_at=now - 50,
                power=incident.Power.UNKNOWN,
                driver='redfish',
            ),
        )

        fact = self.begin(subject)

        self.assertEqual('unconfirmed', fact['state'])
        self.assertEqual(subject.uuid, fact['incident'])
        self.assertIsNotNone(fact['confirm_until'])
        beat, probe, power = fact['evidence']
        # Heard after the engine had looked: whoever decides has to know.
        self.assertEqual(
            ('heartbeat', 'alive'), (beat['channel'], beat['sign'])
        )
        self.assertLess(beat['heard_age'], 10.0)
        self.assertEqual(
            ('probe', 'silent', None, 'timed out'),
            tuple(
                probe[key] for key in ('channel', 'sign', 'heard_age', 'text')
            ),
        )
        self.assertAlmostEqual(3.0, probe['read_age'], delta=5.0)
        self.assertEqual(
            ('power', 'unknown', 'device redfish'),
            (power['channel'], power['sign'], power['text']),
        )
        self.assertEqual((), self.store.pending_facts())

    def test_what_is_not_known_is_said(self):
        subject = self.open_incident(readings=(), fence=None)

        beat, power = self.begin(subject)['evidence']

        self.assertEqual(
            ('heartbeat', 'unknown', 'never heard'),
            (beat['channel'], beat['sign'], beat['text']),
        )
        self.assertEqual(
            ('power', 'unknown', 'no device was asked in this incident'),
            (power['channel'], power['sign'], power['text']),
        )

    def test_it_is_not_begun_while_the_engine_would_refuse_it(self):
        subject = self.open_incident(domain='az1')
        for brake in (
            values.Brake('maintenance', 'host1', reason='disk'),
            values.Brake('pause', 'upgrade', reason='switch'),
            values.Brake('pause', 'rack-4', zone='az1', reason='cables'),
        ):
            self.store.set_brake(brake)
            told = self.begin(subject, 409)['message']
            self.assertIn(brake.reason, told)
            self.assertIn('unset', told)
            self.store.unset_brake(brake.kind, brake.name, 'admin')
        self.store.set_brake(values.Brake('pause', 'other', zone='az2'))
        self.store.set_arm_state(False, 'lena', 'night')
        told = self.begin(subject, 409)['message']
        self.assertIn('disarmed (lena: night)', told)
        self.store.set_arm_state(True, 'lena', 'morning')

        self.assertEqual('unconfirmed', self.begin(subject)['state'])

    def test_second_step_hands_it_over_with_both_names(self):
        subject = self.open_incident()
        begun = self.begin(subject)

        confirmed = self.confirm(begun, user='omar')['fact']

        [fact] = self.store.pending_facts()
        self.assertEqual(begun['uuid'], fact.uuid)
        self.assertEqual(
            ('pending', 'admin', 'omar', 'unplugged'),
            tuple(
                confirmed[key]
                for key in ('state', 'by', 'confirmed_by', 'reason')
            ),
        )
        self.assertIsNotNone(confirmed['confirmed_at'])
        self.assertEqual(begun['evidence'], confirmed['evidence'])
        self.assertEqual(
            (subject.uuid, 'off', True),
            (fact.detail['incident'], fact.detail['power'], fact.verified),
        )

    def test_an_older_version_takes_two_steps_as_well(self):
        subject = self.open_incident()

        fact = self.begin(subject, version=None)
        self.confirm(fact, 404, version='instance-ha 1.0')

        self.assertEqual('unconfirmed', fact['state'])
        self.assertNotIn('evidence', fact)
        self.assertEqual((), self.store.pending_facts())

    def test_it_is_confirmed_once(self):
        fact = self.begin(self.open_incident())
        self.confirm(fact, user='omar')

        self.refuse_confirm(fact, "confirmed already, by 'omar'", 'pending')
        self.store.settle_fact(fact['uuid'], 'rejected', 'It still beats')
        self.refuse_confirm(fact, 'rejected: It still beats')

        self.assertEqual((), self.store.pending_facts())

    def test_it_is_not_confirmed_too_late(self):
        fact = self.begin(self.open_incident())
        kept = self.store.fact(fact['uuid'])
        old = dataclasses.replace(
            kept, received_at=kept.received_at - facts.CONFIRM_WITHIN - 60
        )
        self.store._db.write(
            lambda connection: connection.execute(
                sa.update(models.facts).values(document=documents.dumps(old))
            )
        )

        self.refuse_confirm(
            fact, 'begun 36', 'for 300 s', 'ha attest host1 --off --reason'
        )

        self.assertEqual((), self.store.pending_facts())

    def test_another_host_is_not_confirmed(self):
        fact = self.begin(self.open_incident())

        self.refuse_confirm(
            fact, "about host 'host1', and host 'HOST1'", host='HOST1'
        )

        self.assertEqual((), self.store.pending_facts())

    def test_an_incident_that_closed_meanwhile_is_not_confirmed(self):
        subject = self.open_incident()
        fact = self.begin(subject)
        self.close(subject)

        self.refuse_confirm(fact, 'is cancelled meanwhile', 'no open one')

        self.assertEqual((), self.store.pending_facts())

    def test_the_next_incident_of_the_host_is_not_confirmed(self):
        subject = self.open_incident()
        fact = self.begin(subject)
        self.close(subject)
        later = self.open_incident(epoch=2)

        self.refuse_confirm(fact, later.uuid, 'begin again')

        self.assertEqual((), self.store.pending_facts())

    def test_a_release_needs_and_takes_no_second_step(self):
        subject = self.open_incident()
        path = f'{INCIDENTS}/{subject.uuid}'
        fact = self.act(path, {'release': {'reason': 'x'}}, 202)['fact']

        self.refuse_confirm(fact, 'is a release, not an attest')

    def test_wrong_words_confirm_nothing(self):
        fact = self.begin(self.open_incident())
        path = f'{STATUS}/facts/{fact["uuid"]}/action'
        for body in (
            {},
            {'confirm': None},
            {'confirm': {}},
            {'confirm': {'host': ''}},
            {'confirm': {'host': 7}},
            {'confirm': {'host': 'host1', 'power': 'off'}},
            {'approve': {'host': 'host1'}},
        ):
            self.refuse(
                path,
                400,
                'badRequest',
                method='POST',
                json=body,
                version=LATEST,
            )
        for id in (UNKNOWN, 'x', '%00'):
            self.confirm({'uuid': id}, 404)

        self.assertEqual((), self.store.pending_facts())

    def test_nobody_but_administrators_confirms(self):
        fact = self.begin(self.open_incident())

        answer = self.confirm(fact, 403, **test_instance_ha.OWNER)

        self.assertIn(
            'instance-ha:incidents:attest', answer['forbidden']['message']
        )
        self.assertEqual((), self.store.pending_facts())
