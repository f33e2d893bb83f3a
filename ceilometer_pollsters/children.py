# SPDX-License-Identifier: Apache-2.0

"""Probes that can hang, each in a process of its own, asked with a deadline.

A thread that waits for a disk or for libvirtd cannot be ended, a process
mostly can. One that cannot, because the kernel waits for a disk as well, is
counted and left alone: a new one each cycle would wait beside it, until the
host has no process numbers left.

A child is asked by one line of JSON and answers by one. Whatever else it has
to say, it may say at any time: a line with the key ``event``. The end in the
child is ``answering``.
"""

from collections.abc import Callable
from collections.abc import Sequence
import json
import os
import queue
import select
import selectors
import signal
import subprocess
import sys
import threading
import time
import typing
from typing import Any

from oslo_log import log

from nova_ha_plugins import printable

LOG = log.getLogger(__name__)

# Seconds within which a killed process is gone, unless the kernel holds it.
DYING = 1.0
# Seconds that a process may take to start on a machine with much to do; what
# it asks for is not called down for that.
STARTING = 4.0
# Bytes of one line; thousands of servers fit, a child gone mad does not.
LONGEST_LINE = 16 * 2**20
# Characters kept of what a child complains last.
LAST_WORDS = 400

_CHUNK = 65536

Told = Callable[[dict[str, Any]], None]


class Late(Exception):
    """There was no answer within the deadline; the child was killed."""


class Stuck(Exception):
    """The last child could not be killed and is still there.

    Nothing was started.
    """


class Broken(Exception):
    """The child ended, could not be started or spoke nonsense."""


def program(module: str) -> list[str]:
    """Return the command that runs a module of ours, whatever lies around."""
    return [sys.executable, '-P', '-m', module]


