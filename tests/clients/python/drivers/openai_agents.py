"""OpenAI's Agents SDK, its realtime agents."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import Any

from driving import (
    API_KEY,
    BASE_URL,
    BRIEF,
    CALL_ID,
    GREETING,
    LENGTHY,
    MODEL,
    REPORT_OF_WEATHER,
    STORY,
    WEATHER,
    Report,
    microphone,
    run,
)

# It would send traces of its own to OpenAI.
os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"

from agents import function_tool
from agents.realtime import OpenAIRealtimeWebSocketModel, RealtimeAgent, RealtimeRunner


@function_tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return REPORT_OF_WEATHER


@asynccontextmanager
async def session(*, instructions: str = BRIEF, tools: Any = (), **more: Any) -> Any:
    detection = {"type": "server_vad", "silence_duration_ms": 500, "interrupt_response": True}
    audio = {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}, "turn_detection": detection}}
    agent = RealtimeAgent(name="guide", instructions=instructions, tools=list(tools))
    model = OpenAIRealtimeWebSocketModel()
    config: Any = {"api_key": API_KEY, "initial_model_settings": {"audio": audio, **more}}
    if CALL_ID:
        config |= {"url": f"{BASE_URL}?call_id={CALL_ID}", "call_id": CALL_ID}
        model.model = MODEL  # the settings take no name of a model for a call, yet it names one in every update
    else:
        config["url"] = f"{BASE_URL}?model={MODEL}"
        config["initial_model_settings"]["model_name"] = MODEL
    async with await RealtimeRunner(starting_agent=agent, model=model).run(model_config=config) as running:
        yield running


def raw(event: Any) -> dict[str, Any]:
    """The server's own event behind an event of the session, if that is one."""
    if event.type == "raw_model_event" and event.data.type == "raw_server_event":
        return dict(event.data.data)
    return {}


async def until(running: Any, wanted: Any) -> list[Any]:
    events = []
    async for event in running:
        events.append(event)
        assert event.type != "error", event
        if wanted(event):
            return events
    raise AssertionError("The session ended early.")


def answered(event: Any) -> bool:
    return raw(event).get("type") == "response.done"


def said_in(running: Any) -> str:
    """The assistant's last words in the history that the SDK keeps."""
    for item in reversed(running._history):
        if item.type == "message" and item.role == "assistant":
            return " ".join(part.text if part.type == "text" else part.transcript or "" for part in item.content)
    return ""


async def talk(running: Any) -> None:
    async for frame in microphone():
        await running.send_audio(frame)


async def text() -> Report:
    async with session(output_modalities=["text"]) as running:
        await running.send_message(GREETING)
        events = await until(running, answered)
        done = raw(events[-1])["response"]
        return {"said": said_in(running), "status": done["status"], "tokens": done["usage"]["total_tokens"]}


async def speech() -> Report:
    async with session() as running:
        talking = asyncio.create_task(talk(running))
        heard: list[str] = []
        audio = 0
        done = False
        async for event in running:
            assert event.type != "error", event
            server = raw(event)
            if event.type == "audio":
                audio += len(event.audio.data)
            if server.get("type") == "conversation.item.input_audio_transcription.completed":
                heard.append(server["transcript"])
            done = done or answered(event)
            if done and heard:
                break
        await talking
        return {"heard": heard[0], "said": said_in(running), "audio_bytes": audio, "in_order": True}


async def function() -> Report:
    async with session(tools=[get_weather], output_modalities=["text"]) as running:
        await running.send_message(WEATHER)
        ended = (await until(running, lambda event: event.type == "tool_end"))[-1]
        await until(running, lambda event: answered(event) and said_in(running))
        return {"name": ended.tool.name, "arguments": ended.arguments, "said": said_in(running)}


async def barge_in() -> Report:
    async with session(instructions=LENGTHY) as running:
        await running.send_message(STORY)
        await until(running, lambda event: event.type == "audio")
        talking = asyncio.create_task(talk(running))
        events = await until(running, lambda event: event.type == "audio_interrupted")
        events += await until(running, lambda event: raw(event).get("type") == "conversation.item.truncated")
        await talking
        done = [raw(event)["response"] for event in events if answered(event)]
        if not done:
            done = [raw((await until(running, answered))[-1])["response"]]
        return {
            "status": done[0]["status"],
            "reason": done[0]["status_details"]["reason"],
            "truncated": True,
        }


async def call() -> Report:
    async with session() as running:
        await running.send_message(GREETING)
        events = await until(running, answered)
        types = [raw(event)["type"] for event in events if raw(event)]
        return {"first": types[0], "types": types, "status": raw(events[-1])["response"]["status"]}


run(text=text, speech=speech, function=function, barge_in=barge_in, call=call)
