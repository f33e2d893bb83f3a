# SPDX-License-Identifier: Apache-2.0

"""The engine as a process: open the doors, watch, act when it is its turn."""

from concurrent import futures
import functools
from importlib import metadata
import os
import socket
import threading
import time
import typing

import cotyledon
from oslo_config import cfg
from oslo_log import log

from nova_ha_plugins.conf import policies
from nova_ha_plugins.engine import census
from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import coordination
from nova_ha_plugins.engine import following
from nova_ha_plugins.engine import loop
from nova_ha_plugins.engine import metrics
from nova_ha_plugins.engine import probe
from nova_ha_plugins.engine import standing
from nova_ha_plugins.fencing import door as fencing_door
from nova_ha_plugins.nova import door as nova_door
from nova_ha_plugins.nova import identity as identity_door
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import leases
from nova_ha_plugins.store import liveness as store_liveness
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

# Seconds for the calls that are under way when it is told to stop; the
# process is killed a little later.
_LAST_CALLS = 50.0


def build(
    conf: cfg.ConfigOpts,
    store: store_api.Store,
    lease: values.Lease,
    levels: context.Levels,
) -> context.Context:
    """Return a context whose doors lead to the real outside."""
    return context.Context(
        store=store,
        liveness=store_liveness.open_liveness(conf),
        nova=nova_door.NovaDoor(conf, lease.token, store.now),
        identity=identity_door.IdentityDoor(conf),
        fencing=fencing_door.FencingDoor(conf),
        probe=probe.TcpProbe(conf, store.now),
        allows=functools.partial(
            policies.trust_allows, policies.enforcer(conf)
        ),
        settings=context.settings_from(conf),
        lease=lease,
        monotonic=time.monotonic,
        levels=levels,
    )


