# SPDX-License-Identifier: Apache-2.0

"""Text of others as one line that a log, a table or a terminal survives.

Tenants choose the metadata of their servers, devices their error messages. A
line break would forge a line of the log, an escape sequence would draw on the
operator's terminal, half a character is taken by no database.
"""


def line(text: str, longest: int | None = None) -> str:
    """Return the text with a blank for everything that cannot be printed.

    :param longest: characters that are kept, None for all.
    """
    kept = text if longest is None or len(text) <= longest else text[:longest]
    if kept.isprintable():
        return kept
    return ''.join(char if char.isprintable() else ' ' for char in kept)
