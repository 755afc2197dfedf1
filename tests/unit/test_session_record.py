"""A session's record says what was said, how fast, what it used and how it ended; and costs next to nothing."""

from __future__ import annotations

import base64
import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from trunkline.providers.schema import Protocol
from trunkline.realtime.frames import Frame
from trunkline.realtime.observing import observer_of
from trunkline.realtime.observing.openai import _READERS
from trunkline.realtime.record import TURNS_KEPT, SessionRecord
from trunkline.realtime.report import Report, Turn
from trunkline.realtime.usage import Tokens, Usage

PCM = base64.b64encode(bytes(4800)).decode()  # 100 ms
SESSION = {
    "type": "realtime",
    "model": "gpt-realtime",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "server_vad"},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
    },
}
USAGE = {
    "total_tokens": 1100,
    "input_tokens": 600,
    "output_tokens": 500,
    "input_token_details": {
        "text_tokens": 80,
        "audio_tokens": 500,
        "image_tokens": 20,
        "cached_tokens": 300,
        "cached_tokens_details": {"text_tokens": 40, "audio_tokens": 250, "image_tokens": 10},
    },
    "output_token_details": {"text_tokens": 100, "audio_tokens": 400},
}


def price(usage: Usage) -> float | None:
    """A dollar a token, ten a second; what is not stated, a cent a byte."""
    if not usage.stated:
        return usage.frame_bytes / 100
    return usage.tokens.total + 10 * usage.seconds


def priceless(usage: Usage) -> float | None:
    return None


class Talk:
    """A session in which frames are said at given moments."""

    def __init__(self, protocol: Protocol = "openai", **options: Any) -> None:
        self.record = SessionRecord(protocol, **{"price": price, "model": "m", **options})
        self.record.dialled(100.0)
        self.record.connected(100.25)

    def client(self, at: float, type: str | None = None, **members: Any) -> None:
        named = {"type": type} if type else {}
        self.record.client_said(Frame(json.dumps({**named, **members})), 100 + at)

    def provider(self, at: float, type: str | None = None, **members: Any) -> Usage | None:
        named = {"type": type} if type else {}
        return self.record.provider_said(Frame(json.dumps({**named, **members})), 100 + at)

    def report(self, at: float = 60.0) -> Report:
        return self.record.report(100 + at)

    @property
    def turn(self) -> Turn:
        return self.report().turns[-1]


