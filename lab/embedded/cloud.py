# SPDX-License-Identifier: Apache-2.0
"""A whole small cloud on one machine: starts, watches and stops its processes.

Every process of the cloud is started as ``python -m lab.embedded.<name>
--config-json FILE`` (names: keystone, nova_cloud, bmc, telemetry) and reads
the same file, ``<directory>/cloud.json`` (mode 0600; it holds passwords).
Everything binds to 127.0.0.1; the parent has chosen every port and every id
before the first process starts. The fields::

    directory         absolute path of this cloud, a place for anybody's files
    log_dir           stdout and stderr of a process are already redirected
                      to <log_dir>/<name>.log
    region            'RegionOne'
    keystone:         url ('http://127.0.0.1:P/v3'), port, data_dir
    nova:             url ('http://127.0.0.1:P/v2.1'), port,
                      control_url ('http://127.0.0.1:P'), control_port,
                      spawn_seconds, report_interval, service_down_time,
                      heartbeats are real; transport is private to the process
    placement, image: url, port
    telemetry:        enabled (false: there is no such process),
                      control_url, control_port, aodh_url, aodh_port,
                      heartbeat_interval (s, 1.0), watch_interval (s, 1.0),
                      heartbeat_timeout (s, 3.0), warm_up (s, 3.0),
                      settings (dict of anything else that the caller of
                      Cloud(telemetry={...}) wants to hand on)
    bmc:              url ('https://127.0.0.1:P'), port, certificate, key,
                      username, password_file, auth_file
    store_connection  'sqlite:////<directory>/nova-ha.sqlite', the value of
                      [nova_ha_database] connection
    ha_project_id     [nova_ha] project_id: the project whose event alarm
                      fires (id of project 'admin', where the operator is)
    projects          {'admin': id, 'demo': id, 'service': id}
    users             {name: {'password', 'project' (name), 'user_id'}} for
                      admin, demo, alice, nova, placement, aodh, ceilometer,
                      nova-ha; all of domain 'Default' (id 'default')
    hosts             [{'name': 'cmp-1', 'system_uuid', 'system_uuid_file',
                        'boot_id_file', 'probe_port'}, ...]

A host's two files exist before any process starts. nova_cloud writes a fresh
boot id into ``boot_id_file`` on every power on, before it answers; so a
telemetry process that is powered on after nova reads the new one.

A process is ready when ``GET <control_url>/hosts`` (nova, telemetry), its own
root (keystone, bmc) answers 200. It ends on SIGTERM within 3 seconds; else it
is killed. All of a process' threads may be daemons.
"""

import dataclasses
import importlib.util
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import time
import typing
import urllib.request

from oslo_config import cfg

from lab.embedded import plan as planning
from lab.embedded import power
from lab.embedded import process

# In this order they are started.
NAMES = ('nova_cloud', 'keystone', 'bmc', 'telemetry')
# A process that does not end on SIGTERM gets this long.
PATIENCE = 3.0


