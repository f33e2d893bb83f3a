# SPDX-License-Identifier: Apache-2.0

"""Real children: one that answers, one that hangs, one that will not die."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import time
import unittest
from unittest import mock

from ceilometer_pollsters import children

# Small enough for a test, long enough for a machine that is busy.
SOON = 20.0
LATE = 0.3

ECHO = """
from ceilometer_pollsters import answering
import os, sys, time
def answer(request):
    if 'sleep' in request:
        time.sleep(request['sleep'])
    if 'push' in request:
        answering.say({'event': request['push']})
    if 'end' in request:
        print('so long', file=sys.stderr)
        os._exit(request['end'])
    if 'print' in request:
        print(request['print'], flush=True)
    return {'got': request, 'pid': os.getpid()}
answering.serve(answer)
"""


def python(text: str) -> list[str]:
    return [sys.executable, '-c', text]


def gone(pid: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        with open(f'/proc/{pid}/stat') as stat:
            return stat.read().rsplit(')', 1)[1].split()[0] == 'Z'
    return True


def wait(what, seconds: float = SOON) -> bool:
    end = time.monotonic() + seconds
    while not (value := what()) and time.monotonic() < end:
        time.sleep(0.01)
    return value


class ChildrenTest(unittest.TestCase):
    def child(self, text: str = ECHO, told=None) -> children.Child:
        child = children.Child('echo', python(text), SOON, told)
        self.addCleanup(child.close)
        return child

    def test_one_process_answers_all_questions(self):
        child = self.child()

        first = child.ask({'n': 1})
        second = child.ask({'n': 2})

        self.assertEqual({'n': 1}, first['got'])
        self.assertEqual({'n': 2}, second['got'])
        self.assertEqual(first['pid'], second['pid'])
        self.assertEqual(first['pid'], child.pid)

    def test_nothing_runs_before_the_first_question(self):
        self.assertIsNone(self.child().pid)

    def test_late_child_is_killed_and_the_next_question_answered(self):
        child = self.child()
        before = child.ask({})['pid']
        start = time.monotonic()

        with self.assertRaisesRegex(children.Late, "'echo'.*0.3s.*killed"):
            child.ask({'sleep': 600}, LATE)

        self.assertLess(time.monotonic() - start, SOON)
        self.assertTrue(gone(before))
        self.assertEqual(0, child.stuck)
        self.assertNotEqual(before, child.ask({})['pid'])

    def test_stopped_child_that_reads_nothing_is_late_and_killed(self):
        child = self.child()
        pid = child.ask({})['pid']
        os.kill(pid, signal.SIGSTOP)

        with self.assertRaises(children.Late):
            child.ask({'long': 'x' * 2**20}, LATE)

        self.assertTrue(gone(pid))

    def test_what_a_child_started_is_killed_with_it(self):
        child = self.child(
            'import subprocess, sys, time\n'
            "one = subprocess.Popen(['sleep', '600'])\n"
            'sys.stdin.readline()\n'
            'print(\'{"pid": %d}\' % one.pid, flush=True)\n'
            'time.sleep(600)\n'
        )
        pid = child.ask({})['pid']

        with self.assertRaises(children.Late):
            child.ask({}, LATE)

        self.assertTrue(wait(lambda: gone(pid)))

    def test_child_that_cannot_be_killed_is_counted_and_not_replaced(self):
        child = self.child()
        pid = child.ask({})['pid']
        # Or it would end by itself when its input is closed.
        os.kill(pid, signal.SIGSTOP)
        with (
            mock.patch.object(os, 'killpg', autospec=True),
            mock.patch.object(children, 'DYING', 0.05),
        ):
            with self.assertRaisesRegex(children.Late, 'could not be killed'):
                child.ask({}, LATE)

        for _ in range(2):
            with self.assertRaisesRegex(children.Stuck, str(pid)):
                child.ask({})
        self.assertEqual(1, child.stuck)
        self.assertIsNone(child.pid)

        os.kill(pid, signal.SIGKILL)
        self.assertTrue(wait(lambda: child.stuck == 0))
        self.assertNotEqual(pid, child.ask({})['pid'])

    def test_child_that_ends_is_broken_and_says_its_last_words(self):
        child = self.child()

        with self.assertRaisesRegex(children.Broken, 'with 7: so long'):
            child.ask({'end': 7})

        self.assertEqual({}, child.ask({})['got'])

    def test_child_that_died_between_questions_is_started_again(self):
        child = self.child()
        pid = child.ask({})['pid']
        os.kill(pid, signal.SIGKILL)
        self.assertTrue(wait(lambda: gone(pid)))

        self.assertNotEqual(pid, child.ask({})['pid'])

    def test_number_of_a_process_that_has_ended_is_not_killed(self):
        child = self.child()
        pid = child.ask({})['pid']
        os.kill(pid, signal.SIGKILL)
        self.assertTrue(wait(lambda: child.pid is None))

        # The kernel may have given it to somebody else.
        with mock.patch.object(os, 'killpg', autospec=True) as killpg:
            child.ask({})

        killpg.assert_not_called()

    def test_process_gets_time_to_start_and_only_for_that(self):
        child = self.child()
        self.assertEqual(children.STARTING, child.starting)

        child.ask({})

        self.assertEqual(0.0, child.starting)

    def test_last_words_forge_no_line_of_a_log(self):
        child = self.child(
            "import sys; sys.exit('one\\n2026-11-21 ERROR two \\x1b[2J')"
        )

        with self.assertRaises(children.Broken) as caught:
            child.ask({})

        self.assertTrue(str(caught.exception).isprintable())

    def test_death_that_was_not_noticed_yet_costs_no_answer(self):
        child = self.child()
        pid = child.ask({})['pid']
        os.kill(pid, signal.SIGKILL)
        self.assertTrue(wait(lambda: gone(pid)))

        with mock.patch.object(
            children._Running, 'is_over', autospec=True, return_value=False
        ):
            self.assertNotEqual(pid, child.ask({})['pid'])

    def test_question_that_kills_is_asked_twice_and_no_more(self):
        child = self.child()
        child.ask({})

        with self.assertRaisesRegex(children.Broken, 'with 7'):
            child.ask({'end': 7})

    def test_program_that_is_not_there_is_broken(self):
        child = children.Child('none', ['/nonexistent'], SOON)

        with self.assertRaisesRegex(children.Broken, "'none' could not be st"):
            child.ask({})

    def test_nonsense_is_broken_and_quoted(self):
        for text in ('nonsense', '[1]'):
            with self.subTest(text):
                child = self.child(
                    f"print({text!r}, flush=True)\ninput('')\ninput('')"
                )

                with self.assertRaises(children.Broken) as caught:
                    child.ask({})

                self.assertIn(text, str(caught.exception))

    def test_answer_that_nobody_asked_for_is_not_taken_for_the_next(self):
        child = self.child(
            'import sys, time\n'
            'for line in sys.stdin:\n'
            '    sys.stdout.write(\'{"n": 1}\\n{"n": 2}\\n\')\n'
            '    sys.stdout.flush()\n'
        )
        self.assertEqual({'n': 1}, child.ask({}))
        self.assertTrue(wait(lambda: not child._running.answers.empty()))

        self.assertEqual({'n': 1}, child.ask({}))

    def test_events_are_told_at_once_and_are_no_answers(self):
        told = queue.SimpleQueue()
        child = self.child(told=told.put)

        answer = child.ask({'push': 'crashed'})

        self.assertEqual({'event': 'crashed'}, told.get(timeout=SOON))
        self.assertEqual({'push': 'crashed'}, answer['got'])

    def test_listener_that_fails_loses_one_event_and_no_answer(self):
        told = mock.Mock(spec=lambda item: None, side_effect=ValueError)
        child = self.child(told=told)

        with self.assertLogs(children.LOG.logger, 'ERROR'):
            child.ask({'push': 'crashed'})

        self.assertEqual({}, child.ask({})['got'])

    def test_what_a_library_prints_is_no_answer(self):
        answer = self.child().ask({'print': 'libvirt: error'})

        self.assertEqual({'print': 'libvirt: error'}, answer['got'])

    def test_endless_line_is_broken(self):
        child = self.child("while True: print('x' * 65536, end='')")

        with mock.patch.object(children, 'LONGEST_LINE', 10**6):
            with self.assertRaisesRegex(children.Broken, 'more than 1000000'):
                child.ask({})

    def test_two_callers_wait_for_each_other_within_the_deadline(self):
        child = self.child()
        child.ask({})

        with child._lock:
            with self.assertRaisesRegex(children.Late, 'another question'):
                child.ask({}, 0.05)

        self.assertEqual({}, child.ask({})['got'])

    def test_close_ends_the_child(self):
        child = self.child()
        pid = child.ask({})['pid']

        child.close()

        self.assertTrue(gone(pid))
        self.assertIsNone(child.pid)

    def test_child_in_a_call_ends_when_its_parent_is_killed(self):
        parent = subprocess.Popen(
            python(
                'from ceilometer_pollsters import children\n'
                f'child = children.Child("c", {python(ECHO)!r}, 60)\n'
                'print(child.ask({})["pid"], flush=True)\n'
                'child.ask({"sleep": 600})\n'
            ),
            stdout=subprocess.PIPE,
        )
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.communicate()

        self.assertTrue(wait(lambda: gone(pid)))


if __name__ == '__main__':
    unittest.main()
