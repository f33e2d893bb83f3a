# SPDX-License-Identifier: Apache-2.0

"""How long it takes until a dead host is known, on a lab, at the defaults.

Kills of everything that polls on a host, and power cuts, each at a moment of
its own in the interval of the heartbeats. Measured from just before the
signal is sent: until the watcher told ``compute.host.down``, until the action
of aodh's event alarm was received, and, of power cuts, until the engine had
its verdict. Needs root: it makes a lab and ends it.
"""

import argparse
import collections.abc
import concurrent.futures
import contextlib
import os
import pathlib
import random
import shutil
import statistics
import tempfile
import threading
import time
import typing

from lab import engine
from lab import lab as labs
from lab import lease
from lab import plan as planning
from lab import processes
from lab import receiver
from lab import telemetry_files
from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import incident

# Seconds between two heartbeats: polling_ha.yaml as it is shipped.
INTERVAL = 2
WARM_UP, PATIENCE = 60.0, 120.0
AGENTS = ('ceilometer-polling', 'ceilometer-ha-host')
EVENT = 'compute.host.down'
# The first entry of an incident that needs the verdict to be there: hosts of
# this lab have no servers, and nobody armed the engine.
VERDICT = (
    'corroborated',
    'held:nothing-protected',
    'held:storm',
    'held:disarmed',
)
_SHOWN = ('ceilometer', 'aodh', 'nova-ha-engine', 'webhook', 'redis')


def until(
    ask: collections.abc.Callable[[], typing.Any],
    what: str,
    patience: float = PATIENCE,
) -> typing.Any:
    """Return the first answer that is true."""
    deadline = time.monotonic() + patience
    while not (found := ask()):
        if time.monotonic() > deadline:
            raise SystemExit(f'Waited {patience:.0f} s for {what} in vain')
        time.sleep(0.02)
    return found


