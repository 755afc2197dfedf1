"""LiveKit's plug-in for OpenAI: its realtime model, in the way a voice agent uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from driving import (
    API_KEY,
    BASE_URL,
    BRIEF,
    GREETING,
    LENGTHY,
    MODEL,
    RATE,
    REPORT_OF_WEATHER,
    STORY,
    WEATHER,
    Report,
    microphone,
    run,
)
from livekit import rtc
from livekit.agents import function_tool, llm
from livekit.plugins.openai.realtime import RealtimeModel
from openai.types.realtime import AudioTranscription
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad


@function_tool
async def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return REPORT_OF_WEATHER


class Talk:
    """A session of the model, and what it emitted."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.generations: asyncio.Queue[Any] = asyncio.Queue()
        self.events: list[str] = []
        self.heard: list[str] = []
        self.done: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.truncated = asyncio.Event()
        self.spoken_to = asyncio.Event()
        self.transcribed = asyncio.Event()
        self.errors: list[str] = []
        session.on("generation_created", self.generations.put_nowait)
        session.on("input_speech_started", lambda event: self.spoken_to.set())
        session.on("input_audio_transcription_completed", self._transcribed)
        session.on("openai_server_event_received", self._received)
        session.on("error", lambda event: self.errors.append(str(event.error)))

    def _received(self, event: dict[str, Any]) -> None:
        self.events.append(event["type"])
        if event["type"] == "response.done":
            self.done.put_nowait(event["response"])
        if event["type"] == "conversation.item.truncated":
            self.truncated.set()

    def _transcribed(self, event: Any) -> None:
        if event.is_final:
            self.heard.append(event.transcript)
            self.transcribed.set()

    async def ask(self, text: str) -> Any:
        """Write to the model and have it answer; return the answer that comes about."""
        context = self.session.chat_ctx.copy()
        context.add_message(role="user", content=text)
        await self.session.update_chat_ctx(context)
        return await self.session.generate_reply()

    async def speak(self) -> None:
        async for frame in microphone():
            self.session.push_audio(rtc.AudioFrame(frame, RATE, 1, len(frame) // 2))


@asynccontextmanager
async def talk(modalities: list[Any], instructions: str = BRIEF) -> AsyncIterator[Talk]:
    detection = ServerVad(type="server_vad", silence_duration_ms=500, create_response=True, interrupt_response=True)
    async with aiohttp.ClientSession() as http:
        model = RealtimeModel(
            model=MODEL,
            base_url=BASE_URL,
            api_key=API_KEY,
            modalities=modalities,
            turn_detection=detection,
            input_audio_transcription=AudioTranscription(model="gpt-4o-mini-transcribe"),
            http_session=http,
        )
        session = model.session()
        one = Talk(session)
        try:
            await session.update_instructions(instructions)
            yield one
            assert one.errors == []
        finally:
            await session.aclose()


async def words_and_sound(generation: Any) -> tuple[str, int]:
    said, audio = "", 0
    async for message in generation.message_stream:
        async for piece in message.text_stream:
            said += piece
        async for frame in message.audio_stream:
            audio += len(frame.data) * 2
    return said, audio


async def text() -> Report:
    async with talk(["text"]) as one:
        said, _ = await words_and_sound(await one.ask(GREETING))
        done = await one.done.get()
    return {"said": said, "status": done["status"], "tokens": done["usage"]["total_tokens"]}


async def speech() -> Report:
    async with talk(["audio"]) as one:
        talking = asyncio.create_task(one.speak())
        said, audio = await words_and_sound(await one.generations.get())
        await talking
        await one.transcribed.wait()
    order = [
        *("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"),
        *("input_audio_buffer.committed", "response.created"),
    ]
    places = [one.events.index(name) for name in order]
    return {"heard": one.heard[0], "said": said, "audio_bytes": audio, "in_order": places == sorted(places)}


async def function() -> Report:
    async with talk(["text"]) as one:
        await one.session.update_tools([get_weather])
        generation = await one.ask(WEATHER)
        calls = [call async for call in generation.function_stream]
        await one.done.get()
        context = one.session.chat_ctx.copy()
        output = llm.FunctionCallOutput(
            call_id=calls[0].call_id, name=calls[0].name, output=REPORT_OF_WEATHER, is_error=False
        )
        context.items.append(output)
        await one.session.update_chat_ctx(context)
        said, _ = await words_and_sound(await one.session.generate_reply())
    return {"name": calls[0].name, "arguments": calls[0].arguments, "said": said}


async def barge_in() -> Report:
    async with talk(["audio"], LENGTHY) as one:
        generation = await one.ask(STORY)
        message = await anext(aiter(generation.message_stream))
        await anext(aiter(message.audio_stream))
        talking = asyncio.create_task(one.speak())
        await one.spoken_to.wait()
        done = await one.done.get()
        one.session.truncate(message_id=message.message_id, modalities=["audio"], audio_end_ms=40)
        await one.truncated.wait()
        await talking
    return {"status": done["status"], "reason": done["status_details"]["reason"], "truncated": True}


run(text=text, speech=speech, function=function, barge_in=barge_in)
