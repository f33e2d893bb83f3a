# SPDX-License-Identifier: Apache-2.0

"""Nova's own functional environment, with our filter in its paste file."""

import configparser
import datetime
import os
import sys
import warnings

import fixtures

# Before every other module of nova: it patches the process, or decides not to.
import nova.tests.functional  # noqa: F401

from nova import context
from nova import objects
from nova.tests import fixtures as nova_fixtures
from nova.tests.functional import integrated_helpers
from oslo_utils.fixture import uuidsentinel
from oslo_utils import uuidutils
import requests
import sqlalchemy.exc

FILTER = 'nova_ha_plugins.api.middleware:filter_factory'
APP = 'osapi_compute_app_v21'


def write_paste_file(directory):
    """Give the path of the wheel's api-paste.ini with our filter in it."""
    stock = os.path.join(sys.prefix, 'etc', 'nova', 'api-paste.ini')
    parser = configparser.RawConfigParser()
    parser.optionxform = str
    parser.read(stock)
    parser['filter:instance_ha'] = {'paste.filter_factory': FILTER}
    for name in (
        'composite:openstack_compute_api_v21',
        'composite:openstack_compute_api_v21_legacy_v2_compatible',
    ):
        line = parser[name]['keystone']
        parser[name]['keystone'] = line.replace(APP, f'instance_ha {APP}')
    path = os.path.join(directory, 'api-paste.ini')
    with open(path, 'w') as file:
        parser.write(file)
    return path


class NovaTestCase(integrated_helpers.ProviderUsageBaseTestCase):
    """A nova of real services, three hosts with the fake driver."""

    compute_driver = 'fake.MediumFakeDriver'
    microversion = '2.94'

    def setUp(self):
        # The wheel keeps its paste file in <prefix>/etc, nova's tests look in
        # the source tree; and ours has one filter more.
        self.directory = self.useFixture(fixtures.TempDir()).path
        self.paste_file = write_paste_file(self.directory)
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova.tests.fixtures.conf.paths.state_path_def',
                self._state_path,
            )
        )
        super().setUp()
        # As in production; nova's tests still admit the old defaults.
        self.flags(enforce_new_defaults=True, group='oslo_policy')
        self.policy = self.useFixture(nova_fixtures.RealPolicyFixture())
        warnings.filterwarnings(
            'ignore', category=sqlalchemy.exc.SADeprecationWarning
        )
        self.computes = {}

    def _state_path(self, *parts):
        if parts[-1].endswith('api-paste.ini'):
            return self.paste_file
        return os.path.join(sys.prefix, *parts)

    def start_hosts(self, *hosts):
        for host in hosts:
            self.computes[host] = self.start_service('compute', host=host)

    def kill(self, host):
        """Stop nova-compute of a host and force its service down."""
        self.computes[host].stop()
        self.force_down(host)

    def force_down(self, host):
        service = self.computes[host].service_ref
        self.admin_api.api_put(
            f'/os-services/{service.uuid}', {'forced_down': True}
        )

    def boot(self, host, **kwargs):
        server = self._build_server(networks='none', host=host, **kwargs)
        created = self.admin_api.post_server({'server': server})
        return self._wait_for_state_change(created, 'ACTIVE')

    def write_evacuation(
        self, source, destination, age=0, status='done', host=None
    ):
        """Write what nova leaves in its database when one has succeeded.

        For tests that are about the answer, not about evacuating.

        :param host: where the server is now, if it moved on.
        """
        admin = context.get_admin_context()
        [cell] = [
            mapping
            for mapping in objects.CellMappingList.get_all(admin)
            if not mapping.is_cell0()
        ]
        owner = context.RequestContext('fake', self.api.project_id)
        asked = context.RequestContext('admin', self.api.project_id)
        asked.timestamp -= datetime.timedelta(seconds=age)
        with context.target_cell(owner, cell) as ctxt:
            server = objects.Instance(
                ctxt,
                uuid=uuidutils.generate_uuid(),
                user_id='fake',
                project_id=self.api.project_id,
                host=host or destination,
                vm_state='active',
                display_name='web',
                flavor=objects.Flavor.get_by_flavor_id(admin, '1'),
                system_metadata={},
            )
            server.create()
        objects.InstanceMapping(
            admin,
            instance_uuid=server.uuid,
            project_id=self.api.project_id,
            cell_mapping=cell,
            user_id='fake',
        ).create()
        with context.target_cell(asked, cell) as ctxt:
            ctxt.timestamp = asked.timestamp
            objects.InstanceAction.action_start(ctxt, server.uuid, 'evacuate')
            runs = status == 'pre-migrating' and host == source
            for event, step in (
                ('rebuild_server', 'event_start'),
                ('rebuild_server', 'event_finish'),
                ('compute_rebuild_instance', 'event_start'),
                ('compute_rebuild_instance', 'event_finish'),
            )[: 3 if runs else 4]:
                method = getattr(objects.InstanceActionEvent, step)
                method(ctxt, server.uuid, event)
            record = objects.Migration(
                ctxt,
                migration_type='evacuation',
                status='pre-migrating',
                instance_uuid=server.uuid,
                source_compute=source,
                source_node=source,
                dest_compute=destination,
                dest_node=destination,
                dest_compute_id=1,
                dest_host='192.0.2.19',
                created_at=asked.timestamp,
            )
            record.create()
            record.status = status
            record.save()
        return {'id': server.uuid}

    def evacuate(self, server):
        self.admin_api.post_server_action(server['id'], {'evacuate': {}})

    def request(
        self,
        path,
        *,
        user='admin',
        roles='reader,member,admin',
        project=None,
        version=None,
        method='GET',
        json=None,
        data=None,
        base='v2.1',
    ):
        """One request with our own headers, the answer as it is.

        :param data: a body that json would not make.
        """
        headers = {
            'X-Auth-User': user,
            'X-User-Id': user,
            'X-Auth-Project-Id': project or self.api.project_id,
            'X-Roles': roles,
        }
        if version:
            headers['OpenStack-API-Version'] = version
        if data is not None:
            headers['Content-Type'] = 'application/json'
        url = f'http://{uuidsentinel.osapi_host}:80/{base}{path}'
        return requests.request(
            method, url, headers=headers, json=json, data=data
        )

    def get_evacuations(self, server, **kwargs):
        answer = self.request(f'/servers/{server["id"]}/evacuations', **kwargs)
        self.assertEqual(200, answer.status_code, answer.text)
        return answer.json()['evacuations']
