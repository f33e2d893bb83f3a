# SPDX-License-Identifier: Apache-2.0

"""One receiver of heartbeats, measured in a process of its own.

It does what ceilometer's notification agent does with a message that the
broker gave it: ceilometer's own endpoint, pipeline and publishers, called by
several threads. Told what to do by one line of JSON, says one line of JSON.
"""

import concurrent.futures
import json
import logging
import pathlib
import resource
import sys
import tempfile
import time
from typing import Any
import uuid

from ceilometer import service as ceilometer
from ceilometer.telemetry import notifications
import yaml

from nova_ha_plugins.conf import opts
from nova_ha_plugins import signatures
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import schema
from nova_ha_plugins.store import values

MASTER = signatures.Key('bench', b'm' * 32)
# As many as ceilometer's agent has at work under such a load, or more.
THREADS = 8


def message(host: int, sequence: int, signed: bool = False) -> dict[str, Any]:
    """Return what the polling agent of a host sends."""
    name = f'cmp-{host:05}'
    one = values.Heard(
        host=name,
        boot_id=f'00000000-0000-4000-8000-{host:012}',
        sequence=sequence,
        system_uuid=f'10000000-0000-4000-8000-{host:012}',
    )
    metadata = {
        'host': one.host,
        'boot_id': one.boot_id,
        'sequence': str(one.sequence),
        'system_uuid': one.system_uuid,
        'agent_pid': 1,
    }
    if signed:
        key = signatures.derive(MASTER, name)
        metadata['key_id'] = key.id
        metadata['signature'] = signatures.sign(key, one)
    return {
        'event_type': 'telemetry.polling',
        'payload': {
            'samples': [
                {
                    'counter_name': 'hypervisor.heartbeat',
                    'counter_type': 'gauge',
                    'counter_unit': 'heartbeat',
                    'counter_volume': 1,
                    'user_id': None,
                    'project_id': None,
                    'resource_id': str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
                    'timestamp': f'2026-01-01T00:{sequence % 60:02}:00',
                    'resource_metadata': metadata,
                    'source': 'openstack',
                    'message_id': uuid.uuid4().hex,
                }
            ]
        },
    }


def endpoint_of(
    directory: pathlib.Path, publisher: str, options: dict[str, dict[str, str]]
) -> tuple[Any, Any]:
    """Return ceilometer's endpoint before one publisher, and its conf."""
    pipeline = {
        'sources': [
            {'name': 's', 'meters': ['hypervisor.heartbeat'], 'sinks': ['k']}
        ],
        'sinks': [{'name': 'k', 'publishers': [publisher]}],
    }
    (directory / 'pipeline.yaml').write_text(yaml.safe_dump(pipeline))
    (directory / 'masters').write_text(
        f'{MASTER.id} {MASTER.secret.decode()}\n'
    )
    lines = [
        '[DEFAULT]',
        f'pipeline_cfg_file = {directory}/pipeline.yaml',
        # One connection each; more wait for the same interpreter.
        'max_parallel_requests = 1',
    ]
    for group, listed in options.items():
        lines.append(f'[{group}]')
        lines += [f'{name} = {value}' for name, value in listed.items()]
    (directory / 'ceilometer.conf').write_text('\n'.join(lines) + '\n')
    conf = ceilometer.prepare_service(
        argv=['bench'], config_files=[str(directory / 'ceilometer.conf')]
    )
    logging.disable(logging.WARNING)
    opts.register_plugin_opts(conf)
    if conf.nova_ha_database.connection:
        schema.sync(conf)
    # Imported late: it registers options when it is loaded.
    from ceilometer.pipeline import sample as pipelines

    manager = pipelines.SamplePipelineManager(conf)
    return notifications.TelemetryIpc(conf, manager.publisher()), conf


def rounds(told: dict[str, Any], endpoint: Any) -> tuple[float, float]:
    """Return CPU and wall seconds of the rounds after the first."""
    hosts, interval = told['hosts'], told['interval']

    def one(host: int, sequence: int) -> None:
        endpoint.sample([messages[sequence][host]])

    messages = [
        [message(host, number, told['signed']) for host in range(hosts)]
        for number in range(told['rounds'] + 1)
    ]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for sequence in range(told['rounds'] + 1):
            if sequence == 1:
                # The first makes rows, connections, resources.
                print('measure', flush=True)
                sys.stdin.readline()
                cpu, wall = time.process_time(), time.monotonic()
            done = []
            for host in range(hosts):
                done.append(pool.submit(one, host, sequence))
                if interval and host % 20 == 19:
                    due = wall_of(sequence, host, told) if sequence else 0
                    pause = (wall + due - time.monotonic()) if sequence else 0
                    if pause > 0:
                        time.sleep(pause)
            concurrent.futures.wait(done)
            for each in done:
                each.result()
    return time.process_time() - cpu, time.monotonic() - wall


def wall_of(sequence: int, host: int, told: dict[str, Any]) -> float:
    """Return when a heartbeat is due, in seconds from the first."""
    share = (host + 1) / told['hosts']
    return float((sequence - 1 + share) * told['interval'])


def main() -> None:
    """Do what the first line says, and say what it cost."""
    told = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory() as name:
        endpoint, conf = endpoint_of(
            pathlib.Path(name), told['publisher'], told['options']
        )
        cpu, wall = rounds(told, endpoint)
        stored = 0
        if told['publisher'].startswith('nova-ha'):
            stored = len(liveness.open_liveness(conf).read())
    beats = told['hosts'] * told['rounds']
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                'cpu': cpu * 1000 / beats,
                'wall': wall,
                'rate': beats / wall,
                'rss_mb': usage.ru_maxrss / 1024,
                'stored': stored,
            }
        ),
        flush=True,
    )
    sys.stdin.readline()


if __name__ == '__main__':
    main()
