# SPDX-License-Identifier: Apache-2.0

"""A nova and a keystone behind one HTTP server, which may lie.

What they say was recorded from real ones (recorded_answers.json); the rules
that nova keeps about evacuations are those of nova 34: accepted a second time
while the first runs, refused while the service counts as up, no force-up
while a record is ``done``. The truth is here, not in what was answered: what
may never happen is written to ``violations`` when it happens.
"""

import collections
import datetime
import threading
import time
import uuid

from tests.functional.engine import faults
from tests.functional.engine import keystone
from tests.functional.engine import requests
from tests.functional.engine import wire

_CLOSED = frozenset({'done', 'completed', 'error', 'failed', 'cancelled'})

# Seconds from an accepted evacuation to its destination, and to its end.
CLAIMED, MOVED, SLOW = 0.1, 0.3, 4.0

recorded = wire.recorded


class Cloud:
    """The truth of nova and keystone.

    :ivar script: what goes wrong.
    :ivar powered: returns whether a host is on; asked at every evacuation.
    :ivar outcomes: by server, how its next evacuations end: 'done',
        'no-host', 'failed-there', 'failed-early', 'slow', 'stuck'.
    """

    recorded = staticmethod(recorded)

    def __init__(self, powered):
        self.lock = threading.RLock()
        self.script = faults.Script()
        self.powered = powered
        self.calls = []
        self.violations = []
        self.outcomes = collections.defaultdict(list)
        self.performed = collections.Counter()
        self.services = {}
        self.addresses = {}
        self.servers = {}
        self.migrations = []
        self.attested = set()
        self._began = {}
        self.keystone = keystone.Keystone()
        self.over = threading.Event()
        cloud = self

        class Handler(requests.Handler):
            pass

        Handler.cloud = cloud
        self._server = wire.Server(Handler)
        self.url = f'http://127.0.0.1:{self._server.port}'
        self.keystone.url = self.url
        self.add_trust = self.keystone.add_trust
        self.revoke = self.keystone.revoke

    def close(self):
        self.over.set()
        self._server.close()

    # --- what there is ----------------------------------------------------

    def add_host(self, host, address):
        (template, *_) = recorded('services')[1]['services']
        self.services[host] = {
            **template,
            'host': host,
            'id': str(uuid.uuid4()),
        }
        self.addresses[host] = address

    def add_server(self, host, name, metadata=None, vm_state='active'):
        """Return the uuid of a server that was always there."""
        server = recorded('server')[1]['server']
        server.update(
            {
                'id': str(uuid.uuid4()),
                'name': name,
                'metadata': (
                    {'ha:policy': 'evacuate'} if metadata is None else metadata
                ),
                'OS-EXT-SRV-ATTR:host': host,
                'OS-EXT-SRV-ATTR:hypervisor_hostname': host,
                'OS-EXT-STS:vm_state': vm_state,
                'status': 'SHUTOFF' if vm_state == 'stopped' else 'ACTIVE',
            }
        )
        with self.lock:
            self.servers[server['id']] = server
        return server['id']

    def host_of(self, server):
        with self.lock:
            self._pass_time()
            found = self.servers.get(server)
            return found['OS-EXT-SRV-ATTR:host'] if found else None

    def vm_state(self, server):
        with self.lock:
            self._pass_time()
            return self.servers[server]['OS-EXT-STS:vm_state']

    def change(self, server, **fields):
        with self.lock:
            for key, value in fields.items():
                self.servers[server][f'OS-EXT-STS:{key}'] = value

    def delete(self, server):
        with self.lock:
            del self.servers[server]

    def nova_compute_starts(self, host):
        """What a nova-compute does that finds its guests evacuated."""
        with self.lock:
            for record in self.migrations:
                if record['source_compute'] == host and (
                    record['status'] == 'done'
                ):
                    record['status'] = 'completed'
            self.services[host]['state'] = 'up'

    def counts(self, kind, subject):
        """Return how many calls of a kind about a subject arrived."""
        with self.lock:
            return sum(
                (call.kind, call.subject) == (kind, subject)
                for call in self.calls
            )

    def times(self, kind, subject):
        with self.lock:
            return [
                call.at
                for call in self.calls
                if (call.kind, call.subject) == (kind, subject)
            ]

    def open_evacuations(self):
        with self.lock:
            self._pass_time()
            return [
                record
                for record in self.migrations
                if record['status'] not in _CLOSED
            ]

    # --- what happens by itself -------------------------------------------

    def _pass_time(self):
        now = time.monotonic()
        for record in self.migrations:
            if record['status'] in _CLOSED:
                continue
            began, outcome, state = self._began[record['uuid']]
            server = self.servers.get(record['instance_uuid'])
            if outcome == 'stuck' or server is None:
                continue
            if now - began < CLAIMED:
                continue
            if outcome in ('no-host', 'failed-early'):
                self._end_early(record, outcome, server)
                continue
            if record['dest_compute'] is None:
                self._claim(record)
            if now - began >= (SLOW if outcome == 'slow' else MOVED):
                self._end(record, outcome, server, state)

    def _end_early(self, record, outcome, server):
        record['status'] = 'error' if outcome == 'no-host' else 'failed'
        server['OS-EXT-STS:task_state'] = None
        if outcome == 'no-host':
            server['OS-EXT-STS:vm_state'] = 'error'

    def _claim(self, record):
        record['status'] = 'pre-migrating'
        # As a scheduler would: where least is.
        there = collections.Counter(
            server['OS-EXT-SRV-ATTR:host'] for server in self.servers.values()
        )
        record['dest_compute'] = record['dest_node'] = min(
            (
                host
                for host, service in self.services.items()
                if service['status'] == 'enabled'
                and service['state'] == 'up'
                and self.powered(host)
                and host != record['source_compute']
            ),
            key=lambda host: there[host],
        )

    def _end(self, record, outcome, server, state):
        server['OS-EXT-STS:task_state'] = None
        if outcome == 'failed-there':
            record['status'] = 'failed'
            server['OS-EXT-STS:vm_state'] = 'error'
            return
        record['status'] = 'done'
        server['OS-EXT-STS:vm_state'] = (
            'stopped' if state == 'stopped' else 'active'
        )
        server['OS-EXT-SRV-ATTR:host'] = record['dest_compute']

    # --- what is asked ----------------------------------------------------

    def evacuate(self, server):
        found = self.servers.get(server)
        if found is None:
            return self._missing(server)
        host = found['OS-EXT-SRV-ATTR:host']
        if self.services[host]['state'] == 'up':
            return faults.nova_error(
                400, f'Compute service of {host} is still in use.'
            )
        state = found['OS-EXT-STS:vm_state']
        if state not in ('active', 'stopped', 'error'):
            return faults.nova_error(
                409,
                f"Cannot 'evacuate' instance {server} while it is in "
                f'vm_state {state}',
            )
        self.begin_evacuation(server)
        return recorded('evacuate')

    def begin_evacuation(self, server, by_hand=False):
        """Accept an evacuation; note what must never be accepted."""
        self._pass_time()
        found = self.servers[server]
        host = found['OS-EXT-SRV-ATTR:host']
        if self.powered(host) and host not in self.attested:
            self.violations.append(f'{server} evacuated while {host} is on')
        for record in self.migrations:
            if record['instance_uuid'] != server:
                continue
            if record['source_compute'] == host and not (
                record['status'] in ('error', 'failed')
                and record['dest_compute'] is None
            ):
                self.violations.append(
                    f'{server} evacuated again, its record is '
                    f'{record["status"]}'
                )
        record = recorded('migrations')[1]['migrations'][0]
        created = datetime.datetime.now(datetime.UTC)
        record.update(
            {
                'id': len(self.migrations) + 1,
                'uuid': str(uuid.uuid4()),
                'instance_uuid': server,
                'status': 'accepted',
                'source_compute': host,
                'source_node': host,
                'dest_compute': None,
                'dest_node': None,
                'dest_host': None,
                'created_at': f'{created:%Y-%m-%dT%H:%M:%S.%f}',
            }
        )
        outcome = self.outcomes[server].pop(0) if self.outcomes[server] else ''
        self._began[record['uuid']] = (
            time.monotonic(),
            outcome or 'done',
            found['OS-EXT-STS:vm_state'],
        )
        found['OS-EXT-STS:task_state'] = 'rebuilding'
        self.migrations.append(record)
        if not by_hand:
            self.performed[server] += 1

    @staticmethod
    def _missing(server):
        return faults.nova_error(404, f'Instance {server} could not be found.')

    def act(self, kind, server, argument):
        if kind == 'evacuate':
            return self.evacuate(server)
        found = self.servers.get(server)
        if found is None:
            return self._missing(server)
        if kind == 'os-stop':
            if found['OS-EXT-STS:vm_state'] != 'active':
                return faults.nova_error(
                    409,
                    f"Cannot 'stop' instance {server} while it is in "
                    f'vm_state {found["OS-EXT-STS:vm_state"]}',
                )
            found['OS-EXT-STS:vm_state'] = 'stopped'
            return recorded('stop')
        if kind in ('os-start', 'pause'):
            wanted, state = {
                'os-start': ('stopped', 'active'),
                'pause': ('active', 'paused'),
            }[kind]
            if found['OS-EXT-STS:vm_state'] != wanted:
                return faults.nova_error(
                    409,
                    f"Cannot '{kind}' instance {server} while it is in "
                    f'vm_state {found["OS-EXT-STS:vm_state"]}',
                )
            found['OS-EXT-STS:vm_state'] = state
            return recorded('start' if kind == 'os-start' else 'pause')
        if kind == 'os-resetState':
            found['OS-EXT-STS:vm_state'] = argument['state']
            found['OS-EXT-STS:task_state'] = None
            return recorded('reset state')
        raise LookupError(f'No answer was recorded for action {kind}')

    def put_service(self, kind, host, document):
        service = self.services[host]
        if kind == 'un-force':
            if any(
                record['source_compute'] == host and record['status'] == 'done'
                for record in self.migrations
            ):
                return recorded('un-force refused')
            service['state'] = 'up'
        if kind == 'force-down':
            service['state'] = 'down'
        service.update(document)
        if service['status'] == 'enabled':
            service['disabled_reason'] = None
        return 200, {'service': dict(service)}, ()

    def look(self, kind, subject, query):
        """Answer a GET."""
        self._pass_time()
        if kind == 'services':
            found = [
                dict(service)
                for host, service in self.services.items()
                if query.get('host') in (None, host)
            ]
            return 200, {'services': found}, ()
        if kind == 'hypervisors':
            return 200, {'hypervisors': self._hypervisors()}, ()
        if kind == 'servers':
            found = [
                dict(server)
                for server in self.servers.values()
                if server['OS-EXT-SRV-ATTR:host'] == query['host']
            ]
            return 200, {'servers': found}, ()
        if kind == 'server':
            if subject not in self.servers:
                return self._missing(subject)
            return 200, {'server': dict(self.servers[subject])}, ()
        # Newest first, as nova sorts them.
        found = [
            dict(record)
            for record in reversed(self.migrations)
            if query.get('migration_type', record['migration_type'])
            == record['migration_type']
            and query.get('source_compute', record['source_compute'])
            == record['source_compute']
            and query.get('host', record['source_compute'])
            in (record['source_compute'], record['dest_compute'])
        ]
        return 200, {'migrations': found}, ()

    def _hypervisors(self):
        (template, *_) = recorded('hypervisors')[1]['hypervisors']
        return [
            {
                **template,
                'host_ip': self.addresses[host],
                'hypervisor_hostname': host,
                'service': {
                    'host': host,
                    'id': service['id'],
                    'disabled_reason': None,
                },
            }
            for host, service in self.services.items()
        ]
