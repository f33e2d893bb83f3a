# SPDX-License-Identifier: Apache-2.0

"""What a fencing driver is and what it promises.

A host counts as off because of what a driver reads, so the promises are part
of the interface; the suite ``tests/unit/fencing/suite.py`` holds every driver
to them:

1. One attempt per call, over within ``call_timeout`` seconds. The caller's
   next round is the retry.
2. ``power_off`` cuts power at once and for good: no shutdown that the guest
   may ignore, no reset, no power cycle. It returns when the device accepted
   it, and also when the host was off already. That it returned is no proof.
3. ``read`` asks the device, now: nothing cached, nothing concluded.
   ``Power.OFF`` only for a plain 'off'; on the way there is ``CHANGING``;
   what the driver does not understand is ``UNKNOWN``.
4. ``Refused``: the device answered, and nothing was done. ``Unanswered``: it
   may or may not have been done. Nothing else is raised.
5. Making a driver contacts nothing. Wrong options raise ``OptionError``.
6. No secret in a text, a log line or the arguments of a process; passwords
   are read from their file when they are used.
7. Calls from several threads do not disturb each other.
"""

import abc
import collections.abc
import typing

from nova_ha_plugins.recovery import views

Options = collections.abc.Mapping[str, typing.Any]


class OptionError(ValueError):
    """One option of one host is wrong.

    :ivar key: the option as it is spelled in the map.
    """

    def __init__(self, key: str, expected: str, found: str) -> None:
        super().__init__(f'expected {expected}, found {found}')
        self.key = key


class FencingDriver(abc.ABC):
    """Switches one host off and reads whether it is."""

    def __init__(
        self, host: str, options: Options, call_timeout: float
    ) -> None:
        """Check and keep the options.

        :param host: nova's service host, for texts.
        :param options: the host's keys in the map but 'driver' and 'probe'.
        :param call_timeout: seconds that one call may take.
        :raises OptionError: an option is missing, unknown or wrong.
        """
        self.host = host
        self.call_timeout = call_timeout

    @property
    @abc.abstractmethod
    def device(self) -> str:
        """The name of the one system behind this driver.

        Two hosts of a map with the same device are a mistake in the map.
        """

    @abc.abstractmethod
    def power_off(self, system_uuid: str = '') -> None:
        """Have the device cut the power of the host.

        :param system_uuid: where given, the device is asked first who it is
            and is left alone when it is another system.
        :raises doors.Refused: the device will not; nothing was done.
        :raises doors.Unanswered: it may or may not have been done.
        """

    @abc.abstractmethod
    def read(self) -> views.PowerReading:
        """Return power and identity as the device gives them now.

        :raises doors.Refused: the device will not say.
        :raises doors.Unanswered: the device did not answer.
        """
