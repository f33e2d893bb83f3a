# SPDX-License-Identifier: Apache-2.0

"""What nova says when it is only asked: late, too little, nonsense.

Each host dies while another list lies about it.

====  =====================================================================
Row   Test
====  =====================================================================
F13   test_stale_*, test_empty_*: an answer that goes back in time
F22   test_slow_*
F24   test_token_*, test_keystone_*, test_nova_away_*
====  =====================================================================
"""

import json
import time

from nova_ha_plugins.recovery import incident
from tests.functional.engine import bench
from tests.functional.engine import faults

Phase = incident.Phase
State = incident.ServerState


class ReadsTest(bench.Case):
    """Seven hosts die, one lie each; the last one dies without nova."""

    HOSTS = 15
    LIES = {
        'empty-servers': 'cmp-1',
        'empty-migrations': 'cmp-2',
        'twice': 'cmp-3',
        'nonsense': 'cmp-4',
        'slow': 'cmp-5',
        'token': 'cmp-6',
    }
    NONSENSE = {
        'servers': (faults.truncated, faults.html),
        'migrations': (
            faults.reset_in_body,
            faults.UNAVAILABLE,
            faults.changed(lambda document: []),
            faults.changed(lambda document: {'migrations': None}),
            faults.changed(lambda document: {'migrations': [{'id': 1}]}),
            faults.refuse(500, 'Unexpected API Error.'),
        ),
    }
    CHANGES = {'nova_ha': {'mass_silence_share': 0.9}}

    @classmethod
    def prepare(cls):
        cls.servers = {
            name: (
                cls.cloud.add_server(host, f'{name}-1'),
                cls.cloud.add_server(host, f'{name}-2'),
            )
            for name, host in cls.LIES.items()
        }

    @classmethod
    def tell(cls):
        cls.script_lies()
        *others, token = cls.LIES.values()
        cls.bench.die(*others)
        for host in others:
            cls.bench.until_recovered(host)
        # Alone: the others' calls would meet the same dead tokens.
        cls.bench.machine(token).hang()
        cls.bench.until_recovered(token)

    @classmethod
    def script_lies(cls):
        script, lies = cls.cloud.script, cls.LIES
        empty = faults.changed(lambda document: {**document, 'servers': []})
        # Once the host is down, for the next looks of the engine.
        script.add(
            'disable',
            lies['empty-servers'],
            faults.after(
                lambda: script.add('servers', lies['empty-servers'], empty)
            ),
        )
        cls.stale = faults.changed(
            lambda document: {**document, 'migrations': []}
        )
        script.add(
            'evacuate',
            cls.servers['empty-migrations'][0],
            faults.after(
                lambda: script.add(
                    'migrations', lies['empty-migrations'], *[cls.stale] * 30
                )
            ),
        )
        for kind in ('servers', 'migrations'):
            script.always(kind, lies['twice'], faults.changed(_twice))
            script.add(
                kind,
                lies['nonsense'],
                *cls.NONSENSE[kind],
            )
            script.always(kind, lies['slow'], faults.late(0.8))
        for server in cls.servers['slow']:
            script.always('evacuate', server, faults.late(1.2))
        script.add('force-down', lies['token'], faults.expired)
        script.add('disable', lies['token'], faults.expired)
        script.add('migrations', lies['token'], faults.expired)
        for server in cls.servers['token']:
            script.add('evacuate', server, faults.expired)

    def check_moved(self, name):
        subject = self.bench.incident_of(self.LIES[name])
        for server in self.servers[name]:
            self.assertEqual(1, self.cloud.performed[server], subject)
            self.assertNotEqual(self.LIES[name], self.cloud.host_of(server))
            told = bench.server_of(subject, server)
            self.assertEqual(State.RECOVERED, told.state)
        self.assertEqual('resolved', subject.outcome)
        self.assertEqual(1, self.racks.resets(self.LIES[name]))

    def test_empty_list_of_servers_does_not_end_a_recovery(self):
        self.check_moved('empty-servers')

    def test_stale_list_of_records_makes_no_second_call(self):
        self.check_moved('empty-migrations')
        for server in self.servers['empty-migrations']:
            self.assertEqual(1, self.cloud.counts('evacuate', server))

    def test_server_that_is_listed_twice_is_evacuated_once(self):
        self.check_moved('twice')
        subject = self.bench.incident_of(self.LIES['twice'])
        self.assertEqual(2, len(subject.servers))

    def test_nonsense_concludes_nothing(self):
        self.check_moved('nonsense')

    def test_slow_nova_delays_nobody_else(self):
        self.check_moved('slow')
        slow = self.bench.incident_of(self.LIES['slow'])
        other = self.bench.incident_of(self.LIES['twice'])
        recovered = [
            next(e.at for e in each.timeline if e.code == 'recovered')
            for each in (slow, other)
        ]
        self.assertGreater(recovered[0], recovered[1] + 1.0)

    def test_token_that_expires_is_replaced_and_nothing_said_twice(self):
        self.check_moved('token')
        for kind in ('force-down', 'disable'):
            self.assertEqual(
                2, self.cloud.counts(kind, self.LIES['token']), kind
            )


