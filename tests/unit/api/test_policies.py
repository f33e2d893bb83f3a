# SPDX-License-Identifier: Apache-2.0

"""The rules: what is in them, and that nova is not needed to list them."""

import subprocess
import sys
import unittest

from nova_ha_plugins.api import policies

WITHOUT_NOVA = """
import sys
sys.modules['nova'] = None
from nova_ha_plugins.api import policies
print(len(policies.list_rules()))
"""


class PoliciesTest(unittest.TestCase):
    def test_what_is_not_the_administrators_is_named_here(self):
        others = {
            policies.EVACUATIONS_SHOW: 'rule:project_reader_or_admin',
            policies.EVACUATIONS_REPORT: 'rule:service_or_admin',
            policies.GUARD_OVERRIDE: '!',
        }

        for rule in policies.list_rules():
            expected = others.get(rule.name, 'rule:context_is_admin')
            self.assertEqual(expected, rule.check_str, rule.name)

    def test_names_are_ours_and_unique(self):
        names = [rule.name for rule in policies.list_rules()]

        self.assertEqual(sorted(set(names)), sorted(names))
        for name in names:
            self.assertTrue(name.startswith('os_compute_api:instance-ha:'))

    def test_rules_are_listed_without_nova(self):
        ran = subprocess.run(
            [sys.executable, '-c', WITHOUT_NOVA],
            capture_output=True,
            text=True,
            check=True,
        )

        self.assertEqual(f'{len(policies.list_rules())}\n', ran.stdout)


if __name__ == '__main__':
    unittest.main()
