# SPDX-License-Identifier: Apache-2.0
"""Ways to break one engine that no other service has.

To end, to kill and to freeze it are the faults of every service.
"""

import typing

from lab import breakages
from lab import network
from lab import plan as planning

_TABLE = 'lab_cut'


class Cut(breakages.Fault):
    """Cuts an engine off from the database: packets vanish, both ways."""

    parameters: typing.ClassVar[tuple[str, ...]] = ('ENGINE',)

    def _host(self) -> planning.Host | None:
        return None

    def check(self) -> None:
        plan = self.world.plan
        self._namespace = plan.engine_namespace(plan.engine(self.arguments[0]))
        if not network.exists(self._namespace):
            raise planning.LabError(
                f"'{self.arguments[0]}' was never started in this lab"
            )

    def cause(self) -> None:
        port = planning.PORTS['mariadb']
        breakages.nft(
            self._namespace,
            f'{self._gone}table inet {_TABLE} {{\n'
            'chain out { type filter hook output priority 0; '
            f'ip daddr {planning.CONTROLLER} tcp dport {port} drop; }}\n'
            'chain in { type filter hook input priority 0; '
            f'ip saddr {planning.CONTROLLER} tcp sport {port} drop; }}\n'
            '}\n',
        )

    @property
    def _gone(self) -> str:
        """Return commands that remove the table, be it there or not."""
        return f'table inet {_TABLE} {{ }}\ndelete table inet {_TABLE}\n'

    def heal(self) -> None:
        breakages.nft(self._namespace, self._gone)

    def holds(self) -> bool:
        return f'table inet {_TABLE}' in breakages.nft_tables(self._namespace)
