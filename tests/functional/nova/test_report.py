# SPDX-License-Identifier: Apache-2.0

"""Reports of bytes: what is taken, and what is refused with which sentence."""

from nova import context
from nova import objects
from nova.tests import fixtures as nova_fixtures
import sqlalchemy as sa

from nova_ha_plugins.api import compat
from tests.functional.nova import base

UNKNOWN = '5d4c2f6e-0000-4000-8000-000000000001'
LATEST = 'instance-ha 1.2'
SERVICE = {'user': 'sampler', 'roles': 'service', 'project': 'service'}


class ReportTest(base.NovaTestCase):
    """One evacuation that spawns, and software that measures it."""

    def setUp(self):
        super().setUp()
        self.server = self.write_evacuation(
            'host1', 'host2', status='pre-migrating', host='host1'
        )
        self.change_server(task_state='rebuild_spawning')
        [item] = self.get_evacuations(self.server)
        self.uuid = item['uuid']
        self.path = (
            f'/servers/{self.server["id"]}/evacuations/{self.uuid}/progress'
        )

    def change_server(self, **changes):
        with self.in_cell() as ctxt:
            found = objects.Instance.get_by_uuid(ctxt, self.server['id'])
            for name, value in changes.items():
                setattr(found, name, value)
            found.save()

    def change_record(self, **changes):
        with self.in_cell() as ctxt:
            record = objects.Migration.get_by_uuid(ctxt, self.uuid)
            for name, value in changes.items():
                setattr(record, name, value)
            record.save()

    def in_cell(self):
        [cell] = [
            mapping
            for mapping in objects.CellMappingList.get_all(
                context.get_admin_context()
            )
            if not mapping.is_cell0()
        ]
        return context.target_cell(context.get_admin_context(), cell)

    def put(self, total, processed, **kwargs):
        body = {
            'progress': {
                'disk_total_bytes': total,
                'disk_processed_bytes': processed,
            }
        }
        return self.put_body(body, **kwargs)

    def put_body(self, body, path=None, **kwargs):
        return self.request(
            path or self.path,
            method='PUT',
            **{'json': body, 'version': LATEST, **SERVICE, **kwargs},
        )

    def refuse(self, answer, status, fault):
        self.assertEqual(status, answer.status_code, answer.text)
        self.assertEqual(status, answer.json()[fault]['code'])
        return answer.json()[fault]['message']

    def bytes(self):
        [item] = self.get_evacuations(self.server)
        return tuple(
            item[f'disk_{name}_bytes']
            for name in ('total', 'processed', 'remaining')
        )

    def test_what_was_reported_is_shown_and_only_grows(self):
        before = self.get_evacuations(self.server)[0]['progress']

        taken = [self.put(1000, n) for n in (0, 400, 400, 1000)]

        self.assertEqual((1000, 1000, 0), self.bytes())
        self.assertEqual([204] * 4, [one.status_code for one in taken])
        self.assertEqual(b'', taken[0].content)
        self.assertIn(LATEST, taken[0].headers['OpenStack-API-Version'])
        self.assertLess(
            before, self.get_evacuations(self.server)[0]['progress']
        )
        # Nova's own word is nova's.
        self.assertEqual(
            'pre-migrating', self.get_evacuations(self.server)[0]['status']
        )

    def test_source_that_returns_does_not_end_the_reports(self):
        # Nova closes the record, and the destination goes on.
        self.change_record(status='completed')
        event = compat.models.InstanceActionEvent
        with self.in_cell() as ctxt, compat.writer(ctxt) as session:
            session.execute(
                sa.update(event).values(finish_time=None, result=None)
            )

        self.assertEqual(204, self.put(1000, 400).status_code)

        self.assertEqual((1000, 400, 600), self.bytes())

    def test_nothing_to_copy_is_something_to_say(self):
        self.assertEqual(204, self.put(0, 0).status_code)

        self.assertEqual((0, 0, 0), self.bytes())

    def test_numbers_that_cannot_be_are_refused(self):
        good = {'disk_total_bytes': 10, 'disk_processed_bytes': 1}
        for progress, word in (
            ({**good, 'disk_processed_bytes': 11}, 'no more than'),
            ({**good, 'disk_processed_bytes': -1}, '-1'),
            ({**good, 'disk_total_bytes': 2**63}, str(2**63)),
            ({**good, 'disk_total_bytes': '10'}, 'integer'),
            ({**good, 'disk_total_bytes': None}, 'integer'),
            ({**good, 'memory_total_bytes': 1}, 'memory_total_bytes'),
            ({'disk_total_bytes': 10}, 'disk_processed_bytes'),
        ):
            answer = self.put_body({'progress': progress})
            self.assertIn(word, self.refuse(answer, 400, 'badRequest'))
        for kwargs in (
            {'json': None, 'data': '{'},
            {'json': None, 'data': ''},
            {'json': []},
            {'json': {}},
        ):
            answer = self.put_body(None, **kwargs)
            self.refuse(answer, 400, 'badRequest')
        self.assertEqual((None, None, None), self.bytes())

    def test_going_back_and_another_total_are_conflicts(self):
        self.put(1000, 400)
        for total, processed, words in (
            (1000, 399, ("'disk_processed_bytes' is 399", '400')),
            (2000, 400, ("'disk_total_bytes' is 2000", '1000')),
        ):
            text = self.refuse(
                self.put(total, processed), 409, 'conflictingRequest'
            )
            for word in (*words, self.uuid, 'Nothing was changed'):
                self.assertIn(word, text)
        self.assertEqual((1000, 400, 600), self.bytes())

    def test_what_is_over_takes_no_report(self):
        for status in ('done', 'failed', 'error'):
            self.change_record(status=status)
            text = self.refuse(self.put(10, 1), 409, 'conflictingRequest')
            self.assertIn(f"nova says '{status}'", text)
        self.change_record(status='pre-migrating')
        self.change_server(host='host2', task_state=None)
        text = self.refuse(self.put(10, 1), 409, 'conflictingRequest')

        self.assertIn('is succeeded', text)
        self.assertEqual((None, None, None), self.bytes())

    def test_what_does_not_exist_is_not_found(self):
        server = self.server['id']
        other = self.write_evacuation('host1', 'host3')['id']
        for path in (
            f'/servers/{UNKNOWN}/evacuations/{self.uuid}/progress',
            f'/servers/{server}/evacuations/{UNKNOWN}/progress',
            f'/servers/{server}/evacuations/1/progress',
            f'/servers/{other}/evacuations/{self.uuid}/progress',
        ):
            answer = self.put(10, 1, path=path)
            self.refuse(answer, 404, 'itemNotFound')
        for version in (None, 'instance-ha 1.1'):
            answer = self.put(10, 1, version=version)
            self.assertIn('1.2', self.refuse(answer, 404, 'itemNotFound'))
        self.assertEqual((None, None, None), self.bytes())

    def test_only_services_and_administrators_may_say_it(self):
        project = self.api.project_id
        for kwargs in (
            {'user': 'fake', 'roles': 'reader,member', 'project': project},
            {'user': 'boss', 'roles': 'manager', 'project': project},
        ):
            text = self.refuse(self.put(10, 1, **kwargs), 403, 'forbidden')
            self.assertIn('instance-ha:evacuations:report', text)
        self.assertEqual((None, None, None), self.bytes())

        admin = {'user': 'admin', 'roles': 'admin', 'project': project}
        path = f'/{project}{self.path}'
        self.assertEqual(204, self.put(10, 1, path=path, **admin).status_code)
        self.assertEqual((10, 1, 9), self.bytes())
        self.refuse(
            self.put(10, 1, path=f'/f00d{self.path}'), 400, 'badRequest'
        )

    def test_versions_that_are_not_there_are_not_acceptable(self):
        for version in ('instance-ha 1.99', f'compute 2.999, {LATEST}'):
            answer = self.put(10, 1, version=version)
            self.assertEqual(406, answer.status_code, version)

    def test_a_cell_that_is_down_is_told(self):
        with nova_fixtures.DownCellFixture():
            answer = self.put(10, 1)

        text = self.refuse(answer, 503, 'serviceUnavailable')
        self.assertIn(self.server['id'], text)
        self.assertIn('nothing was changed', text)
        self.assertEqual((None, None, None), self.bytes())
