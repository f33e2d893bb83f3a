# SPDX-License-Identifier: Apache-2.0

"""An engine goes on with the database that the release before has left.

Its schema is that of revision 0001; its documents are those that are kept in
tests/unit/objects/documents, one incident per phase.

====  =====================================================================
Row   Test
====  =====================================================================
F39   all
====  =====================================================================
"""

import copy
import json
import pathlib
import time
import unittest
import uuid

from alembic import command
import sqlalchemy as sa
import testtools

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import database
from nova_ha_plugins.store import schema
from tests.functional.engine import bench
from tests.functional.engines import fleet

DOCUMENTS = bench.ROOT / 'tests' / 'unit' / 'objects' / 'documents'
DATA = 'nova_ha_object.data'

# What differs from the kept document, by phase; the truth of the host is
# that it hangs where nothing was switched off yet, and that it is off where
# something was.
PHASES = {
    'suspected': {'fence': None, 'listed': False, 'servers': []},
    'held': {
        'fence': None,
        'listed': False,
        'servers': [],
        'code': 'storm',
        'reason': '3 of 4 hosts failed within 10 minutes',
    },
    'fencing': {'fence': 'intended', 'listed': False, 'servers': []},
    'needs-operator': {
        'fence': 'intended',
        'listed': False,
        'servers': [],
        'code': 'power-unread',
        'reason': 'its device did not answer',
    },
    'containing': {'listed': False, 'servers': []},
    'evacuating': {'forced_down': 'done', 'disabled': 'done'},
    'recovered': {
        'forced_down': 'done',
        'disabled': 'done',
        'outcome': 'resolved',
        'servers': [],
    },
}
HUNG = ('suspected', 'held', 'fencing')
LIVING = 8


def read(name, version):
    path = pathlib.Path(DOCUMENTS / f'{name}-{version}.json')
    return json.loads(path.read_text())


class Host:
    """One host of the old database and what was stored of it."""

    def __init__(self, number, phase, version):
        self.name = f'cmp-{number}'
        self.phase = phase
        self.version = version
        self.service_uuid = str(uuid.uuid4())
        self.system_uuid = str(uuid.uuid4())
        self.incident_uuid = str(uuid.uuid4())

    def record(self):
        document = read('HaHostRecord', '1.0')
        document[DATA].update(
            host=self.name,
            service_uuid=self.service_uuid,
            system_uuid=self.system_uuid,
            bmc_uuid=self.system_uuid,
            map_state='verified',
            zone='nova',
        )
        return document

    def incident(self, servers):
        document = read('HaIncident', self.version)
        data = document[DATA]
        (template, *_) = data['servers']
        changes = dict(PHASES[self.phase])
        data.update(
            uuid=self.incident_uuid,
            host=self.name,
            service_uuid=self.service_uuid,
            epoch=1,
            phase=self.phase,
            code='',
            reason='',
            next_look_at=None,
            expected_system_uuid=self.system_uuid,
            forced_down='none',
            disabled='none',
            outcome='',
            silent_probes=0,
            generation=3,
        )
        fence = data['fence'][DATA]
        fence.update(epoch=1, system_uuid=self.system_uuid, beat_mark=None)
        if changes.get('fence') == 'intended':
            fence.update(
                state='intended',
                intended_at=time.time(),
                calls=0,
                called_at=None,
                power='unknown',
                confirmed_at=None,
                evidence_class=None,
                system_uuid='',
            )
            del changes['fence']
        if 'servers' not in changes:
            data['servers'] = [
                self._server(template, server) for server in servers
            ]
        data.update(changes)
        return document

    @staticmethod
    def _server(template, server):
        found = copy.deepcopy(template)
        found[DATA].update(
            uuid=server,
            protected=True,
            state='ready',
            code='policy-evacuate',
            attempts=0,
            waits=0,
            baseline=None,
            migration_uuid=None,
            destination=None,
            intended_at=None,
            answered=False,
            finished_at=None,
            retry_at=None,
        )
        return found


