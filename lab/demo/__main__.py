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
import shutil
import signal
import sys
import tempfile
import time
import traceback

from lab.demo import embedded
from lab.demo import screen
from lab.demo import stage as stages
from lab.demo import story
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
        metavar='N',
        help='servers with ha:policy=evacuate (default 6; 3 with --lab, '
        'whose guests are emulated)',
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
        '--lab',
        action='store_true',
        help='on real services and hypervisors that lose their power; needs '
        'root, see tools/lab --help',
    )
    parser.add_argument(
        '--attach',
        action='store_true',
        help='with --lab and --directory: on the lab that is up there',
    )
    parser.add_argument(
        '--directory',
        type=pathlib.Path,
        help='where logs and databases go (default: a temporary directory, '
        'removed at the end unless the demo failed)',
    )
    arguments = parser.parse_args(argv)
    if arguments.servers is None:
        arguments.servers = 3 if arguments.lab else 6
    if arguments.attach and not (arguments.lab and arguments.directory):
        parser.error('--attach needs --lab and --directory')
    if arguments.lab and os.geteuid():
        parser.error('--lab makes namespaces and hypervisors: run it as root')
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
    stage = _stage(arguments, directory)
    summary = dict(_FAILED)
    interrupted = False
    view = screen.choose(arguments.json)
    try:
        with view:
            view.say('start', f'Starting a small cloud in {directory}')
            began = time.monotonic()
            stage.start(lambda text: view.say('stage', text))
            view.say(
                'cloud',
                f'{stage.title} run after {time.monotonic() - began:.1f} s',
            )
            summary = story.Story(
                stage,
                view,
                story.Plan(
                    arguments.servers,
                    arguments.crash_engine,
                    timeout=300.0 if arguments.lab else 120.0,
                ),
            ).tell()
    except KeyboardInterrupt:
        interrupted = True
    except (stages.StageError, story.StoryError) as error:
        print(f'The demo failed: {error}', file=sys.stderr)
    except Exception:
        # The last line must be the summary whatever went wrong.
        traceback.print_exc()
    kept = arguments.keep and summary['ok']
    if kept:
        _keep(stage)
    else:
        stage.stop()
    if interrupted:
        print('Interrupted; nothing is left running', file=sys.stderr)
    elif not summary['ok']:
        print(f'Logs are in {directory}/log', file=sys.stderr)
    view.end(summary)
    if kept:
        _wait_for_interrupt()
        stage.stop()
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


def _stage(
    arguments: argparse.Namespace, directory: pathlib.Path
) -> stages.Stage:
    if not arguments.lab:
        return embedded.EmbeddedStage(directory)
    # It needs what 'tools/env --lab' installs.
    from lab.demo import real
    from lab import lab as labs

    if arguments.attach:
        return real.LabStage(directory, labs.attach(directory))
    return real.LabStage(directory)


def _keep(stage: stages.Stage) -> None:
    print('The cloud goes on. In another terminal:')
    for command in (
        *stage.usage(),
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
