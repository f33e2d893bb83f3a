# SPDX-License-Identifier: Apache-2.0

"""What README and documentation tell people to type and to set exists."""

import configparser
import importlib
import pathlib
import re
import unittest
from unittest import mock

from nova_ha_plugins.conf import config
from nova_ha_plugins.conf import opts

ROOT = pathlib.Path(__file__).parents[3]
PAGES = [
    ROOT / 'README.rst',
    *sorted((ROOT / 'doc' / 'source').rglob('*.rst')),
]

# Options of others that the pages name; each is theirs to keep.
FOREIGN = {
    ('DEFAULT', 'host'),
    ('DEFAULT', 'vif_plugging_timeout'),
    ('coordination', 'backend_url'),
    ('keystone_authtoken', 'auth_type'),
    ('metricd', 'metric_processing_delay'),
    ('notifications', 'notification_format'),
    ('notifications', 'notify_on_state_change'),
    ('oslo_messaging_notifications', 'topics'),
    ('polling', 'enable_notifications'),
}

# The rest of ours in a page that is typed into a shell.
_OURS = re.compile(r'openstack ((?:ha|server evacuation)\b[^`\n]*)')
_MANAGE = re.compile(r'nova-ha-manage ([^`\n]*)')
# '[group] option', also where the page breaks the line between them.
_OPTION = re.compile(r'``\[(\w+)\]\s+([a-z_]+)``')


def text_of(page):
    """A page with commands that continue on the next line joined."""
    text = re.sub(r'\\\n\s*', '', page.read_text())
    # A literal that is broken between two lines.
    return re.sub(
        r'``[^`]+``', lambda found: re.sub(r'\s+', ' ', found[0]), text
    )


def entry_points(group):
    parser = configparser.ConfigParser(delimiters=['='])
    parser.optionxform = str
    parser.read(ROOT / 'setup.cfg')
    lines = parser['entry_points'][group].strip().splitlines()
    return {
        name.strip(): target.strip()
        for name, _, target in (line.partition('=') for line in lines)
    }


def load(target):
    module, _, name = target.partition(':')
    return getattr(importlib.import_module(module), name)


def commands():
    """Our openstack commands by the words that call them."""
    return {
        tuple(name.split('_')): target
        for name, target in entry_points('openstack.compute.v2').items()
    }


def command_of(words):
    """The longest command that the words begin with."""
    found = commands()
    for length in range(len(words), 0, -1):
        if tuple(words[:length]) in found:
            return tuple(words[:length]), found[tuple(words[:length])]
    return None, None


def mentions(pattern):
    for page in PAGES:
        for found in pattern.finditer(text_of(page)):
            yield page.relative_to(ROOT), found


class TestOpenstackCommands(unittest.TestCase):
    def test_each_named_command_exists_with_its_options(self):
        count = 0
        for page, found in mentions(_OURS):
            with self.subTest(page=str(page), line=found[0]):
                words = re.findall(r'[\w<>|.-]+', found[1])
                # A heading or a sentence about the group of commands.
                if set(words) <= {'ha', 'server', 'evacuation', '...'}:
                    continue
                called, target = command_of(words)
                self.assertIsNotNone(called, 'there is no such command')
                parser = load(target)(mock.Mock(), None).get_parser('it')
                for word in words[len(called) :]:
                    if word.startswith('--'):
                        self.assertIn(word, parser._option_string_actions)
                count += 1

        self.assertGreater(count, 10)

    def test_each_command_is_documented(self):
        # The reference is generated for these two patterns.
        generated = ('ha', 'server evacuation')

        for words in commands():
            self.assertTrue(' '.join(words).startswith(generated), words)
        for pattern in generated:
            self.assertTrue(
                any(
                    f':command: {pattern} *' in page.read_text()
                    for page in PAGES
                ),
                pattern,
            )


class TestManage(unittest.TestCase):
    def test_each_named_command_and_option_exists(self):
        from nova_ha_plugins.cmd import manage

        count = 0
        for page, found in mentions(_MANAGE):
            words = re.findall(r'[\w/.-]+', found[1])
            if not words or words[0] not in (
                'db',
                'doctor',
                'heartbeat-key',
                'purge',
                'sync',
            ):
                continue
            with self.subTest(page=str(page), line=found[0]):
                take = 2 if words[0] == 'db' else 1
                options = {
                    word for word in words[take:] if word.startswith('--')
                }
                arguments = words[:take]
                if words[0] == 'heartbeat-key':
                    arguments.append('cmp-1')
                for option in sorted(options):
                    value = '1' if option == '--days' else '/nowhere'
                    arguments += [option, value]
                conf = config.load(arguments, [], [manage._COMMANDS])

                self.assertTrue(callable(conf.command.run))
                count += 1

        self.assertGreater(count, 4)

    def test_each_named_program_is_installed(self):
        scripts = entry_points('console_scripts')
        for page in PAGES:
            for found in re.finditer(
                r'(?<![\w/.@-])nova-ha-(engine|manage|status|webhook)'
                r'(?![\w.-]|/)',
                text_of(page),
            ):
                self.assertIn(found[0], scripts, page)


class TestOptions(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.known = {
            (group.name, opt.dest)
            for group, listed in (
                opts.list_opts()
                + opts.list_nova_opts()
                + opts.list_host_opts()
            )
            for opt in listed
        } | {
            # A page may tell what an option was called before.
            (old.group, old.name)
            for _, listed in opts.list_opts()
            for opt in listed
            for old in opt.deprecated_opts
        }

    def test_each_named_option_exists(self):
        count = 0
        for page, found in mentions(_OPTION):
            name = (found[1], found[2])
            if name not in FOREIGN:
                self.assertIn(name, self.known, page)
                count += 1

        self.assertGreater(count, 20)

    def test_each_option_of_an_example_exists(self):
        ours = {group for group, _ in self.known}
        count = 0
        for page in PAGES:
            for example in re.findall(
                r'\.\. code-block:: ini\n\n((?:    .*\n|\n)+)',
                page.read_text(),
            ):
                # An option of oslo.config may have several lines.
                parser = configparser.RawConfigParser(strict=False)
                parser.read_string(
                    '\n'.join(line[4:] for line in example.splitlines())
                )
                for group in set(parser.sections()) & ours:
                    for option in parser[group]:
                        if option in parser.defaults():
                            continue
                        self.assertIn((group, option), self.known, page)
                        count += 1

        self.assertGreater(count, 10)
