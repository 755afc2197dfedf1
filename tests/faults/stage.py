"""What the fault tests share: a provider whose faults are chosen by the model that is asked for, and a client."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.contract.log_rows import ANSWER, json_answer
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import read_request
from tests.contract.waiting import until
from trunkline.upstream.address import Origin

SECRET = "sk-caller-0123456789abcdef"
KEY = {"authorization": f"Bearer {SECRET}"}
CHAT = "/v1/local/default/openai/chat/completions"
GOOD = json_answer(ANSWER)

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""What a provider does about a request it has read; returns whether the connection is good for another."""


def chat_of(model: str, *, stream: bool = False, **more: Any) -> bytes:
    """A request's body."""
    asked = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": stream, **more}
    return json.dumps(asked).encode()


def says(*pieces: bytes, then: str = "goes on") -> Act:
    """Send pieces, each in a packet of its own, and then go on, hang, close or reset."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002)
        if then == "hangs":
            await reader.read()  # until the gateway gives up
        elif then == "resets":
            reset(writer)
        return then == "goes on"

    return act


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection as a program that crashed, or a firewall, does: with RST."""
    # After linger with a time of 0 there is no FIN.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Provider:
    """A provider on loopback. A model that no act is named after gets a good answer."""

    def __init__(self, acts: Mapping[str, Act]) -> None:
        self._acts = acts
        self.asked: Counter[str] = Counter()
        self.connections = 0
        """How many were opened."""
        self.open = 0
        """How many are open."""
        self.busy = 0
        """On how many of them there is a request."""
        self._writers: set[asyncio.StreamWriter] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self._writers.add(writer)
        try:
            is_good = True
            while is_good:
                _, _, body = await read_request(reader)
                model = json.loads(body)["model"] if body else ""
                self.asked[model] += 1
                self.busy += 1
                try:
                    is_good = await self._acts.get(model, says(GOOD))(reader, writer)
                finally:
                    self.busy -= 1
        finally:
            self.open -= 1
            self._writers.discard(writer)

    def leave(self) -> None:
        """Reset every connection, as a host does that goes away."""
        for writer in list(self._writers):
            reset(writer)

    async def until_asked(self, model: str, times: int = 1) -> None:
        """Wait until a model was asked for so often."""

        async def is_asked() -> bool:
            return self.asked[model] >= times

        await until(is_asked)

    async def until_gone(self) -> None:
        """Wait until no connection is open."""

        async def is_gone() -> bool:
            return self.open == 0

        await until(is_gone)

    async def until_left(self) -> None:
        """Wait until nothing is under way on any connection."""

        async def is_left() -> bool:
            return self.busy == 0

        await until(is_left)


@asynccontextmanager
async def provider(acts: Mapping[str, Act], **listening: Any) -> AsyncIterator[tuple[Provider, Origin]]:
    """A provider that listens, as `raw_server` does."""
    there = Provider(acts)
    async with raw_server(there, **listening) as origin:
        yield there, origin


def at(origin: Origin, **more: Any) -> dict[str, Any]:
    """The settings of a gateway whose OpenAI is there."""
    return {"providers": {"openai": {"base_url": f"{origin.scheme}://{origin.host}:{origin.port}/v1", **more}}}


class Left(NamedTuple):
    """How much of this process is in use: tasks of the event loop, and sockets."""

    tasks: int
    sockets: int


def left(kept: int = 0) -> Left:
    """Count, without the connections to a provider that are kept for the next request: two sockets here, and a task."""
    gc.collect()
    names = [_target_of(name) for name in os.listdir("/proc/self/fd")]
    return Left(len(asyncio.all_tasks()) - kept, sum(name.startswith("socket:") for name in names) - 2 * kept)


def _target_of(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:  # that of the folder itself
        return ""


async def until_no_more_than(before: Left, kept: Callable[[], int] = lambda: 0) -> None:
    """Wait until nothing is in use that was not before, but for connections that are kept."""

    async def is_down() -> bool:
        now = left(kept())
        return now.tasks <= before.tasks and now.sockets <= before.sockets

    try:
        async with asyncio.timeout(20):
            await until(is_down)
    except TimeoutError:
        tasks = sorted(task.get_coro().__qualname__ for task in asyncio.all_tasks())  # type: ignore[union-attr]
        raise AssertionError(f"{left(kept())} is left of what was {before}: {tasks}") from None


class Got(NamedTuple):
    """What a client got: the status, None without an answer; the body; whether it is whole."""

    status: int | None
    headers: dict[str, str]
    body: bytes
    is_whole: bool

    @property
    def code(self) -> str:
        """The code of an error, empty where there is none."""
        if not self.is_whole or not self.headers.get("content-type", "").startswith("application/json"):
            return ""
        document = json.loads(self.body)
        error = document.get("error") if isinstance(document, dict) else None
        return str(error["code"]) if isinstance(error, dict) else ""


class Client:
    """A client's connection, so plain that everything on it is seen."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def ask(self, body: bytes, path: str = CHAT, **headers: str) -> None:
        """Send a request."""
        self.writer.write(head_of(len(body), path, **headers) + body)

    async def answer(self) -> Got:
        """Read an answer to its end, or to where it breaks off."""
        try:
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return Got(None, {}, b"", is_whole=False)
        status = int(lines[0].split()[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
        if status < 200:
            return await self.answer()
        body = bytearray()
        try:
            if "content-length" in headers:
                left = int(headers["content-length"])
                while left:
                    piece = await self.reader.read(min(left, 65536))
                    if not piece:
                        return Got(status, headers, bytes(body), is_whole=False)
                    body += piece
                    left -= len(piece)
            elif headers.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readexactly(2)
        except (asyncio.IncompleteReadError, ConnectionError):
            return Got(status, headers, bytes(body), is_whole=False)
        return Got(status, headers, bytes(body), is_whole=True)

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    def reset(self) -> None:
        """Go without a word."""
        reset(self.writer)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def head_of(length: int | None, path: str = CHAT, **headers: str) -> bytes:
    """The head of a POST; without a length it says nothing of its body."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        f"authorization: {KEY['authorization']}",
        "content-type: application/json",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    if length is not None:
        lines.append(f"content-length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


async def exchange(port: int, body: bytes, path: str = CHAT, **headers: str) -> Got:
    """Ask once on a connection of its own."""
    async with await Client.to(port) as client:
        client.ask(body, path, **headers)
        return await client.answer()
