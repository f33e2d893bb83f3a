# SPDX-License-Identifier: Apache-2.0

"""The story of the demo, and the questions that it must answer with yes."""

import collections.abc
import dataclasses
import random
import time
import typing

from lab.demo import operator
from lab.demo import screen
from lab.demo import stage as stages
from lab.demo import watch
from nova_ha_plugins.conf import config
from nova_ha_plugins.recovery import incident

VICTIM = 'cmp-1'
# Entries of the timeline at which the engine can be killed.
STEPS = (
    'suspected',
    'fencing',
    'power-off',
    'fenced',
    'forced-down',
    'evacuating',
    'evacuate',
    'recovered',
)
_OPEN_END = ('recovered', 'closed', 'cancelled')


class StoryError(Exception):
    """The story stopped before its end."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What was asked for on the command line."""

    servers: int
    crash: str | None
    timeout: float = 120.0


def wanted(count: int) -> list[operator.Wanted]:
    """Return the servers to boot.

    HA ones of several priorities, one of them stopped, and two that nobody
    asked to protect.
    """
    servers = []
    for number in range(count):
        metadata = {'ha:policy': 'evacuate'}
        if number == 0:
            metadata['ha:priority'] = '1000'
        elif number == count - 1 and count > 2:
            metadata['ha:priority'] = '10'
        name = ('db' if number == 0 else 'web') + f'-{number + 1}'
        stopped = number == count // 2 and count > 1
        servers.append(operator.Wanted(name, metadata, stopped))
    servers.append(operator.Wanted('batch-1', {}))
    servers.append(operator.Wanted('batch-2', {'ha:policy': 'none'}))
    return servers


