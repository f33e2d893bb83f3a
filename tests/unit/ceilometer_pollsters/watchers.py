# SPDX-License-Identifier: Apache-2.0

"""A store and agents to watch with, and a clock that is ours."""

from unittest import mock

from ceilometer import opts as ceilometer_opts
from ceilometer.polling import manager as polling
from oslo_config import cfg
from oslo_db import exception as db_exc

from nova_ha_plugins.conf import opts
from nova_ha_plugins.recovery import views


class FakeStore:
    """What is heard, and what is said; the clock of it stands still.

    :ivar ages: host to the age of its last heartbeat.
    :ivar said: the rows of health, with their time.
    :ivar away: nothing can be read; ``mute``: nothing but heartbeats can.
    """

    def __init__(self):
        self.now = 0.0
        self.ages = {}
        self.said = {}
        self.reads = 0
        self.away = False
        self.mute = False

    def read(self):
        self.reads += 1
        self._answer(self.away)
        return tuple(
            views.Beat(host, f'uuid-{host}', 'boot', 1, '', age)
            for host, age in self.ages.items()
        )

    def healths(self, seen):
        self._answer(self.away or self.mute)
        for one in seen:
            self.said[one.host, one.channel] = (self.now, one)

    def read_healths(self):
        self._answer(self.away or self.mute)
        return tuple(
            views.HostHealth(
                one.host,
                one.channel,
                one.ok,
                one.value,
                one.text,
                self.now - when,
            )
            for when, one in self.said.values()
        )

    def _answer(self, away):
        if away:
            raise db_exc.DBConnectionError(Exception('down'))


class FakeManager:
    """What a polling agent shows to its pollsters."""

    def __init__(self):
        self.notifier = mock.Mock()
        self.polling_periodics = object()


def conf_of(name='ctl-1', **settings):
    """Return the configuration of a central agent."""
    conf = cfg.ConfigOpts()
    conf.register_opts(polling.POLLING_OPTS, group='polling')
    conf.register_opts(
        [one for one in ceilometer_opts.OPTS if one.name == 'host']
    )
    opts.register_plugin_opts(conf)
    conf([], default_config_files=[])
    conf.set_override('host', name)
    # Written down, so that a change of a default changes no story.
    written = {'project_id': 'ha-project', 'heartbeat_timeout': 6.0}
    for key, value in {**written, **settings}.items():
        conf.set_override(key, value, group='nova_ha')
    return conf
