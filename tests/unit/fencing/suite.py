# SPDX-License-Identifier: Apache-2.0

"""What every fencing driver has to do, whatever device is behind it.

A test case mixes ``DriverSuite`` in and gives it a bench: a device that can
be set and looked at behind the driver's back.
"""

import socket
import typing

from nova_ha_plugins.engine import doors
from nova_ha_plugins.fencing import base
from nova_ha_plugins.recovery import incident

OTHER_UUID = '99999999-8888-4777-8666-555555555555'


class Bench(typing.Protocol):
    """A device with one system, seen from behind."""

    uuid: str

    def set_power(self, on: bool) -> None:
        """Make the system be on or off, at once."""

    def is_on(self) -> bool:
        """Tell the truth about the system."""

    def settle(self) -> None:
        """Let what is on its way arrive."""

    def options(self) -> dict[str, typing.Any]:
        """The options of a driver for this device."""

    def calls(self) -> int:
        """How many requests the device has seen."""


class DriverSuite:
    """Mixed into a test case that has ``bench`` and ``driver_class``."""

    bench: Bench
    driver_class: type[base.FencingDriver]

    def make_driver(self, timeout=5.0, **changes) -> base.FencingDriver:
        options = {**self.bench.options(), **changes}
        return self.driver_class('cmp-1', options, timeout)

    def test_host_that_is_on_reads_as_on(self):
        self.bench.set_power(True)

        reading = self.make_driver().read()

        self.assertEqual(incident.Power.ON, reading.power)

    def test_host_that_is_off_reads_as_off(self):
        self.bench.set_power(False)

        reading = self.make_driver().read()

        self.assertEqual(incident.Power.OFF, reading.power)

    def test_reading_carries_the_identity_in_one_spelling(self):
        reading = self.make_driver().read()

        self.assertEqual(self.bench.uuid.lower(), reading.system_uuid)

    def test_power_off_switches_the_host_off(self):
        self.bench.set_power(True)
        driver = self.make_driver()

        driver.power_off()
        self.bench.settle()

        self.assertFalse(self.bench.is_on())
        self.assertEqual(incident.Power.OFF, driver.read().power)

    def test_host_never_reads_as_off_while_it_is_on(self):
        self.bench.set_power(True)
        driver = self.make_driver()

        driver.power_off()
        reading = driver.read()

        if self.bench.is_on():
            self.assertNotEqual(incident.Power.OFF, reading.power)

    def test_power_off_of_a_host_that_is_off_succeeds(self):
        self.bench.set_power(False)
        driver = self.make_driver()

        driver.power_off()
        self.bench.settle()

        self.assertEqual(incident.Power.OFF, driver.read().power)

    def test_reading_changes_nothing(self):
        self.bench.set_power(True)

        self.make_driver().read()
        self.bench.settle()

        self.assertTrue(self.bench.is_on())

    def test_device_of_the_right_system_is_switched_off(self):
        self.bench.set_power(True)

        self.make_driver().power_off(self.bench.uuid.upper())
        self.bench.settle()

        self.assertFalse(self.bench.is_on())

    def test_device_of_another_system_is_left_alone(self):
        self.bench.set_power(True)
        driver = self.make_driver()

        error = self.assertRaises(doors.Refused, driver.power_off, OTHER_UUID)
        self.bench.settle()

        self.assertTrue(self.bench.is_on())
        self.assertIn("host 'cmp-1'", str(error))
        self.assertIn(OTHER_UUID, str(error))
        self.assertIn(self.bench.uuid.lower(), str(error))

    def test_device_that_is_away_did_not_answer(self):
        with socket.create_server(('127.0.0.1', 0)) as server:
            port = server.getsockname()[1]
        driver = self.make_driver(address=f'http://127.0.0.1:{port}')

        for call in (driver.read, driver.power_off):
            error = self.assertRaises(doors.Unanswered, call)
            self.assertIn("host 'cmp-1'", str(error))

    def test_making_a_driver_contacts_nothing(self):
        self.make_driver()

        self.assertEqual(0, self.bench.calls())

    def test_unknown_option_is_refused_by_name(self):
        error = self.assertRaises(
            base.OptionError, self.make_driver, adress='x'
        )

        self.assertEqual('adress', error.key)
