# SPDX-License-Identifier: Apache-2.0

"""Rows of an evacuation as nova leaves them, written without evacuating.

For tests of what is read: of many evacuations, of several cells, at times and
in states that a running nova reaches only by chance.
"""

import dataclasses
import datetime

from nova import context
from nova.db.main import api as main_db
from nova.db.main import models
from nova import objects
from oslo_utils import uuidutils
import sqlalchemy as sa

EPOCH = datetime.datetime(2026, 1, 1)


def at(seconds):
    """Give the time of that many seconds after the beginning of the test."""
    return None if seconds is None else EPOCH + datetime.timedelta(0, seconds)


def epoch(seconds):
    """Give that time in seconds since 1970."""
    return at(seconds).replace(tzinfo=datetime.UTC).timestamp()


def cells():
    """Give the cells that have servers, in the order of their names."""
    found = objects.CellMappingList.get_all(context.get_admin_context())
    return sorted(
        (cell for cell in found if not cell.is_cell0()),
        key=lambda cell: cell.name,
    )


@dataclasses.dataclass
class Event:
    """An event of the action; times in seconds after the beginning."""

    name: str
    started: float
    finished: float | None = None
    result: str | None = None
    host: str | None = None


@dataclasses.dataclass
class Evacuation:
    """One evacuation with its server; times in seconds after the beginning.

    :ivar volumes: when each volume was written last, the root volume first.
    """

    status: str = 'pre-migrating'
    created: float = 0
    updated: float | None = None
    source: str = 'host1'
    destination: str | None = 'host2'
    host: str = 'host1'
    task: str | None = 'rebuild_spawning'
    vm: str = 'active'
    written: float = 0
    image: str = 'an-image'
    volumes: tuple[float | None, ...] = ()
    events: tuple[Event, ...] = ()
    disk: tuple[int | None, int | None] = (None, None)
    deleted: bool = False
    server: str = dataclasses.field(default_factory=uuidutils.generate_uuid)
    uuid: str = dataclasses.field(default_factory=uuidutils.generate_uuid)

    def write(self, project, cell=None):
        """Write it and its server; give the evacuation."""
        cell = cell or cells()[0]
        admin = context.get_admin_context()
        objects.InstanceMapping(
            admin,
            instance_uuid=self.server,
            project_id=project,
            cell_mapping=cell,
            user_id='fake',
        ).create()
        with context.target_cell(admin, cell) as ctxt:
            owner = context.RequestContext('fake', project)
            owner.db_connection = ctxt.db_connection
            objects.Instance(
                owner,
                uuid=self.server,
                user_id='fake',
                project_id=project,
                flavor=objects.Flavor.get_by_flavor_id(admin, '1'),
                system_metadata={},
            ).create()
        self.write_again(cell)
        with self._session(cell) as session:
            session.execute(
                sa.update(models.Instance)
                .where(models.Instance.uuid == self.server)
                .values(
                    host=self.host,
                    vm_state=self.vm,
                    task_state=self.task,
                    image_ref=self.image,
                    root_gb=20,
                    updated_at=at(self.written),
                    deleted=models.Instance.id if self.deleted else 0,
                )
            )
            for index, written in enumerate(self.volumes):
                self._insert(
                    session,
                    models.BlockDeviceMapping,
                    uuid=uuidutils.generate_uuid(),
                    destination_type='volume',
                    boot_index=index,
                    created_at=at(-100),
                    updated_at=at(written),
                )
        return self

    def write_again(self, cell=None, **others):
        """Write one more evacuation of the same server; give it."""
        one = dataclasses.replace(self, **others)
        if others:
            one.uuid = uuidutils.generate_uuid()
        with self._session(cell or cells()[0]) as session:
            one._write_record(session)
        return one

    def _write_record(self, session):
        action = self._insert(
            session,
            models.InstanceAction,
            action='evacuate',
            start_time=at(self.created - 0.1),
        )
        for event in self.events:
            session.execute(
                sa.insert(models.InstanceActionEvent).values(
                    action_id=action,
                    event=event.name,
                    start_time=at(event.started),
                    finish_time=at(event.finished),
                    result=event.result,
                    host=event.host,
                )
            )
        total, processed = self.disk
        self._insert(
            session,
            models.Migration,
            uuid=self.uuid,
            migration_type='evacuation',
            status=self.status,
            source_compute=self.source,
            source_node=self.source,
            dest_compute=self.destination,
            dest_node=self.destination,
            dest_host=self.destination and '192.0.2.19',
            user_id='admin',
            project_id='admin',
            disk_total=total,
            disk_processed=processed,
            created_at=at(self.created),
            updated_at=at(self.updated),
            deleted=int(self.deleted),
            hidden=False,
        )

    def _insert(self, session, model, **values):
        found = session.execute(
            sa.insert(model).values(instance_uuid=self.server, **values)
        )
        return found.inserted_primary_key[0]

    @staticmethod
    def _session(cell):
        with context.target_cell(context.get_admin_context(), cell) as ctxt:
            return main_db.get_context_manager(ctxt).writer.using(ctxt)
