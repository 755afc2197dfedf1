"""A recorded session as one WAV to listen to: the user on the left, the assistant on the right, as it was heard."""

from __future__ import annotations

import io
import wave
from array import array
from collections.abc import Iterator, Mapping
from typing import Final

from trunkline.errors import SettingsError
from trunkline.realtime.listening import Piece, arrange, resampled, samples
from trunkline.realtime.recording import bytes_per_second
from trunkline.server.recordings import SoundReader, StoredRecording

_SIDES: Final = ("client", "provider")
# Of both sides' samples: a WAV's sizes are of 32 bits, and its header takes some of that.
_LARGEST: Final = (1 << 32) - 128
_FRAME_BYTES: Final = 4


class Mix:
    """The sound of a recording, arranged in time: ``seconds`` long, PCM16 at ``rate`` samples per second."""

    def __init__(self, recording: StoredRecording) -> None:
        """Arrange it; reads files. Raises `SettingsError` where nothing can be played.

        Sound whose file is gone or damaged is left out.
        """
        self._directory = recording.directory
        names = {line.audio.file for line in recording.lines() if line.audio is not None}
        with SoundReader(self._directory) as sounds:
            formats = {name: sounds.format_of(name) for name in names}
        speeds = {name: bytes_per_second(*found) for name, found in formats.items()}
        self._pieces = arrange(recording.lines(), recording.session.protocol, speeds)
        if not self._pieces:
            raise SettingsError(f"There is no sound in {self._directory} that a WAV can hold.")
        self._formats = formats
        self.rate = max(formats[piece.sound.file][1] for piece in self._pieces)
        self.seconds = max(piece.end for piece in self._pieces)
        if (self.seconds + 1) * self.rate * _FRAME_BYTES > _LARGEST:
            raise SettingsError(f"The recording in {self._directory} is longer than a WAV can hold.")

    def pieces(self) -> Iterator[bytes]:
        """Yield the file: its header, and then second by second; reads files."""
        rate, length = self.rate, int(self.seconds) + 1
        yield _header(rate, length * rate)
        with SoundReader(self._directory) as sounds:
            tracks = [
                _Track([one for one in self._pieces if one.side == side], sounds, self._formats, rate)
                for side in _SIDES
            ]
            for second in range(length):
                both = array("h", bytes(_FRAME_BYTES * rate))
                for channel, track in enumerate(tracks):
                    both[channel::2] = track.between(second * rate, (second + 1) * rate)
                yield both.tobytes()


def _header(rate: int, frames: int) -> bytes:
    # A stream cannot be rewound, so the header has to be right from the start.
    header = io.BytesIO()
    file = wave.open(header, "wb")  # noqa: SIM115 - to close it would correct the number of frames
    file.setnchannels(2)
    file.setsampwidth(2)
    file.setframerate(rate)
    file.setnframes(frames)
    file.writeframesraw(b"")
    return header.getvalue()


class _Track:
    """One side's sound at one rate, read in order of time."""

    def __init__(
        self, pieces: list[Piece], sounds: SoundReader, formats: Mapping[str, tuple[int, int]], rate: int
    ) -> None:
        self._pieces = pieces
        self._next = 0
        self._sounds = sounds
        self._formats = formats
        self._rate = rate
        self._playing: tuple[int, array[int]] | None = None

    def between(self, first: int, last: int) -> array[int]:
        """Return the samples from ``first`` to before ``last``, silence where nothing is played."""
        result = array("h", bytes(2 * (last - first)))
        while True:
            if self._playing is None:
                if self._next == len(self._pieces):
                    return result
                self._playing = self._decoded(self._pieces[self._next])
                self._next += 1
            start, samples = self._playing
            if start >= last:
                return result
            begin, end = max(start, first), min(start + len(samples), last)
            if begin < end:
                result[begin - first : end - first] = samples[begin - start : end - start]
            if start + len(samples) > last:
                return result
            self._playing = None

    def _decoded(self, piece: Piece) -> tuple[int, array[int]]:
        encoding, rate = self._formats[piece.sound.file]
        sound = resampled(samples(encoding, self._sounds.read(piece.sound)), rate, self._rate)
        return round(piece.start * self._rate), sound[: round((piece.end - piece.start) * self._rate)]
