# SPDX-License-Identifier: Apache-2.0
"""The engines of a lab: nova-ha.conf, the fencing map, nova-ha-engine.

Each engine has a controller of its own: a PID and a network namespace, a host
name, addresses. They share the files and the database, whose locks tell them
which of them acts (:mod:`lab.lease`).

All that differs from what an operator gets by default is in SETTINGS. A
change of one test is written over it and is gone with the next write.
"""

import collections.abc
from concurrent import futures
import configparser
import io
import os
import pathlib
import subprocess

import yaml

from lab import identity
from lab import lease
from lab import network
from lab import plan as planning
from lab import processes as running

PROGRAM = 'nova-ha-engine'
USER = 'nova-ha'
DATABASE = lease.DATABASE
BMC_USER = 'lab'
PROBE_PORT = 22

Groups = dict[str, dict[str, str]]

FIRST = planning.Engine(1)

# Seconds between two heartbeats.
HEARTBEAT_INTERVAL = 1

# Of every file that one of our plugins reads. A busy machine may let a
# process wait for seconds: a host must not look silent because of that.
SHARED: Groups = {
    'nova_ha': {
        'heartbeat_timeout': '6',
        'reemit_interval': '10',
        'reconnect_max': '2',
    },
}

# Of nova-ha.conf.
SETTINGS: Groups = {
    **SHARED,
    'engine': {
        'interval': '0.5',
        'warm_up': '6',
        'lease_ttl': '5',
        # Of [fencing] call_timeout.
        'take_over_quiet': '5',
        # Nova's API answers within a few seconds also on a busy machine.
        'unanswered_quiet': '15',
    },
    # Longer than a recovery takes, shorter than a person waits to run the
    # same story again.
    'gates': {
        'storm_window': '90',
        'storm_interval': '2',
        'storm_cooldown': '10',
        'healthy_delay': '5',
    },
    'fencing': {
        'verify_interval': '10',
        'call_timeout': '5',
        'timeout': '30',
    },
    'probe': {'timeout': '1'},
    'evacuation': {'retry_delay': '5'},
    # The lab's ceilometer listens to no other one.
    'progress': {'exchange': 'ceilometer'},
}


def ini(*layers: Groups) -> str:
    """Return a configuration file; what comes later wins."""
    parser = configparser.RawConfigParser(default_section='')
    # Names of options are as they are written.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    for groups in layers:
        parser.read_dict(groups)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def login(plan: planning.Plan, user: str) -> dict[str, str]:
    """Return how a service logs in to keystone, as options of a group."""
    return {'auth_type': 'password', **identity.credentials(plan, user)}


def authtoken(plan: planning.Plan, user: str) -> dict[str, str]:
    """Return the group [keystone_authtoken] of a service."""
    options = login(plan, user)
    return {
        **options,
        'www_authenticate_uri': options['auth_url'],
        'service_token_roles_required': 'true',
        'service_token_roles': 'service',
    }


def project_id(plan: planning.Plan) -> str:
    """Return the project that owns the event alarm: the engine's own."""
    return identity.project_id(plan, 'service')


def fencing_map(plan: planning.Plan) -> dict[str, dict[str, object]]:
    """Return the hosts of the fencing map."""
    password = plan.path('nova-ha', 'bmc-password')
    return {
        host.name: {
            'driver': 'redfish',
            'address': f'https://{host.bmc_address}',
            'system': f'/redfish/v1/Systems/{host.system_uuid}',
            'username': BMC_USER,
            'password_file': str(password),
            'verify': str(plan.path('bmc', 'ca.pem')),
            'probe': f'{host.address()}:{PROBE_PORT}',
            'networks': {'storage': f'{host.address("storage")}:{PROBE_PORT}'},
        }
        for host in plan.hosts
    }


def write_fencing(plan: planning.Plan) -> pathlib.Path:
    """Write the fencing map and the file with the BMCs' password."""
    plan.write('nova-ha', 'bmc-password', text=plan.passwords['bmc'])
    return plan.write(
        'nova-ha',
        'fencing.yaml',
        text=yaml.safe_dump({'hosts': fencing_map(plan)}, sort_keys=False),
    )


