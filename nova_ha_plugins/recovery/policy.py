# SPDX-License-Identifier: Apache-2.0

"""Which servers of a failed host are brought back, and why not the others.

The tenant says so in the server's metadata: ``ha:policy`` is ``evacuate`` or
``none``, ``ha:priority`` is 1 to 1000, 1000 first. ``HA_Enabled`` is read
too, so that clouds that come from Masakari need not touch their servers;
``ha:policy`` wins where both stand. Keys are exact: ``not_ha:policy`` or
``HA:Policy`` mean nothing.
"""

from collections.abc import Iterable
import dataclasses

from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import states
from nova_ha_plugins.recovery import views

POLICY_KEY = 'ha:policy'
PRIORITY_KEY = 'ha:priority'
MASAKARI_KEY = 'HA_Enabled'

EVACUATE = 'evacuate'
NONE = 'none'

DEFAULT_PRIORITY = 500
MIN_PRIORITY = 1
MAX_PRIORITY = 1000

# oslo.utils' bool_from_string, which Masakari uses, accepts these.
_TRUE = frozenset({'1', 't', 'true', 'on', 'y', 'yes'})
_FALSE = frozenset({'0', 'f', 'false', 'off', 'n', 'no'})

_KEYS = (POLICY_KEY, PRIORITY_KEY, MASAKARI_KEY)
_STATE_OF = {
    states.Fate.EVACUATE: incident.ServerState.QUEUED,
    states.Fate.RESET: incident.ServerState.QUEUED,
    states.Fate.WAIT: incident.ServerState.QUEUED,
    states.Fate.PARK: incident.ServerState.PARKED,
    states.Fate.LEAVE: incident.ServerState.LEFT,
}


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a server's metadata asks for.

    :ivar warning: what is wrong with the metadata, '' when nothing is.
    """

    protected: bool
    priority: int
    code: str
    reason: str
    warning: str = ''


def choose(metadata: dict[str, str], default: str = NONE) -> Choice:
    """Return whether metadata ask for recovery, with which priority.

    :param default: ``evacuate`` or ``none``, for servers that say nothing.
    """
    priority, warning = _priority(metadata)
    protected, code, reason = _protected(metadata, default)
    return Choice(protected, priority, code, reason, warning)


def _priority(metadata: dict[str, str]) -> tuple[int, str]:
    text = metadata.get(PRIORITY_KEY)
    if text is None:
        return DEFAULT_PRIORITY, ''
    # isdecimal alone would take the digits of other scripts for numbers.
    if text.isascii() and text.isdecimal() and len(text) <= 4:
        if MIN_PRIORITY <= int(text) <= MAX_PRIORITY:
            return int(text), ''
    return DEFAULT_PRIORITY, (
        f"{PRIORITY_KEY} is '{_shown(text)}', expected a number from "
        f'{MIN_PRIORITY} to {MAX_PRIORITY}; it counts as {DEFAULT_PRIORITY}'
    )


def _protected(
    metadata: dict[str, str], default: str
) -> tuple[bool, str, str]:
    text = metadata.get(POLICY_KEY)
    if text == EVACUATE:
        return True, 'policy-evacuate', f'{POLICY_KEY} is {EVACUATE}'
    if text == NONE:
        return False, 'policy-none', f'{POLICY_KEY} is {NONE}'
    if text is not None:
        return (
            False,
            'policy-invalid',
            f"{POLICY_KEY} is '{_shown(text)}', expected {EVACUATE} or "
            f'{NONE}; the server is left alone until that is corrected',
        )
    masakari = metadata.get(MASAKARI_KEY)
    if masakari is not None:
        return _alias(masakari)
    if default == EVACUATE:
        return True, 'default-evacuate', 'untagged; the default is evacuate'
    return (
        False,
        'untagged',
        f'no {POLICY_KEY} in its metadata and the default is {NONE}',
    )


def _alias(text: str) -> tuple[bool, str, str]:
    word = text.strip().lower()
    if word in _TRUE:
        return True, 'masakari-enabled', f'{MASAKARI_KEY} is {word}'
    if word in _FALSE:
        return False, 'masakari-disabled', f'{MASAKARI_KEY} is {word}'
    # Masakari takes every other word for no.
    return (
        False,
        'masakari-invalid',
        f"{MASAKARI_KEY} is '{text[:40]}', expected true or false; the "
        'server is left alone until that is corrected',
    )


def _shown(text: str) -> str:
    """Return what a tenant wrote, short and fit for a log and a terminal."""
    return ''.join(c if c.isprintable() else ' ' for c in text[:40])


def admit(view: views.ServerView, default: str = NONE) -> incident.Server:
    """Return the server as the incident keeps it, with what becomes of it.

    ``queued`` when it is to be evacuated, or may be soon; ``left`` when
    nobody asked for it; ``parked`` when somebody did but its state forbids
    it. What ``states`` knows of it is judged again before nova is asked.
    """
    choice = choose(view.metadata, default)
    state, code, reason = _outlook(view, choice)
    if choice.warning:
        reason = f'{reason}; {choice.warning}'
    return incident.Server(
        uuid=view.uuid,
        name=view.name,
        project_id=view.project_id,
        vm_state=view.vm_state,
        task_state=view.task_state or '',
        locked=view.locked,
        tags=tuple(
            (key, _shown(view.metadata[key]))
            for key in _KEYS
            if key in view.metadata
        ),
        priority=choice.priority,
        protected=choice.protected,
        state=state,
        code=code,
        reason=reason,
    )


def admit_all(
    found: Iterable[views.ServerView], default: str = NONE
) -> tuple[incident.Server, ...]:
    """Return every server as the incident keeps it, in order of recovery."""
    return tuple(
        sorted(
            (admit(view, default) for view in found),
            key=lambda server: (-server.priority, server.uuid),
        )
    )


def being_deleted(view: views.ServerView) -> bool:
    """Return whether the owner of a server is deleting it."""
    return states.judge(view).code == 'being-deleted'


def _outlook(
    view: views.ServerView, choice: Choice
) -> tuple[incident.ServerState, str, str]:
    if not choice.protected:
        return incident.ServerState.LEFT, choice.code, choice.reason
    found = states.judge(view)
    return (
        _STATE_OF[found.fate],
        found.code or choice.code,
        found.reason or choice.reason,
    )
