# SPDX-License-Identifier: Apache-2.0

"""What an evacuation does, waits for or died of, and what comes next.

Each text is for two readers. An operator is told which host it is about and
what to do; the owner of the server learns no host and is told who acts.
"""

import dataclasses
import math

from nova_ha_plugins.recovery import estimate as estimates
from nova_ha_plugins.recovery import progress

_MIB = 1024**2

Phase = progress.Phase
Reason = progress.Reason
State = progress.State
Storage = progress.Storage


@dataclasses.dataclass(frozen=True)
class Why:
    """Why it does not go on, and what comes next.

    ``{there}`` becomes the destination, or words for it, ``{worker}`` the
    service that has the work, and ``{minutes}`` how long nova was silent.
    """

    text: str
    operator: str = ''
    owner: str = 'An operator has to evacuate it again.'


_LOOK_ELSEWHERE = 'Look at the newest evacuation of the server.'

FAILED = {
    Reason.NO_VALID_HOST: Why(
        'No host that may run the server had room for it; nova does not try '
        'again.',
        'Make room or enable hosts, then evacuate it again.',
    ),
    Reason.DESTINATION_FAILED: Why(
        'Building the server failed on {there}; nova does not try again.',
        'See the fault of the server, make sure that no guest was left '
        'there, then evacuate it again.',
    ),
    Reason.SERVER_DELETED: Why(
        'The server was deleted before the end.',
        'Nothing is left to do.',
        'Nothing is left to do.',
    ),
}

SUPERSEDED = {
    Reason.SOURCE_RETURNED: Why(
        'The old host came back before a new one was chosen, and nova went on '
        'under a newer record.',
        _LOOK_ELSEWHERE,
        _LOOK_ELSEWHERE,
    ),
    Reason.CONCURRENT_EVACUATION: Why(
        'A newer evacuation of the server was begun while this one was still '
        'open: it may have been built twice.',
        'See that no guest is left on {there}, and look at the newest one.',
        _LOOK_ELSEWHERE,
    ),
    Reason.RECORD_LEFT_OPEN: Why(
        'It never ended, nova left its record open, and the server was '
        'evacuated anew.',
        'See that no guest is left on {there} when that is back.',
        _LOOK_ELSEWHERE,
    ),
}

STALLED = {
    Reason.DESTINATION_DOWN: Why(
        'Nova has no news from {there}, where the server was being built; '
        'nova does not try elsewhere.',
        'Fence that host, then evacuate it again.',
    ),
    Reason.TASK_STATE_RESET: Why(
        'The server has no task any more and never arrived: its state was '
        'reset, or nova-compute was restarted on {there}.',
        'Fence that host, then evacuate it again.',
    ),
    Reason.NO_TASK: Why(
        'The server has no task any more and no host has begun with it: its '
        'state was reset, or the request was lost.',
        'See that nova-conductor and the message bus work. To evacuate it '
        'again takes the right to override the guard.',
    ),
    Reason.NO_ACTIVITY: Why(
        'Nova has written nothing about it for {minutes} minutes: it is slow '
        'or stuck.',
        'See the log of {worker}. Nothing is given up by itself.',
        'An operator has to look at it. Nothing is given up by itself.',
    ),
}

GOING_ON = {
    Reason.SOURCE_RETURNED: 'The old host came back and has removed its copy.',
    Reason.CONCURRENT_EVACUATION: (
        'An older evacuation of the server is open, too: it may be built '
        'twice.'
    ),
}


def sentence(
    facts: progress.Facts,
    assessment: progress.Assessment,
    estimate: estimates.Estimate | None,
    *,
    with_host: bool,
) -> str | None:
    """Give one or two sentences; None where there is nothing to say.

    :param with_host: whether the reader may see the names of hosts.
    """
    state, reason = assessment.state, assessment.reason
    if state is State.SUCCEEDED:
        if reason is not Reason.RECORD_LEFT_OPEN:
            return None
        return (
            'The server has arrived; nova made its record again and never '
            'closes it. Nothing is left to do.'
        )
    why = _why(assessment)
    if why is not None:
        return _tell(why, facts, assessment, with_host=with_host)
    if state is State.UNKNOWN or assessment.phase is Phase.UNKNOWN:
        return _unknown(facts)
    doing = _doing(assessment.phase, facts, with_host=with_host)
    if reason in GOING_ON:
        rest = GOING_ON[reason]
    elif estimate is None:
        rest = 'There is no estimate of the time left.'
    else:
        rest = f'About {_duration(estimate.p50)} are left.'
    return f'{doing}. {rest}'


