# SPDX-License-Identifier: Apache-2.0

"""An engine that lost its lease, and nova's API that knows."""

import fixtures

from nova_ha_plugins.api import backend
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import token
from nova_ha_plugins.conf import config
from nova_ha_plugins.conf import database as database_conf
from nova_ha_plugins.engine import doors
from nova_ha_plugins.nova import door
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import schema
from oslo_utils.fixture import uuidsentinel
from tests.functional.nova import base


class TokenTest(base.NovaTestCase):
    """The real door of the engine, against nova with our filter."""

    def setUp(self):
        super().setUp()
        database_conf.register_opts(compat.CONF)
        self.start_hosts('host1', 'host2')

    def use_store(self):
        self.flags(
            connection=f'sqlite:///{self.directory}/ha.sqlite',
            group='nova_ha_database',
        )
        schema.sync(compat.CONF)
        return store_api.open_store(compat.CONF)

    def open_door(self, number, clock=None):
        """Return the engine's door to nova with a lease of that token."""
        conf = config.load([], [])
        url = f'http://{uuidsentinel.osapi_host}:80/v2.1'
        found = door.NovaDoor(conf, number, clock)
        conf.set_override('endpoint_override', url, 'nova')
        conf.set_override('auth_type', 'noauth', 'nova')
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_ha_plugins.nova.client.open_session', self._session
            )
        )
        return found

    def _session(self, conf):
        from keystoneauth1 import noauth
        from keystoneauth1 import session

        made = session.Session(auth=noauth.NoAuth())
        made.additional_headers = {
            'X-Auth-User': 'admin',
            'X-User-Id': 'admin',
            'X-Auth-Project-Id': self.api.project_id,
            'X-Roles': 'reader,member,admin',
        }
        return made

    def test_only_the_newest_lease_may_change_anything(self):
        store = self.use_store()
        old = store.take_lease('ctl-1:1', 10.0)
        new = store.take_lease('ctl-2:1', 10.0, locked=True)
        server = self.boot('host1')
        service = self.computes['host1'].service_ref.uuid
        stale, acting = self.open_door(old.token), self.open_door(new.token)
        self.computes['host1'].stop()

        for what in (
            lambda: stale.force_down(service, True),
            lambda: stale.disable(service, 'fenced'),
            lambda: stale.evacuate(server['id']),
            lambda: stale.stop(server['id']),
        ):
            refused = doors.attempt(what)
            self.assertIsInstance(refused, doors.Refused)
            self.assertEqual(409, refused.status)
            self.assertRegex(
                str(refused), f'has token {new.token}: another engine'
            )
        found = {one.host: one for one in stale.services()}['host1']
        self.assertFalse(found.forced_down or found.disabled)
        self.assertEqual((), acting.evacuations('host1'))

        acting.force_down(service, True)
        acting.disable(service, 'fenced')
        acting.evacuate(server['id'])

        self.assertEqual(1, len(acting.evacuations('host1')))
        self._wait_for_server_parameter(
            server, {'OS-EXT-SRV-ATTR:host': 'host2', 'status': 'ACTIVE'}
        )

    def test_what_lay_in_a_queue_for_too_long_is_refused(self):
        store = self.use_store()
        lease = store.take_lease('ctl-1:1', 10.0)
        service = self.computes['host1'].service_ref.uuid
        # Said so long ago that nobody waits for the answer any more.
        late = self.open_door(lease.token, lambda: store.now() - 3600.0)
        in_time = self.open_door(lease.token, store.now)

        refused = doors.attempt(late.force_down, service, True)

        self.assertIsInstance(refused, doors.Refused)
        self.assertEqual(409, refused.status)
        self.assertIn('came too late', str(refused))
        found = {one.host: one for one in late.services()}['host1']
        self.assertFalse(found.forced_down)
        in_time.force_down(service, True)
        found = {one.host: one for one in late.services()}['host1']
        self.assertTrue(found.forced_down)
        self.assertEqual(door.UNTIL_HEADER, token.UNTIL)

    def test_without_the_store_nobody_with_a_token_may(self):
        self.use_store().take_lease('ctl-1:1', 10.0)
        backend._stores.clear()
        self.flags(
            connection=f'sqlite:///{self.directory}/absent/ha.sqlite',
            group='nova_ha_database',
        )
        service = self.computes['host1'].service_ref.uuid

        unanswered = doors.attempt(self.open_door(1).force_down, service, True)

        self.assertIsInstance(unanswered, doors.Unanswered)
        self.assertIn('503', str(unanswered))
        found = {one.host: one for one in self.open_door(1).services()}
        self.assertFalse(found['host1'].forced_down)

    def test_everybody_else_is_left_alone(self):
        self.use_store()
        service = self.computes['host1'].service_ref.uuid

        self.admin_api.api_put(
            f'/os-services/{service}', {'status': 'disabled'}
        )

        self.assertEqual(door.LEASE_HEADER, token.HEADER)
        found = {one.host: one for one in self.open_door(0).services()}
        self.assertTrue(found['host1'].disabled)
