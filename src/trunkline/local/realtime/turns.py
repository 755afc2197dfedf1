"""When somebody starts and stops speaking, told from a probability of speech per frame. Pure: audio is the clock."""

from __future__ import annotations

from typing import Final

import msgspec

FRAME_MS: Final = 32
"""The audio that one probability stands for."""

# Once somebody speaks, a frame counts as silence only this far below the threshold: voices sink within words.
_HYSTERESIS: Final = 0.15
_LOWEST_THRESHOLD: Final = 0.01
# The detector's probability falls this long after the voice has ended (the median over clean recordings).
_DETECTION_LAG_MS: Final = 53
# Where a pause is taken for the likely end of the turn. Words rarely have a longer one inside; half of a short window.
_PROBABLE_END_MS: Final = 180
# A noise that is taken for speech must not fill the memory: such a turn is ended.
_LONGEST_TURN_MS: Final = 5 * 60_000

# No model of turn ends is at work: eagerness only chooses how long a silence ends the turn.
_SEMANTIC_SILENCE_MS: Final = {"low": 1300, "medium": 700, "auto": 700, "high": 400}


class TurnRules(msgspec.Struct, frozen=True):
    """How turns are told apart. ``idle_ms`` is how long nobody may speak after a response, None for ever."""

    threshold: float = 0.5
    prefix_ms: int = 300
    silence_ms: int = 500
    idle_ms: int | None = None

    @property
    def probable_end_ms(self) -> int:
        """The silence after which the turn has probably ended; before `silence_ms` confirms it."""
        return min(_PROBABLE_END_MS, self.silence_ms // 2)

    @property
    def certain_silence_ms(self) -> int:
        """How much audio has certainly come after the last speech when the turn has probably ended."""
        return max(0, self.probable_end_ms - _DETECTION_LAG_MS)


def semantic_rules(eagerness: str) -> TurnRules:
    """Return the rules that stand for ``semantic_vad``: 400, 700 or 1300 ms of silence by falling eagerness."""
    return TurnRules(silence_ms=_SEMANTIC_SILENCE_MS[eagerness])


class SpeechStarted(msgspec.Struct, frozen=True):
    """Somebody speaks. ``start_ms`` is the prefix before it."""

    start_ms: int


class ProbablyEnded(msgspec.Struct, frozen=True):
    """Silence has begun that will probably end the turn. Follows each pause at most once."""


class SpeechResumed(msgspec.Struct, frozen=True):
    """The speaker went on after all; undoes `ProbablyEnded`."""


class SpeechStopped(msgspec.Struct, frozen=True):
    """The turn is over. ``end_ms`` includes the silence that ended it."""

    end_ms: int


class IdleTimeout(msgspec.Struct, frozen=True):
    """Nobody has spoken between the two times."""

    start_ms: int
    end_ms: int


TurnEvent = SpeechStarted | ProbablyEnded | SpeechResumed | SpeechStopped | IdleTimeout


class TurnDetector:
    """Follows one stream. All times are milliseconds of audio since the stream began."""

    def __init__(self, rules: TurnRules) -> None:
        self.rules = rules
        self.now_ms = 0
        self._speaking_since: int | None = None
        self._silent_since: int | None = None
        self._end_expected = False
        self._idle_since: int | None = None
        self._earliest_start = 0
        self._voiced: tuple[int, int] | None = None

    @property
    def is_speaking(self) -> bool:
        """Whether a turn is open."""
        return self._speaking_since is not None

    @property
    def voiced(self) -> tuple[int, int] | None:
        """From when to when speech was heard since the last `cut`; None if there was none."""
        return self._voiced

    def cut(self, at_ms: int) -> None:
        """Begin anew: what was before ``at_ms`` belongs to another turn, or to none."""
        self._speaking_since = self._silent_since = None
        self._end_expected = False
        self._earliest_start = at_ms
        self._voiced = None

    def expect_speech(self, from_ms: int | None) -> None:
        """Start to count idle time when the audio reaches ``from_ms``; None stops counting."""
        self._idle_since = from_ms

    def hear(self, probability: float) -> list[TurnEvent]:
        """Take the next frame; return what it shows, in order."""
        frame_start = self.now_ms
        self.now_ms += FRAME_MS
        if probability > self.rules.threshold:
            return self._hear_voice(frame_start)
        if self._speaking_since is not None:
            return self._hear_pause(frame_start, probability)
        return self._hear_nobody()

    def _hear_voice(self, frame_start: int) -> list[TurnEvent]:
        first = self._voiced[0] if self._voiced else frame_start
        self._voiced = (first, self.now_ms)
        self._silent_since = None
        self._idle_since = None
        if self._speaking_since is None:
            self._speaking_since = frame_start
            return [SpeechStarted(max(self._earliest_start, frame_start - self.rules.prefix_ms))]
        if self.now_ms - self._speaking_since >= _LONGEST_TURN_MS:
            return self._stop()
        if self._end_expected:
            self._end_expected = False
            return [SpeechResumed()]
        return []

    def _hear_pause(self, frame_start: int, probability: float) -> list[TurnEvent]:
        if self._silent_since is None:
            if probability >= max(self.rules.threshold - _HYSTERESIS, _LOWEST_THRESHOLD):
                return []
            self._silent_since = frame_start - _DETECTION_LAG_MS
        silence = self.now_ms - self._silent_since
        if silence >= self.rules.silence_ms:
            return self._stop()
        if silence >= self.rules.probable_end_ms and not self._end_expected:
            self._end_expected = True
            return [ProbablyEnded()]
        return []

    def _hear_nobody(self) -> list[TurnEvent]:
        if self._idle_since is None or self.rules.idle_ms is None:
            return []
        if self.now_ms - self._idle_since < self.rules.idle_ms:
            return []
        start, self._idle_since = self._idle_since, None
        return [IdleTimeout(max(start, self._earliest_start), self.now_ms)]

    def _stop(self) -> list[TurnEvent]:
        """End the turn; `voiced` stays readable until the turn's audio is `cut` off."""
        self._speaking_since = self._silent_since = None
        self._end_expected = False
        return [SpeechStopped(self.now_ms)]
