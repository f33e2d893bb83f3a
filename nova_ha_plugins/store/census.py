# SPDX-License-Identifier: Apache-2.0

"""The part of the store that knows how many servers are protected."""

import json

from oslo_db import exception as db_exception
import sqlalchemy as sa

from nova_ha_plugins.store import database
from nova_ha_plugins.store import models
from nova_ha_plugins.store import values

_TABLE = models.engine_status
_NAME = 'census'


class Censuses:
    """What ``api.Store`` can do about the count of servers."""

    _db: database.Database

    def census(self) -> values.Census | None:
        """The last whole count; None if there never was one."""
        query = sa.select(
            _TABLE.c.document, (self._db.clock - _TABLE.c.reported_at)
        ).where(_TABLE.c.name == _NAME)
        row = self._db.read(lambda found: found.execute(query).first())
        if row is None:
            return None
        told = json.loads(row[0])
        return values.Census(
            protected=told['protected'],
            unprotected=told['unprotected'],
            hosts=told['hosts'],
            age=max(0.0, float(row[1])),
        )

    def save_census(self, census: values.Census) -> None:
        """Replace the count; its age is counted by the store's clock."""
        columns = {
            'reported_at': self._db.clock,
            'document': json.dumps(
                {
                    'protected': census.protected,
                    'unprotected': dict(census.unprotected),
                    'hosts': census.hosts,
                }
            ),
        }

        def work(connection: sa.Connection) -> None:
            done = connection.execute(
                sa.update(_TABLE).where(_TABLE.c.name == _NAME).values(columns)
            )
            if done.rowcount:
                return
            try:
                connection.execute(
                    sa.insert(_TABLE).values(name=_NAME, **columns)
                )
            except db_exception.DBDuplicateEntry as error:
                raise db_exception.RetryRequest(error) from error

        self._db.write(work)
