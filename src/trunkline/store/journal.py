"""What waits for the database, on the disk: records appended to segment files, each with one write.

A segment is the letters ``TLJ``, a version and four random bytes, its mark; then records: the mark, the payload's
length and a checksum (little-endian, four bytes each), and the payload. What was handed to the kernel outlives the
process. The mark is random so that nothing which a caller sends can be taken for a record.

Every process that appends has files of its own, named after it, and holds a lock (flock) on one of them for as long as
it lives. Files whose lock nobody holds are of a process that ended, and belong to the first that takes the lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from trunkline.errors import SettingsError

log = structlog.get_logger("trunkline.journal")

Policy = Literal["stop", "drop-oldest"]
Fsync = Literal["off", "interval"]

SEGMENT: Final = ".segment"
SET_ASIDE: Final = ".rejected"
CORRUPT: Final = ".corrupt"
_LOCK: Final = ".lock"

SEGMENT_BYTES: Final = 8 << 20
LIMIT_BYTES: Final = 1 << 30
# A request and an answer, as long as a gateway keeps them, and what is told about them.
MAX_RECORD_BYTES: Final = 64 << 20
# How much of a batch is held in memory, unless one record alone is more.
_BATCH_BYTES: Final = 4 << 20
# How much is read at once where records are short: some hundred of them.
_READ_BYTES: Final = 256 << 10
# After this a segment is not appended to any more: a process that is killed has at most that much read again.
_SEGMENT_SECONDS: Final = 60.0
_FSYNC_SECONDS: Final = 1.0
_WARN_SECONDS: Final = 60.0

_MAGIC: Final = b"TLJ"
_VERSION: Final = b"\x01"
_MARK_BYTES: Final = 4
_FILE_HEADER: Final = len(_MAGIC) + len(_VERSION) + _MARK_BYTES
_LENGTHS: Final = struct.Struct("<II")
_HEADER: Final = struct.Struct(f"<{_MARK_BYTES}sII")
_RECORD_HEADER: Final = _MARK_BYTES + _LENGTHS.size


class JournalStats(msgspec.Struct, frozen=True, kw_only=True):
    """How a journal stands. Records are counted since it was opened.

    ``bytes`` and ``segments`` are what all processes have in its directory, ``waiting_bytes`` what this one has still
    to hand on. ``appended`` records were kept, ``drained`` ones are in the database; ``refused`` ones were not kept
    because the disk or the journal was full, ``dropped`` ones made room for newer ones. ``torn`` are those that a
    process was killed in the middle of; ``corrupt`` places where a file was damaged, and ``set_aside`` records that the
    database would not have: both are kept in files that end in ``.corrupt`` and ``.rejected``.
    """

    bytes: int
    segments: int
    waiting_bytes: int
    appended: int
    drained: int
    refused: int
    dropped: int
    torn: int
    corrupt: int
    set_aside: int


class Segment(msgspec.Struct):
    """A file of records. ``end`` is where its whole records end, ``position`` what of it was handed on."""

    path: Path
    end: int
    mark: bytes = b""
    position: int = _FILE_HEADER
    records: int = 0
    drained: int = 0
    is_damaged: bool = False
    is_gone: bool = False


class Batch(msgspec.Struct, frozen=True):
    """Records that wait, oldest first, all of one segment. `Journal.done` frees them."""

    records: Sequence[bytes]
    segment: Segment
    start: int
    end: int
    torn: int = 0
    corrupt: int = 0


class _Owner(msgspec.Struct):
    """A process's files: the lock that it holds, and its name, which the names of its segments begin with."""

    name: str
    lock: int
    segments: set[str] = msgspec.field(default_factory=set)


