# SPDX-License-Identifier: Apache-2.0

"""The law, checked against the truth on everything that happens.

Called after each event of the world, before each side effect and after each
save. What of each invariant is checked here:

S1   one writer at most per server, from the truth of all hosts.
S2   evacuate only with a valid record of this epoch, on a host that is off
     in truth unless it was switched on after the engine's last reading.
S3   a record becomes confirmed only right after a reading of Off, of a host
     that is off in truth.
S4   no power off while the host is heard, or answers a probe of whatever
     network for longer than it may take to notice; only under the policy
     'fence' for a lost management network may it answer on another one. None
     while a network that could have told otherwise was unknown for as long,
     or is cut at the engine's own machine while other hosts are heard.
     An attest is refused whoever answers.
S5   fences within the window, per zone and cloud, released ones counted.
S6   no new fence in warm-up, with a dead bus, or when too many are silent.
S7   a side effect only by the engine whose lease is the newest.
S8   one open incident per host, epochs rise, no evacuate while another one
     of the same server is at work.
S9   the intent of each side effect is in the store before it.
S10  only servers whose metadata say so, none that is being deleted.
S11  no new fence and no attest while disarmed, in maintenance or under a
     pause; under a pause no evacuation either.
S12  contained until the end: no evacuate after a heartbeat that is newer than
     the record, the power read just before; the service is forced down; let
     back in only without stale guests.
S15  (the part of the caps) open evacuations per destination and in all.
S16  a server that is called recovered is elsewhere, in the state it had, with
     a live domain if it ran; final incidents have only final servers.
S21  the device is asked again only after a pause, and never once the record
     is valid without a sign of life in between.
S23  no other host after a failure with a destination that is not off.
S24  the device that is asked switches this host; its identity matches.

The timeline is append-only and numbered without gaps (from S17).

What is demanded of a fence stands in ``fence_law``, of servers in
``server_law``, of a host that lives and lost a network in ``network_law``.
"""

import collections
import typing

from nova_ha_plugins.recovery import incident
from tests.scenarios import cloud
from tests.scenarios import doors
from tests.scenarios import fence_law
from tests.scenarios import network_law
from tests.scenarios import server_law

if typing.TYPE_CHECKING:
    from tests.scenarios import simulation

Phase = incident.Phase


class Violation(BaseException):
    """The law was broken; nothing on the way may swallow this."""


