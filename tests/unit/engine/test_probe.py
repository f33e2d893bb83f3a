# SPDX-License-Identifier: Apache-2.0

"""Tests of the probe against real sockets."""

from concurrent import futures
import errno
import functools
import socket
import struct
import tempfile
import threading
import time
from unittest import mock

from oslo_config import cfg
import testtools
import yaml

from nova_ha_plugins.conf import fencing as fencing_conf
from nova_ha_plugins.conf import networks as networks_conf
from nova_ha_plugins.conf import probe as probe_conf
from nova_ha_plugins.engine import probe
from nova_ha_plugins.fencing import address as fencing_address
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import reach


class ProbeTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.server = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(self.server.close)
        self.port = self.server.getsockname()[1]
        self.address = f'127.0.0.1:{self.port}'

    def make(self, kind='banner', timeout=0.3, port=22, map_file='/none'):
        conf = cfg.ConfigOpts()
        probe_conf.register_opts(conf)
        fencing_conf.register_opts(conf)
        networks_conf.register_opts(conf)
        conf([])
        conf.set_override('map_file', map_file, 'fencing')
        conf.set_override('kind', kind, 'probe')
        conf.set_override('timeout', timeout, 'probe')
        conf.set_override('port', port, 'probe')
        return probe.TcpProbe(conf, clock=lambda: 42.0)

    def serve(self, answer):
        def run():
            connection, _ = self.server.accept()
            answer(connection)
            connection.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)

    def test_banner_is_a_sign_of_life(self):
        self.serve(lambda connection: connection.sendall(b'SSH-2.0-x\r\n'))

        reading = self.make().probe('cmp-1', self.address)

        self.assertEqual(incident.Sign.ALIVE, reading.sign)
        self.assertEqual('probe', reading.channel)
        self.assertEqual(42.0, reading.at)
        self.assertEqual(0.0, reading.age)

    def test_port_of_the_configuration_is_the_default(self):
        self.serve(lambda connection: connection.sendall(b'x'))

        reading = self.make(port=self.port).probe('cmp-1', '127.0.0.1')

        self.assertEqual(incident.Sign.ALIVE, reading.sign)

    def test_address_in_the_fencing_map_wins(self):
        self.serve(lambda connection: connection.sendall(b'x'))
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as target:
            target.write(
                'hosts: {cmp-1: {driver: redfish, '
                f"probe: '{self.address}'}}}}\n"
            )
            target.flush()
            prober = self.make(map_file=target.name)

        self.assertEqual(incident.Sign.ALIVE, prober.probe('cmp-1', '').sign)
        self.assertEqual(incident.Sign.UNKNOWN, prober.probe('other', '').sign)

    def mapped(self, timeout=1.0, probe='', **networks):
        entry = {'driver': 'redfish', 'networks': networks}
        if probe:
            entry['probe'] = probe
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as target:
            yaml.safe_dump(
                {'hosts': {'cmp-1': entry}}, target, sort_keys=False
            )
            target.flush()
            return self.make(timeout=timeout, map_file=target.name)

    def silent_address(self):
        """Accepts connections and never says a word."""
        server = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(server.close)
        return f'127.0.0.1:{server.getsockname()[1]}'

    def test_each_network_of_the_map_is_a_channel(self):
        self.serve(lambda connection: connection.sendall(b'x'))
        prober = self.mapped(
            tenant='no-such-host.invalid', storage=self.address
        )

        found = prober.probe_all('cmp-1', self.silent_address())

        self.assertEqual(
            [
                ('probe', incident.Sign.SILENT),
                ('probe:tenant', incident.Sign.UNKNOWN),
                ('probe:storage', incident.Sign.ALIVE),
            ],
            [(each.channel, each.sign) for each in found],
        )
        self.assertEqual({42.0}, {each.at for each in found})

    def test_host_without_networks_has_the_plain_probe_only(self):
        prober = self.mapped(storage=self.address)

        (found,) = prober.probe_all('cmp-2', '')

        self.assertEqual('probe', found.channel)
        self.assertEqual(incident.Sign.UNKNOWN, found.sign)

    def test_address_of_the_map_wins_beside_networks_as_well(self):
        self.serve(lambda connection: connection.sendall(b'x'))
        prober = self.mapped(probe=self.address, storage=self.silent_address())

        found = prober.probe_all('cmp-1', self.silent_address())

        self.assertEqual(
            [incident.Sign.ALIVE, incident.Sign.SILENT],
            [each.sign for each in found],
        )

    def test_silent_networks_cost_one_timeout_together(self):
        networks = {f'net{n}': self.silent_address() for n in range(4)}
        prober = self.mapped(timeout=1.0, **networks)
        began = time.monotonic()

        found = prober.probe_all('cmp-1', self.silent_address())

        self.assertLess(time.monotonic() - began, 4.5)
        self.assertEqual({incident.Sign.SILENT}, {f.sign for f in found})
        self.assertEqual(5, len(found))

    def test_probe_that_begins_late_still_has_its_time(self):
        """As if this machine were busy: one thread for all networks."""
        self.serve(lambda connection: connection.sendall(b'x'))
        prober = self.mapped(
            tenant=self.silent_address(), storage=self.address
        )
        one = functools.partial(futures.ThreadPoolExecutor, 1)

        with mock.patch.object(
            probe.futures, 'ThreadPoolExecutor', lambda _, **__: one()
        ):
            found = prober.probe_all('cmp-1', self.silent_address())

        self.assertEqual(incident.Sign.ALIVE, found[-1].sign)

    def test_silent_address_leaves_time_for_the_next_one(self):
        self.serve(lambda connection: connection.sendall(b'x'))
        name, _, port = self.silent_address().partition(':')
        targets = [
            (socket.AF_INET, (name, int(port))),
            (socket.AF_INET, ('127.0.0.1', self.port)),
        ]
        with mock.patch.object(
            probe, '_resolve', autospec=True, return_value=targets
        ):
            reading = self.make(timeout=2.0).probe('cmp-1', 'cmp-1')

        self.assertEqual(incident.Sign.ALIVE, reading.sign)

    def test_time_that_this_machine_lost_is_not_the_hosts_silence(self):
        target = ('127.0.0.1', self.port)

        sign, text = self.make()._try(
            socket.AF_INET, target, time.monotonic() - 1.0
        )

        self.assertEqual(incident.Sign.UNKNOWN, sign)
        self.assertIn('no time was left', text)

    def test_refusal_is_a_sign_of_life(self):
        self.server.close()

        reading = self.make().probe('cmp-1', self.address)

        self.assertEqual(incident.Sign.ALIVE, reading.sign)

    def test_kernel_that_connects_but_runs_nothing_is_silent(self):
        began = time.monotonic()

        reading = self.make().probe('cmp-1', self.address)

        self.assertEqual(incident.Sign.SILENT, reading.sign)
        self.assertIn('no banner', reading.text)
        self.assertLess(time.monotonic() - began, 10.0)

    def test_connection_is_enough_for_the_kind_connect(self):
        reading = self.make('connect').probe('cmp-1', self.address)

        self.assertEqual(incident.Sign.ALIVE, reading.sign)

    def test_connection_that_does_not_open_is_silent(self):
        """A full queue of connections: the kernel drops the next one."""
        full = socket.socket()
        self.addCleanup(full.close)
        full.bind(('127.0.0.1', 0))
        full.listen(0)
        address = full.getsockname()
        for _ in range(3):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(address)
            self.addCleanup(waiting.close)

        reading = self.make('connect').probe(
            'cmp-1', f'127.0.0.1:{address[1]}'
        )

        self.assertEqual(incident.Sign.SILENT, reading.sign)
        self.assertIn('no connection', reading.text)

    def test_closed_connection_is_a_sign_of_life(self):
        self.serve(lambda connection: None)

        reading = self.make().probe('cmp-1', self.address)

        self.assertEqual(incident.Sign.ALIVE, reading.sign)

    def test_reset_connection_is_a_sign_of_life(self):
        linger = struct.pack('ii', 1, 0)
        self.serve(
            lambda connection: connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
        )

        reading = self.make().probe('cmp-1', self.address)

        self.assertEqual(incident.Sign.ALIVE, reading.sign)

    def connect_fails(self, code):
        error = OSError(code, 'as the kernel says')
        with mock.patch.object(
            socket.socket, 'connect', autospec=True, side_effect=error
        ):
            return self.make().probe('cmp-1', self.address).sign

    def test_unreachable_host_is_silent(self):
        self.assertEqual(
            incident.Sign.SILENT, self.connect_fails(errno.EHOSTUNREACH)
        )

    def test_trouble_of_our_own_is_unknown(self):
        for code in (
            errno.ENETUNREACH,
            errno.ENETDOWN,
            errno.EPERM,
            errno.EACCES,
            errno.EADDRNOTAVAIL,
            errno.EMFILE,
            errno.ENOBUFS,
        ):
            self.assertEqual(
                incident.Sign.UNKNOWN, self.connect_fails(code), code
            )

    def test_no_socket_left_is_unknown(self):
        error = OSError(errno.EMFILE, 'Too many open files')
        with mock.patch.object(
            probe.socket, 'socket', autospec=True, side_effect=error
        ):
            reading = self.make().probe('cmp-1', self.address)

        self.assertEqual(incident.Sign.UNKNOWN, reading.sign)

    def test_name_that_does_not_resolve_is_unknown(self):
        reading = self.make().probe('cmp-1', 'no-such-host.invalid')

        self.assertEqual(incident.Sign.UNKNOWN, reading.sign)
        self.assertIn('no-such-host.invalid', reading.text)

    def test_resolver_that_hangs_is_unknown_and_does_not_hold_us(self):
        ends = threading.Event()
        self.addCleanup(ends.set)
        ask = probe._addresses

        def hang(name, port, flags):
            if flags:
                return ask(name, port, flags)
            ends.wait(20)
            return []

        began = time.monotonic()
        with mock.patch.object(probe, '_addresses', hang):
            reading = self.make().probe('cmp-1', 'slow.example')

        self.assertEqual(incident.Sign.UNKNOWN, reading.sign)
        self.assertLess(time.monotonic() - began, 10.0)

    def test_unknown_or_malformed_address_is_unknown(self):
        for address in (
            '',
            ' ',
            '127.0.0.1:0',
            '127.0.0.1:ssh',
            '[::1]:x',
            ':22',
            '127.0.0.1:99999',
            'a' * 70 + '..b',
        ):
            reading = self.make().probe('cmp-1', address)

            self.assertEqual(incident.Sign.UNKNOWN, reading.sign, address)
            self.assertNotEqual('', reading.text)

    def test_address_is_split_from_its_port(self):
        for text, expected in (
            ('10.0.0.1', ('10.0.0.1', 22)),
            ('10.0.0.1:16509', ('10.0.0.1', 16509)),
            ('cmp-1.example', ('cmp-1.example', 22)),
            ('2001:db8::1', ('2001:db8::1', 22)),
            ('[2001:db8::1]', ('2001:db8::1', 22)),
            ('[2001:db8::1]:2022', ('2001:db8::1', 2022)),
        ):
            self.assertEqual(expected, fencing_address.split(text, 22))

    def addresses(self, *codes):
        """Probe a name with several addresses, each failing differently."""
        targets = [
            (socket.AF_INET, ('127.0.0.1', number + 1))
            for number in range(len(codes))
        ]
        errors = [OSError(code, 'as the kernel says') for code in codes]
        with (
            mock.patch.object(
                probe, '_resolve', autospec=True, return_value=targets
            ),
            mock.patch.object(
                socket.socket, 'connect', autospec=True, side_effect=errors
            ),
        ):
            return self.make().probe('cmp-1', 'cmp-1').sign

    def test_one_living_address_is_enough(self):
        self.assertEqual(
            incident.Sign.ALIVE,
            self.addresses(errno.ENETUNREACH, errno.ECONNREFUSED),
        )

    def test_silence_counts_only_when_every_address_was_tried(self):
        self.assertEqual(
            incident.Sign.UNKNOWN,
            self.addresses(errno.ENETUNREACH, errno.EHOSTUNREACH),
        )
        self.assertEqual(
            incident.Sign.SILENT,
            self.addresses(errno.EHOSTUNREACH, errno.ETIMEDOUT),
        )


