# SPDX-License-Identifier: Apache-2.0

"""Runs nova's own functional tests with our filter in nova's pipeline.

The tests are those of the installed package, unchanged. Each class runs in a
process of its own, with nova's api-paste.ini plus one word: ``instance_ha``,
the guard on. Everything that a test asks of nova's API goes through us.

A test that fails is run once more, alone, and counts as failed when it fails
again. With --baseline each one that failed runs without our filter as well: a
failure that happens there too is none of ours and is counted apart.
"""

import argparse
import collections
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent import futures
import dataclasses
import importlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

PREFIX = 'nova.tests.functional.'

# What asks nova's API for servers, evacuations and what is near to them.
QUICK = (
    'test_instance_actions',
    'test_server_faults',
    'test_middleware',
    'test_policy',
    'wsgi.test_services',
    'libvirt.test_evacuate',
    'regressions.test_bug_1669054',
    'regressions.test_bug_1702454',
    'regressions.test_bug_1713783',
    'regressions.test_bug_1735407',
    'regressions.test_bug_1764883',
    'regressions.test_bug_1794996',
    'regressions.test_bug_1815153',
    'regressions.test_bug_1823370',
    'regressions.test_bug_1890244',
    'regressions.test_bug_1896463',
    'regressions.test_bug_1922053',
    'regressions.test_bug_1978983',
    'regressions.test_bug_2085975',
    'test_servers:ServersTestV21',
    'test_servers:ServersTestV280',
    'test_servers:ServerMovingTests',
    'test_servers:ConsumerGenerationConflictTest',
)
ALL = (
    *(name for name in QUICK if not name.startswith('test_servers:')),
    'test_servers',
    'test_servers_resource_request:ServerMoveWithPortResourceRequestTest',
    'test_legacy_v2_compatible_wrapper',
    'test_server_group',
    'test_server_rescue',
    'test_server_external_events',
    'test_cold_migrate',
    'test_boot_from_volume',
    'test_availability_zones',
    'test_multiattach',
    'test_routed_networks',
    'test_service',
    'test_images',
    'test_json_filter',
    'test_list_servers_ip_filter',
    'compute.test_instance_list',
    'compute.test_live_migration',
    'compute.test_migration_list',
    'wsgi.test_interfaces',
    'wsgi.test_secgroup',
    'wsgi.test_servers',
    'notification_sample_tests.test_compute_task',
    'notification_sample_tests.test_instance',
)

FILTER = 'nova_ha_plugins.api.middleware:filter_factory'
APP = 'osapi_compute_app_v21'


@dataclasses.dataclass
class Result:
    """What became of one test.

    :ivar outcome: passed, failed or skipped.
    :ivar text: what a failed one said.
    :ivar filtered: requests of its class went through our filter.
    """

    test: str
    outcome: str
    text: str = ''
    filtered: bool = False


def paste_file(directory: str) -> str:
    """Nova's api-paste.ini with our filter before nova's application."""
    stock = pathlib.Path(sys.prefix, 'etc', 'nova', 'api-paste.ini')
    lines = []
    for line in stock.read_text().splitlines():
        if line.startswith('keystone =') and line.endswith(APP):
            line = line.replace(APP, f'instance_ha {APP}')
        lines.append(line)
    if not any('instance_ha' in line for line in lines):
        raise SystemExit(f"Found no pipeline that ends in '{APP}' in {stock}")
    lines += ['[filter:instance_ha]', f'paste.filter_factory = {FILTER}', '']
    path = pathlib.Path(directory, 'api-paste.ini')
    path.write_text('\n'.join(lines))
    return str(path)


