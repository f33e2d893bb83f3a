# SPDX-License-Identifier: Apache-2.0

"""One host in the eyes of the engine, from late to fenced, second by second.

Only clocks and probes are made up here: who is late, how probes count, what
opens the gates and what an incident becomes is decided by the product.
"""

from collections.abc import Callable
import dataclasses
import math

from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import events
from nova_ha_plugins.recovery import evidence
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import scene
from nova_ha_plugins.recovery import suspicion

# From the event of the watcher to the fact in the inbox: 10 ms to 14 ms were
# measured to the action, and the fact has to be stored.
ALARM = 0.1
# Nova lists the servers of the host before it is fenced.
LISTING = 0.1
# An answer comes within this.
ANSWER = 0.01
# A host that nobody reported is found after so many timeouts.
LOST_ALARM_AFTER = 2.0


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What the product is configured with, as far as it matters here.

    :ivar beat: seconds between two heartbeats (polling_ha.yaml).
    :ivar rules: of the detector, for watcher and engine.
    :ivar limits: of the gates; those of a storm are open, because a storm
        gate must not hide what is wrong.
    :ivar look: seconds between two looks of the watcher.
    :ivar round: seconds between two rounds of the engine.
    :ivar probe: seconds that a silent probe takes.
    :ivar chance: that a living host is silent to a probe, each by itself.
    """

    beat: float
    rules: detector.Rules
    limits: gates.Limits
    look: float
    round: float
    probe: float
    chance: float = 1e-3


@dataclasses.dataclass(frozen=True)
class Sight:
    """What one look shows of one host.

    :ivar silent: hosts that are down in this look.
    :ivar hosts: so many there are.
    """

    look: detector.Look
    host: detector.HostLook
    silent: int
    hosts: int


@dataclasses.dataclass(frozen=True)
class Fenced:
    """The engine decided to fence the host.

    :ivar probes: silent ones on which the decision stands.
    """

    at: float
    probes: int


def sight_of(look: detector.Look, name: str) -> Sight:
    """Return what the look shows of a host."""
    found = next(host for host in look.hosts if host.host == name)
    down = sum(host.verdict == detector.Liveness.DOWN for host in look.hosts)
    return Sight(look, found, down, len(look.hosts))


@dataclasses.dataclass
class Suspect:
    """The engine's work on one host.

    :ivar answers: whether the host answers a probe that begins then.
    :ivar opened: its open incident.
    :ivar wake: when a finished corroboration asks for a round.
    """

    defaults: Defaults
    name: str
    answers: Callable[[float], bool]
    track: suspicion.Track | None = None
    opened: incident.Incident | None = None
    wake: float = math.inf
    _probing: float | None = None
    _deciding: tuple[float, tuple[incident.Reading, ...]] | None = None

    def round(self, at: float, sight: Sight, alarmed: bool) -> Fenced | None:
        """Do what the engine does for the host in one round."""
        self.settle(at)
        self.wake = math.inf
        self._suspect(at, sight)
        if self.opened is None:
            self._open(at, sight, alarmed)
        if self.opened is None:
            return None
        if self._deciding is None:
            self._begin_look(at)
        return self._finish_look(at, sight)

    # --- probes from suspicion on -----------------------------------------

    def _suspect(self, at: float, sight: Sight) -> None:
        rules = self.defaults.rules
        if self.track is not None and not suspicion.kept(
            (self.track,), _only(sight), rules
        ):
            self.track, self._probing = None, None
        if self.opened is not None or self._probing is not None:
            return
        if suspicion.suspects(_only(sight)):
            if self.track is None:
                self.track = suspicion.Track(
                    self.name, mark=suspicion.mark_of(sight.look, self.name)
                )
            self._probing = at

    def settle(self, now: float) -> None:
        """End the probes that are over, and begin the next ones at once."""
        while self.track is not None and self._probing is not None:
            began = self._probing
            readings, took = self._probe(began)
            if began + took > now:
                return
            limits = self.defaults.limits
            self.track = suspicion.probed(
                self.track, readings, began + took, limits.management_lost
            )
            self._probing = None
            if suspicion.unfinished(self.track, limits.silent_after):
                self._probing = began + took

    def probing_ends(self) -> float:
        """Return when the corroboration under way will be complete."""
        if self.track is None or self._probing is None:
            return math.inf
        if self.answers(self._probing):
            return math.inf
        missing = self.defaults.limits.silent_after - self.track.silent
        if missing < 1:
            return math.inf
        return self._probing + missing * self.defaults.probe

    def _probe(self, at: float) -> tuple[tuple[incident.Reading, ...], float]:
        alive = self.answers(at)
        sign = incident.Sign.ALIVE if alive else incident.Sign.SILENT
        took = ANSWER if alive else self.defaults.probe
        reading = incident.Reading(evidence.PROBE, sign, at + took)
        return (reading,), took

    # --- the incident -----------------------------------------------------

    def _open(self, at: float, sight: Sight, alarmed: bool) -> None:
        if sight.host.verdict != detector.Liveness.DOWN:
            return
        timeout = self.defaults.rules.timeout
        if not (
            alarmed
            or suspicion.complete(
                self.track, self.defaults.limits.silent_after, at
            )
            or sight.host.silent_for >= LOST_ALARM_AFTER * timeout
        ):
            return
        self.opened = machine.step(
            incident.Incident(
                uuid=self.name,
                host=self.name,
                service_uuid=self.name,
                epoch=1,
                phase=incident.Phase.SUSPECTED,
                opened_at=at,
                updated_at=at,
                servers=(incident.Server('server', protected=True),),
            ),
            events.Suspected(at, 'notifier', 'silent'),
        )

    def _begin_look(self, at: float) -> None:
        assert self.opened is not None
        if self.opened.next_look_at is not None:
            if self.opened.next_look_at > at:
                return
        self.opened, known = suspicion.taken_up(
            self.opened, self.track, self.defaults.limits.silent_after, at
        )
        if known:
            self._deciding = at + LISTING, known
            return
        readings, took = self._probe(at)
        self._deciding = at + took + LISTING, readings

    def _finish_look(self, at: float, sight: Sight) -> Fenced | None:
        if self._deciding is None:
            return None
        over, readings = self._deciding
        self._deciding = None
        assert self.opened is not None
        before = self.opened
        limits = self.defaults.limits
        sign = {
            detector.Liveness.UP: incident.Sign.ALIVE,
            detector.Liveness.DOWN: incident.Sign.SILENT,
            detector.Liveness.UNKNOWN: incident.Sign.UNKNOWN,
        }[sight.host.verdict]
        readings = (
            incident.Reading(evidence.HEARTBEAT, sign, at, sight.host.age),
            *readings,
        )
        verdict = evidence.verdict(readings)
        count = evidence.in_a_row(before, verdict, limits.management_lost)
        suspect = gates.suspect_of(before, readings, count, over)
        case = gates.Case(suspect, self._scene(over, sight), limits)
        hold = gates.hold(case)
        self.opened = machine.step(
            before,
            events.Assessed(
                over, readings, count, hold, limits.management_lost, case
            ),
        )
        if self.opened.phase == incident.Phase.FENCING:
            return Fenced(over, count)
        if self.opened.phase in incident.CLOSED_PHASES:
            self.opened = None
        return None

    def _scene(self, now: float, sight: Sight) -> gates.Scene:
        return gates.Scene(
            now=now,
            armed=True,
            arm_text='armed',
            watching=math.inf,
            blind=sight.look.sight != detector.Sight.CLEAR,
            hosts=sight.hosts,
            silent=sight.silent,
            domains=(scene.Domain('', sight.hosts),),
        )


def _only(sight: Sight) -> detector.Look:
    """Return the look without the other hosts."""
    return dataclasses.replace(sight.look, hosts=(sight.host,))
