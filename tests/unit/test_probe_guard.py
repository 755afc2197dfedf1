"""Where a probe that others can start may connect."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from trunkline.probe import AddressGuard, AddressRefused
from trunkline.probe.guard import broken_rule, check
from trunkline.upstream.address import Origin

PUBLIC = ("8.8.8.8", "1.1.1.1", "104.18.7.192", "2606:4700::6812:7c0", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_let_through(address: str) -> None:
    assert broken_rule(address) is None


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("fd00::1", "private"),
        ("fec0::1", "private"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%2", "link-local"),
        ("169.254.169.254", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("100.64.0.1", "reserved"),
        ("::2", "reserved"),
    ],
)
def test_others_are_refused_by_a_named_rule(address: str, rule: str) -> None:
    assert broken_rule(address) == rule


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "::", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "2001:db8::1"]
)
def test_addresses_that_are_nobodys_are_refused(address: str) -> None:
    assert broken_rule(address) is not None


def test_one_address_that_is_not_public_is_reason_enough() -> None:
    check("good.example", PUBLIC)
    with pytest.raises(AddressRefused, match=r"mixed\.example .* rule 'private' refuses its address 10\.0\.0\.1"):
        check("mixed.example", ["8.8.8.8", "10.0.0.1"])


class Names:
    """A resolver that gives a name another address each time."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        address = self.addresses[min(self.asked, len(self.addresses) - 1)]
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]


def test_a_second_answer_of_the_resolver_is_never_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names("8.8.8.8", "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", names)
    monkeypatch.setattr("urllib.request.getproxies_environment", dict)
    origin = Origin("https", "moving.example", 443)

    async def main() -> None:
        connector = await AddressGuard().connector(origin)
        assert [entry[4][0] for entry in await connector.resolve(origin)] == ["8.8.8.8"]
        assert names.asked == 1

    asyncio.run(main())


def test_a_name_is_judged_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names("127.0.0.1"))
    with pytest.raises(AddressRefused, match="loopback"):
        asyncio.run(AddressGuard().connector(Origin("https", "innocent.example", 443)))


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "localhost"])
def test_other_spellings_of_this_machine_are_seen_through(host: str) -> None:
    with pytest.raises(AddressRefused, match="loopback"):
        asyncio.run(AddressGuard().connector(Origin("http", host, 80)))


def test_the_operator_vouches_for_hosts_by_name() -> None:
    guard = AddressGuard(["LocalHost"])
    asyncio.run(guard.connector(Origin("http", "localhost", 80)))
    with pytest.raises(AddressRefused):
        asyncio.run(guard.connector(Origin("http", "127.0.0.1", 80)))


def test_a_proxy_would_ask_the_resolver_again_and_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", Names("8.8.8.8"))
    origin = Origin("https", "api.example", 443)
    with pytest.raises(AddressRefused, match="proxy"):
        asyncio.run(AddressGuard().connector(origin))
    asyncio.run(AddressGuard(["api.example"]).connector(origin))
