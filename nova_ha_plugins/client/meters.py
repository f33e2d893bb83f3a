# SPDX-License-Identifier: Apache-2.0

"""``openstack ha meters create``: what gnocchi has to know of our meters.

Archive policies and attributes of resources, as gnocchi_resources_ha.yaml
has them. What is there already is changed only where it lacks something: an
operator may keep things for longer.
"""

import argparse
from collections import abc
import dataclasses
import importlib.resources
import re
import typing

from keystoneauth1 import adapter
from keystoneauth1 import exceptions as ks_exceptions
from osc_lib.command import command
from osc_lib import exceptions
import yaml

from nova_ha_plugins.client import ha
from nova_ha_plugins import printable

Item = dict[str, typing.Any]

CREATED, CHANGED, UNCHANGED = 'created', 'changed', 'unchanged'
# Gnocchi cannot change it, or somebody wanted it so.
DIFFERS = 'differs'

_SECONDS = {'second': 1, 'minute': 60, 'hour': 3600, 'day': 86400}
_WORDS = re.compile(r'(\d+) (second|minute|hour|day)s?')
# As python prints a duration, and so does gnocchi.
_PRINTED = re.compile(r'(?:(\d+) days?, )?(\d+):(\d\d):(\d\d)(?:\.0+)?')


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one thing.

    :ivar kind: 'archive policy' or 'resource type'.
    :ivar text: what was lacking or differs, for people.
    """

    kind: str
    name: str
    result: str
    text: str = ''


def definitions() -> Item:
    """Return what is shipped for ceilometer's publisher, and for us."""
    source = importlib.resources.files('ceilometer_pollsters')
    text = (source / 'data' / 'gnocchi_resources_ha.yaml').read_text()
    found: Item = yaml.safe_load(text)
    return found


def seconds(text: str) -> int:
    """Return a duration of ours ('2 hours') or of gnocchi ('2:00:00').

    :raises ValueError: it is neither.
    """
    if found := _WORDS.fullmatch(text):
        return int(found[1]) * _SECONDS[found[2]]
    if found := _PRINTED.fullmatch(text):
        days, *clock = (int(part or 0) for part in found.groups())
        hours, minutes, rest = clock
        return ((days * 24 + hours) * 60 + minutes) * 60 + rest
    raise ValueError(f"Expected a duration such as '2:00:00', found '{text}'")


class Metrics:
    """Gnocchi's API, as far as we need it."""

    def __init__(self, session: adapter.Adapter) -> None:
        self._session = session

    def get(self, path: str) -> Item | None:
        """Return one thing, None if there is no such thing."""
        answer = self._call('GET', path)
        if answer.status_code == 404:
            return None
        found: Item = self._expect(answer, path).json()
        return found

    def create(self, path: str, body: Item) -> bool:
        """Make a thing; not, if another one was faster."""
        answer = self._call('POST', path, json=body)
        if answer.status_code == 409:
            return False
        self._expect(answer, path)
        return True

    def change(self, path: str, body: typing.Any, form: str) -> None:
        """Change a thing.

        :param form: the media type of the body.
        """
        headers = {'Content-Type': form}
        answer = self._call('PATCH', path, json=body, headers=headers)
        self._expect(answer, path)

    def _call(self, verb: str, path: str, **given: typing.Any) -> typing.Any:
        try:
            return self._session.request(
                f'/v1/{path}', verb, raise_exc=False, **given
            )
        except ks_exceptions.EndpointNotFound as error:
            raise exceptions.CommandError(
                "Expected a service of the type 'metric' in keystone's "
                'catalogue and found none. Without gnocchi there is nothing '
                'to create'
            ) from error
        except ks_exceptions.ClientException as error:
            raise exceptions.CommandError(
                f'Gnocchi could not be asked: {printable.line(str(error))}. '
                'What was done before stays; the command can be repeated'
            ) from error

    @staticmethod
    def _expect(answer: typing.Any, path: str) -> typing.Any:
        if answer.status_code == 403:
            raise exceptions.CommandError(
                f"Gnocchi refused '{path}': expected a user with the role "
                'admin, found one without. What was done before stays'
            )
        if answer.status_code >= 400:
            text = printable.line(answer.text, 400)
            raise exceptions.CommandError(
                f"Gnocchi refused '{path}' with {answer.status_code}: {text}. "
                'What was done before stays; the command can be repeated'
            )
        return answer


