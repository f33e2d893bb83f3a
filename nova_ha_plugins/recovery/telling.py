# SPDX-License-Identifier: Apache-2.0

"""Which of nova's evacuation records of a server says what is done for it."""

from collections.abc import Callable
from collections.abc import Sequence

from nova_ha_plugins.recovery import records
from nova_ha_plugins.recovery import views


def telling(
    found: Sequence[views.MigrationView],
    baseline: str | None,
    is_off: Callable[[str | None], bool],
) -> views.MigrationView | None:
    """Return the record that tells most, None when there is none.

    The newest; but one before it that is still open tells more. Somebody
    asked for the server beside it, which nova takes, and the failure of the
    second evacuation is none of the first. What lies before an evacuation
    that came to its end, or before the last one that failed, is over.

    :param found: all of one server away from one host, the newest first.
    :param baseline: the last one that was there before our call.
    :param is_off: whether a destination is off, so that nothing goes on there.
    """
    for record in found:
        if record.uuid == baseline or record.status in ('done', 'completed'):
            break
        if records.is_open(record) and not is_off(record.taken_by):
            return record
    return found[0] if found else None
