"""The official client's older surface, ``client.beta.realtime``: it speaks the retired beta dialect only."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Any

from driving import (
    ABOUT_FUNCTION,
    API_KEY,
    BASE_URL,
    FUNCTION,
    GREETING,
    LENGTHY,
    MODEL,
    PARAMETERS,
    REPORT_OF_WEATHER,
    STORY,
    WEATHER,
    Report,
    run,
    spoken_base64,
)
from openai import AsyncOpenAI

# Without it the client makes wss: of the base URL, whatever that is.
client = AsyncOpenAI(
    base_url=BASE_URL, api_key=API_KEY, websocket_base_url=os.environ.get("WEBSOCKET_BASE_URL"), max_retries=0
)


async def ask(connection: Any, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})


async def until(connection: Any, *last: str) -> list[Any]:
    events = []
    async for event in connection:
        events.append(event)
        assert event.type != "error", event
        if event.type in last:
            return events
    raise AssertionError(f"The connection ended before {last}: {[event.type for event in events]}")


async def talk(connection: Any) -> None:
    async for audio in spoken_base64():
        await connection.input_audio_buffer.append(audio=audio)


async def text() -> Report:
    async with client.beta.realtime.connect(model=MODEL) as connection:
        (created,) = await until(connection, "session.created")
        await connection.session.update(session={"modalities": ["text"], "temperature": 0.7, "voice": "alloy"})
        updated = (await until(connection, "session.updated"))[-1].session
        await ask(connection, GREETING)
        await connection.response.create()
        events = await until(connection, "response.done")
    said = "".join(event.delta for event in events if event.type == "response.text.delta")
    return {
        "first": created.type,
        "session": [created.session.input_audio_format, created.session.modalities, updated.modalities, updated.voice],
        "said": said,
        "created_items": [event.item.role for event in events if event.type == "conversation.item.created"],
        "content": events[-1].response.output[0].content[0].type,
        "status": events[-1].response.status,
        "tokens": events[-1].response.usage.total_tokens,
    }


async def speech() -> Report:
    async with client.beta.realtime.connect(model=MODEL) as connection:
        await connection.session.update(
            session={
                "modalities": ["text", "audio"],
                "input_audio_format": "pcm16",
                "output_audio_format": "pcm16",
                "input_audio_transcription": {"model": "whisper-1"},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
            }
        )
        await until(connection, "session.updated")
        talking = asyncio.create_task(talk(connection))
        events = await until(connection, "response.done")
        await talking
        heard = [event for event in events if event.type == "conversation.item.input_audio_transcription.completed"]
        if not heard:
            heard = await until(connection, "conversation.item.input_audio_transcription.completed")
    types = [event.type for event in events]
    audio = b"".join(base64.b64decode(event.delta) for event in events if event.type == "response.audio.delta")
    said = [event.transcript for event in events if event.type == "response.audio_transcript.done"]
    return {
        "heard": heard[-1].transcript,
        "said": said[0],
        "audio_bytes": len(audio),
        "in_order": types.index("input_audio_buffer.speech_started")
        < types.index("input_audio_buffer.speech_stopped")
        < types.index("input_audio_buffer.committed")
        < types.index("response.created"),
    }


async def function() -> Report:
    tool = {"type": "function", "name": FUNCTION, "description": ABOUT_FUNCTION, "parameters": PARAMETERS}
    async with client.beta.realtime.connect(model=MODEL) as connection:
        await connection.session.update(session={"modalities": ["text"], "tools": [tool]})
        await ask(connection, WEATHER)
        await connection.response.create()
        done = (await until(connection, "response.done"))[-1].response
        (call,) = done.output
        assert call.type == "function_call", done
        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": REPORT_OF_WEATHER}
        )
        await connection.response.create()
        done = (await until(connection, "response.done"))[-1].response
    return {"name": call.name, "arguments": call.arguments, "said": done.output[0].content[0].text}


async def barge_in() -> Report:
    async with client.beta.realtime.connect(model=MODEL) as connection:
        await ask(connection, STORY)
        await connection.response.create(response={"instructions": LENGTHY})
        item_id = (await until(connection, "response.audio.delta"))[-1].item_id
        talking = asyncio.create_task(talk(connection))
        done = (await until(connection, "response.done"))[-1].response
        await connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=40)
        truncated = (await until(connection, "conversation.item.truncated"))[-1]
        await talking
        await until(connection, "response.done")  # the answer to what was said into the story
    return {
        "status": done.status,
        "reason": done.status_details.reason,
        "truncated": truncated.item_id == item_id,
    }


run(text=text, speech=speech, function=function, barge_in=barge_in)
