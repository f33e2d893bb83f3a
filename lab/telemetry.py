# SPDX-License-Identifier: Apache-2.0
"""Telemetry and alarming of a lab, and what of ours lives on them.

Real gnocchi, ceilometer and aodh with one worker each, our watcher, our
webhook, our engine. They need MariaDB, RabbitMQ and keystone to answer.
"""

import collections.abc
import sys

from lab import database
from lab.embedded import plan as embedded
from lab import engine
from lab import identity
from lab import plan as planning
from lab import processes as running
from lab import redis
from lab import telemetry_files
from lab import wsgi

ALARM, DEAD_MAN = 'ha-host-down', 'ha-dead-man'
# Seconds without an engine or a watcher until the second one is raised.
DEAD_AFTER = '10'
# Two, so that one may end.
WATCHERS = ('ceilometer-central-1', 'ceilometer-central-2')
# Ours, and the one that every cloud has: a gnocchi that hangs stops only the
# second.
HA_NOTIFICATION = 'ceilometer-ha-notification'
NOTIFICATION = 'ceilometer-notification'


class Telemetry:
    """Everything between a heartbeat and the engine.

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
        """Bring everything to answering; the engine observes."""
        plan, processes = self._plan, self._processes
        self._say('Telemetry and alarms')
        self.write_files()
        if plan.liveness == 'redis':
            processes.start_all([redis.service(plan)])
        api, *others = apis(plan)
        processes.start(api)
        needed = [
            notification(plan, processes, HA_NOTIFICATION),
            notification(plan, processes, NOTIFICATION),
            *(watcher(plan, processes, name) for name in WATCHERS),
            daemon(plan, processes, 'aodh-listener'),
            daemon(plan, processes, 'aodh-notifier'),
            *(
                engine.service(plan, processes, each)
                for each in engine.engines(plan)
            ),
            *others,
        ]
        for service in needed:
            processes.start(service)
        processes.wait(api)
        create_alarms(plan)
        for service in needed:
            processes.wait(service)
        # Nobody waits for graphs, and there is no alarm upon them.
        processes.start(metricd(plan))
        processes.start(daemon(plan, processes, 'aodh-evaluator'))

    def start_again(self) -> None:
        """Have whoever keeps or reads heartbeats do it as the plan says.

        The engines are not among them: they are started by themselves.
        """
        plan, processes = self._plan, self._processes
        self.write_files()
        services = [
            notification(plan, processes, HA_NOTIFICATION),
            *(watcher(plan, processes, name) for name in WATCHERS),
            daemon(plan, processes, 'aodh-evaluator'),
        ]
        for service in services:
            processes.stop(service.name)
        if plan.liveness == 'redis':
            services.insert(0, redis.service(plan))
        else:
            processes.stop(redis.NAME)
        processes.start_all(services)

    def write_files(self) -> None:
        """Write what the services read; the databases are there already."""
        engine.write_conf(self._plan)
        engine.write_fencing(self._plan)
        telemetry_files.write(self._plan)


def polling_conf(
    plan: planning.Plan, host: planning.Host, probes: bool = False
) -> str:
    """Return ceilometer.conf for a host's ``ceilometer-polling``.

    :param probes: of the one that looks at the host, not of the one that is
        heard.
    """
    if probes:
        return str(telemetry_files.write_probes(plan, host))
    return str(telemetry_files.write_host(plan, host))


def apis(plan: planning.Plan) -> list[running.Service]:
    """Return aodh's and gnocchi's API and our webhook."""
    home = {
        # Where they look for gnocchi.conf and aodh.conf, and keystone's
        # middleware does.
        'HOME': str(plan.path('telemetry')),
        # Of all entry points; to collect them takes a second.
        'XDG_CACHE_HOME': str(embedded.default_cache().parent),
    }
    webhook = {'NOVA_HA_CONFIG': str(engine.conf_file(plan))}
    return [
        wsgi.service(
            'aodh-api', 'aodh.wsgi.api:application', home, port_name='aodh'
        ),
        wsgi.service(
            'gnocchi-api',
            'gnocchi.rest.wsgi:application',
            home,
            port_name='gnocchi',
        ),
        wsgi.service('webhook', 'aodh_actions.wsgi:application', webhook),
    ]


def daemon(
    plan: planning.Plan, processes: running.Processes, name: str
) -> running.Service:
    """Return one of aodh's services; it is ready when it has connected."""
    return running.Service(
        name,
        (
            running.program(name),
            '--config-file',
            str(plan.path('telemetry', 'aodh.conf')),
        ),
        ready=lambda: running.connected(
            processes.pid(name), planning.PORTS['rabbitmq']
        ),
    )