class EngineService(cotyledon.Service):
    """One engine process: it watches until the lease is its own, then acts."""

    name = 'nova-ha-engine'

    def __init__(self, worker_id: typing.Any, conf: cfg.ConfigOpts) -> None:
        super().__init__(worker_id)
        self.conf = conf
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._settings = context.settings_from(conf)

    def run(self) -> None:
        """Do rounds until told to stop."""
        try:
            self._run()
        finally:
            self._ended.set()

    def _run(self) -> None:
        store = store_api.open_store(self.conf)
        eyes = loop.Eyes(time.monotonic(), self._settings)
        own = leases.own_name(self.conf.engine.host)
        ttl = self.conf.engine.lease_ttl
        url = self.conf.coordination.backend_url or ''
        locks = coordination.Locks(url, own, min(0.5, ttl / 10))
        stands = standing.Standing(
            store,
            locks,
            own,
            ttl,
            {
                'release': metadata.version('nova-ha-plugins'),
                'backend': coordination.label(url),
            },
            lambda: self._is_warm(eyes),
            _end_now,
        )
        self._metrics = metrics.open_metrics(
            self.conf, lambda: stands.lease is not None, self._stop
        )
        locks.start()
        keeper = threading.Thread(
            target=stands.keep,
            args=(self._stop, self._settings.rules.timeout),
            name='standing',
            daemon=True,
        )
        keeper.start()
        self._watch(stands, eyes)
        if stands.refusal:
            LOG.error('nova-ha-engine does not run: %s.', stands.refusal)
            os._exit(standing.REFUSED)
        if stands.lease is not None:
            self._act(store, stands.lease, stands, eyes)
        self._end(store, stands, locks, own)

    def _is_warm(self, eyes: loop.Eyes) -> bool:
        return time.monotonic() - eyes.began >= self.conf.engine.warm_up

    def _watch(self, stands: standing.Standing, eyes: loop.Eyes) -> None:
        """Listen to the heartbeats, and do nothing else, while not acting."""
        liveness = store_liveness.open_liveness(self.conf)
        told = False
        while not (self._stop.is_set() or stands.changed.is_set()):
            self._open_again(stands, eyes)
            try:
                eyes.look(liveness.read(), time.monotonic())
                self._metrics.turned()
            except errors.AWAY as error:
                # What was not heard meanwhile is for the detector to judge.
                LOG.debug('The heartbeats could not be read: %s', error)
            stands.changed.wait(self.conf.engine.interval)
            if not told and stands.lease is None:
                LOG.info('It watches; another engine acts')
                told = True

    def _open_again(self, stands: standing.Standing, eyes: loop.Eyes) -> None:
        if stands.stood_still.is_set():
            stands.stood_still.clear()
            eyes.open(time.monotonic())
            LOG.warning(
                'This process stood still: what it saw before is too old, '
                'and no new host is fenced for %.0f s',
                self.conf.engine.warm_up,
            )

    def _act(
        self,
        store: store_api.Store,
        lease: values.Lease,
        stands: standing.Standing,
        eyes: loop.Eyes,
    ) -> None:
        ctx = build(self.conf, store, lease, self._metrics)
        pool, readers, probers = (
            futures.ThreadPoolExecutor(
                max(8, self.conf.engine.fence_workers * 2),
                thread_name_prefix=name,
            )
            for name in ('recovery', 'map', 'suspects')
        )
        engine = loop.Engine(ctx, pool, eyes, readers, probers)
        follows = following.Following(
            self.conf, lease, self.conf.engine.host or socket.gethostname()
        )
        census.start(self.conf, ctx.nova, ctx.stopping)
        try:
            while not self._stop.is_set():
                self._open_again(stands, eyes)
                began = stands.round_began = time.monotonic()
                done = self._round(engine)
                took = time.monotonic() - began
                if done:
                    self._metrics.turned(took)
                stands.round_began = None
                engine.suspects.finished.wait(
                    max(0.05, ctx.settings.interval - took)
                )
        except values.LeaseLost as error:
            ctx.stopping.set()
            _end_now(str(error))
        ctx.stopping.set()
        follows.stop()
        readers.shutdown(wait=True, cancel_futures=True)
        probers.shutdown(wait=True, cancel_futures=True)
        pool.shutdown(wait=True)

    @staticmethod
    def _round(engine: loop.Engine) -> bool:
        """Return whether it came to its end."""
        try:
            engine.round()
        except values.LeaseLost:
            raise
        except Exception:
            # Whatever went wrong, the process must live to try again:
            # nothing else would recover the hosts meanwhile.
            LOG.exception('A round failed; the next one begins anew')
            return False
        return True

    def _end(
        self,
        store: store_api.Store,
        stands: standing.Standing,
        locks: coordination.Locks,
        own: str,
    ) -> None:
        """Let another engine act at once: every call has come back."""
        try:
            if stands.lease is not None:
                store.release_lease(stands.lease)
            store.forget_engine(own)
        except errors.AWAY as error:
            LOG.warning(
                'The lease could not be given back: %s. Another engine takes '
                'it when it has run out.',
                error,
            )
        locks.stop()

    def terminate(self) -> None:
        """Finish the running round and every call, then stop.

        When this returns the process ends.
        """
        self._stop.set()
        self._ended.wait(_LAST_CALLS)


def _end_now(why: str) -> None:
    """End the process: another engine acts, nothing more may be done."""
    LOG.error(
        'Another engine took over (%s); this one stops before it does '
        'anything more.',
        why,
    )
    os._exit(standing.TAKEN_OVER)


def serve(conf: cfg.ConfigOpts) -> None:
    """Run the engine until a signal ends it.

    The process above the engine starts it again when it ended, as a watcher;
    but not one that was refused.
    """
    manager: typing.Any = cotyledon.ServiceManager()
    manager.add(EngineService, workers=1, args=(conf,))
    manager.register_hooks(on_dead_worker=_end_when_refused)
    manager.run()


def _end_when_refused(
    _service: typing.Any, _worker: typing.Any, code: int
) -> None:
    if code == standing.REFUSED:
        os._exit(standing.REFUSED)
