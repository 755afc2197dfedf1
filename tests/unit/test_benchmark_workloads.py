"""What is asked and answered in the benchmark: well-formed, of the sizes that are promised, and told apart."""

from __future__ import annotations

import json
import re

import pytest

from trunkline.benchmark.orders import Latency
from trunkline.benchmark.upstream import _CHUNKS
from trunkline.benchmark.workloads import (
    ANSWER_MARK,
    CHUNK_MARK,
    CHUNKS,
    DEFAULT_WORKLOADS,
    MARK,
    NUMBER_PLACE,
    Kind,
    answer,
    chunk,
    heard,
    question,
    spoken,
    workload,
)
from trunkline.errors import SettingsError


@pytest.mark.parametrize(
    ("kind", "size"), [(Kind.CHAT, 1024), (Kind.SSE, 1024), (Kind.LARGE, 2**20), (Kind.CACHE, 1024)]
)
def test_a_question_is_json_of_its_size_and_carries_its_number(kind: Kind, size: int) -> None:
    body = question(kind, "a-model", {"cache": {"use-cache": True}}).filled(1234567)
    asked = json.loads(body)
    assert abs(len(body) - size) < 4
    assert asked["model"] == "a-model"
    assert asked["cache"] == {"use-cache": True}
    assert asked.get("stream", False) is (kind is Kind.SSE)
    found = MARK.search(body)
    assert found is not None
    assert found[2] == b"1234567"


def test_an_answer_is_json_of_700_bytes_with_usage_and_both_marks() -> None:
    before, between, after = answer()
    body = before + b"x0000042" + between + b"00001024" + after
    said = json.loads(body)
    assert abs(len(body) - 700) < 4
    assert said["usage"]["total_tokens"] == 300
    found = ANSWER_MARK.search(body)
    assert found is not None
    assert found.groups() == (b"x0000042", b"00001024")


def test_a_stream_has_200_events_with_marks_in_order_then_usage_and_done() -> None:
    parts = [chunk(index) for index in range(CHUNKS)]
    whole = b"".join(
        before + (b"0000007" + between + b"%016d" % place + after if between else b"")
        for place, (before, between, after) in enumerate(parts)
    )
    *events, done, rest = whole.decode().split("\n\n")
    assert len(events) == CHUNKS
    assert (done, rest) == ("data: [DONE]", "")
    said = [json.loads(event.removeprefix("data: ")) for event in events]
    assert said[-1]["usage"]["completion_tokens"] == 100
    assert said[-2]["choices"][0]["finish_reason"] == "stop"
    marks = CHUNK_MARK.findall(whole)
    assert [int(index) for _, index, _ in marks] == list(range(CHUNKS - 1))
    assert {number for number, _, _ in marks} == {b"0000007"}


def test_every_chunk_of_the_upstream_says_its_size_as_http_wants_it() -> None:
    for index, (before, between, after) in enumerate(_CHUNKS):
        size, _, start = before.partition(b"\r\n")
        event = start + (b"0000007" + between + b"0" * 16 if between else b"") + after
        body, _, end = event.partition(b"\r\n")
        assert int(size, 16) == len(body), index
        assert end == (b"0\r\n\r\n" if index == CHUNKS - 1 else b"")


@pytest.mark.parametrize(
    ("frame", "type"), [(spoken(), "input_audio_buffer.append"), (heard(), "response.output_audio.delta")]
)
def test_a_frame_is_json_and_its_number_stands_where_it_is_looked_for(frame: object, type: str) -> None:
    payload = frame.filled(76543)  # type: ignore[attr-defined]
    assert json.loads(payload)["type"] == type
    assert payload[NUMBER_PLACE] == b"0076543"


def test_workloads_are_named_with_their_connections() -> None:
    assert [workload(name).name for name in DEFAULT_WORKLOADS] == list(DEFAULT_WORKLOADS)
    assert workload("chat-8").name == "chat-8"
    assert workload("chat-32").name == "chat"
    assert workload("realtime-2").connections == 2


@pytest.mark.parametrize("name", ["", "chats", "chat-", "chat-0", "chat-x", "realtime-1001", "sse-٣"])
def test_a_workload_that_is_none_is_told(name: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(repr(name))):
        workload(name)


def test_a_latency_is_that_of_half_of_99_and_of_999() -> None:
    assert Latency.of([]) is None
    assert Latency.of([0.001]) == Latency(1000.0, 1000.0, 1000.0)
    assert Latency.of([place / 1e6 for place in range(1001)]) == Latency(500.0, 990.0, 999.0)
