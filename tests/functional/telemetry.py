# SPDX-License-Identifier: Apache-2.0

"""Real telemetry services for tests: parts of the embedded cloud."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from aodh import messaging as aodh_messaging
from ceilometer import messaging
import oslo_messaging
from oslo_messaging._drivers import impl_fake
from oslo_utils import uuidutils

from lab.embedded import plan as planning
from lab.embedded import telemetry
from nova_ha_plugins.conf import config
from nova_ha_plugins.store import schema

TIMEOUT = 30.0


def wait_for(condition, what, timeout=TIMEOUT):
    """Return the first true value of a condition."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f'Not within {timeout:.0f}s: {what}')


class Cloud:
    """A plan with its store, and whichever services a test starts.

    :ivar conf: nova-ha.conf of this cloud, parsed.
    """

    def __init__(self, **telemetry_settings):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='nova-ha-'))
        self._children = []
        self.plan = planning.make(
            self.directory,
            3,
            planning.prepared_keystone(planning.default_cache()),
            {'telemetry': telemetry_settings},
        )
        planning.write_files(self.plan)
        path = self.directory / 'nova-ha.conf'
        lines = []
        sections = planning.engine_conf(self.plan)
        for section, values in sections.items():
            lines += [f'[{section}]']
            lines += [f'{key} = {value}' for key, value in values.items()]
        lines += ['[webhook]', f'secret = {uuidutils.generate_uuid()}']
        lines += ['[keystone_authtoken]']
        url = self.plan['keystone']['url']
        lines += [f'www_authenticate_uri = {url}', 'auth_type = password']
        lines += [
            f'{key} = {value}'
            for key, value in planning.credentials(
                self.plan, 'nova-ha'
            ).items()
        ]
        planning.write_secret(path, '\n'.join(lines))
        self.conf = config.load(files=[str(path)])
        schema.sync(self.conf)
        self.telemetry = telemetry.Telemetry(self.plan)

    def start_keystone(self):
        """Start keystone as a process of its own, which dies with us."""
        log = open(self.directory / 'log' / 'keystone.log', 'wb')
        with log:
            child = subprocess.Popen(
                [
                    sys.executable,
                    '-m',
                    'lab.embedded.process',
                    str(os.getpid()),
                    'lab.embedded.keystone',
                    '--config-json',
                    str(self.directory / 'cloud.json'),
                ],
                cwd=planning.ROOT,
                env=planning.child_environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._children.append(child)
        wait_for(self._keystone_answers, 'keystone answers')

    def _keystone_answers(self):
        try:
            urllib.request.urlopen(self.plan['keystone']['url'], timeout=5)
        except OSError:
            return False
        return True

    def stop(self):
        """End all of it.

        Both projects keep the first transport of a process for good, and
        with it the configuration it was made with.
        """
        self.telemetry.stop()
        messaging.TRANSPORTS.clear()
        aodh_messaging.TRANSPORTS.clear()
        impl_fake.FakeExchangeManager.cleanup()
        for child in self._children:
            child.terminate()
            child.wait(10)
        shutil.rmtree(self.directory)


class Bus:
    """Aodh's topic of events, seen from both sides."""

    def __init__(self, plan):
        # Any configuration of this process will do: the bus is in memory.
        files = telemetry.Files(plan)
        self.conf = telemetry.prepare_agent(files.central('unused.yaml'))
        self._transport = messaging.get_transport(self.conf)
        self._notifier = oslo_messaging.Notifier(
            self._transport,
            driver='messagingv2',
            publisher_id='test',
            topics=['alarm.all'],
        )

    def listen(self, endpoint):
        """Return a running listener that hands events to an endpoint."""
        listener = messaging.get_batch_notification_listener(
            self._transport,
            [oslo_messaging.Target(topic='alarm.all')],
            [endpoint],
        )
        listener.start()
        return listener

    def send(self, event_type, project_id=None, **traits):
        """Send one event the way ceilometer's publisher does."""
        if project_id:
            traits['project_id'] = project_id
        self._notifier.sample(
            {},
            'event',
            [
                {
                    'message_id': uuidutils.generate_uuid(),
                    'event_type': event_type,
                    'generated': '2026-11-20T08:20:05.901959',
                    'traits': [
                        [name, 1, value] for name, value in traits.items()
                    ],
                    'raw': {},
                }
            ],
        )


def post(url, body):
    """Return status and JSON of a POST."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), method='POST'
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
