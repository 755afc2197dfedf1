"""How much sound passed, by format."""

from __future__ import annotations

import re
from typing import Final

from trunkline.realtime.bounded import KINDS_KEPT, NAME_KEPT, clipped
from trunkline.realtime.report import Sound

_RATE: Final = re.compile(r"(?:rate=|_)(\d{4,6})$")


class Sounds:
    """Bytes of sound by format; those of the present one are counted in ``bytes``."""

    __slots__ = ("_before", "_format", "bytes")

    def __init__(self) -> None:
        self.bytes = 0
        self._format = ""
        self._before: dict[str, int] = {}

    def change(self, format: str | None) -> None:
        """Count what follows as of another format, None for no other."""
        named = clipped(format or "", NAME_KEPT)
        if not named or named == self._format:
            return
        if self.bytes:
            known = self._format in self._before or len(self._before) < KINDS_KEPT
            old = self._format if known else ""
            self._before[old] = self._before.get(old, 0) + self.bytes
            self.bytes = 0
        self._format = named

    def told(self) -> tuple[Sound, ...]:
        """Return all of it, in the order in which the formats came."""
        sizes = dict(self._before)
        if self.bytes:
            sizes[self._format] = sizes.get(self._format, 0) + self.bytes
        return tuple(Sound(kind, size, _seconds(kind, size)) for kind, size in sizes.items())


def _seconds(format: str, size: int) -> float | None:
    """Return how long sound of a format lasts, None where a byte is no fixed time."""
    rate = _RATE.search(format)
    per_second = int(rate[1]) if rate is not None else 8000
    if format.startswith(("audio/pcmu", "audio/pcma", "ulaw_", "alaw_")):
        return round(size / per_second, 3) if per_second else None
    if format.startswith(("audio/pcm;", "pcm_")) and rate is not None and per_second:
        return round(size / (2 * per_second), 3)
    return None
