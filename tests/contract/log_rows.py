"""Gateways whose log a test reads afterwards, and what their providers say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.contract.administration import administration
from tests.running import Address, data_directory, gateway
from trunkline.store import Database, LogFilter, LogRow, Logs, Payload

ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 11,
        "completion_tokens": 3,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
}


def http_answer(body: bytes, kind: str = "application/json", status: str = "200 OK", *more: str) -> bytes:
    """An HTTP answer as its bytes."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_answer(document: Any, status: str = "200 OK", *more: str) -> bytes:
    return http_answer(json.dumps(document).encode(), "application/json", status, *more)


def chunk(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream_of(*events: str, usage: bool = True) -> list[bytes]:
    """A streamed chat completion, piece by piece."""
    told = [{"choices": [{"index": 0, "delta": {"content": word}}], "model": "gpt-4o"} for word in events]
    last = [{"choices": [], "model": "gpt-4o", "usage": {"prompt_tokens": 5, "completion_tokens": 2}}] if usage else []
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    pieces = [chunk(f"data: {json.dumps(one)}\n\n") for one in [*told, *last]]
    return [head, *pieces, chunk("data: [DONE]\n\n"), b"0\r\n\r\n"]


async def rows_in(directory: Path) -> list[LogRow]:
    """The rows of a data directory, oldest first."""
    database = await Database.open(directory)
    try:
        return await Logs(database).list(LogFilter(), limit=500, descending=False)
    finally:
        await database.close()


async def payload_in(directory: Path, id: str) -> Payload | None:
    database = await Database.open(directory)
    try:
        return await Logs(database).payload(id)
    finally:
        await database.close()


class LoggedGateway:
    """A running gateway; ``rows`` and ``payloads`` are there once it was left."""

    def __init__(self, address: Address, directory: Path) -> None:
        self.address = address
        self.http = address.http
        self.directory = directory
        self.rows: list[LogRow] = []
        self.payloads: dict[str, Payload | None] = {}

    async def until_there_is_a_row(self) -> None:
        """Wait until the drain has written something."""
        while not await rows_in(self.directory):  # noqa: ASYNC110 - there is nothing to be told by
            await asyncio.sleep(0.02)

    @property
    def row(self) -> LogRow:
        """The only row there is."""
        [row] = self.rows
        return row

    @property
    def payload(self) -> Payload | None:
        """What was kept of the only exchange there is."""
        return self.payloads[self.row.id]


@asynccontextmanager
async def logged(logging: Mapping[str, Any] | None = None, **settings: Any) -> AsyncIterator[LoggedGateway]:
    """A gateway with switches for its log."""
    with data_directory() as directory:
        if logging:
            async with administration(directory) as configuration:
                await configuration.change_gateway("default", logging=logging)
        async with gateway(data_dir=directory, **settings) as address:
            found = LoggedGateway(address, directory)
            yield found
        found.rows = await rows_in(directory)
        found.payloads = {row.id: await payload_in(directory, row.id) for row in found.rows}
