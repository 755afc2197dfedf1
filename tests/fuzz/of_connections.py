"""Targets: bytes on connections, from clients and from providers, and what is read in them."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Iterator, Sequence
from functools import cache
from random import Random
from typing import Any, NamedTuple, TypeVar, cast

import h11
import uvicorn
from uvicorn.server import ServerState

from tests.fuzz.mutation import mutated
from tests.fuzz.target import Target, cut
from tests.wires import Wire, body_from, length_of
from trunkline.errors import UpstreamError
from trunkline.server.asgi import KNOWN_HEADS, Receive, Scope, Send, Whole, respond
from trunkline.server.heads import BoundedHttpProtocol
from trunkline.server.known_heads import KnownHeads
from trunkline.upstream.address import Origin
from trunkline.upstream.http import Request, Response, _Connection, _OriginPool
from trunkline.upstream.timeouts import Timeouts

_Result = TypeVar("_Result")
# So many turns of the event loop until whatever bytes lead to is done.
_TURNS = 8
_CHANGED = 5


class Forgetful(KnownHeads):
    """Has every head parsed."""

    def find(self, found: Any) -> None: ...

    def learn(self, found: Any, scope: Any) -> None: ...


class Server:
    """Answers each request with the length of its body; one whose head is known in a way of its own."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_from(receive)
        if body is None:
            return
        self._note(scope, body)
        await respond(send, 200, *length_of(body))

    def whole(self, whole: Whole) -> Any:
        """Serve one that is all there, now at once and now over messages."""
        if len(whole.content) % 2:
            return self(*whole.as_asgi())
        self._note(whole.as_asgi()[0], whole.content)
        whole.answer(200, *length_of(whole.content))
        return None

    def _note(self, scope: Scope, body: bytes) -> None:
        told = {name: value for name, value in scope.items() if name not in ("extensions", "state")}
        self.asked.append((told, body))


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _done(work: Awaitable[_Result]) -> _Result:
    return cast("_Result", _loop().run_until_complete(work))


async def _settle() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


@cache
def _config() -> uvicorn.Config:
    options: dict[str, Any] = {"http": BoundedHttpProtocol, "ws": "none", "interface": "asgi3", "lifespan": "off"}
    config = uvicorn.Config(_unset, **options, proxy_headers=False, log_config=None, server_header=False)
    config.load()
    return config


async def _unset(scope: Scope, receive: Receive, send: Send) -> None: ...


async def _served(pieces: Sequence[bytes], heads: KnownHeads) -> tuple[Server, bytes]:
    """Return what a server read in a connection of these bytes, and what it wrote."""
    server = Server()
    heads.serve = server.whole
    protocol = BoundedHttpProtocol(config=_config(), server_state=ServerState(), app_state={KNOWN_HEADS: heads})
    protocol.app = server
    wire = Wire()
    protocol.connection_made(wire)
    for piece in pieces:
        if wire.is_closing():
            break
        protocol.data_received(piece)
        await _settle()
    protocol.connection_lost(None)
    await _settle()
    assert not protocol.tasks, "somebody waits for a client that has left"
    return server, wire.written


def known_heads(data: bytes) -> None:
    """Requests whose head came before are read as the parser reads the same bytes, and so are those almost alike."""
    known, parsed = KnownHeads(), Forgetful()
    for pieces in _connections(data):
        (here, written), (there, expected) = _done(_served(pieces, known)), _done(_served(pieces, parsed))
        assert here.asked == there.asked, pieces
        assert written == expected, pieces


def _connections(data: bytes) -> Iterator[list[bytes]]:
    """Yield what comes in one connection after another: the same again and again, with one change, and in pieces."""
    chance = Random(zlib.crc32(data))
    yield [data]
    yield [data, data]
    for _ in range(_CHANGED):
        yield [mutated(data, chance, _WORDS, is_json=False), data]
        yield [_with_another_bit(data, chance)]
    yield [data + data]
    yield [data, *(cut(data) if len(data) < 1000 else [data[:-1], data[-1:]]), data]


