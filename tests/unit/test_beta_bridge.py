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


def test_a_response_asked_for_in_ga_terms_is_not_touched_and_one_that_cannot_be_translated_is_heard() -> None:
    ga = {"output_modalities": ["text"], "audio": {"output": {"voice": "marin"}}, "conversation": "none", "input": []}
    frame = Frame(json.dumps({"type": "response.create", "response": ga}))
    assert BetaBridge().to_provider(frame) == [frame]
    odd = {"audio": "loud", "voice": "alloy"}
    assert up({"type": "response.create", "response": odd})["response"] == odd


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
    nested = '{"item":{"type":"response.output_x"},"type":"response.output_text.done"}'
    (frame,) = BetaBridge().to_client(Frame(nested))
    assert frame.document == {"item": {"type": "response.output_x"}, "type": "response.text.done"}
    late = json.dumps({"delta": "A" * 500, "type": f"response.output_{kind}.{end}"})
    (frame,) = BetaBridge().to_client(Frame(late))
    assert frame.document == {"delta": "A" * 500, "type": f"response.{kind}.{end}"}


@pytest.mark.parametrize(
    ("format", "shown"),
    [
        ({"type": "audio/pcm"}, "pcm16"),
        ({"type": "audio/pcmu", "rate": 8000}, "g711_ulaw"),
        ({"type": "audio/pcm", "rate": 16000}, {"type": "audio/pcm", "rate": 16000}),
        ({"type": "audio/opus"}, {"type": "audio/opus"}),
    ],
)
def test_a_format_without_a_beta_name_is_not_called_another(format: Event, shown: Any) -> None:
    (event,) = down({"type": "session.created", "session": {"audio": {"input": {"format": format}}}})
    assert event["session"]["input_audio_format"] == shown
    assert event["session"]["output_audio_format"] == "pcm16"


def test_a_session_that_is_flat_already_is_not_touched() -> None:
    frame = Frame('{"type":"session.updated", "session":{"voice":"alloy","modalities":["text"]}}')
    assert BetaBridge().to_client(frame) == [frame]


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


@pytest.mark.parametrize("part", [{"type": "audio", "transcript": None}, {"type": "text"}])
def test_a_part_that_is_done_is_given_no_words_it_does_not_have(part: Event) -> None:
    assert down({"type": "response.content_part.done", "part": part}) == [
        {"type": "response.content_part.done", "part": part}
    ]


def test_what_begins_is_empty_where_the_client_adds_to_it() -> None:
    (event,) = down({"type": "response.created", "response": {"id": "r"}})
    assert event["response"] == {"id": "r", "output": []}
    for kind in ("conversation.item.added", "response.output_item.added"):
        (event,) = down({"type": kind, "item": {"id": "i", "type": "message", "role": "assistant"}})
        assert event["item"]["content"] == []
        (event,) = down({"type": kind, "item": {"id": "i", "type": "function_call", "call_id": "c"}})
        assert event["item"]["arguments"] == ""


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
        ("session.audio.input.format.type", "session.input_audio_format"),
        ("session.max_output_tokens", "session.max_response_output_tokens"),
        ("response.audio.output.voice", "response.voice"),
        ("response.max_output_tokens", "response.max_response_output_tokens"),
        ("item.content[0].type", "item.content[0].type"),
        ("session.instructions", "session.instructions"),
        (None, None),
    ],
)
def test_an_error_names_the_setting_as_the_client_knows_it(ga: str | None, beta: str | None) -> None:
    (event,) = down({"type": "error", "error": {"code": "invalid_value", "param": ga, "event_id": "e"}})
    assert event == {"type": "error", "error": {"code": "invalid_value", "param": beta, "event_id": "e"}}


UNTOUCHED = [
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
]
RENAMED = [
    f"response.output_{kind}.{end}" for kind in ("audio", "audio_transcript", "text") for end in ("delta", "done")
]
TRANSLATED = [
    "session.created",
    "session.updated",
    "conversation.item.added",
    "conversation.item.retrieved",
    "response.created",
    "response.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
    "error",
]


@pytest.mark.parametrize("type", [*UNTOUCHED, "something.new"])
def test_what_the_beta_says_alike_or_never_knew_passes_untouched(type: str) -> None:
    frame = Frame('{"type":"' + type + '",  "item_id":"i"}')
    assert BetaBridge().to_client(frame) == [frame]


def test_every_event_of_a_ga_provider_is_dealt_with_here() -> None:
    known = [*UNTOUCHED, *RENAMED, *TRANSLATED, "conversation.item.done"]
    assert sorted(types_of(realtime.RealtimeServerEvent)) == sorted(known)


