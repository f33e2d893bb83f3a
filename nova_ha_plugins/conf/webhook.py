# SPDX-License-Identifier: Apache-2.0

"""Options of the webhook that stock alarms call."""

from oslo_config import cfg

from nova_ha_plugins.conf import groups

GROUP = 'webhook'

webhook_group = cfg.OptGroup(GROUP, title='Webhook for stock alarms')

webhook_opts = [
    cfg.IntOpt(
        'max_body',
        default=64 * 1024,
        min=1024,
        help="""
Largest request body in bytes; a larger one is answered with 413 before it is
read. An alarm is about 2 KiB.
""",
    ),
    cfg.StrOpt(
        'secret',
        default='',
        secret=True,
        help="""
Secret that a stock ``https://`` action may carry in its URL instead of a
keystone token. Weaker than ``trust+https://``: aodh logs the whole URL, and so
do most WSGI servers and proxies. Empty, the default, refuses such calls, and
so does anything with fewer than 32 characters; take random ones.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration."""
    groups.register(conf, webhook_group, webhook_opts)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options by group, for the sample generator."""
    return [(webhook_group, webhook_opts)]
