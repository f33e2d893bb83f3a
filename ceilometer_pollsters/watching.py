# SPDX-License-Identifier: Apache-2.0

"""The watcher: looks who was heard, tells who fell silent.

Every central agent has one, in a thread of its own: neither a message bus
that is away nor the interval of a meter holds up a look. All of them look,
and each leaves in the store what it sees and when; one of them speaks. When
that one ends, is stalled or cannot send, the next one speaks within seconds,
and reads in the store what was told already.
"""

from collections.abc import Callable
from collections.abc import Iterable
import threading
import time
from typing import Any
import weakref

from oslo_log import log

from ceilometer_pollsters import announcer
from nova_ha_plugins.conf import opts
from nova_ha_plugins.recovery import announcing
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import testimony
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# Looks that a watcher may miss until another one speaks for it.
_MISSED = 3
# A look before it is due comes after a pause of so many times the last one.
_REST = 4
# Seconds at least for that: a database may take a moment.
_PATIENCE = 3.0
# Health has many more rows than there are hosts and matters less: reading it
# takes at most one part in so many of the time.
_HEALTH_SHARE = 10


def rules_of(conf: Any) -> detector.Rules:
    """Return the rules of a watcher."""
    ours = conf.nova_ha
    quiet = ours.heartbeat_timeout / 2
    return detector.Rules(
        timeout=ours.heartbeat_timeout,
        reemit_interval=ours.reemit_interval,
        mass_silence_share=ours.mass_silence_share,
        reconnect_max=ours.reconnect_max,
        late_after=max(quiet, _MISSED * ours.watch_interval),
        health_timeout=ours.health_timeout,
        degraded_interval=ours.degraded_interval,
    )


class Watcher:
    """Looks at the heartbeats, again and again.

    :ivar name: the same after a restart, another one on each controller.
    :ivar clock: seconds that never go back; only for pauses of our own.
    """

    def __init__(
        self, conf: Any, store: liveness.Liveness, notifier: Any
    ) -> None:
        self.rules = rules_of(conf)
        self.name: str = conf.nova_ha.watcher_name or conf.host
        self.interval: float = conf.nova_ha.watch_interval
        self.project_id: str = conf.nova_ha.project_id
        self.clock: Callable[[], float] = time.monotonic
        self.announcer = announcer.Announcer(notifier, store)
        self._store = store
        self._state: detector.State | None = None
        self._last: detector.Look | None = None
        self._speaks = False
        self._healths: tuple[views.HostHealth, ...] = ()
        self._read_again_at = float('-inf')
        self._said = ''
        self._away = ''
        self._lost = ''
        self._stuck = False
        self._lock = threading.Lock()
        if not self.project_id:
            LOG.error(
                '[nova_ha] project_id is empty: expected the id of the '
                'project that owns the event alarm. Hosts that fall silent '
                'are published as meters, but no alarm fires'
            )

    def seen(self) -> tuple[detector.HostLook, ...]:
        """Return the hosts as they are now, none if that is not known."""
        last = self._last
        if last is None or last.state.looked_at is None:
            return ()
        if self.clock() - last.state.looked_at > self.rules.late_after:
            return ()
        return last.hosts

    def pause(self, left: float, took: float) -> float:
        """Return how many seconds to wait for the next look.

        A host that is about to be called down is looked at when it is, not
        some time later. A store that is slow is not asked without a pause.

        :param left: seconds until the next look is due.
        :param took: seconds that the last one took.
        """
        least = self.interval / 5
        soon = detector.soonest(self.seen(), self.rules)
        return min(max(least, left), max(least, soon, _REST * took))

    def look(self) -> None:
        """Look once, and tell what has changed if this watcher speaks."""
        with self._lock:
            try:
                beats = self._store.read()
            except errors.AWAY as error:
                self._say_away(error)
                return
            # Ages are of this moment; what follows may take its time.
            at = self.clock()
            fresh = self._read_healths()
            if self._away:
                LOG.warning(
                    'Heartbeats can be read again after %s', self._away
                )
                self._away = ''
            before = self._before(at, fresh)
            look = detector.look(before, beats, at, self.rules, self._healths)
            self._last = look
            self._say(look)
            self._speaks = self._may_speak(look)
            if self._speaks:
                self._state = look.state
                self._tell(look, beats)
            else:
                self._state = announcing.untold(look.state, before)
                self.announcer.drop()
            self._leave_word(look)

    def _before(self, at: float, fresh: bool) -> detector.State:
        """Return what this look begins with.

        Who speaks knows best what was told. Who does not, or was stalled and
        may have been spoken for, reads it.
        """
        if self._state is None:
            self._state = detector.begin(at)
        looked_at = self._state.looked_at
        was_stalled = (
            looked_at is not None and at - looked_at > self.rules.late_after
        )
        if fresh and (was_stalled or not self._speaks):
            return announcing.recall(self._state, self._healths, at)
        return self._state

    def _read_healths(self) -> bool:
        """Read what is said beside heartbeats; whether that was due."""
        began = self.clock()
        if began < self._read_again_at:
            return False
        try:
            self._healths = self._store.read_healths()
        except errors.AWAY as error:
            # Without the words of others a watcher tells more than it must,
            # and no less. What was said of hosts holds: nobody is well
            # because nobody can be asked.
            self._healths = tuple(row for row in self._healths if row.host)
            self._say_lost(error)
            return False
        now = self.clock()
        self._read_again_at = now + (now - began) * (_HEALTH_SHARE - 1)
        return True

    def _may_speak(self, look: detector.Look) -> bool:
        patience = max(_PATIENCE, _MISSED * self.interval)
        others = (
            watch
            for watch in health.watches(self._healths)
            if watch.age < patience
        )
        return health.speaks(self.name, self._sees(look), others)

    def _sees(self, look: detector.Look) -> bool:
        return look.sight == detector.Sight.CLEAR and not self._is_stuck()

    def _is_stuck(self) -> bool:
        return self.announcer.stuck_for() >= _PATIENCE

    def _leave_word(self, look: detector.Look) -> None:
        """Let others see that and how this watcher looks."""
        text = look.reason
        if self._is_stuck():
            text = (
                'Events cannot be sent: the message bus has not taken one '
                f'for {self.announcer.stuck_for():.0f}s'
            )
        self._say_stuck(text)
        word = values.Health(
            host='',
            channel=f'{health.WATCHER}{self.name}',
            ok=self._sees(look),
            value=float(len(look.hosts)),
            text=text,
        )
        try:
            self._store.healths([word])
        except errors.AWAY as error:
            self._say_lost(error)
        else:
            self._lost = ''

    def _say_lost(self, error: Exception) -> None:
        name = type(error).__name__
        if name != self._lost:
            LOG.error(
                "Watcher '%s' hears heartbeats but can share nothing with "
                'others: %s. It tells what it sees all the same, but looks '
                'dead to them, and another one may tell it, too',
                self.name,
                name,
            )
        self._lost = name

    def _say_away(self, error: Exception) -> None:
        """A store that is away changes nothing: not knowing is no silence."""
        if not self._away:
            LOG.error(
                'Monitoring is blind: the heartbeats cannot be read: '
                '%s. No host is called down until they can',
                type(error).__name__,
            )
        self._away = type(error).__name__

    def _say_stuck(self, text: str) -> None:
        stuck = self._is_stuck()
        if stuck and not self._stuck:
            LOG.error('%s. They are sent as soon as it does', text)
        elif self._stuck and not stuck:
            LOG.warning('Events are sent again')
        self._stuck = stuck

    def _say(self, look: detector.Look) -> None:
        if look.sight == self._said:
            return
        self._said = look.sight
        if look.sight == detector.Sight.BLIND:
            LOG.error(
                'Monitoring is blind: %s. No host is called down until it '
                'sees again',
                look.reason,
            )
        elif look.sight == detector.Sight.CLEAR:
            LOG.info('Monitoring sees %d hosts', len(look.hosts))
        else:
            LOG.warning('Monitoring waits: %s', look.reason)

    def _tell(self, look: detector.Look, beats: Iterable[views.Beat]) -> None:
        if not look.announcements:
            return
        heard = {beat.host: beat for beat in beats}
        probes = health.probes(self._healths)
        items = []
        for item in look.announcements:
            reason = testimony.reason(item, self.rules)
            payload = {
                'host': item.host,
                'service_uuid': item.service_uuid,
                'silent_for': round(item.silent_for, 3),
                'reason': reason,
                'evidence': testimony.evidence(
                    item, look, heard, probes, self.rules
                ),
                'tenant_id': self.project_id,
            }
            items.append(
                announcer.Telling(item.kind, item.host, payload, item.channels)
            )
            if item.repeated:
                continue
            level = LOG.info
            if item.kind != detector.Kind.SUSPECTED:
                level = LOG.warning
            level("Host '%s' called %s: %s", item.host, item.kind, reason)
        self.announcer.put(items)


