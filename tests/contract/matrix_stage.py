"""The servers of the matrix: a strict upstream, and four kinds of gateway in front of it.

All gateways are in one database. Each of the four servers has another one of them at its root, so that every kind is
reached there too.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvloop
from structlog.testing import capture_logs

from tests.contract.administration import administration, new_key
from tests.contract.presenting import Answer, Client, Written
from tests.contract.strict_upstream import HTTP_SLOTS, StrictUpstream, served
from tests.running import START_SECONDS, Address, data_directory, gateway
from trunkline.credentials.matrix import CUSTOM_PROVIDER, Case, Secret
from trunkline.policy.client_secrets import PREFIX
from trunkline.policy.registry import DEFAULT_ALIAS, KEY_PREFIX, GatewayRules

KINDS = ("open", "open-stored", "locked", "locked-stored")
STORED_FIRST = "stored-first"
ELSEWHERE = "elsewhere"
HOLDING_KEYS = ("open-stored", "locked-stored", STORED_FIRST)
ALIAS = "team-blue"

ACCESS_TOKENS = {
    "anthropic": "sk-ant-oat01-access-token-0123456789",
    "azure-openai": "eyJ0eXAiOiJKV1QifQ.access-token.0123456789",
    "google-vertex-ai": "ya29.access-token-0123456789",
    "google-ai-studio": "auth_tokens/ephemeral-token-0123456789",
}
FOREIGN_KEY = "sk-foreign-0123456789"
WRONG_KEY = "sk-wrong-0123456789"

Set = TypeVar("Set")


def provider_key(provider: str, whose: str) -> str:
    """Return a key as the provider makes them: Anthropic's are known by how they begin."""
    return f"{'sk-ant-api03' if provider == 'anthropic' else 'sk'}-{whose}-{provider}-0123456789"


def stored_key(gateway: str, provider: str, alias: str = DEFAULT_ALIAS) -> str:
    """Return the key that a gateway holds for a provider."""
    return provider_key(provider, f"stored-{alias}-{gateway}")


def good_keys(provider: str) -> list[str]:
    """Return the keys that a provider takes."""
    stored = [stored_key(owner, provider, alias) for owner in HOLDING_KEYS for alias in (DEFAULT_ALIAS, ALIAS)]
    logins = [ACCESS_TOKENS[provider]] if provider in ACCESS_TOKENS else []
    return [provider_key(provider, "callers"), *stored, *logins]


GOOD_KEYS = {provider: good_keys(provider) for provider in HTTP_SLOTS}
# Whatever holds one of these holds a secret: for the gateways' own keys, how they all begin.
TRACES = [
    *(key for keys in GOOD_KEYS.values() for key in keys),
    *(provider_key(provider, "other") for provider in HTTP_SLOTS),
    FOREIGN_KEY,
    WRONG_KEY,
    KEY_PREFIX,
    PREFIX,
]


