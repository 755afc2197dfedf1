"""Every event of the Realtime protocol, between a beta client and a GA provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import realtime

from trunkline.realtime.beta import BetaBridge, asks_for_beta, without_beta_marker
from trunkline.realtime.frames import Frame
from trunkline.wire.head import Head, Transport

Event = dict[str, Any]
PCM = {"type": "audio/pcm", "rate": 24000}


def up(event: Event) -> Event:
    (frame,) = BetaBridge().to_provider(Frame(json.dumps(event)))
    return frame.document


def down(event: Event) -> list[Event]:
    return [frame.document for frame in BetaBridge().to_client(Frame(json.dumps(event)))]


def heard(*events: Event) -> list[Event]:
    """What a beta client hears of a provider's events, whose ids must survive."""
    numbered = [{**event, "event_id": f"event_{number}"} for number, event in enumerate(events)]
    frames = [frame for event in numbered for frame in BetaBridge().to_client(Frame(json.dumps(event)))]
    assert {frame.document["event_id"] for frame in frames} <= {event["event_id"] for event in numbered}
    return [{name: value for name, value in frame.document.items() if name != "event_id"} for frame in frames]


def types_of(union: Any) -> Iterator[str]:
    for member in get_args(union):
        if hasattr(member, "model_fields"):
            yield from get_args(member.model_fields["type"].annotation)
        else:
            yield from types_of(member)


# From the client


def test_all_settings_of_a_session_find_their_places() -> None:
    flat = {
        "modalities": ["text", "audio"],
        "instructions": "Be brief.",
        "voice": "alloy",
        "speed": 1.1,
        "input_audio_format": "g711_ulaw",
        "output_audio_format": "pcm16",
        "input_audio_transcription": {"model": "whisper-1"},
        "input_audio_noise_reduction": {"type": "near_field"},
        "turn_detection": {"type": "server_vad"},
        "tools": [{"type": "function", "name": "f"}],
        "tool_choice": "auto",
        "temperature": 0.6,
        "max_response_output_tokens": 200,
    }
    assert up({"type": "session.update", "event_id": "e", "session": flat}) == {
        "type": "session.update",
        "event_id": "e",
        "session": {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": "Be brief.",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "transcription": {"model": "whisper-1"},
                    "noise_reduction": {"type": "near_field"},
                    "turn_detection": {"type": "server_vad"},
                },
                "output": {"voice": "alloy", "speed": 1.1, "format": PCM},
            },
            "tools": [{"type": "function", "name": "f"}],
            "tool_choice": "auto",
            "max_output_tokens": 200,
        },
    }


def test_a_change_stays_a_change_and_null_stays_null() -> None:
    changed = up({"type": "session.update", "session": {"turn_detection": None}})["session"]
    assert changed == {"type": "realtime", "audio": {"input": {"turn_detection": None}}}


def test_settings_in_ga_form_and_what_cannot_be_translated_pass_as_they_are() -> None:
    ga = {"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"voice": "marin"}}}}
    frame = Frame(json.dumps(ga))
    assert BetaBridge().to_provider(frame) == [frame]
    odd = {"type": "session.update", "session": {"audio": "loud", "voice": "alloy"}}
    assert up(odd)["session"] == odd["session"]
    told = up({"type": "session.update", "session": {"input_audio_format": "webm-opus"}})["session"]
    assert told["audio"]["input"]["format"] == "webm-opus"


def test_settings_in_both_forms_are_put_together_and_the_frame_stays_as_it_was() -> None:
    ga = {"output": {"speed": 1.2}, "input": {"noise_reduction": None}}
    event = {"type": "session.update", "session": {"voice": "ash", "turn_detection": None, "audio": ga}}
    frame = Frame(json.dumps(event))
    (told,) = BetaBridge().to_provider(frame)
    assert told.document["session"] == {
        "type": "realtime",
        "audio": {
            "input": {"noise_reduction": None, "turn_detection": None},
            "output": {"speed": 1.2, "voice": "ash"},
        },
    }
    assert frame.document == event


def test_a_transcription_session_is_updated_as_one_and_answered_by_its_old_name() -> None:
    settings = {"input_audio_format": "pcm16", "modalities": ["text"], "include": ["x"]}
    assert up({"type": "transcription_session.update", "session": settings}) == {
        "type": "session.update",
        "session": {"type": "transcription", "include": ["x"], "audio": {"input": {"format": PCM}}},
    }
    session = {"type": "transcription", "object": "realtime.transcription_session", "audio": {"input": {"format": PCM}}}
    shown = {"object": "realtime.transcription_session", "input_audio_format": "pcm16"}
    assert down({"type": "session.created", "session": session}) == [{"type": "session.created", "session": shown}]
    assert down({"type": "session.updated", "session": session}) == [
        {"type": "transcription_session.updated", "session": shown}
    ]


def test_a_transcription_update_that_asks_for_nothing_reaches_the_provider_as_such() -> None:
    assert up({"type": "transcription_session.update", "session": None}) == {"type": "session.update", "session": None}


def test_a_response_is_asked_for_in_ga_terms() -> None:
    response = {
        "modalities": ["text"],
        "voice": "alloy",
        "output_audio_format": "pcm16",
        "temperature": 1,
        "max_response_output_tokens": "inf",
        "metadata": {"k": "v"},
        "input": [{"type": "message", "role": "assistant", "content": [{"type": "text", "text": "hi"}]}],
    }
    assert up({"type": "response.create", "response": response})["response"] == {
        "output_modalities": ["text"],
        "audio": {"output": {"voice": "alloy", "format": PCM}},
        "max_output_tokens": "inf",
        "metadata": {"k": "v"},
        "input": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}],
    }
    assert up({"type": "response.create"}) == {"type": "response.create"}