def spoken_turn(talk: Talk, at: float, number: int = 1, usage: Any = USAGE, **ending: Any) -> Usage | None:
    """The user speaks for a second; the answer begins 300 ms after that and ends a second later."""
    item, response = f"item_u{number}", f"resp_{number}"
    talk.provider(at, "input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)
    talk.provider(at + 1, "input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=1000)
    talk.provider(at + 1.01, "input_audio_buffer.committed", item_id=item)
    talk.provider(at + 1.02, "response.created", response={"id": response, "conversation_id": "conv_1"})
    talk.provider(at + 1.05, "response.output_item.added", response_id=response, item={"id": f"item_a{number}"})
    talk.provider(at + 1.2, "response.output_audio_transcript.delta", delta="Hel", response_id=response)
    talk.provider(at + 1.3, "response.output_audio.delta", delta=PCM, response_id=response)
    talk.provider(at + 1.4, "response.output_audio.delta", delta=PCM, response_id=response)
    talk.provider(at + 1.5, "response.output_audio_transcript.done", transcript="Hello there.", response_id=response)
    done = {"id": response, "status": "completed", "usage": usage, "output": [], **ending}
    return talk.provider(at + 2, "response.done", response=done)


def test_a_spoken_turn_has_both_sides_words_its_latencies_and_its_usage() -> None:
    talk = Talk()
    talk.provider(0.3, "session.created", session=SESSION)
    used = spoken_turn(talk, 1.0)
    written = talk.provider(
        3.1,
        "conversation.item.input_audio_transcription.completed",
        item_id="item_u1",
        transcript="Hi.",
        usage={"type": "duration", "seconds": 1.5},
    )
    assert used is not None
    assert (used.kind, used.model, used.cost, used.stated) == ("response", "gpt-realtime", 1100, True)
    assert used.tokens == Tokens(
        input_text=80,
        input_audio=500,
        input_image=20,
        cached_text=40,
        cached_audio=250,
        cached_image=10,
        output_text=100,
        output_audio=400,
    )
    assert written is not None
    assert (written.kind, written.model, written.seconds, written.cost) == ("transcription", "whisper-1", 1.5, 15.0)
    (turn,) = talk.report().turns
    assert (turn.user, turn.assistant, turn.ending, turn.reason) == ("Hi.", "Hello there.", "completed", "")
    assert (turn.started_ms, turn.first_byte_ms, turn.first_audio_ms, turn.ended_ms) == (1000, 200, 300, 3000)
    assert (turn.cost, turn.transcription_cost, turn.barge_in_ms, turn.interrupted) == (1100, 15, None, False)
    report = talk.report()
    assert (report.model, report.voice, report.connect_ms) == ("gpt-realtime", "marin", 250)
    assert report.cost.total == talk.record.cost == 1115
    assert (report.cost.responses, report.cost.transcription) == (1100, 15)
    (transcription,) = report.transcriptions
    assert (transcription.model, transcription.count, transcription.seconds) == ("whisper-1", 1, 1.5)
    (sound,) = report.spoken
    assert (sound.format, sound.bytes, sound.seconds) == ("audio/pcm;rate=24000", 9600, 0.2)


def test_transcription_in_tokens_is_booked_to_the_model_that_transcribes() -> None:
    talk = Talk()
    talk.client(0.3, "session.update", session={"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}})
    details = {"text_tokens": 3, "audio_tokens": 20}
    usage = {"type": "tokens", "input_tokens": 23, "output_tokens": 7, "input_token_details": details}
    event = "conversation.item.input_audio_transcription.completed"
    used = talk.provider(1, event, item_id="i", transcript="Hi", usage=usage)
    assert used is not None
    assert (used.model, used.tokens) == ("gpt-4o-transcribe", Tokens(input_text=3, input_audio=20, output_text=7))
    assert talk.record.tokens == Tokens()  # of responses only


def test_tokens_without_a_modality_count_as_text() -> None:
    talk = Talk()
    spoken_turn(talk, 0.5, usage={"input_tokens": 10, "output_tokens": 5, "input_token_details": {"cached_tokens": 4}})
    assert talk.record.tokens == Tokens(input_text=10, cached_text=4, output_text=5)


def test_a_text_turn_counts_from_the_request() -> None:
    talk = Talk()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Sum?"}]}
    talk.client(1.0, "conversation.item.create", item=item)
    talk.client(1.5, "response.create")
    assert talk.record.state == "thinking"
    talk.provider(1.6, "response.created", response={"id": "r"})
    talk.provider(1.75, "response.output_text.delta", delta="4")
    assert talk.record.state == "speaking"
    talk.provider(1.8, "response.output_text.done", text="42")
    talk.provider(1.9, "response.done", response={"id": "r", "status": "completed", "usage": USAGE})
    turn = talk.turn
    assert (turn.user, turn.assistant, turn.first_byte_ms, turn.first_audio_ms) == ("Sum?", "42", 250, None)
    assert talk.record.state == "idle"


def test_a_manual_turn_counts_from_the_commit_not_from_the_request() -> None:
    talk = Talk()
    talk.provider(0.1, "session.updated", session={"audio": {"input": {"turn_detection": None}}})
    talk.client(0.5, "input_audio_buffer.append", audio=PCM)
    assert talk.record.state == "listening"
    talk.client(1.0, "input_audio_buffer.commit")
    talk.client(1.1, "response.create")
    talk.provider(1.2, "input_audio_buffer.committed", item_id="u")
    talk.provider(1.2, "response.created", response={"id": "r"})
    talk.provider(1.4, "response.output_audio.delta", delta=PCM)
    assert talk.turn.first_audio_ms == 400
    assert len(talk.report().turns) == 1


def test_words_typed_while_an_answer_runs_belong_to_the_next_turn() -> None:
    talk = Talk()
    talk.provider(1, "response.created", response={"id": "r1"})
    item = {"role": "user", "content": [{"type": "input_text", "text": "And then?"}]}
    talk.client(1.5, "conversation.item.create", item=item)
    assert [turn.user for turn in talk.report().turns] == ["", "And then?"]


def test_a_barge_in_is_timed_and_counted_once() -> None:
    talk = Talk()
    talk.provider(1.0, "response.created", response={"id": "r"})
    talk.provider(1.1, "response.output_item.added", item={"id": "item_a"})
    talk.provider(1.2, "response.output_audio.delta", delta=PCM)
    talk.provider(2.0, "input_audio_buffer.speech_started", item_id="item_u")
    assert talk.record.state == "listening"
    details = {"type": "cancelled", "reason": "turn_detected"}
    cancelled = {"id": "r", "status": "cancelled", "status_details": details, "usage": USAGE}
    talk.provider(2.15, "response.done", response=cancelled)
    talk.client(2.2, "conversation.item.truncate", item_id="item_a", content_index=0, audio_end_ms=740)
    turn, next_turn = talk.report().turns
    assert (turn.ending, turn.reason, turn.interrupted, turn.cut_at_ms) == ("cancelled", "turn_detected", True, 740)
    assert turn.barge_in_ms == 150
    assert next_turn.ending == "open"
    assert talk.record.interruptions == 1
    assert talk.record.state == "listening"
    barge_in = talk.report().barge_in
    assert barge_in is not None
    assert (barge_in.count, barge_in.median_ms) == (1, 150)


def test_cutting_what_was_generated_long_ago_is_an_interruption_too() -> None:
    talk = Talk()
    spoken_turn(talk, 1.0)
    talk.client(3.5, "conversation.item.truncate", item_id="item_a1", audio_end_ms=120)
    assert (talk.turn.ending, talk.turn.interrupted, talk.record.interruptions) == ("completed", True, 1)


def test_a_client_that_cancels_is_timed_from_its_cancel() -> None:
    talk = Talk()
    talk.provider(1.0, "response.created", response={"id": "r"})
    talk.client(1.5, "response.cancel")
    done = {"id": "r", "status": "cancelled", "status_details": {"reason": "client_cancelled"}, "usage": None}
    talk.provider(1.6, "response.done", response=done)
    assert talk.turn.barge_in_ms == 100
    assert talk.turn.reason == "client_cancelled"


def test_talking_over_an_answer_that_goes_on_is_no_interruption() -> None:
    talk = Talk()
    talk.provider(1.0, "response.created", response={"id": "r"})
    talk.provider(1.1, "response.output_audio.delta", delta=PCM)
    talk.provider(1.2, "input_audio_buffer.speech_started", item_id="u")
    talk.provider(1.4, "input_audio_buffer.speech_stopped", item_id="u")
    assert talk.record.state == "speaking"
    talk.provider(2.0, "response.done", response={"id": "r", "status": "completed", "usage": USAGE})
    first, second = talk.report().turns
    assert (first.interrupted, first.barge_in_ms) == (False, None)
    assert second.ending == "open"
    assert talk.record.interruptions == 0


def test_a_call_whose_sound_takes_another_way_is_timed_by_its_playback() -> None:
    talk = Talk()
    talk.client(1.0, "response.create")
    talk.provider(1.1, "response.created", response={"id": "r"})
    talk.provider(1.3, "output_audio_buffer.started", response_id="r")
    assert talk.record.state == "speaking"
    talk.provider(1.4, "response.done", response={"id": "r", "status": "completed", "usage": USAGE})
    talk.provider(1.9, "output_audio_buffer.cleared", response_id="r")
    assert (talk.turn.first_audio_ms, talk.turn.interrupted, talk.record.interruptions) == (300, True, 1)


def test_words_that_come_while_only_an_aside_runs_are_none_of_its_own() -> None:
    talk = Talk()
    talk.provider(1.0, "response.created", response={"id": "aside", "conversation_id": None})
    talk.provider(1.1, "conversation.item.input_audio_transcription.completed", item_id="u", transcript="Hey")
    assert [(turn.user, turn.out_of_band) for turn in talk.report().turns] == [("", True), ("Hey", False)]


def test_function_calls_are_told_once_and_their_answer_is_another_turn() -> None:
    talk = Talk()
    call = {"type": "function_call", "name": "weather", "arguments": '{"city":"Oslo"}', "call_id": "c1"}
    talk.provider(1.0, "response.created", response={"id": "r1"})
    talk.provider(1.2, "response.function_call_arguments.delta", delta="{")
    talk.provider(1.3, "response.output_item.done", item=call)
    talk.provider(1.4, "response.done", response={"id": "r1", "status": "completed", "output": [call], "usage": USAGE})
    talk.client(2.0, "conversation.item.create", item={"type": "function_call_output", "call_id": "c1", "output": "3"})
    talk.client(2.0, "response.create")
    talk.provider(2.1, "response.created", response={"id": "r2"})
    talk.provider(2.5, "response.output_audio.delta", delta=PCM)
    called, answered = talk.report().turns
    (told,) = called.calls
    assert (told.name, told.arguments, told.length) == ("weather", '{"city":"Oslo"}', 15)
    assert (answered.user, answered.first_audio_ms) == ("", 500)
    assert talk.report().function_calls == 1


def test_what_only_the_end_of_a_response_tells_is_taken_from_there() -> None:
    talk = Talk()
    output = [
        {"type": "message", "content": [{"type": "output_audio", "transcript": "One"}, {"text": "two"}]},
        {"type": "function_call", "name": "stop", "arguments": "{}"},
    ]
    talk.provider(1.0, "response.created", response={"id": "r"})
    talk.provider(1.4, "response.done", response={"id": "r", "status": "incomplete", "output": output, "usage": USAGE})
    assert (talk.turn.assistant, talk.turn.ending) == ("One two", "incomplete")
    assert [call.name for call in talk.turn.calls] == ["stop"]


def test_a_response_beside_the_conversation_takes_no_words_of_the_user() -> None:
    talk = Talk()
    talk.provider(1.0, "input_audio_buffer.speech_started", item_id="u")
    talk.provider(1.5, "response.created", response={"id": "aside", "conversation_id": None})
    talk.provider(2.0, "input_audio_buffer.speech_stopped", item_id="u")
    talk.provider(2.1, "response.created", response={"id": "main", "conversation_id": "c"})
    talk.provider(2.2, "response.done", response={"id": "aside", "status": "completed", "usage": USAGE})
    talk.provider(2.3, "response.output_audio.delta", delta=PCM)
    talk.provider(2.4, "conversation.item.input_audio_transcription.completed", item_id="u", transcript="Hey")
    spoken, beside = talk.report().turns
    assert (spoken.user, spoken.first_audio_ms, spoken.out_of_band) == ("Hey", 300, False)
    assert (beside.user, beside.out_of_band, beside.ending) == ("", True, "completed")


def test_a_failed_response_is_an_error_with_its_code() -> None:
    talk = Talk()
    error = {"type": "server_error", "code": "insufficient_quota", "message": "No more."}
    talk.provider(1.0, "response.created", response={"id": "r"})
    failed = {"id": "r", "status": "failed", "status_details": {"type": "failed", "error": error}, "usage": None}
    talk.provider(1.4, "response.done", response=failed)
    assert (talk.turn.ending, talk.turn.reason) == ("failed", "insufficient_quota")
    (trouble,) = talk.report().errors
    assert (trouble.source, trouble.code, trouble.message) == ("provider", "insufficient_quota", "No more.")


@pytest.mark.parametrize(
    "secret", ["sk-proj-abcdefgh12345678", "ek_tl_0123456789abcdef", "tlk_0123456789", "AIzaSyA-0123456789abcdefgh"]
)
def test_an_error_shows_no_key_and_is_short(secret: str) -> None:
    talk = Talk()
    talk.provider(1, "error", error={"code": "x", "message": f"Incorrect API key provided: {secret}. " + "long " * 99})
    talk.record.failed("gateway_error", f"refused {secret}", 102.0)
    first, second = talk.report().errors
    assert "Incorrect API key provided: [redacted]" in first.message
    assert secret not in first.message + second.message
    assert len(first.message) <= 300
    assert (second.source, second.at_ms) == ("gateway", 2000)


def test_usage_that_is_never_stated_is_returned_for_an_estimate() -> None:
    talk = Talk()
    talk.provider(1.0, "response.created", response={"id": "r"})
    talk.provider(1.1, "response.output_audio.delta", delta=PCM)
    waiting = talk.record.unsettled_bytes
    assert waiting > len(PCM)
    talk.provider(1.2, "conversation.item.retrieved", item={"content": [{"audio": "A" * 10**6}]})
    assert talk.record.unsettled_bytes == waiting  # no part of the response
    used = talk.provider(1.4, "response.done", response={"id": "r", "status": "cancelled", "usage": None})
    assert used is not None
    assert (used.stated, used.frame_bytes, used.cost) == (False, waiting, waiting / 100)
    assert talk.record.unsettled_bytes == 0
    assert talk.report().cost.estimated == 1


def test_a_response_cut_by_the_end_is_incomplete_and_its_bytes_stay_unsettled() -> None:
    talk = Talk()
    spoken_turn(talk, 1)
    talk.provider(4.0, "response.created", response={"id": "r9"})
    talk.provider(4.1, "response.output_audio.delta", delta=PCM)
    waiting = talk.record.unsettled_bytes
    talk.record.closed("client", 1001, "gone", 104.5)
    talk.record.closed("provider", 1000, "", 104.6)
    report = talk.report()
    assert (report.turns[-1].ending, report.turns[-1].reason) == ("incomplete", "session_closed")
    assert report.unsettled_bytes == waiting > len(PCM)
    assert report.turns[-1].cost == waiting / 100
    assert report.close is not None
    assert (report.close.by, report.close.code, report.close.reason) == ("client", 1001, "gone")
    talk.provider(5, "response.created", response={"id": "late"})
    assert talk.record.state == "closed"


def test_a_lost_provider_ends_its_response_and_another_goes_on() -> None:
    talk = Talk()
    talk.provider(1.0, "response.created", response={"id": "r"})
    talk.provider(1.1, "response.output_audio.delta", delta=PCM)
    waiting = talk.record.unsettled_bytes
    talk.record.interrupted_by_loss(101.2)
    assert talk.record.state == "connecting"
    talk.record.resumed(101.9)
    assert talk.record.state == "idle"
    told_by_gateway = talk.provider(2.0, "response.done", response={"id": "r", "status": "failed", "usage": None})
    assert told_by_gateway is None  # it is over already
    spoken_turn(talk, 3.0, number=2)
    report = talk.report()
    assert (report.losses, report.resumes) == (1, 1)
    assert [(turn.ending, turn.reason) for turn in report.turns] == [
        ("incomplete", "connection_lost"),
        ("completed", ""),
    ]
    assert report.unsettled_bytes == waiting


def test_a_user_who_is_never_answered_is_told_so() -> None:
    talk = Talk()
    talk.provider(1, "input_audio_buffer.speech_started", item_id="u")
    talk.provider(2, "input_audio_buffer.speech_stopped", item_id="u")
    talk.provider(3, "conversation.item.input_audio_transcription.completed", item_id="u", transcript="Hello?")
    assert talk.turn.ending == "open"
    talk.record.closed("client", 1000, "", 110.0)
    assert (talk.turn.ending, talk.turn.user) == ("unanswered", "Hello?")


def test_in_a_session_that_only_transcribes_each_utterance_is_a_turn() -> None:
    talk = Talk()
    talk.provider(0.1, "session.created", session={"type": "transcription", "object": "realtime.transcription_session"})
    for number in (1, 2):
        item = f"u{number}"
        talk.provider(number, "input_audio_buffer.speech_started", item_id=item)
        talk.provider(number + 0.5, "input_audio_buffer.speech_stopped", item_id=item)
        talk.provider(number + 0.5, "input_audio_buffer.committed", item_id=item)
    event = "conversation.item.input_audio_transcription.completed"
    talk.provider(3.0, event, item_id="u1", transcript="One")
    talk.provider(3.1, event, item_id="u2", transcript="Two")
    assert [(t.user, t.ending, t.first_byte_ms) for t in talk.report().turns] == [
        ("One", "completed", 1500),
        ("Two", "completed", 600),
    ]


def test_the_retired_beta_is_read_as_well() -> None:
    talk = Talk()
    flat = {"model": "gpt-4o-realtime-preview", "voice": "alloy", "output_audio_format": "g711_ulaw"}
    talk.provider(0, "session.created", session={**flat, "input_audio_transcription": {"model": "whisper-1"}})
    talk.provider(1.0, "response.created", response={"id": "r"})
    talk.provider(1.1, "response.audio.delta", delta=PCM)
    talk.provider(1.2, "response.audio_transcript.done", transcript="Hi")
    report = talk.report()
    assert (report.voice, report.turns[0].assistant) == ("alloy", "Hi")
    assert [(sound.format, sound.seconds) for sound in report.spoken] == [("audio/pcmu", 0.6)]


def test_sound_is_counted_apart_for_each_format() -> None:
    talk = Talk()
    for kind, rate in (("audio/pcm", 24000), ("audio/pcmu", None), ("audio/pcm", 24000)):
        form = {"type": kind, "rate": rate}
        talk.provider(1, "session.updated", session={"audio": {"input": {"format": form}}})
        talk.client(1, "input_audio_buffer.append", audio=PCM)
    assert {(sound.format, sound.bytes, sound.seconds) for sound in talk.report().heard} == {
        ("audio/pcm;rate=24000", 9600, 0.2),
        ("audio/pcmu", 4800, 0.6),
    }


def test_traffic_is_exact_in_bytes_of_what_is_sent() -> None:
    talk = Talk()
    text = '{"type":"x","text":"Zürich"}'
    talk.record.client_said(Frame(text), 101.0)
    talk.record.client_said(b"\x00\x01\x02", 101.0)
    report = talk.report()
    assert (report.from_client.frames, report.from_client.bytes) == (2, len(text.encode()) + 3)
    assert report.from_provider.frames == 0


def test_a_session_of_any_length_keeps_its_last_turns_and_all_of_its_sums() -> None:
    talk = Talk()
    for number in range(TURNS_KEPT + 50):
        spoken_turn(talk, 3.0 * number, number)
    report = talk.report(1000.0)
    assert len(report.turns) == TURNS_KEPT
    assert report.turns[-1].index == TURNS_KEPT + 49
    assert (report.turn_count, report.turns_dropped) == (TURNS_KEPT + 50, 50)
    assert report.tokens.total == (TURNS_KEPT + 50) * 1100
    assert report.first_audio is not None
    assert report.first_audio.count == TURNS_KEPT + 50


def test_words_without_end_are_cut() -> None:
    talk = Talk()
    talk.provider(1.0, "response.created", response={"id": "r"})
    for _ in range(20):
        talk.provider(1.1, "response.output_audio_transcript.done", transcript="word " * 200)
    talk.provider(
        1.2, "response.output_item.done", item={"type": "function_call", "name": "f", "arguments": "x" * 9000}
    )
    assert len(talk.turn.assistant) == 4000
    assert (len(talk.turn.calls[0].arguments), talk.turn.calls[0].length) == (4000, 9000)


def test_without_a_price_there_is_no_cost_and_nothing_is_made_up() -> None:
    talk = Talk(price=priceless)
    used = spoken_turn(talk, 1.0)
    assert used is not None
    assert used.cost is None
    report = talk.report()
    assert (report.cost.total, report.cost.unpriced, report.turns[0].cost) == (None, 1, None)


def test_a_report_goes_through_json_and_back() -> None:
    talk = Talk()
    talk.provider(0.3, "session.created", session=SESSION)
    limit = {"name": "tokens", "limit": 100, "remaining": 7, "reset_seconds": 1.5}
    talk.provider(0.4, "rate_limits.updated", rate_limits=[limit])
    spoken_turn(talk, 1.0)
    talk.provider(4, "error", error={"code": "x", "message": "\ud800\0 odd"})
    talk.record.closed("client", 1000, "bye", 105.0)
    report = talk.report()
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    assert msgspec.convert(msgspec.to_builtins(report), Report) == report
    assert report.errors[0].message == "? odd"
    assert report.rate_limits[0].remaining == 7


def test_the_state_follows_the_talk() -> None:
    record = SessionRecord("openai", price=price)
    assert record.state == "connecting"
    talk = Talk()
    seen = [talk.record.state]
    talk.provider(1, "input_audio_buffer.speech_started", item_id="u")
    seen.append(talk.record.state)
    talk.provider(2, "input_audio_buffer.speech_stopped", item_id="u")
    talk.provider(2, "response.created", response={"id": "r"})
    seen.append(talk.record.state)
    talk.provider(2.1, "response.output_audio.delta", delta=PCM)
    seen.append(talk.record.state)
    talk.provider(3, "response.done", response={"id": "r", "status": "completed", "usage": USAGE})
    seen.append(talk.record.state)
    talk.record.closed("client", 1000, "", 104.0)
    seen.append(talk.record.state)
    assert seen == ["idle", "listening", "thinking", "speaking", "idle", "closed"]


# Sound


class _Unparsed(Frame):
    """A frame whose document nobody may ask for."""

    @property
    def document(self) -> dict[str, Any]:
        raise AssertionError(f"{self.text[:60]} was parsed")


@pytest.mark.parametrize(
    ("protocol", "side", "text"),
    [
        ("openai", "client", f'{{"type":"input_audio_buffer.append","audio":"{PCM}"}}'),
        ("openai", "client", f'{{"event_id": "e1", "type": "input_audio_buffer.append", "audio": "{PCM}"}}'),
        ("openai", "provider", f'{{"type":"response.output_audio.delta","response_id":"r","delta":"{PCM}"}}'),
        ("openai", "provider", f'{{"type":"response.audio.delta","delta":"{PCM}","content_index":0}}'),
        (
            "google",
            "client",
            f'{{"realtimeInput":{{"audio":{{"data":"{PCM}","mimeType":"audio/pcm;rate=16000"}}}}}}',
        ),
        (
            "google",
            "provider",
            '{"serverContent":{"modelTurn":{"parts":[{"inlineData":'
            f'{{"mimeType":"audio/pcm;rate=24000","data":"{PCM}"}}}}]}}}}}}\n',
        ),
        ("elevenlabs", "client", f'{{"user_audio_chunk":"{PCM}"}}'),
        ("elevenlabs", "provider", f'{{"audio_event":{{"audio_base_64":"{PCM}","event_id":5}},"type":"audio"}}'),
        ("cartesia", "provider", f'{{"type":"chunk","data":"{PCM}","done":false,"context_id":"c"}}'),
    ],
)
def test_sound_is_measured_without_parsing(protocol: Protocol, side: str, text: str) -> None:
    observer = observer_of(protocol)
    read = observer.client if side == "client" else observer.provider
    assert read(_Unparsed(text)) == 4800


@pytest.mark.parametrize("type", ["conversation.item.retrieved", "conversation.item.added", "conversation.item.done"])
def test_frames_that_may_hold_an_items_sound_are_not_parsed(type: str) -> None:
    observer_of("openai").provider(_Unparsed(f'{{"type":"{type}","item":{{}}}}'))


def test_a_large_item_of_the_clients_is_not_parsed() -> None:
    picture = "A" * 100_000
    observer_of("openai").client(_Unparsed(f'{{"type":"conversation.item.create","item":{{"image_url":"{picture}"}}}}'))


# Other protocols


def test_gemini_live() -> None:
    talk = Talk("google")
    voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Puck"}}}
    talk.client(0.1, setup={"model": "models/gemini-live-2.5-flash", "generationConfig": {"speechConfig": voice}})
    for piece in ("What ", "time?"):
        talk.provider(1.0, serverContent={"inputTranscription": {"text": piece}})
    sound = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": PCM}}
    frame = json.dumps({"serverContent": {"modelTurn": {"parts": [sound]}}})
    talk.record.provider_said(frame.encode(), 101.5)  # JSON in a binary frame
    assert talk.record.state == "speaking"
    for piece in ("It is", " noon."):
        talk.provider(1.6, serverContent={"outputTranscription": {"text": piece}})
    talk.provider(1.7, toolCall={"functionCalls": [{"name": "clock", "args": {"zone": "UTC"}, "id": "1"}]})
    assert talk.record.unsettled_bytes > 0
    talk.provider(2.0, serverContent={"turnComplete": True})
    used = talk.provider(
        2.1,
        usageMetadata={
            "promptTokenCount": 70,
            "responseTokenCount": 40,
            "thoughtsTokenCount": 5,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 20}, {"modality": "AUDIO", "tokenCount": 50}],
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}],
        },
    )
    assert used is not None
    assert used.tokens == Tokens(input_text=20, input_audio=50, output_text=5, output_audio=40)
    assert talk.record.unsettled_bytes == 0
    report = talk.report()
    (turn,) = report.turns
    assert (turn.user, turn.assistant, turn.ending) == ("What time?", "It is noon.", "completed")
    assert turn.tokens == used.tokens
    assert (turn.calls[0].name, turn.calls[0].arguments) == ("clock", '{"zone": "UTC"}')
    assert (report.model, report.voice) == ("gemini-live-2.5-flash", "Puck")
    assert report.spoken[0].seconds == 0.1