class Watch(threading.Thread):
    """Lets a watcher look for as long as its agent polls."""

    def __init__(self, manager: Any, watcher: Watcher) -> None:
        super().__init__(name='nova-ha-watcher', daemon=True)
        self._manager = weakref.ref(manager)
        self._watcher = watcher

    def run(self) -> None:
        clock = time.monotonic
        self._watcher.announcer.start()
        due = began = clock()
        while not self._is_over():
            try:
                self._watcher.look()
            except Exception:
                # A fault of ours in one look must not end all looks.
                LOG.exception('A look at the heartbeats failed')
            now = clock()
            if now >= due:
                due = max(due + self._watcher.interval, now)
            time.sleep(self._watcher.pause(due - now, now - began))
            began = clock()
        self._watcher.announcer.close()

    def _is_over(self) -> bool:
        manager = self._manager()
        return manager is None or manager.polling_periodics is None


# ceilometer makes one pollster per meter and agent, all of them share one
# watcher; it ends with its agent.
_WATCHES: weakref.WeakKeyDictionary[Any, tuple[Watcher, Watch]] = (
    weakref.WeakKeyDictionary()
)
_LOCK = threading.Lock()


def watcher_of(manager: Any, conf: Any) -> Watcher:
    """Return the watcher of a polling agent, which looks from now on.

    :raises errors.AWAY: the store is not configured.
    """
    with _LOCK:
        known = _WATCHES.get(manager)
        if known is None:
            opts.register_plugin_opts(conf)
            store = liveness.open_liveness(conf)
            watcher = Watcher(conf, store, manager.notifier)
        else:
            watcher, watch = known
            if watch.is_alive():
                return watcher
        watch = Watch(manager, watcher)
        _WATCHES[manager] = watcher, watch
        watch.start()
        return watcher
