# SPDX-License-Identifier: Apache-2.0

"""What an engine makes of heartbeats that it did not look at in time."""

import unittest

from nova_ha_plugins.engine import loop
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import views
from tests.scenarios import simulation

DOWN = detector.Liveness.DOWN


class EyesTest(unittest.TestCase):
    """Ten hosts, a look per second, a timeout of six seconds."""

    def setUp(self):
        self.eyes = loop.Eyes(0.0, simulation.settings())
        self.sequence = 0
        for at in range(20):
            self.look(float(at))

    def look(self, at, **ages):
        # Who is silent is known by its last heartbeat.
        self.sequence += 1
        return self.eyes.look(
            tuple(
                views.Beat(
                    f'h{number}',
                    '',
                    'boot',
                    20 if f'h{number}' in ages else self.sequence,
                    '',
                    ages.get(f'h{number}', 0.5),
                )
                for number in range(10)
            ),
            at,
        )

    def down(self, look):
        return [host.host for host in look.hosts if host.verdict == DOWN]

    def test_a_stall_of_the_pipe_that_was_slept_through_kills_nobody(self):
        """Most reporters are back already, four still pause."""
        behind = dict.fromkeys(('h1', 'h2', 'h3', 'h4'), 20.0)
        found = [self.look(at + 41.0, **behind) for at in range(3)]

        self.assertEqual([[], [], []], [self.down(look) for look in found])
        self.assertEqual(detector.Sight.BLIND, found[0].sight)
        self.assertIn('did not look for 22.0s', found[0].reason)

    def test_who_really_died_is_found_after_it(self):
        found = [self.look(at + 41.0, h1=20.0 + at) for at in range(40)]

        self.assertEqual(['h1'], self.down(found[-1]))

    def test_a_round_that_is_a_little_late_holds_up_nobody(self):
        self.assertEqual(['h1'], self.down(self.look(29.0, h1=9.0)))


if __name__ == '__main__':
    unittest.main()
