# SPDX-License-Identifier: Apache-2.0

"""Evacuations of two cells, whose numbers collide, and a cell that is down."""

import threading
import time

import fixtures
from nova.db.main import api as main_db
from oslo_db import exception as db_exception

from nova_ha_plugins.api import evidence
from tests.functional.nova import base
from tests.functional.nova import rows

UNKNOWN = '5d4c2f6e-0000-4000-8000-000000000001'


class TwoCellsTest(base.NovaTestCase):
    """Four evacuations in each cell, made at the same moments."""

    NUMBER_OF_CELLS = 2

    def setUp(self):
        super().setUp()
        self.written = {
            cell.name: [
                rows.Evacuation(created=number // 2).write(
                    self.api.project_id, cell
                )
                for number in range(4)
            ]
            for cell in rows.cells()
        }

    def ask(self, path, status=200):
        answer = self.request(path)
        self.assertEqual(status, answer.status_code, answer.text)
        return answer.json()

    def list_pages(self, limit):
        """Follow the links from page to page; give all items."""
        found, path = [], f'/os-evacuations?limit={limit}'
        while path:
            page = self.ask(path)
            self.assertLessEqual(len(page['evacuations']), limit)
            found += page['evacuations']
            [link] = page.get('evacuations_links', [{'href': ''}])
            path = link['href'].partition('/v2.1')[2]
        return found

    def break_cell(self, *names, hang=None):
        """Let the databases of these cells refuse, or hang, from now on."""
        down = [cell.uuid for cell in rows.cells() if cell.name in names]
        real = main_db.get_context_manager

        def get(ctxt):
            if getattr(ctxt, 'cell_uuid', None) in down:
                if hang is not None:
                    hang.wait(20)
                raise db_exception.DBConnectionError('no route to the cell')
            return real(ctxt)

        self.useFixture(
            fixtures.MonkeyPatch('nova.db.main.api.get_context_manager', get)
        )

    def test_every_page_begins_where_the_last_one_ended(self):
        whole = self.ask('/os-evacuations')['evacuations']

        places = [
            (item['created_at'], item['id'], item['uuid']) for item in whole
        ]
        self.assertEqual(sorted(places, reverse=True), places)
        self.assertEqual(8, len({item['uuid'] for item in whole}))
        # Both cells counted from 1: the numbers say nothing.
        self.assertEqual(4, len({item['id'] for item in whole}))
        for limit in (1, 2, 3, 7):
            self.assertEqual(whole, self.list_pages(limit), limit)

    def test_the_same_number_is_another_evacuation_in_another_cell(self):
        first, second = (found[0] for found in self.written.values())

        for mine, other in ((first, second), (second, first)):
            path = f'/servers/{mine.server}/evacuations'
            [item] = self.ask(path)['evacuations']
            shown = self.ask(f'{path}/{item["id"]}')['evacuation']
            self.assertEqual(mine.uuid, shown['uuid'])
            self.ask(f'{path}/{other.uuid}', 404)

    def test_what_another_cell_knows_of_a_server_is_not_mixed_in(self):
        # A server that moved leaves its rows in the cell it came from.
        first, second = rows.cells()
        moved = rows.Evacuation(
            'completed', created=9, task=None, host='host2'
        ).write(self.api.project_id, first)
        moved.write_again(second, created=10, status='error')

        found = {
            item['uuid']: item
            for item in self.ask(
                f'/os-evacuations?instance_uuid={moved.server}'
            )['evacuations']
        }

        self.assertEqual(2, len(found))
        self.assertEqual('succeeded', found.pop(moved.uuid)['state'])
        [other] = found.values()
        self.assertEqual('failed', other['state'])
        self.assertIsNone(other['volumes_total'])

    def test_list_leaves_out_a_cell_that_is_down(self):
        self.break_cell('cell2')

        found = self.ask('/os-evacuations')['evacuations']

        self.assertEqual(
            {each.uuid for each in self.written['cell1']},
            {item['uuid'] for item in found},
        )

    def test_server_of_a_cell_that_is_down_is_unavailable(self):
        self.break_cell('cell2')
        here, away = (found[0] for found in self.written.values())

        for path in ('', f'/{away.uuid}'):
            answer = self.ask(f'/servers/{away.server}/evacuations{path}', 503)
            message = answer['serviceUnavailable']['message']
            self.assertIn(away.server, message)
            self.assertIn('try again later', message)
        self.ask(f'/servers/{here.server}/evacuations')

    def test_marker_that_may_be_in_a_cell_that_is_down_is_not_wrong(self):
        here, away = (found[0] for found in self.written.values())
        self.ask(f'/os-evacuations?marker={UNKNOWN}', 400)
        self.break_cell('cell2')

        for uuid in (away.uuid, UNKNOWN):
            answer = self.ask(f'/os-evacuations?marker={uuid}', 503)
            self.assertIn(uuid, answer['serviceUnavailable']['message'])
        self.ask(f'/os-evacuations?marker={here.uuid}')

    def test_nothing_is_not_what_there_is_when_no_cell_answers(self):
        self.break_cell('cell1', 'cell2')

        answer = self.ask('/os-evacuations', 503)

        text = answer['serviceUnavailable']['message']
        self.assertIn('None of the 2 cells answered', text)

    def test_cell_that_goes_down_meanwhile_is_left_out_as_well(self):
        read, down = evidence.read_cell, [rows.cells()[1].uuid]

        def read_cell(ctxt, records):
            if ctxt.cell_uuid in down:
                raise db_exception.DBConnectionError('no route to the cell')
            return read(ctxt, records)

        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_ha_plugins.api.evidence.read_cell', read_cell
            )
        )

        found = self.ask('/os-evacuations')['evacuations']
        summary = self.request(
            '/os-evacuations/summary', version='instance-ha 1.2'
        ).json()['evacuations_summary']
        down.append(rows.cells()[0].uuid)
        self.ask('/os-evacuations', 503)

        self.assertEqual(
            {each.uuid for each in self.written['cell1']},
            {item['uuid'] for item in found},
        )
        self.assertEqual(1, summary['cells_down'])
        self.assertEqual(4, summary['hosts'][0]['total'])

    def test_a_cell_that_hangs_is_waited_for_as_long_as_nova_waits(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.useFixture(fixtures.MonkeyPatch('nova.context.CELL_TIMEOUT', 0.2))
        self.break_cell('cell2', hang=gate)

        began = time.monotonic()
        found = self.ask('/os-evacuations')['evacuations']

        self.assertEqual(4, len(found))
        self.assertLess(time.monotonic() - began, 10)
