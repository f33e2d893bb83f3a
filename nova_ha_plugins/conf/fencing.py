# SPDX-License-Identifier: Apache-2.0

"""Options of fencing: which device switches which host off."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'fencing'

fencing_group = cfg.OptGroup(GROUP, title='Power devices of the hosts')

fencing_opts = [
    cfg.StrOpt(
        'map_file',
        default='/etc/nova-ha/fencing.yaml',
        help="""
YAML file that names the power device of each host. A host that is not in it is
reported, never fenced and its servers never evacuated. Keep passwords out of
it: ``password_file`` names a file per device.
""",
    ),
    cfg.FloatOpt(
        'timeout',
        default=60.0,
        min=1.0,
        help="""
Seconds that a host may take to read as Off after it was told to. Then the
incident needs an operator: it is never taken to be off by waiting. Larger than
call_timeout and than the slowest BMC takes.
""",
    ),
    cfg.StrOpt(
        'minimum_evidence',
        default='operator-attested',
        choices=[
            (
                'confirmed-off',
                'Only a power device that reads Off proves it. Attests are '
                'refused.',
            ),
            (
                'operator-attested',
                'A device that reads Off, or an operator who signs for it.',
            ),
        ],
        help="""
The weakest proof that a host is off after which its servers are evacuated.
With confirmed-off the servers of a host whose device is gone stay where they
are until the device answers again.
""",
    ),
    cfg.FloatOpt(
        'verify_interval',
        default=300.0,
        min=1.0,
        help="""
Seconds between two looks at whether each device still answers and still is the
one that the host reported. A device that is not fences nothing.
""",
    ),
    cfg.FloatOpt(
        'call_timeout',
        default=10.0,
        min=1.0,
        help="""
Seconds that one call to a device may take. Smaller than timeout.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, fencing_group, fencing_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(fencing_group, fencing_opts)]
