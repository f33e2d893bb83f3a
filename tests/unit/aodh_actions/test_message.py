# SPDX-License-Identifier: Apache-2.0

import unittest

import hypothesis
from hypothesis import strategies as st

from aodh_actions import message
from nova_ha_plugins.recovery import facts
from tests import patience  # noqa: F401 - no deadline


def event(event_type='compute.host.down', host='cmp-1', **traits):
    listed = {'host': host, 'service_uuid': 'u-1', 'reason': 'silent'}
    return {
        'message_id': 'm-1',
        'event_type': event_type,
        'generated': '2026-11-20T08:20:05',
        'traits': [
            [name, 1, value] for name, value in (listed | traits).items()
        ],
        'raw': {},
    }


def alarm(current='alarm', reason='why', **more):
    return {
        'alarm_id': 'a-1',
        'alarm_name': 'ha-host-down',
        'severity': 'critical',
        'previous': 'ok',
        'current': current,
        'reason': reason,
        'reason_data': {'type': 'event', 'event': event()},
        **more,
    }


def listed(*hosts):
    return {
        'type': message.TYPE,
        'subject': 'hosts',
        'hosts': [
            {
                'host': host,
                'service_uuid': f'u-{host}',
                'silent_for': 17.5,
                'reason': f'{host} is silent',
            }
            for host in hosts
        ],
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(['event', 'traits', 'host', 'event_type', 'hosts'])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


class SuspectedHostsTest(unittest.TestCase):
    def test_the_host_is_in_the_traits_of_the_event(self):
        found = message.suspected_hosts('alarm', {'event': event()})

        self.assertEqual(('cmp-1',), found)

    def test_an_event_that_names_two_hosts_accuses_none(self):
        doubtful = event()
        doubtful['traits'].append(['host', 1, 'cmp-2'])

        self.assertRaises(
            message.BadHost,
            message.suspected_hosts,
            'alarm',
            {'event': doubtful},
        )

    def test_only_the_state_alarm_accuses(self):
        for state in ('ok', 'insufficient data', None, 'ALARM'):
            with self.subTest(state=state):
                self.assertEqual(
                    (), message.suspected_hosts(state, {'event': event()})
                )

    def test_of_our_events_only_down_accuses(self):
        for kind in (
            'compute.host.up',
            'compute.host.suspected',
            'compute.host.degraded',
            'compute.host.anything',
            'instance.ha.ioerror',
            'instance_ha.evacuation.start',
        ):
            with self.subTest(kind=kind):
                data = {'event': event(kind)}
                self.assertEqual((), message.suspected_hosts('alarm', data))

    def test_an_event_of_somebody_else_accuses(self):
        for kind in ('chassis.failed', None):
            with self.subTest(kind=kind):
                data = {'event': event(kind)}
                self.assertEqual(
                    ('cmp-1',), message.suspected_hosts('alarm', data)
                )

    def test_our_own_alarm_accuses_each_host_of_its_list_once(self):
        data = listed('cmp-1', 'cmp-2', 'cmp-1')

        self.assertEqual(
            ('cmp-1', 'cmp-2'), message.suspected_hosts('alarm', data)
        )

    def test_a_list_of_another_type_of_alarm_accuses_nobody(self):
        data = listed('cmp-1') | {'type': 'threshold'}

        self.assertEqual((), message.suspected_hosts('alarm', data))

    def test_a_list_that_is_odd_or_endless_accuses_few(self):
        for odd in (None, 'cmp-1', {'host': 'cmp-1'}, [None, 'cmp-1', {}]):
            with self.subTest(odd=odd):
                data = {'type': message.TYPE, 'hosts': odd}
                self.assertEqual((), message.suspected_hosts('alarm', data))
        endless = listed(*(f'cmp-{number}' for number in range(5000)))

        found = message.suspected_hosts('alarm', endless)

        self.assertEqual(message.MOST, len(found))

    def test_one_of_a_list_that_cannot_be_a_host_is_refused(self):
        self.assertRaises(
            message.BadHost,
            message.suspected_hosts,
            'alarm',
            listed('cmp-1', 'a b'),
        )

    def test_an_alarm_without_an_event_accuses_nobody(self):
        threshold = {
            'type': 'threshold',
            'disposition': 'inside',
            'count': 1,
            'most_recent': 20.0,
        }
        for data in (threshold, None, [], 'event', {'event': 'x'}, {}):
            with self.subTest(data=data):
                self.assertEqual((), message.suspected_hosts('alarm', data))

    def test_what_cannot_be_a_host_is_refused_and_not_repeated(self):
        for host in ('a b', '-a', 'a/../b', 'a\n', 'é;', 'h' * 256, 7, ['a;']):
            with (
                self.subTest(host=host),
                self.assertRaises(message.BadHost) as caught,
            ):
                message.suspected_hosts('alarm', {'event': event(host=host)})
            self.assertNotIn(str(host), str(caught.exception))

    def test_odd_traits_are_left_out(self):
        odd = [['host', 1], 'host', [['x'], 1, 'y'], None, ['n', 1, 'v', 2]]
        event = {'traits': [*odd, ['host', 1, 'cmp-1']]}

        self.assertEqual({'host': 'cmp-1'}, message.traits(event))

    @hypothesis.given(st.sampled_from(['alarm', 'ok']), json_values)
    def test_any_json_gives_a_host_or_a_refusal(self, state, data):
        try:
            hosts = message.suspected_hosts(state, data)
        except message.BadHost:
            return
        for host in hosts:
            self.assertTrue(message.HOST.fullmatch(host))


class MakeFactTest(unittest.TestCase):
    def test_a_host_makes_a_host_down_with_what_the_event_says(self):
        fact = message.make_fact(
            'cmp-1', alarm(), channel='notifier', trust_id='t-1'
        )

        self.assertEqual(facts.FactKind.HOST_DOWN, fact.kind)
        self.assertEqual(
            ('cmp-1', 'u-1', 'silent', 't-1', 'a-1', 'ha-host-down', False),
            (
                fact.host,
                fact.service_uuid,
                fact.reason,
                fact.trust_id,
                fact.alarm_id,
                fact.alarm_name,
                fact.verified,
            ),
        )
        self.assertEqual('m-1', fact.detail['event_id'])

    def test_a_host_of_a_list_is_told_of_with_its_own_words(self):
        body = alarm(reason_data=listed('cmp-1', 'cmp-2'))

        fact = message.make_fact('cmp-2', body, channel='notifier')

        self.assertEqual(
            ('cmp-2', 'u-cmp-2', 'cmp-2 is silent', '17.5'),
            (
                fact.host,
                fact.service_uuid,
                fact.reason,
                fact.detail['silent_for'],
            ),
        )

    def test_no_host_makes_a_wake_up(self):
        fact = message.make_fact('', alarm(), channel='webhook')

        self.assertEqual(facts.FactKind.WAKE_UP, fact.kind)
        self.assertEqual('', fact.service_uuid)

    def test_a_repetition_is_the_same_fact(self):
        first, second = (
            message.make_fact('a', alarm(reason=reason), channel='x')
            for reason in ('one', 'two')
        )

        self.assertEqual(first.uuid, second.uuid)

    def test_another_alarm_sender_channel_or_host_is_another_fact(self):
        made = [
            message.make_fact('a', alarm(), channel='x'),
            message.make_fact('b', alarm(), channel='x'),
            message.make_fact('', alarm(), channel='x'),
            message.make_fact('a', alarm(), channel='y'),
            message.make_fact('a', alarm(), channel='x', trust_id='t'),
            message.make_fact('a', alarm(), channel='x', by='t'),
            message.make_fact('a', alarm(alarm_id='a-2'), channel='x'),
        ]

        self.assertEqual(len(made), len({fact.uuid for fact in made}))

    def test_texts_are_short_printable_and_encodable(self):
        nasty = 'x\x00\n\x1b[31m\ud800' + 'y' * 5000
        fact = message.make_fact(
            '', alarm(alarm_name=nasty, severity=nasty), channel='webhook'
        )

        for text in (fact.alarm_name, fact.detail['severity']):
            self.assertLessEqual(len(text), 255)
            self.assertTrue(text.isprintable())
            text.encode()

    # The first text in a fresh checkout makes tables for seconds.
    @hypothesis.settings(
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    @hypothesis.given(
        st.dictionaries(
            st.sampled_from(sorted(alarm())), json_values, max_size=8
        )
    )
    def test_any_json_makes_a_fact_of_texts(self, body):
        fact = message.make_fact('', body, channel='webhook')

        for value in (fact.reason, fact.alarm_id, *fact.detail.values()):
            self.assertIsInstance(value, str)
            value.encode()
