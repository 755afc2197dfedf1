"""The protocol's flows as transcripts: what the client does and what the models give, and the events that follow."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.local.audio import from_pcm16, to_mulaw, to_pcm16
from trunkline.local.realtime.configuration import Kind
from trunkline.local.realtime.session import (
    Abandon,
    Anticipate,
    Effect,
    Generate,
    Listen,
    Prepare,
    RealtimeSession,
    Recognise,
    Reconsider,
    Tell,
)

RATE = 24_000
LOUD = 0.5


def sound(ms: int, level: float = LOUD) -> bytes:
    return to_pcm16(np.full(ms * RATE // 1000, level, np.float32))


def silence(ms: int) -> bytes:
    return sound(ms, 0.0)


def loudness(frame: Any) -> float:
    """Stand in for the voice detector: what is loud is speech."""
    return 1.0 if float(np.abs(frame).mean()) > LOUD / 4 else 0.0


class Script:
    """A session with the effects it has asked for."""

    def __init__(self, kind: Kind = "realtime") -> None:
        numbers = itertools.count(1)
        self.session = RealtimeSession(
            kind, "local", probability=loudness, new_id=lambda prefix: f"{prefix}_{next(numbers)}", expires_at=1
        )
        self.effects: list[Effect] = []
        self.note(self.session.open())

    def note(self, effects: list[Effect]) -> list[dict[str, Any]]:
        """Keep effects; return the events among them."""
        self.effects += effects
        return [effect.event for effect in effects if isinstance(effect, Tell)]

    def send(self, type: str, **fields: Any) -> list[dict[str, Any]]:
        """Send a client event; return the events it leads to at once."""
        effects = self.session.receive(json.dumps({"type": type, **fields}))
        events = self.note(effects)
        for effect in effects:
            if isinstance(effect, Listen):
                events += self.note(self.session.hear(effect.audio))
        return events

    def append(self, *audio: bytes) -> list[dict[str, Any]]:
        """Append audio in frames of 40 ms."""
        data = b"".join(audio)
        step = 40 * RATE * 2 // 1000
        return [
            event
            for at in range(0, len(data), step)
            for event in self.send("input_audio_buffer.append", audio=base64.b64encode(data[at : at + step]).decode())
        ]

    def configure(self, **session: Any) -> list[dict[str, Any]]:
        return self.send("session.update", session={"type": "realtime", **session})

    def without_turn_detection(self) -> Script:
        self.configure(audio={"input": {"turn_detection": None}})
        return self

    def with_text(self) -> Script:
        self.configure(output_modalities=["text"])
        return self

    def say(self, text: str, **fields: Any) -> list[dict[str, Any]]:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **fields}
        return self.send("conversation.item.create", item=item)

    def last(self, kind: type) -> Any:
        """Return the last effect of a kind."""
        return next(effect for effect in reversed(self.effects) if isinstance(effect, kind))

    def asked(self, kind: type) -> list[Any]:
        """Return all effects of a kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def recognise(self, words: str) -> list[dict[str, Any]]:
        wanted = self.last(Recognise)
        return self.note(self.session.recognised(wanted.item_id, wanted.content_index, words))

    def turn(self, words: str = "hello") -> list[dict[str, Any]]:
        """Have the user speak a turn that is recognised."""
        return self.append(silence(200), sound(800), silence(640)) + self.recognise(words)

    def answer(self, text: str, ms: int = 1000) -> list[dict[str, Any]]:
        """Have the last answer asked for spoken and finished."""
        asked = self.last(Generate)
        events = self.note(self.session.said(asked.response_id, text))
        if asked.plan.spoken:
            events += self.note(self.session.sounded(asked.response_id, sound(ms)))
        return events + self.finish()

    def finish(self, reason: str = "stop", usage: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        return self.note(self.session.finished(self.last(Generate).response_id, reason, usage))


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def find(events: list[dict[str, Any]], type: str) -> dict[str, Any]:
    return next(event for event in events if event["type"] == type)


TEXT_ANSWER = [
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]

SPOKEN_ANSWER = [
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]

USER_TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
]


# Connecting and configuring.


def test_the_session_introduces_itself_first() -> None:
    (created,) = Script().asked(Tell)
    session = created.event["session"]
    assert created.event["type"] == "session.created"
    assert session["object"] == "realtime.session"
    assert session["type"] == "realtime"
    assert session["model"] == "local"
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert session["audio"]["input"]["transcription"] is None
    detection = session["audio"]["input"]["turn_detection"]
    assert (detection["type"], detection["threshold"], detection["silence_duration_ms"]) == ("server_vad", 0.5, 500)
    assert detection["create_response"]
    assert detection["interrupt_response"]


