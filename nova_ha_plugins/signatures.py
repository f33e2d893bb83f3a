# SPDX-License-Identifier: Apache-2.0

"""Signatures of heartbeats: who made them, without asking the message bus.

A host signs with a key of its own, which is derived from a master secret of
the controllers and the host's name: a stolen hypervisor can speak for itself
and for nobody else. Several masters count at the same time, so that keys can
be changed while the hearts beat on.
"""

from collections.abc import Callable
import dataclasses
import enum
import hmac
import os
import pathlib
import re
import typing

from nova_ha_plugins.store import values

Content = typing.TypeVar('Content')

# What is signed begins with what it is, so that no signature fits elsewhere.
_DERIVED = 'nova-ha heartbeat key 1'
_SIGNED = 'nova-ha heartbeat 1'
_ID = re.compile(r'[A-Za-z0-9._-]{1,32}')
# Characters: 'openssl rand -hex 32' gives 64.
_SHORTEST = 32


class BadFile(ValueError):
    """A file of keys that cannot be used; the text quotes none of them."""


class Verdict(enum.StrEnum):
    """What a signature says."""

    # With a key of the first master, or of another one.
    SIGNED = 'signed'
    OUTDATED = 'signed with an old key'
    UNSIGNED = 'not signed'
    UNKNOWN = 'signed with an unknown key'
    WRONG = 'wrongly signed'


@dataclasses.dataclass(frozen=True)
class Key:
    """A key or a master secret.

    :ivar id: names the master that it is, or comes from.
    """

    id: str
    secret: bytes = dataclasses.field(repr=False)

    def __str__(self) -> str:
        return self.id


def derive(master: Key, host: str) -> Key:
    """The key of a host."""
    text = f'{_DERIVED}\n{host}'.encode()
    return Key(master.id, hmac.digest(master.secret, text, 'sha256'))


def sign(key: Key, heard: values.Heard) -> str:
    """The signature of a heartbeat."""
    text = '\n'.join(
        (
            _SIGNED,
            key.id,
            heard.host,
            heard.boot_id,
            str(heard.sequence),
            heard.system_uuid,
            heard.service_uuid,
        )
    )
    return hmac.digest(key.secret, text.encode(), 'sha256').hex()


class Masters:
    """The master secrets, the newest first, and the keys made of them."""

    # Of hosts; more have only those who invent them.
    KEPT = 50_000

    def __init__(self, masters: tuple[Key, ...]) -> None:
        self._masters = {master.id: master for master in masters}
        self.newest = masters[0]
        self._keys: dict[tuple[str, str], Key] = {}

    def judge(
        self, heard: values.Heard, key_id: str, signature: str
    ) -> Verdict:
        """What the signature of a heartbeat says."""
        if not (key_id and signature):
            return Verdict.UNSIGNED
        if key_id not in self._masters:
            return Verdict.UNKNOWN
        expected = sign(self._key(key_id, heard.host), heard)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            return Verdict.WRONG
        if key_id != self.newest.id:
            return Verdict.OUTDATED
        return Verdict.SIGNED

    def _key(self, key_id: str, host: str) -> Key:
        key = self._keys.get((key_id, host))
        if key is None:
            if len(self._keys) >= self.KEPT:
                self._keys.clear()
            key = derive(self._masters[key_id], host)
            self._keys[key_id, host] = key
        return key


def parse_masters(text: str) -> Masters:
    """The masters that a text has, one ``ID SECRET`` per line.

    :raises BadFile: a line is of another form.
    """
    found: list[Key] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        words = line.split()
        if len(words) != 2 or not _ID.fullmatch(words[0]):
            raise BadFile(
                f"Line {number} should be 'ID SECRET', with an ID of letters, "
                'digits, dots, dashes and underscores'
            )
        if len(words[1]) < _SHORTEST:
            raise BadFile(
                f'The secret in line {number} should have at least '
                f'{_SHORTEST} characters, found {len(words[1])}'
            )
        if words[0] in {master.id for master in found}:
            raise BadFile(f"ID '{words[0]}' in line {number} is there twice")
        found.append(Key(words[0], words[1].encode()))
    if not found:
        raise BadFile("At least one line 'ID SECRET' should be in it")
    return Masters(tuple(found))


def parse_key(text: str) -> Key:
    """The key of a host, from what ``format_key`` made of it.

    :raises BadFile: it is of another form.
    """
    words = text.split()
    if len(words) == 2 and _ID.fullmatch(words[0]):
        try:
            secret = bytes.fromhex(words[1])
        except ValueError:
            secret = b''
        if len(secret) == 32:
            return Key(words[0], secret)
    raise BadFile(
        "It should be one line 'ID KEY', as 'nova-ha-manage heartbeat-key' "
        'writes it'
    )


def format_key(key: Key) -> str:
    """The line of a host's key file."""
    return f'{key.id} {key.secret.hex()}\n'


class Watched(typing.Generic[Content]):
    """A file that is read anew when it has changed."""

    def __init__(self, path: str, parse: Callable[[str], Content]) -> None:
        self.path = path
        self._parse = parse
        self._stamp: tuple[int, ...] = ()
        self._content: Content | None = None

    def read(self) -> Content:
        """What is in the file now.

        :raises OSError: it cannot be read.
        :raises BadFile: it is of another form.
        """
        stat = os.stat(self.path)
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if self._content is None or stamp != self._stamp:
            try:
                text = pathlib.Path(self.path).read_text(encoding='utf-8')
            except UnicodeDecodeError:
                raise BadFile('It should be a text in UTF-8') from None
            self._content = self._parse(text)
            self._stamp = stamp
        return self._content
