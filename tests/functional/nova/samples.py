# SPDX-License-Identifier: Apache-2.0

"""Samples of the API reference, made from answers of a real run.

With ``NOVA_HA_WRITE_SAMPLES=1`` they are written anew; otherwise an answer
that is another than its sample is a failure. What no two runs have in common
is replaced: uuids by others in the order in which they come, times by others
in the same order.
"""

import difflib
import json
import os
import pathlib
import re
import uuid

DIRECTORY = pathlib.Path(__file__, '../../../../api-ref/source/samples')
WRITE = 'NOVA_HA_WRITE_SAMPLES'

_ENDPOINT = re.compile(r'http://[^/]+/v2\.1')
_UUID = re.compile('[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}')
_TIME = re.compile(r'2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?')
_WAITED = re.compile(r'\(\d+ s\)')


class Samples:
    """The samples of one run: the same thing has one name in all of them.

    :param names: other words that differ, with what stands for them.
    """

    def __init__(self, case, names):
        self._case = case
        self._names = names
        self._uuids = {}
        self._times = set()
        self._taken = {}

    def take(self, name, answer, moment=''):
        """Keep an answer for ``check``.

        :param moment: a time that the answer may say in whole seconds.
        """
        text = _WAITED.sub('(6 s)', json.dumps(answer))
        if moment:
            text = text.replace(f'{moment[:19]}Z', f'{moment}Z')
        self._times.update(_TIME.findall(text))
        self._taken[name] = text

    def check(self):
        """Compare all that was taken with the samples, or write these."""
        order = {time: n for n, time in enumerate(sorted(self._times))}
        for name, text in self._taken.items():
            text = _ENDPOINT.sub(
                'https://openstack.example.com/compute/v2.1', text
            )
            for found, shown in self._names.items():
                text = text.replace(found, shown)
            text = _UUID.sub(self._uuid, text)
            text = _TIME.sub(
                lambda match: _time(order[match.group()]),
                text,
            )
            self._compare(name, json.loads(text))

    def _uuid(self, match):
        number = self._uuids.setdefault(match.group(), len(self._uuids))
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f'{number}.example.com'))

    def _compare(self, name, answer):
        path = DIRECTORY.resolve() / name
        found = json.dumps(answer, indent=4) + '\n'
        if os.environ.get(WRITE):
            path.write_text(found)
            return
        there = path.read_text() if path.exists() else ''
        difference = difflib.unified_diff(
            there.splitlines(), found.splitlines(), name, 'answer', lineterm=''
        )
        self._case.assertEqual(
            there,
            found,
            '\n'.join(difference) + f'\n\n{WRITE}=1 writes the samples anew.',
        )


def _time(number):
    minutes, seconds = divmod(number * 3, 60)
    return f'2026-11-20T14:{minutes:02}:{seconds:02}.{366_444 + number}'