def test_every_event_has_an_id_of_its_own_and_begins_with_its_type() -> None:
    script = Script()
    script.turn()
    script.answer("Hi.")
    events = [effect.event for effect in script.asked(Tell)]
    assert len({event["event_id"] for event in events}) == len(events)
    assert all(next(iter(event)) == "type" for event in events)


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    (updated,) = Script().configure(instructions="Be brief.", audio={"output": {"voice": "cedar"}})
    assert updated["type"] == "session.updated"
    assert updated["session"]["instructions"] == "Be brief."
    assert updated["session"]["audio"]["output"]["voice"] == "cedar"
    assert updated["session"]["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert updated["session"]["audio"]["input"]["turn_detection"]["type"] == "server_vad"


def test_null_clears_turn_detection_and_empty_values_clear_tools_and_instructions() -> None:
    script = Script()
    script.configure(instructions="x", tools=[{"type": "function", "name": "f"}])
    (updated,) = script.configure(instructions="", tools=[], audio={"input": {"turn_detection": None}})
    assert updated["session"]["instructions"] == ""
    assert updated["session"]["tools"] == []
    assert updated["session"]["audio"]["input"]["turn_detection"] is None


def test_what_is_given_for_turn_detection_is_completed_by_its_defaults() -> None:
    (updated,) = Script().configure(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    assert updated["session"]["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }


@pytest.mark.parametrize(
    "accepted",
    [
        {"tracing": "auto"},
        {"tracing": None},
        {"prompt": {"id": "p"}},
        {"include": ["item.input_audio_transcription.logprobs"]},
        {"truncation": {"type": "retention_ratio", "retention_ratio": 0.5}},
        {"reasoning": {"effort": "low"}},
        {"audio": {"input": {"noise_reduction": {"type": "near_field"}}}},
        {"audio": {"output": {"voice": {"id": "voice_1"}, "speed": 1.5}}},
        {"audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcma"}}}},
        {"max_output_tokens": 4096},
        {"model": "local"},
    ],
)
def test_what_the_protocol_knows_is_accepted_and_shown(accepted: dict[str, Any]) -> None:
    (updated,) = Script().configure(**accepted)
    assert updated["type"] == "session.updated"
    for name, value in accepted.items():
        shown = updated["session"][name]
        assert shown == value if name != "audio" else all(shown[side].items() >= value[side].items() for side in value)


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"temperature": 0.8}, "unknown_parameter", "session.temperature"),
        ({"voice": "ash"}, "unknown_parameter", "session.voice"),
        ({"model": "other"}, "invalid_value", "session.model"),
        ({"output_modalities": ["text", "audio"]}, "invalid_value", "session.output_modalities"),
        ({"max_output_tokens": 5000}, "invalid_value", "session.max_output_tokens"),
        (
            {"audio": {"input": {"format": {"type": "webm-opus"}}}},
            "invalid_value",
            "session.audio.input.format.type",
        ),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        ({"audio": {"output": {"voice": "darth"}}}, "invalid_value", "session.audio.output.voice"),
        ({"audio": {"output": {"speed": 3}}}, "invalid_value", "session.audio.output.speed"),
        ({"tools": [{"type": "mcp"}]}, "invalid_value", "session.tools[0].type"),
    ],
)
def test_an_update_that_cannot_be_used_is_refused_whole(change: dict[str, Any], code: str, param: str) -> None:
    script = Script()
    (error,) = script.send(
        "session.update", event_id="mine", session={"type": "realtime", "instructions": "new", **change}
    )
    assert error["type"] == "error"
    assert error["error"]["type"] == "invalid_request_error"
    assert (error["error"]["code"], error["error"]["param"]) == (code, param)
    assert error["error"]["event_id"] == "mine"
    (updated,) = script.configure()
    assert updated["session"]["instructions"] == ""


def test_an_update_must_say_its_type() -> None:
    (error,) = Script().send("session.update", session={"instructions": "x"})
    assert (error["error"]["code"], error["error"]["param"]) == ("missing_required_parameter", "session.type")


def test_the_voice_is_fixed_once_the_assistant_has_spoken() -> None:
    script = Script()
    script.turn()
    script.answer("Hi.")
    (error,) = script.configure(audio={"output": {"voice": "ash"}})
    assert error["error"]["code"] == "cannot_update_voice"
    assert types(script.configure(audio={"output": {"voice": "marin"}})) == ["session.updated"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_value"),
        ("{}", "missing_required_parameter"),
        ('{"type": "session.close"}', "invalid_value"),
        ('{"type": "trunkline.brain.chunk"}', "invalid_value"),
        ('{"type": "response.create", "extra": 1}', "unknown_parameter"),
        ('{"type": "input_audio_buffer.append", "audio": "%"}', "invalid_value"),
        ('{"type": "output_audio_buffer.clear"}', "invalid_event"),
    ],
)
def test_a_frame_that_is_no_event_is_answered_by_an_error(frame: str, code: str) -> None:
    (effect,) = Script().session.receive(frame)
    assert isinstance(effect, Tell)
    assert effect.event["type"] == "error"
    assert effect.event["error"]["code"] == code


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANY_JSON)
def test_any_frame_is_understood_or_answered_by_an_error(value: Any) -> None:
    script = Script()
    for frame in (json.dumps(value), str(value), json.dumps({"type": "session.update", "session": value})):
        for effect in script.session.receive(frame):
            assert isinstance(effect, Tell)
            assert effect.event["type"] == "error"


# Text turns.


