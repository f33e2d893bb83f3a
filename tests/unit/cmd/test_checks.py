# SPDX-License-Identifier: Apache-2.0

"""What the doctor finds, and the sentence that says what to repair."""

import unittest

from nova_ha_plugins.cmd import checks
from nova_ha_plugins.cmd import finding
from nova_ha_plugins.engine import doors
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import views

SYSTEM = '30303030-0000-4000-8000-000000000001'
OTHER = '30303030-0000-4000-8000-000000000002'


class ChecksTestCase(unittest.TestCase):
    def assert_fine(self, findings):
        for one in _many(findings):
            self.assertIs(finding.Level.OK, one.level, one.text)

    def assert_note(self, findings, text):
        (one,) = _not_ok(findings)
        self.assertIs(finding.Level.NOTE, one.level)
        self.assertRegex(one.text, text)

    def assert_action(self, findings, text):
        (one,) = _not_ok(findings)
        self.assertIs(finding.Level.ACTION, one.level)
        self.assertRegex(one.text, text)


class TestInstallation(ChecksTestCase):
    def test_all_that_loads_is_fine(self):
        self.assert_fine(checks.entry_points({'aodh.notifier x': None}))

    def test_plugin_of_an_absent_service_is_only_noted(self):
        error = ModuleNotFoundError('no', name='ceilometer.polling')

        self.assert_note(
            checks.entry_points({'a b': None, 'ceilometer.poll.ha x': error}),
            "ceilometer.poll.ha x: not for this machine.*'ceilometer'",
        )

    def test_broken_plugin_is_named(self):
        for error in (
            ImportError('cannot import name'),
            ModuleNotFoundError('no sushy', name='sushy'),
            RuntimeError('boom'),
        ):
            self.assert_action(
                checks.entry_points({'nova_ha.fencing redfish': error}),
                'nova_ha.fencing redfish: cannot be loaded '
                rf'\({type(error).__name__}.*repair',
            )

    def test_missing_package_is_named(self):
        self.assert_action(checks.entry_points({}), 'install the package')

    def test_schema(self):
        self.assert_fine(checks.schema('0003', '0003'))
        self.assert_action(
            checks.schema(None, '0003'),
            "expected revision '0003', found None.*nova-ha-manage db sync",
        )

    def test_clocks_that_agree(self):
        self.assert_fine(checks.clock(1000.0, 999.5, 1000.5))
        # The database was slow to answer.
        self.assert_fine(checks.clock(1000.0, 990.0, 1001.0))

    def test_clocks_that_differ_either_way(self):
        self.assert_action(checks.clock(1000.0, 1010.0, 1010.1), r'10\.0s')
        self.assert_action(checks.clock(1000.0, 989.9, 990.0), r'10\.0s')

    def test_versions(self):
        tested = {
            name: f'{major}.1.0' for name, major in checks.TESTED.items()
        }

        self.assert_fine(checks.versions(tested))
        self.assert_note(
            checks.versions({**tested, 'nova': '33.0.0'}),
            'nova 33.0.0 was not tested',
        )
        self.assert_note(
            checks.versions({**tested, 'aodh': None}),
            'aodh is not in this environment',
        )