class Story:
    """One run."""

    def __init__(
        self, stage: stages.Stage, view: screen.View, plan: Plan
    ) -> None:
        self.stage = stage
        self.view = view
        self.plan = plan
        self.engine = stage.engine
        self.conf = config.load([], [str(self.engine.conf_file)])
        self.operator = operator.Operator(stage)
        self.servers: dict[str, operator.Wanted] = {}
        self.before: dict[str, dict[str, typing.Any]] = {}
        self.watcher: watch.Watcher | None = None

    def tell(self) -> dict[str, typing.Any]:
        """Tell the whole story; return its summary.

        :raises StoryError: something did not happen in time.
        """
        alarm_id = self._prepare()
        killed_at = self._kill_host(alarm_id)
        try:
            self._wait(
                lambda: self._phase() in ('recovered', 'returning', 'closed'),
                'every server of the dead host to be recovered or parked',
            )
            while_dead = self.stage.domains()
            awaited = [u for u, each in self.servers.items() if each.awaited]
            self._wait(
                lambda: self.stage.settled(awaited),
                'the user space of every recovered server to be up',
            )
            returned = self._bring_back()
        finally:
            if self.watcher is not None:
                self.watcher.end()
        return self._summary(killed_at, while_dead, returned)

    # --- before -----------------------------------------------------------

    def _prepare(self) -> str:
        self.engine.start()
        alarm_id = self.operator.alarm()
        self.view.say(
            'alarm',
            "Event alarm 'ha-host-down': compute.host.down -> "
            + operator.ALARM_ACTION,
        )
        self.servers = self.operator.boot(wanted(self.plan.servers), VICTIM)
        protected = sum(each.protected for each in self.servers.values())
        self.view.say(
            'boot',
            f'{len(self.servers)} servers booted on {VICTIM}: {protected} '
            f'with ha:policy=evacuate, one of them stopped',
        )
        self.operator.arm('the demo begins')
        self._wait(self._ready, 'the engine to have verified every BMC')
        self.view.say('armed', 'Engine armed; every BMC verified by its UUID')
        self.before = self.operator.servers()
        return alarm_id

    def _ready(self) -> bool:
        status = self.operator.get('/os-instance-ha')['instance_ha']
        hosts = status['hosts']
        watching = (status['engine'] or {}).get('watching', 0.0)
        return (
            len(hosts) >= self.stage.host_count
            and all(host['fencing_state'] == 'verified' for host in hosts)
            and watching > self.stage.warm_up
        )

    # --- the failure ------------------------------------------------------

    def _kill_host(self, alarm_id: str) -> float:
        self.watcher = watch.Watcher(
            self.operator,
            VICTIM,
            alarm_id,
            self.view.event,
        )
        self.view.watch(self.watcher.shown, self.servers, VICTIM)
        self.watcher.start()
        if self.plan.crash:
            self._arrange_crash(self.plan.crash)
        # The store's clock is this machine's clock in every stage.
        killed_at = time.time()
        self.view.say('kill', self.stage.fail(VICTIM))
        return killed_at

    def _arrange_crash(self, step: str) -> None:
        # Not a secret, only a choice of the moment.
        chosen = random.choice(STEPS) if step == 'random' else step

        def act() -> None:
            self.engine.kill()
            self.view.say(
                'crash', f"Engine killed (SIGKILL) after '{chosen}'; restarted"
            )
            self.engine.start()

        watch.Killer(self.conf, VICTIM, chosen, act).start()

    def _phase(self) -> str:
        watcher = self.watcher
        if watcher is None or watcher.shown.incident is None:
            return ''
        phase = str(watcher.shown.incident['phase'])
        if phase == incident.Phase.CANCELLED:
            raise StoryError(
                f'The incident was cancelled: '
                f'{watcher.shown.incident["reason"]}'
            )
        return phase

    def _bring_back(self) -> bool:
        self.view.say('return', f'The operator switches {VICTIM} on again')
        self.stage.power_on(VICTIM)
        self._wait(
            lambda: self._phase() == 'closed', f'{VICTIM} to be in service'
        )
        service = self.operator.service(VICTIM)
        return bool(
            service['state'] == 'up'
            and service['status'] == 'enabled'
            and not service.get('forced_down', False)
        )

    def _wait(
        self, done: collections.abc.Callable[[], bool], what: str
    ) -> None:
        deadline = time.monotonic() + self.plan.timeout
        while not done():
            if time.monotonic() > deadline:
                raise StoryError(
                    f'Waited {self.plan.timeout:.0f} s for {what}. See '
                    f'{self.engine.log_file} and the other logs beside it.'
                )
            if not self.engine.alive and not self.plan.crash:
                raise StoryError(f'The engine ended: {self.engine.log_file}')
            time.sleep(0.2)

    # --- the questions ----------------------------------------------------

    def _recovered(
        self,
        uuid: str,
        now: dict[str, dict[str, typing.Any]],
        domains: dict[str, list[str]],
    ) -> bool:
        server = now[uuid]
        host = server['OS-EXT-SRV-ATTR:host']
        state = 'stopped' if self.servers[uuid].stopped else 'active'
        return (
            host != VICTIM
            and server['OS-EXT-STS:vm_state'] == state
            and server['OS-EXT-STS:task_state'] is None
            and domains.get(uuid, []) == [host]
        )

    def _untouched(
        self, uuid: str, now: dict[str, dict[str, typing.Any]]
    ) -> bool:
        return all(
            now[uuid][field] == self.before[uuid][field]
            for field in (
                'OS-EXT-SRV-ATTR:host',
                'OS-EXT-STS:vm_state',
                'OS-EXT-STS:task_state',
            )
        )

    def _summary(
        self,
        killed_at: float,
        while_dead: dict[str, list[str]],
        returned: bool,
    ) -> dict[str, typing.Any]:
        assert self.watcher is not None
        shown = self.watcher.shown
        now, domains = self.operator.servers(), self.stage.domains()
        protected = [u for u, each in self.servers.items() if each.protected]
        others = [u for u, each in self.servers.items() if not each.protected]
        recovered = [
            uuid
            for uuid in protected
            if self._recovered(uuid, now, domains)
            and self._recovered(uuid, now, while_dead)
        ]
        left = [uuid for uuid in others if self._untouched(uuid, now)]

        def since(code: str) -> float | None:
            at = shown.code_at(code)
            return None if at is None else round(at - killed_at, 2)

        monotonic = not shown.falls and len(shown.highest) >= len(recovered)
        proof, proven = self.stage.proof(
            [u for u, each in self.servers.items() if each.awaited], killed_at
        )
        return {
            'detect_s': since('suspected'),
            'fence_s': since('fenced'),
            'first_evacuation_s': since('evacuate'),
            'all_recovered_s': since('recovered'),
            'servers_recovered': len(recovered),
            'servers_lost': len(protected) - len(recovered),
            'servers_left': len(left),
            'progress_monotonic': monotonic,
            'host_returned': returned,
            **proof,
            'ok': bool(
                proven
                and len(recovered) == len(protected)
                and len(left) == len(others)
                and monotonic
                and returned
                and (not self.plan.crash or self.engine.kills == 1)
            ),
        }
