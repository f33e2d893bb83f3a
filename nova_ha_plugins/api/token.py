# SPDX-License-Identifier: Apache-2.0

"""Keeps an engine that lost its lease from changing anything in nova.

Each call of the engine that changes something names the token of its lease.
An engine that stood still between its last look at the lease and the call
does not know that another one took over; nova's API does, because it asks the
store. Requests without the header are nobody's business here.

Each call also says, on the store's clock, until when the engine waits for its
answer. One that lay in a queue for longer is refused: the engine may have
asked again by then, and nova would take both.
"""

import typing

import webob.exc

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat

HEADER = 'X-Nova-HA-Token'
UNTIL = 'X-Nova-HA-Until'


def refusal(headers: typing.Mapping[str, str]) -> compat.Fault | None:
    """Give why the sender must not do this any more, None if it may.

    When the store does not answer nobody may: whether the sender still has
    the lease is not known.
    """
    shown = headers.get(HEADER)
    if shown is None:
        return None
    until = headers.get(UNTIL)
    try:
        with backend.store() as store:
            newest = store.lease_state().token
            late = until is not None and _is_over(until, store.now())
    except webob.exc.HTTPServiceUnavailable as error:
        return compat.Fault(error)
    if shown.strip() != str(newest):
        return _fault(
            f'{HEADER} is {shown[:40]!r}, but the newest lease of '
            f'nova-ha-engine has token {newest}: another engine took over'
        )
    if late:
        return _fault(
            'nova-ha-engine waits for this no more; it came too late '
            f'({UNTIL} is {str(until)[:40]!r})'
        )
    return None


def _is_over(until: str, now: float) -> bool:
    try:
        # Neither is a time that no clock ever shows one to wait for.
        return not now <= float(until)
    except ValueError:
        return True


def _fault(text: str) -> compat.Fault:
    return compat.Fault(
        webob.exc.HTTPConflict(explanation=f'{text}. Nothing was done')
    )
