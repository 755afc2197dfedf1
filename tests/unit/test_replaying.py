"""What is said again of a recorded session, when, and with which ids: events in, frames out. No clock runs here."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from trunkline.realtime.recording import Speaker
from trunkline.realtime.replaying import GRACE, PATIENCE, Heard, Replay

PCM = {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}}
FOREVER = 1e9


def client(at: float, type: str, **more: Any) -> Heard:
    return Heard("client", json.dumps({"type": type, **more}), at)


def server(at: float, type: str, **more: Any) -> Heard:
    return Heard("provider", json.dumps({"type": type, **more}), at)


def created(at: float) -> Heard:
    return server(at, "session.created", session=PCM)


def response(at: float, id: str, status: str = "") -> Heard:
    told = {"id": id, "conversation_id": "conv_1", "status": status}
    return server(at, "response.done" if status else "response.created", response=told)


def output(at: float, item: str, *, done: bool = False, **more: Any) -> Heard:
    told = {"id": item, "type": "message", "role": "assistant", **more}
    return server(at, f"response.output_item.{'done' if done else 'added'}", item=told)


def call(at: float, item: str, id: str, name: str = "weather", *, done: bool = True) -> Heard:
    told = {"id": item, "type": "function_call", "name": name, "call_id": id}
    return server(at, f"response.output_item.{'done' if done else 'added'}", item=told)


def spoken(at: float, item: str, ms: int) -> Heard:
    return server(at, "response.output_audio.delta", item_id=item, delta=base64.b64encode(bytes(48 * ms)).decode())


def result(at: float, id: str) -> Heard:
    return client(at, "conversation.item.create", item={"type": "function_call_output", "call_id": id, "output": "1"})


class Run:
    """The planner, and the new server's frames at their times: `said` is what went out, and when."""

    def __init__(self, recorded: Sequence[Heard], *, speed: float = 1.0) -> None:
        self.replay = Replay(recorded, "openai", speed=speed)
        self.replay.connected(0.0)
        self.said: list[tuple[float, dict[str, Any]]] = []

    def until(self, now: float) -> None:
        """Let time pass, as the shell does: never further than the next moment at which something is due."""
        while (wake := self.replay.wake()) <= now and not self.replay.is_over(wake):
            before = len(self.said)
            self._take(wake)
            if len(self.said) == before and self.replay.wake() <= wake:
                break
        self._take(now)

    def hears(self, *events: Heard) -> Run:
        for event in events:
            self.until(event.at)
            self.replay.heard(event.said, event.at)
        return self

    def types(self) -> list[tuple[float, str]]:
        return [(round(at, 3), event["type"]) for at, event in self.said]

    def _take(self, now: float) -> None:
        for frame in self.replay.due(now):
            assert isinstance(frame, str)
            self.said.append((now, json.loads(frame)))


# Timing


def test_sound_is_sent_at_its_recorded_times_counted_from_the_servers_first_word() -> None:
    chunks = [client(at, "input_audio_buffer.append", audio="AAAA") for at in (1.0, 1.1, 1.2)]
    run = Run([created(0.5), *chunks]).hears(created(2.0))
    run.until(5.0)
    assert run.types() == [(at, "input_audio_buffer.append") for at in (2.5, 2.6, 2.7)]


def test_a_client_that_did_not_wait_for_the_server_does_not_wait_now() -> None:
    run = Run([client(0.4, "response.create"), created(0.5)])
    run.until(0.0)
    assert run.types() == [(0.0, "response.create")]


def test_speed_shortens_every_pause() -> None:
    chunks = [client(at, "input_audio_buffer.append", audio="AAAA") for at in (1.0, 3.0)]
    run = Run([created(0.0), *chunks], speed=2.0).hears(created(0.0))
    run.until(5.0)
    assert run.types() == [(at, "input_audio_buffer.append") for at in (0.5, 1.5)]


def test_sound_does_not_wait_for_an_answer_that_is_late() -> None:
    recorded = [created(0.0), response(1.0, "r"), call(1.5, "i", "c"), result(2.0, "c")]
    recorded += [client(3.0, "input_audio_buffer.append", audio="AAAA")]
    run = Run(recorded).hears(created(0.0), response(4.0, "R"), call(4.5, "I", "C"))
    run.until(6.0)
    assert run.types() == [(3.0, "input_audio_buffer.append"), (5.0, "conversation.item.create")]


def test_the_next_turn_of_a_text_client_waits_for_the_answer_before_it() -> None:
    recorded = [created(0.0), client(0.1, "response.create"), response(0.2, "r"), response(1.0, "r", "completed")]
    recorded += [client(2.0, "response.create")]
    slow = Run(recorded).hears(created(0.0), response(0.3, "R"), response(5.0, "R", "completed"))
    slow.until(9.0)
    assert slow.types() == [(0.1, "response.create"), (6.0, "response.create")]
    fast = Run(recorded).hears(created(0.0), response(0.3, "R"), response(0.4, "R", "completed"))
    fast.until(9.0)
    assert fast.types() == [(0.1, "response.create"), (2.0, "response.create")]


