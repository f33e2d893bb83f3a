# SPDX-License-Identifier: Apache-2.0

"""Watches a recovery through the API, and remembers what was ever shown."""

import dataclasses
import datetime
import threading
import time
import typing

from lab.demo import operator
from nova_ha_plugins.store import api as store_api

# How often the state of the recovery is asked for.
_INTERVAL = 0.25


@dataclasses.dataclass
class Shown:
    """Everything that the API has said so far.

    :ivar falls: evacuations whose percentage ever went down.
    """

    incident: dict[str, typing.Any] | None = None
    entries: list[dict[str, typing.Any]] = dataclasses.field(
        default_factory=list
    )
    evacuations: dict[str, dict[str, typing.Any]] = dataclasses.field(
        default_factory=dict
    )
    highest: dict[str, int] = dataclasses.field(default_factory=dict)
    falls: list[str] = dataclasses.field(default_factory=list)
    ages: dict[str, float] = dataclasses.field(default_factory=dict)
    alarm: str = ''
    errors: list[str] = dataclasses.field(default_factory=list)

    def code_at(self, code: str) -> float | None:
        """Return when the timeline first said something, by its clock."""
        for entry in self.entries:
            if entry['code'] == code:
                return epoch(entry['at'])
        return None


def epoch(stamp: str) -> float:
    """Return the seconds of a time that the API gave: it is UTC."""
    moment = datetime.datetime.fromisoformat(stamp)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


class Watcher(threading.Thread):
    """Asks again and again, and calls back with what is new."""

    def __init__(
        self,
        user: operator.Operator,
        host: str,
        alarm_id: str,
        callback: typing.Callable[[str, dict[str, typing.Any]], None],
    ) -> None:
        super().__init__(name='watcher', daemon=True)
        self.shown = Shown()
        self._user = user
        self._host = host
        self._alarm_id = alarm_id
        self._callback = callback
        self._ended = threading.Event()

    def run(self) -> None:
        """Watch until told to end."""
        while not self._ended.wait(_INTERVAL):
            try:
                self._look()
            except Exception as error:
                # The demo must go on watching whatever a single answer was;
                # errors are shown at the end.
                self.shown.errors.append(str(error))

    def end(self) -> None:
        """Look one last time and stop."""
        self._ended.set()
        self.join()
        self._look()

    def _look(self) -> None:
        shown = self.shown
        status = self._user.get('/os-instance-ha')['instance_ha']
        shown.ages = {
            host['host']: host['heartbeat_age']
            for host in status['hosts']
            if host['heartbeat_age'] is not None
        }
        alarm = self._user.alarm_state(self._alarm_id)
        if alarm != shown.alarm:
            shown.alarm = alarm
            self._callback('alarm', {'state': alarm})
        self._look_at_evacuations()
        self._look_at_incident()

    def _look_at_incident(self) -> None:
        shown = self.shown
        found = self._user.get(
            '/os-instance-ha/incidents', host=self._host, limit='1'
        )['incidents']
        if not found:
            return
        whole = self._user.get(f'/os-instance-ha/incidents/{found[0]["uuid"]}')
        incident = whole['incident']
        new = incident['timeline'][len(shown.entries) :]
        shown.incident = incident
        for entry in new:
            shown.entries.append(entry)
            self._callback('timeline', entry)

    def _look_at_evacuations(self) -> None:
        shown = self.shown
        answer = self._user.get('/os-evacuations', source_compute=self._host)
        for item in answer['evacuations']:
            uuid, percent = item['uuid'], item['progress']
            before = shown.evacuations.get(uuid)
            shown.evacuations[uuid] = item
            if percent is not None:
                if percent < shown.highest.get(uuid, 0):
                    shown.falls.append(
                        f'{uuid}: {shown.highest[uuid]} -> {percent}'
                    )
                shown.highest[uuid] = max(percent, shown.highest.get(uuid, 0))
            if before is None or before['phase'] != item['phase']:
                self._callback('evacuation', item)


class Killer(threading.Thread):
    """Kills the engine as soon as the timeline has reached a step."""

    def __init__(
        self,
        conf: typing.Any,
        host: str,
        step: str,
        act: typing.Callable[[], None],
    ) -> None:
        super().__init__(name='killer', daemon=True)
        self._store = store_api.open_store(conf)
        self._host = host
        self._step = step
        self._act = act
        self.done = threading.Event()

    def run(self) -> None:
        """Look at the saved incident every few milliseconds."""
        while not self.done.is_set():
            subject = self._store.open_incident_of(self._host)
            if subject and any(
                entry.code == self._step for entry in subject.timeline
            ):
                self._act()
                self.done.set()
            time.sleep(0.01)