@pytest.mark.parametrize(
    "type",
    [
        "session.update",
        "transcription_session.update",
        "response.create",
        "conversation.item.create",
        *TRANSLATED,
    ],
)
@pytest.mark.parametrize("rest", ["", ', "session": {"voice": ', "} and more"])
def test_what_cannot_be_read_passes_untouched(type: str, rest: str) -> None:
    frame = Frame('{"type":"' + type + '"' + rest)
    assert BetaBridge().to_provider(frame) == [frame]
    assert BetaBridge().to_client(frame) == [frame]


@pytest.mark.parametrize("type", ["session.update", "response.create", "conversation.item.create", *TRANSLATED[3:]])
def test_what_lacks_its_object_is_given_none(type: str) -> None:
    frame = Frame(json.dumps({"type": type}))
    (told,) = BetaBridge().to_provider(frame)
    assert told is frame
    assert down({"type": type}) == [{"type": type}]


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
def test_nothing_that_anybody_says_breaks_it_or_is_changed_in_place(type: str, rest: Event) -> None:
    bridge, frame = BetaBridge(), Frame(json.dumps({**rest, "type": type}))
    bridge.to_provider(frame)
    bridge.to_client(frame)
    assert frame.document == json.loads(frame.text)


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "modalities": st.sampled_from([["text"], ["text", "audio"]]),
        "instructions": st.text(max_size=20),
        "voice": st.sampled_from(["alloy", "ash"]),
        "speed": st.floats(0.25, 1.5),
        "input_audio_format": st.sampled_from(["pcm16", "g711_ulaw", "g711_alaw"]),
        "output_audio_format": st.sampled_from(["pcm16", "g711_ulaw", "g711_alaw"]),
        "input_audio_transcription": st.none() | st.just({"model": "whisper-1"}),
        "input_audio_noise_reduction": st.none() | st.just({"type": "far_field"}),
        "turn_detection": st.none() | st.just({"type": "semantic_vad", "eagerness": "low"}),
        "max_response_output_tokens": st.integers(1, 4096) | st.just("inf"),
        "tools": st.just([{"type": "function", "name": "f"}]),
    },
)


@given(SETTINGS)
def test_settings_come_back_as_they_were_sent(settings: Event) -> None:
    told = up({"type": "session.update", "session": settings})["session"]
    (event,) = down({"type": "session.updated", "session": told})
    assert {name: event["session"][name] for name in settings} == settings


# Whole turns, in the order in which a client that collects an answer needs them

RESPONSE = {
    "object": "realtime.response",
    "id": "r",
    "output_modalities": ["audio"],
    "audio": {"output": {"voice": "marin", "format": PCM}},
    "max_output_tokens": "inf",
}
SHOWN_RESPONSE = {
    "object": "realtime.response",
    "id": "r",
    "modalities": ["text", "audio"],
    "voice": "marin",
    "output_audio_format": "pcm16",
    "max_output_tokens": "inf",
    "temperature": 0.8,
}
PLACE = {"response_id": "r", "item_id": "a", "output_index": 0, "content_index": 0}


def assistant(status: str, *content: Event) -> Event:
    return {"id": "a", "type": "message", "role": "assistant", "status": status, "content": list(content)}


def turn(item: Event, middle: list[Event], done: Event) -> list[Event]:
    """A turn as a GA provider tells it."""
    at = {"response_id": "r", "output_index": 0}
    return [
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", **at, "item": item},
        {"type": "conversation.item.added", "previous_item_id": "u", "item": item},
        *middle,
        {"type": "conversation.item.done", "previous_item_id": "u", "item": done},
        {"type": "response.output_item.done", **at, "item": done},
        {"type": "response.done", "response": {**RESPONSE, "status": "completed", "output": [done]}},
        {"type": "rate_limits.updated", "rate_limits": []},
    ]


