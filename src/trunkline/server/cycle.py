"""uvicorn's side of one request and its answer, at a third of its cost: what it checks of each header is checked once.

uvicorn validates and writes an answer header by header, for applications of all kinds. This gateway writes every answer
itself or takes it from a parser, so that one look at the whole head is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from trunkline.server.asgi import BODY_FOLLOWS, GONE, MEMO, WRITE_NOW, OnGone, Receive, Scope, Send
from trunkline.server.known_heads import KnownHead

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

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        pairs = [*self.default_headers, *headers]
        named: Mapping[bytes, bytes] = dict(pairs)
        lines = [b": ".join(pair) for pair in pairs]
        # A line break inside a header would begin another one, or an answer of somebody else's.
        text = b" ".join(lines)
        if b"\n" in text or b"\r" in text or b"\0" in text:
            raise RuntimeError("A header of an answer holds a line break or a NUL.")
        length = named.get(b"content-length")
        if length is not None:
            self.chunked_encoding, self.expected_content_length = False, int(length)
        elif named.get(b"transfer-encoding", b"").lower() == b"chunked":
            self.chunked_encoding = True
        elif self.scope["method"] != "HEAD" and status not in _BODILESS:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked")
        if b"close" in named.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close")
        self._head = STATUS_LINE[status] + b"\r\n".join([*lines, b"\r\n"])

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


class KnownCycle(Cycle):
    """That of a request whose head came before.

    Once its body is there it is a `trunkline.server.asgi.Whole`. An ASGI scope is made only when one is asked for.
    """

    def __init__(self, known: KnownHead, digits: bytes, connection: Mapping[str, Any], **options: Any) -> None:
        super().__init__(scope=known.scope, **options)
        self.memo = known.memo
        self.listen: OnGone = connection["extensions"][GONE]["listen"]
        self._known = known
        self._digits = digits
        self._connection = connection

    @property
    def content(self) -> bytes:
        """The body, once it is all there."""
        return bytes(self.body)

    def as_asgi(self) -> tuple[Scope, Receive, Send]:
        """Return the scope that a parser would have made, and the ways to receive and to send."""
        if self.scope is self._known.scope:
            scope: Any = {**self.scope, **self._connection, "headers": self._known.headers(self._digits)}
            scope["state"] = scope["state"].copy()
            scope["extensions"] = {**scope["extensions"], MEMO: self.memo, WRITE_NOW: {"write": self.write_now}}
            self.scope = scope
        return cast("tuple[Scope, Receive, Send]", (self.scope, self.receive, self.send))

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Write a whole answer in one piece."""
        if not self.disconnected:
            self._begin(status, headers)
            self._write(body, more=False)
