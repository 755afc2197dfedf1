"""A gateway for the JavaScript clients, and what is behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.ga_upstream import KEY, GaUpstream, ga_upstream
from tests.contract.administration import administration, new_key
from tests.running import Address, data_directory, gateway

HEARD = "Good morning to you."
# Which path each client is given; the Agents SDK and the proof of concept take it as it is.
SOCKET_PATHS = {"agents": "/v1/realtime", "proof-of-concept": ""}


@dataclass(frozen=True)
class Stage:
    """A running gateway with TLS, what it has behind it, and a key of its own."""

    address: Address
    upstream: GaUpstream
    key: str
    authority: Path

    def told(self, client: str, provider: str) -> dict[str, str]:
        """What an application with this client knows: addresses, a key and a model."""
        base = self.address.path(provider)
        return {
            "client": client,
            "baseUrl": self.address.http + base,
            "socketUrl": self.address.ws + base + SOCKET_PATHS.get(client, "/realtime"),
            "model": "local" if provider == "local" else "gpt-realtime",
            "retiredModel": "local" if provider == "local" else "gpt-4o-realtime-preview-2024-10-01",
            "key": self.key,
        }


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    with data_directory() as data:
        async with ga_upstream(hears=HEARD) as upstream, administration(data) as admin:
            key, _ = await new_key(admin)
            providers = {"openai": {"base_url": upstream.http, "api_key": KEY}}
            async with gateway(data_dir=data, tls="local", providers=providers) as address:
                yield Stage(address, upstream, key, data / "tls" / "authority.pem")
