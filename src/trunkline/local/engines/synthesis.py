"""Text to speech: one English voice (hibari)."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from hibari import SAMPLE_RATE as _RATE
from hibari import Hibari

from trunkline.local.audio import FloatArray

SAMPLE_RATE: Final[int] = _RATE

# Text without punctuation is spoken as one piece, whose cost in time and memory grows faster than its length.
_MAX_WORDS: Final = 40
_SEED: Final = 1  # the same text sounds the same each time


class UnspeakableText(ValueError):
    """The voice has no sounds for the text: it speaks English written in Latin letters."""


class Synthesiser:
    """Speaks. All requests share one voice, ``heart``: the package's others would be downloaded."""

    SAMPLE_RATE: Final = SAMPLE_RATE

    def __init__(self) -> None:
        self._voice: Any = Hibari(voice="heart", threads=1)
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="synthesis")
        self._voice("Ready.")  # its dictionaries load on the first word

    async def speak(self, text: str, *, speed: float = 1.0) -> FloatArray:
        """Return speech as float32 mono at 24 kHz. ``speed``: 0.25 to 4.

        Raises `UnspeakableText` when there are words but none that it can say; text without words gives silence.
        """
        if not any(character.isalnum() for character in text):
            return np.zeros(0, np.float32)
        if not re.search(r"[A-Za-z0-9]", text):
            raise UnspeakableText("The local voice speaks English only; it has no sounds for this text.")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._speak, text, speed)

    def _speak(self, text: str, speed: float) -> FloatArray:
        parts = [self._voice(piece, speed=speed, seed=_SEED) for piece in _pieces(text)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _pieces(text: str) -> list[str]:
    """Split each run of more than `_MAX_WORDS` words that has no sentence end in it."""
    pieces = []
    for sentence in Hibari.split_sentences(text):
        words = sentence.split()
        pieces += [" ".join(words[at : at + _MAX_WORDS]) for at in range(0, len(words), _MAX_WORDS)]
    return pieces
