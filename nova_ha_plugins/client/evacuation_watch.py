# SPDX-License-Identifier: Apache-2.0

"""``openstack server evacuation watch``."""

import argparse
from collections import abc
import datetime
import functools
import time

from osc_lib import exceptions

from nova_ha_plugins.client import arguments
from nova_ha_plugins.client import rest
from nova_ha_plugins.client import screen
from nova_ha_plugins.client import watching
from nova_ha_plugins import printable

# A nova that accepted the connection and then says nothing counts as silent.
_CALL_TIMEOUT = 15.0
# Between two looks while nova does not answer.
_LONGEST_PAUSE = 10.0
# Servers that came into sight have a name only after another question.
_NAMES_EVERY = 30.0

_EXAMPLES = """\
On a terminal there is a bar for each server, those in trouble first; \
elsewhere a line for each change, or with --json an object per line. While \
nova does not answer it is asked again, and the age of what is shown is told.

Examples::

  # Is my server coming back?
  openstack server evacuation watch web-1

  # A host died. Follow all of its servers, also those that nova was not
  # asked for yet, and wait up to 5 minutes for the first one.
  openstack server evacuation watch --host cmp-17 --wait 300

  # In a script, for at most half an hour.
  openstack server evacuation watch --json --timeout 1800 web-1 web-2

Exit codes::

  0  every server is back; with --host or without names also: there was
     nothing to be watched
  1  a server is not back: its evacuation failed, there was none, or time
     ran out; also: nova refused the call
  2  the command line is wrong

What failed, and why::

  openstack server evacuation list --state failed --long
"""


