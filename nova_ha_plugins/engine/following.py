# SPDX-License-Identifier: Apache-2.0

"""Follows every evacuation of nova, and remembers what it saw.

Only the acting engine does, in a thread of its own, with a session and a
connection to the store of its own: nothing of a recovery waits for it, and
whatever goes wrong here is tried again later. What is remembered is in the
store, so that the engine that takes over goes on where the last one stopped.
An evacuation counts as told only after the bus has it: a crash in between
tells it twice, never not at all.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
import dataclasses
import threading
import time
import typing

from oslo_config import cfg
from oslo_log import log

from nova_ha_plugins.engine import bus
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import telling
from nova_ha_plugins.nova import evacuations
from nova_ha_plugins.recovery import following
from nova_ha_plugins.recovery import progress
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# So far back the first look reads what nova changed while nobody followed.
LOOK_BACK = 86400.0
# The clocks of nova and of the store may differ, and nova's transactions end
# later than the time that they write.
OVERLAP = 120.0
# Bytes and rates are stored this often; a phase that ends, at once.
SAVE_EVERY = 3.0
# nova is asked for a tenth of the time at most.
SHARE = 10.0
# Servers that are asked for one by one in one look, and for how long at most:
# a cell that hangs must not keep us from looking at the others.
ASKED = 20
ASK_SECONDS = 5.0
# A server that nova does not know is gone when it says so that often, and for
# so long: a cell that was away must not look like it.
GONE_LOOKS = 3
GONE_AFTER = 30.0
# nova-api without our resource is looked at again this late.
MISSING_PAUSE = 60.0
PURGE_EVERY = 3600.0

_DAY = 86400.0
_FINAL = frozenset({following.END, following.ERROR})


class Store(typing.Protocol):
    """The part of the store that the follower needs."""

    def now(self) -> float: ...
    def evacuation_traces(
        self, uuids: Collection[str]
    ) -> dict[str, values.EvacuationTrace]: ...
    def open_evacuation_traces(
        self,
    ) -> tuple[values.EvacuationTrace, ...]: ...
    def save_evacuation_traces(
        self, traces: Sequence[values.EvacuationTrace], lease: values.Lease, /
    ) -> None: ...
    def purge_evacuations(self, days: float) -> int: ...


class Door(typing.Protocol):
    """The part of ``nova.evacuations`` that the follower needs."""

    def open(self) -> tuple[views.Evacuation, ...]: ...
    def changed_since(self, at: float) -> tuple[views.Evacuation, ...]: ...
    def of_server(self, uuid: str) -> tuple[views.Evacuation, ...]: ...


class Teller(typing.Protocol):
    """The part of ``telling.Teller`` that the follower needs."""

    def offer(self, job: telling.Job) -> bool: ...
    def told(self) -> tuple[telling.Job, ...]: ...


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the operator configured in [progress]."""

    interval: float = 1.0
    idle_interval: float = 10.0
    keep_days: float = 180.0


@dataclasses.dataclass
class _Kept:
    """An evacuation that is followed.

    :ivar stored: as the store has it, None before the first save.
    :ivar seen: as nova last showed it.
    :ivar missed: how often it was looked for in vain, and since when.
    """

    trace: values.EvacuationTrace
    stored: values.EvacuationTrace | None = None
    stored_at: float = 0.0
    seen: views.Evacuation | None = None
    missed: int = 0
    missed_since: float = 0.0
    asked_at: float = 0.0


