# SPDX-License-Identifier: Apache-2.0

"""The page of server states shows the table that the engine uses."""

import pathlib
import unittest

from tools import server_states

PAGE = (
    pathlib.Path(__file__)
    .parents[3]
    .joinpath('doc', 'source', 'admin', 'server-states.inc')
)


class TestServerStates(unittest.TestCase):
    def test_the_page_shows_the_table_of_the_engine(self):
        self.assertEqual(
            ''.join(server_states.table()),
            PAGE.read_text(),
            'tools/server-states > doc/source/admin/server-states.inc',
        )
