# SPDX-License-Identifier: Apache-2.0
"""Makes gnocchi's tables and directories, and ceilometer's resource types.

``python -m lab.gnocchi_schema GNOCCHI_CONF``: what ``gnocchi-upgrade`` and
``ceilometer-upgrade`` do. The latter needs an API for its types, so one is
served for that moment, without keystone and on loopback only. The lab keeps
a copy of all this for the next time.
"""

import pathlib
import sys
import threading

from ceilometer import gnocchi_client
from ceilometer import service as ceilometer
from gnocchi import archive_policy
from gnocchi import incoming
from gnocchi import indexer
from gnocchi.rest import app
from gnocchi import service as gnocchi
from gnocchi import storage
import waitress

UPGRADE = """\
[service_credentials]
auth_type = gnocchi-basic
user = admin
endpoint = {url}
"""
# There are few metrics in a lab: that many are quickly looked through.
SACKS = 4


def make(conf_file: str) -> None:
    """Fill the empty database and the directory that gnocchi.conf names."""
    conf = gnocchi.prepare_service(
        args=[], default_config_files=[conf_file], log_to_std=True
    )
    # For gnocchi's own coordination.
    pathlib.Path(conf.storage.file_basepath, 'tooz').mkdir(parents=True)
    index = indexer.get_driver(conf)
    index.upgrade()
    storage.get_driver(conf).upgrade()
    incoming.get_driver(conf).upgrade(SACKS)
    for policy in archive_policy.DEFAULT_ARCHIVE_POLICIES.values():
        index.create_archive_policy(policy)
    index.create_archive_policy_rule('default', '*', 'low')
    conf.set_override('auth_mode', 'basic', 'api')
    server = waitress.create_server(
        app.load_app(conf), host='127.0.0.1', port=0, threads=1
    )
    threading.Thread(target=server.run, daemon=True).start()
    add_types(conf_file, f'http://127.0.0.1:{server.effective_port}')


def add_types(conf_file: str, url: str) -> None:
    """Do what ceilometer-upgrade does, at an API without keystone."""
    own = f'{conf_file}.upgrade'
    with open(own, 'w') as stream:
        stream.write(UPGRADE.format(url=url))
    conf = ceilometer.prepare_service(
        argv=['ceilometer-upgrade'], config_files=[own]
    )
    gnocchi_client.upgrade_resource_types(conf)


if __name__ == '__main__':
    make(sys.argv[1])