class _Running:
    """One process, and the thread that reads what it says.

    :ivar answers: what it answered; a text if there will be no answer.
    :ivar ended: it says nothing any more.
    """

    def __init__(
        self, name: str, command: Sequence[str], told: Told | None
    ) -> None:
        self.answers: queue.SimpleQueue[dict[str, Any] | str] = (
            queue.SimpleQueue()
        )
        self.ended = False
        self._name = name
        self._told = told
        self._words = b''
        # A session of its own: what it starts is killed with it.
        self.process = subprocess.Popen(  # noqa: S603 - no shell, our command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        # A pipe, because one was asked for, which the type does not say.
        self._input = typing.cast(typing.IO[bytes], self.process.stdin)
        threading.Thread(
            target=self._read, name=f'told-by-{name}', daemon=True
        ).start()

    def write(self, line: bytes, until: float) -> bool:
        """Send a line; whether all of it went before the time was over.

        A child that is stopped reads nothing, and the pipe may be full.
        """
        fd = self._input.fileno()
        os.set_blocking(fd, False)
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        while line:
            left = until - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return False
            try:
                line = line[os.write(fd, line) :]
            except BlockingIOError:
                continue
        return True

    def kill(self) -> bool:
        """End it and what it started; whether it is gone.

        The number of one that was seen to end may be somebody else's by now.
        """
        if self.process.returncode is not None:
            return True
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            # Gone already; if not, the wait says so.
            pass
        return self.wait(DYING)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within some seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def is_over(self) -> bool:
        """Whether it ended by itself, or answered what nobody asked."""
        return self.ended or not self.answers.empty() or self.wait(0)

    def hang_up(self) -> None:
        """Close its input, which asks it to end."""
        try:
            self._input.close()
        except OSError:
            pass

    def _read(self) -> None:
        """Pass on what the child says, until it says nothing any more."""
        output = typing.cast(typing.IO[bytes], self.process.stdout)
        complaints = typing.cast(typing.IO[bytes], self.process.stderr)
        rest = b''
        with selectors.DefaultSelector() as selector, output, complaints:
            selector.register(output, selectors.EVENT_READ)
            selector.register(complaints, selectors.EVENT_READ)
            while output in selector.get_map():
                for key, _ in selector.select():
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is complaints:
                        self._words = (self._words + chunk)[-LAST_WORDS:]
                    else:
                        *lines, rest = (rest + chunk).split(b'\n')
                        for line in lines:
                            self._heard(line)
                if len(rest) > LONGEST_LINE:
                    self.answers.put(
                        f'spoke a line of more than {LONGEST_LINE} bytes'
                    )
                    return
        self.ended = True
        self.answers.put(self._farewell())

    def _heard(self, line: bytes) -> None:
        try:
            item = json.loads(line)
        except ValueError:
            item = None
        if not isinstance(item, dict):
            self.answers.put(
                'answered what is no object of JSON: '
                f'{line[:LAST_WORDS].decode(errors="replace")!r}'
            )
        elif 'event' not in item:
            self.answers.put(item)
        elif self._told:
            try:
                self._told(item)
            except Exception:
                # The next answer must not be lost for one event.
                LOG.exception("An event of child '%s' was lost", self._name)

    def _farewell(self) -> str:
        words = printable.line(self._words.decode(errors='replace').strip())
        ended = self.wait(DYING)
        how = f'with {self.process.returncode}' if ended else 'its output'
        return f'ended {how}: {words or "it said nothing"}'


class Child:
    """A program that answers questions, started when it is first asked.

    :ivar name: what it is called in texts.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        deadline: float,
        told: Told | None = None,
    ) -> None:
        """Prepare a child; nothing is started yet.

        :param deadline: seconds for an answer, the start included.
        :param told: is called with each event, in a thread of the child's; a
            child with events lives from the first question on.
        """
        self.name = name
        self._command = tuple(command)
        self._deadline = deadline
        self._told = told
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._undead: list[_Running] = []

    @property
    def stuck(self) -> int:
        """How many children of this name could not be killed yet."""
        self._undead = [one for one in self._undead if not one.wait(0)]
        return len(self._undead)

    @property
    def pid(self) -> int | None:
        """The process that would be asked, None if it is to be started."""
        running = self._running
        if running is None or running.wait(0):
            return None
        return running.process.pid

    @property
    def starting(self) -> float:
        """Seconds more that the next answer may take: its process starts."""
        return STARTING if self.pid is None and not self.stuck else 0.0

    def ask(
        self, request: dict[str, Any], deadline: float | None = None
    ) -> dict[str, Any]:
        """Return the answer to a question.

        :raises Late: there was none in time.
        :raises Stuck: an earlier child still waits in the kernel.
        :raises Broken: the child cannot be talked to; the text says why.
        """
        seconds = self._deadline if deadline is None else deadline
        until = time.monotonic() + seconds
        if not self._lock.acquire(timeout=seconds):
            raise Late(
                f"Child '{self.name}' was busy with another question for "
                f'{seconds:g}s'
            )
        try:
            return self._ask(request, until, seconds)
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            if self._running:
                self._running.hang_up()
                self._bury()

    def _ask(
        self, request: dict[str, Any], until: float, seconds: float
    ) -> dict[str, Any]:
        running, is_new = self._start()
        answer = self._exchange(running, request, until, seconds)
        if isinstance(answer, str) and running.ended and not is_new:
            # It may have died before it was asked.
            self._bury()
            running, _ = self._start()
            answer = self._exchange(running, request, until, seconds)
        if isinstance(answer, str):
            self._bury()
            raise Broken(f"Child '{self.name}' {answer}")
        return answer

    def _exchange(
        self,
        running: _Running,
        request: dict[str, Any],
        until: float,
        seconds: float,
    ) -> dict[str, Any] | str:
        """Return the answer of one process, a text if it gives none."""
        line = json.dumps(request).encode() + b'\n'
        try:
            sent = running.write(line, until)
            return running.answers.get(
                timeout=max(0.0, until - time.monotonic()) if sent else 0
            )
        except queue.Empty:
            self._bury()
            raise Late(
                f"Child '{self.name}' did not answer within {seconds:g}s; it "
                + (
                    'could not be killed, so nothing is asked until it is gone'
                    if self._undead
                    else 'was killed and is started again'
                )
            ) from None
        except OSError as error:
            running.ended = True
            return self._last(running) or f'could not be asked: {error}'

    @staticmethod
    def _last(running: _Running) -> str:
        """Return what a child that reads no more said about that."""
        try:
            answer = running.answers.get(timeout=DYING)
        except queue.Empty:
            return ''
        return answer if isinstance(answer, str) else ''

    def _start(self) -> tuple[_Running, bool]:
        """Return the process to ask, and whether it is a new one."""
        running = self._running
        if running and not running.is_over():
            return running, False
        self._bury()
        if self.stuck:
            raise Stuck(
                f"Child '{self.name}' is not started: process "
                f'{self._undead[0].process.pid} could not be killed and is '
                'still there, so it waits for the kernel'
            )
        try:
            self._running = _Running(self.name, self._command, self._told)
        except OSError as error:
            raise Broken(
                f"Child '{self.name}' could not be started: {error}"
            ) from error
        return self._running, True

    def _bury(self) -> None:
        """End the child that runs, or count it among those that will not."""
        running, self._running = self._running, None
        if running:
            if not running.kill():
                self._undead.append(running)
            running.hang_up()
