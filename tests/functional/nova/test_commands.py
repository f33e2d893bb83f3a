# SPDX-License-Identifier: Apache-2.0

"""The commands about evacuations against nova's API in this process."""

import contextlib
import io
import json
import pathlib
import runpy
import types
from unittest import mock

from novaclient import client as novaclient
from novaclient import exceptions as nova_exceptions
from openstack import connection
from osc_lib import exceptions

from nova_ha_plugins.api import versions
from nova_ha_plugins.client import evacuation
from nova_ha_plugins.client import evacuation_watch
from nova_ha_plugins.client import novaclient_extension
from nova_ha_plugins.client import rest
from tests.functional.nova import commands

ROOT = pathlib.Path(__file__).parents[3]
TENANT = {'user': 'fake', 'roles': 'reader,member'}
QUICK = ('--interval', '0.05')


class EvacuationCommandsTest(commands.CommandTestCase):
    def setUp(self):
        super().setUp()
        self.start_hosts('host1', 'host2')
        self.server = self.boot('host1', name='web')
        self.kill('host1')

    def run_json(self, command, *words, **who):
        code, printed = self.run_command(command, *words, '-f', 'json', **who)
        self.assertEqual(0, code)
        return json.loads(printed)

    def watch(self, *words, **others):
        return self.run_command(
            evacuation_watch.WatchEvacuation, *words, *QUICK, **others
        )

    def test_server_that_comes_back(self):
        self.check_before()
        self.evacuate(self.server)
        self.check_watch()
        item = self.check_list_and_show()
        self.check_older_api(item)
        self.check_novaclient(item)
        self.check_sdk_example()

    def check_before(self):
        code, watched = self.watch('--host', 'host1')
        self.assertEqual(0, code)
        self.assertIn("no evacuation from or to host 'host1'; the", watched)
        with self.assertRaisesRegex(exceptions.CommandError, 'never evac'):
            self.run_command(evacuation.ShowEvacuation, 'web')
        self.assertEqual([], self.run_json(evacuation.ShowSummary))
        self.assertEqual('', self.told.getvalue())
        self.run_json(evacuation.ShowSummary, '--host', 'hots1')
        self.assertIn("from host 'hots1'", self.told.getvalue())

    def check_watch(self):
        code, watched = self.watch('web', '--json')
        events = [json.loads(line) for line in watched.splitlines()]
        seen = [
            each['evacuation']
            for each in events
            if each['event'] == 'evacuation'
        ]

        self.assertEqual((0, 0), (code, events[-1]['exit_code']))
        self.assertEqual('done', events[-1]['result'])
        percents = [item['progress'] for item in seen]
        self.assertEqual(sorted(percents), percents)
        self.assertEqual(100, percents[-1])
        self.assertIsNotNone(seen[0]['explanation'])

        code, watched = self.watch('--server', 'web', **TENANT)
        self.assertEqual(0, code)
        line, last = watched.splitlines()
        self.assertIn('web  8/8 done        100%', line)
        self.assertNotIn('host', line)
        self.assertEqual('1 succeeded', last)

        terminal = commands.Terminal()
        with mock.patch.dict('os.environ', TERM='xterm'):
            self.watch('web', stdout=terminal)
        self.assertIn('━' * 12, terminal.getvalue())
        self.assertIn('100%  8/8 done', terminal.getvalue())

        code, watched = self.watch('--host', 'host1')
        self.assertEqual(0, code)
        self.assertEqual(
            'host1: 1 server  1 back  100%', watched.splitlines()[-1]
        )

    def check_list_and_show(self):
        [item] = self.run_json(
            evacuation.ListEvacuation,
            *('--host', 'host1', '--state', 'succeeded'),
            *('--changes-since', '2020-01-01T00:00:00Z', '--limit', '5'),
        )
        [owned] = self.run_json(
            evacuation.ListEvacuation, '--server', 'web', '--long', **TENANT
        )
        newest = self.run_json(evacuation.ShowEvacuation, 'web')
        by_uuid = self.run_json(evacuation.ShowEvacuation, 'web', item['UUID'])
        [host] = self.run_json(evacuation.ShowSummary, '--host', 'host1')

        self.assertEqual(
            ('succeeded', 100, 'host2'),
            (item['State'], item['Progress'], item['Destination']),
        )
        self.assertEqual(('done', None), (owned['Status'], owned['Source']))
        self.assertEqual(newest, by_uuid)
        self.assertEqual('host1', newest['source_compute'])
        self.assertEqual(
            ('host1', 1, 1, 0, 100),
            tuple(
                host[name]
                for name in (
                    'Host',
                    'Asked For',
                    'Succeeded',
                    'Failed',
                    'Progress',
                )
            ),
        )
        for refused in (
            (evacuation.ShowSummary,),
            (evacuation.ListEvacuation, '--host', 'host1'),
        ):
            with self.assertRaisesRegex(exceptions.CommandError, 'HTTP 403'):
                self.run_command(*refused, **TENANT)
        return newest

    def check_older_api(self, item):
        with mock.patch.object(versions, 'MAXIMUM', '1.1'):
            shown = self.run_json(evacuation.ShowEvacuation, 'web')
            code, watched = self.watch('--host', 'host1')
            with self.assertRaisesRegex(rest.Older, 'upgrade'):
                self.run_command(evacuation.ShowSummary)

        self.assertLess(set(shown), set(item))
        self.assertEqual(item['uuid'], shown['uuid'])
        self.assertEqual(0, code)
        self.assertIn('no evacuation', watched)

    def novaclient(self, **who):
        return novaclient.Client(
            '2.95',
            session=self.session(**who),
            extensions=[
                extension
                for extension in novaclient.discover_extensions('2.1')
                if extension.name == 'evacuations'
            ],
        )

    def check_novaclient(self, item):
        nova = self.novaclient()
        [listed] = nova.evacuations.list(host='host1', state=['succeeded'])
        [of_server] = nova.evacuations.list(item['server_uuid'])
        shown = nova.evacuations.get(item['server_uuid'], listed)
        [host] = nova.evacuations.summary(source_compute='host1')

        self.assertEqual(item, shown.to_dict())
        self.assertEqual(listed.uuid, of_server.uuid)
        self.assertEqual([], nova.evacuations.list(host='host3'))
        self.assertEqual(1, host.states['succeeded'])
        with mock.patch.object(versions, 'MAXIMUM', '1.1'):
            [older] = nova.evacuations.list(item['server_uuid'])
            self.assertFalse(hasattr(older, 'explanation'))
            with self.assertRaises(nova_exceptions.NotAcceptable):
                nova.evacuations.summary()
        with self.assertRaises(nova_exceptions.Forbidden):
            self.novaclient(**TENANT).evacuations.summary()
        for command, words in (
            (
                novaclient_extension.do_evacuation_list,
                {'server': 'web', 'host': 'host1', 'state': None},
            ),
            (
                novaclient_extension.do_evacuation_show,
                {'server': 'web', 'evacuation': None},
            ),
            (novaclient_extension.do_evacuation_summary, {'host': None}),
        ):
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                command(nova, types.SimpleNamespace(**words))
            self.assertIn('host1', printed.getvalue())
            self.assertIn('100', printed.getvalue())

    def check_sdk_example(self):
        cloud = connection.Connection(
            session=self.session(**TENANT),
            compute_endpoint_override=commands.ENDPOINT,
        )
        path = ROOT / 'doc' / 'source' / 'user' / 'follow_evacuation.py'
        with (
            mock.patch('openstack.connect', autospec=True, return_value=cloud),
            mock.patch('sys.argv', [str(path), 'web']),
            contextlib.redirect_stdout(io.StringIO()) as printed,
            self.assertRaises(SystemExit) as ended,
        ):
            runpy.run_path(str(path), run_name='__main__')

        self.assertEqual(0, ended.exception.code)
        self.assertIn('web: done 100 %', printed.getvalue())

    def test_server_that_does_not_come_back(self):
        self.kill('host2')
        self.evacuate(self.server)

        code, watched = self.watch(self.server['id'])
        [item] = self.run_json(
            evacuation.ListEvacuation, '--state', 'failed', '--long'
        )
        later, told = self.watch('--host', 'host1')

        self.assertEqual((1, 1), (code, later))
        self.assertEqual('1 failed', watched.splitlines()[-1])
        self.assertEqual('no_valid_host', item['Reason'])
        self.assertIn(item['Explanation'], watched)
        self.assertIn('1 failed', told)
        self.assertIn('evacuation list --host host1', told)
