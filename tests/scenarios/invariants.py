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
"""

import collections
import typing

from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import values
from tests.scenarios import cloud as cloud_
from tests.scenarios import doors
from tests.scenarios import network_law
from tests.scenarios import world as world_

if typing.TYPE_CHECKING:
    from tests.scenarios import simulation

Phase = incident.Phase
ServerState = incident.ServerState

# The engine may take this long from a sign of life to know of it.
FRESHNESS = 11.0
# Nobody can know sooner than this that the bus is dead.
GRACE = 5.0


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

    def _demand(self, truth: bool, law: str, text: str) -> None:
        if not truth:
            raise Violation(f'{law}: {text} (t={self.sim.t:.1f})')

    # --- the world --------------------------------------------------------

    def world(self, what: str) -> None:
        places: dict[str, list[str]] = collections.defaultdict(list)
        for server, host in self.sim.world.writers():
            places[server].append(host)
        for server, hosts in places.items():
            self._demand(
                len(hosts) == 1, 'S1', f'{server} runs on {hosts} ({what})'
            )

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
            self._demand(
                before.fence.calls == 0, 'S21', f'{after.host} forgotten'
            )
            self.intents.pop(after.host, None)
        if fence is not None:
            if fence.attempt == 1 and before.fence is None:
                if fence.state == incident.FenceState.INTENDED:
                    self._new_fence(after)
            if fence.state == incident.FenceState.VALID:
                if (
                    before.fence is None
                    or before.fence.state != incident.FenceState.VALID
                ):
                    self._became_valid(after, fence)
        if after.phase in (
            Phase.CONTAINING,
            Phase.EVACUATING,
            Phase.RECOVERED,
            Phase.RETURNING,
        ):
            self._demand(
                fence is not None
                and fence.state == incident.FenceState.VALID
                and fence.epoch == after.epoch,
                'S2',
                f'{after.uuid} is {after.phase} without a valid record',
            )
        self._servers(before, after)

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
        self._demand(
            len(is_open) <= 1 and len({i.epoch for i in mine}) == len(mine),
            'S8',
            f'{after.host} has {[i.uuid for i in is_open]} open',
        )

    def _timeline(
        self, before: incident.Incident, after: incident.Incident
    ) -> None:
        old = before.timeline
        self._demand(
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

    def _new_fence(self, after: incident.Incident) -> None:
        sim, host = self.sim, after.host
        self._demand(
            sim.store.arm_state().armed, 'S11', f'fence of {host} disarmed'
        )
        self._evidence(after)
        limits = sim.settings.limits
        running = sim.running
        began = running.eyes.began if running else sim.engine_began
        watching = sim.world.now - began
        quiet = sim.settings.limits.take_over_quiet
        self._demand(
            running is None
            or sim.store.takeovers == 1
            or sim.world.now - running.acts_since >= quiet,
            'S6',
            f'fence of {host} right after a take-over',
        )
        self._demand(
            sim.world.now - sim.foreign.get(host, sim.world.now) <= FRESHNESS,
            'S11',
            f'fence of {host}, which somebody else forced down',
        )
        self._demand(
            watching >= limits.warm_up, 'S6', f'fence of {host} in warm-up'
        )
        # Nobody can measure a window with a clock that jumps.
        window = 0.0 if sim.world.clock_jumped else limits.storm_window
        recent = [
            other
            for other, (at, _) in self.intents.items()
            if other != host and sim.world.now - at < window
        ]
        zone = sim.world.hosts[host].zone
        self.intents[host] = (sim.world.now, zone)
        if after.released:
            return
        self._demand(
            sim.world.bus or sim.world.now - sim.world.bus_since < GRACE,
            'S6',
            f'fence of {host} with a dead bus',
        )
        contained = {
            i.host
            for i in sim.store.open_incidents()
            if i.fence and i.fence.state == incident.FenceState.VALID
        }
        silent = [
            name
            for name, beat in sim.seen.items()
            if beat.age - sim.seen_newest >= sim.settings.rules.timeout
            and name not in contained
        ]
        self._demand(
            len(silent) <= max(1, len(sim.seen) * limits.blind_share),
            'S6',
            f'fence of {host} while {silent} are silent',
        )
        members = [h for h in sim.world.hosts.values() if h.zone == zone]
        for count, total in (
            (len(recent), len(sim.world.hosts)),
            (
                sum(self.intents[h][1] == zone for h in recent),
                len(members),
            ),
        ):
            allowed = max(
                limits.storm_max_hosts, int(limits.storm_max_share * total)
            )
            self._demand(count < allowed, 'S5', f'{host} beyond {recent}')
        self._paced(host, zone, recent)

    def _paced(self, host: str, zone: str, recent: list[str]) -> None:
        """The other forms of S5: failure domains, and time in between."""
        limits, now = self.sim.settings.limits, self.sim.world.now
        zones = {self.intents[other][1] for other in recent}
        self._demand(
            not limits.storm_max_domains
            or len(zones | {zone}) <= max(limits.storm_max_domains, 1)
            or zone in zones,
            'S5',
            f'{host} in {zone} after {zones}',
        )
        soon = [
            other
            for other in recent
            if self.intents[other][1] == zone
            and now - self.intents[other][0] < limits.storm_interval
        ]
        self._demand(not soon, 'S5', f'{host} right after {soon}')

    def _evidence(self, after: incident.Incident) -> None:
        """Enough speaks for a fence, or the policy of a lost network does."""
        host, fence = after.host, after.fence
        if fence is not None and fence.networks:
            response = evidence.Response.FENCE
            network_law.lost(self, host, fence.networks, response)
            return
        self._demand(
            not self._brakes(host, 0.0), 'S11', f'fence of {host} braked'
        )
        self._quiet(host, self._decisive())
        self._no_unknown(host)
        self._own_legs(host)

    def _lies(self, host: str) -> bool:
        """Whether its own device says Off whatever is so: nobody can know.

        What still holds is that nothing runs twice (S1).
        """
        world = self.sim.world
        device = world.devices[world.map.get(host, host)]
        return device.cabled == host and device.fault == 'says-off'

    def _became_valid(
        self, after: incident.Incident, fence: incident.FenceRecord
    ) -> None:
        sim, host = self.sim, after.host
        there = sim.world.hosts[host]
        if fence.evidence_class == incident.FenceClass.OPERATOR_ATTESTED:
            self._demand(
                sim.store.arm_state().armed, 'S11', 'attest while disarmed'
            )
            self._demand(
                not self._brakes(host, 0.0), 'S11', f'attest of {host} braked'
            )
            self._quiet(host, world_.NETWORKS)
            return
        at, reading = sim.outside.readings.get(host, (0.0, None))
        self._demand(
            reading is not None
            and reading.power == incident.Power.OFF
            and sim.world.now - at <= FRESHNESS,
            'S3',
            f'{host} confirmed off by {reading}',
        )
        self._demand(
            not there.power or there.booted_at >= at or self._lies(host),
            'S3',
            f'{host} confirmed off and is on',
        )
        self._demand(
            fence.system_uuid == there.system_uuid
            and fence.system_uuid == after.expected_system_uuid,
            'S24',
            f'{host} is {there.system_uuid}, proof of {fence.system_uuid}',
        )

    def _decisive(self) -> tuple[str, ...]:
        """Networks on which an answer forbids a fence."""
        if self.sim.settings.limits.management_lost == 'fence':
            return (world_.MANAGEMENT,)
        return world_.NETWORKS

    def _no_unknown(self, host: str) -> None:
        """Unknown is not silence, on whatever network."""
        sim, there = self.sim, self.sim.world.hosts[host]

        def lately(at: float) -> bool:
            return sim.world.now - at <= FRESHNESS

        unknown = [
            name
            for name in (world_.MANAGEMENT, *sim.world.probed)
            for link in (there.networks[name],)
            if not link.known and not lately(link.unknown_since)
        ]
        lost = world_.MANAGEMENT not in unknown and any(
            there.networks[name].known
            and (there.answers(name) or lately(there.answering_since(name)))
            for name in sim.world.probed
        )
        self._demand(
            not unknown or (self._decisive() != world_.NETWORKS and lost),
            'S4',
            f'fence of {host} while {unknown} cannot be probed',
        )

    def _own_legs(self, host: str) -> None:
        """A host is not silent because this machine is deaf."""
        sim, there = self.sim, self.sim.world.hosts[host]
        heard = [
            name
            for name, beat in sim.seen.items()
            if name != host and beat.age < sim.settings.rules.timeout
        ]
        deaf = [
            name
            for name in (world_.MANAGEMENT, *sim.world.probed)
            if name in self._decisive()
            and there.answers(name)
            and not sim.world.legs[name].works
        ]
        self._demand(
            not deaf or not heard,
            'S4',
            f'fence of {host}, which answers on {deaf}: the own leg is cut',
        )

    def _quiet(self, host: str, networks: tuple[str, ...]) -> None:
        """No healthy channel shows the host alive within its freshness."""
        sim = self.sim
        there = sim.world.hosts[host]
        beat = sim.seen.get(host)
        self._demand(
            beat is None or beat.age >= sim.settings.rules.timeout,
            'S4',
            f'{host} was heard {beat.age if beat else 0:.1f} s ago',
        )
        for network in (world_.MANAGEMENT, *sim.world.probed):
            if network not in networks or not there.answers(network):
                continue
            since = max(
                there.answering_since(network),
                sim.world.legs[network].changed_at,
            )
            self._demand(
                not there.networks[network].known
                or not sim.world.legs[network].works
                or sim.world.now - since <= FRESHNESS,
                'S4',
                f'{host} answers the probe on {network}',
            )

    def _servers(
        self, before: incident.Incident, after: incident.Incident
    ) -> None:
        old = {s.uuid: s for s in before.servers}
        if after.phase == Phase.RECOVERED:
            self._demand(
                all(
                    s.state in incident.FINAL_SERVER_STATES
                    for s in after.servers
                ),
                'S16',
                f'{after.uuid} is recovered with servers in between',
            )
        for server in after.servers:
            if server.state != ServerState.RECOVERED:
                continue
            was = old.get(server.uuid)
            if was is not None and was.state == ServerState.RECOVERED:
                continue
            self._is_recovered(after, server)

    def _is_recovered(
        self, after: incident.Incident, server: incident.Server
    ) -> None:
        truth = self.sim.cloud.servers.get(server.uuid)
        if truth is None or truth.touched:
            return
        host = self.sim.world.hosts[truth.host]
        self._demand(
            truth.host != after.host and truth.vm_state == truth.first_state,
            'S16',
            f'{server.uuid} is {truth.vm_state} on {truth.host}',
        )
        self._demand(
            truth.vm_state != 'active'
            or not host.power
            or host.guests.get(server.uuid, False),
            'S16',
            f'{server.uuid} has no live domain on {truth.host}',
        )

    # --- side effects -----------------------------------------------------

    def act(self, act: doors.Act) -> None:
        self._demand(
            act.token == self.sim.store.token,
            'S7',
            f'{act} by token {act.token}, now {self.sim.store.token}',
        )
        running = self.sim.running
        self._demand(
            running is None or running.own == self.sim.store.owner,
            'S7',
            f'{act} by {running and running.own}, not {self.sim.store.owner}',
        )
        if act.call == 'power-off':
            self._power_off(act.target)
        elif act.call == 'evacuate':
            self._evacuate(act.target)
        elif act.call == 'live-migrate':
            network_law.live_migrate(self, act.target)
        elif act.call in ('stop', 'start', 'pause'):
            self._demand(
                any(
                    s.uuid == act.target
                    and s.state == ServerState.RESTORING
                    and s.restored == incident.StepState.INTENDED
                    for i in self.sim.store.open_incidents()
                    for s in i.servers
                ),
                'S9',
                f'{act} without intent',
            )
        elif act.call == 'reset':
            self._reset(act)
        else:
            self._service(act)

    def _reset(self, act: doors.Act) -> None:
        """Only right before an evacuation, and never beside one (S8, S9)."""
        self._demand(
            any(
                s.uuid == act.target
                and s.state == ServerState.READY
                and s.reset == incident.StepState.INTENDED
                for i in self.sim.store.open_incidents()
                for s in i.servers
            ),
            'S9',
            f'{act} without intent',
        )
        self._records(act.target)

    def _open(self, host: str) -> incident.Incident:
        for subject in self.sim.store.open_incidents():
            if subject.host == host:
                return subject
        raise Violation(f'S9: a side effect on {host} without an incident')

    def _brakes(self, host: str, known_for: float) -> list[values.Brake]:
        """Maintenance of the host and pauses that hold for it for so long."""
        sim = self.sim
        zone = sim.world.hosts[host].zone
        return [
            brake
            for brake in sim.store.brakes()
            if sim.store.now() - brake.at >= known_for
            and (
                brake.name == host
                if brake.kind == 'maintenance'
                else brake.zone in ('', zone)
            )
        ]

    def _power_off(self, host: str) -> None:
        sim, subject = self.sim, self._open(host)
        fence = subject.fence
        self._demand(
            fence is not None
            and fence.calls > 0
            and fence.called_at is not None
            and sim.store.now() - fence.called_at < 1.0,
            'S9',
            f'power off of {host} without intent',
        )
        assert fence is not None
        self._demand(
            subject.phase == Phase.FENCING
            and fence.state == incident.FenceState.INTENDED,
            'S21',
            f'power off of {host}: {subject.phase}, {fence.state}',
        )
        if fence.attempt == 1 and not fence.networks:
            self._quiet(host, self._decisive())
        elif fence.attempt == 1:
            response = evidence.Response.FENCE
            network_law.lost(self, host, fence.networks, response)
        voids = sum(e.code == 'fence-void' for e in subject.timeline)
        self._demand(
            fence.attempt == voids + 1, 'S21', f'{host} fenced once more'
        )
        past = self.commands[subject.uuid]
        pause = sim.settings.patience.fence_repeat
        self._demand(
            all(
                sim.world.now - at >= pause
                for attempt, at in past
                if attempt == fence.attempt
            ),
            'S21',
            f'{host} was asked {past}',
        )
        past.append((fence.attempt, sim.world.now))
        cabled = sim.world.devices[sim.world.map[host]].cabled
        self._demand(cabled == host, 'S24', f'{cabled} instead of {host}')

    def _evacuate(self, uuid: str) -> None:
        sim = self.sim
        self.evacuations += 1
        subject = next(
            (
                i
                for i in sim.store.open_incidents()
                for s in i.servers
                if s.uuid == uuid
                and s.state == ServerState.REQUESTED
                and s.intended_at is not None
                and sim.store.now() - s.intended_at < 1.0
            ),
            None,
        )
        self._demand(subject is not None, 'S9', f'evacuate {uuid}: no intent')
        assert subject is not None
        self._proof(subject)
        paused = [
            brake
            for brake in self._brakes(subject.host, FRESHNESS)
            if brake.kind == 'pause'
        ]
        self._demand(not paused, 'S11', f'evacuate {uuid} under {paused}')
        server = sim.cloud.servers.get(uuid)
        if server is not None:
            self._demand(
                server.host == subject.host
                and (
                    opted_in(server.metadata, sim.settings.default_policy)
                    or sim.world.now - server.changed_at < FRESHNESS
                )
                and server.task_state != 'deleting',
                'S10',
                f'{uuid} on {server.host} {server.metadata}',
            )
        self._records(uuid)

    def _proof(self, subject: incident.Incident) -> None:
        sim, fence = self.sim, subject.fence
        there = sim.world.hosts[subject.host]
        self._demand(
            subject.phase == Phase.EVACUATING
            and fence is not None
            and fence.state == incident.FenceState.VALID
            and fence.epoch == subject.epoch,
            'S2',
            f'evacuate from {subject.host} without proof',
        )
        assert fence is not None
        at, reading = sim.outside.readings.get(subject.host, (0.0, None))
        attested = (
            fence.evidence_class == incident.FenceClass.OPERATOR_ATTESTED
        )
        self._demand(
            not there.power
            or (not attested and there.booted_at > at)
            or self._lies(subject.host),
            'S2',
            f'evacuate from {subject.host}, which is on',
        )
        self._demand(
            attested
            or (
                reading is not None
                and reading.power == incident.Power.OFF
                and sim.world.now - at <= FRESHNESS
            ),
            'S12',
            f'power of {subject.host} was not read before the batch',
        )
        beat = sim.seen.get(subject.host)
        self._demand(
            beat is None
            or fence.beat_mark == (beat.boot_id, beat.sequence)
            or (
                fence.beat_mark is not None
                and beat.boot_id == fence.beat_mark[0]
                and beat.sequence < fence.beat_mark[1]
            ),
            'S12',
            f'{subject.host} was heard after its fence',
        )
        self._demand(
            sim.cloud.services[subject.host].forced_down or sim.hands_off,
            'S12',
            f'{subject.host} is not forced down',
        )

    def _records(self, uuid: str) -> None:
        """What nova does for the server already."""
        sim = self.sim
        mine = [m for m in sim.cloud.migrations if m.server == uuid]
        for migration in mine:
            self._demand(
                not migration.running,
                'S8',
                f'evacuate {uuid} beside {migration}',
            )
        failed = [
            m for m in mine if m.status == 'failed' and m.dest is not None
        ]
        for migration in failed:
            assert migration.dest is not None
            there = sim.world.hosts[migration.dest]
            self._demand(
                not there.power or uuid not in there.guests,
                'S23',
                f'{uuid} may be left on {migration.dest}',
            )

    def caps(self) -> None:
        """The part of S15 that this release promises."""
        sim = self.sim
        loads: collections.Counter[str] = collections.Counter()
        slow = {
            e.text.split("'")[1]
            for i in sim.store.open_incidents()
            for e in i.timeline
            if e.code == 'server-slow'
        }
        for migration in sim.cloud.migrations:
            if migration.server in slow:
                continue
            if migration.by == 'engine' and migration.running:
                loads[migration.dest or '?'] += 1
        caps = sim.settings.caps
        self._demand(
            sum(loads.values()) <= caps.max_open
            and all(
                n <= caps.max_per_destination
                for dest, n in loads.items()
                if dest != '?'
            ),
            'S15',
            f'open evacuations {dict(loads)}',
        )

    def _service(self, act: doors.Act) -> None:
        subject = self._open(act.target)
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
        self._demand(
            intent == incident.StepState.INTENDED, 'S9', f'{act} unintended'
        )
        self._demand(
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
            self._demand(not stale, 'S12', f'{act} with stale {stale}')

    def demand(self, truth: bool, law: str, text: str) -> None:
        """Say of another part of the law that it was broken."""
        self._demand(truth, law, text)

    def opted_in(self, server: cloud_.Server) -> bool:
        """Whether its owner asks for recovery, or did a moment ago."""
        return opted_in(server.metadata, self.sim.settings.default_policy) or (
            self.sim.world.now - server.changed_at < FRESHNESS
        )


def opted_in(metadata: dict[str, str], default: str) -> bool:
    """Whether the metadata ask for recovery, in the fewest words."""
    if 'ha:policy' in metadata:
        return metadata['ha:policy'] == 'evacuate'
    if 'HA_Enabled' in metadata:
        return metadata['HA_Enabled'] == 'True'
    return default == 'evacuate'
