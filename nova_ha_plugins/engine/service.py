# SPDX-License-Identifier: Apache-2.0

"""The engine as a process: open the doors, take the lease, do rounds."""

from concurrent import futures
import functools
import os
import threading
import time
import typing

import cotyledon
from oslo_config import cfg
from oslo_log import log

from nova_ha_plugins.conf import policies
from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import loop
from nova_ha_plugins.engine import probe
from nova_ha_plugins.fencing import door as fencing_door
from nova_ha_plugins.nova import door as nova_door
from nova_ha_plugins.nova import identity as identity_door
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors
from nova_ha_plugins.store import leases
from nova_ha_plugins.store import liveness as store_liveness
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)


def build(
    conf: cfg.ConfigOpts, store: store_api.Store, lease: values.Lease
) -> context.Context:
    """Return a context whose doors lead to the real outside."""
    return context.Context(
        store=store,
        liveness=store_liveness.open_liveness(conf),
        nova=nova_door.NovaDoor(conf),
        identity=identity_door.IdentityDoor(conf),
        fencing=fencing_door.FencingDoor(conf),
        probe=probe.TcpProbe(conf, store.now),
        allows=functools.partial(
            policies.trust_allows, policies.enforcer(conf)
        ),
        settings=context.settings_from(conf),
        lease=lease,
        monotonic=time.monotonic,
    )


class EngineService(cotyledon.Service):
    """One engine process.

    It refuses to work beside another engine: the lease in the store has one
    owner, and every save checks it.
    """

    name = 'nova-ha-engine'

    def __init__(self, worker_id: typing.Any, conf: cfg.ConfigOpts) -> None:
        super().__init__(worker_id)
        self.conf = conf
        self._stop = threading.Event()

    def run(self) -> None:
        """Do rounds until told to stop."""
        store = store_api.open_store(self.conf)
        lease = self._take_lease(store)
        if lease is None:
            return
        ctx = build(self.conf, store, lease)
        workers = max(8, self.conf.engine.fence_workers * 2)
        try:
            with futures.ThreadPoolExecutor(workers) as pool:
                self._rounds(loop.Engine(ctx, pool), ctx)
        except values.LeaseLost as error:
            LOG.error(
                'Another engine took over (%s); this one stops before it '
                'does anything more.',
                error,
            )
            os._exit(3)
        store.release_lease(lease)

    def _rounds(self, engine: loop.Engine, ctx: context.Context) -> None:
        LOG.info(
            "Engine '%(owner)s' took the lease (token %(token)d)",
            {'owner': ctx.lease.owner, 'token': ctx.lease.token},
        )
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                engine.round()
            except values.LeaseLost:
                ctx.stopping.set()
                raise
            except Exception:
                # Whatever went wrong, the process must live to try again:
                # nothing else would recover the hosts meanwhile.
                LOG.exception('A round failed; the next one begins anew')
            took = time.monotonic() - began
            self._stop.wait(max(0.05, ctx.settings.interval - took))
        ctx.stopping.set()

    def _take_lease(self, store: store_api.Store) -> values.Lease | None:
        owner = leases.own_name()
        told = False
        while not self._stop.is_set():
            try:
                return store.take_lease(owner, self.conf.engine.lease_ttl)
            except errors.AWAY as error:
                if not isinstance(error, values.LeaseHeld):
                    LOG.warning(
                        'The store does not give the lease: %s. Tried again.',
                        error,
                    )
                elif not told:
                    LOG.warning(
                        '%s. Two engines need a coordination service, which '
                        'this release does not have: this one waits and does '
                        'nothing.',
                        error,
                    )
                    told = True
                self._stop.wait(1.0)
        return None

    def terminate(self) -> None:
        """Finish the running round and stop."""
        self._stop.set()


def serve(conf: cfg.ConfigOpts) -> None:
    """Run the engine until a signal ends it."""
    manager: typing.Any = cotyledon.ServiceManager()
    manager.add(EngineService, workers=1, args=(conf,))
    manager.run()
