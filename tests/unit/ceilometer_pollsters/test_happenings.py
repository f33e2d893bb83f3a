# SPDX-License-Identifier: Apache-2.0

"""What libvirt tells becomes an event that says what a person must know."""

import unittest

from ceilometer_pollsters import happenings

TEACHER = happenings.Teacher('cmp-1', 'the-operator')


def told(event, name='', detail='', **more):
    return {
        'event': event,
        'id': 'a-server',
        'name': name,
        'detail': detail,
        'at': 0.25,
        **more,
    }


class EventTest(unittest.TestCase):
    def test_kinds_and_who_must_look(self):
        for item, kind, urgent in (
            (told('lifecycle', 'started', 'booted'), 'lifecycle', False),
            (told('lifecycle', 'stopped', 'destroyed'), 'lifecycle', False),
            (told('lifecycle', 'stopped', 'crashed'), 'crashed', True),
            (told('lifecycle', 'stopped', 'failed'), 'crashed', True),
            (told('lifecycle', 'crashed', 'panicked'), 'crashed', True),
            (told('watchdog', 'expired', 'reset'), 'watchdog', True),
            (told('ioerror', 'enospc', 'pause'), 'ioerror', True),
            (told('agent', 'disconnected', 'channel'), 'agent', False),
            (told('memory_failure', 'guest', 'fatal'), 'memory_failure', True),
        ):
            with self.subTest(item=item):
                event = TEACHER.event(item)

                self.assertEqual(f'instance.ha.{kind}', event.event_type)
                self.assertIs(urgent, event.urgent)
                self.assertIn(
                    "Server 'a-server' on host 'cmp-1'",
                    event.payload['reason'],
                )
                self.assertIn(item['detail'], event.payload['reason'])

    def test_event_belongs_to_the_operator_and_names_the_server(self):
        payload = TEACHER.event(
            told('ioerror', 'enospc', 'pause', device='virtio-disk0'),
            happenings.Known('web', 'a-tenant'),
        ).payload

        self.assertEqual(
            {
                'tenant_id': 'the-operator',
                'instance_id': 'a-server',
                'host': 'cmp-1',
                'name': 'enospc',
                'detail': 'pause',
                'device': 'virtio-disk0',
                'missed': False,
                'reason': "Server 'a-server' on host 'cmp-1' has an I/O "
                "error: enospc; action: pause; disk 'virtio-disk0'",
                'display_name': 'web',
                'server_project_id': 'a-tenant',
                'occurred_at': '1970-01-01T00:00:00.250+00:00',
            },
            payload,
        )

    def test_disks_of_a_server_are_told_apart(self):
        keys = {
            TEACHER.event(told('ioerror', device=device)).key
            for device in ('vda', 'vdb')
        }

        self.assertEqual(2, len(keys))

    def test_starts_and_stops_of_a_server_are_one_flood(self):
        keys = {
            TEACHER.event(told('lifecycle', name)).key
            for name in ('started', 'stopped')
        }

        self.assertEqual(1, len(keys))

    def test_text_of_others_forges_no_line(self):
        event = TEACHER.event(told('ioerror', 'a\nline', device='\x1b[2J'))

        self.assertTrue(event.payload['reason'].isprintable())
        self.assertTrue(event.payload['device'].isprintable())

    def test_what_is_unknown_is_no_event(self):
        self.assertIsNone(TEACHER.event(told('tray')))


class MissedTest(unittest.TestCase):
    def found(self, before, after):
        return [
            (item['event'], item['name'], item['detail'])
            for item in happenings.missed({'a': before}, {'a': after}, 1.0)
        ]

    def test_nothing_new_is_nothing_missed(self):
        self.assertEqual(
            [], self.found(('running', 'booted'), ('running', 'booted'))
        )

    def test_what_changed_while_nobody_listened_is_told(self):
        running = ('running', 'booted')
        for after, expected in (
            (('shutoff', 'crashed'), ('lifecycle', 'stopped', 'crashed')),
            (('crashed', 'panicked'), ('lifecycle', 'crashed', 'panicked')),
            (('paused', 'ioerror'), ('ioerror', 'unknown', 'pause')),
            (('paused', 'watchdog'), ('watchdog', 'expired', 'pause')),
            (('paused', 'user'), ('lifecycle', 'suspended', 'user')),
        ):
            with self.subTest(after=after):
                self.assertEqual([expected], self.found(running, after))

    def test_missed_event_says_so(self):
        (item,) = happenings.missed(
            {'a': ('running', 'booted')}, {'a': ('shutoff', 'crashed')}, 1.0
        )
        event = TEACHER.event(item)

        self.assertEqual('instance.ha.crashed', event.event_type)
        self.assertTrue(event.payload['missed'])
        self.assertIn('found late', event.payload['reason'])

    def test_new_server_and_one_that_left_are_not_missed(self):
        running = {'a': ('running', 'booted')}

        self.assertEqual([], list(happenings.missed({}, running, 1.0)))
        self.assertEqual([], list(happenings.missed(running, {}, 1.0)))


if __name__ == '__main__':
    unittest.main()
