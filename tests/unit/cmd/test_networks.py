# SPDX-License-Identifier: Apache-2.0

"""What the doctor says of networks that are probed."""

import unittest

from nova_ha_plugins.cmd import finding
from nova_ha_plugins.cmd import networks
from nova_ha_plugins.recovery import incident

Sign = incident.Sign


def readings(**signs):
    return tuple(
        incident.Reading(
            'probe' if name == 'management' else f'probe:{name}',
            sign,
            1.0,
            text=f'{name} says {sign}',
        )
        for name, sign in signs.items()
    )


class NetworksTest(unittest.TestCase):
    def test_host_that_answers_everywhere_is_fine(self):
        (found,) = networks.check(
            'cmp-1',
            readings(management=Sign.ALIVE, storage=Sign.ALIVE),
            'fence',
        )

        self.assertIs(finding.Level.OK, found.level)
        self.assertEqual(
            "Host 'cmp-1' answers on: management, storage", found.text
        )

    def test_silent_network_of_a_living_host_is_named_with_its_key(self):
        for network, key in (
            ('management', "'probe'"),
            ('storage', "'networks.storage'"),
        ):
            signs = {'management': Sign.ALIVE, 'storage': Sign.ALIVE}
            (found,) = networks.check(
                'cmp-1', readings(**signs | {network: Sign.SILENT}), 'alert'
            )

            self.assertIs(finding.Level.ACTION, found.level)
            self.assertRegex(
                found.text,
                f"'cmp-1' beats .*on network '{network}': {network} says "
                f'silent; .*correct {key} in the fencing map',
            )

    def test_network_without_a_way_holds_every_fence(self):
        (found,) = networks.check(
            'cmp-1',
            readings(management=Sign.ALIVE, tenant=Sign.UNKNOWN),
            'alert',
        )

        self.assertIs(finding.Level.ACTION, found.level)
        self.assertIn('never called dead', found.text)
        self.assertIn('tenant says unknown', found.text)

    def test_policy_that_means_nothing_for_a_host_is_noted(self):
        given = readings(management=Sign.ALIVE)

        (found,) = networks.check('cmp-1', given, 'fence')
        (fine,) = networks.check('cmp-1', given, 'alert')

        self.assertIs(finding.Level.NOTE, found.level)
        self.assertIn('management = fence means nothing', found.text)
        self.assertIs(finding.Level.OK, fine.level)
