# SPDX-License-Identifier: Apache-2.0

"""Which heartbeats count, by their signatures.

What was found is told of each host as health, in the channel 'signature': so
the doctor knows who does not sign yet, and a heartbeat that somebody forged
shows as compute.host.degraded.
"""

from collections.abc import Callable
import time
from typing import Any

from oslo_log import log

from nova_ha_plugins import signatures
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

CHANNEL = 'signature'

OFF = 'off'
REQUIRE = 'require'

# Seconds that a forgery is told of, although good heartbeats come as well.
REMEMBERED = 60.0
# Hosts that are remembered; more have only those who invent them.
KEPT = 50_000
# Disks, networks and storages of one host; more has nobody.
CHANNELS = 256

_VALUES = {
    signatures.Verdict.SIGNED: 1.0,
    signatures.Verdict.OUTDATED: 0.5,
}


class Admission:
    """Looks at the signatures of heartbeats, as [nova_ha] wants it.

    :ivar clock: seconds that never go back.
    """

    def __init__(self, conf: Any) -> None:
        self.mode: str = conf.nova_ha.heartbeat_signatures
        self.clock: Callable[[], float] = time.monotonic
        self._forged: dict[str, float] = {}
        self._seen: set[str] = set()
        self._channels: dict[str, set[str]] = {}
        self._trouble = ''
        if self.mode == OFF:
            return
        self._file = signatures.Watched(
            conf.nova_ha.heartbeat_masters_file, signatures.parse_masters
        )
        try:
            self._masters = self._file.read()
        except (OSError, signatures.BadFile) as error:
            raise values.NotConfigured(
                f'[nova_ha] heartbeat_signatures is {self.mode!r}, so the '
                'master secrets should be in [nova_ha] heartbeat_masters_file '
                f'{self._file.path!r}, and are not: {error}'
            ) from error

    def refresh(self) -> None:
        """Read the masters anew if they changed; keep them if they broke."""
        if self.mode == OFF:
            return
        trouble = ''
        try:
            self._masters = self._file.read()
        except (OSError, signatures.BadFile) as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            LOG.error(
                "[nova_ha] heartbeat_masters_file '%s' cannot be read any "
                'more: %s. The master secrets that were read before count on',
                self._file.path,
                trouble,
            )
        self._trouble = trouble

    def check(
        self, heard: values.Heard, key_id: str, signature: str
    ) -> tuple[str, values.Health | None]:
        """Return why a heartbeat is refused, '' if it counts, and its health.

        There is no health of a host of which no good heartbeat came yet, or
        whoever writes to the bus could fill the store with it.
        """
        if self.mode == OFF:
            return '', None
        verdict = self._masters.judge(heard, key_id, signature)
        signed = verdict in _VALUES
        forged = verdict is signatures.Verdict.WRONG
        refused = forged or (self.mode == REQUIRE and not signed)
        if signed or not refused:
            if len(self._seen) >= KEPT:
                self._seen.clear()
            self._seen.add(heard.host)
        return (
            f'it is {verdict}' if refused else '',
            self._health(heard.host, verdict, refused),
        )

    def has_room(self, health: values.Health) -> bool:
        """Return whether what a probe says may be stored.

        Probes do not sign. Where heartbeats do, a host has to be one before
        anything is stored of it; and none has channels without end, or one
        could fill the store until nobody can read it in time.
        """
        if self.mode != OFF and health.host not in self._seen:
            return False
        if len(self._channels) >= KEPT:
            self._channels.clear()
        known = self._channels.setdefault(health.host, set())
        if health.channel not in known and len(known) >= CHANNELS:
            return False
        known.add(health.channel)
        return True

    def _health(
        self, host: str, verdict: signatures.Verdict, refused: bool
    ) -> values.Health | None:
        if host not in self._seen:
            return None
        now = self.clock()
        if refused:
            self._forged[host] = now
            return values.Health(
                host,
                CHANNEL,
                False,
                text=f'A heartbeat in its name was {verdict} and refused',
            )
        if now - self._forged.get(host, -REMEMBERED) < REMEMBERED:
            return None
        self._forged.pop(host, None)
        value = _VALUES.get(verdict, 0.0)
        return values.Health(
            host, CHANNEL, True, value, '' if value == 1 else str(verdict)
        )