def test_a_turn_whose_answer_before_never_ends_is_taken_in_the_end() -> None:
    recorded = [created(0.0), response(0.2, "r"), response(1.0, "r", "completed"), client(2.0, "response.create")]
    run = Run(recorded).hears(created(0.0))
    run.until(30.0)
    assert run.types() == [(2.0 + PATIENCE, "response.create")]


# Ids


def test_a_result_goes_to_the_call_of_this_run_and_takes_as_long_as_it_took() -> None:
    recorded = [created(0.0), response(1.0, "r"), call(1.5, "i", "call_old"), result(2.5, "call_old")]
    recorded += [client(2.6, "response.create")]
    run = Run(recorded).hears(created(0.0), response(3.0, "R"), call(3.2, "I", "call_new"))
    run.until(5.0)
    assert run.types() == [(4.2, "conversation.item.create"), (4.3, "response.create")]
    assert run.said[0][1]["item"]["call_id"] == "call_new"


def test_results_find_their_calls_by_name_in_whatever_order_the_model_makes_them() -> None:
    recorded = [created(0.0), call(1.0, "i1", "c1", "weather"), call(1.1, "i2", "c2", "time")]
    recorded += [result(2.0, "c1"), result(2.1, "c2")]
    run = Run(recorded).hears(created(0.0), call(1.0, "I1", "TIME", "time"), call(1.1, "I2", "WEATHER", "weather"))
    run.until(5.0)
    assert [event["item"]["call_id"] for _, event in run.said] == ["WEATHER", "TIME"]


def test_a_call_that_is_only_begun_has_no_result_yet() -> None:
    recorded = [created(0.0), call(1.0, "i", "c"), result(1.0, "c")]
    run = Run(recorded).hears(created(0.0), call(1.0, "I", "C", done=False))
    run.until(3.0)
    assert run.said == []
    run.hears(call(3.5, "I", "C"))
    run.until(3.5)
    assert run.types() == [(3.5, "conversation.item.create")]


def test_a_call_that_is_not_made_gets_no_result_and_no_answer_is_asked_for() -> None:
    recorded = [created(0.0), response(0.5, "r"), call(1.0, "i", "c"), response(1.1, "r", "completed")]
    recorded += [result(2.0, "c"), client(2.1, "response.create"), client(9.0, "session.update", session={})]
    run = Run(recorded).hears(created(0.0), response(0.5, "R"), response(1.1, "R", "completed"))
    run.until(40.0)
    assert [kind for _, kind in run.types()] == ["session.update"]
    assert [(one.type, one.at_ms) for one in run.replay.omitted] == [
        ("conversation.item.create", 2000.0),
        ("response.create", 2100.0),
    ]
    assert "weather" in run.replay.omitted[0].why


def test_a_clients_own_ids_stay() -> None:
    item = {"id": "mine", "type": "message", "role": "user", "content": []}
    recorded = [created(0.0), client(0.1, "conversation.item.create", item=item)]
    recorded += [server(0.2, "conversation.item.added", item=item)]
    recorded += [client(0.3, "conversation.item.delete", item_id="mine")]
    run = Run(recorded).hears(created(0.0), server(0.2, "conversation.item.added", item=item))
    run.until(1.0)
    assert run.said[1][1]["item_id"] == "mine"


def test_items_of_one_kind_are_matched_in_order_and_others_do_not_count() -> None:
    heard = "input_audio_buffer.speech_started"
    recorded = [created(0.0), server(0.5, heard, item_id="u1"), output(1.0, "a1"), output(2.0, "a2")]
    recorded += [client(3.0, "conversation.item.retrieve", item_id="a2")]
    new = [created(0.0), server(0.5, heard, item_id="U1"), server(0.6, heard, item_id="U2")]
    run = Run(recorded).hears(*new, output(1.0, "A1"), output(4.0, "A2"))
    run.until(6.0)
    assert [(at, event["item_id"]) for at, event in run.said] == [(5.0, "A2")]


def test_what_stands_elsewhere_in_a_frame_is_renamed_too() -> None:
    recorded = [created(0.0), output(1.0, "a", type="mcp_approval_request")]
    approval = {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True}
    recorded += [client(2.0, "conversation.item.create", item=approval, previous_item_id="a")]
    run = Run(recorded).hears(created(0.0), output(3.0, "A", type="mcp_approval_request"))
    run.until(5.0)
    assert [(at, event["previous_item_id"], event["item"]["approval_request_id"]) for at, event in run.said] == [
        (4.0, "A", "A")
    ]


# Interruptions


def interrupted() -> list[Heard]:
    answer = [response(1.0, "r"), output(1.1, "a"), spoken(1.2, "a", 2000)]
    cut = {"item_id": "a", "content_index": 0, "audio_end_ms": 1500}
    return [created(0.0), *answer, client(2.7, "conversation.item.truncate", **cut)]


