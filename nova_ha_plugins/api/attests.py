# SPDX-License-Identifier: Apache-2.0

"""The two steps in which a person says that a host is off.

The first one shows what every channel knows, with its age, and leaves a fact
that nobody acts on. The second one, within minutes and of the same incident,
hands it to the engine, which asks every channel once more.
"""

import dataclasses
import json
import typing

from webob import exc

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import operator_views
from nova_ha_plugins.recovery import brakes
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident as core
from nova_ha_plugins.recovery import scene

_NOTHING = 'Nothing was attested'


def begin(fact: facts.Fact, subject: core.Incident) -> facts.Fact:
    """Give the fact as kept, with the evidence that is shown for it.

    :raises webob.exc.HTTPConflict: the engine would not act on it now.
    """
    beat = backend.beats().get(subject.host)
    with backend.store() as store:
        _check_may_act(store, subject)
        shown = operator_views.evidence(subject, beat, store.now())
        return store.add_fact(
            dataclasses.replace(
                fact,
                state=facts.FactState.UNCONFIRMED,
                detail={**fact.detail, 'evidence': json.dumps(shown)},
            )
        )


def confirm(fact: facts.Fact, host: str, by: str) -> facts.Fact:
    """Give the fact as the engine will get it.

    :param host: the host that the second step names.
    :raises webob.exc.HTTPConflict: it is not, or no longer, to be confirmed.
    """
    if fact.kind != facts.FactKind.ATTEST:
        raise _refusal(f"Fact '{fact.uuid}' is a {fact.kind}, not an attest")
    if fact.host != host:
        raise _refusal(
            f"Fact '{fact.uuid}' is about host '{fact.host}', and host "
            f"'{host}' was named"
        )
    with backend.store() as store:
        _check_incident(store, fact)
        confirmed = store.confirm_fact(fact.uuid, by)
        if confirmed is None:
            found = store.fact(fact.uuid) or fact
            raise _refusal(_why_not(found, store.now()))
    return confirmed


def _check_may_act(store: typing.Any, subject: core.Incident) -> None:
    # The engine refuses the same. Nobody should look at a host first, type
    # its name, and learn it then.
    arm = store.arm_state()
    if not arm.armed:
        raise _refusal(
            f'The engine is disarmed ({arm.by}: {arm.reason}) and evacuates '
            'nothing: openstack ha arm, then attest'
        )
    held = [
        scene.Brake(
            brake.kind,
            brake.name,
            brake.zone,
            brake.until,
            brake.reason,
            brake.by,
        )
        for brake in store.brakes()
    ]
    reason = brakes.attest_refusal(
        held,
        subject.host,
        subject.domain,
        core.FenceClass.OPERATOR_ATTESTED,
    )
    if reason:
        raise _refusal(reason)


def _check_incident(store: typing.Any, fact: facts.Fact) -> None:
    uuid = fact.detail.get('incident', '')
    subject = store.incident(uuid)
    if subject is None or subject.phase not in core.CLOSED_PHASES:
        return
    opened = store.open_incident_of(fact.host)
    raise _refusal(
        f"Incident '{uuid}' of host '{fact.host}' is {subject.phase} "
        'meanwhile. '
        + (
            f"Its open one is '{opened.uuid}': look at that, and begin again"
            if opened
            else 'The host has no open one'
        )
    )


def _why_not(fact: facts.Fact, now: float) -> str:
    if fact.state != facts.FactState.UNCONFIRMED:
        who = fact.detail.get('confirmed_by') or fact.by
        return (
            f"Fact '{fact.uuid}' was confirmed already, by '{who}', and is "
            f'{fact.state}{": " if fact.text else ""}{fact.text}'
        )
    return (
        f"Fact '{fact.uuid}' was begun {now - fact.received_at:.0f} s ago, "
        f'and may be confirmed for {facts.CONFIRM_WITHIN:.0f} s. Look at the '
        'host again and begin again: openstack ha attest '
        f'{fact.host} --off --reason <why>'
    )


def _refusal(text: str) -> exc.HTTPConflict:
    return exc.HTTPConflict(explanation=f'{_NOTHING}: {text}')
