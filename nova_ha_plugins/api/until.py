# SPDX-License-Identifier: Apache-2.0

"""When something ends: a time or a duration, on the store's clock."""

import datetime
import re

# Longer is no exception any more: say it without an end.
LONGEST = 366 * 86400.0

_DURATION = re.compile(
    r'(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?'
    r'(?:([0-9]{1,8})s)?'
)
_SECONDS = (86400, 3600, 60, 1)


def parse(text: str, now: float) -> float:
    """Seconds since 1970 of what an operator wrote.

    A time without a zone is UTC, as are all times of the API.

    :param now: the store's clock.
    :raises ValueError: it is neither a time nor a duration, or is over.
    """
    at = _after(text, now)
    if at is None:
        at = _moment(text)
    if at is None:
        raise ValueError(
            f"Until '{text}' is not understood: expected a duration such as "
            "'30m', '2h' or '1d12h', or a time such as "
            f"'{_written(now + 3600)}' (UTC)"
        )
    if at <= now:
        raise ValueError(
            f"Until '{text}' is over: the clock of the database says "
            f'{_written(now)}. Give a later time, or a duration such as '
            "'2h'"
        )
    if at - now > LONGEST:
        raise ValueError(
            f"Until '{text}' is more than {LONGEST / 86400:.0f} days away: "
            'leave it out for something without an end'
        )
    return at


def _after(text: str, now: float) -> float | None:
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        return None
    return now + sum(
        int(number or 0) * seconds
        for number, seconds in zip(found.groups(), _SECONDS, strict=True)
    )


def _moment(text: str) -> float | None:
    # A day alone could mean its beginning or its end.
    if not re.search('[T ]', text):
        return None
    try:
        at = datetime.datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=datetime.UTC)
        return at.timestamp()
    except (ValueError, OverflowError):
        return None


def _written(at: float) -> str:
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.strftime('%Y-%m-%dT%H:%M:%SZ')
