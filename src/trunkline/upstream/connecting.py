"""Making connections: DNS, IPv4 and IPv6, proxies and TLS, alike for HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Final
from urllib.request import getproxies, proxy_bypass

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType

from trunkline.errors import UpstreamNotPublic
from trunkline.settings import is_loopback_host
from trunkline.upstream.address import Origin
from trunkline.wire.public_addresses import broken_rule

# RFC 8305 section 5: how long the preferred address family may take before the other is tried beside it.
_ATTEMPT_DELAY: Final = 0.25


class Connector:
    """Opens sockets to providers, through the proxy that the environment names for them.

    ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` are read once. Loopback is never proxied. Proxies
    are asked to tunnel (CONNECT or SOCKS), so that they see neither keys nor content of TLS connections. The host of an
    origin that is ``public_only`` is looked up here also then, and the proxy is asked for the address that was checked.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None = None, proxies: Mapping[str, str] | None = None) -> None:
        self._given_context = ssl_context
        self._proxies = getproxies() if proxies is None else dict(proxies)
        self._lookups: dict[tuple[str, int], asyncio.Task[Sequence[AddrInfoType]]] = {}

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        """The context with which providers are verified: the system's authorities and ``SSL_CERT_FILE``."""
        context = self._given_context or ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    def ssl_for(self, origin: Origin) -> ssl.SSLContext | None:
        """Return the context for an origin, or None when it is plain."""
        return self.ssl_context if origin.is_secure else None

    def proxy_for(self, origin: Origin) -> str | None:
        """Return the proxy URL for an origin, or None."""
        if is_loopback_host(origin.host) or not self._proxies or proxy_bypass(origin.host):
            return None
        return self._proxies.get(origin.scheme) or self._proxies.get("all")

    async def open(self, origin: Origin) -> socket.socket:
        """Return a connected, non-blocking TCP socket (or tunnel) to an origin; TLS is still to be put on it.

        Raises `UpstreamNotPublic` for an origin that is ``public_only`` and has no public address.
        """
        proxy = self.proxy_for(origin)
        if proxy is not None and not origin.public_only:
            return await _tunnel(proxy, origin.host, origin.port)
        loop = asyncio.get_running_loop()
        addresses = await self.resolve(origin)
        if proxy is not None:
            return await _tunnel_to_one_of(addresses, proxy)
        connected = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_ATTEMPT_DELAY if len(addresses) > 1 else None, interleave=1, loop=loop
        )
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    async def resolve(self, origin: Origin) -> Sequence[AddrInfoType]:
        """Return the addresses that `open` tries, and no others: the name is not looked up a second time.

        Raises `socket.gaierror`, and `UpstreamNotPublic` as `open` does.
        """
        place = (origin.host, origin.port)
        lookup = self._lookups.get(place)
        if lookup is None:
            # One for all who wait for it: each takes a thread, of which there are few, for as long as DNS is silent,
            # and the names of other providers would wait for one.
            lookup = self._lookups[place] = asyncio.create_task(_look_up(*place))
            lookup.add_done_callback(lambda done: self._looked_up(place, done))
        addresses = await asyncio.shield(lookup)
        return _public(addresses, origin) if origin.public_only else addresses

    def _looked_up(self, place: tuple[str, int], lookup: asyncio.Task[Sequence[AddrInfoType]]) -> None:
        del self._lookups[place]
        if not lookup.cancelled():
            lookup.exception()  # told to whoever waited; perhaps nobody does any more


async def _look_up(host: str, port: int) -> Sequence[AddrInfoType]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)


def _public(addresses: Sequence[AddrInfoType], origin: Origin) -> Sequence[AddrInfoType]:
    """Leave out the addresses that not everybody can reach. Raises `UpstreamNotPublic` when none is left."""
    public = [entry for entry in addresses if broken_rule(str(entry[4][0])) is None]
    if not public:
        # Not which address it is: who asks may not know this network from within.
        raise UpstreamNotPublic(
            f"{origin.host} leads to no public address, and providers that were added over the network are reached at"
            f" public ones only. If that is meant, whoever runs the gateway adds {origin.host} to custom_provider_hosts"
            " (TRUNKLINE_CUSTOM_PROVIDER_HOSTS)."
        )
    return public


async def _tunnel(proxy: str, host: str, port: int) -> socket.socket:
    from python_socks.async_.asyncio import Proxy  # late: most machines have none

    tunnel: socket.socket = await Proxy.from_url(proxy).connect(host, port)
    return tunnel


async def _tunnel_to_one_of(addresses: Sequence[AddrInfoType], proxy: str) -> socket.socket:
    """Have a proxy connect to one of the addresses, in turn: given the name, it would look that up for itself."""
    from python_socks import ProxyError

    *others, last = addresses
    for _, _, _, _, (host, port, *_) in others:
        with suppress(ProxyError, OSError):
            return await _tunnel(proxy, str(host), int(port))
    return await _tunnel(proxy, str(last[4][0]), int(last[4][1]))
