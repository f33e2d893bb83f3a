# SPDX-License-Identifier: Apache-2.0

"""Where a recovery stands, and an engine that is ended right there.

The store is read every few milliseconds, past the product's own processes;
what it says after the engine is gone is the step at which it ended, and not
what was wanted.
"""

import collections.abc
import contextlib
import dataclasses
import os
import signal
import statistics
import time

import pymysql
import pymysql.connections

from lab import lease as leases
from lab import plan as planning
from lab import processes as running
from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import incident

Phase = incident.Phase

# In the order in which a recovery takes them.
SUSPECTED = 'suspected'
DECIDED = 'decided, the device not asked'
ASKED = 'the device asked'
FENCED = 'fenced'
FORCED_DOWN = 'forced down'
LISTED = 'listed'
REQUESTED = 'first evacuation requested'
HALF = 'half of them evacuating'
RECOVERED = 'recovered'
RETURNING = 'returning'
STEPS = (
    SUSPECTED,
    DECIDED,
    ASKED,
    FENCED,
    FORCED_DOWN,
    LISTED,
    REQUESTED,
    HALF,
    RECOVERED,
    RETURNING,
)
# What lies between those, and the end.
_DISABLED, _ALL, _OVER = 'disabled', 'all evacuating', 'over'
ORDER = (
    *STEPS[: STEPS.index(LISTED)],
    _DISABLED,
    *STEPS[STEPS.index(LISTED) : STEPS.index(RECOVERED)],
    _ALL,
    *STEPS[STEPS.index(RECOVERED) :],
    _OVER,
)

# Seconds between two looks.
_PAUSE = 0.003


def step_of(subject: incident.Incident) -> str:
    """Return the one step of ORDER at which an incident stands."""
    match subject.phase:
        case Phase.SUSPECTED | Phase.HELD:
            return SUSPECTED
        case Phase.FENCING:
            return ASKED if subject.fence and subject.fence.calls else DECIDED
        case Phase.CONTAINING:
            done = subject.forced_down == incident.StepState.DONE
            return FORCED_DOWN if done else FENCED
        case Phase.EVACUATING:
            return _evacuating(subject)
        case Phase.RECOVERED:
            return RECOVERED
        case Phase.RETURNING:
            return RETURNING
        case _:
            return _OVER


def _evacuating(subject: incident.Incident) -> str:
    if not subject.listed:
        return _DISABLED
    protected = [each for each in subject.servers if each.protected]
    asked = sum(each.attempts > 0 for each in protected)
    if not asked:
        return LISTED
    if asked == len(protected):
        return _ALL
    return HALF if asked * 2 >= len(protected) else REQUESTED


@dataclasses.dataclass(frozen=True)
class Sight:
    """The lease and one incident, as they are in the store at one moment.

    :ivar step: '' before there is an incident.
    :ivar generation: of the incident.
    """

    lease: leases.Lease
    step: str = ''
    generation: int = 0


@dataclasses.dataclass
class Kill:
    """The end of one engine.

    :ivar wanted: the step at which it was to end.
    :ivar step: the step at which it ended.
    :ivar token: of its lease.
    :ivar others: how many other engines were there to take over.
    :ivar took_over: who did.
    :ivar seconds: until somebody had the lease.
    """

    wanted: str
    step: str
    engine: str
    token: int
    others: int
    at: float
    took_over: str = ''
    seconds: float = float('nan')


class Watcher:
    """Looks at the store, and ends engines by what it sees."""

    def __init__(
        self, plan: planning.Plan, processes: running.Processes, host: str
    ) -> None:
        self._plan, self._processes, self._host = plan, processes, host
        self._connection = leases.connect(plan)
        # Of failures before this one, all is known.
        self._known = self._epoch()
        self._document = ''
        self._subject: incident.Incident | None = None

    def close(self) -> None:
        with contextlib.suppress(pymysql.MySQLError):
            self._connection.close()

    def _epoch(self) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(
                'SELECT COALESCE(MAX(epoch), 0) FROM incidents '
                'WHERE host = %s',
                (self._host,),
            )
            return int(cursor.fetchone()[0])

    def look(self) -> Sight:
        """Return what the store says of the next incident of the host."""
        lease = leases.read(self._connection)
        with self._connection.cursor() as cursor:
            cursor.execute(
                'SELECT document FROM incidents WHERE host = %s '
                'AND epoch > %s ORDER BY epoch LIMIT 1',
                (self._host, self._known),
            )
            row = cursor.fetchone()
        if row is None:
            return Sight(lease)
        if self._subject is None or row[0] != self._document:
            self._document = row[0]
            self._subject = documents.loads(incident.Incident, row[0])
        return Sight(lease, step_of(self._subject), self._subject.generation)

    def until(
        self,
        true: collections.abc.Callable[[Sight], bool],
        what: str,
        patience: float,
    ) -> Sight:
        """Return the first look of which something is true.

        :raises AssertionError: there was none in time.
        """
        deadline = time.monotonic() + patience
        while not true(seen := self.look()):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f'Waited {patience:.0f} s for {what}; it is {seen}'
                )
            time.sleep(_PAUSE)
        return seen

    def reach(self, wanted: str, patience: float) -> Sight:
        """Return when the incident is at a step, or beyond, with an engine."""
        rank = ORDER.index(wanted)
        return self.until(
            lambda seen: (
                bool(seen.step)
                and ORDER.index(seen.step) >= rank
                and seen.lease.valid
                and self._processes.pid(seen.lease.engine) is not None
            ),
            f"{self._host} to be at '{wanted}'",
            patience,
        )

    def kill(self, wanted: str, patience: float) -> Kill:
        """Kill whoever acts, as soon as the incident is at a step."""
        seen = self.reach(wanted, patience)
        name = seen.lease.engine
        for pid in running.tree(self._processes.pid(name) or 0)[::-1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        at = time.monotonic()
        self._processes.kill(name)
        others = sum(
            self._processes.pid(each) is not None
            for each in self._processes.names()
            if each.startswith('nova-ha-engine-')
        )
        # What it had under way reaches the database, or never will.
        time.sleep(0.02)
        after = self.look()
        return Kill(wanted, after.step, name, seen.lease.token, others, at)

    def taken_over(self, kill: Kill, patience: float) -> Kill:
        """Return when another engine has the lease, with what that took."""
        seen = self.until(
            lambda seen: seen.lease.token > kill.token and seen.lease.valid,
            f"somebody to take over from {kill.engine} at '{kill.step}'",
            patience,
        )
        kill.seconds = time.monotonic() - kill.at
        kill.took_over = seen.lease.engine
        return kill


def in_transaction(
    connection: pymysql.connections.Connection, client: str
) -> bool:
    """Say whether somebody at an address has a transaction open."""
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT COUNT(*) FROM information_schema.innodb_trx trx '
            'JOIN information_schema.processlist client '
            'ON client.id = trx.trx_mysql_thread_id '
            'WHERE client.host LIKE %s AND trx.trx_rows_locked > 0',
            (f'{client}:%',),
        )
        return bool(cursor.fetchone()[0])


def summary(kills: collections.abc.Iterable[Kill]) -> list[str]:
    """Return a line for each step: how often, and how long it took."""
    lines = []
    kills = tuple(kills)
    for step in ORDER:
        took = [each.seconds for each in kills if each.step == step]
        if took:
            lines.append(
                f'{step:32} {len(took):3} x  median '
                f'{statistics.median(took):5.2f} s  max {max(took):5.2f} s'
            )
    return lines