def test_a_text_turn() -> None:
    script = Script().with_text()
    assert types(script.say("Hello")) == ["conversation.item.added", "conversation.item.done"]
    assert types(script.send("response.create")) == ["response.created"]
    events = script.answer("Hi there.")
    assert types(events) == TEXT_ANSWER
    done = find(events, "response.done")["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_text", "text": "Hi there."}]
    assert find(events, "response.content_part.added")["part"] == {"type": "text", "text": ""}
    assert find(events, "response.content_part.done")["part"] == {"type": "text", "text": "Hi there."}


def test_a_response_begins_empty_and_its_item_before_its_content() -> None:
    script = Script().with_text()
    script.say("Hello")
    (created,) = script.send("response.create")
    assert created["response"]["output"] == []
    assert created["response"]["status"] == "in_progress"
    assert created["response"]["usage"] is None
    events = script.answer("Hi.")
    for name in ("response.output_item.added", "conversation.item.added"):
        item = find(events, name)["item"]
        assert (item["status"], item["role"], item["content"]) == ("in_progress", "assistant", [])


def test_the_model_is_asked_with_the_conversation() -> None:
    script = Script().with_text()
    script.configure(instructions="Be kind.")
    script.say("One")
    script.send("response.create")
    script.answer("Two")
    script.say("Three")
    script.send("response.create")
    plan = script.last(Generate).plan
    assert plan.instructions == "Be kind."
    assert plan.messages == [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"},
    ]


def test_a_response_may_do_otherwise_than_the_session() -> None:
    script = Script()
    script.say("Hello")
    response = {"output_modalities": ["text"], "instructions": "Rhyme.", "max_output_tokens": 7}
    (created,) = script.send("response.create", response=response)
    plan = script.last(Generate).plan
    assert (plan.spoken, plan.instructions, plan.max_tokens) == (False, "Rhyme.", 7)
    assert created["response"]["output_modalities"] == ["text"]
    assert created["response"]["max_output_tokens"] == 7


def test_a_response_without_instructions_of_its_own_follows_the_sessions() -> None:
    script = Script()
    script.send("session.update", session={"type": "realtime", "instructions": "Rhyme."})
    script.say("Hello")
    script.send("response.create", response={"instructions": None})
    assert script.last(Generate).plan.instructions == "Rhyme."


def test_an_answer_cut_off_by_its_limit_is_incomplete() -> None:
    script = Script().with_text()
    script.say("Hello")
    script.send("response.create", response={"max_output_tokens": 1})
    script.note(script.session.said(script.last(Generate).response_id, "Hi"))
    done = find(script.finish("length"), "response.done")["response"]
    assert done["status"] == "incomplete"
    assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert done["output"][0]["status"] == "incomplete"


def test_an_answer_that_fails_says_why() -> None:
    script = Script().with_text()
    script.say("Hello")
    script.send("response.create")
    problem = {"type": "server_error", "code": "upstream_broken", "message": "It broke."}
    events = script.note(script.session.failed(script.last(Generate).response_id, problem))
    assert types(events) == ["response.done", "rate_limits.updated"]
    assert events[0]["response"]["status"] == "failed"
    assert events[0]["response"]["status_details"] == {"type": "failed", "error": problem}
    assert types(script.send("response.create")) == ["response.created"]


def test_only_one_response_at_a_time_writes_to_the_conversation() -> None:
    script = Script().with_text()
    script.say("Hello")
    script.send("response.create")
    (error,) = script.send("response.create", event_id="second")
    assert error["error"]["code"] == "conversation_already_has_active_response"
    assert error["error"]["event_id"] == "second"


def test_usage_tells_text_from_audio() -> None:
    script = Script()
    script.turn()
    script.note(script.session.said(script.last(Generate).response_id, "Hi."))
    script.note(script.session.sounded(script.last(Generate).response_id, sound(1000)))
    reported = {"prompt_tokens": 30, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 10}}
    usage = find(script.finish(usage=reported), "response.done")["response"]["usage"]
    heard_ms = 300 + 800 + 512  # the prefix, the speech and the silence that ended it, within a frame
    audio_in = usage["input_token_details"]["audio_tokens"]
    assert abs(audio_in - heard_ms / 100) <= 2
    assert usage["input_token_details"]["text_tokens"] == 30
    assert usage["input_token_details"]["cached_tokens"] == 10
    assert usage["output_token_details"] == {"text_tokens": 4, "audio_tokens": 20}
    assert usage["input_tokens"] == 30 + audio_in
    assert usage["total_tokens"] == 30 + audio_in + 4 + 20


def test_metadata_comes_back_in_created_and_done() -> None:
    script = Script().with_text()
    (created,) = script.send("response.create", response={"metadata": {"client_event_id": "7"}})
    assert created["response"]["metadata"] == {"client_event_id": "7"}
    assert find(script.answer("x"), "response.done")["response"]["metadata"] == {"client_event_id": "7"}


def test_too_much_metadata_is_refused() -> None:
    (error,) = Script().send("response.create", response={"metadata": {str(n): "" for n in range(17)}})
    assert error["error"]["param"] == "response.metadata"


def test_a_response_to_nothing_still_has_somebody_to_answer() -> None:
    script = Script().with_text()
    script.send("response.create", response={"instructions": "Greet the user."})
    assert script.last(Generate).plan.messages == [{"role": "user", "content": "(silence)"}]


# Turns of speech.


