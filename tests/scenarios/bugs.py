# SPDX-License-Identifier: Apache-2.0

"""What the planted bugs do instead of what the product does."""

from collections.abc import Callable
import copy
import dataclasses
import types
import typing
from unittest import mock

import sqlalchemy as sa

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import servers
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import outcomes
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import policy
from nova_ha_plugins.store import models


def reads_off(
    subject: incident.Incident, event: events.PowerRead
) -> events.PowerRead:
    if subject.fence is None or not subject.fence.calls:
        return event
    reading = dataclasses.replace(event.reading, power=incident.Power.OFF)
    return dataclasses.replace(event, reading=reading)


def nearly_off(
    subject: incident.Incident, event: events.PowerRead
) -> events.PowerRead:
    if event.reading.power != incident.Power.CHANGING:
        return event
    reading = dataclasses.replace(event.reading, power=incident.Power.OFF)
    return dataclasses.replace(event, reading=reading)


def by_its_name(
    subject: incident.Incident, event: events.PowerRead
) -> events.PowerRead:
    reading = dataclasses.replace(
        event.reading, system_uuid=subject.expected_system_uuid
    )
    return dataclasses.replace(event, reading=reading)


def without_record(
    subject: incident.Incident, event: events.EvacuationSeen
) -> events.EvacuationSeen:
    return dataclasses.replace(event, record=None)


def nothing_uncleaned(
    subject: incident.Incident, event: events.HostSeen
) -> events.HostSeen:
    return dataclasses.replace(event, uncleaned=0)


def errors_refuse() -> typing.Any:
    def attempt(call: Callable[..., object], *args: object) -> object:
        answer = doors.attempt(call, *args)
        if isinstance(answer, doors.Unanswered):
            return doors.Refused(str(answer), 504)
        return answer

    proxy = types.SimpleNamespace(
        attempt=attempt, DoorError=doors.DoorError, Refused=doors.Refused
    )
    return mock.patch.object(servers, 'doors', proxy)


class AnySource:
    """Nova, whose records of other hosts are taken for those of a host."""

    def __init__(self, nova: doors.Nova) -> None:
        self._nova = nova

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._nova, name)

    def evacuations(self, host: str) -> tuple[typing.Any, ...]:
        return tuple(
            record
            for service in self._nova.services()
            for record in self._nova.evacuations(service.host)
        )


def any_source(real: typing.Any) -> typing.Any:
    def look_at_servers(
        self: servers.Servers, *args: typing.Any
    ) -> typing.Any:
        other = copy.copy(self)
        other.ctx = copy.copy(self.ctx)
        other.ctx.nova = AnySource(self.ctx.nova)
        return real(other, *args)

    return look_at_servers


def expiring(real: typing.Any) -> typing.Any:
    def hold(case: gates.Case) -> gates.Hold | None:
        found: gates.Hold | None = real(case)
        since = case.suspect.dead_since
        if found and since is not None and case.scene.now - since > 60.0:
            return None
        return found

    return hold


def unlimited(real: typing.Any) -> typing.Any:
    def may_begin(
        subjects: typing.Any, caps: pacing.Caps, *args: typing.Any
    ) -> typing.Any:
        return real(subjects, pacing.Caps(999, 999), *args)

    return may_begin


def everybody(real: typing.Any) -> typing.Any:
    def choose(*args: typing.Any, **more: typing.Any) -> policy.Choice:
        return dataclasses.replace(real(*args, **more), protected=True)

    return choose


def stays_started(real: typing.Any) -> typing.Any:
    def arrived(
        subject: incident.Incident,
        at: float,
        server: incident.Server,
        view: typing.Any,
    ) -> incident.Incident:
        if server.vm_state == 'stopped' and view.vm_state == 'active':
            return outcomes.end(
                subject,
                at,
                dataclasses.replace(server, destination=view.host),
                incident.ServerState.RECOVERED,
                '',
                'it is there',
            )
        return real(subject, at, server, view)

    return arrived


def heard_nothing(real: typing.Any) -> typing.Any:
    def verdict(readings: typing.Any) -> incident.Verdict:
        return real(
            tuple(
                dataclasses.replace(each, sign=incident.Sign.SILENT)
                if each.sign == incident.Sign.UNKNOWN
                else each
                for each in readings
            )
        )

    return verdict


def one_channel(real: typing.Any) -> typing.Any:
    def verdict(readings: typing.Any) -> incident.Verdict:
        heartbeat = evidence.of(readings, evidence.HEARTBEAT)
        if heartbeat and heartbeat.sign == incident.Sign.SILENT:
            return incident.Verdict.DEAD
        return real(readings)

    return verdict


class Forgetful:
    """A store that forgets what is closed."""

    def __init__(self, store: context.Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._store, name)

    def recent_fences(self, since: float) -> tuple[gates.PastFence, ...]:
        return ()


def forgetting(
    real: Callable[[context.Context], None], self: context.Context
) -> None:
    self.store = typing.cast(context.Store, Forgetful(self.store))
    real(self)


def warm(real: typing.Any) -> typing.Any:
    def watched_enough(
        suspect: typing.Any, scene: gates.Scene, limits: gates.Limits
    ) -> typing.Any:
        seen = dataclasses.replace(scene, watching=limits.warm_up)
        return real(suspect, seen, limits)

    return watched_enough


def no_quiet(real: typing.Any) -> typing.Any:
    def watched_enough(
        suspect: typing.Any, scene: gates.Scene, limits: gates.Limits
    ) -> typing.Any:
        seen = dataclasses.replace(scene, since_take_over=None)
        return real(suspect, seen, limits)

    return watched_enough


def unsaved(real: typing.Any) -> typing.Any:
    def apply(
        self: context.Context,
        subject: incident.Incident,
        *happened: typing.Any,
    ) -> incident.Incident:
        if not any(isinstance(e, events.PowerCalled) for e in happened):
            return real(self, subject, *happened)
        for event in happened:
            subject = machine.step(subject, event, self.settings.patience)
        self._permits.give(self.monotonic())
        return subject

    return apply


def same_token(real: typing.Any) -> typing.Any:
    def take(db: typing.Any, *args: typing.Any) -> typing.Any:
        lease = real(db, *args)
        if lease.token == 1:
            return lease
        db.write(
            lambda connection: connection.execute(
                sa.update(models.leases).values(token=lease.token - 1)
            )
        )
        return dataclasses.replace(lease, token=lease.token - 1)

    return take
