# SPDX-License-Identifier: Apache-2.0

"""The engine of the demo: a process of its own, which may be killed."""

import configparser
import os
import pathlib
import signal
import subprocess
import sys

from lab.embedded import cloud as embedded

# The demo cannot wait a minute for anything; what differs from the defaults
# that an operator gets is all here.
QUICK: dict[str, dict[str, str]] = {
    'engine': {
        'interval': '0.3',
        'warm_up': '3',
        'unanswered_quiet': '5',
        'lease_ttl': '5',
    },
    'nova_ha': {'heartbeat_timeout': '3', 'reemit_interval': '5'},
    'probe': {'timeout': '0.5'},
    'evacuation': {'retry_delay': '2'},
    'gates': {'healthy_delay': '3'},
    'fencing': {'call_timeout': '5'},
}


class Engine:
    """nova-ha-engine, as an operator would start it."""

    def __init__(self, cloud: embedded.Cloud) -> None:
        self.conf_file = cloud.directory / 'nova-ha.conf'
        self.log_file = pathlib.Path(cloud.plan['log_dir'], 'engine.log')
        self.kills = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._write(cloud)

    def _write(self, cloud: embedded.Cloud) -> None:
        parser = configparser.RawConfigParser()
        groups = {**cloud.engine_conf()}
        for group, options in QUICK.items():
            groups[group] = {**groups.get(group, {}), **options}
        parser.read_dict(groups)
        descriptor = os.open(
            self.conf_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600
        )
        with open(descriptor, 'w') as stream:
            parser.write(stream)

    def start(self) -> None:
        """Start it; it takes the lease by itself."""
        command = [
            sys.executable,
            '-m',
            'lab.embedded.process',
            str(os.getpid()),
            'nova_ha_plugins.cmd.engine',
            '--config-file',
            str(self.conf_file),
        ]
        with open(self.log_file, 'ab') as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it without any warning, with all of its processes."""
        self.kills += 1
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        process = self._process
        if process is None:
            return
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(timeout=8)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._process = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None
