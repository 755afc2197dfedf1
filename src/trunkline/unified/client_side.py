"""A client's surface: its request said in the hub's words, and the hub's answer said in its own.

The hub's answer is read as a row of blocks (thinking, text, refusal, calls of tools), each of which is opened, added to
and closed before the next one is opened, whichever way a provider's chunks come: the APIs of clients want them so.
"""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from trunkline.errors import UpstreamBroken
from trunkline.unified.adapter import Headers
from trunkline.unified.chat import (
    EVENT_STREAM,
    EVENT_TYPE,
    JSON_TYPE,
    MOST_HELD,
    Json,
    as_text,
    client_headers,
    count,
    elements,
    encode,
    is_error,
    media_type_of,
    members,
    object_or_none,
    words,
)
from trunkline.wire.documents import UNREADABLE
from trunkline.wire.sse import SseParser

Kind = Literal["thinking", "redacted", "text", "refusal", "tool"]

_STREAM_END: Final = "[DONE]"
# What a provider wants back with a call of a tool travels in the id of the call, as clients keep nothing else of one.
_EXTRA: Final = "__extra__"
_MOST_OF_A_TEXT: Final = 4000


class Block(msgspec.Struct):
    """One piece of an answer.

    ``id`` and ``name`` are of a tool's call, whose text is its arguments. ``signature`` is of thinking; with thinking
    that may not be seen it is all there is.
    """

    kind: Kind
    position: int
    id: str = ""
    name: str = ""
    signature: str = ""
    pieces: list[str] = msgspec.field(default_factory=list)

    @property
    def text(self) -> str:
        """All that was said in it so far."""
        return "".join(self.pieces)

    @property
    def is_whole(self) -> bool:
        """Whether nothing can be missing of it when something else follows."""
        if self.kind != "tool":
            return True
        text = self.text
        return text.rstrip().endswith("}") and object_or_none(text) is not None

    @property
    def input(self) -> Json | None:
        """The arguments of a call, or None where they are no object."""
        text = self.text
        return object_or_none(text) if text.strip() else {}


class Used(NamedTuple):
    """What an answer used, in tokens. ``input`` holds the two of the cache, ``output`` holds ``reasoning``."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0

    @classmethod
    def read(cls, stated: Json) -> Used:
        """Read a hub usage. What a total has beyond what it names came out: thinking, with some providers."""
        given, made = count(stated.get("prompt_tokens")), count(stated.get("completion_tokens"))
        of_input, of_output = (
            members(stated.get("prompt_tokens_details")),
            members(stated.get("completion_tokens_details")),
        )
        made = max(made, count(stated.get("total_tokens")) - given) if given else made
        cached = min(count(of_input.get("cached_tokens")), given)
        written = min(count(of_input.get("cache_write_tokens")), given - cached)
        return cls(given, made, cached, written, count(of_output.get("reasoning_tokens")))


class Failure(NamedTuple):
    """An error in the hub's words. ``status`` is what it says itself, 0 where it does not."""

    text: str
    type: str = ""
    code: str = ""
    param: str = ""
    status: int = 0

    @classmethod
    def read(cls, said: Any, body: str, status: int = 0) -> Failure:
        """Read an error, ``body`` being all of it as text. The shapes of several providers are known."""
        if isinstance(said, list):  # Gemini
            said = next((one for one in said if isinstance(one, dict)), None)
        outer = members(said)
        inner: Any = outer.get("error")
        error: Any = inner if isinstance(inner, dict) else outer
        stated = (error.get("message"), error.get("detail"), inner, outer.get("message"), body.strip())
        text = next((one for one in stated if isinstance(one, str) and one), f"The provider answered with {status}.")
        code = error.get("code")
        own_status = code if isinstance(code, int) and not isinstance(code, bool) and is_error(code) else 0
        return cls(
            text[:_MOST_OF_A_TEXT],
            words(error.get("type")),
            code if isinstance(code, str) else "",
            words(error.get("param")),
            own_status,
        )