def test_a_spoken_turn_with_turn_detection() -> None:
    script = Script()
    events = script.append(silence(320), sound(800), silence(640))
    assert types(events) == [*USER_TURN, "response.created"]
    item_id = events[0]["item_id"]
    assert {event.get("item_id", item_id) for event in events} == {item_id}
    assert find(events, "conversation.item.added")["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert script.asked(Generate) == []
    script.recognise("What time is it?")
    plan = script.last(Generate).plan
    assert plan.spoken
    assert plan.messages == [{"role": "user", "content": "What time is it?"}]
    events = script.answer("It is late.")
    assert types(events) == SPOKEN_ANSWER
    assert find(events, "response.content_part.added")["part"] == {"type": "audio", "transcript": ""}
    content = find(events, "conversation.item.done")["item"]["content"]
    assert content == [{"type": "output_audio", "transcript": "It is late."}]


def test_the_times_of_a_turn_count_from_the_sessions_first_sample() -> None:
    script = Script()
    script.turn()
    script.answer("Hi.")
    events = script.append(silence(1000), sound(800), silence(640))
    before = 200 + 800 + 640
    started = find(events, "input_audio_buffer.speech_started")["audio_start_ms"]
    stopped = find(events, "input_audio_buffer.speech_stopped")["audio_end_ms"]
    assert abs(started - (before + 1000 - 300)) <= 32
    assert abs(stopped - (before + 1000 + 800 + 500)) <= 64


def test_the_item_holds_the_audio_between_those_times() -> None:
    script = Script()
    events = script.append(silence(1000), sound(800), silence(640))
    started = find(events, "input_audio_buffer.speech_started")["audio_start_ms"]
    stopped = find(events, "input_audio_buffer.speech_stopped")["audio_end_ms"]
    (retrieved,) = script.send("conversation.item.retrieve", item_id=events[0]["item_id"])
    audio = from_pcm16(base64.b64decode(retrieved["item"]["content"][0]["audio"]))
    assert len(audio) * 1000 // RATE == stopped - started
    assert np.flatnonzero(audio)[0] * 1000 // RATE == 1000 - started


def test_the_recogniser_is_given_the_speech_with_a_little_around_it() -> None:
    script = Script()
    script.append(silence(3000), sound(800), silence(640))
    clip = script.last(Recognise).clip
    assert 800 + 300 <= clip.seconds * 1000 <= 800 + 600


def test_the_words_are_told_when_transcription_is_asked_for() -> None:
    script = Script()
    script.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
    events = script.turn("Good morning.")
    item_id = find(events, "input_audio_buffer.committed")["item_id"]
    delta = find(events, "conversation.item.input_audio_transcription.delta")
    completed = find(events, "conversation.item.input_audio_transcription.completed")
    assert (delta["item_id"], delta["delta"]) == (item_id, "Good morning.")
    assert (completed["item_id"], completed["content_index"]) == (item_id, 0)
    assert completed["transcript"] == "Good morning."
    assert completed["usage"]["type"] == "duration"
    assert completed["usage"]["seconds"] > 0.8
    (retrieved,) = script.send("conversation.item.retrieve", item_id=item_id)
    assert retrieved["item"]["content"][0]["transcript"] == "Good morning."


def test_the_words_are_not_told_unasked() -> None:
    assert not [name for name in types(Script().turn()) if "transcription" in name]


def test_a_recognition_that_fails_is_told_and_the_answer_goes_on() -> None:
    script = Script()
    script.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
    script.append(sound(800), silence(640))
    wanted = script.last(Recognise)
    events = script.note(script.session.not_recognised(wanted.item_id, wanted.content_index, "no"))
    assert types(events) == ["conversation.item.input_audio_transcription.failed"]
    assert script.last(Generate).plan.messages == [{"role": "user", "content": "(silence)"}]


def test_a_turn_need_not_be_answered() -> None:
    script = Script()
    script.configure(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    assert types(script.turn()) == USER_TURN
    assert types(script.send("response.create")) == ["response.created"]
    assert script.last(Generate).plan.messages == [{"role": "user", "content": "hello"}]


def test_semantic_turn_detection_ends_turns_too() -> None:
    script = Script()
    script.configure(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}})
    assert types(script.append(sound(800), silence(640))) == [*USER_TURN, "response.created"]


def test_a_turn_that_has_probably_ended_is_recognised_early_and_the_same_clip_later() -> None:
    script = Script()
    script.append(silence(320), sound(800), silence(280))
    (anticipated,) = script.asked(Anticipate)
    assert anticipated.answer
    assert script.asked(Recognise) == []
    script.append(silence(400))
    assert script.last(Recognise).clip.span == anticipated.clip.span
    np.testing.assert_array_equal(script.last(Recognise).clip.samples, anticipated.clip.samples)


def test_the_answer_thought_of_early_has_the_plan_of_the_answer_given() -> None:
    script = Script()
    script.say("Before.")
    script.append(silence(320), sound(800), silence(280))
    draft = script.session.draft("hello")
    script.append(silence(400))
    script.recognise("hello")
    assert draft == script.last(Generate).plan
    assert draft is not None
    assert draft.messages[-1] == {"role": "user", "content": "hello"}


