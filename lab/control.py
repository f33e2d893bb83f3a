# SPDX-License-Identifier: Apache-2.0
"""The control plane of a lab, from the database to nova's scheduler."""

import collections.abc
import dataclasses
import pathlib
import sys

from lab import broker
from lab import contents
from lab import database
from lab.embedded import plan as embedded
from lab import guest
from lab import identity
from lab import keystone_schema
from lab import nova
from lab import nova_schema
from lab import plan as planning
from lab import processes as running
from lab import rc
from lab import wsgi

PLACEMENT = """\
[DEFAULT]
{defaults}[placement_database]
connection = {database}
{authtoken}
"""

GLANCE = """\
[DEFAULT]
{defaults}enabled_backends = file:file
enabled_import_methods = []
worker_self_reference_url = {url}
[database]
connection = {database}
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = {directory}/images
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[paste_deploy]
flavor = keystone
config_file = {paste}
[oslo_concurrency]
lock_path = {directory}/lock
{authtoken}
"""

nova_compute_conf = nova.write_compute_config


def _placement_config(plan: planning.Plan) -> pathlib.Path:
    return plan.write(
        'placement',
        'placement.conf',
        text=PLACEMENT.format(
            defaults=identity.DEFAULTS,
            database=plan.database_url('placement'),
            authtoken=identity.authtoken(plan, 'placement'),
        ),
    )


def _glance_config(plan: planning.Plan) -> pathlib.Path:
    directory = plan.path('glance', 'glance-api.conf').parent
    for name in ('images', 'staging', 'tasks', 'lock'):
        (directory / name).mkdir(exist_ok=True)
    return plan.write(
        'glance',
        'glance-api.conf',
        text=GLANCE.format(
            defaults=identity.DEFAULTS,
            url=plan.url('glance'),
            database=plan.database_url('glance'),
            directory=directory,
            paste=pathlib.Path(sys.prefix) / 'etc/glance/glance-api-paste.ini',
            authtoken=identity.authtoken(plan, 'glance'),
        ),
    )


def _placement(plan: planning.Plan) -> running.Service:
    config = _placement_config(plan)
    return wsgi.service(
        'placement',
        'placement.wsgi.api:application',
        {'OS_PLACEMENT_CONFIG_DIR': str(config.parent)},
    )


def _glance(plan: planning.Plan) -> running.Service:
    config = _glance_config(plan)
    return wsgi.service(
        'glance',
        'glance.wsgi.api:application',
        {'OS_GLANCE_CONFIG_DIR': str(config.parent)},
    )


class Control:
    """The control plane.

    :ivar say: is told each stage.
    """

    def __init__(
        self,
        plan: planning.Plan,
        processes: running.Processes,
        say: collections.abc.Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._processes = processes
        self._say = say

    def up(self) -> None:
        """Bring everything to answering; what runs already stays."""
        plan, start = self._plan, self._processes.start
        wait = self._processes.wait
        store = database.Database(
            plan, self._processes, embedded.default_cache()
        )
        cached = store.is_cached
        self._say(
            'Database and broker' if cached else 'Database, tables and broker'
        )
        messages = broker.service(plan)
        start(messages)
        store.up()
        self._say('Identity, placement, images')
        first = (
            identity.service(plan),
            _placement(plan),
            wsgi.service('neutron', 'lab.neutron:application', {}, threads=4),
            _glance(plan),
        )
        for service in first:
            start(service)
        nova.write_config(plan)
        wait(messages)
        start(nova.api(plan))
        for service in first:
            wait(service)
        self._say('Nova')
        # Their first question to placement is put while they start, and
        # what they have not found then they never find.
        for name in nova.DAEMONS:
            start(nova.daemon(plan, name))
        wait(nova.api(plan))
        cloud = contents.Cloud(plan)
        for name in nova.DAEMONS:
            wait(
                dataclasses.replace(
                    nova.daemon(plan, name),
                    ready=lambda name=name: cloud.reports(name),
                )
            )

    def prepare_image(self) -> None:
        """Build the guest's image, unless it is in the cache."""
        guest.image(embedded.default_cache())

    def prepare_cloud(self) -> None:
        """Create the flavors and upload the images; :meth:`up` has returned.

        Fake hosts boot an image of a few bytes: nobody ever reads it.
        """
        self._say('Flavors and images')
        cloud = contents.Cloud(self._plan)
        cloud.create_flavors()
        cloud.create_image(
            'guest', 'qemu', guest.image(embedded.default_cache()).read_bytes()
        )
        cloud.create_image('fake-guest', 'fake', b'nothing')

    def wait_for_hosts(self, timeout: float = 300.0) -> None:
        """Return when servers can be scheduled to every host that is on.

        :raises LabError: one does not report; the text names its log.
        """
        contents.Cloud(self._plan).wait_for_hosts(timeout)


def write_rc(plan: planning.Plan) -> None:
    """Write clouds.yaml, openrc and bin/ for use from an ordinary shell."""
    rc.write(plan)


def _placement_command(plan: planning.Plan) -> list[str]:
    config = _placement_config(plan)
    return [
        running.program('placement-manage'),
        f'--config-file={config}',
        'db',
        'sync',
    ]


def _glance_command(plan: planning.Plan) -> list[str]:
    config = _glance_config(plan)
    return [
        running.program('glance-manage'),
        f'--config-file={config}',
        'db_sync',
    ]


_ALEMBIC = ('SQLAlchemy', 'alembic', 'oslo.db')

for _one in (
    keystone_schema.SCHEMA,
    nova_schema.SCHEMA,
    database.Schema(
        'placement',
        ('placement',),
        _placement_command,
        ('openstack-placement', *_ALEMBIC),
    ),
    database.Schema(
        'glance', ('glance',), _glance_command, ('glance', *_ALEMBIC)
    ),
):
    database.schema(_one)
