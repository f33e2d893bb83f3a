# SPDX-License-Identifier: Apache-2.0

"""The fencing map: which device switches which host off.

A mistake here switches off the wrong machine, so nothing is guessed: a map
with one mistake is no map, and the text names the host and the key.
"""

import collections.abc
import dataclasses
import re
import typing

import yaml

from nova_ha_plugins.fencing import address as fencing_address
from nova_ha_plugins.fencing import base

# Keys of a host that are not the driver's.
_COMMON = ('driver', 'probe', 'networks')

# The network of the plain probe: its name is taken.
_MANAGEMENT = 'management'
_NETWORK = re.compile(r'[a-z][a-z0-9_-]{0,31}')


class MapError(Exception):
    """The map cannot be used; no host can be fenced until it is repaired."""

    def __init__(
        self, path: str, problem: str, host: str = '', key: str = ''
    ) -> None:
        where = f"Fencing map '{path}'"
        if host:
            where += f", host '{host}'"
        if key:
            where += f", key '{key}'"
        super().__init__(f'{where}: {problem}.')
        self.host = host
        self.key = key


@dataclasses.dataclass(frozen=True)
class Entry:
    """One host of the map.

    :ivar probe: 'address:port' of the second channel, '' for the usual one.
    :ivar options: what belongs to the driver.
    :ivar networks: 'address' or 'address:port' of the host on each further
        network that is probed.
    """

    host: str
    driver: str
    probe: str
    options: dict[str, typing.Any]
    networks: dict[str, str] = dataclasses.field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key which stands twice; YAML itself says nothing."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[typing.Any, typing.Any]:
        seen = set()
        for key_node, _ in node.value:
            key = getattr(key_node, 'value', None)
            if isinstance(key, str):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"'{key}' stands twice",
                        problem_mark=key_node.start_mark,
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: str) -> dict[str, Entry]:
    """Return the entries of a map by host; an absent file is an empty map.

    :raises MapError: the file cannot be read or has a mistake.
    """
    try:
        with open(path, encoding='utf-8') as source:
            # A subclass of SafeLoader: builds plain values only.
            document = yaml.load(source, Loader=_Loader)  # noqa: S506
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError) as exc:
        raise MapError(path, f'cannot be read: {exc}') from exc
    except yaml.YAMLError as exc:
        raise MapError(path, f'is not YAML: {_one_line(exc)}') from None
    return parse(path, document)


def parse(path: str, document: object) -> dict[str, Entry]:
    """Return the entries of a loaded document by host.

    :param path: for texts.
    :raises MapError: there is a mistake.
    """
    if document is None:
        return {}
    if not isinstance(document, dict) or set(document) - {'hosts'}:
        raise MapError(
            path, f"expected the one key 'hosts', found {_name(document)}"
        )
    hosts = document.get('hosts')
    if hosts is None:
        return {}
    if not isinstance(hosts, dict):
        raise MapError(
            path,
            f'expected a mapping of hosts, found {_name(hosts)}',
            key=('hosts'),
        )
    entries = {
        _host(path, host): _entry(path, host, values)
        for host, values in hosts.items()
    }
    _check_addresses(path, entries)
    return entries


def _host(path: str, host: object) -> str:
    if not isinstance(host, str) or not host.strip():
        raise MapError(
            path,
            f'expected the name of a nova service host, found {host!r} '
            f'(a name that looks like a number needs quotes)',
            key='hosts',
        )
    return host


def _entry(path: str, host: str, values: object) -> Entry:
    if not isinstance(values, dict):
        raise MapError(path, f'expected keys, found {_name(values)}', host)
    for key in values:
        if not isinstance(key, str):
            raise MapError(path, f'expected a name, found {key!r}', host)
    driver = values.get('driver')
    if not isinstance(driver, str) or not driver:
        raise MapError(
            path,
            f"expected the name of a driver such as 'redfish', "
            f'found {_name(driver)}',
            host,
            'driver',
        )
    probe = values.get('probe', '')
    if probe != '':
        _check_address(path, probe, host, 'probe')
    return Entry(
        host=host,
        driver=driver,
        probe=probe,
        options={
            key: value for key, value in values.items() if key not in _COMMON
        },
        networks=_networks(path, host, values.get('networks')),
    )


def _networks(path: str, host: str, values: object) -> dict[str, str]:
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise MapError(
            path,
            "expected a mapping of network names to 'address' or "
            f"'address:port', found {_name(values)}",
            host,
            'networks',
        )
    found = {}
    for name, where in values.items():
        if name == _MANAGEMENT:
            raise MapError(
                path,
                "expected a network other than 'management', which is the "
                "one of the key 'probe'",
                host,
                f'networks.{name}',
            )
        if not isinstance(name, str) or not _NETWORK.fullmatch(name):
            raise MapError(
                path,
                "expected the name of a network such as 'storage' (a small "
                'letter, then at most 31 small letters, digits, - and _), '
                f'found {name!r}',
                host,
                'networks',
            )
        found[name] = _check_address(path, where, host, f'networks.{name}')
    return found


def _check_address(path: str, where: object, host: str, key: str) -> str:
    problem = f"expected 'address' or 'address:port', found {where!r}"
    if not isinstance(where, str) or any(c.isspace() for c in where):
        raise MapError(path, problem, host, key)
    try:
        fencing_address.split(where, 1)
    except ValueError:
        raise MapError(path, problem, host, key) from None
    return where


def _check_addresses(path: str, entries: dict[str, Entry]) -> None:
    """Refuse a map that gives one probed address to two channels.

    Whoever answers there would speak for two hosts, or for two networks.
    """
    owners: dict[tuple[str, int], str] = {}
    for host, entry in entries.items():
        channels = [('probe', entry.probe)] if entry.probe else []
        channels += [(f'networks.{n}', a) for n, a in entry.networks.items()]
        for key, where in channels:
            name, port = fencing_address.split(where, 0)
            other = owners.setdefault(
                (name.lower(), port), f"key '{key}' of host '{host}'"
            )
            if other != f"key '{key}' of host '{host}'":
                raise MapError(
                    path,
                    f"expected an address of its own, found '{where}', which "
                    f'is {other} as well',
                    host,
                    key,
                )


def check_devices(
    path: str, drivers: collections.abc.Mapping[str, base.FencingDriver]
) -> None:
    """Refuse a map that gives one device to two hosts.

    :raises MapError: it does.
    """
    owners: dict[str, str] = {}
    for host, driver in drivers.items():
        other = owners.setdefault(driver.device, host)
        if other != host:
            raise MapError(
                path,
                f"expected a device of its own, found '{driver.device}', "
                f"which is the device of host '{other}'",
                host,
            )


def _name(value: object) -> str:
    """Describe a value by kind; it may be a secret in the wrong place."""
    if value is None:
        return 'nothing'
    if isinstance(value, dict):
        return f'keys {sorted(map(str, value))}'
    return f'a value of type {type(value).__name__}'


def _one_line(exc: yaml.YAMLError) -> str:
    # Without the snippet of the file that PyYAML would add.
    problem = getattr(exc, 'problem', None) or type(exc).__name__
    mark = getattr(exc, 'problem_mark', None)
    if mark is None:
        return str(problem)
    return f'{problem} in line {mark.line + 1}, column {mark.column + 1}'
