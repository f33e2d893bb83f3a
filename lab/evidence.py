# SPDX-License-Identifier: Apache-2.0
"""What truly happened to the guests, from what they and the hosts wrote.

Two witnesses that know nothing of nova: each guest's log on its own disk
(:file:`guest_init.c`), and each host's ledger of the QEMUs that ran there
(:mod:`lab.host_init`). All of it is on one machine, so there is one clock.
A guest writes whole seconds of it, rounded down: what follows one another
never seems to overlap.
"""

import collections.abc
import dataclasses
import itertools
import json
import pathlib
import re
import subprocess
import tempfile
import time

from lab import guest
from lab import host_files
from lab import plan as planning

SHARED = 'shared'
# A host notes what ended a second late, or more where processors are busy.
LATE = 3.0
_SERVER = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')
_RUN = re.compile(rb'nova-ha-lab-run ([^\n]+)\n')


@dataclasses.dataclass(frozen=True)
class Run:
    """One start of a guest, as its own disk tells it.

    :ivar server: the UUID the guest was told by its firmware.
    :ivar disk: where that disk is: 'shared', or the host of a disk of its
        own.
    :ivar run: by chance, so two starts can be told apart.
    :ivar boot: how often this disk has been started, this time included.
    :ivar first: when it was up, in whole seconds.
    :ivar last: when it was last known to be alive.
    :ivar moved: how often it found somebody else in its place on the disk.
    :ivar end: 'none', or 'button' after an orderly stop.
    """

    server: str
    disk: str
    run: str
    boot: int
    first: int
    last: int
    beats: int
    moved: int
    end: str


@dataclasses.dataclass(frozen=True)
class Life:
    """One QEMU of a server on a host, as the host saw it.

    :ivar ended: the last moment it may have lived.
    """

    server: str
    host: str
    began: float
    ended: float


@dataclasses.dataclass(frozen=True)
class Witness:
    """All that is known of one server.

    :ivar runs: in the order of their beginning, on all disks it ever had.
    :ivar lives: likewise.
    """

    server: str
    runs: tuple[Run, ...]
    lives: tuple[Life, ...]

    @property
    def boots(self) -> int:
        """Return how often its user space came up."""
        return len(self.runs)

    @property
    def double_writers(self) -> tuple[tuple[Run, Run], ...]:
        """Return the runs that wrote to one disk at the same time."""
        return tuple(
            (one, other)
            for one, other in _overlaps(self.runs)
            if one.disk == other.disk
        )

    @property
    def double_runs(self) -> tuple[tuple[Run | Life, Run | Life], ...]:
        """Return what lived twice at the same time, on whatever disks."""
        return (*_overlaps(self.runs), *_overlaps(self.lives, LATE))


def _overlaps(
    given: collections.abc.Iterable[Run | Life], allowed: float = 0.0
) -> list[tuple[Run | Life, Run | Life]]:
    return [
        (one, other)
        for one, other in itertools.combinations(given, 2)
        if min(_end(one), _end(other)) - max(_begin(one), _begin(other))
        > allowed
    ]


def _begin(seen: Run | Life) -> float:
    return seen.first if isinstance(seen, Run) else seen.began


def _end(seen: Run | Life) -> float:
    return seen.last if isinstance(seen, Run) else seen.ended