def prepare(directory: str, *, guarded: bool) -> None:
    """Point nova's fixtures at files that the package has elsewhere."""
    # Before every other module of nova.
    import nova.tests.functional  # noqa: F401

    from nova.tests.fixtures import conf

    stock = os.path.join(sys.prefix, 'etc', 'nova', 'api-paste.ini')
    paste = paste_file(directory) if guarded else stock

    def path_of(*parts: str) -> str:
        if parts[-1].endswith('api-paste.ini'):
            return paste
        return os.path.join(sys.prefix, *parts)

    conf.paths.state_path_def = path_of
    if guarded:
        _count_calls(pathlib.Path(directory, 'called'))


def _count_calls(path: pathlib.Path) -> None:
    """Leave a file when a request has gone through our filter."""
    from nova_ha_plugins.api import middleware

    answer = middleware.InstanceHA.__call__

    def counted(self, environ, start_response):
        path.touch()
        return answer(self, environ, start_response)

    middleware.InstanceHA.__call__ = counted


def flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """All tests of a suite of suites."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flat(item)
        else:
            yield item


class Notes(unittest.TestResult):
    """Keeps what became of each test."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[Result] = []
        self._bad: dict[str, str] = {}
        self._skipped: set[str] = set()

    def addError(self, test, err, details=None) -> None:
        self._bad[test.id()] = _text(err, details)

    def addFailure(self, test, err=None, details=None) -> None:
        self._bad[test.id()] = _text(err, details)

    def addSkip(self, test, reason='', details=None) -> None:
        self._skipped.add(test.id())

    def addExpectedFailure(self, test, err=None, details=None) -> None:
        pass

    def addUnexpectedSuccess(self, test, details=None) -> None:
        self._bad[test.id()] = 'Was expected to fail, and passed'

    def addSuccess(self, test, details=None) -> None:
        pass

    def stopTest(self, test) -> None:
        name = test.id()
        outcome = 'passed'
        if name in self._bad:
            outcome = 'failed'
        elif name in self._skipped:
            outcome = 'skipped'
        self.results.append(Result(name, outcome, self._bad.get(name, '')))
        super().stopTest(test)


def _text(error, details) -> str:
    if error is not None:
        import traceback

        return ''.join(traceback.format_exception(*error))[-3000:]
    found = details or {}
    if 'traceback' in found:
        return found['traceback'].as_text()[-3000:]
    return '\n'.join(item.as_text()[-1000:] for item in found.values())


def child(directory: str, target: str, names: Iterable[str]) -> None:
    """Run tests in this process; write what became of them."""
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(names)
    notes = Notes()
    quiet = io.StringIO()
    keep, sys.stdout = sys.stdout, quiet
    try:
        suite.run(notes)
    finally:
        sys.stdout = keep
    pathlib.Path(target).write_text(
        json.dumps(
            [
                {'test': one.test, 'outcome': one.outcome, 'text': one.text}
                for one in notes.results
            ]
        )
    )


def units(names: Iterable[str]) -> list[str]:
    """The classes of these modules, as names that a loader takes."""
    found = []
    for name in names:
        module, _, rest = name.partition(':')
        full = module if module.startswith(PREFIX) else PREFIX + module
        if rest:
            found.append(f'{full}.{rest}')
            continue
        loaded = unittest.TestLoader().loadTestsFromModule(
            importlib.import_module(full)
        )
        classes = collections.Counter(
            f'{type(test).__module__}.{type(test).__qualname__}'
            for test in flat(loaded)
        )
        found += [one for one in classes if one.startswith(full)]
    return list(dict.fromkeys(found))


def run(names: list[str], *, guarded: bool, limit: float) -> list[Result]:
    """Run tests in a process of their own.

    One class or test at a time, so that what is kept says whether any request
    of it went through our filter.
    """
    with tempfile.TemporaryDirectory(prefix='nova-compat-') as directory:
        target = os.path.join(directory, 'results.json')
        command = [
            sys.executable,
            '-W',
            'ignore',
            __file__,
            '--child',
            directory,
            *([] if guarded else ['--stock']),
            *names,
        ]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, 'OS_TEST_TIMEOUT': '300'},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=limit,
            )
            text = done.stderr[-3000:]
        except subprocess.TimeoutExpired:
            text = f'Not done after {limit:.0f} s'
        if not os.path.exists(target):
            return [Result(' '.join(names), 'failed', text)]
        found = json.loads(pathlib.Path(target).read_text())
        filtered = os.path.exists(os.path.join(directory, 'called'))
    return [Result(**item, filtered=filtered) for item in found]