def test_an_interrupted_gemini_turn_is_cancelled_once() -> None:
    talk = Talk("google")
    talk.provider(1.0, serverContent={"outputTranscription": {"text": "I was"}})
    talk.provider(1.5, serverContent={"interrupted": True})
    talk.provider(1.6, serverContent={"turnComplete": True})
    (turn,) = talk.report().turns
    assert (turn.ending, turn.interrupted, talk.record.interruptions) == ("cancelled", True, 1)


def test_sound_beside_other_facts_in_one_gemini_frame_loses_none_of_them() -> None:
    talk = Talk("google")
    sound = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": PCM}}
    used = talk.provider(
        1, serverContent={"modelTurn": {"parts": [sound]}, "turnComplete": True}, usageMetadata={"promptTokenCount": 3}
    )
    assert used is not None
    assert used.tokens.input_text == 3
    assert talk.turn.ending == "completed"


def test_elevenlabs_agents() -> None:
    talk = Talk("elevenlabs")
    event = {"agent_output_audio_format": "pcm_16000", "user_input_audio_format": "ulaw_8000"}
    talk.provider(0.1, "conversation_initiation_metadata", conversation_initiation_metadata_event=event)
    talk.client(0.5, user_audio_chunk=PCM)
    talk.provider(1.0, "user_transcript", user_transcription_event={"user_transcript": "Hi"})
    talk.provider(1.2, audio_event={"audio_base_64": PCM, "event_id": 4}, type="audio")
    talk.provider(1.3, "agent_response", agent_response_event={"agent_response": "Hello, how are you?"})
    talk.provider(1.5, "interruption", interruption_event={"event_id": 4})
    talk.provider(1.6, audio_event={"audio_base_64": PCM, "event_id": 4}, type="audio")  # a straggler
    corrected = {"original_agent_response": "Hello, how are you?", "corrected_agent_response": "Hello,"}
    talk.provider(1.6, "agent_response_correction", agent_response_correction_event=corrected)
    call = {"tool_name": "hang_up", "tool_call_id": "1", "parameters": {}}
    talk.provider(2.0, "user_transcript", user_transcription_event={"user_transcript": "Bye"})
    talk.provider(2.1, "client_tool_call", client_tool_call=call)
    first, second = talk.report().turns
    assert (first.user, first.assistant, first.ending, first.first_audio_ms) == ("Hi", "Hello,", "cancelled", 200)
    assert (second.user, [call.name for call in second.calls]) == ("Bye", ["hang_up"])
    assert talk.report().spoken[0].seconds == 0.15
    assert talk.report().heard[0].seconds == 0.6
    assert talk.record.unsettled_bytes == 0  # nobody ever states usage there


