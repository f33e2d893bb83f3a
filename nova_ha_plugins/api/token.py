# SPDX-License-Identifier: Apache-2.0

"""Keeps an engine that lost its lease from changing anything in nova.

Each call of the engine that changes something names the token of its lease.
An engine that stood still between its last look at the lease and the call
does not know that another one took over; nova's API does, because it asks the
store. Requests without the header are nobody's business here.
"""

import typing

import webob.exc

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat

HEADER = 'X-Nova-HA-Token'


def refusal(headers: typing.Mapping[str, str]) -> compat.Fault | None:
    """Give why the sender must not do this any more, None if it may.

    When the store does not answer nobody may: whether the sender still has
    the lease is not known.
    """
    shown = headers.get(HEADER)
    if shown is None:
        return None
    try:
        with backend.store() as store:
            newest = store.lease_state().token
    except webob.exc.HTTPServiceUnavailable as error:
        return compat.Fault(error)
    if shown.strip() == str(newest):
        return None
    return compat.Fault(
        webob.exc.HTTPConflict(
            explanation=(
                f'{HEADER} is {shown[:40]!r}, but the newest lease of '
                f'nova-ha-engine has token {newest}: another engine took '
                'over. Nothing was done'
            )
        )
    )
