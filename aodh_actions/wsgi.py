# SPDX-License-Identifier: Apache-2.0

"""The webhook for WSGI servers: ``aodh_actions.wsgi:application``.

The environment variable NOVA_HA_CONFIG names the configuration; by default
it is /etc/nova-ha/nova-ha.conf.
"""

import os

from oslo_log import log

from aodh_actions import webhook
from nova_ha_plugins.conf import config


def _load() -> webhook.WSGIApp:
    named = os.environ.get('NOVA_HA_CONFIG')
    conf = config.load(files=[named] if named else None)
    log.setup(conf, config.PROJECT)
    return webhook.application(conf)


application = _load()