def test_a_deepgram_agent() -> None:
    talk = Talk("deepgram")
    audio = {"input": {"encoding": "linear16", "sample_rate": 16000}, "output": {"encoding": "linear16"}}
    agent = {"think": {"provider": {"model": "gpt-4o-mini"}}, "speak": {"provider": {"model": "aura-2"}}}
    talk.client(0.1, "Settings", audio=audio, agent=agent)
    talk.record.client_said(bytes(3200), 100.5)
    talk.provider(1.0, "UserStartedSpeaking")
    assert talk.record.state == "listening"
    talk.provider(2.0, "ConversationText", role="user", content="Book a table")
    talk.provider(2.3, "FunctionCallRequest", functions=[{"name": "book", "arguments": "{}", "id": "1"}])
    talk.provider(2.5, "ConversationText", role="assistant", content="Done.")
    talk.record.provider_said(bytes(4800), 102.6)
    talk.provider(3.0, "UserStartedSpeaking")
    report = talk.report()
    turn = report.turns[0]
    assert (turn.user, turn.assistant, turn.ending, turn.first_audio_ms) == (
        "Book a table",
        "Done.",
        "cancelled",
        600,
    )
    assert (report.model, report.voice, report.heard[0].seconds) == ("gpt-4o-mini", "aura-2", 0.1)


