# SPDX-License-Identifier: Apache-2.0

"""The thread in nova-compute that watches evacuations to this host.

Whoever tells it something never waits: a word is queued or dropped. Whatever
goes wrong here, be it a file, the conductor or our own code, costs numbers
and nothing else. The thread lives only while there is work, and rests at
least three times as long as it works, so that many evacuations at once mean
fewer looks and not more load.
"""

from collections import abc
import contextlib
import logging
import queue
import threading
import time
import typing

from nova_ha_plugins.compute import images
from nova_ha_plugins.compute import tally
from nova_ha_plugins.compute import watched

LOG = logging.getLogger(__name__)

# RPC executors of nova-compute run 64 evacuations at once; each is two words.
_QUEUE = 1024

_REST_PER_WORK = 3.0
_LONGEST_REST = 30.0

# After a failure of the conductor: the first pause, and the longest.
_FIRST_PAUSE = 5.0
_LAST_PAUSE = 60.0

# How long the end of one is worth another attempt while nobody answers, and
# how long one without a task is followed although no end was heard.
_END_PATIENCE = 900.0

_MAX_FAILURES = 5

# Nova sends its two formats one after the other.
_BOTH_FORMATS = 5.0

Word = watched.Start | watched.End | str


class Records(typing.Protocol):
    """The door to nova's records; :mod:`nova_ha_plugins.compute.records`."""

    def find_image(
        self, context: typing.Any, image_id: str
    ) -> images.Image | None:
        """Give an image, None if its length is not known."""

    def find_evacuation(self, host: str, server: str, source: str) -> object:
        """Give the record that the host works on, or raise Gone."""

    def find_servers(self, uuids: abc.Sequence[str]) -> dict[str, typing.Any]:
        """Give the servers that exist."""

    def save_bytes(self, record: typing.Any, counted: tally.Tally) -> None:
        """Write the bytes, or raise Gone."""

    def save_progress(self, server: typing.Any, value: int) -> None:
        """Write the percentage, or raise Gone."""

    def end_progress(self, server: typing.Any) -> None:
        """Set the percentage back to 0, or raise Gone."""

    def forget_progress(self, host: str) -> list[str]:
        """Set back what was left on servers on the way to a host."""


