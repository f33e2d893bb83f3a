# SPDX-License-Identifier: Apache-2.0

"""What a list of evacuations costs beside nova's own ways to the same rows."""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import datetime
import logging
import os
import timeit
import unittest
import uuid

# Before every other module of nova.
if __name__ == '__main__':
    # In threads, as nova runs by default.
    os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = 'true'
import nova.tests.functional  # noqa: F401

from nova.api import wsgi
from nova.compute import migration_list
from nova import context
from nova.db.main import api as main_db
from nova.db.main import models
from nova import objects
import sqlalchemy as sa
from sqlalchemy import orm
import webob

from benchmarks import pairs
from nova_ha_plugins.api import middleware
from nova_ha_plugins.api import reading
from nova_ha_plugins.api import told
from tests.functional.nova import base

OURS = '/v2.1/os-evacuations?limit=1000'
NOVAS = '/v2.1/os-migrations?migration_type=evacuation&limit=1000'
BEGAN = datetime.datetime(2026, 1, 1)

Row = dict[str, object]


def rows_of(count: int, kind: str, cell: int) -> dict[type, list[Row]]:
    """Return what nova leaves of evacuations, by model.

    :param kind: 'wave', all of them under way; 'history', all of them done.
    """
    found: dict[type, list[Row]] = {
        model: []
        for model in (
            models.Instance,
            models.Migration,
            models.InstanceAction,
            models.InstanceActionEvent,
            models.BlockDeviceMapping,
        )
    }
    for number in range(1, count + 1):
        for model, row in _evacuation(number, kind, cell):
            found[model].append(row)
    return found


