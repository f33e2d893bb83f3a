# SPDX-License-Identifier: Apache-2.0

"""nova-ha-manage doctor: looks at everything, says what to repair."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import functools
from importlib import metadata
import json
import os
import time
import typing

from keystoneauth1 import exceptions as ks_exception
from oslo_config import cfg
from oslo_db import exception as db_exception
import sqlalchemy as sa

from nova_ha_plugins.cmd import checks
from nova_ha_plugins.cmd import engines
from nova_ha_plugins.cmd import extension
from nova_ha_plugins.cmd import finding
from nova_ha_plugins.cmd import networks
from nova_ha_plugins.cmd import settings
from nova_ha_plugins.cmd import signed
from nova_ha_plugins.cmd import watchers
from nova_ha_plugins.conf import opts
from nova_ha_plugins.engine import bus
from nova_ha_plugins.engine import doors
from nova_ha_plugins.engine import probe
from nova_ha_plugins.fencing import door as fencing_door
from nova_ha_plugins.fencing import map as fencing_map
from nova_ha_plugins.nova import client as nova_client
from nova_ha_plugins.nova import door as nova_door
from nova_ha_plugins.nova import evacuations
from nova_ha_plugins.recovery import health
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import schema

DISTRIBUTION = 'nova-ha-plugins'

# What a look may raise because the other side is away or misconfigured. What
# is not in here is a mistake of ours and flies.
_EXPECTED = (
    cfg.Error,
    db_exception.DBError,
    doors.DoorError,
    fencing_map.MapError,
    ks_exception.ClientException,
    sa.exc.SQLAlchemyError,
    store_api.StoreError,
)

Value = typing.TypeVar('Value')


@dataclasses.dataclass
class _Look:
    """One visit: collects findings, and survives what cannot be looked at."""

    findings: list[finding.Finding]

    def at(self, check: str, call: Callable[[], Value]) -> Value | None:
        """What the call returns, None where that is a finding by itself."""
        try:
            return call()
        except _EXPECTED as error:
            self.findings.append(
                finding.action(check, f'Cannot be checked: {error}')
            )
            return None


def examine(
    conf: cfg.ConfigOpts,
    *,
    aodh_conf: str = '',
    ceilometer_conf: str = '',
    receiver_conf: str = '',
    nova_conf: str = '',
) -> list[finding.Finding]:
    """Every finding, in the order in which a repair makes sense."""
    look = _Look([])
    found = look.findings
    found += checks.entry_points(load_entry_points())
    found += checks.versions(installed_versions(checks.TESTED))
    _examine_store(conf, look)
    theirs = {
        path: look.at('configuration', functools.partial(_read, path))
        for path in (ceilometer_conf, receiver_conf, aodh_conf, nova_conf)
        if path
    }
    for path, their_conf in theirs.items():
        if their_conf is not None:
            found.append(
                checks.same_database(
                    conf.nova_ha_database.connection or '',
                    their_conf.nova_ha_database.connection,
                    path,
                )
            )
            found += settings.same_liveness(conf, their_conf, path)
    for path in (ceilometer_conf, aodh_conf):
        judge = theirs.get(path)
        if judge is not None:
            found += settings.same_timeout(conf, judge, path)
    _examine_hosts(conf, look)
    _examine_evacuations(conf, look)
    secret = look.at('secrets', functools.partial(_secret_files, conf, theirs))
    if secret is not None:
        found += checks.secret_files(secret)
    telemetry = theirs.get(ceilometer_conf)
    found += checks.project(
        conf.nova_ha.project_id,
        None if telemetry is None else telemetry.nova_ha.project_id,
    )
    aodh = theirs.get(aodh_conf)
    found.append(
        checks.cache_ttl(
            None if aodh is None else aodh.event_alarm_cache_ttl,
            aodh_conf or 'aodh.conf',
        )
    )
    alarms = look.at('alarm', lambda: event_alarms(conf))
    if alarms is not None and conf.nova_ha.project_id:
        found += checks.alarms(alarms, conf.nova_ha.project_id)
    if alarms is not None:
        _examine_dead_man(conf, look)
    return found


def _examine_dead_man(conf: cfg.ConfigOpts, look: _Look) -> None:
    kind = 'hypervisor_heartbeat'
    known = look.at('dead man', lambda: event_alarms(conf, kind))
    if known is not None:
        project = conf.nova_ha.project_id or '<project-id>'
        look.findings.append(checks.dead_man(known, project))


def _examine_store(conf: cfg.ConfigOpts, look: _Look) -> None:
    state = look.at('schema', lambda: schema.state(conf))
    if state is None:
        return
    look.findings.append(checks.schema(state.current, state.head))
    store = store_api.open_store(conf)
    before = time.time()
    now = look.at('clocks', store.now)
    if now is not None:
        look.findings.append(checks.clock(now, before, time.time()))
    if not state.is_current:
        return
    engine = look.at(
        'engine', lambda: (store.engine_status(), store.arm_state().armed)
    )
    if engine is not None:
        look.findings += checks.engine(*engine)
    several = look.at('engines', store.engines)
    if several is not None:
        look.findings += engines.check(several)


def _examine_hosts(conf: cfg.ConfigOpts, look: _Look) -> None:
    services = look.at('nova', nova_door.NovaDoor(conf).services)
    beats = look.at('heartbeats', lambda: liveness.open_liveness(conf).read())
    healths = look.at(
        'watchers', lambda: liveness.open_liveness(conf).read_healths()
    )
    if healths is not None:
        look.findings += watchers.check(healths)
        look.findings += signed.check(healths)
        look.findings += watchers.unwell(
            health.unwell(healths, conf.nova_ha.health_timeout)
        )
    fencing = look.at('fencing map', lambda: fencing_door.FencingDoor(conf))
    if services is not None and beats is not None and fencing is not None:
        look.findings += checks.host_names(
            [service.host for service in services],
            [beat.host for beat in beats],
            fencing.hosts(),
        )
    if services is not None and beats is not None:
        look.findings += checks.heartbeats(
            services, beats, conf.nova_ha.heartbeat_timeout
        )
    if fencing is not None:
        reported = {beat.host: beat.system_uuid for beat in beats or ()}
        look.findings += [
            checks.device(host, reported, _power(fencing, host))
            for host in fencing.hosts()
        ]
    if services is not None and beats is not None and fencing is not None:
        _examine_networks(conf, look, services, beats)


def _examine_evacuations(conf: cfg.ConfigOpts, look: _Look) -> None:
    tried = doors.attempt(evacuations.EvacuationsDoor(conf).check)
    look.findings += [
        extension.check(tried, evacuations.VERSION),
        extension.following(
            conf.progress.follow, conf.progress.notify, bus.is_named(conf)
        ),
    ]


def _examine_networks(
    conf: cfg.ConfigOpts,
    look: _Look,
    services: typing.Iterable[views.ServiceView],
    beats: typing.Iterable[views.Beat],
) -> None:
    """Knock at every living host, wherever the engine would."""
    prober = look.at('networks', lambda: probe.TcpProbe(conf))
    if prober is None:
        return
    living = {
        beat.host
        for beat in beats
        if beat.age < conf.nova_ha.heartbeat_timeout
    }
    for service in services:
        if service.host in living:
            look.findings += networks.check(
                service.host,
                prober.probe_all(service.host, service.address),
                conf.networks.management,
            )


def _secret_files(
    conf: cfg.ConfigOpts, others: Iterable[str]
) -> dict[str, int]:
    """The permissions of files that hold secrets of ours, where we see them.

    :param others: files of other services, which name our database.
    """
    paths = [
        *(conf.config_file or ()),
        *others,
        conf.fencing.map_file,
        conf.nova_ha.heartbeat_masters_file,
    ]
    for entry in fencing_map.load(conf.fencing.map_file).values():
        password = entry.options.get('password_file')
        if isinstance(password, str):
            paths.append(password)
    modes = {}
    for path in paths:
        try:
            modes[path] = os.stat(path).st_mode & 0o777
        except OSError:
            # What cannot be read is the finding of another check.
            continue
    return modes


def _power(
    fencing: fencing_door.FencingDoor, host: str
) -> views.PowerReading | Exception:
    try:
        return fencing.read(host)
    except doors.DoorError as error:
        return error


def load_entry_points() -> dict[str, Exception | None]:
    """Each entry point of ours, and why it cannot be loaded."""
    return {
        f'{point.group} {point.name}': _load(point) for point in _own_points()
    }


def installed_versions(names: typing.Iterable[str]) -> dict[str, str | None]:
    """The version of each distribution, None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def event_alarms(
    conf: cfg.ConfigOpts, kind: str = 'event'
) -> list[dict[str, typing.Any]]:
    """The event alarms of every project, as aodh's API gives them.

    :param kind: the type of those that are asked for.
    :raises doors.DoorError: aodh did not answer, or refused.
    """
    session = nova_client.open_session(conf)
    query = [('type', kind), ('all_projects', 'true')]
    params = [
        pair
        for field, value in query
        for pair in (('q.field', field), ('q.op', 'eq'), ('q.value', value))
    ]
    response = session.get(
        '/v2/alarms',
        endpoint_filter={
            'service_type': 'alarming',
            'interface': conf.nova.valid_interfaces,
            'region_name': conf.nova.region_name,
        },
        params=params,
        raise_exc=False,
        timeout=nova_client.call_timeout(conf),
    )
    if response.status_code != 200:
        raise doors.Refused(
            'aodh refused to list event alarms of all projects to the user '
            f'of [nova] ({response.status_code} {response.text[:200]}): '
            'expected the right telemetry:get_alarms:all_projects',
            response.status_code,
        )
    try:
        alarms = json.loads(response.text)
    except ValueError:
        alarms = None
    if not isinstance(alarms, list):
        raise doors.Unanswered(
            'aodh listed alarms in a form that cannot be read: expected a '
            f'JSON list, found {response.text[:80]!r}'
        )
    return alarms


def default_path(path: str) -> str:
    """The path, if there is a file that can be read; otherwise ''."""
    return path if os.access(path, os.R_OK) else ''


def _own_points() -> Iterator[metadata.EntryPoint]:
    try:
        yield from metadata.distribution(DISTRIBUTION).entry_points
    except metadata.PackageNotFoundError:
        return


def _load(point: metadata.EntryPoint) -> Exception | None:
    try:
        point.load()
    # Whatever a module does when it is imported is the finding.
    except Exception as error:
        return error
    return None


def _read(path: str) -> cfg.ConfigOpts:
    """The configuration of another service, as far as it concerns us."""
    conf = cfg.ConfigOpts()
    opts.register_plugin_opts(conf)
    # Defined again, because aodh need not be installed here.
    conf.register_opts([cfg.IntOpt('event_alarm_cache_ttl', default=60)])
    conf([], project='nova-ha-doctor', default_config_files=[path])
    return conf
