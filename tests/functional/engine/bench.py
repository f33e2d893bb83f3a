# SPDX-License-Identifier: Apache-2.0

"""The real engine process, between doors that lie.

The store is a SQLite file; heartbeats are written through the real liveness
store, facts through the real store; the configuration is a file as an
operator writes it. Only its times are short.
"""

import configparser
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import testtools
import yaml

from lab import authority
from nova_ha_plugins.conf import config
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import schema
from tests.functional.engine import cloud as clouds
from tests.functional.engine import faults
from tests.functional.engine import machines

ROOT = pathlib.Path(__file__).parents[3]
BEAT_EVERY = 0.25
TIMEOUT = 2.0

until = faults.until

# Every server has an end.
RECOVERED = (
    incident.Phase.RECOVERED,
    incident.Phase.RETURNING,
    incident.Phase.CLOSED,
)

# What differs from the defaults that an operator gets.
QUICK = {
    'engine': {
        'interval': 0.2,
        'warm_up': TIMEOUT,
        'lease_ttl': 3,
        'unanswered_quiet': 3,
        'take_over_quiet': 1,
    },
    'nova_ha': {
        'heartbeat_timeout': TIMEOUT,
        'reemit_interval': 4,
        'reconnect_max': 0,
    },
    'gates': {
        # The stories kill several hosts; those that are about the storm
        # gate say so.
        'storm_max_hosts': 100,
        'storm_max_share': 1.0,
        'storm_max_domains': 100,
        'storm_interval': 0,
        'storm_cooldown': 0,
        'healthy_delay': 1,
    },
    'probe': {'timeout': 0.4, 'silent_after': 2},
    'evacuation': {'retry_delay': 1},
    'fencing': {'timeout': 40, 'call_timeout': 1.5, 'verify_interval': 3},
}


