# SPDX-License-Identifier: Apache-2.0
"""Nova's services in one process, on nova's own functional test fixtures.

Import this module only with OS_NOVA_DISABLE_EVENTLET_PATCHING set: the first
import of nova.tests.functional decides between eventlet and real threads.
"""

import collections.abc
import contextlib
import logging
import pathlib
import sys
import threading
import time
import typing
import warnings

# isort: split
import nova.tests.functional

# isort: split
from nova.compute import power_state
import nova.config
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import notifications
from nova.tests.functional import integrated_helpers
import nova.thread_pool_factory
from nova.virt import fake
from oslo_config import cfg

from lab.embedded import power

CONF = cfg.CONF


class PoweredDriver(fake.FakeDriver):
    """Nova's fake driver on a host that can lose its power.

    Capacities are finite, so that the scheduler's weighers see which host is
    fuller and spread an evacuation.
    """

    vcpus = 64
    memory_mb = 131072
    local_gb = 4000

    hosts: typing.ClassVar[dict[str, power.Host]] = {}
    spawn_seconds: typing.ClassVar[float] = 0.0

    @contextlib.contextmanager
    def _powered(self) -> collections.abc.Iterator[None]:
        """Change domains only with power, and all at once or not at all."""
        host = self.hosts[self._host]
        with host.lock:
            host.check()
            yield

    def spawn(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        """Take a while, as a real one does; abort when the power goes."""
        host = self.hosts[self._host]
        until = time.monotonic() + self.spawn_seconds
        while time.monotonic() < until:
            host.check()
            time.sleep(0.05)
        with self._powered():
            super().spawn(*args, **kwargs)

    def destroy(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        with self._powered():
            super().destroy(*args, **kwargs)

    def power_off(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        with self._powered():
            super().power_off(*args, **kwargs)

    def power_on(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        with self._powered():
            super().power_on(*args, **kwargs)

    def resume_state_on_host_boot(
        self,
        context: typing.Any,
        instance: typing.Any,
        *args: typing.Any,
        **kwargs: typing.Any,
    ) -> None:
        """Start a guest again that ran before the host lost its power."""
        with self._powered():
            self.instances[instance.uuid].state = power_state.RUNNING


def _target_cell(
    self: typing.Any, context: typing.Any, cell_mapping: typing.Any
) -> typing.Any:
    """Replace CellDatabases._wrap_target_cell.

    The original switches a global under a reader-writer lock; 20 concurrent
    boots deadlock on it. One cell (the default) needs no switching.
    """
    return self._real_target_cell(context, cell_mapping)


def _start_service(self: typing.Any) -> None:
    """Replace ServiceFixture.setUp, less what is for one test only.

    The original swaps nova.context.get_admin_context for everybody while a
    service starts, so that running hosts would share one context (and its
    database session) with the one being powered on. The swap only serves to
    reach the right cell; ours is the default one.
    """
    super(nova_fixtures.ServiceFixture, self).setUp()
    from nova import service

    self.service = service.Service.create(**self.kwargs)
    self.service.start()


def apply_patches(nova_conf: pathlib.Path) -> None:
    """Change nova's fixtures from a test's needs to a cloud's."""
    nova_fixtures.CellDatabases._wrap_target_cell = _target_cell
    nova_fixtures.ServiceFixture.setUp = _start_service
    # A service that stops would end the executors of the whole process.
    nova.thread_pool_factory.shutdown_all_executors = lambda: None
    # Authentication is keystone's: the real middleware stays in the pipeline.
    nova_fixtures.OSAPIFixture._stub_keystone = lambda self: None
    # compute_driver is looked up below nova.virt.
    fake.PoweredDriver = PoweredDriver
    # The fixtures keep every notification for a test to look at, for ever.
    notifications.FakeNotifier.is_enabled = lambda self: False
    for notifier in (
        notifications.FakeNotifier,
        notifications.FakeVersionedNotifier,
    ):
        notifier._notify = lambda self, *args: None
    # The fixture starts nova without a configuration file.
    parse_args = nova.config.parse_args

    def parse_our_file(
        argv: list[str], default_config_files: object, **kwargs: typing.Any
    ) -> None:
        parse_args(argv, default_config_files=[str(nova_conf)], **kwargs)

    nova.config.parse_args = parse_our_file


class NovaServices(integrated_helpers.ProviderUsageBaseTestCase):
    """API, scheduler, conductor, placement and N computes.

    A test case that is set up once and never run: nova's fixtures hang on
    one.
    """

    compute_driver = 'fake.PoweredDriver'

    def __init__(self, names: list[str], paste_ini: str) -> None:
        super().__init__('runTest')
        self._names = names
        self._paste_ini = paste_ini
        # Starting a service sets the global CONF.host, and restarting one
        # the global driver loader: one at a time.
        self._starting = threading.Lock()

    def runTest(self) -> None:
        """Nothing: unittest asks for the name."""

    def setUp(self) -> None:
        """Start everything; returns when every service has started."""
        self.flags(api_paste_config=self._paste_ini, group='wsgi')
        super().setUp()
        # The fixtures make warnings errors, which would be 500s here.
        warnings.simplefilter('ignore')
        self._log_to_stderr()
        for name in self._names:
            self._start_compute(name)

    def _log_to_stderr(self) -> None:
        """The fixtures keep the whole log in memory; a cloud has a file."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(
            logging.Formatter(
                '%(asctime)s %(levelname)s [%(name)s] %(message)s'
            )
        )
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)

    @property
    def api_app(self) -> typing.Any:
        """The WSGI application of nova's API."""
        return self.api_fixture.app()

    @property
    def placement_conf(self) -> typing.Any:
        """The configuration of placement, which is not nova's."""
        return self.placement.fixture.conf_fixture.conf

    # power.Service

    def cut(self, host: str) -> None:
        """Stop RPC, heartbeat and periodic tasks, without waiting.

        Not service.stop(), which waits for its work like a good citizen, and
        not service.kill(), which deletes the service's row.
        """
        service = self.computes[host]
        service.rpcserver.stop()
        service.rpcserver_alt.stop()
        service.tg.stop()

    def wait_until_idle(self, host: str, timeout: float) -> None:
        """Wait for threads that the cut found at work."""
        service = self.computes[host]
        deadline = time.monotonic() + timeout
        waiting = threading.Thread(
            target=lambda: (
                service.rpcserver.wait(),
                service.rpcserver_alt.wait(),
            ),
            daemon=True,
        )
        waiting.start()
        waiting.join(timeout)
        while waiting.is_alive() or self._builds(host):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f'Host {host!r} is not off: work that it had begun has '
                    f'not ended in {timeout} s. Builds: {self._builds(host)}'
                )
            time.sleep(0.02)

    def _builds(self, host: str) -> list[typing.Any]:
        """Return the builds at work: they do not run in RPC's threads.

        Nova records RPC calls in the same place, but one that was aborted
        stays recorded for ever.
        """
        tasks = self.computes[host].manager._in_progress_tasks
        return [
            task
            for task in list(tasks.values())
            if task['name'] == 'build_instance'
        ]

    def start(self, host: str) -> None:
        """Start nova-compute anew on the domains that its disks hold."""
        with self._starting:
            self.computes[host] = self.restart_compute_service(
                self.computes[host], keep_hypervisor_state=True
            )

    def domains(self, host: str) -> dict[str, str]:
        """Return the domains as the hypervisor itself would."""
        instances = self.computes[host].manager.driver.instances
        return {
            uuid: (
                'running' if one.state == power_state.RUNNING else 'shutdown'
            )
            for uuid, one in list(instances.items())
        }

    def shut_domains(self, host: str) -> None:
        """Take the domains down and leave their disks."""
        instances = self.computes[host].manager.driver.instances
        for one in list(instances.values()):
            one.state = power_state.SHUTDOWN
