# SPDX-License-Identifier: Apache-2.0

"""What a heartbeat costs, from ceilometer's sample to the liveness store."""

import argparse
from collections.abc import Callable
import logging
import pathlib
import tempfile
from urllib import parse

from ceilometer import sample
from oslo_config import cfg

from benchmarks import pairs
from ceilometer_pollsters import heartbeat
from ceilometer_pollsters import publisher
from nova_ha_plugins.conf import opts
from nova_ha_plugins.store import schema


def conf_of(directory: pathlib.Path, backend: str) -> cfg.ConfigOpts:
    """Return the configuration of a host with a store of its own."""
    path = directory / f'{backend}.conf'
    path.write_text(
        f'[nova_ha]\nliveness_backend = {backend}\n'
        '[nova_ha_database]\n'
        f'connection = sqlite:///{directory}/{backend}.sqlite\n'
    )
    conf = cfg.ConfigOpts()
    opts.register_plugin_opts(conf)
    conf(['--config-file', str(path)])
    schema.sync(conf)
    return conf


def beat(host: int, sequence: int) -> sample.Sample:
    """Return the sample that the pollster of a host makes."""
    name = f'cmp-{host:04}'
    return sample.Sample(
        name=heartbeat.METER,
        type=sample.TYPE_GAUGE,
        unit='heartbeat',
        volume=1,
        user_id=None,
        project_id=None,
        resource_id=name,
        timestamp='2026-01-01T00:00:00',
        resource_metadata={
            'host': name,
            'boot_id': f'00000000-0000-4000-8000-{host:012}',
            'sequence': sequence,
            'system_uuid': f'10000000-0000-4000-8000-{host:012}',
            'agent_pid': 1,
        },
    )


def writer(
    conf: cfg.ConfigOpts, hosts: int, together: int
) -> Callable[[], None]:
    """Return a function that publishes one heartbeat of every host."""
    target = publisher.LivenessPublisher(
        conf, parse.urlsplit('nova-ha-liveness://')
    )
    sequence = 0

    def publish() -> None:
        nonlocal sequence
        sequence += 1
        for begin in range(0, hosts, together):
            target.publish_samples(
                [beat(n, sequence) for n in range(begin, begin + together)]
            )

    return publish


def main() -> None:
    """Print the cost per 1,000 heartbeats, SQL beside memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--hosts', type=int, default=1000)
    hosts = parser.parse_args().hosts
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        stores = {b: conf_of(directory, b) for b in ('sql', 'memory')}
        for together in (1, 50):
            sql, memory, ratio = pairs.compare(
                writer(stores['sql'], hosts, together),
                writer(stores['memory'], hosts, together),
            )
            print(
                f'{together:3} per message: sql {sql * 1000 / hosts:.3f}, '
                f'memory {memory * 1000 / hosts:.3f} CPU-s per 1,000 '
                f'heartbeats; sql/memory {ratio:.1f}'
            )


if __name__ == '__main__':
    main()
