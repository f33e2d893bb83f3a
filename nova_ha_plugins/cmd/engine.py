# SPDX-License-Identifier: Apache-2.0

"""The command nova-ha-engine."""

import sys

from oslo_log import log

from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import service


def main() -> int:
    """Run the engine; the exit status is 0 after an ordered stop."""
    conf = config.load(sys.argv[1:])
    log.setup(conf, config.PROJECT)
    service.serve(conf)
    return 0


if __name__ == '__main__':
    sys.exit(main())
