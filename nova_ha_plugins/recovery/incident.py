# SPDX-License-Identifier: Apache-2.0

"""What is known of one failed host and what was done about it: values only.

Every class is frozen; ``machine.step`` alone makes the next value. Times are
seconds of *one* clock, the store's (``Store.now``); they are never compared
with a time that another machine stamped.
"""

import dataclasses
import enum


class Phase(enum.StrEnum):
    """Where the recovery of a host stands."""

    SUSPECTED = 'suspected'
    HELD = 'held'
    MIGRATING = 'migrating'
    FENCING = 'fencing'
    CONTAINING = 'containing'
    EVACUATING = 'evacuating'
    RECOVERED = 'recovered'
    RETURNING = 'returning'
    NEEDS_OPERATOR = 'needs-operator'
    CLOSED = 'closed'
    CANCELLED = 'cancelled'


CLOSED_PHASES = frozenset({Phase.CLOSED, Phase.CANCELLED})


class Verdict(enum.StrEnum):
    """What all channels together say of a host."""

    ALIVE = 'alive'
    DEGRADED = 'degraded'
    SUSPECTED = 'suspected'
    ISOLATED = 'isolated'
    DEAD = 'dead'
    UNKNOWN = 'unknown'


class Sign(enum.StrEnum):
    """What one channel says of a host. Unknown is a value, never 'silent'."""

    ALIVE = 'alive'
    SILENT = 'silent'
    UNKNOWN = 'unknown'


class Power(enum.StrEnum):
    """A power state as a device reported it; only OFF counts as off."""

    ON = 'on'
    OFF = 'off'
    CHANGING = 'changing'
    UNKNOWN = 'unknown'


class StepState(enum.StrEnum):
    """One side effect: nothing, durably intended, done, or not needed."""

    NONE = 'none'
    INTENDED = 'intended'
    DONE = 'done'


class ServerState(enum.StrEnum):
    """Where one server of the failed host stands."""

    QUEUED = 'queued'
    READY = 'ready'
    REQUESTED = 'requested'
    EVACUATING = 'evacuating'
    RESTORING = 'restoring'
    RECOVERED = 'recovered'
    LEFT = 'left'
    PARKED = 'parked'


FINAL_SERVER_STATES = frozenset(
    {ServerState.RECOVERED, ServerState.LEFT, ServerState.PARKED}
)


class MoveState(enum.StrEnum):
    """Where a server stands that leaves a living host by live migration."""

    QUEUED = 'queued'
    REQUESTED = 'requested'
    MOVING = 'moving'
    MOVED = 'moved'
    FAILED = 'failed'
    LEFT = 'left'


FINAL_MOVE_STATES = frozenset(
    {MoveState.MOVED, MoveState.FAILED, MoveState.LEFT}
)


class FenceClass(enum.StrEnum):
    """How good the proof is that the host is off."""

    CONFIRMED_OFF = 'confirmed-off'
    OPERATOR_ATTESTED = 'operator-attested'
    SELF_FENCE_WINDOW = 'self-fence-window-elapsed'


class FenceState(enum.StrEnum):
    """The life of a fence record."""

    INTENDED = 'intended'
    VALID = 'valid'
    VOID = 'void'


@dataclasses.dataclass(frozen=True)
class Reading:
    """What one channel said of a host at one moment.

    :ivar channel: 'heartbeat', 'probe', 'probe:<network>' or 'nova'.
    :ivar age: seconds since the channel last heard the host, if it knows.
    :ivar text: one clause for the timeline.
    """

    channel: str
    sign: Sign
    at: float
    age: float | None = None
    text: str = ''


@dataclasses.dataclass(frozen=True)
class FenceRecord:
    """The proof that a host is off, or the intent to make it so.

    :ivar attempt: 1 for the fence, more when the host had to be switched off
        again because it showed a sign of life (containment).
    :ivar calls: how often the device was asked to switch off.
    :ivar called_at: when it was last asked.
    :ivar power: what it last said the power is.
    :ivar epoch: the incident's epoch that the record belongs to.
    :ivar system_uuid: the device's own identity, read with the power state.
    :ivar beat_mark: boot id and sequence of the last heartbeat known when the
        record became valid; anything newer voids it.
    :ivar off_mark: boot id and sequence that a heartbeat of that boot can
        only have if it was sent well after the device read Off.
    :ivar networks: the lost networks for which the policy wants a host
        switched off that lives; empty when it is fenced because it is dead.
    """

    state: FenceState
    epoch: int
    attempt: int
    intended_at: float
    calls: int = 0
    called_at: float | None = None
    power: Power = Power.UNKNOWN
    confirmed_at: float | None = None
    evidence_class: FenceClass | None = None
    driver: str = ''
    by: str = ''
    raw: str = ''
    system_uuid: str = ''
    beat_mark: tuple[str, int] | None = None
    off_mark: tuple[str, int] | None = None
    networks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Server:
    """One server that lived on the failed host.

    :ivar vm_state: nova's vm_state when the host failed; it is put back.
    :ivar task_state: nova's task_state when the host failed, '' for none.
    :ivar locked: its owner, or an administrator, had locked it.
    :ivar tags: the metadata that decided, with the values they had.
    :ivar reset: whether nova was asked to call it active, because nova
        evacuates no server in the state it had.
    :ivar restored: whether the state it had was asked for at the new host.
    :ivar since: since when it waits for nova or its owner, or is put back.
    :ivar waits: how many of the attempts found no host with room, or nova
        too busy; they do not count as failures.
    :ivar baseline: uuid of the newest evacuation record that existed before
        our own call; a newer one is the answer to the call.
    """

    uuid: str
    name: str = ''
    project_id: str = ''
    vm_state: str = ''
    task_state: str = ''
    locked: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    priority: int = 500
    protected: bool = False
    state: ServerState = ServerState.QUEUED
    code: str = ''
    reason: str = ''
    attempts: int = 0
    waits: int = 0
    baseline: str | None = None
    migration_uuid: str | None = None
    destination: str | None = None
    intended_at: float | None = None
    answered: bool = False
    finished_at: float | None = None
    retry_at: float | None = None
    reset: StepState = StepState.NONE
    restored: StepState = StepState.NONE
    since: float | None = None


