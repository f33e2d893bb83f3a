# SPDX-License-Identifier: Apache-2.0

"""An evacuation that has much to copy, watched while it goes on.

``NOVA_HA_LAB_PROGRESS`` names a file for the recorded samples
(``tools/record-progress``).
"""

import concurrent.futures
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from lab import contents
from lab.demo import operator
from lab.demo import real
from lab.embedded import plan as embedded
from lab import guest
from tests.lab import bench
from tests.lab import recording

RECORDING = os.environ.get('NOVA_HA_LAB_PROGRESS')
MIB = 2**20
IMAGE_MIB = 512
# Of the image service, to each host that fetches from it. Loopback would be
# so quick that there is nothing to see.
KIB_PER_SECOND = 16 * 1024
HISTORY = 5


def image(size: int) -> bytes:
    """Return the guests' image, made so long with what nobody can compress."""
    cached = guest.image(embedded.default_cache())
    with tempfile.TemporaryDirectory(dir='/var/tmp') as name:
        raw, made = pathlib.Path(name, 'raw'), pathlib.Path(name, 'qcow2')
        convert = ('qemu-img', 'convert', '-O')
        subprocess.run([*convert, 'raw', str(cached), str(raw)], check=True)
        with raw.open('ab') as stream:
            # The first part is sparse: a file of qcow2 leaves that out.
            for _ in range((size - cached.stat().st_size) // MIB):
                stream.write(os.urandom(MIB))
        subprocess.run([*convert, 'qcow2', str(raw), str(made)], check=True)
        return made.read_bytes()


class ColdImageTest(bench.LabTest):
    """No destination has the image, and it comes slowly."""

    storage = 'local'
    # Two hosts fail, one after the other, within minutes.
    settings = {
        'gates': {'storm_max_hosts': '2'},
    }

    def upload(self) -> list[str]:
        """Make images that differ for nova: each is fetched by itself."""
        cloud, data = contents.Cloud(self.plan), image(IMAGE_MIB * MIB)
        names = [f'guest-{IMAGE_MIB}-{n}' for n in range(HISTORY + 1)]
        # One of a story that was ended may be there in part.
        self.drop(names)
        for name in names:
            cloud.create_image(name, 'qemu', data)
        self.addCleanup(self.drop, names)
        return names

    def drop(self, names: list[str]) -> None:
        images = self.operator.connection.image
        for found in list(images.images()):
            if found.name in names:
                images.delete_image(found.id)

    def boot_of(self, image: str, host: str) -> str:
        """Boot a protected server of an image and return its uuid."""
        stage = real.LabStage(self.plan.directory, self.lab)
        stage.image = image
        wanted = operator.Wanted(image, {'ha:policy': 'evacuate'})
        booted = operator.Operator(stage).boot([wanted], host)
        self.servers |= booted
        return next(iter(booted))

    def slow_down(self, *hosts: str) -> None:
        for host in hosts:
            self.faults.cause('rate:glance', host, str(KIB_PER_SECOND))

    def bases(self, host: str) -> set[str]:
        """Return the images in the cache of a host."""
        base = self.plan.directory / 'hosts' / host / 'instances' / '_base'
        return {path.name for path in base.glob('*')}

    def gather(self, images: list[str]) -> None:
        """Let a first host fail, so that this cloud has a history."""
        with concurrent.futures.ThreadPoolExecutor(len(images)) as pool:
            uuids = list(
                pool.map(lambda name: self.boot_of(name, 'cmp-1'), images)
            )
        self.wait_guests(uuids)
        self.slow_down('cmp-2', 'cmp-3')
        self.cut_power('cmp-1')
        self.wait_phase('cmp-1', 'recovered')
        self.assert_recovered(uuids, 'cmp-1')
        self.faults.heal()
        self.stage.power_on('cmp-1')
        self.wait_phase('cmp-1', 'closed')

    def test_progress_is_shown_from_the_first_byte_to_the_last(self):
        *earlier, recorded = self.upload()
        self.gather(earlier)
        uuid = self.boot_of(recorded, 'cmp-2')
        self.wait_guests([uuid])
        self.slow_down('cmp-1', 'cmp-3')
        before = {host: self.bases(host) for host in ('cmp-1', 'cmp-3')}

        with recording.Recorder(self.operator, uuid) as recorder:
            self.cut_power('cmp-2')
            bench.wait(lambda: recorder.done, 'the evacuation to end')

        samples = recorder.samples
        self.note(samples)
        self.wait_phase('cmp-2', 'recovered')
        destination = samples[-1]['dest_compute']
        self.assertEqual('succeeded', samples[-1]['state'], samples[-1])
        self.assertGreater(self.bases(destination), before[destination])
        self.check_bytes(samples)
        self.check_percent(samples)
        self.check_mirror(samples)
        self.check_eta(samples)
        self.assertEqual([destination], self.stage.domains()[uuid])
        self.assert_recovered([uuid], 'cmp-2')
        self.assert_nobody_ran_twice()

    def check_bytes(self, samples):
        counted = [
            each
            for each in samples
            if each['disk_processed_bytes'] is not None
        ]
        processed = [each['disk_processed_bytes'] for each in counted]
        totals = {each['disk_total_bytes'] for each in counted}
        self.assertGreaterEqual(len(set(processed)), 10)
        self.assertEqual(sorted(processed), processed)
        self.assertEqual(1, len(totals), totals)
        # It is fetched, and converted.
        self.assertGreater(processed[-1], 1.5 * IMAGE_MIB * MIB)
        for each in counted:
            self.assertEqual(
                each['disk_total_bytes'],
                each['disk_processed_bytes'] + each['disk_remaining_bytes'],
            )

    def check_percent(self, samples):
        percent = [each['progress'] for each in samples]
        self.assertNotIn(None, percent)
        self.assertEqual(sorted(percent), percent)
        self.assertGreaterEqual(len(set(percent)), 15)
        for each in samples:
            there = each['server']['host'] == each['dest_compute']
            if each['progress'] == 100:
                # What was asked afterwards.
                self.assertTrue(there, each)
                self.assertIsNone(each['server']['task_state'], each)

    def check_mirror(self, samples):
        running = [each for each in samples if each['phase'] == 'spawning']
        shown = [each['server']['progress'] for each in running[:-1]]
        self.assertEqual(sorted(shown), shown)
        self.assertGreaterEqual(len(set(shown)), 10)
        # The server was asked before the next sample was.
        for each, after in itertools.pairwise(running):
            self.assertLessEqual(
                each['server']['progress'], after['progress'], each
            )
        # Nothing of it stays.
        self.assertEqual(0, samples[-1]['server']['progress'])

    def check_eta(self, samples):
        told = [
            each
            for each in samples
            if each['eta_seconds'] is not None and each['state'] == 'running'
        ]
        self.assertTrue(told, 'no sample has an estimate')
        for each in told:
            self.assertGreaterEqual(each['eta_samples'], HISTORY)
            self.assertLessEqual(each['eta_seconds'], each['eta_p90_seconds'])
        error, within, count = recording.eta_errors(samples)
        print(
            f'Estimates: {count}, median absolute error {error} s, '
            f'within p90 {within:.0%}',
            file=sys.stderr,
        )

    def note(self, samples):
        if not RECORDING:
            return
        error, within, count = recording.eta_errors(samples)
        told = {
            'date': recording.today(),
            'image_mib': IMAGE_MIB,
            'kib_per_second': KIB_PER_SECOND,
            'earlier': HISTORY,
            'eta': {
                'samples': count,
                'median_absolute_error_s': error,
                'within_p90': within,
            },
            'samples': samples,
        }
        pathlib.Path(RECORDING).write_text(
            json.dumps(told, indent=1, sort_keys=True) + '\n'
        )
