"""One JSON object of an answer: a whole body or an event. Of it only what is read here is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trunkline.policy.usage.tokens import number, part, words
from trunkline.wire.documents import UNREADABLE

_LONGEST_ERROR: Final = 500
_ABSENT: Final = msgspec.Raw()


class Document(msgspec.Struct):
    """The members, of any provider's answer, that tell what it used and how it ended.

    Others are skipped rather than decoded: an answer's vectors, images and texts are most of it. `Raw` members may be
    large, and are decoded where the format at hand has them.
    """

    type: Any = None
    object: Any = None
    event_type: Any = None
    model: Any = None
    model_version: Any = msgspec.field(default=None, name="modelVersion")
    status: Any = None
    stop_reason: Any = None
    stop_reason_camel: Any = msgspec.field(default=None, name="stopReason")
    finish_reason: Any = None
    usage: Any = None
    usage_metadata: Any = msgspec.field(default=None, name="usageMetadata")
    usage_info: Any = None
    x_groq: Any = None
    meta: Any = None
    duration: Any = None
    audio_duration_secs: Any = None
    service_tier: Any = None
    incomplete_details: Any = None
    error: Any = None
    errors: Any = None
    prompt_feedback: Any = msgspec.field(default=None, name="promptFeedback")
    invocation_metrics: Any = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")
    choices: msgspec.Raw = _ABSENT
    candidates: msgspec.Raw = _ABSENT
    predictions: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    delta: msgspec.Raw = _ABSENT
    message: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT
    result: msgspec.Raw = _ABSENT
    interaction: msgspec.Raw = _ABSENT
    metadata: msgspec.Raw = _ABSENT
    bytes: msgspec.Raw = _ABSENT


class Choice(msgspec.Struct):
    """One of several answers: why it ended."""

    finish_reason: Any = None
    finish_reason_camel: Any = msgspec.field(default=None, name="finishReason")


class Blank(msgspec.Struct):
    """An object that is only counted."""


_documents: Final = msgspec.json.Decoder(Document)
_choices: Final = msgspec.json.Decoder(list[Choice])
_blanks: Final = msgspec.json.Decoder(list[Blank])
_anything: Final = msgspec.json.Decoder()


def read_document(text: bytes | str | msgspec.Raw) -> Document | None:
    """Return the members of a JSON object, or None for what is none or cannot be read."""
    try:
        return _documents.decode(text)
    except UNREADABLE:
        return None


def read_value(text: bytes | str | msgspec.Raw) -> Any:
    """Return a JSON value of any kind, or None for what cannot be read."""
    try:
        return _anything.decode(text)
    except UNREADABLE:
        return None


def finish_reason_of(choices: msgspec.Raw) -> str:
    """Return why the first choice that says so ended, or nothing."""
    try:
        found = _choices.decode(choices)
    except UNREADABLE:
        return ""
    reasons: Sequence[Any] = [
        reason for one in found for reason in (one.finish_reason, one.finish_reason_camel) if reason
    ]
    return words(reasons[0]) if reasons else ""


def length_of(values: msgspec.Raw) -> int:
    """Return how many objects a list has, or 0 for what is none."""
    try:
        return len(_blanks.decode(values))
    except UNREADABLE:
        return 0


def error_of(stated: Any) -> str:
    """Return a provider's error in a line: its code or type, and its message, cut. It may quote a key: redact it."""
    if isinstance(stated, list):
        stated = next((one for one in stated if isinstance(one, dict)), None)
    if isinstance(stated, str):
        return stated[:_LONGEST_ERROR]
    if not isinstance(stated, dict):
        return ""
    code = next((stated[name] for name in ("code", "type", "status") if isinstance(stated.get(name), str | int)), "")
    message = next((stated[name] for name in ("message", "detail") if isinstance(stated.get(name), str)), "")
    return ": ".join(part for part in (str(code)[:100], message) if part)[:_LONGEST_ERROR]


class Findings:
    """What has been read of an answer so far.

    ``stated`` holds the members of the provider's usage object as they came: what is stated again, as a running total,
    takes the place of what was stated before.
    """

    def __init__(self) -> None:
        self.model = ""
        self.stated: dict[str, Any] = {}
        self.tier = ""
        self.seconds = 0.0
        self.images = 0
        self.is_done = False
        self.error = ""
        self.finish_reason = ""

    def name_model(self, *named: Any) -> None:
        """Note the first name that is one."""
        self.model = next((words(name) for name in named if isinstance(name, str) and name), self.model)

    def state(self, usage: Any) -> None:
        """Note a usage object."""
        if isinstance(usage, dict):
            self.stated.update({name: value for name, value in usage.items() if value is not None})

    def end(self, reason: Any) -> None:
        """Note why the answer ended, where it says so."""
        self.finish_reason = words(reason) or self.finish_reason

    def fail(self, error: Any) -> None:
        """Note an error."""
        self.error = error_of(error) or self.error

    def stated_cost(self) -> float | None:
        """Return what the provider says it charged, in US dollars: OpenRouter and Perplexity do."""
        cost = self.stated.get("cost")
        if isinstance(cost, dict):
            cost = cost.get("total_cost")
        if isinstance(cost, bool) or not isinstance(cost, int | float):
            return None
        # With a key of one's own, OpenRouter states its fee; what the model's host charged stands beside it.
        behind = number(part(self.stated, "cost_details").get("upstream_inference_cost"))
        return number(cost) + (behind if self.stated.get("is_byok") is True else 0.0)
