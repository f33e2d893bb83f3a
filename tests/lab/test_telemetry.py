# SPDX-License-Identifier: Apache-2.0

"""Stories of a monitoring plane that is deaf, blind or wrong.

In each of them nothing that lives is reported dead. Where all hosts are
silent, 'monitoring is blind' is said within a minute; and a host that really
dies meanwhile is found within one period after everything is healed.
"""

import datetime
import json
import os
import pathlib
import time
import unittest

from lab.demo import operator
from lab import receiver
from lab import telemetry
from tests.lab import bench

# Times how much slack a machine needs that does other things as well.
BUSY = float(os.environ.get('NOVA_HA_LAB_BUSY', '1'))
# A file that gets a line of JSON for each time, in seconds.
TIMES = os.environ.get('NOVA_HA_LAB_TIMES')
DOWN, UP = 'compute.host.down', 'compute.host.up'
DEGRADED = 'compute.host.degraded'
# Until it must have been said that nothing is seen.
BLIND_WITHIN = 60.0
# One period: a timeout for everybody to be heard again after a stall, one in
# which a dead host is silent, the pause of a reporter that is not connected
# (rabbit_interval_max), the rounds and probes of the verdict.
PERIOD = 6.0 + 2.0 + 6.0 + 6.0
# Entries of an incident that need the verdict to be there: nobody armed the
# engine, and the hosts of most stories have no servers.
VERDICT = (
    'corroborated',
    'held:nothing-protected',
    'held:storm',
    'held:disarmed',
)


