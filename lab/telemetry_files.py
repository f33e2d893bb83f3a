# SPDX-License-Identifier: Apache-2.0
"""What the telemetry services of a lab read: one file each, and YAML.

Heartbeats and events go to a notification agent of their own, which has only
our pipelines; what gnocchi keeps goes to a second one, whose pipeline is
ceilometer's own, merged with ours as the installation guide says. Of
definitions there are only ours: the others would be of use to nobody here,
and reading them takes an agent five seconds. Everything is in
``DIR/telemetry``, which is also the home of the services: there they look
for ``aodh.conf`` and ``gnocchi.conf``.
"""

import importlib.resources
import os
import pathlib
import threading
import typing

import yaml

from lab import database
from lab import engine
from lab import plan as planning

# Seconds until a measure can be read; nothing of HA waits for it.
PROCESSING_DELAY = 5

# Each cycle of each agent would be two lines at INFO.
LEVELS = (
    'amqp=WARN,ceilometer.polling.manager=WARN,futurist=INFO,'
    'keystoneauth=WARN,keystoneclient=INFO,keystonemiddleware=ERROR,'
    'oslo.messaging=INFO,oslo_messaging=INFO,sqlalchemy=WARN,'
    'oslo_db.sqlalchemy.utils=ERROR,stevedore=WARN,urllib3=WARN'
)

Pipeline = dict[str, list[dict[str, typing.Any]]]

# What only our own notification agent listens to, and what everybody's does.
HA_TOPIC, STOCK_TOPIC = 'nova_ha', 'notifications'
# How our meters begin, but those of servers that ceilometer knows already.
OURS = (
    'hypervisor.',
    'instance.state',
    'instance.disk.errors',
    'instance.agent.',
    'instance.monitor.',
    'instance_ha.',
)
# Seconds between two cycles of a source, by those of our file: a story does
# not wait for a minute. What is not here stays as it is.
INTERVALS = {
    'polling_ha.yaml': {2: engine.HEARTBEAT_INTERVAL},
    'polling_ha_host.yaml': {5: 2, 10: 5, 60: 3},
    'polling_ha_central.yaml': {10: 5, 60: 10},
}
# Seconds after which another watcher takes over from one that is gone.
MEMBERSHIP_TIMEOUT = 5


def write(plan: planning.Plan) -> None:
    """Write every file; the databases are there already."""
    plan.path('telemetry', 'pollsters.d').mkdir(exist_ok=True)
    for name in (
        'pipeline_ha.yaml',
        'event_pipeline_ha.yaml',
        'event_definitions.yaml',
        'gnocchi_resources_ha.yaml',
    ):
        _write_yaml(plan, name, _ours(name))
    # What ceilometer's own sink reads: there is no meter for it here.
    _write_yaml(plan, 'gnocchi_resources.yaml', {'resources': []})
    _write_yaml(
        plan,
        'pipeline.yaml',
        merged(_stock('pipeline.yaml'), _ours('pipeline_gnocchi_ha.yaml')),
    )
    write_polling(plan, 'polling_ha.yaml')
    write_polling(plan, 'polling_ha_central.yaml')
    _write_ini(plan, 'gnocchi.conf', gnocchi(plan))
    _write_ini(plan, 'aodh.conf', common(plan), aodh(plan))
    _write_ini(
        plan,
        'ceilometer-ha-notification.conf',
        common(plan),
        ours(plan),
        ha_notification(plan),
    )
    _write_ini(
        plan,
        'ceilometer-notification.conf',
        common(plan),
        notification(plan),
    )
    for number in (1, 2):
        _write_ini(
            plan,
            f'ceilometer-central-{number}.conf',
            common(plan),
            ours(plan),
            polling(plan, 'polling_ha_central.yaml'),
            central(plan, number),
        )


def write_host(plan: planning.Plan, host: planning.Host) -> pathlib.Path:
    """Write ceilometer.conf of the agent that is heard.

    Its identity is where it is on any machine: a host of the lab has files
    of its own there.
    """
    plan.path('telemetry', 'pollsters.d').mkdir(exist_ok=True)
    write_polling(plan, 'polling_ha.yaml')
    return _write_ini(
        plan,
        f'ceilometer-{host.name}.conf',
        *_hypervisor(plan, host, 'polling_ha.yaml', HA_TOPIC),
    )


