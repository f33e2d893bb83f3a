# SPDX-License-Identifier: Apache-2.0

"""The help of the commands about evacuations teaches what works."""

import re
import shlex
import unittest

from nova_ha_plugins.client import evacuation
from nova_ha_plugins.client import evacuation_watch

COMMANDS = {
    'list': evacuation.ListEvacuation,
    'show': evacuation.ShowEvacuation,
    'summary': evacuation.ShowSummary,
    'watch': evacuation_watch.WatchEvacuation,
}


def parser_of(name):
    return COMMANDS[name](None, None).get_parser(f'openstack ... {name}')


class HelpTest(unittest.TestCase):
    def test_each_example_is_understood(self):
        for name in COMMANDS:
            text = parser_of(name).format_help().replace('\\\n', '')
            examples = re.findall(
                r'^  openstack server evacuation (\w+)(.*)$', text, re.M
            )
            with self.subTest(command=name):
                self.assertIn('Examples:\n', text)
                self.assertIn(name, [called for called, _ in examples])
                for called, words in examples:
                    parser_of(called).parse_args(shlex.split(words))

    def test_exit_codes_of_watch_are_told(self):
        text = parser_of('watch').format_help()

        for code in (0, 1, 2):
            self.assertRegex(text, rf'(?m)^  {code}  \w+')

    def test_paragraphs_are_wrapped_and_examples_are_not(self):
        text = parser_of('watch').format_help()

        self.assertNotIn('::', text)
        self.assertIn('\n  # Is my server coming back?\n', text)
        self.assertTrue(
            all(len(line) < 80 for line in text.splitlines()), text
        )


if __name__ == '__main__':
    unittest.main()
