"""HTTP/1.1 to providers: a lean pool on httptools. The product's core loop.

A connection serves one exchange at a time. Bytes are handed over as they come: reading stops when the consumer is
slow, and whatever ends an answer before its end raises, so that a broken answer never looks complete.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from time import perf_counter
from typing import Final, cast

import httptools
import msgspec

from trunkline.errors import MalformedRequest, UpstreamBroken, UpstreamBusy, UpstreamError
from trunkline.upstream import failures
from trunkline.upstream.address import Origin
from trunkline.upstream.connecting import Connector
from trunkline.upstream.timeouts import Timeouts

_HIGH_WATER: Final = 256 * 1024
# Of what is no body: a head, interim answers before it, trailers, or what is said beside the lengths of chunks.
_MAX_HEAD_BYTES: Final = 128 * 1024
_FIRST_STATUS: Final = 100
_LAST_STATUS: Final = 599
# Shorter than the idle limits of common servers and balancers (60 s and more).
_KEEP_ALIVE_SECONDS: Final = 50.0
# RFC 9110 section 9.2.2: only these may be repeated when nobody knows whether the first was acted upon.
_IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})


class Request(msgspec.Struct):
    """One request. ``target`` is path and query; ``headers`` hold no ``Host`` and no framing, which the pool writes.

    ``body`` is bytes, an iterator of bytes, or None. ``content_length`` is the length of an iterator where it is
    known; otherwise it is sent chunked. ``first_byte_timeout`` is for how many seconds the head of the answer is waited
    for in all, connecting included; the pool's own timeouts count besides. ``lines`` is what `head_lines` makes of the
    first four, where that was done already.
    """

    method: bytes
    origin: Origin
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes | AsyncIterator[bytes] | None = None
    content_length: int | None = None
    first_byte_timeout: float | None = None
    lines: bytes = b""

    def with_body(self, body: bytes | AsyncIterator[bytes] | None, length: int | None) -> Request:
        """Return a request of the same head with another body."""
        return Request(self.method, self.origin, self.target, self.headers, body, length, lines=self.lines)

    @property
    def is_repeatable(self) -> bool:
        """Whether the request may be sent again after a connection broke without an answer."""
        if self.body is not None and not isinstance(self.body, bytes):
            return False
        return self.method in _IDEMPOTENT or any(name == b"idempotency-key" for name, _ in self.headers)


class Response:
    """A provider's answer. Iterate once for the body; `aclose` gives up whatever is left of it."""

    __slots__ = (
        "_connection",
        "_has_let_go",
        "_is_read",
        "_on_end",
        "connect_ms",
        "first_byte_ms",
        "headers",
        "observer",
        "reason",
        "status",
    )

    def __init__(self, connection: _Connection, connect_ms: float, first_byte_ms: float) -> None:
        self._connection = connection
        self._has_let_go = self._is_read = False
        self._on_end: Callable[[UpstreamError | None], None] | None = None
        self.observer: Callable[[bytes], None] | None = None
        """Is shown every piece before whoever iterates."""
        self.status = connection.status
        self.reason = connection.reason
        self.headers = connection.headers
        self.connect_ms = connect_ms
        self.first_byte_ms = first_byte_ms

    def __aiter__(self) -> Response:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes. Raises `UpstreamError` when the answer is cut off or stalls."""
        if self._has_let_go:
            if self._is_read:
                raise StopAsyncIteration
            raise UpstreamBroken("The answer was given up before its end.")
        try:
            chunk = await self._connection.read()
        except UpstreamError as error:
            self._end(error)
            raise
        if chunk is None:
            self._has_let_go = self._is_read = True
            self._end(None)
            raise StopAsyncIteration
        if self.observer is not None:
            self.observer(chunk)
        return chunk

    async def pass_on(self, take: Callable[[bytes], bool]) -> bool:
        """Hand each piece to ``take`` in the moment it comes, until that returns False; return whether the body ended.

        To iterate costs a turn of the event loop for each piece. What ``take`` returned False for, it has taken. Raises
        as iterating does.
        """
        try:
            return self._has_let_go or await self._connection.pass_on(self._shown(take))
        except UpstreamError as error:
            self._end(error)
            raise

    def _shown(self, take: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
        observer = self.observer
        if observer is None:
            return take

        def shown(chunk: bytes) -> bool:
            observer(chunk)
            return take(chunk)

        return shown

    @property
    def content_type(self) -> str:
        """Its type as the provider states it."""
        found = next((value for name, value in self.headers if name.lower() == b"content-type"), b"")
        return found.decode("latin-1")

    def peek(self) -> bytes | None:
        """Return the whole body if all of it is here, as it was sent and not compressed; nothing is read by that."""
        return None if self._has_let_go else self._connection.peek()

    def finish(self) -> None:
        """Be done with a body that `peek` has returned; the connection is kept."""
        self._has_let_go = self._is_read = True
        self._connection.drop()
        self._end(None)

    async def aclose(self) -> None:
        """End the exchange: the provider sees at once that nobody reads on."""
        if not self._has_let_go:  # a connection that was given back may be another exchange's by now
            self._has_let_go = True
            self._connection.finish()
        self._end(None)

    def on_end(self, listener: Callable[[UpstreamError | None], None]) -> None:
        """Have ``listener`` called once, when the exchange ends, with what broke it off, if anything did."""
        self._on_end = listener

    def _end(self, error: UpstreamError | None) -> None:
        listener, self._on_end = self._on_end, None
        if listener is not None:
            listener(error)


class HttpPool:
    """Connections to providers, kept alive and bounded for each origin."""

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        max_connections_per_origin: int = 512,
        ssl_context: ssl.SSLContext | None = None,
        proxies: Mapping[str, str] | None = None,
        connector: Connector | None = None,
    ) -> None:
        """``connector`` replaces the one that would be made of ``ssl_context`` and ``proxies``."""
        self.timeouts = timeouts or Timeouts()
        self._max = max_connections_per_origin
        self._connector = connector or Connector(ssl_context, proxies)
        self._origins: dict[Origin, _OriginPool] = {}

    async def send(self, request: Request) -> Response:
        """Send a request; return when the head of its answer is there. Raises `UpstreamError`."""
        if request.first_byte_timeout is None:
            return await self._send(request)
        try:
            async with asyncio.timeout(request.first_byte_timeout):
                return await self._send(request)
        except TimeoutError as error:
            raise failures.late(request.origin, request.first_byte_timeout) from error

    async def _send(self, request: Request) -> Response:
        head = _request_head(request)
        pool = self._origins.get(request.origin)
        if pool is None:
            pool = self._origins[request.origin] = _OriginPool(
                request.origin, self.timeouts, self._max, self._connector
            )
        started = perf_counter()
        connection = await pool.acquire()
        connected = perf_counter()
        try:
            await connection.exchange(request, head)
        except _StaleConnection as stale:
            # The provider closed a kept connection before it sent a byte. It may have read the request all the same,
            # so only what may be repeated is, once, and on a fresh connection.
            if not request.is_repeatable:
                raise failures.broken(request.origin, "closed the connection without an answer") from stale
            connection = await pool.acquire(fresh=True)
            try:
                await connection.exchange(request, head)
            except _StaleConnection as again:  # pragma: no cover - a fresh connection is never stale
                raise failures.broken(request.origin, "closed the connection without an answer") from again
        return Response(connection, (connected - started) * 1000, (perf_counter() - connected) * 1000)

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._origins.values():
            pool.close()
        self._origins.clear()


class _StaleConnection(Exception):
    """A kept connection turned out to be closed."""


class _NotAnAnswer(Exception):
    """What the parser takes for HTTP, and is no answer to the request."""


class _AnswerIsOver(Exception):
    """Nothing more belongs to the answer."""


class _OriginPool:
    """The connections to one origin: those idle, the number open, and who waits for one."""

    def __init__(self, origin: Origin, timeouts: Timeouts, maximum: int, connector: Connector) -> None:
        self.origin = origin
        self.timeouts = timeouts
        self._maximum = maximum
        self._connector = connector
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def acquire(self, *, fresh: bool = False) -> _Connection:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeouts.connect
        while True:
            if not fresh:
                connection = self._take_idle(loop.time())
                if connection is not None:
                    return connection
            elif self._idle and len(self._open) + self._opening >= self._maximum:
                self._idle.popleft().abort()
            if len(self._open) + self._opening < self._maximum:
                return await self._connect(deadline - loop.time())
            await self._wait(deadline - loop.time())

    def release(self, connection: _Connection) -> None:
        """Take back a connection that can be used again."""
        self._idle.append(connection)
        self._wake_one()

    def forget(self, connection: _Connection) -> None:
        """Learn that a connection is closed."""
        self._open.discard(connection)
        self._wake_one()

    def close(self) -> None:
        for connection in list(self._open):
            connection.abort()

    def _take_idle(self, now: float) -> _Connection | None:
        while self._idle:
            # The one used last is the least likely to have been closed meanwhile.
            connection = self._idle.pop()
            if not connection.is_usable:
                continue
            if now - connection.idle_since > _KEEP_ALIVE_SECONDS:
                connection.abort()
                continue
            return connection
        return None

    async def _connect(self, remaining: float) -> _Connection:
        self._opening += 1
        try:
            async with asyncio.timeout(max(remaining, 0.001)):
                opened = await self._connector.open(self.origin)
                try:
                    context = self._connector.ssl_for(self.origin)
                    _, connection = await asyncio.get_running_loop().create_connection(
                        lambda: _Connection(self),
                        sock=opened,
                        ssl=context,
                        server_hostname=self.origin.host if context else None,
                    )
                except BaseException:
                    opened.close()
                    raise
        except asyncio.CancelledError:
            self._wake_one()
            raise
        except Exception as error:
            self._wake_one()
            raise failures.connecting(error, self.origin) from error
        finally:
            self._opening -= 1
        self._open.add(connection)
        return connection

    async def _wait(self, remaining: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(max(remaining, 0.001)):
                await waiter
        except TimeoutError as error:
            raise UpstreamBusy(
                f"All {self._maximum} connections to {self.origin} stayed in use (upstream.max_connections).",
                retry_after=1,
            ) from error
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake_one()  # the place this one was called to belongs to the next
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


class _Connection(asyncio.Protocol):
    """One connection: parser callbacks on one side, `exchange` and `read` on the other."""

    def __init__(self, pool: _OriginPool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._used = False
        self._head_only = False
        self._lost = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        # One for all exchanges: a timer each, or two, would cost more than much else that is done for one.
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._shortest = min(pool.timeouts.first_byte, pool.timeouts.idle)
        self._touched = 0.0
        self._sender: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self._chunks: deque[bytes] = deque()
        self._take: Callable[[bytes], bool] | None = None
        self._buffered = 0
        self._limit = math.inf
        self._reading_paused = False
        self._has_head = False
        self._complete = False
        self._framed = False
        self._overhead = 0
        self._keep_alive = False

    @property
    def is_usable(self) -> bool:
        """Whether another exchange can begin."""
        return not self._lost and self._transport is not None and not self._transport.is_closing()

    def is_answered(self) -> bool:
        """Whether the whole answer has been parsed; it may still have to be read."""
        return self._complete

    # The exchange, called by the pool and the response

    async def exchange(self, request: Request, head: bytes) -> None:
        """Send a request and wait for the head of its answer."""
        stale_possible, self._used = self._used, True
        self._reset()
        self._head_only = request.method == b"HEAD"
        self._parser = httptools.HttpResponseParser(self)
        transport = self._transport
        assert transport is not None
        body = request.body
        if body is None or isinstance(body, bytes):
            transport.write(head + body if body else head)
            self._arm(self._pool.timeouts.first_byte)
        else:
            transport.write(head)
            self._sender = self._loop.create_task(self._send_body(body, chunked=request.content_length is None))
        try:
            while not self._has_head:
                if self._error is not None:
                    raise self._error
                if self._lost:
                    if stale_possible and not self._overhead:
                        raise _StaleConnection
                    raise failures.broken(self._pool.origin, "closed the connection without an answer")
                await self._wait()
        except BaseException:
            self.finish()
            raise
        if self._sender is None:
            self._arm(self._pool.timeouts.idle)

    async def read(self) -> bytes | None:
        """Return the next bytes of the body, or None at its end."""
        while not self._chunks:
            if self._complete:
                self.finish()
                return None
            self._check()
            await self._wait()
        return self._next_chunk()

    async def pass_on(self, take: Callable[[bytes], bool]) -> bool:
        """Hand pieces of the body to ``take`` until it returns False; return whether the body has ended."""
        while self._chunks:
            if not take(self._next_chunk()):
                return False
        self._take = take
        try:
            while self._take is not None and not self._complete:
                self._check()
                await self._wait()
            return self._complete and not self._chunks
        finally:
            self._take = None

    def _check(self) -> None:
        """Raise what has ended the answer before its end."""
        if self._error is not None:
            raise self._error
        if self._lost:
            raise failures.broken(self._pool.origin, "closed the connection in the middle of its answer")

    def _next_chunk(self) -> bytes:
        chunk = self._chunks.popleft()
        self._buffered -= len(chunk)
        if self._reading_paused and self._buffered < _HIGH_WATER // 2 and self._transport is not None:
            self._reading_paused = False
            self._touched = self._loop.time()
            self._transport.resume_reading()
        return chunk

    def peek(self) -> bytes | None:
        """Return the whole body if all of it is here, and not compressed."""
        if not self._complete or any(name.lower() == b"content-encoding" for name, _ in self.headers):
            return None
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def drop(self) -> None:
        """Be done with what is here."""
        self._chunks.clear()
        self._buffered = 0
        self.finish()

    def finish(self) -> None:
        """End the exchange: keep the connection if both sides are done with it, else close it at once."""
        if self._parser is None:
            return
        self._parser = None
        reusable = self._complete and self._keep_alive and self._sender is None and not self._chunks
        if self._sender is not None:
            self._sender.cancel()
            self._sender = None
        if reusable and self.is_usable:
            self.idle_since = self._loop.time()
            self._pool.release(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None and not self._lost:
            self._transport.abort()

    async def _send_body(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        transport = self._transport
        assert transport is not None
        try:
            async for chunk in body:
                if not chunk:
                    continue
                if not self._writable.is_set():
                    async with asyncio.timeout(self._pool.timeouts.idle):
                        await self._writable.wait()
                if self._lost:
                    return
                transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            if chunked:
                transport.write(b"0\r\n\r\n")
            self._sender = None
            if not self._has_head:
                self._arm(self._pool.timeouts.first_byte)
            else:
                self._arm(self._pool.timeouts.idle)
        except TimeoutError:
            self._fail(failures.idle_timeout(self._pool.origin))
        except Exception as error:
            # The client's side of the body broke off: the request can never be completed, and why is the client's.
            self._fail(error)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self._wake()
        self.abort()

    # Timeouts: one timer that looks when the last bytes came, instead of one for each read

    def _arm(self, seconds: float) -> None:
        """Have the exchange fail after so many seconds: without a whole head, and then without bytes.

        A timer that is due earlier will look again.
        """
        self._limit = seconds
        self._touched = now = self._loop.time()
        if self._timer is not None and self._due <= now + seconds:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._look_in(min(seconds, self._shortest))

    def _look_in(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._check_time)

    def _check_time(self) -> None:
        self._timer = None
        if self._parser is None or self._complete or self._limit == math.inf:
            return
        left = self._touched + self._limit - self._loop.time()
        if self._reading_paused:
            left = self._limit  # it is the client who is slow
        if left > 0:
            self._look_in(left)
            return
        timeout = failures.idle_timeout if self._has_head else failures.first_byte_timeout
        self._fail(timeout(self._pool.origin))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclass

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None or self.is_answered():
            # Nobody asked: what follows a complete answer is not an answer to the next question.
            self.abort()
            return
        self._overhead += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(failures.broken(self._pool.origin, "switched protocols without being asked"))
            return
        except httptools.HttpParserError:
            if not self.is_answered():
                self._fail(failures.broken(self._pool.origin, "sent something that is not HTTP"))
                return
            self._keep_alive = False
        # Judged after parsing: the piece that completes a head may bring a large body along.
        if self._overhead > _MAX_HEAD_BYTES and not self._complete:
            self._fail(failures.broken(self._pool.origin, "sent more headers than anyone needs"))
            return
        # What comes before the end of a head gives it no more time.
        if self._has_head:
            self._touched = self._loop.time()
        if self._take is None or self._complete:
            self._wake()

    def eof_received(self) -> bool | None:
        return None

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._has_head and not self._complete and not self._framed and error is None and self._error is None:
            self._complete = True  # RFC 9112 section 6.3: such an answer ends where the connection does
        self._writable.set()
        self._pool.forget(self)
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # httptools callbacks. What they raise ends the parsing, as what is not HTTP does.

    def on_message_begin(self) -> None:
        if self._complete:
            raise _NotAnAnswer  # another one behind the answer, which nobody asked for

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # else a trailer (RFC 9110 section 6.5.1): not to be taken for a header
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        status = parser.get_status_code()
        if not _FIRST_STATUS <= status <= _LAST_STATUS:
            raise _NotAnAnswer
        if status < 200:
            return
        self.status = status
        self._keep_alive = parser.should_keep_alive()
        for name, value in self.headers:
            if name.lower() in (b"content-length", b"transfer-encoding"):
                self._framed = True
                if name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
                    raise _NotAnAnswer  # in a coding that nobody said to understand
        self._has_head = True
        if self._head_only:
            # The parser does not know that HEAD was asked, and would take what comes behind the head for a body.
            self._complete = True
            raise _AnswerIsOver

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        if self._take is not None:
            if not self._take(body):
                self._take = None
            return
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._has_head:
            self._complete = True
        else:
            # An interim answer (1xx): the real one follows.
            self.headers = []
            self.reason = b""


def head_lines(request: Request) -> bytes:
    """Return the request line and the headers as they are sent, without framing.

    Raises `MalformedRequest` for what no head may hold.
    """
    lines = [
        b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (request.method, request.target, request.origin.netloc.encode("ascii"))
    ]
    lines += [b"%b: %b\r\n" % pair for pair in request.headers]
    head = b"".join(lines)
    # One line for each header and no more: a line break inside one would be a second request.
    if head.count(b"\n") != head.count(b"\r\n") or head.count(b"\r") != len(lines) + 1 or b"\x00" in head:
        raise MalformedRequest("A header holds a line break or a NUL.")
    if b" " in request.target or b" " in request.method:
        raise MalformedRequest("The path holds a blank; percent-encode it.")
    return head


def _request_head(request: Request) -> bytes:
    """Return the head as bytes, with framing. Raises as `head_lines`."""
    lines = request.lines or head_lines(request)
    body = request.body
    if isinstance(body, bytes):
        return b"%bcontent-length: %d\r\n\r\n" % (lines, len(body))
    if body is not None:
        if request.content_length is not None:
            return b"%bcontent-length: %d\r\n\r\n" % (lines, request.content_length)
        return lines + b"transfer-encoding: chunked\r\n\r\n"
    if request.method in (b"POST", b"PUT", b"PATCH"):
        return lines + b"content-length: 0\r\n\r\n"
    return lines + b"\r\n"
