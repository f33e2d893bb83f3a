# SPDX-License-Identifier: Apache-2.0

"""The engine's reading of the inbox, with the real store and keystone."""

import functools
import threading
import time

from nova_ha_plugins.conf import policies
from nova_ha_plugins.engine import context
from nova_ha_plugins.engine import intake
from nova_ha_plugins.nova import identity
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import liveness


def read_inbox(conf, store, hosts):
    """Do what a round of the engine does with the facts that wait.

    :param hosts: the names under which nova knows compute services.
    """
    lease = store.take_lease('the test', 60)
    settings = context.settings_from(conf)
    ctx = context.Context(
        store=store,
        liveness=liveness.open_liveness(conf),
        # Nothing of these is asked before an incident is assessed.
        nova=None,
        fencing=None,
        probe=None,
        identity=identity.IdentityDoor(conf),
        allows=functools.partial(
            policies.trust_allows, policies.enforcer(conf)
        ),
        settings=settings,
        lease=lease,
        monotonic=time.monotonic,
        stopping=threading.Event(),
    )
    services = {
        host: views.ServiceView(
            host=host,
            uuid=f'service-of-{host}',
            up=True,
            forced_down=False,
            disabled=False,
        )
        for host in hosts
    }
    snapshot = context.Snapshot(
        look=detector.look(detector.begin(0.0), (), 0.0, settings.rules),
        beats={},
        services=services,
        records={},
        arm=store.arm_state(),
        watching=0.0,
        loop_late=0.0,
        contained=frozenset(),
    )
    try:
        intake.Intake(ctx, snapshot, frozenset()).read()
    finally:
        store.release_lease(lease)
