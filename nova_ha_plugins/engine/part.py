# SPDX-License-Identifier: Apache-2.0

"""What the parts of a recovery share: the engine's hands, and one snapshot."""

from nova_ha_plugins.engine import context
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import incident

# Phases in which the host must stay off: any sign of life matters.
MUST_BE_OFF = frozenset({incident.Phase.CONTAINING, incident.Phase.EVACUATING})


class Part:
    """One kind of work for one incident, for the length of one round."""

    def __init__(
        self, ctx: context.Context, snapshot: context.Snapshot
    ) -> None:
        self.ctx = ctx
        self.snapshot = snapshot

    def check_off(self, subject: incident.Incident) -> incident.Incident:
        """Void the fence when a host that must be off sends heartbeats."""
        if subject.phase not in MUST_BE_OFF or subject.fence is None:
            return subject
        beat = self.snapshot.newer_beat(subject.host, subject.fence.beat_mark)
        if beat is None:
            return subject
        return self.shows_life(
            subject,
            f'sent a heartbeat (boot {beat.boot_id[:8]}, sequence '
            f'{beat.sequence})',
        )

    def device_lied(self, subject: incident.Incident) -> bool:
        """Return whether the host was heard although it was read as Off.

        A heartbeat of the same boot says so that was sent afterwards; one of
        another boot only says that it was switched on again.
        """
        fence = subject.fence
        beat = self.snapshot.beats.get(subject.host)
        return (
            fence is not None
            and fence.off_mark is not None
            and beat is not None
            and beat.boot_id == fence.off_mark[0]
            and beat.sequence > fence.off_mark[1]
        )

    def shows_life(
        self, subject: incident.Incident, how: str
    ) -> incident.Incident:
        """Keep that the host was heard or read as on."""
        return self.ctx.apply(
            subject,
            events.SignOfLife(
                self.ctx.store.now(),
                f"Host '{subject.host}' {how}",
                self.device_lied(subject),
            ),
        )