class Bench:
    """One cloud with one engine.

    :ivar beat: False stops every heartbeat: nobody writes any.
    :ivar all_verified: the engine is ready once it read every device.
    """

    def __init__(self, hosts=4, changes=(), fencing_changes=()):
        self._directory = tempfile.TemporaryDirectory(prefix='engine-')
        self.directory = pathlib.Path(self._directory.name)
        self.signer = authority.Authority('BMCs')
        self.racks = machines.Racks(hosts, self.directory, self.signer)
        self.cloud = clouds.Cloud(lambda host: self.machine(host).power)
        for machine in self.racks.machines.values():
            self.cloud.add_host(machine.name, machine.address)
        self._lines = []
        self.conf_file = self.directory / 'nova-ha.conf'
        self.map_file = self.directory / 'fencing.yaml'
        self.write_map(fencing_changes)
        self.write_conf(changes)
        self.conf = config.load((), [str(self.conf_file)])
        schema.sync(self.conf)
        self.store = store_api.open_store(self.conf)
        self.liveness = liveness.open_liveness(self.conf)
        self.process = None
        self.beat = True
        self.all_verified = True
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beats, daemon=True)
        self._beating.start()

    def machine(self, host):
        return self.racks.machines[host]

    def write_map(self, changes=()):
        self.map_file.write_text(
            yaml.safe_dump(self.racks.fencing_map(changes))
        )
        self.map_file.chmod(0o600)

    def write_conf(self, changes=()):
        parser = configparser.RawConfigParser(default_section='')
        parser.optionxform = str
        parser.read_dict(
            {
                'DEFAULT': {'use_stderr': True, 'debug': False},
                'nova_ha_database': {
                    'connection': f'sqlite:///{self.directory}/store.sqlite'
                },
                'fencing': {'map_file': self.map_file},
                'probe': {'port': self.racks.port},
                'nova': {
                    'auth_type': 'password',
                    'auth_url': f'{self.cloud.url}/v3',
                    'username': 'nova-ha',
                    'password': 'b3tter-not-in-a-log',
                    'project_name': 'service',
                    'user_domain_id': 'default',
                    'project_domain_id': 'default',
                    'timeout': 2,
                },
            }
        )
        for layer in (QUICK, dict(changes)):
            for group, options in layer.items():
                if not parser.has_section(group):
                    parser.add_section(group)
                for key, value in options.items():
                    parser.set(group, key, str(value))
        with open(self.conf_file, 'w') as target:
            parser.write(target)
        self.conf_file.chmod(0o600)

    # --- the engine -------------------------------------------------------

    def start(self, wait=True):
        """Start the engine; return when it has looked at every device."""
        command = [
            sys.executable,
            '-m',
            'lab.embedded.process',
            str(os.getpid()),
            'nova_ha_plugins.cmd.engine',
            '--config-file',
            str(self.conf_file),
        ]
        # A pipe, as to the journal: it takes what no disk takes.
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        threading.Thread(
            target=self._keep_log, args=(self.process.stdout,), daemon=True
        ).start()
        if wait:
            self.until('the engine is ready', self._is_ready)

    def _is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f'The engine ended: {self.log()}')
        status = self.store.engine_status()
        return (
            status.get('age', 99) < 3
            and status.get('watching', 0) >= TIMEOUT
            and (
                not self.all_verified
                or all(
                    record.verified_at for record in self.store.host_records()
                )
            )
            and len(self.store.host_records()) == len(self.racks.machines)
        )

    def kill(self):
        """End the engine without a word, with all of its processes."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def _keep_log(self, stream):
        with stream:
            for line in stream:
                self._lines.append(line.decode(errors='replace'))

    def log(self):
        return ''.join(self._lines)

    def close(self):
        if self.process is not None:
            self.kill()
        self._over.set()
        self._beating.join()
        self.cloud.close()
        self.racks.close()
        self._directory.cleanup()

    # --- heartbeats -------------------------------------------------------

    def _beats(self):
        while not self._over.wait(BEAT_EVERY):
            heard = [
                machine.heartbeat()
                for machine in self.racks.machines.values()
                if machine.power and machine.beating
            ]
            if self.beat and heard:
                self.hear(heard)

    def hear(self, heard):
        try:
            self.liveness.beats(heard)
        except Exception as error:
            # Some tests lock the store; the next one tries again.
            print(f'Heartbeats were not stored: {error}', file=sys.stderr)

    # --- what others say --------------------------------------------------

    def say(self, kind, host, **changes):
        """Return a fact as stored; an operator's, unless something else."""
        values = {
            'channel': 'operator',
            'verified': True,
            'by': 'somebody',
            'reason': 'test',
            **changes,
        }
        return self.store.add_fact(
            facts.Fact(str(uuid.uuid4()), kind, host, **values)
        )

    # --- what became of it ------------------------------------------------

    def incident_of(self, host):
        """Return the newest incident of a host."""
        found = self.store.incidents(limit=1, host=host)
        return found[0] if found else None

    def incidents_of(self, host):
        return self.store.incidents(host=host)

    def until(self, what, check):
        def text():
            return f'{what}\n{self.told()}'

        return until(text, check)

    def told(self):
        """Return the timelines and the end of the log, for a failure."""
        lines = []
        for subject in self.store.incidents():
            lines.append(
                f'{subject.host} {subject.phase} {subject.code} '
                f'{subject.reason}'
            )
            lines += [f'  {e.code}: {e.text}' for e in subject.timeline]
            lines += [
                f'  {s.name}: {s.state} {s.code} {s.reason}'
                for s in subject.servers
            ]
        lines += ['', *self.log().splitlines()[-25:]]
        return '\n'.join(line[:300] for line in lines)

    def until_phase(self, host, *phases):
        def check():
            subject = self.incident_of(host)
            return subject if subject and subject.phase in phases else None

        return self.until(f'{host} is {" or ".join(phases)}', check)

    def until_code(self, host, code):
        """Return the incident once its timeline, or itself, has the code."""

        def check():
            subject = self.incident_of(host)
            return (
                subject
                if subject and (subject.code == code or code in codes(subject))
                else None
            )

        return self.until(f'{host} has {code}', check)

    def until_recovered(self, host):
        return self.until_phase(host, *RECOVERED)

    def die(self, *hosts):
        """The kernels stop, and nova has noticed: nothing is sent there."""
        for host in hosts:
            self.machine(host).hang()
            with self.cloud.lock:
                self.cloud.services[host]['state'] = 'down'

    def power_on(self, host):
        """Somebody repairs a host and nova-compute starts there."""
        self.machine(host).boot()
        self.cloud.nova_compute_starts(host)


def codes(subject):
    """Return the codes of a timeline, in order."""
    return [entry.code for entry in subject.timeline]


def server_of(subject, uuid):
    return next(one for one in subject.servers if one.uuid == uuid)


class Case(testtools.TestCase):
    """One bench for all tests of a class, and one story told in it.

    Subclasses tell the story in ``tell``; their tests only look at what came
    of it. Whatever the story was: no host that lives was switched off, and
    nothing was evacuated twice or from a host that runs.
    """

    HOSTS = 4
    CHANGES: dict[str, dict[str, object]] = {}
    ALL_VERIFIED = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        began = time.monotonic()
        cls.bench = Bench(cls.HOSTS, cls.CHANGES)
        cls.addClassCleanup(cls.bench.close)
        cls.bench.all_verified = cls.ALL_VERIFIED
        cls.cloud, cls.racks = cls.bench.cloud, cls.bench.racks
        cls.store = cls.bench.store
        cls.prepare()
        cls.bench.store.set_arm_state(True, 'test', 'test')
        cls.bench.start()
        cls.tell()
        print(f'{cls.__name__}: {time.monotonic() - began:.0f} s')

    @classmethod
    def prepare(cls):
        """Make what there is before the engine starts."""

    @classmethod
    def tell(cls):
        """Play the story."""

    def test_no_law_was_broken(self):
        self.assertEqual([], self.cloud.violations)
        self.assertEqual([], self.racks.violations)
        self.assertNotIn('Traceback', self.bench.log())