class AwayTest(bench.Case):
    """Nova, then keystone, are away in the middle of a recovery."""

    HOSTS = 4
    CHANGES = {'nova': {'timeout': 1}}

    @classmethod
    def prepare(cls):
        cls.servers = [
            cls.cloud.add_server('cmp-1', f'server-{n}') for n in range(4)
        ]

    @classmethod
    def tell(cls):
        cls.cloud.script.add(
            'disable', 'cmp-1', faults.after(cls.everything_goes_away)
        )
        cls.bench.machine('cmp-1').hang()
        cls.bench.until('nova went away', lambda: hasattr(cls, 'went_at'))
        cls.seen_while_away = []
        while time.monotonic() < cls.went_at + 5:
            subject = cls.bench.incident_of('cmp-1')
            cls.seen_while_away.append((subject.phase, subject.fence.state))
            time.sleep(0.3)
        cls.asked_while_away = sum(
            call.kind == 'evacuate' for call in cls.cloud.calls
        )
        # Nova is back first, and takes none of the old tokens.
        for kind in NOVA:
            cls.cloud.script.always(kind, '', None)
        cls.cloud.revoke()
        time.sleep(2)
        cls.asked_without_keystone = sum(
            cls.cloud.performed[server] for server in cls.servers
        )
        cls.cloud.script.always('token', '', None)
        cls.bench.until_recovered('cmp-1')

    @classmethod
    def everything_goes_away(cls):
        for kind in NOVA:
            cls.cloud.script.always(kind, '', faults.UNAVAILABLE)
        cls.cloud.script.always('token', '', faults.reset)
        cls.went_at = time.monotonic()

    def test_fence_and_phase_are_kept_while_nova_is_away(self):
        self.assertEqual(
            {(Phase.EVACUATING, incident.FenceState.VALID)},
            set(self.seen_while_away[1:]),
        )
        self.assertEqual(1, self.racks.resets('cmp-1'))
        self.assertEqual(1, self.cloud.counts('force-down', 'cmp-1'))

    def test_nobody_is_evacuated_blindly(self):
        self.assertEqual(0, self.asked_while_away)
        self.assertEqual(0, self.asked_without_keystone)

    def test_recovery_goes_on_when_both_are_back(self):
        for server in self.servers:
            self.assertEqual(1, self.cloud.performed[server])
            self.assertNotEqual('cmp-1', self.cloud.host_of(server))

    def test_log_says_who_does_not_answer(self):
        log = self.bench.log()
        self.assertIn('Service Unavailable', log)


NOVA = ('services', 'hypervisors', 'servers', 'server', 'migrations')


class NovaAwayBeforeTest(bench.Case):
    """A host dies while nova answers nothing: it is not fenced for nothing.

    What cannot be evacuated need not be switched off: the decision waits.
    """

    HOSTS = 4

    @classmethod
    def prepare(cls):
        cls.server = cls.cloud.add_server('cmp-1', 'server')

    @classmethod
    def tell(cls):
        for kind in NOVA:
            cls.cloud.script.always(kind, '', faults.TIMED_OUT)
        cls.bench.machine('cmp-1').hang()
        cls.held = cls.bench.until_code('cmp-1', 'nova-unreachable')
        cls.resets_while_away = cls.racks.resets('cmp-1')
        for kind in NOVA:
            cls.cloud.script.always(kind, '', None)
        cls.bench.until_recovered('cmp-1')

    def test_nothing_is_fenced_before_nova_answers(self):
        self.assertEqual(0, self.resets_while_away)
        self.assertEqual(Phase.HELD, self.held.phase)
        self.assertIn('504', self.held.reason)

    def test_host_is_recovered_afterwards(self):
        self.assertEqual(1, self.racks.resets('cmp-1'))
        self.assertEqual(1, self.cloud.performed[self.server])


def _twice(document):
    ((key, items),) = document.items()
    return {key: json.loads(json.dumps([*items, *items]))}
