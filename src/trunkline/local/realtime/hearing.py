"""The input audio buffer, and the ear that listens to it.

Times are milliseconds since the first sample of the session: clients cut their own recording by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import numpy as np

from trunkline.local.audio import FloatArray, Resampler, from_alaw, from_mulaw, from_pcm16
from trunkline.local.realtime.turns import FRAME_MS, TurnDetector, TurnEvent, TurnRules

EAR_RATE: Final = 16_000
_EAR_PER_MS: Final = EAR_RATE // 1000
FRAME: Final = FRAME_MS * _EAR_PER_MS
"""Samples that the probability of speech is asked for."""

# What is kept around speech for the recogniser: a consonant's onset is no speech yet, nor is its last breath.
_LEAD_MS: Final = 300
_TAIL_MS: Final = 200
# What is kept of audio in which nobody speaks, should the client commit it by hand.
_KEPT_SILENCE_MS: Final = 30_000
LONGEST_BUFFER_MS: Final = 10 * 60_000

SpeechProbability = Callable[[FloatArray], float]
"""The probability of speech in the next `FRAME` samples at 16 kHz; it remembers the ones before."""


class AudioFormat(msgspec.Struct, frozen=True):
    """An audio format of the protocol: bytes per sample and samples per second."""

    name: str
    width: int
    rate: int

    @property
    def bytes_per_ms(self) -> int:
        """The size of one millisecond."""
        return self.width * self.rate // 1000

    def decode(self, data: bytes) -> FloatArray:
        """Return the samples at the format's own rate."""
        match self.name:
            case "audio/pcmu":
                return from_mulaw(data)
            case "audio/pcma":
                return from_alaw(data)
            case _:
                return from_pcm16(data)


FORMATS: Final = {
    "audio/pcm": AudioFormat("audio/pcm", 2, 24_000),
    "audio/pcmu": AudioFormat("audio/pcmu", 1, 8_000),
    "audio/pcma": AudioFormat("audio/pcma", 1, 8_000),
}


class Clip(msgspec.Struct, frozen=True, eq=False):
    """Speech for the recogniser, at 16 kHz. Two clips of one session with the same span hold the same sound.

    ``span`` is None for a recording that came whole, of which nobody has yet said where speech is in it.
    """

    span: tuple[int, int] | None
    samples: FloatArray

    @property
    def seconds(self) -> float:
        """The length."""
        return len(self.samples) / EAR_RATE


class Utterance(msgspec.Struct, frozen=True):
    """Audio taken out of the buffer: as it came, and the clip in which speech was heard, None for none."""

    audio: bytes
    format: AudioFormat
    clip: Clip | None

    @property
    def milliseconds(self) -> int:
        """The length."""
        return len(self.audio) // self.format.bytes_per_ms


