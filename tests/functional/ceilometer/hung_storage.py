# SPDX-License-Identifier: Apache-2.0

"""A storage that hangs: a FUSE file system whose server stops to answer.

Who asks it then waits in the kernel, and SIGKILL changes nothing: the state
that a hard-mounted NFS without its server leaves processes in. Needs root and
/dev/fuse. It is a directory with one directory in it, which has one file.
"""

import ctypes
import errno
import os
import stat
import struct
import threading

DEVICE = '/dev/fuse'
# include/uapi/linux/fuse.h
_LOOKUP, _GETATTR, _OPEN, _READ, _WRITE = 1, 3, 14, 15, 16
_RELEASE, _FLUSH, _INIT, _FORGET, _BATCH_FORGET = 18, 25, 26, 2, 42
_INTERRUPT = 36
_IN = struct.Struct('<IIQQIIIHH')
_OUT = struct.Struct('<IiQ')
_ATTR = struct.Struct('<QQQQQQIIIIIIIIII')
_FILE = 3
_DIRECT_IO = 1

_LIBC = ctypes.CDLL(None, use_errno=True)


def is_possible():
    """Whether such a file system can be mounted here."""
    return os.geteuid() == 0 and os.path.exists(DEVICE)


def _attributes(node):
    kind = stat.S_IFREG if node == _FILE else stat.S_IFDIR
    size = 4096 if node == _FILE else 0
    return _ATTR.pack(
        *(node, size, 8, 0, 0, 0),
        *(0, 0, 0),
        kind | 0o777,
        1,
        0,
        0,
        0,
        4096,
        0,
    )


class HungStorage:
    """Mounted until it is closed; answers until it is told to hang."""

    def __init__(self, path):
        self._path = os.fsencode(path)
        self._device = os.open(DEVICE, os.O_RDWR)
        options = (
            f'fd={self._device},rootmode=40000,user_id=0,group_id=0'
        ).encode()
        if _LIBC.mount(b'hung', self._path, b'fuse', 6, options):
            code = ctypes.get_errno()
            os.close(self._device)
            raise OSError(code, os.strerror(code), path)
        self._content = bytes(4096)
        self._answers = threading.Event()
        self._answers.set()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def hang(self):
        """Answer nothing from now on."""
        self._answers.clear()

    def go_on(self):
        """Answer again, also what was asked meanwhile."""
        self._answers.set()

    def close(self):
        """Unmount it; whoever still waits gets an error."""
        _LIBC.umount2(self._path, 2)
        self._answers.set()
        self._thread.join(5)
        os.close(self._device)

    def _serve(self):
        while True:
            try:
                request = os.read(self._device, 1 << 17)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                # Unmounted.
                return
            _, code, unique, node, *_ = _IN.unpack_from(request)
            body = request[_IN.size :]
            self._answers.wait()
            if code in (_FORGET, _BATCH_FORGET, _INTERRUPT):
                continue
            failed, answer = self._answer(code, node, body)
            try:
                os.write(
                    self._device,
                    _OUT.pack(_OUT.size + len(answer), failed, unique)
                    + answer,
                )
            except OSError:
                # Whoever asked has gone.
                continue

    def _answer(self, code, node, body):
        if code == _INIT:
            return 0, struct.pack(
                '<IIIIHHIIHHI', 7, 31, 65536, 0, 4, 3, 65536, 1, 1, 0, 0
            ) + bytes(28)
        if code == _LOOKUP:
            child = node + 1
            # No caching: each probe asks again.
            return 0, struct.pack('<QQQQII', child, 0, 0, 0, 0, 0) + (
                _attributes(child)
            )
        if code == _GETATTR:
            return 0, struct.pack('<QII', 0, 0, 0) + _attributes(node)
        if code == _OPEN:
            return 0, struct.pack('<QII', 0, _DIRECT_IO, 0)
        if code == _READ:
            return 0, self._content
        if code == _WRITE:
            size = struct.unpack_from('<QQI', body)[2]
            self._content = body[40 : 40 + size]
            return 0, struct.pack('<II', size, 0)
        if code in (_RELEASE, _FLUSH):
            return 0, b''
        return -errno.ENOSYS, b''
