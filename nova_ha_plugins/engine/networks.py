# SPDX-License-Identifier: Apache-2.0

"""Asks living hosts on all their networks, a few of them in each round.

Only the engine that acts does it. Each host with networks in the fencing map
is asked once in ``[networks] interval``; the hosts are spread over that time,
and the connections that are open at once are bounded. What was heard is
memory of this process: an engine that takes over begins anew, and accuses
nobody before it has watched long enough.
"""

from collections.abc import Callable
from collections.abc import Iterable
import threading
import typing

from oslo_log import log
from oslo_utils import uuidutils

from nova_ha_plugins.engine import context
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import networks
from nova_ha_plugins.recovery import reach
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# An outage of one network is told in so many incidents at most.
_MOST_ALERTS = 10

_Start = Callable[..., None]


class Watch:
    """What the looks at living hosts gave so far."""

    def __init__(self, ctx: context.Context) -> None:
        self.ctx = ctx
        self.rules = ctx.settings.network_rules
        self._tracks: dict[tuple[str, str], networks.Track] = {}
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()

    def picture(
        self, look: detector.Look, off: Iterable[str]
    ) -> networks.Picture:
        """Return what is lost now.

        :param off: hosts that are fenced.
        """
        with self._lock:
            tracks = tuple(self._tracks.values())
        return networks.judge(
            tracks, _living(look), off, self.ctx.monotonic(), self.rules
        )

    def turn(self, snapshot: context.Snapshot, start: _Start) -> None:
        """Ask the hosts whose turn it is, beside the round."""
        if not self.rules.interval:
            return
        targets = self._targets(snapshot)
        if targets or snapshot.picture.losses:
            start('networks', self._work, snapshot, targets)

    def _targets(self, snapshot: context.Snapshot) -> list[reach.Target]:
        at, interval = self.ctx.monotonic(), self.rules.interval
        reached = {
            host: snapshot.services[host].address
            for host in sorted(_living(snapshot.look))
            if host in snapshot.services and host not in snapshot.contained
        }
        targets = []
        for number, (host, address) in enumerate(reached.items()):
            due = self._due.get(host)
            if due is None or due - at > interval:
                # Spread over the time, or all would always be asked at once.
                due = at + interval * number / len(reached)
                self._due[host] = due
            if due > at:
                continue
            self._due[host] = max(due + interval, at)
            targets += self._networks(host, address)
        for host in set(self._due) - set(reached):
            del self._due[host]
        return targets

    def _networks(self, host: str, address: str) -> list[reach.Target]:
        """Return where a host is asked; nowhere if it has one network only.

        Its heartbeats come over that one, so they tell more than a probe.
        """
        names = self.ctx.probe.networks_of(host, address)
        if set(names) <= {evidence.MANAGEMENT}:
            return []
        return [reach.Target(host, address, name) for name in names]

    def _work(
        self, snapshot: context.Snapshot, targets: list[reach.Target]
    ) -> None:
        self._ask(snapshot, targets)
        picture = self.picture(snapshot.look, snapshot.contained)
        self._tell(picture)
        opened = {each.host: each for each in self.ctx.store.open_incidents()}
        accused = [
            loss
            for loss in picture.losses
            if loss.host not in opened
            and loss.host in snapshot.services
            and loss.cause != networks.Cause.OWN_REACH
        ]
        if not accused:
            return
        # Once more: an incident is not opened on what was so a while ago.
        self._ask(
            snapshot,
            [
                reach.Target(
                    loss.host,
                    snapshot.services[loss.host].address,
                    loss.network,
                )
                for loss in accused
            ],
        )
        asked = {(loss.host, loss.network) for loss in accused}
        told = sum(
            each.code == networks.Cause.OUTAGE for each in opened.values()
        )
        for loss in self.picture(snapshot.look, snapshot.contained).losses:
            if loss.host in opened or (loss.host, loss.network) not in asked:
                continue
            if loss.cause == networks.Cause.OUTAGE:
                if told >= _MOST_ALERTS:
                    continue
                told += 1
            opened[loss.host] = self._open(snapshot, loss)

    def _ask(
        self, snapshot: context.Snapshot, targets: list[reach.Target]
    ) -> None:
        if not targets:
            return
        at = self.ctx.monotonic()
        witnesses = self.ctx.probe.sweep(targets)
        with self._lock:
            for each in witnesses:
                key = each.host, each.network
                self._tracks[key] = networks.track(
                    self._tracks.get(key),
                    each.host,
                    each.network,
                    each.sign,
                    at,
                    self.rules.gap,
                )
            for key in list(self._tracks):
                if snapshot.services and key[0] not in snapshot.services:
                    del self._tracks[key]

    def _tell(self, picture: networks.Picture) -> None:
        """Warn of what concerns no single host, once until it is over."""
        told = self.told(picture)
        with self._lock:
            names = {network for _, network in self._tracks}
        for network in names:
            key = f'network {network}'
            found = told.get(network)
            if found is None or found['cause'] == networks.Cause.HOST:
                self.ctx.over(key, f"Network '{network}' is whole again")
                continue
            hosts = evidence.quoted(found['hosts'][:5])
            text = (
                f"Hosts {hosts} went silent together on network '{network}': "
                'it is the network, and nothing is done to them'
            )
            if found['cause'] == networks.Cause.OWN_REACH:
                text = (
                    f"No host answers on network '{network}': this machine "
                    'may be cut off from it, or the network is down; nobody '
                    'is accused'
                )
            self.ctx.trouble(key, text)

    @staticmethod
    def told(picture: networks.Picture) -> dict[str, dict[str, typing.Any]]:
        """Return what is lost by network, for the status of the engine."""
        found: dict[str, dict[str, typing.Any]] = {}
        for loss in picture.losses:
            entry = found.setdefault(
                loss.network, {'cause': loss.cause.value, 'hosts': []}
            )
            entry['hosts'].append(loss.host)
            if loss.cause != networks.Cause.HOST:
                entry['cause'] = loss.cause.value
        return found

    def _open(
        self, snapshot: context.Snapshot, loss: networks.Loss
    ) -> incident.Incident:
        now = self.ctx.store.now()
        subject = incident.Incident(
            uuid=uuidutils.generate_uuid(),
            host=loss.host,
            service_uuid=snapshot.services[loss.host].uuid,
            epoch=self.ctx.store.next_epoch(loss.host),
            phase=incident.Phase.SUSPECTED,
            opened_at=now,
            updated_at=now,
            networks_lost=(loss.network,),
            networks_heard=(loss.network,) if loss.heard else (),
        )
        subject = machine.step(
            subject,
            events.Suspected(
                now,
                'networks',
                f'It sends heartbeats and is silent on network '
                f"'{loss.network}' for {loss.seconds:.0f} s",
            ),
        )
        try:
            return self.ctx.create(subject)
        except values.AlreadyOpen:
            # Somebody reported the host just now; it is looked at anyway.
            return subject


def _living(look: detector.Look) -> frozenset[str]:
    return frozenset(
        host.host
        for host in look.hosts
        if host.verdict == detector.Liveness.UP
    )
