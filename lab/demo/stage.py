# SPDX-License-Identifier: Apache-2.0

"""What the story needs of the cloud that it is told on."""

import collections.abc
import pathlib
import typing


class StageError(Exception):
    """The cloud did not start, or did not do what it was told."""


class Engine(typing.Protocol):
    """nova-ha-engine, which the story may kill.

    :ivar conf_file: its configuration file.
    :ivar log_file: where it logs.
    :ivar kills: how often it was killed.
    """

    conf_file: pathlib.Path
    log_file: pathlib.Path
    kills: int

    def start(self) -> None:
        """Start it; it takes the lease by itself."""

    def kill(self) -> None:
        """End it without any warning, with all of its processes."""

    def stop(self) -> None:
        """Ask it to end."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""


class Stage(typing.Protocol):
    """A cloud with hypervisors that can fail.

    :ivar title: what runs, for the reader.
    :ivar directory: holds all its files.
    :ivar host_count: how many hypervisors have a fencing device.
    :ivar image: the name of the image to boot, '' for any.
    :ivar warm_up: seconds that the engine watches before it acts.
    """

    title: str
    directory: pathlib.Path
    host_count: int
    image: str
    warm_up: float

    @property
    def engine(self) -> Engine:
        """The engine; only once the cloud has started."""

    def start(self, say: collections.abc.Callable[[str], None]) -> None:
        """Start the cloud without its engine; say what comes up."""

    def stop(self) -> None:
        """End everything that was started."""

    def usage(self) -> list[str]:
        """Return commands that a reader may try while the cloud runs."""

    def credentials(self, user: str) -> dict[str, str]:
        """Return keystoneauth's ``auth`` of a user."""

    def alarm(self) -> str:
        """Return the name of an alarm that is there already, '' if none."""

    def fail(self, host: str) -> str:
        """Let a host fail; return a sentence that says how."""

    def power_on(self, host: str) -> None:
        """Switch a host on through its BMC."""

    def settled(self, servers: collections.abc.Collection[str]) -> bool:
        """Return whether the user space of these servers is up."""

    def domains(self) -> dict[str, list[str]]:
        """Return {server: hosts that hold a domain of it}, as drivers say.

        A host without power holds none.
        """

    def proof(
        self, servers: collections.abc.Collection[str], since: float
    ) -> tuple[dict[str, typing.Any], bool]:
        """Return more of the summary, and whether it is as it must be.

        :param servers: uuids of running servers that had to be recovered.
        :param since: when the host failed, epoch seconds.
        """
