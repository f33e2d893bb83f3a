# SPDX-License-Identifier: Apache-2.0

"""The sign of life of a hypervisor, sent by ``ceilometer-polling`` on it.

It reads three small files and a clock, and nothing that can hang: no libvirt,
no network, no disk of a guest. It lives in a polling namespace of its own
because ceilometer instantiates every pollster of a namespace in every
process that names it.
"""

from collections.abc import Iterable
import os
import pathlib
import time
from typing import Any

from ceilometer.polling import plugin_base
from ceilometer import sample
from oslo_log import log

from nova_ha_plugins.conf import nova_ha as nova_ha_conf
from nova_ha_plugins import signatures
from nova_ha_plugins.store import values

LOG = log.getLogger(__name__)

METER = 'hypervisor.heartbeat'


def read_id(path: str) -> str:
    """Return the one word that a file holds, in lower case.

    :raises OSError: the file cannot be read.
    :raises ValueError: the file is empty or holds more than one word.
    """
    text = pathlib.Path(path).read_text(encoding='ascii').strip().lower()
    if not text or len(text.split()) != 1:
        raise ValueError(f"File '{path}' should hold one identifier")
    return text


class HeartbeatPollster(plugin_base.PollsterBase):
    """One sample per cycle: who, which boot, and a number that rises."""

    _sequence = 0

    def setup_environment(self) -> None:
        """Read who and which boot this is.

        ceilometer reports a pollster that cannot be loaded at DEBUG only, so
        the reason is logged here before it is raised.
        """
        nova_ha_conf.register_opts(self.conf)
        self.host: str = self.conf.nova_ha.host or self.conf.host
        if not self.conf.polling.enable_notifications:
            LOG.error(
                "Host '%s' sends no heartbeat: expected [polling] "
                'enable_notifications = true, found false. It is not '
                'protected until that is right and this agent restarted',
                self.host,
            )
            raise plugin_base.ExtensionLoadError(
                '[polling] enable_notifications is false'
            )
        path = self.conf.nova_ha.boot_id_file
        try:
            self.boot_id = read_id(path)
        except (OSError, ValueError) as error:
            LOG.error(
                "Host '%s' sends no heartbeat: the boot id should be in "
                "'%s' and is not: %s. It is not protected until "
                '[nova_ha] boot_id_file is right and this agent restarted',
                self.host,
                path,
                error,
            )
            raise
        self._key_file: signatures.Watched[signatures.Key] | None = None
        if self.conf.nova_ha.heartbeat_key_file:
            self._key_file = signatures.Watched(
                self.conf.nova_ha.heartbeat_key_file, signatures.parse_key
            )
        self._key: signatures.Key | None = None
        self._key_error = ''
        self._read_key()
        self._uuid_error = ''
        self.system_uuid = ''
        self._read_system_uuid()

    def _read_system_uuid(self) -> None:
        """Keep the machine's identity, once it can be read.

        The kernel lets only root read it. Without it the heartbeat still
        counts, but the host's fencing device cannot be checked against it.
        """
        path = self.conf.nova_ha.system_uuid_file
        try:
            self.system_uuid = read_id(path)
        except (OSError, ValueError) as error:
            if str(error) != self._uuid_error:
                LOG.error(
                    "Host '%s' sends heartbeats without its system UUID, "
                    "which should be in '%s' and is not: %s. Its fencing "
                    'device cannot be verified, so it is not protected '
                    'until [nova_ha] system_uuid_file is readable',
                    self.host,
                    path,
                    error,
                )
                self._uuid_error = str(error)

    def _read_key(self) -> signatures.Key | None:
        """Return the key to sign with, None if there is none.

        One that was read stays good while the file cannot be read: a file
        that is being written anew must not silence the host.
        """
        if self._key_file is None:
            return None
        try:
            self._key = self._key_file.read()
        except (OSError, signatures.BadFile) as error:
            if str(error) != self._key_error:
                self._say_no_key(self._key_file.path, error)
                self._key_error = str(error)
            return self._key
        self._key_error = ''
        return self._key

    def _say_no_key(self, path: str, error: Exception) -> None:
        if self._key is None:
            LOG.error(
                "Host '%s' sends heartbeats without a signature: its key "
                "should be in '%s' and is not: %s. They are refused "
                'where [nova_ha] heartbeat_signatures is require, and it '
                'is not protected there until the key can be read',
                self.host,
                path,
                error,
            )
            return
        LOG.error(
            "Host '%s' signs heartbeats with the key that it read before: its "
            "key should be in '%s' and is not any more: %s. It has none when "
            'this agent is restarted before that is mended',
            self.host,
            path,
            error,
        )

    @property
    def default_discovery(self) -> str:
        return 'local_node'

    def next_sequence(self) -> int:
        """Return a number that rises over restarts of this agent, too.

        Milliseconds since the boot do; a boot has an id of its own.
        """
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        self._sequence = max(self._sequence + 1, now)
        return self._sequence

    def get_samples(
        self, manager: Any, cache: dict[str, Any], resources: Iterable[str]
    ) -> Iterable[sample.Sample]:
        if not self.system_uuid:
            self._read_system_uuid()
        heard = values.Heard(
            host=self.host,
            boot_id=self.boot_id,
            sequence=self.next_sequence(),
            system_uuid=self.system_uuid,
        )
        key = self._read_key()
        signed = (
            {'key_id': key.id, 'signature': signatures.sign(key, heard)}
            if key
            else {}
        )
        return [
            sample.Sample(
                name=METER,
                type=sample.TYPE_GAUGE,
                unit='heartbeat',
                volume=1,
                user_id=None,
                project_id=None,
                resource_id=self.host,
                resource_metadata={
                    'host': self.host,
                    'boot_id': self.boot_id,
                    'sequence': str(heard.sequence),
                    'system_uuid': self.system_uuid,
                    'agent_pid': os.getpid(),
                    **signed,
                },
            )
        ]
