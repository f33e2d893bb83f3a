# SPDX-License-Identifier: Apache-2.0

"""Reads the inbox: who may say something, and which incident it concerns.

A fact from the notifier is not believed before its keystone trust was checked
against one policy rule; what it then does, the engine does with its own
service user. What no alarm reported, the periodic look at the heartbeats
finds.
"""

from oslo_log import log
from oslo_utils import uuidutils

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import look
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import suspicion
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# These come through the API, which knows who speaks; never with an alarm.
_OPERATORS_WORD = frozenset({facts.FactKind.RELEASE, facts.FactKind.ATTEST})
# What the timeline says when an operator's word changed nothing.
_NOT_HEEDED = frozenset({'attest-refused', 'release-ignored'})
# An attest that no engine read for so long was about another moment.
_ATTEST_HOLDS = 900.0
# The periodic look leaves the alarm this much time, in heartbeat timeouts.
_LOST_ALARM_AFTER = 2.0


class Intake:
    """The inbox, for the length of one round."""

    def __init__(
        self,
        ctx: context.Context,
        snapshot: context.Snapshot,
        busy: frozenset[str],
    ) -> None:
        self.ctx = ctx
        self.snapshot = snapshot
        self.busy = busy
        self._keystone_away = False
        self._work = {
            facts.FactKind.HOST_DOWN: self._host_down,
            facts.FactKind.WAKE_UP: self._wake_up,
            facts.FactKind.RELEASE: self._operator,
            facts.FactKind.ATTEST: self._operator,
        }

    def read(self) -> None:
        """Settle every fact that can be settled now."""
        for fact in self.ctx.store.pending_facts():
            try:
                self._settle(fact)
            except errors.AWAY:
                # The store, the lease, a race: of the round, not of the fact.
                raise
            except Exception:
                # One fact that cannot be worked on must not keep the rest of
                # the inbox, and every recovery, waiting for ever.
                LOG.exception('Fact %s made a fault of the engine', fact.uuid)
                self._reject(
                    fact, 'It made a fault of the engine; see its log'
                )

    def _settle(self, fact: facts.Fact) -> None:
        if self._keystone_away and not fact.verified:
            return
        verified = doors.attempt(self._verify, fact)
        if isinstance(verified, doors.DoorError):
            # Keystone is one for all of them: do not ask it again for each.
            self._keystone_away = True
            self.ctx.trouble(
                'trusts',
                'Alarms wait in the inbox, because their trusts cannot be '
                f'checked: {verified}',
            )
            return
        if not fact.verified:
            self.ctx.over('trusts', 'The trusts of alarms are checked again')
        if not verified:
            self._reject(
                fact,
                f'Its sender (trust {fact.trust_id or "none"}) may not send '
                f'{fact.kind}; alarms report failed hosts, under the policy '
                'rule instance-ha:incidents:report',
            )
            return
        self._work[fact.kind](fact)

    def _verify(self, fact: facts.Fact) -> bool:
        if fact.verified:
            return True
        if fact.kind in _OPERATORS_WORD or not fact.trust_id:
            return False
        return self.ctx.allows(self.ctx.identity.trust(fact.trust_id))

    def _reject(self, fact: facts.Fact, text: str) -> None:
        # An alarm that repeats every second is worth one line, not one each.
        self.ctx.trouble(
            f'rejected {fact.alarm_id or fact.uuid} {fact.host}',
            f"A fact from the {fact.channel} about host '{fact.host}' was "
            f'rejected ({fact.uuid}): {text}',
        )
        self.ctx.store.settle_fact(fact.uuid, facts.FactState.REJECTED, text)

    def _accept(self, fact: facts.Fact, text: str) -> None:
        self.ctx.store.settle_fact(fact.uuid, facts.FactState.ACCEPTED, text)

    def _wake_up(self, fact: facts.Fact) -> None:
        self._accept(fact, 'It names no host: the round looks at all of them')

    def _host_down(self, fact: facts.Fact) -> None:
        if fact.host not in self.snapshot.services:
            if not self.snapshot.services:
                return
            self._reject(
                fact,
                'Nova has no nova-compute service of that name; see '
                'nova-ha-manage doctor for what each part calls the host',
            )
            return
        subject = self._open_of(fact.host)
        text = _sentence(fact)
        if subject is None:
            try:
                subject = self._open(fact.host, fact.channel, text)
            except values.AlreadyOpen:
                # The webhook opened one just now: join it in the next round.
                return
        elif subject.uuid in self.busy:
            return
        else:
            subject = self.ctx.apply(
                subject,
                events.Suspected(self.ctx.store.now(), fact.channel, text),
            )
        self._accept(fact, f'Incident {subject.uuid}')

    def _open(self, host: str, channel: str, text: str) -> incident.Incident:
        now = self.ctx.store.now()
        subject = incident.Incident(
            uuid=uuidutils.generate_uuid(),
            host=host,
            service_uuid=self.snapshot.services[host].uuid,
            epoch=self.ctx.store.next_epoch(host),
            phase=incident.Phase.SUSPECTED,
            opened_at=now,
            updated_at=now,
        )
        subject = machine.step(subject, events.Suspected(now, channel, text))
        return self.ctx.create(subject)

    def _operator(self, fact: facts.Fact) -> None:
        subject = self._open_of(fact.host)
        if subject is None:
            self._reject(fact, 'The host has no open incident')
            return
        meant = fact.detail.get('incident', subject.uuid)
        if meant != subject.uuid:
            self._reject(
                fact,
                f"It was said of incident {meant} of host '{subject.host}', "
                f'which is over; the open one is {subject.uuid}',
            )
            return
        if subject.uuid in self.busy:
            return
        now = self.ctx.store.now()
        if fact.kind == facts.FactKind.RELEASE:
            event: events.Event = events.Released(now, fact.by, fact.reason)
        elif now - fact.received_at > _ATTEST_HOLDS:
            self._reject(
                fact,
                f'It was said {now - fact.received_at:.0f} s ago, and no '
                f'engine read it within {_ATTEST_HOLDS:.0f} s: look at the '
                'host again, then attest again',
            )
            return
        elif not self.snapshot.arm.armed:
            self._reject(
                fact,
                'The engine is disarmed and evacuates nothing: openstack ha '
                'arm, then attest again',
            )
            return
        else:
            worker = look.Look(self.ctx, self.snapshot)
            event = worker.attested(subject, _signed(fact), fact.reason)
        last = self.ctx.apply(subject, event).timeline[-1]
        if last.code in _NOT_HEEDED:
            self._reject(fact, last.text)
        else:
            self._accept(fact, last.text)

    def _open_of(self, name: str) -> incident.Incident | None:
        """Return the open incident of a host, or of that uuid."""
        for subject in self.ctx.store.open_incidents():
            if name in (subject.host, subject.uuid):
                return subject
        return None

    def find_lost(self) -> None:
        """Report hosts that are down and that no alarm has reported.

        One that was silent to every probe as well needs no alarm: the engine
        knows as much as anybody could tell it. Another one may have been
        reported, and the report is on its way.
        """
        opened = {s.host for s in self.ctx.store.open_incidents()}
        for host in self.snapshot.look.hosts:
            if host.verdict != detector.Liveness.DOWN:
                continue
            if host.host in opened:
                continue
            if host.host not in self.snapshot.services:
                continue
            found = self._found(host)
            if not found:
                continue
            try:
                self._open(host.host, 'round', found)
            except values.AlreadyOpen:
                # The webhook was quicker.
                continue

    def _found(self, host: detector.HostLook) -> str:
        """Return what the round itself says of a host, '' for nothing yet."""
        settings = self.ctx.settings
        track = self.snapshot.tracks.get(host.host)
        enough = settings.limits.silent_after
        if suspicion.complete(track, enough, self.ctx.store.now()):
            return (
                'Its heartbeats stopped, and it was silent to '
                f'{enough} probes in a row'
            )
        if host.silent_for < settings.rules.timeout * _LOST_ALARM_AFTER:
            return ''
        return 'Its heartbeats stopped and no alarm said so'


def _signed(fact: facts.Fact) -> str:
    """Return who attested, and who took the second step."""
    confirmed = fact.detail.get('confirmed_by')
    if not confirmed:
        return fact.by
    return f'{fact.by} (confirmed by {confirmed})'


def _sentence(fact: facts.Fact) -> str:
    """Return who said it and what; the same for every repetition."""
    who = f"Alarm '{fact.alarm_name}'" if fact.alarm_name else fact.by
    return f'{who or "Somebody"} says by {fact.channel} that the host is down'
