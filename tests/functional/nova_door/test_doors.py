# SPDX-License-Identifier: Apache-2.0

"""The doors against a real nova, keystone and Redfish service."""

import datetime
import tempfile
import time
import uuid

import openstack
import testtools

from lab.embedded import cloud as clouds
from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import probe
from nova_ha_plugins.fencing import door as fencing_door
from nova_ha_plugins.nova import door as nova_door
from nova_ha_plugins.nova import identity as identity_door
from nova_ha_plugins.recovery import incident
from tests.functional.nova_door import follower

PATIENCE = 30.0


def until(what, check):
    """Return the first true answer of a check."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f'Not within {PATIENCE} s: {what}')
        time.sleep(0.1)


class Case(testtools.TestCase):
    """One cloud for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        directory = tempfile.TemporaryDirectory(prefix='doors-')
        cls.addClassCleanup(directory.cleanup)
        cls.cloud = clouds.Cloud(directory.name, hosts=3, with_telemetry=False)
        cls.addClassCleanup(cls.cloud.stop)
        cls.cloud.start()
        path = f'{directory.name}/doors.conf'
        with open(path, 'w') as target:
            for group, values in cls.cloud.engine_conf().items():
                target.write(f'[{group}]\n')
                for key, value in values.items():
                    target.write(f'{key} = {value}\n')
        cls.conf = config.load((), [path])
        cls.nova = nova_door.NovaDoor(cls.conf)
        cls.identity = identity_door.IdentityDoor(cls.conf)
        cls.fencing = fencing_door.FencingDoor(cls.conf)
        cls.probe = probe.TcpProbe(cls.conf)

    @classmethod
    def connect(cls, user):
        return openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth=cls.cloud.credentials(user),
            region_name=cls.cloud.plan['region'],
        )

    def boot(self, name, host, metadata):
        """Return the uuid of a server that is active on a host."""
        admin = self.connect('admin')
        server = admin.compute.post(
            '/servers',
            json={
                'server': {
                    'name': name,
                    'imageRef': next(iter(admin.image.images())).id,
                    'flavorRef': '1',
                    'networks': 'none',
                    'metadata': metadata,
                    'availability_zone': f'nova:{host}',
                }
            },
            microversion='2.74',
        )
        self.assertEqual(202, server.status_code, server.text)
        found = server.json()['server']['id']
        until(f'{name} is active', lambda: self.state(found) == 'active')
        return found

    def state(self, server):
        view = self.nova.server(server)
        return view.vm_state if view and not view.task_state else None

    def service(self, host):
        (found,) = [one for one in self.nova.services() if one.host == host]
        return found