class TestHosts(ChecksTestCase):
    def test_names_that_agree(self):
        hosts = ['cmp-1', 'cmp-2']
        self.assert_fine(checks.host_names(hosts, hosts, hosts))

    def test_host_without_heartbeat(self):
        self.assert_action(
            checks.host_names(
                ['cmp-1', 'cmp-2'], ['cmp-2'], ['cmp-1', 'cmp-2']
            ),
            "'cmp-1' of nova sends no heartbeat: .*--polling-namespaces ha ",
        )

    def test_host_that_is_not_in_the_map(self):
        self.assert_action(
            checks.host_names(['cmp-1'], ['cmp-1'], []),
            "'cmp-1' of nova is not in the fencing map: it is not protected",
        )

    def test_host_under_another_name_is_guessed(self):
        heartbeat, unknown = checks.host_names(
            ['cmp-1'], ['cmp-1.example.org'], ['cmp-1']
        )

        self.assertIn("is it 'cmp-1.example.org' there?", heartbeat.text)
        self.assertIn("'cmp-1.example.org' sends heartbeats", unknown.text)
        self.assertIn("is it 'cmp-1' there?", unknown.text)

    def test_host_of_the_map_that_nova_does_not_know(self):
        self.assert_action(
            checks.host_names(['cmp-1'], ['cmp-1'], ['cmp-1', 'old-9']),
            "'old-9' is in the fencing map, but nova has no compute service",
        )

    def test_nova_without_computes(self):
        self.assert_action(checks.host_names([], ['cmp-1'], []), 'nova knows')

    def test_heartbeats_that_come(self):
        self.assert_fine(
            checks.heartbeats([_service()], [_beat(age=1.0)], 6.0)
        )

    def test_heartbeats_that_stopped_while_nova_says_up(self):
        self.assert_action(
            checks.heartbeats([_service()], [_beat(age=6.0)], 6.0),
            "'cmp-1' is up for nova, but its last heartbeat is 6s old",
        )

    def test_silence_of_a_host_that_is_down_is_no_finding(self):
        self.assertEqual(
            [],
            checks.heartbeats([_service(up=False)], [_beat(age=600.0)], 6.0),
        )

    def test_host_that_does_not_say_who_it_is(self):
        for system_uuid in ('', '00000000-0000-0000-0000-000000000000'):
            self.assert_action(
                checks.heartbeats(
                    [_service()],
                    [_beat(age=1.0, system_uuid=system_uuid)],
                    6.0,
                ),
                "'cmp-1' does not say which machine it is.*system_uuid_file",
            )

    def test_device_of_the_host(self):
        self.assert_fine(
            checks.device('cmp-1', {'cmp-1': SYSTEM.upper()}, _power())
        )

    def test_device_of_another_host(self):
        self.assert_action(
            checks.device('cmp-1', {'cmp-1': SYSTEM}, _power(OTHER)),
            f"'cmp-1' is not proven.*{SYSTEM}.*{OTHER}'; the host is not "
            'protected: correct its entry',
        )

    def test_device_of_a_host_that_is_known(self):
        reported = {'cmp-1': SYSTEM, 'cmp-2': OTHER.upper()}
        self.assert_action(
            checks.device('cmp-1', reported, _power(OTHER)),
            f"'cmp-1' is not proven.*{OTHER}', which is host 'cmp-2'; ",
        )

    def test_map_is_not_blamed_for_a_host_that_was_never_heard(self):
        self.assert_action(
            checks.device('cmp-1', {}, _power()),
            'has not reported.*not protected: see what is said of its '
            'heartbeats first$',
        )

    def test_device_that_does_not_answer(self):
        self.assert_action(
            checks.device('cmp-1', {}, doors.Unanswered('timed out')),
            "'cmp-1' cannot be used: timed out; the host is not protected",
        )


class TestAlarm(ChecksTestCase):
    def test_project_is_the_same_everywhere(self):
        self.assert_fine(checks.project('p-1', 'p-1'))

    def test_project_that_is_not_set(self):
        self.assert_action(
            checks.project('', 'p-1'), 'project_id is not set.*never fires'
        )

    def test_project_that_differs(self):
        self.assert_action(
            checks.project('p-1', 'p-2'), "'p-1' in nova-ha.conf and 'p-2'"
        )

    def test_project_that_could_not_be_compared(self):
        self.assert_note(checks.project('p-1', None), '--ceilometer-conf')

    def test_alarm_with_our_notifier(self):
        self.assert_fine(checks.alarms([_alarm()], 'p-1'))

    def test_alarm_with_a_webhook(self):
        for url in (
            'trust+https://ha.example.org/v1/alarms',
            'https://ha.example.org/v1/alarms/secret',
        ):
            self.assert_fine(
                checks.alarms([_alarm(alarm_actions=[url])], 'p-1')
            )

    def test_alarm_about_all_host_events(self):
        self.assert_fine(
            checks.alarms([_alarm(event='compute.host.*')], 'p-1')
        )

    def test_alarm_that_is_missing(self):
        self.assert_action(
            checks.alarms([], 'p-1'),
            "Project 'p-1' has no event alarm.*"
            'openstack ha alarms create --ha-project p-1',
        )

    def test_an_alarm_about_the_service_is_fine(self):
        rule = {'subject': 'service'}
        alarm = {'name': 'dead', 'hypervisor_heartbeat_rule': rule}
        self.assert_fine([checks.dead_man([alarm], 'p-1')])

    def test_no_alarm_about_the_service_is_a_note(self):
        service, hosts = {'subject': 'service'}, {'subject': 'hosts'}
        for found in (
            [],
            [{'name': 'x', 'hypervisor_heartbeat_rule': hosts}],
            [{'enabled': False, 'hypervisor_heartbeat_rule': service}],
        ):
            self.assert_note(
                [checks.dead_man(found, 'p-1')], 'alarms create --ha-project'
            )

    def test_alarm_in_another_project(self):
        self.assert_action(
            checks.alarms([_alarm(project_id='p-2')], 'p-1'),
            'there is one in project p-2, where it silently never fires',
        )

    def test_alarm_about_something_else_does_not_count(self):
        for alarm in (
            _alarm(event='compute.instance.*'),
            _alarm(alarm_actions=['log://']),
            _alarm(alarm_actions=[]),
            _alarm(event='*', alarm_actions=['https://elsewhere.example']),
        ):
            self.assert_action(checks.alarms([alarm], 'p-1'), 'has no event')

    def test_alarm_with_faults_names_each(self):
        findings = checks.alarms(
            [
                _alarm(
                    enabled=False,
                    repeat_actions=False,
                    query=[{'field': 'traits.host'}],
                )
            ],
            'p-1',
        )

        self.assertEqual(3, len(findings))
        text = ' '.join(one.text for one in findings)
        self.assertIn('--enabled True a-1', text)
        self.assertIn('--repeat-actions True a-1', text)
        self.assertIn('remove its query', text)

    def test_one_good_alarm_is_enough(self):
        self.assert_fine(
            checks.alarms([_alarm(enabled=False, name='x'), _alarm()], 'p-1')
        )

    def test_cache_of_aodh(self):
        self.assert_fine(checks.cache_ttl(0, 'aodh.conf'))
        self.assert_action(checks.cache_ttl(60, 'aodh.conf'), 'deaf for 60s')
        self.assert_note(checks.cache_ttl(None, 'aodh.conf'), '--aodh-conf')


