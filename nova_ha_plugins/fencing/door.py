# SPDX-License-Identifier: Apache-2.0

"""The door to the power of the hosts.

Drivers come from the namespace ``nova_ha.fencing``. A driver that cannot be
loaded stops the engine at its start: a host whose device is unusable must not
look protected.
"""

import collections.abc
from importlib import metadata
import typing

from oslo_config import cfg
from oslo_log import log as logging
from stevedore import driver as stevedore_driver
from stevedore import exception as stevedore_exc

from nova_ha_plugins.engine import doors
from nova_ha_plugins.fencing import base
from nova_ha_plugins.fencing import map as fencing_map
from nova_ha_plugins.recovery import views

LOG = logging.getLogger(__name__)

NAMESPACE = 'nova_ha.fencing'

_Result = typing.TypeVar('_Result')


class FencingDoor:
    """Switches hosts off and reads their power; see ``doors.Fencing``."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Load the map and the driver of every host in it.

        :raises fencing_map.MapError: the map has a mistake or names a driver
            that cannot be loaded.
        """
        self._path = conf.fencing.map_file
        self._entries = fencing_map.load(self._path)
        if not self._entries:
            LOG.warning(
                "Fencing map '%s' is absent or names no host; no host can be "
                'fenced and no server is protected until it does.',
                self._path,
            )
        self._drivers = {
            host: self._load(entry, conf.fencing.call_timeout)
            for host, entry in self._entries.items()
        }
        fencing_map.check_devices(self._path, self._drivers)

    def hosts(self) -> tuple[str, ...]:
        """Return the hosts of the map, sorted."""
        return tuple(sorted(self._entries))

    def driver_name(self, host: str) -> str:
        """Return the name of the host's driver, '' when it has none."""
        entry = self._entries.get(host)
        return '' if entry is None else entry.driver

    def power_off(self, host: str, system_uuid: str = '') -> None:
        """Have the host's device cut its power.

        That this returns is no proof of anything: read.

        :param system_uuid: who the device has to say that it is; another one
            is left alone. '' asks nothing.
        """
        driver = self._driver(host)
        self._guard(host, 'power off', lambda: driver.power_off(system_uuid))

    def read(self, host: str) -> views.PowerReading:
        """Return what the host's device says of itself now."""
        driver = self._driver(host)
        return self._guard(host, 'read the power of', driver.read)

    def _driver(self, host: str) -> base.FencingDriver:
        if host not in self._drivers:
            raise doors.Refused(
                f"Host '{host}' has no device: expected it in the fencing "
                f"map '{self._path}'. It cannot be fenced; its servers stay "
                f'where they are.'
            )
        return self._drivers[host]

    def _load(
        self, entry: fencing_map.Entry, call_timeout: float
    ) -> base.FencingDriver:
        try:
            plugin: typing.Any = stevedore_driver.DriverManager(
                NAMESPACE, entry.driver, warn_on_missing_entrypoint=False
            ).driver
        except stevedore_exc.NoMatches:
            known = metadata.entry_points(group=NAMESPACE).names
            raise fencing_map.MapError(
                self._path,
                f"There is no driver '{entry.driver}'; expected one of: "
                f'{", ".join(sorted(known))}',
                entry.host,
                'driver',
            ) from None
        except ImportError as exc:
            raise fencing_map.MapError(
                self._path, str(exc), entry.host, 'driver'
            ) from exc
        try:
            return plugin(entry.host, entry.options, call_timeout)
        except base.OptionError as exc:
            raise fencing_map.MapError(
                self._path, str(exc), entry.host, exc.key
            ) from None

    def _guard(
        self,
        host: str,
        verb: str,
        call: collections.abc.Callable[[], _Result],
    ) -> _Result:
        try:
            return call()
        except doors.DoorError:
            raise
        # A driver is somebody else's code: what it lets fly says nothing of
        # the host, and must neither end the round nor pass for a success.
        except Exception as exc:
            LOG.exception(
                "Driver '%s' of host '%s' failed in an unforeseen way.",
                self.driver_name(host),
                host,
            )
            raise doors.Unanswered(
                f"Driver '{self.driver_name(host)}' failed to {verb} host "
                f"'{host}' in an unforeseen way ({type(exc).__name__}); its "
                f'power is unknown and is read again.'
            ) from exc
