# SPDX-License-Identifier: Apache-2.0
"""What aodh posts can be found by what it says."""

import pathlib
import tempfile
import unittest

from lab import plan as planning
from lab import receiver


def posted(event, host, generated):
    """Return the body of the action of an event alarm."""
    return {
        'reason_data': {
            'type': 'event',
            'event': {
                'event_type': event,
                'generated': generated,
                'traits': [['host', 1, host], ['silent_for', 3, 6.5]],
            },
        }
    }


class ReceiverTest(unittest.TestCase):
    def setUp(self):
        directory = self.enterContext(tempfile.TemporaryDirectory())
        plan = planning.make(pathlib.Path(directory), 1, 0, 'shared')
        self.receiver = receiver.Receiver(plan)

    def test_an_event_is_found_by_type_host_and_time(self):
        body = posted('compute.host.down', 'cmp-1', '2026-11-21T00:00:01.5')
        self.receiver.take(1795219202.0, body)

        (found,) = self.receiver.find(
            'compute.host.down', 1795219201.0, host='cmp-1'
        )

        self.assertEqual(1795219201.5, found.told)
        self.assertEqual(1795219202.0, found.received)
        self.assertEqual(6.5, found.traits['silent_for'])
        for event, since, host in (
            ('compute.host.up', 1795219201.0, 'cmp-1'),
            ('compute.host.down', 1795219201.5, 'cmp-1'),
            ('compute.host.down', 1795219201.0, 'cmp-2'),
        ):
            self.assertEqual(
                [], list(self.receiver.find(event, since, host=host))
            )