@dataclasses.dataclass(frozen=True)
class Move:
    """One server that leaves a host which lives but lost a network.

    :ivar attempts: how often nova was asked to migrate it.
    :ivar baseline: uuid of the newest live migration that existed before our
        own call; a newer one is the answer to the call.
    :ivar answered: nova said that it took the call.
    :ivar retry_at: when it may be asked again.
    """

    uuid: str
    name: str = ''
    priority: int = 500
    state: MoveState = MoveState.QUEUED
    code: str = ''
    reason: str = ''
    attempts: int = 0
    baseline: str | None = None
    migration_uuid: str | None = None
    destination: str | None = None
    intended_at: float | None = None
    answered: bool = False
    retry_at: float | None = None


class Kind(enum.StrEnum):
    """What a line of the timeline is about."""

    EVIDENCE = 'evidence'
    GATE = 'gate'
    DECISION = 'decision'
    INTENT = 'intent'
    RESULT = 'result'
    OPERATOR = 'operator'
    NOTE = 'note'


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of the timeline: append-only, numbered without gaps.

    :ivar input: of a decision: everything it was made from, as JSON.
    """

    seq: int
    at: float
    code: str
    text: str
    kind: Kind = Kind.NOTE
    input: str = ''


@dataclasses.dataclass(frozen=True)
class Incident:
    """One failure of one host, from the first suspicion to its return.

    :ivar host: nova's service host, the canonical key with service_uuid.
    :ivar epoch: rises with each incident of the host.
    :ivar code: machine-readable reason of the phase, '' when it needs none.
    :ivar reason: the same as a sentence that an operator can act on.
    :ivar next_look_at: when the engine looks again, None for the next round.
    :ivar expected_system_uuid: what the host said of itself while it lived.
    :ivar silent_probes: looks in a row in which the probes that matter were
        silent.
    :ivar answered_at: when a probe last had an answer that forbids to fence
        the host.
    :ivar dead_since: since when every look said that it is dead.
    :ivar beating_since: since when a contained host sends heartbeats again.
    :ivar networks_lost: networks that are lost while the host lives.
    :ivar networks_heard: those of them on which it was heard before, so that
        their address is right.
    :ivar moves: servers that leave it by live migration meanwhile.
    :ivar quarantined: it failed too often lately and stays disabled.
    :ivar token: of the lease of the engine that acts for it.
    :ivar engine: the name of that engine.
    :ivar released: an operator let it pass the storm gate.
    :ivar return_released: an operator lets the host return although a parked
        server may have a guest left elsewhere, or although it is quarantined.
    :ivar reviewed_at: when its servers were last looked at after the end.
    :ivar outcome: 'resolved' (every protected server is elsewhere) or
        'partial', once every server is in a final state.
    :ivar generation: rises with each save; the compare-and-swap key.
    """

    uuid: str
    host: str
    service_uuid: str
    epoch: int
    phase: Phase
    opened_at: float
    updated_at: float
    code: str = ''
    reason: str = ''
    next_look_at: float | None = None
    domain: str = ''
    expected_system_uuid: str = ''
    silent_probes: int = 0
    answered_at: float | None = None
    verdict: Verdict = Verdict.UNKNOWN
    readings: tuple[Reading, ...] = ()
    dead_since: float | None = None
    beating_since: float | None = None
    networks_lost: tuple[str, ...] = ()
    networks_heard: tuple[str, ...] = ()
    moves: tuple[Move, ...] = ()
    quarantined: bool = False
    token: int = 0
    engine: str = ''
    released: bool = False
    return_released: bool = False
    reviewed_at: float | None = None
    fence: FenceRecord | None = None
    forced_down: StepState = StepState.NONE
    disabled: StepState = StepState.NONE
    unforced: StepState = StepState.NONE
    enabled: StepState = StepState.NONE
    listed: bool = False
    servers: tuple[Server, ...] = ()
    timeline: tuple[Entry, ...] = ()
    outcome: str = ''
    closed_at: float | None = None
    generation: int = 0
