# SPDX-License-Identifier: Apache-2.0

"""A fact: what somebody outside told us, before anybody believed it."""

import dataclasses
import enum


# An attest is for now: whoever comes later has to look again.
CONFIRM_WITHIN = 300.0


class FactKind(enum.StrEnum):
    """What a fact says. Only an operator sends RELEASE and ATTEST."""

    HOST_DOWN = 'host-down'
    WAKE_UP = 'wake-up'
    RELEASE = 'release'
    ATTEST = 'attest'


class FactState(enum.StrEnum):
    """What became of a fact.

    UNCONFIRMED: the first of the two steps of an attest; nobody acts on it.
    """

    UNCONFIRMED = 'unconfirmed'
    PENDING = 'pending'
    ACCEPTED = 'accepted'
    REJECTED = 'rejected'


@dataclasses.dataclass(frozen=True)
class Fact:
    """One message from an alarm, a webhook or an operator.

    :ivar channel: 'notifier', 'webhook' or 'operator'.
    :ivar verified: the sender's right was checked by who stored it; the
        engine checks the trust of every other fact itself.
    :ivar trust_id: the keystone trust behind a ``trust+nova-ha://`` action.
    :ivar by: user id or name of the sender, for the timeline.
    :ivar detail: of an operator's word: 'incident', the one it is about; of an
        attest 'power', the 'evidence' that was shown, as JSON, and once it is
        confirmed 'confirmed_by' and 'confirmed_at'.
    :ivar received_at: stamped by the store's clock; 0.0 until stored.
    """

    uuid: str
    kind: FactKind
    host: str = ''
    service_uuid: str = ''
    reason: str = ''
    detail: dict[str, str] = dataclasses.field(default_factory=dict)
    channel: str = ''
    trust_id: str = ''
    alarm_id: str = ''
    alarm_name: str = ''
    verified: bool = False
    by: str = ''
    received_at: float = 0.0
    state: FactState = FactState.PENDING
    text: str = ''
