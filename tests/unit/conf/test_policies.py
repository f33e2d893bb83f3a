# SPDX-License-Identifier: Apache-2.0

import dataclasses
import pathlib
import tempfile
import unittest

from oslo_config import cfg

from nova_ha_plugins.conf import policies
from nova_ha_plugins.engine import doors

ADMIN = doors.TrustView('u-1', 'p-1', ('member', 'admin'))
TENANT = doors.TrustView('u-2', 'p-2', ('member', 'reader'))


class PolicyTest(unittest.TestCase):
    def enforcer(self, overrides=''):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = pathlib.Path(directory.name) / 'policy.yaml'
        path.write_text(overrides)
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        enforcer = policies.enforcer(conf)
        conf.set_override('policy_file', str(path), group='oslo_policy')
        enforcer.policy_file = str(path)
        return enforcer

    def test_the_trust_of_an_administrator_may_report(self):
        self.assertTrue(policies.trust_allows(self.enforcer(), ADMIN))

    def test_the_trust_of_a_tenant_may_not(self):
        self.assertFalse(policies.trust_allows(self.enforcer(), TENANT))

    def test_a_trust_that_is_gone_may_not(self):
        @dataclasses.dataclass(frozen=True)
        class DeletedTrust(doors.TrustView):
            deleted: bool = True

        gone = DeletedTrust('u-1', 'p-1', ('admin',))
        self.assertFalse(policies.trust_allows(self.enforcer(), None))
        self.assertFalse(policies.trust_allows(self.enforcer(), gone))

    def test_no_roles_at_all_may_not(self):
        nobody = doors.TrustView('', '', ())

        self.assertFalse(policies.trust_allows(self.enforcer(), nobody))

    def test_an_operator_may_name_another_role(self):
        enforcer = self.enforcer(f'"{policies.REPORT}": "role:ha_reporter"')
        reporter = doors.TrustView('u', 'p', ('ha_reporter',))

        self.assertTrue(policies.trust_allows(enforcer, reporter))
        self.assertFalse(policies.trust_allows(enforcer, ADMIN))

    def test_the_rule_is_listed_once(self):
        names = [rule.name for rule in policies.list_rules()]

        self.assertEqual(['instance-ha:incidents:report'], names)
