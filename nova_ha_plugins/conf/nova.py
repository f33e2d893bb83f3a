# SPDX-License-Identifier: Apache-2.0

"""Options of the engine's own user in keystone and of its way to nova."""

import copy

from keystoneauth1 import loading
from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'nova'

nova_group = cfg.OptGroup(
    GROUP,
    title='The service user and its way to nova',
    help="""
The engine acts with this user only, never with the trust of an alarm. It needs
the roles that let it evacuate, force a service down and read trusts (admin, or
a role that the policies of nova and keystone name).
""",
)


def _adapter_opts() -> list[cfg.Opt]:
    opts = copy.deepcopy(
        loading.get_adapter_conf_options(include_deprecated=False)
    )
    for opt in opts:
        if opt.dest == 'service_type':
            opt.default = 'compute'
        elif opt.dest == 'valid_interfaces':
            opt.default = ['internal', 'public']
    return opts


nova_opts = _adapter_opts()


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, nova_group, nova_opts)
    loading.register_auth_conf_options(conf, GROUP)
    loading.register_session_conf_options(conf, GROUP)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator.

    Which options ``auth_type`` brings is known only once it is set; those of
    ``password`` are listed, because nearly everybody uses them.
    """
    auth = [
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options('password'),
    ]
    listed = {opt.dest for opt in auth}
    rest = [*loading.get_session_conf_options(), *nova_opts]
    return [
        (nova_group, auth + [opt for opt in rest if opt.dest not in listed])
    ]
