# SPDX-License-Identifier: Apache-2.0

"""One fact that cannot be worked on does not keep the others waiting."""

import unittest

from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import values
from tests.scenarios import simulation

HOSTS = {'h1': 'az1', 'h2': 'az1', 'h3': 'az1'}


def fact(uuid, trust_id=''):
    return facts.Fact(
        uuid=uuid,
        kind=facts.FactKind.HOST_DOWN,
        host='h1',
        channel='notifier',
        trust_id=trust_id,
        verified=not trust_id,
        by='a test',
    )


class PoisonTest(unittest.TestCase):
    def setUp(self):
        self.sim = simulation.Simulation(dict(HOSTS))
        self.sim.prelude()
        self.store = self.sim.store

    def settled(self):
        return {each.uuid: each.state for each in self.store.facts.values()}

    def test_a_fault_rejects_its_fact_and_reads_the_next(self):
        def trust(trust_id):
            raise ZeroDivisionError(trust_id)

        self.sim.engine.ctx.identity.trust = trust
        self.store.add_fact(fact('poison', trust_id='t'))
        self.store.add_fact(fact('honest'))

        with self.assertLogs('nova_ha_plugins.engine.intake', 'ERROR'):
            self.sim.engine.round()

        self.assertEqual(facts.FactState.REJECTED, self.settled()['poison'])
        self.assertEqual(facts.FactState.ACCEPTED, self.settled()['honest'])

    def test_a_store_that_is_away_rejects_nothing(self):
        def settle(*_):
            raise values.StoreError('away')

        self.store.add_fact(fact('honest'))
        self.store.settle_fact = settle

        with self.assertRaises(values.StoreError):
            self.sim.engine.round()

        self.assertEqual(facts.FactState.PENDING, self.settled()['honest'])


if __name__ == '__main__':
    unittest.main()