def test_speech_that_goes_on_makes_the_early_answer_void() -> None:
    script = Script()
    script.append(sound(800), silence(320))
    anticipations = len(script.effects)
    script.append(sound(400))
    assert any(isinstance(effect, Reconsider) for effect in script.effects[anticipations:])
    script.append(silence(640))
    assert script.last(Recognise).clip.seconds > 1.4


def test_nothing_is_thought_of_early_that_would_not_be_said() -> None:
    script = Script()
    script.configure(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    assert script.session.draft("hello") is None
    assert Script("transcription").session.draft("hello") is None
    assert Script().without_turn_detection().session.draft("hello") is None
    script = Script()
    script.turn()
    assert script.session.draft("hello") is None  # the answer to the turn before is still being given


def test_g711_is_understood_and_spoken() -> None:
    script = Script()
    script.configure(audio={"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcma"}}})
    audio = to_mulaw(np.concatenate((np.full(8 * 800, LOUD), np.zeros(8 * 640))).astype(np.float32))
    events = script.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())
    assert types(events) == [*USER_TURN, "response.created"]
    stopped = find(events, "input_audio_buffer.speech_stopped")["audio_end_ms"]
    assert abs(stopped - 1300) <= 64
    script.recognise("hello")
    assert script.last(Generate).plan.format.name == "audio/pcma"


def test_two_turns_in_one_append_are_two_items() -> None:
    script = Script()
    script.configure(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    audio = sound(800) + silence(800) + sound(600) + silence(800)
    events = script.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())
    assert types(events) == USER_TURN * 2
    first, second = (wanted.clip.span for wanted in script.asked(Recognise))
    assert first[0] == 0
    assert 800 <= first[1] < second[0] < 1600 < 2200 <= second[1]
    assert len({wanted.item_id for wanted in script.asked(Recognise)}) == 2


def test_samples_may_be_split_between_appends() -> None:
    whole, split = Script(), Script()
    audio = sound(800) + silence(640)
    expected = whole.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())
    events = []
    for at in range(0, len(audio), 1601):
        events += split.send("input_audio_buffer.append", audio=base64.b64encode(audio[at : at + 1601]).decode())
    assert types(events) == types(expected)
    np.testing.assert_allclose(split.last(Recognise).clip.samples, whole.last(Recognise).clip.samples, atol=1e-6)


# Manual turns.


def test_a_manual_turn() -> None:
    script = Script().without_turn_detection()
    assert script.append(silence(200), sound(800), silence(2000)) == []
    events = script.send("input_audio_buffer.commit")
    assert types(events) == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    assert events[0]["previous_item_id"] is None
    assert events[0]["item_id"] == events[1]["item"]["id"]
    script.recognise("hello")
    assert script.asked(Generate) == []
    assert types(script.send("response.create")) == ["response.created"]
    assert script.last(Generate).plan.messages == [{"role": "user", "content": "hello"}]


def test_a_response_waits_for_the_words_it_answers_to() -> None:
    script = Script().without_turn_detection()
    script.append(sound(800))
    script.send("input_audio_buffer.commit")
    assert types(script.send("response.create")) == ["response.created"]
    assert script.asked(Generate) == []
    script.recognise("hello")
    assert len(script.asked(Generate)) == 1


@pytest.mark.parametrize("ms", [0, 40, 80])
def test_too_little_audio_cannot_be_committed(ms: int) -> None:
    script = Script().without_turn_detection()
    if ms:
        script.append(sound(ms))
    (error,) = script.send("input_audio_buffer.commit", event_id="c")
    assert error["error"]["code"] == "input_audio_buffer_commit_empty"
    assert error["error"]["event_id"] == "c"


def test_a_commit_of_silence_has_no_words() -> None:
    script = Script().without_turn_detection()
    script.configure(audio={"input": {"transcription": {"model": "local"}}})
    script.append(silence(1000))
    events = script.send("input_audio_buffer.commit")
    assert find(events, "conversation.item.input_audio_transcription.completed")["transcript"] == ""
    assert script.asked(Recognise) == []


