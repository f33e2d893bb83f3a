# SPDX-License-Identifier: Apache-2.0

"""The rules of the house, read from the source: who may import whom."""

import ast
import configparser
import dataclasses
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PRODUCT = ('nova_ha_plugins', 'ceilometer_pollsters', 'aodh_actions')
TREES = (*PRODUCT, 'lab', 'tests', 'tools', 'devstack', 'doc')

# What the pure core may use of the standard library: no clock, no chance, no
# I/O, no threads, nothing of the machine it runs on. Of datetime only the way
# to write a time that it was given; another test sees to that.
CORE_STDLIB = frozenset(
    {
        'bisect',
        'collections',
        'collections.abc',
        'dataclasses',
        'datetime',
        'enum',
        'functools',
        'heapq',
        'itertools',
        'json',
        'math',
        'operator',
        'string',
        'types',
        'typing',
    }
)

# What a door and the engine behind it both need: the failures of a door, and
# how the body of an answer is read within a deadline.
SHARED_BY_DOORS = frozenset(
    {'nova_ha_plugins.engine.doors', 'nova_ha_plugins.engine.body'}
)

# Under the GPL: such a tool is executed, never imported.
GPL = frozenset(
    {
        'ansible',
        'crmsh',
        'fence_agents',
        'fencing',
        'fencing_snmp',
        'pacemaker',
        'pcs',
        'pve',
    }
)

# The projects that load our plugins: imported by the plugin, never required.
# Aodh's API is made of pecan and wsme, and so is a rule inside it. Libvirt
# brings its modules itself, to hypervisors only.
HOSTS = frozenset(
    {
        'aodh',
        'ceilometer',
        'libvirt',
        'libvirt_qemu',
        'nova',
        'novaclient',
        'pecan',
        'wsme',
    }
)

# The names by which some distributions are imported.
IMPORTED_AS = {
    'microversion-parse': 'microversion_parse',
    'openstacksdk': 'openstack',
    'pyyaml': 'yaml',
    'osc-lib': 'osc_lib',
}

MAX_MODULE = 500
MAX_FUNCTION = 70


@dataclasses.dataclass(frozen=True)
class Module:
    """One source file and what it imports, names in full."""

    path: str
    name: str
    text: str
    imports: frozenset[str]

    def room(self):
        """Return the sub-package: 'recovery' of nova_ha_plugins.recovery.x."""
        parts = self.name.split('.')
        return parts[1] if len(parts) > 1 else ''


def imports_of(tree):
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # 'from a import b' may name a module a.b or a thing of a.
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return frozenset(found)


def read(path):
    text = path.read_text()
    relative = path.relative_to(ROOT)
    name = '.'.join(relative.with_suffix('').parts)
    return Module(
        str(relative),
        name.removesuffix('.__init__'),
        text,
        imports_of(ast.parse(text)),
    )


def modules(*trees):
    return [
        read(path)
        for tree in trees
        for path in sorted((ROOT / tree).rglob('*.py'))
        if 'build' not in path.parts
    ]


def within(name, package):
    return name == package or name.startswith(f'{package}.')


class ImportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.product = modules(*PRODUCT)
        cls.everything = modules(*TREES)

    def test_there_is_something_to_read(self):
        self.assertGreater(len(self.product), 60)
        self.assertGreater(len(self.everything), len(self.product))

    def offenders(self, found, forbidden, but=frozenset()):
        return [
            f'{module.path} imports {name}'
            for module in found
            for name in sorted(module.imports)
            if any(within(name, package) for package in forbidden)
            and not any(within(name, package) for package in but)
        ]

    def test_the_core_imports_itself_and_pure_parts_of_the_stdlib(self):
        core = [m for m in self.product if m.room() == 'recovery']
        allowed = (*CORE_STDLIB, 'nova_ha_plugins.recovery')
        self.assertGreater(len(core), 10)

        self.assertEqual(
            [],
            [
                f'{module.path} imports {name}'
                for module in core
                for name in sorted(module.imports)
                if not any(within(name, package) for package in allowed)
            ],
        )

    def test_the_core_calls_nothing_of_the_machine(self):
        called = re.compile(
            r'\b(open|input|print|id|hash|__import__|now|today|utcnow)\('
        )

        self.assertEqual(
            [],
            [
                f'{module.path}: {line.strip()}'
                for module in self.product
                if module.room() == 'recovery'
                for line in module.text.splitlines()
                if called.search(line)
            ],
        )

    def test_nothing_of_ours_imports_the_plugins_of_the_hosts(self):
        ours = [m for m in self.product if within(m.name, PRODUCT[0])]

        self.assertEqual([], self.offenders(ours, PRODUCT[1:]))

    def test_the_plugins_do_not_know_each_other(self):
        for one, other in (PRODUCT[1:], PRODUCT[:0:-1]):
            mine = [m for m in self.product if within(m.name, one)]

            self.assertEqual([], self.offenders(mine, [other]))

    def test_doors_and_store_do_not_know_the_engine(self):
        outer = [
            m
            for m in self.product
            if m.room() in ('store', 'nova', 'fencing', 'objects', 'conf')
        ]

        self.assertEqual(
            [],
            self.offenders(outer, ['nova_ha_plugins.engine'], SHARED_BY_DOORS),
        )

    def test_the_doors_do_not_know_each_other(self):
        rooms = ('nova', 'fencing', 'store')
        for room in rooms:
            mine = [m for m in self.product if m.room() == room]
            others = [f'nova_ha_plugins.{r}' for r in rooms if r != room]

            self.assertEqual([], self.offenders(mine, others))

    def test_plugins_in_foreign_processes_do_not_load_the_engine(self):
        foreign = [
            m
            for m in self.product
            if not within(m.name, PRODUCT[0])
            or m.room() in ('api', 'client', 'compute')
        ]

        self.assertEqual(
            [], self.offenders(foreign, ['nova_ha_plugins.engine'])
        )

    def test_a_host_is_imported_only_by_its_own_plugin(self):
        allowed = {
            'aodh': ('aodh_actions',),
            'ceilometer': ('ceilometer_pollsters',),
            'nova': ('nova_ha_plugins.api', 'nova_ha_plugins.compute'),
            'novaclient': ('nova_ha_plugins.client',),
        }
        for host, packages in allowed.items():
            others = [
                m
                for m in self.product
                if not any(within(m.name, package) for package in packages)
            ]

            self.assertEqual([], self.offenders(others, [host]))

    def test_nobody_imports_eventlet_or_asyncio(self):
        self.assertEqual(
            [], self.offenders(self.everything, ['eventlet', 'greenlet'])
        )
        self.assertEqual([], self.offenders(self.product, ['asyncio']))

    def test_tools_under_the_gpl_are_never_imported(self):
        self.assertEqual([], self.offenders(self.everything, GPL))

    def test_the_product_imports_neither_tests_nor_lab(self):
        self.assertEqual(
            [],
            self.offenders(self.product, ['tests', 'lab', 'sushy_tools']),
        )

    def test_nobody_takes_the_global_configuration(self):
        self.assertEqual(
            [],
            [
                module.path
                for module in self.product
                if re.search(r'\bcfg\.CONF\b', module.text)
            ],
        )

    def test_what_is_imported_is_required(self):
        required = set()
        setup = configparser.ConfigParser()
        setup.read(ROOT / 'setup.cfg')
        extras = '\n'.join(dict(setup['extras']).values())
        always = (ROOT / 'requirements.txt').read_text()
        for line in (*always.splitlines(), *extras.split('\n')):
            name = re.split(r'[<>=!~ #]', line, maxsplit=1)[0].lower()
            required.add(IMPORTED_AS.get(name, name.replace('.', '_')))

        self.assertEqual(
            set(),
            {
                f'{name.split(".")[0]} ({module.path})'
                for module in self.product
                for name in module.imports
                if name.split('.')[0]
                not in (
                    required | HOSTS | set(PRODUCT) | sys.stdlib_module_names
                )
            },
        )


class FormTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.everything = modules(*TREES)
        cls.own = [m for m in cls.everything if not within(m.name, 'tests')]

    def test_every_file_names_its_license_first(self):
        self.assertEqual(
            [],
            [
                module.path
                for module in self.everything
                if module.text
                and not module.text.startswith(
                    '# SPDX-License-Identifier: Apache-2.0\n'
                )
                and not module.text.startswith('#!')
            ],
        )

    def test_every_module_says_what_it_is(self):
        self.assertEqual(
            [],
            [
                module.path
                for module in self.own
                if module.text
                and not ast.get_docstring(ast.parse(module.text))
            ],
        )

    def test_package_files_are_empty(self):
        # The commands quieten a warning that libraries raise at import.
        self.assertEqual(
            ['nova_ha_plugins/cmd/__init__.py'],
            [
                module.path
                for module in self.everything
                if module.path.endswith('__init__.py') and module.text
            ],
        )

    def test_modules_are_seen_whole(self):
        long = {
            module.path
            for module in self.own
            if module.text.count('\n') > MAX_MODULE
        }

        self.assertEqual(set(), set(long))

    def test_functions_are_seen_whole(self):
        self.assertEqual(
            [],
            [
                f'{module.path}:{node.lineno} {node.name}'
                for module in self.own
                for node in ast.walk(ast.parse(module.text))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.end_lineno - node.lineno + 1 > MAX_FUNCTION
            ],
        )

    def test_what_crosses_a_process_is_typed(self):
        for package in PRODUCT:
            self.assertTrue((ROOT / package / 'py.typed').exists(), package)
