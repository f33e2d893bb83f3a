# SPDX-License-Identifier: Apache-2.0

"""The commands of an operator.

Libraries of OpenStack still import eventlet, which greets everybody with
eight lines of deprecation. It is not used here, and an operator can do
nothing about it; the filter has to stand before the first such import.
"""

import warnings

warnings.filterwarnings('ignore', message=r'\s*Eventlet is deprecated')
