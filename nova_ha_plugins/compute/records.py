# SPDX-License-Identifier: Apache-2.0

"""The door from nova-compute to the records of nova.

Every call here is one call to nova-conductor, made the way nova-compute makes
its own, and may take as long as one. Only the fields that changed travel.
"""

from collections import abc
import inspect
import typing

from nova import context as nova_context
from nova import exception
from nova.image import glance
from nova import objects
from oslo_context import context as oslo_context

from nova_ha_plugins.compute import images
from nova_ha_plugins.compute import mirror
from nova_ha_plugins.compute import tally
from nova_ha_plugins.compute import watched

# When the work has ended; powering-off: nova stops what it has started.
_ENDED = (None, 'powering-off', *mirror.TASKS)

# What nova and oslo.messaging call the argument.
_CONTEXTS = ('context', 'ctxt')

# A killed nova-compute had no more than 64 evacuations under way.
_NEWEST = 200


def current_context() -> typing.Any:
    """Give the context of the request that this thread works for.

    oslo.messaging makes a copy without a token for each notification, and a
    context that is made takes the place of the current one. The one with the
    token is where nova-compute has it, among what the callers were given.
    """
    frame = inspect.currentframe()
    while frame is not None:
        for name in _CONTEXTS:
            found = frame.f_locals.get(name)
            if (
                isinstance(found, oslo_context.RequestContext)
                and found.auth_token
            ):
                return found
        frame = frame.f_back
    return oslo_context.get_current()


def find_image(context: typing.Any, image_id: str) -> images.Image | None:
    """Ask the image service for an image, as nova-compute itself does."""
    found = glance.API().get(context, image_id)
    if not found.get('size'):
        return None
    return images.Image(found['size'], found.get('disk_format') or '')


def find_evacuation(host: str, server: str, source: str) -> typing.Any:
    """Give nova's record of the evacuation that this host works on.

    Whatever its status: it is 'completed' when the source comes back on the
    way, and closed when the conductor did not answer before the end.

    :raises Gone: if there is none.
    """
    found = objects.MigrationList.get_by_filters(
        nova_context.get_admin_context(),
        {'instance_uuid': server, 'migration_type': 'evacuation'},
    )
    mine = [
        record
        for record in found
        if record.dest_compute == host and record.source_compute == source
    ]
    if not mine:
        raise watched.Gone(f'no evacuation of server {server} to host {host}')
    # The destination is written before the work begins, so the newest one
    # is ours; ids grow within a cell.
    return max(mine, key=lambda record: record.id)


def find_servers(uuids: abc.Sequence[str]) -> dict[str, typing.Any]:
    """Give the servers that still exist, in one call."""
    found = objects.InstanceList.get_by_filters(
        nova_context.get_admin_context(),
        {'uuid': list(uuids), 'deleted': False},
        expected_attrs=[],
    )
    return {server.uuid: server for server in found}


def save_bytes(record: typing.Any, counted: tally.Tally) -> None:
    """Write the bytes into nova's record.

    :raises Gone: if the record was purged.
    """
    total, processed = counted.total, counted.processed
    if total is None or processed is None:
        return
    record.disk_total = total
    record.disk_processed = processed
    record.disk_remaining = total - processed
    try:
        record.save()
    except exception.MigrationNotFound as error:
        raise watched.Gone(str(error)) from error


def save_progress(server: typing.Any, value: int) -> None:
    """Write the percentage of a server that is being evacuated.

    :raises Gone: if it is deleted or its evacuation is over.
    """
    _save_progress(server, value, mirror.WRITTEN_IN)


def end_progress(server: typing.Any) -> None:
    """Set the progress of a server back to 0.

    :raises Gone: if it is deleted or something else is done with it.
    """
    _save_progress(server, 0, _ENDED)


def forget_progress(host: str) -> list[str]:
    """Set back what a nova-compute of this host left when it was killed.

    Gives the servers: evacuated to this host as far as nova's records say,
    with a progress, but nobody works on them.
    """
    newest = objects.MigrationList.get_by_filters(
        nova_context.get_admin_context(),
        {'host': host, 'migration_type': 'evacuation'},
        limit=_NEWEST,
    )
    left = [record for record in newest if record.dest_compute == host]
    uuids = {record.instance_uuid for record in left}
    if not uuids:
        return []
    done = []
    for uuid, server in find_servers(sorted(uuids)).items():
        if server.progress and server.task_state is None:
            try:
                _save_progress(server, 0, (None,))
            except watched.Gone:
                continue
            done.append(uuid)
    return done


def _save_progress(
    server: typing.Any, value: int, tasks: abc.Sequence[str | None]
) -> None:
    server.progress = value
    try:
        server.save(expected_task_state=list(tasks))
    except (
        exception.InstanceNotFound,
        exception.UnexpectedTaskStateError,
    ) as error:
        raise watched.Gone(str(error)) from error
