# SPDX-License-Identifier: Apache-2.0

"""Kinds of arguments, and help whose examples can be copied."""

import argparse
import math

from cliff import _argparse
from osc_lib.command import command


class _Formatter(_argparse.SmartHelpFormatter):
    """Wraps paragraphs, but keeps the lines of what is indented.

    The text is reStructuredText at the same time: the reference is made of it.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = []
        for part in text.replace('::\n\n', ':\n\n').split('\n\n'):
            if part.startswith(' '):
                filled.append(part)
            else:
                filled.append(super()._fill_text(part, width, indent))
        return '\n\n'.join(filled)


class Taught(command.Command):
    """A command whose help ends with examples.

    :cvar examples: text and indented blocks, divided by empty lines.
    """

    examples = ''

    def get_epilog(self) -> str:
        return '\n\n'.join(
            (self.examples.rstrip(), super().get_epilog().strip())
        )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.formatter_class = _Formatter
        return parser


def positive(text: str) -> float:
    """Give a number above zero."""
    number = _number(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(
            f"expected a number above 0, found '{text}'"
        )
    return number


def not_negative(text: str) -> float:
    """Give a number that is zero or above."""
    number = _number(text)
    if number < 0:
        raise argparse.ArgumentTypeError(
            f"expected 0 or a number above, found '{text}'"
        )
    return number


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"expected a number, found '{text}'")
    return number


def count(text: str) -> int:
    """Give how many, at least one."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(
            f"expected 1 or a number above, found '{text}'"
        )
    return number
