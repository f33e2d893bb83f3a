# SPDX-License-Identifier: Apache-2.0

"""Runs the kinds of tests one after another and counts what they said.

Each kind is one or more commands in processes of their own, because nova's
functional fixtures change the process they run in. The last line counts all
kinds together.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON_TREES = (
    'nova_ha_plugins',
    'ceilometer_pollsters',
    'aodh_actions',
    'lab',
    'devstack',
    'tests',
    'tools',
)
# The first line that stestr writes of a test, if that failed.
FAILED = re.compile(r'\{\d+\} .*\.\.\. FAILED$', re.MULTILINE)
# Of both ends of what a failure said, repeated at the end.
LINES = 30


@dataclasses.dataclass
class Count:
    """How many checks passed, failed, were skipped.

    :ivar failures: what each failure said, to be repeated at the end.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: 'Count') -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures


def run(command: list[str], **env: str) -> tuple[int, str]:
    """Run a command, show and return what it printed."""
    print(f'$ {" ".join(command)}', flush=True)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        print(line, end='', flush=True)
    return process.wait(), ''.join(lines)


def check(*command: str, **env: str) -> Count:
    """Run a command that passes or fails as a whole."""
    code, out = run(list(command), **env)
    if code == 0:
        return Count(passed=1)
    return Count(failed=1, failures=[_shortened(out)])


def _shortened(text: str) -> str:
    """Return where a failure happened, and what it ended with."""
    lines = text.splitlines()
    if len(lines) > 2 * LINES:
        lines[LINES:-LINES] = [f'[{len(lines) - 2 * LINES} lines]']
    return '\n'.join(lines)


def _failures(out: str) -> list[str]:
    """Return what stestr said of each test that failed."""
    parts = re.split(r'^(?=\{\d+\} )', out, flags=re.MULTILINE)
    return [_shortened(part) for part in parts if FAILED.match(part)]


def stestr(
    path: str,
    workers: int = 1,
    by_class: bool = False,
    exclude: str = '',
    **env: str,
) -> Count:
    """Run a directory of tests and count its results.

    :param by_class: a class is set up once, in one worker.
    :param exclude: pattern of the tests that are left out.
    """
    command = [
        sys.executable,
        '-m',
        'stestr',
        '--test-path',
        path,
        '--top-dir',
        '.',
        *(['--parallel-class'] if by_class else []),
        'run',
        '--concurrency',
        str(workers),
        *(['--exclude-regex', exclude] if exclude else []),
    ]
    with tempfile.TemporaryDirectory(prefix='stestr-') as fresh:
        if by_class:
            # The time of a class is that of its setUpClass, which stestr does
            # not count: by the times it knows, one worker would get them all.
            command[3:3] = ['--repo-url', fresh]
        code, out = run(command, **env)
    found = {
        word: int(number)
        for word, number in re.findall(
            r'^ - (Passed|Skipped|Expected Fail|Unexpected Success|Failed):'
            r' (\d+)$',
            out,
            re.MULTILINE,
        )
    }
    failed = found.get('Failed', 0) + found.get('Unexpected Success', 0)
    if code and not failed:
        # The runner itself broke, or nothing was found to run.
        failed = 1
    passed = found.get('Passed', 0) + found.get('Expected Fail', 0)
    if not passed and not failed:
        print(f'No test ran in {path}.')
        failed = 1
    failures = _failures(out) or ([_shortened(out)] if failed else [])
    return Count(passed, failed, found.get('Skipped', 0), failures)


def style() -> Count:
    """Ruff, hacking, mypy."""
    count = Count()
    for command in (
        ('ruff', 'check', *PYTHON_TREES),
        ('ruff', 'format', '--check', *PYTHON_TREES),
        ('flake8', '--select', 'H', *PYTHON_TREES),
        ('mypy',),
    ):
        count.add(check(sys.executable, '-m', *command))
    return count


def unit() -> Count:
    return stestr('tests/unit', workers=2)


def scenarios() -> Count:
    return stestr('tests/scenarios', workers=2)


