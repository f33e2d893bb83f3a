# SPDX-License-Identifier: Apache-2.0

"""Read the body of an HTTP answer within a deadline.

The timeout of a socket starts anew with every byte that arrives; a server
that dribbles would never reach it.
"""

import io
import time
import typing

import requests
from urllib3 import exceptions as urllib3_exc

_CHUNK = 65536
# Without read1 (urllib3 before 2.1) a read waits until it is complete.
_SMALL_CHUNK = 256


def read(response: requests.Response, deadline: float, limit: int) -> bytes:
    """Return the body of a response that was asked for with ``stream``.

    :param deadline: on the clock of ``time.monotonic``.
    :param limit: the most bytes that can be right.
    :raises requests.RequestException: it did not come, not in time, or there
        is no end of it.
    """
    raw: typing.Any = response.raw
    one = getattr(raw, 'read1', None)
    parts = io.BytesIO()
    try:
        while True:
            part = (
                raw.read(_SMALL_CHUNK, decode_content=True)
                if one is None
                else one(_CHUNK, decode_content=True)
            )
            if not part:
                return parts.getvalue()
            parts.write(part)
            if time.monotonic() > deadline:
                raise requests.Timeout('the answer did not end in time')
            if parts.tell() > limit:
                raise requests.RequestException('the answer is too long')
    except (urllib3_exc.HTTPError, OSError, ValueError) as exc:
        if isinstance(exc, requests.RequestException):
            raise
        raise requests.ConnectionError(f'the answer broke off: {exc}') from exc
    finally:
        response.close()
