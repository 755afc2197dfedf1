"""A wire to a server of the tests, which delays what passes, holds it, or is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

_LOOK_SECONDS: Final = 0.01


class Wire:
    """Connections to a port, through another: ``delay`` seconds for each piece, and none at all while it ``holds``."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.delay = 0.0
        self.holds = False
        self._to = port
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Reset every connection there is."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
            self._writers |= {writer, back}
            try:
                await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
            finally:
                self._writers -= {writer, back}
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                await asyncio.sleep(self.delay)
                while self.holds:  # noqa: ASYNC110 - a wire tells nobody
                    await asyncio.sleep(_LOOK_SECONDS)
                writer.write(piece)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A wire to a port of this machine."""
    between = Wire(port)
    server = await asyncio.start_server(between, "127.0.0.1", 0)
    between.port = server.sockets[0].getsockname()[1]
    try:
        yield between
    finally:
        server.close()
        between.cut()