class RecoveryTest(Case):
    """A host hangs, is fenced and emptied, and comes back: by doors only."""

    def test_host_is_recovered_and_returns(self):
        running = self.boot('db', 'cmp-1', {'ha:policy': 'evacuate'})
        stopped = self.boot('spare', 'cmp-1', {})
        self.nova.stop(stopped)
        until('it is stopped', lambda: self.state(stopped) == 'stopped')
        service = self.service('cmp-1')
        self.check_living_host(running, stopped, service)

        self.cloud.set_power('cmp-1', 'hung')
        self.check_dead_host_is_fenced()

        began = time.monotonic()
        self.nova.force_down(service.uuid, True)
        self.nova.force_down(service.uuid, True)
        self.nova.disable(service.uuid, 'fenced')
        # After force down nova does not call the dead compute.
        self.assertLess(time.monotonic() - began, 5.0)
        found = self.service('cmp-1')
        self.assertEqual(
            (False, True, True, 'nova-ha: fenced'),
            (
                found.up,
                found.forced_down,
                found.disabled,
                found.disabled_reason,
            ),
        )

        followed = follower.Follower(self, self.conf)
        self.check_servers_move(running, stopped)
        self.check_evacuations_were_followed(followed, running, stopped)
        self.check_host_returns_only_in_novas_order(service)

    def check_living_host(self, running, stopped, service):
        self.assertTrue(service.up)
        self.assertNotEqual('', service.address)
        found = {one.uuid: one for one in self.nova.servers_on('cmp-1')}
        self.assertEqual({running, stopped}, set(found))
        self.assertEqual('evacuate', found[running].metadata['ha:policy'])
        self.assertEqual('active', found[running].vm_state)
        self.assertEqual((), self.nova.servers_on('cmp-2'))
        self.assertEqual((), self.nova.evacuations('cmp-1'))
        error = self.assertRaises(doors.Refused, self.nova.evacuate, running)
        self.assertEqual(400, error.status)
        self.assertIn('still in use', str(error))
        self.assertEqual((), self.nova.evacuations('cmp-1'))
        self.assertEqual(
            incident.Sign.ALIVE, self.probe.probe('cmp-1', '').sign
        )
        reading = self.fencing.read('cmp-1')
        self.assertEqual(incident.Power.ON, reading.power)
        self.assertEqual(self.system_uuid('cmp-1'), reading.system_uuid)

    def system_uuid(self, host):
        return next(
            one['system_uuid']
            for one in self.cloud.plan['hosts']
            if one['name'] == host
        )

    def check_dead_host_is_fenced(self):
        self.assertEqual(
            incident.Sign.SILENT, self.probe.probe('cmp-1', '').sign
        )
        self.assertEqual(incident.Power.ON, self.fencing.read('cmp-1').power)
        error = self.assertRaises(
            doors.Refused,
            self.fencing.power_off,
            'cmp-1',
            self.system_uuid('cmp-2'),
        )
        self.assertIn(self.system_uuid('cmp-2'), str(error))
        self.assertEqual('hung', self.cloud.hosts()['cmp-1']['power'])

        self.fencing.power_off('cmp-1', self.system_uuid('cmp-1'))
        until(
            'cmp-1 reads as off',
            lambda: self.fencing.read('cmp-1').power == incident.Power.OFF,
        )

        self.assertEqual('off', self.cloud.hosts()['cmp-1']['power'])
        self.fencing.power_off('cmp-1')
        self.assertEqual(incident.Power.ON, self.fencing.read('cmp-2').power)

    def check_servers_move(self, running, stopped):
        for server in (running, stopped):
            self.nova.evacuate(server)
        until(
            'both evacuations are done',
            lambda: (
                [one.status for one in self.nova.evacuations('cmp-1')]
                == ['done', 'done']
            ),
        )
        until('db is active', lambda: self.state(running) == 'active')
        until('spare is stopped', lambda: self.state(stopped) == 'stopped')
        for record in self.nova.evacuations('cmp-1'):
            self.assertEqual('cmp-1', record.source_compute)
            self.assertIn(record.dest_compute, ('cmp-2', 'cmp-3'))
            self.assertEqual(
                record.dest_compute, self.nova.server(record.server_uuid).host
            )
        self.assertEqual((), self.nova.servers_on('cmp-1'))
        self.assertEqual((), self.nova.evacuations('cmp-2'))

    def check_evacuations_were_followed(self, followed, *servers):
        """By somebody who did not ask nova for them."""
        until(
            'both have an end',
            lambda: len(followed.store.evacuation_history()) == 2,
        )
        uuids = [one.uuid for one in self.nova.evacuations('cmp-1')]
        for trace in followed.store.evacuation_traces(uuids).values():
            host = self.nova.server(trace.server_uuid).host
            self.assertEqual(
                ('cmp-1', host, 'succeeded', 'image'),
                (trace.source, trace.destination, trace.state, trace.boot),
            )
            took = sum(trace.seconds.values())
            self.assertAlmostEqual(
                trace.finished_at - trace.created_at, took, places=3
            )
        for server in servers:
            until('it was told', lambda one=server: followed.words(one)[1:])
            words = followed.words(server)
            self.assertEqual(('start', 'end'), (words[0], words[-1]))

    def check_host_returns_only_in_novas_order(self, service):
        error = self.assertRaises(
            doors.Refused, self.nova.force_down, service.uuid, False
        )
        self.assertEqual(400, error.status)
        self.assertIn('`done` evacuation', str(error))
        self.assertTrue(self.service('cmp-1').forced_down)

        self.cloud.set_power('cmp-1', 'on')
        until(
            'nova-compute has cleaned up',
            lambda: (
                {one.status for one in self.nova.evacuations('cmp-1')}
                == {'completed'}
            ),
        )
        self.nova.force_down(service.uuid, False)
        self.nova.enable(service.uuid)

        found = self.service('cmp-1')
        self.assertEqual(
            (False, False, ''),
            (found.forced_down, found.disabled, found.disabled_reason),
        )
        until('cmp-1 is up', lambda: self.service('cmp-1').up)

    def test_what_is_not_there_is_refused_or_none(self):
        nobody = str(uuid.uuid4())

        self.assertIsNone(self.nova.server(nobody))
        for call, subject in (
            (self.nova.evacuate, nobody),
            (self.nova.stop, nobody),
            (self.nova.enable, nobody),
        ):
            error = self.assertRaises(doors.Refused, call, subject)
            self.assertEqual(404, error.status)
            self.assertIn(nobody, str(error))
        self.assertEqual((), self.nova.servers_on('no-such-host'))
        self.assertEqual((), self.nova.evacuations('no-such-host'))