class WatchEvacuation(arguments.Taught):
    """Watch evacuations until they have ended.

    Of the servers that are named, of a host, or of the whole cloud.
    """

    examples = _EXAMPLES

    # Tests bring clocks of their own.
    sleep: abc.Callable[[float], None] = staticmethod(time.sleep)
    clock: abc.Callable[[], float] = staticmethod(time.monotonic)
    wall: abc.Callable[[], datetime.datetime] = staticmethod(
        lambda: datetime.datetime.now(datetime.UTC)
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            'servers',
            metavar='<server>',
            nargs='*',
            default=[],
            help='The newest evacuation of these servers (name or ID)',
        )
        group.add_argument(
            '--server',
            metavar='<server>',
            action='append',
            help='The same for one server; may be repeated',
        )
        group.add_argument(
            '--host',
            metavar='<host>',
            help=(
                'Evacuations from or to this compute host that are open or '
                'begin while watching (admin only)'
            ),
        )
        parser.add_argument(
            '--json',
            action='store_true',
            help='Print an object per line for each change, the result last',
        )
        parser.add_argument(
            '--interval',
            metavar='<seconds>',
            type=arguments.positive,
            default=1.0,
            help='Time between two looks (default: 1)',
        )
        parser.add_argument(
            '--wait',
            metavar='<seconds>',
            type=arguments.not_negative,
            default=0.0,
            help=(
                'How long to wait for an evacuation to begin while none is '
                'open; with --host also for a further one (default: 0)'
            ),
        )
        parser.add_argument(
            '--timeout',
            metavar='<seconds>',
            type=arguments.positive,
            help='Give up after this time (default: never)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Look again and again; give the exit code."""
        watch = _Watch(
            lambda: rest.connect(self.app, timeout=_CALL_TIMEOUT),
            [*parsed_args.servers, *(parsed_args.server or ())],
            parsed_args.host,
            self.clock,
        )
        watch.scene.interval = parsed_args.interval
        with self._screen(watch.scene, parsed_args.json) as shown:
            result = self._follow(watch, shown, parsed_args)
            shown.end(result)
        return result.exit_code

    def _screen(self, scene: screen.Scene, as_json: bool) -> screen.Lines:
        stream = self.app.stdout
        if as_json:
            kind: type[screen.Lines] = screen.Json
        elif screen.can_draw(stream):
            kind = screen.Bars
        else:
            kind = screen.Lines
        return kind(stream, scene, self.clock, self.wall)

    def _follow(
        self,
        watch: '_Watch',
        shown: screen.Lines,
        parsed_args: argparse.Namespace,
    ) -> screen.Result:
        began = last_open = self.clock()
        was_open, failures = False, 0
        while True:
            try:
                changed = watch.look()
            except rest.Unanswered as error:
                failures += 1
                pause = min(
                    parsed_args.interval * 2**failures,
                    max(_LONGEST_PAUSE, parsed_args.interval),
                )
                now = self.clock()
                watch.scene.trouble = printable.line(str(error))
                watch.scene.again_at = now + pause
                shown.unanswered()
            else:
                failures, pause = 0, parsed_args.interval
                now = self.clock()
                watch.scene.heard_at, watch.scene.trouble = now, ''
                shown.answered(changed)
                if watch.open:
                    last_open, was_open = now, True
                elif (was_open and watch.servers) or (
                    now - last_open >= parsed_args.wait
                ):
                    return watch.result()
            if parsed_args.timeout:
                rest_of_time = began + parsed_args.timeout - now
                if rest_of_time <= 0:
                    return watch.gave_up(parsed_args.timeout)
                pause = min(pause, rest_of_time)
            self.sleep(pause)


class _Watch:
    """What is asked of nova, and what has come of it.

    :ivar servers: the names or ids that were given.
    """

    def __init__(
        self,
        connect: abc.Callable[[], rest.Client],
        servers: list[str],
        host: str | None,
        clock: abc.Callable[[], float],
    ) -> None:
        self.servers = list(dict.fromkeys(servers))
        self.follower = watching.Follower(everything=bool(servers))
        self.scene = screen.Scene(self.follower)
        self._connect = connect
        self._host = host
        self._clock = clock
        self._ids: dict[str, str] = {}
        self._asks_summary = not servers
        self._names_at: dict[str, float] = {}

    @functools.cached_property
    def _client(self) -> rest.Client:
        # Only now: nova may be away from the beginning.
        return self._connect()

    @property
    def open(self) -> bool:
        """Whether something is still to be done."""
        return self.follower.open > 0 or any(
            row['planned'] for row in self.scene.hosts or ()
        )

    def look(self) -> list[rest.Item]:
        """Ask nova once; give the evacuations with any news.

        :raises rest.Unanswered: nothing is newly known.
        """
        if self.servers:
            return self.follower.update(self._of_servers())
        found = self._client.evacuations(
            host=self._host, state=list(watching.OPEN)
        )
        vanished = self.follower.vanished(found)
        again = self._client.again(vanished, self._host)
        known = {item['uuid'] for item in again}
        again += [
            watching.deleted(item)
            for item in vanished
            if item['uuid'] not in known
        ]
        if self._asks_summary:
            self._summarize()
        self._learn_names(found)
        return self.follower.update(found + again)

    def _of_servers(self) -> list[rest.Item]:
        # The resource of the server is the one that its owner may ask, too.
        found: list[rest.Item] = []
        for name in self.servers:
            uuid = self._ids.setdefault(name, self._client.server_id(name))
            if uuid != name:
                self.follower.names[uuid] = name
            last = self.follower.items.get(uuid)
            try:
                found += self._client.evacuations_of(uuid)
            except rest.Missing:
                if last is None:
                    raise
                if not watching.has_ended(last):
                    found.append(watching.deleted(last))
        return found

    def _summarize(self) -> None:
        try:
            summary = self._client.summary(self._host)
        except rest.Unanswered:
            raise
        except exceptions.CommandError:
            # An older API, or no right to see it: the bars do without.
            self._asks_summary = False
            return
        rows = summary['hosts']
        if self._host is None:
            rows = [row for row in rows if watching.is_open(row)]
        self.scene.hosts = rows
        self.scene.cells_down = summary['cells_down']

    def _learn_names(self, found: list[rest.Item]) -> None:
        """Ask for the names of servers, of a whole host at a time."""
        now = self._clock()
        hosts = {
            item['source_compute']
            for item in found
            if item['source_compute']
            and item['server_uuid'] not in self.follower.names
        }
        for host in sorted(hosts):
            if now - self._names_at.get(host, -_NAMES_EVERY) < _NAMES_EVERY:
                continue
            self._names_at[host] = now
            try:
                self.follower.names.update(self._client.names_on(host))
            except exceptions.CommandError:
                # An id will do.
                continue

    def gave_up(self, after: float) -> screen.Result:
        """Give the result of somebody whose time ran out."""
        text = f'Gave up after {after:g} s: {self._counts()}'
        if self.scene.trouble:
            text = f'{text}; nova does not answer: {self.scene.trouble}'
        return screen.Result('timeout', text, 1)

    def result(self) -> screen.Result:
        """Give what came of it all."""
        bad = bool(self.follower.failed)
        missing = [
            name
            for name in self.servers
            if self._ids[name] not in self.follower.items
        ]
        text = self._counts()
        if missing:
            names = ', '.join(missing)
            known = f'{text}; ' if self.follower.counts else ''
            text = f'{known}no evacuation of {names}'
        rows = self.scene.hosts or ()
        if self._host and any(watching.bad_of(row) for row in rows):
            bad = True
            text = (
                f'{text}. See: openstack server evacuation list --host '
                f'{self._host} --long'
            )
        if bad or missing:
            return screen.Result('failed', text, 1)
        if not self.follower.items and not any(row['total'] for row in rows):
            if self._host:
                # It may as well be a name that nova does not know.
                text = (
                    f'{text} from or to host {self._host!r}; the hosts of '
                    'nova: openstack compute service list'
                )
            return screen.Result('none', text, 0)
        return screen.Result('done', text, 0)

    def _counts(self) -> str:
        # Of a host everything counts, also what ended before the watch.
        rows = self.scene.hosts or ()
        if self._host and any(row['total'] or row['planned'] for row in rows):
            return '; '.join(watching.host_line(row) for row in rows)
        return watching.counts_line(self.follower)
