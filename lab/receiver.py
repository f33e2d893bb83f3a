# SPDX-License-Identifier: Apache-2.0
"""Who listens to everything that is told: the action of an alarm of aodh.

An event alarm for all types of events posts each of them here, as it would
to any receiver of an operator. The events of no project match no alarm.
"""

import collections.abc
import dataclasses
import datetime
import http.server
import json
import threading
import time
import typing

from lab import engine
from lab import identity
from lab import plan as planning
from lab import processes

ALARM = 'lab-receiver'


@dataclasses.dataclass(frozen=True)
class Told:
    """One event.

    :ivar told: when its sender made it, seconds since the epoch.
    :ivar received: when it came here.
    """

    event: str
    traits: dict[str, typing.Any]
    told: float
    received: float


class Receiver:
    """Keeps what it is told, in order; from a thread of the lab's namespace.

    :ivar heard: every event; other threads append to it.
    """

    def __init__(self, plan: planning.Plan) -> None:
        self._plan = plan
        self.heard: list[Told] = []
        self._server: http.server.HTTPServer | None = None

    def listen(self) -> None:
        """Answer from now on, in a thread."""
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                now = time.time()
                size = int(self.headers['Content-Length'])
                receiver.take(now, json.loads(self.rfile.read(size)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(
            (planning.CONTROLLER, planning.PORTS['receiver']), Handler
        )
        threading.Thread(
            target=self._server.serve_forever, daemon=True
        ).start()

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def take(self, now: float, body: dict[str, typing.Any]) -> None:
        """Keep what aodh has posted; others than alarms of events say less."""
        event = body['reason_data']['event']
        told = datetime.datetime.fromisoformat(event['generated'])
        self.heard.append(
            Told(
                event['event_type'],
                {name: value for name, _, value in event['traits']},
                told.replace(tzinfo=datetime.UTC).timestamp(),
                now,
            )
        )

    def create_alarm(self) -> None:
        """Have aodh call, unless it does already.

        :raises LabError: aodh refused.
        """
        listed = self._openstack('alarm', 'list', '-f', 'json')
        if any(each['name'] == ALARM for each in json.loads(listed)):
            return
        self._openstack(
            *('alarm', 'create', '--name', ALARM, '--type', 'event'),
            *('--event-type', '*', '--repeat-actions', 'True'),
            *('--alarm-action', self._plan.url('receiver', '/')),
        )

    def _openstack(self, *words: str) -> str:
        auth = identity.credentials(self._plan, engine.USER)
        environment = {
            **{f'OS_{name.upper()}': value for name, value in auth.items()},
            'OS_AUTH_TYPE': 'password',
            'OS_REGION_NAME': planning.REGION,
        }
        command = [processes.program('openstack'), *words]
        return engine.run(self._plan, command, environment).stdout

    def find(
        self, event: str, since: float, **traits: object
    ) -> collections.abc.Iterator[Told]:
        """Yield the events of a type since a moment that have some traits."""
        for told in tuple(self.heard):
            if told.event == event and told.told > since:
                if traits.items() <= told.traits.items():
                    yield told
