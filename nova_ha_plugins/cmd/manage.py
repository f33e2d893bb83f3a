# SPDX-License-Identifier: Apache-2.0

"""nova-ha-manage: the schema, the cleaning, the doctor, keys of heartbeats.

Exit codes: 0 all is well, 1 something is to be done (it says what), 2 the
command line is wrong.
"""

import argparse
from collections.abc import Sequence
import os
import pathlib
import sys
import typing

from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_log import log
import sqlalchemy as sa

from nova_ha_plugins.cmd import doctor
from nova_ha_plugins.cmd import finding
from nova_ha_plugins.cmd import settings
from nova_ha_plugins.conf import config
from nova_ha_plugins import signatures
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import schema

OK = 0
ACTION_NEEDED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of one command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        conf = config.load(arguments, commands=[_COMMANDS], about=__doc__)
    except cfg.Error as error:
        print(f'Configuration cannot be read: {error}', file=sys.stderr)
        return ACTION_NEEDED
    log.set_defaults(default_log_levels=['alembic=WARNING'])
    log.setup(conf, config.PROJECT)
    run: typing.Callable[[cfg.ConfigOpts], int] = conf.command.run
    try:
        return run(conf)
    except store_api.StoreError as error:
        print(error, file=sys.stderr)
    except (db_exception.DBError, sa.exc.SQLAlchemyError) as error:
        print(
            'Database of [nova_ha_database] connection did not answer as '
            f'expected: {error}; nothing was changed',
            file=sys.stderr,
        )
    return ACTION_NEEDED


def db_sync(conf: cfg.ConfigOpts) -> int:
    """Bring the schema to the revision of this release."""
    before = schema.state(conf)
    after = schema.sync(conf)
    print(
        f'Schema of the store: revision {after.current!r}'
        + ('' if before.is_current else f', was {before.current!r}')
    )
    return OK


def db_purge(conf: cfg.ConfigOpts) -> int:
    """Remove old incidents, facts and evacuations that are over."""
    purged = store_api.open_store(conf).purge(conf.command.days)
    print(
        f'Removed {purged.incidents} closed incidents, {purged.facts} '
        f'settled facts and {purged.evacuations} ended evacuations older '
        f'than {conf.command.days:g} days'
    )
    return OK


def examine(conf: cfg.ConfigOpts) -> int:
    """Look at everything and say what to repair."""
    command = conf.command
    findings = doctor.examine(
        conf,
        aodh_conf=command.aodh_conf,
        ceilometer_conf=command.ceilometer_conf,
        receiver_conf=command.receiver_conf,
        nova_conf=command.nova_conf,
    )
    for one in findings:
        print(f'{one.level.upper():6} {one.check:13} {one.text}')
    todo = sum(one.level is finding.Level.ACTION for one in findings)
    print(f'{len(findings)} findings, {todo} to do')
    return ACTION_NEEDED if todo else OK


def heartbeat_key(conf: cfg.ConfigOpts) -> int:
    """Write the key that a host signs its heartbeats with."""
    path = conf.nova_ha.heartbeat_masters_file
    if not path:
        print(
            'Option [nova_ha] heartbeat_masters_file is not set: expected '
            'the file with the master secrets. No key was made',
            file=sys.stderr,
        )
        return ACTION_NEEDED
    try:
        masters = signatures.Watched(path, signatures.parse_masters).read()
    except (OSError, signatures.BadFile) as error:
        print(
            'Master secrets should be in [nova_ha] heartbeat_masters_file '
            f'{path!r}, and are not: {error}. No key was made',
            file=sys.stderr,
        )
        return ACTION_NEEDED
    key = signatures.derive(masters.newest, conf.command.host)
    line = signatures.format_key(key)
    if not conf.command.output:
        print(line, end='')
        return OK
    try:
        _write_secret(conf.command.output, line)
    except OSError as error:
        print(f'The key could not be written: {error}', file=sys.stderr)
        return ACTION_NEEDED
    print(
        f"Key of host '{conf.command.host}' by master {key.id!r}: "
        f'{conf.command.output}'
    )
    return OK


def _write_secret(path: str, text: str) -> None:
    """Replace a file by one that only its owner may read, at one stroke."""
    fresh = f'{path}.new'
    # Left by one that was killed; O_EXCL follows no link that waits there.
    pathlib.Path(fresh).unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(fresh, flags, 0o600), 'w') as stream:
        stream.write(text)
    os.replace(fresh, path)


def _host(text: str) -> str:
    if (
        not text.isprintable()
        or len(text.split()) != 1
        or text != text.strip()
    ):
        raise argparse.ArgumentTypeError(
            f'expected the name of one host, found {text!r}'
        )
    return text


def _days(text: str) -> float:
    days = float(text)
    # Not so, NaN.
    if not days >= 1:
        raise argparse.ArgumentTypeError(
            f'{text} is less than 1: the fences and failures of the last '
            'hours count for storm protection and quarantine'
        )
    return days


def _add_commands(
    commands: 'argparse._SubParsersAction[argparse.ArgumentParser]',
) -> None:
    database = commands.add_parser('db', help='the store in the database')
    actions = database.add_subparsers(dest='action', required=True)
    sync = actions.add_parser(
        'sync', help='create the tables, or bring them up to date'
    )
    sync.set_defaults(run=db_sync)
    purge = actions.add_parser(
        'purge', help='remove incidents, facts and evacuations that are over'
    )
    purge.add_argument(
        '--days',
        type=_days,
        default=90.0,
        help='keep what is younger than this many days (default: 90)',
    )
    purge.set_defaults(run=db_purge)
    examination = commands.add_parser(
        'doctor', help='look at everything and say what to repair'
    )
    for service, whose, *paths in (
        ('aodh', 'aodh', '/etc/aodh/aodh.conf'),
        ('ceilometer', 'the watcher', settings.CENTRAL, settings.MERGED),
        ('receiver', 'the receiver of heartbeats', settings.RECEIVER),
        ('nova', 'nova', '/etc/nova/nova.conf'),
    ):
        readable = [path for path in paths if doctor.default_path(path)]
        examination.add_argument(
            f'--{service}-conf',
            metavar='PATH',
            default=(readable or [''])[0],
            help=f'configuration of {whose} (default: {" or ".join(paths)}, '
            'if readable)',
        )
    examination.set_defaults(run=examine)
    key = commands.add_parser(
        'heartbeat-key', help='make the key that a host signs heartbeats with'
    )
    key.add_argument(
        'host',
        metavar='HOST',
        type=_host,
        help='what nova-compute calls itself there',
    )
    key.add_argument(
        '--output',
        metavar='PATH',
        default='',
        help='file to write it to, readable by its owner (default: stdout)',
    )
    key.set_defaults(run=heartbeat_key)


_COMMANDS = cfg.SubCommandOpt(
    'command', title='Commands', handler=_add_commands
)


if __name__ == '__main__':
    sys.exit(main())