class CompareTest(testtools.TestCase):
    """Other hosts are asked, to tell their silence from our deafness."""

    def setUp(self):
        super().setUp()
        self.now = 100.0
        self.knocks = 0
        # A host of its own as far as this machine can tell.
        self.server = socket.create_server(('127.0.0.2', 0))
        self.addCleanup(self.server.close)
        self.port = self.server.getsockname()[1]

    def make(self, **networks):
        entry = {'driver': 'redfish', 'networks': networks}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as target:
            yaml.safe_dump({'hosts': {'cmp-2': entry}}, target)
            target.flush()
            conf = cfg.ConfigOpts()
            probe_conf.register_opts(conf)
            fencing_conf.register_opts(conf)
            networks_conf.register_opts(conf)
            conf([])
            conf.set_override('connections', 4, 'networks')
            conf.set_override('map_file', target.name, 'fencing')
            conf.set_override('kind', 'connect', 'probe')
            conf.set_override('timeout', 1.0, 'probe')
            prober = probe.TcpProbe(conf, clock=lambda: self.now)
        look = prober._look

        def counted(address):
            self.knocks += 1
            return look(address)

        prober._look = counted
        return prober

    def ask(self, prober, since=100.0, network='storage', address=''):
        target = reach.Target('cmp-2', address, network)
        return [each.sign for each in prober.compare([target], since)]

    def test_networks_are_those_with_an_address(self):
        prober = self.make(storage='10.1.0.12')

        self.assertEqual(('storage',), prober.networks_of('cmp-2', ''))
        self.assertEqual(
            ('management', 'storage'), prober.networks_of('cmp-2', '10.0.0.2')
        )
        self.assertEqual((), prober.networks_of('cmp-3', ''))

    def test_each_is_asked_on_the_network_of_the_target(self):
        prober = self.make(storage=f'127.0.0.2:{self.port}')

        with mock.patch.object(
            prober,
            '_look',
            autospec=True,
            side_effect=[(incident.Sign.SILENT, '')],
        ) as look:
            self.ask(prober, network='management', address='127.0.0.3:7')

        look.assert_called_once_with('127.0.0.3:7')
        self.assertEqual([incident.Sign.ALIVE], self.ask(prober))

    def test_this_machine_is_no_witness(self):
        prober = self.make(storage='127.0.0.1:22')

        self.assertEqual([], self.ask(prober))
        self.assertEqual(0, self.knocks)

    def test_address_that_does_not_resolve_is_unknown(self):
        prober = self.make(storage='no-such-host.invalid')

        self.assertEqual([incident.Sign.UNKNOWN], self.ask(prober))

    def test_many_that_compare_at_once_ask_once(self):
        prober = self.make(storage=f'127.0.0.2:{self.port}')

        with futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: self.ask(prober), range(24)))

        self.assertEqual([[incident.Sign.ALIVE]] * 24, found)
        self.assertEqual(1, self.knocks)

    def test_answer_from_before_the_silence_is_asked_for_again(self):
        """Our own leg may have broken in between."""
        prober = self.make(storage=f'127.0.0.2:{self.port}')
        self.ask(prober)
        self.now = 101.0
        self.assertEqual([incident.Sign.ALIVE], self.ask(prober, since=99.0))
        self.assertEqual(1, self.knocks)

        self.ask(prober, since=100.5)

        self.assertEqual(2, self.knocks)

    def test_answer_is_not_kept_for_long_nor_over_a_jump_of_the_clock(self):
        prober = self.make(storage=f'127.0.0.2:{self.port}')
        for knocks, now in enumerate((100.0, 106.0, 90.0), 1):
            self.now = now
            self.ask(prober, since=80.0)

            self.assertEqual(knocks, self.knocks)

    def test_a_sweep_asks_anew_each_time(self):
        prober = self.make(storage=f'127.0.0.2:{self.port}')
        target = reach.Target('cmp-2', '', 'storage')

        for knocks in (1, 2):
            (found,) = prober.sweep([target])

            self.assertEqual(incident.Sign.ALIVE, found.sign)
            self.assertEqual(knocks, self.knocks)

    def test_a_sweep_keeps_few_connections_open_and_nobody_waiting(self):
        prober = self.make()
        targets = [
            reach.Target(f'cmp-{n}', f'127.0.0.2:{n}', 'management')
            for n in range(1, 41)
        ]
        open_, most, stuck = [], [], threading.Event()

        def look(address):
            open_.append(address)
            most.append(len(open_))
            stuck.wait(30)
            open_.remove(address)
            return incident.Sign.SILENT, address

        prober._look = look
        with futures.ThreadPoolExecutor(1) as pool:
            sweep = pool.submit(prober.sweep, targets)
            while len(open_) < 4:
                time.sleep(0.001)
            prober._look = lambda address: (incident.Sign.ALIVE, address)
            (witness,) = prober.compare(targets[:1], 100.0)
            stuck.set()

            self.assertEqual(40, len(sweep.result()))

        self.assertEqual(incident.Sign.ALIVE, witness.sign)
        self.assertEqual(4, max(most))

    def test_all_are_asked_at_once(self):
        prober = self.make()
        targets = [
            reach.Target(f'cmp-{n}', f'127.0.0.2:{n}', 'management')
            for n in range(1, 7)
        ]
        together = threading.Barrier(6, timeout=30)

        def look(address):
            together.wait()
            return incident.Sign.SILENT, address

        prober._look = look

        self.assertEqual(6, len(prober.compare(targets, 100.0)))
