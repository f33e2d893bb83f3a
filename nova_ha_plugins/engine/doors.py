# SPDX-License-Identifier: Apache-2.0

"""What the engine asks of the outside world, and how that can fail.

Two failures are known. ``Refused``: the other side answered that it did not
do it. ``Unanswered``: it may or may not have happened; the next round reads
the truth. A door does not retry; the next round is the retry.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import typing

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import reach
from nova_ha_plugins.recovery import views


class DoorError(Exception):
    """A call to the outside failed; see the two subclasses."""


class Refused(DoorError):
    """The other side said no: nothing happened.

    :ivar status: the HTTP status, 0 where there is none.
    :ivar guarded: nova would have done it; our filter in nova-api refused,
        because an evacuation of the same server is open.
    """

    def __init__(
        self, text: str, status: int = 0, *, guarded: bool = False
    ) -> None:
        super().__init__(text)
        self.status = status
        self.guarded = guarded


class NotCalled(Refused):
    """The engine itself did not make the call; see ``permits``."""


class Unanswered(DoorError):
    """No answer, or an answer that says nothing: it may have happened."""


_Answer = typing.TypeVar('_Answer')


def attempt(
    call: Callable[..., _Answer], *args: typing.Any
) -> _Answer | DoorError:
    """Return what the call returned, or how it failed: as a value.

    What is done about a failure is then done outside of any ``except``:
    oslo.log appends an exception that is being handled to each warning, and
    the sentence would stand there twice.
    """
    try:
        return call(*args)
    except DoorError as error:
        return error


@dataclasses.dataclass(frozen=True)
class TrustView:
    """A keystone trust: whose rights stand behind an alarm."""

    trustor_user_id: str
    project_id: str
    roles: tuple[str, ...]


class Nova(typing.Protocol):
    """The door to nova, with the engine's own service user."""

    def services(self) -> tuple[views.ServiceView, ...]: ...
    def servers_on(self, host: str) -> tuple[views.ServerView, ...]: ...
    def server(self, uuid: str) -> views.ServerView | None: ...
    def evacuations(self, host: str) -> tuple[views.MigrationView, ...]: ...
    def moves(self, host: str) -> tuple[views.MigrationView, ...]:
        """Return what else moves from or to a host and is not over."""
        ...

    def force_down(self, service_uuid: str, forced: bool) -> None: ...
    def disable(self, service_uuid: str, reason: str) -> None: ...
    def enable(self, service_uuid: str) -> None: ...
    def evacuate(self, server_uuid: str) -> None: ...
    def reset(self, server_uuid: str) -> None:
        """Have nova call a server active, whatever it is."""
        ...

    def stop(self, server_uuid: str) -> None: ...
    def start(self, server_uuid: str) -> None: ...
    def pause(self, server_uuid: str) -> None: ...

    def live_migrations(self, host: str) -> tuple[views.MigrationView, ...]:
        """Return live migrations away from a host, newest first."""
        ...

    def live_migrate(self, server_uuid: str) -> None:
        """Ask for a live migration to a host of nova's choice."""
        ...


class Identity(typing.Protocol):
    """The door to keystone."""

    def trust(self, trust_id: str) -> TrustView | None: ...


class Fencing(typing.Protocol):
    """The door to the power of the hosts."""

    def hosts(self) -> tuple[str, ...]: ...
    def driver_name(self, host: str) -> str: ...
    def power_off(self, host: str, system_uuid: str) -> None:
        """Switch off the host, and only if its device is that system."""
        ...

    def read(self, host: str) -> views.PowerReading: ...


class Probe(typing.Protocol):
    """The second channel: it shares neither bus nor telemetry."""

    def probe_all(
        self, host: str, address: str
    ) -> tuple[incident.Reading, ...]:
        """Read every network of the host, the management network first."""
        ...

    def networks_of(self, host: str, address: str) -> tuple[str, ...]:
        """Return the networks on which the host has an address."""
        ...

    def compare(
        self, targets: Iterable[reach.Target], since: float
    ) -> tuple[reach.Witness, ...]:
        """Return what other hosts answer, asked at that time or later."""
        ...

    def sweep(
        self, targets: Iterable[reach.Target]
    ) -> tuple[reach.Witness, ...]:
        """Return what hosts answer now, a bounded number asked at once."""
        ...