def conf_file(plan: planning.Plan) -> pathlib.Path:
    return plan.path('nova-ha', 'nova-ha.conf')


def write_conf(
    plan: planning.Plan,
    changes: collections.abc.Mapping[
        str, collections.abc.Mapping[str, object]
    ] = {},
) -> pathlib.Path:
    """Write nova-ha.conf; the engine reads it when it is started again.

    :param changes: options by group, over SETTINGS and for this time only.
    """
    base: Groups = {
        'DEFAULT': {
            'use_stderr': 'true',
            # What it tells about evacuations.
            'transport_url': plan.transport_url,
        },
        'nova_ha_database': {'connection': plan.database_url(DATABASE)},
        'nova_ha': {'project_id': project_id(plan), **plan.liveness_options},
        # Of evacuations; our own notification agent reads it.
        'oslo_messaging_notifications': {'topics': 'nova_ha'},
        'coordination': {'backend_url': plan.coordination_url(DATABASE)},
        'fencing': {'map_file': str(plan.path('nova-ha', 'fencing.yaml'))},
        'nova': {**login(plan, USER), 'region_name': planning.REGION},
        # Of the webhook.
        'keystone_authtoken': authtoken(plan, USER),
    }
    wanted = {
        group: {name: str(value) for name, value in options.items()}
        for group, options in changes.items()
    }
    return plan.write(
        'nova-ha', 'nova-ha.conf', text=ini(base, SETTINGS, wanted)
    )


def engines(plan: planning.Plan) -> list[planning.Engine]:
    """Return those that run when the lab has come up."""
    return [planning.Engine(n + 1) for n in range(plan.engines)]


def started(
    plan: planning.Plan, processes: running.Processes
) -> list[planning.Engine]:
    """Return every engine that was started and not stopped since."""
    return [
        plan.engine(name)
        for name in processes.names()
        if name.startswith(f'{PROGRAM}-')
    ]


def service(
    plan: planning.Plan,
    processes: running.Processes,
    engine: planning.Engine = FIRST,
    conf: pathlib.Path | None = None,
) -> running.Service:
    """Return an engine as one service of the lab.

    :param conf: another file than the one that all of them share.
    """
    return running.Service(
        engine.name,
        (
            running.program(PROGRAM),
            '--config-file',
            str(conf or conf_file(plan)),
        ),
        ready=lambda: running.connected(
            processes.pid(engine.name), planning.PORTS['mariadb']
        ),
        namespace=plan.engine_namespace(engine),
        hostname=engine.name,
    )


def start(
    plan: planning.Plan, processes: running.Processes, *which: planning.Engine
) -> None:
    """Start engines and return when each has read the store.

    :param which: by default those that a lab has when it comes up.
    """
    chosen = which or engines(plan)
    for engine in chosen:
        network.add_engine(plan, engine)
    processes.start_all([service(plan, processes, each) for each in chosen])


def stop(
    plan: planning.Plan, processes: running.Processes, *which: planning.Engine
) -> None:
    """Ask engines to end and return when they have.

    :param which: by default all there are.
    """
    names = [each.name for each in which or started(plan, processes)]
    with futures.ThreadPoolExecutor(max(1, len(names))) as pool:
        list(pool.map(processes.stop, names))


def kill(
    plan: planning.Plan,
    processes: running.Processes,
    engine: planning.Engine = FIRST,
) -> None:
    """End an engine in the middle of whatever it does."""
    processes.kill(engine.name)


def run(
    plan: planning.Plan,
    command: collections.abc.Sequence[str],
    environment: collections.abc.Mapping[str, str] = {},
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command in the control namespace and return what it said.

    :raises LabError: it failed, and check is true.
    """
    done = subprocess.run(
        running.inside(plan.namespace, *command),
        env={**running.environment(), **environment},
        cwd=plan.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise planning.LabError(
            f"'{os.path.basename(command[0])} {' '.join(command[1:])}' ended "
            f'with {done.returncode}, expected 0: {said}'
        )
    return done
