"""The recordings of a data directory: to find, to read and to forget."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from trunkline.errors import SettingsError
from trunkline.realtime.recording import VERSION, Line, Session, Sound, read_line
from trunkline.wire.documents import UNREADABLE, why_unreadable

FOLDER: Final = "recordings"
SESSION: Final = "session.json"
EVENTS: Final = "events.jsonl"

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SOUND: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\.(?:wav|raw)")
_HEAD_BYTES: Final = 128
_DATA: Final = b"data"
_CHUNK_HEAD: Final = 8
# Samples per second that a format may name; others are those of a damaged header.
_RATES: Final = range(1000, 1_000_000)


def directory_of(data_dir: Path, id: str) -> Path:
    """Return the folder of a session's recording, which need not exist. Raises `SettingsError` for what is no id."""
    if not _ID.fullmatch(id):
        raise SettingsError(f"{id!r} is no session's id. `trunkline sessions list` shows them.")
    return data_dir / FOLDER / id


def is_recorded(data_dir: Path, id: str) -> bool:
    """Whether there is a recording of a session that this process may read."""
    try:
        return bool(_ID.fullmatch(id)) and (data_dir / FOLDER / id / SESSION).is_file()
    except OSError:
        return False


def forget(data_dir: Path, id: str) -> None:
    """Delete a recording. Raises `SettingsError` when there is none."""
    directory = directory_of(data_dir, id)
    if not directory.is_dir():
        raise SettingsError(f"There is no recording of session {id} in {directory.parent}.")
    shutil.rmtree(directory)


class StoredRecording:
    """A recording on the disk."""

    def __init__(self, directory: Path, session: Session) -> None:
        self.directory = directory
        self.session = session

    @classmethod
    def find(cls, data_dir: Path, id: str) -> StoredRecording:
        """Return a session's recording. Raises `SettingsError` when there is none, or it cannot be read.

        In place of the id, the path of a recording's folder will do, with a slash in it.
        """
        directory = Path(id) if "/" in id else directory_of(data_dir, id)
        try:
            document = (directory / SESSION).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SettingsError(
                f"There is no recording of session {id} in {directory.parent}. Sessions are recorded only where the"
                " gateway is told to."
            ) from error
        except OSError as error:
            raise _unreadable(directory / SESSION, error) from error
        try:
            session = msgspec.json.decode(document, type=Session)
        except UNREADABLE as error:
            raise SettingsError(f"{directory / SESSION} cannot be read: {why_unreadable(error)}") from error
        if not _ID.fullmatch(session.id):  # files are named after it
            raise SettingsError(f"{directory / SESSION} cannot be read: it names no session.")
        if session.version > VERSION:
            raise SettingsError(f"{directory} was written by a later Trunkline; update this one to read it.")
        return cls(directory, session)

    def lines(self) -> Iterator[Line]:
        """Yield the frames' lines in order; ends before one that a crash has cut, or is damaged.

        Raises `SettingsError` where the file is gone or cannot be read.
        """
        try:
            with (self.directory / EVENTS).open("rb") as file:
                for line in file:
                    try:
                        read = read_line(line)
                    except ValueError:
                        return
                    yield read
        except OSError as error:
            raise _unreadable(self.directory / EVENTS, error) from error

    def frames(self) -> Iterator[tuple[Line, str | bytes]]:
        """Yield each line with its frame as it was; ends where the sound of one is missing, or it is damaged.

        Raises `SettingsError` as `lines` does.
        """
        with SoundReader(self.directory) as sounds:
            for line in self.lines():
                sound = sounds.read(line.audio) if line.audio is not None else b""
                if line.audio is not None and len(sound) != line.audio.length:
                    return
                try:
                    frame = line.frame(sound)
                except ValueError:  # no base64
                    return
                yield line, frame


class SoundReader:
    """Reads from the files of sound in a recording. One that is gone, or has no header any more, has no sound."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, tuple[BinaryIO, int] | None] = {}
        self._formats: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> SoundReader:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._files.values():
            if opened is not None:
                opened[0].close()

    def read(self, place: Sound) -> bytes:
        """Return the bytes at a place, fewer where the file ends before. Raises `SettingsError` for a foreign name."""
        opened = self._opened(place.file)
        if opened is None:
            return b""
        file, start = opened
        begin = start + place.offset
        length = min(place.length, os.fstat(file.fileno()).st_size - begin)  # not as much memory as a line asks for
        if length <= 0:
            return b""
        file.seek(begin)
        return file.read(length)

    def format_of(self, name: str) -> tuple[int, int]:
        """Return a WAV's encoding and samples per second, 0 and 0 for a file that is none."""
        self._opened(name)
        return self._formats.get(name, (0, 0))

    def _opened(self, name: str) -> tuple[BinaryIO, int] | None:
        """Return a file, and where its sound begins, or None where it has none."""
        if name not in self._files:
            if not _SOUND.fullmatch(name):
                raise SettingsError(f"The recording in {self._directory} speaks of a file that is not in it: {name!r}.")
            self._files[name] = None
            try:
                file = (self._directory / name).open("rb")
                start = self._start(name, file.read(_HEAD_BYTES))
            except FileNotFoundError:
                return None
            except OSError as error:
                raise _unreadable(self._directory / name, error) from error
            if start is None:
                file.close()
            else:
                self._files[name] = file, start
        return self._files[name]

    def _start(self, name: str, head: bytes) -> int | None:
        """Return where the sound begins: behind the header of a WAV, None without one, at 0 in any other file."""
        if not name.endswith(".wav"):
            return 0
        place = head.find(_DATA)
        if not head.startswith(b"RIFF") or place < 0:
            return None
        encoding, rate = int.from_bytes(head[20:22], "little"), int.from_bytes(head[24:28], "little")
        if rate in _RATES:
            self._formats[name] = encoding, rate
        return place + _CHUNK_HEAD


def _unreadable(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{path} cannot be read: {error.strerror or error}.")
