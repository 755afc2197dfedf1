"""One turn of a session while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trunkline.realtime.bounded import NAME_KEPT, clipped
from trunkline.realtime.report import Ending, FunctionCall, Turn
from trunkline.realtime.usage import Tokens

_ITEMS_KEPT: Final = 16


class OpenTurn:
    """A turn in progress."""

    __slots__ = (
        "answered",
        "aside",
        "asked",
        "assistant",
        "barge_in",
        "calls",
        "cost",
        "cut_at_ms",
        "ended",
        "ending",
        "first_audio",
        "first_byte",
        "index",
        "interrupted",
        "items",
        "reason",
        "received",
        "response_id",
        "spoken_over",
        "started",
        "tokens",
        "transcription_cost",
        "user",
    )

    def __init__(self, index: int, started: float) -> None:
        self.index = index
        self.started = started
        self.user = self.assistant = self.reason = self.response_id = ""
        self.ending: Ending = "open"
        self.aside = self.answered = self.interrupted = False
        self.items: list[str] = []
        self.calls: list[FunctionCall] = []
        self.asked: float | None = None
        self.first_byte: float | None = None
        self.first_audio: float | None = None
        self.spoken_over: float | None = None
        self.barge_in: float | None = None
        self.ended: float | None = None
        self.cut_at_ms: int | None = None
        self.received = 0
        self.tokens = Tokens()
        self.cost: float | None = None
        self.transcription_cost: float | None = None

    def holds(self, item: str) -> None:
        """Note that an item of the conversation is part of the turn."""
        item = clipped(item, NAME_KEPT)
        if item and item not in self.items and len(self.items) < _ITEMS_KEPT:
            self.items.append(item)

    def told(self, ms: Callable[[float], float], over: bool) -> Turn:
        """Return the turn as data. ``over``: nothing more can come."""
        return Turn(
            index=self.index,
            started_ms=ms(self.started),
            user=self.user,
            assistant=self.assistant,
            ending="unanswered" if over and not self.answered and self.ending == "open" else self.ending,
            reason=self.reason,
            out_of_band=self.aside,
            interrupted=self.interrupted,
            cut_at_ms=self.cut_at_ms,
            calls=tuple(self.calls),
            first_byte_ms=self._since_asked(self.first_byte),
            first_audio_ms=self._since_asked(self.first_audio),
            barge_in_ms=None if self.barge_in is None else round(self.barge_in, 1),
            ended_ms=None if self.ended is None else ms(self.ended),
            tokens=self.tokens,
            cost=self.cost,
            transcription_cost=self.transcription_cost,
        )

    def _since_asked(self, at: float | None) -> float | None:
        return None if at is None or self.asked is None else round((at - self.asked) * 1000, 1)
