"""The clients of the benchmark, a process of their own: ``python -m trunkline.benchmark.load``.

It reads an `Order` from standard input, warms up, prints ``ready``, waits for a line, does what it was told, and prints
an `Outcome`. Where it cannot connect, that is said by an `Outcome` at once. Every answer is checked.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
import msgspec
import picows
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from trunkline.benchmark.orders import Latency, Order, Outcome, Turn
from trunkline.benchmark.ticking import Ticker
from trunkline.benchmark.workloads import (
    ANSWER_MARK,
    CACHED_ANSWERS,
    CHUNK_MARK,
    CHUNKS,
    DONE,
    FRAME_SECONDS,
    LETTERS,
    NUMBER_PLACE,
    SESSION_CREATED,
    Kind,
    Template,
    question,
    spoken,
    workload,
)

_PATIENCE_SECONDS: Final = 30.0
_FAREWELL_SECONDS: Final = 0.1
_MOST_REASONS: Final = 5
_USAGE: Final = b'completion_tokens"'
# Requests that wait for a free connection; beyond that, the rate is more than the gateway carries.
_LONGEST_QUEUE: Final = 20_000


class _Load(ABC):
    """What all kinds have: the count of what was right and what was not."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.kind = workload(order.workload).kind
        self.connections = workload(order.workload).connections
        self._begin()

    def _begin(self) -> None:
        self.count = 0
        self.in_time = 0
        self.failures = 0
        self.why: list[str] = []
        self.latencies: list[float] = []

    def fail(self, why: str, many: int = 1) -> None:
        self.failures += many
        if len(self.why) < _MOST_REASONS and why not in self.why:
            self.why.append(why)

    async def run(self, seconds: float) -> Outcome:
        """Ask for so long, and wait for what is under way then."""
        self._begin()
        self.began = time.perf_counter()
        self.deadline = self.began + seconds
        try:
            async with asyncio.timeout(seconds + _PATIENCE_SECONDS):
                await self._run(seconds)
        except TimeoutError:
            self.fail("no answer within 30 s", max(self._missing(), 1))
        return self.outcome(min(time.perf_counter() - self.began, seconds))

    def outcome(self, seconds: float) -> Outcome:
        """Return what has come so far, in so long."""
        return Outcome(self.count, self.in_time, seconds, self.failures, self.why, Latency.of(self.latencies))

    def is_warm(self) -> bool:
        """Whether time may be taken after what was asked so far."""
        return True

    @abstractmethod
    async def open(self) -> None:
        """Connect."""

    @abstractmethod
    async def _run(self, seconds: float) -> None: ...

    @abstractmethod
    def _missing(self) -> int: ...


# HTTP


class _Connection(asyncio.Protocol):
    """One kept connection: a request at a time."""

    def __init__(self, load: _HttpLoad) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self.is_busy = False
        self.number = 0
        self.due = 0.0
        self.body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, but in name
        self._parser = httptools.HttpResponseParser(self)

    def ask(self, request: bytes, number: int, due: float) -> None:
        self.is_busy, self.number, self.due = True, number, due
        self.body.clear()
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._load.fail(f"no HTTP: {error}")
            self.is_busy = False
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.is_busy:
            self.is_busy = False
            self._load.fail("the connection was cut")
        self._load.lost(self)

    # Called by the parser.

    def on_body(self, body: bytes) -> None:
        self.body.append(body)
        self._load.received(self)

    def on_message_complete(self) -> None:
        self.is_busy = False
        status = self._parser.get_status_code()
        if status != self._load.order.ask.status:
            said = b"".join(self.body)[:200].decode("utf-8", "replace")
            self._load.fail(f"HTTP {status}: {said}")
        elif status == HTTPStatus.OK:
            self._load.answered(self)
        else:
            self._load.counted(self)
        if not self._parser.should_keep_alive():
            self.close()  # `lost` follows, and opens another
        else:
            self._load.freed(self)


