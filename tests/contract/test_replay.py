"""A recorded session said once more: against the same provider, and against one that answers otherwise."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import wave
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection

from tests.clients.ga_upstream import ga_upstream
from tests.contract.test_gateway_keys import eventually
from tests.contract.test_governed_sessions import governed, kept
from tests.contract.test_resumption import ASK, KEY, REALTIME, heard, say, settings, user
from tests.contract.test_voiceplane import upstream_of
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


async def record(
    data: Path, address: Address, talk: Callable[[ClientConnection], Awaitable[None]] = ask_about_weather
) -> str:
    """Have a session recorded; return its id."""
    async with connect(address.ws + REALTIME, max_size=None, proxy=None) as socket:
        await talk(socket)
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


async def say_no(socket: ServerConnection) -> None:
    """A model that calls no functions and has one answer to everything."""
    await socket.send(json.dumps({"type": "session.created", "session": {"type": "realtime"}}))
    answers = 0
    async for frame in socket:
        if json.loads(frame)["type"] == "response.create":
            answers += 1
            response = {"id": f"resp_{answers}", "conversation_id": "conv_1", "status": "in_progress", "output": []}
            await socket.send(json.dumps({"type": "response.created", "response": response}))
            content = [{"type": "output_text", "text": "No."}]
            item = {"id": f"item_{answers}", "type": "message", "role": "assistant", "content": content}
            response = {**response, "status": "completed", "output": [item]}
            await socket.send(json.dumps({"type": "response.done", "response": response}))


def test_a_call_that_is_missing_and_other_words_are_a_regression_and_the_result_is_not_sent() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with governed(data, RealtimeRules(record=True)) as (_, address):
                session = await record(data, address)
            async with upstream_of(say_no) as other:
                against = f"ws://127.0.0.1:{other.port}/v1/realtime"
                status, output, errors = await trunkline(data, "replay", session, "--against", against, "--json")
            assert status == 1, errors
            found = figures(output)
            assert found["function calls"] == {
                "name": "function calls",
                "before": "get_weather",
                "after": None,
                "unit": "",
                "worse": True,
            }
            assert found["assistant transcript"]["worse"]
            omitted = [(one["type"], one["why"]) for one in json.loads(output)["omitted"]]
            assert omitted == [
                ("conversation.item.create", "the model did not call get_weather"),
                ("response.create", "the model did not call get_weather"),
            ]

    run(main(), 120)


async def speak(socket: ClientConnection) -> None:
    """A turn in sound on both sides."""
    await heard(socket, "session.created")
    await say(socket, settings(audio={"input": {"turn_detection": None}}))
    await heard(socket, "session.updated")
    loud = base64.b64encode(array("h", [8000, -8000] * 2400).tobytes()).decode()
    for _ in range(5):
        await say(socket, {"type": "input_audio_buffer.append", "audio": loud})
    await say(socket, {"type": "input_audio_buffer.commit"}, ASK)
    await heard(socket, "response.done")


def test_a_spoken_session_is_said_again_and_kept_and_both_can_be_listened_to() -> None:
    def peaks(path: Path) -> tuple[int, int]:
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getframerate()) == (2, 24000)
            both = array("h", file.readframes(file.getnframes()))
        return max(both[0::2]), max(both[1::2])

    async def main() -> None:
        with data_directory() as data:
            async with governed(data, RealtimeRules(record=True), pace=0.0) as (upstream, address):
                session = await record(data, address, speak)
                against = ("--against", address.ws + REALTIME, "--save", str(data / "kept"))
                status, _, errors = await trunkline(data, "replay", session, *against)
                assert status in (0, 1), errors  # a busy machine may be slower the second time
                first, second = (
                    [event for event in seen.received if event["type"].startswith("input_audio_buffer.")]
                    for seen in upstream.sessions
                )
                assert len(first) == 6
                assert second == first
            (again,) = (data / "kept" / "recordings").iterdir()
            for number, one in enumerate((session, str(again))):
                mix = data / f"mix-{number}.wav"
                status, _, errors = await trunkline(data, "audio", one, "--out", str(mix))
                assert status == 0, errors
                user_peak, assistant_peak = peaks(mix)
                assert user_peak == 8000
                assert assistant_peak > 0

    run(main(), 120)
