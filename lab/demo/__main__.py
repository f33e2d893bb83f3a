# SPDX-License-Identifier: Apache-2.0

"""Shows the main job: a hypervisor dies, its HA servers come back.

The last line is one line of JSON; the exit status is 0 only if every server
with ha:policy=evacuate is elsewhere, in the state it had, with exactly one
domain in all drivers together, and no other server was touched.
"""

import argparse
import contextlib
import os
import pathlib
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback

from lab.demo import screen
from lab.demo import story
from lab.embedded import cloud as embedded
from lab.embedded import plan as planning

_FAILED = {
    'detect_s': None,
    'fence_s': None,
    'first_evacuation_s': None,
    'all_recovered_s': None,
    'servers_recovered': 0,
    'servers_lost': None,
    'servers_left': 0,
    'progress_monotonic': False,
    'host_returned': False,
    'ok': False,
}
# What ends the demo before its time; SIGHUP: its terminal was closed.
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='tools/demo', description=__doc__)
    parser.add_argument(
        '--servers',
        type=int,
        default=6,
        metavar='N',
        help='servers with ha:policy=evacuate (default 6)',
    )
    parser.add_argument(
        '--json', action='store_true', help='events as JSON lines'
    )
    parser.add_argument(
        '--crash-engine',
        metavar='STEP',
        choices=[*story.STEPS, 'random'],
        help='kill the engine with SIGKILL after this step and start it '
        'again: ' + ', '.join([*story.STEPS, 'random']),
    )
    parser.add_argument(
        '--keep',
        action='store_true',
        help='leave the cloud running until Ctrl-C and print how to use it',
    )
    parser.add_argument(
        '--directory',
        type=pathlib.Path,
        help='where logs and databases go (default: a temporary directory, '
        'removed at the end unless the demo failed)',
    )
    arguments = parser.parse_args(argv)
    if arguments.servers < 1:
        parser.error(
            f'--servers is {arguments.servers}, expected 1 or more: without '
            'a protected server a host is reported, never fenced'
        )
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run the demo; return its exit status."""
    arguments = _parse(argv)
    _prepare_process()
    directory = arguments.directory or pathlib.Path(
        tempfile.mkdtemp(prefix='nova-ha-demo-')
    )
    cloud = embedded.Cloud(directory, hosts=3, nova={'spawn_seconds': 1.0})
    summary = dict(_FAILED)
    told = None
    interrupted = False
    view = screen.choose(arguments.json)
    try:
        with view:
            view.say('start', f'Starting a small cloud in {directory}')
            began = time.monotonic()
            cloud.start()
            view.say(
                'cloud',
                'Keystone, nova with 3 hypervisors, placement, ceilometer, '
                'aodh and a Redfish BMC run after '
                f'{time.monotonic() - began:.1f} s',
            )
            told = story.Story(
                cloud,
                view,
                story.Plan(arguments.servers, arguments.crash_engine),
            )
            summary = told.tell()
    except KeyboardInterrupt:
        interrupted = True
    except (embedded.StartError, story.StoryError) as error:
        print(f'The demo failed: {error}', file=sys.stderr)
    except Exception:
        # The last line must be the summary whatever went wrong.
        traceback.print_exc()
    kept = arguments.keep and summary['ok']
    if kept:
        _keep(directory)
    else:
        _stop(cloud, told)
    if interrupted:
        print('Interrupted; nothing is left running', file=sys.stderr)
    elif not summary['ok']:
        print(f'Logs are in {directory}/log', file=sys.stderr)
    view.end(summary)
    if kept:
        _wait_for_interrupt()
        _stop(cloud, told)
    if arguments.directory is None and (summary['ok'] or interrupted):
        shutil.rmtree(directory, ignore_errors=True)
    return 0 if summary['ok'] else 1


def _prepare_process() -> None:
    """Make the process independent of whoever started it."""
    # OS_* names another cloud, a proxy leads away from loopback.
    for name in set(os.environ) - set(planning.child_environment()):
        del os.environ[name]
    for number in _ENDS:
        # Whoever ignores one of them (nohup, a job of a script) means it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    # Only the first one counts: the cleaning that it begins takes seconds.
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _stop(cloud: embedded.Cloud, told: story.Story | None) -> None:
    if told is not None:
        told.engine.stop()
    cloud.stop()


def _keep(directory: pathlib.Path) -> None:
    print('The cloud goes on. In another terminal:')
    for command in (
        f'cd {shlex.quote(str(planning.ROOT))}',
        f'. {shlex.quote(str(directory))}/openrc',
        'openstack server list --all-projects --long',
        'openstack server evacuation list',
        'openstack ha status',
        'openstack ha incident list',
        'python -m lab.embedded --directory '
        f'{shlex.quote(str(directory))} power cmp-2 hung',
        '# A second host within ten minutes is held until somebody looked:',
        'openstack ha incident show cmp-2',
        "openstack ha release cmp-2 --reason 'it does hang'",
        'openstack server evacuation list --host cmp-2',
    ):
        print(f'  {command}')
    print('Ctrl-C here ends it.', flush=True)


def _wait_for_interrupt() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


if __name__ == '__main__':
    sys.exit(main())