def notification(
    plan: planning.Plan, processes: running.Processes, name: str
) -> running.Service:
    """Return an agent that passes on what the others tell."""
    return running.Service(
        name,
        (
            running.program('ceilometer-agent-notification'),
            '--config-file',
            str(plan.path('telemetry', f'{name}.conf')),
        ),
        ready=lambda: running.connected(
            processes.pid(name), planning.PORTS['rabbitmq']
        ),
    )


def watcher(
    plan: planning.Plan, processes: running.Processes, name: str
) -> running.Service:
    """Return an agent that may watch.

    One of them does, and its first look is a query of the store; the others
    wait for it to end.
    """
    store = planning.PORTS['redis' if plan.liveness == 'redis' else 'mariadb']
    return running.Service(
        name,
        (
            running.program('ceilometer-polling'),
            '--polling-namespaces',
            'ha_central',
            '--config-file',
            str(plan.path('telemetry', f'{name}.conf')),
        ),
        ready=lambda: any(
            running.connected(processes.pid(each), store) for each in WATCHERS
        ),
    )


def metricd(plan: planning.Plan) -> running.Service:
    """Return what turns gnocchi's new measures into readable ones."""
    return running.Service(
        'gnocchi-metricd',
        (
            running.program('gnocchi-metricd'),
            '--config-file',
            str(plan.path('telemetry', 'gnocchi.conf')),
        ),
    )


def create_alarms(plan: planning.Plan) -> None:
    """Create the alarms that are recommended, as the guide tells to."""
    auth = identity.credentials(plan, engine.USER)
    environment = {f'OS_{name.upper()}': value for name, value in auth.items()}
    environment['OS_AUTH_TYPE'] = 'password'
    environment['OS_REGION_NAME'] = planning.REGION
    engine.run(
        plan,
        [
            running.program('openstack'),
            *('ha', 'alarms', 'create'),
            *('--ha-project', engine.project_id(plan)),
            *('--dead-after', DEAD_AFTER),
        ],
        environment,
    )


def _gnocchi_command(plan: planning.Plan) -> list[str]:
    groups = telemetry_files.gnocchi_base(plan)
    conf = _schema_conf(plan, 'gnocchi', groups)
    return [sys.executable, '-m', 'lab.gnocchi_schema', conf]


def _aodh_command(plan: planning.Plan) -> list[str]:
    groups = {'database': {'connection': plan.database_url('aodh')}}
    conf = _schema_conf(plan, 'aodh', groups)
    return [running.program('aodh-dbsync'), '--config-file', conf]


def _store_command(plan: planning.Plan) -> list[str]:
    url = plan.database_url(engine.DATABASE)
    groups = {'nova_ha_database': {'connection': url}}
    conf = _schema_conf(plan, engine.DATABASE, groups)
    program = running.program('nova-ha-manage')
    return [program, '--config-file', conf, 'db', 'sync']


def _schema_conf(plan: planning.Plan, name: str, groups: engine.Groups) -> str:
    """Write the configuration of a command that needs nothing but MariaDB."""
    path = plan.write(
        'telemetry', 'schema', f'{name}.conf', text=engine.ini(groups)
    )
    return str(path)


_ALEMBIC = ('SQLAlchemy', 'alembic', 'oslo.db')

for _one in (
    database.Schema(
        'gnocchi',
        ('gnocchi',),
        _gnocchi_command,
        ('gnocchi', 'ceilometer', *_ALEMBIC),
        (planning.ROOT / 'lab' / 'gnocchi_schema.py',),
    ),
    database.Schema('aodh', ('aodh',), _aodh_command, ('aodh', *_ALEMBIC)),
    database.Schema(
        engine.DATABASE,
        (engine.DATABASE,),
        _store_command,
        _ALEMBIC,
        (planning.ROOT / 'nova_ha_plugins' / 'store',),
    ),
):
    database.schema(_one)
