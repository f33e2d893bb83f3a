# SPDX-License-Identifier: Apache-2.0

"""Every way in which the call 'evacuate' can go wrong, one server each.

One host dies; each of its servers meets another fault. Whatever nova said,
each is evacuated once, or says why not.

====  =====================================================================
Row   Test
====  =====================================================================
F21   test_accepted_*, test_lost_*: the record decides, not the answer
F22   test_429_*, test_answer_that_dribbles_*, test_priority_*
F23   test_409_*, test_400_*, test_404_*
F25   test_no_valid_host_*
F27   test_failed_*
F37   test_deleted_*, test_opted_out_*
F38   test_evacuated_by_hand_*
====  =====================================================================
"""

from nova_ha_plugins.recovery import incident
from tests.functional.engine import bench
from tests.functional.engine import faults

HOST = 'cmp-1'
State = incident.ServerState

# Server by server: how its calls go, and how its evacuations end.
CALLS = {
    'plain': [],
    'accepted-504': [faults.accepted(faults.TIMED_OUT)],
    'accepted-502': [faults.accepted(faults.BAD_GATEWAY)],
    'accepted-reset': [faults.accepted(faults.reset)],
    'accepted-half': [faults.reset_in_body],
    'accepted-html': [faults.html],
    'accepted-dribble': [faults.dribble(4.0)],
    'accepted-409': [faults.accepted(faults.refuse(409, 'Busy'))],
    'lost-504': [faults.TIMED_OUT],
    'lost-reset': [faults.reset],
    '409': [faults.refuse(409, "Cannot 'evacuate' instance: locked")],
    '400': [faults.refuse(400, 'Compute service of cmp-1 is still in use.')],
    '429': [faults.too_many(2)],
    'guarded': [
        faults.refuse(409, 'is being evacuated', (('X-Nova-HA-Guard', 'm'),))
    ]
    * 3,
    '409-always': [faults.refuse(409, 'vTPM is not supported')] * 9,
}
OUTCOMES = {
    'no-host': ['no-host', 'no-host', 'done'],
    'failed-there': ['failed-there'],
    'failed-early': ['failed-early', 'done'],
}


