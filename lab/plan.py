# SPDX-License-Identifier: Apache-2.0
"""The plan of a lab: what it consists of, where it is, how it is reached.

Everything of a lab is in one directory and in network namespaces whose names
begin with the lab's own; so two labs may have the same addresses.
"""

import dataclasses
import json
import pathlib
import secrets
import typing
import uuid

from lab.embedded import plan as embedded

ROOT = embedded.ROOT
REGION = 'RegionOne'
# A network of the lab is one bridge in the control namespace.
NETWORKS = {
    'management': '10.99.0',
    'storage': '10.98.0',
    'tenant': '10.97.0',
}
# The BMCs have addresses of their own, on the control namespace's loopback.
OUT_OF_BAND = '10.96.0'
CONTROLLER = f'{NETWORKS["management"]}.1'
PORTS = {
    'mariadb': 3306,
    'rabbitmq': 5672,
    'keystone': 5000,
    'placement': 8778,
    'glance': 9292,
    'nova': 8774,
    'neutron': 9696,
    'gnocchi': 8041,
    'aodh': 8042,
    'webhook': 8043,
    'redis': 6379,
    'receiver': 8099,
}
# Their addresses end in 11 to 254.
MOST_HOSTS = 244
# Theirs in 2 to 9.
MOST_ENGINES = 8
STORAGE = ('shared', 'local')
# Where the heartbeats are kept.
LIVENESS = ('sql', 'redis')
REAL, FAKE = 'real', 'fake'
# Accounts with a password of their own; the first three are keystone users
# that people use, the others belong to services.
ACCOUNTS = (
    'admin',
    'demo',
    'alice',
    'nova',
    'placement',
    'glance',
    'ceilometer',
    'gnocchi',
    'aodh',
    'nova-ha',
    'database',
    'broker',
    'redis',
    'bmc',
)


class LabError(Exception):
    """The lab cannot do what was asked; the text says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Host:
    """A hypervisor: one set of namespaces with its own agents.

    :ivar name: nova's service host, ``[DEFAULT] host`` of its nova-compute.
    :ivar hostname: what its kernel says, and libvirt reports to nova. It
        differs from the name on one host, because that is where software
        breaks that compares them.
    :ivar kind: 'real' has libvirt and QEMU, 'fake' nova's fake virt driver.
    :ivar number: from 1 on, over both kinds; the last byte of its addresses.
    """

    name: str
    hostname: str
    kind: str
    number: int
    system_uuid: str

    def address(self, network: str = 'management') -> str:
        return f'{NETWORKS[network]}.{self.number + 10}'

    @property
    def bmc_address(self) -> str:
        """Return where its BMC answers: 443 for Redfish, 623 for IPMI."""
        return f'{OUT_OF_BAND}.{self.number + 10}'


@dataclasses.dataclass(frozen=True)
class Engine:
    """One nova-ha-engine, on a controller of its own.

    It has the networks that a host has, so it can be cut off alone, and a
    host name of its own.

    :ivar number: from 1 on; the last byte of its addresses.
    """

    number: int

    @property
    def name(self) -> str:
        return f'nova-ha-engine-{self.number}'

    @property
    def cable(self) -> str:
        """Return what its cables are called by: a name of a card is short."""
        return f'engine-{self.number}'

    def address(self, network: str = 'management') -> str:
        return f'{NETWORKS[network]}.{self.number + 1}'


@dataclasses.dataclass(frozen=True)
class Plan:
    """One lab.

    :ivar directory: holds all its files; absolute.
    :ivar lab_id: eight hexadecimal digits in the names of its namespaces.
    :ivar storage: 'shared' (one directory of instances for all hosts) or
        'local' (one each); what a host has is decided when it is powered on.
    :ivar passwords: by account, see ACCOUNTS.
    :ivar engines: how many run when it has come up; more may be started.
    :ivar liveness: where the heartbeats are kept, one of LIVENESS.
    """

    directory: pathlib.Path
    lab_id: str
    storage: str
    hosts: tuple[Host, ...]
    passwords: dict[str, str] = dataclasses.field(repr=False)
    engines: int = 1
    liveness: str = 'sql'

    def path(self, *parts: str) -> pathlib.Path:
        """Return a path below the lab's directory; its parent exists."""
        path = self.directory.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, name: str) -> pathlib.Path:
        return self.path('log', f'{name}.log')

    @property
    def namespace(self) -> str:
        """Return the network namespace of everything that is not a host."""
        return f'nhl-{self.lab_id}'

    def host_namespace(self, host: Host) -> str:
        return f'{self.namespace}-{host.name}'

    def engine_namespace(self, engine: Engine) -> str:
        return f'{self.namespace}-{engine.cable}'

    def host(self, name: str) -> Host:
        """Return a host by nova's service host.

        :raises LabError: there is none of that name.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        known = ', '.join(host.name for host in self.hosts)
        raise LabError(f"There is no host '{name}' in this lab, only {known}")

    def engine(self, name: str) -> Engine:
        """Return an engine by the name of its service.

        :raises LabError: none is called so.
        """
        for number in range(1, MOST_ENGINES + 1):
            if Engine(number).name == name:
                return Engine(number)
        raise LabError(
            f"There is no engine '{name}'; they are called "
            f"'{Engine(1).name}' to '{Engine(MOST_ENGINES).name}'"
        )

    def url(self, service: str, path: str = '') -> str:
        return f'http://{CONTROLLER}:{PORTS[service]}{path}'

    def database_url(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database of that name."""
        return (
            f'mysql+pymysql://lab:{self.passwords["database"]}@{CONTROLLER}:'
            f'{PORTS["mariadb"]}/{database}?charset=utf8mb4'
        )

    def coordination_url(self, database: str) -> str:
        """Return tooz's URL of MariaDB, whose locks the engines share."""
        return (
            f'mysql://lab:{self.passwords["database"]}@{CONTROLLER}:'
            f'{PORTS["mariadb"]}/{database}'
        )

    @property
    def redis_url(self) -> str:
        """Return the URL of Redis, for whoever keeps heartbeats there."""
        return (
            f'redis://:{self.passwords["redis"]}@{CONTROLLER}:{PORTS["redis"]}'
        )

    @property
    def liveness_options(self) -> dict[str, str]:
        """Return where the heartbeats are, as options of [nova_ha]."""
        if self.liveness == 'sql':
            return {'liveness_backend': 'sql'}
        return {
            'liveness_backend': self.liveness,
            'liveness_url': self.redis_url,
        }

    @property
    def transport_url(self) -> str:
        """Return the URL of the broker that every service uses."""
        return (
            f'rabbit://lab:{self.passwords["broker"]}@{CONTROLLER}:'
            f'{PORTS["rabbitmq"]}/'
        )

    def write(self, *parts: str, text: str) -> pathlib.Path:
        """Write a file that only its owner reads, and return its path."""
        path = self.path(*parts)
        embedded.write_secret(path, text)
        return path


