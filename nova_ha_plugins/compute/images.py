# SPDX-License-Identifier: Apache-2.0

"""How long images are, asked for in the background and remembered.

The image service may not answer for minutes. Whoever samples never waits for
it: a question has a thread of its own, there are few of them, and an answer
that does not come soon counts as none.
"""

import collections
from collections import abc
import dataclasses
import logging
import threading
import time
import typing

LOG = logging.getLogger(__name__)

# An image never changes.
_REMEMBERED = 256
_AT_ONCE = 4
_PATIENCE = 15.0

# After a failure, how long nobody asks again.
_REST = 60.0

# Everything else has to be converted where disks are raw.
_RAW_FORMATS = frozenset({'raw', 'iso', 'ami', 'ari', 'aki'})


@dataclasses.dataclass(frozen=True)
class Image:
    """What the image service says of an image.

    :ivar size: bytes to fetch.
    """

    size: int
    disk_format: str

    @property
    def is_raw(self) -> bool:
        """Whether its bytes are those of a disk."""
        return self.disk_format in _RAW_FORMATS


@dataclasses.dataclass
class _Question:
    asked_at: float
    answered: bool = False
    image: Image | None = None


class Images:
    """What is known of images.

    :param fetch: gives an image by its id; may block, may raise.
    """

    def __init__(
        self,
        fetch: abc.Callable[[typing.Any, str], Image | None],
        clock: abc.Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._questions: collections.OrderedDict[str, _Question] = (
            collections.OrderedDict()
        )
        self._running = 0

    def of(
        self, image_id: str, context: typing.Any
    ) -> tuple[Image | None, bool]:
        """Give the image, and whether waiting longer is no use.

        :param context: of the request for whom nova reads the image as well.
        """
        with self._lock:
            question = self._questions.get(image_id)
            if question is None:
                if self._running >= _AT_ONCE:
                    return None, True
                self._ask(image_id, context)
                return None, False
            age = self._clock() - question.asked_at
            if question.image is None and age > _REST:
                del self._questions[image_id]
            settled = question.answered or age > _PATIENCE
            return question.image, settled

    def _ask(self, image_id: str, context: typing.Any) -> None:
        question = _Question(self._clock())
        self._questions[image_id] = question
        while len(self._questions) > _REMEMBERED:
            self._questions.popitem(last=False)
        self._running += 1
        try:
            threading.Thread(
                target=self._answer,
                args=(image_id, context, question),
                name='nova-ha-image',
                daemon=True,
            ).start()
        except RuntimeError:
            # No more threads in this process: it has other worries.
            self._running -= 1
            question.answered = True

    def _answer(
        self, image_id: str, context: typing.Any, question: _Question
    ) -> None:
        try:
            question.image = self._fetch(context, image_id)
        except Exception as error:
            LOG.info(
                'Image %s has an unknown length: expected it from the image '
                'service, found %s. Bytes are shown once it is fetched.',
                image_id,
                error,
            )
        finally:
            with self._lock:
                question.answered = True
                self._running -= 1