class Sampler:
    """Watches files and writes what they say into nova's records.

    :param conf: nova's configuration; its values are read when they count.
    """

    def __init__(
        self,
        conf: typing.Any,
        records: Records,
        clock: abc.Callable[[], float] = time.monotonic,
    ) -> None:
        self._conf = conf
        self._records = records
        self._clock = clock
        self._words: queue.Queue[Word] = queue.Queue(_QUEUE)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._items: dict[tuple[str, str], watched.Watched] = {}
        self._images = images.Images(records.find_image)
        self._hosts_to_clear: dict[str, int] = {}
        self._pause = 0.0
        self._quiet_until = 0.0

    def tell(self, word: Word) -> bool:
        """Queue what nova-compute does; False if it was dropped.

        :param word: a start, an end, or the name of a host whose nova-compute
            has just come up.
        """
        try:
            self._words.put_nowait(word)
        except queue.Full:
            return False
        # The lock is held for moments. A process that was forked in one of
        # them has no thread and no evacuation to watch either.
        if self._lock.acquire(timeout=0.1):
            try:
                self._start()
            finally:
                self._lock.release()
        return True

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is left to do; False if that takes longer."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = threading.Thread(
            target=self._run, name='nova-ha-progress', daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        due = self._clock()
        while not self._is_idle():
            began = self._clock()
            try:
                whole = self._hear(due)
                began = self._clock()
                self._round(whole=whole)
            except Exception:
                # Ours, or what nova raised: the next round is the retry.
                self._fail()
                whole = True
            if whole:
                now = self._clock()
                due = now + self._rest(now - began)

    def _rest(self, worked: float) -> float:
        rest = min(_REST_PER_WORK * worked, _LONGEST_REST)
        return max(float(self._conf.nova_ha_progress.sample_interval), rest)

    def _is_idle(self) -> bool:
        """Say whether the thread may end, and if so, end it for others."""
        with self._lock:
            idle = (
                not self._items
                and not self._hosts_to_clear
                and self._words.empty()
            )
            if idle:
                self._thread = None
            return idle

    def _hear(self, due: float) -> bool:
        """Take words until the next round is due; False if an end came first.

        A number must not outlive the work by a whole rest.
        """
        ended = False
        while True:
            left = 0.0 if ended else max(due - self._clock(), 0.0)
            try:
                word = self._words.get(left > 0, left)
            except queue.Empty:
                return not ended
            self._try_to_take(word)
            ended = ended or isinstance(word, watched.End)

    def _try_to_take(self, word: Word) -> None:
        try:
            self._take(word)
        except Exception:
            LOG.warning(
                'Not followed, whatever becomes of it: %s. Expected to begin '
                'or end the watch over an evacuation, found an error; the '
                'evacuation goes on.',
                word,
                exc_info=True,
            )

    def _take(self, word: Word) -> None:
        if isinstance(word, str):
            self._hosts_to_clear.setdefault(word, 0)
            return
        key = (word.host, word.server)
        if isinstance(word, watched.Start):
            if self._is_repeated(key, word):
                return
            item = watched.Watched(word, watched.storage_of(self._conf))
            self._items[key] = item
            # Now, before nova makes the first file.
            self._look(item)
        elif key in self._items:
            self._items[key].end = word
            self._items[key].ended_at = self._clock()

    def _is_repeated(self, key: tuple[str, str], start: watched.Start) -> bool:
        """Say whether this is the same start in nova's other format."""
        item = self._items.get(key)
        return (
            item is not None
            and item.end is None
            and start.at - item.start.at < _BOTH_FORMATS
        )

    def _round(self, *, whole: bool) -> None:
        """Look at all files and tell nova what is new.

        :param whole: False to do it only for what has ended.
        """
        items = {
            key: item
            for key, item in self._items.items()
            if whole or item.end is not None
        }
        for item in items.values():
            self._look(item)
        if self._clock() < self._quiet_until:
            return
        self._clear()
        servers = {}
        if items:
            servers = self._records.find_servers(
                sorted({item.start.server for item in items.values()})
            )
        for key, item in items.items():
            if self._is_through(item, servers.get(item.start.server)):
                self._items.pop(key)
        self._pause = 0.0

    def _look(self, item: watched.Watched) -> None:
        """Look at the files of one; if that fails, the others go on."""
        try:
            item.look(self._images)
        except Exception:
            LOG.log(
                logging.DEBUG if item.failures else logging.WARNING,
                'Bytes of server %s are not counted: expected to look at its '
                'files, found an error. Its evacuation goes on; the next '
                'look tries again.',
                item.start.server,
                exc_info=True,
            )
            item.failures += 1

    def _is_through(self, item: watched.Watched, server: typing.Any) -> bool:
        """Report one evacuation, and say whether that was the last time."""
        try:
            self._report(item, server)
        except watched.Gone as gone:
            LOG.debug('Not followed any more: %s', gone)
            return True
        except Exception:
            # One that we cannot cope with must not stop the others for ever.
            item.failures += 1
            if item.failures < _MAX_FAILURES:
                raise
            LOG.warning(
                'Progress of server %s is not written any more: %d attempts '
                'to write it failed. Its evacuation goes on.',
                item.start.server,
                item.failures,
                exc_info=True,
            )
            # What it shows is taken back all the same, once it has ended.
            through = item.given_up or not item.mirror.has_tried
            item.given_up = True
            item.failures = 0
            return through
        item.failures = 0
        return item.end is not None

    def _clear(self) -> None:
        """Set back what a nova-compute that was killed has left."""
        for host in sorted(self._hosts_to_clear):
            self._hosts_to_clear[host] += 1
            if self._hosts_to_clear[host] == _MAX_FAILURES:
                # Old numbers matter less than those of today's evacuations.
                del self._hosts_to_clear[host]
                continue
            for server in self._records.forget_progress(host):
                LOG.info(
                    'Progress of server %s set back to 0: left by an '
                    'evacuation to this host that nobody works on',
                    server,
                )
            del self._hosts_to_clear[host]

    def _report(self, item: watched.Watched, server: typing.Any) -> None:
        """Write what is new of one evacuation.

        :raises Gone: if there is no use in following it.
        """
        if server is None:
            raise watched.Gone(f'server {item.start.server} is deleted')
        self._notice_lost_end(item, server)
        if not item.given_up:
            self._write_bytes(item, server)
        if item.end is not None:
            self._end(item, server)
        elif self._conf.nova_ha_progress.mirror_progress and not item.given_up:
            self._show(item, server)

    def _write_bytes(self, item: watched.Watched, server: typing.Any) -> None:
        start = item.start
        if item.record is None:
            item.record = self._records.find_evacuation(
                start.host, start.server, start.source
            )
        item.learn(server, self._images)
        if item.unsaved:
            self._records.save_bytes(item.record, item.tally)
            item.saved()

    def _notice_lost_end(
        self, item: watched.Watched, server: typing.Any
    ) -> None:
        """End what nobody works on any more, if its end was not heard."""
        now = self._clock()
        if server.task_state is not None or item.worked_at is None:
            item.worked_at = now
        elif item.end is None and now - item.worked_at > _END_PATIENCE:
            here = server.host == item.start.host
            item.end = watched.End(item.start.server, item.start.host, here)

    def _show(self, item: watched.Watched, server: typing.Any) -> None:
        value = item.percent(server.task_state)
        now = self._clock()
        if value is not None and item.mirror.owes(value, now):
            item.mirror.tries(value)
            # A task that has moved on in the meantime: the next look tells.
            with contextlib.suppress(watched.Gone):
                self._records.save_progress(server, value)
                item.mirror.wrote(value, now)

    def _end(self, item: watched.Watched, server: typing.Any) -> None:
        """Take back the number, unless somebody else has written since."""
        if item.mirror.is_ours(server.progress):
            self._records.end_progress(server)

    def _fail(self) -> None:
        """Leave the conductor alone for a while, longer each time."""
        first = not self._pause
        self._pause = min(max(_FIRST_PAUSE, self._pause * 2), _LAST_PAUSE)
        now = self._clock()
        self._quiet_until = now + self._pause
        LOG.log(
            logging.WARNING if first else logging.DEBUG,
            'Progress of %d evacuations to this host is not written: expected '
            'nova-conductor to take it, found an error. They go on; the next '
            'attempt is in %d s.',
            len(self._items),
            self._pause,
            exc_info=True,
        )
        for key, item in list(self._items.items()):
            if item.end is not None and now - item.ended_at > _END_PATIENCE:
                self._items.pop(key)