class _HttpLoad(_Load):
    """Requests on kept connections: each as soon as it has its answer, or at a rate."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        turns = order.ask.turns or [Turn()]
        bodies = [self._body(turn) for turn in turns]
        self._requests = [self._request(turn, body) for turn, body in zip(turns, bodies, strict=True)]
        # What the upstream has to have read; a gateway may write the JSON without spaces and fields without meaning.
        self._least_read = min(len(body.filled(0)) for body in bodies) * 9 // 10
        self._letter = LETTERS[self.kind]
        self._next = 0
        self._open: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._queue: deque[float] = deque()
        self._expected = 0  # of a rate; what has come of it is in `count` and `failures`
        self._done: asyncio.Future[None] | None = None

    def _body(self, turn: Turn) -> Template:
        ask = self.order.ask
        return question(self.kind, turn.model or ask.model, {**ask.extra, **turn.extra})

    def _request(self, turn: Turn, body: Template) -> Template:
        names = {
            "host": f"127.0.0.1:{self.order.port}",
            "user-agent": "trunkline-bench",
            "accept": "text/event-stream" if self.kind is Kind.SSE else "application/json",
            "content-type": "application/json",
            **self.order.ask.headers,
            **turn.headers,
            "content-length": str(len(body.filled(0))),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in names.items())
        return Template(f"POST {self.order.ask.path} HTTP/1.1\r\n{head}\r\n".encode() + body.before, body.after)

    async def open(self) -> None:
        await asyncio.gather(*(self._connect() for _ in range(self.connections)))

    def is_warm(self) -> bool:
        # Every answer that is to come from a cache has to be in it, and not on its way.
        return self.kind is not Kind.CACHE or self.failures > 0 or self._next >= 2 * CACHED_ANSWERS

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        connection = _Connection(self)
        try:
            await loop.create_connection(lambda: connection, "127.0.0.1", self.order.port)
        except OSError as error:
            self.fail(f"no connection: {error}")
            self._end()
            return
        self._open.add(connection)
        self.freed(connection)

    async def _run(self, seconds: float) -> None:
        self._done = asyncio.get_running_loop().create_future()
        ticker = None
        if self.order.rate is None:
            self._expected = 0
            idle, self._idle = self._idle, []
            for connection in idle:
                self._ask(connection, self.began)
        else:
            self._arrived, self._expected = 0, max(round(self.order.rate * seconds), 1)
            ticker = Ticker(1 / self.order.rate, self._arrive)
        try:
            await self._done
        finally:
            self._done = None
            if ticker is not None:
                ticker.stop()

    def _missing(self) -> int:
        return len(self._queue) + sum(one.is_busy for one in self._open)

    def _arrive(self, passed: int) -> None:
        assert self.order.rate is not None
        for _ in range(min(passed, self._expected - self._arrived)):
            due = self.began + (self._arrived + 1) / self.order.rate
            self._arrived += 1
            if self._idle:
                self._ask(self._idle.pop(), due)
            elif len(self._queue) < _LONGEST_QUEUE:
                self._queue.append(due)
            else:
                self.fail("more than the gateway carries")
                self._look_for_end()

    def _ask(self, connection: _Connection, due: float) -> None:
        self._next += 1
        number = self._next % CACHED_ANSWERS if self.kind is Kind.CACHE else self._next
        request = self._requests[self._next % len(self._requests)]
        connection.ask(request.filled(number), number, due)

    # What connections report.

    def freed(self, connection: _Connection) -> None:
        """Use a connection that has nothing to do, or keep it."""
        if self._done is None:
            self._idle.append(connection)
        elif self.order.rate is not None:
            if self._queue:
                self._ask(connection, self._queue.popleft())
            else:
                self._idle.append(connection)
            self._look_for_end()
        elif (now := time.perf_counter()) < self.deadline:
            self._ask(connection, now)
        else:
            self._idle.append(connection)
            self._look_for_end()

    def lost(self, connection: _Connection) -> None:
        """Open another connection in the place of one that is gone."""
        self._open.discard(connection)
        with suppress(ValueError):
            self._idle.remove(connection)
        if self._done is not None:
            self._replacing = asyncio.get_running_loop().create_task(self._connect())

    def received(self, connection: _Connection) -> None:
        """Look at what there is of an answer."""

    def answered(self, connection: _Connection) -> None:
        """Check a whole answer."""
        body = connection.body[0] if len(connection.body) == 1 else b"".join(connection.body)
        found = ANSWER_MARK.search(body)
        if found is None or not self.has_usage(body):
            self.fail(f"another answer: {body[:200]!r}")
        elif found[1] != b"%b%07d" % (self._letter, connection.number):
            self.fail(f"the answer to another request: {found[1]!r} instead of {connection.number}")
        elif int(found[2]) < self._least_read:
            self.fail(f"the upstream was sent {int(found[2])} bytes of at least {self._least_read}")
        else:
            self.counted(connection)

    def counted(self, connection: _Connection) -> None:
        """Count an answer that is as it has to be."""
        now = time.perf_counter()
        self.count += 1
        self.in_time += now < self.deadline
        if self.order.rate is not None:
            self.latencies.append(now - connection.due)

    def has_usage(self, text: bytes) -> bool:
        """Whether an answer states what it used, as it has to."""
        return _USAGE in text or not self.order.ask.usage

    def _look_for_end(self) -> None:
        if self.order.rate is not None:
            if self.count + self.failures >= self._expected:
                self._end()
        elif len(self._idle) >= len(self._open):
            self._end()

    def _end(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class _StreamLoad(_HttpLoad):
    """Streams: each chunk is looked at when it comes."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._rests: dict[_Connection, tuple[bytes, int]] = {}

    def received(self, connection: _Connection) -> None:
        now, in_time = time.monotonic_ns(), time.perf_counter() < self.deadline
        rest, expected = self._rests.get(connection, (b"", 0))
        text, end = rest + connection.body.pop(), 0
        for mark in CHUNK_MARK.finditer(text):
            number, index, written = mark.groups()
            end = mark.end()
            if int(number) != connection.number or int(index) != expected:
                self.fail(f"chunk {index!r} of {number!r} instead of {expected} of {connection.number}")
            else:
                self.count += 1
                self.in_time += in_time
                self.latencies.append((now - int(written)) / 1e9)
            expected += 1
        self._rests[connection] = (text[end:], expected)

    def answered(self, connection: _Connection) -> None:
        rest, seen = self._rests.pop(connection, (b"", 0))
        if seen != CHUNKS - 1:
            self.fail(f"{seen} chunks instead of {CHUNKS - 1}")
        elif not self.has_usage(rest) or DONE not in rest:
            self.fail(f"a stream without usage or end: {rest[-200:]!r}")
        else:
            self.count += 1


