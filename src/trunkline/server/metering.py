"""What a client secret with a spend cap spends over HTTP: read from the answer beside its way to the client."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from trunkline.errors import MalformedRequest, NotPermitted
from trunkline.policy.cost import cost_by_length, cost_of_answer, reading_of
from trunkline.server.admission import Admission
from trunkline.wire.documents import json_object
from trunkline.wire.sse import SseParser

_MAX_ANSWER: Final = 32 * 1024 * 1024


class Meter:
    """Reads the usage of one answer; `cost` is what the exchange came to, once it is over, however it ended."""

    def __init__(self, admission: Admission, body: bytes) -> None:
        """Raise `NotPermitted` or `MalformedRequest` when the answer would not say what it costs."""
        reading = reading_of(admission.rest)
        if reading is None:
            raise NotPermitted(
                "The gateway refused this request: its client secret has a spend cap, and what"
                f" {admission.rest[:200]!r} costs cannot be read from its answer."
            )
        asked = json_object(body)  # what cannot be read, the provider refuses
        if reading == ("openai", "chat") and not _says_its_usage(asked):
            raise MalformedRequest(
                "The client secret has a spend cap: ask for the usage of a stream with"
                ' "stream_options": {"include_usage": true}.'
            )
        if reading == ("openai", "responses") and asked.get("background"):
            raise MalformedRequest(
                "The client secret has a spend cap: a response in the background states its cost to nobody. Leave"
                " background out."
            )
        assert admission.secret is not None
        self._priced = (admission.provider.slug, admission.secret.model)
        self._reading = reading
        self._events: SseParser | None = None
        self._parts: list[bytes] = []
        self._sent = len(body)
        self._received = 0
        self._stated: float | None = None

    def begin(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take the head of the answer: it says whether events follow."""
        kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
        if kind.startswith(b"text/event-stream"):
            self._events = SseParser()

    def feed(self, chunk: bytes) -> None:
        """Take some bytes of the answer."""
        self._received += len(chunk)
        if self._events is not None:
            for event in self._events.feed(chunk):
                self._take(event.data)
        elif self._received <= _MAX_ANSWER:
            self._parts.append(chunk)

    def cost(self) -> float:
        """Return what was spent, in US dollars: as stated, or by length where the answer broke off before that."""
        self._take(b"".join(self._parts))
        self._parts.clear()
        if self._stated is not None:
            return self._stated
        return cost_by_length(*self._priced, self._sent, self._received) if self._received else 0.0

    def _take(self, document: bytes | str) -> None:
        try:
            answer: Any = json.loads(document)
        except (ValueError, RecursionError):
            return
        for part in answer if isinstance(answer, list) else [answer]:  # Gemini streams an array
            if isinstance(part, dict):
                self._read(part)

    def _read(self, answer: dict[str, Any]) -> None:
        # The last event of a Responses stream holds the response, Anthropic's first holds the message.
        for part in (answer, answer.get("response"), answer.get("message")):
            stated = cost_of_answer(*self._priced, self._reading, part) if isinstance(part, dict) else None
            if stated is not None:  # what is stated more than once is a running total
                self._stated = max(self._stated or 0.0, stated)


def _says_its_usage(asked: Mapping[str, Any]) -> bool:
    """Whether the answer to a chat completion will state its usage: a stream does so only when asked."""
    options = asked.get("stream_options")
    return not asked.get("stream") or (isinstance(options, dict) and options.get("include_usage") is True)
