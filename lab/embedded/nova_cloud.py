# SPDX-License-Identifier: Apache-2.0
"""Nova as one process: API, scheduler, conductor, placement and computes."""

import configparser
import importlib.util
import json
import logging
import os
import pathlib
import sys
import traceback
import typing
import uuid

from lab.embedded import power
from lab.embedded import process

LOG = logging.getLogger(__name__)

IMAGE = 'cirros'
FILTER = 'nova_ha_plugins.api.middleware'

CONFIG = """\
[DEFAULT]
report_interval = {report_interval}
service_down_time = {service_down_time}
# Guests that ran when the power went run again when the host is back.
resume_guests_state_on_host_boot = true
[api]
# The fixture's 'error' is for nova's own schemas; this is nova's default.
response_validation = warn
[quota]
driver = nova.quota.NoopQuotaDriver
[filter_scheduler]
shuffle_best_same_weighed_hosts = true
[keystone_authtoken]
www_authenticate_uri = {auth_url}
auth_type = password
auth_url = {auth_url}
username = nova
password = {password}
user_domain_id = default
project_domain_id = default
project_name = service
[nova_ha_database]
connection = {store}
[nova_ha]
project_id = {ha_project}
"""


def write_config(
    directory: pathlib.Path, plan: dict[str, typing.Any]
) -> pathlib.Path:
    """Write nova.conf."""
    path = directory / 'nova.conf'
    path.touch(mode=0o600)
    path.write_text(
        CONFIG.format(
            report_interval=plan['nova']['report_interval'],
            service_down_time=plan['nova']['service_down_time'],
            auth_url=plan['keystone']['url'],
            password=plan['users']['nova']['password'],
            store=plan['store_connection'],
            ha_project=plan['ha_project_id'],
        )
    )
    return path


def write_paste(directory: pathlib.Path) -> pathlib.Path:
    """Write the paste file of nova's wheel with our filter in it.

    It stands right before nova's router: behind authentication, so that it
    sees nova's request context.
    """
    paste = configparser.RawConfigParser()
    paste.read(pathlib.Path(sys.prefix, 'etc', 'nova', 'api-paste.ini'))
    if importlib.util.find_spec(FILTER):
        paste['filter:instance_ha'] = {
            'paste.filter_factory': f'{FILTER}:filter_factory'
        }
        for name in (
            'composite:openstack_compute_api_v21',
            'composite:openstack_compute_api_v21_legacy_v2_compatible',
        ):
            paste[name]['keystone'] = paste[name]['keystone'].replace(
                'osapi_compute_app_v21', 'instance_ha osapi_compute_app_v21'
            )
    else:
        LOG.warning('%s is not there: nova starts without it', FILTER)
    path = directory / 'api-paste.ini'
    with path.open('w') as stream:
        paste.write(stream)
    return path


class RolesToToken:
    """Hands placement's fixture the token that it takes for an admin's.

    Keystone's middleware has checked the real token before.
    """

    def __init__(self, app: typing.Any) -> None:
        self.app = app

    def __call__(self, environ, start_response):  # type: ignore
        roles = environ.get('HTTP_X_ROLES', '').split(',')
        environ['HTTP_X_AUTH_TOKEN'] = 'admin' if 'admin' in roles else 'user'
        return self.app(environ, start_response)


class Images:
    """A read-only piece of glance's API over the images of the fixture."""

    def __init__(self, images: dict[str, dict[str, typing.Any]]) -> None:
        self.images = {
            key: {
                'id': image['id'],
                'name': image['name'],
                'status': 'active',
                'visibility': image.get('visibility', 'public'),
                'disk_format': image.get('disk_format'),
                'container_format': image.get('container_format'),
                'size': image.get('size'),
                'min_disk': 0,
                'min_ram': 0,
                'protected': False,
                'tags': image.get('tags', []),
            }
            for key, image in images.items()
            # Those of the fixture share one name.
            if image.get('name') == IMAGE
        }

    def __call__(self, environ, start_response):  # type: ignore
        parts = environ['PATH_INFO'].strip('/').split('/')
        status, body = '200 OK', {}
        if parts == ['']:
            url = f'http://{environ["HTTP_HOST"]}/v2/'
            links = [{'rel': 'self', 'href': url}]
            version = {'id': 'v2.9', 'status': 'CURRENT', 'links': links}
            body = {'versions': [version]}
        elif parts == ['v2', 'images']:
            body = {'images': list(self.images.values())}
        elif parts[:2] == ['v2', 'images'] and parts[-1] in self.images:
            body = self.images[parts[-1]]
        else:
            status = '404 Not Found'
        start_response(status, [('Content-Type', 'application/json')])
        return [json.dumps(body).encode()]


def start(plan: dict[str, typing.Any]) -> None:
    """Start nova; returns when all of it answers."""
    directory = pathlib.Path(plan['directory'], 'nova')
    directory.mkdir(exist_ok=True)
    # Threads, not eventlet; the fixtures' SQLite files go below directory.
    os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = 'true'
    os.environ['TMPDIR'] = str(directory)
    config = write_config(directory, plan)
    paste = write_paste(directory)

    from lab.embedded import nova_services

    # keystonemiddleware comes after nova: it must not decide on threads.
    from keystonemiddleware import auth_token
    from placement import deploy

    hosts = power.Hosts(plan['hosts'])
    nova_services.PoweredDriver.hosts = hosts.hosts
    nova_services.PoweredDriver.spawn_seconds = plan['nova']['spawn_seconds']
    nova_services.apply_patches(config)
    services = nova_services.NovaServices(list(hosts.hosts), str(paste))
    for host in hosts.hosts.values():
        host.change(power.ON)
    services.setUp()
    hosts.service = services

    process.serve(services.api_app, plan['nova']['port'], threads=8)
    placement = RolesToToken(deploy.loadapp(services.placement_conf))
    process.serve(
        auth_token.AuthProtocol(
            placement, {'oslo_config_config': nova_services.CONF}
        ),
        plan['placement']['port'],
    )
    services.glance.create(
        None,
        {**services.glance.image2, 'id': str(uuid.uuid4()), 'name': IMAGE},
    )
    process.serve(
        Images(services.glance.images), plan['image']['port'], threads=2
    )
    control = process.ControlApp(hosts.describe, hosts.set_power)
    process.serve(control, plan['nova']['control_port'])
    LOG.info('Nova with %d hosts is ready', len(hosts.hosts))


def main() -> None:
    """Serve until SIGTERM."""
    plan = process.read_plan()
    del sys.argv[1:]
    # nova.test and the fixtures may swap these streams.
    stderr = os.fdopen(os.dup(2), 'w', buffering=1)
    try:
        start(plan)
    except BaseException:
        # testtools hides what fails in a setUp().
        traceback.print_exc(file=stderr)
        os._exit(1)
    process.wait_for_the_end()


if __name__ == '__main__':
    main()
