"""What can go wrong before a provider is reached, and with connections that were kept for the next request."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from tests.contract.log_rows import ANSWER, json_answer, logged
from tests.contract.raw_server import Handler, raw_server
from tests.contract.test_dataplane import read_request
from tests.faults.stage import (
    GOOD,
    at,
    chat_of,
    exchange,
    left,
    provider,
    reset,
    says,
    until_no_more_than,
)
from tests.running import run
from trunkline.upstream import connecting
from trunkline.upstream.address import Origin


@asynccontextmanager
async def refusing() -> AsyncIterator[Origin]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        yield Origin("http", "127.0.0.1", taken.getsockname()[1])


@asynccontextmanager
async def accepting_nobody() -> AsyncIterator[Origin]:
    """A host that drops what arrives: its queue is full, and nobody looks at it."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(place)
        try:
            yield Origin("http", "127.0.0.1", place[1])
        finally:
            for one in waiting:
                one.close()


def behaving(handler: Handler, scheme: str = "http") -> Callable[[], object]:
    @asynccontextmanager
    async def there() -> AsyncIterator[Origin]:
        async with raw_server(handler) as origin:
            yield Origin(scheme, origin.host, origin.port)

    return there


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def silent_after_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    await reader.read()


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    reset(writer)


async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()


# (where the provider is, the status, and what the client and the row are told)
PLACES = {
    "refuses": (refusing, 502, "upstream_refused"),
    "does not accept": (accepting_nobody, 504, "upstream_timeout"),
    "closes at once": (behaving(closing), 502, "upstream_broken"),
    "resets at once": (behaving(resetting), 502, "upstream_broken"),
    "hangs in the TLS handshake": (behaving(silent, "https"), 504, "upstream_timeout"),
    "hangs after the client's hello": (behaving(silent_after_hello, "https"), 504, "upstream_timeout"),
    "closes in the TLS handshake": (behaving(closing, "https"), 502, "upstream_broken"),
    "resets in the TLS handshake": (behaving(resetting, "https"), 502, "upstream_broken"),
    "speaks no TLS": (behaving(plain, "https"), 502, "upstream_untrusted"),
}


SHORT = ("refuses", "hangs in the TLS handshake", "speaks no TLS")


@pytest.mark.parametrize("way", [pytest.param(way, marks=() if way in SHORT else pytest.mark.whole) for way in PLACES])
def test_a_provider_that_is_not_reached_is_named_with_what_failed(way: str) -> None:
    place, status, code = PLACES[way]

    async def main() -> None:
        async with (
            place() as origin,  # type: ignore[operator]
            logged(**at(origin), connect_timeout=0.3 if status == 504 else 10) as gateway,
        ):
            before = left()
            port = gateway.address.port
            got = await asyncio.gather(*[exchange(port, chat_of("gpt-4o")) for _ in range(5)])
            assert {(one.status, one.code) for one in got} == {(status, code)}
            await until_no_more_than(before)
        assert [row.status for row in gateway.rows] == [status] * 5
        assert {row.end_reason for row in gateway.rows} == {"upstream_error"}
        assert all(f"127.0.0.1:{origin.port}" in row.error for row in gateway.rows)

    run(main(), 30)


# Kept connections


@pytest.mark.parametrize("ends", ["closes", pytest.param("resets", marks=pytest.mark.whole)])
@pytest.mark.parametrize("when", ["as it is asked", "before it is asked"])
def test_a_kept_connection_that_ends_as_it_is_used_again_costs_at_most_that_request(ends: str, when: str) -> None:
    answered = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(GOOD)
        if when == "as it is asked":
            await read_request(reader)
        if ends == "resets":
            reset(writer)
        else:
            writer.close()
        answered.set()

    async def main() -> None:
        async with raw_server(once) as origin, logged(**at(origin)) as gateway:
            port = gateway.address.port
            assert (await exchange(port, chat_of("first"))).status == 200
            if when == "before it is asked":
                await answered.wait()
                await asyncio.sleep(0.05)  # what the provider sent is there when the next request is
            got = await exchange(port, chat_of("second"))
            # A chat that was sent may have been answered and paid for: it is not sent again.
            expected = (502, "upstream_broken") if when == "as it is asked" else (200, "")
            assert (got.status, got.code) == expected
            keyed = await exchange(port, chat_of("third"), idempotency_key="k")
            assert keyed.status == 200

    run(main(), 30)


