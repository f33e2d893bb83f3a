# SPDX-License-Identifier: Apache-2.0
"""Nova's configuration and its services; databases: nova_schema."""

import pathlib

from lab import calls
from lab.embedded import nova_cloud
from lab import identity
from lab import plan as planning
from lab import processes
from lab import wsgi

NAME = 'nova'
API = 'nova-api'
DAEMONS = ('nova-conductor', 'nova-scheduler')
HOST = 'controller'
# Where every real host sees its disks. The same path on all of them: nova
# finds out with a file in it whether two hosts share it.
INSTANCES = '/var/lib/nova/instances'

COMMON = """\
[DEFAULT]
{defaults}transport_url = {transport}
host = {host}
my_ip = {address}
state_path = {state}
report_interval = 3
service_down_time = 15
# Nothing is put off by a random time of up to a minute.
periodic_fuzzy_delay = 0
[api]
response_validation = warn
[glance]
endpoint_override = {glance}
[neutron]
endpoint_override = {neutron}
{neutron_auth}
[placement]
{nova_auth}
[service_user]
send_service_user_token = true
{nova_auth}
[notifications]
notification_format = both
notify_on_state_change = vm_and_task_state
[oslo_messaging_notifications]
driver = messagingv2
{drivers}[oslo_messaging_rabbit]
# Seconds until a connection that was cut is given up.
heartbeat_timeout_threshold = 15
[oslo_concurrency]
lock_path = {state}/lock
[workarounds]
disable_rootwrap = true
[quota]
driver = nova.quota.NoopQuotaDriver
{authtoken}
"""

CONTROL = """\
[database]
connection = {cell}
[api_database]
connection = {api}
[scheduler]
workers = 1
# New hosts are found without anybody's 'nova-manage'.
discover_hosts_in_cells_interval = 2
[conductor]
workers = 1
[filter_scheduler]
shuffle_best_same_weighed_hosts = true
# Real and fake hosts are kept apart by img_hv_type.
enabled_filters = ComputeFilter,ComputeCapabilitiesFilter,\
ImagePropertiesFilter,ServerGroupAntiAffinityFilter,\
ServerGroupAffinityFilter
[nova_ha_database]
connection = {store}
[nova_ha]
project_id = {ha_project}
{liveness}
"""

COMPUTE = """\
[DEFAULT]
compute_driver = {driver}
instances_path = {instances}
# Guests that ran when the power went run again when the host is back.
resume_guests_state_on_host_boot = true
reserved_host_memory_mb = 0
initial_cpu_allocation_ratio = 64.0
initial_ram_allocation_ratio = 4.0
[libvirt]
virt_type = qemu
cpu_mode = none
hw_machine_type = x86_64=pc
# All hosts have one page cache: a guest that starts reads its kernel from
# there, in half the time. What a guest flushes still is on the disk.
disk_cachemodes = file=writeback
# MiB for translated code of a guest, which otherwise would grow to hundreds.
tb_cache_size = 32
# The guests do not listen.
wait_soft_reboot_seconds = 1
[vnc]
enabled = false
[spice]
enabled = false
"""

# It keeps the identity of its node on the disk; without that nova-compute
# refuses to start a second time.
FAKE_DRIVER = 'fake.FakeDriverWithoutFakeNodes'

# Of nova-compute on real hosts: shows what an evacuation copies.
SAMPLER = 'driver = nova_ha_progress\n'

PRIVSEP = (
    'nova_sys_admin',
    'privsep_osbrick',
    'vif_plug_linux_bridge_privileged',
    'vif_plug_ovs_privileged',
)


def directory(plan: planning.Plan) -> pathlib.Path:
    """Return where nova's services of the controller have their files."""
    return plan.path(NAME, 'nova.conf').parent


def _common(
    plan: planning.Plan,
    host: str,
    address: str,
    state: pathlib.Path,
    drivers: str = '',
) -> str:
    return COMMON.format(
        defaults=identity.DEFAULTS,
        transport=plan.transport_url,
        host=host,
        address=address,
        state=state,
        drivers=drivers,
        glance=plan.url('glance'),
        neutron=plan.url('neutron'),
        neutron_auth=identity.section(plan, NAME),
        nova_auth=identity.section(plan, NAME),
        authtoken=identity.authtoken(plan, NAME),
    )


def write_config(plan: planning.Plan) -> pathlib.Path:
    """Write nova.conf and the paste file of the controller's services.

    The databases are there already: it names a project by its id.
    """
    path = directory(plan)
    plan.path(NAME, 'state', 'lock', 'x')
    nova_cloud.write_paste(path)
    return plan.write(
        NAME,
        'nova.conf',
        text=_common(plan, HOST, planning.CONTROLLER, path / 'state')
        + CONTROL.format(
            cell=plan.database_url('nova_cell1'),
            api=plan.database_url('nova_api'),
            store=plan.database_url('nova_ha'),
            ha_project=identity.project_id(plan, 'service'),
            liveness='\n'.join(
                f'{name} = {value}'
                for name, value in plan.liveness_options.items()
            ),
        ),
    )


def write_compute_config(plan: planning.Plan, host: planning.Host) -> str:
    """Write nova.conf of a host and return its path.

    There is no database in it, as on any hypervisor.
    """
    # Holds the identity of the node, which a power cut does not change.
    state = plan.path('hosts', host.name, 'nova', 'lock').parent
    real = host.kind == planning.REAL
    drivers = SAMPLER if real else ''
    text = _common(
        plan, host.name, host.address(), state, drivers
    ) + COMPUTE.format(
        driver='libvirt.LibvirtDriver' if real else FAKE_DRIVER,
        instances=INSTANCES if real else state / 'instances',
    )
    path = plan.path(NAME, f'compute-{host.name}.conf')
    helper = f'{processes.program("privsep-helper")} --config-file {path}'
    for section in PRIVSEP:
        text += f'[{section}]\nhelper_command = {helper}\n'
    plan.write(NAME, path.name, text=text)
    return str(path)


def api(plan: planning.Plan) -> processes.Service:
    """Return the service of nova's API; nova.conf is written."""
    return wsgi.service(
        API,
        'nova.wsgi.osapi_compute:application',
        {'OS_NOVA_CONFIG_DIR': str(directory(plan))},
        threads=8,
        port_name=NAME,
        noted=calls.path(plan),
    )


def daemon(plan: planning.Plan, name: str) -> processes.Service:
    """Return the conductor or the scheduler."""
    return processes.Service(
        name,
        (
            processes.program(name),
            '--config-file',
            str(directory(plan) / 'nova.conf'),
        ),
    )
