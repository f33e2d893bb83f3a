# SPDX-License-Identifier: Apache-2.0

"""What oslo.messaging calls in nova-compute at every notification.

Nova-compute calls in the thread that evacuates. So a notification is looked
at, put in a queue if it says that an evacuation to this host begins or ends,
and that is all; nothing that goes wrong gets out of here.
"""

import logging
import threading
import time
import typing

import oslo_messaging.notify

from nova_ha_plugins.compute import records
from nova_ha_plugins.compute import sampler
from nova_ha_plugins.compute import watched
from nova_ha_plugins.conf import nova_progress

LOG = logging.getLogger(__name__)

_START = frozenset(
    {'compute.instance.rebuild.start', 'instance.rebuild.start'}
)
_END = frozenset({'compute.instance.rebuild.end', 'instance.rebuild.end'})
_ERROR = frozenset(
    {'compute.instance.rebuild.error', 'instance.rebuild.error'}
)

# Publishers: 'compute.<host>', versioned 'nova-compute:<host>'.
_PUBLISHERS = ('compute.', 'nova-compute:')

_samplers: dict[int, sampler.Sampler] = {}
_lock = threading.Lock()


def sampler_of(conf: typing.Any) -> sampler.Sampler:
    """Give the sampler of a configuration, the same one each time.

    Nova has a notifier for each of its two formats, and each has a driver.
    """
    with _lock:
        return _samplers.setdefault(id(conf), sampler.Sampler(conf, records))


class ProgressDriver(oslo_messaging.notify.Driver):
    """Starts and ends the watch over the evacuations to a host.

    Does nothing in other services than nova-compute, which may well read the
    same nova.conf.
    """

    def __init__(
        self, conf: typing.Any, topics: typing.Any, transport: typing.Any
    ) -> None:
        super().__init__(conf, topics, transport)
        nova_progress.register_opts(conf)
        self._sampler = sampler_of(conf)
        self._hosts: set[str] = set()
        self._said = False

    def notify(
        self,
        ctxt: typing.Any,
        message: typing.Any,
        priority: str,
        retry: typing.Any,
    ) -> None:
        """Queue what is said of an evacuation, and return."""
        try:
            self._hear(message)
        except Exception:
            if not self._said:
                self._said = True
                LOG.warning(
                    'A notification is not understood: expected what nova '
                    'sends, found an error. Progress of evacuations may be '
                    'missing; said once.',
                    exc_info=True,
                )

    def _hear(self, message: typing.Any) -> None:
        host = _host(message['publisher_id'])
        if host is None:
            return
        if host not in self._hosts:
            self._hosts.add(host)
            self._sampler.tell(host)
        word = _word(host, message['event_type'], message['payload'])
        if word is not None and not self._sampler.tell(word):
            LOG.debug('Not followed, the queue is full: %s', word)


def _host(publisher: str) -> str | None:
    for prefix in _PUBLISHERS:
        if publisher.startswith(prefix):
            return publisher.removeprefix(prefix)
    return None


def _word(host: str, event: str, payload: typing.Any) -> sampler.Word | None:
    if event in _START:
        return _start(host, payload)
    if event in _END or event in _ERROR:
        server, _source, _image = _read(payload)
        return watched.End(server, host, succeeded=event in _END)
    return None


def _start(host: str, payload: typing.Any) -> watched.Start | None:
    server, source, image = _read(payload)
    # A server that is on this host already is rebuilt, not evacuated.
    if not source or source == host:
        return None
    return watched.Start(
        server=server,
        host=host,
        source=source,
        image=image,
        at=time.time(),
        # The context that comes with a notification has no token any more.
        context=records.current_context(),
    )


def _read(payload: typing.Any) -> tuple[str, str | None, str]:
    """Give server, source and image, from either format of nova's."""
    data = payload.get('nova_object.data')
    if data is not None:
        return data['uuid'], data['host'], data['image_uuid'] or ''
    url = payload.get('image_ref_url') or ''
    return payload['instance_id'], payload['host'], url.rpartition('/')[2]
