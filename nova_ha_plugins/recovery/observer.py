# SPDX-License-Identifier: Apache-2.0

"""Whether the engine itself can be believed: it may be the sick one."""

from nova_ha_plugins.recovery import scene as scenes

Hold = scenes.Hold


def healthy(
    suspect: scenes.Suspect, scene: scenes.Scene, limits: scenes.Limits
) -> Hold | None:
    """Return why what the engine sees of others cannot be believed now."""
    return (
        _newer_release(suspect, scene)
        or _blind(suspect, scene, limits)
        or _late(suspect, scene, limits)
        or _services(suspect, scene, limits)
    )


def _newer_release(
    suspect: scenes.Suspect, scene: scenes.Scene
) -> Hold | None:
    if not scene.newer_release:
        return None
    return Hold(
        'newer-release',
        'An incident in the store was written by a newer release than this '
        "engine's, which cannot read what is going on there: "
        f"'{suspect.host}' is not fenced meanwhile. Upgrade this engine, or "
        'let an upgraded one take over.',
        after=5.0,
    )


def _blind(
    suspect: scenes.Suspect, scene: scenes.Scene, limits: scenes.Limits
) -> Hold | None:
    # An operator who released the incident vouches that several hosts really
    # died; whether this one is silent is still for the evidence to say.
    if suspect.released:
        return None
    if scene.blind:
        return Hold(
            'monitoring-blind',
            'No heartbeat of any host arrived for a while, they only now '
            'come back, or the engine itself was late: what was seen '
            'meanwhile proves nothing. Check message bus and telemetry, and '
            f"the database; '{suspect.host}' is not fenced meanwhile.",
        )
    if scene.silent > max(1, int(limits.blind_share * scene.hosts)):
        return Hold(
            'monitoring-blind',
            f'{scene.silent} of {scene.hosts} hosts are silent at once, more '
            f'than {limits.blind_share:.0%}: the monitoring itself may be '
            'blind. Check message bus and telemetry; nothing is fenced '
            'meanwhile. If the hosts are really dead: openstack ha release '
            f'{suspect.host}',
        )
    return None


def _late(
    suspect: scenes.Suspect, scene: scenes.Scene, limits: scenes.Limits
) -> Hold | None:
    if scene.loop_late <= limits.loop_late_max:
        return None
    return Hold(
        'engine-late',
        f'The engine is {scene.loop_late:.0f} s late with its own round, '
        f'more than {limits.loop_late_max:.0f} s; what it saw of '
        f"'{suspect.host}' may be old. Check load and database of its "
        'machine.',
    )


def _services(
    suspect: scenes.Suspect, scene: scenes.Scene, limits: scenes.Limits
) -> Hold | None:
    if scene.services_age <= limits.services_fresh:
        return None
    return Hold(
        'nova-unreachable',
        f'Nova last listed its compute services {scene.services_age:.0f} s '
        f"ago; whether somebody else recovers '{suspect.host}' cannot be "
        'seen. Nothing is fenced before nova answers.',
    )


def watched_enough(
    suspect: scenes.Suspect, scene: scenes.Scene, limits: scenes.Limits
) -> Hold | None:
    """Return that the engine has only just begun, or just taken over."""
    if scene.watching < limits.warm_up:
        rest = limits.warm_up - scene.watching
        return Hold(
            'warm-up',
            f'The engine began {scene.watching:.0f} s ago and fences nothing '
            f"for the first {limits.warm_up:.0f} s; '{suspect.host}' waits.",
            after=min(rest, 5.0),
        )
    since = scene.since_take_over
    if since is not None and since < limits.take_over_quiet:
        return Hold(
            'take-over',
            f'The engine took over {since:.0f} s ago, and a last call of the '
            f"one before may be under way; '{suspect.host}' is not fenced in "
            f'the first {limits.take_over_quiet:.0f} s.',
            after=min(limits.take_over_quiet - since, 5.0),
        )
    return None
