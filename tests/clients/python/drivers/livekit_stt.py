"""LiveKit's plug-in for OpenAI: speech to text over the realtime socket."""

from __future__ import annotations

import asyncio

from driving import API_KEY, BASE_URL, RATE, Report, microphone, run
from livekit import rtc
from livekit.agents import stt, utils
from livekit.plugins.openai import STT


async def speech() -> Report:
    async with utils.http_context.open():
        return await transcribed()


async def transcribed() -> Report:
    recogniser = STT(model="gpt-4o-mini-transcribe", base_url=BASE_URL, api_key=API_KEY, use_realtime=True)
    stream = recogniser.stream()

    async def talk() -> None:
        async for frame in microphone():
            stream.push_frame(rtc.AudioFrame(frame, RATE, 1, len(frame) // 2))

    talking = asyncio.create_task(talk())
    partial = 0
    async for event in stream:
        partial += event.type == stt.SpeechEventType.INTERIM_TRANSCRIPT
        if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
            break
    await talking
    await stream.aclose()
    await recogniser.aclose()
    return {"heard": event.alternatives[0].text, "partial": partial}


run(speech=speech)
