# SPDX-License-Identifier: Apache-2.0

"""Three engines: whoever dies, freezes or is cut off, everything is done once.

====  =====================================================================
Row   Test
====  =====================================================================
F13   CutOffTest: the acting engine loses its database
F19   KillTest: the acting engine is killed at each of its calls
F20   FrozenTest: it stands still for longer than its lease
F39   RollingTest: each engine is replaced while a host is recovered
====  =====================================================================
"""

import os
import signal
import threading
import time
import unittest

import testtools

from nova_ha_plugins.recovery import incident
from tests.functional.engine import faults
from tests.functional.engines import fleet

HOST = 'cmp-1'
ALL = bool(os.environ.get('NOVA_HA_FUNCTIONAL_ALL'))
# What an engine says that has lost its lease.
ENDS = 'stops before it does anything'


class _Story:
    """One fleet for all tests of a class, and one story told in it."""

    KIND = ''
    CHANGES: dict[str, dict[str, object]] = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        database = fleet.Database(cls.KIND)
        if not database.server:
            raise unittest.SkipTest(f'No {cls.KIND}: see tools/env --lab')
        cls.fleet = fleet.Fleet(database, changes=cls.CHANGES)
        cls.addClassCleanup(cls.fleet.close)
        cls.cloud, cls.racks = cls.fleet.cloud, cls.fleet.racks
        cls.took = []
        cls.victims = []
        cls.servers = [
            cls.cloud.add_server(HOST, f'server-{number}')
            for number in range(1, 4)
        ]
        cls.fleet.store.set_arm_state(True, 'test', 'test')
        cls.fleet.start_all()
        cls.logins = cls.cloud.counts('token', '')
        cls.tell()
        cls.report()

    @classmethod
    def tell(cls):
        """Play the story."""

    @classmethod
    def report(cls):
        for how, seconds in cls.took:
            print(f'{cls.__name__} {how}: taken over in {seconds:.2f} s')

    def test_every_side_effect_happened_once(self):
        self.assertEqual(
            dict.fromkeys(self.servers, 1),
            {one: self.cloud.performed[one] for one in self.servers},
        )
        for server in self.servers:
            self.assertNotEqual(HOST, self.cloud.host_of(server))
        self.assertEqual(1, self.racks.resets(HOST))

    def test_only_the_acting_engine_asks_anything(self):
        # One for nova, one for keystone.
        self.assertIn(self.logins, (1, 2))

    def test_no_law_was_broken(self):
        self.assertEqual([], self.cloud.violations)
        self.assertEqual([], self.racks.violations)
        for engine in self.fleet.engines.values():
            self.assertNotIn('NoIntentError', engine.log())

    def test_each_write_names_a_lease_and_none_an_older_one(self):
        tokens = [int(one.token) for one in self.fleet.writes()]

        self.assertEqual(sorted(tokens), tokens)

    def test_one_incident_tells_it_without_a_gap(self):
        (subject,) = self.fleet.incidents_of(HOST)

        self.assertEqual('resolved', subject.outcome)
        self.assertEqual(
            list(range(1, len(subject.timeline) + 1)),
            [entry.seq for entry in subject.timeline],
        )
        for entry in subject.timeline:
            if entry.code == 'taken-over':
                self.assertIn('goes on where engine', entry.text)


class _Interrupted(_Story):
    """Something happens to the acting engine at each of its calls."""

    KINDS = ('reset', 'force-down', 'disable', 'evacuate')
    RETURN = ('un-force', 'enable')

    @classmethod
    def tell(cls):
        cls.happened = threading.Event()
        for kind in (*cls.KINDS, *cls.RETURN):
            subject = cls.servers[1] if kind == 'evacuate' else HOST
            script = cls.racks.script if kind == 'reset' else cls.cloud.script
            script.add(kind, subject, faults.after(cls.at(kind)))
        cls.fleet.machine(HOST).hang()
        for kind in cls.KINDS:
            cls.follow(kind)
        cls.fleet.until_recovered(HOST)
        cls.fleet.power_on(HOST)
        for kind in cls.RETURN:
            cls.follow(kind)
        cls.subject = cls.fleet.until_phase(HOST, incident.Phase.CLOSED)

    @classmethod
    def at(cls, kind):
        def hook():
            # An engine that is just being started cannot take over.
            deadline = time.monotonic() + 2.5
            while len(cls.fleet.warm()) < 3 and time.monotonic() < deadline:
                time.sleep(0.1)
            cls.token = cls.fleet.store.lease_state().token
            cls.victim = cls.fleet.acting()
            # It may notice, and end, before anybody has taken over.
            cls.ends = cls.victim.log().count(ENDS)
            cls.interrupt(cls.victim)
            cls.happened.set()

        return hook

    @classmethod
    def follow(cls, kind):
        cls.fleet.until(
            f'the acting engine is met at {kind}', cls.happened.is_set
        )
        cls.happened.clear()
        seconds = cls.fleet.until_taken_over(cls.token)
        cls.took.append((kind, seconds))
        cls.victims.append(cls.victim.name)
        cls.recover(cls.victim)

    def test_it_was_met_at_every_call(self):
        self.assertEqual(len((*self.KINDS, *self.RETURN)), len(self.victims))

    def test_each_take_over_is_in_the_timeline(self):
        told = [
            entry
            for entry in self.subject.timeline
            if entry.code == 'taken-over'
        ]

        # After its last call an incident may have nothing left to be taken.
        self.assertIn(len(told), (len(self.victims) - 1, len(self.victims)))


