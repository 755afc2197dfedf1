"""What is asked, and what is answered: the requests, frames and answers of every workload, and how they are checked.

Each request carries a number, and its answer the same one: an answer that belongs to another request, is cut or is made
up is found by that. Gateways may write JSON anew, so marks are plain text within strings.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from trunkline.errors import SettingsError


class Kind(StrEnum):
    """What is done in a workload."""

    CHAT = "chat"
    SSE = "sse"
    REALTIME = "realtime"
    LARGE = "large"
    CACHE = "cache"


UNITS: Final = {
    Kind.CHAT: "request",
    Kind.SSE: "chunk",
    Kind.REALTIME: "message",
    Kind.LARGE: "request",
    Kind.CACHE: "request",
}
"""What is counted in each."""

_CONNECTIONS: Final = {Kind.CHAT: 32, Kind.SSE: 64, Kind.REALTIME: 32, Kind.LARGE: 8, Kind.CACHE: 32}


class Workload(msgspec.Struct, frozen=True):
    """A kind of load on so many connections."""

    kind: Kind
    connections: int

    @property
    def name(self) -> str:
        """``chat``; with its connections where they are not the usual number: ``realtime-200``."""
        usual = self.kind is not Kind.REALTIME and self.connections == _CONNECTIONS[self.kind]
        return self.kind.value if usual else f"{self.kind.value}-{self.connections}"

    @property
    def unit(self) -> str:
        """What is counted: a request, a chunk or a message."""
        return UNITS[self.kind]


DEFAULT_WORKLOADS: Final = ("chat", "sse", "realtime-32", "realtime-200", "large", "cache")


def workload(name: str) -> Workload:
    """Return the workload of a name such as ``chat`` or ``realtime-200``. Raises `SettingsError`."""
    kind, dash, connections = name.partition("-")
    if kind not in {one.value for one in Kind}:
        raise SettingsError(f"There is no workload {name!r}; there are {', '.join(DEFAULT_WORKLOADS)}.")
    if dash and not (connections.isascii() and connections.isdecimal() and 0 < int(connections) <= 1000):
        raise SettingsError(f"{name!r} does not name a number of connections, as in {kind}-32.")
    found = Kind(kind)
    return Workload(found, int(connections or _CONNECTIONS[found]))


# Requests

MODEL: Final = "gpt-4o-mini"
REALTIME_MODEL: Final = "gpt-realtime"

_CHAT_BYTES: Final = 1024
_LARGE_BYTES: Final = 1024 * 1024
_ANSWER_BYTES: Final = 700
# Of a cached answer there are so many different ones.
CACHED_ANSWERS: Final = 100

_WORDS: Final = "the quick brown fox jumps over the lazy dog and wonders what all this is for; "
_NUMBER: Final = "0000000"

MARK: Final = re.compile(rb"\[#([clsx])(\d{7})#\]")
"""In a question: its kind and number."""

ANSWER_MARK: Final = re.compile(rb"\[#([clsx]\d{7})#\] read (\d{8}) bytes")
"""In an answer: the question's mark, and how many bytes of it the upstream was sent."""

CHUNK_MARK: Final = re.compile(rb"\[s(\d{7})\.(\d{3})@(\d{16})\]")
"""In a chunk: the question's number, the chunk's, and when it was written, in ns of the monotonic clock."""

LETTERS: Final = {Kind.CHAT: b"c", Kind.LARGE: b"l", Kind.SSE: b"s", Kind.CACHE: b"x"}


class Template(msgspec.Struct, frozen=True):
    """Bytes around a number of seven digits, so that nothing is serialised while time is taken."""

    before: bytes
    after: bytes

    def filled(self, number: int) -> bytes:
        """Return it with a number."""
        return b"%b%07d%b" % (self.before, number, self.after)


def question(kind: Kind, model: str = MODEL, extra: Mapping[str, Any] | None = None) -> Template:
    """Return the body of a chat request, 1 KB or 1 MB with all fields; ``extra`` are further ones."""
    mark = f"[#{LETTERS[kind].decode()}{_NUMBER}#] "
    asked: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": mark},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
        **(extra or {}),
    }
    if kind is Kind.SSE:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    size = _LARGE_BYTES if kind is Kind.LARGE else _CHAT_BYTES
    missing = max(size - len(json.dumps(asked)), 0)
    asked["messages"][1]["content"] += _filling(missing)
    before, after = json.dumps(asked).encode().split(_NUMBER.encode())
    return Template(before, after)


def _filling(size: int) -> str:
    return (_WORDS * (size // len(_WORDS) + 1))[:size]


# Answers

USAGE: Final = {"prompt_tokens": 200, "completion_tokens": 100, "total_tokens": 300}
CHUNKS: Final = 200
CHUNK_SECONDS: Final = 0.005
DONE: Final = b"data: [DONE]"

_CREATED: Final = 1_790_000_000
_READ: Final = "00000000"


def answer() -> tuple[bytes, bytes, bytes]:
    """Return the three parts of a chat answer of 0.7 KB: the mark and the size stand between them."""
    said = {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": _CREATED,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": f"[#c{_NUMBER}#] read {_READ} bytes. "},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }
    missing = _ANSWER_BYTES - len(json.dumps(said))
    said["choices"][0]["message"]["content"] += _filling(missing)  # type: ignore[index]
    before, rest = json.dumps(said).encode().split(f"c{_NUMBER}".encode())
    between, after = rest.split(_READ.encode())
    return before, between, after


def chunk(index: int) -> tuple[bytes, bytes, bytes]:
    """Return the parts of one of 200 events: the question's number, and the time in 16 digits, stand between them.

    The last one has the usage and no mark.
    """
    said: dict[str, Any] = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": MODEL,
    }
    if index == CHUNKS - 1:
        said |= {"choices": [], "usage": USAGE}
        return f"data: {json.dumps(said)}\n\n".encode() + DONE + b"\n\n", b"", b""
    delta = {"content": f"[s{_NUMBER}.{index:03}@0000000000000000]"}
    if index == 0:
        delta["role"] = "assistant"
    finish = "stop" if index == CHUNKS - 2 else None
    said["choices"] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    before, rest = f"data: {json.dumps(said)}\n\n".encode().split(f"{_NUMBER}.".encode())
    between, after = rest.split(b"0000000000000000")
    return before, b"." + between, after


# Realtime frames

FRAME_SECONDS: Final = 0.04
NUMBER_PLACE: Final = slice(-9, -2)
"""Where a frame has its number."""

_SOUND: Final = base64.b64encode(bytes(24_000 * 2 * 40 // 1000)).decode()

SESSION_CREATED: Final = json.dumps(
    {"type": "session.created", "event_id": "event_created", "session": {"type": "realtime", "id": "sess_1"}}
).encode()


def spoken() -> Template:
    """Return 40 ms of sound from a client."""
    return Template(
        f'{{"type":"input_audio_buffer.append","audio":"{_SOUND}","event_id":"event_'.encode(),
        b'"}',
    )


def heard() -> Template:
    """Return 40 ms of sound from the provider."""
    return Template(
        (
            '{"type":"response.output_audio.delta","response_id":"resp_1","item_id":"item_1",'
            f'"output_index":0,"content_index":0,"delta":"{_SOUND}","event_id":"event_'
        ).encode(),
        b'"}',
    )
