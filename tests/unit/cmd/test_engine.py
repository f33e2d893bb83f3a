# SPDX-License-Identifier: Apache-2.0

"""What keeps nova-ha-engine from starting."""

import contextlib
from importlib import metadata
import io
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

from nova_ha_plugins.cmd import engine
from nova_ha_plugins.conf import config
from nova_ha_plugins.store import schema


class WrongTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = pathlib.Path(holder.name)
        self.map = self.directory / 'fencing.yaml'
        self.map.write_text('hosts: {}\n')

    def conf(self, connection=None):
        if connection is None:
            connection = f'sqlite:///{self.directory}/store.sqlite'
        path = self.directory / 'nova-ha.conf'
        path.write_text(
            f'[fencing]\nmap_file = {self.map}\n'
            f'[nova_ha_database]\nconnection = {connection}\n'
        )
        return config.load(files=[str(path)])

    def test_nothing_is_wrong_with_a_schema_and_a_map(self):
        conf = self.conf()
        schema.sync(conf)

        self.assertEqual('', engine.wrong(conf))

    def test_a_map_with_a_mistake_names_its_file(self):
        conf = self.conf()
        schema.sync(conf)
        self.map.write_text('hosts: [cmp-1]\n')

        self.assertIn(str(self.map), engine.wrong(conf))

    def test_a_store_without_schema_names_the_command(self):
        self.assertIn('nova-ha-manage db sync', engine.wrong(self.conf()))

    def test_a_store_that_is_away_is_waited_for(self):
        conf = self.conf('sqlite:////no/such/directory/store.sqlite')

        self.assertEqual('', engine.wrong(conf))

    def test_a_file_that_is_not_there_is_named(self):
        err = io.StringIO()
        argv = ['nova-ha-engine', '--config-file', '/no/such/file.conf']
        with (
            mock.patch.object(sys, 'argv', argv),
            contextlib.redirect_stderr(err),
        ):
            status = engine.main()

        self.assertEqual(1, status)
        self.assertIn('/no/such/file.conf', err.getvalue())

    def test_version_and_purpose_are_told(self):
        for option, expected in (
            ('--version', metadata.version('nova-ha-plugins')),
            ('--help', 'fences failed hypervisors'),
        ):
            out = io.StringIO()
            with (
                mock.patch.object(sys, 'argv', ['nova-ha-engine', option]),
                contextlib.redirect_stdout(out),
                self.assertRaises(SystemExit) as ended,
            ):
                engine.main()

            self.assertEqual(0, ended.exception.code)
            self.assertIn(expected, out.getvalue())


if __name__ == '__main__':
    unittest.main()
