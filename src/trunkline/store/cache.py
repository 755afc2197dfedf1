"""Kept answers: in the memory of the process over a file of its own, or in Valkey for all processes together.

An entry holds what a model said, as it was sent. Nothing that goes wrong in here fails a request: an answer that cannot
be found is asked for again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import time
import zlib
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar, cast

import msgspec
import structlog

from trunkline.errors import CacheUnavailable, first_line
from trunkline.policy.caching import key_name
from trunkline.private import make_folder
from trunkline.store.valkey import Valkey

if TYPE_CHECKING:
    from redis.commands.core import AsyncScript

Result = TypeVar("Result")

log = structlog.get_logger("trunkline.cache")

FILE_NAME: Final = "cache.db"

# From this size on entries are compressed, and from the second on beside the event loop.
_WORTH_COMPRESSING: Final = 2048
_SLOW_TO_COMPRESS: Final = 128 * 1024
_LEVEL: Final = 1
# No entry is larger, packed or not: see `CacheRules.max_bytes`.
_LARGEST: Final = 64 * 1024 * 1024
# What an entry takes besides its bytes, about.
_OVERHEAD: Final = 512


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """An answer with status 200. Times are Unix seconds."""

    headers: list[tuple[bytes, bytes]]
    body: bytes
    kept_at: float
    expires_at: float

    @property
    def content_type(self) -> str:
        """Its type as the provider stated it."""
        for name, value in self.headers:
            if name == b"content-type":
                return value.decode("latin-1")
        return ""

    def is_fresh(self, now: float) -> bool:
        """Whether it may be given. One of later than now was kept before the clock was set back: nobody knows when."""
        return self.kept_at <= now < self.expires_at

    @property
    def size(self) -> int:
        """How much memory it takes, in bytes."""
        return len(self.body) + sum(len(name) + len(value) for name, value in self.headers) + _OVERHEAD


class Place(NamedTuple):
    """Where an answer is kept: its key (`trunkline.policy.caching.cache_key`), and by what it can be purged.

    ``name`` is that of `key_name`, empty for an entry whose key was computed.
    """

    key: str
    gateway: str
    provider: str
    model: str
    name: str = ""


class Found(NamedTuple):
    """What was looked for. ``mark`` tells `CacheStore.keep` whether a purge came since; None: nothing can be kept."""

    answer: KeptAnswer | None
    mark: int | bytes | None


class Purge(NamedTuple):
    """What to remove of a gateway: what fits all that is said. ``key`` is a caller's own or that of an entry."""

    gateway: str
    provider: str | None = None
    model: str | None = None
    key: str | None = None

    def fits(self, place: Place) -> bool:
        """Whether a place is meant."""
        return (
            place.gateway == self.gateway
            and self.provider in (None, place.provider)
            and self.model in (None, place.model)
            and (self.key is None or self.key == place.key or key_name(self.gateway, self.key) == place.name)
        )


class CacheSize(NamedTuple):
    """How many entries there are, and how many bytes they take."""

    entries: int
    bytes: int


class CacheStore(Protocol):
    """Where answers are kept. What goes wrong on the way is a miss, except that `purge` and `size` raise."""

    def at_hand(self, place: Place) -> KeptAnswer | None:
        """Return what is kept there and has not expired, if it can be had without waiting."""

    async def find(self, place: Place) -> Found:
        """Return what is kept there and has not expired."""

    async def keep(self, place: Place, answer: KeptAnswer, mark: int | bytes | None) -> None:
        """Keep an answer, unless the gateway's cache was purged since ``mark``."""

    async def purge(self, wanted: Purge) -> int:
        """Remove entries; return how many. Raises `CacheUnavailable` when that cannot be done."""

    async def size(self, gateway: str) -> CacheSize:
        """Return what is kept for a gateway. Raises `CacheUnavailable` when that cannot be told."""

    async def close(self) -> None:
        """Let go of files and connections; what is being written is written."""


def open_cache(data_dir: Path, *, memory_bytes: int, disk_bytes: int, valkey: Valkey | None) -> CacheStore:
    """Return where the answers of a gateway process are kept. No file is opened, and nothing connected, before use.

    With ``valkey`` they are there, and nothing is kept here; a size of 0 does without that place.
    """
    if valkey is not None:
        return ValkeyCache(valkey)
    disk = DiskCache(data_dir / FILE_NAME, disk_bytes) if disk_bytes else None
    return LocalCache(MemoryCache(memory_bytes), disk)


