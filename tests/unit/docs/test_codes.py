# SPDX-License-Identifier: Apache-2.0

"""Every code that an operator can meet stands in the documentation.

The codes are read from the source, wherever a code is given: as an argument
or keyword named ``code``, or as the first word of a returned tuple.
"""

import ast
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).parents[3]
PACKAGE = ROOT / 'nova_ha_plugins'
PAGE = ROOT / 'doc' / 'source' / 'admin' / 'codes.rst'

CODE = re.compile(r'[a-z]+(-[a-z]+)*')

# Lines of the timeline; they are told there and are no state of anything.
TIMELINE = {'notes.add', 'add'}


# Words that have a name in a module: SLOW = 'slow'.
NAMED = {}


def words(node):
    """The constant words that an expression can be."""
    if isinstance(node, ast.IfExp):
        return words(node.body) | words(node.orelse)
    if isinstance(node, ast.Name | ast.Attribute):
        name = ast.unparse(node).rpartition('.')[2]
        return {NAMED[name]} if name in NAMED else set()
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value} if CODE.fullmatch(node.value) else set()
    return set()


def positions(tree):
    """Where functions and dataclasses of a module take their code."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [a.arg for a in node.args.args if a.arg != 'self']
        elif isinstance(node, ast.ClassDef):
            names = [
                item.target.id
                for item in node.body
                if isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
            ]
            bases = [ast.unparse(base) for base in node.bases]
            if 'Event' in bases:
                names.insert(0, 'at')
        else:
            continue
        if 'code' in names:
            found[node.name] = names.index('code')
    return found


def name_words(tree):
    """Keep the words that a module gives a name to."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(
            node.value, ast.Constant
        ):
            for target in node.targets:
                if words(node.value):
                    NAMED[ast.unparse(target)] = node.value.value


def codes_in(tree, known):
    """The codes that a module gives."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            place = known.get(name.rpartition('.')[2])
            if (
                place is not None
                and len(node.args) > place
                and name not in TIMELINE
            ):
                found |= words(node.args[place])
            for keyword in node.keywords:
                if keyword.arg == 'code':
                    found |= words(keyword.value)
        elif isinstance(node, ast.Assign):
            if [ast.unparse(target) for target in node.targets] == ['code']:
                found |= words(node.value)
        elif isinstance(node, ast.Return) and isinstance(
            node.value, ast.Tuple
        ):
            strings = [
                item
                for item in node.value.elts
                if isinstance(item, ast.Constant | ast.JoinedStr)
                and not isinstance(getattr(item, 'value', ''), bool)
            ]
            if len(strings) > 1:
                found |= words(strings[0])
    return found


def codes_of_source():
    paths = [
        *sorted((PACKAGE / 'recovery').glob('*.py')),
        PACKAGE / 'engine' / 'look.py',
        PACKAGE / 'engine' / 'servers.py',
    ]
    # What is told of an evacuation has words of its own: see the API.
    trees = [
        ast.parse(path.read_text())
        for path in paths
        if path.name not in ('progress.py', 'detector.py')
    ]
    known = {}
    for tree in trees:
        known.update(positions(tree))
        name_words(tree)
    found = set()
    for tree in trees:
        found |= codes_in(tree, known)
    return found


def codes_of_page():
    return re.findall(r'^   \* - ``([a-z-]+)``$', PAGE.read_text(), re.M)


class TestCodes(unittest.TestCase):
    def test_source_gives_codes_of_every_kind(self):
        found = codes_of_source()

        self.assertLessEqual(
            {
                'storm',
                'nova-unreachable',
                'identity-mismatch',
                'fence-unconfirmed',
                'contained',
                'policy-invalid',
                'vm-state-error',
                'destination-unproven',
                'no-valid-host',
                'settling',
            },
            found,
        )

    def test_every_code_of_the_source_is_explained(self):
        self.assertEqual(set(), codes_of_source() - set(codes_of_page()))

    def test_no_code_is_explained_that_the_source_does_not_give(self):
        self.assertEqual(set(), set(codes_of_page()) - codes_of_source())

    def test_each_code_is_explained_once(self):
        page = codes_of_page()

        self.assertEqual(sorted(set(page)), sorted(page))
