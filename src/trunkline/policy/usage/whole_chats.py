"""Chats that come in one piece in OpenAI's usual words, read at a fraction of what reading any answer takes."""

from __future__ import annotations

import msgspec

from trunkline.policy.usage.reader import Answered
from trunkline.policy.usage.tokens import TokenUsage, words
from trunkline.wire.documents import UNREADABLE


class _Given(msgspec.Struct, forbid_unknown_fields=True):
    cached_tokens: int = 0
    audio_tokens: int = 0


class _Made(msgspec.Struct, forbid_unknown_fields=True):
    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class _Usage(msgspec.Struct, forbid_unknown_fields=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _Given | None = None
    completion_tokens_details: _Made | None = None


class _Chat(msgspec.Struct):
    model: str
    usage: _Usage
    error: None = None
    errors: None = None
    response: None = None
    result: None = None
    type: None = None
    usage_info: None = None
    x_groq: None = None
    service_tier: str | None = None


_chat = msgspec.json.Decoder(_Chat)
_NOTHING_GIVEN = _Given()
_NOTHING_MADE = _Made()
_MANY = 10**9


def read_chat(body: bytes, asked_model: str) -> Answered | None:
    """Return what a successful answer tells of itself, or None where it is to be read as any other answer is."""
    try:
        chat = _chat.decode(body)
    except UNREADABLE:
        return None
    usage = chat.usage
    given, made = usage.prompt_tokens_details or _NOTHING_GIVEN, usage.completion_tokens_details or _NOTHING_MADE
    counts = (
        usage.prompt_tokens,
        usage.completion_tokens,
        *msgspec.structs.astuple(given),
        *msgspec.structs.astuple(made),
    )
    is_usual = usage.prompt_tokens > 0 and min(counts) >= 0 and max(counts) < _MANY
    if not is_usual or not chat.model or usage.total_tokens != usage.prompt_tokens + usage.completion_tokens:
        return None
    return Answered(
        model=words(chat.model),
        asked_model=asked_model,
        usage=TokenUsage(
            input=usage.prompt_tokens,
            output=usage.completion_tokens,
            cached=given.cached_tokens,
            reasoning=made.reasoning_tokens,
            input_audio=given.audio_tokens,
            output_audio=made.audio_tokens,
            tier=words(chat.service_tier, 40),
        ),
    )
