# SPDX-License-Identifier: Apache-2.0

"""What the child says, over libvirt's own test driver where there is one."""

import contextlib
import io
import unittest
from unittest import mock
from xml.etree import ElementTree as etree

from ceilometer_pollsters import answering
from ceilometer_pollsters import libvirt_child

libvirt = libvirt_child.libvirt

DOMAIN = """
<domain type='test'>
  <metadata>
    <nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/{0}'>
      <nova:name>web</nova:name>
      <nova:flavor name='m1.tiny'/>
      <nova:owner>
        <nova:user uuid='u1'>somebody</nova:user>
        <nova:project uuid='p1'>something</nova:project>
      </nova:owner>
    </nova:instance>
  </metadata>
  <devices>{1}</devices>
</domain>
"""
CHANNEL = "<channel><target type='virtio' name='{0}' {1}/></channel>"
AGENT = 'org.qemu.guest_agent.0'


class XmlTest(unittest.TestCase):
    def root(self, version='1.1', devices=''):
        return etree.fromstring(DOMAIN.format(version, devices))

    def test_owner_of_a_server_is_read_from_what_nova_wrote(self):
        for version in ('1.1', '1.0'):
            self.assertEqual(
                {
                    'project_id': 'p1',
                    'user_id': 'u1',
                    'display_name': 'web',
                    'flavor_name': 'm1.tiny',
                    'flavor_id': '',
                },
                libvirt_child.of_nova(self.root(version)),
            )

    def test_domain_of_somebody_else_is_no_server(self):
        self.assertEqual({}, libvirt_child.of_nova(self.root('9.9')))

    def test_agent_is_connected_or_not_or_has_no_channel(self):
        for devices, expected in (
            (CHANNEL.format(AGENT, "state='connected'"), True),
            (CHANNEL.format(AGENT, "state='disconnected'"), False),
            (CHANNEL.format(AGENT, ''), False),
            (CHANNEL.format('com.redhat.spice.0', "state='connected'"), None),
            ('', None),
        ):
            with self.subTest(devices=devices):
                self.assertIs(
                    expected,
                    libvirt_child.agent_of(self.root(devices=devices)),
                )


class WithoutModuleTest(unittest.TestCase):
    def test_machine_without_the_module_says_so(self):
        with mock.patch.object(libvirt_child, 'libvirt', None):
            answer = libvirt_child.answer(
                libvirt_child.Connections('qemu:///system'), {'ask': 'look'}
            )

        self.assertIn('python3-libvirt', answer['failed'])


@unittest.skipUnless(libvirt, 'the module libvirt is not installed')
class WordsTest(unittest.TestCase):
    def test_words_for_states_are_those_of_libvirt(self):
        for state, reason, words in (
            ('RUNNING', 'RUNNING_BOOTED', ('running', 'booted')),
            ('PAUSED', 'PAUSED_IOERROR', ('paused', 'ioerror')),
            ('PAUSED', 'PAUSED_CRASHED', ('paused', 'crashed')),
            ('SHUTDOWN', 'SHUTDOWN_USER', ('shutdown', 'user')),
            ('SHUTOFF', 'SHUTOFF_CRASHED', ('shutoff', 'crashed')),
            ('CRASHED', 'CRASHED_PANICKED', ('crashed', 'panicked')),
        ):
            self.assertEqual(
                words,
                libvirt_child.state_words(
                    getattr(libvirt, f'VIR_DOMAIN_{state}'),
                    getattr(libvirt, f'VIR_DOMAIN_{reason}'),
                ),
            )

    def test_every_state_has_the_number_that_libvirt_gives_it(self):
        for number, name in enumerate(libvirt_child._STATES):
            self.assertEqual(
                number, getattr(libvirt, f'VIR_DOMAIN_{name.upper()}')
            )
        for number, name in enumerate(libvirt_child._LIFECYCLE):
            self.assertEqual(
                number, getattr(libvirt, f'VIR_DOMAIN_EVENT_{name.upper()}')
            )
        for number, name in enumerate(libvirt_child._CONTROL):
            self.assertEqual(
                number, getattr(libvirt, f'VIR_DOMAIN_CONTROL_{name.upper()}')
            )

    def test_number_of_a_newer_libvirt_stays_a_number(self):
        self.assertEqual(('99', '1'), libvirt_child.state_words(99, 1))
        self.assertEqual(('99', '1'), libvirt_child.lifecycle_words(99, 1))
        self.assertEqual(('running', '99'), libvirt_child.state_words(1, 99))

    def test_each_event_is_said_in_words(self):
        domain = mock.create_autospec(libvirt.virDomain, instance=True)
        domain.UUIDString.return_value = 'a-server'
        calls = libvirt_child._callbacks()
        for number, values, expected in (
            (
                libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                (5, 2),
                {'event': 'lifecycle', 'name': 'stopped', 'detail': 'crashed'},
            ),
            (
                libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG,
                (2,),
                {'event': 'watchdog', 'name': 'expired', 'detail': 'reset'},
            ),
            (
                libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON,
                ('/a/path', 'virtio-disk0', 1, 'enospc'),
                {
                    'event': 'ioerror',
                    'name': 'enospc',
                    'detail': 'pause',
                    'device': 'virtio-disk0',
                },
            ),
            (
                libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
                (2, 2),
                {
                    'event': 'agent',
                    'name': 'disconnected',
                    'detail': 'channel',
                },
            ),
            (
                libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE,
                (1, 2, 0),
                {
                    'event': 'memory_failure',
                    'name': 'guest',
                    'detail': 'fatal',
                },
            ),
        ):
            with (
                self.subTest(expected=expected),
                mock.patch.object(answering, 'say', autospec=True) as say,
            ):
                calls[number](None, domain, *values, None)

                said = say.call_args.args[0]
                self.assertLess(0, said.pop('at'))
                self.assertEqual({**expected, 'id': 'a-server'}, said)