def _with_another_bit(data: bytes, chance: Random) -> bytes:
    changed = bytearray(data or b" ")
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


_WORDS = ["\r\n", "content-length: 1", "Content-Length: 0", "\r\ncontent-length: ", "transfer-encoding: chunked", " "]


class Got(NamedTuple):
    """An answer that came whole, as it was read, and whether another may be asked for on its connection."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    is_kept: bool


ORIGIN = Origin("https", "provider.example", 443)


def provider_answers(data: bytes) -> None:
    """However an answer comes in pieces it is read alike; one that is cut off never looks whole."""
    for method in (b"GET", b"HEAD"):
        whole = _done(_asked(method, [data]))
        pieces = cut(data) if len(data) < 1000 else [data[:100], data[100:]]
        in_pieces = _done(_asked(method, pieces))
        assert (whole is None) == (in_pieces is None)
        if whole is None or in_pieces is None:
            continue
        assert in_pieces[:3] == whole[:3], (method, in_pieces, whole)
        if method == b"GET":
            _check_framing(whole)
        other = _answer_read_by_another(method, data)
        if other is not None:
            assert (whole.status, whole.body) == (other.status, other.body), (method, whole, other)
            assert other.is_kept or not whole.is_kept, (method, whole, other)


def _check_framing(got: Got) -> None:
    lengths = {value for name, value in got.headers if name.lower() == b"content-length"}
    codings = [value for name, value in got.headers if name.lower() == b"transfer-encoding"]
    if got.status in (204, 304):
        assert not got.body
    elif lengths and not codings:
        assert lengths == {b"%d" % len(got.body)} or {int(one) for one in lengths} == {len(got.body)}


async def _asked(method: bytes, pieces: Sequence[bytes]) -> Got | None:
    """Return the answer of a provider who sends these bytes and closes, or None for one that broke off."""
    pool = _OriginPool(ORIGIN, Timeouts(), 1, cast("Any", None))
    connection = _Connection(pool)
    wire, turns = Wire(), Random(len(pieces))
    connection.connection_made(wire)
    reading = asyncio.ensure_future(_read(connection, Request(method, ORIGIN, b"/", []), turns))
    await asyncio.sleep(0)
    for piece in pieces:
        if wire.is_closing():
            break
        connection.data_received(piece)
        await _settle()
    is_kept = bool(pool._idle) and not wire.is_closing()
    connection.connection_lost(None)
    try:
        return (await reading)._replace(is_kept=is_kept)
    except UpstreamError as error:
        assert str(error)
        return None


async def _read(connection: _Connection, request: Request, turns: Random) -> Got:
    """Read an answer in turns: passed on piece by piece, and iterated over."""
    await connection.exchange(request, b"GET / HTTP/1.1\r\nhost: provider.example\r\n\r\n")
    response = Response(connection, 0, 0)
    body = bytearray()

    def take(piece: bytes) -> bool:
        body.extend(piece)
        return turns.random() < 0.5

    while turns.random() < 0.7 and not await response.pass_on(take):
        pass
    async for piece in response:
        body.extend(piece)
    return Got(response.status, response.headers, bytes(body), is_kept=False)


def _answer_read_by_another(method: bytes, data: bytes) -> Got | None:
    """Return the answer that h11 reads, if it reads one."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("host", "provider.example")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    reader.receive_data(b"")
    body = b""
    try:
        while isinstance(response := reader.next_event(), h11.InformationalResponse):
            pass
        while isinstance(event := reader.next_event(), h11.Data):
            body += event.data
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        return None
    if not isinstance(response, h11.Response) or not isinstance(event, h11.EndOfMessage):
        return None
    is_kept = reader.our_state is h11.DONE and not reader.trailing_data[0].strip(b"\r\n")
    return Got(response.status_code, list(response.headers), body, is_kept)


TARGETS = [
    Target("known_heads", known_heads, ["trunkline.server.known_heads", "trunkline.server.heads"], is_json=False),
    Target("provider_answers", provider_answers, ["trunkline.upstream.http"], is_json=False),
]
