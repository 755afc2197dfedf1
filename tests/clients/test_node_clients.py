"""JavaScript voice clients in Node, unmodified: the same key in the one slot each of them has.

The official client and the AI SDK make ``wss:`` of whatever they are given, so all of them meet the TLS listener.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import SPOKEN
from tests.clients.ga_upstream import KEY, GaUpstream, ga_upstream
from tests.contract.administration import administration, new_key
from tests.running import Address, data_directory, gateway, run

NODE = Path(__file__).parent / "node"
HEARD = "Good morning to you."
CLIENTS = ["openai", "agents", "ai-sdk", "proof-of-concept"]
# Which path each of them is given; the Agents SDK and the proof of concept take it as it is.
SOCKET_PATHS = {"agents": "/v1/realtime", "proof-of-concept": ""}
LIMIT = 240  # seconds; it only ends a test that hangs

Reports = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Stage:
    """A running gateway with TLS, what it has behind it, and a key of its own."""

    address: Address
    upstream: GaUpstream
    key: str
    authority: Path

    def told(self, client: str, provider: str) -> dict[str, str]:
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


async def drive(on: Stage, client: str, provider: str, speech: Path) -> Reports:
    assert (NODE / "node_modules").is_dir(), "The clients are not installed: make .venv/stamps/node-clients."
    process = await asyncio.create_subprocess_exec(
        "node",
        NODE / "drive.mjs",
        env={
            "PATH": os.environ["PATH"],
            "NODE_EXTRA_CA_CERTS": str(on.authority),
            "TOLD": json.dumps({**on.told(client, provider), "speech": str(speech)}),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    reports: Reports = json.loads(output.decode().splitlines()[-1])
    return reports


def check_local(reports: Reports) -> None:
    """What real models make of the four scenarios."""
    assert not [report for report in reports.values() if "failure" in report], reports
    assert "Paris" in reports["text"]["said"]
    assert reports["text"]["status"] == "completed"
    assert reports["speech"]["heard"].strip() == SPOKEN
    assert "Paris" in reports["speech"]["said"]
    assert reports["function"]["name"] == "get_weather"
    check_any(reports)


def check_strict(reports: Reports) -> None:
    """What the strict provider makes of them."""
    assert not [report for report in reports.values() if "failure" in report], reports
    assert reports["text"]["said"] == f"You said: {SPOKEN}"
    assert reports["speech"]["heard"] == HEARD
    assert reports["speech"]["said"] == f"You said: {HEARD}"
    assert reports["function"]["name"] == "get_weather"
    assert json.loads(reports["function"]["arguments"]) == {"city": "Paris"}
    assert "rain at nine degrees" in reports["function"]["said"]
    check_any(reports)


def check_any(reports: Reports) -> None:
    assert reports["text"]["tokens"] > 0
    assert reports["speech"]["sound"] > 24_000
    assert reports["speech"]["inOrder"]
    barge_in = reports["bargeIn"]
    assert (barge_in["status"], barge_in["reason"]) == ("cancelled", "turn_detected")
    assert barge_in["truncated"]


def check_upstream(upstream: GaUpstream, model: str = "gpt-realtime") -> None:
    """The provider saw its own key and nothing that it has to refuse."""
    assert upstream.leaks == []
    assert len(upstream.sessions) == 4
    for seen in upstream.sessions:
        assert seen.credentials == [KEY]
        assert seen.query == {"model": model}
        assert (seen.refused, seen.errors_sent()) == ("", [])


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_in_node_talks_with_the_local_models(client: str, speech: Path) -> None:
    async def main() -> None:
        async with stage() as on:
            check_local(await drive(on, client, "local", speech))

    run(main(), LIMIT)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_in_node_talks_with_a_strict_provider(client: str, speech: Path) -> None:
    async def main() -> None:
        async with stage() as on:
            check_strict(await drive(on, client, "openai", speech))
            # The proof of concept asks for a model that is retired.
            check_upstream(on.upstream, "gpt-realtime-2.1" if client == "proof-of-concept" else "gpt-realtime")

    run(main(), LIMIT)
