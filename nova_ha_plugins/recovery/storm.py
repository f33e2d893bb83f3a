# SPDX-License-Identifier: Apache-2.0

"""Storm protection: many hosts at once are rarely dead; it is a network.

Five brakes: a *share* of hosts per failure domain and of the cloud, counted
over a window from stored fences, so that neither a slow cascade nor a restart
passes; a *cap* on failure domains that may be concerned; a *rate* per domain;
a *cooldown* while more hosts than the share fall silent; and the *turn*: who
waited first goes first. An operator who releases an incident lets it pass all
of them.
"""

from nova_ha_plugins.recovery import scene as scenes
from nova_ha_plugins.recovery import waits

Hold = scenes.Hold
PastFence = scenes.PastFence

SHARE = 'storm'
DOMAINS = 'storm-domains'
RATE = 'storm-rate'
COOLDOWN = 'storm-cooldown'
TURN = 'storm-turn'

# What an incident that waits here is held with.
CODES = frozenset({SHARE, DOMAINS, RATE, COOLDOWN, TURN})


def hold(
    suspect: scenes.Suspect, scene: scenes.Scene, limits: scenes.Limits
) -> Hold | None:
    """Return why another fence would be too much now."""
    if suspect.released:
        return None
    recent = counted(suspect, scene, limits)
    return (
        _share(suspect, scene, limits, recent)
        or _domains(suspect, scene, limits, recent)
        or _cooldown(suspect, scene, limits, recent)
        or _rate(suspect, scene, limits, recent)
        or _turn(suspect, scene, limits, recent)
    )


def counted(
    suspect: scenes.Suspect, scene: scenes.Scene, limits: scenes.Limits
) -> tuple[PastFence, ...]:
    """Return the fences of other hosts that count, the newest of each."""
    newest: dict[str, PastFence] = {}
    for fence in sorted(scene.fences, key=lambda each: each.at):
        if fence.host != suspect.host:
            newest[fence.host] = fence
    return tuple(
        fence
        for fence in newest.values()
        if scene.now - fence.at < limits.storm_window
    )


def _allowed(limits: scenes.Limits, hosts: int) -> int:
    return max(limits.storm_max_hosts, int(limits.storm_max_share * hosts))


def _size(scene: scenes.Scene, domain: str) -> int:
    return next((d.hosts for d in scene.domains if d.name == domain), 0)


def _in(recent: tuple[PastFence, ...], domain: str) -> list[PastFence]:
    return [fence for fence in recent if fence.domain == domain]


def _release(suspect: scenes.Suspect) -> str:
    return (
        f"If '{suspect.host}' is really dead: openstack ha release "
        f'{suspect.host}'
    )


def _share(
    suspect: scenes.Suspect,
    scene: scenes.Scene,
    limits: scenes.Limits,
    recent: tuple[PastFence, ...],
) -> Hold | None:
    domain = suspect.domain
    for name, fenced, total in (
        ('the cloud', list(recent), scene.hosts),
        (
            f"failure domain '{domain}'",
            _in(recent, domain),
            _size(scene, domain),
        ),
    ):
        allowed = _allowed(limits, total)
        if len(fenced) < allowed:
            continue
        # So many must leave the window before there is room for one.
        leaving = sorted(each.at for each in fenced)[len(fenced) - allowed :]
        leaves = leaving[0] if leaving else scene.now
        opens = max(leaves + limits.storm_window - scene.now, 0.0)
        return Hold(
            SHARE,
            f'{len(fenced)} of {total} hosts of {name} fenced within '
            f'{limits.storm_window:.0f} s, and {allowed} may be. '
            f'{_release(suspect)}. Otherwise the gate is asked again, and '
            f'opens at the earliest in {opens:.0f} s',
            after=5.0,
        )
    return None


def _domains(
    suspect: scenes.Suspect,
    scene: scenes.Scene,
    limits: scenes.Limits,
    recent: tuple[PastFence, ...],
) -> Hold | None:
    touched = {fence.domain for fence in recent}
    if _domain_fits(suspect.domain, limits, touched):
        return None
    return Hold(
        DOMAINS,
        f"Host '{suspect.host}' is in failure domain '{suspect.domain}', and "
        f'hosts of {len(touched)} others ('
        f'{", ".join(repr(name) for name in sorted(touched))}) were fenced '
        f'within {limits.storm_window:.0f} s: failures in more than '
        f'{limits.storm_max_domains} are more likely one of the network. '
        f'{_release(suspect)}',
        after=5.0,
    )


def _domain_fits(
    domain: str, limits: scenes.Limits, touched: set[str]
) -> bool:
    most = limits.storm_max_domains
    return not most or domain in touched or len(touched) < most


def _cooldown(
    suspect: scenes.Suspect,
    scene: scenes.Scene,
    limits: scenes.Limits,
    recent: tuple[PastFence, ...],
) -> Hold | None:
    last = scene.newest_silence
    if last is None or last >= limits.storm_cooldown:
        return None
    own = [d for d in scene.domains if d.name == suspect.domain]
    for name, silent, fenced, total in (
        (
            'the cloud',
            sum(domain.silent for domain in scene.domains),
            len(recent),
            scene.hosts,
        ),
        (
            f"failure domain '{suspect.domain}'",
            sum(domain.silent for domain in own),
            len(_in(recent, suspect.domain)),
            _size(scene, suspect.domain),
        ),
    ):
        allowed = _allowed(limits, total)
        if silent + fenced <= allowed:
            continue
        return Hold(
            COOLDOWN,
            f'{silent} of {total} hosts of {name} fell silent and {fenced} '
            f'were fenced within {limits.storm_window:.0f} s, more than '
            f'{allowed}: nothing new is fenced before no further one fell '
            f'silent for {limits.storm_cooldown:.0f} s, and the last one did '
            f'{last:.0f} s ago. {_release(suspect)}',
            after=min(limits.storm_cooldown - last, 5.0),
        )
    return None


def _rate(
    suspect: scenes.Suspect,
    scene: scenes.Scene,
    limits: scenes.Limits,
    recent: tuple[PastFence, ...],
) -> Hold | None:
    last = max((f.at for f in _in(recent, suspect.domain)), default=None)
    if last is None or not limits.storm_interval:
        return None
    until = last + limits.storm_interval
    if waits.is_over(until, scene.now):
        return None
    return Hold(
        RATE,
        f"A host of failure domain '{suspect.domain}' was fenced "
        f'{max(scene.now - last, 0.0):.0f} s ago; the next one may be after '
        f"{limits.storm_interval:.0f} s, so '{suspect.host}' waits.",
        after=min(until - scene.now, 2.0),
    )


def _turn(
    suspect: scenes.Suspect,
    scene: scenes.Scene,
    limits: scenes.Limits,
    recent: tuple[PastFence, ...],
) -> Hold | None:
    touched = {fence.domain for fence in recent}
    for domain in scene.domains:
        if domain.waiting is None:
            continue
        # One whose own failure domain is full keeps nobody else waiting.
        stuck = domain.name != suspect.domain and not (
            len(_in(recent, domain.name)) < _allowed(limits, domain.hosts)
            and _domain_fits(domain.name, limits, touched)
        )
        if stuck:
            continue
        return Hold(
            TURN,
            f"Host '{domain.waiting.host}' waits longer to be fenced than "
            f"'{suspect.host}', and goes first.",
            after=1.0,
        )
    return None