class DeafTest(bench.LabTest):
    """What all of them share: one host may die, the others live."""

    armed = False
    victim = 'cmp-1'

    def setUp(self) -> None:
        super().setUp()
        self.receiver = receiver.Receiver(self.plan)
        self.receiver.listen()
        self.addCleanup(self.receiver.close)
        self.receiver.create_alarm()
        self.wait_dead_man(time.time(), 'ok')
        self.died_at: float | None = None
        self.began = time.time()

    def sight(self) -> str:
        try:
            return super().sight()
        except operator.OperatorError:
            return ''

    def kill_victim(self) -> None:
        """Cut the power of one host, for good."""
        self.cut_power(self.victim)
        self.died_at = time.time()

    def wait_blind(self, since: float) -> float:
        """Return after how long it was said that nothing is seen.

        By the engine, and by an alarm of aodh to people.
        """
        bench.wait(lambda: self.sight() == 'blind', 'monitoring to be blind')
        took = time.time() - since
        self.assertLess(took, BLIND_WITHIN)
        self.wait_dead_man(since)
        return took

    def wait_dead_man(self, since: float, state: str = 'alarm') -> float:
        """Return after how long people were told that nobody watches."""
        alarm = self.operator.alarm(telemetry.DEAD_MAN)
        bench.wait(
            lambda: self.operator.alarm_state(alarm) == state,
            f'{telemetry.DEAD_MAN} to be {state}',
        )
        took = time.time() - since
        self.assertLess(took, BLIND_WITHIN)
        return took

    def wait_found(self, since: float, within: float = PERIOD) -> float:
        """Return how long after a moment the victim was known to be dead."""
        bench.wait(self.verdict_at, f'the verdict on {self.victim}')
        bench.wait(self.down_at, f"'{DOWN}' of {self.victim}")
        took = max(self.verdict_at(), self.down_at()) - since
        self.assertLess(took, within * BUSY)
        return took

    def verdict_at(self) -> float:
        """Return when the engine had its verdict on the victim, 0: not yet."""
        found = self.incident(self.victim)
        for entry in found['timeline'] if found else ():
            if entry['code'] in VERDICT:
                return _seconds(entry['at'])
        return 0.0

    def down_at(self) -> float:
        """Return when the victim was told to be down, 0: not yet."""
        found = self.receiver.find(DOWN, self.began, host=self.victim)
        return min((told.told for told in found), default=0.0)

    def assert_only_the_dead_are_dead(self) -> None:
        """Nobody who lives was called down or convicted, nothing fenced."""
        told = [each for each in self.receiver.heard if each.told > self.began]
        self.assertEqual(
            set(),
            {each.traits['host'] for each in told if each.event == DOWN}
            - ({self.victim} if self.died_at else set()),
        )
        for each in told:
            if each.event == DOWN:
                self.assertGreater(each.told, self.died_at or 0.0)
        for host in self.plan.hosts:
            if host.name != self.victim or self.died_at is None:
                self.assertFalse(
                    set(VERDICT) & set(self.codes(host.name)), host.name
                )
        self.assert_nothing_fenced()

    def look_on(self, seconds: float) -> None:
        """Let the time pass in which something wrong would be said."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.assert_only_the_dead_are_dead()
            time.sleep(1.0)

    def note(self, **seconds: float) -> None:
        """Write down how long something took."""
        line = {name: round(each, 1) for name, each in seconds.items()}
        if TIMES:
            with pathlib.Path(TIMES).open('a') as stream:
                stream.write(
                    json.dumps({'story': self.id().split('.')[-2], **line})
                    + '\n'
                )

    def tell_of_silence(self, fault: str, lasting: float) -> None:
        """All fall silent, a host dies meanwhile, all is healed."""
        self.faults.cause(fault)
        since = time.time()
        blind = self.wait_blind(since)
        self.kill_victim()
        while time.time() < since + lasting:
            self.assertEqual('blind', self.sight())
            self.assert_only_the_dead_are_dead()
            time.sleep(1.0)

        self.faults.heal(fault)

        healed = time.time()
        bench.wait(lambda: self.sight() != 'blind', 'monitoring to see')
        seen = time.time() - healed
        # From then on one period, however long an agent takes to start.
        found = self.wait_found(healed + seen)
        self.wait_dead_man(healed, 'ok')
        # Who were to be convicted wrongly were so with the victim.
        self.look_on(1.0)
        self.note(blind=blind, seen_after=seen, found_after=seen + found)


def _seconds(text: str) -> float:
    """Return the seconds since the epoch of a moment that an API told."""
    moment = datetime.datetime.fromisoformat(text)
    return moment.replace(tzinfo=datetime.UTC).timestamp()


class NotificationTest(DeafTest):
    def test_without_its_notification_agent_monitoring_is_blind(self):
        self.tell_of_silence(f'{telemetry.HA_NOTIFICATION}:killed', 10.0)


class BrokerTest(DeafTest):
    def test_a_broker_that_is_away_for_40_seconds_kills_nobody(self):
        self.tell_of_silence('rabbitmq:killed', 40.0)


class GnocchiTest(DeafTest):
    def test_a_gnocchi_that_hangs_and_restarts_changes_nothing(self):
        self.faults.cause('gnocchi-api:frozen')
        self.look_on(10.0)
        self.assertEqual('clear', self.sight())
        self.faults.heal()
        self.faults.cause('gnocchi-api:killed')
        self.faults.cause('gnocchi-metricd:killed')

        self.kill_victim()

        found = self.wait_found(self.died_at)
        for name in ('gnocchi-api', 'gnocchi-metricd'):
            self.faults.heal(f'{name}:killed')
        self.look_on(5.0)
        self.assertEqual('clear', self.sight())
        self.note(found_after_death=found)


class WatcherTest(DeafTest):
    def test_one_of_two_watchers_is_enough_and_none_is_found_out(self):
        first, second = telemetry.WATCHERS
        self.faults.cause(f'{first}:killed')
        self.kill_victim()

        found = self.wait_found(self.died_at, PERIOD + 5.0)

        self.faults.cause(f'{second}:killed')
        dead = self.wait_dead_man(time.time())
        self.look_on(5.0)
        told = len(self.receiver.heard)
        for name in (first, second):
            self.faults.heal(f'{name}:killed')
        bench.wait(
            lambda: any(
                each.event == DOWN for each in self.receiver.heard[told:]
            ),
            'the new watchers to tell it again',
        )
        self.look_on(5.0)
        self.note(found_after_death=found, dead_man_after=dead)


class EvaluatorTest(DeafTest):
    def test_an_evaluator_that_is_stuck_delays_no_event(self):
        self.faults.cause('aodh-evaluator:frozen')

        self.kill_victim()

        found = self.wait_found(self.died_at)
        self.look_on(5.0)
        self.faults.heal('aodh-evaluator:frozen')
        self.look_on(5.0)
        self.note(found_after_death=found)


class ClockTest(DeafTest):
    def test_clocks_that_jump_kill_nobody_and_hide_no_death(self):
        # Of the store, by which silence is measured, of who looks, of who
        # decides: an hour ahead, then back.
        for service in ('mariadb', telemetry.WATCHERS[0], 'nova-ha-engine-1'):
            for seconds in ('3600', '-3600'):
                with self.subTest(service=service, seconds=seconds):
                    self.faults.cause(f'jump:{service}', seconds)
                    self.look_on(8.0)
                    self.faults.heal()
                    self.look_on(8.0)
        healed = time.time()
        bench.wait(lambda: self.sight() == 'clear', 'monitoring to see')
        seen = time.time() - healed

        self.kill_victim()

        found = self.wait_found(self.died_at)
        self.note(seen_after=seen, found_after_death=found)


class StoreTest(DeafTest):
    def test_a_database_that_hangs_kills_nobody_and_hides_no_death(self):
        self.faults.cause('mariadb:frozen')
        self.kill_victim()
        time.sleep(20.0)

        self.faults.heal('mariadb:frozen')

        healed = time.time()
        bench.wait(lambda: self.sight() == 'clear', 'monitoring to see')
        seen = time.time() - healed
        found = self.wait_found(healed + seen)
        self.look_on(5.0)
        self.note(seen_after=seen, found_after=seen + found)


class RedisTest(DeafTest):
    # Without it nova's API cannot show what was heard, so it shows nothing
    # of the engine either: people are told by the alarm.
    liveness = 'redis'

    def test_a_redis_that_forgot_everything_kills_nobody(self):
        self.faults.cause('redis:killed')
        since = time.time()
        blind = self.wait_dead_man(since)
        self.kill_victim()
        self.look_on(10.0)

        self.faults.heal('redis:killed')

        healed = time.time()
        bench.wait(lambda: self.sight() == 'clear', 'monitoring to see')
        seen = time.time() - healed
        found = self.wait_found(healed + seen)
        self.look_on(5.0)
        self.note(blind=blind, seen_after=seen, found_after=seen + found)

    def test_a_redis_that_hangs_kills_nobody(self):
        self.faults.cause('redis:frozen')
        since = time.time()
        blind = self.wait_dead_man(since)
        self.kill_victim()
        self.look_on(10.0)

        self.faults.heal('redis:frozen')

        healed = time.time()
        bench.wait(lambda: self.sight() == 'clear', 'monitoring to see')
        seen = time.time() - healed
        found = self.wait_found(healed + seen)
        self.note(blind=blind, seen_after=seen, found_after=seen + found)


class LibvirtTest(DeafTest):
    def degraded(self, since: float) -> receiver.Told | None:
        return next(
            self.receiver.find(DEGRADED, since, host=self.victim), None
        )

    def test_a_libvirtd_that_hangs_is_told_and_stops_no_heartbeat(self):
        self.faults.cause('libvirtd:frozen', self.victim)
        since = time.time()

        told = bench.wait(lambda: self.degraded(since), f"'{DEGRADED}'")

        self.assertIn('libvirt', told.traits['reason'])
        self.look_on(5.0)
        self.assertEqual('clear', self.sight())

        self.faults.heal()

        healed = time.time()
        back = bench.wait(
            lambda: next(
                self.receiver.find(UP, healed, host=self.victim), None
            ),
            f"'{UP}'",
        )
        self.kill_victim()
        found = self.wait_found(self.died_at)
        self.note(
            told_after=told.told - since,
            up_after=back.told - healed,
            found_after_death=found,
        )


class DiskTest(DeafTest):
    def test_a_guest_that_is_paused_for_its_disk_is_told_of_at_once(self):
        (server,) = self.boot(self.victim, ha=1, plain=0)
        since = time.time()

        self.faults.cause('disk:full', self.victim)

        told = bench.wait(
            lambda: next(
                self.receiver.find('instance.ha.ioerror', since), None
            ),
            "'instance.ha.ioerror'",
        )
        self.assertIn(server, told.traits.values())
        self.assertEqual('paused', self.domain_state())
        self.look_on(5.0)

        self.faults.heal()

        self.wait_guests([server])
        self.assert_nobody_ran_twice()
        self.note(told_after=told.told - since)

    def domain_state(self) -> str:
        host = self.plan.host(self.victim)
        names = self.hosts.run(host, ['virsh', 'list', '--all', '--name'])
        name = names.stdout.split()[0]
        return self.hosts.run(host, ['virsh', 'domstate', name]).stdout.strip()


if __name__ == '__main__':
    unittest.main()
