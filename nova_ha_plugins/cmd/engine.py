# SPDX-License-Identifier: Apache-2.0

"""The command nova-ha-engine."""

import sys

from nova_ha_plugins.conf import config
from nova_ha_plugins.engine import service


def main() -> int:
    """Run the engine; the exit status is 0 after an ordered stop."""
    service.serve(config.load(sys.argv[1:]))
    return 0
