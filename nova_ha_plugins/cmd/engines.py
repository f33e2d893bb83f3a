# SPDX-License-Identifier: Apache-2.0

"""Check of nova-ha-manage doctor: whether several engines fit together."""

from collections.abc import Iterable

from nova_ha_plugins.cmd import finding
from nova_ha_plugins.store import values

_CHECK = 'engines'


def check(engines: Iterable[values.EngineState]) -> list[finding.Finding]:
    """Whether the engines that report can take over from each other."""
    living = [each for each in engines if each.age < each.ttl]
    if not living:
        # That nobody is at work is the finding of another check.
        return []
    acting = [each.name for each in living if each.told.get('acting')]
    if len(living) == 1:
        return [
            finding.ok(
                _CHECK,
                f'one engine, {living[0].name}: nobody takes over while its '
                'machine is down',
            )
        ]
    found = _backends(living)
    releases = _by(living, 'release')
    if len(releases) > 1:
        found.append(
            finding.note(
                _CHECK,
                f'engines of different releases: {_told(releases)}. Finish '
                'the upgrade: an older one leaves incidents alone that a '
                'newer one wrote, and fences nothing new meanwhile',
            )
        )
    if not acting:
        found.append(
            finding.action(
                _CHECK,
                f'{len(living)} engines report and none of them acts: look '
                'at their logs',
            )
        )
    return found or [
        finding.ok(
            _CHECK,
            f'{len(living)} engines, {acting[0]} acts, the others watch',
        )
    ]


def _backends(living: list[values.EngineState]) -> list[finding.Finding]:
    backends = _by(living, 'backend')
    if '' in backends:
        return [
            finding.action(
                _CHECK,
                f'{len(living)} engines report, and without a coordination '
                f'are {", ".join(backends[""])}: set the same [coordination] '
                'backend_url for each, or run one engine',
            )
        ]
    if len(backends) > 1:
        return [
            finding.note(
                _CHECK,
                f'engines name different coordinations: {_told(backends)}. '
                'That is right only where each address leads to the same '
                'service; otherwise a take-over waits for the lease to run '
                'out',
            )
        ]
    return []


def _by(living: list[values.EngineState], key: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in living:
        found.setdefault(str(each.told.get(key, '')), []).append(each.name)
    return dict(sorted(found.items()))


def _told(groups: dict[str, list[str]]) -> str:
    return '; '.join(
        f'{key or "(none)"} ({", ".join(names)})'
        for key, names in groups.items()
    )
