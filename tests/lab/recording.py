# SPDX-License-Identifier: Apache-2.0

"""What the APIs say of one evacuation while it goes on, moment by moment."""

import dataclasses
import datetime
import statistics
import threading
import time
import typing

from lab.demo import operator
from lab.demo import watch

# Seconds between two looks.
INTERVAL = 0.2
_BOTH = 'instance-ha 1.2,compute 2.74'
_TOLD = (
    'status',
    'state',
    'phase',
    'progress',
    'storage',
    'size_class',
    'dest_compute',
    'disk_total_bytes',
    'disk_processed_bytes',
    'disk_remaining_bytes',
    'eta_seconds',
    'eta_p90_seconds',
    'eta_samples',
    'explanation',
)


@dataclasses.dataclass
class Recorder:
    """Asks for the newest evacuation of a server, then for the server.

    :ivar samples: what was said; ``time`` is in seconds since the record of
        nova was made, ``server`` what nova's own API says right after it.
    """

    operator: operator.Operator
    uuid: str
    samples: list[dict[str, typing.Any]] = dataclasses.field(
        default_factory=list
    )
    finished: float | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._film, daemon=True)

    def __enter__(self) -> 'Recorder':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def done(self) -> bool:
        """Whether the last sample says that it has ended."""
        if self.error is not None:
            raise self.error
        last = self.samples[-1]['state'] if self.samples else 'queued'
        return last not in ('queued', 'running')

    def _film(self) -> None:
        try:
            while not self._ended.wait(INTERVAL):
                self._take()
        except BaseException as error:
            self.error = error

    def _take(self) -> None:
        answer = self.operator.connection.compute.get(
            '/os-evacuations',
            params={'instance_uuid': self.uuid, 'limit': '1'},
            headers={'OpenStack-API-Version': _BOTH},
            microversion=None,
        )
        at = time.time()
        if answer.status_code != 200:
            raise AssertionError(
                f'/os-evacuations: HTTP {answer.status_code}, expected 200: '
                f'{answer.text[:300]}'
            )
        found = answer.json()['evacuations']
        if not found:
            return
        server = self.operator.get(f'/servers/{self.uuid}')['server']
        item = found[0]
        if item['finished_at']:
            self.finished = watch.epoch(item['finished_at']) - watch.epoch(
                item['created_at']
            )
        # Nova keeps whole seconds of it.
        began = watch.epoch(item['created_at'])
        self.samples.append(
            {
                'time': round(at - began, 2),
                **{name: item[name] for name in _TOLD},
                'server': {
                    'status': server['status'],
                    'progress': server.get('progress'),
                    'host': server['OS-EXT-SRV-ATTR:host'],
                    'task_state': server['OS-EXT-STS:task_state'],
                },
            }
        )


def eta_errors(
    samples: list[dict[str, typing.Any]],
) -> tuple[float, float, int]:
    """Judge the estimates by what came.

    :returns: the median absolute error in seconds, how often the truth was
        within p90, and how many samples had an estimate.
    """
    end = next(
        each['time'] for each in samples if each['state'] == 'succeeded'
    )
    told = [
        (each['eta_seconds'], each['eta_p90_seconds'], end - each['time'])
        for each in samples
        if each['eta_seconds'] is not None and each['state'] != 'succeeded'
    ]
    errors = [abs(p50 - left) for p50, _, left in told]
    # Whole seconds are told, and the end is seen up to one look late.
    within = [left <= p90 + 1.0 for _, p90, left in told]
    return (
        round(statistics.median(errors), 2),
        round(sum(within) / len(within), 2),
        len(told),
    )


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