class StartError(Exception):
    """The cloud did not start; the text says which part, and why."""


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A process, as written to pids.json.

    :ivar started: the kernel's clock at its start; with the pid it names one
        process for ever, also after the pid is used again
    """

    name: str
    pid: int
    started: str

    @classmethod
    def of(cls, name: str, pid: int) -> 'Recorded':
        """Return the record of a process that was just started."""
        return cls(name, pid, _started(pid))

    @property
    def alive(self) -> bool:
        """Whether this very process runs (a zombie does not)."""
        return self.started != '' and _started(self.pid) == self.started

    @property
    def resident_mib(self) -> int:
        """Resident memory."""
        try:
            with open(f'/proc/{self.pid}/statm') as stream:
                pages = int(stream.read().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf('SC_PAGE_SIZE') // 2**20

    def signal(self, number: int) -> None:
        """Send a signal to the process and to all that it has started."""
        if not self.alive:
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            # It ended after the question above.
            pass


def _started(pid: int) -> str:
    try:
        with open(f'/proc/{pid}/stat') as stream:
            # The name, in parentheses, may hold spaces.
            fields = stream.read().rpartition(')')[2].split()
    except OSError:
        return ''
    return '' if fields[0] in 'ZX' else fields[19]


class Cloud:
    """A cloud in a directory.

    :ivar plan: cloud.json; empty before :meth:`start` or :meth:`attach`
    :ivar timings: seconds from the start until each part was ready
    """

    def __init__(
        self,
        directory: str | pathlib.Path,
        hosts: int = 3,
        *,
        cache: str | pathlib.Path | None = None,
        with_telemetry: bool = True,
        outlive: bool = False,
        nova: dict[str, typing.Any] | None = None,
        telemetry: dict[str, typing.Any] | None = None,
    ) -> None:
        """Describe a cloud; nothing happens yet.

        :param cache: where prepared keystones are kept between runs
        :param outlive: leave the processes running when this one ends;
            otherwise the kernel kills them with the thread that called
            :meth:`start`
        :param nova: changes to that section of the plan, for example
            spawn_seconds
        :param telemetry: changes to that section of the plan
        """
        self.directory = pathlib.Path(directory).resolve()
        self._hosts = hosts
        self._cache = pathlib.Path(cache or planning.default_cache())
        self._names = [
            name
            for name in NAMES
            if name != 'telemetry' or (with_telemetry and _has_telemetry())
        ]
        self._outlive = outlive
        self._changes = {
            'nova': nova or {},
            'telemetry': {
                **(telemetry or {}),
                'enabled': 'telemetry' in self._names,
            },
        }
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: list[Recorded] = []
        self.plan: planning.Plan = {}
        self.timings: dict[str, float] = {}

    @classmethod
    def attach(cls, directory: str | pathlib.Path) -> 'Cloud':
        """Return the cloud that somebody else has started in a directory."""
        cloud = cls(directory)
        try:
            cloud.plan = json.loads(
                (cloud.directory / 'cloud.json').read_text()
            )
        except FileNotFoundError:
            raise StartError(
                f'There is no cloud in {cloud.directory}'
            ) from None
        return cloud

    def __enter__(self) -> 'Cloud':
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 90.0) -> None:
        """Start everything; returns when all of it answers.

        :raises StartError: nothing is left running then
        """
        begun = time.monotonic()
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.stop()
        planning.clear(self.directory)
        self.plan = planning.make(
            self.directory,
            self._hosts,
            planning.prepared_keystone(self._cache),
            self._changes,
        )
        planning.write_files(self.plan)
        self.timings = {'prepared': time.monotonic() - begun}
        try:
            # All at once: each logs in to keystone with its first work only.
            # Only telemetry writes into the store from the first second.
            for name in self._names:
                if name == 'telemetry':
                    self._sync_store()
                self._spawn(name)
            if 'telemetry' not in self._names:
                self._sync_store()
            self._wait(self._ready_urls(), begun, timeout)
        except BaseException:
            # Ctrl-C as well: a cloud that is half started helps nobody.
            self.stop()
            raise

    def stop(self) -> None:
        """End all processes that were started in the directory."""
        # Ours are known even when somebody has removed the directory.
        records = {*self.processes(), *self._started}
        for one in records:
            one.signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for child in self._children.values():
                child.poll()
            if not any(one.alive for one in records):
                break
            time.sleep(0.02)
        for one in records:
            one.signal(signal.SIGKILL)
        for child in self._children.values():
            child.wait()
        self._children = {}
        self._started = []
        (self.directory / 'pids.json').unlink(missing_ok=True)

    def processes(self) -> list[Recorded]:
        """Return what was started in the directory, by whomever."""
        try:
            text = (self.directory / 'pids.json').read_text()
        except FileNotFoundError:
            return []
        return [Recorded(**one) for one in json.loads(text)]

    # hosts

    def hosts(self) -> dict[str, dict[str, typing.Any]]:
        """Return what nova's process says about the hosts."""
        return process.call(f'{self.plan["nova"]["control_url"]}/hosts')

    def set_power(self, host: str, state: str) -> None:
        """Return when a host truly is on, hung or off."""
        urls = [self.plan['nova']['control_url']]
        if self.plan['telemetry']['enabled']:
            urls.append(self.plan['telemetry']['control_url'])
        for url in urls:
            process.call(
                f'{url}/hosts/{host}/power', {'state': state}, timeout=60
            )

    def domains(self) -> dict[str, list[str]]:
        """Return {server uuid: hosts where its domain runs}."""
        found: dict[str, list[str]] = {}
        for name, host in self.hosts().items():
            for uuid, state in host['domains'].items():
                if state == 'running' and host['power'] != power.OFF:
                    found.setdefault(uuid, []).append(name)
        return found

    # users

    def credentials(self, user: str) -> dict[str, str]:
        """Return keystoneauth's ``auth`` of a user."""
        return planning.credentials(self.plan, user)

    def engine_conf(self) -> dict[str, dict[str, str]]:
        """Return what of nova-ha.conf depends on this cloud, by group."""
        return planning.engine_conf(self.plan)

    # starting

    def _spawn(self, name: str) -> None:
        module = f'lab.embedded.{name}'
        command = [sys.executable, '-m']
        if not self._outlive:
            command += ['lab.embedded.process', str(os.getpid())]
        command += [module, '--config-json', f'{self.directory}/cloud.json']
        with open(self._log(name), 'wb') as log:
            child = subprocess.Popen(
                command,
                cwd=planning.ROOT,
                env=planning.child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C on the terminal is for us.
                start_new_session=True,
            )
        self._children[name] = child
        self._started.append(Recorded.of(name, child.pid))
        (self.directory / 'pids.json').write_text(
            json.dumps([dataclasses.asdict(one) for one in self._started])
        )

    def _log(self, name: str) -> pathlib.Path:
        return pathlib.Path(self.plan['log_dir'], f'{name}.log')

    def _sync_store(self) -> None:
        """Make the tables that telemetry, nova's filter and engine share."""
        from nova_ha_plugins.conf import database
        from nova_ha_plugins.store import schema

        conf = cfg.ConfigOpts()
        database.register_opts(conf)
        conf([], default_config_files=[])
        conf.set_override(
            'connection', self.plan['store_connection'], 'nova_ha_database'
        )
        schema.sync(conf)

    def _ready_urls(self) -> dict[str, str]:
        plan = self.plan
        urls = {
            'keystone': plan['keystone']['url'],
            'nova_cloud': f'{plan["nova"]["control_url"]}/hosts',
            'bmc': f'{plan["bmc"]["url"]}/redfish/v1/',
            'telemetry': f'{plan["telemetry"]["control_url"]}/hosts',
        }
        return {name: urls[name] for name in self._names}

    def _wait(
        self, waiting: dict[str, str], begun: float, timeout: float
    ) -> None:
        left = dict(waiting)
        while left:
            for name, url in list(left.items()):
                if self._answers(url):
                    self.timings[name] = time.monotonic() - begun
                    del left[name]
                elif (code := self._children[name].poll()) is not None:
                    raise StartError(
                        f'{name} has ended with code {code} before it was '
                        f'ready. {self._tail(name)}'
                    )
                elif time.monotonic() - begun > timeout:
                    raise StartError(
                        f'{name} does not answer at {url} after {timeout} '
                        f's. {self._tail(name)}'
                    )
            time.sleep(0.1)

    def _answers(self, url: str) -> bool:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(
                context=ssl.create_default_context(
                    cafile=self.plan['bmc']['certificate']
                )
            ),
        )
        try:
            with opener.open(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            # Refused, reset or 5xx: it is not ready yet.
            return False

    def _tail(self, name: str, lines: int = 30) -> str:
        path = self._log(name)
        text = path.read_text(errors='replace').splitlines()[-lines:]
        return '\n'.join([f'The end of {path}:', *text])


def _has_telemetry() -> bool:
    return importlib.util.find_spec('lab.embedded.telemetry') is not None
