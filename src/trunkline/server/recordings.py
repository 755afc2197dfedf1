"""The recordings of a data directory: to find, to read and to forget."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from trunkline.errors import SettingsError
from trunkline.realtime.recording import VERSION, Line, Session, Sound, read_line
from trunkline.wire.documents import UNREADABLE

FOLDER: Final = "recordings"
SESSION: Final = "session.json"
EVENTS: Final = "events.jsonl"

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DATA: Final = b"data"
_CHUNK_HEAD: Final = 8


def directory_of(data_dir: Path, id: str) -> Path:
    """Return the folder of a session's recording, which need not exist. Raises `SettingsError` for what is no id."""
    if not _ID.fullmatch(id):
        raise SettingsError(f"{id!r} is no session's id. `trunkline sessions list` shows them.")
    return data_dir / FOLDER / id


def is_recorded(data_dir: Path, id: str) -> bool:
    """Whether there is a recording of a session."""
    return bool(_ID.fullmatch(id)) and (data_dir / FOLDER / id / SESSION).is_file()


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
        except FileNotFoundError as error:
            raise SettingsError(
                f"There is no recording of session {id} in {directory.parent}. Sessions are recorded only where the"
                " gateway is told to."
            ) from error
        try:
            session = msgspec.json.decode(document, type=Session)
        except UNREADABLE as error:
            raise SettingsError(f"{directory / SESSION} cannot be read: {error}") from error
        if session.version > VERSION:
            raise SettingsError(f"{directory} was written by a later Trunkline; update this one to read it.")
        return cls(directory, session)

    def lines(self) -> Iterator[Line]:
        """Yield the frames' lines in order; ends before one that a crash has cut."""
        with (self.directory / EVENTS).open("rb") as file:
            for line in file:
                try:
                    yield read_line(line)
                except ValueError:
                    return

    def frames(self) -> Iterator[tuple[Line, str | bytes]]:
        """Yield each line with its frame as it was; ends where the sound of one is missing."""
        with SoundReader(self.directory) as sounds:
            for line in self.lines():
                sound = sounds.read(line.audio) if line.audio is not None else b""
                if line.audio is not None and len(sound) != line.audio.length:
                    return
                yield line, line.frame(sound)


class SoundReader:
    """Reads from the files of sound in a recording."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, tuple[BinaryIO, int]] = {}
        self._formats: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> SoundReader:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._files.values():
            opened[0].close()

    def read(self, place: Sound) -> bytes:
        """Return the bytes at a place, fewer where the file ends before. Raises `SettingsError` for a foreign name."""
        file, start = self._opened(place.file)
        file.seek(start + place.offset)
        return file.read(place.length)

    def format_of(self, name: str) -> tuple[int, int]:
        """Return a WAV's encoding and samples per second, 0 and 0 for a file that is none."""
        self._opened(name)
        return self._formats.get(name, (0, 0))

    def _opened(self, name: str) -> tuple[BinaryIO, int]:
        found = self._files.get(name)
        if found is None:
            if "/" in name or name.startswith("."):
                raise SettingsError(f"The recording in {self._directory} speaks of a file that is not in it: {name!r}.")
            file = (self._directory / name).open("rb")
            found = self._files[name] = file, self._start(name, file)
        return found

    def _start(self, name: str, file: BinaryIO) -> int:
        """Return where the sound begins: behind the header of a WAV, at 0 in any other file."""
        head = file.read(128)
        if not head.startswith(b"RIFF"):
            return 0
        self._formats[name] = int.from_bytes(head[20:22], "little"), int.from_bytes(head[24:28], "little")
        return head.index(_DATA) + _CHUNK_HEAD