def check_size(hosts: int, fake: int, engines: int = 1) -> None:
    """Refuse a number of machines for which there are no addresses.

    :raises LabError: it is one of these.
    """
    if min(hosts, fake) < 0 or not 1 <= hosts + fake <= MOST_HOSTS:
        raise LabError(
            f'A lab has 1 to {MOST_HOSTS} hosts, not {hosts} with libvirt '
            f'and {fake} fake ones'
        )
    if not 1 <= engines <= MOST_ENGINES:
        raise LabError(f'A lab has 1 to {MOST_ENGINES} engines, not {engines}')


def make(
    directory: pathlib.Path,
    hosts: int,
    fake: int,
    storage: str,
    engines: int = 1,
    liveness: str = 'sql',
) -> Plan:
    """Return the plan of a new lab and save it as lab.json."""
    for what, found, known in (
        ('Storage', storage, STORAGE),
        ('Liveness', liveness, LIVENESS),
    ):
        if found not in known:
            raise LabError(
                f"{what} is {' or '.join(known)}, not '{found}'; see --help"
            )
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(1, hosts + fake + 1):
        kind = REAL if number <= hosts else FAKE
        name = f'cmp-{number}' if kind == REAL else f'fake-{number - hosts}'
        # The second host calls itself by its full name.
        hostname = f'{name}.lab.example' if number == 2 else name
        made.append(Host(name, hostname, kind, number, str(uuid.uuid4())))
    plan = Plan(
        directory,
        secrets.token_hex(4),
        storage,
        tuple(made),
        # Of 16 characters: IPMI has no room for more than 20.
        {account: secrets.token_hex(8) for account in ACCOUNTS},
        engines,
        liveness,
    )
    save(plan)
    return plan


def save(plan: Plan) -> None:
    """Write lab.json, at once or not at all."""
    document: dict[str, typing.Any] = dataclasses.asdict(plan)
    document['directory'] = str(plan.directory)
    new = plan.write('lab.json.new', text=json.dumps(document, indent=1))
    new.replace(plan.directory / 'lab.json')


def load(directory: pathlib.Path) -> Plan:
    """Return the plan of the lab in a directory.

    :raises LabError: there is none, or it is of another directory.
    """
    path = directory.resolve() / 'lab.json'
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise LabError(
            f"There is no lab in '{directory}'. 'lab up' makes one."
        ) from None
    if document['directory'] != str(path.parent):
        # Taking it down would wipe that one.
        raise LabError(
            f"'{directory}' is a copy of the lab in "
            f"'{document['directory']}', or that lab was moved; use it there"
        )
    hosts = tuple(Host(**host) for host in document.pop('hosts'))
    return Plan(
        **{
            **document,
            'directory': pathlib.Path(document['directory']),
            'hosts': hosts,
        }
    )