def beta_turn(item: Event, middle: list[Event], done: Event) -> list[Event]:
    """The same as a beta client is to hear it."""
    at = {"response_id": "r", "output_index": 0}
    return [
        {"type": "response.created", "response": {**SHOWN_RESPONSE, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", **at, "item": item},
        {"type": "conversation.item.created", "previous_item_id": "u", "item": item},
        *middle,
        {"type": "response.output_item.done", **at, "item": done},
        {"type": "response.done", "response": {**SHOWN_RESPONSE, "status": "completed", "output": [done]}},
        {"type": "rate_limits.updated", "rate_limits": []},
    ]


def test_a_turn_of_text_is_told_as_the_beta_told_it() -> None:
    middle = [
        {"type": "response.content_part.added", **PLACE, "part": {"type": "text", "text": ""}},
        {"type": "response.output_text.delta", **PLACE, "delta": "Hi"},
        {"type": "response.output_text.done", **PLACE, "text": "Hi"},
        {"type": "response.content_part.done", **PLACE, "part": {"type": "text", "text": "Hi"}},
    ]
    told = turn(assistant("in_progress"), middle, assistant("completed", {"type": "output_text", "text": "Hi"}))
    assert heard(*told) == beta_turn(
        assistant("in_progress"),
        [
            {"type": "response.content_part.added", **PLACE, "part": {"type": "text", "text": ""}},
            {"type": "response.text.delta", **PLACE, "delta": "Hi"},
            {"type": "response.text.done", **PLACE, "text": "Hi"},
            {"type": "response.content_part.done", **PLACE, "part": {"type": "text", "text": "Hi"}},
        ],
        assistant("completed", {"type": "text", "text": "Hi"}),
    )


def test_a_turn_of_speech_is_told_as_the_beta_told_it() -> None:
    said = {"id": "u", "type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": None}]}
    before = [
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "u"},
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": "u"},
        {"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": "u"},
    ]
    written = {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "u",
        "content_index": 0,
        "transcript": "Hello?",
        "usage": {"type": "duration", "seconds": 1},
    }
    middle = [
        {"type": "response.content_part.added", **PLACE, "part": {"type": "audio"}},
        {"type": "response.output_audio_transcript.delta", **PLACE, "delta": "Hi"},
        {"type": "response.output_audio.delta", **PLACE, "delta": "AAAA"},
        written,
        {"type": "response.output_audio.done", **PLACE},
        {"type": "response.output_audio_transcript.done", **PLACE, "transcript": "Hi"},
        {"type": "response.content_part.done", **PLACE, "part": {"type": "audio", "transcript": "Hi"}},
    ]
    told = turn(assistant("in_progress"), middle, assistant("completed", {"type": "output_audio", "transcript": "Hi"}))
    added = {"type": "conversation.item.added", "previous_item_id": None, "item": said}
    done = {"type": "conversation.item.done", "previous_item_id": None, "item": said}
    assert heard(*before, added, done, *told) == [
        *before,
        {"type": "conversation.item.created", "previous_item_id": None, "item": said},
        *beta_turn(
            assistant("in_progress"),
            [
                {"type": "response.content_part.added", **PLACE, "part": {"type": "audio", "transcript": ""}},
                {"type": "response.audio_transcript.delta", **PLACE, "delta": "Hi"},
                {"type": "response.audio.delta", **PLACE, "delta": "AAAA"},
                written,
                {"type": "response.audio.done", **PLACE},
                {"type": "response.audio_transcript.done", **PLACE, "transcript": "Hi"},
                {"type": "response.content_part.done", **PLACE, "part": {"type": "audio", "transcript": "Hi"}},
            ],
            assistant("completed", {"type": "audio", "transcript": "Hi"}),
        ),
    ]


def test_a_call_of_a_function_is_told_as_the_beta_told_it_and_its_answer_goes_out_untouched() -> None:
    call = {"id": "a", "type": "function_call", "status": "in_progress", "name": "f", "call_id": "c", "arguments": ""}
    done = {**call, "status": "completed", "arguments": '{"x":1}'}
    at = {"response_id": "r", "item_id": "a", "output_index": 0, "call_id": "c"}
    middle = [
        {"type": "response.function_call_arguments.delta", **at, "delta": '{"x":1}'},
        {"type": "response.function_call_arguments.done", **at, "name": "f", "arguments": '{"x":1}'},
    ]
    assert heard(*turn(call, middle, done)) == beta_turn(call, middle, done)
    output = {"type": "function_call_output", "call_id": "c", "output": "{}"}
    for event in ({"type": "conversation.item.create", "item": output}, {"type": "response.create"}):
        frame = Frame(json.dumps(event))
        (told,) = BetaBridge().to_provider(frame)
        assert told is frame


# The handshake


def head(headers: list[tuple[bytes, bytes]], subprotocols: tuple[str, ...] = ()) -> Head:
    return Head(Transport.WEBSOCKET, "GET", "/v1/a/g/openai", "model=x", headers, subprotocols)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b"realtime=v1", []),
        (b"REALTIME=V1", []),
        (b"realtime=v1,", []),
        (b"Assistants=v2, Realtime=v1", [b"Assistants=v2"]),
        (b"a=1,realtime=v1 ,B=2", [b"a=1, B=2"]),
    ],
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
    plain = head(headers, ("realtime",))
    assert not asks_for_beta(plain)
    assert without_beta_marker(plain).headers == headers
    assert without_beta_marker(plain).subprotocols == ["realtime"]
