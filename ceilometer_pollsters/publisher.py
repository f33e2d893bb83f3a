# SPDX-License-Identifier: Apache-2.0

"""Heartbeats and health into the store: ``nova-ha-liveness://``.

Runs in ceilometer's notification agent. The store stamps each heartbeat with
its own clock on receipt, so no clock of a hypervisor decides anything.

Ceilometer hands over one message at a time, in many threads. One of them
writes; what arrives meanwhile waits and is written together, by the same
thread, a moment later. So a quiet cloud sees each heartbeat stored at once,
and a busy one pays for twenty transactions a second however large it is.
"""

from collections.abc import Callable, Iterable
import threading
import time
from typing import Any

from ceilometer import publisher
from ceilometer import sample
from oslo_log import log

from ceilometer_pollsters import admission
from ceilometer_pollsters import heartbeat
from ceilometer_pollsters import reading
from nova_ha_plugins.conf import opts
from nova_ha_plugins import printable
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# A thread that wrote this often leaves the rest to the next heartbeat: the
# message it was called with is not acknowledged before it returns.
TURNS = 100
# Seconds from one writing to the next. Nothing beside a timeout, and at 1,500
# heartbeats a second the cost of a transaction is shared by 75.
GATHER = 0.05
# Seconds after which health that did not change is written again. Less than
# [nova_ha] health_timeout by far.
REFRESH = 20.0
# Seconds after which it is said again that samples of a host are dropped.
SAY_AGAIN = 600.0
# Channels, and hosts with bad samples, that are remembered; more have only
# those who invent them.
KEPT = 200_000


class News:
    """Which health is worth writing: what changed, and the rest now and then.

    Probes speak every few seconds, of every disk and network of every host.
    """

    def __init__(self) -> None:
        self._last: dict[
            tuple[str, str], tuple[tuple[bool, float, str], float]
        ] = {}

    def is_news(self, health: values.Health, now: float) -> bool:
        """Whether to write it; what is written is remembered."""
        key = health.host, health.channel
        said = health.ok, health.value, health.text
        last = self._last.get(key)
        if last and last[0] == said and now - last[1] < REFRESH:
            return False
        if len(self._last) >= KEPT:
            self._last.clear()
        self._last[key] = said, now
        return True

    def forget(self) -> None:
        """Forget all, after some of it could not be written."""
        self._last.clear()


