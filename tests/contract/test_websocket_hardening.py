"""WebSockets through the whole gateway, frame by frame: each side may do what RFC 6455 forbids, and the other is told.

The client and the provider are sockets that write what a test says. Nothing may hang, each end gets the close code that
is right for it, and the session is written down.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.contract.administration import administration
from tests.contract.raw_server import raw_server, read_head
from tests.contract.test_dataplane import openai_at
from tests.contract.test_websocket_server import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FAULTS,
    KEY,
    MOST,
    PING,
    PONG,
    TEXT,
    Client,
    Server,
    frame,
    holds,
    served,
)
from tests.running import Address, data_directory, gateway, run
from trunkline.server import serving
from trunkline.store import Database
from trunkline.store.sessions import RealtimeSessions, SessionFilter, SessionSummary
from trunkline.upstream import websocket as dialling

SWITCHED: Final = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
BROKEN: Final = (1011, "upstream_broken")


def code(number: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", number) + reason


def said(kind: int, payload: bytes = b"", **more: Any) -> bytes:
    """A frame of a provider's, which is not masked."""
    return frame(kind, payload, **{"masked": False, **more})


class Provider:
    """A provider's end of one session: what it ``received``, and whether the connection was closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received: list[tuple[int, bytes]] = []
        self.is_over = asyncio.Event()

    async def read(self) -> tuple[int, bytes]:
        """The opcode and payload of the next frame, which has to be whole and masked."""
        first, second = await self.reader.readexactly(2)
        assert first & 0xF0 == 0x80
        assert second & 0x80
        size = second & 0x7F
        if size > 125:
            (size,) = struct.unpack(
                "!H" if size == 126 else "!Q", await self.reader.readexactly(2 if size == 126 else 8)
            )
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        return first & 0xF, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))

    async def listen(self) -> None:
        """Take what comes until the connection is closed."""
        try:
            while True:
                self.received.append(await self.read())
        except (asyncio.IncompleteReadError, ConnectionError):
            self.is_over.set()

    @property
    def close(self) -> bytes | None:
        """What the first close frame held that came."""
        return next((payload for kind, payload in self.received if kind == CLOSE), None)


Talk = Callable[[Provider], Awaitable[None]]


class Providers:
    """The provider, whose ``talk`` with a session is that of the model that was asked for."""

    def __init__(self, talks: dict[str, Talk]) -> None:
        self._sessions: dict[str, Provider] = {}
        self._talks = talks

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await read_head(reader)).decode("latin-1")
        model = httpx.URL(asked.split()[1]).params["model"]
        key = re.search(r"(?i)sec-websocket-key: (\S+)", asked)
        assert key is not None
        assert "permessage-deflate" not in asked
        writer.write(SWITCHED + b"sec-websocket-accept: " + accept_of(key[1].encode()) + b"\r\n\r\n")
        provider = self._sessions[model] = Provider(reader, writer)
        await self._talks[model](provider)
        await provider.listen()

    async def session(self, model: str) -> Provider:
        """The provider's end of a session, which may still have to be dialled."""
        await holds(lambda: model in self._sessions)
        return self._sessions[model]


