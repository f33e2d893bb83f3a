# SPDX-License-Identifier: Apache-2.0

"""Tests of the Redfish driver against a real emulator and a lying device."""

import logging
import os
import socket
import struct
import tempfile
import threading
import time

import fixtures
import testtools

from nova_ha_plugins.engine import doors
from nova_ha_plugins.fencing import base
from nova_ha_plugins.fencing import redfish
from nova_ha_plugins.recovery import incident
from tests.unit.fencing import servers
from tests.unit.fencing import suite


class EmulatorTest(suite.DriverSuite, testtools.TestCase):
    """The common suite against sushy-tools."""

    driver_class = redfish.RedfishDriver

    def setUp(self):
        super().setUp()
        self.bench = servers.Emulator()
        self.addCleanup(self.bench.close)

    def test_host_on_its_way_off_still_reads_as_on(self):
        driver = self.make_driver()

        driver.power_off()

        self.assertEqual(incident.Power.ON, driver.read().power)
        self.bench.settle()
        self.assertEqual(incident.Power.OFF, driver.read().power)

    def test_system_that_is_not_there_is_refused(self):
        driver = self.make_driver(system='/redfish/v1/Systems/nobody')

        error = self.assertRaises(doors.Refused, driver.read)

        self.assertEqual(404, error.status)


