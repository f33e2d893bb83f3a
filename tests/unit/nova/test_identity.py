# SPDX-License-Identifier: Apache-2.0

"""Tests of the door to keystone against a small one on the loopback."""

import testtools

from nova_ha_plugins.engine import doors
from nova_ha_plugins.nova import identity
from tests.unit.nova import servers

TRUST = 'GET /v3/OS-TRUST/trusts/t1'


class TrustTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.cloud = servers.FakeCloud()
        self.addCleanup(self.cloud.close)
        self.door = identity.IdentityDoor(self.cloud.conf())
        self.cloud.trusts['t1'] = {
            'id': 't1',
            'trustor_user_id': 'alice',
            'trustee_user_id': 'aodh',
            'project_id': 'p1',
            'impersonation': True,
            'deleted_at': None,
            'expires_at': None,
            'remaining_uses': None,
            'roles': [
                {'id': 'r1', 'name': 'member'},
                {'id': 'r2', 'name': 'admin'},
            ],
        }
        self.cloud.users['alice'] = {'id': 'alice', 'enabled': True}
        self.cloud.assignments = [('alice', 'p1', 'r1'), ('alice', 'p1', 'r2')]

    def test_trust_names_who_stands_behind_it(self):
        self.assertEqual(
            doors.TrustView('alice', 'p1', ('admin', 'member')),
            self.door.trust('t1'),
        )

    def test_role_that_the_trustor_lost_does_not_count(self):
        self.cloud.assignments.remove(('alice', 'p1', 'r2'))

        self.assertEqual(('member',), self.door.trust('t1').roles)

    def test_role_in_another_project_does_not_count(self):
        self.cloud.assignments = [('alice', 'p2', 'r2')]

        self.assertEqual((), self.door.trust('t1').roles)

    def test_role_that_the_trust_does_not_give_does_not_count(self):
        self.cloud.trusts['t1']['roles'].pop()

        self.assertEqual(('member',), self.door.trust('t1').roles)

    def test_trust_that_is_gone_is_none(self):
        self.assertIsNone(self.door.trust('t2'))

    def test_trust_of_a_disabled_or_deleted_user_is_none(self):
        self.cloud.users['alice']['enabled'] = False
        self.assertIsNone(self.door.trust('t1'))

        self.cloud.users.clear()
        self.assertIsNone(self.door.trust('t1'))

    def test_trust_without_a_project_has_no_roles(self):
        self.cloud.trusts['t1']['project_id'] = None

        self.assertEqual((), self.door.trust('t1').roles)

    def test_keystone_that_does_not_let_us_look_says_nothing(self):
        for where in (
            TRUST,
            'GET /v3/users/alice',
            'GET /v3/role_assignments',
        ):
            for status in (401, 403, 429, 500, 503):
                self.cloud.faults = {
                    where: lambda handler, status=status: (
                        handler.answer(
                            status,
                            {'error': {'code': status, 'message': 'no'}},
                        )
                        or True
                    )
                }

                self.assertRaises(doors.Unanswered, self.door.trust, 't1')

    def test_malformed_answer_says_nothing(self):
        for where in (
            TRUST,
            'GET /v3/users/alice',
            'GET /v3/role_assignments',
        ):
            for raw in (
                b'',
                b'<html>',
                b'{}',
                b'[]',
                b'{"role_assignments": [1]}',
            ):
                self.cloud.faults = {
                    where: lambda handler, raw=raw: (
                        handler.answer(200, raw=raw) or True
                    )
                }

                self.assertRaises(doors.Unanswered, self.door.trust, 't1')

    def test_text_that_is_no_trust_id_is_not_even_asked_for(self):
        for text in (
            '',
            '.',
            '../../users/alice',
            't1/roles',
            't1?x',
            'a b',
            'x' * 65,
        ):
            self.assertIsNone(self.door.trust(text))

        self.assertEqual([], self.cloud.requests)

    def test_slow_keystone_takes_a_small_share_of_the_time(self):
        now = [0.0]
        door = identity.IdentityDoor(self.cloud.conf(), lambda: now[0])

        def slow(handler):
            now[0] += 5.0
            return False

        self.cloud.faults = {TRUST: slow}
        asked = []
        while now[0] < 200:
            before = now[0]
            try:
                door.trust('t1')
            except doors.Unanswered as error:
                self.assertIn('took too much of the time', str(error))
                now[0] += 1.0
            else:
                asked.append(now[0] - before)

        self.assertLess(sum(asked), 70)
        self.assertGreater(sum(asked), 30)

    def test_fast_keystone_is_asked_every_time(self):
        door = identity.IdentityDoor(self.cloud.conf(), lambda: 0.0)
        for _ in range(20):
            self.assertIsNotNone(door.trust('t1'))

    def test_hung_keystone_holds_the_engine_for_seconds_only(self):
        door = identity.IdentityDoor(self.cloud.conf(timeout=30))

        self.assertEqual(5.0, door._timeout)
        self.assertEqual(5.0, door._client._adapter.session.timeout)