def test_a_cleared_buffer_is_empty() -> None:
    script = Script().without_turn_detection()
    script.append(sound(800))
    assert types(script.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    (error,) = script.send("input_audio_buffer.commit")
    assert error["error"]["code"] == "input_audio_buffer_commit_empty"


def test_a_commit_by_hand_within_speech_takes_the_turns_item() -> None:
    script = Script()
    (started,) = script.append(sound(800))
    events = script.send("input_audio_buffer.commit")
    assert find(events, "input_audio_buffer.committed")["item_id"] == started["item_id"]
    assert "input_audio_buffer.speech_stopped" not in types(script.append(silence(1000)))


def test_the_buffer_has_an_end() -> None:
    script = Script().without_turn_detection()
    minute = base64.b64encode(silence(60_000)).decode()
    for _ in range(10):
        assert script.send("input_audio_buffer.append", audio=minute) == []
    (error,) = script.send("input_audio_buffer.append", audio=minute)
    assert error["error"]["code"] == "input_audio_buffer_full"


# Interruptions.


def test_speech_interrupts_the_answer() -> None:
    script = Script()
    script.turn()
    asked = script.last(Generate)
    script.note(script.session.said(asked.response_id, "A long story"))
    script.note(script.session.sounded(asked.response_id, sound(500)))
    events = script.append(sound(100))
    assert types(events) == [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    done = find(events, "response.done")["response"]
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert find(events, "response.output_item.done")["item"]["status"] == "incomplete"
    assert script.last(Abandon).response_id == asked.response_id
    assert types(script.append(sound(700), silence(640))) == [*USER_TURN[1:], "response.created"]


def test_what_still_comes_of_an_interrupted_answer_is_ignored() -> None:
    script = Script()
    script.turn()
    asked = script.last(Generate)
    script.append(sound(100))
    assert script.session.said(asked.response_id, "more") == []
    assert script.session.sounded(asked.response_id, sound(100)) == []
    assert script.session.called(asked.response_id, 0, "f", "c", "{}") == []
    assert script.session.finished(asked.response_id, "stop", None) == []
    assert script.session.failed(asked.response_id, {}) == []


def test_an_answer_that_may_not_be_interrupted_goes_on_and_the_turn_is_answered_after_it() -> None:
    script = Script()
    script.configure(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    script.turn("first")
    first = script.last(Generate)
    assert types(script.append(sound(800), silence(640))) == USER_TURN
    script.recognise("second")
    assert script.last(Generate) is first
    events = script.answer("Yes.")
    assert types(events)[-3:] == ["response.done", "rate_limits.updated", "response.created"]
    assert [message["content"] for message in script.last(Generate).plan.messages] == ["first", "Yes.", "second"]


def test_a_client_cancels_the_answer() -> None:
    script = Script()
    script.turn()
    script.note(script.session.said(script.last(Generate).response_id, "Well"))
    events = script.send("response.cancel")
    done = find(events, "response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
    assert types(events)[-2:] == ["response.done", "rate_limits.updated"]
    assert script.asked(Abandon)


def test_there_must_be_something_to_cancel() -> None:
    for fields in ({}, {"response_id": "resp_unknown"}):
        (error,) = Script().send("response.cancel", event_id="x", **fields)
        assert error["error"]["code"] == "response_cancel_not_active"
        assert error["error"]["event_id"] == "x"


def test_the_client_truncates_what_was_not_heard() -> None:
    script = Script()
    script.turn()
    asked = script.last(Generate)
    for passage in ("One two three four.", " Five six seven eight."):
        script.note(script.session.said(asked.response_id, passage))
        script.note(script.session.sounded(asked.response_id, sound(1000)))
    item = find(script.finish(), "response.output_item.done")["item"]
    (truncated,) = script.send("conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=1500)
    assert truncated["type"] == "conversation.item.truncated"
    assert (truncated["item_id"], truncated["content_index"], truncated["audio_end_ms"]) == (item["id"], 0, 1500)
    (retrieved,) = script.send("conversation.item.retrieve", item_id=item["id"])
    content = retrieved["item"]["content"][0]
    assert "transcript" not in content
    assert len(base64.b64decode(content["audio"])) == len(sound(1500))
    script.say("Go on.")
    script.send("response.create")
    heard = {"role": "assistant", "content": "One two three four. Five six"}
    assert script.last(Generate).plan.messages[1] == heard


def test_an_answer_truncated_to_nothing_is_forgotten() -> None:
    script = Script()
    script.turn()
    item = find(script.answer("Never heard."), "response.output_item.done")["item"]
    script.send("conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=0)
    script.send("response.create")
    assert script.last(Generate).plan.messages == [{"role": "user", "content": "hello"}]


def test_what_cannot_be_truncated_is_refused() -> None:
    script = Script()
    script.turn()
    item = find(script.answer("Hi.", ms=1000), "response.output_item.done")["item"]
    place = {"item_id": item["id"], "content_index": 0, "audio_end_ms": 0}
    user = next(iter(script.session._conversation)).id
    cases = [
        ({**place, "audio_end_ms": 1001}, "audio_end_ms"),
        ({**place, "content_index": 1}, "content_index"),
        ({**place, "item_id": user}, "item_id"),
        ({**place, "item_id": "nobody"}, "item_id"),
        ({**place, "audio_end_ms": -1}, "audio_end_ms"),
    ]
    for fields, param in cases:
        (error,) = script.send("conversation.item.truncate", **fields)
        assert (error["type"], error["error"]["param"]) == ("error", param)
    assert types(script.send("conversation.item.truncate", **{**place, "audio_end_ms": 1000})) == [
        "conversation.item.truncated"
    ]


# Items.


def test_items_are_put_where_the_client_says() -> None:
    script = Script()
    script.say("b", id="b")
    assert find(script.say("c", id="c"), "conversation.item.added")["previous_item_id"] == "b"
    front = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "a"}], "id": "a"}
    (added, _) = script.send("conversation.item.create", item=front, previous_item_id="root")
    assert added["previous_item_id"] is None
    between = {**front, "id": "a2"}
    (added, _) = script.send("conversation.item.create", item=between, previous_item_id="a")
    assert added["previous_item_id"] == "a"
    assert [item.id for item in script.session._conversation] == ["a", "a2", "b", "c"]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "message", "role": "user", "content": [{"type": "output_text", "text": "x"}]}, "item.content[0]"),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "audio": ""}]},
            "item.content[0]",
        ),
        ({"type": "message", "role": "user", "content": [{"type": "input_text"}]}, "item.content[0].text"),
        ({"type": "message", "role": "robot", "content": []}, "item.role"),
        ({"type": "mcp_call"}, "item.type"),
        ({"type": "function_call_output", "call_id": "c"}, "item.output"),
        ({"type": "message", "role": "user", "content": [], "extra": 1}, "item.extra"),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "%"}]},
            "item.content[0].audio",
        ),
    ],
)
def test_an_item_that_cannot_be_used_is_refused(item: dict[str, Any], param: str) -> None:
    (error,) = Script().send("conversation.item.create", item=item)
    assert (error["type"], error["error"]["param"]) == ("error", param)


