# SPDX-License-Identifier: Apache-2.0

"""Gnocchi's API in a process of its own, and its metricd when it is asked.

One waitress with two threads, files as storage, ``auth_mode = basic``. Prints
its URL; for each line on stdin it works through all measures that came, as
metricd would, and prints what that took.
"""

import json
import logging
import sys
import tempfile
import time

from ceilometer import gnocchi_client
from ceilometer import service as ceilometer
from gnocchi import chef
from gnocchi.cli import metricd
from gnocchi import incoming
from gnocchi import indexer
from gnocchi import service
from gnocchi import storage

from tests.functional.ceilometer import test_gnocchi


def main() -> None:
    """Serve until stdin is closed."""
    with tempfile.TemporaryDirectory() as directory:
        api = test_gnocchi.Gnocchi(directory, sys.argv[1])
        path = f'{directory}/ceilometer.conf'
        with open(path, 'w') as stream:
            stream.write(test_gnocchi.CONF.format(url=api.url))
        conf = ceilometer.prepare_service(argv=['x'], config_files=[path])
        logging.disable(logging.WARNING)
        gnocchi_client.upgrade_resource_types(conf)
        own = service.prepare_service(
            args=[],
            default_config_files=[f'{directory}/gnocchi.conf'],
            logging_level=logging.ERROR,
        )
        coordinator = metricd.get_coordinator_and_start(
            'benchmark', own.coordination_url
        )
        measures = incoming.get_driver(own)
        cook = chef.Chef(
            coordinator,
            measures,
            indexer.get_driver(own),
            storage.get_driver(own),
        )
        print(json.dumps(api.url), flush=True)
        for _ in sys.stdin:
            began = time.process_time()
            for sack in measures.iter_sacks():
                cook.process_new_measures_for_sack(
                    sack, blocking=True, sync=True
                )
            print(json.dumps(time.process_time() - began), flush=True)


if __name__ == '__main__':
    main()
