"""Reads what an answer used, beside its way to the client."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final, NamedTuple

from trunkline.policy.usage import bedrock, openai
from trunkline.policy.usage.document import Findings, read_document, read_value
from trunkline.policy.usage.formats import BEDROCK, OPENAI, format_of
from trunkline.policy.usage.request import kind_of, path_model
from trunkline.policy.usage.tokens import TokenUsage, count
from trunkline.providers.schema import Provider
from trunkline.wire.aws_events import AwsEventParser
from trunkline.wire.encodings import Unpacker
from trunkline.wire.json_stream import JsonArrayParser, LineParser
from trunkline.wire.sse import SseParser

_MAX_BODY: Final = 32 * 1024 * 1024
# Which model answers stands in the first events; who never names it is not asked for ever.
_EVENTS_THAT_NAME: Final = 4
_SPACE: Final = b" \t\r\n"


class Answered(NamedTuple):
    """What an answer told of itself.

    ``model`` is the one the answer names, else ``asked_model``. ``usage`` is None where none was stated;
    ``stated_cost`` is what the provider says it charged, in US dollars. ``events`` counts those of a stream, and
    ``is_done`` says that its last one was seen. ``error`` is what an error said, cut; it may quote a key: redact it.
    """

    model: str
    asked_model: str
    usage: TokenUsage | None
    stated_cost: float | None = None
    events: int = 0
    is_done: bool = False
    error: str = ""
    finish_reason: str = ""


class UsageReader:
    """Reads one answer: `begin` with its head, `feed` each of its bytes in order, `finish` once.

    No bytes make it raise, and it holds no more than one event, or the 32 MiB of one JSON body: past that nothing is
    read. A binary answer passes untouched.
    """

    def __init__(self, provider: Provider, rest: str, asked_model: str = "", *, characters: int = 0) -> None:
        """``rest`` is the path behind the provider. ``characters`` are those that the request has spoken."""
        self._provider = provider.slug
        self._rest = rest
        self._asked_model = asked_model or path_model(provider.slug, rest)
        self._characters = characters
        self._format = format_of(provider, rest)
        self._found = Findings()
        self._status = 0
        self.events = 0
        """How many events of a stream there were so far."""
        self._body: list[bytes] = []
        self._size = 0
        self._in_head: dict[str, int] = {}
        self._unpacker: Unpacker | None = None
        self._take: Callable[[bytes], None] = self._skip
        self._is_stream = False
        self._has_named = False
        self._marks = _marks_of(self._format.marks.pattern) if self._format is not None else _NOTHING
        self._lines: LineParser | None = None
        self._answered: Answered | None = None

    @property
    def can_read(self) -> bool:
        """Whether an answer from this path states its usage in a way that is known here."""
        return self._format is not None

    @property
    def is_done(self) -> bool:
        """Whether the last event of a stream was seen: what follows it, if anything, holds no more of the answer."""
        return self._found.is_done

    @property
    def is_stream(self) -> bool:
        """Whether the answer comes as events."""
        return self._is_stream

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take the head of the answer; it says how the rest is to be read."""
        self._status = status
        named = {name.lower(): value.decode("latin-1") for name, value in headers if name.lower() in _HEADERS}
        encoding = named.get(b"content-encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            self._unpacker = Unpacker(encoding)
        if self._format is BEDROCK:
            given, made = (_whole(named.get(name, "")) for name in _BEDROCK_COUNTS)
            self._in_head = {"inputTokens": given, "outputTokens": made}
        kind = named.get(b"content-type", "").partition(";")[0].strip().lower()
        if self._format is None and status < 400:
            self._take = self._skip
        elif kind == "text/event-stream":
            self._take_stream(partial(self._take_events, SseParser(_MAX_BODY)))
        elif kind == "application/vnd.amazon.eventstream":
            self._take_stream(partial(self._take_messages, AwsEventParser()))
        elif kind in ("application/x-ndjson", "application/jsonl", "application/stream+json"):
            self._lines = LineParser(_MAX_BODY)
            self._take_stream(partial(self._take_lines, self._lines))
        elif kind in ("", "text/plain", "text/json") or kind.endswith(("/json", "+json")):
            self._take = self._take_first

    def feed(self, chunk: bytes) -> None:
        """Take some bytes."""
        if self._unpacker is not None:
            chunk = self._unpacker.feed(chunk)
        if chunk:
            self._take(chunk)

    def finish(self) -> Answered:
        """Return what was read, whether the answer is whole or broke off."""
        if self._answered is None:
            self._finish_reading()
            self._answered = Answered(
                model=self._found.model or self._asked_model,
                asked_model=self._asked_model,
                usage=self._usage(),
                stated_cost=self._found.stated_cost(),
                events=self.events,
                is_done=self._found.is_done,
                error=self._found.error,
                finish_reason=self._found.finish_reason,
            )
        return self._answered

    # How bytes are taken, by what the head said.

    def _skip(self, chunk: bytes) -> None:
        pass

    def _take_stream(self, take: Callable[[bytes], None]) -> None:
        self._is_stream = True
        self._take = take

    def _take_first(self, chunk: bytes) -> None:
        """Look at what a body begins with: an object, or the array in which Gemini streams."""
        chunk = chunk.lstrip(_SPACE)
        if not chunk:
            return
        if chunk[:1] == b"[" and ":streamGenerateContent" in self._rest:
            self._take_stream(partial(self._take_elements, JsonArrayParser(_MAX_BODY)))
        elif chunk[:1] in (b"{", b"["):
            self._take = self._take_body
        else:
            self._take = self._skip
        self._take(chunk)

    def _take_body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= _MAX_BODY:
            self._body.append(chunk)
        else:
            self._body.clear()
            self._take = self._skip

    def _take_events(self, parser: SseParser, chunk: bytes) -> None:
        # Most of a stream is pieces of text, which are counted and not read.
        events = parser.count(chunk) if self._has_named and not self._marks.search(chunk) else 0
        if events and ((events == 1 and chunk.startswith(_OBJECT)) or not _WORTH_READING.search(chunk)):
            self.events += events
            return
        for event in parser.feed(chunk):
            if event.data == "[DONE]":
                self._found.is_done = True
            elif event.event != "ping":
                self._take_event(event.data, event.event)

    def _take_elements(self, parser: JsonArrayParser, chunk: bytes) -> None:
        for element in parser.feed(chunk):
            self._take_event(element.decode("utf-8", "replace"), "")

    def _take_lines(self, parser: LineParser, chunk: bytes) -> None:
        for line in parser.feed(chunk):
            self._take_event(line.decode("utf-8", "replace"), "")

    def _take_messages(self, parser: AwsEventParser, chunk: bytes) -> None:
        for message in parser.feed(chunk):
            self.events += 1
            if bedrock.wants(message.type):
                self._read(message.payload, message.type)

    def _take_event(self, text: str, event: str) -> None:
        self.events += 1
        if self._format is None:
            return
        if not self._has_named:
            self._has_named = bool(self._found.model) or self.events > _EVENTS_THAT_NAME
        if not self._has_named or event == "error" or self._format.marks.search(text):
            self._read(text, event)

    def _read(self, text: str | bytes, event: str) -> None:
        document = read_document(text)
        if document is not None and self._format is not None:
            self._format.read(self._found, document, event)

    def _finish_reading(self) -> None:
        if self._lines is not None and (line := self._lines.finish()):
            self._take_event(line.decode("utf-8", "replace"), "")
        body = b"".join(self._body)
        self._body.clear()
        if not body:
            return
        if self._status >= 400:
            self._read_refusal(body)
            return
        document = read_document(body)
        if document is not None and self._format is not None:
            self._format.read(self._found, document, "")
            if self._format is OPENAI:
                openai.read_whole(self._found, document, kind_of(self._rest))

    def _read_refusal(self, body: bytes) -> None:
        refusal = read_value(body)
        if isinstance(refusal, list):
            refusal = next((one for one in refusal if isinstance(one, dict)), None)
        if isinstance(refusal, dict):
            self._found.fail(refusal.get("error") or refusal.get("errors") or refusal)

    def _usage(self) -> TokenUsage | None:
        if self._status >= 400 or self._format is None:
            return self._spoken()
        found = self._format.tokens(self._found, self._provider)
        if found is None and self._format is BEDROCK:
            self._found.state({name: value for name, value in self._in_head.items() if value})
            found = self._format.tokens(self._found, self._provider)
        return found if found is not None else self._spoken()

    def _spoken(self) -> TokenUsage | None:
        """Return the characters of a text that was spoken: no provider states them in its answer."""
        if not self._characters or not 200 <= self._status < 300 or kind_of(self._rest) != "speech":
            return None
        return TokenUsage(characters=self._characters)


# What says more in a stream of events than the marks of a format do; an object alone does not.
_OBJECT: Final = b"data: {"
_WORTH_READING: Final = re.compile(rb"\[DONE\]|event: ?(?:ping|error)")
_NOTHING: Final = re.compile(rb"(?!)")


@cache
def _marks_of(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode())


_BEDROCK_COUNTS: Final = (b"x-amzn-bedrock-input-token-count", b"x-amzn-bedrock-output-token-count")
_HEADERS: Final = frozenset({b"content-type", b"content-encoding", *_BEDROCK_COUNTS})


def _whole(text: str) -> int:
    return count({"stated": int(text)}, "stated") if text.isdecimal() and len(text) < 16 else 0