class Follower:
    """Looks, remembers, tells; one look at a time."""

    def __init__(
        self,
        store: Store,
        door: Door,
        teller: Teller | None,
        lease: values.Lease,
        settings: Settings,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow nothing yet.

        :param teller: None where nobody is to be told.
        """
        self._store = store
        self._evacuations = door
        self._teller = teller
        self._lease = lease
        self._settings = settings
        self._monotonic = monotonic
        self._kept: dict[str, _Kept] = {}
        self._over: set[str] = set()
        self._since: float | None = None
        self._purged_at: float | None = None
        self._trouble = ''

    def run(self, stop: threading.Event) -> None:
        """Look again and again until told to stop, or another engine acts."""
        while not stop.is_set():
            try:
                stop.wait(self.turn())
            except values.LeaseLost as error:
                LOG.info('Evacuations are followed no more: %s', error)
                return

    def turn(self) -> float:
        """Seconds until the next look; whatever this one came to.

        :raises values.LeaseLost: another engine took over.
        """
        pause = self._settings.idle_interval
        try:
            pause = self.look()
        except values.LeaseLost:
            raise
        except doors.Refused as error:
            pause = max(pause, MISSING_PAUSE)
            trouble = _sentence(error)
        except (doors.DoorError, *errors.AWAY) as error:
            trouble = str(error)
        except Exception as error:
            # Nothing that we did not think of may end this thread: nobody
            # would notice that nothing is followed any more.
            if type(error).__name__ != self._trouble:
                LOG.exception('Evacuations could not be followed')
            self._trouble = type(error).__name__
            return pause
        else:
            trouble = ''
        self._tell_trouble(trouble)
        return pause

    def look(self) -> float:
        """Look once; seconds until it is worth the next time."""
        began = self._monotonic()
        now = self._store.now()
        if self._since is None:
            self._load()
            self._since = now - LOOK_BACK
        self._note_told()
        seen = self._read(self._since)
        self._recall(seen)
        for one in seen.values():
            self._follow(one, now)
        self._save(now)
        self._over &= seen.keys()
        self._since = now - OVERLAP
        self._purge()
        goes_on = any(
            kept.trace.finished_at is None for kept in self._kept.values()
        )
        pause = (
            self._settings.interval
            if goes_on
            else self._settings.idle_interval
        )
        return max(pause, (self._monotonic() - began) * SHARE)

    def _load(self) -> None:
        """Go on where the engine before stopped."""
        self._kept = {
            trace.uuid: _Kept(trace, trace)
            for trace in self._store.open_evacuation_traces()
        }

    def _read(self, since: float) -> dict[str, views.Evacuation]:
        """Everything that may have changed, by uuid."""
        seen = {one.uuid: one for one in self._evacuations.open()}
        for one in self._evacuations.changed_since(since):
            seen.setdefault(one.uuid, one)
        missing: dict[str, list[_Kept]] = {}
        for uuid, kept in self._kept.items():
            if uuid in seen:
                kept.missed = 0
            elif kept.trace.finished_at is not None and kept.seen is not None:
                # Nothing will change; only the bus does not know yet.
                seen[uuid] = kept.seen
            else:
                missing.setdefault(kept.trace.server_uuid, []).append(kept)
        first = sorted(missing, key=lambda server: missing[server][0].asked_at)
        began = self._monotonic()
        for server in first[:ASKED]:
            if self._monotonic() - began >= ASK_SECONDS:
                break
            self._ask(server, missing[server], seen)
        return seen

    def _ask(
        self,
        server: str,
        several: list[_Kept],
        seen: dict[str, views.Evacuation],
    ) -> None:
        """Look at evacuations that are in no list any more."""
        found: tuple[views.Evacuation, ...] = ()
        now = self._monotonic()
        try:
            found = self._evacuations.of_server(server)
        except doors.Refused as error:
            if error.status != 404:
                raise
        except doors.Unanswered as error:
            # Its cell may be away; the others are looked at all the same.
            LOG.debug('Server %s could not be asked for: %s', server, error)
            return
        there = {one.uuid: one for one in found}
        for kept in several:
            kept.asked_at = now
            uuid = kept.trace.uuid
            if uuid in there:
                kept.missed = 0
                seen[uuid] = there[uuid]
                continue
            if not kept.missed:
                kept.missed_since = now
            kept.missed += 1
            if (
                kept.missed >= GONE_LOOKS
                and now - kept.missed_since >= GONE_AFTER
            ):
                seen[uuid] = _gone(kept.trace)

    def _recall(self, seen: dict[str, views.Evacuation]) -> None:
        """Remember what the store knows of those that are new here."""
        unknown = seen.keys() - self._kept.keys() - self._over
        for uuid, trace in self._store.evacuation_traces(unknown).items():
            if _is_over(trace):
                self._over.add(uuid)
            else:
                self._kept[uuid] = _Kept(trace, trace)

    def _follow(self, one: views.Evacuation, now: float) -> None:
        if one.uuid in self._over:
            return
        kept = self._kept.get(one.uuid)
        before = kept.trace if kept is not None else None
        found = following.follow(before, one, now)
        after = found.trace
        if kept is None:
            kept = self._kept[one.uuid] = _Kept(after)
        kept.seen = one
        if found.tellings and self._teller is not None:
            self._teller.offer(telling.Job(one, found.tellings, after))
            after = _as_told(after, before)
        if after.finished_at is not None and (
            before.finished_at is None if before else found.tellings
        ):
            _log_end(after)
        kept.trace = after

    def _note_told(self) -> None:
        """Count as told what the bus has by now."""
        if self._teller is None:
            return
        for job in self._teller.told():
            kept = self._kept.get(job.subject.uuid)
            if kept is not None:
                kept.trace = _as_told(kept.trace, job.mark)

    def _save(self, now: float) -> None:
        due = [kept for kept in self._kept.values() if _is_due(kept, now)]
        if due:
            self._store.save_evacuation_traces(
                tuple(kept.trace for kept in due), self._lease
            )
        for kept in due:
            kept.stored, kept.stored_at = kept.trace, now
        for uuid in [
            uuid for uuid, kept in self._kept.items() if _is_over(kept.trace)
        ]:
            del self._kept[uuid]
            self._over.add(uuid)

    def _purge(self) -> None:
        now = self._monotonic()
        if self._purged_at is not None and now - self._purged_at < PURGE_EVERY:
            return
        self._purged_at = now
        count = self._store.purge_evacuations(self._settings.keep_days)
        if count:
            LOG.info('%d old evacuations were forgotten', count)

    def _tell_trouble(self, trouble: str) -> None:
        if trouble and not self._trouble:
            LOG.warning(
                'Evacuations are not followed: %s. Recovery goes on; times '
                'until their end are not estimated meanwhile',
                trouble.rstrip('.'),
            )
        elif self._trouble and not trouble:
            LOG.info('Evacuations are followed again')
        self._trouble = trouble


class Following:
    """The threads that follow, from the start to the end of acting."""

    def __init__(
        self, conf: cfg.ConfigOpts, lease: values.Lease, host: str
    ) -> None:
        """Start following, if the configuration says so; never raise."""
        self._stop = threading.Event()
        self._teller: telling.Teller | None = None
        if conf.progress.follow:
            try:
                self._start(conf, lease, host)
            except Exception:
                # The engine recovers hosts all the same.
                LOG.exception('Evacuations are not followed')

    def stop(self) -> None:
        """Let the threads end; nobody waits for them."""
        self._stop.set()
        if self._teller is not None:
            self._teller.stop()

    def _start(
        self, conf: cfg.ConfigOpts, lease: values.Lease, host: str
    ) -> None:
        group = conf.progress
        self._teller = _open_teller(conf, host)
        follower = Follower(
            store_api.open_store(conf),
            evacuations.EvacuationsDoor(conf),
            self._teller,
            lease,
            Settings(
                interval=group.interval,
                idle_interval=max(group.interval, group.idle_interval),
                keep_days=group.keep_days,
            ),
        )
        _run('following', follower.run, self._stop)
        if self._teller is not None:
            _run('telling', self._teller.run)


def _run(name: str, work: Callable[..., None], *args: object) -> None:
    # A daemon: a call that hangs must not keep a process that is told to stop.
    threading.Thread(target=work, args=args, name=name, daemon=True).start()


def _open_teller(conf: cfg.ConfigOpts, host: str) -> telling.Teller | None:
    """The teller, None where there is nobody to tell."""
    if not conf.progress.notify:
        return None
    if not bus.is_named(conf):
        LOG.info(
            'No notifications of evacuations are sent: [DEFAULT] '
            'transport_url is not set'
        )
        return None
    try:
        return telling.Teller(bus.Bus(conf, host))
    # A driver of the bus that is not installed, a URL that nobody can read.
    except Exception as error:
        why = f'{type(error).__name__}: {error}'
    LOG.warning('No notifications of evacuations are sent: %s', why)
    return None


def _is_over(trace: values.EvacuationTrace) -> bool:
    return trace.finished_at is not None and trace.told in _FINAL


def _is_due(kept: _Kept, now: float) -> bool:
    """Whether the store has to know: at once, or when it had some rest."""
    if kept.trace == kept.stored:
        return False
    if kept.stored is None or _outline(kept.trace) != _outline(kept.stored):
        return True
    return not 0.0 <= now - kept.stored_at < SAVE_EVERY


def _outline(trace: values.EvacuationTrace) -> values.EvacuationTrace:
    """The trace without what changes at every look."""
    return dataclasses.replace(
        trace, progress=None, disk_processed=None, processed_at=None, rate=None
    )


def _as_told(
    trace: values.EvacuationTrace, told: values.EvacuationTrace | None
) -> values.EvacuationTrace:
    """The trace, with as much told as of another one; None for nothing."""
    if told is None:
        return dataclasses.replace(
            trace, told='', told_at=None, told_phase='', told_progress=None
        )
    return dataclasses.replace(
        trace,
        told=told.told,
        told_at=told.told_at,
        told_phase=told.told_phase,
        told_progress=told.told_progress,
    )


def _gone(trace: values.EvacuationTrace) -> views.Evacuation:
    """The last word on one that nova has no record of any more."""
    return views.Evacuation(
        uuid=trace.uuid,
        server_uuid=trace.server_uuid,
        status='',
        state=progress.State.FAILED.value,
        phase=progress.Phase.FAILED.value,
        created_at=trace.created_at,
        source_compute=trace.source or None,
        dest_compute=trace.destination or None,
        reason=progress.Reason.SERVER_DELETED.value,
        explanation='The server was deleted, and nova has no record of it',
    )


def _sentence(error: doors.Refused) -> str:
    if error.status in (404, 406):
        return (
            f'nova-api does not have {evacuations.VERSION} of our resource '
            f"'os-evacuations': install this release of nova-ha-plugins "
            f"beside every nova-api, with the filter 'instance_ha' in its "
            f'api-paste.ini ({error})'
        )
    return str(error)


def _log_end(trace: values.EvacuationTrace) -> None:
    LOG.info(
        'Evacuation %(uuid)s of server %(server)s from %(source)s to '
        '%(destination)s %(state)s after %(took).0f s',
        {
            'uuid': trace.uuid,
            'server': trace.server_uuid,
            'source': trace.source or 'an unknown host',
            'destination': trace.destination or 'no host',
            'state': trace.state,
            'took': max(0.0, (trace.finished_at or 0.0) - trace.created_at),
        },
    )
