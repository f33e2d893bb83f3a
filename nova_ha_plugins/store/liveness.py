# SPDX-License-Identifier: Apache-2.0

"""The newest sign of life of each host, aged by one clock.

A heartbeat counts when it is received, never when it was sent, and only if it
is newer than the last one: a higher sequence of the same boot, or a boot that
was not seen before. Anything else is a replay and no sign of life.

Beside it stands what other things said of a host last: its health. That is
kept apart, because it neither proves life nor death.
"""

import abc
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import typing

from oslo_config import cfg
from stevedore import driver

from nova_ha_plugins.conf import nova_ha as nova_ha_conf
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values

NAMESPACE = 'nova_ha.liveness'

# Boots that are remembered per host, to know a late heartbeat of one.
PAST_BOOTS = 8
# Seconds that a stamp may be ahead of the clock before the clock is known to
# have been set back.
AHEAD = 1.0
# Seconds after which a channel that says nothing any more is dropped: a
# storage path that an operator has taken out would be missed for ever.
HEALTH_KEPT = 86400.0


class Liveness(abc.ABC):
    """What every backend does."""

    def beat(
        self,
        host: str,
        *,
        boot_id: str,
        sequence: int,
        system_uuid: str,
        service_uuid: str = '',
    ) -> bool:
        """Whether the heartbeat was a sign of life, which is now stored."""
        return bool(
            self.beats(
                [
                    values.Heard(
                        host=host,
                        boot_id=boot_id,
                        sequence=sequence,
                        system_uuid=system_uuid,
                        service_uuid=service_uuid,
                    )
                ]
            )
        )

    @abc.abstractmethod
    def beats(self, heard: Iterable[values.Heard]) -> int:
        """How many of the heartbeats were signs of life, all stored at once.

        An empty system_uuid or service_uuid leaves what is known.
        """

    @abc.abstractmethod
    def read(self) -> tuple[views.Beat, ...]:
        """Every host ever heard, in the order of its name."""

    @abc.abstractmethod
    def healths(self, seen: Iterable[values.Health]) -> None:
        """Keep what was said last of each channel of each host."""

    @abc.abstractmethod
    def read_healths(self) -> tuple[views.HostHealth, ...]:
        """What was said last, in the order of host and channel.

        A channel of which nothing was said for a day is dropped.
        """

    @abc.abstractmethod
    def forget(self, host: str) -> None:
        """Drop a host that left the cloud, with its health."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What a backend keeps of the heartbeats of a host.

    :ivar past: boots before the last one, the newest last.
    """

    heard: values.Heard
    past: tuple[str, ...] = ()


def follow(known: Row | None, heard: values.Heard) -> Row | None:
    """The row after a heartbeat, None if that was no sign of life."""
    if known is None:
        return Row(heard)
    last, past = known.heard, known.past
    if heard.boot_id == last.boot_id:
        if heard.sequence <= last.sequence:
            return None
    elif heard.boot_id in past:
        return None
    else:
        past = (*past, last.boot_id)[-PAST_BOOTS:]
    return Row(
        values.Heard(
            host=heard.host,
            boot_id=heard.boot_id,
            sequence=heard.sequence,
            system_uuid=heard.system_uuid or last.system_uuid,
            service_uuid=heard.service_uuid or last.service_uuid,
        ),
        past,
    )


def follow_all(
    known: Mapping[str, Row], batch: Iterable[values.Heard]
) -> tuple[dict[str, Row], int]:
    """The rows that a batch changes, and how many were signs of life."""
    changed: dict[str, Row] = {}
    count = 0
    for one in batch:
        row = follow(changed.get(one.host) or known.get(one.host), one)
        if row:
            changed[one.host] = row
            count += 1
    return changed, count


def newest(
    seen: Iterable[values.Health],
) -> dict[tuple[str, str], values.Health]:
    """The last word on each channel, in the order of host and channel.

    The order is the same in every process, so that two batches cannot lock
    each other's rows.
    """
    last = {(one.host, one.channel): one for one in seen}
    return dict(sorted(last.items()))


def open_liveness(conf: cfg.ConfigOpts) -> Liveness:
    """The backend that [nova_ha] liveness_backend names."""
    nova_ha_conf.register_opts(conf)
    manager: driver.DriverManager[Liveness] = driver.DriverManager(
        NAMESPACE,
        conf[nova_ha_conf.GROUP].liveness_backend,
        invoke_on_load=True,
        invoke_args=(conf,),
    )
    # invoke_on_load makes it an instance, which the type does not say.
    return typing.cast(Liveness, manager.driver)
