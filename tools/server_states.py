# SPDX-License-Identifier: Apache-2.0

"""Prints the table of server states for the documentation."""

from collections.abc import Iterator

from nova_ha_plugins.recovery import states

_HEAD = """\
.. list-table::
   :header-rows: 1
   :widths: 22 22 56

   * - {0}
     - What happens
     - Why
"""

_FATES = {
    states.Fate.EVACUATE: 'evacuated',
    states.Fate.RESET: 'set to active, evacuated',
    states.Fate.WAIT: 'waits, then parked',
    states.Fate.PARK: 'parked',
    states.Fate.LEAVE: 'left alone',
}


def _row(name: str, row: states.Row) -> str:
    what = 'as its vm_state' if row.fate is None else _FATES[row.fate]
    if row.wanted:
        what += f'; then {row.wanted}'
    elif row.fate == states.Fate.RESET:
        what += f', {name} again'
    if row.code:
        what += f' (``{row.code}``)'
    if row.anew:
        what += '. A suspended server, too'
    why = row.why[0].upper() + row.why[1:]
    return f'   * - ``{name}``\n     - {what}\n     - {why}.\n'


def table() -> Iterator[str]:
    """Give both tables as reStructuredText, piece by piece."""
    yield '.. Made by tools/server-states; a test compares it.\n\n'
    yield _HEAD.format('vm_state')
    yield from (_row(*item) for item in states.VM_STATES.items())
    yield '\n'
    yield _HEAD.format('task_state')
    yield from (_row(*item) for item in states.TASK_STATES.items())


if __name__ == '__main__':
    print(''.join(table()), end='')
