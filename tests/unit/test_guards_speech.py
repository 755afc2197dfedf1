"""How a response is ended in the middle, and what is said in a session, as transcripts of frames."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trunkline.realtime.frames import Frame
from trunkline.realtime.speech import ResponseStopper, SpeechReader, Spoken


def frame(kind: str, **members: Any) -> Frame:
    return Frame(json.dumps({"type": kind, **members}))


def begun(stopper: ResponseStopper, response: str = "r1") -> list[dict[str, Any]]:
    return [json.loads(order) for order in stopper.listen(frame("response.created", response={"id": response}))]


def test_of_a_stopped_response_nothing_passes_but_its_end_which_is_emptied() -> None:
    stopper = ResponseStopper()
    assert begun(stopper) == []
    (order,) = map(json.loads, stopper.stop("r1"))
    assert (order["type"], order["response_id"]) == ("response.cancel", "r1")
    late = [
        frame("response.output_audio.delta", response_id="r1", item_id="i1", delta="AAAA"),
        frame("response.output_item.done", response_id="r1", item={"id": "i1", "content": [{"transcript": "words"}]}),
        frame("conversation.item.done", item={"id": "i1", "content": [{"transcript": "words"}]}),
    ]
    assert [stopper.passed(one) for one in late] == [None, None, None]
    other = frame("response.output_audio.delta", response_id="r2", item_id="i2", delta="AAAA")
    assert stopper.passed(other) is other
    usage = {"total_tokens": 7}
    output = [{"id": "i1", "content": [{"transcript": "words"}]}]
    ended = stopper.passed(
        frame(
            "response.done",
            event_id="e",
            response={"id": "r1", "status": "completed", "output": output, "usage": usage},
        )
    )
    assert ended is not None
    assert "words" not in ended.text
    assert ended.document["response"]["status"] == "cancelled"
    assert ended.document["response"]["usage"] == usage
    assert ended.document["event_id"] == "e"


def test_a_response_that_is_over_is_not_stopped_and_one_that_nobody_stopped_passes_untouched() -> None:
    stopper = ResponseStopper()
    begun(stopper)
    done = frame("response.done", response={"id": "r1", "output": [{"id": "i1"}]})
    assert stopper.passed(done) is done
    assert stopper.stop("r1") == []


def test_the_answer_to_what_was_said_is_stopped_when_it_begins_unless_something_else_was_said() -> None:
    stopper = ResponseStopper()
    (forget,) = map(json.loads, stopper.stop_answer_to("item_1"))
    assert (forget["type"], forget["item_id"]) == ("conversation.item.delete", "item_1")
    assert [order["type"] for order in begun(stopper)] == ["response.cancel"]
    assert begun(stopper, "r2") == []
    stopper.stop_answer_to("item_2")
    stopper.passed(frame("response.done", response={"id": "r2"}))
    stopper.stop_answer_to("item_3")
    stopper.listen(frame("input_audio_buffer.speech_started", item_id="item_4"))
    assert begun(stopper, "r3") == []


def test_what_the_provider_complains_of_the_gateways_own_orders_is_not_the_clients_to_hear() -> None:
    stopper = ResponseStopper()
    begun(stopper)
    (order,) = map(json.loads, stopper.stop("r1"))
    assert stopper.passed(frame("error", error={"code": "x", "event_id": order["event_id"]})) is None
    theirs = frame("error", error={"code": "x", "event_id": "event_of_the_client"})
    assert stopper.passed(theirs) is theirs


@pytest.mark.parametrize(
    ("said", "spoken"),
    [
        (
            frame("response.output_text.delta", response_id="r", item_id="i", content_index=0, delta="hi"),
            [Spoken("assistant", "hi", "r", piece=True, place="i/0")],
        ),
        (
            frame("conversation.item.input_audio_transcription.completed", item_id="i", transcript="hello"),
            [Spoken("user", "hello", "i")],
        ),
        (frame("response.done", response={"id": "r"}), [Spoken("assistant", "", "r", is_over=True)]),
        (frame("response.output_audio.delta", response_id="r", delta="AAAA"), []),
        (Frame("no json"), []),
        (
            Frame('{"type": "response.output_text.delta", "delta": 7}'),
            [Spoken("assistant", "", piece=True, place="/0")],
        ),
    ],
)
def test_what_is_said_is_read_from_openais_frames(said: Frame, spoken: list[Spoken]) -> None:
    assert SpeechReader("openai").provider(said) == spoken


def test_what_is_said_is_read_from_other_protocols_too() -> None:
    reader = SpeechReader("google")
    heard = reader.provider(b'{"serverContent": {"outputTranscription": {"text": "hi"}, "turnComplete": true}}')
    assert [(one.by, one.text, one.is_over) for one in heard] == [("assistant", "hi", False), ("assistant", "", True)]
    typed = reader.client(Frame('{"realtimeInput": {"text": "hello"}}'))
    assert [(one.by, one.text) for one in typed] == [("user", "hello")]
    assert SpeechReader("none").provider(b"\x00\x01") == []
