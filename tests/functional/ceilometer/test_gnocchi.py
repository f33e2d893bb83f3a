# SPDX-License-Identifier: Apache-2.0

"""Our meters in a real gnocchi, through ceilometer's own publisher."""

import datetime
import logging
import pathlib
import tempfile
import threading
import types
import unittest
from unittest import mock
import uuid

from ceilometer import gnocchi_client
from ceilometer.publisher import gnocchi as publisher
from ceilometer import sample
from ceilometer import service as ceilometer
from keystoneauth1 import adapter
from keystoneauth1 import loading
from keystoneauth1 import session
from oslo_utils import netutils
import sqlalchemy

from ceilometer_pollsters import meters as table
from ceilometer_pollsters import service_levels
from nova_ha_plugins.client import meters
from tests import servers

DATA = pathlib.Path(table.__file__).parent / 'data'

# As with keystone, but that everybody is who he says he is.
CONF = """\
[DEFAULT]
max_parallel_requests = 1
[service_credentials]
auth_type = gnocchi-basic
user = admin
endpoint = {url}
"""
GNOCCHI = """\
[DEFAULT]
coordination_url = file://{directory}/tooz
[api]
auth_mode = basic
[indexer]
url = {url}
[storage]
driver = file
file_basepath = {directory}
"""
PUBLISHER = (
    'gnocchi://?enable_filter_project=false&resources_definition_file='
    f'{DATA / "gnocchi_resources_ha.yaml"}'
)
# What a resource of a type cannot be without.
NEEDED = {
    table.SERVER: {
        'instance_host': 'cmp-1',
        'display_name': 'web',
        'flavor_id': '1',
        'flavor_name': 'small',
    },
    table.DISK: {'device': '/instances'},
    table.INTERFACE: {'device': 'eno1'},
}


def database():
    """Return the URL of an empty database, '' where there is no server."""
    url = servers.postgresql() or servers.mariadb()
    if not url:
        return ''
    engine = sqlalchemy.create_engine(url, isolation_level='AUTOCOMMIT')
    name = f'gnocchi_{uuid.uuid4().hex[:12]}'
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f'CREATE DATABASE {name}'))
    engine.dispose()
    made = sqlalchemy.engine.make_url(url).set(database=name)
    if made.drivername.startswith('postgresql'):
        # Gnocchi knows it by this name only.
        made = made.set(drivername='postgresql')
    return made.render_as_string(hide_password=False)


class Gnocchi:
    """Gnocchi's API in this process, with files, on loopback."""

    def __init__(self, directory, url):
        # Several seconds of imports, which only this needs.
        from gnocchi import incoming
        from gnocchi import indexer
        from gnocchi.rest import app
        from gnocchi import service
        from gnocchi import storage
        import waitress

        conf_file = pathlib.Path(directory, 'gnocchi.conf')
        conf_file.write_text(GNOCCHI.format(directory=directory, url=url))
        conf = service.prepare_service(
            args=[],
            default_config_files=[str(conf_file)],
            logging_level=logging.WARNING,
        )
        logging.getLogger('alembic').setLevel(logging.WARNING)
        indexer.get_driver(conf).upgrade()
        storage.get_driver(conf).upgrade()
        incoming.get_driver(conf).upgrade(1)
        self._server = waitress.create_server(
            app.load_app(conf), host='127.0.0.1', port=0, threads=2
        )
        self.url = f'http://127.0.0.1:{self._server.effective_port}'
        threading.Thread(target=self._server.run, daemon=True).start()

    def close(self):
        self._server.close()