class EvacuateCallsTest(bench.Case):
    """One host with one server for each fault."""

    HOSTS = 3
    # Not all at once: who is last must still be there to be opted out.
    CHANGES = {
        'evacuation': {'max_per_destination': 16, 'max_open': 16},
        # Nobody listens there.
        'DEFAULT': {'transport_url': 'rabbit://nobody:no@127.0.0.1:1/'},
    }

    @classmethod
    def prepare(cls):
        cls.servers = {}
        # Our own resource in nova-api never answers, in the whole story.
        cls.cloud.script.always('unknown', '', faults.late(600.0))
        for name in (*CALLS, *OUTCOMES, 'deleted', 'by-hand', 'opted-out'):
            priority = {'plain': 900, 'opted-out': 100}.get(name, 500)
            cls.servers[name] = cls.cloud.add_server(
                HOST,
                name,
                {'ha:policy': 'evacuate', 'ha:priority': str(priority)},
            )
        cls.stopped = cls.cloud.add_server(HOST, 'stopped', vm_state='stopped')
        cls.untagged = cls.cloud.add_server(HOST, 'untagged', {})
        for name, outcomes in OUTCOMES.items():
            cls.cloud.outcomes[cls.servers[name]] = list(outcomes)
        cls.cloud.outcomes[cls.servers['by-hand']] = ['slow']

    @classmethod
    def tell(cls):
        cloud, servers = cls.cloud, cls.servers
        for name, calls in CALLS.items():
            cloud.script.add('evacuate', servers[name], *calls)
        cloud.script.add(
            'evacuate',
            servers['deleted'],
            faults.before(lambda: cloud.delete(servers['deleted'])),
        )
        # Somebody was quicker; the engine meets his record.
        cloud.script.add(
            'force-down',
            HOST,
            faults.after(
                lambda: cloud.begin_evacuation(servers['by-hand'], True)
            ),
        )
        cloud.script.add(
            'evacuate',
            servers['plain'],
            faults.after(lambda: cls._opt_out(servers['opted-out'])),
        )
        cls.bench.machine(HOST).hang()
        cls.subject = cls.bench.until_recovered(HOST)

    @classmethod
    def _opt_out(cls, server):
        with cls.cloud.lock:
            cls.cloud.servers[server]['metadata'] = {'ha:policy': 'none'}

    def told(self, name):
        return bench.server_of(self.subject, self.servers[name])

    def check_moved(self, name, performed=1):
        server = self.servers[name]
        told = self.told(name)
        self.assertEqual((State.RECOVERED, ''), (told.state, told.code), told)
        self.assertNotEqual(HOST, self.cloud.host_of(server))
        self.assertEqual(performed, self.cloud.performed[server])

    def check_asked(self, name, times):
        self.assertEqual(
            times, self.cloud.counts('evacuate', self.servers[name])
        )

    def test_nothing_waits_for_what_follows_evacuations(self):
        asked = [
            call.subject for call in self.cloud.calls if call.kind == 'unknown'
        ]

        self.assertTrue(asked)
        self.assertIn('/os-evacuations', asked[0])
        self.check_moved('plain')

    def test_server_without_a_fault_is_moved_by_one_call(self):
        self.check_moved('plain')
        self.check_asked('plain', 1)

    def test_accepted_and_not_said_so_is_not_asked_again(self):
        for name in CALLS:
            if name.startswith('accepted-') and name != 'accepted-409':
                with self.subTest(name):
                    self.check_moved(name)
                    self.check_asked(name, 1)

    def test_accepted_and_said_to_be_refused_is_not_asked_again(self):
        self.check_moved('accepted-409')
        self.check_asked('accepted-409', 1)

    def test_lost_call_is_made_again_when_no_record_appears(self):
        for name in ('lost-504', 'lost-reset'):
            with self.subTest(name):
                first, second = self.cloud.times(
                    'evacuate', self.servers[name]
                )
                self.check_moved(name)
                quiet = bench.QUICK['engine']['unanswered_quiet']
                self.assertGreater(second - first, quiet)

    def test_409_and_400_are_tried_again(self):
        for name in ('409', '400'):
            with self.subTest(name):
                self.check_moved(name)
                self.check_asked(name, 2)

    def test_409_that_stays_is_parked_with_novas_reason(self):
        told = self.told('409-always')

        self.assertEqual((State.PARKED, 'refused'), (told.state, told.code))
        self.assertIn('vTPM is not supported', told.reason)
        self.check_asked('409-always', 3)
        self.assertEqual(0, self.cloud.performed[self.servers['409-always']])

    def test_429_is_asked_again_later_and_is_no_failure(self):
        self.check_moved('429')
        self.check_asked('429', 2)
        told = self.told('429')
        self.assertEqual((2, 1), (told.attempts, told.waits))

    def test_409_of_the_guard_is_waited_for_and_never_parked(self):
        self.check_moved('guarded')
        self.check_asked('guarded', 4)
        told = self.told('guarded')
        self.assertEqual((4, 3), (told.attempts, told.waits))

    def test_no_valid_host_waits_and_is_moved_when_there_is_room(self):
        self.check_moved('no-host', performed=3)
        self.assertEqual(2, self.told('no-host').waits)

    def test_failed_before_a_destination_was_chosen_is_tried_again(self):
        self.check_moved('failed-early', performed=2)

    def test_failed_at_its_destination_is_parked_and_not_tried_elsewhere(self):
        told = self.told('failed-there')

        self.assertEqual(
            (State.PARKED, 'destination-unproven'), (told.state, told.code)
        )
        self.assertIn('cmp-', told.reason)
        self.check_asked('failed-there', 1)

    def test_404_is_a_server_that_its_owner_deleted(self):
        told = self.told('deleted')

        self.assertEqual((State.LEFT, 'deleted'), (told.state, told.code))

    def test_evacuated_by_hand_is_adopted_and_not_asked_again(self):
        self.check_moved('by-hand', performed=0)
        self.check_asked('by-hand', 0)

    def test_opted_out_on_the_way_is_left(self):
        told = self.told('opted-out')

        self.assertEqual(State.LEFT, told.state)
        self.check_asked('opted-out', 0)

    def test_server_that_nobody_asked_for_is_left(self):
        told = bench.server_of(self.subject, self.untagged)

        self.assertEqual(State.LEFT, told.state)
        self.assertEqual(0, self.cloud.counts('evacuate', self.untagged))

    def test_stopped_server_is_stopped_afterwards(self):
        told = bench.server_of(self.subject, self.stopped)

        self.assertEqual(State.RECOVERED, told.state, told)
        self.assertEqual('stopped', self.cloud.vm_state(self.stopped))

    def test_priority_is_kept_although_nova_is_slow(self):
        first, *_, last = (
            call.subject
            for call in self.cloud.calls
            if call.kind == 'evacuate'
        )

        self.assertEqual(self.servers['plain'], first)
        self.assertNotEqual(self.servers['opted-out'], last)

    def test_host_was_switched_off_once_and_before_all_else(self):
        self.assertEqual(1, self.racks.resets(HOST))
        ((off, kind),) = self.bench.machine(HOST).resets
        self.assertEqual('ForceOff', kind)
        (down,) = self.cloud.times('force-down', HOST)
        (disabled,) = self.cloud.times('disable', HOST)
        first = min(
            call.at for call in self.cloud.calls if call.kind == 'evacuate'
        )
        self.assertLess(off, down)
        self.assertLess(down, disabled)
        self.assertLess(disabled, first)

    def test_calls_carry_the_token_of_the_lease(self):
        token = str(self.bench.store.engine_status()['token'])
        carried = {
            (call.kind, call.token)
            for call in self.cloud.calls
            if call.kind in ('evacuate', 'force-down', 'disable')
        }

        self.assertEqual(
            {('evacuate', token), ('force-down', token), ('disable', token)},
            carried,
        )

    def test_incident_says_that_some_need_an_operator(self):
        self.assertEqual('partial', self.subject.outcome)
        self.assertEqual({}, self.cloud.script.left().get('evacuate', {}))
