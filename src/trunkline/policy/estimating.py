"""How many tokens a request will use, before anybody has counted them: what limits reserve."""

from __future__ import annotations

import re
from typing import Final

# Of text in JSON, in the languages that models know best. An estimate: the answer's own counts take its place.
_BYTES_PER_TOKEN: Final = 4
# A picture or a sound in base64 is no text; providers count it by its size in pixels or its length. To find such a row
# of characters, all of them are made one and all others a space: a pattern would take ten times as long.
_OF_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"
_AS_ROWS: Final = bytes(ord("x") if byte in _OF_BASE64 else ord(" ") for byte in range(256))
_ROW: Final = b"x" * 1024
_TOKENS_OF_BINARY: Final = 1000
# How requests of all providers say how long an answer may be.
_LONGEST: Final = re.compile(
    rb'"(?:max_tokens|max_completion_tokens|max_output_tokens|max_new_tokens|maxOutputTokens|maxTokens)"\s*:\s*(\d{1,9})'
)
_UNSAID: Final = 1000
"""Tokens of an answer that may be of any length."""


def estimated_tokens(body: bytes, *, answers: bool = True) -> tuple[int, int]:
    """Return the tokens of a request and the most of its answer, which has none where ``answers`` is false."""
    size, binaries = _binaries_in(body)
    tokens = (len(body) - size) // _BYTES_PER_TOKEN + binaries * _TOKENS_OF_BINARY
    if not answers:
        return tokens, 0
    said = _LONGEST.findall(body)
    return tokens, max(map(int, said)) if said else _UNSAID


def _binaries_in(body: bytes) -> tuple[int, int]:
    """Return the bytes of all pictures and sounds, and how many these are."""
    rows = body.translate(_AS_ROWS)
    size = number = 0
    start = rows.find(_ROW)
    while start >= 0:
        end = rows.find(b" ", start)
        end = len(rows) if end < 0 else end
        size, number = size + end - start, number + 1
        start = rows.find(_ROW, end)
    return size, number