class TestGnocchi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        url = database()
        if not url:
            raise unittest.SkipTest('no PostgreSQL and no MariaDB is here')
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        gnocchi = Gnocchi(directory.name, url)
        cls.addClassCleanup(gnocchi.close)
        conf_file = pathlib.Path(directory.name, 'ceilometer.conf')
        conf_file.write_text(CONF.format(url=gnocchi.url))
        cls.conf = ceilometer.prepare_service(
            argv=['test'], config_files=[str(conf_file)]
        )
        auth = loading.get_plugin_loader('gnocchi-basic').load_from_options(
            user='admin', endpoint=gnocchi.url
        )
        cls.session = session.Session(auth=auth)
        cls.api = adapter.Adapter(cls.session, service_type='metric')
        gnocchi_client.upgrade_resource_types(cls.conf)
        cls.outcomes = [
            cls.command(*words) for words in (['--dry-run'], [], [])
        ]

    @classmethod
    def command(cls, *words):
        manager = types.SimpleNamespace(
            session=cls.session, interface=None, region_name=None
        )
        app = mock.Mock(client_manager=manager)
        command = meters.CreateMeters(app, None)
        parsed = command.get_parser('it').parse_args(words)
        _, rows = command.take_action(parsed)
        return {(kind, name): result for kind, name, result, _ in rows}

    def get(self, path, **query):
        return self.api.get(f'/v1/{path}', params=query).json()

    def send(self, samples):
        # The address is a URL as ceilometer reads it from a pipeline.
        sender = publisher.GnocchiPublisher(
            self.conf, netutils.urlsplit(PUBLISHER)
        )
        with self.assertNoLogs(publisher.__name__, 'WARNING'):
            sender.publish_samples(samples)

    def test_command_can_be_repeated_and_says_what_it_did(self):
        dry, first, second = self.outcomes

        self.assertEqual(dry, first)
        self.assertEqual('changed', first['resource type', 'nova_compute'])
        self.assertEqual('unchanged', first['resource type', 'host_disk'])
        self.assertEqual('created', first['archive policy', 'nova-ha-up'])
        self.assertEqual(set(first), set(second))
        self.assertEqual({'unchanged'}, set(second.values()))

    def test_every_meter_is_kept(self):
        rows = [m for m in table.METERS if m.name != 'hypervisor.heartbeat']
        ids = {kind: str(uuid.uuid4()) for kind in {m.resource for m in rows}}
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        self.send(
            [
                sample.Sample(
                    name=row.name,
                    type=str(row.kind),
                    unit=row.unit,
                    volume=7,
                    user_id=None,
                    project_id=None,
                    resource_id=ids[row.resource],
                    timestamp=now.isoformat(),
                    resource_metadata={
                        'host': 'cmp-1',
                        **NEEDED.get(row.resource, {}),
                    },
                )
                for row in rows
            ]
        )

        for kind, found in ids.items():
            resource = self.get(f'resource/{kind}/{found}')
            self.assertEqual(
                {row.name for row in rows if row.resource == kind},
                set(resource['metrics']),
            )
            for name, metric in resource['metrics'].items():
                self.assertKept(name, metric)
        host = self.get(f'resource/nova_compute/{ids["nova_compute"]}')
        self.assertEqual('cmp-1', host['host_name'])

    def test_a_recovery_that_is_told_again_and_late_counts_once(self):
        """Two of one day; the agent that tells was away, and restarted."""
        name, host = 'instance_ha.recovery.fence', str(uuid.uuid4())
        day = datetime.datetime(2026, 11, 20)
        first, second = (
            service_levels.EndedSample(
                name=name,
                type='gauge',
                unit='s',
                volume=volume,
                user_id=None,
                project_id=None,
                resource_id=host,
                timestamp=(day + datetime.timedelta(hours=hour)).isoformat(),
                resource_metadata={'host': 'cmp-9'},
            )
            for hour, volume in ((3, 9.0), (20, 31.0))
        )
        metric = ''
        for told in ([first], [first], [first, second], [first, second]):
            self.send(told)
            resource = self.get(f'resource/nova_compute/{host}')
            metric = resource['metrics'][name]
            # Computed between two messages, as metricd does.
            self.get(f'metric/{metric}/measures', refresh='true')

        for method, value in (('count', 2), ('max', 31), ('mean', 20)):
            measures = self.get(
                f'metric/{metric}/measures',
                aggregation=method,
                granularity='86400',
            )
            self.assertEqual([value], [point[2] for point in measures])

    def assertKept(self, name, metric):
        found = self.get(f'metric/{metric}')
        self.assertTrue(
            found['archive_policy']['name'].startswith('nova-ha-'), name
        )
        (row,) = (m for m in table.METERS if m.name == name)
        self.assertEqual(row.unit, found['unit'], name)
        for method, value in (('last', 7), ('max', 7), ('count', 1)):
            measures = self.get(
                f'metric/{metric}/measures',
                aggregation=method,
                refresh='true',
            )
            self.assertEqual(
                {value}, {point[2] for point in measures}, f'{name} {method}'
            )

    def test_what_an_operator_keeps_for_longer_stays_so(self):
        name = 'nova-ha-sensor'
        for timespan, result in (('30 days', 'unchanged'), (60, 'changed')):
            self.api.patch(
                f'/v1/archive_policy/{name}',
                json={
                    'definition': [
                        {'granularity': 60, 'timespan': timespan},
                        {'granularity': 3600, 'timespan': '365 days'},
                    ]
                },
            )

            self.assertEqual(result, self.command()['archive policy', name])
        kept = {
            item['granularity']: item['timespan']
            for item in self.get(f'archive_policy/{name}')['definition']
        }
        self.assertEqual(
            {'0:01:00': '7 days, 0:00:00', '1:00:00': '365 days, 0:00:00'},
            kept,
        )
