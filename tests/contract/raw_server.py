"""A TCP server whose behaviour a test writes out: real sockets, no HTTP library to be polite."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from trunkline.upstream.address import Origin

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    sock: socket.socket | None = None,
) -> AsyncIterator[Origin]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled below, which asyncio's streams would take for a mistake
        finally:
            tasks.discard(task)
            writer.close()

    if sock is None:
        server = await asyncio.start_server(serve, host, port, ssl=tls)
    else:
        server = await asyncio.start_server(serve, sock=sock, ssl=tls)
    try:
        yield Origin("https" if tls else "http", host, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answering(*pieces: bytes, then_close: bool = False) -> Handler:
    """A handler that answers every request with the same bytes, piece by piece."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)
            if then_close:
                return

    return handler
