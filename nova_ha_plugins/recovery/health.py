# SPDX-License-Identifier: Apache-2.0

"""What is said of hosts beside their heartbeats, and by whom.

Three kinds of rows lie in one table: probes of hosts ('libvirt',
'storage:/path'), the looks of watchers ('watcher:name', of no host), and
what was told of a host last ('told:down'), which all watchers remember
together. None of them makes a host dead or alive.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses

from nova_ha_plugins.recovery import views

WATCHER = 'watcher:'
TOLD = 'told:'
TOLD_DOWN = 'told:down'
TOLD_DEGRADED = 'told:degraded'

# A look each second is usual; a watcher that begins again gets its time.
SILENT_AFTER = 15.0
# A channel that said nothing for this long was taken away.
RETIRED_AFTER = 86400.0


@dataclasses.dataclass(frozen=True)
class Watch:
    """One watcher, as it last said of itself.

    :ivar clear: whether it sees well enough to call a host down.
    :ivar hosts: how many it looked at.
    :ivar text: why it does not see, '' if it does.
    :ivar age: seconds since then.
    """

    name: str
    clear: bool
    hosts: int
    text: str
    age: float


def watches(healths: Iterable[views.HostHealth]) -> tuple[Watch, ...]:
    """Return the watchers that ever looked, in the order of their names."""
    found = (
        Watch(
            name=each.channel.removeprefix(WATCHER),
            clear=each.ok,
            hosts=int(each.value),
            text=each.text,
            age=each.age,
        )
        for each in healths
        if each.channel.startswith(WATCHER)
    )
    return tuple(sorted(found, key=lambda watch: watch.name))


def speaks(name: str, clear: bool, others: Iterable[Watch]) -> bool:
    """Return whether a watcher is the one that tells.

    All watchers look, one speaks: of those that see the first by name, and if
    none sees the first of all. Two may for a moment both think so, which
    repeats an event and loses none.

    :param others: those that were heard of lately.
    """
    own = (not clear, name)
    return all(
        own < (not other.clear, other.name)
        for other in others
        if other.name != name
    )


def probes(
    healths: Iterable[views.HostHealth],
) -> Mapping[str, tuple[views.HostHealth, ...]]:
    """Return what the probes of each host say, in the order of channels."""
    found: dict[str, list[views.HostHealth]] = {}
    for each in healths:
        if each.host and not each.channel.startswith((TOLD, WATCHER)):
            found.setdefault(each.host, []).append(each)
    return {
        host: tuple(sorted(rows, key=lambda row: row.channel))
        for host, rows in found.items()
    }


def unwell(
    healths: Iterable[views.HostHealth], patience: float
) -> Mapping[str, tuple[views.HostHealth, ...]]:
    """Return by host the channels that say that something is wrong.

    A channel that fell silent counts as well. Its silence is measured against
    the newest word of its kind from any host: a pipe that stalls makes
    nobody unwell.
    """
    rows = tuple(healths)
    # Of as many rows as a cloud has, channels are few.
    kinds = {name: _kind(name) for name in {row.channel for row in rows}}
    newest: dict[str, float] = {}
    for row in rows:
        kind = kinds[row.channel]
        if row.host and row.age < newest.get(kind, row.age + 1.0):
            newest[kind] = row.age
    wrong: dict[str, list[views.HostHealth]] = {}
    for row in rows:
        kind = kinds[row.channel]
        if not (row.host and kind):
            continue
        silence = row.age - newest[kind]
        if silence < RETIRED_AFTER and (not row.ok or silence >= patience):
            wrong.setdefault(row.host, []).append(row)
    return {
        host: tuple(sorted(found, key=lambda row: row.channel))
        for host, found in wrong.items()
    }


def _kind(channel: str) -> str:
    """Return what a probe looks at, '' for a row of watchers."""
    if channel.startswith((TOLD, WATCHER)):
        return ''
    return channel.partition(':')[0]


def told(
    healths: Iterable[views.HostHealth], channel: str
) -> Mapping[str, views.HostHealth]:
    """Return by host when and whether something was told of it."""
    return {each.host: each for each in healths if each.channel == channel}