def read_area(disk: pathlib.Path) -> bytes:
    """Return the log area of a disk, qcow2 or raw, in use or not.

    What the guest has not written is zeros and not what the base image has:
    its path is only right on a host.
    """
    with disk.open('rb') as stream:
        if stream.read(4) != b'QFI\xfb':
            stream.seek(guest.AREA_AT)
            return stream.read(guest.AREA)
    image = {
        'driver': 'raw',
        'offset': guest.AREA_AT,
        'size': guest.AREA,
        'file': {
            'driver': 'qcow2',
            'backing': None,
            'file': {'driver': 'file', 'filename': str(disk)},
        },
    }
    with tempfile.NamedTemporaryFile() as area:
        done = subprocess.run(
            [
                'qemu-img', 'convert', '--force-share', '-O', 'raw',
                f'json:{json.dumps(image)}', area.name,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise planning.LabError(
                f"The log on '{disk}' cannot be read: {done.stderr.strip()}"
            )
        return pathlib.Path(area.name).read_bytes()


def parse_area(area: bytes, disk: str) -> list[Run]:
    """Return the runs that are written in a log area."""
    runs = []
    for start in range(0, len(area), guest.SLOT):
        written = _RUN.match(area, start)
        if not written:
            continue
        fields = dict(
            pair.split('=', 1) for pair in written.group(1).decode().split()
        )
        runs.append(
            Run(
                server=fields['uuid'],
                disk=disk,
                run=fields['run'],
                boot=int(fields['boot']),
                first=int(fields['first']),
                last=int(fields['last']),
                beats=int(fields['beats']),
                moved=int(fields['moved']),
                end=fields['end'],
            )
        )
    return runs


def _stores(plan: planning.Plan) -> dict[str, pathlib.Path]:
    """Return every directory of disks, whatever the storage is now."""
    stores = {SHARED: plan.directory / 'shared' / 'instances'}
    for host in plan.hosts:
        if host.kind == planning.REAL:
            stores[host.name] = host_files.directory(plan, host) / 'instances'
    return stores


def _read(store: pathlib.Path, disk: str) -> list[Run]:
    runs = []
    for path in sorted(store.glob('*/disk*')):
        if path.name == 'disk' and _SERVER.match(path.parent.name):
            try:
                runs += parse_area(read_area(path), disk)
            except FileNotFoundError:
                # Nova deletes it this moment.
                continue
    return runs


def _kept(plan: planning.Plan) -> pathlib.Path:
    return plan.path('evidence', 'runs.jsonl')


def keep(plan: planning.Plan, host: planning.Host | None = None) -> None:
    """Save what the disks tell before they are deleted.

    :param host: only what is on its own disks.
    """
    with _kept(plan).open('a') as stream:
        for disk, store in _stores(plan).items():
            if host is None or disk == host.name:
                for run in _read(store, disk):
                    stream.write(json.dumps(dataclasses.asdict(run)) + '\n')


def note_off(plan: planning.Plan, host: planning.Host) -> None:
    """Note that nothing of a host is alive any more."""
    with host_files.ledger(plan, host).open('a') as stream:
        line = {'event': 'off', 'time': time.time()}
        stream.write(json.dumps(line) + '\n')


def lives(plan: planning.Plan, host: planning.Host) -> list[Life]:
    """Return the QEMUs of a host, from its ledger.

    One that has no end lived at least until the host's last note.
    """
    path = host_files.ledger(plan, host)
    if not path.exists():
        return []
    found: list[Life] = []
    open_lives: dict[int, tuple[str, float]] = {}

    def end(pid: int, ended: float) -> None:
        server, began = open_lives.pop(pid)
        found.append(Life(server, host.name, began, ended))

    seen = path.stat().st_mtime
    latest = 0.0
    for line in path.read_text().splitlines():
        note = json.loads(line)
        if note['event'] == 'began':
            open_lives[note['pid']] = (note['server'], note['time'])
        elif note['event'] == 'ended' and note['pid'] in open_lives:
            end(note['pid'], note['time'])
        elif note['event'] in ('on', 'off'):
            # A host that nobody switched off ended some time before this.
            ended = note['time'] if note['event'] == 'off' else latest
            for pid in list(open_lives):
                end(pid, ended)
        latest = note['time']
    for pid in list(open_lives):
        end(pid, seen)
    return found


def truth(plan: planning.Plan) -> dict[str, Witness]:
    """Return what is known of each server, the deleted ones included.

    :raises LabError: a disk cannot be read.
    """
    runs: dict[tuple[str, str, str], Run] = {}
    if _kept(plan).exists():
        for line in _kept(plan).read_text().splitlines():
            run = Run(**json.loads(line))
            runs[run.server, run.disk, run.run] = run
    for disk, store in _stores(plan).items():
        for run in _read(store, disk):
            runs[run.server, run.disk, run.run] = run
    seen = [life for host in plan.hosts for life in lives(plan, host)]
    servers = {run.server for run in runs.values()}
    servers |= {life.server for life in seen}
    return {
        server: Witness(
            server,
            tuple(
                sorted(
                    (run for run in runs.values() if run.server == server),
                    key=lambda run: run.first,
                )
            ),
            tuple(
                sorted(
                    (life for life in seen if life.server == server),
                    key=lambda life: life.began,
                )
            ),
        )
        for server in sorted(servers)
    }


def console(plan: planning.Plan, server: str) -> str:
    """Return the text of the server's newest serial console.

    QEMU begins it anew with each start.
    """
    found = [
        path
        for store in _stores(plan).values()
        for path in store.glob(f'{server}*/console.log')
    ]
    if not found:
        raise planning.LabError(
            f"Server '{server}' has no console in this lab: it never ran on "
            'a real host, or nova has deleted it'
        )
    newest = max(found, key=lambda path: path.stat().st_mtime)
    return newest.read_text(errors='replace')