@dataclasses.dataclass
class Tally:
    """What became of all tests."""

    passed: int = 0
    skipped: int = 0
    filtered: int = 0
    ours: list[Result] = dataclasses.field(default_factory=list)
    novas: list[Result] = dataclasses.field(default_factory=list)
    again: list[str] = dataclasses.field(default_factory=list)

    def add(self, results: list[Result], limit: float, baseline: bool) -> None:
        for result in results:
            self.filtered += result.filtered
            if result.outcome == 'passed':
                self.passed += 1
            elif result.outcome == 'skipped':
                self.skipped += 1
            else:
                self._judge(result, limit, baseline)

    def _judge(self, result: Result, limit: float, baseline: bool) -> None:
        again = run([result.test], guarded=True, limit=limit)
        if again and all(one.outcome == 'passed' for one in again):
            self.passed += 1
            self.again.append(result.test)
            return
        if baseline:
            stock = run([result.test], guarded=False, limit=limit)
            if any(one.outcome == 'failed' for one in stock):
                self.novas.append(result)
                return
        self.ours.append(result)


def main() -> int:
    """Run what was asked for and count it."""
    options = _parser().parse_args()
    # Threads, as nova 34 runs by default.
    os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', 'true')
    if options.child:
        prepare(options.child, guarded=not options.stock)
        child(
            options.child,
            os.path.join(options.child, 'results.json'),
            options.names,
        )
        return 0
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory, guarded=True)
        names = options.names or (QUICK if options.quick else ALL)
        found = units(names)
    began = time.monotonic()
    tally = Tally()
    with futures.ThreadPoolExecutor(options.workers) as pool:
        work = {
            pool.submit(
                run, [name], guarded=not options.stock, limit=options.limit
            ): name
            for name in found
        }
        for done in futures.as_completed(work):
            results = done.result()
            bad = sum(one.outcome == 'failed' for one in results)
            print(
                f'{time.monotonic() - began:6.0f} s  {len(results):4d} tests'
                f'{f", {bad} failed" if bad else ""}  {work[done]}',
                flush=True,
            )
            tally.add(results, options.limit, options.baseline)
    return _tell(tally, options.baseline)


def _tell(tally: Tally, baseline: bool) -> int:
    for result in tally.ours:
        print(f'FAILED {result.test}\n{result.text}')
    for result in tally.novas:
        print(f'Fails without our filter, too: {result.test}')
    for test in tally.again:
        print(f'Passed the second time only: {test}')
    if tally.skipped:
        print(f'{tally.skipped} skipped by nova itself')
    print(f'{tally.filtered} of them in classes that asked through our filter')
    if baseline:
        print(f'{len(tally.novas)} failed with and without our filter')
    print(f'{tally.passed} passed, {len(tally.ours)} failed')
    return 1 if tally.ours or not tally.passed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='tools/nova-compat',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'names',
        nargs='*',
        help=f'module below {PREFIX[:-1]}, or module:Class or '
        'module:Class.test; without any, all that ask the API of servers',
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='only what is near to servers and evacuations',
    )
    parser.add_argument(
        '--baseline',
        action='store_true',
        help='run what failed without our filter, too',
    )
    parser.add_argument(
        '--stock', action='store_true', help='run all without our filter'
    )
    parser.add_argument(
        '--workers', type=int, default=2, help='processes at a time'
    )
    parser.add_argument(
        '--limit',
        type=float,
        default=1800.0,
        help='seconds after which a class counts as failed',
    )
    parser.add_argument('--child', help=argparse.SUPPRESS)
    return parser


if __name__ == '__main__':
    sys.exit(main())
