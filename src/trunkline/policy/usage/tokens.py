"""What an answer states was used, and how such statements are read without trusting them."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

# Nobody uses more in one exchange, and every database can hold a sum of many.
_MOST: Final = 10**12


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one answer used. Counts are of tokens, but for the last group.

    ``input`` is all that went in and ``output`` all that came out, whatever a provider's own sums leave out. Parts of
    ``input`` are ``cached`` (read from the provider's cache), ``cache_write`` (written to it; ``cache_write_1h`` of
    that for an hour), ``input_audio``, ``input_image`` and ``input_video``; ``cached_audio`` and ``cached_image`` are
    part of both. Parts of ``output`` are ``reasoning``, ``citations`` (of sources, billed apart by Perplexity),
    ``output_audio``, ``output_image`` and ``output_video``.

    ``seconds`` are of sound that was heard, ``characters`` of text that was spoken, ``images`` were made, ``pages``
    were read, ``searches`` were made on the way. ``tier`` is the provider's word for how the work was billed.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    citations: int = 0
    input_audio: int = 0
    output_audio: int = 0
    cached_audio: int = 0
    input_image: int = 0
    output_image: int = 0
    cached_image: int = 0
    input_video: int = 0
    output_video: int = 0
    seconds: float = 0.0
    characters: int = 0
    images: int = 0
    pages: int = 0
    searches: int = 0
    tier: str = ""

    @property
    def total(self) -> int:
        """All tokens, in and out."""
        return self.input + self.output

    @property
    def is_plain(self) -> bool:
        """Whether all tokens are of text that was neither cached nor thought."""
        return not (
            self.cached
            or self.cache_write
            or self.reasoning
            or self.citations
            or self.audio
            or self.cached_audio
            or self.input_image
            or self.output_image
            or self.cached_image
            or self.input_video
            or self.output_video
        )

    @property
    def audio(self) -> int:
        """Tokens of sound, in and out."""
        return self.input_audio + self.output_audio

    def counts(self) -> dict[str, Any]:
        """Return by name what is not zero."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name))}


def number(value: Any) -> float:
    """Return a number that a provider states, or 0 for what is no number of anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value <= _MOST and math.isfinite(value) else 0.0


def count(stated: Any, *names: str) -> int:
    """Return the first count that an object has by one of these names, or 0."""
    if stated and isinstance(stated, dict):
        for name in names:
            value = stated.get(name)
            if value and (found := number(value)):
                return int(found)
    return 0


def members(value: Any) -> dict[str, Any]:
    """Return an object, an empty one for what is none."""
    return value if isinstance(value, dict) else {}


def part(stated: Any, *names: str) -> dict[str, Any]:
    """Return the first object within an object by one of these names, or an empty one."""
    if stated and isinstance(stated, dict):
        for name in names:
            found = stated.get(name)
            if found and isinstance(found, dict):
                return found
    return {}


def words(value: Any, longest: int = 200) -> str:
    """Return a text that a provider states, cut; nothing for what is no text."""
    return value[:longest] if isinstance(value, str) else ""
