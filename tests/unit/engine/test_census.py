# SPDX-License-Identifier: Apache-2.0

"""How many servers are protected, counted slowly."""

import unittest

from nova_ha_plugins.engine import census
from nova_ha_plugins.engine import doors
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values

EVACUATE = {'ha:policy': 'evacuate'}


def server(uuid, metadata=None, vm_state='active', host='cmp-1'):
    return views.ServerView(
        uuid, uuid, 'p', host, vm_state, None, metadata or {}
    )


class Store:
    def __init__(self, *records):
        self.records = records
        self.saved = []

    def host_records(self):
        if isinstance(self.records[0], Exception):
            raise self.records[0]
        return self.records

    def save_census(self, found):
        self.saved.append(found)


class Nova:
    def __init__(self, **servers):
        self.servers = servers
        self.asked = []

    def servers_on(self, host):
        self.asked.append(host)
        found = self.servers[host]
        if isinstance(found, Exception):
            raise found
        return found


def record(host, map_state='verified'):
    return values.HostRecord(host, map_state=map_state)


class CountTest(unittest.TestCase):
    def test_each_server_has_one_reason(self):
        found = census.count(
            [
                server('a', EVACUATE),
                server('b'),
                server('c', {'ha:policy': 'none'}),
                server('d', EVACUATE, vm_state='never-heard-of'),
            ],
            'verified',
            'none',
        )

        self.assertEqual(1, found.pop(''))
        self.assertEqual(1, found.pop('untagged'))
        self.assertEqual(1, found.pop('policy-none'))
        self.assertEqual([1], list(found.values()))

    def test_no_server_is_protected_on_a_host_that_cannot_be_fenced(self):
        found = census.count(
            [server('a', EVACUATE), server('b')], 'unreachable', 'none'
        )

        self.assertEqual({'fencing-unreachable': 1, 'untagged': 1}, found)


class CensusTest(unittest.TestCase):
    def count(self, store, nova, interval=900.0, ends_after=None):
        self.waited = []

        def wait(seconds):
            self.waited.append(seconds)
            return len(self.waited) == ends_after

        census.Census(store, nova, interval, 'none').run(wait)
        return store.saved

    def test_hosts_are_asked_one_after_the_other_in_the_interval(self):
        store = Store(record('cmp-1'), record('cmp-2'), record('cmp-3'))
        nova = Nova(
            **{'cmp-1': (server('a', EVACUATE),), 'cmp-2': (server('b'),)},
            **{'cmp-3': ()},
        )

        (found,) = self.count(store, nova)

        self.assertEqual(['cmp-1', 'cmp-2', 'cmp-3'], nova.asked)
        self.assertEqual([300.0] * 3, self.waited)
        self.assertEqual(values.Census(1, {'untagged': 1}, 3), found)

    def test_a_host_that_nova_does_not_list_leaves_the_old_count(self):
        store = Store(record('cmp-1'), record('cmp-2'))
        away = doors.Unanswered('nova is away')

        with self.assertLogs(census.LOG.logger, 'WARNING') as told:
            saved = self.count(store, Nova(**{'cmp-1': away, 'cmp-2': ()}))

        self.assertEqual([], saved)
        self.assertIn('nova is away', told.output[0])

    def test_half_a_count_is_none(self):
        store = Store(record('cmp-1'), record('cmp-2'))
        nova = Nova(**{'cmp-1': (), 'cmp-2': ()})

        self.assertEqual([], self.count(store, nova, ends_after=1))

    def test_a_store_that_is_away_is_no_end(self):
        store = Store(values.StoreError('away'))

        with self.assertLogs(census.LOG.logger, 'WARNING'):
            self.assertEqual([], self.count(store, Nova()))
        self.assertEqual([30.0], self.waited)


if __name__ == '__main__':
    unittest.main()
