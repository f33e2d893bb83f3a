# SPDX-License-Identifier: Apache-2.0

"""The plugin's shell code holds what DevStack and shellcheck ask for."""

import os
import re
import shutil
import subprocess
import sys
import unittest

from tests.functional.devstack import stage

SCRIPTS = ('settings', 'override-defaults', 'plugin.sh')


def lines_of(name):
    return (stage.PLUGIN / name).read_text().splitlines()


class TestShell(unittest.TestCase):
    """Tools that read shell, and rules that no tool knows."""

    def run_tool(self, tool, *options):
        here = os.path.dirname(sys.executable)
        path = shutil.which(tool, path=f'{here}:{os.environ["PATH"]}')
        if path is None:
            self.skipTest(f'{tool} is not installed')
        done = subprocess.run(
            [path, *options, *SCRIPTS],
            cwd=stage.PLUGIN,
            capture_output=True,
            text=True,
        )
        self.assertEqual((0, ''), (done.returncode, done.stdout))

    def test_shellcheck_finds_nothing(self):
        self.run_tool('shellcheck')

    def test_bashate_finds_nothing(self):
        # E005: a file that is sourced begins with no '#!'.
        self.run_tool('bashate', '--ignore', 'E005')

    def test_every_setting_is_ours_and_can_be_overridden(self):
        found = [
            re.match(r'(\w+)=\$\{(\w+):-', line)
            for line in lines_of('settings')
            if re.match(r'\w+\+?=', line)
        ]

        self.assertGreater(len(found), 10)
        for match in found:
            self.assertIsNotNone(match)
            self.assertEqual(match[1], match[2])
            self.assertTrue(match[1].startswith('NOVA_HA_'), match[1])

    def test_functions_and_globals_carry_our_name(self):
        for line in lines_of('plugin.sh'):
            made = re.match(r'function (\w+)|([A-Z_]+)\+?=', line)
            if made:
                name = made[1] or made[2]
                self.assertIn('nova_ha', name.lower())

    def test_every_setting_is_used(self):
        text = '\n'.join(lines_of('plugin.sh'))
        for line in lines_of('settings'):
            name = line.partition('=')[0]
            if name.startswith('NOVA_HA_'):
                self.assertIn(f'${name}', text.replace('${', '$'))
