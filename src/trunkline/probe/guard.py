"""Keeps a probe that others can start from reaching what only its machine can reach.

A browser's user names a URL and the server connects: without this, the console would be a way into the server's own
network. Names are looked up once, every address of the answer must be a public one, and the connection goes to exactly
those addresses, so that a second answer cannot move it.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from aiohappyeyeballs import AddrInfoType

from trunkline.probe.errors import AddressRefused
from trunkline.upstream.address import Origin
from trunkline.upstream.connecting import Connector

_Address = IPv4Address | IPv6Address

# Where clouds tell a machine its own credentials; some of them are no private addresses.
_METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

RULES: Final[tuple[tuple[str, Callable[[_Address], bool]], ...]] = (
    ("metadata", lambda address: address in _METADATA),
    ("loopback", lambda address: address.is_loopback),
    ("link-local", lambda address: address.is_link_local),
    ("multicast", lambda address: address.is_multicast),
    ("private", lambda address: address.is_private or (isinstance(address, IPv6Address) and address.is_site_local)),
    ("reserved", lambda address: address.is_reserved or address.is_unspecified or not address.is_global),
)
"""What an address may not be, and the name of each rule. The first that fits is named."""


class AddressGuard:
    """Decides where a probe may connect. ``allowed_hosts`` are exempt by name: the operator vouches for them."""

    def __init__(self, allowed_hosts: Iterable[str] = ()) -> None:
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    async def connector(self, origin: Origin, ssl_context: ssl.SSLContext | None = None) -> Connector:
        """Return a connector that reaches an origin and nothing else but the addresses that were checked.

        Raises `AddressRefused` naming the rule, or `OSError` when the name has no address.
        """
        ordinary = Connector(ssl_context)
        if origin.host.lower() in self._allowed:
            return ordinary
        if ordinary.proxy_for(origin) is not None:
            raise AddressRefused(
                f"{origin.host} is reached through a proxy, which would look its name up out of the guard's sight."
                " If that is meant, add the host to those that the probe may reach."
            )
        addresses = await ordinary.resolve(origin)
        check(origin.host, (str(sockaddr[0]) for *_, sockaddr in addresses))
        return _Pinned(addresses, ssl_context)


class _Pinned(Connector):
    """Connects to given addresses, whatever name is asked for."""

    def __init__(self, addresses: Sequence[AddrInfoType], ssl_context: ssl.SSLContext | None) -> None:
        super().__init__(ssl_context, proxies={})
        self._addresses = addresses

    async def resolve(self, origin: Origin) -> Sequence[AddrInfoType]:
        return self._addresses


def check(host: str, addresses: Iterable[str]) -> None:
    """Raise `AddressRefused` unless every address of a host is a public one. One that is not is reason enough."""
    for text in addresses:
        rule = broken_rule(text)
        if rule is not None:
            raise AddressRefused(
                f"{host} is not probed from here: the rule {rule!r} refuses its address {text}. If that is meant, add"
                " the host to those that the probe may reach."
            )


def broken_rule(text: str) -> str | None:
    """Return the name of the rule that an address breaks, or None for a public one."""
    for address in _meanings(ipaddress.ip_address(text)):
        for name, applies in RULES:
            if applies(address):
                return name
    return None


def _meanings(address: _Address) -> Iterator[_Address]:
    """Yield an address; of an IPv6 one that stands for IPv4 or carries it, the IPv4 address first."""
    if isinstance(address, IPv6Address):
        translated = IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.ipv4_mapped
        if translated is not None:
            yield translated
            return  # as IPv6 addresses these are all reserved
        yield from filter(None, (address.sixtofour, *(address.teredo or ())))
    yield address
