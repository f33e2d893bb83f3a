# SPDX-License-Identifier: Apache-2.0

"""Takes one incident further: does what ``machine.todo`` says.

Each method of a part does one thing to the outside and brings the result back
as an event. A failure of a door that says nothing changes nothing; the next
round asks again.
"""

from collections.abc import Sequence

from nova_ha_plugins.engine import compute_service
from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import look
from nova_ha_plugins.engine import power
from nova_ha_plugins.engine import servers
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine

Do = machine.Do
Phase = incident.Phase

_UNDECIDED = frozenset({Phase.SUSPECTED, Phase.HELD})
# What is done at most once in a round.
_ONCE = frozenset({Do.FOLLOW, Do.WATCH_RETURN, Do.LEAVE})
# Steps that one call of advance() takes at most before others get a turn.
_STRIDE = 8


class Recovery:
    """One incident, for the length of one round."""

    def __init__(
        self, ctx: context.Context, snapshot: context.Snapshot
    ) -> None:
        self.ctx = ctx
        looking = look.Look(ctx, snapshot)
        switch = power.Power(ctx, snapshot)
        service = compute_service.ComputeService(ctx, snapshot)
        self._servers = servers.Servers(ctx, snapshot)
        self._work = {
            Do.ASSESS: looking.assess,
            Do.READ_POWER: switch.read_power,
            Do.POWER_OFF: switch.power_off,
            Do.FORCE_DOWN: service.force_down,
            Do.DISABLE: service.disable,
            Do.LIST: self._servers.list_all,
            Do.FOLLOW: self._servers.follow,
            Do.REVIEW: self._servers.review,
            Do.WATCH_RETURN: service.watch_return,
            Do.UNFORCE: service.unforce,
            Do.ENABLE: service.enable,
            Do.LEAVE: looking.living.leave,
        }

    def work(
        self, subject: incident.Incident, batch: Sequence[str]
    ) -> incident.Incident:
        """Ask for the evacuations of the batch, then go on."""
        subject = self._taken_over(subject)
        if batch:
            subject = self._servers.begin(subject, batch)
        return self.advance(subject)

    def _taken_over(self, subject: incident.Incident) -> incident.Incident:
        """Keep that this engine acts from now on, where another one did."""
        lease = self.ctx.lease
        if not subject.engine or subject.token == lease.token:
            return subject
        return self.ctx.apply(
            subject,
            events.TakenOver(self.ctx.store.now(), lease.owner, lease.token),
        )

    def advance(self, subject: incident.Incident) -> incident.Incident:
        """Return the incident after as many steps as can be taken now."""
        for _ in range(_STRIDE):
            if self.ctx.stopping.is_set():
                return subject
            subject = self._servers.check_off(subject)
            do = machine.todo(
                subject, self.ctx.store.now(), self.ctx.settings.patience
            )
            if do is None:
                return subject
            phase, before = subject.phase, subject
            subject = self._work[do](subject)
            if subject is before or (subject.phase == phase and do in _ONCE):
                return subject
            if do == Do.ASSESS and subject.phase in _UNDECIDED:
                # The next look must be another moment's.
                return subject
            if do == Do.READ_POWER and subject.phase == phase:
                fence = subject.fence
                if fence is None or fence.power != incident.Power.ON:
                    return subject
                if fence.calls:
                    return subject
        return subject