def accept_of(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


async def listens(provider: Provider) -> None:
    """Say nothing."""


async def echoes(provider: Provider) -> None:
    while True:
        kind, payload = await provider.read()
        provider.writer.write(said(kind, payload))
        provider.received.append((kind, payload))
        if kind == CLOSE:
            return


def says(*frames: bytes, then: str = "") -> Talk:
    """Say some frames when the first message of the client has come, and go, or be cut off."""

    async def talk(provider: Provider) -> None:
        provider.received.append(await provider.read())
        provider.writer.write(b"".join(frames))
        if then == "go":
            provider.writer.close()
        elif then == "break":
            provider.writer.transport.abort()

    return talk


async def dialled(address: Address, model: str, *lines: bytes, line: bytes = b"") -> Client:
    """A client whose handshake was answered, with what its ``head`` says."""
    client = Client(*await asyncio.open_connection(address.host, address.port))
    line = line or b"GET /v1/local/default/openai/realtime?model=" + model.encode() + b" HTTP/1.1"
    fields = [line, b"host: localhost", b"authorization: Bearer sk-caller-1234", *(lines or UPGRADE)]
    client.writer.write(b"\r\n".join(fields) + b"\r\n\r\n")
    client.head = await client.reader.readuntil(b"\r\n\r\n")
    return client


VERSION: Final = b"sec-websocket-version: 13"
KEYED: Final = b"sec-websocket-key: " + KEY
UPGRADE: Final = (b"connection: upgrade", b"upgrade: websocket", VERSION, KEYED)


class Relay:
    """A gateway before such providers; the ``rows`` of its sessions, by model, are there once it was left."""

    def __init__(self, providers: Providers, address: Address) -> None:
        self.session = providers.session
        self.address = address
        self.rows: dict[str, SessionSummary] = {}

    def ends(self) -> dict[str, tuple[str | None, int | None]]:
        """Who closed each session, and with what code."""
        return {model: (row.closed_by, row.close_code) for model, row in self.rows.items()}


@asynccontextmanager
async def relayed(talks: dict[str, Talk]) -> AsyncIterator[Relay]:
    """A gateway that does not replace a provider that is lost."""
    providers = Providers(talks)
    with data_directory() as directory:
        async with administration(directory) as configuration:
            await configuration.change_gateway("default", realtime={"resume": False})
        async with raw_server(providers) as origin:
            async with gateway(data_dir=directory, **openai_at(origin)) as address:
                relay = Relay(providers, address)
                yield relay
            relay.rows = await rows_in(directory)


async def rows_in(directory: Path) -> dict[str, SessionSummary]:
    database = await Database.open(directory)
    try:
        rows = await RealtimeSessions(database).list(SessionFilter(open=False), 1000)
    finally:
        await database.close()
    assert len({row.model for row in rows}) == len(rows)
    return {row.model: row for row in rows}


async def closed(client: Client) -> tuple[list[tuple[int, bytes]], int, str]:
    """Read until the gateway closes, and answer that; return what came before, and the code and the reason."""
    before = []
    while (found := await client.read())[0] != CLOSE:
        before.append(found)
    client.write(frame(CLOSE, found[1]))
    with suppress(ConnectionError):  # what came behind a fault is not read
        assert await client.reader.read() == b""
    client.writer.close()
    return before, int.from_bytes(found[1][:2], "big"), found[1][2:].decode()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MAX_FRAME_BYTES", MOST)
    monkeypatch.setattr(dialling, "_CLOSE_SECONDS", 0.1)  # for which a provider is waited for that answers no close


# What the client does that it must not

CLIENT_FAULTS: Final = {
    **FAULTS,
    "a length of 2^63": ([bytes([0x82, 0xFF]) + struct.pack("!Q", 1 << 63) + b"mask"], 1002),
    "a length of 2^62": ([bytes([0x82, 0xFF]) + struct.pack("!Q", 1 << 62) + b"mask" + bytes(5000)], 1009),
    "a length that a shorter field holds": ([bytes([0x81, 0xFE]) + struct.pack("!H", 5) + b"maskhello"], 1002),
    "a length of 8 bytes that 2 hold": ([bytes([0x81, 0xFF]) + struct.pack("!Q", 5) + b"maskhello"], 1002),
    "a packed message": ([frame(TEXT, b"\xcaH\xcd\xc9\xc9\x07\x00", reserved=4)], 1002),
    "a reserved bit of a ping": ([frame(PING, b"", reserved=2)], 1002),
    "a reserved control frame": ([frame(0xB, b"")], 1002),
    "a pong in pieces": ([frame(PONG, b"", fin=False)], 1002),
    "a close in pieces": ([frame(CLOSE, code(1000), fin=False)], 1002),
    "a close of 126 bytes": ([frame(CLOSE, code(1000) + b"x" * 124)], 1002),
    "a close of 999": ([frame(CLOSE, code(999))], 1002),
    "a close of 1004": ([frame(CLOSE, code(1004))], 1002),
    "a close of 1006": ([frame(CLOSE, code(1006))], 1002),
    "a close of 1015": ([frame(CLOSE, code(1015))], 1002),
    "a close of 1016": ([frame(CLOSE, code(1016))], 1002),
    "a close of 2999": ([frame(CLOSE, code(2999))], 1002),
    "a close of 0": ([frame(CLOSE, code(0))], 1002),
    "a close of 5000": ([frame(CLOSE, code(5000))], 1002),
    "half a character between pieces": (
        [frame(TEXT, b"\xc3", fin=False), frame(CONTINUATION, b"("), frame(TEXT, b"late")],
        1007,
    ),
    "a surrogate": ([frame(TEXT, b"\xed\xa0\x80")], 1007),
    "an overlong character": ([frame(TEXT, b"\xc0\xaf")], 1007),
    "a character beyond the last": ([frame(TEXT, b"\xf4\x90\x80\x80")], 1007),
}


def test_a_fault_of_the_client_ends_the_session_with_its_code_and_the_provider_hears_of_it() -> None:
    async def main() -> None:
        async with relayed({f"m{number}": listens for number in range(len(CLIENT_FAULTS))}) as relay:
            wrong: dict[str, object] = {}

            async def faulted(number: int, name: str, frames: list[bytes], wanted: int) -> None:
                client = await dialled(relay.address, f"m{number}")
                client.write(frame(TEXT, b"before"), *frames)
                before, found, _ = await closed(client)
                provider = await relay.session(f"m{number}")
                await provider.is_over.wait()
                told = [payload[:2] if kind == CLOSE else payload for kind, payload in provider.received]
                if (found, before, told) != (wanted, [], [b"before", code(wanted)]):
                    wrong[name] = (found, before, provider.received)

            await asyncio.gather(*(faulted(i, name, *case) for i, (name, case) in enumerate(CLIENT_FAULTS.items())))
            assert wrong == {}
        assert relay.ends() == {f"m{i}": ("client", wanted) for i, (_, wanted) in enumerate(CLIENT_FAULTS.values())}

    run(main())


# What the provider does that it must not: how it ended, what it is told, what the client gets, what is written down

PROVIDER_FAULTS: Final[dict[str, tuple[Talk, int | None, tuple[int, str], int]]] = {
    "a mask": (says(said(TEXT, b"x", masked=True)), 1002, BROKEN, 1006),
    "a reserved bit": (says(said(TEXT, b"x", reserved=4)), 1002, BROKEN, 1006),
    "a kind that is none": (says(said(0x3)), 1002, BROKEN, 1006),
    "a reserved control frame": (says(said(0xF)), 1002, BROKEN, 1006),
    "a piece of nothing": (says(said(CONTINUATION, b"x")), 1002, BROKEN, 1006),
    "a message within another": (says(said(TEXT, b"x", fin=False), said(TEXT, b"y")), 1002, BROKEN, 1006),
    "a ping in pieces": (says(said(PING, fin=False)), 1002, BROKEN, 1006),
    "a ping of 126 bytes": (says(said(PING, bytes(126))), 1002, BROKEN, 1006),
    "a length of 2^63": (says(bytes([0x82, 127]) + struct.pack("!Q", 1 << 63)), 1002, BROKEN, 1006),
    "a length of 2^62": (says(bytes([0x82, 127]) + struct.pack("!Q", 1 << 62) + bytes(5000)), 1009, BROKEN, 1006),
    "a length that a shorter field holds": (says(b"\x81\x7e\x00\x05hello"), 1002, BROKEN, 1006),
    "HTTP": (says(b"HTTP/1.1 500 Internal Server Error\r\n\r\n"), 1002, BROKEN, 1006),
    "a close of one byte": (says(said(CLOSE, b"\x03")), 1002, BROKEN, 1006),
    "a close of 999": (says(said(CLOSE, code(999))), 1002, BROKEN, 1006),
    "a close of 1005": (says(said(CLOSE, code(1005))), 1002, BROKEN, 1006),
    "a close of 1006": (says(said(CLOSE, code(1006))), 1002, BROKEN, 1006),
    "a close of 2999": (says(said(CLOSE, code(2999))), 1002, BROKEN, 1006),
    "a close of 5000": (says(said(CLOSE, code(5000))), 1002, BROKEN, 1006),
    "a close whose reason is not UTF-8": (says(said(CLOSE, code(1000, b"\xff"))), 1007, BROKEN, 1006),
    "a close of no code": (says(said(CLOSE)), None, (1000, ""), 1005),
    "a close of 1000": (says(said(CLOSE, code(1000, b"done"))), 1000, (1000, "done"), 1000),
    "a close of 4999": (says(said(CLOSE, code(4999, "é".encode()))), 4999, (4999, "é"), 4999),
    "a close, and a message": (says(said(CLOSE, code(4001)), said(TEXT, b"late")), 4001, (4001, ""), 4001),
    "a close within a message": (says(said(TEXT, b"x", fin=False), said(CLOSE, code(4001))), 4001, (4001, ""), 4001),
    "a connection that ends": (says(then="go"), None, BROKEN, 1006),
    "a connection that breaks": (says(then="break"), None, BROKEN, 1006),
    "half a frame": (says(b"\x81\x05hel", then="go"), None, BROKEN, 1006),
    "half a length": (says(b"\x81\x7e\x00", then="go"), None, BROKEN, 1006),
    "half a message": (says(said(TEXT, b"x", fin=False), then="go"), None, BROKEN, 1006),
}


def test_a_fault_of_the_provider_ends_the_session_and_is_no_good_end_to_the_client() -> None:
    talks = {f"m{number}": talk for number, (talk, *_) in enumerate(PROVIDER_FAULTS.values())}

    async def main() -> None:
        async with relayed(talks) as relay:
            wrong: dict[str, object] = {}

            async def faulted(number: int, name: str, told: int | None, wanted: tuple[int, str]) -> None:
                client = await dialled(relay.address, f"m{number}")
                client.write(frame(TEXT, b"begin"))
                before, found, reason = await closed(client)
                provider = await relay.session(f"m{number}")
                await provider.is_over.wait()
                close = provider.close or b""
                if (before, (found, reason)) != ([], wanted) or (close[:2] or None) != (told and code(told)):
                    wrong[name] = (before, found, reason, provider.received)

            await asyncio.gather(
                *(
                    faulted(i, name, told, wanted)
                    for i, (name, (_, told, wanted, _)) in enumerate(PROVIDER_FAULTS.items())
                )
            )
            assert wrong == {}
        assert relay.ends() == {f"m{i}": ("provider", noted) for i, (*_, noted) in enumerate(PROVIDER_FAULTS.values())}

    run(main())


# What both may do

MESSAGES: Final = (
    ([(TEXT, b"", True)], (TEXT, b"")),
    ([(BINARY, b"", True)], (BINARY, b"")),
    ([(TEXT, b"x", True)], (TEXT, b"x")),
    ([(TEXT, b"a", False), (CONTINUATION, b"b", True)], (TEXT, b"ab")),
    ([(BINARY, b"\xff", False), (CONTINUATION, b"\x00", True)], (BINARY, b"\xff\x00")),
    ([(TEXT, b"", False), (CONTINUATION, b"", False), (CONTINUATION, b"", True)], (TEXT, b"")),
    ([(TEXT, b"", False), (CONTINUATION, b"x", False), (CONTINUATION, b"", True)], (TEXT, b"x")),
    ([(TEXT, b"\xc3", False), (CONTINUATION, b"\xa9", True)], (TEXT, "é".encode())),
    ([(TEXT, b"\xf0\x9f", False), (PING, b"p", True), (CONTINUATION, b"\x98\x80", True)], (TEXT, "😀".encode())),
    ([(TEXT, b"a", False), (PONG, b"unasked", True), (CONTINUATION, b"b", True)], (TEXT, b"ab")),
    ([(PING, b"", True), (PING, bytes(125), True), (TEXT, b"x" * 125, True)], (TEXT, b"x" * 125)),
    ([(BINARY, bytes(126), True)], (BINARY, bytes(126))),
    ([(BINARY, bytes(65_536), True)], (BINARY, bytes(65_536))),
    ([(BINARY, b"%d" % number, False) for number in range(1)]
     + [(CONTINUATION, b"%d" % number, False) for number in range(1, 200)] + [(CONTINUATION, b"", True)],
     (BINARY, b"".join(b"%d" % number for number in range(200)))),
)  # fmt: skip


@pytest.mark.parametrize("bytewise", [False, True])
def test_messages_in_every_form_pass_both_ways_whole_and_in_order(bytewise: bool) -> None:
    frames = [one for pieces, _ in MESSAGES for one in pieces if not bytewise or len(one[1]) < 1000]
    wanted = [message for _, message in MESSAGES if not bytewise or len(message[1]) < 1000]
    pings = [payload for kind, payload, _ in frames if kind == PING]

    async def written(writer: asyncio.StreamWriter, *, masked: bool) -> None:
        data = b"".join(frame(kind, payload, fin=fin, masked=masked) for kind, payload, fin in frames)
        for piece in [data[i : i + 1] for i in range(len(data))] if bytewise else [data]:
            writer.write(piece)
            if bytewise:
                await writer.drain()
                await asyncio.sleep(0)

    async def speaks(provider: Provider) -> None:
        await written(provider.writer, masked=False)

    async def main() -> None:
        async with relayed({"m": speaks}) as relay:
            client = await dialled(relay.address, "m")
            await written(client.writer, masked=True)
            got = [await client.read() for _ in range(len(wanted) + len(pings))]
            assert [one for one in got if one[0] != PONG] == wanted
            assert [payload for kind, payload in got if kind == PONG] == pings
            client.write(frame(CLOSE, code(1000)))
            provider = await relay.session("m")
            await provider.is_over.wait()
            assert [one for one in provider.received if one[0] not in (PONG, CLOSE)] == wanted
            assert [payload for kind, payload in provider.received if kind == PONG] == pings

    run(main())


def test_what_a_provider_says_that_is_no_utf_8_reaches_the_client_as_text_that_is() -> None:
    async def main() -> None:
        talk = says(said(TEXT, b"a\xffb"), said(TEXT, b"\xc3", fin=False), said(CONTINUATION, b"("))
        async with relayed({"m": talk}) as relay:
            client = await dialled(relay.address, "m")
            client.write(frame(TEXT, b"begin"))
            assert await client.read() == (TEXT, "a\ufffdb".encode())
            assert await client.read() == (TEXT, "\ufffd(".encode())

    run(main())


# Ends


def test_both_ends_may_close_at_once() -> None:
    count = 20

    async def closes(provider: Provider) -> None:
        provider.received.append(await provider.read())
        provider.writer.write(said(CLOSE, code(4002, b"provider")))

    async def main() -> None:
        async with relayed({f"m{number}": closes for number in range(count)}) as relay:
            for number in range(count):
                client = await dialled(relay.address, f"m{number}")
                client.write(frame(TEXT, b"go"), frame(CLOSE, code(4001, b"client")))
                (kind, payload), rest = await client.read(), await client.reader.read()
                assert (kind, rest) == (CLOSE, b"")
                assert payload in (code(4001, b"client"), code(4002, b"provider"))
                await (await relay.session(f"m{number}")).is_over.wait()
        assert len(relay.rows) == count
        assert set(relay.ends().values()) <= {("client", 4001), ("provider", 4002)}

    run(main())


def test_what_a_client_says_after_its_close_goes_nowhere() -> None:
    async def main() -> None:
        async with relayed({"m": listens}) as relay:
            client = await dialled(relay.address, "m")
            client.write(frame(TEXT, b"one"), frame(CLOSE, code(4001)), frame(TEXT, b"two"), frame(CLOSE, code(4003)))
            assert (await client.read())[0] == CLOSE
            provider = await relay.session("m")
            await provider.is_over.wait()
            assert provider.received == [(TEXT, b"one"), (CLOSE, code(4001))]

    run(main())


@pytest.mark.parametrize("how", ["breaks", "ends"])
@pytest.mark.parametrize(
    "begun", [b"", frame(TEXT, b"hello")[:4], frame(TEXT, b"hello", fin=False)], ids=["idle", "a frame", "a message"]
)
def test_a_client_that_vanishes_is_told_to_the_provider_and_written_down(how: str, begun: bytes) -> None:
    async def main() -> None:
        async with relayed({"m": listens}) as relay:
            client = await dialled(relay.address, "m")
            client.write(frame(TEXT, b"one"))
            provider = await relay.session("m")
            await holds(lambda: bool(provider.received))
            client.write(begun)
            await client.writer.drain()
            if how == "ends":
                client.writer.write_eof()
            else:
                client.writer.transport.abort()
            await provider.is_over.wait()
            assert provider.close == code(1001)
        assert relay.ends() == {"m": ("client", 1006)}

    run(main())


def test_a_provider_that_does_not_answer_a_close_is_left() -> None:
    async def main() -> None:
        async with relayed({"m": listens}) as relay:
            client = await dialled(relay.address, "m")
            client.write(frame(TEXT, b"one"), frame(CLOSE, code(1000)))
            await (await relay.session("m")).is_over.wait()
        assert relay.ends() == {"m": ("client", 1000)}

    run(main())


# Handshakes of clients

HANDSHAKES: Final[dict[str, tuple[tuple[bytes, ...], bytes, int]]] = {
    "no key": (UPGRADE[:3], b"", 400),
    "two keys": ((*UPGRADE, KEYED), b"", 400),
    "a key that is too short": ((*UPGRADE[:3], b"sec-websocket-key: c2hvcnQ="), b"", 400),
    "a key that is no base64": ((*UPGRADE[:3], b"sec-websocket-key: \xff?"), b"", 400),
    "no version": ((*UPGRADE[:2], KEYED), b"", 426),
    "an old version": ((*UPGRADE[:2], b"sec-websocket-version: 8", KEYED), b"", 426),
    "two versions": ((*UPGRADE, VERSION), b"", 426),
    "POST": (UPGRADE, b"POST /v1/local/default/openai/realtime?model=m HTTP/1.1", 405),
    "a body": ((*UPGRADE, b"content-length: 5"), b"", 400),
    "chunks": ((*UPGRADE, b"transfer-encoding: chunked"), b"", 400),
    "HTTP/1.0": (UPGRADE, b"GET /v1/local/default/openai/realtime?model=m HTTP/1.0", 400),
    "a path elsewhere": (UPGRADE, b"GET /nowhere HTTP/1.1", 404),
    "two hosts": ((*UPGRADE, b"host: elsewhere"), b"", 400),
    "a sub-protocol of 9,000 bytes": ((*UPGRADE, b"sec-websocket-protocol: " + b"p" * 9000), b"", 431),
    "too many lines of sub-protocols": ((*UPGRADE, *[b"sec-websocket-protocol: p"] * 130), b"", 431),
}


def test_a_handshake_that_is_none_is_answered_and_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with relayed({}) as relay:
            statuses = {}
            for name, (lines, line, _) in HANDSHAKES.items():
                client = await dialled(relay.address, "m", *lines, line=line)
                statuses[name] = int(client.head.split()[1])
                if name == "an old version":
                    assert b"sec-websocket-version: 13" in client.head.lower()
                await client.reader.read()
                client.writer.close()
            assert statuses == {name: wanted for name, (*_, wanted) in HANDSHAKES.items()}
        # and a gateway that has refused them all can be stopped, which it was here

    run(main())


def test_extensions_are_declined_and_long_lists_of_sub_protocols_read() -> None:
    async def main() -> None:
        async with relayed({"m": echoes}) as relay:
            offered = b", ".join(b"p%d" % number for number in range(1000))
            client = await dialled(
                relay.address,
                "m",
                *UPGRADE,
                b"sec-websocket-extensions: permessage-deflate; client_max_window_bits, permessage-deflate",
                b"sec-websocket-protocol: " + offered,
            )
            assert client.head.startswith(b"HTTP/1.1 101 ")
            assert b"sec-websocket-extensions" not in client.head.lower()
            client.write(frame(TEXT, b"plain"))
            assert await client.read() == (TEXT, b"plain")

    run(main())


# Handshakes of providers


@pytest.mark.parametrize(
    "answer",
    [
        SWITCHED + b"\r\n",
        SWITCHED + b"sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: %b\r\n\r\n",
        SWITCHED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"sec-websocket-accept: %b\r\n\r\n",
        SWITCHED + b"sec-websocket-accept: %b\r\ncontent-length: 5\r\n\r\nhello",
        SWITCHED + b"sec-websocket-accept: %b\r\ntransfer-encoding: chunked\r\n\r\n",
        SWITCHED + b"sec-websocket-accept: %b\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n",
        SWITCHED + b"sec-websocket-accept: %b\r\nx-long: " + b"x" * 40_000,
        SWITCHED + b"sec-websocket-accept: %b\r\n" + b"x-many: value\r\n" * 500 + b"\r\n",
        SWITCHED + b"sec-websocket-accept: %b\r\nx-\xff: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 999 What\r\nx-odd: \xff\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nx-odd: \xff\r\ncontent-length: 2\r\n\r\n\xff\xfe",
        b"\x16\x03\x01\x00\x00",
        b"",
    ],
)
def test_a_handshake_of_a_provider_that_is_none_is_told_in_band(answer: bytes) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", await read_head(reader))
        assert key is not None
        writer.write(answer.replace(b"%b", accept_of(key[1])))
        if len(answer) < 10:
            writer.close()
        await reader.read()

    async def main() -> None:
        with data_directory() as directory:
            async with raw_server(answers) as origin, gateway(data_dir=directory, **openai_at(origin)) as address:
                client = await dialled(address, "m")
                ((kind, error),), found, _ = await closed(client)
            rows = await rows_in(directory)
        assert kind == TEXT
        assert b'"type": "error"' in error
        assert found in (1013, 3000)  # 3000: a key that was refused
        assert (rows["m"].closed_by, rows["m"].close_code) == ("gateway", found)

    run(main())


# What nobody reads must not pile up


def test_pings_of_a_client_that_reads_nothing_are_answered_by_a_few_pongs_and_the_last_is_one_of_them() -> None:
    count = 120_000  # more than the system's buffers hold

    async def main() -> None:
        server = Server()
        async with served(server):
            client = await Client.of(server)
            for number in range(count):
                client.write(b"\x89\xfd\0\0\0\0%0125d" % number)  # as if it was masked with zeros
                if number % 1000 == 0:
                    await client.writer.drain()
            client.write(frame(TEXT, b"read them all"))
            await holds(lambda: bool(server.received))
            got = bytearray()
            while b"%0125d" % (count - 1) not in got[-70_000:]:
                got += await client.reader.read(65536)
            pongs = re.findall(rb"\x8a\x7d(\d{125})", got)
            assert len(pongs) < count * 3 // 4
            assert pongs == sorted(pongs)

    run(main())


def test_a_message_in_very_many_pieces_takes_the_room_of_its_bytes() -> None:
    pieces = MOST // 2 - 1000

    async def main() -> None:
        server = Server()
        async with served(server):
            client = await Client.of(server)
            client.write(frame(BINARY, b"", fin=False))
            piece, empty = frame(CONTINUATION, b"xy", fin=False), frame(CONTINUATION, b"", fin=False)
            tracemalloc.start()
            for _ in range(pieces // 1000):
                client.write((piece + empty) * 1000)
                await client.writer.drain()
            client.write(frame(CONTINUATION, b"z"))
            assert await client.read() == (BINARY, b"xy" * pieces + b"z")
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 1_500_000

    run(main())


def test_empty_messages_that_nobody_takes_hold_their_sender_back() -> None:
    is_over = asyncio.Event()

    async def waits(receive: Any, send: Any) -> None:
        await is_over.wait()

    async def main() -> None:
        server = Server(waits)
        async with served(server):
            client = await Client.of(server)
            tracemalloc.start()
            client.write(frame(TEXT, b"") * 200_000)
            peak, before = 0, -1
            while peak > before:  # until no more of them are taken
                before = peak
                await asyncio.sleep(0.3)
                _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            is_over.set()
            assert peak < 10_000_000

    run(main())