class TrustTest(Case):
    """Whose rights stand behind an alarm, by a real keystone."""

    def trust(self, user, role, **changes):
        identity = self.connect(user).identity
        plan = self.cloud.plan
        answer = identity.post(
            '/OS-TRUST/trusts',
            json={
                'trust': {
                    'trustor_user_id': plan['users'][user]['user_id'],
                    'trustee_user_id': plan['users']['aodh']['user_id'],
                    'project_id': plan['projects'][
                        plan['users'][user]['project']
                    ],
                    'impersonation': True,
                    'roles': [{'name': role}],
                    **changes,
                }
            },
        )
        self.assertEqual(201, answer.status_code, answer.text)
        return answer.json()['trust']['id']

    def test_trust_of_an_administrator_names_the_role(self):
        plan = self.cloud.plan

        found = self.identity.trust(self.trust('admin', 'admin'))

        self.assertEqual(
            doors.TrustView(
                plan['users']['admin']['user_id'],
                plan['projects']['admin'],
                ('admin',),
            ),
            found,
        )

    def test_trust_of_a_tenant_names_no_other_role(self):
        found = self.identity.trust(self.trust('alice', 'member'))

        self.assertEqual(('member',), found.roles)
        self.assertEqual(
            self.cloud.plan['users']['alice']['user_id'],
            found.trustor_user_id,
        )

    def test_trust_that_was_deleted_is_none(self):
        trust = self.trust('alice', 'member')
        self.assertIsNotNone(self.identity.trust(trust))

        self.connect('alice').identity.delete(f'/OS-TRUST/trusts/{trust}')

        self.assertIsNone(self.identity.trust(trust))

    def test_trust_that_expired_is_none(self):
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
            seconds=2
        )
        trust = self.trust(
            'alice', 'member', expires_at=f'{end:%Y-%m-%dT%H:%M:%S.000000Z}'
        )

        until('it expired', lambda: self.identity.trust(trust) is None)
        self.assertIsNone(self.identity.trust(trust))

    def test_role_that_the_trustor_lost_does_not_count(self):
        admin = self.connect('admin').identity
        plan = self.cloud.plan
        user = plan['users']['demo']['user_id']
        project = plan['projects'][plan['users']['demo']['project']]
        (role,) = [one for one in admin.roles() if one.name == 'admin']
        path = f'/projects/{project}/users/{user}/roles/{role.id}'
        self.assertEqual(204, admin.put(path).status_code)
        trust = self.trust('demo', 'admin')
        self.assertEqual(('admin',), self.identity.trust(trust).roles)

        self.assertEqual(204, admin.delete(path).status_code)

        found = self.identity.trust(trust)
        self.assertTrue(found is None or found.roles == (), found)
