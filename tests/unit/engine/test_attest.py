# SPDX-License-Identifier: Apache-2.0

"""An attest reaches the engine with its second step, and no other way.

The engine is the real one in a simulated cloud; its inbox is the one of a real
database.
"""

import dataclasses

import sqlalchemy as sa

from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import models
from tests.scenarios import simulation
from tests.scenarios import verbs
from tests.unit.store import databases

HOSTS = {'h1': 'az1', 'h2': 'az1', 'h3': 'az1'}


class AttestTest(databases.StoreTestCase):
    """Host h1 is dead, its device is gone, somebody pulled its cords."""

    def setUp(self):
        super().setUp()
        self.sim = simulation.Simulation(dict(HOSTS))
        self.sim.store.pending_facts = self._pending
        self.sim.store.settle_fact = self.store.settle_fact
        self.sim.cloud.boot('s1', 'h1', dict(verbs.METADATA['ha']), 'active')
        self.sim.prelude()
        for words in (['device', 'h1', 'hang'], ['hang', 'h1']):
            verbs.happen(self.sim, words)
        self.sim.run(100)
        verbs.happen(self.sim, ['power-off', 'h1'])
        self.subject = self.sim.newest('h1')
        self.assertEqual(incident.Phase.NEEDS_OPERATOR, self.subject.phase)

    def _pending(self):
        """The inbox of the database, on the clock of the simulation."""
        now, real = self.sim.store.now(), self.store.now()
        return tuple(
            dataclasses.replace(
                fact, received_at=now - (real - fact.received_at)
            )
            for fact in self.store.pending_facts()
        )

    def begin(self, **detail):
        return self.store.add_fact(
            facts.Fact(
                uuid='f1',
                kind=facts.FactKind.ATTEST,
                host='h1',
                reason='pulled both cords',
                detail={
                    'incident': self.subject.uuid,
                    'power': 'off',
                    **detail,
                },
                channel='operator',
                verified=True,
                by='lena',
                state=facts.FactState.UNCONFIRMED,
            )
        )

    def age(self, fact, seconds):
        old = dataclasses.replace(fact, received_at=fact.received_at - seconds)
        self.execute(
            sa.update(models.facts).values(document=documents.dumps(old))
        )

    def state(self):
        return self.store.fact('f1').state

    def test_unconfirmed_is_never_acted_on(self):
        self.begin()
        before = self.sim.newest('h1')

        self.sim.run(400)

        after = self.sim.newest('h1')
        self.assertEqual(incident.Phase.NEEDS_OPERATOR, after.phase)
        self.assertEqual(incident.FenceState.INTENDED, after.fence.state)
        self.assertFalse(
            [
                entry.text
                for entry in after.timeline[len(before.timeline) :]
                if 'lena' in entry.text
            ]
        )
        self.assertEqual('h1', self.sim.cloud.servers['s1'].host)
        self.assertEqual(facts.FactState.UNCONFIRMED, self.state())

    def test_confirmed_is_acted_on_and_signed_by_both(self):
        self.begin()
        self.sim.run(5)
        self.store.confirm_fact('f1', 'omar')

        self.sim.run(60)

        after = self.sim.newest('h1')
        self.assertEqual(facts.FactState.ACCEPTED, self.state())
        self.assertEqual(
            ('operator-attested', 'lena (confirmed by omar)'),
            (after.fence.evidence_class, after.fence.by),
        )
        self.assertNotEqual('h1', self.sim.cloud.servers['s1'].host)

    def test_the_engine_asks_every_channel_again(self):
        self.begin()
        verbs.happen(self.sim, ['stay-down', 'h1'])
        verbs.happen(self.sim, ['power-on', 'h1'])
        self.store.confirm_fact('f1', 'omar')

        self.sim.engine.round()

        self.assertEqual(facts.FactState.REJECTED, self.state())
        self.assertIn('still hears the host', self.store.fact('f1').text)
        self.assertEqual('h1', self.sim.cloud.servers['s1'].host)

    def test_another_incident_of_the_host_is_not_meant(self):
        self.begin(incident='another')
        self.store.confirm_fact('f1', 'omar')

        self.sim.run(10)

        self.assertEqual(facts.FactState.REJECTED, self.state())
        self.assertIn(self.subject.uuid, self.store.fact('f1').text)
        self.assertEqual('h1', self.sim.cloud.servers['s1'].host)

    def test_confirmed_while_no_engine_ran_for_long_is_too_old(self):
        self.begin()
        self.age(self.store.confirm_fact('f1', 'omar'), 1000)

        self.sim.run(10)

        self.assertEqual(facts.FactState.REJECTED, self.state())
        self.assertIn('attest again', self.store.fact('f1').text)
        self.assertEqual('h1', self.sim.cloud.servers['s1'].host)

    def test_closed_incident_takes_no_attest(self):
        self.begin()
        self.store.confirm_fact('f1', 'omar')
        closed = dataclasses.replace(
            self.sim.newest('h1'), phase=incident.Phase.CANCELLED
        )
        self.sim.store.by_uuid[closed.uuid] = closed
        self.sim.alarms = False

        self.sim.engine.round()

        self.assertEqual(facts.FactState.REJECTED, self.state())
        self.assertEqual('h1', self.sim.cloud.servers['s1'].host)
