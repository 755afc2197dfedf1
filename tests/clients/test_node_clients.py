"""JavaScript voice clients in Node, unmodified: the same key in the one slot each of them has.

The official client and the AI SDK make ``wss:`` of whatever they are given, so all of them meet the TLS listener.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import SPOKEN
from tests.clients.ga_upstream import KEY, GaUpstream
from tests.clients.stage import HEARD, Stage, stage
from tests.running import run

NODE = Path(__file__).parent / "node"
CLIENTS = ["openai", "agents", "ai-sdk", "proof-of-concept"]
LIMIT = 240  # seconds; it only ends a test that hangs

Reports = dict[str, dict[str, Any]]


async def drive(on: Stage, client: str, provider: str, speech: Path) -> Reports:
    """Let a client go through all scenarios; return what it reports of each."""
    reports: Reports = await node("drive.mjs", on, {**on.told(client, provider), "speech": str(speech)})
    return reports


async def node(program: str, on: Stage, told: dict[str, str]) -> Any:
    """Run a program in Node that trusts the gateway's own authority; return the JSON of its last line."""
    assert (NODE / "node_modules").is_dir(), "The clients are not installed: make .venv/stamps/node-clients."
    process = await asyncio.create_subprocess_exec(
        "node",
        NODE / program,
        env={
            "PATH": os.environ["PATH"],
            "NODE_EXTRA_CA_CERTS": str(on.authority),
            "TOLD": json.dumps(told),
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
    return json.loads(output.decode().splitlines()[-1])


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
def test_a_client_in_node_talks_with_the_local_models(client: str, speech: Path, models: Stage) -> None:
    async def main() -> None:
        check_local(await drive(models, client, "local", speech))

    run(main(), LIMIT)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_in_node_talks_with_a_strict_provider(client: str, speech: Path) -> None:
    async def main() -> None:
        async with stage() as on:
            check_strict(await drive(on, client, "openai", speech))
            # The proof of concept asks for a model that is retired.
            check_upstream(on.upstream, "gpt-realtime-2.1" if client == "proof-of-concept" else "gpt-realtime")

    run(main(), LIMIT)
