# SPDX-License-Identifier: Apache-2.0

"""The engine is killed at each of its calls, and started again.

Before: the call left the engine and never arrived. After: it was carried out
and the answer never arrived. One recovery meets all of them, from the first
power off to the host's return; the end must be as if nobody had died.

====  =====================================================================
Row   Test
====  =====================================================================
F19   all
F21   test_evacuate_*: carried out, and nobody heard the answer
====  =====================================================================
"""

import threading

from nova_ha_plugins.recovery import incident
from tests.functional.engine import bench
from tests.functional.engine import faults

HOST = 'cmp-1'


class _Crashes:
    """Kills the engine once at each call; subclasses say when."""

    HOSTS = 3
    KINDS = ('reset', 'force-down', 'disable', 'evacuate', 'os-stop')
    RETURN = ('un-force', 'enable')

    @classmethod
    def prepare(cls):
        cls.running = cls.cloud.add_server(HOST, 'running')
        cls.stopped = cls.cloud.add_server(HOST, 'stopped', vm_state='stopped')
        # Left running when its first evacuation found no host.
        cls.cloud.outcomes[cls.stopped] = ['no-host', 'done']
        cls.killed = []
        cls.dead = threading.Event()

    @classmethod
    def when(cls, hook):
        raise NotImplementedError

    @classmethod
    def tell(cls):
        for kind in (*cls.KINDS, *cls.RETURN):
            subject = {
                'evacuate': cls.running,
                'os-stop': cls.stopped,
            }.get(kind, HOST)
            script = cls.racks.script if kind == 'reset' else cls.cloud.script
            script.add(kind, subject, cls.when(cls.crash(kind)))
        cls.bench.machine(HOST).hang()
        cls.until_killed(cls.KINDS)
        cls.bench.until_recovered(HOST)
        cls.bench.power_on(HOST)
        cls.until_killed(cls.RETURN)
        cls.subject = cls.bench.until_phase(HOST, incident.Phase.CLOSED)

    @classmethod
    def until_killed(cls, kinds):
        """Start the engine again after each of its deaths."""
        for _ in kinds:
            cls.bench.until(
                f'the engine died at one of {kinds}, so far {cls.killed}',
                cls.dead.is_set,
            )
            cls.dead.clear()
            cls.bench.process.wait()
            cls.bench.start(wait=False)

    @classmethod
    def crash(cls, kind):
        def kill():
            cls.bench.kill()
            cls.killed.append(kind)
            cls.dead.set()

        return kill

    def test_engine_died_at_every_call(self):
        self.assertEqual(
            sorted((*self.KINDS, *self.RETURN)), sorted(self.killed)
        )

    def test_evacuate_was_accepted_once(self):
        self.assertEqual(1, self.cloud.performed[self.running])
        self.assertNotEqual(HOST, self.cloud.host_of(self.running))
        self.assertEqual('active', self.cloud.vm_state(self.running))

    def test_stopped_server_is_stopped_in_the_end(self):
        self.assertEqual(2, self.cloud.performed[self.stopped])
        self.assertEqual('stopped', self.cloud.vm_state(self.stopped))

    def test_host_is_back_as_it_was(self):
        service = self.cloud.services[HOST]

        self.assertEqual(
            ('up', 'enabled', False, None),
            (
                service['state'],
                service['status'],
                service['forced_down'],
                service['disabled_reason'],
            ),
        )
        self.assertTrue(self.bench.machine(HOST).power)

    def test_one_incident_tells_it_without_a_gap(self):
        (subject,) = self.bench.incidents_of(HOST)

        self.assertEqual('resolved', subject.outcome)
        self.assertEqual(
            list(range(1, len(subject.timeline) + 1)),
            [entry.seq for entry in subject.timeline],
        )


class CrashBeforeTest(_Crashes, bench.Case):
    """The call was intended, and never arrived."""

    # A device that still reads On is told again after 15 s.
    CHANGES = {'fencing': {'timeout': 40}}

    when = staticmethod(faults.before)


class CrashAfterTest(_Crashes, bench.Case):
    """The call was carried out, and the engine never heard of it."""

    @classmethod
    def when(cls, hook):
        return faults.after(hook, faults.reset)

    def test_host_was_switched_off_once(self):
        # What reads as Off is not told to power off again.
        self.assertEqual(1, self.racks.resets(HOST))