class _Kill(_Interrupted):
    """kill -9, with the process above it."""

    @classmethod
    def interrupt(cls, engine):
        engine.signal(signal.SIGKILL)

    @classmethod
    def recover(cls, engine):
        engine.process.wait()
        engine.start()

    def test_death_is_noticed_long_before_the_lease_runs_out(self):
        quick = [seconds < fleet.TTL * 0.75 for _, seconds in self.took]

        # Not each: one may meet an engine that was just being started, and a
        # busy machine may be late.
        self.assertGreater(quick.count(True), len(quick) / 2, self.took)


class _Frozen(_Interrupted):
    """SIGSTOP for longer than the lease, in the middle of a call."""

    # One time of standing still is as good as six.
    KINDS = ('reset', 'evacuate')
    RETURN = ('enable',)

    @classmethod
    def interrupt(cls, engine):
        engine.signal(signal.SIGSTOP)

    @classmethod
    def recover(cls, engine):
        time.sleep(1.0)
        engine.signal(signal.SIGCONT)
        cls.fleet.until(
            f'{engine.name} ends',
            lambda: engine.log().count(ENDS) > cls.ends,
        )
        cls.fleet.until(
            f'{engine.name} watches again',
            lambda: engine.name in cls.fleet.living(),
        )

    def test_frozen_engine_is_replaced_when_its_lease_is_over(self):
        for how, seconds in self.took:
            self.assertLess(seconds, fleet.TTL + 4.0, how)


class _CutOff(_Interrupted):
    """The way to the database, and to the coordination, goes silent."""

    KINDS = ('reset', 'evacuate')
    RETURN = ()

    @classmethod
    def interrupt(cls, engine):
        engine.way.cut()

    @classmethod
    def recover(cls, engine):
        time.sleep(1.0)
        engine.way.heal()
        cls.fleet.until(
            f'{engine.name} ends',
            lambda: engine.log().count(ENDS) > cls.ends,
        )


class _Rolling(_Story):
    """Each engine is stopped and started while a host is recovered."""

    @classmethod
    def tell(cls):
        cls.codes = []
        cls.cloud.script.always('evacuate', '', faults.late(1.0))
        cls.fleet.machine(HOST).hang()
        cls.fleet.until_code(HOST, 'fencing')
        for engine in list(cls.fleet.engines.values()):
            was_acting = engine is cls.fleet.acting()
            token = cls.fleet.store.lease_state().token
            began = time.monotonic()
            cls.codes.append(engine.stop())
            stopping = time.monotonic() - began
            if was_acting:
                cls.took.append(
                    (
                        f'handed over, {stopping:.1f} s for its last calls',
                        cls.fleet.until_taken_over(token),
                    )
                )
            engine.start()
        cls.fleet.until_recovered(HOST)

    def test_each_ends_in_good_order(self):
        self.assertEqual([0, 0, 0], self.codes)


class _Still(_Story):
    """It stands still for longer than a host may be silent, and no longer."""

    @classmethod
    def tell(cls):
        engine = cls.fleet.acting()
        cls.token = cls.fleet.store.lease_state().token
        engine.signal(signal.SIGSTOP)
        # The host dies while nobody looks.
        cls.fleet.machine(HOST).hang()
        time.sleep(fleet.TTL - 1.5)
        engine.signal(signal.SIGCONT)
        cls.engine = engine
        cls.fleet.until_recovered(HOST)

    def test_it_keeps_its_lease_and_warms_up_anew(self):
        self.assertIn('This process stood still', self.engine.log())
        self.assertEqual(self.token, self.fleet.store.lease_state().token)


# Locks and lost connections differ from database to database. The others are
# told on both by tools/test functional-all.
ON_BOTH = (_Kill, _CutOff)


def _for_each_database():
    for story in (_Kill, _Frozen, _CutOff, _Rolling, _Still):
        for kind in ('mariadb', 'postgresql'):
            if kind == 'postgresql' and story not in ON_BOTH and not ALL:
                continue
            name = f'{story.__name__[1:]}{kind.capitalize()}Test'
            globals()[name] = type(
                name,
                (story, testtools.TestCase),
                {'KIND': kind, '__doc__': story.__doc__},
            )


_for_each_database()
