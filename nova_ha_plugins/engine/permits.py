# SPDX-License-Identifier: Apache-2.0

"""Permits: no side effect without an intent that was saved just now.

A method of a door that returns nothing changes something outside. It is called
through a guard, which asks for the permit that the save of an intent gave, in
the same thread. A permit is good for one call, for a short time: an engine
that stood still between the save and the call may have lost its lease, and
what it knew of the host is old. Then nothing is called; the next round reads
again.
"""

from collections.abc import Callable
import inspect
import threading
import typing

from nova_ha_plugins.engine import doors

# As nova says it of its own load: it is tried again and is no failure.
_LATER = 429


class NoIntentError(Exception):
    """A side effect was asked for without a saved intent: a bug of ours."""


class Permits:
    """The permits of one engine, one per thread at most."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        deadline: float,
        check: Callable[[], None],
    ) -> None:
        """Give no permit yet.

        :param deadline: seconds from before the save to the call.
        :param check: asks the store whether the lease is still ours, and
            raises when it is not, or when the store does not say.
        """
        self._monotonic = monotonic
        self._deadline = deadline
        self._check = check
        self._given = threading.local()

    def give(self, began: float) -> None:
        """Let this thread make one call.

        :param began: when the save of its intent began.
        """
        self._given.began = began

    def withdraw(self) -> None:
        """Take back what this thread has not used."""
        self._given.began = None

    def spend(self, call: str) -> None:
        """Use up the permit; return only when the call may be made now.

        :raises NoIntentError: no intent was saved for it.
        :raises doors.NotCalled: it is too late; nothing was called.
        """
        began = getattr(self._given, 'began', None)
        self.withdraw()
        if began is None:
            raise NoIntentError(
                f"'{call}' was about to be called without a saved intent"
            )
        self._in_time(call, began)
        self._check()
        # Last of all: the check itself may have taken long.
        self._in_time(call, began)

    def _in_time(self, call: str, began: float) -> None:
        passed = self._monotonic() - began
        if passed >= self._deadline:
            raise doors.NotCalled(
                f"'{call}' was not called: {passed:.1f} s passed since its "
                f'intent was about to be saved, expected less than '
                f'{self._deadline:.1f} s; everything is read again first',
                _LATER,
            )


class Guarded:
    """A door whose side effects need a permit each."""

    def __init__(
        self, door: typing.Any, effects: frozenset[str], permits: Permits
    ) -> None:
        self._door = door
        self._effects = effects
        self._permits = permits

    def __getattr__(self, name: str) -> typing.Any:
        found = getattr(self._door, name)
        if name not in self._effects:
            return found

        def call(*args: typing.Any, **kwargs: typing.Any) -> typing.Any:
            self._permits.spend(name)
            return found(*args, **kwargs)

        return call


def effects_of(protocol: type) -> frozenset[str]:
    """Return the methods of a door that change something outside."""
    return frozenset(
        name
        for name, method in inspect.getmembers(protocol, inspect.isfunction)
        if not name.startswith('_')
        and typing.get_type_hints(method).get('return') is type(None)
    )


def guarded(door: typing.Any, protocol: type, permits: Permits) -> typing.Any:
    """Return the door, its side effects under guard."""
    if isinstance(door, Guarded):
        door = door._door
    return Guarded(door, effects_of(protocol), permits)
