# SPDX-License-Identifier: Apache-2.0

"""The process that touches one directory of instances, and may hang there.

``python -m ceilometer_pollsters.storage_child DIRECTORY HOST``: when it is
asked, it writes a probe file past all caches and reads it back. It imports
little: one runs per directory.
"""

import errno
import mmap
import os
import stat
import sys
import time
from typing import Any
import urllib.parse

from ceilometer_pollsters import answering

# Made by whoever mounts the storage: an empty mount point has none, so it is
# not taken for the storage.
DIRECTORY = '.nova-ha'

# One block of any disk there is, and what O_DIRECT wants to be aligned to.
_BLOCK = 4096

# Nobody has set it up, rather than that it broke.
_NOT_SET_UP = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.ELOOP,
    }
)


def probe_file(path: str, host: str) -> str:
    """Return the file of a host below a directory of instances."""
    # Several hosts have one of their own on a shared storage.
    return os.path.join(path, DIRECTORY, urllib.parse.quote(host, safe=''))


def _open(name: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DSYNC
    try:
        return os.open(name, flags | os.O_DIRECT | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    # File systems in memory have nothing to go past.
    return os.open(name, flags | os.O_NONBLOCK, 0o600)


def probe(name: str) -> float:
    """Write a file and read it back; return the seconds that took.

    :raises OSError: it could not be done, or something else was read.
    """
    began = time.monotonic()
    written = mmap.mmap(-1, _BLOCK)
    written.write(os.urandom(_BLOCK))
    back = mmap.mmap(-1, _BLOCK)
    target = _open(name)
    try:
        if not stat.S_ISREG(os.fstat(target).st_mode):
            raise OSError(errno.EIO, 'It is no file', name)
        if os.pwrite(target, written, 0) != _BLOCK:
            raise OSError(errno.EIO, 'It took less than was written', name)
        if os.preadv(target, [back], 0) != _BLOCK:
            raise OSError(errno.EIO, 'It gave less than was written', name)
        if written[:] != back[:]:
            raise OSError(errno.EIO, 'It gave other than was written', name)
    finally:
        os.close(target)
    return time.monotonic() - began


def answer(name: str) -> dict[str, Any]:
    """Return what is told of one probe."""
    try:
        return {'seconds': probe(name)}
    except OSError as error:
        return {
            'failed': error.strerror or str(error),
            'file': name,
            'set_up': error.errno not in _NOT_SET_UP,
        }


def main(path: str, host: str) -> None:
    """Answer until whoever asks has gone."""
    # Whatever hangs, it is the directory that was asked for.
    os.chdir('/')
    name = probe_file(path, host)
    answering.serve(lambda request: answer(name))


if __name__ == '__main__':
    main(*sys.argv[1:3])
