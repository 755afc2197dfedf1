"""uvicorn's side of one request and its answer, at a third of its cost: what it checks of each header is checked once.

uvicorn validates and writes an answer header by header, for applications of all kinds. This gateway writes every answer
itself or takes it from a parser, so that one look at the whole head is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from trunkline.server.asgi import BODY_FOLLOWS

_BODILESS: Final = (204, 304)


class Cycle(RequestResponseCycle):
    """As its base, for applications that send well-formed messages in their order."""

    _head = b""
    """The head of an answer, until it is written."""

    async def send(self, message: Any) -> None:
        """Write a message out, when the client reads fast enough. Raises `RuntimeError` for one out of its order."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.body":
            self._write(message.get("body", b""), more=message.get("more_body", False))
        elif self.response_started:
            raise RuntimeError("An answer begins once.")
        else:
            self._begin(message["status"], message.get("headers", ()))
            if BODY_FOLLOWS not in message:
                self.transport.write(self._head)
                self._head = b""

    def write_now(self, body: bytes) -> bool:
        """Write a piece of a body that goes on; return whether the client reads fast enough for another."""
        if not self.disconnected:
            self._write(body, more=True)
        return not self.flow.write_paused

    def _begin(self, status: int, headers: Any) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        pairs = [*self.default_headers, *headers]
        named: Mapping[bytes, bytes] = dict(pairs)
        lines = [STATUS_LINE[status], *[b"%b: %b\r\n" % pair for pair in pairs]]
        length = named.get(b"content-length")
        if length is not None:
            self.chunked_encoding, self.expected_content_length = False, int(length)
        elif named.get(b"transfer-encoding", b"").lower() == b"chunked":
            self.chunked_encoding = True
        elif self.scope["method"] != "HEAD" and status not in _BODILESS:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if b"close" in named.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        # A line break inside a header would begin another one, or an answer of somebody else's.
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            raise RuntimeError("A header of an answer holds a line break or a NUL.")
        self._head = head

    def _write(self, body: bytes, *, more: bool) -> None:
        if not self.response_started or self.response_complete:
            raise RuntimeError("A body comes between the beginning and the end of its answer.")
        if self.scope["method"] == "HEAD":
            self.expected_content_length, body = 0, b""
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        elif body:
            if len(body) > self.expected_content_length:
                raise RuntimeError("An answer is longer than its content-length.")
            self.expected_content_length -= len(body)
        if self._head:
            body, self._head = self._head + body, b""
        if body:
            self.transport.write(body)
        if not more:
            self._end()

    def _end(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("An answer is shorter than its content-length.")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
