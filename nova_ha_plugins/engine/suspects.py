# SPDX-License-Identifier: Apache-2.0

"""Probes hosts that are late, so that their verdict need not wait for it.

Only the engine that acts does it, for a few hosts in each round: when many
are late at once it is rarely the hosts, and the gates say so. What it heard
is memory of this process; an engine that takes over asks again.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
import threading

from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import witnesses
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import reach
from nova_ha_plugins.recovery import suspicion

# Hosts that are probed at the same time because they are late.
MOST = 8
# A silent probe that took less than this was refused on the way at once
# (no route to the host): the next one has to be another moment's.
_AT_ONCE = 0.3

_Start = Callable[..., None]


class Suspects:
    """What late hosts answered so far.

    :ivar finished: set once a host was silent to as many probes as it takes.
    """

    def __init__(self, ctx: context.Context) -> None:
        self.ctx = ctx
        self.finished = threading.Event()
        self._enough = ctx.settings.limits.silent_after
        self._lost = ctx.settings.limits.management_lost
        self._tracks: dict[str, suspicion.Track] = {}
        self._lock = threading.Lock()

    def tracks(self, look: detector.Look) -> Mapping[str, suspicion.Track]:
        """Return what is known of the hosts that are late, and of no other."""
        # Before it is read: what is finished from now on asks for one more.
        self.finished.clear()
        with self._lock:
            self._tracks = {
                track.host: track
                for track in suspicion.kept(
                    self._tracks.values(), look, self.ctx.settings.rules
                )
            }
            return dict(self._tracks)

    def turn(
        self,
        snapshot: context.Snapshot,
        opened: Collection[str],
        start: _Start,
    ) -> None:
        """Probe suspected hosts, beside the round.

        :param opened: hosts with an incident, whose looks probe them.
        """
        waiting = MOST
        for host in suspicion.suspects(snapshot.look):
            service = snapshot.services.get(host)
            if service is None or host in opened:
                continue
            start(
                f'suspect:{host}',
                self._probe,
                host,
                service.address,
                snapshot,
            )
            waiting -= 1
            if not waiting:
                return

    def _probe(
        self, host: str, address: str, snapshot: context.Snapshot
    ) -> None:
        """Probe a host; again and again while it is silent, until enough."""
        mark = suspicion.mark_of(snapshot.look, host)
        with self._lock:
            self._tracks.setdefault(host, suspicion.Track(host, mark=mark))
        while not self.ctx.stopping.is_set():
            began = self.ctx.monotonic()
            readings = self.ctx.probe.probe_all(host, address)
            took = self.ctx.monotonic() - began
            readings = self._believed(host, readings, snapshot)
            now = self.ctx.store.now()
            with self._lock:
                before = self._tracks.get(host)
                if before is None or before.mark != mark:
                    # It was heard meanwhile.
                    return
                track = suspicion.probed(before, readings, now, self._lost)
                self._tracks[host] = track
            if before.silent < self._enough <= track.silent:
                # Only once: from now on each round asks and looks anyway.
                self.finished.set()
            if not suspicion.unfinished(track, self._enough):
                return
            if took < _AT_ONCE:
                return

    def _believed(
        self,
        host: str,
        readings: tuple[incident.Reading, ...],
        snapshot: context.Snapshot,
    ) -> tuple[incident.Reading, ...]:
        """Return the probes without a silence that may be our own.

        Each is compared at once: a leg of this machine that was broken for
        some seconds and is whole again would leave no doubt behind.
        """
        late = incident.Reading(
            evidence.HEARTBEAT,
            incident.Sign.SILENT,
            max((each.at for each in readings), default=0.0),
        )
        found = witnesses.doubts(
            self.ctx.probe, snapshot, host, (late, *readings), self._lost
        )
        return reach.corrected(readings, found)
