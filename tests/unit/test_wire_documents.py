"""What strangers wrote and cannot be read: no UTF-8, half a character, nesting without end."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trunkline.credentials.redaction import REDACTED, redact_query
from trunkline.errors import MalformedRequest, SettingsError
from trunkline.local.realtime.events import decode, event_id_of
from trunkline.local.realtime.mistakes import ClientMistake
from trunkline.policy.control import ControlRules
from trunkline.policy.logging import LoggingRules
from trunkline.policy.registry import GatewayRules
from trunkline.policy.routes import parse_route
from trunkline.policy.routing import matches, simulated_facts
from trunkline.providers.catalogue import custom_provider
from trunkline.realtime.recording import Recording, read_line
from trunkline.realtime.replaying import Heard, Replay
from trunkline.server.client_secrets import Surface
from trunkline.server.client_secrets import _read as read_secret_request
from trunkline.server.direct import _words as words_of_a_refusal
from trunkline.server.voice.brain import _complaint
from trunkline.store.log_filter import LogFilter, clauses_of
from trunkline.store.transfer_files import Exported, Header
from trunkline.wire.documents import UNREADABLE, converted, json_text

HALF = "a\ud800b"
NO_UTF8 = b'{"a": "\xff", "error": {"message": "\xff"}}'
NESTED = '{"type": "session.update", "session": ' + "[" * 5000 + "]" * 5000 + "}"


@pytest.mark.parametrize("data", [b"{", NO_UTF8, NESTED.encode(), b'"\\ud800"'])
def test_whatever_cannot_be_decoded_raises_one_of_three(data: bytes) -> None:
    with pytest.raises(UNREADABLE):
        msgspec.json.decode(data)


def test_no_reader_forgets_that_bytes_may_be_no_utf8() -> None:
    """A handler that names msgspec's errors alone lets `UnicodeDecodeError` through."""
    root = Path(__file__).parents[2] / "src" / "trunkline"
    # Texts, which were decoded before, and a reader whose `ValueError` the other one is.
    others = {"socket.py", "universal.py", "recording.py", "conversation_imports.py"}
    found = [
        path.name
        for path in root.rglob("*.py")
        if re.search(r"except \(?msgspec\.(MsgspecError|DecodeError)", path.read_text("utf-8"))
    ]
    assert set(found) <= others


def test_json_is_written_as_it_reads_and_half_a_character_as_it_came() -> None:
    assert json_text({"a": "ü"}) == '{"a": "ü"}'
    assert json_text({"a": HALF, "b": "ü"}) == '{"a": "a\\ud800b", "b": "\\u00fc"}'


@pytest.mark.parametrize(
    "change",
    [
        lambda: parse_route([{"id": HALF, "type": "end"}]),
        lambda: parse_route([HALF]),  # type: ignore[list-item]
        lambda: ControlRules().changed(
            {"guards": [{"id": "s", "check": "topics", "options": {"topics": {"a": [HALF]}}}]}
        ),
        lambda: ControlRules().changed({"limits": HALF}),
        lambda: LoggingRules().changed({"strategy": HALF}),
        lambda: custom_provider("custom-mine", {"name": HALF, "base_url": "https://a.example"}, frozenset()),
    ],
)
def test_what_is_set_up_with_half_a_character_is_refused(change: Callable[[], Any]) -> None:
    with pytest.raises(SettingsError, match="whole characters"):
        change()


def test_what_is_set_up_with_depth_without_end_is_refused() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(msgspec.ValidationError, match="nested too deeply"):
        converted({"id": "g", "allowed_origins": deep}, GatewayRules)


@pytest.mark.parametrize("surface", Surface)
@pytest.mark.parametrize("body", [NO_UTF8, NESTED.encode(), b"["])
def test_a_request_for_a_client_secret_that_cannot_be_read_is_refused(surface: Surface, body: bytes) -> None:
    with pytest.raises(MalformedRequest, match="cannot be read"):
        read_secret_request(surface, body)


class Answer:
    """A provider's answer to a question of the voice worker's."""

    status = 500

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield NO_UTF8


