"""Writing a session down while it goes on, in a thread of its own: the session never waits for a disk."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

from trunkline.realtime.recording import AudioFile, Recording, Session, Speaker, State, Written
from trunkline.realtime.report import Report
from trunkline.server.recordings import EVENTS, SESSION, directory_of

log = structlog.get_logger("trunkline.recorder")

# More than one frame can hold, and minutes of both sides' sound: a disk that is further behind does not catch up.
_QUEUE_BYTES: Final = 32 << 20
# A frame costs this much besides what it holds.
_FRAME_BYTES: Final = 128
_FLUSH_SECONDS: Final = 2.0
_FLUSH_BYTES: Final = 1 << 20


class Recorder:
    """One session's recording. Its methods only put what they are given into a queue, and never raise.

    When the disk is full, cannot be written or is too slow, the recording ends there as truncated, and the session
    goes on. What a killed process leaves can be read to within the last seconds.
    """

    def __init__(self, directory: Path, session: Session, queue_bytes: int) -> None:
        self._session = session
        self._directory = directory_of(directory, session.id)
        self._limit = queue_bytes
        self._queue: deque[tuple[Speaker, str | bytes, float]] = deque()
        self._queued = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._is_truncated = False
        self._report: Report | None = None
        self._thread = threading.Thread(target=self._run, name=f"recorder-{session.id}", daemon=True)

    @classmethod
    def open(cls, directory: Path, session: Session, *, queue_bytes: int = _QUEUE_BYTES) -> Recorder:
        """Begin a recording in a folder of its own below ``directory``, which need not exist yet."""
        recorder = cls(directory, session, queue_bytes)
        recorder._thread.start()
        return recorder

    @property
    def is_truncated(self) -> bool:
        """Whether something could not be written."""
        return self._is_truncated

    def client(self, said: str | bytes, at: float) -> None:
        """Record what the client sent, ``at`` seconds after the session began."""
        self._put("client", said, at)

    def provider(self, said: str | bytes, at: float) -> None:
        """Record what was sent to the client."""
        self._put("provider", said, at)

    def close(self, report: Report | None) -> None:
        """End the recording with the session's report. It is finished in the background; `join` waits for that."""
        with self._changed:
            self._report = report
            self._is_closing = True
            self._changed.notify()

    def join(self, seconds: float | None = None) -> None:
        """Wait until all is on the disk; blocks, so this is nothing for an event loop."""
        self._thread.join(seconds)

    def _put(self, side: Speaker, said: str | bytes, at: float) -> None:
        size = len(said) + _FRAME_BYTES
        with self._changed:
            if self._is_truncated or self._is_closing:
                return
            if self._queued + size > self._limit:
                self._truncate("the disk does not follow")
                return
            self._queue.append((side, said, at))
            self._queued += size
            self._changed.notify()

    def _truncate(self, why: str) -> None:
        if not self._is_truncated:
            self._is_truncated = True
            log.warning("a recording is truncated", id=self._session.id, why=why)

    # In the thread

    def _run(self) -> None:
        files: _Files | None = None
        try:
            files = _Files(self._directory, self._session)
            self._write_all(files)
        except OSError as error:
            self._truncate(error.strerror or str(error))
        except Exception:
            self._truncate("an error in the gateway")
            log.exception("a recording failed", id=self._session.id)
        with self._changed:
            self._queue.clear()
            while not self._is_closing:
                self._changed.wait()
        try:
            if files is not None:
                files.close(self._report, "truncated" if self._is_truncated else "complete")
        except OSError as error:
            self._truncate(error.strerror or str(error))

    def _write_all(self, files: _Files) -> None:
        recording = Recording(self._session.protocol)
        due = time.monotonic() + _FLUSH_SECONDS
        while True:
            with self._changed:
                if not self._queue and not self._is_closing:
                    self._changed.wait(max(0.0, due - time.monotonic()) if files.unflushed else None)
                taken, self._queue = self._queue, deque()
                is_last = self._is_closing
            for side, said, at in taken:
                files.add(recording.client(said, at) if side == "client" else recording.provider(said, at))
                with self._changed:
                    self._queued -= len(said) + _FRAME_BYTES
                if files.unflushed > _FLUSH_BYTES:
                    files.flush()
            now = time.monotonic()
            if is_last or now >= due:
                files.flush()
                due = now + _FLUSH_SECONDS
            if is_last:
                return


class _Files:
    """The files of one recording. Sound is always written before the lines that speak of it."""

    def __init__(self, directory: Path, session: Session) -> None:
        self._directory = directory
        self._session = session
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)
        try:
            self._write_session(session)
            self._events = _private(directory / EVENTS)
        except OSError:
            shutil.rmtree(directory, ignore_errors=True)  # of which nothing could be read
            raise
        self._lines: list[bytes] = []
        self._sounds: dict[str, _SoundFile] = {}
        self.unflushed = 0

    def add(self, written: Written) -> None:
        """Keep what a frame adds until the next flush."""
        self._lines.append(written.line)
        self.unflushed += len(written.line) + len(written.sound)
        if written.file is not None:
            sound = self._sounds.get(written.file.name)
            if sound is None:
                sound = self._sounds[written.file.name] = _SoundFile(self._directory, written.file)
            sound.pieces.append(written.sound)

    def flush(self) -> None:
        """Write all of it. A reader sees whole files from here on."""
        for sound in self._sounds.values():
            sound.flush()
        self._events.write(b"".join(self._lines))
        self._events.flush()
        self._lines.clear()
        self.unflushed = 0

    def close(self, report: Report | None, state: State) -> None:
        """Close the files and write how the session ended.

        Raises `OSError` where there is no room for that: the recording then says that it is truncated, and no more.
        """
        for file in (self._events, *(sound.file for sound in self._sounds.values())):
            with suppress(OSError):  # it tries once more to write what a full disk did not take
                file.close()
        try:
            self._write_session(msgspec.structs.replace(self._session, state=state, report=report))
        except OSError:
            self._write_over(msgspec.structs.replace(self._session, state="truncated"))
            raise

    def _write_session(self, session: Session) -> None:
        path = self._directory / SESSION
        fresh = path.with_suffix(".new")
        try:
            with _private(fresh) as file:
                file.write(msgspec.json.format(msgspec.json.encode(session)) + b"\n")
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def _write_over(self, session: Session) -> None:
        """Write a session in the place of the one that was written at the beginning, which takes no room on a disk."""
        document = msgspec.json.encode(session)  # shorter than the other, which was made to be read by people
        with (self._directory / SESSION).open("r+b", buffering=0) as file:
            file.write(document.ljust(os.fstat(file.fileno()).st_size))


class _SoundFile:
    """One file of sound, whose header always tells its size as it was at the last flush."""

    def __init__(self, directory: Path, file: AudioFile) -> None:
        self.pieces: list[bytes] = []
        self._format = file
        self._size = 0
        self.file = _private(directory / file.name)
        self.file.write(file.header(0))

    def flush(self) -> None:
        if not self.pieces:
            return
        sound = b"".join(self.pieces)
        self.pieces.clear()
        self.file.write(sound)
        self._size += len(sound)
        self.file.flush()
        header = self._format.header(self._size)
        if header:
            os.pwrite(self.file.fileno(), header, 0)


def _private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
