# SPDX-License-Identifier: Apache-2.0
"""What the telemetry services of a lab read: one file each, and YAML.

The pipeline is ceilometer's own, merged with ours as the installation guide
says. Of definitions there are only ours: the others would be of use to
nobody here, and reading them takes the notification agent five seconds.
Everything is in ``DIR/telemetry``, which is also the home of the services:
there they look for ``aodh.conf`` and ``gnocchi.conf``.
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


def write(plan: planning.Plan) -> None:
    """Write every file; the databases are there already."""
    plan.path('telemetry', 'pollsters.d').mkdir(exist_ok=True)
    for name in (
        'event_pipeline.yaml',
        'event_definitions.yaml',
        'gnocchi_resources.yaml',
    ):
        _write_yaml(plan, name, _ours(name))
    name = 'pipeline.yaml'
    _write_yaml(plan, name, merged(_stock(name), _ours(name)))
    write_polling(plan, 'polling_ha.yaml', engine.HEARTBEAT_INTERVAL)
    write_polling(plan, 'polling_ha_central.yaml', engine.WATCH_INTERVAL)
    _write_ini(plan, 'gnocchi.conf', gnocchi(plan))
    _write_ini(plan, 'aodh.conf', common(plan), aodh(plan))
    _write_ini(
        plan,
        'ceilometer-notification.conf',
        common(plan),
        notification(plan),
    )
    _write_ini(
        plan,
        'ceilometer-central.conf',
        common(plan),
        ours(plan),
        polling(plan, 'polling_ha_central.yaml'),
    )


def write_host(plan: planning.Plan, host: planning.Host) -> pathlib.Path:
    """Write ceilometer.conf of a host's agent.

    Its identity is where it is on any machine: a host of the lab has files
    of its own there.
    """
    plan.path('telemetry', 'pollsters.d').mkdir(exist_ok=True)
    write_polling(plan, 'polling_ha.yaml', engine.HEARTBEAT_INTERVAL)
    own: engine.Groups = {
        # What nova-compute calls itself, also where the kernel says other.
        'DEFAULT': {'host': host.name},
    }
    return plan.write(
        'telemetry',
        f'ceilometer-{host.name}.conf',
        text=engine.ini(
            common(plan),
            engine.SHARED,
            polling(plan, 'polling_ha.yaml'),
            own,
        ),
    )


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
    """Return both pipelines, in which gnocchi gets no heartbeats."""
    for source in stock['sources']:
        if '*' in source['meters']:
            source['meters'].append('!hypervisor.heartbeat')
    return {key: [*stock[key], *added[key]] for key in stock}


def write_polling(plan: planning.Plan, name: str, interval: int) -> None:
    """Write one of our polling files with the lab's interval."""
    content = _ours(name)
    for source in content['sources']:
        source['interval'] = interval
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
            'project_id': engine.project_id(plan),
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
    """Return the groups of ceilometer's notification agent."""
    directory = plan.path('telemetry')
    return {
        'DEFAULT': {
            'pipeline_cfg_file': f'{directory}/pipeline.yaml',
            'event_pipeline_cfg_file': f'{directory}/event_pipeline.yaml',
        },
        'nova_ha_database': {'connection': plan.database_url(engine.DATABASE)},
        'event': {
            'definitions_cfg_file': f'{directory}/event_definitions.yaml',
            'drop_unmatched_notifications': 'true',
        },
        # Meters out of nova's notifications would take two seconds to load.
        'meter': {'meter_definitions_dirs': _nothing(plan)},
        'notification': {'notification_control_exchanges': 'ceilometer'},
        'service_credentials': {
            **engine.login(plan, 'ceilometer'),
            'region_name': planning.REGION,
        },
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
        'evaluator': {'evaluation_interval': '10'},
        'keystone_authtoken': engine.authtoken(plan, 'aodh'),
        'nova_ha_database': {'connection': plan.database_url(engine.DATABASE)},
        'oslo_policy': {'enforce_scope': 'true'},
        'service_credentials': {
            **engine.login(plan, 'aodh'),
            'region_name': planning.REGION,
            'timeout': '10',
        },
    }
