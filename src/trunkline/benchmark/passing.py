"""Passes bytes on and reads none of them: ``python -m trunkline.benchmark.passing PORT UPSTREAM``.

What a gateway in Python cannot fall below: one connection to the upstream for each of a client's, and each piece
written as it came.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import cast

import uvloop

_HOST = "127.0.0.1"


class _Side(asyncio.Protocol):
    """One of the two connections; ``other`` is the one that gets its bytes."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def join(self, other: _Side) -> None:
        """Write what came before the other side was there, and all that comes."""
        self.other = other
        for data in self._early:
            self.data_received(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Client(_Side):
    def __init__(self, upstream: int) -> None:
        super().__init__()
        self._upstream = upstream
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        _, upstream = await asyncio.get_running_loop().create_connection(_Side, _HOST, self._upstream)
        upstream.join(self)
        self.join(upstream)


async def _main(port: int, upstream: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Client(upstream), _HOST, port, backlog=2048)
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(*map(int, sys.argv[1:])))
