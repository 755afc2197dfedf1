"""What a session remembers for the day its provider is lost: as transcripts, frames in and frames out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.realtime.frames import Frame
from trunkline.realtime.memory import SessionMemory

TENTH = base64.b64encode(bytes(4800)).decode()  # 100 ms of PCM
APPEND = {"type": "input_audio_buffer.append", "audio": TENTH}


def frame(document: dict[str, Any]) -> Frame:
    return Frame(json.dumps(document))


def sent(memory: SessionMemory, *documents: dict[str, Any]) -> None:
    for document in documents:
        memory.client_said(frame(document))


def heard(memory: SessionMemory, *documents: dict[str, Any]) -> None:
    for document in documents:
        memory.provider_said(frame(document))


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **session}}


def message(id: str, role: str, **part: Any) -> dict[str, Any]:
    return {
        "id": id,
        "object": "realtime.item",
        "type": "message",
        "role": role,
        "status": "completed",
        "content": [part],
    }


def added(item: dict[str, Any], after: str | None = None) -> dict[str, Any]:
    return {"type": "conversation.item.added", "item": item, "previous_item_id": after}


def told(memory: SessionMemory) -> list[dict[str, Any]]:
    return [one.document for one in memory.restoration()]


def items(memory: SessionMemory) -> list[dict[str, Any]]:
    return [one["item"] for one in told(memory) if one["type"] == "conversation.item.create"]


def asks(memory: SessionMemory) -> list[dict[str, Any]]:
    return [one for one in told(memory) if one["type"] == "response.create"]


# Settings


def test_a_session_without_settings_of_its_own_is_given_none() -> None:
    assert SessionMemory().settings() is None


def test_settings_are_the_sum_of_the_updates_that_were_taken_or_are_still_unanswered() -> None:
    memory = SessionMemory()
    sent(memory, update(instructions="a", audio={"input": {"turn_detection": None}, "output": {"voice": "marin"}}))
    heard(memory, {"type": "session.updated", "session": {}})
    sent(memory, update(instructions="b", audio={"output": {"speed": 1.2}}, tools=[{"name": "f"}]))
    assert memory.unanswered_updates == 1
    restored = memory.settings()
    assert restored is not None
    assert restored.document["session"] == {
        "type": "realtime",
        "instructions": "b",
        "audio": {"input": {"turn_detection": None}, "output": {"voice": "marin", "speed": 1.2}},
        "tools": [{"name": "f"}],
    }


def test_an_update_that_was_refused_is_not_repeated() -> None:
    memory = SessionMemory()
    sent(memory, {**update(voice="x"), "event_id": "e1"}, update(instructions="kept"))
    heard(memory, {"type": "error", "error": {"event_id": "e1", "param": "session.voice"}})
    restored = memory.settings()
    assert restored is not None
    assert restored.document["session"] == {"type": "realtime", "instructions": "kept"}


def test_the_model_is_never_part_of_the_settings() -> None:
    memory = SessionMemory()
    sent(memory, {"type": "session.update", "session": {"model": "gpt-realtime"}})
    assert memory.settings() is None


# Conversation


def test_the_conversation_is_told_in_order_with_its_ids_and_without_sound() -> None:
    memory = SessionMemory()
    heard(
        memory,
        added(message("item_1", "user", type="input_audio", audio="AAAA", transcript="hello")),
        added(message("item_2", "assistant", type="output_audio", transcript="hi there"), "item_1"),
        added({"id": "item_3", "type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}, "item_2"),
        added({"id": "item_4", "type": "function_call_output", "call_id": "c", "output": "7"}, "item_3"),
        added(message("item_0", "system", type="input_text", text="first"), "root"),
    )
    assert items(memory) == [
        {"id": "item_0", "type": "message", "role": "system", "content": [{"type": "input_text", "text": "first"}]},
        {"id": "item_1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {
            "id": "item_2",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hi there"}],
        },
        {"id": "item_3", "type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"},
        {"id": "item_4", "type": "function_call_output", "call_id": "c", "output": "7"},
    ]


def test_words_that_come_later_belong_to_their_item_and_deleted_items_are_gone() -> None:
    memory = SessionMemory()
    spoken = message("item_1", "user", type="input_audio", transcript=None)
    heard(
        memory,
        added(spoken),
        {"type": "conversation.item.done", "item": spoken},
        {"type": "conversation.item.input_audio_transcription.completed", "item_id": "item_1", "transcript": "well"},
        added(message("item_2", "user", type="input_text", text="forget this"), "item_1"),
        {"type": "conversation.item.deleted", "item_id": "item_2"},
    )
    assert [item["content"] for item in items(memory)] == [[{"type": "input_text", "text": "well"}]]


def test_an_item_that_nobody_acknowledged_is_created_again_as_it_was() -> None:
    memory = SessionMemory()
    first = {
        "type": "conversation.item.create",
        "event_id": "e1",
        "item": {"id": "mine", "type": "message", "role": "user"},
    }
    second = {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": []}}
    sent(memory, first, second)
    heard(memory, added({**message("mine", "user", type="input_text", text="x")}))
    assert told(memory)[-1] == second
    heard(memory, added(message("item_9", "user", type="input_text", text="y"), "mine"))
    assert [one["item"]["id"] for one in told(memory)] == ["mine", "item_9"]


def test_what_a_provider_says_of_restored_items_is_an_echo_and_only_once() -> None:
    memory = SessionMemory()
    item = message("item_1", "user", type="input_text", text="x")
    heard(memory, added(item))
    memory.restoration()
    assert memory.is_echo(frame(added(item)))
    assert memory.is_echo(frame({"type": "conversation.item.done", "item": item}))
    assert not memory.is_echo(frame({"type": "conversation.item.done", "item": item}))
    assert memory.is_echo(frame({"type": "error", "error": {"event_id": "event_trunkline_restore_0"}}))
    assert not memory.is_echo(frame({"type": "error", "error": {"event_id": "mine"}}))


# Speech


def test_sound_that_is_in_no_item_yet_is_sent_again_and_later_times_go_on() -> None:
    memory = SessionMemory()
    sent(memory, *[APPEND] * 100)  # 10 s, of which two are kept
    heard(memory, {"type": "input_audio_buffer.speech_started", "audio_start_ms": 9800, "item_id": "i"})
    sent(memory, APPEND)
    kept = told(memory)
    assert [one["type"] for one in kept] == ["input_audio_buffer.append"] * len(kept)
    assert 15 <= len(kept) <= 21
    lost_ms = (101 - len(kept)) * 100
    started = frame({"type": "input_audio_buffer.speech_started", "audio_start_ms": 300, "item_id": "i"})
    assert memory.offset(started).document == {**started.document, "audio_start_ms": 300 + lost_ms}
    other = frame({"type": "response.done", "audio_start_ms": 1})
    assert memory.offset(other) is other


def test_a_turn_nobody_wrote_down_is_told_as_sound_and_its_answer_asked_for() -> None:
    memory = SessionMemory()
    sent(memory, APPEND, APPEND)
    heard(
        memory,
        {"type": "input_audio_buffer.committed", "item_id": "item_1", "previous_item_id": None},
        added(message("item_1", "user", type="input_audio", transcript=None)),
    )
    restored = told(memory)
    assert [one["type"] for one in restored] == ["conversation.item.create", "response.create"]
    (part,) = restored[0]["item"]["content"]
    assert part["type"] == "input_audio"
    assert base64.b64decode(part["audio"]) == bytes(9600)


def test_no_answer_is_asked_for_where_the_client_asks_itself_or_has_one() -> None:
    committed = {"type": "input_audio_buffer.committed", "item_id": "item_1"}
    by_hand = SessionMemory()
    sent(by_hand, update(audio={"input": {"turn_detection": None}}))
    heard(by_hand, {"type": "session.updated"}, committed)
    assert asks(by_hand) == []
    answered = SessionMemory()
    heard(answered, committed, {"type": "response.created", "response": {"id": "r"}})
    heard(answered, {"type": "response.done", "response": {"id": "r"}})
    assert asks(answered) == []
    transcribed = SessionMemory()
    sent(transcribed, {"type": "session.update", "session": {"type": "transcription"}})
    heard(transcribed, {"type": "session.updated"}, committed)
    assert asks(transcribed) == []


def test_a_commit_and_a_question_without_an_answer_are_sent_again() -> None:
    memory = SessionMemory()
    ask = {"type": "response.create", "event_id": "e"}
    sent(memory, update(audio={"input": {"turn_detection": None}}), APPEND, {"type": "input_audio_buffer.commit"}, ask)
    assert [one["type"] for one in told(memory)] == [
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "response.create",
    ]


# A response cut in half


def test_a_response_cut_in_half_ends_as_failed_with_what_was_said() -> None:
    memory = SessionMemory()
    item = {"id": "item_2", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    base = {"response_id": "r", "item_id": "item_2", "content_index": 0, "output_index": 0}
    heard(
        memory,
        {"type": "response.created", "response": {"id": "r", "status": "in_progress", "metadata": {"k": "v"}}},
        {"type": "response.output_item.added", "response_id": "r", "item": item},
        added(item),
        {"type": "response.output_audio_transcript.delta", "delta": "It is ", **base},
        {"type": "response.output_audio.delta", "delta": TENTH, **base},
        {"type": "response.output_audio_transcript.delta", "delta": "sunny", **base},
    )
    (ended,) = [one.document for one in memory.cut()]
    assert ended["type"] == "response.done"
    response = ended["response"]
    assert (response["id"], response["status"], response["metadata"]) == ("r", "failed", {"k": "v"})
    assert response["status_details"]["error"]["code"] == "upstream_lost"
    assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "It is sunny"}]
    assert response["output"][0]["status"] == "incomplete"
    assert memory.cut() == []
    assert items(memory)[0]["content"] == [{"type": "output_text", "text": "It is sunny"}]


def test_of_a_cut_response_half_a_function_call_is_not_told() -> None:
    memory = SessionMemory()
    call = {"id": "item_2", "type": "function_call", "name": "f", "call_id": "c", "status": "in_progress"}
    heard(
        memory,
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_item.added", "response_id": "r", "item": call},
        added(call),
    )
    memory.cut()
    assert items(memory) == []


# Bounds


def test_memory_is_bounded_and_the_newest_is_kept() -> None:
    memory = SessionMemory(budget=50_000)
    for number in range(100):
        heard(memory, added(message(f"item_{number}", "user", type="input_text", text="x" * 1000)))
    kept = items(memory)
    assert kept[-1]["id"] == "item_99"
    assert 30 < len(kept) < 50


def test_an_endless_utterance_keeps_its_end() -> None:
    memory = SessionMemory(budget=100_000)
    heard(memory, {"type": "input_audio_buffer.speech_started"})
    sent(memory, *[APPEND] * 200)
    assert sum(len(one.text) for one in memory.restoration()) <= 60_000


def test_what_nobody_answers_is_bounded_and_a_refused_question_is_not_asked_again() -> None:
    memory = SessionMemory(budget=40_000)
    sent(memory, *[{"type": "response.create", "response": {"instructions": "x" * 8_000}}] * 20)
    assert len(memory.restoration()) <= 2
    refused = SessionMemory()
    sent(refused, {"type": "response.create"}, {"type": "response.create"})
    heard(refused, {"type": "response.created", "response": {"id": "r"}})
    heard(refused, {"type": "error", "error": {"code": "conversation_already_has_active_response", "event_id": None}})
    assert refused.restoration() == []


def test_items_that_are_not_told_do_not_hold_up_others() -> None:
    memory = SessionMemory()
    approval = {"id": "a", "type": "mcp_approval_response", "approve": True}
    text = {"id": "b", "type": "message", "role": "user", "content": []}
    sent(memory, *({"type": "conversation.item.create", "item": item} for item in (approval, text)))
    heard(memory, added(text), added(approval))
    assert [one for one in told(memory) if one["type"] == "conversation.item.create"] == []


@pytest.mark.parametrize(
    "said",
    [
        {"type": "conversation.item.added", "item": {"id": "i", "type": []}},
        {"type": "conversation.item.added", "item": {"id": "i", "type": "message", "content": 5}},
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 10**4000},
    ],
)
def test_odd_words_of_a_provider_break_nothing(said: dict[str, Any]) -> None:
    memory = SessionMemory()
    sent(memory, *[APPEND] * 100)
    memory.restoration()
    heard(memory, said)
    memory.offset(Frame('{"type":"input_audio_buffer.speech_started","audio_start_ms":' + "1" * 5000 + "}"))
    memory.restoration()


NAMES = st.sampled_from(["item", "id", "type", "role", "content", "response", "output", "session", "error", "audio"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
TYPES = st.sampled_from(
    [
        "session.update",
        "session.updated",
        "conversation.item.create",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.deleted",
        "conversation.item.truncated",
        "conversation.item.input_audio_transcription.completed",
        "input_audio_buffer.append",
        "input_audio_buffer.committed",
        "response.create",
        "response.created",
        "response.output_item.added",
        "response.output_text.delta",
        "response.done",
        "error",
    ]
)
odd = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    TYPES,
    st.dictionaries(
        NAMES | st.sampled_from(["item_id", "previous_item_id", "delta", "response_id", "transcript"]),
        anything,
        max_size=5,
    ),
)


@given(st.lists(st.tuples(st.booleans(), odd), max_size=12))
def test_nothing_that_anybody_says_breaks_it(said: list[tuple[bool, dict[str, Any]]]) -> None:
    memory = SessionMemory()
    for by_client, document in said:
        (memory.client_said if by_client else memory.provider_said)(frame(document))
        memory.is_echo(frame(document))
    memory.cut()
    memory.settings()
    memory.restoration()
