# SPDX-License-Identifier: Apache-2.0

"""Servers are asked so that a hung QEMU harms neither others nor libvirtd."""

import unittest
from unittest import mock

from oslo_config import cfg

from ceilometer_pollsters import children
from ceilometer_pollsters import probes
from ceilometer_pollsters import servers
from nova_ha_plugins.conf import nova_ha_libvirt


def told(name, monitor='ok', seconds=0.0, active=True, **more):
    item = {
        'id': name,
        'state': 1,
        'reason': 1,
        'state_word': 'running',
        'reason_word': 'booted',
        'project_id': 'a-project',
        'user_id': 'a-user',
        'display_name': f'server {name}',
        'flavor_id': '42',
        'flavor_name': 'm1',
        'active': active,
        **more,
    }
    if active:
        item['monitor'] = [monitor, seconds]
        item.setdefault('agent', True)
    return item


class Host:
    """Libvirt with some servers, behind a child that never was.

    :ivar hung: servers whose QEMU does not answer.
    :ivar asked: whose QEMU was asked, in order.
    """

    def __init__(self, test, **options):
        self.servers = []
        self.hung = set()
        self.asked = []
        self.fails = {}
        self.now = 100.0
        self.cost = 0.0
        self.forbidden = False
        conf = cfg.ConfigOpts()
        nova_ha_libvirt.register_opts(conf)
        for name, value in options.items():
            conf.set_override(name, value, 'nova_ha_libvirt')
        child = self.child = mock.create_autospec(
            children.Child, instance=True, starting=0.0
        )
        child.ask.side_effect = self._ask
        with mock.patch.object(
            children, 'Child', autospec=True, return_value=child
        ):
            self.ours = servers.Servers(
                'qemu:///system', 'cmp-1', conf.nova_ha_libvirt
            )
        self.ours.clock = lambda: self.now

    def _ask(self, request, deadline=None):
        if request['ask'] in self.fails:
            failure = self.fails[request['ask']]
            if isinstance(failure, Exception):
                raise failure
            return failure
        if request['ask'] == 'servers':
            return {'servers': list(self.servers)}
        name = request['id']
        self.asked.append(name)
        self.now += self.cost
        if name in self.hung:
            self.now += deadline
            raise children.Late('late')
        answer = {'disks': {}}
        if request['ping'] and self.forbidden:
            answer['no_ping'] = 'access denied'
        elif request['ping']:
            answer['ping'] = True
        return answer

    def look(self):
        self.asked.clear()
        return {one.id: one for one in self.ours.look({})}


