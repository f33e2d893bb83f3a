# SPDX-License-Identifier: Apache-2.0

"""The commands about evacuations against nova's API in this process."""

import json

from novaclient import client as novaclient
from osc_lib import exceptions

from nova_ha_plugins.client import evacuation
from nova_ha_plugins.client import evacuation_watch
from tests.functional.nova import commands


class EvacuationCommandsTest(commands.CommandTestCase):
    def setUp(self):
        super().setUp()
        self.start_hosts('host1', 'host2')
        self.server = self.boot('host1', name='web')
        self.kill('host1')

    def test_list_show_and_watch_tell_of_the_evacuation(self):
        code, printed = self.run_command(
            evacuation_watch.WatchEvacuation, '--host', 'host1'
        )
        self.assertEqual((0, 'no evacuation\n'), (code, printed))
        with self.assertRaisesRegex(exceptions.CommandError, 'never evac'):
            self.run_command(evacuation.ShowEvacuation, 'web')

        self.evacuate(self.server)
        code, watched = self.run_command(
            evacuation_watch.WatchEvacuation,
            *('--server', 'web', '--interval', '0.05'),
        )
        terminal = commands.Terminal()
        self.run_command(
            evacuation_watch.WatchEvacuation,
            '--server',
            'web',
            stdout=terminal,
        )
        _, listed = self.run_command(
            evacuation.ListEvacuation,
            *('--host', 'host1', '--state', 'succeeded', '-f', 'json'),
        )
        _, of_server = self.run_command(
            evacuation.ListEvacuation,
            *('--server', 'web', '--long', '-f', 'json'),
            user='fake',
            roles='reader,member',
        )
        [item] = json.loads(listed)
        _, newest = self.run_command(
            evacuation.ShowEvacuation, 'web', '-f', 'json'
        )
        _, by_uuid = self.run_command(
            evacuation.ShowEvacuation, 'web', item['UUID'], '-f', 'json'
        )

        self.assertEqual(0, code)
        lines = watched.splitlines()
        self.assertIn('100%  host1 -> host2', lines[-2])
        self.assertEqual('1 succeeded', lines[-1])
        self.assertIn('[########################] 100%', terminal.getvalue())
        self.assertEqual(
            ('succeeded', 100, 'host2'),
            (item['State'], item['Progress'], item['Destination']),
        )
        [owned] = json.loads(of_server)
        self.assertEqual(('done', None), (owned['Status'], owned['Source']))
        self.assertEqual(json.loads(newest), json.loads(by_uuid))
        self.assertEqual('host1', json.loads(newest)['source_compute'])

    def test_watch_fails_when_an_evacuation_fails(self):
        self.kill('host2')
        self.evacuate(self.server)

        code, watched = self.run_command(
            evacuation_watch.WatchEvacuation,
            *('--server', self.server['id'], '--interval', '0.05'),
        )

        self.assertEqual(1, code)
        self.assertIn('no_valid_host', watched)
        self.assertEqual('1 failed', watched.splitlines()[-1])

    def test_novaclient_lists_and_gets(self):
        self._evacuate_server(self.server, expected_state='ACTIVE')
        extensions = [
            extension
            for extension in novaclient.discover_extensions('2.1')
            if extension.name == 'evacuations'
        ]
        nova = novaclient.Client(
            '2.1', session=self.session(), extensions=extensions
        )

        [listed] = nova.evacuations.list(host='host1', state=['succeeded'])
        [of_server] = nova.evacuations.list(self.server['id'])
        shown = nova.evacuations.get(self.server['id'], listed)

        self.assertEqual(100, listed.progress)
        self.assertEqual(listed.uuid, of_server.uuid)
        self.assertEqual(listed.to_dict(), shown.to_dict())
        self.assertEqual([], nova.evacuations.list(host='host3'))
