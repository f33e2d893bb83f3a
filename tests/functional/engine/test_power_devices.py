# SPDX-License-Identifier: Apache-2.0

"""Power devices that lie, hang, or are not the host's own.

Thirteen hosts, most of which die at the same moment, each with another device.

====  =====================================================================
Row   Test
====  =====================================================================
F29   all: unreachable, wrong credentials, hangs, says yes and stays on,
      never ends powering off, another identity, a stranger's certificate,
      another host's system, On again after Off
F38   test_attest_*: an operator's word against the device's
====  =====================================================================
"""

import threading

from lab import authority
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from tests.functional.engine import bench
from tests.functional.engine import faults
from tests.functional.engine import machines
from tests.functional.engine import wire

Phase = incident.Phase
HOSTS = {
    'plain': 'cmp-1',
    'stays-on': 'cmp-2',
    'never-ends': 'cmp-3',
    'other-identity': 'cmp-4',
    'unreachable': 'cmp-5',
    'wrong-password': 'cmp-6',
    'hangs': 'cmp-7',
    'on-again': 'cmp-8',
    'stranger': 'cmp-9',
    'absent': 'cmp-10',
    'accepted-502': 'cmp-11',
    'wrong-row': 'cmp-12',
}
LIVING = 'cmp-13'


class PowerDevicesTest(bench.Case):
    """Each host has one server that wants to be evacuated."""

    HOSTS = 20
    CHANGES = {
        'nova_ha': {'mass_silence_share': 0.9},
        'gates': {'blind_share': 0.9},
        'engine': {'fence_workers': 12},
        # Each device is looked at once while its host lives.
        'fencing': {'verify_interval': 300, 'timeout': 18},
    }

    @classmethod
    def prepare(cls):
        cls.servers = {
            name: cls.cloud.add_server(host, name)
            for name, host in HOSTS.items()
        }
        cls.stranger = Stranger(cls.bench.directory)
        cls.addClassCleanup(cls.stranger.close)
        cls.bench.write_map(
            {
                HOSTS['stranger']: {'address': cls.stranger.url},
                HOSTS['absent']: None,
                HOSTS['wrong-row']: {
                    'system': f'/redfish/v1/Systems/{LIVING}'
                },
                LIVING: None,
            }
        )

    @classmethod
    def tell(cls):
        machine = {name: cls.racks.machines[HOSTS[name]] for name in HOSTS}
        script = cls.racks.script
        machine['stays-on'].obeys = False
        machine['never-ends'].claims = 'On'
        script.always('reset', HOSTS['never-ends'], cls._never_ends)
        machine['other-identity'].identity = machine['plain'].identity
        for kind in ('read', 'reset'):
            script.always(kind, HOSTS['unreachable'], faults.reset)
            script.always(kind, HOSTS['hangs'], faults.late(20))
            script.always(kind, HOSTS['wrong-password'], _refused)
        script.add(
            'reset', HOSTS['accepted-502'], faults.accepted(faults.BAD_GATEWAY)
        )
        cls.cloud.script.add(
            'disable',
            HOSTS['on-again'],
            faults.after(lambda: cls._push_the_button(machine['on-again'])),
        )
        cls.bench.die(*HOSTS.values())
        cls.bench.until_recovered(HOSTS['plain'])
        cls.held_when_plain_was_done = cls.bench.incident_of(
            HOSTS['hangs']
        ).phase
        for name in ('on-again', 'accepted-502'):
            cls.bench.until_recovered(HOSTS[name])
        for name in (
            'stays-on',
            'never-ends',
            'unreachable',
            'wrong-password',
            'hangs',
            'other-identity',
        ):
            cls.bench.until_phase(HOSTS[name], Phase.NEEDS_OPERATOR)
        for name in ('stranger', 'absent', 'wrong-row'):
            cls.bench.until_code(HOSTS[name], 'not-mapped')
        cls.attest()

    @classmethod
    def attest(cls):
        """An operator vouches for two: one that is off, one that is on."""
        off, on = HOSTS['unreachable'], HOSTS['stays-on']
        cls.racks.machines[off].power = False
        cls.wrong = cls.bench.say(facts.FactKind.ATTEST, on)
        cls.right = cls.bench.say(facts.FactKind.ATTEST, off)
        cls.bench.until_recovered(off)
        cls.bench.until(
            'the wrong attest is settled',
            lambda: (
                cls.store.fact(cls.wrong.uuid).state != facts.FactState.PENDING
            ),
        )

    @staticmethod
    def _never_ends(exchange):
        machine = exchange.machine
        machine.claims = 'PoweringOff'
        exchange.reply(*exchange.perform())

    @staticmethod
    def _push_the_button(machine):
        machine.power = True

    def subject(self, name):
        return self.bench.incident_of(HOSTS[name])

    def check_untouched(self, name):
        """Nova was not asked to do anything."""
        host = HOSTS[name]
        for kind in ('force-down', 'disable'):
            self.assertEqual(0, self.cloud.counts(kind, host))
        self.assertEqual(0, self.cloud.counts('evacuate', self.servers[name]))

    def check_moved(self, name):
        self.assertEqual(1, self.cloud.performed[self.servers[name]])
        self.assertNotEqual(
            HOSTS[name], self.cloud.host_of(self.servers[name])
        )

    def test_device_that_works_recovers_while_others_hang(self):
        self.check_moved('plain')
        self.assertEqual(1, self.racks.resets(HOSTS['plain']))
        self.assertEqual(Phase.FENCING, self.held_when_plain_was_done)

    def test_accepted_and_stays_on_is_never_success(self):
        self.check_untouched('stays-on')
        subject = self.subject('stays-on')

        self.assertEqual(Phase.NEEDS_OPERATOR, subject.phase)
        self.assertEqual(incident.Power.ON, subject.fence.power)
        self.assertNotEqual(incident.FenceState.VALID, subject.fence.state)
        # Told again once it read On for a while, and no more often.
        self.assertLessEqual(self.racks.resets(HOSTS['stays-on']), 2)

    def test_powering_off_is_not_off(self):
        self.check_untouched('never-ends')
        subject = self.subject('never-ends')

        self.assertEqual(Phase.NEEDS_OPERATOR, subject.phase)
        self.assertEqual(incident.Power.CHANGING, subject.fence.power)

    def test_other_identity_is_not_switched_off(self):
        self.check_untouched('other-identity')
        subject = self.subject('other-identity')

        self.assertEqual(0, self.racks.resets(HOSTS['other-identity']))
        self.assertIn('identity-mismatch', bench.codes(subject))
        self.assertIn(
            self.racks.machines[HOSTS['plain']].system_uuid, subject.reason
        )

    def test_device_that_does_not_answer_needs_an_operator(self):
        for name in ('wrong-password', 'hangs'):
            with self.subTest(name):
                self.check_untouched(name)
                self.assertEqual(0, self.racks.resets(HOSTS[name]))
                self.assertIn('power-unread', bench.codes(self.subject(name)))

    def test_wrong_password_is_named_and_not_shown(self):
        subject = self.subject('wrong-password')
        texts = ' '.join(entry.text for entry in subject.timeline)

        self.assertIn('Incorrect username or password', texts)
        self.assertNotIn(machines.PASSWORD, texts + self.bench.log())

    def test_stranger_gets_no_password_and_fences_nothing(self):
        self.check_untouched('stranger')

        self.assertEqual([], self.stranger.requests)
        self.assertIn('certificate', self.subject('stranger').reason)

    def test_host_without_a_device_is_held_and_named(self):
        self.check_untouched('absent')
        self.assertIn(
            'the fencing map has no entry', self.subject('absent').reason
        )

    def test_wrong_row_of_the_map_switches_nobody_off(self):
        self.check_untouched('wrong-row')
        self.assertEqual(0, self.racks.resets(LIVING))
        self.assertEqual(0, self.racks.resets(HOSTS['wrong-row']))
        self.assertIn(
            self.bench.machine(LIVING).system_uuid,
            self.subject('wrong-row').reason,
        )

    def test_on_again_after_off_is_switched_off_again_first(self):
        self.check_moved('on-again')
        _, again = self.bench.machine(HOSTS['on-again']).resets
        (asked,) = self.cloud.times('evacuate', self.servers['on-again'])

        self.assertLess(again[0], asked)
        self.assertIn('fence-void', bench.codes(self.subject('on-again')))

    def test_502_that_switched_off_counts_by_its_reading(self):
        self.check_moved('accepted-502')
        self.assertEqual(1, self.racks.resets(HOSTS['accepted-502']))

    def test_attest_of_a_host_whose_device_reads_on_is_refused(self):
        told = self.store.fact(self.wrong.uuid)

        self.assertEqual(facts.FactState.REJECTED, told.state)
        self.check_untouched('stays-on')

    def test_attest_of_a_host_without_device_recovers_it(self):
        self.check_moved('unreachable')
        self.assertEqual(
            incident.FenceClass.OPERATOR_ATTESTED,
            self.subject('unreachable').fence.evidence_class,
        )


def _refused(exchange):
    exchange.reply(*wire.recorded('bmc system refused'))


class Stranger:
    """Somebody else's HTTPS server at the address of a BMC."""

    def __init__(self, directory):
        signer = authority.Authority('Somebody else')
        signer.write(directory, 'stranger', '127.0.0.1')
        self.requests = requests = []

        class Handler(wire.Handler):
            over = threading.Event()

            def do_GET(self):
                requests.append(dict(self.headers))
                self.reply(*wire.recorded('bmc system'))

        self._server = wire.Server(
            Handler, directory / 'stranger.crt', directory / 'stranger.key'
        )
        self.url = f'https://127.0.0.1:{self._server.port}'
        self.close = self._server.close
