"""Which addresses everybody can reach: where a connection may go whose target a stranger chose."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

_Address = IPv4Address | IPv6Address

# Where clouds tell a machine its own credentials; some of them are no private addresses.
_METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
# All that is handed out to networks; within it, what is not theirs: protocols' own, documentation.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NOBODYS: Final = (
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
)
# RFC 5214: the last 64 bits of an address that carries an IPv4 one begin so, with or without the bit for "universal".
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


def _is_reserved(address: _Address) -> bool:
    if address.is_reserved or address.is_unspecified or not address.is_global:
        return True
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return True
    return any(address in network for network in _NOBODYS if network.version == address.version)


RULES: Final[tuple[tuple[str, Callable[[_Address], bool]], ...]] = (
    ("metadata", lambda address: address in _METADATA),
    ("loopback", lambda address: address.is_loopback),
    ("link-local", lambda address: address.is_link_local),
    ("multicast", lambda address: address.is_multicast),
    ("private", lambda address: address.is_private or (isinstance(address, IPv6Address) and address.is_site_local)),
    ("reserved", _is_reserved),
)
"""What an address may not be, and the name of each rule. The first that fits is named."""


def broken_rule(text: str) -> str | None:
    """Return the name of the rule that an address breaks, or None for a public one. Raises `ValueError` for none."""
    for address in _meanings(ipaddress.ip_address(text)):
        for name, applies in RULES:
            if applies(address):
                return name
    return None


def _meanings(address: _Address) -> Iterator[_Address]:
    """Yield an address; of an IPv6 one that stands for IPv4 or carries it, the IPv4 address first."""
    if isinstance(address, IPv6Address):
        number = int(address)
        translated = IPv4Address(number & 0xFFFFFFFF) if address in _NAT64 else address.ipv4_mapped
        if translated is not None:
            yield translated
            return  # as IPv6 addresses these are all reserved
        yield from filter(None, (address.sixtofour, *(address.teredo or ())))
        if number >> 32 & 0xFFFFFFFF in _ISATAP:
            yield IPv4Address(number & 0xFFFFFFFF)
    yield address
