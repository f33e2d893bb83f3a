# SPDX-License-Identifier: Apache-2.0

"""How evacuations go and fail, each by running nova.

Every server is one row of the tables; they run side by side, and each is
looked at through the API after every write of nova. What was seen is kept in
``tests/unit/recovery/recorded`` when ``NOVA_HA_RECORD=1`` is set.
"""

from nova import exception
from nova.tests import fixtures as nova_fixtures
from oslo_utils.fixture import uuidsentinel as uuids

from tests.functional.nova import runs

HERE = runs.HERE
# The way of one that nothing disturbs, and the end of it.
WAY = [
    'accepted',
    'scheduling',
    'claiming',
    'preparing',
    'volumes',
    'spawning',
    'finishing',
    'done',
]
DONE = ('done', 'succeeded', None)
FAILED = ('failed', 'failed', 'destination_failed')


def broken():
    return exception.NovaException('disk on fire')


class RunsTest(runs.RunsCase):
    def setUp(self):
        super().setUp()
        self.start_hosts('host1', 'host2', 'host3')

    def test_destination_works(self):
        volumes = self.create_volume_backed()
        image, stopped, named, forced, copied = self.servers(5)
        volumes = self.active(volumes)
        self._attach_volumes(volumes, [uuids.data1, uuids.data2])
        self.kill('host1')
        spawn = self.gate(copied)

        self.evacuate(copied)
        self.evacuate(image)
        self.evacuate(stopped, version='2.95')
        self.evacuate(volumes)
        self.evacuate(named, host='host3')
        self.evacuate(forced, version='2.67', host='host3', force=True)
        spawn.until_reached()
        percents = [
            self.report(copied, 1000, processed)['progress']
            for processed in (0, 500, 1000)
        ]
        spawn.open()
        self.until_over(image, stopped, volumes, named, forced, copied)

        self.assertEqual([40, 65, 89], percents)
        self.assertEqual({'succeeded': 6}, self.counts('host1'))
        for name, server, vm, about in (
            ('image', image, 'active', 'Boots from an image.'),
            ('stopped', stopped, 'stopped', 'Stopped by nova, from 2.95 on.'),
            ('volumes', volumes, 'active', 'Boots from one of 3 volumes.'),
            ('copied', copied, 'active', 'Its destination tells bytes.'),
            ('named', named, 'active', 'Somebody chose the host.'),
            ('forced', forced, 'active', 'Nobody asked the scheduler.'),
        ):
            self.check(
                name,
                about,
                server,
                records=[DONE],
                vm=vm,
                guests=['host1', HERE],
                phases=WAY,
            )
        self.no_problems()

    def test_destination_fails(self):
        group = self.admin_api.post_server_groups(
            {'name': 'apart', 'policy': 'anti-affinity'}
        )
        apart = {'group': group['id']}
        neighbour = self.create('host2', apart)
        late = self.create(hints=apart)
        spawn, claim, tracker, nowhere, named, deleted = self.servers(6)
        self.active(neighbour)
        late = self.active(late)
        self.kill('host1')
        self.gate(spawn, error=broken())
        full = exception.ComputeResourcesUnavailable(reason='full')
        self.gate(claim, 'claim', full)
        self.gate(tracker, 'tracker', full)
        held = self.gate(deleted)

        for server in (spawn, claim, tracker, deleted):
            self.evacuate(server)
        self.evacuate(late, version='2.67', host='host2', force=True)
        held.until_reached()
        self.admin_api.delete_server(deleted['id'])
        held.open()
        self.until_over(spawn, claim, tracker, late, deleted)
        with self.no_host('host2', 'host3'):
            self.evacuate(nowhere)
            self.evacuate(named, host='host2')
            self.until_over(nowhere, named)

        self.assertEqual({'failed': 7}, self.counts('host1'))
        nobody = ('error', 'failed', 'no_valid_host')
        for name, server, record, vm, phases, about in (
            ('spawn-fails', spawn, FAILED, 'error', 6, 'Spawn raises.'),
            ('claim-fails', claim, FAILED, 'active', 4, 'No room for it.'),
            ('tracker-fails', tracker, FAILED, 'active', 3, 'Unknown node.'),
            ('group-fails', late, FAILED, 'error', 4, 'Two too near.'),
            ('no-host', nowhere, nobody, 'error', 2, 'No host for it.'),
            ('not-there', named, nobody, 'error', 2, 'Not the named host.'),
        ):
            self.check(
                name,
                about,
                server,
                records=[record],
                vm=vm,
                guests=['host1'],
                phases=[*WAY[:phases], 'failed'],
            )
        self.check(
            'deleted',
            'Its owner deleted it while it was built.',
            deleted,
            records=[('failed', 'failed', 'server_deleted')],
            vm=None,
            guests=['host1', HERE],
            phases=[*WAY[:6], 'unknown', 'failed'],
        )
        self.no_problems()

    def test_source_returns(self):
        servers = self.servers(6)
        done, spawning, breaking, scheduling, before, lost = servers
        self.kill('host1')
        gates = [
            self.gate(spawning),
            self.gate(breaking),
            self.gate(scheduling, 'scheduler'),
            self.gate(before, 'conductor'),
            self.gate(lost, 'conductor'),
        ]
        for server in servers:
            self.evacuate(server)
        for gate in gates:
            gate.until_reached()
        self.until_over(done)

        # Not before it has restarted and cleaned up.
        service = self.computes['host1'].service_ref.uuid
        refused = self.request(
            f'/os-services/{service}',
            method='PUT',
            json={'forced_down': False},
            version='compute 2.94',
        )
        self.return_of('host1')
        for server in servers:
            self.until(server, status='completed')
        self.set_service('host1', forced_down=False)
        gates[0].open()
        gates[1].open(broken())
        gates[2].open()
        gates[3].open()
        self.until_over(spawning, breaking, scheduling, before)
        with self.no_host('host2', 'host3'):
            gates[4].open()
            self.until_over(lost)

        self.assertEqual({'succeeded': 4, 'failed': 2}, self.counts('host1'))
        self.assertEqual(400, refused.status_code, refused.text)
        completed = ('completed', 'succeeded', None)
        for name, server, records, phases, about in (
            ('source-after', done, [completed], WAY, 'It was done.'),
            ('source-in-spawn', spawning, [DONE], WAY, 'The guest is built.'),
            (
                'source-in-scheduling',
                scheduling,
                [DONE],
                WAY,
                'The conductor has read the record already.',
            ),
            (
                'source-before',
                before,
                [
                    ('pre-migrating', 'succeeded', 'record_left_open'),
                    ('completed', 'superseded', 'source_returned'),
                ],
                WAY[3:],
                'The conductor has not: nova makes a second record.',
            ),
        ):
            with self.watch.a_minute_later():
                self.check(
                    name,
                    f'The source returned. {about}',
                    server,
                    records=records,
                    vm='active',
                    guests=[HERE],
                    phases=phases,
                )
        for name, server, record, phases, about in (
            ('source-and-fire', breaking, FAILED, 6, 'Spawn raises then.'),
            (
                'source-and-no-host',
                lost,
                ('completed', 'failed', 'no_valid_host'),
                2,
                'There is no host then: the guest is nowhere.',
            ),
        ):
            self.check(
                name,
                f'The source returned. {about}',
                server,
                records=[record],
                vm='error',
                guests=[],
                phases=[*WAY[:phases], 'failed'],
            )
        self.no_problems()

    def test_evacuated_again(self):
        servers = self.servers(6)
        retried, first, second, reset, hung, dead = servers
        self.kill('host1')
        gates = {
            (server['id'], host): self.gate(server, host)
            for server in servers[1:]
            for host in ('host2', 'host3')
        }
        self.gate(retried, 'host2', broken())
        for server in servers:
            self.evacuate(server, host='host2')
        for server in servers[1:]:
            gates[server['id'], 'host2'].until_reached()
        self.until_over(retried)
        # Stopped at the destination? Not one that was in ERROR.
        self.evacuate(retried, version='2.95', host='host3')

        for server in (reset, hung):
            self.reset(server)
            with self.watch.a_minute_later():
                stalled = self.watch.look(server['id'])[0]
                self.assertEqual('task_state_reset', stalled['reason'])
        for server in (first, second, reset):
            self.evacuate(server, host='host3')
            gates[server['id'], 'host3'].until_reached()
        # Of two that are being built at a time, one is done before the other.
        gates[first['id'], 'host2'].open()
        gates[second['id'], 'host3'].open()
        gates[reset['id'], 'host3'].open()
        gates[hung['id'], 'host2'].open()
        self.until_over(second, reset, hung, retried)
        self._until(first, lambda items: items[1]['status'] == 'done')
        gates[first['id'], 'host3'].open()
        gates[second['id'], 'host2'].open()
        gates[reset['id'], 'host2'].open()
        self.until_over(first)
        for server in (second, reset):
            self._until(server, lambda items: items[1]['finished_at'])
        # The last one, because all that is on this host seems to stall.
        self.set_service('host2', forced_down=True)
        stalled = self.watch.look(dead['id'])[0]
        self.reset(dead)
        self.evacuate(dead, host='host3')
        gates[dead['id'], 'host3'].open()
        self.until_over(dead)

        self.assertEqual('destination_down', stalled['reason'])
        self.assertEqual({'succeeded': 4, 'failed': 2}, self.counts('host1'))
        failed = [*WAY[:-1], 'failed']
        left = ('pre-migrating', 'superseded', 'record_left_open')
        for name, server, records, vm, guests, phases, about in (
            (
                'retried',
                retried,
                [DONE, FAILED],
                'active',
                ['host1', HERE],
                WAY,
                'The first one failed; the second asks for 2.95.',
            ),
            (
                'twice-first-done',
                first,
                [FAILED, DONE],
                'error',
                ['host1', 'host2', HERE],
                failed,
                'Two are built at a time, the first one is done first.',
            ),
            (
                'twice-second-done',
                second,
                [DONE, FAILED],
                'error',
                ['host1', 'host2', HERE],
                WAY,
                'Two are built at a time, the second one is done first.',
            ),
            (
                'reset-and-again',
                reset,
                [DONE, FAILED],
                'error',
                ['host1', 'host2', HERE],
                WAY,
                'Reset while it was built, evacuated again, built twice.',
            ),
            (
                'reset-only',
                hung,
                [FAILED],
                'error',
                ['host1', HERE],
                [*WAY[:6], 'unknown', 'failed'],
                'Reset while it was built: nova gives up when it is built.',
            ),
            (
                'destination-dies',
                dead,
                [DONE, left],
                'active',
                ['host1', HERE],
                WAY,
                'The destination dies, the server is evacuated again.',
            ),
        ):
            self.check(
                name,
                about,
                server,
                records=records,
                vm=vm,
                guests=guests,
                phases=phases,
            )
        self.no_problems()

    def create_volume_backed(self):
        return self.create(
            imageRef=None,
            block_device_mapping_v2=[
                {
                    'source_type': 'volume',
                    'destination_type': 'volume',
                    'boot_index': 0,
                    'uuid': nova_fixtures.CinderFixture.IMAGE_BACKED_VOL,
                }
            ],
        )


class CellsTest(runs.RunsCase):
    """The host that is free is in another cell."""

    NUMBER_OF_CELLS = 2

    def test_no_evacuation_crosses_cells(self):
        for number in ('1', '2'):
            host = f'host{number}'
            self.computes[host] = self.start_service(
                'compute', host=host, cell_name=f'cell{number}'
            )
        server = self.boot('host1')
        self.kill('host1')

        self.evacuate(server)
        found = self.until(server, state='failed')

        self.assertEqual(
            ('error', 'no_valid_host'), (found['status'], found['reason'])
        )
        self.assertEqual(['host1'], self.guests_of(server['id']))