@pytest.mark.whole
def test_a_chat_that_may_be_repeated_is_sent_again_on_a_fresh_connection() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(GOOD)
        await read_request(reader)

    async def main() -> None:
        async with raw_server(once) as origin, logged(**at(origin)) as gateway:
            port = gateway.address.port
            for number in range(4):
                got = await exchange(port, chat_of(f"m{number}"), idempotency_key=f"k{number}")
                assert got.status == 200
        assert [row.status for row in gateway.rows] == [200] * 4

    run(main(), 30)


# DNS


class Names:
    """A resolver in the place of the machine's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known: dict[str, str | Exception | asyncio.Event] = {}
        self.asked: list[str] = []
        self._real = connecting._look_up
        monkeypatch.setattr(connecting, "_look_up", self._look_up)

    async def _look_up(self, host: str, port: int) -> object:
        self.asked.append(host)
        found = self.known.get(host, host)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, asyncio.Event):
            await found.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await self._real(found, port)


UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


# A provider that keeps no connection, so that each request looks its name up.
ONCE = {"once": says(json_answer(ANSWER, "200 OK", "connection: close"), then="closes")}


@pytest.fixture
def tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ssl.SSLContext:
    """TLS as the named providers have it, of an authority that the gateway trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("provider.test", "silent.test", "good.test").configure_cert(context)
    return context


@pytest.mark.parametrize(
    "error", [pytest.param(UNKNOWN, id="unknown", marks=pytest.mark.whole), pytest.param(AGAIN, id="fails for now")]
)
def test_a_name_that_is_not_found_for_a_while_is_found_as_soon_as_it_is_there(
    error: socket.gaierror, monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        names = Names(monkeypatch)
        async with (
            provider(ONCE, tls=tls) as (_, origin),
            logged(**at(Origin("https", "provider.test", origin.port))) as gateway,
        ):
            before = left()
            port = gateway.address.port
            for _ in range(3):  # it flaps
                names.known["provider.test"] = error
                got = await exchange(port, chat_of("once"))
                assert (got.status, got.code) == (502, "upstream_unresolved")
                names.known["provider.test"] = "127.0.0.1"
                assert (await exchange(port, chat_of("once"))).status == 200
            await until_no_more_than(before)
        assert [row.status for row in gateway.rows] == [502, 200] * 3
        assert "provider.test" in gateway.rows[0].error

    run(main(), 30)


@pytest.mark.whole
def test_a_provider_that_moves_is_followed_when_its_old_place_is_gone(
    monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        names = Names(monkeypatch)
        names.known["provider.test"] = "127.0.0.1"
        async with provider({}, tls=tls) as (old, origin):
            there = Origin("https", "provider.test", origin.port)
            async with logged(**at(there), connect_timeout=1) as gateway:
                port = gateway.address.port
                assert (await exchange(port, chat_of("m"))).status == 200
                names.known["provider.test"] = "127.0.0.2"
                async with provider({}, host="127.0.0.2", port=origin.port, tls=tls) as (moved, _):
                    assert (await exchange(port, chat_of("m"))).status == 200  # a kept connection stays good
                    assert old.asked["m"] == 2
                    old.leave()
                    await old.until_gone()
                    assert (await exchange(port, chat_of("m"), idempotency_key="k")).status == 200
                    assert moved.asked["m"] == 1

    run(main(), 30)


def test_a_name_about_which_dns_is_silent_holds_up_nobody_else(
    monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        names = Names(monkeypatch)
        silence = asyncio.Event()
        names.known |= {"silent.test": silence, "good.test": "127.0.0.1"}
        async with provider(ONCE, tls=tls) as (_, origin):
            providers = {
                "openai": {"base_url": f"https://silent.test:{origin.port}/v1"},
                "groq": {"base_url": f"https://good.test:{origin.port}/v1"},
            }
            groq = "/v1/local/default/groq/chat/completions"
            async with logged(providers=providers, connect_timeout=3) as gateway:
                before = left()
                port = gateway.address.port
                waiting = [asyncio.create_task(exchange(port, chat_of("once"))) for _ in range(20)]
                for _ in range(5):
                    assert (await exchange(port, chat_of("once"), groq)).status == 200
                got = await asyncio.gather(*waiting)
                assert {(one.status, one.code) for one in got} == {(504, "upstream_timeout")}
                # However many wait, they take one of the few threads that look up names.
                assert names.asked.count("silent.test") == 1
                silence.set()
                await until_no_more_than(before)
        assert sorted(row.status for row in gateway.rows) == [200] * 5 + [504] * 20

    run(main(), 30)
