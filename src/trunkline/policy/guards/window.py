"""A stream that is checked as it comes: its events wait until what follows their words is known, and no longer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from trunkline.policy.guards.findings import Finding
from trunkline.policy.guards.guarding import Guard
from trunkline.policy.guards.rules import Side
from trunkline.policy.guards.words import Words, is_said_again

# In what part of a window words may come before they are searched.
_STEPS: Final = 4
_LEAST_STEP: Final = 16


class _Text(msgspec.Struct):
    """One of the texts that go on beside each other: the end of it, with what of it waits."""

    tail: str = ""
    length: int = 0
    searched: int = 0
    passed: int = 0

    def add(self, text: str) -> None:
        self.tail += text
        self.length += len(text)

    def forget(self, context: int) -> None:
        """Keep what waits, and before it ``context`` characters, from the beginning of a word on."""
        kept = self.length - self.passed + context
        if len(self.tail) <= kept:
            return
        before = len(self.tail) - kept
        space = self.tail.find(" ", before, before + context)
        self.tail = self.tail[space if space >= 0 else before :]


class _Event(msgspec.Struct, frozen=True):
    """``ends`` is where in each text its words end; ``said`` what all texts came to, ``spoken`` without repetitions."""

    raw: bytes
    ends: dict[str, int]
    said: int
    spoken: int


class StreamWindow:
    """Events in, events out, in order and byte for byte.

    `add` what came; then `search`, and have judged what `unjudged` returns; then `release` what may pass. Of rules that
    only flag nothing waits. A finding that reaches the end of a text may be half of something: it counts once more has
    come, or when it is long, which is always before any of it passes.
    """

    def __init__(self, guards: Sequence[Guard], side: Side = "response", *, holds: bool = True) -> None:
        """Without ``holds`` each word is searched as it comes, and what may be half of something counts."""
        blocking = [guard for guard in guards if guard.rule.action == "block"]
        self._guards = [guard for guard in guards if guard.check is not None]
        self._side = side
        self._context = max((guard.window for guard in self._guards), default=0)
        self._hold = max((guard.window for guard in blocking if guard.check is not None), default=0)
        self._step = max(_LEAST_STEP, (self._hold or self._context) // _STEPS) if holds else 1
        self._is_patient = holds
        self._is_judged = any(guard.judge is not None for guard in guards)
        self._stride = min((guard.judge.stride for guard in blocking if guard.judge is not None), default=0)
        self._texts: dict[str, _Text] = {}
        self._events: deque[_Event] = deque()
        self._said = self._searched = 0
        self._known: set[tuple[str, str]] = set()
        self._spoken: list[str] = []
        self._spoken_size = self._judged = 0

    def add(self, raw: bytes, words: Iterable[Words]) -> None:
        """Take an event and what it says."""
        ends: dict[str, int] = {}
        for one in words:
            text = self._texts.setdefault(one.place, _Text())
            text.add(one.text)
            ends[one.place] = text.length
            self._said += len(one.text)
            if self._is_judged and not is_said_again(one):
                self._spoken.append(one.text)
                self._spoken_size += len(one.text)
        self._events.append(_Event(raw, ends, self._said, self._spoken_size))

    def search(self, *, at_end: bool = False) -> list[Finding]:
        """Return what is new, once enough has come or at the end of the stream."""
        if not at_end and self._said - self._searched < self._step:
            return []
        found: list[Finding] = []
        for guard in self._guards:
            kinds = sorted({kind for text in self._texts.values() for kind in self._kinds(guard, text, at_end)})
            new = tuple(kind for kind in kinds if (guard.rule.id, kind) not in self._known)
            if new:
                self._known.update((guard.rule.id, kind) for kind in new)
                found.append(Finding(guard.rule, self._side, new))
        self._searched = self._said
        for text in self._texts.values():
            text.searched = text.length
        return found

    def unjudged(self, *, at_end: bool = False) -> str | None:
        """Return all that was said so far when a model has to judge it now, else None."""
        due = self._spoken_size - self._judged
        if not due or (not at_end and (not self._stride or due < self._stride)):
            return None
        self._spoken = ["".join(self._spoken)]
        return self._spoken[0]

    def judged(self) -> None:
        """Note that what was said so far was judged, and may pass."""
        self._judged = self._spoken_size

    def release(self, *, at_end: bool = False) -> bytes:
        """Return the events that may pass."""
        passed: list[bytes] = []
        places = len({place for event in self._events for place in event.ends})
        while self._events and (at_end or self._may_pass(self._events[0], places)):
            event = self._events.popleft()
            passed.append(event.raw)
            for place, end in event.ends.items():
                self._texts[place].passed = end
        for text in self._texts.values():
            text.forget(self._context)
        return b"".join(passed)

    def _may_pass(self, event: _Event, places: int) -> bool:
        if self._stride and event.spoken > self._judged:
            return False
        if not self._hold:
            return True
        if event.said > self._searched:
            return False
        # A text that goes on no more must not hold up the others for ever.
        far_behind = self._searched - event.said >= self._hold * places
        return far_behind or all(self._texts[place].searched - end >= self._hold for place, end in event.ends.items())

    def _kinds(self, guard: Guard, text: _Text, at_end: bool) -> Iterator[str]:
        if guard.check is None or (text.length == text.searched and not at_end):
            return
        for match in guard.check.search(text.tail):
            if match.left > 0 or at_end or not self._is_patient or match.begins > guard.window // 2:
                yield match.kind