def _evacuation(
    number: int, kind: str, cell: int
) -> Iterator[tuple[type, Row]]:
    server = str(uuid.UUID(int=cell << 64 | number))
    at = BEGAN + datetime.timedelta(seconds=number // 4)
    host = f'cmp-{cell}-{number % 10}'
    done = kind == 'history'
    on_volume = number % 5 == 0
    yield (
        models.Instance,
        {
            'uuid': server,
            'project_id': f'{number % 7:032}',
            'host': host if done else 'dead',
            'vm_state': 'active',
            'task_state': None if done else 'rebuild_spawning',
            'image_ref': '' if on_volume else server,
            'root_gb': 20,
            'created_at': BEGAN,
            'updated_at': at,
        },
    )
    yield (
        models.Migration,
        {
            'uuid': str(uuid.UUID(int=cell << 64 | number | 1 << 127)),
            'instance_uuid': server,
            'migration_type': 'evacuation',
            'status': 'done' if done else 'pre-migrating',
            'source_compute': 'dead',
            'source_node': 'dead',
            'dest_compute': host,
            'dest_node': host,
            'dest_host': '192.0.2.7',
            'user_id': '0' * 32,
            'project_id': '0' * 32,
            'disk_total': 2**30,
            'disk_processed': 2**29,
            'disk_remaining': 2**29,
            'created_at': at,
            'updated_at': at,
        },
    )
    yield (
        models.InstanceAction,
        {'instance_uuid': server, 'action': 'evacuate', 'start_time': at},
    )
    for event in (reading.EVENT_SCHEDULE, reading.EVENT_REBUILD):
        ended = done or event == reading.EVENT_SCHEDULE
        yield (
            models.InstanceActionEvent,
            {
                'event': event,
                'action_id': number,
                'start_time': at,
                'finish_time': at if ended else None,
                'result': 'Success' if ended else None,
                'host': host,
            },
        )
    for index in range(2 if on_volume else 0):
        yield models.BlockDeviceMapping, _volume(server, index, at)


def _volume(server: str, index: int, at: datetime.datetime) -> Row:
    return {
        'uuid': str(uuid.uuid4()),
        'instance_uuid': server,
        'destination_type': 'volume',
        'boot_index': index,
        'created_at': BEGAN,
        'updated_at': at,
    }


class Cloud(base.NovaTestCase):
    """Nova's API on databases with evacuations, without one host."""

    count = 1000
    kind = 'wave'

    def runTest(self) -> None:
        """Print what the list costs beside other ways."""
        self.flags(response_validation='ignore', group='api')
        self.fill()
        self.app = wsgi.Loader().load_app('osapi_compute')
        self.ctxt = context.get_admin_context()
        ways = {
            'GET /os-migrations': lambda: self.get(NOVAS),
            'objects of nova': self.read_objects,
            'columns of the records': self.read_columns,
        }
        for name, other in ways.items():
            self.print_pair('GET /os-evacuations', self.ours, name, other)
        for name, other in (
            ('columns of the records', self.read_columns),
            ('all columns in one query', self.read_joined),
        ):
            self.print_pair('read and told', self.read_ours, name, other)
        self.print_pair(
            'records read',
            self.read_page,
            'columns of the records',
            self.read_columns,
        )

    def read_joined(self) -> None:
        """Read in one query all columns that an answer is made of."""
        results = context.scatter_gather_skip_cell0(self.ctxt, _joined)
        servers = {row[2] for found in results.values() for row in found}
        _check(len(servers), self.count)

    def print_pair(
        self,
        name: str,
        work: Callable[[], object],
        other_name: str,
        other: Callable[[], object],
    ) -> None:
        """Print both and their ratio."""
        first, second, ratio = pairs.compare(work, other)
        print(
            f'{self.kind:7} of {self.count} in {self.NUMBER_OF_CELLS}: '
            f'{name} {first * 1000:.0f} ms, {other_name} '
            f'{second * 1000:.0f} ms; ratio {ratio:.2f}'
        )

    def fill(self) -> None:
        """Write the evacuations, the same numbers in each cell."""
        each = self.count // self.NUMBER_OF_CELLS
        admin = context.get_admin_context()
        cells = [
            cell
            for cell in objects.CellMappingList.get_all(admin)
            if not cell.is_cell0()
        ]
        for number, cell in enumerate(cells, 1):
            with (
                context.target_cell(admin, cell) as ctxt,
                main_db.get_context_manager(ctxt).writer.using(ctxt) as write,
            ):
                for model, rows in rows_of(each, self.kind, number).items():
                    write.execute(sa.insert(model), rows)

    def get(self, path: str) -> None:
        """Ask nova's API, as far as the bytes of its answer."""
        request = webob.Request.blank(path)
        request.headers.update(
            {
                'X-Auth-User': 'admin',
                'X-User-Id': 'admin',
                'X-Auth-Project-Id': self.api.project_id,
                'X-Roles': 'reader,member,admin',
                'OpenStack-API-Version': 'compute 2.80, instance-ha 1.2',
            }
        )
        answer = request.get_response(self.app)
        _check(answer.text.count('"evacuation"'), self.count)

    def ours(self) -> None:
        """Ask for all evacuations."""
        self.get(OURS)

    def read_ours(self) -> None:
        """Read and assess, without the request and its answer."""
        page = reading.page(self.ctxt, reading.Filters(), 1000)
        _check(len(told.of_all_cells(self.ctxt, page)), self.count)

    def read_page(self) -> None:
        """Read the records, in the order of all cells."""
        _check(
            len(reading.page(self.ctxt, reading.Filters(), 1000)), self.count
        )

    def read_objects(self) -> None:
        """Read the records alone, as objects of nova."""
        found = migration_list.get_migration_objects_sorted(
            self.ctxt,
            {'migration_type': 'evacuation'},
            1000,
            None,
            ['created_at', 'id'],
            ['desc', 'desc'],
        )
        _check(len(found), self.count)

    def read_columns(self) -> None:
        """Read the columns of the records alone, and nothing of them."""
        results = context.scatter_gather_skip_cell0(self.ctxt, _columns)
        _check(sum(map(len, results.values())), self.count)


def _check(found: int, expected: int) -> None:
    """A way that does not give everything would be quick."""
    if found != expected:
        raise RuntimeError(f'{found} evacuations, expected {expected}')


def _columns(ctxt: context.RequestContext) -> list[object]:
    model = models.Migration
    statement = (
        sa.select(*(getattr(model, name) for name in reading.COLUMNS))
        .where(model.migration_type == 'evacuation', model.deleted == 0)
        .order_by(model.created_at.desc(), model.id.desc())
        .limit(1000)
    )
    with main_db.get_context_manager(ctxt).reader.using(ctxt) as session:
        return list(session.execute(statement).all())


def _joined(ctxt: context.RequestContext) -> list[object]:
    record, server = models.Migration, models.Instance
    action, volume = models.InstanceAction, models.BlockDeviceMapping
    events = [
        orm.aliased(models.InstanceActionEvent),
        orm.aliased(models.InstanceActionEvent),
    ]
    statement = sa.select(
        *(getattr(record, name) for name in reading.COLUMNS),
        server.host,
        server.vm_state,
        server.task_state,
        server.updated_at,
        server.image_ref,
        server.root_gb,
        action.start_time,
        *(
            column
            for event in events
            for column in (event.start_time, event.finish_time, event.result)
        ),
        volume.boot_index,
        volume.updated_at,
    ).select_from(record)
    statement = statement.join(server, server.uuid == record.instance_uuid)
    statement = statement.join(action, action.instance_uuid == server.uuid)
    names = (reading.EVENT_SCHEDULE, reading.EVENT_REBUILD)
    for event, name in zip(events, names, strict=True):
        statement = statement.outerjoin(
            event,
            sa.and_(event.action_id == action.id, event.event == name),
        )
    statement = statement.outerjoin(
        volume, volume.instance_uuid == server.uuid
    ).order_by(record.created_at.desc(), record.id.desc())
    with main_db.get_context_manager(ctxt).reader.using(ctxt) as session:
        return list(session.execute(statement).all())


def _print_filter() -> None:
    """Print what the filter adds to requests that are not its own."""

    def application(
        environ: dict[str, object], start_response: Callable[..., object]
    ) -> list[bytes]:
        return [b'']

    filtered = middleware.InstanceHA(application)
    for method, path, body in (
        ('GET', '/servers/detail', b''),
        ('GET', f'/servers/{uuid.uuid4()}', b''),
        ('POST', '/servers', b'{"server": {}}'),
        ('POST', f'/servers/{uuid.uuid4()}/action', b'{"reboot": {}}'),
    ):
        request = webob.Request.blank(
            path, method=method, body=body, content_type='application/json'
        )

        def ask(
            app: Callable[..., object], request: webob.Request = request
        ) -> None:
            app(dict(request.environ), lambda *args: None)

        rounds = 2000
        took = [
            min(
                timeit.repeat(
                    lambda app=app: ask(app), number=rounds, repeat=5
                )
            )
            / rounds
            for app in (filtered, application)
        ]
        print(
            f'filter: {method} {path[:9]} +{(took[0] - took[1]) * 1e6:.0f} us'
        )


def main() -> None:
    """Print ratios for a wave and for history, in one cell and in two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=1000)
    count = parser.parse_args().count
    logging.disable(logging.CRITICAL)
    _print_filter()
    for cells in (1, 2):
        for kind in ('wave', 'history'):
            cloud = type(
                'Cloud',
                (Cloud,),
                {'count': count, 'kind': kind, 'NUMBER_OF_CELLS': cells},
            )()
            result = unittest.TextTestRunner(verbosity=0).run(cloud)
            if not result.wasSuccessful():
                raise SystemExit(1)


if __name__ == '__main__':
    main()
