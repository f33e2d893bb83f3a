# SPDX-License-Identifier: Apache-2.0

"""The probes of a host inside ceilometer's polling agent, on this machine."""

import pathlib
import tempfile
import time
import unittest
from unittest import mock
import uuid

from ceilometer.polling import manager
from ceilometer import service

from ceilometer_pollsters import meters
from ceilometer_pollsters import storage
from ceilometer_pollsters import storage_child
from tests.functional.ceilometer import hung_storage

DATA = pathlib.Path(meters.__file__).parent / 'data'

CONF = """\
[DEFAULT]
transport_url = fake://
host = cmp-1
default_log_levels = ceilometer.polling.manager=WARN
[service_credentials]
auth_type = none
[polling]
cfg_file = {data}/polling_ha_host.yaml
pollsters_definitions_dirs = {path}
[nova_ha_host]
instances_paths = {path}/good,{path}/other
storage_deadline = {deadline}
"""
# Longer than a process takes to start here, shorter than anybody waits.
DEADLINE = 3.0


class AgentTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)
        for name in ('good', 'other'):
            (self.path / name / storage_child.DIRECTORY).mkdir(parents=True)
        conf_file = self.path / 'ceilometer.conf'
        conf_file.write_text(
            CONF.format(data=DATA, path=self.path, deadline=DEADLINE)
        )
        conf = service.prepare_service(
            argv=['test'], config_files=[str(conf_file)]
        )
        self.agent = manager.AgentManager(0, conf, ['ha_host'])
        self.agent.notifier = mock.Mock()
        self.agent.polling_manager = manager.PollingManager(conf)
        self.tasks = self.agent.setup_polling_tasks()

    def cycle(self, interval):
        """Poll the sources of an interval; return the samples they sent."""
        self.agent.notifier.reset_mock()
        self.tasks[interval].poll_and_notify()
        return [
            sample
            for call in self.agent.notifier.sample.call_args_list
            for sample in call.args[2]['samples']
        ]

    def up(self, samples):
        return {
            pathlib.Path(item['resource_metadata']['device']).name: (
                item['counter_volume']
            )
            for item in samples
            if item['counter_name'] == 'hypervisor.storage.up'
        }


class TestAgent(AgentTest):
    def test_agent_has_a_thread_for_each_kind_of_probe(self):
        self.assertEqual({5, 10, 60}, set(self.tasks))

    def test_samples_are_those_of_the_table(self):
        rows = {meter.name: meter for meter in meters.METERS}

        samples = self.cycle(10)
        for item in samples:
            row = rows[item['counter_name']]
            self.assertEqual(
                (row.unit, str(row.kind), 'cmp-1'),
                (
                    item['counter_unit'],
                    item['counter_type'],
                    item['resource_metadata']['host'],
                ),
            )
            uuid.UUID(item['resource_id'])
        self.assertEqual({'good': 1, 'other': 1}, self.up(samples))
        if pathlib.Path('/proc/pressure').exists():
            names = {item['counter_name'] for item in samples}
            self.assertIn('hypervisor.pressure.io.full', names)


@unittest.skipUnless(
    hung_storage.is_possible(), 'needs root and /dev/fuse to mount something'
)
class TestHungAgent(AgentTest):
    def test_storage_that_hangs_holds_up_no_other_probe(self):
        hung = hung_storage.HungStorage(str(self.path / 'other'))
        self.addCleanup(hung.close)
        before = self.cycle(10)
        self.assertEqual({'good': 1, 'other': 1}, self.up(before))

        hung.hang()
        took = []
        for _ in range(2):
            began = time.monotonic()
            with self.assertLogs(storage.__name__, 'ERROR'):
                samples = self.cycle(10)
            took.append(time.monotonic() - began)
            self.assertEqual({'good': 1, 'other': 0}, self.up(samples))
            self.assertEqual(
                {item['counter_name'] for item in before},
                {item['counter_name'] for item in samples},
            )
        # The deadline and the time to die, once; then nobody is started.
        self.assertLess(took[0], DEADLINE + 3)
        self.assertLess(took[1], DEADLINE)
