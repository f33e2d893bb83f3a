# SPDX-License-Identifier: Apache-2.0

"""Signs of life in one process, by its monotonic clock; for tests."""

from collections.abc import Iterable
import threading
import time

from oslo_config import cfg

from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import values


class MemoryLiveness(liveness.Liveness):
    """The heartbeats in this object."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, liveness.Row] = {}
        self._seen_at: dict[str, float] = {}
        self._healths: dict[tuple[str, str], tuple[values.Health, float]] = {}

    def beats(self, heard: Iterable[values.Heard]) -> int:
        """How many of the heartbeats were signs of life."""
        batch = sorted(heard, key=lambda one: one.sequence)
        with self._lock:
            changed, count = liveness.follow_all(self._rows, batch)
            self._rows.update(changed)
            self._seen_at.update(dict.fromkeys(changed, time.monotonic()))
            return count

    def read(self) -> tuple[views.Beat, ...]:
        """Every host ever heard, in the order of its name."""
        with self._lock:
            now = time.monotonic()
            return tuple(
                views.Beat(
                    host=host,
                    service_uuid=row.heard.service_uuid,
                    boot_id=row.heard.boot_id,
                    sequence=row.heard.sequence,
                    system_uuid=row.heard.system_uuid,
                    age=now - self._seen_at[host],
                )
                for host, row in sorted(self._rows.items())
            )

    def healths(self, seen: Iterable[values.Health]) -> None:
        """Keep what was said last of each channel of each host."""
        fresh = liveness.newest(seen)
        with self._lock:
            now = time.monotonic()
            self._healths.update(
                (key, (one, now)) for key, one in fresh.items()
            )

    def read_healths(self) -> tuple[views.HostHealth, ...]:
        """What was said last, in the order of host and channel."""
        with self._lock:
            now = time.monotonic()
            self._healths = {
                key: (one, at)
                for key, (one, at) in sorted(self._healths.items())
                if now - at < liveness.HEALTH_KEPT
            }
            return tuple(
                views.HostHealth(
                    host=one.host,
                    channel=one.channel,
                    ok=one.ok,
                    value=one.value,
                    text=one.text,
                    age=now - at,
                )
                for one, at in self._healths.values()
            )

    def forget(self, host: str) -> None:
        """Drop a host that left the cloud, with its health."""
        with self._lock:
            self._rows.pop(host, None)
            self._seen_at.pop(host, None)
            for key in [key for key in self._healths if key[0] == host]:
                del self._healths[key]
