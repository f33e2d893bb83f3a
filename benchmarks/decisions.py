# SPDX-License-Identifier: Apache-2.0

"""What a round of decisions costs in a big cloud, doors and store aside."""

from collections.abc import Callable

from benchmarks import pairs
from nova_ha_plugins.recovery import detector
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import machine
from nova_ha_plugins.recovery import pacing
from nova_ha_plugins.recovery import views

RULES = detector.Rules(
    timeout=6.0, reemit_interval=10.0, mass_silence_share=0.5
)


def beats(hosts: int) -> tuple[views.Beat, ...]:
    """Return a heartbeat of every host, 2 % of them silent."""
    return tuple(
        views.Beat(
            host=f'cmp-{n:05}',
            service_uuid='',
            boot_id='boot',
            sequence=n,
            system_uuid='',
            age=60.0 if n % 50 == 0 else 0.5,
        )
        for n in range(hosts)
    )


def failed(number: int, servers: int) -> tuple[incident.Incident, ...]:
    """Return failed hosts whose servers all wait to be asked for."""
    return tuple(
        incident.Incident(
            uuid=f'incident-{n}',
            host=f'cmp-{n:05}',
            service_uuid='',
            epoch=1,
            phase=incident.Phase.EVACUATING,
            opened_at=0.0,
            updated_at=0.0,
            listed=True,
            servers=tuple(
                incident.Server(
                    uuid=f'server-{n}-{s}',
                    priority=s % 1000 + 1,
                    protected=True,
                    state=incident.ServerState.READY,
                )
                for s in range(servers)
            ),
        )
        for n in range(number)
    )


def a_round(hosts: int, dead: int, servers: int) -> Callable[[], None]:
    """Return a function that decides once about a whole cloud."""
    heard, subjects = beats(hosts), failed(dead, servers)
    state = detector.begin(0.0)

    def decide() -> None:
        detector.look(state, heard, 100.0, RULES)
        for subject in subjects:
            machine.todo(subject, 100.0)
        pacing.may_begin(subjects, pacing.Caps(), 100.0)

    return decide


def main() -> None:
    """Print the cost of a round, a big cloud beside a tenth of it."""
    big, small, ratio = pairs.compare(
        a_round(1000, 20, 500), a_round(100, 2, 500), rounds=15
    )
    print(
        f'1,000 hosts, 10,000 servers to evacuate: {big * 1000:.1f} ms CPU; '
        f'100 hosts, 1,000 servers: {small * 1000:.1f} ms CPU; '
        f'ratio {ratio:.1f}'
    )


if __name__ == '__main__':
    main()
