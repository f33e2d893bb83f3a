# SPDX-License-Identifier: Apache-2.0

"""A nova whose fake driver really fetches and converts an image, slowly."""

import hashlib
import os
import shutil
import subprocess
import threading
import time

# As nova-compute runs by default, and before anything of nova is imported.
os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', 'true')

from tests.functional.nova import base

import fixtures
from nova.conductor import rpcapi as conductor_rpcapi
from nova import context as nova_context
from nova import objects
from nova import rpc
from nova.virt import fake
from nova.virt import images as virt_images
import oslo_messaging

from nova_ha_plugins.compute import driver as progress_driver

IMAGE_ID = '155d900f-4e14-4e4c-a73d-069cbf4541e7'
PIECES = 8

# The conversion is the real one, stopped on its way until somebody has looked.
SLOW_QEMU_IMG = """#!/bin/sh
if [ "$1" != convert ] || [ -e {go} ]; then
    exec {path} "$@"
fi
shift
{path} convert -r 8M "$@" &
sleep 0.4
kill -STOP $!
for _ in $(seq 400); do
    [ -e {go} ] && break
    sleep 0.05
done
kill -CONT $!
wait $!
"""


def make_qcow2(path, mebibytes):
    """Make an image that is full of what cannot be compressed."""
    raw = f'{path}.raw'
    with open(raw, 'wb') as file:
        file.write(os.urandom(mebibytes << 20))
    subprocess.run(
        ['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, path],
        check=True,
    )
    os.unlink(raw)


class Source:
    """An image service that gives its bytes piece by piece.

    :ivar pace: called after each piece with the bytes given so far.
    """

    def __init__(self, path):
        self.path = path
        self.pace = lambda given: None

    def download(
        self, context, image_id, data=None, dest_path=None, trusted_certs=None
    ):
        piece = -(-os.path.getsize(self.path) // PIECES)
        with open(self.path, 'rb') as source, open(dest_path, 'wb') as target:
            for number in range(PIECES):
                target.write(source.read(piece))
                target.flush()
                self.pace(min((number + 1) * piece, source.tell()))


class Conductor:
    """Leads what our thread does with nova's objects through the conductor.

    As in a real nova-compute, by RPC to the real nova-conductor; nova's own
    threads keep the direct way that its functional tests have.

    :ivar answers: cleared to let calls wait.
    :ivar failure: raised instead of an answer if it is set.
    :ivar calls: what was called.
    """

    def __init__(self):
        self.api = conductor_rpcapi.ConductorAPI()
        self.answers = threading.Event()
        self.answers.set()
        self.failure = None
        self.calls = []

    def __get__(self, _object, _owner):
        name = threading.current_thread().name
        return self if name == 'nova-ha-progress' else None

    def _call(self, name, *args, **kwargs):
        self.calls.append((name, args[1:3]))
        self.answers.wait(60)
        if self.failure is not None:
            raise self.failure
        return getattr(self.api, name)(*args, **kwargs)

    def object_class_action_versions(self, *args, **kwargs):
        return self._call('object_class_action_versions', *args, **kwargs)

    def object_action(self, *args, **kwargs):
        return self._call('object_action', *args, **kwargs)


class SamplerTestCase(base.NovaTestCase):
    """Three hosts, one image of ``mebibytes``, our driver loaded by oslo."""

    mebibytes = 8

    def setUp(self):
        super().setUp()
        self.instances = os.path.join(self.directory, 'instances')
        os.mkdir(self.instances)
        self.flags(instances_path=self.instances, force_raw_images=True)
        path = os.path.join(self.directory, 'image.qcow2')
        make_qcow2(path, self.mebibytes)
        self.size = os.path.getsize(path)
        self.glance.create(
            None,
            {
                'id': IMAGE_ID,
                'name': 'slow',
                'min_ram': 0,
                'min_disk': 0,
                'status': 'active',
                'visibility': 'public',
                'container_format': 'bare',
                'disk_format': 'qcow2',
                'size': self.size,
                'tags': [],
                'properties': {},
            },
        )
        self.source = Source(path)
        self.slow_down_qemu_img()
        self.stub_out(
            'nova.virt.images.IMAGE_API.download', self.source.download
        )
        self.slow = set()
        self._lock = threading.Lock()
        self._wrap_spawn()
        self.conductor = Conductor()
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova.objects.base.NovaObject.indirection_api', self.conductor
            )
        )
        self.load_driver()
        self.addCleanup(self.let_go)

    def let_go(self):
        """Nothing of ours outlives the test, whatever became of it."""
        self.let_conversion_go()
        self.conductor.answers.set()
        self.sampler.wait(30)
        progress_driver._samplers.clear()

    def slow_down_qemu_img(self):
        programs = os.path.join(self.directory, 'bin')
        os.mkdir(programs)
        self.go = os.path.join(programs, 'go')
        path = os.path.join(programs, 'qemu-img')
        with open(path, 'w') as file:
            file.write(
                SLOW_QEMU_IMG.format(path=shutil.which('qemu-img'), go=self.go)
            )
        os.chmod(path, 0o755)
        self.useFixture(
            fixtures.EnvironmentVariable(
                'PATH', f'{programs}:{os.environ["PATH"]}'
            )
        )

    def let_conversion_go(self):
        with open(self.go, 'w'):
            pass

    def load_driver(self):
        """Have oslo.messaging load our driver, as nova.rpc.init does."""
        self.flags(
            driver=['nova_ha_progress'], group='oslo_messaging_notifications'
        )
        self.conf = rpc.NOTIFICATION_TRANSPORT.conf
        serializer = rpc.RequestContextSerializer(rpc.JsonPayloadSerializer())
        notifier = oslo_messaging.Notifier(
            rpc.NOTIFICATION_TRANSPORT, serializer=serializer
        )
        # Nova's own test environment has replaced both.
        self.stub_out('nova.rpc.LEGACY_NOTIFIER', notifier)
        self.stub_out('nova.rpc.NOTIFIER', notifier)
        [loaded] = notifier._driver_mgr.extensions
        self.driver = loaded.obj
        self.flags(sample_interval=0.1, group='nova_ha_progress')
        self.sampler = progress_driver.sampler_of(self.conf)
        self.notify_times = []
        notify = self.driver.notify

        def measured(*args):
            began = time.perf_counter()
            notify(*args)
            self.notify_times.append(time.perf_counter() - began)

        self.driver.notify = measured

    def _wrap_spawn(self):
        spawn = fake.FakeDriver.spawn
        test = self

        def slow_spawn(driver, context, instance, *args, **kwargs):
            # The first boot is not what the tests are about.
            if driver._host in test.slow:
                test.fetch(context, instance)
            return spawn(driver, context, instance, *args, **kwargs)

        self.stub_out('nova.virt.fake.FakeDriver.spawn', slow_spawn)

    def fetch(self, context, instance):
        """What the libvirt driver does: one fetches, the others wait."""
        base_path = self.base_path
        os.makedirs(os.path.dirname(base_path), exist_ok=True)
        with self._lock:
            if not os.path.exists(base_path):
                virt_images.fetch_to_raw(
                    context, instance.image_ref, base_path
                )

    @property
    def base_path(self):
        name = hashlib.sha1(IMAGE_ID.encode()).hexdigest()
        return os.path.join(self.instances, '_base', name)

    def boot_slow(self, host='host1'):
        return self.boot(host, image_uuid=IMAGE_ID)

    def instance(self, server):
        return objects.Instance.get_by_uuid(
            nova_context.get_admin_context(), server['id']
        )

    def record(self, server):
        """Nova's newest migration record of a server."""
        found = objects.MigrationList.get_by_filters(
            nova_context.get_admin_context(), {'instance_uuid': server['id']}
        )
        return max(found, key=lambda record: record.id)

    def wait_for_bytes(self, server, count, timeout=20.0):
        """Wait until nova's record says that so many bytes are here."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if (self.record(server).disk_processed or 0) >= count:
                return
            time.sleep(0.02)

    def watch(self, server, until, timeout=60.0):
        """Look until ``until(record, shown)``; give all that was seen."""
        seen = []
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            record = self.record(server)
            shown = self.admin_api.get_server(server['id'])
            seen.append((record, shown))
            if until(record, shown):
                return seen
            time.sleep(0.05)
        self.fail(f'Not seen within {timeout} s; last: {seen[-1]}')
