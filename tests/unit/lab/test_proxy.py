# SPDX-License-Identifier: Apache-2.0
"""A delayed stream arrives whole, in order and late, and it ends."""

import asyncio
import unittest

from lab import proxy

DELAY = 0.2


class TestProxy(unittest.IsolatedAsyncioTestCase):
    """One proxy before one server that sends back what it gets."""

    async def asyncSetUp(self):
        self.there = await self.listen(self.echo)
        self.proxy = proxy.Proxy('127.0.0.1', self.there, DELAY)
        self.here = await self.listen(self.proxy.serve)

    async def listen(self, serve):
        server = await asyncio.start_server(serve, '127.0.0.1', 0)
        self.addAsyncCleanup(self.close, server)
        return server.sockets[0].getsockname()[1]

    async def close(self, server):
        server.close()

    async def echo(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def test_all_of_it_comes_back_in_order_and_late(self):
        reader, writer = await asyncio.open_connection('127.0.0.1', self.here)
        sent = bytes(range(256)) * 4000
        clock = asyncio.get_running_loop().time
        began = clock()

        writer.write(sent)
        writer.write_eof()
        received = await reader.read()

        self.assertEqual(sent, received)
        # To open it, there and back.
        self.assertGreaterEqual(clock() - began, 3 * DELAY)
        writer.close()

    async def test_a_limit_of_bytes_per_second_is_kept(self):
        slow = proxy.Proxy('127.0.0.1', self.there, 0.0, rate=1_000_000)
        port = await self.listen(slow.serve)
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        sent = bytes(300_000)
        clock = asyncio.get_running_loop().time
        began = clock()

        writer.write(sent)
        writer.write_eof()
        received = await reader.read()

        self.assertEqual(sent, received)
        # All but the last piece had to wait for the one before.
        self.assertGreaterEqual(clock() - began, 0.2)
        writer.close()

    async def test_nobody_behind_it_ends_the_connection(self):
        refused = proxy.Proxy('127.0.0.1', 1, 0.0)
        port = await self.listen(refused.serve)
        reader, writer = await asyncio.open_connection('127.0.0.1', port)

        try:
            received = await reader.read()
        except ConnectionResetError:
            received = b''

        self.assertEqual(b'', received)
        writer.close()

    async def test_a_reset_ends_both_sides(self):
        reader, writer = await asyncio.open_connection('127.0.0.1', self.here)
        writer.write(b'x')
        await reader.readexactly(1)

        writer.transport.abort()

        # Else this would wait for ever.
        async with asyncio.timeout(10):
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0.02)