class LyingTest(suite.DriverSuite, testtools.TestCase):
    """The common suite, and every way to misbehave that we know."""

    driver_class = redfish.RedfishDriver

    def setUp(self):
        super().setUp()
        self.bench = servers.LyingBmc()
        self.addCleanup(self.bench.close)
        descriptor, self.password_file = tempfile.mkstemp()
        self.addCleanup(os.unlink, self.password_file)
        with os.fdopen(descriptor, 'w') as target:
            target.write(servers.PASSWORD + '\n')

    def credentials(self, auth):
        self.bench.auth = auth
        return {
            'username': servers.USER,
            'password_file': self.password_file,
            'auth': auth,
        }

    def test_accepted_power_off_that_does_nothing_still_reads_as_on(self):
        self.bench.obeys = False
        driver = self.make_driver()

        driver.power_off()

        self.assertEqual(['ForceOff'], self.bench.resets)
        self.assertEqual(incident.Power.ON, driver.read().power)

    def test_only_off_is_off(self):
        driver = self.make_driver()
        for state, power in (
            ('PoweringOff', incident.Power.CHANGING),
            ('PoweringOn', incident.Power.CHANGING),
            ('Paused', incident.Power.UNKNOWN),
            ('off', incident.Power.UNKNOWN),
            ('OFF ', incident.Power.UNKNOWN),
            (['Off'], incident.Power.UNKNOWN),
            ({'Off': 1}, incident.Power.UNKNOWN),
        ):
            self.bench.state = state

            reading = driver.read()

            self.assertEqual(power, reading.power, state)
            self.assertIn('PowerState', reading.raw)

    def test_device_without_power_state_is_unknown(self):
        self.bench.faults['read'] = lambda handler: (
            handler.answer(200, {'UUID': self.bench.uuid}) or True
        )

        reading = self.make_driver().read()

        self.assertEqual(incident.Power.UNKNOWN, reading.power)

    def test_already_off_is_success_only_when_a_reading_says_off(self):
        for status in (400, 409):
            self.bench.faults['reset'] = lambda handler, status=status: (
                handler.error(status, 'already off') or True
            )
            self.bench.on = False
            self.make_driver().power_off()

            self.bench.on = True
            error = self.assertRaises(
                doors.Refused, self.make_driver().power_off
            )
            self.assertEqual(status, error.status)
            self.assertIn('already off', str(error))

    def test_already_off_while_powering_off_is_refused(self):
        self.bench.faults['reset'] = lambda handler: (
            handler.error(409, 'in transition') or True
        )
        self.bench.state = 'PoweringOff'

        self.assertRaises(doors.Refused, self.make_driver().power_off)

    def test_server_error_is_no_answer_and_is_not_repeated(self):
        self.bench.faults['reset'] = lambda handler: (
            handler.error(500, 'SYS518 try later') or True
        )
        driver = self.make_driver()

        self.assertRaises(doors.Unanswered, driver.power_off)

        posts = [path for verb, path in self.bench.log if verb == 'POST']
        self.assertEqual(1, len(posts))

    def test_reading_that_fails_is_not_repeated(self):
        self.bench.faults['read'] = lambda handler: (
            handler.error(503, 'busy') or True
        )

        error = self.assertRaises(doors.Unanswered, self.make_driver().read)

        self.assertEqual(1, self.bench.calls())
        self.assertIn('503', str(error))

    def test_device_that_hangs_ends_with_the_call_timeout(self):
        self.bench.faults['read'] = lambda handler: self.bench.stopping.wait(
            20
        )
        driver = self.make_driver(timeout=0.3)
        began = time.monotonic()

        error = self.assertRaises(doors.Unanswered, driver.read)

        self.assertLess(time.monotonic() - began, 2.0)
        self.assertEqual(1, self.bench.calls())
        self.assertEqual(
            f"Device '{driver.device}' did not read the power of host "
            f"'{driver.host}': it gave no answer in time",
            str(error),
        )

    def test_device_that_is_not_there_is_said_in_few_words(self):
        with socket.socket() as unused:
            unused.bind(('127.0.0.1', 0))
            driver = redfish.RedfishDriver(
                'cmp-1',
                {
                    'address': f'http://127.0.0.1:{unused.getsockname()[1]}',
                    'system': '/redfish/v1/Systems/1',
                },
                2.0,
            )
            error = self.assertRaises(doors.Unanswered, driver.read)

        self.assertEqual(
            f"Device '{driver.device}' did not read the power of host "
            "'cmp-1': Connection refused",
            str(error),
        )

    def test_device_that_dribbles_ends_with_the_call_timeout(self):
        def dribble(handler):
            handler.send_response(200)
            handler.send_header('Content-Length', '1000')
            handler.end_headers()
            while not self.bench.stopping.wait(0.05):
                handler.wfile.write(b' ')
                handler.wfile.flush()
            return True

        self.bench.faults['read'] = dribble
        driver = self.make_driver(timeout=0.3)
        began = time.monotonic()

        self.assertRaises(doors.Unanswered, driver.read)

        self.assertLess(time.monotonic() - began, 2.0)

    def test_slow_device_is_not_told_to_power_off_after_the_deadline(self):
        """A caller that has given up must not be overtaken by its call."""
        self.bench.faults['read'] = lambda handler: self.bench.stopping.wait(
            0.4
        )
        driver = self.make_driver(timeout=0.2)

        self.assertRaises(doors.Unanswered, driver.power_off)
        # The device answers the reading after all; nothing follows.
        again = self.make_driver(timeout=5.0)
        again.read()

        self.assertEqual([], self.bench.resets)
        self.assertTrue(self.bench.on)

    def test_reset_connection_is_no_answer(self):
        def reset(handler):
            handler.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)
            )
            handler.connection.close()
            handler.wfile = open(os.devnull, 'wb')
            self.addCleanup(handler.wfile.close)
            return True

        self.bench.faults['reset'] = reset

        self.assertRaises(doors.Unanswered, self.make_driver().power_off)

    def test_garbage_is_no_answer(self):
        driver = self.make_driver()
        for body in (
            b'<html>login</html>',
            b'[1, 2]',
            b'"Off"',
            b'null',
            b'{"PowerState": "Off"',
            b'\xff\xfe',
            b'',
        ):
            self.bench.faults['read'] = lambda handler, body=body: (
                handler.answer(200, raw=body) or True
            )

            self.assertRaises(doors.Unanswered, driver.read)
            self.assertRaises(doors.Unanswered, driver.power_off)

        self.assertEqual([], self.bench.resets)

    def test_endless_answer_is_no_answer(self):
        self.bench.faults['read'] = lambda handler: (
            handler.answer(200, raw=b' ' * (5 * 1024 * 1024)) or True
        )

        error = self.assertRaises(doors.Unanswered, self.make_driver().read)

        self.assertIn('too long', str(error))

    def test_device_without_force_off_is_refused(self):
        self.bench.allowable = ['On', 'GracefulShutdown']

        error = self.assertRaises(doors.Refused, self.make_driver().power_off)

        self.assertIn("does not offer 'ForceOff'", str(error))
        self.assertEqual([], self.bench.resets)

    def test_reset_on_another_machine_is_refused(self):
        self.bench.faults['read'] = lambda handler: (
            handler.answer(
                200,
                {
                    'PowerState': 'On',
                    'Actions': {
                        '#ComputerSystem.Reset': {
                            'target': '//127.0.0.2/redfish/v1/Systems/2/Reset'
                        }
                    },
                },
            )
            or True
        )

        self.assertRaises(doors.Refused, self.make_driver().power_off)

    def test_redirect_to_another_address_is_not_followed(self):
        other = servers.LyingBmc()
        self.addCleanup(other.close)
        other.on = False
        elsewhere = other.options()
        self.bench.faults['read'] = lambda handler: (
            handler.answer(
                307,
                headers=[
                    ('Location', elsewhere['address'] + elsewhere['system'])
                ],
            )
            or True
        )

        error = self.assertRaises(doors.Unanswered, self.make_driver().read)

        self.assertIn('redirects to another address', str(error))
        self.assertEqual([], other.log)

    def test_redirect_on_the_same_device_is_followed(self):
        def once(handler):
            del self.bench.faults['read']
            handler.answer(308, headers=[('Location', handler.path)])
            return True

        self.bench.faults['read'] = once

        self.assertEqual(incident.Power.ON, self.make_driver().read().power)

    def test_hostile_words_of_a_device_are_one_short_line(self):
        self.bench.allowable = ['\x1b[2J\n'] * 9000
        refused = self.assertRaises(
            doors.Refused, self.make_driver().power_off
        )
        self.bench.faults['read'] = lambda handler: (
            handler.error(404, 'a\n\x1b[2J' + 'b' * 9000) or True
        )
        absent = self.assertRaises(doors.Refused, self.make_driver().read)
        del self.bench.faults['read']
        self.bench.uuid = 'x\n\x1b[2J' + 'y' * 9000
        mismatch = self.assertRaises(
            doors.Refused, self.make_driver().power_off, 'host-uuid'
        )

        for error in (refused, absent, mismatch):
            self.assertTrue(str(error).isprintable(), str(error)[:99])
            self.assertLess(len(str(error)), 1000)

    def test_swapped_bytes_are_named_and_not_taken_as_equal(self):
        swapped = '44454c4c-4200-1035-8052-b7c04f4e3232'

        error = self.assertRaises(
            doors.Refused, self.make_driver().power_off, swapped
        )

        self.assertIn('bytes of its first three fields swapped', str(error))
        self.assertTrue(self.bench.on)

    def test_basic_authentication(self):
        driver = self.make_driver(**self.credentials('basic'))

        driver.power_off()

        self.assertFalse(self.bench.on)

    def test_session_authentication_leaves_no_session_behind(self):
        driver = self.make_driver(**self.credentials('session'))

        driver.power_off()
        reading = driver.read()

        self.assertEqual(incident.Power.OFF, reading.power)
        self.assertEqual(set(), self.bench.sessions)
        logins = [
            path
            for verb, path in self.bench.log
            if verb == 'POST' and 'Sessions' in path
        ]
        self.assertEqual(2, len(logins))

    def test_session_that_cannot_be_closed_does_not_hide_the_reading(self):
        self.bench.faults['logout'] = lambda handler: (
            handler.error(500, 'no') or True
        )
        driver = self.make_driver(**self.credentials('session'))

        self.assertEqual(incident.Power.ON, driver.read().power)

    def test_wrong_password_is_refused_and_shown_nowhere(self):
        for auth in ('basic', 'session'):
            options = self.credentials(auth)
            with open(self.password_file, 'w') as target:
                target.write('hunter2-wrong')
            records = Records(self)
            driver = self.make_driver(**options)

            error = self.assertRaises(doors.Refused, driver.power_off)

            self.assertEqual(401, error.status)
            for text in (str(error), repr(error.__cause__), *records.lines):
                self.assertNotIn('hunter2', text)
            self.assertTrue(self.bench.on)

    def test_right_password_is_shown_nowhere(self):
        for auth in ('basic', 'session'):
            records = Records(self)

            self.make_driver(**self.credentials(auth)).read()

            self.assertNotEqual([], records.lines)
            for line in records.lines:
                self.assertNotIn(servers.PASSWORD, line)

    def test_password_is_read_at_each_use(self):
        options = self.credentials('basic')
        with open(self.password_file, 'w') as target:
            target.write('old')
        driver = self.make_driver(**options)
        self.assertRaises(doors.Refused, driver.read)
        with open(self.password_file, 'w') as target:
            target.write(servers.PASSWORD)

        self.assertEqual(incident.Power.ON, driver.read().power)

    def test_missing_password_file_asks_nothing(self):
        options = self.credentials('basic')
        options['password_file'] = '/nonexistent/secret'

        error = self.assertRaises(
            doors.Refused, self.make_driver(**options).read
        )

        self.assertIn("'/nonexistent/secret'", str(error))
        self.assertEqual(0, self.bench.calls())

    def test_calls_from_several_threads_do_not_disturb_each_other(self):
        driver = self.make_driver(**self.credentials('session'))
        found = []

        threads = [
            threading.Thread(target=lambda: found.append(driver.read().power))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual([incident.Power.ON] * 4, found)


class Records(logging.Handler):
    """Everything that is logged by anybody, as text."""

    def __init__(self, case):
        super().__init__(logging.DEBUG)
        self.lines = []
        root = logging.getLogger()
        level = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        case.addCleanup(root.setLevel, level)
        case.addCleanup(root.removeHandler, self)

    def emit(self, record):
        self.lines.append(record.getMessage())


class OptionsTest(testtools.TestCase):
    """What the driver says of options that are wrong."""

    def wrong(self, **changes):
        options = {'address': 'https://bmc', 'system': '/redfish/v1/Systems/1'}
        options.update(changes)
        return self.assertRaises(
            base.OptionError, redfish.RedfishDriver, 'cmp-1', options, 1.0
        )

    def test_each_wrong_option_is_named(self):
        for key, value in (
            ('address', 'bmc'),
            ('address', 'ftp://bmc'),
            ('address', 'https://bmc/redfish/v1'),
            ('address', 'https://bmc:99999'),
            ('address', None),
            ('system', 'redfish/v1/Systems/1'),
            ('system', None),
            ('verify', 'false'),
            ('verify', 0),
            ('auth', 'digest'),
            ('username', 5),
        ):
            self.assertEqual(key, self.wrong(**{key: value}).key)

    def test_user_without_password_is_named(self):
        self.assertEqual('password_file', self.wrong(username='a').key)
        self.assertEqual('username', self.wrong(password_file='/a').key)

    def test_secrets_in_the_wrong_place_are_not_repeated(self):
        error = self.wrong(address='https://root:calvin@bmc/x')
        self.assertNotIn('calvin', str(error))

        error = self.wrong(password='calvin')
        self.assertNotIn('calvin', str(error))
        self.assertIn('password_file', str(error))

    def test_password_without_encryption_is_pointed_out(self):
        log = self.useFixture(fixtures.FakeLogger())
        options = {
            'system': '/redfish/v1/Systems/1',
            'username': 'a',
            'password_file': '/a',
        }

        redfish.RedfishDriver(
            'cmp-1', {**options, 'address': 'https://bmc'}, 1.0
        )
        self.assertEqual('', log.output)
        redfish.RedfishDriver(
            'cmp-1', {**options, 'address': 'http://bmc'}, 1.0
        )
        self.assertIn("'cmp-1' gets its password unencrypted", log.output)

    def test_one_device_has_one_name(self):
        names = {
            redfish.RedfishDriver(
                'cmp-1', {'address': address, 'system': system}, 1.0
            ).device
            for address, system in (
                ('https://BMC', '/redfish/v1/Systems/1'),
                ('https://bmc:443/', '/redfish/v1/Systems/1/'),
            )
        }

        self.assertEqual({'https://bmc/redfish/v1/Systems/1'}, names)
