# SPDX-License-Identifier: Apache-2.0

"""What the doctor knows: values in, findings out.

Every finding is a sentence. One that asks for something says what is wrong,
what that leads to, and what repairs it.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import fnmatch
import typing

from nova_ha_plugins.cmd import finding
from nova_ha_plugins.fencing import identity
from nova_ha_plugins.recovery import views

EVENT_TYPE = 'compute.host.down'

# The releases that the tests ran with, by distribution.
TESTED = {'nova': 34, 'aodh': 23, 'ceilometer': 27}

# Modules of hosts: a plugin for a service that is not on this machine cannot
# be loaded here, and need not.
_HOSTS = frozenset({'aodh', 'ceilometer', 'nova', 'novaclient', 'osc_lib'})

_CLOCK_SLACK = 2.0
_STATUS_STALE = 60.0

# Actions that bring an alarm to us; the rest of the URL is the operator's.
_OWN_ACTION = 'trust+nova-ha:'
_WEB_ACTIONS = ('trust+https:', 'trust+http:', 'https:', 'http:')


def entry_points(
    loaded: Mapping[str, Exception | None],
) -> list[finding.Finding]:
    """Whether every plugin can be loaded by its service.

    :param loaded: 'namespace name' of each, and why it failed.
    """
    check = 'entry points'
    if not loaded:
        return [
            finding.action(
                check,
                'No entry point of nova-ha-plugins is installed: install the '
                'package into the environment of this command',
            )
        ]
    found = []
    fine = 0
    for name, error in loaded.items():
        missing = (
            (error.name or '').partition('.')[0]
            if isinstance(error, ModuleNotFoundError)
            else ''
        )
        if error is None:
            fine += 1
        elif missing in _HOSTS:
            found.append(
                finding.note(
                    check,
                    f'{name}: not for this machine, which has no '
                    f'{missing!r} in this environment',
                )
            )
        else:
            found.append(
                finding.action(
                    check,
                    f'{name}: cannot be loaded '
                    f'({type(error).__name__}: {error}); its service will '
                    'run without it: repair the installation',
                )
            )
    return [
        finding.ok(check, f'{fine} of {len(loaded)} can be loaded'),
        *found,
    ]


def schema(current: str | None, head: str) -> finding.Finding:
    """Whether the database has the schema of this release."""
    if current == head:
        return finding.ok('schema', f'revision {head!r}')
    return finding.action(
        'schema',
        f'expected revision {head!r}, found {current!r}: run '
        "'nova-ha-manage db sync'",
    )


def clock(store: float, before: float, after: float) -> finding.Finding:
    """Whether this machine's clock is near the store's.

    No decision compares the two; log lines and people do.

    :param before: this machine's clock before the store's was read.
    :param after: and afterwards.
    """
    off = max(before - store, store - after, 0.0)
    if off <= _CLOCK_SLACK:
        return finding.ok('clocks', 'this machine and the database agree')
    return finding.action(
        'clocks',
        f'this machine and the database are {off:.1f}s apart: nothing is '
        'decided by this, but logs will not fit together; repair NTP on the '
        'one that is wrong',
    )


def versions(installed: Mapping[str, str | None]) -> list[finding.Finding]:
    """Whether the services here are those that the tests ran with."""
    results = []
    for name, tested in TESTED.items():
        found = installed.get(name)
        if found is None:
            text = 'is not in this environment: run the doctor there too'
        elif found.partition('.')[0] == str(tested):
            results.append(finding.ok('versions', f'{name} {found}'))
            continue
        else:
            text = f'{found} was not tested: tests ran with {tested}'
        results.append(finding.note('versions', f'{name} {text}'))
    return results


def host_names(
    nova: Iterable[str], heartbeats: Iterable[str], fencing: Iterable[str]
) -> list[finding.Finding]:
    """Whether nova, the heartbeats and the fencing map use the same names.

    :param nova: what nova-compute calls itself, per service.
    """
    check = 'host names'
    known = set(nova)
    if not known:
        return [
            finding.action(
                check, 'nova knows no compute service: nothing to protect'
            )
        ]
    found = []
    for where, names, consequence in (
        (
            'sends no heartbeat',
            set(heartbeats),
            'its failure is not noticed; run ceilometer-polling '
            '--polling-namespaces ha there, with [nova_ha] host set to this '
            'name',
        ),
        (
            'is not in the fencing map',
            set(fencing),
            'it is not protected; add it under this very name',
        ),
    ):
        for host in sorted(known - names):
            found.append(
                finding.action(
                    check,
                    f'Host {host!r} of nova {where}'
                    f'{_perhaps(host, names - known)}: {consequence}',
                )
            )
    for where, names in (
        ('sends heartbeats', set(heartbeats)),
        ('is in the fencing map', set(fencing)),
    ):
        for host in sorted(names - known):
            found.append(
                finding.action(
                    check,
                    f'Host {host!r} {where}, but nova has no compute service '
                    f'of that name{_perhaps(host, known)}: call it what '
                    "'openstack compute service list' does, or remove it",
                )
            )
    return found or [
        finding.ok(
            check, f'nova, heartbeats and map agree on {len(known)} hosts'
        )
    ]


def heartbeats(
    services: Iterable[views.ServiceView],
    beats: Iterable[views.Beat],
    timeout: float,
) -> list[finding.Finding]:
    """Whether hosts that nova sees up send heartbeats and say who they are."""
    check = 'heartbeats'
    newest = {beat.host: beat for beat in beats}
    found = []
    fine = 0
    for service in services:
        beat = newest.get(service.host)
        if beat is None or not service.up:
            continue
        if beat.age >= timeout:
            found.append(
                finding.action(
                    check,
                    f'Host {service.host!r} is up for nova, but its last '
                    f'heartbeat is {beat.age:.0f}s old (expected less than '
                    f'{timeout:g}s): start ceilometer-polling there, or look '
                    'at the bus and the notification agent',
                )
            )
        elif not identity.normalize(beat.system_uuid):
            found.append(
                finding.action(
                    check,
                    f'Host {service.host!r} does not say which machine it is '
                    f'(found system UUID {beat.system_uuid!r}): no power '
                    'device can be matched with it, so it is not protected; '
                    'let ceilometer-polling there read [nova_ha] '
                    'system_uuid_file',
                )
            )
        else:
            fine += 1
    return [
        *found,
        *([finding.ok(check, f'{fine} hosts beat')] if fine else []),
    ]


def device(
    host: str,
    reported: Mapping[str, str],
    reading: views.PowerReading | Exception,
) -> finding.Finding:
    """Whether the power device of a host answers and is the host's own.

    :param reported: the system UUIDs that hosts reported of themselves.
    :param reading: what the device said, or why it said nothing.
    """
    check = 'fencing map'
    if isinstance(reading, Exception):
        return finding.action(
            check,
            f'Device of host {host!r} cannot be used: {reading}; the host is '
            'not protected until it answers',
        )
    own = reported.get(host, '')
    why = identity.explain(own, reading.system_uuid)
    if why:
        others = [
            repr(other)
            for other, uuid in reported.items()
            if other != host
            and not identity.explain(uuid, reading.system_uuid)
        ]
        if others:
            why += f', which is host {" and ".join(others)}'
        repair = 'correct its entry in the map'
        if not identity.normalize(own):
            # Nothing can be said of the map before the host speaks.
            repair = 'see what is said of its heartbeats first'
        return finding.action(
            check,
            f'Device of host {host!r} is not proven to be its own: {why}; the '
            f'host is not protected: {repair}',
        )
    return finding.ok(
        check,
        f'Device of host {host!r} is its own; power {reading.power.value}',
    )


def project(engine: str, telemetry: str | None) -> list[finding.Finding]:
    """Whether events carry a project, and the same one everywhere.

    :param engine: [nova_ha] project_id of nova-ha.conf.
    :param telemetry: the same of the watcher, None if it was not read.
    """
    check = 'project'
    if not engine:
        return [
            finding.action(
                check,
                'Option [nova_ha] project_id is not set: events carry no '
                'project and the alarm silently never fires; set the id of '
                'the project that owns the alarm here and in '
                'ceilometer-ha-central.conf',
            )
        ]
    if telemetry is None:
        return [
            finding.note(
                check,
                'The file of the watcher was not read: compare its [nova_ha] '
                f'project_id with {engine!r}, or name the file with '
                '--ceilometer-conf',
            )
        ]
    if telemetry != engine:
        return [
            finding.action(
                check,
                f'Option [nova_ha] project_id is {engine!r} in nova-ha.conf '
                f'and {telemetry!r} in that of the watcher: events carry the '
                'latter, so that an alarm in the former silently never fires',
            )
        ]
    return [finding.ok(check, f'events carry {engine!r}')]


def alarms(
    found: Sequence[Mapping[str, typing.Any]], project_id: str
) -> list[finding.Finding]:
    """Whether an event alarm brings a dead host to us.

    :param found: alarms of type event, of every project.
    """
    check = 'alarm'
    ours = [alarm for alarm in found if _is_ours(alarm)]
    here = [alarm for alarm in ours if alarm.get('project_id') == project_id]
    if not here:
        elsewhere = sorted({str(alarm.get('project_id')) for alarm in ours})
        hint = (
            f'; there is one in project {", ".join(elsewhere)}, where it '
            'silently never fires'
            if elsewhere
            else ''
        )
        return [
            finding.action(
                check,
                f'Project {project_id!r} has no event alarm for '
                f'{EVENT_TYPE!r} with an action for us{hint}: as that '
                "project, run 'openstack ha alarms create --ha-project "
                f"{project_id}'. Until then a dead host is found by the "
                "engine's own round only",
            )
        ]
    faults = {str(alarm.get('name')): _faults(alarm) for alarm in here}
    good = [name for name, wrong in faults.items() if not wrong]
    if good:
        return [
            finding.ok(check, f'alarm {good[0]!r} in project {project_id!r}')
        ]
    return [
        finding.action(check, f'Alarm {name!r} {wrong}')
        for name, found_faults in faults.items()
        for wrong in found_faults
    ]


def dead_man(
    found: Sequence[Mapping[str, typing.Any]], project_id: str
) -> finding.Finding:
    """Whether anybody is told when nobody recovers hosts."""
    for alarm in found:
        rule = alarm.get('hypervisor_heartbeat_rule') or {}
        if rule.get('subject') == 'service' and alarm.get('enabled', True):
            return finding.ok('dead man', f'alarm {alarm.get("name")!r}')
    return finding.note(
        'dead man',
        'No alarm is enabled that tells when nobody recovers hosts: run '
        f"'openstack ha alarms create --ha-project {project_id}'",
    )


def cache_ttl(ttl: int | None, path: str) -> finding.Finding:
    """Whether aodh sees a new or reset alarm at once.

    :param ttl: [DEFAULT] event_alarm_cache_ttl, None if it was not read.
    """
    check = 'aodh cache'
    if ttl is None:
        return finding.note(
            check,
            f'{path} was not read: make sure that event_alarm_cache_ttl is 0 '
            'where aodh-listener runs, or name the file with --aodh-conf',
        )
    if ttl == 0:
        return finding.ok(check, 'event_alarm_cache_ttl is 0')
    return finding.action(
        check,
        f'Option [DEFAULT] event_alarm_cache_ttl is {ttl} in {path}: an alarm '
        f'that is new or was reset is deaf for {ttl}s; set it to 0 and '
        'restart aodh-listener',
    )


def secret_files(modes: Mapping[str, int]) -> list[finding.Finding]:
    """Whether files with secrets can be read by anybody.

    :param modes: the permissions of each file.
    """
    check = 'secrets'
    found = [
        finding.action(
            check,
            f'File {path!r} holds a secret and everybody on this machine may '
            f"read or change it (mode {mode:04o}): run 'chmod o= {path}'",
        )
        for path, mode in modes.items()
        if mode & 0o007
    ]
    return found or [
        finding.ok(check, f'{len(modes)} files are closed to others')
    ]


def same_database(ours: str, theirs: str | None, path: str) -> finding.Finding:
    """Whether a service's plugins use the engine's database.

    :param theirs: [nova_ha_database] connection there; never shown.
    """
    check = 'database'
    if theirs == ours:
        return finding.ok(check, f'{path} names the same database')
    found = 'another one' if theirs else 'none'
    return finding.action(
        check,
        f'Option [nova_ha_database] connection of {path} names {found}: our '
        'plugins there and the engine do not meet; copy it from nova-ha.conf',
    )


def engine(
    status: Mapping[str, typing.Any], armed: bool
) -> list[finding.Finding]:
    """Whether an engine is at work, and may act."""
    check = 'engine'
    age = status.get('age')
    if age is None:
        first = finding.action(
            check, 'No engine ever reported: start nova-ha-engine'
        )
    elif age > _STATUS_STALE:
        first = finding.action(
            check,
            f'The engine last reported {age:.0f}s ago (expected less than '
            f'{_STATUS_STALE:g}s): nobody recovers anything; start '
            'nova-ha-engine',
        )
    else:
        first = finding.ok(check, f'reported {age:.0f}s ago')
    if armed:
        return [first]
    return [
        first,
        finding.note(
            check,
            'It is not armed: it only records what it would do. Arm it with '
            "'openstack ha arm'",
        ),
    ]


def _perhaps(host: str, others: Iterable[str]) -> str:
    """A hint at another name of the same host."""
    short = host.partition('.')[0].lower()
    similar = sorted(
        other for other in others if other.partition('.')[0].lower() == short
    )
    return f' (is it {similar[0]!r} there?)' if similar else ''


def _is_ours(alarm: Mapping[str, typing.Any]) -> bool:
    pattern = (alarm.get('event_rule') or {}).get('event_type') or '*'
    actions = alarm.get('alarm_actions') or []
    if not fnmatch.fnmatchcase(EVENT_TYPE, pattern):
        return False
    # Any webhook may be ours behind a proxy, if the alarm is about our event.
    return any(
        str(url).startswith(_OWN_ACTION)
        or (pattern != '*' and str(url).startswith(_WEB_ACTIONS))
        for url in actions
    )


def _faults(alarm: Mapping[str, typing.Any]) -> list[str]:
    faults = []
    name = alarm.get('alarm_id')
    if not alarm.get('enabled', True):
        faults.append(
            "is disabled and never fires: run 'openstack alarm update "
            f"--enabled True {name}'"
        )
    if not alarm.get('repeat_actions'):
        faults.append(
            'fires once and is deaf to the second host: run '
            f"'openstack alarm update --repeat-actions True {name}'"
        )
    if (alarm.get('event_rule') or {}).get('query'):
        faults.append(
            'has a query and fires for some hosts only: remove its query, or '
            'make one without'
        )
    return faults
