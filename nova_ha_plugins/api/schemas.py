# SPDX-License-Identifier: Apache-2.0

"""JSON schemas of the requests: what is not named here is refused."""

import re
import typing

from nova_ha_plugins.recovery import progress

_LONGEST = 255

# What is kept for ever, logged and drawn on terminals has no control
# characters, no line breaks, none that turn the direction of writing, and no
# halves of a character, which no database takes.
_PRINTABLE = (
    r'[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069'
    r'\ud800-\udfff]'
)


def _many(schema: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """A query parameter arrives as a list of its values."""
    return {'type': 'array', 'items': schema, 'minItems': 1, 'maxItems': 16}


def _one(schema: dict[str, typing.Any]) -> dict[str, typing.Any]:
    return {'type': 'array', 'items': schema, 'minItems': 1, 'maxItems': 1}


_word = {
    'type': 'string',
    'minLength': 1,
    'maxLength': _LONGEST,
    'pattern': rf'\A{_PRINTABLE}*\Z',
}
_uuid = {'type': 'string', 'format': 'uuid'}
_limit = {'type': 'string', 'pattern': '^[0-9]{1,9}$'}
_time = {'type': 'string', 'format': 'date-time', 'maxLength': _LONGEST}
# What nova's column for them holds.
_bytes = {'type': 'integer', 'minimum': 0, 'maximum': 2**63 - 1}

NO_QUERY = {
    'type': 'object',
    'properties': {},
    'additionalProperties': False,
}

EVACUATIONS_QUERY = {
    'type': 'object',
    'properties': {
        'state': _many({'enum': [str(state) for state in progress.State]}),
        'status': _many(_word),
        'source_compute': _one(_word),
        'dest_compute': _one(_word),
        'host': _one(_word),
        'instance_uuid': _one(_uuid),
        'changes-since': _one(_time),
        'changes-before': _one(_time),
        'limit': _one(_limit),
        'marker': _one(_uuid),
    },
    'additionalProperties': False,
}

SUMMARY_QUERY = {
    'type': 'object',
    'properties': {
        'source_compute': _one(_word),
        'changes-since': _one(_time),
    },
    'additionalProperties': False,
}

HISTORY_QUERY = {
    'type': 'object',
    'properties': {'limit': _one(_limit)},
    'additionalProperties': False,
}

INCIDENTS_QUERY = {
    'type': 'object',
    'properties': {'host': _one(_word), 'limit': _one(_limit)},
    'additionalProperties': False,
}

# The sentence is kept for ever beside the deed; blanks are not a reason.
_reason = {
    'type': 'string',
    'minLength': 1,
    'maxLength': _LONGEST,
    'pattern': rf'\A(?=.*\S){_PRINTABLE}*\Z',
}


REASON_QUERY = {
    'type': 'object',
    'properties': {'reason': _one(_reason)},
    'additionalProperties': False,
}

# A time or a duration: ``until.parse`` says what is wrong with it.
_until = _word


def _body(
    name: str,
    properties: dict[str, dict[str, typing.Any]],
    optional: tuple[str, ...] = (),
) -> dict[str, typing.Any]:
    return {
        'type': 'object',
        'properties': {
            name: {
                'type': 'object',
                'properties': properties,
                'required': sorted(set(properties) - set(optional)),
                'additionalProperties': False,
            }
        },
        'required': [name],
        'additionalProperties': False,
    }


def _action(
    name: str, **others: dict[str, typing.Any]
) -> dict[str, typing.Any]:
    return _body(name, {**others, 'reason': _reason})


def _ending(
    action: str,
    /,
    optional: tuple[str, ...] = (),
    **others: dict[str, typing.Any],
) -> dict[str, typing.Any]:
    return _body(
        action,
        {**others, 'reason': _reason, 'until': _until},
        ('until', *optional),
    )


def is_name(text: str) -> bool:
    """Whether a text could be the name of something that was stored."""
    return 0 < len(text) <= _LONGEST and bool(
        re.fullmatch(rf'(?=.*\S){_PRINTABLE}*', text)
    )


ARM = _ending('arm')
DISARM = _ending('disarm')
MAINTENANCE = _ending('maintenance', host=_reason)
# The name is looked at by the controller, which says what a name is.
PAUSE = _ending('pause', ('zone',), name=_word, zone=_reason)
RELEASE = _action('release')
# Only one thing can be attested; it is written out so that nobody says it by
# leaving something away.
ATTEST = _action('attest', power={'type': 'string', 'enum': ['off']})
# The host is named again, so that the wrong ID confirms nothing.
CONFIRM = _body('confirm', {'host': _word})
PROGRESS = _body(
    'progress',
    {'disk_total_bytes': _bytes, 'disk_processed_bytes': _bytes},
)
