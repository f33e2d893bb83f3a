# SPDX-License-Identifier: Apache-2.0

"""The configuration of our own daemons and commands."""

from collections.abc import Sequence
from importlib import metadata

from oslo_config import cfg
from oslo_log import log

from nova_ha_plugins.conf import opts

PROJECT = 'nova-ha'


def load(
    argv: Sequence[str] = (),
    files: Sequence[str] | None = None,
    commands: Sequence[cfg.Opt] = (),
    about: str = '',
) -> cfg.ConfigOpts:
    """A configuration with every option of nova-ha.conf, read from files.

    :param argv: command line without the program's name.
    :param files: files to read when argv names none; None looks for
        nova-ha.conf in the usual places (~/.nova-ha, ~, /etc/nova-ha, /etc).
    :param commands: options that only the command line has.
    :param about: what --help says of the program.
    """
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    opts.register_opts(conf)
    conf.register_cli_opts(commands)
    conf(
        list(argv),
        project=PROJECT,
        version=metadata.version('nova-ha-plugins'),
        description=about,
        default_config_files=None if files is None else list(files),
    )
    return conf