def _why(assessment: progress.Assessment) -> Why | None:
    if assessment.reason is None:
        return None
    if assessment.stalled:
        return STALLED.get(assessment.reason)
    if assessment.state is State.FAILED:
        return FAILED[assessment.reason]
    if assessment.state is State.SUPERSEDED:
        return SUPERSEDED[assessment.reason]
    return None


def _tell(
    why: Why,
    facts: progress.Facts,
    assessment: progress.Assessment,
    *,
    with_host: bool,
) -> str:
    text = why.text
    if assessment.source_cleaned and assessment.state is State.FAILED:
        text += (
            ' The old host came back meanwhile and removed its copy: what was '
            'on a local disk is lost.'
        )
    text += f' {why.operator if with_host else why.owner}'
    return text.format(
        there=_there(facts, with_host),
        worker=_worker(facts),
        minutes=int(facts.now - facts.last_write_at) // 60,
    )


def _doing(phase: Phase, facts: progress.Facts, *, with_host: bool) -> str:
    """Say what is done, and what is done after that."""
    there = _there(facts, with_host)
    if phase is Phase.ACCEPTED:
        return 'It waits for nova-conductor; next nova looks for a host'
    if phase is Phase.SCHEDULING:
        return (
            'Nova looks for a host; next that host sets aside what the server '
            'needs'
        )
    if phase is Phase.CLAIMING:
        doing = f'It is about to begin on {there}'
        if facts.ahead:
            # How many there are is not the business of the owner of one.
            others = f'{facts.ahead} before it' if with_host else 'others'
            doing = f'It waits for {there}, which begins with {others} first'
        return f'{doing}; next its networks and volumes are prepared'
    if phase is Phase.PREPARING:
        return (
            f'Its networks and volumes are prepared on {there}'
            f'{_volumes(facts)}; next the volumes are connected'
        )
    if phase is Phase.VOLUMES:
        return (
            f'Its volumes are connected on {there}{_volumes(facts)}; next its '
            'guest is started'
        )
    if phase is Phase.SPAWNING:
        return _spawning(facts, there)
    return f'It was built on {there}; nova is about to write that down'


def _spawning(facts: progress.Facts, there: str) -> str:
    storage = progress.storage_of(facts)
    total, done = facts.disk_total or 0, facts.disk_processed or 0
    if storage is Storage.COPY and done < total:
        return (
            f'Its image is copied to {there}, {done // _MIB} of '
            f'{_ceil(total, _MIB)} MiB; next its guest is started'
        )
    doing = 'Nothing is left to copy, its guest is started'
    if storage is Storage.UNKNOWN:
        doing = 'Its disk is made and its guest started'
    return f'{doing} on {there}; next nova writes down where it is'


def _ceil(number: int, unit: int) -> int:
    return -(-number // unit)


def _volumes(facts: progress.Facts) -> str:
    if not facts.volumes_total:
        return ''
    return f', {facts.volumes_done or 0} of {facts.volumes_total} volumes done'


def _unknown(facts: progress.Facts) -> str:
    task = facts.guest.task_state if facts.guest is not None else None
    if facts.status in progress.OPEN_STATUSES and task is not None:
        return (
            f"The server is busy with another task, '{task}': how far its "
            'evacuation is shows when that is over.'
        )
    if facts.status in progress.OPEN_STATUSES:
        return (
            'The server has no task any more and has not arrived: either its '
            'state was reset, or that changes within seconds.'
        )
    return "Nova's records do not tell what became of it."


def _there(facts: progress.Facts, with_host: bool) -> str:
    if facts.destination is None:
        return 'the chosen host'
    return f"host '{facts.destination}'" if with_host else 'the new host'


def _worker(facts: progress.Facts) -> str:
    if facts.destination is not None:
        return f"nova-compute on host '{facts.destination}'"
    if facts.rebuild is not None:
        return 'nova-compute on the chosen host'
    return 'nova-conductor and nova-scheduler'


def _duration(seconds: float) -> str:
    # Up, as the API does with the seconds that stand beside the sentence.
    whole = max(1, math.ceil(seconds))
    if whole < 120:
        return f'{whole} s'
    return f'{round(whole / 60)} min'
