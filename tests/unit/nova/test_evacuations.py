# SPDX-License-Identifier: Apache-2.0

"""Tests of the door to our own resource against a nova on the loopback."""

import unittest
import urllib.parse

from nova_ha_plugins.engine import doors
from nova_ha_plugins.nova import evacuations
from tests.unit.nova import servers

LIST = 'GET /compute/v2.1/os-evacuations'


def an_item(uuid='mig-1', **fields):
    return {
        'uuid': uuid,
        'server_uuid': f'vm-of-{uuid}',
        'status': 'pre-migrating',
        'state': 'running',
        'phase': 'spawning',
        'created_at': '1970-01-01T00:01:00.500000',
        'updated_at': '1970-01-01T01:01:00+01:00',
        'source_compute': 'cmp-1',
        'dest_compute': None,
        'progress': 62,
        'a_newer_field': 'x',
        **fields,
    }


class DoorTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.cloud = servers.FakeCloud()
        self.addCleanup(self.cloud.close)
        self.door = evacuations.EvacuationsDoor(self.cloud.conf())
        self.asked = []
        self.items = []
        self.cloud.faults[LIST] = self._answer

    def _answer(self, handler):
        """Two items on a page, as nova does it."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path)[3])
        self.asked.append(query)
        uuids = [item['uuid'] for item in self.items]
        marker = query.get('marker')
        start = uuids.index(marker[0]) + 1 if marker else 0
        document = {'evacuations': self.items[start : start + 2]}
        if start + 2 < len(uuids):
            document['evacuations_links'] = [{'rel': 'next', 'href': 'x'}]
        handler.answer(200, document)
        return True

    def fail(self, status, message='no'):
        def answer(handler):
            handler.nova_error(status, message)
            return True

        self.cloud.faults[LIST] = answer

    def test_evacuation_is_read_with_its_times(self):
        self.items = [an_item()]

        (found,) = self.door.open()

        self.assertEqual(
            ('mig-1', 'cmp-1', None, 62, 60.5, 60.0, 'unknown'),
            (
                found.uuid,
                found.source_compute,
                found.dest_compute,
                found.progress,
                found.created_at,
                found.updated_at,
                found.storage,
            ),
        )

    def test_every_page_is_read(self):
        self.items = [an_item(f'mig-{number}') for number in range(5)]

        found = self.door.open()

        self.assertEqual(
            [f'mig-{number}' for number in range(5)],
            [one.uuid for one in found],
        )
        self.assertEqual(
            [None, ['mig-1'], ['mig-3']],
            [query.get('marker') for query in self.asked],
        )

    def test_open_ones_are_asked_for_by_novas_words_in_our_version(self):
        self.door.open()

        self.assertEqual(
            [{'status': ['accepted', 'pre-migrating']}], self.asked
        )
        (call,) = self.cloud.calls(LIST)
        self.assertEqual('instance-ha 1.2', call['microversion'])

    def test_changes_are_asked_for_since_a_time(self):
        self.door.changed_since(61.9)

        self.assertEqual(
            [{'changes-since': ['1970-01-01T00:01:01Z']}], self.asked
        )

    def test_nova_api_without_the_resource_or_version_refuses(self):
        for status in (404, 406):
            with self.subTest(status=status):
                self.fail(status)

                with self.assertRaises(doors.Refused) as caught:
                    self.door.check()
                self.assertEqual(status, caught.exception.status)

    def test_answer_that_is_not_one_is_no_answer(self):
        for items, expected in (
            ({}, 'a list of objects'),
            ([an_item(uuid=None)], "'uuid' as str"),
            ([an_item(created_at='soon')], 'a time'),
        ):
            with self.subTest(expected):

                def answer(handler, items=items):
                    handler.answer(200, {'evacuations': items})
                    return True

                self.cloud.faults[LIST] = answer
                with self.assertRaisesRegex(doors.Unanswered, expected):
                    self.door.open()

    def test_list_that_does_not_end_is_no_answer(self):
        def answer(handler):
            handler.answer(
                200, {'evacuations': [an_item()], 'evacuations_links': ['x']}
            )
            return True

        self.cloud.faults[LIST] = answer
        with self.assertRaisesRegex(doors.Unanswered, 'a list that ends'):
            self.door.open()

    def test_server_that_is_not_there_is_refused(self):
        with self.assertRaises(doors.Refused) as caught:
            self.door.of_server('vm-1')

        self.assertEqual(404, caught.exception.status)
        self.assertTrue(
            self.cloud.calls('GET /compute/v2.1/servers/vm-1/evacuations')
        )
