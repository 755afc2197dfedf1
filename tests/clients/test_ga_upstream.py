"""The provider the clients are tested with is as strict as the reference says, and complete enough to talk to."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.clients.ga_session import tone
from tests.clients.ga_upstream import KEY, GaUpstream, ga_upstream
from tests.running import run

Event = dict[str, Any]
OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
BEARER = {"authorization": f"Bearer {KEY}"}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def dial(upstream: GaUpstream, query: str = "model=gpt-realtime", *protocols: str, **headers: str) -> connect:
    return connect(
        f"{upstream.ws}/realtime?{query}",
        additional_headers={name.replace("_", "-"): value for name, value in headers.items()} or BEARER,
        subprotocols=[Subprotocol(name) for name in protocols] or None,
        max_size=None,
        proxy=None,
    )


@asynccontextmanager
async def opened(
    query: str = "model=gpt-realtime", **options: Any
) -> AsyncIterator[tuple[GaUpstream, ClientConnection]]:
    async with ga_upstream(**options) as upstream, dial(upstream, query) as socket:
        assert (await told(socket))["type"] == "session.created"
        yield upstream, socket


async def told(socket: ClientConnection) -> Event:
    event: Event = json.loads(await socket.recv())
    assert event["event_id"]
    return event


async def tell(socket: ClientConnection, type: str, **fields: Any) -> None:
    await socket.send(json.dumps({"type": type, **fields}))


async def until(socket: ClientConnection, last: str) -> list[Event]:
    events = [await told(socket)]
    while events[-1]["type"] != last:
        events.append(await told(socket))
    return events


async def say(socket: ClientConnection, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    await tell(socket, "conversation.item.create", item={"type": "message", "role": "user", "content": content})
    assert types_of(await until(socket, "conversation.item.done")) == [
        *("conversation.item.added", "conversation.item.done"),
    ]


async def speak(socket: ClientConnection, speech_ms: int = 600, silence_ms: int = 800) -> None:
    pcm = tone(0, speech_ms, "audio/pcm") + bytes(silence_ms * 48)
    await tell(socket, "input_audio_buffer.append", audio=base64.b64encode(pcm).decode())


def types_of(events: list[Event]) -> list[str]:
    """The types in order, repeated ones once."""
    types = [event["type"] for event in events]
    return [name for at, name in enumerate(types) if at == 0 or types[at - 1] != name]


@pytest.mark.parametrize(
    ("query", "protocols", "headers", "code", "close"),
    [
        ("model=gpt-realtime", (), {"authorization": "Bearer sk-wrong"}, "invalid_api_key", 3000),
        ("model=gpt-realtime", (), {"x_other": "1"}, "invalid_api_key", 3000),
        ("model=gpt-realtime", (f"openai-insecure-api-key.{KEY}",), BEARER, "invalid_api_key", 3000),
        ("model=gpt-realtime", (), {**BEARER, "api_key": KEY}, "invalid_api_key", 3000),
        ("model=gpt-realtime", (), {**BEARER, "OpenAI-Beta": "realtime=v1"}, "beta_api_shape_disabled", 4000),
        ("model=gpt-realtime", ("realtime", "openai-beta.realtime-v1"), BEARER, "beta_api_shape_disabled", 4000),
        ("model=gpt-9", (), BEARER, "model_not_found", 4004),
        ("", (), BEARER, "missing_model", 4000),
        ("model=gpt-realtime&intent=transcription", (), BEARER, "invalid_intent", 4000),
        ("intent=conversation", (), BEARER, "invalid_intent", 4000),
        ("model=gpt-realtime&api_version=1", (), BEARER, "unknown_parameter", 4000),
        ("call_id=rtc_none", (), BEARER, "call_id_not_found", 4004),
        ("model=gpt-realtime", (), {**BEARER, "cf_aig_metadata": "{}"}, "gateway_credential", 4000),
        ("model=gpt-realtime", (), {"authorization": "Bearer tlk_0123456789"}, "gateway_credential", 4000),
        ("model=gpt-realtime", ("realtime", "openai-insecure-api-key.ek_tl_01"), BEARER, "gateway_credential", 4000),
    ],
)
def test_a_handshake_it_does_not_like_is_refused_in_band(
    query: str, protocols: tuple[str, ...], headers: dict[str, str], code: str, close: int
) -> None:
    async def main() -> None:
        async with ga_upstream() as upstream, dial(upstream, query, *protocols, **headers) as socket:
            assert (await told(socket))["error"]["code"] == code
            await socket.wait_closed()
            assert (socket.close_code, socket.close_reason) == (close, f"invalid_request_error.{code}")
            assert upstream.sessions[0].refused == code
            assert bool(upstream.leaks) == (code == "gateway_credential")

    run(main())


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "session.update", "session": {"instructions": "x"}}, "missing_required_parameter", "session.type"),
        *(
            (
                {"type": "session.update", "session": {"type": "realtime", "instructions": "x", field: value}},
                "unknown_parameter",
                f"session.{field}",
            )
            for field, value in {
                "modalities": ["text"],
                "voice": "alloy",
                "temperature": 0.8,
                "input_audio_format": "pcm16",
                "turn_detection": None,
                "max_response_output_tokens": 5,
            }.items()
        ),
        ({"type": "response.create", "response": {"modalities": ["text"]}}, "unknown_parameter", "response.modalities"),
        ({"type": "transcription_session.update", "session": {}}, "invalid_value", "type"),
        ({"type": "conversation.item.truncate", "item_id": "x"}, "missing_required_parameter", None),
        ({"type": "response.cancel"}, "response_cancel_not_active", None),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
        ({"type": "output_audio_buffer.clear"}, "invalid_event", "type"),
        ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_retrieve_invalid_item_id", "item_id"),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "hi"}]},
            },
            "invalid_value",
            "item.content[0].type",
        ),
    ],
)
def test_what_ga_does_not_know_is_an_error_and_changes_nothing(event: Event, code: str, param: str | None) -> None:
    async def main() -> None:
        async with opened() as (_, socket):
            await tell(socket, **{**event, "event_id": "mine"})
            error = (await told(socket))["error"]
            assert (error["code"], error["event_id"]) == (code, "mine")
            assert param is None or error["param"] == param
            await tell(socket, "session.update", session={"type": "realtime"})
            assert (await told(socket))["session"]["instructions"] == "You are a helpful assistant."

    run(main())


def test_a_text_turn_then_a_spoken_one_has_the_events_of_the_reference_and_counts_what_was_cached() -> None:
    async def main() -> None:
        async with opened(pace=0) as (_, socket):
            update = {"type": "realtime", "output_modalities": ["text"], "tracing": "auto"}
            await tell(socket, "session.update", session=update)
            assert (await told(socket))["session"]["output_modalities"] == ["text"]
            await say(socket, "Good morning.")
            await tell(socket, "response.create", response={"metadata": {"mine": "1"}})
            events = await until(socket, "rate_limits.updated")
            assert types_of(events) == [
                *("response.created", "response.output_item.added", "conversation.item.added"),
                *("response.content_part.added", "response.output_text.delta", "response.output_text.done"),
                *("response.content_part.done", "conversation.item.done", "response.output_item.done"),
                *("response.done", "rate_limits.updated"),
            ]
            first = events[-2]["response"]
            assert first["metadata"] == {"mine": "1"}
            assert first["output"][0]["content"] == [{"type": "output_text", "text": "You said: Good morning."}]
            transcribed = {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}
            await tell(
                socket, "session.update", session={**update, "output_modalities": ["audio"], "audio": transcribed}
            )
            await speak(socket)
            events = await until(socket, "rate_limits.updated")
            heard = [event for event in events if event["type"].endswith("transcription.completed")]
            if not heard:
                heard = await until(socket, "conversation.item.input_audio_transcription.completed")
            turn = [event for event in events if "transcription" not in event["type"]]
            assert types_of(turn)[:6] == [
                *("session.updated", "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"),
                *("input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"),
            ]
            assert (turn[1]["audio_start_ms"], turn[2]["audio_end_ms"]) == (0, 800)
            assert len({event["item_id"] for event in [*turn[1:4], heard[-1]]}) == 1
            assert heard[-1]["usage"]["type"] == "tokens"
            details = turn[-2]["response"]["usage"]["input_token_details"]
            assert details["cached_tokens"] == first["usage"]["input_tokens"]
            assert details["audio_tokens"] > 0

    run(main())


def test_a_function_is_called_and_its_result_told() -> None:
    async def main() -> None:
        async with opened(pace=0) as (_, socket):
            await tell(socket, "session.update", session={"type": "realtime", "tools": [WEATHER]})
            await until(socket, "session.updated")
            await say(socket, "How is the weather?")
            await tell(socket, "response.create")
            done = (await until(socket, "response.done"))[-1]["response"]
            (call,) = done["output"]
            assert (call["type"], call["name"], call["arguments"]) == (
                "function_call",
                "get_weather",
                '{"city": "Paris"}',
            )
            result = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
            await tell(socket, "conversation.item.create", item=result)
            await tell(socket, "response.create")
            done = (await until(socket, "response.done"))[-1]["response"]
            assert done["output"][0]["content"][0]["transcript"] == "The function says: rain"

    run(main())


def test_speech_interrupts_an_answer_and_the_client_truncates_it() -> None:
    async def main() -> None:
        async with opened() as (_, socket):
            await say(socket, "Tell me a long story.")
            await tell(socket, "response.create")
            item_id = (await until(socket, "response.output_audio.delta"))[-1]["item_id"]
            await tell(socket, "response.create")
            errors = [event["error"]["code"] for event in await until(socket, "error") if event["type"] == "error"]
            assert errors == ["conversation_already_has_active_response"]
            await speak(socket)
            events = await until(socket, "response.done")
            assert events[-1]["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
            assert events[-1]["response"]["output"][0]["status"] == "incomplete"
            await tell(socket, "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=90_000)
            assert (await until(socket, "error"))[-1]["error"]["param"] == "audio_end_ms"
            await tell(socket, "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=50)
            await until(socket, "conversation.item.truncated")
            await tell(socket, "conversation.item.retrieve", item_id=item_id)
            (part,) = (await until(socket, "conversation.item.retrieved"))[-1]["item"]["content"]
            assert "transcript" not in part
            assert len(base64.b64decode(part["audio"])) == 50 * 48

    run(main())


def test_a_transcription_session_hears_and_never_answers() -> None:
    async def main() -> None:
        async with opened("intent=transcription", hears="Good evening.") as (_, socket):
            audio = {"input": {"transcription": {"model": "whisper-1"}, "turn_detection": None}}
            await tell(socket, "session.update", session={"type": "transcription", "audio": audio})
            assert (await told(socket))["session"]["object"] == "realtime.transcription_session"
            await speak(socket)
            await tell(socket, "input_audio_buffer.commit")
            completed = (await until(socket, "conversation.item.input_audio_transcription.completed"))[-1]
            assert completed["transcript"] == "Good evening."
            assert completed["usage"] == {"type": "duration", "seconds": 1.4}
            await tell(socket, "response.create")
            assert (await told(socket))["type"] == "error"

    run(main())


def test_g711_speech_is_heard_and_spoken() -> None:
    async def main() -> None:
        for encoding in ("audio/pcmu", "audio/pcma"):
            async with opened(pace=0) as (_, socket):
                side = {"format": {"type": encoding}}
                await tell(
                    socket, "session.update", session={"type": "realtime", "audio": {"input": side, "output": side}}
                )
                sound = (
                    tone(0, 600, encoding)
                    + np.full(8000, 0xFF if encoding == "audio/pcmu" else 0xD5, np.uint8).tobytes()
                )
                await tell(socket, "input_audio_buffer.append", audio=base64.b64encode(sound).decode())
                events = await until(socket, "response.done")
                deltas = [event["delta"] for event in events if event["type"] == "response.output_audio.delta"]
                assert {len(base64.b64decode(delta)) for delta in deltas} == {800}

    run(main())


def test_a_client_secret_opens_the_session_it_was_made_for() -> None:
    async def main() -> None:
        async with ga_upstream() as upstream, httpx.AsyncClient(base_url=upstream.http, headers=BEARER) as client:
            session = {"type": "realtime", "model": "gpt-realtime-mini", "instructions": "Be brief."}
            made = (await client.post("/realtime/client_secrets", json={"session": session})).json()
            protocol = f"openai-insecure-api-key.{made['value']}"
            async with dial(upstream, "model=gpt-realtime-mini", "realtime", protocol, x_other="1") as socket:
                assert socket.subprotocol == "realtime"
                assert (await told(socket))["session"]["instructions"] == "Be brief."
            flat = await client.post("/realtime/client_secrets", json={"session": {"type": "realtime", "voice": "ash"}})
            assert (flat.status_code, flat.json()["error"]["param"]) == (400, "session.voice")
            assert (await client.get("/models")).status_code == 404
            wrong = await client.post("/realtime/client_secrets", headers={"authorization": "Bearer sk-wrong"})
            assert wrong.status_code == 401

    run(main())


def test_a_call_is_answered_and_its_events_reach_the_sideband() -> None:
    async def main() -> None:
        async with ga_upstream(pace=0) as upstream, httpx.AsyncClient(base_url=upstream.http, headers=BEARER) as client:
            parts = {
                "sdp": (None, OFFER, "application/sdp"),
                "session": (None, json.dumps({"type": "realtime", "model": "gpt-realtime"}), "application/json"),
            }
            answer = await client.post("/realtime/calls", files=parts)
            assert (answer.status_code, answer.text[:3]) == (201, "v=0")
            assert upstream.requests[0].parts["sdp"] == OFFER
            call_id = answer.headers["location"].removeprefix("/v1/realtime/calls/")
            async with dial(upstream, f"call_id={call_id}") as socket:
                assert (await told(socket))["session"]["model"] == "gpt-realtime"
                upstream.speak_in_call(call_id, "Good morning.")
                types = types_of(await until(socket, "response.done"))
                assert "output_audio_buffer.stopped" in types
                assert "response.output_audio.delta" not in types
                assert (await client.post(f"/realtime/calls/{call_id}/hangup")).status_code == 200
                await socket.wait_closed()
                assert socket.close_code == 1000
            sdp = {"content-type": "application/sdp"}
            plain = await client.post("/realtime/calls?model=gpt-realtime", content=OFFER, headers=sdp)
            assert plain.status_code == 201
            assert (await client.post("/realtime/calls", content="hello", headers=sdp)).status_code == 400

    run(main())


def test_it_misbehaves_when_told_to() -> None:
    async def main() -> None:
        async with opened() as (upstream, socket):
            upstream.drop_all()
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1006
            async with dial(upstream) as second:
                await told(second)
                upstream.close_all(1012, "restart")
                await second.wait_closed()
                assert (second.close_code, second.close_reason) == (1012, "restart")
            async with dial(upstream) as third:
                await told(third)
                upstream.expire_all()
                assert (await told(third))["error"]["code"] == "session_expired"
                await third.wait_closed()
                assert third.close_code == 1001
            upstream.refuse_new = True
            with pytest.raises(InvalidStatus, match="503"):
                await dial(upstream)
            upstream.refuse_new = False
            while upstream.open_sessions:  # noqa: ASYNC110 - the server's side closes a little later
                await asyncio.sleep(0.01)
            assert [seen.credentials for seen in upstream.sessions] == [[KEY]] * 3

    run(main())
