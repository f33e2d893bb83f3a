# SPDX-License-Identifier: Apache-2.0

"""Heartbeats into the store of the last sign of life: ``nova-ha-liveness://``.

Runs in ceilometer's notification agent. The store stamps each heartbeat with
its own clock on receipt, so no clock of a hypervisor decides anything.

Ceilometer hands over one message at a time, in many threads. One of them
writes; what arrives meanwhile waits and is written together, by the same
thread. So a quiet cloud sees each heartbeat stored at once, and a busy one
pays for one transaction per batch.
"""

from collections.abc import Iterable
import threading
from typing import Any

from ceilometer import publisher
from ceilometer import sample
from oslo_log import log

from ceilometer_pollsters import heartbeat
from nova_ha_plugins.conf import opts
from nova_ha_plugins import printable
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# As long as the store's columns are: a database that refuses one heartbeat
# refuses those that are written with it.
LONGEST_HOST = 255
LONGEST_ID = 64
# A thread that wrote this often leaves the rest to the next heartbeat: the
# message it was called with is not acknowledged before it returns.
TURNS = 100


class BadSample(ValueError):
    """A sample that is no heartbeat, whatever it calls itself."""


def _word(metadata: Any, name: str, longest: int, empty: bool = False) -> str:
    value = metadata.get(name, '')
    if not isinstance(value, str) or len(value) > longest:
        raise BadSample(f"'{name}' should be a short text")
    if not value.isprintable() or ' ' in value:
        raise BadSample(f"'{name}' should be one word")
    if not value and not empty:
        raise BadSample(f"'{name}' should not be empty")
    return value


def heard(item: sample.Sample) -> values.Heard:
    """Return the heartbeat that a sample carries.

    :raises BadSample: it carries none; the text says which part is wrong.
    """
    metadata = item.resource_metadata
    if not isinstance(metadata, dict):
        raise BadSample('resource_metadata should be a dictionary')
    try:
        sequence = int(metadata.get('sequence', ''))
    except (TypeError, ValueError):
        raise BadSample("'sequence' should be a number") from None
    if not 0 <= sequence < 2**63:
        raise BadSample("'sequence' should fit into 63 bits")
    return values.Heard(
        host=_word(metadata, 'host', LONGEST_HOST),
        boot_id=_word(metadata, 'boot_id', LONGEST_ID),
        sequence=sequence,
        system_uuid=_word(metadata, 'system_uuid', LONGEST_ID, empty=True),
        service_uuid=_word(metadata, 'service_uuid', LONGEST_ID, empty=True),
    )


class LivenessPublisher(publisher.ConfigPublisherBase):
    """Writes heartbeats, together where it can; other samples pass by."""

    def __init__(self, conf: Any, parsed_url: Any) -> None:
        super().__init__(conf, parsed_url)
        opts.register_plugin_opts(conf)
        try:
            self._store = liveness.open_liveness(conf)
        except errors.AWAY as error:
            LOG.error(
                "Publisher 'nova-ha-liveness://' is not loaded, so no host "
                'is heard: %s',
                error,
            )
            raise
        self._away = False
        self._lost = 0
        self._lock = threading.Lock()
        self._writing = False
        self._waiting: dict[tuple[str, str], values.Heard] = {}

    def publish_samples(self, samples: Iterable[sample.Sample]) -> None:
        """Store the heartbeats among some samples.

        A bad sample is named and dropped, the others count. A store that is
        away is reported when it goes and when it returns: this is called
        several times a second.
        """
        batch = []
        for item in samples:
            if item.name != heartbeat.METER:
                continue
            try:
                batch.append(heard(item))
            except BadSample as error:
                LOG.error(
                    "A heartbeat of '%s' was dropped: %s",
                    printable.line(str(item.resource_id), LONGEST_HOST),
                    error,
                )
        if batch and self._wait(batch):
            self._write()

    def _wait(self, batch: list[values.Heard]) -> bool:
        """Put heartbeats where the writer finds them.

        Returns whether the caller is the writer now. Only the newest of a
        boot is kept, so that a store that is away fills no memory.
        """
        with self._lock:
            for one in batch:
                known = self._waiting.get((one.host, one.boot_id))
                if known is None or known.sequence < one.sequence:
                    self._waiting[one.host, one.boot_id] = one
            if self._writing:
                return False
            self._writing = True
            return True

    def _write(self) -> None:
        """Write what waits, until nothing does or the turns are over."""
        for turn in range(TURNS + 1):
            with self._lock:
                if turn == TURNS or not self._waiting:
                    self._writing = False
                    return
                batch = list(self._waiting.values())
                self._waiting.clear()
            try:
                self._store_batch(batch)
            except BaseException:
                # Nobody expected it; somebody else must be able to write.
                with self._lock:
                    self._writing = False
                raise

    def _store_batch(self, batch: list[values.Heard]) -> None:
        try:
            self._store.beats(batch)
        except errors.AWAY as error:
            self._say_away(len(batch), error)
        else:
            self._say_back()

    def _say_away(self, count: int, error: Exception) -> None:
        self._lost += count
        if not self._away:
            self._away = True
            LOG.error(
                'Heartbeats are being lost: the store of [nova_ha_database] '
                'connection did not take them: %s. Monitoring is blind '
                'until it does, and nobody is called down meanwhile',
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
