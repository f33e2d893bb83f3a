# SPDX-License-Identifier: Apache-2.0
"""Ways from a host to a service that are slow: late, or narrow."""

import sys

from lab import breakages
from lab import plan as planning
from lab import processes


class Delay(breakages.Fault):
    """Delays what a host and a service say to each other, so many ms each."""

    parameters: tuple[str, ...] = ('HOST', 'MILLISECONDS')
    _name = 'delay'
    _first_port = 20000

    def check(self) -> None:
        self.seconds = self.number(1, 600_000, 'MILLISECONDS') / 1000

    @property
    def _how(self) -> str:
        """Return the argument of the proxy that makes the difference."""
        return f'--delay={self.seconds}'

    @property
    def _service(self) -> str:
        return f'{self._name}-{self.variant}-{self.host.name}'

    @property
    def _port(self) -> int:
        # One for each host and service, below the outgoing ones.
        names = list(planning.PORTS)
        place = self.host.number * len(names) + names.index(self.variant)
        return self._first_port + place

    def cause(self) -> None:
        there, port = planning.CONTROLLER, planning.PORTS[self.variant]
        self.world.processes.stop(self._service)
        self.world.processes.start_all(
            [
                processes.Service(
                    self._service,
                    (
                        sys.executable, '-m', 'lab.proxy',
                        f'--listen={there}:{self._port}',
                        f'--to={there}:{port}',
                        self._how,
                    ),
                    ready=lambda: breakages.answers(self._port),
                )
            ]
        )  # fmt: skip
        # Connections that are open are reset: they would go on undelayed.
        breakages.nft(
            self.world.plan.host_namespace(self.host),
            f'{self._gone}table inet {self._table} {{\n'
            'chain nat { type nat hook output priority -100; '
            f'ip daddr {there} tcp dport {port} '
            f'dnat ip to {there}:{self._port}; }}\n'
            'chain filter { type filter hook output priority 0; '
            f'ip daddr {there} tcp dport {port} reject with tcp reset; }}\n'
            '}\n',
        )

    @property
    def _table(self) -> str:
        return f'lab_{self._name}_{self.variant}'

    @property
    def _gone(self) -> str:
        """Return commands that remove the table, be it there or not."""
        table = f'table inet {self._table}'
        return f'{table} {{ }}\ndelete {table}\n'

    def heal(self) -> None:
        breakages.nft(self.world.plan.host_namespace(self.host), self._gone)
        self.world.processes.stop(self._service)

    def holds(self) -> bool:
        return self.world.processes.pid(
            self._service
        ) is not None and f'table inet {self._table}' in breakages.nft_tables(
            self.world.plan.host_namespace(self.host)
        )


class Rate(Delay):
    """Lets a service send no more than so many KiB/s on each connection."""

    parameters = ('HOST', 'KIB_PER_SECOND')
    _name = 'rate'
    # Those of delays are below.
    _first_port = 24000

    def check(self) -> None:
        self.rate = self.number(1, 10_000_000, 'KIB_PER_SECOND') * 1024

    @property
    def _how(self) -> str:
        return f'--rate={self.rate}'
