"""uvicorn's HTTP protocol, stricter: what it would read otherwise than others do, or wait for without end, is refused.

Its parser sets no bound to a head, waits for the rest of a request for ever, takes trailers for headers and the body of
a request that asks for another protocol for the next request. Besides, a head that came before is known by its bytes
here and not parsed again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, ClassVar, Final, cast
from urllib.parse import unquote

import httptools
import structlog
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from trunkline.server import head_rules
from trunkline.server.asgi import GONE, KNOWN_HEADS, LARGEST_WHOLE, MEMO, WRITE_NOW, ServeWhole
from trunkline.server.cycle import Cycle, KnownCycle
from trunkline.server.head_rules import MAX_HEAD_BYTES, Refusal, malformed
from trunkline.server.known_heads import Cut, KnownHead, KnownHeads, cut

log = structlog.get_logger("trunkline.heads")

# How long a head may take from its first byte to its last; and how long the rest of a body may keep us waiting, or a
# client that takes nothing of what waits for it (the kernel sees to that: `trunkline.server.serving.listen`).
HEAD_SECONDS = 30.0
STALL_SECONDS = 60.0
_LINGER_SECONDS: Final = 1.0
# How long a gateway that stops still takes requests on connections that are open: one may be on its way, and a proxy
# that is told so with the answer goes elsewhere with the next.
LAST_SECONDS = 0.5
# While there is no room for more clients: how often that is logged, and to how many at once it is told, not just shown.
_TELL_SECONDS: Final = 60.0
_MOST_TOLD: Final = 64
# What a trailer would say of the connection, which was judged by the head.
_NOT_IN_TRAILERS: Final = frozenset({b"connection", b"proxy-connection", b"upgrade"})


class HeadRefused(Exception):
    """Stops the parser."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, for requests that all read alike (RFC 9112), of bounded heads, sent in bounded time.

    Others are refused: with 431 where the head is too large, 408 where the rest does not come, and 400. The connection
    is closed behind that, and what was asked before is answered first.
    """

    _full_since: ClassVar = -math.inf

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._known_heads: KnownHeads = self.app_state.get(KNOWN_HEADS) or KnownHeads()
        self._awaited = 0
        self._unserved: ServeWhole | None = None
        self._begun = self._body_seen = 0
        self._in_head = True
        self._is_unfinished = False
        self._overhead = 0
        """How much came of what is no body, a head or trailers, since it began."""
        self._has_body = False
        self._refusal: Refusal | None = None
        self._is_lost = False
        self._overtaken: list[RequestResponseCycle] = []
        """Requests that have no answer yet though others came behind them."""
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._late_timer: asyncio.TimerHandle | None = None
        self._listener: Callable[[], None] | None = None
        self._leaves_at: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note what all requests of the connection have in common, and wait for the first no longer than for others."""
        super().connection_made(transport)
        self._connection: dict[str, Any] = {
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "state": self.app_state,
            "extensions": {GONE: {"listen": self._tell}},
        }
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            self._be_one_too_many(self.limit_concurrency)
        else:
            self._be_idle()

    def data_received(self, data: bytes) -> None:
        """Take bytes: of a request whose head is known, or whatever the parser makes of them."""
        if self._refusal is not None:
            return  # the rest of what was refused
        if self._awaited:
            data = self._take_body(data)
            if not data:
                return
        is_idle = not self._is_unfinished and (self.cycle is None or self.cycle.response_complete)
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
        """Have bytes parsed; a request that is no good is refused before it is complete."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal or malformed("This is no HTTP/1.1 request that can be read in one way only"))
            return
        self._overhead = 0 if self._has_body else self._overhead + len(data)
        self._has_body = False
        if self._overhead > MAX_HEAD_BYTES:
            if not self._in_head:  # trailers without end, behind a chunked body
                self.transport.abort()
                return
            self._refuse(head_rules.too_large("The request's head"))
        elif self._is_unfinished:
            self._await_rest()

    def on_message_begin(self) -> None:
        """Start to count."""
        super().on_message_begin()
        self.scope["extensions"] = dict(self._connection["extensions"])
        self._begun += 1
        self._in_head = self._is_unfinished = True
        self._overhead = 0
        self._due = 0.0
        self._idle_since = None

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
        self._in_head, self._is_unfinished = False, True
        self._awaited = int(found.digits)
        self.expect_100_continue = False
        cycle = self.cycle = KnownCycle(known, found.digits, self._connection, **self._options())
        serve = self._known_heads.serve
        if serve is None or self._awaited > LARGEST_WHOLE:
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
        if self._awaited:
            self._await_rest()
            return b""
        self._is_unfinished = False
        serve, self._unserved = self._unserved, None
        if serve is not None:
            serving = serve(cast("KnownCycle", cycle))
            if serving is not None:
                self._start_asgi_task(cycle, lambda *_: serving)
        return data[len(taken) :]

    def _give_up(self) -> None:
        """Have a request written down whose body does not come, as any other."""
        if self._unserved is not None:
            self._unserved = None
            known = cast("KnownCycle", self.cycle)
            known.as_asgi()
            self._start_asgi_task(known, self.app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever serves the client that it has left."""
        for cycle in self._overtaken:  # uvicorn tells the last one alone
            cycle.disconnected = True
        super().connection_lost(exc)
        self._give_up()
        self._is_lost = True
        self._stop_timers()
        self._tell(self._listener)

    def _stop_timers(self) -> None:
        for timer in (self._idle_timer, self._late_timer):
            if timer is not None:
                timer.cancel()

    def leave(self) -> None:
        """Say with every answer from now on that it is the last one of its connection."""
        self._leaves_at = self.loop.time() + LAST_SECONDS
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close when what was asked is answered, and nothing more came for a moment."""
        is_idle = self.cycle is None or self.cycle.response_complete
        left = 0.0 if self._leaves_at is None else self._leaves_at - self.loop.time()
        if is_idle and left > 0 and not self.transport.is_closing():
            self.loop.call_later(left, self.shutdown)
        else:
            super().shutdown()

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
        elif self._refusal is not None:
            self._say(self._refusal)
        else:
            self._overtaken.clear()
            self._be_idle()

    def _be_idle(self) -> None:
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._check_idle)

    def _check_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None:  # the end of what goes on sets another
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._check_idle)
        else:
            self.timeout_keep_alive_handler()

    # How long the rest of a request may take: nothing is measured of those that come in one piece.

    def _await_rest(self) -> None:
        if not self._in_head:
            self._due = self.loop.time() + STALL_SECONDS
        elif not self._due:
            self._due = self.loop.time() + HEAD_SECONDS
        if self._late_timer is None:
            self._late_timer = self.loop.call_later(self._due - self.loop.time(), self._check_late)

    def _check_late(self) -> None:
        self._late_timer = None
        if not self._is_unfinished or self._refusal is not None:
            return
        if self.flow.read_paused:  # it is the application that is slow
            self._due = self.loop.time() + STALL_SECONDS
        left = self._due - self.loop.time()
        if left > 0:
            self._late_timer = self.loop.call_later(left, self._check_late)
        elif self._in_head:
            self._refuse(head_rules.late(f"The request's head did not come within {HEAD_SECONDS:g} seconds"))
        else:
            self._refuse(head_rules.late(f"Nothing came of the rest of the request for {STALL_SECONDS:g} seconds"))

    # What the parser finds

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer is none: who serves the request may have read the headers already."""
        if self._in_head:
            super().on_header(name, value.rstrip(b" \t"))  # the parser leaves the blanks behind it
        elif name.lower() in _NOT_IN_TRAILERS:
            raise HeadRefused

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, whose size is the application's to bound."""
        super().on_body(body)
        self._has_body = True
        self._body_seen += len(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._is_unfinished = False
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_headers_complete(self) -> None:
        """Judge the whole head before anything reads it."""
        self._refusal = self._judged()
        if self._refusal is not None:
            raise HeadRefused
        if not self.parser.should_upgrade():
            self._begin()
        self._in_head = False
        self._has_body = True  # what came behind the head in the same piece is not the head's

    def _judged(self) -> Refusal | None:
        parser, version = self.parser, self.parser.get_http_version()
        refusal = head_rules.why_refused(parser.get_method(), self.url, version, self.headers)
        if refusal is not None or not parser.should_upgrade() or not self._should_upgrade():
            return refusal
        if self.cycle is not None and not self.cycle.response_complete:
            return malformed("A WebSocket begins when what was asked before on its connection is answered")
        return head_rules.why_no_handshake(self.url, version, self.headers)

    # Other protocols

    def _get_upgrade(self) -> bytes | None:
        # That Connection names it, the parser has seen.
        return next((value.lower() for name, value in self.headers if name == b"upgrade"), None)

    def _upgrade(self, rest: bytes) -> None:
        """Begin a WebSocket; a request that offers another protocol is served as if it did not (RFC 9110 section 7.8).

        The parser takes what is behind the head for that protocol's, so that it has to read the request anew.
        """
        method = self.parser.get_method()
        if self._should_upgrade():
            self.scope["method"] = method.decode("ascii")
            self.handle_websocket_upgrade()
            self._stop_timers()  # they would keep all of this for as long as a connection may be idle
            if rest and not self.transport.is_closing():
                self.transport.get_protocol().data_received(rest)  # type: ignore[attr-defined]  # which it has now
            return
        line = b"%b %b HTTP/%b\r\n" % (method, self.url, self.parser.get_http_version().encode("ascii"))
        fields = [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] not in (b"upgrade", b"http2-settings")]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(b"".join([line, *fields, b"\r\n", rest]))

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
        self.expect_100_continue &= version != "1.0"
        keep_alive = version != "1.0" and parser.should_keep_alive()
        self.cycle = Cycle(scope=scope, **self._options(keep_alive=keep_alive))
        scope["extensions"][WRITE_NOW] = {"write": self.cycle.write_now}
        if last is None or last.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
            self._overtaken.append(last)

    def _options(self, *, keep_alive: bool = True) -> dict[str, Any]:
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
            "keep_alive": keep_alive and self._leaves_at is None,
            "on_response": self.on_response_complete,
        }

    # Refusing

    def _be_one_too_many(self, most: int) -> None:
        now = self.loop.time()
        if now > BoundedHttpProtocol._full_since + _TELL_SECONDS:
            BoundedHttpProtocol._full_since = now
            log.warning("clients are refused: all connections are in use", most=most, remedy="raise the open files")
        if len(self.connections) > most + _MOST_TOLD:
            self.transport.abort()
        else:
            self._refuse(head_rules.full(most))

    def _refuse(self, refusal: Refusal) -> None:
        """Take nothing more, and say why when what was asked before is answered."""
        self._refusal = refusal
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and self._in_head):
            self._say(refusal)
        elif self._in_head:
            self.flow.pause_reading()  # until `on_response_complete`
        elif self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
        elif cycle.response_started:  # an answer in the middle of another would be read as a part of it
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._give_up()
            self._say(refusal)

    def _say(self, refusal: Refusal) -> None:
        self.flow.resume_reading()
        self.transport.write(refusal.answer())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closing now, with bytes of the client's unread, would reset the connection and take the answer with it.
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)
