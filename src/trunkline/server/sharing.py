"""One answer on its way to several clients who asked for the same at the same time, and what is recorded of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

from trunkline.errors import UpstreamBroken
from trunkline.server.answer import Answer

# How far the provider is read ahead of the client that reads fastest.
_AHEAD: Final = 64 * 1024


class SharedAnswer:
    """An answer that is read once, and by as many `Reader` as come while all of it is held.

    At most ``most`` bytes are held. A larger answer goes on to those who read it already, no farther apart than that,
    and to nobody else. It is read from the provider as long as anybody reads it here, whoever asked for it first: when
    the last one leaves, the provider's side is given up. ``on_end`` is then called, once: with the body where all of it
    came and was held, else with None.
    """

    def __init__(self, answer: Answer, most: int, on_end: Callable[[bytes | None], None]) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.whole: bytes | None = None
        """The body, once all of it came and was held."""
        self.verdict: asyncio.Future[bool] | None = None
        """Whether it may be kept, once somebody asked: it is judged once for all."""
        self._answer = answer
        self._most = most
        self._on_end = on_end
        self._chunks: list[bytes] = []
        self._first = 0  # the number of the first chunk that is still held
        self._size = 0
        self._is_over = self._is_whole = False
        self._error: Exception | None = None
        self._readers: set[Reader] = set()
        self._room = asyncio.Event()
        self._pump = asyncio.create_task(self._read())

    @property
    def is_too_large(self) -> bool:
        """Whether more came than is held, so that nobody else can have it from its beginning."""
        return self._size > self._most

    def reader(self) -> Reader | None:
        """Return the body from its beginning, or None where that is gone, or the answer has failed."""
        if self.is_too_large or self._error is not None or (self._is_over and not self._is_whole):
            return None
        reader = Reader(self)
        self._readers.add(reader)
        return reader

    async def stop(self) -> None:
        """Give the answer up, whoever reads it: to them it is broken off."""
        try:
            if not self._is_over:
                self._pump.cancel()
                await asyncio.wait([self._pump])
                self._finish()
        finally:
            await self._answer.aclose()

    # For readers

    def _chunk(self, number: int) -> bytes | None:
        at = number - self._first
        return self._chunks[at] if at < len(self._chunks) else None

    def _was_read(self) -> None:
        if self.is_too_large and self._readers:
            slowest = min(reader.chunks for reader in self._readers)
            del self._chunks[: slowest - self._first]
            self._first = slowest
        self._room.set()

    async def _leave(self, reader: Reader) -> None:
        self._readers.discard(reader)
        if self._readers and not self._is_over:
            self._was_read()
        else:
            await self.stop()

    # The pump

    async def _read(self) -> None:
        try:
            async for chunk in self._answer.body:
                self._take(chunk)
                while self._is_far_ahead():
                    self._room.clear()
                    await self._room.wait()
            self._is_whole = True
        except Exception as error:
            self._error = error
        finally:
            self._finish()

    def _finish(self) -> None:
        """Say that nothing more comes. A pump that was stopped before it ran has not said so."""
        if not self._is_over:
            self._is_over = True
            if self._is_whole and not self.is_too_large:
                self.whole = b"".join(self._chunks)
            self._on_end(self.whole)
            self._wake()

    def _take(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._wake()

    def _wake(self) -> None:
        for reader in self._readers:
            reader.news.set()

    def _is_far_ahead(self) -> bool:
        read = [reader.bytes for reader in self._readers]
        if not read:
            return False
        return self._size - max(read) > _AHEAD or (self.is_too_large and self._size - min(read) > self._most)


class Reader:
    """The body for one client. ``chunks`` and ``bytes`` are what it has read."""

    def __init__(self, shared: SharedAnswer) -> None:
        self._shared = shared
        self._held: list[bytes] = []
        self._has_left = False
        self.chunks = 0
        self.bytes = 0
        self.news = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes. Raises what broke the answer off."""
        if self._held:
            return self._held.pop()
        return await self._next()

    async def wait_for_first(self) -> None:
        """Return when the first bytes are there, or it is known that there are none. Raises what broke it off."""
        with suppress(StopAsyncIteration):
            self._held.append(await self._next())

    async def aclose(self) -> None:
        """Leave; whoever else reads the answer reads on."""
        if not self._has_left:
            self._has_left = True
            await self._shared._leave(self)

    async def _next(self) -> bytes:
        shared = self._shared
        while (chunk := shared._chunk(self.chunks)) is None:
            if shared._error is not None:
                raise shared._error
            if shared._is_whole:
                raise StopAsyncIteration
            if shared._is_over or self._has_left:
                raise UpstreamBroken("The answer was given up before its end.")
            self.news.clear()
            await self.news.wait()
        self.chunks += 1
        self.bytes += len(chunk)
        shared._was_read()
        return chunk