class Hearing:
    """Buffers the client's audio until it is taken as an utterance, and says when somebody speaks."""

    def __init__(self, probability: SpeechProbability, rules: TurnRules) -> None:
        self._probability = probability
        self._detector = TurnDetector(rules)
        self._format = FORMATS["audio/pcm"]
        self._resampler = Resampler(self._format.rate, EAR_RATE)
        self._audio = bytearray()
        self._pieces: list[FloatArray] = []  # the same audio at 16 kHz
        self._split_sample = b""  # the first half of one, where an append ended within it
        self._start_ms = 0  # where both buffers begin
        self._unjudged = np.zeros(0, np.float32)  # less than a frame

    @property
    def now_ms(self) -> int:
        """The time up to which audio has come."""
        return self._start_ms + self.buffered_ms

    @property
    def judged_ms(self) -> int:
        """The time up to which speech has been looked for."""
        return self._detector.now_ms

    @property
    def buffered_ms(self) -> int:
        """The length of what `take` would return at most."""
        return len(self._audio) // self._format.bytes_per_ms

    @property
    def is_full(self) -> bool:
        """Whether no more audio fits before some is taken or cleared."""
        return self.buffered_ms >= LONGEST_BUFFER_MS

    @property
    def format(self) -> AudioFormat:
        """The format audio comes in."""
        return self._format

    def follow(self, rules: TurnRules, format: AudioFormat) -> None:
        """Change the rules, and the format. A change of format drops what is in the buffer."""
        self._detector.rules = rules
        if format != self._format:
            self.clear()
            self._format = format
            self._split_sample = b""
            self._resampler = Resampler(format.rate, EAR_RATE)

    def expect_speech(self, from_ms: int | None) -> None:
        """Start to count idle time at ``from_ms``; None stops counting."""
        self._detector.expect_speech(from_ms)

    def hear(self, audio: bytes) -> Iterator[TurnEvent]:
        """Take audio in the client's format; yield what is heard in it. About 4 ms per second of audio.

        The next frame is judged only when the next event is asked for: `take` in between, and it begins a new turn.
        """
        audio = self._split_sample + audio
        whole = len(audio) // self._format.width * self._format.width
        audio, self._split_sample = audio[:whole], audio[whole:]
        self._audio += audio
        samples = self._resampler.feed(self._format.decode(audio))
        self._pieces.append(samples)
        unjudged = np.concatenate((self._unjudged, samples))
        whole = len(unjudged) // FRAME * FRAME
        self._unjudged = unjudged[whole:]
        for frame in unjudged[:whole].reshape(-1, FRAME):
            yield from self._detector.hear(self._probability(frame))

    def forget_silence(self) -> None:
        """Drop what is old while nobody speaks."""
        # Twice the length before anything is dropped: then it is done rarely.
        if not self._detector.is_speaking and self.buffered_ms > 2 * _KEPT_SILENCE_MS:
            self._drop_until(self.now_ms - _KEPT_SILENCE_MS)

    def peek(self) -> Clip | None:
        """Return the speech in the buffer so far, without taking it."""
        return self._clip(self.now_ms)

    def take(self, from_ms: int | None = None, until_ms: int | None = None) -> Utterance:
        """Take audio between two times out of the buffer, by default all, with what is before it."""
        start = self._start_ms if from_ms is None else max(from_ms, self._start_ms)
        end = self.now_ms if until_ms is None else min(until_ms, self.now_ms)
        per_ms = self._format.bytes_per_ms
        audio = bytes(self._audio[(start - self._start_ms) * per_ms : (end - self._start_ms) * per_ms])
        utterance = Utterance(audio, self._format, self._clip(end))
        self._drop_until(end)
        self._detector.cut(end)
        # The frame that is not complete yet is judged with what follows: without what has been taken.
        self._unjudged[: max(0, end - self.judged_ms) * _EAR_PER_MS] = 0
        return utterance

    def clear(self) -> None:
        """Empty the buffer."""
        self.take()
        self._audio.clear()

    def _clip(self, end_ms: int) -> Clip | None:
        """Return what was spoken, with its lead-in even where the turn is not to have one."""
        if self._detector.voiced is None:
            return None
        first, last = self._detector.voiced
        first = max(first - _LEAD_MS, self._start_ms)
        # No more than has come when the end is only probable: the clip is the same when the end is certain.
        last = min(last + self._detector.rules.certain_silence_ms, end_ms)
        if last <= first:
            return None
        begin, end = ((time - self._start_ms) * _EAR_PER_MS for time in (first, last))
        return Clip((first, last), self._samples()[begin:end].copy())

    def _samples(self) -> FloatArray:
        if len(self._pieces) != 1:
            self._pieces = [np.concatenate(self._pieces)] if self._pieces else [np.zeros(0, np.float32)]
        return self._pieces[0]

    def _drop_until(self, time_ms: int) -> None:
        dropped = time_ms - self._start_ms
        del self._audio[: dropped * self._format.bytes_per_ms]
        self._pieces = [self._samples()[dropped * _EAR_PER_MS :]]
        self._start_ms = time_ms


def voiced_part(samples: FloatArray, probability: SpeechProbability) -> FloatArray | None:
    """Return the part of a recording (16 kHz) from its first speech to its last; None if nobody speaks."""
    whole = len(samples) // FRAME * FRAME
    detector = TurnDetector(TurnRules())
    for frame in samples[:whole].reshape(-1, FRAME):
        detector.hear(probability(frame))
    if detector.voiced is None:
        return None
    first, last = detector.voiced
    return samples[max(0, first - _LEAD_MS) * _EAR_PER_MS : (last + _TAIL_MS) * _EAR_PER_MS]
