"""How large a request's head may be: uvicorn's parser sets no bound, and a head without end would fill the memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trunkline.server.asgi import GONE, WRITE_NOW
from trunkline.server.cycle import Cycle

# Every field and the path together, as common servers have it.
MAX_HEAD_BYTES: Final = 64 * 1024
# One field of a WebSocket handshake, whose second parser (websockets) takes no longer line and no more lines.
_MAX_HANDSHAKE_FIELD: Final = 8000
_MAX_HANDSHAKE_FIELDS: Final = 120
_LINGER_SECONDS: Final = 1.0
_PUNCTUATION: Final = len(b": \r\n")


class HeadTooLarge(Exception):
    """Stops the parser."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, answering 431 to a head that is too large (RFC 6585 section 5)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = True
        self._unfinished = 0
        self._has_body = False
        self._too_large = ""
        self._is_lost = False
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._listener: Callable[[], None] | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that does not end is refused before it is complete."""
        if self._too_large:
            return  # the rest of what was refused
        super().data_received(data)
        self._unfinished = 0 if self._has_body else self._unfinished + len(data)
        self._has_body = False
        if self._unfinished <= MAX_HEAD_BYTES:
            return
        if self._in_head:
            self._refuse_if(self._unfinished, MAX_HEAD_BYTES, "The request's head")
            self.send_400_response("")
        else:  # trailers without end, behind a chunked body
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Start to count."""
        super().on_message_begin()
        self.scope["extensions"] = {GONE: {"listen": self._tell}}
        self._in_head = True
        self._unfinished = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever serves the client that it has left."""
        super().connection_lost(exc)
        self._is_lost = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._tell(self._listener)

    def _tell(self, listener: Callable[[], None] | None) -> None:
        if self._is_lost and listener is not None:
            listener()
            listener = None
        self._listener = listener

    # How long a connection is kept without a request: one timer that looks, instead of one for each request.

    def on_response_complete(self) -> None:
        """Go on with a request that waits, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._check_idle)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _check_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None:  # the end of what goes on sets another
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._check_idle)
        else:
            self.timeout_keep_alive_handler()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, whose size is the application's to bound."""
        super().on_body(body)
        self._has_body = True

    def on_headers_complete(self) -> None:
        """Judge the whole head before anything reads it."""
        self._in_head = False
        self._has_body = True  # what came behind the head in the same piece is not the head's
        sizes = [len(name) + len(value) + _PUNCTUATION for name, value in self.headers]
        self._refuse_if(len(self.url) + sum(sizes), MAX_HEAD_BYTES, "The request's head")
        if self.parser.should_upgrade() and self._get_upgrade() == b"websocket":
            longest = max([len(self.url), *sizes])
            self._refuse_if(longest, _MAX_HANDSHAKE_FIELD, "A header or the path of a WebSocket's handshake")
            if len(sizes) > _MAX_HANDSHAKE_FIELDS:
                self._refuse(f"A WebSocket's handshake may have {_MAX_HANDSHAKE_FIELDS} headers")
        if self.parser.should_upgrade() and self._should_upgrade():
            super().on_headers_complete()
        else:
            self._begin()

    def _begin(self) -> None:
        """Serve the request; one that came before the answer to the last waits for it."""
        parser, scope, last = self.parser, self.scope, self.cycle
        version = parser.get_http_version()
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["http_version"] = version
        scope["method"] = parser.get_method().decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        self.cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        scope["extensions"][WRITE_NOW] = {"write": self.cycle.write_now}
        if last is None or last.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be parsed; a head that is too large with 431 and the reason."""
        if not self._too_large:
            super().send_400_response(msg)
            return
        problem = {"message": f"{self._too_large}; send less.", "type": "invalid_request_error", "param": None}
        body = json.dumps({"error": {**problem, "code": "request_header_fields_too_large"}}).encode()
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body)
        )
        # Closing now, with bytes of the client's unread, would reset the connection and take the answer with it.
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _refuse_if(self, size: int, limit: int, what: str) -> None:
        if size > limit:
            self._refuse(f"{what} is larger than {limit} bytes")

    def _refuse(self, reason: str) -> None:
        self._too_large = reason
        if not self._in_head:
            raise HeadTooLarge
