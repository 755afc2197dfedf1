"""A recorded session as data: a line for each frame, with its sound kept apart as bytes that any player can play.

A line is a JSON object: ``at`` (milliseconds since the session began), ``side``, and the frame. A text frame is in
``text``; where it held sound, that is cut out at character ``cut`` and ``audio`` says where it is: file, offset and
length in bytes. A binary frame is in ``binary`` in base64 or, where it is sound, wholly in ``audio``; one that is text
all the same is in ``text``, and ``is_binary`` says so.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from trunkline.credentials.redaction import (
    REDACTED,
    has_key_shape,
    names_a_secret,
    redact_key_shapes,
    redact_query,
)
from trunkline.providers.schema import Protocol
from trunkline.realtime.frames import Frame
from trunkline.realtime.observing import observer_of
from trunkline.realtime.observing.facts import Said, SessionSet
from trunkline.realtime.observing.reading import sound_span
from trunkline.realtime.report import Report
from trunkline.wire import subprotocols
from trunkline.wire.documents import UNREADABLE, json_object, json_text, why_unreadable
from trunkline.wire.head import Head

VERSION: Final = 1

Speaker = Literal["client", "provider"]
State = Literal["open", "complete", "truncated"]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a recording besides its frames.

    ``query`` and ``subprotocols`` are the client's without whatever held a credential. ``beta``: the frames are of
    OpenAI's retired dialect. ``started_at`` is a Unix time. ``state`` stays ``open`` when the gateway was killed, and
    is ``truncated`` when the disk could not take everything. ``report`` is that of the session's end.
    """

    id: str
    path: str
    query: str = ""
    subprotocols: tuple[str, ...] = ()
    provider: str
    protocol: Protocol = "openai"
    model: str = ""
    beta: bool = False
    started_at: float = 0.0
    state: State = "open"
    report: Report | None = None
    version: int = VERSION


def session_of(
    id: str, head: Head, *, provider: str, protocol: Protocol, model: str, beta: bool, started_at: float
) -> Session:
    """Return what is written of a session's beginning, from the head as the client sent it."""
    kept = [(name, value) for name, value in parse_qsl(redact_query(head.query)) if value != REDACTED]
    return Session(
        id=id,
        path=head.path,
        query=urlencode(kept),
        subprotocols=tuple(subprotocols.without_credentials(head.subprotocols)),
        provider=provider,
        protocol=protocol,
        model=model,
        beta=beta,
        started_at=started_at,
    )


