# SPDX-License-Identifier: Apache-2.0
"""The BMCs of a lab: their files, their service, and what is wrong with them.

Every host has one, on an address of its own: Redfish over HTTPS and IPMI 2.0.
Both know one account. :mod:`lab.bmc_daemon` is what answers there.
"""

import collections.abc
import contextlib
import dataclasses
import fcntl
import json
import pathlib
import ssl
import sys
import typing
import urllib.request
import uuid

import bcrypt

from lab import authority
from lab import plan as planning
from lab import processes

USER = 'lab'
REDFISH, IPMI = 443, 623

# What a BMC can have, with what it means. 'slow' has a number of seconds.
NONE, LIE, IGNORE, ERROR, HANG, SLOW = (
    'none',
    'lie',
    'ignore',
    'error',
    'hang',
    'slow',
)
FAULTS = {
    LIE: 'does nothing, and says afterwards that it did',
    IGNORE: 'accepts a command and does nothing; what it reads is true',
    ERROR: 'answers every request with an error',
    HANG: 'answers nothing',
    SLOW: 'answers, and acts, so many seconds late',
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong with one BMC.

    :ivar seconds: of 'slow'.
    :ivar occasion: differs each time a fault is set: a lie told on an
        earlier occasion is not repeated.
    """

    kind: str = NONE
    seconds: float = 0.0
    occasion: str = ''


def files(plan: planning.Plan, name: str) -> pathlib.Path:
    """Return a file of the BMCs: 'password', 'ca.pem', 'cmp-1.crt'..."""
    return plan.path('bmc', name)


def prepare(plan: planning.Plan) -> None:
    """Write the account and the certificates, unless they are there."""
    if files(plan, 'ca.pem').exists():
        return
    password = plan.passwords['bmc']
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    plan.write('bmc', 'password', text=password)
    plan.write('bmc', 'htpasswd', text=f'{USER}:{digest}\n')
    signer = authority.Authority(f'BMCs of lab {plan.lab_id}')
    for host in plan.hosts:
        signer.write(
            plan.path('bmc', 'ca.pem').parent, host.name, host.bmc_address
        )
    # The last: it says that the others are complete.
    plan.write('bmc', 'ca.pem', text=signer.certificate)


def service(plan: planning.Plan) -> processes.Service:
    """Return the service of all BMCs, with its files written.

    It is in no PID namespace of its own: it must see the hosts, and they
    must not end with it.
    """
    prepare(plan)
    return processes.Service(
        name='bmc',
        argv=(sys.executable, '-m', 'lab.bmc_daemon', str(plan.directory)),
        ready=lambda: all(_answers(plan, host) for host in plan.hosts),
        isolated=False,
    )


def _answers(plan: planning.Plan, host: planning.Host) -> bool:
    """Say whether a BMC answers; one that is told to hang is as it should."""
    if fault(plan, host).kind != NONE:
        return True
    context = ssl.create_default_context(cafile=files(plan, 'ca.pem'))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=context),
    )
    with opener.open(
        f'https://{host.bmc_address}:{REDFISH}/redfish/v1', timeout=5
    ) as answer:
        return answer.status == 200


def set_fault(plan: planning.Plan, host: planning.Host, text: str) -> None:
    """Break the BMC of a host: a name of FAULTS, 'slow:SECONDS' or 'none'.

    It holds from the next request on, over both protocols.

    :raises LabError: there is no such fault.
    """
    made = parse(text)
    with _faults(plan) as known:
        known.pop(host.name, None)
        if made.kind != NONE:
            known[host.name] = dataclasses.asdict(made)


def parse(text: str) -> Fault:
    """Return the fault that a text names.

    :raises LabError: there is no such fault.
    """
    kind, _, argument = text.partition(':')
    seconds = 0.0
    try:
        if kind == SLOW:
            seconds = float(argument)
        elif argument:
            raise ValueError
    except ValueError:
        kind = ''
    if kind not in (NONE, *FAULTS) or not 0 <= seconds <= 600:
        known = ', '.join((*FAULTS, NONE)).replace(SLOW, 'slow:SECONDS')
        raise planning.LabError(
            f"A BMC can have one of: {known}; not '{text}'. SECONDS are 0 "
            'to 600.'
        )
    return Fault(kind, seconds, uuid.uuid4().hex)


def fault(plan: planning.Plan, host: planning.Host) -> Fault:
    """Return what is wrong with the BMC of a host right now."""
    return Fault(**_read(_path(plan)).get(host.name, {}))


def _path(plan: planning.Plan) -> pathlib.Path:
    # Not in run/ itself, which has a file for each service.
    return plan.path('run', 'faults', 'bmc.json')


def _read(path: pathlib.Path) -> dict[str, typing.Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}


@contextlib.contextmanager
def _faults(
    plan: planning.Plan,
) -> collections.abc.Iterator[dict[str, typing.Any]]:
    """Give the faults of all BMCs, and write them back afterwards."""
    path = _path(plan)
    with path.with_suffix('.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read(path)
        yield known
        new = path.with_suffix('.new')
        new.write_text(json.dumps(known, indent=1))
        new.replace(path)
