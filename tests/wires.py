"""A connection without a network, and an application that answers on it."""

from __future__ import annotations

import asyncio
from typing import Any

from trunkline.server.asgi import Receive


class Wire(asyncio.Transport):
    """A connection's other side: what was written to it, and whether it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self._is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 5) if name in ("peername", "sockname") else default

    def write(self, data: Any) -> None:
        assert not self._is_closed, "written to a closed connection"
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self._is_closed = True

    def abort(self) -> None:
        self._is_closed = True


async def body_from(receive: Receive) -> bytes | None:
    """The whole body of a request, or None where its client has left."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        more = message["more_body"]
    return body


def length_of(body: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of an answer that says how long a body was."""
    told = b"%d" % len(body)
    return [(b"content-length", b"%d" % len(told))], told