class Sound(msgspec.Struct, array_like=True, frozen=True):
    """Where sound is: a file of the recording, and the bytes of its data."""

    file: str
    offset: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
    length: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One frame as it is kept."""

    at: float
    side: Speaker
    text: str | None = None
    cut: int = 0
    audio: Sound | None = None
    binary: str | None = None
    is_binary: bool = False

    def frame(self, sound: bytes = b"") -> str | bytes:
        """Return the frame as it was, given its sound."""
        if self.text is None:
            return sound if self.audio is not None else base64.b64decode(self.binary or "")
        text = self.text
        if self.audio is not None:
            text = text[: self.cut] + base64.b64encode(sound).decode() + text[self.cut :]
        return text.encode() if self.is_binary else text


class AudioFile(msgspec.Struct, frozen=True):
    """A file of sound. ``encoding`` is WAVE's number for it; 0: a WAV cannot hold it, and the file has no header."""

    name: str
    encoding: int
    rate: int

    def header(self, size: int) -> bytes:
        """Return the header of a file with ``size`` bytes of sound."""
        if not self.encoding:
            return b""
        width = _WIDTHS[self.encoding]
        parts = struct.pack("<HHIIHHH", self.encoding, 1, self.rate, self.rate * width, width, 8 * width, 0)
        chunks = b"fmt " + struct.pack("<I", len(parts)) + parts
        chunks += b"fact" + struct.pack("<II", 4, size // width)
        return (
            b"RIFF"
            + struct.pack("<I", 4 + len(chunks) + 8 + size)
            + b"WAVE"
            + chunks
            + b"data"
            + struct.pack("<I", size)
        )


PCM: Final = 1
A_LAW: Final = 6
MU_LAW: Final = 7
_WIDTHS: Final = {PCM: 2, A_LAW: 1, MU_LAW: 1}
# What a format is called, by OpenAI and by others -> its number. Providers' own words are read by their observers.
_ENCODINGS: Final = (
    (PCM, re.compile(r"audio/pcm;|pcm_\d|pcm_s16le")),
    (MU_LAW, re.compile(r"audio/pcmu|ulaw_|mulaw|pcm_mulaw")),
    (A_LAW, re.compile(r"audio/pcma|alaw|pcm_alaw")),
)
_RATE: Final = re.compile(r"(?:rate=|_)(\d{4,6})$")
_DEFAULT_FORMAT: Final = "audio/pcm;rate=24000"
_TELEPHONE_RATE: Final = 8000
# A WAV's sizes are of 32 bits, and some players take them for signed ones.
_LARGEST_FILE: Final = 1 << 30
# Where a frame of sound has its base64.
_AUDIO_MEMBERS: Final[dict[tuple[Protocol, Speaker], str]] = {
    ("openai", "client"): "audio",
    ("openai", "provider"): "delta",
    ("google", "client"): "data",
    ("google", "provider"): "data",
    ("elevenlabs", "client"): "user_audio_chunk",
    ("elevenlabs", "provider"): "audio_base_64",
    ("cartesia", "provider"): "data",
}


class Written(msgspec.Struct, frozen=True):
    """What a frame adds to a recording: bytes to the end of a file of sound, and then a line."""

    line: bytes
    file: AudioFile | None = None
    sound: bytes = b""


class Recording:
    """Turns the frames of one session into what is written of them. Raises nothing, whatever they hold."""

    def __init__(self, protocol: Protocol) -> None:
        self._observer = observer_of(protocol)
        self._tracks: dict[Speaker, _Track] = {
            side: _Track(side, _AUDIO_MEMBERS.get((protocol, side), "")) for side in ("client", "provider")
        }

    def client(self, said: str | bytes, at: float) -> Written:
        """Take what the client sent, ``at`` seconds after the session began."""
        found = self._observer.client(Frame(said) if isinstance(said, str) else said)
        return self._taken("client", said, at, found)

    def provider(self, said: str | bytes, at: float) -> Written:
        """Take what was sent to the client."""
        found = self._observer.provider(Frame(said) if isinstance(said, str) else said)
        return self._taken("provider", said, at, found)

    def _taken(self, side: Speaker, said: str | bytes, at: float, found: Said) -> Written:
        is_sound = isinstance(found, int) and bool(found)
        if not is_sound:
            self._note(found)
        return self._written(side, said, at, is_sound=is_sound)

    def _note(self, facts: Any) -> None:
        if isinstance(facts, Sequence):
            for fact in facts:
                if isinstance(fact, SessionSet):
                    self._tracks["client"].change(fact.heard)
                    self._tracks["provider"].change(fact.spoken)

    def _written(self, side: Speaker, said: str | bytes, at: float, *, is_sound: bool) -> Written:
        at, track = round(at * 1000, 1), self._tracks[side]
        text = said if isinstance(said, str) else _text(said)
        if text is None:
            assert isinstance(said, bytes)
            if not is_sound:
                return Written(_line(Line(at=at, side=side, binary=base64.b64encode(said).decode())))
            file, place = track.take(said)
            return Written(_line(Line(at=at, side=side, audio=place)), file, said)
        is_binary = isinstance(said, bytes)
        found = track.cut(text) if is_sound else None
        if found is None:
            return Written(_line(Line(at=at, side=side, text=without_credentials(text), is_binary=is_binary)))
        rest, cut, sound = found
        file, place = track.take(sound)
        return Written(_line(Line(at=at, side=side, text=rest, cut=cut, audio=place, is_binary=is_binary)), file, sound)


def _text(said: bytes) -> str | None:
    """Return the JSON that some protocols send in binary frames, None for sound."""
    if said[:1] != b"{":
        return None
    try:
        return said.decode()
    except UnicodeDecodeError:
        return None


class _Track:
    """One side's sound: which file it goes to, and how much is in it."""

    def __init__(self, side: Speaker, member: str) -> None:
        self._side = side
        self._member = f'"{member}"' if member else ""
        self._format = _DEFAULT_FORMAT
        self._count = 0
        self._file: AudioFile | None = None
        self._size = 0

    def change(self, format: str | None) -> None:
        if format and format != self._format:
            self._format = format
            self._file = None

    def take(self, sound: bytes) -> tuple[AudioFile, Sound]:
        if self._file is None or self._size + len(sound) > _LARGEST_FILE:
            self._file, self._size = self._next_file(), 0
        place = Sound(self._file.name, self._size, len(sound))
        self._size += len(sound)
        return self._file, place

    def cut(self, text: str) -> tuple[str, int, bytes] | None:
        """Return a frame without its sound, where that was, and the sound; None where it cannot be put back exactly."""
        span = sound_span(text, self._member) if self._member else None
        if span is None:
            return None
        start, end = span
        encoded = text[start:end]
        try:
            sound = base64.b64decode(encoded)
        except (ValueError, binascii.Error):
            return None
        rest = text[:start] + text[end:]
        if base64.b64encode(sound).decode() != encoded or len(rest) > _LARGEST_REST or _may_hold_a_credential(rest):
            return None
        return rest, start, sound

    def _next_file(self) -> AudioFile:
        self._count += 1
        encoding, rate = encoding_of(self._format)
        ending = "wav" if encoding else "raw"
        name = f"{self._side}.{ending}" if self._count == 1 else f"{self._side}-{self._count}.{ending}"
        return AudioFile(name, encoding, rate)


# Beside its sound a frame has a few short members. One with more is kept as it is, and looked through for credentials.
_LARGEST_REST: Final = 2048


def encoding_of(format: str) -> tuple[int, int]:
    """Return WAVE's number for a format and its samples per second, 0 for what a WAV cannot hold."""
    encoding = next((number for number, pattern in _ENCODINGS if pattern.match(format)), 0)
    rate = _RATE.search(format)
    if encoding == PCM and rate is None:
        return 0, 0
    return encoding, int(rate[1]) if rate is not None else _TELEPHONE_RATE


def bytes_per_second(encoding: int, rate: int) -> int:
    """Return how many bytes a second of sound has, 0 where nobody can know."""
    return rate * _WIDTHS.get(encoding, 0)


def _line(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def read_line(line: bytes) -> Line:
    """Return a frame from its line. Raises `ValueError` for what is none, such as a line that was cut by a crash."""
    try:
        return msgspec.json.decode(line, type=Line)
    except UNREADABLE as error:
        raise ValueError(f"This is no line of a recording: {why_unreadable(error)}") from error


# Credentials

# Objects of which every value may be one: an MCP tool's headers.
_SECRET_OBJECTS: Final = frozenset({"headers", "requestheaders", "extraheaders"})
# What may begin such a member, a URL, or a name that hides behind escapes.
_SUSPICIOUS: Final = re.compile(
    r"authorization|secret|key|cookie|token\"|password|credential|headers|://|\\u00[0-7]", re.IGNORECASE
)
_NOT_A_LETTER: Final = re.compile(r"[^a-z]")
_URL: Final = re.compile(r"(?:https?|wss?)://\S+")


def without_credentials(text: str) -> str:
    """Return a frame in which nothing is left of members and keys that are known to be credentials.

    A frame without any stays as it is, character for character. One that may have some and cannot be read is left out.
    """
    if not _may_hold_a_credential(text):
        return text
    cleaned = redact_key_shapes(text)
    document = json_object(cleaned)
    if not document:
        return REDACTED
    clean = _clean(document)
    # A member that stands twice is read once: what is written of such a frame is what was read.
    return cleaned if clean == document and not _has_doubles(cleaned) else json_text(clean)


def _may_hold_a_credential(text: str) -> bool:
    return _SUSPICIOUS.search(text) is not None or has_key_shape(text)


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _clean_member(name, member) for name, member in value.items()}
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, str):
        return _clean_url(value) if _URL.fullmatch(value) else redact_key_shapes(value)
    return value


def _clean_member(name: str, value: Any) -> Any:
    plain = _NOT_A_LETTER.sub("", name.lower())
    if names_a_secret(name) and isinstance(value, str):
        return REDACTED if value else value
    if plain == "clientsecret" and isinstance(value, dict):
        return {inner: REDACTED if isinstance(one, str) else one for inner, one in value.items()}
    if plain in _SECRET_OBJECTS and isinstance(value, dict):
        return {inner: REDACTED if isinstance(one, str) else _clean(one) for inner, one in value.items()}
    return _clean(value)


def _clean_url(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return REDACTED
    place = parts.netloc.rpartition("@")[2]
    redacted = redact_query(parts.query)
    if place == parts.netloc and redacted == urlencode(
        parse_qsl(parts.query, keep_blank_values=True), errors="replace"
    ):
        return url
    return urlunsplit(parts._replace(netloc=place, query=redacted))


def _has_doubles(text: str) -> bool:
    found = False

    def look(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        read = dict(members)
        found = found or len(read) != len(members)
        return read

    json.loads(text, object_pairs_hook=look)
    return found