def test_a_providers_refusal_that_cannot_be_read_is_told_all_the_same() -> None:
    answer: Any = Answer()
    assert asyncio.run(_complaint(answer)).endswith("answered 500: it gave no reason that could be read")
    assert words_of_a_refusal(NO_UTF8) == ""


def test_a_frame_of_depth_without_end_is_a_mistake_of_its_client() -> None:
    with pytest.raises(ClientMistake):
        decode(NESTED)
    assert event_id_of(NESTED) is None


def test_a_frame_with_a_credential_and_half_a_character_is_recorded() -> None:
    said = {
        "type": "session.update",
        "session": {"instructions": HALF, "tools": [{"authorization": "hunter2 hunter2"}]},
    }
    line = read_line(Recording("openai").client(json.dumps(said), 1.0).line)
    kept = json.loads(str(line.frame()))
    assert kept["session"] == {"instructions": HALF, "tools": [{"authorization": REDACTED}]}


def test_an_address_with_half_a_character_loses_its_key() -> None:
    said = {"type": "x", "url": f"https://a.example/?key=0123456789abcdef&q={HALF}"}
    line = read_line(Recording("openai").client(json.dumps(said), 1.0).line)
    assert json.loads(str(line.frame()))["url"] == "https://a.example/?key=%5Bredacted%5D&q=a%3Fb"
    assert redact_query(f"q={HALF}") == "q=a%3Fb"


def test_a_frame_with_half_a_character_is_said_again() -> None:
    added = {"type": "conversation.item.added", "item": {"id": "item_1", "type": "message", "role": "assistant"}}
    asks = {"type": "conversation.item.delete", "item_id": "item_1", "note": HALF}
    replay = Replay([Heard("provider", json.dumps(added), 0.0), Heard("client", json.dumps(asks), 0.1)], "openai")
    replay.connected(0.0)
    replay.heard(json.dumps(added).replace("item_1", "item_9"), 0.0)
    (said,) = replay.due(60.0)
    assert json.loads(str(said).encode()) == {**asks, "item_id": "item_9"}


def test_a_place_of_thousands_of_digits_is_nowhere() -> None:
    facts = simulated_facts("default", "mine", {}, {})
    request = {"messages": [{"role": "user"}]}
    assert not matches({f"messages.{'9' * 5000}.role": "user"}, facts, request)
    assert matches({"messages.0.role": "user"}, facts, request)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_text_too_long_to_be_looked_for_is_refused(dialect: str) -> None:
    for wanted in (
        LogFilter(search="x" * 10_001),
        LogFilter(conditions=[("model", "contains", ["x" * 10_001])]),
        LogFilter(conditions=[("metadata.value", "contains", ["x" * 10_001])]),
    ):
        with pytest.raises(MalformedRequest, match="at most 10000 characters"):
            clauses_of(wanted, dialect)
    assert clauses_of(LogFilter(search="%" * 10_000), dialect)


def _exported(folder: Path, content: bytes, name: str = "rows.jsonl") -> Exported:
    (folder / name).write_bytes(content)
    return Exported(folder / name)


HEADER = msgspec.json.encode(Header(trunkline="0.1.0", schema="0011", tables=["gateways"])) + b"\n"


@pytest.mark.parametrize("content", [b"\xff\n", NO_UTF8, HEADER + NO_UTF8, HEADER + NESTED.encode()])
def test_an_export_that_is_no_utf8_is_refused(tmp_path: Path, content: bytes) -> None:
    exported = _exported(tmp_path, content)
    with pytest.raises(SettingsError, match=r"rows\.jsonl"):
        list(exported.read(exported.files[0])[1])


def test_an_export_that_was_damaged_where_it_is_packed_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(HEADER * 50, mtime=0))
    packed[12] ^= 0xFF
    exported = _exported(tmp_path, bytes(packed), "rows.jsonl.gz")
    with pytest.raises(SettingsError, match="damaged or was cut short"):
        list(exported.read(exported.files[0])[1])