class ClientSide(ABC):
    """A client's surface. A subclass sets ``chat``, the hub request, and says blocks, the end and errors as its own.

    While a stream is read, what it gives to `_say` goes to the client. A whole answer goes through the same steps,
    with nothing of it said: then `_whole` says ``blocks``, ``finish_reason`` and ``used`` at once. A client that asked
    for a stream gets one also where a provider answered whole.
    """

    chat: Json

    def __init__(self, id: str, model: str) -> None:
        """``id`` is a unique text for ids within the answer; ``model`` is the answer's until a provider names one."""
        self.id = id
        self.model = model
        self.blocks: list[Block] = []
        self.finish_reason = ""
        self.used = Used()
        self.is_streamed = False
        self._status = 200
        self._reads_stream = False
        self._is_begun = False
        self._is_over = False
        self._events = SseParser(MOST_HELD)
        self._held: list[bytes] = []
        self._size = 0
        self._open: list[Block] = []
        self._calls: dict[int, Block] = {}
        self._positions = 0
        self._out: list[bytes] = []

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, Headers]:
        """Take the head of the hub's answer; return that of the client's."""
        self._status = status
        self._reads_stream = not is_error(status) and media_type_of(headers) == EVENT_STREAM
        self.is_streamed = self._reads_stream or (not is_error(status) and self.chat.get("stream") is True)
        return status, client_headers(headers, EVENT_TYPE if self.is_streamed else JSON_TYPE)

    def feed(self, chunk: bytes) -> bytes:
        """Take some bytes of the hub's answer; return what they give. Raises `UpstreamBroken` for what is none."""
        if self._reads_stream:
            for one in self._events.feed(chunk):
                self._read_event(one.data)
            return self._taken()
        self._size += len(chunk)
        if self._size > MOST_HELD:
            raise UpstreamBroken(f"The provider answered with more than {MOST_HELD} bytes.")
        self._held.append(chunk)
        return b""

    def finish(self) -> bytes:
        """Return the rest. Raises `UpstreamBroken` for a stream that broke off, and for what is no answer."""
        if self._reads_stream:
            if not self._is_over:
                if not self.finish_reason:
                    raise UpstreamBroken("The provider ended the stream before the answer was whole.")
                self._finish_stream()  # some providers leave out the mark of the end
            return self._taken()
        body = b"".join(self._held)
        if is_error(self._status):
            return self._failed_body(body)
        self._read_whole(body)
        if not self.is_streamed:
            return encode(self._whole())
        self._finish_stream()
        return self._taken()

    @abstractmethod
    def _start(self) -> None:
        """Say that an answer begins."""

    @abstractmethod
    def _opened(self, block: Block) -> None:
        """Say that a block begins."""

    @abstractmethod
    def _added(self, block: Block, piece: str) -> None:
        """Say a piece of a block."""

    @abstractmethod
    def _closed(self, block: Block) -> None:
        """Say that a block is whole. It is the last of ``blocks``."""

    @abstractmethod
    def _ended(self) -> None:
        """Say that the answer is whole."""

    @abstractmethod
    def _failed(self, failure: Failure) -> None:
        """Say that the answer broke off: nothing follows."""

    @abstractmethod
    def _failed_body(self, body: bytes) -> bytes:
        """Return a failed answer, of the status that it began with."""

    @abstractmethod
    def _whole(self) -> Json:
        """Return the whole answer."""

    def _say(self, event: str, value: Json) -> None:
        """Say one event of a stream."""
        if self.is_streamed:
            self._out.append(b"event: " + event.encode() + b"\ndata: " + encode(value) + b"\n\n")

    def _failure(self, body: bytes) -> Failure:
        text = body.decode("utf-8", "replace")
        try:
            said: Any = msgspec.json.decode(body)
        except UNREADABLE:
            said = None
        return Failure.read(said, text, self._status)

    def _taken(self) -> bytes:
        taken = b"".join(self._out)
        self._out.clear()
        return taken

    def _read_event(self, data: str) -> None:
        if self._is_over:
            return
        if data.strip() == _STREAM_END:
            self._finish_stream()
            return
        chunk = object_or_none(data)
        if chunk is None:
            raise UpstreamBroken("The provider's stream holds an event that is not a JSON object.")
        if chunk.get("error"):
            self._is_over = True
            self._begin_once()
            self._failed(Failure.read(chunk, data))
            return
        self._name(chunk)
        self._begin_once()
        self._count(chunk.get("usage") or members(chunk.get("x_groq")).get("usage"))
        for choice in elements(chunk.get("choices")):
            if not choice.get("index"):
                self._read_delta(members(choice.get("delta")))
                self.finish_reason = words(choice.get("finish_reason")) or self.finish_reason

    def _read_whole(self, body: bytes) -> None:
        whole = object_or_none(body)
        choice = next(elements((whole or {}).get("choices")), None)
        if whole is None or choice is None:
            raise UpstreamBroken("The provider answered with what is not a chat completion.")
        self._name(whole)
        self._begin_once()
        self._count(whole.get("usage"))
        message = members(choice.get("message"))
        if message.get("thinking_blocks"):  # the same thinking, with its signatures
            message = {name: value for name, value in message.items() if name not in ("reasoning_content", "reasoning")}
        calls = [{**call, "index": number} for number, call in enumerate(elements(message.get("tool_calls")))]
        self._read_delta({**message, "tool_calls": calls})
        self.finish_reason = words(choice.get("finish_reason"))
        while self._open:
            self._close_first()

    def _name(self, answer: Json) -> None:
        self.model = words(answer.get("model")) or self.model

    def _count(self, stated: Any) -> None:
        if isinstance(stated, dict) and stated:
            self.used = Used.read(stated)

    def _begin_once(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self._start()

    def _finish_stream(self) -> None:
        self._is_over = True
        self._begin_once()
        while self._open:
            self._close_first()
        self._ended()

    def _read_delta(self, delta: Json) -> None:
        self._add("thinking", words(delta.get("reasoning_content")) or words(delta.get("reasoning")))
        for block in elements(delta.get("thinking_blocks")):
            self._sign(block)
        content = delta.get("content")
        for part in elements(content):  # Mistral's, whose thinking is a list of texts
            thought = part.get("thinking")
            self._add("thinking", "".join(words(one.get("text")) for one in elements(thought)) or words(thought))
            self._add("text", words(part.get("text")))
        self._add("text", words(content))
        self._add("refusal", words(delta.get("refusal")))
        for call in elements(delta.get("tool_calls")):
            self._call(call)

    def _add(self, kind: Kind, piece: str) -> None:
        if not piece:
            return
        last = self._open[-1] if self._open else None
        if last is None or last.kind != kind or last.signature:
            last = self._begin_block(Block(kind, self._positions))
        self._write(last, piece)

    def _sign(self, block: Json) -> None:
        """Take a block of thinking as Anthropic has it; its words may have come before."""
        if block.get("type") == "redacted_thinking":
            self._begin_block(Block("redacted", self._positions, signature=words(block.get("data"))))
            return
        last = self._open[-1] if self._open else None
        if last is None or last.kind != "thinking" or last.signature:
            last = self._begin_block(Block("thinking", self._positions))
            self._write(last, words(block.get("thinking")))
        last.signature = words(block.get("signature"))

    def _call(self, call: Json) -> None:
        index, named = call.get("index"), words(call.get("id"))
        number = index if isinstance(index, int) else len(self._calls) - (not named)
        function = members(call.get("function"))
        block = self._calls.get(number)
        # Some providers count every call as the first one.
        name = words(function.get("name"))
        if block is None or (named and name and block.id.partition(_EXTRA)[0] != named):
            named = with_extra(named or f"call_{self.id}_{self._positions}", call.get("extra_content"))
            block = Block("tool", self._positions, named, name)
            self._calls[number] = self._begin_block(block)
        arguments = function.get("arguments")
        self._write(block, as_text(arguments) if isinstance(arguments, dict) else words(arguments))

    def _begin_block(self, block: Block) -> Block:
        self._positions += 1
        self._open.append(block)
        if len(self._open) == 1:
            self._opened(block)
        self._advance()
        return block

    def _write(self, block: Block, piece: str) -> None:
        if piece and block in self._open:
            block.pieces.append(piece)
            if block is self._open[0]:
                self._added(block, piece)
            self._advance()

    def _advance(self) -> None:
        while len(self._open) > 1 and self._open[0].is_whole:
            self._close_first()

    def _close_first(self) -> None:
        block = self._open.pop(0)
        self.blocks.append(block)
        self._closed(block)
        if self._open:
            following = self._open[0]
            self._opened(following)
            if following.pieces:
                self._added(following, following.text)


def with_extra(id: str, extra: Any) -> str:
    """Return the id of a tool's call with what its provider wants back with the call, if there is such a thing."""
    if not isinstance(extra, dict) or not extra:
        return id
    return id + _EXTRA + base64.urlsafe_b64encode(encode(extra)).decode().rstrip("=")


def without_extra(id: str) -> tuple[str, Json | None]:
    """Return the provider's own id of a tool's call, and what the provider wants back with the call."""
    own, mark, text = id.partition(_EXTRA)
    if not mark:
        return id, None
    try:
        extra = object_or_none(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        extra = None
    return own, extra


def told_call(id: str, name: str, arguments: str) -> Json:
    """Return a call of a tool that an assistant made before, in the hub's words, from what a client kept of it."""
    own, extra = without_extra(id)
    call: Json = {"id": own, "type": "function", "function": {"name": name, "arguments": arguments}}
    if extra is not None:
        call["extra_content"] = extra
    return call