@pytest.mark.parametrize(
    ("role", "sent", "told"), [("assistant", "text", "output_text"), ("user", "input_text", "input_text")]
)
def test_an_assistants_words_are_output(role: str, sent: str, told: str) -> None:
    item = {"type": "message", "role": role, "content": [{"type": sent, "text": "hi"}]}
    assert up({"type": "conversation.item.create", "item": item})["item"]["content"] == [{"type": told, "text": "hi"}]


@pytest.mark.parametrize(
    "type",
    [
        "conversation.item.delete",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "input_audio_buffer.append",
        "input_audio_buffer.clear",
        "input_audio_buffer.commit",
        "output_audio_buffer.clear",
        "response.cancel",
        "something.new",
    ],
)
def test_what_both_dialects_say_alike_is_not_touched(type: str) -> None:
    frame = Frame('{"type":"' + type + '",  "item_id":"i","audio":"AAAA"}')
    assert BetaBridge().to_provider(frame) == [frame]


# From the provider


def test_a_session_is_shown_flat_with_what_beta_clients_expect() -> None:
    session = {
        "type": "realtime",
        "object": "realtime.session",
        "id": "sess_1",
        "model": "gpt-realtime",
        "output_modalities": ["audio"],
        "audio": {
            "input": {"format": PCM, "transcription": None, "noise_reduction": None, "turn_detection": None},
            "output": {"format": {"type": "audio/pcma"}, "voice": "marin", "speed": 1},
        },
        "max_output_tokens": "inf",
    }
    (event,) = down({"type": "session.created", "event_id": "e", "session": session})
    assert event == {
        "type": "session.created",
        "event_id": "e",
        "session": {
            "object": "realtime.session",
            "id": "sess_1",
            "model": "gpt-realtime",
            "modalities": ["text", "audio"],
            "input_audio_format": "pcm16",
            "input_audio_transcription": None,
            "input_audio_noise_reduction": None,
            "turn_detection": None,
            "output_audio_format": "g711_alaw",
            "voice": "marin",
            "speed": 1,
            "max_response_output_tokens": "inf",
            "temperature": 0.8,
        },
    }


@pytest.mark.parametrize("end", ["delta", "done"])
@pytest.mark.parametrize("kind", ["audio", "audio_transcript", "text"])
def test_content_is_renamed_and_nothing_else_of_it_changes(kind: str, end: str) -> None:
    rest = ',"response_id":"r",  "delta":"\\u00e9 \\"type\\":\\"response.output_x\\"","n":1.50}'
    for front in ("{", '{"event_id":"e1",'):
        (frame,) = BetaBridge().to_client(Frame(f'{front}"type":"response.output_{kind}.{end}"{rest}'))
        assert frame.text == f'{front}"type":"response.{kind}.{end}"{rest}'
    late = json.dumps({"delta": "A" * 500, "type": f"response.output_{kind}.{end}"})
    (frame,) = BetaBridge().to_client(Frame(late))
    assert frame.document == {"delta": "A" * 500, "type": f"response.{kind}.{end}"}


def test_an_item_is_created_once() -> None:
    item = {"id": "i", "type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": "x"}]}
    (event,) = down({"type": "conversation.item.added", "previous_item_id": "p", "item": item})
    assert event["type"] == "conversation.item.created"
    assert event["previous_item_id"] == "p"
    assert event["item"]["content"] == [{"type": "audio", "transcript": "x"}]
    assert down({"type": "conversation.item.done", "item": item}) == []


@pytest.mark.parametrize(
    "type", ["response.output_item.added", "response.output_item.done", "conversation.item.retrieved"]
)
def test_items_hold_beta_content_wherever_they_are_shown(type: str) -> None:
    item = {"id": "i", "content": [{"type": "output_text", "text": "x"}, {"type": "input_text", "text": "y"}]}
    (event,) = down({"type": type, "item": item})
    assert event == {"type": type, "item": {"id": "i", "content": [{"type": "text", "text": "x"}, item["content"][1]]}}


