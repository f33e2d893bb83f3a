# SPDX-License-Identifier: Apache-2.0

"""A process that follows evacuations until somebody kills it.

Its arguments are a configuration file, and a file for what is told.
"""

import os
import random
import sys
import threading
import time

from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import following
from nova_ha_plugins.engine import telling
from nova_ha_plugins.nova import evacuations
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import leases


class FileBus:
    """A bus that survives us: a line is in it, or is not."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(self, word, subject):
        # Some are killed before it, some after it.
        time.sleep(random.random() * 0.01)
        os.write(self._file, f'{word} {subject.uuid}\n'.encode())
        time.sleep(random.random() * 0.01)

    def close(self):
        os.close(self._file)


def main(conf_file, told_file):
    conf = config.load((), [conf_file])
    store = store_api.open_store(conf)
    lease = store.take_lease(leases.own_name(), 60.0, locked=True)
    teller = telling.Teller(FileBus(told_file))
    threading.Thread(target=teller.run, daemon=True).start()
    following.Follower(
        store,
        evacuations.EvacuationsDoor(conf),
        teller,
        lease,
        following.Settings(interval=0.05, idle_interval=0.05),
    ).run(threading.Event())


if __name__ == '__main__':
    main(*sys.argv[1:])