# Realtime


class _Session(WSListener):
    """A client's end of a realtime session."""

    def __init__(self, load: _RealtimeLoad) -> None:
        self._load = load
        self._transport: WSTransport | None = None
        self._sent: deque[float] = deque()
        self._number = 0
        self._expected = 0
        self.greeted = asyncio.get_running_loop().create_future()
        self.is_open = True

    @property
    def missing(self) -> int:
        return self._number - self._expected

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def say(self) -> None:
        if not self.is_open or self._transport is None:
            self._load.fail("the session is closed")
            self._load.heard(None)
            return
        self._sent.append(time.perf_counter())
        self._transport.send(WSMsgType.TEXT, self._load.template.filled(self._number))
        self._number += 1

    def close(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.send_close(picows.WSCloseCode.OK)
            self._transport.disconnect()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            now, payload = time.perf_counter(), frame.get_payload_as_bytes()
            if not self.greeted.done():
                self.greeted.set_result(payload)
            elif len(payload) > len(SESSION_CREATED) * 2:
                self._hear(now, payload)
        elif frame.msg_type == WSMsgType.CLOSE:
            if self.is_open:
                self._load.fail(f"closed: {frame.get_close_code()} {frame.get_close_message()!r}")
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.is_open:
            self.is_open = False
            self._load.fail("the session was cut", max(self.missing, 1))
            self._load.heard(None, max(self.missing, 1))
        if not self.greeted.done():
            self.greeted.set_result(b"")

    def _hear(self, now: float, payload: bytes) -> None:
        number = payload[NUMBER_PLACE]
        if number == b"%07d" % self._expected:
            self._expected += 1
            self._load.heard(now - self._sent.popleft())
        else:
            self._load.fail(f"frame {number!r} instead of {self._expected}")
            self._load.heard(None)


class _RealtimeLoad(_Load):
    """Sessions that each say 40 ms of sound every 40 ms, one after the other, and are answered as much."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self.template = spoken()
        self._sessions: list[_Session] = []
        self._ended = 0
        self._done: asyncio.Future[None] | None = None

    async def open(self) -> None:
        for _ in range(self.connections):
            session = _Session(self)
            await picows.ws_connect(
                lambda session=session: session,
                f"ws://127.0.0.1:{self.order.port}{self.order.ask.path}",
                extra_headers=list(self.order.ask.headers.items()),
                websocket_handshake_timeout=_PATIENCE_SECONDS,
                max_redirects=0,
                use_aiofastnet=False,
            )
            async with asyncio.timeout(_PATIENCE_SECONDS):
                greeting = await session.greeted
            if b"session.created" not in greeting:
                raise OSError(f"no session was created: {greeting[:200]!r}")
            self._sessions.append(session)

    async def _run(self, seconds: float) -> None:
        self._done = asyncio.get_running_loop().create_future()
        self._said = self._ended = 0
        self._expected = len(self._sessions) * max(round(seconds / FRAME_SECONDS), 1)
        ticker = Ticker(FRAME_SECONDS / len(self._sessions), self._say)
        try:
            await self._done
        finally:
            ticker.stop()

    def _missing(self) -> int:
        return sum(session.missing for session in self._sessions)

    def _say(self, passed: int) -> None:
        for _ in range(min(passed, self._expected - self._said)):
            self._sessions[self._said % len(self._sessions)].say()
            self._said += 1

    def heard(self, seconds: float | None, many: int = 1) -> None:
        """Take note of a frame that came, or of some that will not."""
        if seconds is not None:
            # There and back: two messages went through the gateway.
            self.count += 2
            self.in_time += 2 * (time.perf_counter() < self.deadline)
            self.latencies.append(seconds)
        self._ended += many
        if self._done is not None and not self._done.done() and self._ended >= self._expected:
            self._done.set_result(None)

    async def close(self) -> None:
        for session in self._sessions:
            session.close()
        await asyncio.sleep(_FAREWELL_SECONDS)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    order = msgspec.json.decode(await loop.run_in_executor(None, sys.stdin.readline), type=Order)
    kinds: dict[Kind, type[_Load]] = {Kind.SSE: _StreamLoad, Kind.REALTIME: _RealtimeLoad}
    load = kinds.get(workload(order.workload).kind, _HttpLoad)(order)
    try:
        await load.open()
    except (OSError, picows.WSError) as error:
        load.fail(f"no connection: {error}")
        print(msgspec.json.encode(load.outcome(0.0)).decode(), flush=True)  # noqa: T201
        return
    if order.warm:
        await load.run(order.warm)
    while not load.is_warm():
        await load.run(order.warm)
    gc.collect()
    gc.freeze()
    gc.disable()
    print("ready", flush=True)  # noqa: T201 - what the one who started it reads
    if await loop.run_in_executor(None, sys.stdin.readline):
        outcome = await load.run(order.seconds)
        print(msgspec.json.encode(outcome).decode(), flush=True)  # noqa: T201
    if isinstance(load, _RealtimeLoad):
        await load.close()


if __name__ == "__main__":
    uvloop.run(_main())
