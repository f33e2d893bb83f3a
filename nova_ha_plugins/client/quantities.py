# SPDX-License-Identifier: Apache-2.0

"""Seconds and bytes as people say them."""

_UNITS = ('bytes', 'KiB', 'MiB', 'GiB', 'TiB')


def duration(seconds: float) -> str:
    """Give a time span with as much of it as matters: ``1 min 20 s``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f'{whole} s'
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f'{minutes} min {rest} s' if rest else f'{minutes} min'
    # The seconds of so many minutes are not known.
    minutes = round(whole / 60)
    if minutes < 60:
        return f'{minutes} min'
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if minutes else f'{hours} h'


def size(amount: int) -> str:
    """Give an amount of bytes in the unit that suits it: ``512 MiB``."""
    number, unit = _scaled(amount, amount)
    return f'{number} {unit}'


def part(done: int, total: int) -> str:
    """Give how much of an amount of bytes there is: ``310 of 512 MiB``."""
    number, _ = _scaled(done, total)
    return f'{number} of {size(total)}'


def _scaled(amount: int, like: int) -> tuple[str, str]:
    """Give a number in the unit that suits another one."""
    power = 0
    while like >= 1024 and power < len(_UNITS) - 1:
        like //= 1024
        power += 1
    number = amount / 1024**power
    digits = 1 if number < 10 and number != round(number) else 0
    return f'{number:.{digits}f}', _UNITS[power]
