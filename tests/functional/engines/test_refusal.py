# SPDX-License-Identifier: Apache-2.0

"""Engines that must not run beside each other say so and end."""

import unittest

import testtools

from nova_ha_plugins.cmd import engines as doctor
from nova_ha_plugins.engine import standing
from tests.functional.engines import fleet


class _Refusal:
    """One engine acts; others are started wrongly beside it."""

    KIND = ''
    FIRST: dict[str, str] = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        database = fleet.Database(cls.KIND)
        if not database.server:
            raise unittest.SkipTest(f'No {cls.KIND}: see tools/env --lab')
        cls.fleet = fleet.Fleet(database, engines=0)
        cls.addClassCleanup(cls.fleet.close)
        cls.fleet.store.set_arm_state(True, 'test', 'test')
        cls.first = cls.fleet.add_engine('ctl-1', coordination=cls.FIRST)
        cls.fleet.start_all()

    def assert_refused(self, engine):
        engine.start()
        code = engine.process.wait(60)

        self.assertEqual(standing.REFUSED, code)
        (sentence,) = [
            line
            for line in engine.log().splitlines()
            if 'nova-ha-engine does not run' in line
        ]
        self.assertIn("Engine 'ctl-1:", sentence)
        self.assertIn('[coordination] backend_url', sentence)
        self.assertNotIn('Traceback', engine.log())
        self.assertEqual('ctl-1', self.fleet.acting().name)
        self.assertIsNone(self.first.process.poll())
        return sentence

    def test_engine_without_coordination(self):
        engine = self.fleet.add_engine(
            'ctl-2', coordination={'backend_url': ''}
        )

        self.assert_refused(engine)

    def test_engine_with_another_coordination(self):
        engine = self.fleet.add_engine(
            'ctl-3',
            coordination={'backend_url': f'file://{self.fleet.directory}/l'},
        )

        self.assert_refused(engine)


class RefusalTest(_Refusal, testtools.TestCase):
    """The acting engine has a coordination."""

    KIND = 'mariadb'


class AloneTest(_Refusal, testtools.TestCase):
    """The acting engine has none."""

    KIND = 'mariadb'
    FIRST = {'backend_url': ''}

    def test_doctor_says_what_is_wrong_while_both_live(self):
        engine = self.fleet.add_engine(
            'ctl-4', coordination={'backend_url': ''}
        )
        engine.start()
        self.fleet.until('both report', lambda: len(self.fleet.living()) == 2)

        found = doctor.check(self.fleet.store.engines())
        engine.process.wait(60)

        self.assertIn('without a coordination', found[0].text)

    def test_engine_whose_driver_is_missing_does_not_start(self):
        engine = self.fleet.add_engine(
            'ctl-5', coordination={'backend_url': 'carrier-pigeon://roof'}
        )
        engine.start()

        self.assertEqual(1, engine.process.wait(60))
        self.assertIn('carrier-pigeon', engine.log())

    def test_one_that_is_started_after_its_death_acts(self):
        self.first.kill()
        engine = self.fleet.add_engine(
            'ctl-1', coordination={'backend_url': ''}
        )
        engine.start()

        token = self.fleet.store.lease_state().token
        self.fleet.until_taken_over(token)

        self.first = engine
        self.assertIsNone(engine.process.poll())
