"""What a server takes of the processor to read a chat's request and answer it at once: the gateway's, and two others.

An experiment, about what could be saved: the gateway's own server and its recognition of heads; one that knows a head
by its bytes, all but the content-length, and has a task for each request; and the same without a task. They run at once
on one core and are asked in turn from the other, 1 KB in and 0.7 KB out on 32 kept connections:

    python bench/server_floor.py
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import uvicorn
import uvloop

from trunkline.server.asgi import KNOWN_HEADS, Receive, Scope, Send, Whole, respond
from trunkline.server.heads import BoundedHttpProtocol
from trunkline.server.known_heads import KnownHeads

KINDS = ("the gateway's", "by bytes, with a task", "by bytes")
QUESTION = json.dumps({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "y" * 930}]}).encode()
REQUEST = (
    b"POST /v1/local/bench/openai/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:8787\r\nuser-agent: bench/1\r\n"
    b"accept: */*\r\naccept-encoding: gzip\r\ncontent-type: application/json\r\n"
    b"authorization: Bearer tlk_%b\r\ncontent-length: %d\r\n\r\n%b" % (b"k" * 40, len(QUESTION), QUESTION)
)
BODY = b"x" * 700
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"700")]
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 700\r\n\r\n" + BODY
ROUNDS, SECONDS, CONNECTIONS = 5, 2.0, 32


class ByBytes(asyncio.Protocol):
    """Looks a head up as it stands on the wire; knows whole requests only, each in one piece."""

    known: dict[tuple[bytes, bytes], dict[str, Any]] = {}  # noqa: RUF012
    has_tasks = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        end = data.find(b"\r\n\r\n")
        head = data[:end].lower()
        at = head.find(b"\r\ncontent-length: ") + 18
        stop = head.find(b"\r\n", at)
        length = head[at:stop] if stop >= 0 else head[at:]
        assert int(length) == len(data) - end - 4
        self.known.setdefault((head[:at], head[at + len(length) :]), {})
        if self.has_tasks:
            asyncio.get_running_loop().create_task(self._answer())
        else:
            self._transport.write(ANSWER)

    async def _answer(self) -> None:
        self._transport.write(ANSWER)


async def serve_by_bytes(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(ByBytes, "127.0.0.1", port)
    await server.serve_forever()


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def serve_as_the_gateway(port: int) -> None:
    def serve_whole(whole: Whole) -> Coroutine[Any, Any, None]:
        return answer(whole)

    async def answer(whole: Whole) -> None:
        whole.answer(200, HEADERS, BODY)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"][KNOWN_HEADS] = known_heads
            await lifespan(receive, send)
        else:
            await receive()
            await respond(send, 200, HEADERS, BODY)

    known_heads = KnownHeads(serve_whole)
    options = {"loop": "uvloop", "lifespan": "on", "access_log": False, "log_config": None, "proxy_headers": False}
    lean: Any = {**options, "server_header": False, "date_header": False}
    uvicorn.run(application, port=port, http=BoundedHttpProtocol, **lean)


def serve(kind: str, port: int) -> None:
    if kind == KINDS[0]:
        serve_as_the_gateway(port)
    else:
        ByBytes.has_tasks = kind == KINDS[1]
        uvloop.run(serve_by_bytes(port))


class Client(asyncio.Protocol):
    """Asks again when it was answered."""

    answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._read = 0
        self._transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._read += len(data)
        if self._read >= len(ANSWER):
            self._read = 0
            Client.answers += 1
            self._transport.write(REQUEST)


async def per_request(port: int, process: int) -> float:
    """Return the microseconds of the processor that a request takes."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Client, "127.0.0.1", port) for _ in range(CONNECTIONS)]
    await asyncio.sleep(0.5)
    answers, spent = Client.answers, spent_by(process)
    await asyncio.sleep(SECONDS)
    found = (spent_by(process) - spent) / (Client.answers - answers) * 1e6
    for transport, _ in made:
        transport.close()
    return found


def wait_for(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)


def spent_by(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    if len(sys.argv) > 1:
        serve(sys.argv[1], int(sys.argv[2]))
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    servers = [
        (kind, 18800 + number, subprocess.Popen([sys.executable, __file__, kind, str(18800 + number)]))
        for number, kind in enumerate(KINDS)
    ]
    os.sched_setaffinity(0, {cores[-1]})
    try:
        for _, port, _ in servers:
            wait_for(port)
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for number in range(ROUNDS):
            for kind, port, process in servers if number % 2 else reversed(servers):
                found[kind].append(uvloop.run(per_request(port, process.pid)))
    finally:
        for _, _, process in servers:
            process.terminate()
            process.wait()
    for kind, times in found.items():
        print(f"{kind}: {statistics.median(times):.0f} us ({min(times):.0f} to {max(times):.0f})")


if __name__ == "__main__":
    main()
