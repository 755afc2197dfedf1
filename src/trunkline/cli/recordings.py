"""``trunkline sessions audio`` and ``forget``: what was recorded, to listen to and to delete."""

from __future__ import annotations

import sys
import wave
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer

from trunkline.cli.data_directory import DataDirOption, chosen
from trunkline.cli.output import err
from trunkline.errors import SettingsError

if TYPE_CHECKING:
    from trunkline.realtime.listening import Piece
    from trunkline.server.recordings import SoundReader, StoredRecording

_STDOUT: Final = "-"
_SIDES: Final = ("client", "provider")


def audio(
    id: Annotated[str, typer.Argument(help="The session's id, or the folder of its recording.")],
    out: Annotated[
        str, typer.Option(metavar="FILE", help="Where to write it; by default ID.wav, - is standard output.")
    ] = "",
    data_dir: DataDirOption = None,
) -> None:
    """Write a recorded session as one WAV to listen to: the user on the left, the assistant on the right.

    Everything is where it was heard: answers that arrived faster than they were
    played are played in time, and end where they were interrupted.
    """
    from trunkline.server.recordings import StoredRecording

    recording = StoredRecording.find(chosen(data_dir), id)
    target = out or f"{recording.session.id}.wav"
    if target == _STDOUT:
        _mix(recording, sys.stdout.buffer)
        return
    with Path(target).open("wb") as file:
        seconds = _mix(recording, file)
    err.print(f"{target}: {seconds:.0f} seconds, the user on the left, the assistant on the right.", markup=False)


def forget(
    id: Annotated[str, typer.Argument(help="The session's id, from `trunkline sessions list`.")],
    data_dir: DataDirOption = None,
) -> None:
    """Delete a session's recording. Its record in the database stays, with the words of both sides."""
    from trunkline.server import recordings

    recordings.forget(chosen(data_dir), id)
    err.print(f"The recording of session {id} is deleted.", markup=False)


def _mix(recording: StoredRecording, target: BinaryIO) -> float:
    """Write the mix; return its length in seconds. Raises `SettingsError` where nothing can be played."""
    from trunkline.realtime.listening import arrange
    from trunkline.realtime.recording import bytes_per_second
    from trunkline.server.recordings import SoundReader

    names = {line.audio.file for line in recording.lines() if line.audio is not None}
    with SoundReader(recording.directory) as sounds:
        speeds = {name: bytes_per_second(*sounds.format_of(name)) for name in names}
        pieces = arrange(recording.lines(), recording.session.protocol, speeds)
        if not pieces:
            raise SettingsError(f"There is no sound in {recording.directory} that a WAV can hold.")
        rate = max(sounds.format_of(piece.sound.file)[1] for piece in pieces)
        length = max(piece.end for piece in pieces)
        # Standard output cannot be rewound, so the header has to be right from the start.
        with wave.open(target, "wb") as mix:
            mix.setnchannels(2)
            mix.setsampwidth(2)
            mix.setframerate(rate)
            mix.setnframes(round((int(length) + 1) * rate))
            tracks = [_Track([piece for piece in pieces if piece.side == side], sounds, rate) for side in _SIDES]
            for second in range(int(length) + 1):
                both = array("h", bytes(4 * rate))
                for channel, track in enumerate(tracks):
                    both[channel::2] = track.between(second * rate, (second + 1) * rate)
                mix.writeframesraw(both.tobytes())
    return length


class _Track:
    """One side's sound at one rate, read in order of time."""

    def __init__(self, pieces: list[Piece], sounds: SoundReader, rate: int) -> None:
        self._pieces = pieces
        self._next = 0
        self._sounds = sounds
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
        from trunkline.realtime.listening import resampled, samples

        encoding, rate = self._sounds.format_of(piece.sound.file)
        sound = resampled(samples(encoding, self._sounds.read(piece.sound)), rate, self._rate)
        return round(piece.start * self._rate), sound[: round((piece.end - piece.start) * self._rate)]
