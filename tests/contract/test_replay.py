"""A recorded session said once more: against the same provider, and against one that answers otherwise."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.clients.ga_upstream import ga_upstream
from tests.contract.test_gateway_keys import eventually
from tests.contract.test_governed_sessions import governed, kept
from tests.contract.test_resumption import ASK, KEY, REALTIME, heard, say, settings, user
from tests.running import Address, data_directory, run
from trunkline.policy.sessions import RealtimeRules
from trunkline.server.recordings import StoredRecording

TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def ask_about_weather(socket: ClientConnection) -> None:
    """A turn in writing, a function call and what the function said: the client answers with ids that it was given."""
    await heard(socket, "session.created")
    await say(socket, settings(output_modalities=["text"], tools=[TOOL]), user("item_a", "Hello."), ASK)
    await heard(socket, "response.done")
    await say(socket, user("item_b", "What is the weather like in Paris?"), ASK)
    (call,) = (await heard(socket, "response.done"))[-1]["response"]["output"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
    await say(socket, {"type": "conversation.item.create", "item": output}, ASK)
    await heard(socket, "response.done")


async def record(data: Path, address: Address) -> str:
    """Have a session recorded; return its id."""
    async with connect(address.ws + REALTIME, max_size=None, proxy=None) as socket:
        await ask_about_weather(socket)
    found: list[str] = []

    async def is_complete() -> bool:
        sessions = await kept(data)
        if not sessions or sessions[-1].ended_at is None:
            return False
        found[:] = [sessions[-1].id]
        return StoredRecording.find(data, found[0]).session.state == "complete"

    await eventually(is_complete)
    return found[0]


async def trunkline(data: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trunkline",
        "sessions",
        *arguments,
        "--data-dir",
        str(data),
        env={"PATH": os.environ["PATH"], "HOME": str(data), **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


def figures(output: str) -> dict[str, dict[str, Any]]:
    return {figure["name"]: figure for figure in json.loads(output)["figures"]}


def test_a_recorded_session_is_said_again_with_the_ids_of_the_new_run() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with governed(data, RealtimeRules(record=True)) as (upstream, address):
                session = await record(data, address)
                status, output, errors = await trunkline(
                    data, "replay", session, "--against", address.ws + REALTIME, "--speed", "5", "--json"
                )
                assert status in (0, 1), errors  # a busy machine may be slower the second time
                found = figures(output)
                assert found["turns"]["before"] == found["turns"]["after"]
                assert (found["errors"]["after"], found["assistant transcript"]["after"]) == (0, 0.0)
                assert json.loads(output)["omitted"] == []
                calls = [
                    [event for event in seen.received if event.get("item", {}).get("type") == "function_call_output"]
                    for seen in upstream.sessions
                ]
                (first,), (second,) = calls
                assert first["item"]["output"] == second["item"]["output"] == "rain"
                assert first["item"]["call_id"] != second["item"]["call_id"]
                assert upstream.sessions[-1].errors_sent() == []

    run(main(), 120)


def test_a_provider_that_answers_worse_is_a_regression() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with governed(data, RealtimeRules(record=True)) as (_, address):
                session = await record(data, address)
            async with ga_upstream(key=KEY, models=("gpt-realtime-mini",)) as other:
                refused = await trunkline(
                    data, "replay", session, "--against", f"{other.ws}/realtime", "--key-from", "THE_KEY", THE_KEY=KEY
                )
                assert refused[0] in (1, 2), refused
                assert KEY not in refused[1] + refused[2]
            nobody = await trunkline(data, "replay", session, "--against", "ws://127.0.0.1:9/v1/realtime")
            assert nobody[0] == 2

    run(main(), 120)


def test_a_recording_is_there_to_listen_to_and_to_forget() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with governed(data, RealtimeRules(record=True)) as (_, address):
                session = await record(data, address)
            shown = await trunkline(data, "show", session)
            assert "get_weather" in shown[1]
            forgotten = await trunkline(data, "forget", session)
            assert forgotten[0] == 0, forgotten
            missing = await trunkline(data, "replay", session, "--against", "ws://127.0.0.1:9/v1/realtime")
            assert missing[0] == 2
            assert "no recording" in missing[2]

    run(main(), 120)
