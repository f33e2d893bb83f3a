# SPDX-License-Identifier: Apache-2.0

"""JSON schemas of the answers about evacuations, by our own version."""

import typing

from nova_ha_plugins.api import versions
from nova_ha_plugins.recovery import progress

Schema = dict[str, typing.Any]

_text: Schema = {'type': 'string'}
_text_or_null: Schema = {'type': ['string', 'null']}
_flag: Schema = {'type': 'boolean'}
_uuid: Schema = {'type': 'string', 'format': 'uuid'}
_time: Schema = {'type': 'string', 'format': 'date-time'}
_time_or_null: Schema = {'type': ['string', 'null'], 'format': 'date-time'}
_count: Schema = {'type': 'integer', 'minimum': 0}
# Nova's own schema asks for one byte at least, and so refuses what has
# nothing to copy.
_count_or_null: Schema = {'type': ['integer', 'null'], 'minimum': 0}
_percent: Schema = {'type': ['integer', 'null'], 'minimum': 0, 'maximum': 100}


def _object(
    properties: dict[str, Schema], optional: frozenset[str] = frozenset()
) -> Schema:
    """Make a schema that needs every property and allows no other."""
    return {
        'type': 'object',
        'properties': properties,
        'required': sorted(set(properties) - optional),
        'additionalProperties': False,
    }


def _list(items: Schema) -> Schema:
    return {'type': 'array', 'items': items}


def _words(*found: str | None) -> Schema:
    return {'enum': list(found)}


_first_item: dict[str, Schema] = {
    'id': {'type': ['integer', 'null']},
    'uuid': _uuid,
    'server_uuid': _uuid,
    'migration_type': _words('evacuation'),
    'status': _text,
    'source_compute': _text_or_null,
    'source_node': _text_or_null,
    'dest_compute': _text_or_null,
    'dest_node': _text_or_null,
    'dest_host': _text_or_null,
    'memory_total_bytes': _count_or_null,
    'memory_processed_bytes': _count_or_null,
    'memory_remaining_bytes': _count_or_null,
    'disk_total_bytes': _count_or_null,
    'disk_processed_bytes': _count_or_null,
    'disk_remaining_bytes': _count_or_null,
    'created_at': _time,
    'updated_at': _time_or_null,
    'user_id': _text_or_null,
    'project_id': _text_or_null,
    'state': _words(*map(str, progress.State)),
    'phase': _words(*map(str, progress.Phase)),
    'progress': _percent,
    'stalled': _flag,
    'reason': _words(*map(str, progress.Reason), None),
    'source_cleaned': _flag,
    'volumes_total': _count_or_null,
    'volumes_done': _count_or_null,
    'eta_seconds': _count_or_null,
    'started_at': _time_or_null,
    'finished_at': _time_or_null,
}

_second_item: dict[str, Schema] = {
    **_first_item,
    'eta_p90_seconds': _count_or_null,
    'eta_samples': _count_or_null,
    'explanation': _text_or_null,
    'storage': _words(*map(str, progress.Storage)),
    'boot_source': _words(*map(str, progress.Boot), None),
    'size_class': _text_or_null,
    'ahead': _count_or_null,
    'phase_started_at': _time_or_null,
}

_links = _list(_object({'rel': _words('next'), 'href': _text}))


def _shown(item: dict[str, Schema]) -> Schema:
    return _object({'evacuation': _object(item)})


def _listed(item: dict[str, Schema], *, in_pages: bool) -> Schema:
    properties = {'evacuations': _list(_object(item))}
    if not in_pages:
        return _object(properties)
    properties['evacuations_links'] = _links
    return _object(properties, optional=frozenset({'evacuations_links'}))


_ITEMS = {versions.MINIMUM: _first_item, versions.PROGRESS: _second_item}

EVACUATION = {version: _shown(item) for version, item in _ITEMS.items()}
SERVER_EVACUATIONS = {
    version: _listed(item, in_pages=False) for version, item in _ITEMS.items()
}
EVACUATIONS = {
    version: _listed(item, in_pages=True) for version, item in _ITEMS.items()
}

_host = _object(
    {
        'source_compute': _text,
        'total': _count,
        'planned': _count_or_null,
        'states': _object({str(state): _count for state in progress.State}),
        'stalled': _count,
        'progress': _percent,
        'eta_seconds': _count_or_null,
        'eta_p90_seconds': _count_or_null,
        'eta_samples': _count_or_null,
        'started_at': _time_or_null,
        'finished_at': _time_or_null,
    }
)

SUMMARY = {
    versions.PROGRESS: _object(
        {
            'evacuations_summary': _object(
                {'hosts': _list(_host), 'cells_down': _count}
            )
        }
    )
}
