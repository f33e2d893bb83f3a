# SPDX-License-Identifier: Apache-2.0

"""The wheel that an operator installs: what is in it, and that it loads.

A wheel built without ``setup.py`` or ``setup.cfg`` still says that it was
built successfully and silently lacks every sub-package, so its contents are
compared with the tree.
"""

import configparser
import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGES = ('nova_ha_plugins', 'ceilometer_pollsters', 'aodh_actions')

# Loads every entry point of the distribution in one directory and prints, as
# JSON, from which file each came and which did not come at all.
LOAD = """
import importlib.metadata, json, sys
(found,) = [
    d for d in importlib.metadata.distributions(path=[sys.argv[1]])
    if d.name == 'nova-ha-plugins'
]
loaded, failed = {}, {}
for point in found.entry_points:
    key = f'{point.group}: {point.name}'
    try:
        point.load()
    except Exception as error:  # every failure is reported, not the first
        failed[key] = f'{type(error).__name__}: {error}'
    else:
        loaded[key] = sys.modules[point.module].__file__
print(json.dumps([loaded, failed]))
"""


def run(*command, cwd, **env):
    """Run a command; its output is shown only when it failed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise AssertionError(
            f"'{' '.join(command)}' exited with {done.returncode}:\n"
            f'{done.stdout}\n{done.stderr}'
        )
    return done.stdout


def tracked():
    names = run('git', 'ls-files', '-z', cwd=ROOT).split('\0')
    return [name for name in names if name and (ROOT / name).is_file()]


def copy_tree(target):
    """Copy what git knows, as it stands, into a repository of its own."""
    for name in tracked():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, path)
    git = ('git', '-c', 'user.name=t', '-c', 'user.email=t@example.org')
    run(*git, 'init', '-q', cwd=target)
    run(*git, 'add', '-A', '-f', cwd=target)
    run(*git, 'commit', '-q', '-m', 'As it stands', cwd=target)


def build(directory):
    source = directory / 'source'
    source.mkdir()
    copy_tree(source)
    run(
        sys.executable,
        '-m',
        'build',
        '--wheel',
        '--no-isolation',
        '--outdir',
        str(directory / 'dist'),
        cwd=source,
    )
    (wheel,) = (directory / 'dist').glob('*.whl')
    return wheel


def entry_points():
    """Return what setup.cfg promises: {'namespace: name': module}."""
    parser = configparser.ConfigParser(delimiters=('=',), strict=True)
    parser.optionxform = str
    parser.read(ROOT / 'setup.cfg')
    found = {}
    for group, lines in parser['entry_points'].items():
        for line in lines.strip().splitlines():
            name, target = (part.strip() for part in line.split('=', 1))
            found[f'{group}: {name}'] = target.split(':')[0]
    return found


class WheelTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        # All tests look at one wheel, because building it takes long.
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix='nova-ha-wheel-'))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.wheel = build(cls.directory)
        with zipfile.ZipFile(cls.wheel) as archive:
            cls.names = archive.namelist()
            (metadata,) = (
                n for n in cls.names if n.endswith('.dist-info/METADATA')
            )
            cls.metadata = archive.read(metadata).decode()

    def test_every_module_of_the_three_packages_is_in_it(self):
        modules = [
            name
            for name in tracked()
            if name.endswith('.py') and name.split('/')[0] in PACKAGES
        ]
        self.assertGreater(len(modules), 60)

        self.assertEqual([], sorted(set(modules) - set(self.names)))

    def test_every_file_of_data_is_in_it(self):
        data = [
            name
            for name in tracked()
            if name.split('/')[0] in PACKAGES and not name.endswith('.py')
        ]
        for needed in (
            'nova_ha_plugins/py.typed',
            'ceilometer_pollsters/py.typed',
            'aodh_actions/py.typed',
            'nova_ha_plugins/store/migrations/script.py.mako',
            'ceilometer_pollsters/data/polling_ha.yaml',
            'ceilometer_pollsters/data/polling_ha_central.yaml',
            'ceilometer_pollsters/data/event_definitions.yaml',
            'ceilometer_pollsters/data/gnocchi_resources_ha.yaml',
            'ceilometer_pollsters/data/pipeline_ha.yaml',
            'ceilometer_pollsters/data/polling_ha_host.yaml',
        ):
            self.assertIn(needed, data)

        self.assertEqual([], sorted(set(data) - set(self.names)))

    def test_migrations_are_in_it(self):
        self.assertTrue(
            any(
                name.startswith('nova_ha_plugins/store/migrations/versions/0')
                for name in self.names
            )
        )

    def test_nothing_else_is_in_it(self):
        tops = {name.split('/')[0] for name in self.names}

        self.assertEqual(
            set(PACKAGES),
            {top for top in tops if not top.startswith('nova_ha_plugins-')},
        )

    def test_the_samples_of_configuration_go_to_etc(self):
        self.assertTrue(
            any(
                name.endswith('.data/data/etc/nova-ha/config-generator.conf')
                for name in self.names
            ),
            [name for name in self.names if '.data/' in name],
        )

    def test_what_it_requires_are_the_lines_of_the_requirements(self):
        wanted = {
            line.split('#')[0].strip()
            for line in (ROOT / 'requirements.txt').read_text().splitlines()
            if line.split('#')[0].strip()
        }
        required = {
            line.removeprefix('Requires-Dist: ')
            for line in self.metadata.splitlines()
            if line.startswith('Requires-Dist: ') and 'extra ==' not in line
        }

        self.assertEqual(wanted, required)

    def test_every_dependency_is_named_once_and_imported(self):
        names = [
            re.split(r'[<>=!~ ]', line, maxsplit=1)[0]
            for line in (ROOT / 'requirements.txt').read_text().splitlines()
            if not line.startswith('#')
        ]
        self.assertEqual(sorted(set(names)), sorted(names))
        modules = importlib.metadata.packages_distributions()
        imported = {
            name
            for path in tracked()
            if path.endswith('.py') and path.split('/')[0] in PACKAGES
            for name in re.findall(
                r'(?m)^\s*(?:import|from) (\w+)', (ROOT / path).read_text()
            )
        }
        used = {
            re.sub('[-_.]+', '-', distribution).lower()
            for module in imported
            for distribution in modules.get(module, ())
        }

        self.assertEqual(
            [],
            [
                name
                for name in names
                if re.sub('[-_.]+', '-', name).lower() not in used
            ],
        )

    def test_license_and_python_are_named(self):
        self.assertRegex(self.metadata, r'(?m)^License(-Expression)?: Apache')
        self.assertIn('Requires-Python: >=3.11', self.metadata)

    def test_every_entry_point_loads_from_the_installed_wheel(self):
        target = self.directory / 'installed'
        run(
            sys.executable,
            '-m',
            'pip',
            'install',
            '-q',
            '--no-deps',
            '--no-index',
            '--target',
            str(target),
            str(self.wheel),
            cwd=self.directory,
        )

        loaded, failed = json.loads(
            run(
                sys.executable,
                '-c',
                LOAD,
                str(target),
                cwd=self.directory,
                PYTHONPATH=str(target),
            )
        )

        self.assertEqual({}, failed)
        promised = entry_points()
        self.assertEqual(set(promised), set(loaded))
        self.assertEqual(
            {},
            {
                key: where
                for key, where in loaded.items()
                if promised[key].split('.')[0] in PACKAGES
                and not where.startswith(str(target))
            },
        )
