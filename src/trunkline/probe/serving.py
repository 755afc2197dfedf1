"""A server as a part of a program: it begins and ends where the program says, and leaves signals to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from trunkline.probe.errors import ProbeError


@asynccontextmanager
async def served(config: uvicorn.Config, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on a listening socket, beside whatever else this event loop does; close it at the end.

    Raises `ProbeError` when the application does not start; it has then logged why.
    """
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await server.settled.wait()
        if not server.started:
            raise ProbeError(f"The server on port {listener.getsockname()[1]} did not start.")
        yield
    finally:
        server.should_exit = True
        await serving
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn that can be waited for and does not catch signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets=sockets)
        finally:
            self.settled.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
