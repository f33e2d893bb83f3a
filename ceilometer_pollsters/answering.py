# SPDX-License-Identifier: Apache-2.0

"""The end of a probe in the child: answers lines, and ends with its parent.

Standard library only, so that a child starts fast and stays small.
"""

from collections.abc import Callable
import json
import os
import queue
import select
import signal
import sys
import threading
from typing import Any

# Seconds between looks at who the parent is, for a parent whose end of the
# pipe is held open by somebody else.
LOOK = 2.0

_CHUNK = 65536

_saying = threading.Lock()


def say(item: dict[str, Any]) -> None:
    """Write one line to the parent, whole, from any thread."""
    line = json.dumps(item).encode() + b'\n'
    with _saying:
        while line:
            line = line[os.write(1, line) :]


def _listen(requests: 'queue.SimpleQueue[bytes]', parent: int) -> None:
    """Queue what the parent asks; end the process when the parent is gone.

    In a thread, because the main one may be in a call that never returns.
    """
    poll = select.poll()
    poll.register(0, select.POLLIN)
    rest = b''
    while os.getppid() == parent:
        if poll.poll(LOOK * 1000):
            chunk = os.read(0, _CHUNK)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b'\n')
            for line in lines:
                requests.put(line)
    os._exit(0)


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer the parent until it hangs up; never returns.

    What ``answer`` raises ends the child, and the parent reads the traceback.
    What the child, or a library in it, prints goes where complaints go.
    """
    # The parent's terminal is not the child's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = sys.stderr
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(
        target=_listen,
        args=(requests, os.getppid()),
        name='parent',
        daemon=True,
    ).start()
    while True:
        say(answer(json.loads(requests.get())))
