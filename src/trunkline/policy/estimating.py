"""How many tokens a request will use, before anybody has counted them: what limits reserve."""

from __future__ import annotations

import re
from typing import Final

# Of text in JSON, in the languages that models know best. An estimate: the answer's own counts take its place.
_BYTES_PER_TOKEN: Final = 4
# A picture or a sound in base64 is no text; providers count it by its size in pixels or its length.
_BINARY: Final = re.compile(rb"[A-Za-z0-9+/=_-]{1024,}")
_TOKENS_OF_BINARY: Final = 1000
# How requests of all providers say how long an answer may be.
_LONGEST: Final = re.compile(
    rb'"(?:max_tokens|max_completion_tokens|max_output_tokens|max_new_tokens|maxOutputTokens|maxTokens)"\s*:\s*(\d{1,9})'
)
_UNSAID: Final = 1000
"""Tokens of an answer that may be of any length."""


def estimated_tokens(body: bytes, *, answers: bool = True) -> tuple[int, int]:
    """Return the tokens of a request and the most of its answer, which has none where ``answers`` is false."""
    text, binaries = _BINARY.subn(b"", body)
    tokens = len(text) // _BYTES_PER_TOKEN + binaries * _TOKENS_OF_BINARY
    if not answers:
        return tokens, 0
    said = _LONGEST.findall(text)
    return tokens, max(map(int, said)) if said else _UNSAID
