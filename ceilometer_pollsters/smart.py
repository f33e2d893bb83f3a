# SPDX-License-Identifier: Apache-2.0

"""What disks think of their own health, asked through smartctl."""

from collections.abc import Iterable, Sequence
import json
import shlex
import subprocess
import threading
from typing import Any

from oslo_log import log

from ceilometer_pollsters import probes
from nova_ha_plugins import printable

LOG = log.getLogger(__name__)

# What is killed ends at once, unless the kernel holds it.
_GRACE = 1.0


class Disk:
    """One disk, and the command that asks it.

    A disk that hangs keeps the command in the kernel, where nobody can kill
    it. Then no other one is started before it has gone.
    """

    def __init__(
        self, device: str, command: Sequence[str], deadline: float
    ) -> None:
        self._device = device
        self._command = [*command, '-j', '-H', device]
        self._deadline = deadline
        self._stuck: subprocess.Popen[bytes] | None = None

    def is_good(self) -> bool:
        """Return the disk's judgement.

        :raises probes.Absent: nobody can tell; the text says why.
        """
        if self._stuck is not None:
            if self._stuck.poll() is None:
                raise probes.Absent(
                    f"asking '{self._device}' could not be ended: process "
                    f'{self._stuck.pid} is in the kernel or belongs to '
                    'another user. It is asked again when that has gone'
                )
            self._stuck = None
        return judgement(self._device, self._run())

    def _run(self) -> bytes:
        try:
            process = subprocess.Popen(  # noqa: S603
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise probes.Absent(
                f"'{self._command[0]}' cannot be started ({error.strerror}): "
                '[nova_ha_host] smart_command should say how'
            ) from None
        try:
            answer, _ = process.communicate(timeout=self._deadline)
        except subprocess.TimeoutExpired:
            self._end(process)
            raise probes.Absent(
                f"'{self._device}' did not answer within {self._deadline:g}s"
            ) from None
        return answer

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.kill()
            process.wait(_GRACE)
        except (PermissionError, subprocess.TimeoutExpired):
            self._stuck = process
        finally:
            if process.stdout:
                process.stdout.close()


def judgement(device: str, answer: bytes) -> bool:
    """Return what smartctl reports of a disk.

    Its exit code is left alone: other bits of it tell of the past.

    :raises probes.Absent: it reports nothing.
    """
    try:
        found = json.loads(answer)
        passed = found['smart_status']['passed']
    except (ValueError, KeyError, TypeError):
        passed = None
    if not isinstance(passed, bool):
        raise probes.Absent(
            f"smartctl says nothing of '{device}': {_complaint(answer)}"
        )
    return passed


def _complaint(answer: bytes) -> str:
    try:
        messages = json.loads(answer)['smartctl']['messages']
        text = '; '.join(str(item['string']) for item in messages)
    except (ValueError, KeyError, TypeError):
        text = ''
    return printable.line(text) if text else 'it gave no reason'


class Disks:
    """The disks that are asked, all at once."""

    def __init__(
        self, devices: Iterable[str], command: Sequence[str], deadline: float
    ) -> None:
        self._disks = {
            device: Disk(device, command, deadline) for device in devices
        }

    def look(self) -> dict[str, bool | probes.Absent]:
        """Return the judgement of each disk, or why there is none."""
        found: dict[str, bool | probes.Absent] = {}

        def ask(device: str) -> None:
            try:
                found[device] = self._disks[device].is_good()
            except probes.Absent as error:
                found[device] = error

        threads = [
            threading.Thread(target=ask, args=(device,), daemon=True)
            for device in self._disks
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return dict(sorted(found.items()))


class SmartPollster(probes.HostPollster):
    """1 for a disk that thinks well of itself."""

    meter = 'hypervisor.disk.smart'
    sensor = 'disks'

    def read(
        self, shared: probes.Shared, cache: dict[str, Any]
    ) -> Iterable[probes.Reading]:
        own = self.conf.nova_ha_host
        if not own.smart_disks:
            raise probes.Absent('[nova_ha_host] smart_disks names none')
        disks = shared.keep(
            'smart',
            lambda: Disks(
                own.smart_disks,
                shlex.split(own.smart_command),
                own.smart_deadline,
            ),
        )
        found = []
        for device, good in disks.look().items():
            if isinstance(good, probes.Absent):
                if shared.is_news(f'smart:{device}', str(good)):
                    LOG.warning(
                        "Host '%s' publishes nothing of disk '%s': %s",
                        self.host,
                        device,
                        good,
                    )
                continue
            shared.is_news(f'smart:{device}', '')
            reason = {} if good else {'reason': f"'{device}' is failing"}
            found.append(probes.Reading(int(good), device=device, told=reason))
        return found