def test_deepgram_listens() -> None:
    talk = Talk("deepgram")
    for at, text, final in ((1.0, "hello", False), (2.0, "world", True)):
        channel = {"alternatives": [{"transcript": text}]}
        talk.provider(at, "Results", channel=channel, is_final=True, speech_final=final)
    used = talk.provider(3.0, "Metadata", duration=12.5, models=["nova-3"])
    assert used is not None
    assert (used.kind, used.model, used.seconds) == ("transcription", "nova-3", 12.5)
    assert [(turn.user, turn.ending) for turn in talk.report().turns] == [("hello world", "completed")]


def test_cartesia_speaks_and_listens() -> None:
    talk = Talk("cartesia")
    form = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000}
    talk.client(1.0, model_id="sonic-3", transcript="Good day", voice={"id": "v1"}, context_id="c", output_format=form)
    talk.provider(1.2, "chunk", data=PCM, context_id="c", done=False)
    talk.provider(1.5, "done", context_id="c", done=True)
    talk.provider(2.0, "turn.start")
    talk.provider(3.0, "turn.end", transcript="Thank you")
    spoken, heard = talk.report().turns
    assert (spoken.user, spoken.ending, spoken.first_audio_ms) == ("Good day", "completed", 200)
    assert (heard.user, heard.ending) == ("Thank you", "completed")
    assert (talk.report().model, talk.report().spoken[0].seconds) == ("sonic-3", 0.1)


