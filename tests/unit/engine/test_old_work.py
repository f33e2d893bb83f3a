# SPDX-License-Identifier: Apache-2.0

"""What a person sent to a host that died waits there in the bus."""

from unittest import mock

from tests.scenarios import cloud
from tests.scenarios import language
from tests.scenarios import tell

STORY = 'destination-back-takes-old-work'


class OldWorkTest(tell.QuietTest):
    def test_named_destination_may_still_take_up_what_nobody_took(self):
        evacuate, choose = cloud.Cloud.evacuate, cloud.Cloud.choose
        named = ['h2']

        def to_h2(nova, uuid, by):
            record = evacuate(nova, uuid, by)
            if uuid == 's1' and named:
                # As nova writes it when somebody names the host.
                record.dest = 'h2'
            return record

        def as_named(nova, source):
            if source == 'h1' and named:
                return named.pop()
            return choose(nova, source)

        with (
            mock.patch.object(cloud.Cloud, 'evacuate', to_h2),
            mock.patch.object(cloud.Cloud, 'choose', as_named),
        ):
            sim = language.play(language.load(STORY))

        evacuated = [a.target for a in sim.acts if a.call == 'evacuate']
        self.assertEqual(1, evacuated.count('s1'))
        self.assertEqual('h2', sim.cloud.servers['s1'].host)