@dataclass
class Stage:
    """What the cells are played on.

    ``addresses`` go by gateway, ``keys`` are the gateways' own by gateway and kind. ``log`` is what they have logged.
    """

    upstream: StrictUpstream
    addresses: Mapping[str, Address]
    keys: Mapping[tuple[str, Secret], str] = field(repr=False)
    log: list[Any] = field(repr=False)

    def client(self, gateway: str, provider: str, *headers: tuple[str, str]) -> Client:
        """Return a client of a gateway, at the server that has it at its root, if there is one."""
        return Client(self.addresses.get(gateway, self.addresses["open"]), gateway, provider, headers)

    def show(self, case: Case, *headers: tuple[str, str], gateway: str = "") -> Answer:
        """Play a cell, on its own kind of gateway or on the one named."""
        chosen = gateway or case.gateway
        self.clear()
        return self.client(chosen, case.provider, *headers).send(self.written(case, chosen), case.way)

    def written(self, case: Case, gateway: str = "") -> Written:
        """Return a cell as it is sent."""
        return Written.of(case.presentation, case.way, self.values(gateway or case.gateway, case.provider))

    def clear(self) -> None:
        """Forget what was received and logged."""
        self.upstream.received.clear()
        self.log.clear()

    def arrived(self) -> str:
        """Return the one key that reached the provider since then."""
        (received,) = self.upstream.received
        ((_, text),) = received.credentials
        return text.rpartition(" ")[2]

    def values(self, gateway: str, provider: str) -> Callable[[Secret], str]:
        """Return what stands for each kind of secret before a provider of a gateway."""
        others = {
            Secret.PROVIDER_KEY: provider_key(provider, "callers"),
            Secret.OTHER_PROVIDER_KEY: provider_key(provider, "other"),
            Secret.ACCESS_TOKEN: ACCESS_TOKENS.get(provider, ""),
            Secret.FOREIGN_KEY: FOREIGN_KEY,
            Secret.WRONG_KEY: WRONG_KEY,
            Secret.NOTHING: "",
            Secret.OTHER_GATEWAYS_KEY: self.keys[ELSEWHERE, Secret.GATEWAY_KEY],
        }
        return lambda secret: others[secret] if secret in others else self.keys[gateway, secret]


@contextmanager
def in_background(servers: AbstractAsyncContextManager[Set]) -> Iterator[Set]:
    """Keep servers on an event loop of their own, for tests that block."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(servers.__aenter__(), loop).result(START_SECONDS)
    finally:
        asyncio.run_coroutine_threadsafe(servers.__aexit__(None, None, None), loop).result(START_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Set everything up through the store, then start the servers."""
    upstream = StrictUpstream(GOOD_KEYS, ACCESS_TOKENS.values(), TRACES)
    with data_directory() as data_dir, capture_logs() as log:
        keys = await _set_up(data_dir)
        async with AsyncExitStack() as running:
            origin = await running.enter_async_context(served(upstream))
            providers: dict[str, dict[str, Any]] = {slug: {"base_url": f"{origin}/{slug}/v1"} for slug in HTTP_SLOTS}
            providers[CUSTOM_PROVIDER]["needs_key"] = True
            addresses = {
                kind: await running.enter_async_context(gateway(data_dir=data_dir, gateway=kind, providers=providers))
                for kind in KINDS
            }
            for kind in KINDS:
                keys[kind, Secret.CLIENT_SECRET] = await _client_secret(addresses[kind], kind, keys)
            yield Stage(upstream, addresses, keys, log)


async def _set_up(data_dir: Path) -> dict[tuple[str, Secret], str]:
    keys = {}
    async with administration(data_dir) as admin:
        for name in (*KINDS, STORED_FIRST, ELSEWHERE):
            locked = not name.startswith("open")
            await admin.create_gateway(GatewayRules(name, authenticated=locked, stored_key_wins=name == STORED_FIRST))
            keys[name, Secret.GATEWAY_KEY], _ = await new_key(admin, name)
            keys[name, Secret.EXPIRED_KEY], _ = await new_key(admin, name, expires_at=time.time() - 1)
            keys[name, Secret.REVOKED_KEY], revoked = await new_key(admin, name)
            await admin.revoke_key(revoked)
        for owner in HOLDING_KEYS:
            for provider in HTTP_SLOTS:
                for alias in (DEFAULT_ALIAS, ALIAS):
                    await admin.store_key(owner, provider, alias, stored_key(owner, provider, alias), "")
    return keys


async def _client_secret(address: Address, kind: str, keys: Mapping[tuple[str, Secret], str]) -> str:
    headers = {
        "cf-aig-authorization": keys[kind, Secret.GATEWAY_KEY],
        "authorization": f"Bearer {provider_key('openai', 'callers')}",
    }
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{address.http}/v1/local/{kind}/openai/realtime/client_secrets", headers=headers)
        return str(answer.json()["value"])
