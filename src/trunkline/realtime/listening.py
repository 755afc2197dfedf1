"""What somebody in the room would have heard of a recorded session: when each piece of sound began, and when it ended.

Users speak while they send. An assistant's sound comes faster than it is played, and is cut off when it is interrupted.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from typing import Final

import msgspec

from trunkline.providers.schema import Protocol
from trunkline.realtime.frames import Frame
from trunkline.realtime.observing import observer_of
from trunkline.realtime.observing.facts import PlaybackCut, ResponseEnded
from trunkline.realtime.recording import A_LAW, MU_LAW, PCM, Line, Sound, Speaker

# Sound that comes this much later than the end of what came before still belongs to it: networks are uneven.
_JITTER: Final = 0.25
_ITEM: Final = re.compile(r'"item_id"\s*:\s*"([^"\\]*)"')


class Piece(msgspec.Struct):
    """Sound that is played ``start`` seconds after the beginning, and ends ``end`` seconds after it."""

    side: Speaker
    start: float
    end: float
    sound: Sound
    item: str = ""


def arrange(lines: Iterable[Line], protocol: Protocol, bytes_per_second: dict[str, int]) -> list[Piece]:
    """Return when each piece of sound is heard, by side in order of time.

    ``bytes_per_second`` names the files that can be played; sound in others is left out.
    """
    observer = observer_of(protocol)
    pieces: dict[Speaker, list[Piece]] = {"client": [], "provider": []}
    for line in lines:
        at = line.at / 1000
        if line.audio is not None:
            rate = bytes_per_second.get(line.audio.file)
            if rate:
                _place(pieces[line.side], line, at, line.audio.length / rate)
            continue
        said = Frame(line.text) if line.text is not None else b""
        if not said:
            continue
        found = observer.client(said) if line.side == "client" else observer.provider(said)
        for fact in found if not isinstance(found, int) else ():
            match fact:
                case PlaybackCut(item, ms):
                    _cut(pieces["provider"], item, ms / 1000)
                case ResponseEnded(ending="cancelled"):
                    _silence(pieces["provider"], at)
    return [*pieces["client"], *pieces["provider"]]


def _place(track: list[Piece], line: Line, at: float, seconds: float) -> None:
    assert line.audio is not None
    free = track[-1].end if track else 0.0
    if line.side == "client":
        # It was spoken before it was sent.
        spoken = at - seconds
        start = free if spoken < free + _JITTER and track else max(0.0, spoken)
        item = ""
    else:
        start = max(free, at)
        found = _ITEM.search(line.text or "")
        item = found[1] if found is not None else ""
    track.append(Piece(line.side, start, start + seconds, line.audio, item))


def _cut(track: list[Piece], item: str, seconds: float) -> None:
    """Leave so much of an item and nothing behind it: the client says that it stopped there."""
    start = next((piece.start for piece in track if piece.item == item), None)
    if start is None:
        return
    end = start + seconds
    track[:] = [piece for piece in track if piece.item != item or piece.start < end]
    for piece in track:
        if piece.item == item:
            piece.end = min(piece.end, end)


def _silence(track: list[Piece], at: float) -> None:
    """Leave nothing that would be played after a moment."""
    while track and track[-1].start >= at:
        track.pop()
    if track:
        track[-1].end = min(track[-1].end, at)


def samples(encoding: int, sound: bytes) -> array[int]:
    """Return sound in 16-bit samples, of WAVE's encodings 1 (PCM16), 6 and 7 (G.711)."""
    if encoding == PCM:
        return array("h", sound[: len(sound) // 2 * 2])  # little-endian, as every machine is that this runs on
    table = {A_LAW: _A_LAW, MU_LAW: _MU_LAW}[encoding]
    return array("h", [table[byte] for byte in sound])


def resampled(sound: array[int], source: int, target: int) -> array[int]:
    """Return samples of another rate, on straight lines between those there are: good enough to listen to."""
    if source == target or not sound:
        return sound
    count, last = len(sound) * target // source, len(sound) - 1
    result = array("h", bytes(2 * count))
    for index in range(count):
        whole, rest = divmod(index * source, target)
        here, there = sound[whole], sound[min(whole + 1, last)]
        result[index] = here + (there - here) * rest // target
    return result


def _mu_law(byte: int) -> int:
    """ITU-T G.711, table 2: bits inverted; sign, three bits of exponent, four of mantissa; biased by 132."""
    byte = ~byte & 0xFF
    size = (((byte & 0x0F) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
    return -size if byte & 0x80 else size


def _a_law(byte: int) -> int:
    """ITU-T G.711, table 1: every other bit inverted; the lowest exponent has no hidden bit."""
    byte ^= 0x55
    exponent, size = byte >> 4 & 7, (byte & 0x0F) << 4
    size = size + 8 if exponent == 0 else size + 0x108 << exponent - 1
    return size if byte & 0x80 else -size


_MU_LAW: Final = [_mu_law(byte) for byte in range(256)]
_A_LAW: Final = [_a_law(byte) for byte in range(256)]