def write_probes(plan: planning.Plan, host: planning.Host) -> pathlib.Path:
    """Write ceilometer.conf of the agent that looks at a host."""
    plan.path('telemetry', 'pollsters.d').mkdir(exist_ok=True)
    name = 'polling_ha_host.yaml'
    write_polling(plan, name)
    return _write_ini(
        plan,
        f'ceilometer-{host.name}-host.conf',
        *_hypervisor(plan, host, name, f'{HA_TOPIC},{STOCK_TOPIC}'),
        # Of what happens to servers; aodh shows it to the alarms of this one.
        {'nova_ha': {'project_id': engine.project_id(plan)}},
    )


def _hypervisor(
    plan: planning.Plan, host: planning.Host, name: str, topics: str
) -> tuple[engine.Groups, ...]:
    """Return what both agents of a host have; none knows a database."""
    own: engine.Groups = {
        # What nova-compute calls itself, also where the kernel says other.
        'DEFAULT': {'host': host.name},
        'oslo_messaging_notifications': {'topics': topics},
    }
    return common(plan), engine.SHARED, polling(plan, name), own


def _write_ini(
    plan: planning.Plan, name: str, *layers: engine.Groups
) -> pathlib.Path:
    return plan.write('telemetry', name, text=engine.ini(*layers))


def _write_yaml(plan: planning.Plan, name: str, content: object) -> None:
    """Write a file at once: an agent may be reading the last one."""
    turn = f'{os.getpid()}.{threading.get_ident()}'
    new = plan.path('telemetry', f'{name}.{turn}')
    new.write_text(yaml.safe_dump(content, sort_keys=False))
    new.replace(plan.path('telemetry', name))


def _ours(name: str) -> typing.Any:
    source = importlib.resources.files('ceilometer_pollsters') / 'data' / name
    return yaml.safe_load(source.read_text())


def _stock(name: str) -> Pipeline:
    source = importlib.resources.files('ceilometer.pipeline') / 'data' / name
    return yaml.safe_load(source.read_text())


def merged(stock: Pipeline, added: Pipeline) -> Pipeline:
    """Return both pipelines; what is ours goes to our sink alone."""
    for source in stock['sources']:
        if '*' in source['meters']:
            source['meters'] += [f'!{prefix}*' for prefix in OURS]
    return {key: [*stock[key], *added[key]] for key in stock}


def write_polling(plan: planning.Plan, name: str) -> None:
    """Write one of our polling files with the lab's intervals."""
    content = _ours(name)
    known = INTERVALS.get(name, {})
    for source in content['sources']:
        source['interval'] = known.get(source['interval'], source['interval'])
    _write_yaml(plan, name, content)


def common(plan: planning.Plan) -> engine.Groups:
    """Return what ceilometer's and aodh's files begin with."""
    return {
        'DEFAULT': {
            'transport_url': plan.transport_url,
            'use_stderr': 'true',
            'default_log_levels': LEVELS,
        },
        'oslo_messaging_rabbit': {
            # Goes with [nova_ha] reconnect_max.
            'rabbit_interval_max': '2',
            # Seconds until a connection that was cut is given up.
            'heartbeat_timeout_threshold': '10',
        },
    }


def ours(plan: planning.Plan) -> engine.Groups:
    """Return the groups that our plugins read beside the store."""
    return {
        'nova_ha_database': {'connection': plan.database_url(engine.DATABASE)},
        'nova_ha': {
            **engine.SHARED['nova_ha'],
            **plan.liveness_options,
            'project_id': engine.project_id(plan),
        },
    }


def central(plan: planning.Plan, number: int) -> engine.Groups:
    """Return what one of several watchers has for itself.

    MariaDB has no groups for tooz, and Redis is there only if it is wanted.
    """
    where = f'file://{plan.path("telemetry", "tooz")}?timeout='
    if plan.liveness == 'redis':
        where = f'{plan.redis_url}?membership_timeout='
    return {
        'DEFAULT': {'host': f'controller-{number}'},
        'coordination': {'backend_url': f'{where}{MEMBERSHIP_TIMEOUT}'},
        'oslo_messaging_notifications': {
            'topics': f'{HA_TOPIC},{STOCK_TOPIC}'
        },
    }