def functional(**env: str) -> Count:
    """Our entry points inside the real hosts; one process per host."""
    count = Count()
    for path in sorted((ROOT / 'tests' / 'functional').iterdir()):
        if path.is_dir() and any(path.glob('test_*.py')):
            # The stories of engines mostly wait, and share nothing. Each test
            # in nova's environment has a nova, and files, of its own.
            workers = {'engine': 3, 'engines': 2, 'nova': 2}.get(path.name, 1)
            by_class = path.name in ('engine', 'engines')
            relative = str(path.relative_to(ROOT))
            count.add(stestr(relative, workers, by_class, **env))
    return count


def functional_all() -> Count:
    """The same with every story on every database."""
    return functional(NOVA_HA_FUNCTIONAL_ALL='1')


def wheel() -> Count:
    return stestr('tests/wheel')


def docs() -> Count:
    """Sphinx with warnings as errors, release notes, samples."""
    count = Count()
    for source, target in (
        ('doc/source', 'doc/build/html'),
        ('api-ref/source', 'api-ref/build/html'),
        ('releasenotes/source', 'releasenotes/build/html'),
    ):
        if (ROOT / source / 'conf.py').exists():
            count.add(
                check(
                    sys.executable,
                    '-m',
                    'sphinx',
                    '-W',
                    '-q',
                    '--keep-going',
                    '-b',
                    'html',
                    source,
                    target,
                )
            )
    return count


def demo() -> Count:
    return stestr('tests/demo')


def lab() -> Count:
    """Stories on real hypervisors."""
    if os.geteuid():
        print('lab: skipped, namespaces and hypervisors need root')
        return Count(skipped=1)
    return stestr('tests/lab', exclude='|'.join(LONG))


def lab_all() -> Count:
    """Every story on real hypervisors."""
    return stestr('tests/lab', NOVA_HA_LAB_ALL='1')


KINDS = {
    'style': style,
    'unit': unit,
    'scenarios': scenarios,
    'functional': functional,
    'wheel': wheel,
    'docs': docs,
    'demo': demo,
    'lab': lab,
    'functional-all': functional_all,
    'lab-all': lab_all,
}
# They take long and contain others.
ON_DEMAND = ('functional-all', 'lab-all')
# Stories on the lab that tell little which another one does not, or that take
# minutes.
LONG = (
    r'test_breaking\.BmcTest\.test_both_protocols',
    r'test_engines\.(Alone|Cut|Standstill)Test',
    r'test_progress\.',
    r'test_telemetry\.(?!NotificationTest)',
    r'test_power\.(NamesDiffer|OwnDisks|TwoHosts|WithoutGnocchi)Test',
    r'test_still_alive\.(Agent|Bmc|Database|ManagementNetwork|OwnReach|'
    r'Return)Test',
)


def main() -> int:
    """Run the kinds; the exit status is 1 when anything failed."""
    parser = argparse.ArgumentParser(prog='tools/test', description=__doc__)
    parser.add_argument(
        'kind',
        nargs='*',
        help=f'one of {", ".join(KINDS)}; all of them if none is named, but '
        f'{", ".join(ON_DEMAND)}',
    )
    kinds = parser.parse_args().kind or [
        kind for kind in KINDS if kind not in ON_DEMAND
    ]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        parser.error(
            f'no such kind: {", ".join(unknown)}; expected one of '
            f'{", ".join(KINDS)}'
        )
    rows, total = [], Count()
    for kind in kinds:
        print(f'=== {kind}', flush=True)
        began = time.monotonic()
        count = KINDS[kind]()
        rows.append((kind, count, time.monotonic() - began))
        total.add(count)
    for failure in total.failures:
        print(f'=== failed\n{failure}')
    print('=== summary')
    for kind, count, seconds in rows:
        print(
            f'{kind:12} passed {count.passed:5}  failed {count.failed:4}  '
            f'skipped {count.skipped:4}  {seconds:6.1f} s'
        )
    print(
        f'{total.passed} passed, {total.failed} failed, '
        f'{total.skipped} skipped'
    )
    return 1 if total.failed else 0


if __name__ == '__main__':
    sys.exit(main())
