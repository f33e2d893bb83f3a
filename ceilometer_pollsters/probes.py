# SPDX-License-Identifier: Apache-2.0

"""What every probe of a hypervisor has in common: once per cycle, one sample.

A machine that lacks a sensor publishes nothing of it, and says so once.
"""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import threading
from typing import Any, TypeVar
import weakref

from ceilometer.polling import plugin_base
from ceilometer import sample
from oslo_log import log

from ceilometer_pollsters import meters
from nova_ha_plugins.conf import nova_ha as nova_ha_conf
from nova_ha_plugins.conf import nova_ha_host

LOG = log.getLogger(__name__)

_T = TypeVar('_T')


class Absent(Exception):
    """The machine has no such sensor; the text says what was looked for."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """One value of a sensor.

    :ivar device: the part of the host that it belongs to; '' for the host.
    :ivar told: what else is sent along with it.
    """

    value: float
    device: str = ''
    told: Mapping[str, str | float] = dataclasses.field(default_factory=dict)


class Shared:
    """What all probes of one polling agent share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, Any] = {}
        self._said: dict[str, str] = {}

    def keep(self, name: str, make: Callable[[], _T]) -> _T:
        """Return what was made under a name, made now if it was not."""
        with self._lock:
            if name not in self._kept:
                self._kept[name] = make()
            kept: _T = self._kept[name]
            return kept

    def is_news(self, sensor: str, text: str) -> bool:
        """Whether this was not what was said of a sensor last."""
        with self._lock:
            news = self._said.get(sensor) != text
            self._said[sensor] = text
            return news


# ceilometer makes one pollster per meter; what they share ends with their
# agent.
_SHARED: weakref.WeakKeyDictionary[Any, Shared] = weakref.WeakKeyDictionary()
_SHARED_LOCK = threading.Lock()


def shared_of(manager: Any) -> Shared:
    """Return what the probes of a polling agent share."""
    with _SHARED_LOCK:
        return _SHARED.setdefault(manager, Shared())


class HostPollster(plugin_base.PollsterBase):
    """One meter of a hypervisor.

    :ivar meter: its name in the table of meters.
    :ivar sensor: what is absent if it is; meters of one sensor say it once.
    """

    meter: str
    sensor: str

    def setup_environment(self) -> None:
        nova_ha_conf.register_opts(self.conf)
        nova_ha_host.register_opts(self.conf)
        self.host: str = self.conf.nova_ha.host or self.conf.host
        self._row = next(m for m in meters.METERS if m.name == self.meter)

    @property
    def default_discovery(self) -> str:
        return 'local_node'

    def read(self, shared: Shared, cache: dict[str, Any]) -> Iterable[Reading]:
        """Return what the sensor says now.

        :param cache: ceilometer's dictionary of one cycle.
        :raises Absent: there is no such sensor.
        """
        raise NotImplementedError

    def get_samples(
        self, manager: Any, cache: dict[str, Any], resources: Iterable[str]
    ) -> Iterable[sample.Sample]:
        shared = shared_of(manager)
        try:
            found = list(self.read(shared, cache))
        except Absent as error:
            if shared.is_news(self.sensor, str(error)):
                LOG.info(
                    "Host '%s' publishes nothing of its %s: %s",
                    self.host,
                    self.sensor,
                    error,
                )
            return []
        return [self._sample(reading) for reading in found]

    def _sample(self, reading: Reading) -> sample.Sample:
        if reading.device:
            resource = meters.device_id(
                self.host, self._row.resource, reading.device
            )
        else:
            resource = meters.host_id(self.host)
        metadata = {'host': self.host, **reading.told}
        if reading.device:
            metadata['device'] = reading.device
        return sample.Sample(
            name=self.meter,
            type=str(self._row.kind),
            unit=self._row.unit,
            volume=reading.value,
            user_id=None,
            project_id=None,
            resource_id=resource,
            resource_metadata=metadata,
        )
