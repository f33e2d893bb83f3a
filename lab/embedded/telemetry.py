# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's and aodh's own services in one process, over ``fake://``.

Reads the plan that ``lab/embedded/cloud.py`` describes. Everything is the
real service class with the real pipeline files of ``ceilometer_pollsters``;
nothing is patched. One ``AgentManager`` per host polls the namespace ``ha``,
one more polls ``ha_central``; the notification agent, aodh's API, listener,
notifier and evaluator stand beside them.

Files are in ``<directory>/telemetry``. From ``telemetry.settings`` the keys
``nova_ha`` (more options of that group), ``evaluator`` (false leaves aodh's
evaluator out), ``evaluation_interval`` (seconds, by default 5) and ``debug``
are used.

A host that is ``off`` or ``hung`` has its agent stopped, and none of its
heartbeats is on its way any more when the control request is answered.
"""

import importlib.resources
import pathlib
import sys
import threading
import time
import typing

import yaml

from lab.embedded import process

EXCHANGE = 'ha'
# A heartbeat needs this long from the bus into the store, and far less.
SETTLED = 0.3
DEADLINE = 20.0

COMMON = """\
[DEFAULT]
transport_url = fake://
control_exchange = {exchange}
debug = {debug}
use_stderr = true
# Each cycle of each agent would be two lines at INFO.
default_log_levels = ceilometer.polling.manager=WARN,sqlalchemy=WARN,\
oslo_db.sqlalchemy.utils=ERROR,keystoneclient=INFO,urllib3=WARN,\
keystoneauth=WARN,keystonemiddleware=ERROR,oslo_messaging=INFO,futurist=INFO
host = {host}
[oslo_messaging_notifications]
transport_url = fake://
[nova_ha_database]
connection = {store}
[nova_ha]
project_id = {project}
heartbeat_timeout = {timeout}
# A bus in memory needs no time to reconnect.
reconnect_max = 1.0
"""

AGENT = """\
[polling]
cfg_file = {polling}
pollsters_definitions_dirs = {empty}
[service_credentials]
auth_type = none
"""

NOTIFICATION = """\
[DEFAULT]
pipeline_cfg_file = {data}/pipeline_ha.yaml
event_pipeline_cfg_file = {data}/event_pipeline_ha.yaml
[event]
definitions_cfg_file = {data}/event_definitions.yaml
drop_unmatched_notifications = true
[meter]
# Meters out of nova's notifications: nobody sends any here, and reading
# their definitions would take two seconds.
meter_definitions_dirs = {empty}
[notification]
notification_control_exchanges = {exchange}
[service_credentials]
auth_type = none
"""

AODH = """\
[DEFAULT]
event_alarm_cache_ttl = 0
[api]
auth_mode = keystone
paste_config = {directory}/aodh-paste.ini
[database]
connection = sqlite:///{directory}/aodh.sqlite
[evaluator]
evaluation_interval = {evaluation_interval}
[oslo_policy]
enforce_scope = true
[keystone_authtoken]
{credentials}
www_authenticate_uri = {auth_url}
[service_credentials]
{credentials}
region_name = {region}
"""

CREDENTIALS = """\
auth_type = password
auth_url = {auth_url}
username = {username}
password = {password}
project_name = {project}
user_domain_id = default
project_domain_id = default"""


class Files:
    """The configuration files of every service, in one directory.

    :ivar directory: where they are.
    """

    def __init__(self, plan: dict[str, typing.Any]) -> None:
        self.plan = plan
        self.settings: dict[str, typing.Any] = plan['telemetry'].get(
            'settings', {}
        )
        self.directory = pathlib.Path(plan['directory']) / 'telemetry'
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        (self.directory / 'pollsters.d').mkdir(exist_ok=True)
        self.data = pathlib.Path(
            str(importlib.resources.files('ceilometer_pollsters') / 'data')
        )

    def common(self, host: str) -> str:
        """Return what every file begins with; it ends in [nova_ha]."""
        text = COMMON.format(
            exchange=EXCHANGE,
            debug=bool(self.settings.get('debug')),
            host=host,
            store=self.plan['store_connection'].replace('%', '%%'),
            project=self.plan['ha_project_id'],
            timeout=self.plan['telemetry']['heartbeat_timeout'],
        )
        for name, value in self.settings.get('nova_ha', {}).items():
            text += f'{name} = {value}\n'
        return text

    def write(self, name: str, text: str) -> str:
        """Write one file, readable by us alone, and return its path."""
        path = self.directory / name
        path.touch(0o600)
        path.write_text(text)
        return str(path)

    def polling(self, name: str, interval: float) -> str:
        """Write a copy of one of our polling files with another interval.

        ceilometer knows whole seconds only, from 1 on.
        """
        content = yaml.safe_load((self.data / name).read_text())
        for source in content['sources']:
            source['interval'] = max(1, round(interval))
        return self.write(name, yaml.safe_dump(content))

    def agent(self, polling: str) -> str:
        return AGENT.format(
            polling=polling, empty=self.directory / 'pollsters.d'
        )

    def host(self, host: dict[str, typing.Any], polling: str) -> str:
        """Write ceilometer.conf of one hypervisor."""
        text = (
            self.common(host['name'])
            + f'host = {host["name"]}\n'
            + f'system_uuid_file = {host["system_uuid_file"]}\n'
            + f'boot_id_file = {host["boot_id_file"]}\n'
            + self.agent(polling)
        )
        return self.write(f'ceilometer-{host["name"]}.conf', text)

    def central(self, polling: str) -> str:
        """Write ceilometer.conf of the watcher."""
        return self.write(
            'ceilometer-central.conf',
            self.common('controller') + self.agent(polling),
        )

    def notification(self) -> str:
        """Write ceilometer.conf of the notification agent."""
        text = self.common('controller') + NOTIFICATION.format(
            data=self.data,
            exchange=EXCHANGE,
            empty=self.directory / 'pollsters.d',
        )
        return self.write('ceilometer-notification.conf', text)

    def aodh(self) -> str:
        """Write aodh.conf, and the paste file that names it.

        keystonemiddleware reads a file of its own accord, which is aodh.conf
        of the machine unless the paste file says otherwise.
        """
        user = self.plan['users']['aodh']
        auth_url = self.plan['keystone']['url']
        text = self.common('controller') + AODH.format(
            directory=self.directory,
            auth_url=auth_url,
            region=self.plan['region'],
            evaluation_interval=self.settings.get('evaluation_interval', 5),
            credentials=CREDENTIALS.format(
                auth_url=auth_url,
                username='aodh',
                password=user['password'],
                project=user['project'],
            ),
        )
        path = self.write('aodh.conf', text)
        stock = (
            importlib.resources.files('aodh.api') / 'api-paste.ini'
        ).read_text()
        factory = (
            'paste.filter_factory = keystonemiddleware.auth_token:'
            'filter_factory\n'
        )
        if factory not in stock:
            raise RuntimeError("aodh's paste file has no authtoken filter")
        self.write(
            'aodh-paste.ini',
            stock.replace(factory, f'{factory}oslo_config_file = {path}\n'),
        )
        return path


class Host:
    """One hypervisor, as far as telemetry knows it: a polling agent.

    :ivar power: 'on', 'hung' or 'off'; the agent runs with 'on' only.
    """

    def __init__(
        self, config: str, boot_id_file: str, wait_silent: typing.Any
    ) -> None:
        # Prepared here, in the main thread: it sets signal handlers.
        self._conf = prepare_agent(config)
        self._boot_id_file = boot_id_file
        self._wait_silent = wait_silent
        self._agent: typing.Any = None
        self._lock = threading.Lock()
        self.power = 'off'

    def describe(self) -> dict[str, typing.Any]:
        return {
            'power': self.power,
            'polling': self._agent is not None,
            'boot_id': pathlib.Path(self._boot_id_file).read_text().strip(),
        }

    def set_power(self, state: str) -> None:
        """Make a state true, then return."""
        if state not in ('on', 'hung', 'off'):
            raise process.Refused(f"'{state}' is none of on, hung, off")
        with self._lock:
            if state == 'on' and self._agent is None:
                # Made anew each time: it reads the boot id of this boot.
                self._agent = start_agent(self._conf, 'ha')
            elif state != 'on' and self._agent is not None:
                self._agent.terminate()
                self._agent = None
                self._wait_silent()
            self.power = state


def prepare_agent(config: str) -> typing.Any:
    """Return the configuration of a polling agent."""
    from ceilometer import service

    return service.prepare_service(
        argv=['ceilometer-polling'], config_files=[config]
    )


def start_agent(conf: typing.Any, namespace: str) -> typing.Any:
    """Return a running polling agent of ceilometer."""
    from ceilometer.polling import manager

    agent = manager.AgentManager(0, conf, [namespace])
    if not agent.extensions:
        raise RuntimeError(
            f"No pollster of namespace '{namespace}' was loaded"
        )
    agent.run()
    return agent


def wait_silent() -> None:
    """Return when every notification that was sent has been stored.

    ``fake://`` keeps messages in lists of this process.
    """
    from oslo_messaging._drivers import impl_fake

    topic = ('notifications.sample', None)
    exchange = impl_fake.FakeExchangeManager._exchanges[EXCHANGE]
    deadline = time.monotonic() + DEADLINE
    empty_since = None
    while time.monotonic() < deadline:
        if exchange._topic_queues.get(topic):
            empty_since = None
        elif empty_since is None:
            empty_since = time.monotonic()
        elif time.monotonic() - empty_since >= SETTLED:
            return
        time.sleep(0.02)
    raise RuntimeError(
        f'Notifications are still under way {DEADLINE:.0f}s after the agent '
        'was stopped'
    )


class Telemetry:
    """All of it.

    :ivar hosts: name to :class:`Host`.
    """

    def __init__(self, plan: dict[str, typing.Any]) -> None:
        self._plan = plan
        self._files = Files(plan)
        self._services: list[typing.Any] = []
        self.hosts: dict[str, Host] = {}

    def start(self) -> None:
        """Start every service, and the control port last."""
        self.start_notification()
        self.start_aodh()
        self.start_agents()
        process.serve(
            process.ControlApp(self.describe, self.set_power),
            self._plan['telemetry']['control_port'],
        )

    def stop(self) -> None:
        """End every service; ports stay open until the process ends."""
        for host in self.hosts.values():
            host.set_power('off')
        for service in reversed(self._services):
            service.terminate()
        self._services.clear()

    def start_agents(self) -> None:
        """Start the polling agents; the hosts' come before the watcher."""
        options = self._plan['telemetry']
        polling = self._files.polling(
            'polling_ha.yaml', options['heartbeat_interval']
        )
        pause = options['heartbeat_interval'] / len(self._plan['hosts'])
        for host in self._plan['hosts']:
            self.hosts[host['name']] = made = Host(
                self._files.host(host, polling),
                host['boot_id_file'],
                wait_silent,
            )
            made.set_power('on')
            # Real hosts do not beat in step; in step the watermark would be
            # as old as the interval.
            time.sleep(pause)
        polling = self._files.polling(
            'polling_ha_central.yaml', options['watch_interval']
        )
        self._services.append(
            start_agent(
                prepare_agent(self._files.central(polling)), 'ha_central'
            )
        )

    def start_notification(self) -> None:
        """Start ceilometer's notification agent."""
        from ceilometer import notification
        from ceilometer import service

        conf = service.prepare_service(
            argv=['ceilometer-agent-notification'],
            config_files=[self._files.notification()],
        )
        agent = notification.NotificationService(0, conf)
        agent.run()
        self._services.append(agent)

    def start_aodh(self) -> None:
        """Start aodh's services and serve its API."""
        from aodh.api import app
        from aodh import evaluator
        from aodh import event
        from aodh import notifier
        from aodh import service
        from aodh import storage

        conf = service.prepare_service(
            argv=[], config_files=[self._files.aodh()], prog='aodh'
        )
        storage.get_connection_from_config(conf).upgrade()
        self._services.append(notifier.AlarmNotifierService(0, conf))
        self._services.append(event.EventAlarmEvaluationService(0, conf))
        if self._files.settings.get('evaluator', True):
            self._services.append(evaluator.AlarmEvaluationService(0, conf))
        process.serve(app.load_app(conf), self._plan['telemetry']['aodh_port'])

    def describe(self) -> dict[str, typing.Any]:
        return {name: host.describe() for name, host in self.hosts.items()}

    def set_power(self, host: str, state: str) -> None:
        if host not in self.hosts:
            raise process.Refused(f"Host '{host}' is not in this cloud")
        self.hosts[host].set_power(state)


def main() -> None:
    """Serve until SIGTERM."""
    plan = process.read_plan()
    # ceilometer and aodh would parse our options as their own.
    del sys.argv[1:]
    Telemetry(plan).start()
    process.wait_for_the_end()


if __name__ == '__main__':
    main()