def polling(plan: planning.Plan, name: str) -> engine.Groups:
    """Return the groups of a polling agent; it asks no API."""
    return {
        'polling': {
            'cfg_file': str(plan.path('telemetry', name)),
            'pollsters_definitions_dirs': _nothing(plan),
        },
        'service_credentials': {'auth_type': 'none'},
    }


def _nothing(plan: planning.Plan) -> str:
    return str(plan.path('telemetry', 'pollsters.d'))


def notification(plan: planning.Plan) -> engine.Groups:
    """Return the groups of ceilometer's notification agent: graphs only."""
    directory = plan.path('telemetry')
    return {
        'DEFAULT': {'pipeline_cfg_file': f'{directory}/pipeline.yaml'},
        # Meters out of nova's notifications would take two seconds to load.
        'meter': {'meter_definitions_dirs': _nothing(plan)},
        'notification': {
            'notification_control_exchanges': 'ceilometer',
            'pipelines': 'meter',
        },
        'service_credentials': {
            **engine.login(plan, 'ceilometer'),
            'region_name': planning.REGION,
        },
    }


def ha_notification(plan: planning.Plan) -> engine.Groups:
    """Return the groups of our own notification agent; it knows no gnocchi."""
    directory = plan.path('telemetry')
    return {
        'DEFAULT': {
            'pipeline_cfg_file': f'{directory}/pipeline_ha.yaml',
            'event_pipeline_cfg_file': f'{directory}/event_pipeline_ha.yaml',
        },
        'event': {
            'definitions_cfg_file': f'{directory}/event_definitions.yaml',
            'drop_unmatched_notifications': 'true',
        },
        'meter': {'meter_definitions_dirs': _nothing(plan)},
        'notification': {'notification_control_exchanges': 'ceilometer'},
        'oslo_messaging_notifications': {'topics': HA_TOPIC},
        'service_credentials': {'auth_type': 'none'},
    }


def gnocchi(plan: planning.Plan) -> engine.Groups:
    """Return gnocchi.conf: small, and cheap while nothing happens."""
    return {
        'DEFAULT': {
            # Its own default is the indexer, which cannot share work out.
            'coordination_url': f'file://{gnocchi_data(plan)}/tooz',
            'parallel_operations': '1',
            'verbose': 'false',
        },
        'api': {'auth_mode': 'keystone'},
        **gnocchi_base(plan),
        'metricd': {
            'workers': '1',
            'metric_processing_delay': str(PROCESSING_DELAY),
            'metric_reporting_delay': '-1',
        },
        'keystone_authtoken': engine.authtoken(plan, 'gnocchi'),
    }


def gnocchi_data(plan: planning.Plan) -> pathlib.Path:
    """Return where gnocchi has its measures.

    Beside its database: both are made once, for many labs.
    """
    return database.directory(plan) / 'gnocchi'


def gnocchi_base(plan: planning.Plan) -> engine.Groups:
    """Return where gnocchi keeps things."""
    return {
        'indexer': {'url': plan.database_url('gnocchi')},
        'storage': {
            'driver': 'file',
            'file_basepath': str(gnocchi_data(plan)),
        },
    }


def aodh(plan: planning.Plan) -> engine.Groups:
    """Return the groups of aodh's API, listener, notifier and evaluator."""
    return {
        'DEFAULT': {
            # By default a new alarm is deaf for a minute.
            'event_alarm_cache_ttl': '0'
        },
        'api': {'auth_mode': 'keystone'},
        'database': {'connection': plan.database_url('aodh')},
        'evaluator': {'evaluation_interval': '5'},
        'keystone_authtoken': engine.authtoken(plan, 'aodh'),
        **ours(plan),
        'oslo_policy': {'enforce_scope': 'true'},
        'service_credentials': {
            **engine.login(plan, 'aodh'),
            'region_name': planning.REGION,
            'timeout': '10',
        },
    }