def test_of_an_unknown_protocol_only_frames_are_counted() -> None:
    talk = Talk("none")
    talk.provider(1, "response.created", response={"id": "r"})
    talk.record.provider_said(b"1234", 101.0)
    report = talk.report()
    assert (report.turns, report.from_provider.frames) == ((), 2)


# Nothing that a stranger says makes it raise

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_TYPES = (
    *_READERS,
    *("response.output_audio.delta", "response.audio.delta", "response.output_text.delta", "input_audio_buffer.append"),
    *("response.create", "response.cancel", "input_audio_buffer.commit", "conversation.item.create", "session.update"),
    *("conversation.item.truncate", "audio", "user_transcript", "agent_response", "agent_response_correction"),
    *("interruption", "client_tool_call", "conversation_initiation_metadata", "user_message", "error"),
    *("Settings", "Speak", "Clear", "ConversationText", "UserStartedSpeaking", "AgentAudioDone", "FunctionCallRequest"),
    *("Results", "UtteranceEnd", "TurnInfo", "Metadata", "Error", "chunk", "done", "transcript", "turn.end"),
)
_MEMBERS = (
    *(
        "session",
        "response",
        "item",
        "item_id",
        "delta",
        "audio",
        "transcript",
        "usage",
        "error",
        "rate_limits",
        "text",
    ),
    *(
        "status",
        "status_details",
        "output",
        "content",
        "id",
        "conversation_id",
        "input_token_details",
        "voice",
        "format",
    ),
    *("setup", "clientContent", "realtimeInput", "serverContent", "toolCall", "usageMetadata", "modelTurn", "parts"),
    *("inlineData", "inputTranscription", "promptTokensDetails", "functionCalls", "interrupted", "turnComplete"),
    *("audio_event", "event_id", "user_audio_chunk", "interruption_event", "user_transcription_event", "parameters"),
    *(
        "agent",
        "functions",
        "channel",
        "alternatives",
        "is_final",
        "duration",
        "models",
        "role",
        "cancel",
        "context_id",
    ),
)
_shaped = st.recursive(
    _json,
    lambda inner: st.dictionaries(st.sampled_from(_MEMBERS), inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=10,
)
_frames = st.tuples(
    st.booleans(), st.sampled_from(_TYPES), st.dictionaries(st.sampled_from(_MEMBERS), _shaped, max_size=5)
)


# To think of odd frames takes much longer than to read them: what one protocol is told, all are.
@given(frames=st.lists(_frames, max_size=8), typed=st.booleans())
def test_odd_frames_raise_nothing_and_leave_a_report_that_can_be_kept(
    frames: list[tuple[bool, str, dict[str, Any]]], typed: bool
) -> None:
    texts = [
        (by_client, json.dumps({**({"type": kind} if typed else {}), **members})) for by_client, kind, members in frames
    ]
    for protocol in get_args(Protocol):
        note(protocol)
        record = SessionRecord(protocol, price=price)
        for by_client, text in texts:
            said = Frame(text) if typed else text.encode()
            if by_client:
                record.client_said(said, 1.0)
            else:
                record.provider_said(said, 1.0)
        record.closed("provider", 1006, "", 2.0)
        report = record.report(3.0)
        assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
        assert report.from_client.frames + report.from_provider.frames == len(frames)


@pytest.mark.parametrize("protocol", get_args(Protocol))
@given(text=st.text(max_size=200), data=st.binary(max_size=200))
def test_what_is_no_json_raises_nothing(protocol: Protocol, text: str, data: bytes) -> None:
    record = SessionRecord(protocol, price=price)
    for said in (Frame(text), data, Frame('{"serverContent":{"modelTurn":{"parts":[{"inlineData":' + text)):
        record.client_said(said, 1.0)
        record.provider_said(said, 1.0)
    record.report(2.0)


@settings(max_examples=300)
@given(value=_shaped)
def test_any_member_of_an_openai_event_may_be_anything(value: Any) -> None:
    members = json.dumps(dict.fromkeys(_MEMBERS, value))[1:]
    for kind in (*_READERS, "conversation.item.create"):
        note(kind)
        record = SessionRecord("openai", price=price)
        said = f'{{"type": "{kind}", {members}'
        record.provider_said(Frame(said), 1.0)
        record.client_said(Frame(said), 1.0)
        msgspec.json.encode(record.report(2.0))
