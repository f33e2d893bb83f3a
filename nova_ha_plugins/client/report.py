# SPDX-License-Identifier: Apache-2.0

"""One incident as one document: for a program, or for the people afterwards.

Both are made from what the API shows and nothing else, so that a report can
be made by whoever may read the incident, and again from the exported JSON.
"""

from collections import abc
import dataclasses
import json
import typing

from nova_ha_plugins import printable
from nova_ha_plugins.recovery import replay

Item = dict[str, typing.Any]

# Written beside the incident, so that a reader of later years knows it.
FORMAT = 'nova-ha-incident'
VERSION = 1

# Fields of what a gate answers that holds.
_HOLD = {'code', 'reason', 'after'}

# What would be taken for an element of Markdown, or of HTML within it.
_MARKS = str.maketrans({mark: f'\\{mark}' for mark in '\\`*_[]|~#'})


@dataclasses.dataclass(frozen=True)
class Again:
    """A decision of the timeline, made again from what was saved.

    :ivar then: what was decided.
    :ivar now: what this release decides from the same input.
    :ivar trouble: why it could not be made again, '' if it was.
    """

    seq: int
    at: str
    name: str
    then: str
    now: str
    same: bool
    trouble: str = ''


def to_json(incident: Item) -> str:
    """Give the whole incident as JSON, with its format named."""
    document = {'format': FORMAT, 'version': VERSION, 'incident': incident}
    return json.dumps(document, indent=2, sort_keys=True) + '\n'


def from_json(text: str) -> Item:
    """Give the incident out of an exported document.

    :raises ValueError: the text is none, or one of a newer release.
    """
    try:
        document = json.loads(text)
        found, version = document['format'], document['version']
        incident = document['incident']
        seqs = [entry['seq'] for entry in incident['timeline']]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'Not an exported incident: {error!r}. Expected what openstack '
            'ha incident export --as json writes'
        ) from error
    if found != FORMAT or version > VERSION:
        raise ValueError(
            f"Document is '{found}' version {version}, expected '{FORMAT}' "
            f'version {VERSION} or lower'
        )
    if seqs != list(range(1, len(seqs) + 1)):
        raise ValueError(
            f"The timeline of incident '{incident.get('uuid')}' has lines "
            f'{_gaps(seqs)}, expected 1 to {len(seqs)} without a gap: the '
            'document was changed'
        )
    return dict(incident)


def _gaps(seqs: abc.Sequence[int]) -> str:
    shown = ', '.join(str(seq) for seq in seqs[:20])
    return shown if len(seqs) <= 20 else f'{shown}, ...'


def replayed(incident: Item) -> list[Again]:
    """Make every decision of the timeline again from its saved input."""
    found = []
    for entry in incident['timeline']:
        if not entry.get('input'):
            continue
        try:
            again = replay.replay(entry['input'])
        except ValueError as error:
            found.append(
                Again(entry['seq'], entry['at'], '', '', '', False, str(error))
            )
            continue
        found.append(
            Again(
                entry['seq'],
                entry['at'],
                again.name,
                _answer(again.saved),
                _answer(again.again),
                again.same,
            )
        )
    return found


def _answer(answer: typing.Any) -> str:
    """Say what a decision came to; all of it, so that no change is hidden."""
    if answer is None:
        return 'go on: no gate holds it'
    if isinstance(answer, dict) and answer.keys() == _HOLD:
        return (
            f'held as {answer["code"]}, again after {answer["after"]:g} s: '
            f'{answer["reason"]}'
        )
    if isinstance(answer, str):
        return answer
    return json.dumps(answer, sort_keys=True)


def to_markdown(incident: Item) -> str:
    """Give the incident as a page that can be read and kept."""
    lines = [
        f'# Host {_text(incident["host"])}: incident {incident["uuid"]}',
        '',
        *_summary(incident),
        '## Evidence',
        '',
        'What each channel said when it was last asked.',
        '',
        *_evidence(incident),
        '## Proof that the host is off',
        '',
        *_fence(incident['fence']),
        '## Servers',
        '',
        *_servers(incident),
        '## Timeline',
        '',
        'Times are UTC, by the clock of the database.',
        '',
        *_timeline(incident),
        *_decisions(incident),
    ]
    return '\n'.join(lines).rstrip() + '\n'


def _evidence(incident: Item) -> list[str]:
    return _table(
        ('Channel', 'Sign', 'Read at', 'Last heard before', 'Detail'),
        (
            (
                each['channel'],
                each['sign'],
                each['at'],
                None if each['age'] is None else f'{each["age"]:.1f} s',
                each['text'],
            )
            for each in incident['evidence']
        ),
    )


def _servers(incident: Item) -> list[str]:
    names = ('vm_state', 'priority', 'state', 'destination', 'attempts')
    return _table(
        (
            'Server',
            'UUID',
            'Was',
            'Priority',
            'Outcome',
            'On host',
            'Attempts',
            'Why',
        ),
        (
            (
                each['name'],
                each['uuid'],
                *(each[name] for name in names),
                each['reason'],
            )
            for each in incident['servers']
        ),
    )


def _timeline(incident: Item) -> list[str]:
    names = ('seq', 'at', 'kind', 'code', 'text')
    return _table(
        ('#', 'Time', 'Kind', 'Code', 'What happened'),
        ([each.get(name) for name in names] for each in incident['timeline']),
    )


def _summary(incident: Item) -> list[str]:
    names = (
        ('Phase', 'phase'),
        ('Outcome', 'outcome'),
        ('Verdict', 'verdict'),
        ('Reason', 'reason'),
        ('Compute service', 'service_uuid'),
        ('Epoch', 'epoch'),
        ('Opened', 'opened_at'),
        ('Closed', 'closed_at'),
    )
    return _table(
        ('What', 'Value'),
        ((name, incident.get(key)) for name, key in names),
    )


def _fence(fence: Item | None) -> list[str]:
    if fence is None:
        return ['The host was not fenced.', '']
    return _table(
        ('What', 'Value'),
        ((name.replace('_', ' '), value) for name, value in fence.items()),
    )


def _decisions(incident: Item) -> list[str]:
    decisions = [each for each in incident['timeline'] if each.get('input')]
    if not decisions:
        return []
    lines = [
        '## Decisions',
        '',
        'Each decision with all that it was made from; openstack ha incident '
        'replay makes them again.',
        '',
    ]
    for each in decisions:
        lines += [
            f'### {each["seq"]}: {_text(each["code"])}, {each["at"]}',
            '',
            # Four blanks before each line: whatever it holds, it is text.
            *(
                f'    {printable.line(line)}'
                for line in _indented(each['input']).splitlines()
            ),
            '',
        ]
    return lines


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, sort_keys=True)
    except ValueError:
        return text


def _table(
    head: abc.Sequence[str], rows: abc.Iterable[abc.Sequence[typing.Any]]
) -> list[str]:
    lines = [_row(head), _row(['---'] * len(head))]
    lines += [
        _row(['' if each is None else _text(str(each)) for each in row])
        for row in rows
    ]
    return [*lines, '']


def _row(cells: abc.Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _text(text: str) -> str:
    """Give text of others so that it neither breaks nor decorates a page."""
    marked = printable.line(text).translate(_MARKS)
    return marked.replace('&', '&amp;').replace('<', '&lt;')
