# SPDX-License-Identifier: Apache-2.0

"""Nova's records as the sampler sees them, without nova."""

import threading
import time
import types

from nova_ha_plugins.compute import images
from nova_ha_plugins.compute import watched

HOST = 'host2'
SOURCE = 'host1'


class Record(types.SimpleNamespace):
    """A migration record."""


class Server:
    """A server, with what was written to it."""

    def __init__(self, uuid, image='image', task='rebuilding', progress=0):
        self.uuid = uuid
        self.image_ref = image
        self.task_state = task
        self.host = SOURCE
        self.progress = progress
        self.history = []


class Records:
    """The door, with a switch for each failure.

    :ivar failure: raised by every call if it is set.
    :ivar answers: cleared to let calls wait.
    :ivar bytes: what was written of which record.
    """

    def __init__(self):
        self.servers = {}
        self.records = {}
        self.bytes = []
        self.failure = None
        self.answers = threading.Event()
        self.answers.set()
        self.calls = []
        self.left = {}
        self.image = images.Image(1000, 'raw')

    def add(self, uuid, **kwargs):
        server = Server(uuid, **kwargs)
        self.servers[uuid] = server
        self.records[uuid] = Record(uuid=f'record of {uuid}')
        return server

    def _call(self, name):
        self.calls.append(name)
        self.answers.wait(30)
        if self.failure is not None:
            raise self.failure

    def find_image(self, context, image_id):
        return self.image

    def find_evacuation(self, host, server, source):
        self._call('find_evacuation')
        if server not in self.records:
            raise watched.Gone('no record')
        return self.records[server]

    def find_servers(self, uuids):
        self._call('find_servers')
        return {u: self.servers[u] for u in uuids if u in self.servers}

    def save_bytes(self, record, counted):
        self._call('save_bytes')
        self.bytes.append((record.uuid, counted.total, counted.processed))

    def save_progress(self, server, value):
        self._call('save_progress')
        if server.task_state is None:
            raise watched.Gone('over')
        server.progress = value
        server.history.append(value)

    def end_progress(self, server):
        self._call('end_progress')
        server.progress = 0
        server.history.append(0)

    def forget_progress(self, host):
        self._call('forget_progress')
        return self.left.pop(host, [])


def wait_for(condition, timeout=15.0):
    """Wait for what another thread does; AssertionError if it does not."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f'Not seen within {timeout} s')
        time.sleep(0.002)


def conf(instances='/nonexistent', **kwargs):
    """Nova's configuration, as far as the sampler reads it."""
    progress = {'sample_interval': 0.005, 'mirror_progress': True}
    return types.SimpleNamespace(
        instances_path=instances,
        force_raw_images=True,
        use_cow_images=True,
        image_cache=types.SimpleNamespace(subdirectory_name='_base'),
        libvirt=types.SimpleNamespace(
            images_type=kwargs.pop('images_type', 'default')
        ),
        nova_ha_progress=types.SimpleNamespace(**{**progress, **kwargs}),
    )


def start(server, *, host=HOST, image='image', at=0.0):
    return watched.Start(
        server=server, host=host, source=SOURCE, image=image, at=at
    )


def end(server, *, host=HOST, succeeded=True):
    return watched.End(server, host, succeeded)
