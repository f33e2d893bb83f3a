# SPDX-License-Identifier: Apache-2.0

"""The watcher: reads who was heard, publishes ages, tells who fell silent.

Both meters of a cycle share one look at the store, and both instances of the
pollsters share one watcher per agent: ceilometer makes an instance per meter.
Events are sent again while a host stays down, because aodh delivers each at
most once.
"""

from collections.abc import Iterable
import threading
import time
from typing import Any
import weakref

from ceilometer.polling import plugin_base
from ceilometer import sample
from oslo_log import log

from ceilometer_pollsters import discovery
from nova_ha_plugins.conf import opts
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness

LOG = log.getLogger(__name__)

EVENT_DOWN = 'compute.host.down'
EVENT_UP = 'compute.host.up'

CACHE_KEY = 'nova_ha.liveness'


class Watcher:
    """Looks at the heartbeats once per polling cycle.

    :ivar clock: seconds that never go back; only for pauses of our own.
    """

    def __init__(self, conf: Any, store: liveness.Liveness) -> None:
        self.rules = detector.Rules(
            timeout=conf.nova_ha.heartbeat_timeout,
            reemit_interval=conf.nova_ha.reemit_interval,
            mass_silence_share=conf.nova_ha.mass_silence_share,
            reconnect_max=conf.nova_ha.reconnect_max,
        )
        self.project_id: str = conf.nova_ha.project_id
        self.clock = time.monotonic
        self._store = store
        self._state = detector.begin(self.clock())
        self._sight: detector.Sight | None = None
        self._away = ''
        self._lock = threading.Lock()
        if not self.project_id:
            LOG.error(
                '[nova_ha] project_id is empty: expected the id of the '
                'project that owns the event alarm. Hosts that fall silent '
                'are published as meters, but no alarm fires'
            )

    def look(
        self, notifier: Any, cache: dict[str, Any]
    ) -> tuple[detector.HostLook, ...]:
        """Return the hosts as they are now, and tell what has changed.

        :param cache: ceilometer's dictionary of one cycle; who comes second
            gets what the first one saw.
        """
        with self._lock:
            if CACHE_KEY not in cache:
                look = self._read()
                cache[CACHE_KEY] = look.hosts if look else ()
                for item in look.announcements if look else ():
                    self._tell(notifier, item)
            return cache[CACHE_KEY]

    def _read(self) -> detector.Look | None:
        """Return the next look, None when the store cannot be read.

        A store that is away changes nothing: not knowing is not silence.
        """
        try:
            beats = self._store.read()
        except errors.AWAY as error:
            if not self._away:
                LOG.error(
                    'Monitoring is blind: the heartbeats cannot be read: '
                    '%s. No host is called down until they can',
                    type(error).__name__,
                )
            self._away = type(error).__name__
            return None
        if self._away:
            LOG.warning('Heartbeats can be read again after %s', self._away)
            self._away = ''
        look = detector.look(self._state, beats, self.clock(), self.rules)
        self._state = look.state
        self._say(look)
        return look

    def _say(self, look: detector.Look) -> None:
        if look.sight == self._sight:
            return
        self._sight = look.sight
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

    def _tell(self, notifier: Any, item: detector.Announcement) -> None:
        payload = {
            'host': item.host,
            'service_uuid': item.service_uuid,
            'silent_for': round(item.silent_for, 3),
            'tenant_id': self.project_id,
        }
        if item.verdict == detector.Liveness.DOWN:
            payload['reason'] = (
                f'No heartbeat for {item.silent_for:.1f}s, expected one '
                f'within {self.rules.timeout:.1f}s'
            )
            notifier.error({}, EVENT_DOWN, payload)
        else:
            payload['reason'] = 'Heartbeats arrive again'
            notifier.info({}, EVENT_UP, payload)
        if not item.repeated:
            LOG.warning(
                "Host '%s' called %s: %s",
                item.host,
                item.verdict,
                payload['reason'],
            )


# ceilometer makes one pollster per meter and agent, all of them share one
# watcher; it ends with its agent.
_WATCHERS: weakref.WeakKeyDictionary[Any, Watcher] = (
    weakref.WeakKeyDictionary()
)
_WATCHERS_LOCK = threading.Lock()


def watcher_of(manager: Any, conf: Any, store: liveness.Liveness) -> Watcher:
    """Return the watcher of a polling agent, a new one the first time."""
    with _WATCHERS_LOCK:
        watcher = _WATCHERS.get(manager)
        if watcher is None:
            watcher = _WATCHERS[manager] = Watcher(conf, store)
        return watcher


class _LivenessPollster(plugin_base.PollsterBase):
    """One meter of the watcher."""

    meter: str
    unit: str

    def setup_environment(self) -> None:
        opts.register_plugin_opts(self.conf)
        if not self.conf.polling.enable_notifications:
            # ceilometer would swallow the reason at DEBUG.
            LOG.error(
                "Pollster '%s' needs [polling] enable_notifications = true, "
                'expected it and found false: no alarm would ever fire, so '
                'it is not loaded',
                self.meter,
            )
            raise plugin_base.ExtensionLoadError(
                '[polling] enable_notifications is false'
            )
        try:
            self._store = liveness.open_liveness(self.conf)
        except errors.AWAY as error:
            LOG.error("Pollster '%s' is not loaded: %s", self.meter, error)
            raise

    @property
    def default_discovery(self) -> str:
        return 'ha_fleet'

    def get_samples(
        self, manager: Any, cache: dict[str, Any], resources: Iterable[str]
    ) -> Iterable[sample.Sample]:
        if discovery.FLEET not in resources:
            return []
        watcher = watcher_of(manager, self.conf, self._store)
        hosts = watcher.look(manager.notifier, cache)
        return [
            self._sample(host, volume)
            for host in hosts
            if (volume := self.volume(host)) is not None
        ]

    def volume(self, host: detector.HostLook) -> float | None:
        """Return the value for a host, None when it is not known."""
        raise NotImplementedError

    def _sample(self, host: detector.HostLook, volume: float) -> sample.Sample:
        return sample.Sample(
            name=self.meter,
            type=sample.TYPE_GAUGE,
            unit=self.unit,
            volume=volume,
            user_id=None,
            project_id=None,
            resource_id=host.service_uuid or host.host,
            resource_metadata={
                'host': host.host,
                'verdict': str(host.verdict),
            },
        )


class LivenessAgePollster(_LivenessPollster):
    """Seconds since a host was last heard."""

    meter = 'hypervisor.liveness.age'
    unit = 's'

    def volume(self, host: detector.HostLook) -> float | None:
        return round(host.age, 3)


class LivenessUpPollster(_LivenessPollster):
    """1 for a host that is up, 0 for one that is down, nothing if unknown."""

    meter = 'hypervisor.liveness.up'
    unit = '1'

    def volume(self, host: detector.HostLook) -> float | None:
        return {
            detector.Liveness.UP: 1,
            detector.Liveness.DOWN: 0,
            detector.Liveness.UNKNOWN: None,
        }[host.verdict]