class LivenessPublisher(publisher.ConfigPublisherBase):
    """Writes heartbeats and health, together where it can.

    :ivar clock: seconds that never go back, for pauses of our own.
    :ivar sleep: waits.
    """

    def __init__(self, conf: Any, parsed_url: Any) -> None:
        super().__init__(conf, parsed_url)
        opts.register_plugin_opts(conf)
        try:
            self._store = liveness.open_liveness(conf)
            self._admission = admission.Admission(conf)
        except errors.AWAY as error:
            LOG.error(
                "Publisher 'nova-ha-liveness://' is not loaded, so no host "
                'is heard: %s',
                error,
            )
            raise
        self.clock: Callable[[], float] = time.monotonic
        self.sleep: Callable[[float], None] = time.sleep
        self._news = News()
        self._refused: dict[str, tuple[str, float]] = {}
        self._away = False
        self._lost = 0
        self._lock = threading.Lock()
        self._writing = False
        self._wrote_at = -GATHER
        self._waiting: dict[tuple[str, str], values.Heard] = {}
        self._healths: dict[tuple[str, str], values.Health] = {}

    def publish_samples(self, samples: Iterable[sample.Sample]) -> None:
        """Store the heartbeats and the health among some samples.

        A bad sample is named and dropped, the others count. A store that is
        away is reported when it goes and when it returns: this is called
        several times a second.
        """
        batch: list[values.Heard] = []
        healths: list[values.Health] = []
        for item in samples:
            try:
                if item.name == heartbeat.METER:
                    self._hear(item, batch, healths)
                elif item.name in reading.CHANNELS:
                    health = reading.health(item)
                    if self._admission.has_room(health):
                        healths.append(health)
            except reading.BadSample as error:
                self._refuse(item, str(error))
        if (batch or healths) and self._wait(batch, healths):
            self._write()

    def _hear(
        self,
        item: sample.Sample,
        batch: list[values.Heard],
        healths: list[values.Health],
    ) -> None:
        heard = reading.heard(item)
        refused, health = self._admission.check(
            heard, *reading.signature(item)
        )
        if health:
            healths.append(health)
        if refused:
            raise reading.BadSample(refused)
        batch.append(heard)

    def _refuse(self, item: sample.Sample, reason: str) -> None:
        """Say what is dropped, once in a while for each resource."""
        name = printable.line(str(item.resource_id), reading.LONGEST_HOST)
        now = self.clock()
        with self._lock:
            last = self._refused.get(name)
            if last and last[0] == reason and now - last[1] < SAY_AGAIN:
                return
            if len(self._refused) >= KEPT:
                self._refused.clear()
            self._refused[name] = reason, now
        LOG.error(
            "A sample '%s' of '%s' was dropped, as more like it will be: %s",
            item.name,
            name,
            reason,
        )

    def _wait(
        self, batch: list[values.Heard], healths: list[values.Health]
    ) -> bool:
        """Put heartbeats and health where the writer finds them.

        Returns whether the caller is the writer now. Only the newest of a
        boot is kept, so that a store that is away fills no memory.
        """
        now = self.clock()
        with self._lock:
            for one in batch:
                known = self._waiting.get((one.host, one.boot_id))
                if known is None or known.sequence < one.sequence:
                    self._waiting[one.host, one.boot_id] = one
            for health in healths:
                if self._news.is_news(health, now):
                    self._healths[health.host, health.channel] = health
            if self._writing or not (self._waiting or self._healths):
                return False
            self._writing = True
            return True

    def _write(self) -> None:
        """Write what waits, until nothing does or the turns are over."""
        try:
            for _ in range(TURNS):
                with self._lock:
                    if not (self._waiting or self._healths):
                        self._writing = False
                        return
                pause = self._wrote_at + GATHER - self.clock()
                if pause > 0:
                    self.sleep(pause)
                with self._lock:
                    batch = list(self._waiting.values())
                    healths = list(self._healths.values())
                    self._waiting.clear()
                    self._healths.clear()
                self._wrote_at = self.clock()
                self._store_batch(batch, healths)
            with self._lock:
                self._writing = False
        except BaseException:
            # Nobody expected it; somebody else must be able to write.
            with self._lock:
                self._writing = False
            raise

    def _store_batch(
        self, batch: list[values.Heard], healths: list[values.Health]
    ) -> None:
        self._admission.refresh()
        try:
            if batch:
                self._store.beats(batch)
            if healths:
                self._store.healths(healths)
        except errors.AWAY as error:
            with self._lock:
                self._news.forget()
            self._say_away(len(batch), error)
        else:
            self._say_back()

    def _say_away(self, count: int, error: Exception) -> None:
        self._lost += count
        if not self._away:
            self._away = True
            LOG.error(
                'Heartbeats are being lost: the store of [nova_ha] '
                "liveness_backend '%s' did not take them: %s. Monitoring is "
                'blind until it does, and nobody is called down meanwhile',
                self.conf.nova_ha.liveness_backend,
                type(error).__name__,
            )

    def _say_back(self) -> None:
        if self._away:
            self._away = False
            LOG.warning(
                'Heartbeats are stored again, %d were lost', self._lost
            )
            self._lost = 0

    def publish_events(self, events: Any) -> None:
        """Drop events: this publisher belongs into pipeline.yaml only."""
        LOG.error(
            "'nova-ha-liveness://' takes samples, found it in "
            'event_pipeline.yaml. The events were dropped by it'
        )
