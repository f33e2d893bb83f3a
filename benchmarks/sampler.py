# SPDX-License-Identifier: Apache-2.0

"""What the sampler takes from many evacuations to one host at once."""

import argparse
import logging
import statistics
import threading
import time
import unittest
from unittest import mock

from tests.functional.nova_compute import base

# isort: split
from nova_ha_plugins.compute import sampler


class Wave(base.SamplerTestCase):
    """All servers of a host, evacuated to another one at the same moment."""

    compute_driver = 'fake.FakeDriver'
    servers = 12
    sampled = True

    def setUp(self):
        logging.disable(logging.WARNING)
        self.addCleanup(logging.disable, logging.NOTSET)
        super().setUp()
        self.let_conversion_go()
        self.flags(instances=-1, cores=-1, ram=-1, group='quota')
        # As in production; the tests look more often.
        self.flags(sample_interval=1.0, group='nova_ha_progress')
        # What the thread of the sampler itself used, per life.
        self.used = []
        run = sampler.Sampler._run

        def measured(this):
            began = time.thread_time()
            run(this)
            self.used.append(time.thread_time() - began)

        patch = mock.patch.object(sampler.Sampler, '_run', measured)
        patch.start()
        self.addCleanup(patch.stop)
        if not self.sampled:
            self.driver.notify = lambda *args: None

    def runTest(self):
        self.start_hosts('host1', 'host2')
        found = [self._create() for _number in range(self.servers)]
        for server in found:
            self._wait_for_state_change(server, 'ACTIVE')
        self.kill('host1')
        self.notify_times.clear()
        self.slow = {'host2'}
        self.source.pace = lambda given: time.sleep(0.5)
        self._evacuate(found)
        self._print()

    def _create(self):
        server = self._build_server(
            networks='none', host='host1', image_uuid=base.IMAGE_ID
        )
        return self.admin_api.post_server({'server': server})

    def _evacuate(self, found):
        began, used = time.monotonic(), time.process_time()
        threads = [
            threading.Thread(target=self.evacuate, args=(server,))
            for server in found
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while open_ := self._count(found, 'accepted', 'pre-migrating'):
            if time.monotonic() - began > 600:
                raise TimeoutError(f'{open_} evacuations are still open')
            time.sleep(0.5)
        self.done = self._count(found, 'done')
        self.took = time.monotonic() - began
        self.process = time.process_time() - used
        self.sampler.wait(120)
        records = [self.record(server) for server in found]
        self.left = [r.disk_remaining for r in records]
        self.progress = [self.instance(server).progress for server in found]

    def _count(self, found, *statuses):
        return sum(self.record(s).status in statuses for s in found)

    def _print(self):
        print(
            f'{self.servers} evacuations, sampler '
            f'{"on" if self.sampled else "off"}: {self.took:.1f} s, '
            f'{self.process:.1f} CPU-s of the process, {self.done} succeeded'
        )
        if not self.sampled:
            return
        times = sorted(self.notify_times)
        print(
            f'  its thread: {sum(self.used):.2f} CPU-s, '
            f'{len(self.conductor.calls)} calls to the conductor\n'
            f'  notify(): {len(times)} times, '
            f'median {1e6 * statistics.median(times):.0f} us, '
            f'longest {1e3 * times[-1]:.1f} ms, '
            f'together {1e3 * sum(times):.0f} ms\n'
            f'  bytes left: {sum(n or 0 for n in self.left)} in '
            f'{sum(n is not None for n in self.left)} records; progress '
            f'left behind: {sum(self.progress)}'
        )


def main() -> None:
    """Print what one wave costs with the sampler and without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--servers', type=int, default=12)
    arguments = parser.parse_args()
    Wave.servers = arguments.servers
    for sampled in (False, True):
        wave = Wave()
        wave.sampled = sampled
        result = unittest.TextTestRunner(verbosity=0).run(wave)
        if not result.wasSuccessful():
            raise SystemExit(1)


if __name__ == '__main__':
    main()