class TestSecrets(ChecksTestCase):
    def test_files_that_others_may_read_are_named(self):
        closed = checks.secret_files({'/a': 0o600, '/b': 0o640})
        (opened,) = checks.secret_files({'/a': 0o600, '/b': 0o644})

        self.assertEqual([finding.Level.OK], [one.level for one in closed])
        self.assertIs(finding.Level.ACTION, opened.level)
        self.assertIn("'/b'", opened.text)
        self.assertIn('mode 0644', opened.text)
        self.assertIn("'chmod o= /b'", opened.text)


class TestEngine(ChecksTestCase):
    def test_engine_at_work(self):
        self.assert_fine(checks.engine({'age': 1.0}, armed=True))

    def test_engine_that_only_observes(self):
        self.assert_note(
            checks.engine({'age': 1.0}, armed=False), 'openstack ha arm'
        )

    def test_engine_that_is_gone(self):
        self.assert_action(checks.engine({}, armed=True), 'ever reported')
        self.assert_action(
            checks.engine({'age': 600.0}, armed=True), '600s ago'
        )

    def test_database_of_a_service(self):
        secret = 'mysql+pymysql://ha:hunter2@db/nova_ha'

        self.assert_fine(checks.same_database(secret, secret, 'aodh.conf'))
        for theirs in (None, 'mysql+pymysql://ha:hunter3@db/nova_ha'):
            one = checks.same_database(secret, theirs, 'aodh.conf')
            self.assertIs(finding.Level.ACTION, one.level)
            self.assertNotIn('hunter', one.text)


def _many(findings):
    return [findings] if isinstance(findings, finding.Finding) else findings


def _not_ok(findings):
    return [
        one for one in _many(findings) if one.level is not finding.Level.OK
    ]


def _service(host='cmp-1', up=True):
    return views.ServiceView(
        host=host, uuid='svc', up=up, forced_down=False, disabled=False
    )


def _beat(host='cmp-1', age=0.0, system_uuid=SYSTEM):
    return views.Beat(host, 'svc', 'boot', 1, system_uuid, age)


def _power(system_uuid=SYSTEM):
    return views.PowerReading(incident.Power.ON, system_uuid, 'On')


def _alarm(event='compute.host.down', query=(), **more):
    return {
        'alarm_id': 'a-1',
        'name': 'ha-host-down',
        'type': 'event',
        'project_id': 'p-1',
        'enabled': True,
        'repeat_actions': True,
        'alarm_actions': ['trust+nova-ha://'],
        'event_rule': {'event_type': event, 'query': list(query)},
        **more,
    }