def test_a_truncation_follows_the_sound_it_is_about() -> None:
    run = Run(interrupted()).hears(created(0.0), response(3.0, "R"), output(3.1, "A"), spoken(3.2, "A", 2000))
    run.until(6.0)
    assert [(round(at, 3), event["item_id"], event["audio_end_ms"]) for at, event in run.said] == [(4.7, "A", 1500)]


def test_nothing_is_truncated_behind_the_end_of_the_sound_there_is() -> None:
    run = Run(interrupted()).hears(created(0.0), response(3.0, "R"), output(3.1, "A"), spoken(3.2, "A", 500))
    run.until(6.0)
    assert run.said[0][1]["audio_end_ms"] == 500


def test_a_truncation_by_voice_follows_the_voice() -> None:
    recorded = interrupted()
    recorded.insert(-1, server(2.5, "input_audio_buffer.speech_started", item_id="u"))
    new = [created(0.0), response(0.5, "R"), output(0.6, "A"), spoken(0.7, "A", 4000)]
    run = Run(recorded).hears(*new, server(3.5, "input_audio_buffer.speech_started", item_id="U"))
    run.until(6.0)
    assert run.types() == [(3.7, "conversation.item.truncate")]


@pytest.mark.parametrize("named", [{"response_id": "r"}, {}])
def test_a_response_is_cancelled_as_long_after_its_beginning_as_before(named: dict[str, str]) -> None:
    recorded = [created(0.0), response(1.0, "r"), client(1.5, "response.cancel", **named)]
    run = Run(recorded).hears(created(0.0), response(4.0, "R"))
    run.until(6.0)
    assert run.types() == [(4.5, "response.cancel")]
    assert run.said[0][1].get("response_id") == ("R" if named else None)


def test_a_response_that_was_quicker_is_not_cancelled() -> None:
    recorded = [created(0.0), response(1.0, "r"), client(1.5, "response.cancel")]
    run = Run(recorded).hears(created(0.0), response(1.0, "R"), response(1.2, "R", "completed"))
    run.until(6.0)
    assert run.said == []
    assert [one.type for one in run.replay.omitted] == ["response.cancel"]


# The end


def test_a_run_ends_when_all_is_said_and_answered_and_a_moment_has_passed() -> None:
    recorded = [created(0.0), client(1.0, "response.create"), response(1.1, "r"), response(2.0, "r", "completed")]
    run = Run(recorded).hears(created(0.0), response(1.1, "R"))
    assert not run.replay.is_over(1.1 + GRACE)
    run.hears(response(5.0, "R", "completed"))
    assert not run.replay.is_over(5.0)
    assert run.replay.is_over(5.0 + GRACE)


def test_a_run_waits_for_an_answer_that_was_given_before_but_not_for_ever() -> None:
    recorded = [created(0.0), client(1.0, "response.create"), response(1.1, "r"), response(2.0, "r", "completed")]
    run = Run(recorded).hears(created(0.0))
    run.until(2.0)
    assert not run.replay.is_over(2.0 + GRACE)
    assert run.replay.is_over(2.0 + PATIENCE)


def test_a_run_whose_answer_never_ends_ends_all_the_same() -> None:
    recorded = [created(0.0), client(1.0, "response.create"), response(1.1, "r"), response(2.0, "r", "completed")]
    run = Run(recorded).hears(created(0.0), response(1.1, "R"))
    assert run.replay.is_over(FOREVER)


def test_frames_of_other_protocols_go_out_as_they_were_at_their_times() -> None:
    recorded = [Heard("provider", "{}", 0.0), Heard("client", b"\x00\x01", 1.0), Heard("client", '{"a":1}', 2.0)]
    replay = Replay(recorded, "deepgram")
    replay.connected(10.0)
    assert list(replay.due(10.0)) == [b"\x00\x01"]
    assert list(replay.due(10.9)) == []
    assert list(replay.due(11.0)) == ['{"a":1}']
    assert replay.is_over(11.0 + GRACE)


def test_a_frame_that_held_nothing_but_a_credential_is_not_sent() -> None:
    run = Run([created(0.0), Heard("client", "[redacted]", 1.0)]).hears(created(0.0))
    run.until(2.0)
    assert run.said == []
    assert len(run.replay.omitted) == 1


@pytest.mark.parametrize("said", ["", "[]", "null", '{"type":7}', '{"type":"response.done","response":[]}', "{" * 5000])
@pytest.mark.parametrize("side", ["client", "provider"])
def test_nothing_that_may_be_in_a_recording_breaks_the_plan(side: Speaker, said: str) -> None:
    replay = Replay([created(0.0), Heard(side, said, 1.0)], "openai")
    replay.connected(0.0)
    replay.heard(str(created(0.0).said), 0.0)
    replay.heard(said, 0.5)
    assert list(replay.due(2.0)) == ([said] if side == "client" else [])