class Bench:
    """A lab whose hosts die and come back."""

    def __init__(self, lab: labs.Lab) -> None:
        self.lab = lab
        self.hosts = [h for h in lab.plan.hosts if h.kind == planning.REAL]
        self.receiver = receiver.Receiver(lab.plan)
        self.store = lease.connect(lab.plan)
        self.turn = threading.Lock()
        self.times: dict[str, list[float]] = {}

    def told(self, host: planning.Host, since: float) -> receiver.Told:
        """Return the first event of a host after a moment."""
        return until(
            lambda: next(
                self.receiver.find(EVENT, since, host=host.name), None
            ),
            f"'{EVENT}' of {host.name}",
        )

    def ask(self, query: str, *values: object) -> list[tuple[typing.Any, ...]]:
        # Hosts come back in a thread of their own.
        with self.turn, self.store.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def boots(self, host: planning.Host) -> tuple[str, int]:
        """Return which boot of a host was heard last, and its sequence."""
        rows = self.ask(
            'SELECT boot_id, sequence FROM heartbeats WHERE host = %s',
            host.name,
        )
        return rows[0] if rows else ('', 0)

    def wait_beats(self, host: planning.Host, count: int = 3) -> None:
        """Return when a host was heard so many times from now on."""
        for _ in range(count):
            before = self.boots(host)
            until(
                lambda before=before: self.boots(host) != before,
                f'a heartbeat of {host.name}',
            )

    def wait_closed(self, host: planning.Host) -> None:
        """Return when no incident of a host is open."""
        until(
            lambda: (
                not self.ask(
                    'SELECT 1 FROM incidents WHERE host = %s AND '
                    "phase NOT IN ('closed', 'cancelled')",
                    host.name,
                )
            ),
            f'the incident of {host.name} to be over',
        )

    def dead(self, host: planning.Host, since: float) -> float:
        """Return when the engine had its verdict of a host."""

        def found() -> float:
            for (document,) in self.ask(
                'SELECT document FROM incidents WHERE host = %s '
                'ORDER BY epoch DESC LIMIT 1',
                host.name,
            ):
                subject = documents.loads(incident.Incident, document)
                for entry in subject.timeline:
                    if entry.at > since and entry.code in VERDICT:
                        return entry.at
            return 0.0

        return float(until(found, f'the verdict on {host.name}'))

    def note(self, what: str, seconds: float) -> None:
        self.times.setdefault(what, []).append(seconds)

    def kill(self, host: planning.Host) -> None:
        """End what polls on a host, and start it again."""
        at = time.time()
        for agent in AGENTS:
            with contextlib.suppress(planning.LabError):
                self.lab.hosts.agent(host, agent, 'kill')
        down = self.told(host, at)
        self.note(f'kill to {EVENT}', down.told - at)
        self.note('kill to action of aodh', down.received - at)

    def revive(self, host: planning.Host) -> None:
        for agent in AGENTS:
            with contextlib.suppress(planning.LabError):
                self.lab.hosts.agent(host, agent, 'start')
        self.wait_beats(host)
        self.wait_closed(host)

    def cut(self, host: planning.Host) -> None:
        """Cut the power of a host."""
        at = time.time()
        self.lab.hosts.power_off(host)
        down = self.told(host, at)
        self.note(f'power cut to {EVENT}', down.told - at)
        self.note('power cut to action of aodh', down.received - at)
        self.note('power cut to verdict dead', self.dead(host, at) - at)

    def power_on(self, host: planning.Host) -> None:
        self.lab.hosts.power_on(host)
        self.wait_beats(host)
        self.wait_closed(host)

    def rounds(
        self,
        count: int,
        end: collections.abc.Callable[[planning.Host], None],
        begin: collections.abc.Callable[[planning.Host], None],
        chance: random.Random,
    ) -> None:
        """Break hosts in turn; one comes back while the next one breaks."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            back: list[concurrent.futures.Future[None]] = []
            for number in range(count):
                host = self.hosts[number % len(self.hosts)]
                # Never two at once: most of a small cloud would be silent.
                for each in back:
                    each.result()
                back.clear()
                time.sleep(chance.uniform(0.0, INTERVAL))
                end(host)
                back.append(pool.submit(begin, host))
            for each in back:
                each.result()


def at_defaults() -> None:
    """Have the lab written with what an operator gets who changes nothing.

    But the longest pause before the bus is tried again, which the guide tells
    to lower, and where our own things are.
    """
    telemetry_files.INTERVALS.clear()
    exchange = engine.SETTINGS['progress']
    engine.SHARED.clear()
    engine.SHARED['nova_ha'] = {}
    engine.SETTINGS.clear()
    engine.SETTINGS['progress'] = exchange


def line(what: str, found: list[float]) -> str:
    """Return min, median, 95th percentile and maximum."""
    ordered = sorted(found)
    p95 = ordered[max(0, -(-95 * len(ordered) // 100) - 1)]
    return (
        f'{what:34} {len(found):3} x  min {ordered[0]:6.2f}  '
        f'median {statistics.median(ordered):6.2f}  p95 {p95:6.2f}  '
        f'max {ordered[-1]:6.2f} s'
    )


def memory(lab: labs.Lab) -> list[str]:
    """Return what each process of ours and around it has in memory."""
    found = []
    for name in lab.processes.names():
        pid = lab.processes.pid(name)
        if pid is not None and name.startswith(_SHOWN):
            found.append(_memory(name, processes.tree(pid)))
    host = next(h for h in lab.plan.hosts if h.kind == planning.REAL)
    inside = processes.tree(lab.hosts.pid(host) or 0)
    for ending, name in (
        ('', 'ceilometer-polling ha'),
        ('-host', 'ceilometer-polling ha_host'),
    ):
        wanted = f'ceilometer-{host.name}{ending}.conf'
        first = [pid for pid in inside if wanted in _command(pid)]
        if first:
            found.append(_memory(name, processes.tree(first[0])))
    return found


def _command(pid: int) -> str:
    try:
        return pathlib.Path(f'/proc/{pid}/cmdline').read_text()
    except OSError:
        return ''


def _memory(name: str, pids: list[int]) -> str:
    rss = pss = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            text = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text()
            sizes = {
                words[0]: int(words[1])
                for each in text.splitlines()[1:]
                if (words := each.split())
            }
            rss, pss = rss + sizes['Rss:'], pss + sizes['Pss:']
    return (
        f'{name:34} RSS {rss / 1024:6.1f}  PSS {pss / 1024:6.1f} MiB  '
        f'({len(pids)} processes)'
    )


def main() -> None:
    """Print how long each way to die takes, and what runs for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--cuts', type=int, default=20)
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 nobody guesses it
    at_defaults()
    # Not below a path that is too long for the sockets of libvirt.
    directory = pathlib.Path(tempfile.mkdtemp(prefix='lab-', dir='/var/tmp'))
    try:
        lab = labs.create(directory, 3, 2, say=lambda _: None)
        bench = Bench(lab)
        bench.receiver.listen()
        bench.receiver.create_alarm()
        for host in lab.plan.hosts:
            bench.wait_beats(host)
        # The watcher and the engine convict nobody before they have watched.
        time.sleep(WARM_UP)
        began, loads = time.monotonic(), [os.getloadavg()[0]]
        bench.rounds(options.kills, bench.kill, bench.revive, chance)
        loads.append(os.getloadavg()[0])
        bench.rounds(options.cuts, bench.cut, bench.power_on, chance)
        loads.append(os.getloadavg()[0])
        for what, found in bench.times.items():
            print(line(what, found))
        print('\n'.join(memory(lab)))
        print(
            f'heartbeats every {INTERVAL} s, '
            f'{len(lab.plan.hosts)} hosts, {os.cpu_count()} cores, load '
            f'{", ".join(f"{each:.1f}" for each in loads)}, '
            f'{time.monotonic() - began:.0f} s'
        )
    finally:
        labs.remove(directory, wipe=True)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == '__main__':
    main()
