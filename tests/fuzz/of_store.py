"""Targets: what is kept and found again: the journal, filters, words to search for, imports, and settings."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, create_engine, func, insert, select
from sqlalchemy.dialects import postgresql

from tests.fuzz.target import NotForThis, Target, json_of, object_of, pairs_of
from trunkline.errors import MalformedRequest, SettingsError, TrunklineError
from trunkline.providers.catalogue import check_address
from trunkline.server.log_words import conditions_of
from trunkline.server.management.log_queries import checked_conditions, log_filter, order_of
from trunkline.settings import load
from trunkline.store.conversation_imports import ExportFile, ImportFault
from trunkline.store.conversation_tree import ImportedConversation
from trunkline.store.conversations import _query as full_text_query
from trunkline.store.conversations import excerpt
from trunkline.store.full_text import searchable, spans, terms
from trunkline.store.journal import Journal, records_of
from trunkline.store.location import locate
from trunkline.store.log_filter import LogFilter, clauses_of, ordering
from trunkline.store.log_record import LogRecord, decoded
from trunkline.store.log_values import FIELDS, fitting
from trunkline.store.schema import logs, metadata
from trunkline.store.transfer import checked
from trunkline.store.transfer_files import Exported
from trunkline.upstream.address import parse
from trunkline.wire.documents import UNREADABLE


@cache
def _folder() -> Path:
    """A folder in memory where the machine has one: files are written by the thousand."""
    shared = Path("/dev/shm")
    keeper = tempfile.TemporaryDirectory(prefix="trunkline-fuzz-", dir=shared if os.access(shared, os.W_OK) else None)
    _KEPT.append(keeper)  # until the process ends
    return Path(keeper.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def journal(data: bytes) -> None:
    """Any bytes in a segment give whole records, none of them invented, and the journal goes on."""
    segment = _folder() / f"{os.getpid()}.segment"
    segment.write_bytes(data)
    found = list(records_of(segment))
    held = {record for record in found if record}
    assert all(record in data for record in held)
    assert sum(len(record) + 12 for record in found) <= len(data)
    segment.unlink()


def damaged_journal(data: bytes) -> None:
    """Of records that were written, damage costs those it touches, and the others come back in order."""
    records = data.split(b"\n")[:20]
    folder = _folder() / f"{os.getpid()}"
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    with _opened(folder) as written:
        assert all(written.append(record) for record in records)
    (segment,) = folder.glob("*.segment")
    whole = segment.read_bytes()
    where = int.from_bytes(data[-3:], "big") % len(whole)
    end = where if data[:1] < b"\x80" else len(whole)
    damaged = bytearray(whole[:end])
    if end == len(whole):
        damaged[where] ^= 1 << (data[-1] % 8)
    segment.write_bytes(damaged)
    with _opened(folder) as again:
        found: list[bytes] = []
        while batch := again.next_batch(3):
            found += batch.records
            again.done(batch)
        stats = again.stats()
        assert again.is_drained
        assert again.append(b"more")
    left = iter(records)
    assert all(record in left for record in found)
    if end < len(whole):
        assert found == records[: len(found)]
    else:
        assert len(found) >= len(records) - 1 or where < 8
        assert stats.corrupt + stats.torn >= (len(found) < len(records))


@contextmanager
def _opened(folder: Path) -> Iterator[Journal]:
    opened = Journal.open(folder)
    try:
        yield opened
    finally:
        opened.close()


_BESIDE = {"written_at": 1.0, "has_payload": False}


def log_records(data: bytes) -> None:
    """Whatever a record holds, it becomes a row."""
    told = json_of(data)
    if not isinstance(told, dict):
        raise NotForThis
    try:
        record = decoded(msgspec.msgpack.encode({"id": "1", "gateway": "g", "created_at": 1.0, **told}))
    except (*UNREADABLE, OverflowError):
        return
    (columns,) = zip(*fitting([record]), strict=True)
    with _database().begin_nested() as undo:
        _database().execute(insert(logs), [dict(zip(FIELDS, _read(columns), strict=True)) | _BESIDE])
        undo.rollback()


def _read(columns: Any) -> list[Any]:
    """Return values as SQLAlchemy takes them: documents not yet as texts."""
    kinds = [logs.c[name].type for name in FIELDS]
    return [
        json.loads(value) if type(kind).__name__.startswith("JSON") else value
        for kind, value in zip(kinds, columns, strict=True)
    ]


@cache
def _database() -> Connection:
    engine = create_engine("sqlite://")
    connection = engine.connect()
    metadata.create_all(connection, tables=[logs])
    records = [
        LogRecord(
            id=f"01{number:02}",
            gateway="default",
            created_at=1_700_000_000.0 + number,
            provider=("openai", "anthropic", "")[number % 3],
            model=("gpt-5", "claude", "", "50%_off")[number % 4],
            status=(200, 429, 500)[number % 3],
            success=number % 2 == 0,
            cost=None if number % 4 == 0 else number / 10,
            tokens_in=None if number % 5 == 0 else number,
            metadata={"team": ("blue", "red")[number % 2], "n": number, "ok": number % 3 == 0},
        )
        for number in range(12)
    ]
    rows = [dict(zip(FIELDS, _read(columns), strict=True)) for columns in zip(*fitting(records), strict=True)]
    connection.execute(insert(logs), [row | _BESIDE for row in rows])
    return connection


def log_filters(data: bytes) -> None:
    """What a query asks for is refused, or is SQL that both engines take; unlike is the opposite of like."""
    told = object_of(data)
    wanted = [log_filter("default", pairs_of(told.get("parameters", [])))]
    words, filters = told.get("words", []), told.get("filters", [])
    if not isinstance(words, list) or not isinstance(filters, list):
        raise NotForThis
    conditions = [*conditions_of([word for word in words if isinstance(word, str)]), *checked_conditions(filters)]
    wanted.append(LogFilter(gateway="default", conditions=conditions, search=str(told.get("search", ""))))
    order, descending = order_of(pairs_of(told.get("parameters", [])))
    for one in wanted:
        asked = select(logs).where(*clauses_of(one, "sqlite")).order_by(*ordering(order, descending))
        _database().execute(asked).all()
        select(logs).where(*clauses_of(one, "postgresql")).compile(dialect=postgresql.dialect())
    for key, operator, values in conditions:
        if operator in ("eq", "neq"):
            both = [_count(LogFilter(conditions=[(key, sign, values)])) for sign in ("eq", "neq")]
            assert sum(both) == _count(LogFilter()), (key, values)


def _count(wanted: LogFilter) -> int:
    asked = select(func.count()).select_from(logs).where(*clauses_of(wanted, "sqlite"))
    return int(_database().execute(asked).scalar_one())


@cache
def _full_text() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE found USING fts5(words, tokenize='unicode61 remove_diacritics 0')")
    return connection


def search_words(data: bytes) -> None:
    """A text is found by any of its words, and nothing in a query is syntax."""
    try:
        query, _, text = data.decode("utf-8", "surrogatepass").partition("\n")
    except UnicodeDecodeError as error:
        raise NotForThis from error
    database = _full_text()
    words = searchable(text)
    words.encode()
    database.execute("DELETE FROM found")
    database.execute("INSERT INTO found(words) VALUES (?)", (words,))
    for asked, is_there in ((query, None), (text, True)):
        wanted = terms(asked)
        full_text_query("postgresql", wanted)
        pieces = excerpt(text, wanted)
        if wanted:
            rows = database.execute(
                "SELECT count(*) FROM found WHERE found MATCH ?", (full_text_query("sqlite", wanted),)
            )
            (count,) = rows.fetchone()
            if is_there:
                assert count == 1, wanted
                assert spans(text, wanted)
                assert any(piece.match for piece in pieces) or len(text) > 200


def transfer(data: bytes) -> None:
    """A file of an export is read row by row, or refused with its place; what is damaged is said to be."""
    folder = _folder()
    for name, content in (("rows.jsonl", data), ("rows.jsonl.gz", _damaged(gzip.compress(data, mtime=0), data))):
        file = folder / f"{os.getpid()}-{name}"
        file.write_bytes(content)
        try:
            _, rows = Exported(file).read(file)
            for table, row in rows:
                assert set(checked(table, row)) <= set(row.values)
        except SettingsError as error:
            assert str(error)
        finally:
            file.unlink()


def _damaged(packed: bytes, data: bytes) -> bytes:
    """Damage a compressed file at a place that its content tells, every other time."""
    damaged = bytearray(packed)
    if data[-1:] > b"\x40":
        damaged[len(data) % len(damaged)] ^= 1 << (len(data) % 8)
    return bytes(damaged)


def conversation_imports(data: bytes) -> None:
    """A file of conversations gives each of them, or why not, and what was read can be written."""
    file = _folder() / f"{os.getpid()}.json"
    file.write_bytes(data)
    try:
        with file.open("rb") as opened:
            for entry in ExportFile(opened).read():
                assert isinstance(entry, ImportedConversation | ImportFault)
                if isinstance(entry, ImportedConversation):
                    msgspec.json.encode(entry)
                    if b"trunkline_conversation" in data:  # in the order of the file: judged when it is written
                        continue
                    known: set[str | None] = {None}
                    for message in entry.messages:
                        assert message.parent in known
                        known.add(message.id)
    finally:
        file.unlink()


def settings_files(data: bytes) -> None:
    """A settings file and the environment make settings, or say what is wrong and never a secret."""
    text, _, variables = data.decode("utf-8", "replace").partition("\n# environment\n")
    environment = {}
    for line in variables.splitlines():
        name, separator, value = line.partition("=")
        if separator and "\x00" not in line:
            environment[name.strip()] = value
    file = _folder() / f"{os.getpid()}.toml"
    file.write_text(text, "utf-8")
    try:
        found = load({}, {"HOME": "/nonexistent", **environment}, file)
        locate(Path("/nonexistent"), found.database_url)
    except TrunklineError as error:
        assert "hunter2-secret" not in str(error)
        raise
    finally:
        file.unlink()


def urls(data: bytes) -> None:
    """Where a database is, or a provider: a place, or a refusal that holds no password."""
    text = data.decode("utf-8", "replace")
    try:
        assert "hunter2" not in str(locate(Path("/nonexistent"), text)) or text.startswith("sqlite")
    except SettingsError as error:
        assert "hunter2" not in str(error)
    check_address(text, "here")
    origin, path = parse(text)
    assert origin.scheme in ("http", "https")
    assert 0 < origin.port <= 65535
    assert origin.host
    assert path.startswith("/") or not path


TARGETS = [
    Target("journal", journal, [], is_json=False),
    Target("damaged_journal", damaged_journal, [], is_json=False),
    Target("log_records", log_records, ["trunkline.store.log_record"]),
    Target(
        "log_filters",
        log_filters,
        ["trunkline.store.log_filter", "trunkline.server.management.log_queries", "trunkline.server.log_words"],
        (MalformedRequest,),
    ),
    Target("search_words", search_words, [], is_json=False),
    Target("transfer", transfer, ["trunkline.store.transfer", "trunkline.store.schema.configuration"], is_json=False),
    Target(
        "conversation_imports",
        conversation_imports,
        ["trunkline.store.conversation_imports", "trunkline.store.conversation_tree"],
        (ImportFault,),
    ),
    Target(
        "settings_files",
        settings_files,
        ["trunkline.settings", "trunkline.providers.schema"],
        (SettingsError,),
        is_json=False,
    ),
    Target("urls", urls, ["trunkline.store.location"], (SettingsError,), is_json=False),
]