@pytest.mark.parametrize(("part", "words"), [("audio", "transcript"), ("text", "text"), ("output_audio", "transcript")])
def test_a_part_has_words_to_add_to(part: str, words: str) -> None:
    (event,) = down({"type": "response.content_part.added", "part": {"type": part}})
    assert event["part"] == {"type": part.removeprefix("output_"), words: ""}


def test_a_response_is_shown_flat_with_beta_content() -> None:
    output = [{"id": "i", "content": [{"type": "output_audio", "transcript": "x"}]}]
    response = {
        "id": "r",
        "object": "realtime.response",
        "status": "completed",
        "output_modalities": ["audio"],
        "audio": {"output": {"voice": "marin", "format": PCM}},
        "max_output_tokens": 10,
        "output": output,
        "usage": {"total_tokens": 1},
    }
    (event,) = down({"type": "response.done", "response": response})
    assert event["response"] == {
        "id": "r",
        "object": "realtime.response",
        "status": "completed",
        "modalities": ["text", "audio"],
        "voice": "marin",
        "output_audio_format": "pcm16",
        "max_output_tokens": 10,
        "output": [{"id": "i", "content": [{"type": "audio", "transcript": "x"}]}],
        "usage": {"total_tokens": 1},
        "temperature": 0.8,
    }


@pytest.mark.parametrize(
    ("ga", "beta"),
    [
        ("session.audio.input.turn_detection.threshold", "session.turn_detection.threshold"),
        ("session.audio.output.voice", "session.voice"),
        ("session.output_modalities[0]", "session.modalities[0]"),
        ("session.instructions", "session.instructions"),
        (None, None),
    ],
)
def test_an_error_names_the_setting_as_the_client_knows_it(ga: str | None, beta: str | None) -> None:
    (event,) = down({"type": "error", "error": {"code": "invalid_value", "param": ga, "event_id": "e"}})
    assert event == {"type": "error", "error": {"code": "invalid_value", "param": beta, "event_id": "e"}}


@pytest.mark.parametrize(
    "type",
    [
        "conversation.created",
        "conversation.item.created",
        "conversation.item.deleted",
        "conversation.item.truncated",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.failed",
        "conversation.item.input_audio_transcription.segment",
        "input_audio_buffer.cleared",
        "input_audio_buffer.committed",
        "input_audio_buffer.dtmf_event_received",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.timeout_triggered",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "mcp_list_tools.in_progress",
        "output_audio_buffer.cleared",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "rate_limits.updated",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "something.new",
    ],
)
def test_what_the_beta_says_alike_or_never_knew_passes_untouched(type: str) -> None:
    frame = Frame('{"type":"' + type + '",  "item_id":"i"}')
    assert BetaBridge().to_client(frame) == [frame]


NAMES = ["session", "response", "item", "part", "error", "param", "type", "content", "output", "audio", "input", "role"]
EVENTS = [
    "session.update",
    "session.updated",
    "transcription_session.update",
    "response.create",
    "response.done",
    "conversation.item.create",
    "conversation.item.added",
    "response.content_part.added",
    "error",
]
anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=10,
)


@given(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(NAMES), anything, max_size=4))
def test_nothing_that_anybody_says_breaks_it(type: str, rest: Event) -> None:
    bridge, frame = BetaBridge(), Frame(json.dumps({**rest, "type": type}))
    bridge.to_provider(frame)
    bridge.to_client(frame)


# The handshake


def head(headers: list[tuple[bytes, bytes]], subprotocols: tuple[str, ...] = ()) -> Head:
    return Head(Transport.WEBSOCKET, "GET", "/v1/a/g/openai", "model=x", headers, subprotocols)


@pytest.mark.parametrize(
    ("value", "left"), [(b"realtime=v1", []), (b"assistants=v2, Realtime=v1", [b"assistants=v2"]), (b"REALTIME=V1", [])]
)
def test_the_mark_in_the_header_is_seen_and_kept_from_the_provider(value: bytes, left: list[bytes]) -> None:
    asking = head([(b"openai-beta", value), (b"x", b"y")])
    assert asks_for_beta(asking)
    bare = without_beta_marker(asking)
    assert not asks_for_beta(bare)
    assert [found for name, found in bare.headers if name == b"openai-beta"] == left
    assert (b"x", b"y") in bare.headers


def test_the_mark_among_the_sub_protocols_is_seen_and_kept_from_the_provider() -> None:
    asking = head([], ("realtime", "openai-beta.realtime-v1"))
    assert asks_for_beta(asking)
    assert without_beta_marker(asking).subprotocols == ["realtime"]


@pytest.mark.parametrize("headers", [[], [(b"openai-beta", b"assistants=v2")], [(b"x-openai-beta", b"realtime=v1")]])
def test_others_do_not_ask_for_the_beta(headers: list[tuple[bytes, bytes]]) -> None:
    assert not asks_for_beta(head(headers, ("realtime",)))