class Journal:
    """The journal of one process, in a directory that others may share. Its methods may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        own: _Owner,
        *,
        segment_bytes: int,
        limit_bytes: int,
        policy: Policy,
        segment_seconds: float,
    ) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._limit = limit_bytes
        self._policy: Policy = policy
        self._own = own
        self._adopted: dict[str, _Owner] = {}
        self._segments: list[Segment] = []
        self._active: Segment | None = None
        self._active_file = -1
        self._active_until = 0.0
        self._rejected: Segment | None = None
        self._serial = 0
        self._bytes = 0
        self._foreign_bytes = 0
        self._foreign_segments = 0
        self._counts = dict.fromkeys(("appended", "drained", "refused", "dropped", "torn", "corrupt", "set_aside"), 0)
        self._warned: dict[str, float] = {}
        self._lock = threading.Lock()
        self._is_closed = False
        self._is_refusing = False
        self._unsynced: list[int] = []
        self._is_dirty = False
        self._syncs = False
        self._closing = threading.Event()
        self._syncing: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        limit_bytes: int = LIMIT_BYTES,
        policy: Policy = "stop",
        fsync: Fsync = "off",
        segment_seconds: float = _SEGMENT_SECONDS,
    ) -> Journal:
        """Open a journal, and take over what processes left there that have ended.

        ``limit_bytes`` bounds what all processes have in the directory. With ``fsync`` "interval" records are forced to
        the disk every second. Raises `SettingsError` when the directory cannot be used.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            own = _new_owner(directory)
        except OSError as error:
            raise SettingsError(f"The journal in {directory} cannot be used: {error.strerror or error}.") from error
        journal = cls(
            directory,
            own,
            segment_bytes=segment_bytes,
            limit_bytes=limit_bytes,
            policy=policy,
            segment_seconds=segment_seconds,
        )
        journal.adopt()
        if fsync == "interval":
            journal._syncs = True
            journal._syncing = threading.Thread(target=journal._sync, name="journal-fsync", daemon=True)
            journal._syncing.start()
        return journal

    def append(self, record: bytes) -> bool:
        """Keep a record, and return whether it is kept. Never raises, and never waits for more than one write."""
        with self._lock:
            try:
                why = self._append(record)
            except OSError as error:
                why = error.strerror or str(error)
            self._is_refusing = bool(why)
            if not why:
                self._counts["appended"] += 1
                return True
            self._counts["refused"] += 1
            self._warn("records are not kept", why=why, refused=self._counts["refused"])
            return False

    def next_batch(self, max_records: int) -> Batch | None:
        """Return the oldest records that were not handed on yet, or None. Until `done`, they are returned again."""
        while True:
            with self._lock:
                self._remove_drained()
                found = next((one for one in self._segments if one.position < one.end), None)
                if found is None or self._is_closed:
                    return None
                end = found.end
            try:
                batch = _read(found, end, max_records)
            except OSError as error:
                with self._lock:
                    if not found.is_gone:
                        self._give_up(found, error)
                continue
            if batch.records:
                return batch
            self.done(batch)

    def done(self, batch: Batch) -> None:
        """Free the records of a batch. A segment that has no others is removed."""
        with self._lock:
            segment, count = batch.segment, len(batch.records)
            if batch.end <= segment.position:  # freed already
                return
            self._counts["torn"] += batch.torn
            self._counts["corrupt"] += batch.corrupt
            self._counts["drained"] += count
            if segment.is_gone:  # it made room meanwhile, and its records were taken for lost
                self._counts["dropped"] -= count
                return
            if batch.torn:
                log.warning("the end of a record was missing: its process was killed", file=segment.path.name)
            if batch.corrupt:
                segment.is_damaged = True
                log.error("a file of the journal is damaged", file=segment.path.name, places=batch.corrupt)
            segment.drained += count
            segment.position = batch.end
            self._remove_drained()

    def set_aside(self, record: bytes) -> None:
        """Keep a record that the database will not have in a file of its own, which the next start tries again."""
        with self._lock:
            self._counts["set_aside"] += 1
            try:
                self._write_rejected(record)
            except OSError as error:
                self._warn("a record that the database would not have is lost", why=error.strerror or str(error))

    def adopt(self) -> None:
        """Take over the files of processes that have ended, and see how much the living have."""
        with self._lock:
            if self._is_closed:
                return
            try:
                self._adopt()
            except OSError as error:
                self._warn("the journal's directory cannot be read", why=error.strerror or str(error))

    @property
    def is_refusing(self) -> bool:
        """Whether the last record was not kept: the disk, or the journal, is full."""
        return self._is_refusing

    @property
    def is_drained(self) -> bool:
        """Whether nothing waits."""
        with self._lock:
            return all(one.position >= one.end for one in self._segments)

    def stats(self) -> JournalStats:
        """Return how the journal stands."""
        with self._lock:
            return JournalStats(
                bytes=self._bytes + self._foreign_bytes,
                segments=len(self._segments) + self._foreign_segments,
                waiting_bytes=sum(one.end - one.position for one in self._segments if one.end > one.position),
                **self._counts,
            )

    def close(self) -> None:
        """Let go of the files. What waits stays, and the next process that opens the journal takes it over."""
        self._closing.set()
        if self._syncing is not None:
            self._syncing.join()
        with self._lock:
            if self._is_closed:
                return
            self._seal()
            self._remove_drained()
            self._is_closed = True
            for owner in (self._own, *self._adopted.values()):
                self._leave(owner)
            self._adopted.clear()

    # Appending

    def _append(self, record: bytes) -> str:
        """Write a record; return why it is not kept, or nothing."""
        if self._is_closed:
            return "the journal is closed"
        size = _RECORD_HEADER + len(record)
        if size > MAX_RECORD_BYTES:
            return f"a record of {len(record)} bytes is longer than any may be"
        active = self._active
        if active is not None and (active.end + size > self._segment_bytes or time.monotonic() > self._active_until):
            self._seal()
            self._remove_drained()
        if not self._has_room(size + (0 if self._active else _FILE_HEADER)):
            return "the journal is full (journal_limit)"
        if self._active is None:
            self._begin()
        active = self._active
        assert active is not None
        header = active.mark + _LENGTHS.pack(len(record), zlib.crc32(record))
        try:
            written = os.writev(self._active_file, (header, record))
        except OSError:
            self._cut_back(active)
            raise
        if written != size:
            self._cut_back(active)
            return os.strerror(errno.ENOSPC)
        active.end += size
        active.records += 1
        self._bytes += size
        self._is_dirty = True
        return ""

    def _has_room(self, size: int) -> bool:
        if self._bytes + self._foreign_bytes + size <= self._limit:
            return True
        if self._active is not None and self._active.position >= self._active.end:
            self._seal()  # all of it was handed on
            self._remove_drained()
        if self._foreign_bytes + size > self._limit:
            return False
        while self._bytes + self._foreign_bytes + size > self._limit:
            if self._policy == "stop" or not self._segments:
                return False
            oldest = self._segments[0]
            if oldest is self._active:
                self._seal()
            self._drop(oldest)
        return True

    def _drop(self, segment: Segment) -> None:
        """Remove a segment with what it holds: newer records need its room."""
        if not segment.records:
            segment.records = segment.drained + sum(len(batch.records) for batch in _batches(segment))
        lost = segment.records - segment.drained
        self._counts["dropped"] += lost
        self._remove(segment)
        self._warn("the journal is full: its oldest records were dropped", lost=self._counts["dropped"])

    def _begin(self) -> None:
        self._serial += 1
        segment, file = _create(self._directory / f"{self._own.name}-{self._serial:06}{SEGMENT}")
        self._active, self._active_file = segment, file
        self._active_until = time.monotonic() + self._segment_seconds
        self._own.segments.add(segment.path.name)
        self._segments.append(segment)
        self._bytes += segment.end

    def _seal(self) -> None:
        """End the active segment: what comes goes into another."""
        if self._active is None:
            return
        if self._syncs:
            self._unsynced.append(self._active_file)
        else:
            os.close(self._active_file)
        self._active, self._active_file = None, -1

    def _cut_back(self, active: Segment) -> None:
        """Take back what a write that failed has left."""
        try:
            os.ftruncate(self._active_file, active.end)
        except OSError:
            self._seal()  # nothing may follow what cannot be taken back

    # Handing on

    def _remove_drained(self) -> None:
        if self._active is not None and time.monotonic() > self._active_until:
            self._seal()
        for segment in [one for one in self._segments if one.position >= one.end and one is not self._active]:
            if segment.is_damaged:
                self._put_away(segment)
            else:
                self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        with suppress(FileNotFoundError):
            segment.path.unlink()
        self._forget(segment)

    def _put_away(self, segment: Segment) -> None:
        with suppress(FileNotFoundError):
            segment.path.rename(segment.path.with_suffix(CORRUPT))
        self._forget(segment)

    def _give_up(self, segment: Segment, error: OSError) -> None:
        """Read no more of a file that cannot be read; it stays for a person, and for the next start."""
        log.error("a file of the journal cannot be read", file=segment.path.name, why=error.strerror or str(error))
        self._counts["corrupt"] += 1
        self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        segment.is_gone = True
        self._segments.remove(segment)
        self._bytes -= segment.end
        for owner in (self._own, *self._adopted.values()):
            owner.segments.discard(segment.path.name)
            if not owner.segments and owner is not self._own:
                self._leave(owner)
                del self._adopted[owner.name]
                break

    def _write_rejected(self, record: bytes) -> None:
        if self._bytes + self._foreign_bytes + len(record) > self._limit:
            raise OSError(errno.EDQUOT, "the journal is full (journal_limit)")
        if self._rejected is None:
            self._rejected, file = _create(self._directory / f"{self._own.name}{SET_ASIDE}")
            self._bytes += self._rejected.end
        else:
            file = os.open(self._rejected.path, os.O_WRONLY | os.O_APPEND)
        try:
            header = self._rejected.mark + _LENGTHS.pack(len(record), zlib.crc32(record))
            if os.writev(file, (header, record)) != len(header) + len(record):
                os.ftruncate(file, self._rejected.end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._rejected.end += len(header) + len(record)
            self._bytes += len(header) + len(record)
        finally:
            os.close(file)

    # Sharing the directory

    def _adopt(self) -> None:
        found: dict[str, list[Path]] = {}
        for path in self._directory.iterdir():
            name = _owner_of(path)
            if name and name != self._own.name:
                found.setdefault(name, []).append(path)
        self._foreign_bytes = self._foreign_segments = 0
        for name, paths in found.items():
            if name in self._adopted:
                continue
            owner = _taken(self._directory, name)
            if owner is not None:
                self._take_over(owner)
                continue
            for path in paths:
                if path.suffix == SEGMENT:
                    with suppress(FileNotFoundError):
                        self._foreign_bytes += path.stat().st_size
                        self._foreign_segments += 1
        self._segments.sort(key=lambda segment: segment.path.name)
        self._remove_drained()

    def _take_over(self, owner: _Owner) -> None:
        # Listed again now that the lock is held: before, another may have been at work.
        for path in sorted(self._directory.glob(f"{owner.name}*")):
            if path.suffix == SET_ASIDE:  # another version of the program may know what to do with them
                path = path.rename(path.with_name(f"{owner.name}-again{SEGMENT}"))
            if path.suffix != SEGMENT:
                continue
            segment = Segment(path, path.stat().st_size)
            owner.segments.add(path.name)
            self._segments.append(segment)
            self._bytes += segment.end
        if owner.segments:
            self._adopted[owner.name] = owner
        else:
            self._leave(owner)

    def _leave(self, owner: _Owner) -> None:
        if not owner.segments:
            with suppress(OSError):
                _lock_path(self._directory, owner.name).unlink()
        os.close(owner.lock)

    # Forcing to the disk

    def _sync(self) -> None:
        while True:
            is_last = self._closing.wait(_FSYNC_SECONDS)
            with self._lock:
                files, self._unsynced = self._unsynced, []
                if self._is_dirty and self._active is not None:
                    files.append(os.dup(self._active_file))
                self._is_dirty = False
            for file in files:
                try:
                    os.fsync(file)
                except OSError as error:
                    log.error("records could not be forced to the disk", why=error.strerror or str(error))
                os.close(file)
            if files:
                _sync_directory(self._directory)
            if is_last:
                self._syncs = False
                return

    def _warn(self, event: str, **facts: object) -> None:
        """Log something that may happen at every request, once a minute."""
        now = time.monotonic()
        if now >= self._warned.get(event, 0.0):
            self._warned[event] = now + _WARN_SECONDS
            log.error(event, **facts)


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a journal's directory, whoever it belongs to.

    ``records`` wait in ``segments`` files of ``bytes`` in all; ``damaged`` of these files have places that cannot be
    read. ``corrupt`` and ``set_aside`` files were put aside, as in `JournalStats`.
    """

    records: int = 0
    segments: int = 0
    bytes: int = 0
    damaged: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()


def survey(directory: Path) -> Survey:
    """Look through a journal without taking anything over; a gateway may be at work there. Raises `OSError`."""
    found: dict[str, list[Path]] = {SEGMENT: [], CORRUPT: [], SET_ASIDE: []}
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        found.get(path.suffix, []).append(path)
    records = size = 0
    damaged = []
    for path in found[SEGMENT]:
        with suppress(FileNotFoundError):  # drained meanwhile
            segment = Segment(path, path.stat().st_size)
            batches = list(_batches(segment))
            records += sum(len(batch.records) for batch in batches)
            size += segment.end
            if any(batch.corrupt for batch in batches):
                damaged.append(path.name)
    return Survey(
        records=records,
        segments=len(found[SEGMENT]),
        bytes=size,
        damaged=tuple(damaged),
        corrupt=tuple(path.name for path in found[CORRUPT]),
        set_aside=tuple(path.name for path in found[SET_ASIDE]),
    )


def records_of(path: Path) -> Iterator[bytes]:
    """Read the whole records of a file of the journal, for people and tests; passes over damage."""
    for batch in _batches(Segment(path, path.stat().st_size)):
        yield from batch.records


def _batches(segment: Segment) -> Iterator[Batch]:
    position = segment.position
    while position < segment.end:
        part = Segment(segment.path, segment.end, segment.mark, position)
        try:
            batch = _read(part, segment.end, 1000)
        except OSError:
            return
        yield batch
        position = batch.end


def _read(segment: Segment, end: int, max_records: int) -> Batch:
    """Read a batch from where a segment stands, up to ``end``; damage is passed over and counted."""
    file = os.open(segment.path, os.O_RDONLY)
    try:
        if not segment.mark:
            segment.mark = _mark(os.pread(file, _FILE_HEADER, 0))
            if not segment.mark:
                is_torn = end < _FILE_HEADER
                return Batch((), segment, segment.position, end, torn=int(is_torn), corrupt=int(not is_torn))
        position, window = segment.position, _BATCH_BYTES
        # Most of that would be read for nothing, batch after batch.
        records, used = _records_from(file, segment, end, max_records)
        if records:
            return Batch(records, segment, position, position + used)
        while True:
            data = os.pread(file, min(window, end - position), position)
            records, used = _whole_records(data, segment.mark, max_records)
            if records:
                return Batch(records, segment, position, position + used)
            if position + len(data) >= end or len(data) < window:
                break
            window = min(MAX_RECORD_BYTES, end - position) if window == _BATCH_BYTES else end - position
        # Nothing whole is here, in all there is. What follows tells whether a write was cut short or a disk failed.
        following = _next_record(data, segment.mark)
        if following is not None:
            return Batch((), segment, position, position + following, corrupt=1)
        is_torn = _is_cut_short(data, segment.mark)
        return Batch((), segment, position, end, torn=int(is_torn), corrupt=int(not is_torn))
    finally:
        os.close(file)


def _records_from(file: int, segment: Segment, end: int, max_records: int) -> tuple[list[bytes], int]:
    """Read whole records, up to one that is long; return also how many bytes they have."""
    records: list[bytes] = []
    used = 0
    while len(records) < max_records and used < _BATCH_BYTES:
        position = segment.position + used
        data = os.pread(file, min(_READ_BYTES, end - position), position)
        found, length = _whole_records(data, segment.mark, max_records - len(records))
        if not found:
            break
        records += found
        used += length
    return records, used


def _mark(header: bytes) -> bytes:
    known = _MAGIC + _VERSION
    return header[len(known) :] if header.startswith(known) and len(header) == _FILE_HEADER else b""


def _whole_records(data: bytes, mark: bytes, max_records: int) -> tuple[list[bytes], int]:
    records: list[bytes] = []
    position = 0
    while len(records) < max_records:
        payload = _record_at(data, position, mark)
        if payload is None:
            break
        records.append(payload)
        position += _RECORD_HEADER + len(payload)
    return records, position


def _record_at(data: bytes, position: int, mark: bytes) -> bytes | None:
    start = position + _RECORD_HEADER
    if len(data) < start:
        return None
    found, length, checksum = _HEADER.unpack_from(data, position)
    if found != mark:
        return None
    payload = data[start : start + length]
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def _next_record(data: bytes, mark: bytes) -> int | None:
    """Return where the first whole record is after the one that is damaged."""
    position = data.find(mark, 1)
    while position > 0:
        if _record_at(data, position, mark) is not None:
            return position
        position = data.find(mark, position + 1)
    return None


def _is_cut_short(data: bytes, mark: bytes) -> bool:
    """Whether this is how a record begins that was not written to its end, or room that was never written to."""
    if len(data) < _RECORD_HEADER:
        return mark.startswith(data[:_MARK_BYTES]) or not any(data)
    length, _ = _LENGTHS.unpack_from(data, _MARK_BYTES)
    return (data.startswith(mark) and _RECORD_HEADER + length > len(data)) or not any(data)


def _create(path: Path) -> tuple[Segment, int]:
    """Make a segment for its owner alone; return it and its file, open for appending."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
    mark = secrets.token_bytes(_MARK_BYTES)
    try:
        if os.write(file, _MAGIC + _VERSION + mark) != _FILE_HEADER:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.close(file)
        path.unlink()
        raise
    return Segment(path, _FILE_HEADER, mark), file


def _sync_directory(directory: Path) -> None:
    with suppress(OSError):
        file = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _new_owner(directory: Path) -> _Owner:
    while True:
        # By time first: names tell which of two processes' segments are the older ones.
        owner = _taken(directory, f"{time.time_ns():020}.{os.getpid()}.{secrets.token_hex(4)}".replace(".", "_"))
        if owner is not None:
            return owner


def _taken(directory: Path, name: str) -> _Owner | None:
    """Take the lock of a process's files, or return None: that process is alive, or another one was quicker."""
    path = _lock_path(directory, name)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had the lock may have removed the file in the meantime: then it is a lock on nothing.
        if os.stat(path).st_ino == os.fstat(file).st_ino:
            return _Owner(name, file)
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(file)
        raise
    os.close(file)
    return None


def _lock_path(directory: Path, name: str) -> Path:
    return directory / f"{name}{_LOCK}"


def _owner_of(path: Path) -> str:
    """Return the name of the process whose file this is, or nothing when it is none of the journal's."""
    if path.suffix not in (SEGMENT, SET_ASIDE, _LOCK):
        return ""
    return path.stem.partition("-")[0]