class Invariants:
    """The checks, with what they must remember."""

    def __init__(self, sim: 'simulation.Simulation') -> None:
        self.sim = sim
        self.intents: dict[str, tuple[float, str]] = {}
        self.commands: dict[str, list[tuple[int, float]]] = (
            collections.defaultdict(list)
        )
        self.evacuations = 0

    def demand(self, truth: bool, law: str, text: str) -> None:
        """Say that a law was broken unless what it demands is so.

        :raises Violation: it is not so.
        """
        if not truth:
            raise Violation(f'{law}: {text} (t={self.sim.t:.1f})')

    # --- the world --------------------------------------------------------

    def world(self, what: str) -> None:
        places: dict[str, list[str]] = collections.defaultdict(list)
        for server, host in self.sim.world.writers():
            places[server].append(host)
        for server, hosts in places.items():
            self.demand(
                len(hosts) == 1, 'S1', f'{server} runs on {hosts} ({what})'
            )
        server_law.caps(self)

    # --- saves ------------------------------------------------------------

    def saved(
        self, before: incident.Incident | None, after: incident.Incident
    ) -> None:
        self._one_open(after)
        if before is None:
            return
        self._timeline(before, after)
        fence = after.fence
        if fence is None and before.fence is not None:
            # Withdrawn before the device was asked: it was no fence.
            self.demand(
                before.fence.calls == 0, 'S21', f'{after.host} forgotten'
            )
            self.intents.pop(after.host, None)
        if fence is not None:
            if fence.attempt == 1 and before.fence is None:
                if fence.state == incident.FenceState.INTENDED:
                    fence_law.new(self, after)
            if fence.state == incident.FenceState.VALID:
                if (
                    before.fence is None
                    or before.fence.state != incident.FenceState.VALID
                ):
                    fence_law.became_valid(self, after, fence)
        if after.phase in (
            Phase.CONTAINING,
            Phase.EVACUATING,
            Phase.RECOVERED,
            Phase.RETURNING,
        ):
            self.demand(
                fence is not None
                and fence.state == incident.FenceState.VALID
                and fence.epoch == after.epoch,
                'S2',
                f'{after.uuid} is {after.phase} without a valid record',
            )
        server_law.saved(self, before, after)

    def forget(self, now: incident.Incident | None) -> None:
        """The store lost its newest save: what it held was never so.

        No law can be kept by an intent that the store forgot: the device may
        be asked once more, and that is all.
        """
        if now is None:
            return
        if now.fence is None:
            self.intents.pop(now.host, None)
        self.commands[now.uuid].clear()

    def _one_open(self, after: incident.Incident) -> None:
        mine = [
            i for i in self.sim.store.incidents(9999) if i.host == after.host
        ]
        is_open = [i for i in mine if i.phase not in incident.CLOSED_PHASES]
        self.demand(
            len(is_open) <= 1 and len({i.epoch for i in mine}) == len(mine),
            'S8',
            f'{after.host} has {[i.uuid for i in is_open]} open',
        )

    def _timeline(
        self, before: incident.Incident, after: incident.Incident
    ) -> None:
        old = before.timeline
        self.demand(
            after.timeline[: len(old)] == old
            and [e.seq for e in after.timeline]
            == list(range(1, len(after.timeline) + 1))
            and (
                self.sim.world.clock_jumped
                or sorted(e.at for e in after.timeline)
                == [e.at for e in after.timeline]
            ),
            'S17',
            f'timeline of {after.uuid} is not append-only',
        )

    # --- side effects -----------------------------------------------------

    def act(self, act: doors.Act) -> None:
        self.demand(
            act.token == self.sim.store.token,
            'S7',
            f'{act} by token {act.token}, now {self.sim.store.token}',
        )
        running = self.sim.running
        self.demand(
            running is None or running.own == self.sim.store.owner,
            'S7',
            f'{act} by {running and running.own}, not {self.sim.store.owner}',
        )
        if act.call == 'power-off':
            fence_law.power_off(self, act.target)
        elif act.call == 'evacuate':
            server_law.evacuate(self, act.target)
        elif act.call == 'live-migrate':
            network_law.live_migrate(self, act.target)
        elif act.call in ('stop', 'start', 'pause'):
            server_law.restore(self, act)
        elif act.call == 'reset':
            server_law.reset(self, act)
        else:
            self._service(act)

    def open_incident(self, host: str) -> incident.Incident:
        """Return the open incident of a host.

        :raises Violation: it has none.
        """
        for subject in self.sim.store.open_incidents():
            if subject.host == host:
                return subject
        raise Violation(f'S9: a side effect on {host} without an incident')

    def _service(self, act: doors.Act) -> None:
        subject = self.open_incident(act.target)
        intent, phases = {
            'force-down': (subject.forced_down, (Phase.CONTAINING,)),
            'disable': (
                subject.disabled,
                (Phase.CONTAINING, Phase.MIGRATING),
            ),
            'un-force': (subject.unforced, (Phase.RETURNING,)),
            'enable': (
                subject.enabled,
                (Phase.RETURNING, Phase.MIGRATING),
            ),
        }[act.call]
        self.demand(
            intent == incident.StepState.INTENDED, 'S9', f'{act} unintended'
        )
        self.demand(
            subject.phase in phases, 'S12', f'{act} in {subject.phase}'
        )
        if act.call in ('un-force', 'enable'):
            there = self.sim.world.hosts[act.target]
            stale = [
                m.server
                for m in self.sim.cloud.migrations
                if m.source == act.target
                and m.server in there.guests
                and m.server in self.sim.cloud.servers
                and self.sim.cloud.servers[m.server].host != act.target
            ]
            self.demand(not stale, 'S12', f'{act} with stale {stale}')

    def opted_in(self, server: cloud.Server) -> bool:
        """Whether its owner asks for recovery, or did a moment ago."""
        default = self.sim.settings.default_policy
        return server_law.opted_in(server.metadata, default) or (
            self.sim.world.now - server.changed_at < network_law.FRESHNESS
        )