class ServersTest(unittest.TestCase):
    def test_servers_are_known_with_what_their_qemu_says(self):
        host = Host(self)
        host.servers = [told('a')]

        (server,) = host.look().values()

        self.assertEqual(
            ('a', 'running', {}),
            (
                server.id,
                server.state_word,
                server.disks,
            ),
        )
        self.assertEqual(0.0, server.stuck)
        self.assertIsNone(server.ping)
        self.assertEqual('server a', host.ours.known('a').display_name)
        self.assertEqual('', host.ours.known('b').display_name)

    def test_meters_of_one_cycle_share_one_look(self):
        host = Host(self)
        host.servers = [told('a')]
        cache = {}
        host.ours.look(cache)

        host.ours.look(cache)

        self.assertEqual(['a'], host.asked)

    def test_agent_is_pinged_only_if_that_is_wanted_and_it_is_there(self):
        host = Host(self, agent_ping=True)
        host.servers = [told('a'), told('b', agent=False), told('c')]

        found = host.look()

        self.assertEqual(
            [True, None, True], [found[name].ping for name in 'abc']
        )

    def test_want_of_rights_to_ping_is_said_once_and_hides_no_disk(self):
        host = Host(self, agent_ping=True)
        host.servers = [told('a'), told('b')]
        host.forbidden = True

        with self.assertLogs(servers.LOG.logger, 'WARNING') as logs:
            host.look()
            found = host.look()

        self.assertEqual(1, len(logs.output))
        self.assertIn('access denied', logs.output[0])
        self.assertEqual([{}, {}], [found[name].disks for name in 'ab'])
        self.assertIsNone(found['a'].ping)

    def test_server_that_is_off_is_not_asked(self):
        host = Host(self)
        host.servers = [told('a', active=False)]

        (server,) = host.look().values()

        self.assertEqual([], host.asked)
        self.assertIsNone(server.stuck)
        self.assertIsNone(server.disks)

    def test_hung_qemu_does_not_hide_the_others(self):
        host = Host(self)
        host.servers = [told('a'), told('b'), told('c')]
        host.hung = {'b'}

        with self.assertLogs(servers.LOG.logger, 'ERROR') as logs:
            found = host.look()

        self.assertEqual([{}, None, {}], [found[n].disks for n in 'abc'])
        self.assertEqual(2.0, found['b'].stuck)
        self.assertIn("Server 'b' on host 'cmp-1'", logs.output[0])

    def test_hung_qemu_is_not_asked_again_before_its_monitor_is_free(self):
        host = Host(self)
        host.servers = [told('a')]
        host.hung = {'a'}
        with self.assertLogs(servers.LOG.logger, 'ERROR'):
            host.look()
        host.now += 60
        host.servers = [told('a', 'occupied', 62.0)]

        self.assertEqual(62.0, host.look()['a'].stuck)
        self.assertEqual([], host.asked)

        host.hung, host.servers = set(), [told('a')]
        self.assertEqual(0.0, host.look()['a'].stuck)
        self.assertEqual(['a'], host.asked)

    def test_many_hung_qemus_do_not_take_the_threads_of_libvirtd(self):
        host = Host(self, servers_deadline=1000.0)
        host.servers = [told(name) for name in 'abcdefgh']
        host.hung = set('abcdefgh')

        with self.assertLogs(servers.LOG.logger, 'ERROR'):
            host.look()
            asked = list(host.asked)
            host.servers = [
                told(name, 'occupied' if name in asked else 'ok')
                for name in 'abcdefgh'
            ]
            host.look()

        self.assertEqual(servers.MOST_SILENT, len(asked))
        self.assertEqual([], host.asked)

    def test_migration_is_not_stuck_and_is_left_alone(self):
        host = Host(self)
        host.servers = [told('a', 'job', 3600.0)]

        self.assertEqual(0.0, host.look()['a'].stuck)
        self.assertEqual([], host.asked)

    def test_broken_monitor_is_stuck_since_it_was_first_seen(self):
        host = Host(self)
        host.servers = [told('a', 'error')]
        host.look()
        host.now += 60

        self.assertEqual(60.0, host.look()['a'].stuck)

    def test_who_was_not_asked_in_time_comes_first_in_the_next_cycle(self):
        host = Host(self, servers_deadline=10.0)
        host.cost = 3.0
        host.servers = [told(name) for name in 'abcde']

        host.look()
        first = list(host.asked)
        host.look()

        self.assertEqual(['a', 'b', 'c'], first)
        self.assertEqual(['d', 'e'], host.asked[:2])

    def test_libvirt_that_gives_no_answer_is_nothing_known(self):
        for failure, text in (
            (children.Late('too late'), 'too late'),
            (children.Stuck('stuck'), 'stuck'),
            (children.Broken('broken'), 'broken'),
            ({'failed': 'no\nsocket'}, 'libvirt says: no socket'),
        ):
            with self.subTest(text):
                host = Host(self)
                host.fails['servers'] = failure

                with self.assertRaisesRegex(probes.Absent, text):
                    host.ours.look({})

    def test_failure_of_one_server_is_said_once(self):
        host = Host(self)
        host.servers = [told('a')]
        host.fails['server'] = {'failed': 'not today'}

        with self.assertLogs(servers.LOG.logger, 'WARNING') as logs:
            host.look()
            found = host.look()

        self.assertEqual(1, len(logs.output))
        self.assertIn('not today', logs.output[0])
        self.assertIsNone(found['a'].disks)

    def test_process_that_dies_of_each_server_is_not_started_for_all(self):
        host = Host(self)
        host.servers = [told(str(number)) for number in range(100)]
        host.fails['server'] = children.Broken('ended with 1')

        with self.assertLogs(servers.LOG.logger, 'WARNING') as logs:
            host.look()
            host.look()

        asked = [call.args[0] for call in host.child.ask.mock_calls]
        names = [each['id'] for each in asked if each['ask'] == 'server']
        # Others in each cycle, so that one that kills hides nobody for long.
        self.assertEqual([str(number) for number in range(6)], names)
        self.assertEqual(6, len(logs.output))

    def test_server_after_a_hung_one_waits_for_the_new_process(self):
        host = Host(self)
        host.servers = [told('a')]
        host.child.starting = 3.0

        host.look()

        self.assertEqual(5.0, host.child.ask.call_args.args[1])

    def test_what_is_kept_of_a_server_leaves_with_it(self):
        host = Host(self)
        host.servers = [told('a', 'error'), told('b')]
        host.look()
        host.servers = []

        host.look()

        for kept in ('_silent', '_asked', '_said', '_known'):
            self.assertEqual({}, getattr(host.ours, kept), kept)


class UriTest(unittest.TestCase):
    def conf(self, ours='', ceilometers=None):
        conf = cfg.ConfigOpts()
        nova_ha_libvirt.register_opts(conf)
        conf.set_override('uri', ours, 'nova_ha_libvirt')
        if ceilometers is not None:
            conf.register_opt(cfg.StrOpt('libvirt_uri', default=ceilometers))
        return conf

    def test_our_own_uri_counts_then_that_of_ceilometer_then_qemu(self):
        for conf, expected in (
            (self.conf('ours', 'theirs'), 'ours'),
            (self.conf('', 'theirs'), 'theirs'),
            (self.conf('', ''), 'qemu:///system'),
            (self.conf(''), 'qemu:///system'),
        ):
            self.assertEqual(expected, servers.uri(conf))


if __name__ == '__main__':
    unittest.main()
