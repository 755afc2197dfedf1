"""The official Python client, unmodified: only its base URL names the gateway."""

from __future__ import annotations

import asyncio
import base64
import io

import numpy as np
import pytest
import soundfile
from openai import AsyncOpenAI, AuthenticationError, RateLimitError
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.contract.conftest import STRICT_KEY
from tests.running import Address, gateway, run

FRAME = 1920  # bytes of 40 ms, 24 kHz, 16 bit
QUESTION = "What is the capital of France?"


def client_of(address: Address, provider: str = "local", key: str = "unused") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{address.http}/v1/local/default/{provider}", api_key=key, max_retries=0)


async def speak(connection: AsyncRealtimeConnection, pcm: bytes) -> None:
    """Append audio and the silence that ends the turn, as a microphone would."""
    audio = pcm + bytes(FRAME * 40)
    for at in range(0, len(audio), FRAME):
        await connection.input_audio_buffer.append(audio=base64.b64encode(audio[at : at + FRAME]).decode())
        await asyncio.sleep(0.02)


async def words_in(client: AsyncOpenAI, pcm: bytes) -> str:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm, "<i2"), 24_000, format="WAV", subtype="PCM_16")
    return (await client.audio.transcriptions.create(model="local", file=("speech.wav", file.getvalue()))).text


def shared_words(first: str, second: str) -> float:
    """Return how many of the first text's words the second has, 0 to 1."""
    words = [word.strip(".,!?\"'").lower() for word in first.split()]
    others = {word.strip(".,!?\"'").lower() for word in second.split()}
    return sum(word in others for word in words) / max(1, len(words))


def test_chat_and_stream() -> None:
    async def main() -> None:
        async with gateway() as address, client_of(address) as client:
            messages = [{"role": "user", "content": QUESTION}]
            whole = await client.chat.completions.create(model="local", messages=messages)  # type: ignore[arg-type]
            assert "Paris" in (whole.choices[0].message.content or "")
            stream = await client.chat.completions.create(
                model="local",
                messages=messages,  # type: ignore[arg-type]
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == whole.choices[0].message.content
            assert len(chunks) > 4
            assert chunks[-1].usage is not None

    run(main(), 120)


def test_errors_are_the_clients_own_exceptions(strict_upstream: Address) -> None:
    async def main() -> None:
        providers = {"openai": {"base_url": f"{strict_upstream.http}/v1"}}
        async with gateway(providers=providers) as address:
            messages = [{"role": "user", "content": QUESTION}]
            async with client_of(address, "openai", "sk-wrong") as client:
                with pytest.raises(AuthenticationError, match="API key"):
                    await client.chat.completions.create(model="local", messages=messages)  # type: ignore[arg-type]
            async with client_of(address, "openai", STRICT_KEY) as client:
                with pytest.raises(RateLimitError):
                    await client.chat.completions.create(
                        model="test/refuse-429",
                        messages=messages,  # type: ignore[arg-type]
                    )

    run(main(), 120)


def test_the_same_key_works_over_http_and_on_the_realtime_websocket(strict_upstream: Address) -> None:
    async def main() -> None:
        providers = {"openai": {"base_url": f"{strict_upstream.http}/v1"}}
        async with gateway(providers=providers) as address, client_of(address, "openai", STRICT_KEY) as client:
            assert [model.id async for model in client.models.list()] == ["local"]
            async with client.realtime.connect(model="local") as connection:
                assert (await connection.recv()).type == "session.created"
        async with gateway(providers=providers) as address, client_of(address, "openai", "sk-wrong") as client:
            async with client.realtime.connect(model="local") as connection:
                event = await connection.recv()
            assert event.type == "error"
            assert event.error.code == "invalid_api_key"

    run(main(), 120)


def test_a_realtime_text_turn() -> None:
    async def main() -> None:
        async with gateway() as address, client_of(address) as client:
            async with client.realtime.connect(model="local") as connection:
                await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
                await connection.conversation.item.create(
                    item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}
                )
                await connection.response.create()
                said = ""
                async for event in connection:
                    assert event.type != "error", event
                    if event.type == "response.output_text.delta":
                        said += event.delta
                    if event.type == "response.done":
                        break
            assert "Paris" in said
            assert event.type == "response.done"
            assert event.response.status == "completed"
            assert event.response.usage is not None

    run(main(), 120)


