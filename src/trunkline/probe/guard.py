"""Keeps a probe that others can start from reaching what only its machine can reach.

A browser's user names a URL and the server connects: without this, the console would be a way into the server's own
network. Names are looked up once, every address of the answer must be a public one, and the connection goes to exactly
those addresses, so that a second answer cannot move it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence

from aiohappyeyeballs import AddrInfoType

from trunkline.probe.errors import AddressRefused
from trunkline.upstream.address import Origin
from trunkline.upstream.connecting import Connector
from trunkline.wire.public_addresses import broken_rule


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
