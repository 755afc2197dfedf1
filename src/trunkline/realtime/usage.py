"""What a provider states was used: tokens by direction and modality, or seconds of sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec


class Tokens(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens by direction and modality. Those that came from a cache are part of the input of the same modality."""

    input_text: int = 0
    input_audio: int = 0
    input_image: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    cached_image: int = 0
    output_text: int = 0
    output_audio: int = 0

    @property
    def input(self) -> int:
        """All that went in."""
        return self.input_text + self.input_audio + self.input_image

    @property
    def cached(self) -> int:
        """That part of the input which came from a cache."""
        return self.cached_text + self.cached_audio + self.cached_image

    @property
    def output(self) -> int:
        """All that came out."""
        return self.output_text + self.output_audio

    @property
    def total(self) -> int:
        """In and out."""
        return self.input + self.output

    def counts(self) -> dict[str, int]:
        """Return the counts by name, as a price is asked for."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What one response, or the transcription of one utterance, used.

    ``model`` is the one that is billed: the session's, or the one that transcribes (empty where it was never named).
    ``seconds`` of sound are stated by models that are billed by time. ``stated`` is false for a response whose end
    said nothing of its usage: then only ``frame_bytes``, the size of its frames, is there to estimate from. ``cost``
    is in US dollars, None where it is not known.
    """

    kind: Literal["response", "transcription"]
    model: str
    tokens: Tokens = Tokens()
    seconds: float = 0.0
    stated: bool = True
    frame_bytes: int = 0
    cost: float | None = None


Pricer = Callable[[Usage], float | None]
