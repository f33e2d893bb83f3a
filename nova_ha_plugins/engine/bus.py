# SPDX-License-Identifier: Apache-2.0

"""The bus: versioned notifications about evacuations.

``oslo_messaging.Notifier`` writes a notification that could not be sent into
the log and forgets it. Here the sender has to know, because what was not sent
is told again; so the message, which has the form of any notifier's, is handed
to the transport as the notifier's own driver does.
"""

import datetime
import typing
import uuid

from oslo_config import cfg
import oslo_messaging

from nova_ha_plugins.objects import evacuation
from nova_ha_plugins.recovery import following
from nova_ha_plugins.recovery import views

EVENT_TYPE = 'instance_ha.evacuation'
_NO_URL = 'rabbit://'
_FORMAT = 2.0


class Bus:
    """Sends what is told of an evacuation, or raises."""

    def __init__(self, conf: cfg.ConfigOpts, host: str) -> None:
        """Prepare to send; nothing is connected before the first telling.

        :param host: of this engine, as the publisher's name has it.
        """
        self._transport: typing.Any = (
            oslo_messaging.get_notification_transport(conf)
        )
        self._topics = tuple(conf.oslo_messaging_notifications.topics)
        self._exchange = conf.progress.exchange
        self._publisher = f'nova-ha-engine:{host}'
        # Events of aodh belong to a project, as those of the watcher.
        self._ctxt = {'project_id': conf.nova_ha.project_id}

    def tell(self, word: str, subject: views.Evacuation) -> None:
        """Send one notification; it is in the bus when this returns.

        :param word: 'start', 'progress', 'end' or 'error'.
        :raises Exception: whatever the driver of the bus raises when it could
            not be sent.
        """
        priority = 'ERROR' if word == following.ERROR else 'INFO'
        message = {
            'message_id': str(uuid.uuid4()),
            'publisher_id': self._publisher,
            'event_type': f'{EVENT_TYPE}.{word}',
            'priority': priority,
            'payload': payload_of(subject),
            'timestamp': str(
                datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
            ),
        }
        for topic in self._topics:
            self._transport._send_notification(
                oslo_messaging.Target(
                    topic=f'{topic}.{priority.lower()}',
                    exchange=self._exchange,
                ),
                self._ctxt,
                message,
                version=_FORMAT,
                # The next telling is the retry: nobody waits here.
                retry=0,
            )

    def close(self) -> None:
        """Leave the bus."""
        self._transport.cleanup()


def is_named(conf: cfg.ConfigOpts) -> bool:
    """Whether a configuration says where the bus is."""
    # Makes its options known, and connects to nothing.
    try:
        oslo_messaging.get_notification_transport(conf)
    except oslo_messaging.MessagingException:
        # It does, if only in words that nobody understands.
        return True
    url = conf.oslo_messaging_notifications.transport_url or conf.transport_url
    return bool(url != _NO_URL)


def payload_of(subject: views.Evacuation) -> dict[str, typing.Any]:
    """The payload of a notification: a versioned object as a primitive."""
    return evacuation.HaEvacuation.from_core(subject).obj_to_primitive()
