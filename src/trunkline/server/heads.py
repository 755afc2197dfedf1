"""uvicorn's HTTP protocol with a bound for heads, which would fill the memory without one, and a memory for them.

A head that came before is known by its bytes and not parsed again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from trunkline.server.asgi import GONE, KNOWN_HEADS, MEMO, WRITE_NOW, ServeWhole
from trunkline.server.cycle import Cycle, KnownCycle
from trunkline.server.known_heads import Cut, KnownHead, KnownHeads, cut

# Every field and the path together, as common servers have it.
MAX_HEAD_BYTES: Final = 64 * 1024
# One field of a WebSocket handshake, whose second parser (websockets) takes no longer line and no more lines.
_MAX_HANDSHAKE_FIELD: Final = 8000
_MAX_HANDSHAKE_FIELDS: Final = 120
# A larger body is not waited for before it is served (`trunkline.server.express` takes none).
_LARGE_BODY: Final = 128 * 1024
_LINGER_SECONDS: Final = 1.0
_PUNCTUATION: Final = len(b": \r\n")


class HeadTooLarge(Exception):
    """Stops the parser."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, answering 431 to a head that is too large (RFC 6585 section 5)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._known_heads: KnownHeads = self.app_state.get(KNOWN_HEADS) or KnownHeads()
        self._is_between = True
        self._awaited = 0
        self._unserved: ServeWhole | None = None
        self._begun = self._body_seen = 0
        self._in_head = True
        self._unfinished = 0
        self._has_body = False
        self._too_large = ""
        self._is_lost = False
        self._overtaken: list[RequestResponseCycle] = []
        """Requests that have no answer yet though others came behind them."""
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._listener: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note what all requests of the connection have in common."""
        super().connection_made(transport)
        self._connection = {
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "state": self.app_state,
            "extensions": {GONE: {"listen": self._tell}},
        }

    def data_received(self, data: bytes) -> None:
        """Take bytes: of a request whose head is known, or whatever the parser makes of them."""
        if self._awaited:
            data = self._take_body(data)
            if not data:
                return
        is_idle = self._is_between and (self.cycle is None or self.cycle.response_complete)
        found = cut(data) if is_idle else None
        if found is None:
            self._parse(data)
            return
        known = self._known_heads.find(found)
        if known is not None and len(found.body) <= int(found.digits):
            self._begin_known(known, found)
        else:
            self._begun = self._body_seen = 0
            self._parse(data)
            self._learn(found)

    def _parse(self, data: bytes) -> None:
        """Have bytes parsed; a head that does not end is refused before it is complete."""
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
        self._is_between = False
        self._begun += 1
        self._in_head = True
        self._unfinished = 0

    # Heads that came before.

    def _learn(self, found: Cut) -> None:
        """Take note of what the parser made of a request that began with the bytes at hand, and was alone in them."""
        cycle = self.cycle
        if self._begun != 1 or self._in_head or cycle is None or cycle.scope is not self.scope or not cycle.keep_alive:
            return
        if self._body_seen != len(found.body) or self.transport.is_closing():
            return
        known = self._known_heads.learn(found, self.scope)
        if known is not None:
            cycle.scope["extensions"][MEMO] = known.memo

    def _begin_known(self, known: KnownHead, found: Cut) -> None:
        """Take a request as the parser would, which has read the same head before.

        One with a small body is served when it is whole, so that nobody has to wait for it.
        """
        self._idle_since = None
        self._awaited = int(found.digits)
        self.expect_100_continue = False
        cycle = self.cycle = KnownCycle(known, found.digits, self._connection, **self._options(keep_alive=True))
        serve = self._known_heads.serve
        if serve is None or self._awaited > _LARGE_BODY:
            cycle.as_asgi()
            self._start_asgi_task(cycle, self.app)
        else:
            self._unserved = serve
        self._take_body(found.body)

    def _take_body(self, data: bytes) -> bytes:
        """Take the part of the body of a head that was known; return what comes behind it."""
        cycle, taken = self.cycle, data[: self._awaited]
        self._awaited -= len(taken)
        if not cycle.response_complete and (taken or not self._awaited):
            cycle.body += taken
            cycle.more_body = bool(self._awaited)
            if len(cycle.body) > HIGH_WATER_LIMIT and self._unserved is None:
                self.flow.pause_reading()
            cycle.message_event.set()
        serve = self._unserved
        if serve is not None and not self._awaited:
            self._unserved = None
            serving = serve(cast("KnownCycle", cycle))
            if serving is not None:
                self._start_asgi_task(cycle, lambda *_: serving)
        return data[len(taken) :]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever serves the client that it has left."""
        for cycle in self._overtaken:  # uvicorn tells the last one alone
            cycle.disconnected = True
        super().connection_lost(exc)
        if self._unserved is not None:  # whose body did not come: it is written down as any other
            self._unserved = None
            known = cast("KnownCycle", self.cycle)
            known.as_asgi()
            self._start_asgi_task(known, self.app)
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
        self._overtaken.clear()
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
        self._body_seen += len(body)

    def on_message_complete(self) -> None:
        """End a request."""
        super().on_message_complete()
        self._is_between = True

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
        """Serve the request whose head was parsed; one that came before the answer to the last waits for it."""
        parser, scope = self.parser, self.scope
        version = parser.get_http_version()
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["http_version"] = version
        scope["method"] = parser.get_method().decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        last = self.cycle
        keep_alive = version != "1.0" and parser.should_keep_alive()
        self.cycle = Cycle(scope=scope, **self._options(keep_alive=keep_alive))
        scope["extensions"][WRITE_NOW] = {"write": self.cycle.write_now}
        if last is None or last.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
            self._overtaken.append(last)

    def _options(self, *, keep_alive: bool) -> dict[str, Any]:
        """Return what a cycle of this connection has besides its scope."""
        return {
            "transport": self.transport,
            "flow": self.flow,
            "logger": self.logger,
            "access_logger": self.access_logger,
            "access_log": False,
            "default_headers": self.server_state.default_headers,
            "message_event": asyncio.Event(),
            "expect_100_continue": self.expect_100_continue,
            "keep_alive": keep_alive,
            "on_response": self.on_response_complete,
        }

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
