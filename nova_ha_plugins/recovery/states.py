# SPDX-License-Identifier: Apache-2.0

"""What becomes of a server of a dead host in each state that nova knows.

A row for every vm_state and every task_state of nova 34; a test compares the
keys with nova's own lists. ``judge`` reads the rows. Two rules made them:

* A server that nova, or its owner, was moving when the host died may run on
  the other host, or its disk may lie there. It is never evacuated blindly:
  nova's record ends first, or the other host is proven to be off.
* What is put back is what its owner asked for last: a server that was being
  stopped is stopped, one that was being started is started.

What waits or is parked is looked at again, so every reason ends by itself
when nova, its owner or an operator ends it.
"""

import dataclasses
import enum
import typing

from nova_ha_plugins.recovery import views


class Fate(enum.StrEnum):
    """What is done about a server.

    :cvar RESET: nova is asked to call it active, then to evacuate it: nova
        evacuates no server in the state it has.
    :cvar WAIT: something may end by itself; parked after a while.
    """

    EVACUATE = 'evacuate'
    RESET = 'reset'
    WAIT = 'wait'
    PARK = 'park'
    LEAVE = 'leave'


@dataclasses.dataclass(frozen=True)
class Row:
    """One state.

    :ivar fate: None of a task: as its vm_state says.
    :ivar code: of a server that is not evacuated.
    :ivar why: the reason, as an operator or its owner can use it.
    :ivar wanted: the vm_state that is put back, '' for the one it had.
    :ivar anew: its owner asked to boot it anew: no memory is to be kept.
    """

    fate: Fate | None
    code: str = ''
    why: str = ''
    wanted: str = ''
    anew: bool = False


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What is done about one server now, and why not more."""

    fate: Fate
    code: str = ''
    reason: str = ''


ACTIVE, STOPPED, PAUSED, ERROR = 'active', 'stopped', 'paused', 'error'

# These are put back where the server arrives; nova knows a call for each.
RESTORABLE = frozenset({ACTIVE, STOPPED, PAUSED})

_DELETED = Row(Fate.LEAVE, 'being-deleted', 'its owner is deleting it')
_BUILDING = Row(
    Fate.PARK,
    'building',
    'it was still being built and nova evacuates no server that never ran; '
    'its owner creates it again',
)
_MOVING = Row(
    Fate.WAIT,
    'moving',
    'nova was moving it (cold migration or resize): its disk may be renamed, '
    'half copied or on the other host, where nova would not find it and make '
    'an empty one. Bring its host back, or end the move and reset its state',
)
_SHELVING = Row(
    Fate.PARK,
    'shelving',
    'its owner was putting it away (shelve): whether its image is complete '
    'is not certain; look at the image, reset its state, and it is evacuated',
)
_STALE = Row(
    None, why='the task died with the host; nova forgets it when it rebuilds'
)
_SNAPSHOT = Row(
    None,
    why='the snapshot died with the host; its unfinished image is left to '
    'its owner',
)
_REBOOT = Row(None, why='it boots anyway', wanted=ACTIVE)
_REBOOT_HARD = Row(
    None,
    why='its owner asked to boot it anew, whatever was in its memory',
    wanted=ACTIVE,
    anew=True,
)
_REBUILD = Row(
    None,
    why='a rebuild, or an evacuation whose record has ended, died half way; '
    'an evacuation whose record is open is waited for instead',
)

VM_STATES: typing.Final[dict[str, Row]] = {
    ACTIVE: Row(Fate.EVACUATE, why='nova boots it from its disk'),
    STOPPED: Row(
        Fate.EVACUATE,
        why='nova stops it again at its new host; if it lost the state on '
        'the way, the engine stops it',
    ),
    PAUSED: Row(
        Fate.RESET,
        why='its memory was lost with the host in any case; it boots at its '
        'new host and is paused there',
    ),
    ERROR: Row(
        Fate.PARK,
        'vm-state-error',
        'it was in error before its host failed: where its guest and its '
        'disk are is not certain. Look at its fault, then reset its state to '
        'active, and it is evacuated',
    ),
    'suspended': Row(
        Fate.PARK,
        'suspended',
        'its owner had its memory saved, on the disk of the failed host; an '
        'evacuation would drop it. It comes back with its host; if the '
        'memory may be lost, reset its state to active, and it is evacuated',
    ),
    'rescued': Row(
        Fate.PARK,
        'rescued',
        'its owner was repairing it from a rescue image, and what its own '
        'disk does is not certain. It comes back with its host; to boot it '
        'from its disk elsewhere, reset its state to active',
    ),
    'resized': Row(
        Fate.PARK,
        'resized',
        'its resize waits for its owner: the old disk is on the other host. '
        'openstack server resize confirm works while that host is up, and '
        'then it is evacuated',
    ),
    'building': _BUILDING,
    'shelved': Row(
        Fate.PARK,
        'shelved',
        'its owner has put it away: it did not run and its image is kept. It '
        'comes back with its host',
    ),
    'shelved_offloaded': Row(
        Fate.PARK,
        'shelved-offloaded',
        'it is on no host; if it was being unshelved, reset its state and '
        'unshelve it again',
    ),
    'soft-delete': _DELETED,
    'deleted': _DELETED,
}

TASK_STATES: typing.Final[dict[str, Row]] = {
    'scheduling': _BUILDING,
    'block_device_mapping': _BUILDING,
    'networking': _BUILDING,
    'spawning': _BUILDING,
    'image_snapshot': _SNAPSHOT,
    'image_snapshot_pending': _SNAPSHOT,
    'image_pending_upload': _SNAPSHOT,
    'image_uploading': _SNAPSHOT,
    'image_backup': _SNAPSHOT,
    'updating_password': _STALE,
    'resize_prep': _MOVING,
    'resize_migrating': _MOVING,
    'resize_migrated': _MOVING,
    'resize_finish': _MOVING,
    'resize_reverting': _MOVING,
    'resize_confirming': Row(
        Fate.WAIT,
        'moving',
        'its resize is being confirmed on the other host; when that has '
        'ended it is evacuated',
    ),
    'rebooting': _REBOOT,
    'reboot_pending': _REBOOT,
    'reboot_started': _REBOOT,
    'rebooting_hard': _REBOOT_HARD,
    'reboot_pending_hard': _REBOOT_HARD,
    'reboot_started_hard': _REBOOT_HARD,
    'pausing': Row(None, why='its owner wanted it paused', wanted=PAUSED),
    'unpausing': Row(None, why='its owner wanted it to run', wanted=ACTIVE),
    'suspending': Row(
        None,
        why='its memory was not saved for certain; it boots and runs',
    ),
    'resuming': Row(
        None,
        why='whether its saved memory was read is not certain; as suspended',
        wanted=ACTIVE,
    ),
    'powering-off': Row(
        None, why='its owner wanted it stopped', wanted=STOPPED
    ),
    'powering-on': Row(None, why='its owner wanted it to run', wanted=ACTIVE),
    'rescuing': Row(
        None, why='the rescue did not begin for certain; it boots its own disk'
    ),
    'unrescuing': Row(
        None, why='whether the rescue had ended is not certain; as rescued'
    ),
    'rebuilding': _REBUILD,
    'rebuild_block_device_mapping': _REBUILD,
    'rebuild_spawning': _REBUILD,
    'migrating': Row(
        Fate.WAIT,
        'live-migrating',
        'it was being live-migrated when its host died, so it may run on the '
        'other host already',
    ),
    'deleting': _DELETED,
    'soft-deleting': _DELETED,
    'restoring': Row(
        Fate.PARK,
        'restoring',
        'its owner was taking its deletion back; it comes back with its host',
    ),
    'shelving': _SHELVING,
    'shelving_image_pending_upload': _SHELVING,
    'shelving_image_uploading': _SHELVING,
    'shelving_offloading': _SHELVING,
    'unshelving': Row(
        Fate.PARK,
        'unshelving',
        'it was being taken out of its image; reset its state and unshelve '
        'it again',
    ),
}

UNKNOWN = 'state-unknown'
OPEN_MOVE = 'live-migrating'
MOVING = 'moving'

# Codes of servers that are judged again: the reason may have ended.
REVIEWED: typing.Final = frozenset(
    row.code
    for row in (*VM_STATES.values(), *TASK_STATES.values())
    if row.code and row is not _DELETED
) | {UNKNOWN}

# Nova's final statuses of a migration, a live migration or a resize.
# 'finished' of a resize waits for its owner: vm_state 'resized' tells that.
MOVE_ENDED: typing.Final = frozenset(
    {
        'completed',
        'confirmed',
        'reverted',
        'error',
        'failed',
        'cancelled',
        'done',
    }
)


def judge(
    view: views.ServerView,
    was: str = '',
    move: views.MigrationView | None = None,
    other_off: bool = False,
) -> Judgement:
    """Return what is done about a server that is still on the dead host.

    :param was: the vm_state that it had when the host failed, '' if this is
        the first look.
    :param move: its open live migration, cold migration or resize, if any.
    :param other_off: the other host of that move is fenced, and off now.
    """
    state = VM_STATES.get(view.vm_state)
    task = TASK_STATES.get(view.task_state) if view.task_state else None
    if state is None or (view.task_state and task is None):
        return _unknown(view)
    for row in (task, state):
        if row is _DELETED and task is not TASK_STATES['restoring']:
            return Judgement(Fate.LEAVE, row.code, row.why)
    if move is not None and move.status not in MOVE_ENDED:
        if not other_off or move.kind != 'live-migration':
            if view.vm_state != 'resized' or task is not None:
                return _moved(view, move)
        elif view.task_state == 'migrating':
            # It can run nowhere else: the other host is off as well.
            task = _STALE
    if task is not None and task.fate is not None:
        return Judgement(task.fate, task.code, _told(task, view))
    if view.vm_state == ERROR and was not in ('', ERROR):
        # In error since the host failed: nova could not evacuate it.
        return Judgement(Fate.EVACUATE)
    if needs_reset(view.vm_state, view.task_state or ''):
        return Judgement(Fate.RESET)
    assert state.fate is not None  # noqa: S101 - only tasks leave it open
    if state.fate == Fate.EVACUATE:
        return Judgement(Fate.EVACUATE)
    return Judgement(state.fate, state.code, _told(state, view))


def _told(row: Row, view: views.ServerView) -> str:
    task = f', task {view.task_state}' if view.task_state else ''
    return f'{row.why} (nova says {view.vm_state}{task})'


def needs_reset(vm_state: str, task_state: str) -> bool:
    """Return whether nova evacuates a server only after a reset."""
    row, task = VM_STATES.get(vm_state), TASK_STATES.get(task_state)
    return row is not None and (
        row.fate == Fate.RESET
        or (vm_state == 'suspended' and task is not None and task.anew)
    )


def _unknown(view: views.ServerView) -> Judgement:
    return Judgement(
        Fate.PARK,
        UNKNOWN,
        f"nova says its state is '{view.vm_state}', task "
        f"'{view.task_state or 'none'}', which this release does not know; "
        'it comes back with its host',
    )


def _moved(view: views.ServerView, move: views.MigrationView) -> Judgement:
    there = move.other(view.host)
    if move.kind != 'live-migration':
        return Judgement(Fate.WAIT, MOVING, _told(_MOVING, view))
    if there is None:
        return Judgement(
            Fate.WAIT,
            OPEN_MOVE,
            f'its live migration ({move.uuid}, {move.status}) had no '
            'destination yet, and one may still be chosen',
        )
    return Judgement(
        Fate.WAIT,
        OPEN_MOVE,
        f"its live migration to '{there}' ({move.uuid}, {move.status}) was "
        f"under way when its host died, so it may run on '{there}' already. "
        'Look for its guest there (virsh list --all): if there is none, '
        'openstack server evacuate',
    )


def wanted(vm_state: str, task_state: str) -> str:
    """Return the vm_state that a server is put back into."""
    task = TASK_STATES.get(task_state)
    found = task.wanted if task is not None and task.wanted else vm_state
    return found if found in RESTORABLE else ACTIVE
