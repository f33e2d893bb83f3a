# SPDX-License-Identifier: Apache-2.0

"""Evacuations that are held, broken and watched."""

import contextlib
import datetime
import functools
import os
import threading
import time

import fixtures
from nova.compute import claims
from nova.compute import resource_tracker
from nova.conductor import manager as conductor
from nova import context as nova_context
from nova.db.main import api as main_db
from nova.db.main import models
from nova.virt import fake

from nova_ha_plugins.api import compat
from tests.functional.nova import base
from tests.functional.nova import watch
from tests.unit.recovery import recordings

ENDED = ('succeeded', 'failed', 'superseded')
PATIENCE = 60.0
HERE = '(destination)'


class Gate:
    """Where one server is held until the test says go.

    :ivar error: raised instead of going on.
    """

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.error = None

    def until_reached(self):
        if not self.reached.wait(PATIENCE):
            raise AssertionError('Nova has not come to where it is held.')

    def open(self, error=None):
        self.error = error
        self.opened.set()

    def hold(self):
        self.reached.set()
        self.opened.wait(5 * PATIENCE)
        if self.error is not None:
            raise self.error


class RunsCase(base.NovaTestCase):
    """Stock nova, whose evacuations can be held at each step."""

    def setUp(self):
        super().setUp()
        self.without_guard()
        self.flags(instances=40, cores=40, ram=-1, group='quota')
        self.gates = {}
        self.problems = []
        self.watch = watch.Watch(self)
        manager = conductor.ComputeTaskManager
        for owner, name, gates in (
            (manager, 'rebuild_instance', self._gates_at('conductor')),
            (manager, '_schedule_instances', self._scheduler_gates),
            (
                resource_tracker.ResourceTracker,
                '_move_claim',
                self._gates_at('tracker'),
            ),
            (claims.MoveClaim, '__init__', self._gates_at('claim')),
            (fake.FakeDriver, 'spawn', self._destination_gates),
        ):
            self._hold(owner, name, gates)

    def without_guard(self):
        """Let nova do what it does without us."""
        if 'nova_ha_progress' in compat.CONF:
            self.flags(guard=False, group='nova_ha_progress')

    # --- holding ----------------------------------------------------------

    def _hold(self, owner, name, gates):
        original = getattr(owner, name)

        @functools.wraps(original)
        def held(*args, **kwargs):
            for gate in gates(*args, **kwargs):
                gate.hold()
            return original(*args, **kwargs)

        self.useFixture(
            fixtures.MonkeyPatch(
                f'{owner.__module__}.{owner.__name__}.{name}', held
            )
        )

    def _destination_gates(self, driver, ctxt, instance, *args, **kwargs):
        for key in ((instance.uuid, driver._host), (instance.uuid, 'spawn')):
            if key in self.gates:
                yield self.gates[key]

    def _gates_at(self, where):
        def gates(owner, ctxt, instance, *args, **kwargs):
            if (instance.uuid, where) in self.gates:
                yield self.gates[instance.uuid, where]

        return gates

    def _scheduler_gates(self, manager, ctxt, spec, *args, **kwargs):
        if (spec.instance_uuid, 'scheduler') in self.gates:
            yield self.gates[spec.instance_uuid, 'scheduler']

    def gate(self, server, where='spawn', error=None):
        """Hold a server in the spawn of any or of one host, or before that.

        :param where: 'conductor', 'scheduler', 'tracker' (before the record
            gets its destination), 'claim' (after it), 'spawn', or the host
            that spawns.
        :param error: not held, but broken there.
        """
        gate = self.gates[server['id'], where] = Gate()
        # Before the services are stopped, which wait for what they do.
        self.addCleanup(self._close, gate)
        if error is not None:
            gate.open(error)
        return gate

    def _close(self, gate):
        if not gate.opened.is_set():
            gate.open(SystemError('The test is over.'))

    # --- truth ------------------------------------------------------------

    def truth(self, server):
        """The row of the server, and where its newest evacuation takes it."""
        admin = nova_context.get_admin_context()
        manager = main_db.get_context_manager(admin)
        with manager.reader.using(admin) as session:
            row = (
                session.query(
                    models.Instance.host,
                    models.Instance.task_state,
                    models.Instance.vm_state,
                )
                .filter_by(uuid=server, deleted=0)
                .first()
            )
            newest = (
                session.query(models.Migration.dest_compute)
                .filter_by(instance_uuid=server, migration_type='evacuation')
                .order_by(
                    models.Migration.created_at.desc(),
                    models.Migration.id.desc(),
                )
                .first()
            )
        return row, newest[0] if newest else None

    def guests_of(self, server):
        """Hosts whose driver has the guest."""
        return sorted(
            host
            for host, service in self.computes.items()
            if server in service.manager.driver.instances
        )

    def items_of(self, server, deleted):
        """Evacuations of a server, newest first.

        :param deleted: ask for all servers if nova does not know it.
        """
        path = f'/servers/{server}/evacuations'
        version = f'compute {self.microversion}, instance-ha latest'
        answer = self.request(path, version=version)
        if answer.status_code == 404:
            if not deleted:
                return []
            path = f'/os-evacuations?instance_uuid={server}'
            answer = self.request(path, version=version)
        self.assertEqual(200, answer.status_code, answer.text)
        return answer.json()['evacuations']

    # --- doing ------------------------------------------------------------

    def servers(self, number, host='host1'):
        """Give servers that are watched from now on."""
        created = [self.create(host) for _ in range(number)]
        return [self.active(server) for server in created]

    def create(self, host='host1', hints=None, **changes):
        built = {
            **self._build_server(networks='none', host=host),
            **changes,
        }
        body = {'server': {k: v for k, v in built.items() if v is not None}}
        if hints:
            body['os:scheduler_hints'] = hints
        return self.admin_api.post_server(body)

    def active(self, server):
        server = self._wait_for_state_change(server, 'ACTIVE')
        self._make_old(server['id'])
        self.watch.watched.add(server['id'])
        return server

    def _make_old(self, server):
        """Nobody's host dies in the minute in which the server was built."""
        admin = nova_context.get_admin_context()
        manager = main_db.get_context_manager(admin)
        with manager.writer.using(admin) as session:
            row = session.query(models.Instance).filter_by(uuid=server).one()
            row.launched_at -= datetime.timedelta(hours=1)

    def evacuate(self, server, version='2.94', status=200, **body):
        answer = self.request(
            f'/servers/{server["id"]}/action',
            method='POST',
            json={'evacuate': body},
            version=f'compute {version}',
        )
        self.assertEqual(status, answer.status_code, answer.text)
        return answer

    def report(self, server, total, processed):
        """Say bytes as a destination would; give what is told then."""
        newest = self.watch.look(server['id'])[0]['uuid']
        answer = self.request(
            f'/servers/{server["id"]}/evacuations/{newest}/progress',
            method='PUT',
            roles='service',
            json={
                'progress': {
                    'disk_total_bytes': total,
                    'disk_processed_bytes': processed,
                }
            },
            version='compute 2.94, instance-ha 1.2',
        )
        self.assertEqual(204, answer.status_code, answer.text)
        return self.watch.look(server['id'])[0]

    def counts(self, host):
        """How many servers of a host are in which state, by the summary."""
        answer = self.request(
            f'/os-evacuations/summary?source_compute={host}',
            version='compute 2.94, instance-ha 1.2',
        )
        self.assertEqual(200, answer.status_code, answer.text)
        [found] = answer.json()['evacuations_summary']['hosts']
        self.assertEqual(found['total'], sum(found['states'].values()))
        return {key: n for key, n in found['states'].items() if n}

    def set_service(self, host, **changes):
        service = self.computes[host].service_ref
        self.admin_api.api_put(f'/os-services/{service.uuid}', changes)

    @contextlib.contextmanager
    def no_host(self, *hosts):
        """Nova finds no host as long as this lasts."""
        for host in hosts:
            self.set_service(host, status='disabled')
        try:
            yield
        finally:
            for host in hosts:
                self.set_service(host, status='enabled')

    def return_of(self, host):
        """The host's nova-compute starts again, its guests survived."""
        self.computes[host] = self.restart_compute_service(
            self.computes[host], keep_hypervisor_state=True
        )

    def reset(self, server):
        self.admin_api.post_server_action(
            server['id'], {'os-resetState': {'state': 'active'}}
        )

    def until(self, server, **wanted):
        """Ask until the newest record is like that; give it."""
        return self._until(
            server,
            lambda items: (
                items and all(items[0][key] == wanted[key] for key in wanted)
            ),
        )[0]

    def until_over(self, *servers):
        """Ask until nova's last write about each of them is seen."""
        for server in servers:
            self._until(server, self._is_over)

    def _until(self, server, reached):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            items = self.watch.look(server['id'])
            if reached(items):
                return items
            time.sleep(0.01)
        self.fail(f'Waited in vain, last seen: {items[:1]}')

    def _is_over(self, items):
        # The server is written after the record, the event after both.
        return (
            items
            and items[0]['state'] in ('succeeded', 'failed')
            and items[0]['finished_at'] is not None
        )

    # --- saying what must be so -------------------------------------------

    def check(self, name, about, server, **expected):
        """What was seen of a server is right, from the first look on.

        :param about: a sentence for who reads the recording.
        :param records: status, state and reason of each, newest first.
        :param vm: what nova calls the server's state in the end.
        :param guests: hosts that hold the guest, in truth; ``HERE`` is where
            the newest record takes it.
        :param phases: those that the newest record went through.
        """
        items = self.watch.look(server['id'])
        row, destination = self.truth(server['id'])
        found = {
            'records': [
                (item['status'], item['state'], item['reason'])
                for item in items
            ],
            'vm': row and row.vm_state,
            'guests': [
                HERE if host == destination else host
                for host in self.guests_of(server['id'])
            ],
            'phases': self._check_way(name, server['id']),
        }
        for key, value in found.items():
            if value != expected[key]:
                self.problems.append(
                    f'{name}: {key} {value}, expected {expected[key]}'
                )
        if os.environ.get('NOVA_HA_RECORD'):
            recordings.write(
                recordings.Run(
                    name,
                    about,
                    tuple(words[1:] for words in found['records']),
                    found['phases'],
                    tuple(s.look for s in self.watch.looks(server['id'])),
                )
            )

    def _check_way(self, name, server):
        """Check percent and 100 of each answer; give the newest's phases."""
        phases = []
        seen = self.watch.seen[server]
        for turn in recordings.turns([one.look for one in seen]):
            phases, before = [], 0
            for one in (seen[index] for index in turn):
                newest = one.items[0]
                if phases[-1:] != [newest['phase']]:
                    phases.append(newest['phase'])
                wrong = _what_is_wrong(newest, before, there=one.look.there)
                if wrong:
                    self.problems.append(f'{name}: {wrong}: {newest}')
                before = max(before, newest['progress'] or 0)
        return phases

    def no_problems(self):
        self.assertEqual('', '\n'.join(self.problems))


def _what_is_wrong(item, before, *, there):
    """Give what no answer may say of a newest record."""
    percent, state = item['progress'], item['state']
    if percent is not None and percent < before:
        return f'it was at {before} % before'
    if (percent == 100) != (state == 'succeeded'):
        return 'a hundred percent and a success are the same'
    if percent == 100 and not there:
        return 'the server is not there'
    if item['stalled'] and state in ENDED:
        return 'it has ended and stalls'
    return None
