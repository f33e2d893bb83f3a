# SPDX-License-Identifier: Apache-2.0

"""Prints the tables of meters for the documentation."""

from collections.abc import Iterator
import fnmatch
import pathlib
import typing

import yaml

from ceilometer_pollsters import meters

_DATA = pathlib.Path(meters.__file__).parent / 'data'
_POLLING = {
    'ha': 'polling_ha.yaml',
    'ha_host': 'polling_ha_host.yaml',
    'ha_central': 'polling_ha_central.yaml',
}
_HEAD = """\
.. list-table:: Namespace ``{0}``, {1}
   :header-rows: 1
   :widths: 30 9 9 16 36

   * - Meter
     - Unit
     - Every
     - Resource, policy
     - What it says
"""
_WHERE = {
    'ha': 'sent by every hypervisor',
    'ha_host': 'sent by every hypervisor, from a process of its own',
    'ha_central': 'sent by the controllers',
}


def read(name: str) -> typing.Any:
    """Return one of the files that are shipped for ceilometer."""
    return yaml.safe_load((_DATA / name).read_text())


def policies() -> dict[str, str]:
    """Return the archive policy of each meter that gnocchi keeps."""
    return {
        name: metric['archive_policy_name']
        for resource in read('gnocchi_resources_ha.yaml')['resources']
        for name, metric in resource['metrics'].items()
    }


def interval(meter: meters.Meter) -> int:
    """Return the seconds between two samples, as shipped.

    :raises LookupError: no source polls it.
    """
    for source in read(_POLLING[meter.namespace])['sources']:
        if any(fnmatch.fnmatch(meter.name, name) for name in source['meters']):
            return int(source['interval'])
    raise LookupError(
        f"'{meter.name}' is in no source of {_POLLING[meter.namespace]}"
    )


def _row(meter: meters.Meter, policy: str | None) -> str:
    kept = f'``{meter.resource}``, ``{policy}``' if policy else 'not kept'
    text = meter.text
    if meter.kind == meters.Kind.CUMULATIVE:
        text += ' Only grows.'
    if meter.opt_in:
        text += ' Only if it is asked for.'
    return (
        f'   * - ``{meter.name}``\n     - {meter.unit}\n'
        f'     - {interval(meter)} s\n     - {kept}\n     - {text}\n'
    )


def table() -> Iterator[str]:
    """Give the tables as reStructuredText, piece by piece."""
    yield '.. Made by tools/meter-table; a test compares it.\n\n'
    kept = policies()
    for namespace, where in _WHERE.items():
        yield _HEAD.format(namespace, where)
        for meter in meters.METERS:
            if meter.namespace == namespace:
                yield _row(meter, kept.get(meter.name))
        yield '\n'


if __name__ == '__main__':
    print(''.join(table()), end='')
