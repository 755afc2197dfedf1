"""Where a connection goes whose host a stranger chose."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from trunkline.errors import UpstreamNotPublic
from trunkline.upstream.address import Origin, parse
from trunkline.upstream.connecting import Connector
from trunkline.wire.public_addresses import broken_rule

CHOSEN = Origin("https", "api.stranger.example", 443, public_only=True)
NOT_PUBLIC = [
    "127.0.0.1",
    "0.0.0.0",
    "10.0.0.7",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.64.0.1",
    "192.0.0.9",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::10.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",
    "2002:a00:1::",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "2600::5efe:10.0.0.1",
    "2600::200:5efe:7f00:1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["8.8.8.8", "2606:4700::6812:7c0", "64:ff9b::808:808", "::ffff:8.8.8.8"]


class Names:
    """What a resolver answers for the stranger's host, one list after the other; the last one for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *rest: Any, **more: Any) -> list[Any]:
        if host != CHOSEN.host:
            return self._real(host, port, *rest, **more)
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            (
                socket.AF_INET6 if ":" in one else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (one, port, 0, 0) if ":" in one else (one, port),
            )
            for one in found
        ]


def addresses_of(connector: Connector, origin: Origin) -> list[str]:
    return [str(entry[4][0]) for entry in asyncio.run(connector.resolve(origin))]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_whatever_name_leads_there(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, [address])
    with pytest.raises(UpstreamNotPublic, match=r"api\.stranger\.example .*custom_provider_hosts") as refused:
        asyncio.run(Connector(proxies={}).open(CHOSEN))
    assert address not in str(refused.value)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_connected_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, [address])
    assert addresses_of(Connector(proxies={}), CHOSEN) == [address]


def test_of_several_addresses_only_public_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, ["10.0.0.1", "8.8.8.8", "::1"])
    assert addresses_of(Connector(proxies={}), CHOSEN) == ["8.8.8.8"]


@asynccontextmanager
async def listening(greeting: bytes = b"") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that keeps the first line of each connection, or that there was one."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = len(heard)
        heard.append(b"")
        heard[place] = await reader.readline()
        if greeting:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(greeting)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()


def test_the_address_that_was_checked_is_the_one_that_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere when it is looked up again gains nothing: it is not looked up again."""

    dialled: list[Any] = []

    async def sock_connect(loop: Any, connecting: socket.socket, address: Any) -> None:
        dialled.append(address)
        raise ConnectionRefusedError  # what is far away is not to be reached from a test

    async def main() -> None:
        monkeypatch.setattr(type(asyncio.get_running_loop()), "sock_connect", sock_connect)
        names = Names(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
        with pytest.raises(ConnectionRefusedError):
            await Connector(proxies={}).open(CHOSEN)
        assert dialled == [("8.8.8.8", 443)]
        assert names.asked == 1

    asyncio.run(main())


def test_a_host_that_whoever_runs_the_gateway_chose_may_be_anywhere() -> None:
    async def main() -> None:
        async with listening() as (port, _):
            (await Connector(proxies={}).open(Origin("http", "127.0.0.1", port))).close()

    asyncio.run(main())


def test_a_proxy_is_asked_for_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the name, it would look that up by itself, and perhaps find another."""

    async def main() -> None:
        names = Names(monkeypatch, ["10.0.0.1", "93.184.215.14"])
        async with listening(b"HTTP/1.1 200 OK\r\n\r\n") as (port, heard):
            connector = Connector(proxies={"https": f"http://127.0.0.1:{port}"})
            (await connector.open(CHOSEN)).close()
            assert heard == [b"CONNECT 93.184.215.14:443 HTTP/1.1\r\n"]
            assert names.asked == 1

    asyncio.run(main())


def test_a_proxy_is_no_way_to_an_address_that_is_not_public(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        Names(monkeypatch, ["10.0.0.1"])
        async with listening(b"HTTP/1.1 200 OK\r\n\r\n") as (port, heard):
            with pytest.raises(UpstreamNotPublic):
                await Connector(proxies={"https": f"http://127.0.0.1:{port}"}).open(CHOSEN)
            assert heard == []

    asyncio.run(main())


def test_a_connection_that_was_opened_for_one_who_is_trusted_is_not_lent_to_another() -> None:
    trusted, chosen = parse("https://api.example.com/v1")[0], parse("https://api.example.com/v1", public_only=True)[0]
    assert trusted != chosen
    assert (trusted.netloc, str(trusted)) == (chosen.netloc, str(chosen))


def test_what_is_no_address_is_no_public_one() -> None:
    with pytest.raises(ValueError, match="address"):
        broken_rule("api.example.com")
