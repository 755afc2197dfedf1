"""What a client secret with a spend cap spends over HTTP: read from the answer beside its way to the client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trunkline.errors import MalformedRequest, NotPermitted
from trunkline.policy.cost import cost_by_length, cost_of_answer
from trunkline.policy.usage import UsageReader, kind_of, states_usage
from trunkline.server.admission import Admission
from trunkline.wire.documents import json_object

# Work whose answers state what it used, with every provider whose answers are read at all.
_STATED: Final = frozenset({"chat", "responses", "embeddings"})


class Meter:
    """Reads the usage of one answer; `cost` is what the exchange came to, once it is over, however it ended."""

    def __init__(self, admission: Admission, body: bytes) -> None:
        """Raise `NotPermitted` or `MalformedRequest` when the answer would not say what it costs."""
        provider, rest = admission.provider, admission.rest
        self._reader = UsageReader(provider, rest)
        if not self._reader.can_read or kind_of(rest) not in _STATED:
            raise NotPermitted(
                "The gateway refused this request: its client secret has a spend cap, and what"
                f" {rest[:200]!r} costs cannot be read from its answer."
            )
        if not states_usage(provider, rest, body):
            raise MalformedRequest(
                "The client secret has a spend cap: ask for the usage of a stream with"
                ' "stream_options": {"include_usage": true}.'
            )
        if kind_of(rest) == "responses" and json_object(body).get("background"):
            raise MalformedRequest(
                "The client secret has a spend cap: a response in the background states its cost to nobody. Leave"
                " background out."
            )
        assert admission.secret is not None
        self._provider, self._model = provider.slug, admission.secret.model
        self._sent = len(body)
        self._received = 0

    def begin(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take the head of the answer: it says whether events follow."""
        self._reader.begin(200, headers)

    def feed(self, chunk: bytes) -> None:
        """Take some bytes of the answer."""
        self._received += len(chunk)
        self._reader.feed(chunk)

    def cost(self) -> float:
        """Return what was spent, in US dollars: as stated, or by length where the answer broke off before that."""
        answered = self._reader.finish()._replace(model=self._model, asked_model=self._model)
        stated = cost_of_answer(self._provider, answered)
        if stated is not None:
            return stated
        return cost_by_length(self._provider, self._model, self._sent, self._received) if self._received else 0.0