def test_a_spoken_turn_is_heard_answered_and_spoken() -> None:
    async def main() -> None:
        async with gateway() as address, client_of(address) as client:
            speech = await client.audio.speech.create(
                model="local", voice="alloy", input=QUESTION, response_format="pcm"
            )
            async with client.realtime.connect(model="local") as connection:
                await connection.session.update(
                    session={
                        "type": "realtime",
                        "audio": {
                            "input": {
                                "transcription": {"model": "local"},
                                "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
                            }
                        },
                    }
                )
                talking = asyncio.create_task(speak(connection, speech.content))
                seen: list[str] = []
                heard = said = ""
                audio = b""
                async for event in connection:
                    assert event.type != "error", event
                    seen.append(event.type)
                    if event.type == "conversation.item.input_audio_transcription.completed":
                        heard = event.transcript
                    if event.type == "response.output_audio.delta":
                        audio += base64.b64decode(event.delta)
                    if event.type == "response.output_audio_transcript.done":
                        said = event.transcript
                    if event.type == "response.done" and heard:
                        break
                await talking
            assert heard == QUESTION
            assert seen.index("input_audio_buffer.speech_started") < seen.index("input_audio_buffer.speech_stopped")
            assert np.abs(np.frombuffer(audio, "<i2")).max() > 3000
            assert shared_words(said, await words_in(client, audio)) > 0.7

    run(main(), 120)


def test_speaking_while_it_speaks_interrupts_it() -> None:
    async def main() -> None:
        async with gateway() as address, client_of(address) as client:
            speech = await client.audio.speech.create(
                model="local", voice="alloy", input=QUESTION, response_format="pcm"
            )
            async with client.realtime.connect(model="local") as connection:
                await connection.conversation.item.create(
                    item={
                        "type": "message",
                        "role": "user",
                        "content": [{"type": "input_text", "text": "Tell me a very long story about the sea."}],
                    }
                )
                # Long enough to be interrupted: audio is made much faster than it is heard.
                await connection.response.create(
                    response={"instructions": "You tell very long stories.", "max_output_tokens": 600}
                )
                talking: asyncio.Task[None] | None = None
                item_id = ""
                async for event in connection:
                    assert event.type != "error", event
                    if event.type == "response.output_audio.delta" and talking is None:
                        item_id = event.item_id
                        talking = asyncio.create_task(speak(connection, speech.content))
                    if event.type == "response.done":
                        break
                assert event.type == "response.done"
                assert event.response.status == "cancelled"
                assert event.response.status_details is not None
                assert event.response.status_details.reason == "turn_detected"
                await connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=40)
                async for event in connection:
                    assert event.type != "error", event
                    if event.type == "conversation.item.truncated":
                        break
                assert talking is not None
                await talking

    run(main(), 120)


def test_any_chat_provider_becomes_a_voice(strict_upstream: Address) -> None:
    async def main() -> None:
        providers = {
            "custom-text": {
                "base_url": f"{strict_upstream.http}/v1",
                "chat_path": "chat/completions",
                "realtime": "cascade",
            }
        }
        async with gateway(providers=providers) as address, client_of(address, "custom-text", STRICT_KEY) as client:
            async with client.realtime.connect(model="test/echo") as connection:
                await connection.conversation.item.create(
                    item={
                        "type": "message",
                        "role": "user",
                        "content": [{"type": "input_text", "text": "Good morning to all of you."}],
                    }
                )
                await connection.response.create()
                audio, said = b"", ""
                async for event in connection:
                    assert event.type != "error", event
                    if event.type == "response.output_audio.delta":
                        audio += base64.b64decode(event.delta)
                    if event.type == "response.output_audio_transcript.done":
                        said = event.transcript
                    if event.type == "response.done":
                        break
            assert said == "Good morning to all of you."
            async with client_of(address) as local:
                assert shared_words(said, await words_in(local, audio)) > 0.7

    run(main(), 120)
