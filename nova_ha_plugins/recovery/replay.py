# SPDX-License-Identifier: Apache-2.0

"""Makes a saved decision again, with the code of today."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import typing

from nova_ha_plugins.recovery import decision
from nova_ha_plugins.recovery import gates
from nova_ha_plugins.recovery import responses

# The decision of the gates about a fence.
FENCE = 'fence'


@dataclasses.dataclass(frozen=True)
class Replayed:
    """A decision as it was made, and as it would be made again.

    :ivar saved: what was answered then, as JSON values.
    :ivar again: what the same input leads to now.
    """

    name: str
    saved: typing.Any
    again: typing.Any

    @property
    def same(self) -> bool:
        """Return whether the answer is the same."""
        return bool(self.saved == self.again)


def replay(text: str) -> Replayed:
    """Return the decision of a line of a timeline, made again.

    :param text: the line's ``input``.
    :raises ValueError: the text is no record, is one of a newer release, or
        one of a decision that this release does not know.
    """
    found = decision.load(text)
    make = _MAKERS.get(found.name)
    if make is None:
        raise ValueError(
            f"The record is of a decision '{found.name}', expected one of "
            f'{", ".join(sorted(_MAKERS))}: it was written by another release'
        )
    try:
        answer = make(found.values)
    except KeyError as error:
        raise ValueError(
            f"The record of decision '{found.name}' has no {error}"
        ) from error
    again = decision.load(decision.record(found.name, {}, answer)).answer
    return Replayed(found.name, found.answer, again)


def _case(values: Mapping[str, typing.Any]) -> gates.Case:
    return gates.Case(
        decision.value(gates.Suspect, values['suspect']),
        decision.value(gates.Scene, values['scene']),
        decision.value(gates.Limits, values['limits']),
    )


_MAKERS: dict[str, Callable[[Mapping[str, typing.Any]], object]] = {
    FENCE: lambda values: gates.hold(_case(values)),
    responses.MIGRATE: lambda values: responses.hold_migration(_case(values)),
}
