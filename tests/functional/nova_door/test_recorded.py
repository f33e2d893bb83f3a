# SPDX-License-Identifier: Apache-2.0

"""The answers that tests/functional/engine lies with are nova's own.

Everything that the lying cloud says was recorded here, from a real nova and
keystone; this test makes the same calls and compares the shapes: status,
keys, types. After an upgrade of either, ``NOVA_HA_RECORD=1`` records anew.
"""

import json
import os
import pathlib

import requests

from nova_ha_plugins.fencing import map as fencing_map
from nova_ha_plugins.nova import door as nova_door
from tests.functional.nova_door import test_doors

RECORDED = (
    pathlib.Path(__file__).parents[1] / 'engine' / 'recorded_answers.json'
)
NOBODY = '00000000-0000-4000-8000-000000000000'


def shape(value):
    """Return what does not change from one answer to the next."""
    if isinstance(value, dict):
        return {key: shape(found) for key, found in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None if value is None else type(value).__name__


def differences(here, there, path=''):
    """Return where two shapes differ; null and [] say nothing of a shape."""
    if here in (None, []) or there in (None, []):
        return []
    if isinstance(here, dict) and isinstance(there, dict):
        found = [
            f'{path}/{key}: only in one'
            for key in sorted(set(here) ^ set(there))
        ]
        for key in set(here) & set(there):
            found += differences(here[key], there[key], f'{path}/{key}')
        return found
    if isinstance(here, list) and isinstance(there, list):
        return differences(here[0], there[0], f'{path}[]')
    return [] if here == there else [f'{path}: {here} and {there}']


class RecordedTest(test_doors.Case):
    """Makes every call of the engine's doors, and some that are refused."""

    def test_answers_have_the_shape_that_was_recorded(self):
        self.answers = {}
        plan = self.cloud.plan
        self.keystone = plan['users']['nova-ha']
        self.auth_url = self.cloud.credentials('nova-ha')['auth_url'].rstrip(
            '/'
        )
        self.ask_keystone()
        self.ask_nova()
        self.ask_bmc()
        text = json.dumps(self.answers, indent=1, sort_keys=True) + '\n'
        for real, name in (
            (self.auth_url, 'http://keystone.test'),
            (self.auth_url.removesuffix('/v3'), 'http://keystone.test'),
            (self.nova_url, 'http://nova.test/v2.1'),
            (self.nova_url.removesuffix('/v2.1'), 'http://nova.test'),
            (self.bmc_url, 'https://bmc.test'),
        ):
            text = text.replace(real, name)
        if os.environ.get('NOVA_HA_RECORD'):
            RECORDED.write_text(text)

        recorded = json.loads(RECORDED.read_text())
        self.assertEqual(sorted(recorded), sorted(self.answers))
        found = []
        for name, then in recorded.items():
            now = self.answers[name]
            self.assertEqual(then['status'], now['status'], (name, now))
            self.assertEqual(then['type'], now['type'], name)
            found += differences(shape(then['body']), shape(now['body']), name)
        self.assertEqual([], found)

    def ask(self, name, method, url, *, token=None, version=None, **kwargs):
        headers = {'Accept': 'application/json'}
        if (token or self.token) and 'auth' not in kwargs:
            headers['X-Auth-Token'] = token or self.token
        if version:
            headers['OpenStack-API-Version'] = f'compute {version}'
        answer = requests.request(
            method, url, headers=headers, timeout=30, **kwargs
        )
        if name:
            self.answers[name] = {
                'status': answer.status_code,
                'type': answer.headers.get('Content-Type'),
                'body': answer.json() if answer.text.strip() else None,
            }
        return answer

    def ask_keystone(self):
        self.token = None
        root = self.auth_url
        user = self.keystone

        def login(password):
            return {
                'auth': {
                    'identity': {
                        'methods': ['password'],
                        'password': {
                            'user': {
                                'name': 'nova-ha',
                                'domain': {'id': 'default'},
                                'password': password,
                            }
                        },
                    },
                    'scope': {
                        'project': {
                            'name': user['project'],
                            'domain': {'id': 'default'},
                        }
                    },
                }
            }

        self.ask('keystone version', 'GET', root)
        self.ask(
            'token refused', 'POST', f'{root}/auth/tokens', json=login('no')
        )
        answer = self.ask(
            'token',
            'POST',
            f'{root}/auth/tokens',
            json=login(user['password']),
        )
        self.token = answer.headers['X-Subject-Token']
        catalog = answer.json()['token']['catalog']
        (self.nova_url,) = {
            point['url'].rstrip('/')
            for service in catalog
            if service['type'] == 'compute'
            for point in service['endpoints']
        }
        trust = test_doors.TrustTest.trust(self, 'admin', 'admin')
        admin = self.cloud.plan['users']['admin']
        project = self.cloud.plan['projects']['admin']
        self.ask('trust', 'GET', f'{root}/OS-TRUST/trusts/{trust}')
        self.ask('trust missing', 'GET', f'{root}/OS-TRUST/trusts/{NOBODY}')
        self.ask('user', 'GET', f'{root}/users/{admin["user_id"]}')
        self.ask(
            'role assignments',
            'GET',
            f'{root}/role_assignments',
            params={
                'user.id': admin['user_id'],
                'scope.project.id': project,
                'effective': '1',
            },
        )

    def compute(self, name, method, path, version=None, **kwargs):
        version = version or nova_door.MICROVERSION
        return self.ask(
            name, method, self.nova_url + path, version=version, **kwargs
        )

    def act(self, name, server, body):
        return self.compute(
            name, 'POST', f'/servers/{server}/action', json=body
        )

    def change(self, name, service, body):
        return self.compute(
            name, 'PUT', f'/os-services/{service.uuid}', json=body
        )

    def ask_nova(self):
        running = self.boot('db', 'cmp-1', {'ha:policy': 'evacuate'})
        other = self.boot('web', 'cmp-1', {'ha:policy': 'evacuate'})
        service = self.service('cmp-1')
        compute = {'params': {'binary': 'nova-compute'}}
        there = {'all_tenants': '1', 'host': 'cmp-1'}
        self.compute('services', 'GET', '/os-services', **compute)
        self.compute(
            'unauthorized', 'GET', '/os-services', token='no-token', **compute
        )
        self.compute(
            'hypervisors',
            'GET',
            '/os-hypervisors/detail',
            version=nova_door.HYPERVISOR_MICROVERSION,
        )
        self.compute('servers', 'GET', '/servers/detail', params=there)
        self.compute(
            'servers page',
            'GET',
            '/servers/detail',
            params={**there, 'limit': 1},
        )
        self.compute('server', 'GET', f'/servers/{running}')
        self.compute('server missing', 'GET', f'/servers/{NOBODY}')
        self.act('evacuate in use', running, {'evacuate': {}})
        self.act('evacuate missing', NOBODY, {'evacuate': {}})
        self.act('pause', other, {'pause': None})
        test_doors.until('it is paused', lambda: self.state(other) == 'paused')

        self.cloud.set_power('cmp-1', 'hung')
        self.fencing.power_off('cmp-1')
        test_doors.until(
            'cmp-1 is off',
            lambda: self.fencing.read('cmp-1').power == 'off',
        )
        self.change('force down', service, {'forced_down': True})
        self.change(
            'disable',
            service,
            {'status': 'disabled', 'disabled_reason': 'nova-ha: test'},
        )
        self.act('evacuate wrong state', other, {'evacuate': {}})
        self.act('reset state', other, {'os-resetState': {'state': 'active'}})
        self.act('evacuate', running, {'evacuate': {}})
        test_doors.until(
            'db is elsewhere',
            lambda: (
                self.state(running) == 'active'
                and self.nova.server(running).host != 'cmp-1'
            ),
        )
        test_doors.until(
            'its record is done',
            lambda: self.nova.evacuations('cmp-1')[0].status == 'done',
        )
        away = {
            'params': {
                'migration_type': 'evacuation',
                'source_compute': 'cmp-1',
            }
        }
        self.compute('migrations', 'GET', '/os-migrations', **away)
        self.change('un-force refused', service, {'forced_down': False})
        self.act('stop', running, {'os-stop': None})
        test_doors.until(
            'db is stopped', lambda: self.state(running) == 'stopped'
        )
        self.act('stop wrong state', running, {'os-stop': None})
        self.act('start', running, {'os-start': None})
        test_doors.until(
            'db runs again', lambda: self.state(running) == 'active'
        )
        self.act(
            'live migrate',
            running,
            {'os-migrateLive': {'host': None, 'block_migration': 'auto'}},
        )
        test_doors.until(
            'db is at rest', lambda: self.state(running) == 'active'
        )
        self.ask_for_a_host_that_is_not_there(other, away)
        self.cloud.set_power('cmp-1', 'on')
        test_doors.until(
            'nova-compute has cleaned up',
            lambda: (
                'done'
                not in {one.status for one in self.nova.evacuations('cmp-1')}
            ),
        )
        self.change('un-force', service, {'forced_down': False})
        self.change('enable', service, {'status': 'enabled'})

    def ask_for_a_host_that_is_not_there(self, server, away):
        others = [self.service('cmp-2'), self.service('cmp-3')]
        for one in others:
            self.change(
                None, one, {'status': 'disabled', 'disabled_reason': 'test'}
            )
        self.act(None, server, {'evacuate': {}})
        test_doors.until(
            'no host was found',
            lambda: self.nova.evacuations('cmp-1')[0].status == 'error',
        )
        self.compute('migrations error', 'GET', '/os-migrations', **away)
        test_doors.until(
            'the server is in error', lambda: self.state(server) == 'error'
        )
        self.compute('server in error', 'GET', f'/servers/{server}')
        for one in others:
            self.change(None, one, {'status': 'enabled'})

    def ask_bmc(self):
        options = fencing_map.load(self.conf.fencing.map_file)['cmp-2'].options
        self.bmc_url = options['address']
        system = self.bmc_url + options['system']
        target = f'{system}/Actions/ComputerSystem.Reset'
        with open(options['password_file']) as source:
            password = source.read().strip()
        for name, method, url, secret, document in (
            ('bmc system', 'GET', system, password, None),
            ('bmc system refused', 'GET', system, 'no', None),
            ('bmc system missing', 'GET', system + '0', password, None),
            ('bmc reset', 'POST', target, password, {'ResetType': 'ForceOff'}),
        ):
            self.ask(
                name,
                method,
                url,
                auth=(options['username'], secret),
                verify=options['verify'],
                json=document,
            )
