# SPDX-License-Identifier: Apache-2.0

"""What a newer release has written is left alone, and is not lost."""

import dataclasses
import json

import sqlalchemy as sa

from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident as core
from nova_ha_plugins.store import api
from nova_ha_plugins.store import models
from tests.unit.store import databases


def an_incident(uuid, host):
    return core.Incident(
        uuid=uuid,
        host=host,
        service_uuid='',
        epoch=1,
        phase=core.Phase.EVACUATING,
        opened_at=1.0,
        updated_at=1.0,
    )


class NewerTest(databases.StoreTestCase):
    def setUp(self):
        super().setUp()
        self.lease = self.store.take_lease('ctl-1:1', 60.0)
        self.ours = self.store.create(an_incident('a', 'cmp-1'), self.lease)
        self.theirs = self.store.create(an_incident('b', 'cmp-2'), self.lease)
        self.document = self.make_newer(models.incidents, 'b')

    def make_newer(self, table, uuid):
        query = sa.select(table.c.document).where(table.c.uuid == uuid)
        document = json.loads(
            self.store._db.read(lambda c: c.execute(query).scalar_one())
        )
        document['nova_ha_object.version'] = '1.99'
        document['nova_ha_object.data']['unheard_of'] = {'a': 1}
        text = json.dumps(document)
        self.execute(
            sa.update(table).where(table.c.uuid == uuid).values(document=text)
        )
        return text

    def test_it_is_named_and_the_others_are_read(self):
        self.assertEqual((self.ours,), self.store.open_incidents())
        self.assertEqual((self.ours,), self.store.incidents())
        self.assertEqual(('cmp-2',), self.store.newer_incidents())

    def test_whoever_asks_for_it_is_told_why_not(self):
        for ask in (
            lambda: self.store.incident('b'),
            lambda: self.store.open_incident_of('cmp-2'),
        ):
            with self.assertRaisesRegex(api.StoreError, 'newer release'):
                ask()

    def test_its_host_gets_no_second_incident(self):
        fact = facts.Fact(
            uuid='f',
            kind=facts.FactKind.HOST_DOWN,
            channel='webhook',
            host='cmp-2',
            verified=True,
        )

        self.assertEqual('b', self.store.report(fact))
        with self.assertRaisesRegex(api.AlreadyOpen, "'b'"):
            self.store.create(an_incident('c', 'cmp-2'), self.lease)

    def test_its_document_stays_as_it_is(self):
        changed = dataclasses.replace(self.ours, reason='looked at')
        self.store.save(changed, self.lease)
        query = sa.select(models.incidents.c.document).where(
            models.incidents.c.uuid == 'b'
        )

        self.assertEqual(
            self.document,
            self.store._db.read(lambda c: c.execute(query).scalar_one()),
        )

    def test_fact_of_a_newer_release_waits(self):
        for uuid in ('f1', 'f2'):
            self.store.add_fact(
                facts.Fact(
                    uuid=uuid,
                    kind=facts.FactKind.WAKE_UP,
                    channel='webhook',
                    host='',
                    verified=True,
                )
            )
        self.make_newer(models.facts, 'f1')

        found = [fact.uuid for fact in self.store.pending_facts()]

        self.assertEqual(['f2'], found)