@unittest.skipUnless(libvirt, 'the module libvirt is not installed')
class TestDriverTest(unittest.TestCase):
    """Questions to the libvirt that is built into its own library."""

    SERVER = '6695eb01-f6a4-8304-79aa-97f2502e193f'

    def ask(self, uri='test:///default', **request):
        connections = libvirt_child.Connections(uri)
        self.addCleanup(connections.drop)
        return libvirt_child.answer(connections, request)

    def test_stranger_is_seen_and_is_no_server(self):
        # No look: it would begin to listen, in a thread for good.
        connections = libvirt_child.Connections('test:///default')
        self.addCleanup(connections.drop)
        ((domain, state, reason),) = libvirt_child._states(
            connections.get()[0]
        )

        self.assertEqual(self.SERVER, domain.UUIDString())
        self.assertIsNone(libvirt_child.describe(domain, state, reason))
        self.assertEqual({'servers': []}, self.ask(ask='servers'))

    def test_server_that_nobody_can_read_does_not_hide_the_others(self):
        bad, good = (
            mock.create_autospec(libvirt.virDomain, instance=True)
            for _ in range(2)
        )
        bad.XMLDesc.return_value = DOMAIN.format('1.1', '\x01')
        good.XMLDesc.return_value = DOMAIN.format('1.1', '')
        good.UUIDString.return_value = 'a-server'
        good.isActive.return_value = False
        connections = mock.create_autospec(
            libvirt_child.Connections, instance=True
        )
        connections.get.return_value = mock.Mock(spec=[]), False
        with (
            mock.patch.object(
                libvirt_child,
                '_states',
                autospec=True,
                return_value=[(bad, 1, 1), (good, 1, 1)],
            ),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            answer = libvirt_child.servers(connections, {})

        self.assertEqual(
            ['a-server'], [each['id'] for each in answer['servers']]
        )

    def test_errors_of_disks(self):
        self.assertEqual(
            {'disks': {'vda': 'unspec'}},
            self.ask(ask='server', id=self.SERVER, ping=0),
        )

    def test_agent_that_cannot_be_asked_does_not_hide_the_disks(self):
        answer = self.ask(ask='server', id=self.SERVER, ping=1)

        self.assertEqual({'vda': 'unspec'}, answer['disks'])
        self.assertIn('no_ping', answer)

    def test_what_libvirt_refuses_is_an_answer(self):
        gone = self.ask(
            ask='server', id='00000000-0000-0000-0000-000000000000', ping=0
        )
        closed = self.ask(
            uri='test+unix:///default?socket=/no/such', ask='servers'
        )

        self.assertEqual(libvirt.VIR_ERR_NO_DOMAIN, gone['code'])
        self.assertTrue(closed['failed'])


def setUpModule():
    if libvirt:
        # libvirt prints every failure.
        libvirt.registerErrorHandler(lambda *_: None, None)


if __name__ == '__main__':
    unittest.main()
