# SPDX-License-Identifier: Apache-2.0

"""Answers of the API, made by hand: what 1.2 gives, and what 1.0 gave."""

import types

# What only newer versions have.
NEW = (
    'eta_p90_seconds',
    'eta_samples',
    'explanation',
    'storage',
    'boot_source',
    'size_class',
    'ahead',
    'phase_started_at',
)


def item(server='s1', uuid='e1', state='running', percent=40, **changes):
    """One evacuation; s1 is being spawned."""
    found = {
        'uuid': uuid,
        'server_uuid': server,
        'status': 'pre-migrating',
        'state': state,
        'phase': {'running': 'spawning', 'succeeded': 'done'}.get(
            state, state
        ),
        'progress': percent,
        'reason': None,
        'stalled': False,
        'source_compute': 'cmp-1',
        'dest_compute': 'cmp-2',
        'created_at': '2026-01-01T00:00:00Z',
        'updated_at': '2026-01-01T00:00:01Z',
        'disk_total_bytes': None,
        'disk_processed_bytes': None,
        'volumes_total': None,
        'volumes_done': None,
        'eta_seconds': None,
        **dict.fromkeys(NEW),
        'storage': 'unknown',
        'size_class': '',
    }
    assert set(changes) <= set(found), changes
    return {**found, **changes}


def done(server='s1', uuid='e1', **changes):
    return item(server, uuid, 'succeeded', 100, **changes)


def failed(server='s1', uuid='e1', **changes):
    words = {
        'reason': 'no_valid_host',
        'explanation': 'No host has room for it. Make room, evacuate again.',
    }
    return item(server, uuid, 'failed', None, **{**words, **changes})


def row(host='cmp-1', planned=0, stalled=0, progress=50, **changes):
    """One host of a summary, its counts by state as words."""
    states = {
        name: changes.pop(name, 0)
        for name in (
            'queued',
            'running',
            'succeeded',
            'failed',
            'superseded',
            'unknown',
        )
    }
    return {
        'source_compute': host,
        'total': sum(states.values()),
        'planned': planned,
        'states': states,
        'stalled': stalled,
        'progress': progress,
        'eta_seconds': None,
        'eta_p90_seconds': None,
        'eta_samples': None,
        'started_at': None,
        'finished_at': None,
        **changes,
    }


def answer(body, status=200):
    """Give a response as requests has it; None for one that is no JSON."""

    def read():
        if body is None:
            raise ValueError('no JSON')
        return body

    return types.SimpleNamespace(status_code=status, json=read)


def fault(status, message, name='fault'):
    """Give a refusal in nova's format."""
    return answer({name: {'code': status, 'message': message}}, status)
