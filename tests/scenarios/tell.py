# SPDX-License-Identifier: Apache-2.0

"""Tell what happened when a simulation fails."""

import contextlib
import logging
from collections.abc import Iterator

from tests.scenarios import invariants
from tests.scenarios import language


@contextlib.contextmanager
def what_happened(name: str) -> Iterator[None]:
    """Add the course of events to whatever goes wrong inside.

    :raises AssertionError: an expectation or an invariant failed.
    """
    logging.disable(logging.CRITICAL)
    try:
        yield
    except (invariants.Violation, Exception) as error:
        told = language.LAST[-1].told() if language.LAST else ''
        raise AssertionError(f'{name}\n{told}\n{error}') from error
    finally:
        logging.disable(logging.NOTSET)
