# SPDX-License-Identifier: Apache-2.0

"""Tell what happened when a simulation fails, and nothing when it does not."""

from collections.abc import Iterator
import contextlib
import logging
import unittest

from tests.scenarios import invariants
from tests.scenarios import language


class QuietTest(unittest.TestCase):
    """A test whose engines do not write to the log."""

    def setUp(self) -> None:
        super().setUp()
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)


@contextlib.contextmanager
def what_happened(name: str) -> Iterator[None]:
    """Add the course of events to whatever goes wrong inside.

    :raises AssertionError: an expectation or an invariant failed.
    """
    try:
        yield
    except (invariants.Violation, Exception) as error:
        told = language.LAST[-1].told() if language.LAST else ''
        raise AssertionError(f'{name}\n{told}\n{error}') from error