class MemoryCache:
    """Answers in memory, up to so many bytes: what was not used for longest goes first."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._size = 0
        self._kept: OrderedDict[str, tuple[Place, KeptAnswer]] = OrderedDict()

    def find(self, key: str, now: float) -> KeptAnswer | None:
        """Return an answer that has not expired."""
        if key not in self._kept:
            return None
        _, answer = self._kept[key]
        if not answer.is_fresh(now):
            self._remove(key)
            return None
        self._kept.move_to_end(key)
        return answer

    def keep(self, place: Place, answer: KeptAnswer) -> None:
        """Keep an answer that is not too large, in the stead of others."""
        self._remove(place.key)
        if answer.size > self._most // 2:  # one must not push out all the others
            return
        self._kept[place.key] = (place, answer)
        self._size += answer.size
        while self._size > self._most:
            self._remove(next(iter(self._kept)))

    def purge(self, wanted: Purge) -> set[str]:
        """Remove what fits; return the keys."""
        found = {place.key for place, _ in self._kept.values() if wanted.fits(place)}
        for key in found:
            self._remove(key)
        return found

    def entries(self, gateway: str, now: float) -> dict[str, int]:
        """Return the sizes of a gateway's entries, by key."""
        return {
            place.key: answer.size
            for place, answer in self._kept.values()
            if place.gateway == gateway and answer.expires_at > now
        }

    def _remove(self, key: str) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._size -= found[1].size