class OldFleet(fleet.Fleet):
    """A fleet on a database that the release before has left."""

    def __init__(self, found):
        self.old = [
            Host(number, phase, ('1.0', '1.1')[number % 2])
            for number, phase in enumerate(PHASES, 1)
        ]
        super().__init__(found, hosts=len(self.old) + LIVING)

    def write_conf(self, changes=()):
        super().write_conf(changes)
        if hasattr(self, 'servers'):
            return
        self.servers = {}
        for host in self.old:
            self._prepare(host)
        self._write_old()

    def _prepare(self, host):
        machine = self.machine(host.name)
        machine.system_uuid = machine.identity = host.system_uuid
        self.cloud.services[host.name]['id'] = host.service_uuid
        machine.hang()
        if host.phase not in HUNG:
            machine.power = False
        self.servers[host.phase] = (
            [self.cloud.add_server(host.name, f'of-{host.phase}')]
            if host.phase != 'recovered'
            else []
        )
        self.cloud.services[host.name]['state'] = 'down'
        if host.phase in ('evacuating', 'recovered'):
            self.cloud.services[host.name].update(
                forced_down=True,
                status='disabled',
                # As the release before wrote it.
                disabled_reason=f'nova-ha: incident {host.incident_uuid}',
            )

    def _write_old(self):
        conf = bench.config.load((), [str(self.conf_file)])
        db = database.Database(conf)
        config = schema._config()

        def work(connection):
            config.attributes['connection'] = connection
            command.upgrade(config, '0001')
            tables = sa.MetaData()
            tables.reflect(connection)
            for host in self.old:
                self._insert(db, connection, tables.tables, host)

        db.write(work)
        db.engine.dispose()
        self.before = schema.state(conf)

    def _insert(self, db, connection, tables, host):
        document = host.incident(self.servers[host.phase])
        connection.execute(
            tables['incidents']
            .insert()
            .values(
                uuid=host.incident_uuid,
                host=host.name,
                epoch=1,
                phase=host.phase,
                open_key=host.name,
                opened_at=1000.0,
                closed_at=None,
                generation=3,
                document=json.dumps(document),
            )
        )
        connection.execute(
            tables['epochs'].insert().values(host=host.name, epoch=1)
        )
        connection.execute(
            tables['hosts']
            .insert()
            .values(host=host.name, document=json.dumps(host.record()))
        )
        if host.phase in HUNG:
            connection.execute(
                tables['heartbeats']
                .insert()
                .values(
                    host=host.name,
                    service_uuid=host.service_uuid,
                    boot_id='boot-1',
                    past_boots='',
                    sequence=123456,
                    system_uuid=host.system_uuid,
                    seen_at=db.now(connection) - 60.0,
                )
            )

    def _is_ready(self):
        return self.store.engine_status().get('age', 99) < 5


class _Upgrade:
    KIND = ''

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        found = fleet.Database(cls.KIND)
        if not found.server:
            raise unittest.SkipTest(f'No {cls.KIND}: see tools/env --lab')
        cls.fleet = OldFleet(found)
        cls.addClassCleanup(cls.fleet.close)
        cls.fleet.store.set_arm_state(True, 'test', 'test')
        cls.fleet.start_all()

    def subject(self, phase):
        (host,) = [one for one in self.fleet.old if one.phase == phase]
        self.fleet.until_recovered(host.name)
        (found,) = self.fleet.incidents_of(host.name)
        self.assertEqual(host.incident_uuid, found.uuid)
        return found

    def test_it_was_a_database_of_the_release_before(self):
        self.assertEqual('0001', self.fleet.before.current)
        self.assertTrue(schema.state(self.fleet.conf).is_current)

    def test_every_recovery_ends_as_it_should(self):
        for phase in PHASES:
            with self.subTest(phase):
                subject = self.subject(phase)

                self.assertEqual('resolved', subject.outcome)
                for server in self.fleet.servers[phase]:
                    self.assertEqual(1, self.fleet.cloud.performed[server])
                    self.assertNotEqual(
                        subject.host, self.fleet.cloud.host_of(server)
                    )
        self.assertEqual([], self.fleet.cloud.violations)
        self.assertEqual([], self.fleet.racks.violations)

    def test_host_of_the_release_before_comes_back(self):
        subject = self.subject('recovered')
        self.fleet.power_on(subject.host)

        self.fleet.until_phase(subject.host, incident.Phase.CLOSED)
        service = self.fleet.cloud.services[subject.host]
        self.assertEqual(
            ('up', 'enabled', False),
            (service['state'], service['status'], service['forced_down']),
        )


class UpgradeMariadbTest(_Upgrade, testtools.TestCase):
    KIND = 'mariadb'


class UpgradePostgresqlTest(_Upgrade, testtools.TestCase):
    KIND = 'postgresql'
