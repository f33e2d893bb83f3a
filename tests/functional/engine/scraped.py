# SPDX-License-Identifier: Apache-2.0

"""A real Prometheus that scrapes a real engine while hosts fail."""

import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.store import values
from tests.functional.engine import bench
from tools import render_dashboard

PROMETHEUS = shutil.which('prometheus')

HOSTS = 12
SERVERS = 3
LOOKED_EVERY = 0.5

# What differs from the other stories: numbers that are told, quickly.
CHANGES = {
    'metrics': {'interval': 0.5, 'census_interval': 4},
    'fencing': {'timeout': 6, 'call_timeout': 1.5, 'verify_interval': 300},
}


def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


class Prometheus:
    """One that keeps what it scrapes in a directory of its own."""

    def __init__(self, target):
        self._directory = tempfile.TemporaryDirectory(prefix='prometheus-')
        directory = pathlib.Path(self._directory.name)
        port = free_port()
        self.url = f'http://127.0.0.1:{port}'
        settings = {
            'global': {'scrape_interval': '500ms', 'scrape_timeout': '400ms'},
            'scrape_configs': [
                {
                    'job_name': 'nova-ha',
                    'static_configs': [{'targets': [target]}],
                }
            ],
        }
        (directory / 'prometheus.yml').write_text(json.dumps(settings))
        self._process = subprocess.Popen(
            [
                PROMETHEUS,
                f'--config.file={directory / "prometheus.yml"}',
                f'--storage.tsdb.path={directory / "data"}',
                f'--web.listen-address=127.0.0.1:{port}',
                '--log.level=error',
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def close(self):
        self._process.terminate()
        self._process.wait()
        self._directory.cleanup()

    def _get(self, path, **values):
        query = urllib.parse.urlencode(values)
        url = f'{self.url}/api/v1/{path}?{query}'
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)['data']['result']

    def ask(self, query, start, end, step):
        """Return what a query gives from one time to another."""
        return self._get(
            'query_range', query=query, start=start, end=end, step=step
        )

    def value(self, query):
        """Return the one value that a query gives now, None for none."""
        try:
            found = self._get('query', query=query)
        except OSError:
            return None
        return float(found[0]['value'][1]) if found else None


class Scene:
    """A cloud whose engine is scraped, and what happens in it.

    :ivar began: when the numbers began, on the clock of Prometheus.
    """

    def __init__(self, hosts=HOSTS):
        port = free_port()
        changes = {name: dict(group) for name, group in CHANGES.items()}
        changes['metrics']['port'] = port
        self.bench = bench.Bench(hosts, changes)
        self.prometheus = Prometheus(f'127.0.0.1:{port}')
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()
        for number in range(1, hosts + 1):
            for letter in 'abc'[:SERVERS]:
                tagged = letter != 'c' or number % 3
                self.bench.cloud.add_server(
                    f'cmp-{number}',
                    f'{letter}-{number}',
                    None if tagged else {},
                )
        self.bench.store.set_arm_state(True, 'test', 'test')
        self.bench.start()
        # A rise shows only from a value that was scraped before.
        self.until('max(nova_ha_census_age_seconds)', lambda age: age >= 0)
        self.began = time.time()

    def close(self):
        self._over.set()
        self._watching.join()
        self.bench.close()
        self.prometheus.close()

    def _watch(self):
        """Be the watcher, which leaves word of each look."""
        while not self._over.wait(LOOKED_EVERY):
            word = values.Health('', 'watcher:ctl-1', True, float(HOSTS), '')
            try:
                self.bench.liveness.healths([word])
            except Exception as error:
                # The store may be busy for a moment.
                print(f'The watcher could not leave word: {error}')

    def until(self, query, holds):
        """Wait until Prometheus has a value that holds."""

        def check():
            found = self.prometheus.value(query)
            return found is not None and holds(found)

        self.bench.until(f'Prometheus has {query}', check)

    def dies(self, *hosts):
        """Hosts die, and are fenced and evacuated."""
        self.bench.die(*hosts)
        for host in hosts:
            self.bench.until_recovered(host)

    def is_suspected_in_vain(self, host):
        """A host sends no heartbeats for a while, and lives."""
        machine = self.bench.machine(host)
        machine.beating = False
        self.bench.until_phase(host, incident.Phase.HELD)
        machine.beating = True
        self.bench.until_phase(host, incident.Phase.CANCELLED)

    def stays_on(self, host):
        """A host dies, and its device will not switch it off."""
        self.bench.machine(host).obeys = False
        self.bench.die(host)

    def is_left(self, host):
        """The engine gives it up, and an operator is asked."""
        self.bench.until_phase(host, incident.Phase.NEEDS_OPERATOR)


def tell(scene, pause=0.0):
    """Let everything happen that the dashboard has a panel for."""
    scene.stays_on('cmp-3')
    scene.dies('cmp-1')
    time.sleep(pause)
    scene.is_suspected_in_vain('cmp-2')
    time.sleep(pause)
    scene.is_left('cmp-3')
    # Prometheus scrapes, and the engine looks, twice a second.
    for what in ('fence_failures', 'false_suspicions'):
        scene.until(f'sum(nova_ha_{what}_total)', lambda count: count >= 1)


def measure(scene, dashboard, points=90):
    """Return what Prometheus answers to each query of the dashboard."""
    end = time.time()
    step = max(0.5, round((end - scene.began) / points, 1))
    return render_dashboard.record(
        dashboard, scene.prometheus.ask, scene.began, end, step
    )


def record(dashboard):
    """Let hosts fail for about two minutes; return what was answered."""
    scene = Scene()
    try:
        tell(scene, pause=8.0)
        for hosts in (('cmp-4',), ('cmp-5', 'cmp-6'), ('cmp-7',)):
            time.sleep(10.0)
            scene.dies(*hosts)
        time.sleep(4.0)
        scene.bench.power_on('cmp-1')
        scene.is_suspected_in_vain('cmp-8')
        time.sleep(6.0)
        return measure(scene, dashboard)
    finally:
        scene.close()
