# SPDX-License-Identifier: Apache-2.0

"""How a group of options is made known to a configuration."""

from collections.abc import Sequence
import copy

from oslo_config import cfg


def register(
    conf: cfg.ConfigOpts, group: cfg.OptGroup, opts: Sequence[cfg.Opt]
) -> None:
    """Make a group known; nothing where it is known already.

    The configuration gets a group of its own: oslo.config keeps values that
    are set from code in the group, and copies of it share them.
    """
    conf.register_group(copy.deepcopy(group))
    conf.register_opts(opts, group=group.name)
