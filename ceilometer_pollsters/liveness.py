# SPDX-License-Identifier: Apache-2.0

"""The meters of the watcher: how long each host is silent, and whether up.

They show what the watcher of this agent saw last; it looks by itself, however
seldom the meters are published.
"""

from collections.abc import Iterable
from typing import Any

from ceilometer.polling import plugin_base
from ceilometer import sample
from oslo_log import log

from ceilometer_pollsters import discovery
from ceilometer_pollsters import meters
from ceilometer_pollsters import watching
from nova_ha_plugins.conf import opts
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import liveness

LOG = log.getLogger(__name__)


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
            # The watcher opens its own; here the reason can be said.
            liveness.open_liveness(self.conf)
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
        hosts = watching.watcher_of(manager, self.conf).seen()
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
            resource_id=meters.host_id(host.host, host.service_uuid),
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