def test_an_id_is_used_once_and_a_place_must_exist() -> None:
    script = Script()
    script.say("x", id="mine")
    (error,) = script.say("y", id="mine")
    assert error["error"]["param"] == "item.id"
    item = {"type": "message", "role": "user", "content": []}
    (error,) = script.send("conversation.item.create", item=item, previous_item_id="nowhere")
    assert error["error"]["param"] == "previous_item_id"


def test_a_deleted_item_is_gone() -> None:
    script = Script()
    script.say("x", id="mine")
    assert script.send("conversation.item.delete", item_id="mine")[0]["item_id"] == "mine"
    for name, code in (("delete", "item_delete_invalid_item_id"), ("retrieve", "item_retrieve_invalid_item_id")):
        (error,) = script.send(f"conversation.item.{name}", item_id="mine")
        assert error["error"]["code"] == code


def test_audio_in_a_given_item_is_recognised() -> None:
    script = Script()
    content = [{"type": "input_audio", "audio": base64.b64encode(sound(800)).decode()}]
    script.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    assert script.last(Recognise).clip.span is None
    script.send("response.create")
    assert script.asked(Generate) == []
    script.recognise("hello")
    assert script.last(Generate).plan.messages == [{"role": "user", "content": "hello"}]


def test_an_image_goes_to_the_model() -> None:
    script = Script()
    content = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": "data:image/png;,"}]
    script.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    script.send("response.create")
    assert script.last(Generate).plan.messages[0]["content"][1]["image_url"] == {
        "url": "data:image/png;,",
        "detail": "auto",
    }


# Function calls.


def test_a_function_call() -> None:
    script = Script().with_text()
    tool = {"type": "function", "name": "get_time", "parameters": {"type": "object"}}
    script.configure(tools=[tool], tool_choice="auto")
    script.say("What time is it?")
    script.send("response.create")
    asked = script.last(Generate)
    assert (asked.plan.tools, asked.plan.tool_choice) == ([tool], "auto")
    events = script.note(script.session.called(asked.response_id, 0, "get_time", "call_1", '{"zone"'))
    events += script.note(script.session.called(asked.response_id, 0, "", "", ': "UTC"}'))
    events += script.finish("tool_calls")
    assert types(events) == [
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    for name in ("response.output_item.added", "conversation.item.added"):
        item = find(events, name)["item"]
        assert (item["name"], item["call_id"], item["status"]) == ("get_time", "call_1", "in_progress")
    done = find(events, "response.function_call_arguments.done")
    assert (done["name"], done["arguments"]) == ("get_time", '{"zone": "UTC"}')
    item = find(events, "response.done")["response"]["output"][0]
    assert (item["status"], item["arguments"]) == ("completed", '{"zone": "UTC"}')
    output = {"type": "function_call_output", "call_id": "call_1", "output": "noon"}
    assert types(script.send("conversation.item.create", item=output)) == [
        "conversation.item.added",
        "conversation.item.done",
    ]
    script.send("response.create")
    assert script.last(Generate).plan.messages[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_time", "arguments": '{"zone": "UTC"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    ]


def test_two_calls_are_two_items_and_their_results_follow_them() -> None:
    script = Script().with_text()
    script.say("Do both.")
    script.send("response.create")
    response_id = script.last(Generate).response_id
    script.note(script.session.called(response_id, 0, "a", "call_a", "{}"))
    script.note(script.session.called(response_id, 1, "b", "call_b", "{}"))
    done = find(script.finish("tool_calls"), "response.done")["response"]
    assert [item["call_id"] for item in done["output"]] == ["call_a", "call_b"]
    script.say("Meanwhile")
    for call_id in ("call_b", "call_a"):
        output = {"type": "function_call_output", "call_id": call_id, "output": call_id}
        script.send("conversation.item.create", item=output)
    script.send("response.create")
    roles = [message["role"] for message in script.last(Generate).plan.messages]
    assert roles == ["user", "assistant", "tool", "tool", "user"]


def test_a_call_without_a_result_is_not_shown_to_the_model() -> None:
    script = Script().with_text()
    script.say("Call it.")
    script.send("response.create")
    script.note(script.session.called(script.last(Generate).response_id, 0, "a", "call_a", "{}"))
    script.finish("tool_calls")
    script.say("Never mind.")
    script.send("response.create")
    assert [message["role"] for message in script.last(Generate).plan.messages] == ["user", "user"]


def test_a_call_that_was_cut_off_is_not_to_be_made() -> None:
    script = Script().with_text()
    script.say("Call it.")
    script.send("response.create")
    script.note(script.session.called(script.last(Generate).response_id, 0, "a", "call_a", '{"x"'))
    events = script.send("response.cancel")
    assert "response.function_call_arguments.done" not in types(events)
    assert find(events, "response.output_item.done")["item"]["status"] == "incomplete"


# Out of band.


def test_a_response_out_of_band_leaves_the_conversation_alone() -> None:
    script = Script().with_text()
    script.say("Hello")
    script.send("response.create")
    main = script.last(Generate)
    response = {"conversation": "none", "metadata": {"topic": "x"}, "instructions": "Classify."}
    (created,) = script.send("response.create", response=response)
    assert created["response"]["conversation_id"] is None
    side = script.last(Generate)
    assert side.plan.messages == main.plan.messages
    events = script.answer("greeting")
    assert types(events) == [name for name in TEXT_ANSWER if not name.startswith("conversation.")]
    done = find(events, "response.done")["response"]
    assert (done["conversation_id"], done["metadata"]) == (None, {"topic": "x"})
    assert len(list(script.session._conversation)) == 1
    events = script.note(script.session.finished(main.response_id, "stop", None))
    assert find(events, "response.done")["response"]["conversation_id"] is not None


def test_a_response_may_be_given_its_own_context() -> None:
    script = Script().with_text()
    script.say("Hello", id="greeting")
    script.say("Ignored")
    own = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "In French?"}]}
    entries = [{"type": "item_reference", "id": "greeting"}, own]
    script.send("response.create", response={"conversation": "none", "input": entries})
    assert [message["content"] for message in script.last(Generate).plan.messages] == ["Hello", "In French?"]
    script.send("response.create", response={"conversation": "none", "input": []})
    assert script.last(Generate).plan.messages == [{"role": "user", "content": "(silence)"}]
    (error,) = script.send("response.create", response={"input": [{"type": "item_reference", "id": "nobody"}]})
    assert error["error"]["param"] == "response.input[0].id"


