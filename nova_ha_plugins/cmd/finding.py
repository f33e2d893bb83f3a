# SPDX-License-Identifier: Apache-2.0

"""A finding: what one check found, as a sentence."""

import dataclasses
import enum


class Level(enum.StrEnum):
    """How much a finding asks of the operator."""

    OK = 'ok'
    NOTE = 'note'
    ACTION = 'to do'


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    level: Level
    text: str


def ok(check: str, text: str) -> Finding:
    """A finding that asks for nothing."""
    return Finding(check, Level.OK, text)


def note(check: str, text: str) -> Finding:
    """A finding that is good to know."""
    return Finding(check, Level.NOTE, text)


def action(check: str, text: str) -> Finding:
    """A finding that asks for something to be done."""
    return Finding(check, Level.ACTION, text)