def _granularities(policy: Item) -> dict[int, int]:
    """Return how long values are kept, by their granularity, in seconds."""
    return {
        seconds(item['granularity']): seconds(item['timespan'])
        for item in policy['definition']
    }


def policy_outcome(metrics: Metrics, wanted: Item, dry: bool) -> Outcome:
    """Make one archive policy, or let it keep values for as long as ours.

    :param dry: only say what would be done.
    """
    name = wanted['name']
    kind, path = 'archive policy', f'archive_policy/{name}'
    found = metrics.get(path)
    if found is None:
        if dry or metrics.create('archive_policy', wanted):
            return Outcome(kind, name, CREATED)
        found = metrics.get(path) or wanted
    have, want = _granularities(found), _granularities(wanted)
    missing = set(wanted['aggregation_methods']) - set(
        found['aggregation_methods']
    )
    if set(have) != set(want) or missing:
        return Outcome(
            kind,
            name,
            DIFFERS,
            f'Expected granularities of {_listed(want)} s and '
            f'{_listed(wanted["aggregation_methods"])}, found '
            f'{_listed(have)} s and {_listed(found["aggregation_methods"])}. '
            'Gnocchi cannot change that; graphs may lack values',
        )
    if all(have[each] >= want[each] for each in want):
        return Outcome(kind, name, UNCHANGED)
    if not dry:
        kept = [
            {'granularity': each, 'timespan': max(have[each], want[each])}
            for each in sorted(want)
        ]
        metrics.change(path, {'definition': kept}, 'application/json')
    return Outcome(kind, name, CHANGED, 'Values are kept for longer')


def type_outcome(
    metrics: Metrics, name: str, wanted: Item, dry: bool
) -> Outcome:
    """Make one resource type, or add the attributes that it lacks.

    :param dry: only say what would be done.
    """
    kind, path = 'resource type', f'resource_type/{name}'
    found = metrics.get(path)
    if found is None:
        body: Item = {'name': name, 'attributes': wanted}
        if dry or metrics.create('resource_type', body):
            return Outcome(kind, name, CREATED)
        found = metrics.get(path) or body
    have = found['attributes']
    other = sorted(
        each
        for each in set(have) & set(wanted)
        if have[each]['type'] != wanted[each]['type']
    )
    # No sample of ours brings what somebody else made a must.
    musts = sorted(
        each
        for each, attribute in have.items()
        if attribute['required'] and each not in wanted
    )
    if other or musts:
        return Outcome(
            kind,
            name,
            DIFFERS,
            f'Expected other types of {_listed(other)}, and nothing required '
            f'of {_listed(musts)}. Resources of it may not be made',
        )
    missing = sorted(set(wanted) - set(have))
    if not missing:
        return Outcome(kind, name, UNCHANGED)
    if not dry:
        steps = [
            {
                'op': 'add',
                'path': f'/attributes/{each}',
                'value': wanted[each],
            }
            for each in missing
        ]
        metrics.change(path, steps, 'application/json-patch+json')
    return Outcome(kind, name, CHANGED, f'It got {_listed(missing)}')


def _listed(names: abc.Iterable[typing.Any]) -> str:
    return ', '.join(str(name) for name in sorted(names)) or 'none'


def create(metrics: Metrics, dry: bool = False) -> list[Outcome]:
    """Make what gnocchi lacks, and say what was done of each thing.

    :param dry: only say it.
    """
    wanted = definitions()
    return [
        policy_outcome(metrics, policy, dry)
        for policy in wanted['archive_policies']
    ] + [
        type_outcome(metrics, name, attributes, dry)
        for name, attributes in wanted['resource_types'].items()
    ]


class CreateMeters(command.Lister):
    """Create in gnocchi what the meters of instance HA need.

    Archive policies and attributes of resources. It can be repeated: what is
    there is left alone, and changed only where it lacks something. The exit
    code is 1 if something differs that cannot be changed.
    """

    code = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help='Only say what would be created and changed',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ha.Listed:
        manager = self.app.client_manager
        metrics = Metrics(
            adapter.Adapter(
                manager.session,
                service_type='metric',
                interface=manager.interface,
                region_name=manager.region_name,
            )
        )
        outcomes = create(metrics, parsed_args.dry_run)
        self.code = int(any(each.result == DIFFERS for each in outcomes))
        return (
            ('Kind', 'Name', 'Result', 'Explanation'),
            [dataclasses.astuple(each) for each in outcomes],
        )

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Do it, then give the exit code."""
        return super().run(parsed_args) or self.code
