# SPDX-License-Identifier: Apache-2.0
"""Forwards TCP connections and hands everything on late, in order.

This kernel cannot delay packets, so a stream is delayed: what a peer sends
arrives so much later, in each direction; opening a connection takes as long.
Closing is handed on late as well. A connection can have a limit of bytes per
second too, in each direction.
"""

import argparse
import asyncio
import collections.abc
import functools
import math
import os
import signal

# What is under way in one direction of a connection; then its sender waits.
_MOST_CHUNKS = 256
_CHUNK = 65536


class Proxy:
    """Forwards every connection to one place.

    :ivar delay: seconds, for each direction.
    :ivar rate: bytes per second of a connection, for each direction.
    """

    def __init__(
        self, host: str, port: int, delay: float, rate: float = math.inf
    ) -> None:
        self._host, self._port = host, port
        self.delay = delay
        self.rate = rate

    async def serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Forward one connection until both sides have closed it."""
        await asyncio.sleep(self.delay)
        try:
            there = await asyncio.open_connection(self._host, self._port)
        except OSError:
            # Whoever connected learns it the same way.
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as group:
                self._forward(group, reader, there[1])
                self._forward(group, there[0], writer)
        except* OSError:
            # A connection that one side has reset is over for both.
            pass
        finally:
            for one in (writer, there[1]):
                one.transport.abort()

    def _forward(
        self,
        group: asyncio.TaskGroup,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)
        group.create_task(self._take(reader, queue.put))
        group.create_task(self._give(queue.get, writer))

    async def _take(
        self,
        reader: asyncio.StreamReader,
        put: collections.abc.Callable[
            [tuple[float, bytes]], collections.abc.Awaitable[None]
        ],
    ) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            data = await reader.read(_CHUNK)
            await put((clock() + self.delay, data))
            if not data:
                return

    async def _give(
        self,
        get: collections.abc.Callable[
            [], collections.abc.Awaitable[tuple[float, bytes]]
        ],
        writer: asyncio.StreamWriter,
    ) -> None:
        clock = asyncio.get_running_loop().time
        free = clock()
        while True:
            due, data = await get()
            await asyncio.sleep(max(due, free) - clock())
            # What was not used up is not kept for later.
            free = max(clock(), free) + len(data) / self.rate
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()


async def _run(options: argparse.Namespace) -> None:
    proxy = Proxy(*options.to, options.delay, options.rate)
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, functools.partial(os._exit, 0)
    )
    server = await asyncio.start_server(proxy.serve, *options.listen)
    async with server:
        await server.serve_forever()


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(':')
    return host, int(port)


def main() -> None:
    """Forward until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--listen', type=_place, required=True)
    parser.add_argument('--to', type=_place, required=True)
    parser.add_argument('--delay', type=float, default=0.0, help='seconds')
    parser.add_argument(
        '--rate', type=float, default=math.inf, help='bytes per second'
    )
    options = parser.parse_args()
    asyncio.run(_run(options))


if __name__ == '__main__':
    main()