def test_speech_does_not_interrupt_a_response_out_of_band() -> None:
    script = Script()
    script.send("response.create", response={"conversation": "none"})
    assert types(script.append(sound(100))) == ["input_audio_buffer.speech_started"]


def test_a_response_out_of_band_is_cancelled_by_its_id_only() -> None:
    script = Script()
    (created,) = script.send("response.create", response={"conversation": "none"})
    (error,) = script.send("response.cancel")
    assert error["error"]["code"] == "response_cancel_not_active"
    assert "response.done" in types(script.send("response.cancel", response_id=created["response"]["id"]))


# Idle time.


def idle(script: Script) -> Script:
    script.configure(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}})
    return script


def test_a_user_who_stays_silent_is_prompted_once_the_answer_has_been_heard() -> None:
    script = idle(Script())
    script.turn()
    script.answer("Are you there?", ms=2000)
    before = 200 + 800 + 640
    assert script.append(silence(2000 + 4800)) == []
    events = script.append(silence(400))
    assert types(events) == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    timeout = events[0]
    assert timeout["item_id"] == events[1]["item_id"]
    assert abs(timeout["audio_start_ms"] - (before + 2000)) <= 64
    assert abs(timeout["audio_end_ms"] - timeout["audio_start_ms"] - 5000) <= 64
    assert script.last(Generate).plan.messages[-1] == {"role": "user", "content": "(silence)"}


def test_idle_time_runs_only_after_an_answer_and_not_without_being_asked_for() -> None:
    assert idle(Script()).append(silence(8000)) == []
    script = Script()
    script.turn()
    script.answer("Hi.")
    assert script.append(silence(8000)) == []


# Transcription only.


def test_a_session_that_only_transcribes() -> None:
    script = Script("transcription")
    created = script.last(Tell).event["session"]
    assert created["object"] == "realtime.transcription_session"
    assert created["type"] == "transcription"
    update = {"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1", "language": "en"}}}}
    (updated,) = script.send("session.update", session=update)
    assert updated["session"]["audio"]["input"]["transcription"] == {"model": "whisper-1", "language": "en"}
    events = script.turn("take a note")
    assert types(events) == [
        *USER_TURN,
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
    ]
    assert script.asked(Generate) == []
    assert not script.last(Anticipate).answer


def test_a_transcription_session_gives_no_responses_and_is_not_a_conversation() -> None:
    script = Script("transcription")
    (error,) = script.send("response.create")
    assert error["type"] == "error"
    (error,) = script.send("session.update", session={"type": "realtime"})
    assert error["error"]["param"] == "session.type"
    (error,) = script.send("session.update", session={"type": "transcription", "instructions": "x"})
    assert error["error"]["code"] == "unknown_parameter"


# Getting ready.


def test_the_conversation_is_read_while_nobody_waits_for_it() -> None:
    script = Script()
    assert len(script.asked(Prepare)) == 1
    script.configure(instructions="Be brief.")
    assert script.last(Prepare).plan.instructions == "Be brief."
    script.turn("hello")
    prepared = len(script.asked(Prepare))
    script.answer("Hi.")
    assert len(script.asked(Prepare)) == prepared + 1
    assert script.last(Prepare).plan.messages[:2] == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hi."},
    ]
