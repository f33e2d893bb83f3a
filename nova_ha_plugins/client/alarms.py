# SPDX-License-Identifier: Apache-2.0

"""``openstack ha alarms create`` and ``openstack ha alarm create``.

Aodh delivers what it has to say at most once. What wakes the engine is
therefore said again and again (``repeat_actions``); what is for people is
said once, again after ``remind`` seconds, and when it is over.
"""

import argparse
import typing

from osc_lib.command import command
from osc_lib import exceptions

from nova_ha_plugins.client import alarming
from nova_ha_plugins.client import arguments
from nova_ha_plugins.client import columns
from nova_ha_plugins.client import ha

TYPE = 'hypervisor_heartbeat'
RULE = f'{TYPE}_rule'

# What our notifier listens to; a line in the log of aodh-notifier.
WAKE = 'trust+nova-ha://'
LOG = 'log://'

# A host that is recovered stays silent until somebody has repaired it; while
# nobody recovers hosts, everybody should hear of it soon.
REMIND_OF_HOST = 3600
REMIND_OF_SERVICE = 300

_SEVERITIES = ('low', 'moderate', 'critical')


def recommended(
    actions: list[str], people: list[str], max_age: int, dead_after: int
) -> list[alarming.Item]:
    """Give the alarms that a cloud should have.

    :param actions: what wakes the engine.
    :param people: whom to tell.
    """
    return [
        _event(
            'ha-host-down',
            'compute.host.down',
            'A watcher calls a hypervisor down: the engine looks at it',
            'critical',
            actions,
        ),
        _heartbeat(
            'ha-hypervisor-heartbeat',
            'The net below ha-host-down: looks at the same heartbeats and '
            'wakes the engine until they come again',
            max_age=max_age,
            repeat_actions=True,
            alarm_actions=actions,
        ),
        _heartbeat(
            'ha-host-silent',
            'Tells people of hypervisors that fall silent, and when all of '
            'them are heard again',
            max_age=max_age,
            remind=REMIND_OF_HOST,
            alarm_actions=people,
            ok_actions=people,
        ),
        _event(
            'ha-host-degraded',
            'compute.host.degraded',
            'A hypervisor lives, and something on it is wrong: libvirt, '
            'storage, a network card',
            'moderate',
            people,
        ),
        _heartbeat(
            'ha-dead-man',
            'Nobody recovers hosts: no engine, no watcher, or monitoring is '
            'blind',
            subject='service',
            max_age=dead_after,
            remind=REMIND_OF_SERVICE,
            alarm_actions=people,
            ok_actions=people,
        ),
    ]


def _event(
    name: str, event: str, text: str, severity: str, actions: list[str]
) -> alarming.Item:
    return {
        'name': name,
        'description': text,
        'type': 'event',
        'severity': severity,
        # An event alarm never goes back to 'ok': without it the second host
        # would not be told.
        'repeat_actions': True,
        'alarm_actions': actions,
        'ok_actions': [],
        'event_rule': {'event_type': event, 'query': []},
    }


def _heartbeat(
    name: str,
    text: str,
    *,
    subject: str = 'hosts',
    max_age: int,
    remind: int = 0,
    **more: typing.Any,
) -> alarming.Item:
    return {
        'name': name,
        'description': text,
        'type': TYPE,
        'severity': 'critical',
        'repeat_actions': False,
        'alarm_actions': [],
        'ok_actions': [],
        RULE: {'subject': subject, 'max_age': max_age, 'remind': remind},
        **more,
    }