_VERSION: Final = 1
_TABLES: Final = f"""
CREATE TABLE answers (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, gateway TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
  name TEXT NOT NULL, expires_at REAL NOT NULL, size INTEGER NOT NULL, answer BLOB NOT NULL
);
CREATE INDEX answers_of_gateway ON answers (gateway, size);
CREATE INDEX answers_by_expiry ON answers (expires_at);
PRAGMA user_version = {_VERSION};
"""
_PRAGMAS: Final = (
    "PRAGMA auto_vacuum = INCREMENTAL",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = OFF",  # what a power cut takes is asked for again
    "PRAGMA journal_size_limit = 16777216",
)
_BUSY_SECONDS: Final = 2.0
# Every so many entries, those that expired are removed.
_TIDY_EVERY: Final = 256
# Beyond this much that waits for a slow disk, entries are kept in memory alone.
_MOST_WAITING: Final = 64 * 1024 * 1024
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class DiskCache:
    """Answers in a file of SQLite's, up to so many bytes: the oldest go first.

    One thread reads and writes it. A file that is damaged, or of another version, is made anew; nobody but its owner
    may read it.
    """

    def __init__(self, path: Path, most_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._most = most_bytes
        self._now = now
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache")
        self._connection: sqlite3.Connection | None = None
        self._size = 0
        self._since_tidied = 0
        self._waiting = 0
        self._is_failing = False

    async def find(self, key: str) -> KeptAnswer | None:
        """Return an answer that has not expired."""
        packed = await self._run(lambda database: self._find(database, key), None)
        if packed is None:
            return None
        return await asyncio.to_thread(_unpacked, packed) if len(packed) > _SLOW_TO_COMPRESS else _unpacked(packed)

    def keep(self, place: Place, answer: KeptAnswer) -> None:
        """Have an answer written, without waiting for it."""
        if self._waiting + answer.size > _MOST_WAITING:
            return
        self._waiting += answer.size
        # Begun at once: whoever looks next finds it.
        writing = asyncio.get_running_loop().run_in_executor(
            self._thread, self._try, lambda database: self._keep(database, place, answer), None
        )
        writing.add_done_callback(lambda _: self._wrote(answer.size))

    async def purge(self, wanted: Purge) -> set[str]:
        """Remove what fits; return the keys."""
        return await self._run(lambda database: self._purge(database, wanted), set[str]())

    async def entries(self, gateway: str) -> dict[str, int]:
        """Return the sizes of a gateway's entries, by key."""
        return await self._run(lambda database: self._entries(database, gateway), {})

    async def close(self) -> None:
        """Write what waits, and close the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    def _wrote(self, size: int) -> None:
        self._waiting -= size

    async def _run(self, act: Callable[[sqlite3.Connection], Result], otherwise: Result) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._try, act, otherwise)

    # On the thread

    def _try(self, act: Callable[[sqlite3.Connection], Result], otherwise: Result) -> Result:
        try:
            try:
                result = act(self._connected())
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                    raise
                log.warning("the file of kept answers is damaged and made anew", file=FILE_NAME, why=first_line(error))
                self._discard()
                result = act(self._connected())
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            if not self._is_failing:
                self._is_failing = True
                log.error("the file of kept answers cannot be used", file=FILE_NAME, why=first_line(error))
            return otherwise
        self._is_failing = False
        return result

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._open()
            if self._connection.execute("PRAGMA user_version").fetchone()[0] not in (0, _VERSION):
                self._discard()
                self._connection = self._open()
            if self._connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                self._connection.executescript(_TABLES)
            self._tidy(self._connection)
        return self._connection

    def _open(self) -> sqlite3.Connection:
        make_folder(self._path.parent)
        # SQLite gives its other files the mode of this one.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._path.chmod(0o600)
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma).fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _discard(self) -> None:
        self._disconnect()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _find(self, database: sqlite3.Connection, key: str) -> bytes | None:
        row = database.execute(
            "SELECT answer FROM answers WHERE key = ? AND expires_at > ?", (key, self._now())
        ).fetchone()
        return None if row is None else bytes(row[0])

    def _keep(self, database: sqlite3.Connection, place: Place, answer: KeptAnswer) -> None:
        packed = _packed(answer)
        size = len(packed) + _OVERHEAD
        if size > self._most // 2:
            return
        self._size -= sum(row[0] for row in database.execute("SELECT size FROM answers WHERE key = ?", (place.key,)))
        database.execute(
            "INSERT OR REPLACE INTO answers (key, gateway, provider, model, name, expires_at, size, answer)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*place, answer.expires_at, size, packed),
        )
        self._size += size
        self._since_tidied += 1
        if self._since_tidied >= _TIDY_EVERY:
            self._tidy(database)
        elif self._size > self._most:
            self._make_room(database)

    def _purge(self, database: sqlite3.Connection, wanted: Purge) -> set[str]:
        conditions, values = ["gateway = ?"], [wanted.gateway]
        for column, value in (("provider", wanted.provider), ("model", wanted.model)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        if wanted.key is not None:
            conditions.append("(key = ? OR name = ?)")
            values += [wanted.key, key_name(wanted.gateway, wanted.key)]
        found = database.execute(
            f"DELETE FROM answers WHERE {' AND '.join(conditions)} RETURNING key, size",  # noqa: S608
            values,
        ).fetchall()
        self._size -= sum(size for _, size in found)
        database.execute("PRAGMA incremental_vacuum").fetchall()
        return {key for key, _ in found}

    def _entries(self, database: sqlite3.Connection, gateway: str) -> dict[str, int]:
        query = "SELECT key, size FROM answers WHERE gateway = ? AND expires_at > ?"
        return dict(database.execute(query, (gateway, self._now())).fetchall())

    def _tidy(self, database: sqlite3.Connection) -> None:
        """Remove what expired, and count anew: other processes may write to the file as well."""
        database.execute("DELETE FROM answers WHERE expires_at <= ?", (self._now(),))
        self._size = database.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchone()[0]
        self._since_tidied = 0
        if self._size > self._most:
            self._make_room(database)
        database.execute("PRAGMA incremental_vacuum").fetchall()

    def _make_room(self, database: sqlite3.Connection) -> None:
        """Remove the oldest, a little more than must be: it is then not done for each entry."""
        last = 0
        for number, size in database.execute("SELECT id, size FROM answers ORDER BY id"):
            if self._size <= self._most * 0.95:
                break
            last, self._size = number, self._size - size
        database.execute("DELETE FROM answers WHERE id <= ?", (last,))


class LocalCache:
    """The cache of one process: memory, over a file where there is one."""

    def __init__(self, memory: MemoryCache, disk: DiskCache | None, now: Callable[[], float] = time.time) -> None:
        self._memory = memory
        self._disk = disk
        self._now = now
        self._purges: Counter[str] = Counter()

    def at_hand(self, place: Place) -> KeptAnswer | None:
        """Return what is in memory."""
        return self._memory.find(place.key, self._now())

    async def find(self, place: Place) -> Found:
        """Return what is kept there and has not expired."""
        mark = self._purges[place.gateway]
        answer = self._memory.find(place.key, self._now())
        if answer is None and self._disk is not None:
            answer = await self._disk.find(place.key)
            if self._purges[place.gateway] != mark or (answer is not None and not answer.is_fresh(self._now())):
                answer = None
            if answer is not None:
                self._memory.keep(place, answer)
        return Found(answer, mark)

    async def keep(self, place: Place, answer: KeptAnswer, mark: int | bytes | None) -> None:
        """Keep an answer, unless the gateway's cache was purged since ``mark``."""
        if mark != self._purges[place.gateway]:
            return
        self._memory.keep(place, answer)
        if self._disk is not None:
            self._disk.keep(place, answer)

    async def purge(self, wanted: Purge) -> int:
        """Remove entries; return how many."""
        self._purges[wanted.gateway] += 1
        found = self._memory.purge(wanted)
        return len(found | await self._disk.purge(wanted) if self._disk is not None else found)

    async def size(self, gateway: str) -> CacheSize:
        """Return what is kept for a gateway: on the disk, and what is in memory alone."""
        found = self._memory.entries(gateway, self._now())
        if self._disk is not None:
            found |= await self._disk.entries(gateway)
        return CacheSize(len(found), sum(found.values()))

    async def close(self) -> None:
        """Write what waits, and close the file."""
        if self._disk is not None:
            await self._disk.close()


_PREFIX: Final = "trunkline:cache"
_EPOCH_SECONDS: Final = 86_400
_SCANNED_AT_ONCE: Final = 1000
# Keeps an entry only where nobody purged the gateway's cache since it was asked for.
_KEEP_SCRIPT: Final = """
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class ValkeyCache:
    """The cache of all processes, in Valkey: bounded by its ``maxmemory``, each entry by its lifetime.

    No process has a memory of its own over it: what one purges, the others must not have either.
    """

    def __init__(self, valkey: Valkey, now: Callable[[], float] = time.time) -> None:
        self._valkey = valkey
        self._now = now
        self._keep: AsyncScript = valkey.client.register_script(_KEEP_SCRIPT)

    def at_hand(self, place: Place) -> None:
        """Return nothing: what is kept is elsewhere."""

    async def find(self, place: Place) -> Found:
        """Return what is kept there and has not expired; nothing while the server is away."""
        if self._valkey.is_resting:
            return Found(None, None)
        try:
            told = await self._valkey.client.mget(_key(place), _epoch_key(place.gateway))
        except _errors() as error:
            self._valkey.failed(error)
            return Found(None, None)
        self._valkey.worked()
        packed, epoch = cast(list[bytes | None], told)  # of a client that decodes nothing
        mark = epoch or b""
        if packed is None:
            return Found(None, mark)
        slow = len(packed) > _SLOW_TO_COMPRESS
        answer = await asyncio.to_thread(_unpacked, packed) if slow else _unpacked(packed)
        return Found(answer if answer is not None and answer.expires_at > self._now() else None, mark)

    async def keep(self, place: Place, answer: KeptAnswer, mark: int | bytes | None) -> None:
        """Keep an answer, unless the gateway's cache was purged since ``mark``, by any process."""
        milliseconds = round((answer.expires_at - self._now()) * 1000)
        if mark is None or milliseconds <= 0 or self._valkey.refuses:
            return
        slow = answer.size > _SLOW_TO_COMPRESS
        packed = await asyncio.to_thread(_packed, answer) if slow else _packed(answer)
        keys = [_key(place), _epoch_key(place.gateway)]
        try:
            if await self._keep(keys=keys, args=[mark, packed, milliseconds]):
                self._valkey.wrote()
        except _errors() as error:
            self._valkey.failed(error)

    async def purge(self, wanted: Purge) -> int:
        """Remove entries; return how many. Raises `CacheUnavailable` when the server is away, or stays full."""
        from redis.exceptions import OutOfMemoryError

        removed = 0
        try:
            try:
                await self._mark_purge(wanted.gateway)
            except OutOfMemoryError:
                removed = await self._remove(wanted)  # which makes room, and then once more what came meanwhile
                await self._mark_purge(wanted.gateway)
            return removed + await self._remove(wanted)
        except _errors() as error:
            raise self._away(error) from error

    async def _mark_purge(self, gateway: str) -> None:
        async with self._valkey.client.pipeline(transaction=True) as both:
            both.incr(_epoch_key(gateway))
            both.expire(_epoch_key(gateway), _EPOCH_SECONDS)
            await both.execute()

    async def _remove(self, wanted: Purge) -> int:
        removed = 0
        for pattern in _patterns(wanted):
            async for keys in self._scanned(pattern):
                removed += await self._valkey.client.unlink(*keys)
        return removed

    async def size(self, gateway: str) -> CacheSize:
        """Return what is kept for a gateway. Raises `CacheUnavailable` when the server is away."""
        entries = size = 0
        try:
            async for keys in self._scanned(_patterns(Purge(gateway))[0]):
                async with self._valkey.client.pipeline(transaction=False) as asking:
                    for key in keys:
                        asking.strlen(key)
                    found = [length for length in await asking.execute() if length]
                entries += len(found)
                size += sum(found)
        except _errors() as error:
            raise self._away(error) from error
        return CacheSize(entries, size)

    async def close(self) -> None:
        """Do nothing: the client belongs to whoever opened it."""

    async def _scanned(self, pattern: str) -> AsyncIterator[list[bytes]]:
        cursor = 0
        while True:
            cursor, keys = await self._valkey.client.scan(cursor, match=pattern, count=_SCANNED_AT_ONCE)
            if keys:
                yield cast(list[bytes], keys)
            if not cursor:
                return

    def _away(self, error: Exception) -> CacheUnavailable:
        self._valkey.failed(error)
        why = "does not answer" if self._valkey.is_resting else "refuses that; look at its memory and its rights"
        return CacheUnavailable(f"The cache in Valkey at {self._valkey.place} {why}. Try again in a moment.")


def _errors() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError  # late: the package is an extra, and there where a client is

    return (RedisError, OSError)


def _key(place: Place) -> str:
    parts = (place.gateway, _short(place.provider), _short(place.model), place.name or "-", place.key)
    return ":".join((_PREFIX, *parts))


def _epoch_key(gateway: str) -> str:
    return f"{_PREFIX}-purges:{gateway}"


def _patterns(wanted: Purge) -> list[str]:
    """Return what the keys of a purge look like: an entry is found by its own key, or by the name of a caller's."""
    gateway = "".join(f"\\{character}" if character in "*?[]^\\" else character for character in wanted.gateway)
    provider, model = ("*" if part is None else _short(part) for part in (wanted.provider, wanted.model))
    ends = ["*:*"]
    if wanted.key is not None:
        ends = [f"{key_name(wanted.gateway, wanted.key)}:*"]
        if len(wanted.key) == 64 and wanted.key.isalnum():
            ends.append(f"*:{wanted.key}")
    return [":".join((_PREFIX, gateway, provider, model, end)) for end in ends]


def _short(text: str) -> str:
    """Return a digest that has none of the characters a pattern is made of."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


_PLAIN: Final = b"\0"
_COMPRESSED: Final = b"\1"
_decoder: Final = msgspec.msgpack.Decoder(KeptAnswer)


def _packed(answer: KeptAnswer) -> bytes:
    plain = msgspec.msgpack.encode(answer)
    if len(plain) < _WORTH_COMPRESSING:
        return _PLAIN + plain
    compressed = zlib.compress(plain, _LEVEL)
    return _COMPRESSED + compressed if len(compressed) < len(plain) else _PLAIN + plain


def _unpacked(packed: bytes) -> KeptAnswer | None:
    """Return an answer, or None where the bytes are none: another version may have written them."""
    try:
        content = packed[1:]
        if packed[:1] == _COMPRESSED:
            content = zlib.decompressobj().decompress(content, _LARGEST)
        elif packed[:1] != _PLAIN:
            return None
        return _decoder.decode(content)
    except (zlib.error, msgspec.MsgspecError):
        return None
