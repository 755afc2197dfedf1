"""Whose way of stating usage an answer follows: its path says so before its provider does."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from trunkline.policy.usage import anthropic, bedrock, cohere, google, openai
from trunkline.policy.usage.document import Document, Findings
from trunkline.policy.usage.request import kind_of, path_end
from trunkline.policy.usage.tokens import TokenUsage
from trunkline.providers.schema import Provider


class Format(NamedTuple):
    """One way of stating usage.

    ``marks`` are in every event that is worth decoding; ``read`` takes a document, ``tokens`` says what it came to.
    """

    name: str
    marks: re.Pattern[str]
    read: Callable[[Findings, Document, str], None]
    tokens: Callable[[Findings, str], TokenUsage | None]


OPENAI: Final = Format("openai", openai.MARKS, openai.read, openai.tokens)
ANTHROPIC: Final = Format("anthropic", anthropic.MARKS, anthropic.read, anthropic.tokens)
GOOGLE: Final = Format("google", google.MARKS, google.read, google.tokens)
COHERE: Final = Format("cohere", cohere.MARKS, cohere.read, cohere.tokens)
BEDROCK: Final = Format("bedrock", bedrock.MARKS, bedrock.read, bedrock.tokens)

_BY_PROVIDER: Final = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "google": GOOGLE,
    "cohere": COHERE,
    "bedrock": BEDROCK,
}
_BY_PATH: Final = (
    (re.compile(r"(?:^|/)messages$|publishers/anthropic/models/[^/]+:(?:rawPredict|streamRawPredict)$"), ANTHROPIC),
    (re.compile(r":(?:\w+Content|batchEmbedContents|predict)$|(?:^|/)interactions$"), GOOGLE),
    (re.compile(r"(?:^|/)model/[^/]+/(?:converse|converse-stream|invoke|invoke-with-response-stream)$"), BEDROCK),
    (re.compile(r"(?:^|/)(?:chat/completions|responses|embeddings|completions|audio/\w+|images/\w+|ocr)$"), OPENAI),
    # Deepgram, ElevenLabs and Cartesia state how long the sound was that they wrote down.
    (re.compile(r"(?:^|/)(?:listen|speech-to-text|stt)$"), OPENAI),
)


def format_of(provider: Provider, rest: str) -> Format | None:
    """Return how an answer from this path states its usage, or None where it states none that was caused by asking."""
    return _format_of(provider.usage, rest)


@lru_cache(maxsize=256)
def _format_of(usage: str, rest: str) -> Format | None:
    path = path_end(rest)
    for pattern, found in _BY_PATH:
        if pattern.search(path):
            return found
    return _BY_PROVIDER.get(usage) if kind_of(rest) != "other" else None