class CreateAlarms(command.Lister):
    """Create the recommended alarms, or bring them up to date.

    Run it again after each upgrade, and to change an option: what is as it
    should be is left, nothing is made twice, and the state of an alarm stays.
    An alarm that somebody has disabled stays disabled, which is shown.
    """

    code = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--ha-project',
            metavar='<project-id>',
            help='The id in [nova_ha] project_id. Refuse to make alarms in '
            'another project, where those for events would never fire',
        )
        parser.add_argument(
            '--notify',
            metavar='<url>',
            action='append',
            help='Whom to tell of silent and degraded hosts and of a dead '
            'service: an action of aodh, such as https://... (repeat for '
            f'more than one; default: {LOG}, a line in the log of '
            'aodh-notifier)',
        )
        parser.add_argument(
            '--action',
            metavar='<url>',
            action='append',
            help='What wakes the engine (repeat for more than one; default: '
            f'{WAKE})',
        )
        _add_age(parser, '--max-age', 15, 'a host counts as silent')
        _add_age(
            parser, '--dead-after', 30, 'a silent engine or watcher is told of'
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ha.Listed:
        client = alarming.connect(self.app)
        wanted = recommended(
            parsed_args.action or [WAKE],
            parsed_args.notify or [LOG],
            parsed_args.max_age,
            parsed_args.dead_after,
        )
        project = client.project_id()
        if parsed_args.ha_project not in (None, project):
            raise exceptions.CommandError(
                'The alarms should belong to project '
                f"'{parsed_args.ha_project}', and this token is of "
                f"'{project}': aodh would compare the events with the wrong "
                'one and never fire. Name the right one with '
                '--os-project-id. Nothing was changed'
            )
        # All of them are looked at before any is changed.
        known = [only(client, each['name'], project) for each in wanted]
        rows = [
            self._bring(client, alarm, each)
            for alarm, each in zip(known, wanted, strict=True)
        ]
        return ('Name', 'Result', 'Alarm ID', 'Enabled', 'Text'), rows

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Bring them up to date, then give the exit code."""
        return super().run(parsed_args) or self.code

    def _bring(
        self,
        client: alarming.Client,
        alarm: alarming.Item | None,
        wanted: alarming.Item,
    ) -> tuple[typing.Any, ...]:
        """Create or update one alarm; what fails spoils no other."""
        text = ''
        try:
            if alarm is None:
                done, alarm = 'created', client.create(wanted)
            elif changed := alarming.differences(alarm, wanted):
                done, alarm = 'updated', client.update(alarm, wanted)
                text = ', '.join(changed)
            else:
                done = 'unchanged'
        except exceptions.CommandError as error:
            self.code = 1
            done, text = 'failed', str(error)
        alarm = alarm or {}
        return columns.row(
            (
                wanted['name'],
                done,
                alarm.get('alarm_id'),
                alarm.get('enabled'),
                text,
            )
        )


class CreateAlarm(command.ShowOne):
    """Create one alarm of the type hypervisor_heartbeat.

    It fires when hosts fall silent (--subject hosts), or when nobody recovers
    hosts (--subject service), for longer than --max-age. The stock command
    'openstack alarm create' does not know this type; 'openstack alarm show',
    'list' and 'delete' do.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='<name>', help='Name of the alarm')
        parser.add_argument(
            '--subject',
            choices=('hosts', 'service'),
            default='hosts',
            help='What is looked at (default: hosts)',
        )
        _add_age(parser, '--max-age', 15, 'it fires')
        parser.add_argument(
            '--remind',
            metavar='<seconds>',
            type=int,
            default=0,
            help='Run the actions again after this long while it stands '
            '(default: 0, never)',
        )
        parser.add_argument(
            '--repeat',
            action='store_true',
            help='Run the actions in each cycle of the evaluator, as actions '
            'that wake the engine need it',
        )
        for name, what in (('alarm', 'it fires'), ('ok', 'it is over')):
            parser.add_argument(
                f'--{name}-action',
                metavar='<url>',
                action='append',
                default=[],
                help=f'What to do when {what} (repeat for more than one)',
            )
        parser.add_argument(
            '--severity',
            choices=_SEVERITIES,
            default='critical',
            help='How bad it is (default: critical)',
        )
        parser.add_argument(
            '--description', metavar='<text>', help='What it is for'
        )
        parser.add_argument(
            '--disabled',
            action='store_true',
            help='Do not evaluate it for now',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ha.Shown:
        client = alarming.connect(self.app)
        known = only(client, parsed_args.name, client.project_id())
        if known is not None:
            raise exceptions.CommandError(
                f"There is an alarm '{parsed_args.name}' already, "
                f'{known["alarm_id"]}. Delete it first, or take another '
                'name. Nothing was changed'
            )
        body = _heartbeat(
            parsed_args.name,
            parsed_args.description,
            subject=parsed_args.subject,
            max_age=parsed_args.max_age,
            remind=parsed_args.remind,
            severity=parsed_args.severity,
            repeat_actions=parsed_args.repeat,
            alarm_actions=parsed_args.alarm_action,
            ok_actions=parsed_args.ok_action,
            enabled=not parsed_args.disabled,
        )
        if parsed_args.description is None:
            # Aodh has a sentence of its own.
            del body['description']
        made = client.create(body)
        rows = {
            'alarm_id': made['alarm_id'],
            'name': made['name'],
            'type': made['type'],
            **made[RULE],
            'severity': made['severity'],
            'description': made['description'],
            'enabled': made['enabled'],
            'repeat_actions': made['repeat_actions'],
            'alarm_actions': columns.Words(made['alarm_actions']),
            'ok_actions': columns.Words(made['ok_actions']),
            'project_id': made['project_id'],
            'state': made['state'],
        }
        return tuple(rows), columns.row(rows.values())


def only(
    client: alarming.Client, name: str, project: str
) -> alarming.Item | None:
    """Give the alarm of a name, None if there is none.

    :raises CommandError: there are several, or it is of another project.
    """
    found = client.named(name)
    mine = [each for each in found if each['project_id'] == project]
    if len(mine) > 1:
        ids = ', '.join(each['alarm_id'] for each in mine)
        raise exceptions.CommandError(
            f"There should be one alarm '{name}', and there are {len(mine)}: "
            f'{ids}. Delete all but one. Nothing was changed'
        )
    if found and not mine:
        raise exceptions.CommandError(
            f"Alarm '{name}' ({found[0]['alarm_id']}) belongs to project "
            f"'{found[0]['project_id']}', and this token is of '{project}'. "
            'Alarms for events fire only in the project whose id stands in '
            '[nova_ha] project_id: take that one with --os-project-id, or '
            'delete the other alarm. Nothing was changed'
        )
    return mine[0] if mine else None


def _add_age(
    parser: argparse.ArgumentParser, name: str, default: int, what: str
) -> None:
    parser.add_argument(
        name,
        metavar='<seconds>',
        type=arguments.count,
        default=default,
        help=f'After how long {what} (default: {default})',
    )
