# SPDX-License-Identifier: Apache-2.0

"""Asks the API about evacuations at every write of nova about a server."""

import collections
import contextlib
import dataclasses
import functools
import threading

import fixtures
from nova.db.main import api as main_db
from nova.db.main import models

from nova_ha_plugins.recovery import progress
from tests.unit.recovery import recordings

# After each of them the evidence may be another.
WRITES = (
    'migration_create',
    'migration_update',
    'instance_update',
    'instance_update_and_get_original',
    'instance_destroy',
    'action_event_start',
    'action_event_finish',
    'block_device_mapping_update',
)


@dataclasses.dataclass(frozen=True)
class Seen:
    """One answer: the items newest first, and what it was made from."""

    items: tuple
    look: recordings.Look


class Watch:
    """Asks the API about servers, by whoever has just written about them."""

    def __init__(self, case):
        self._case = case
        self._lock = threading.Lock()
        self._locks = collections.defaultdict(threading.RLock)
        self._inside = threading.local()
        self.seen = collections.defaultdict(list)
        self.watched = set()
        # Seconds that the assessment is made to believe have passed.
        self.later = 0.0
        self._assess = progress.assess
        case.useFixture(
            fixtures.MonkeyPatch(
                'nova_ha_plugins.recovery.progress.assess', self._note
            )
        )
        for name in WRITES:
            self._look_after(name)

    def _look_after(self, name):
        write = getattr(main_db, name)

        @functools.wraps(write)
        def written(*args, **kwargs):
            depth = getattr(self._inside, 'depth', 0)
            self._inside.depth = depth + 1
            try:
                result = write(*args, **kwargs)
            finally:
                self._inside.depth = depth
            if depth == 0:
                self._after(args, kwargs, result)
            return result

        self._case.useFixture(
            fixtures.MonkeyPatch(f'nova.db.main.api.{name}', written)
        )

    def _after(self, args, kwargs, result):
        for server in self._concerned(args, kwargs, result) & self.watched:
            try:
                self.look(server, deleted=False)
            except Exception as error:
                # Nova must not feel that it is watched.
                self._case.problems.append(f'Asked in between: {error}')

    def _concerned(self, args, kwargs, result):
        found = [*args, *kwargs.values()]
        for value in (*args, *kwargs.values(), result):
            for name in ('instance_uuid', 'uuid'):
                if isinstance(value, dict):
                    found.append(value.get(name))
                elif isinstance(value, models.BASE):
                    found.append(getattr(value, name, None))
        return {value for value in found if isinstance(value, str)}

    def _note(self, facts):
        facts = dataclasses.replace(facts, now=facts.now + self.later)
        noted = getattr(self._inside, 'noted', None)
        if noted is not None:
            noted[facts.created_at] = facts
        return self._assess(facts)

    @contextlib.contextmanager
    def a_minute_later(self):
        """Let the assessment believe that a minute has passed."""
        self.later = 60.0
        try:
            yield
        finally:
            self.later = 0.0

    def look(self, server, *, deleted=True):
        """Ask once; give the items, newest first.

        :param deleted: also if nova has none with that name any more; not in
            the middle of what nova does, whose fixture holds the cell then.
        """
        self._case.assertFalse(getattr(self._inside, 'looking', False))
        with self._lock:
            lock = self._locks[server]
        with lock:
            self._inside.looking = True
            try:
                return self._look(server, deleted)
            finally:
                self._inside.looking = False

    def _look(self, server, deleted):
        before = self._is_there(server)
        self._inside.noted = noted = {}
        try:
            items = self._case.items_of(server, deleted)
        finally:
            self._inside.noted = None
        if items:
            there = before or self._is_there(server)
            facts = tuple(noted[key] for key in sorted(noted))
            self._case.assertEqual(
                [item['state'] for item in items],
                [str(self._assess(one).state) for one in reversed(facts)],
            )
            look = recordings.Look(facts, there)
            self.seen[server].append(Seen(tuple(items), look))
        return items

    def _is_there(self, server):
        """Tell whether an evacuation of this server is over in truth."""
        row, destination = self._case.truth(server)
        return (
            row is not None
            and row.task_state is None
            and row.host == destination
            and destination in self._case.guests_of(server)
        )

    def looks(self, server):
        """What was seen of a server, without what was seen twice."""
        last = None
        for seen in self.seen[server]:
            plain = tuple(
                dataclasses.replace(facts, now=0.0)
                for facts in seen.look.facts
            )
            told = [
                (item['state'], item['reason'], item['stalled'])
                for item in seen.items
            ]
            now = (plain, seen.look.there, told)
            if now != last:
                last = now
                yield seen
