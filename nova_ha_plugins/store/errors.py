# SPDX-License-Identifier: Apache-2.0

"""What any call of the store may raise when its database cannot do it now.

For callers that must outlive their database: plugins in other services.
"""

from oslo_db import exception as db_exception
from sqlalchemy import exc as sa_exception

from nova_ha_plugins.store import values

AWAY = (
    db_exception.DBError,
    sa_exception.SQLAlchemyError,
    values.StoreError,
)
