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

from tests.fuzz.target import NotForThis, Target, json_of, object_of, pairs_of, seed
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


_ROW = {
    "table": "gateways",
    "id": "default",
    "authenticated": True,
    "stored_key_wins": False,
    "client_secrets": "brokered",
    "allowed_origins": [],
    "realtime": {},
    "logging": {},
    "control": {},
    "created_at": 1.0,
}
_HEADER = {"trunkline": "0.1.0", "schema": "0011", "tables": ["gateways"], "key_check": None}
_CHATGPT = [
    {
        "title": "Rome",
        "create_time": 1700000000.0,
        "update_time": 1700000001.0,
        "current_node": "c",
        "conversation_id": "x",
        "default_model_slug": "gpt-5",
        "mapping": {
            "a": {"id": "a", "message": None, "parent": None, "children": ["b"]},
            "b": {"id": "b", "message": {"id": "b", "author": {"role": "user"}, "create_time": 1.0, "content": {"content_type": "text", "parts": ["How warm?"]}, "metadata": {}}, "parent": "a", "children": ["c"]},
            "c": {"id": "c", "message": {"id": "c", "author": {"role": "assistant"}, "content": {"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer", "asset_pointer": "file://x"}, "21"]}, "metadata": {"model_slug": "gpt-5"}, "weight": 1.0}, "parent": "b", "children": []},
        },
    }
]  # fmt: skip
_OPEN_WEBUI = [
    {
        "id": "x",
        "user_id": "u",
        "title": "Rome",
        "chat": {
            "title": "Rome",
            "models": ["gpt-5"],
            "history": {
                "currentId": "b",
                "messages": {
                    "a": {"id": "a", "parentId": None, "childrenIds": ["b"], "role": "user", "content": "How warm?", "timestamp": 1700000000},
                    "b": {"id": "b", "parentId": "a", "childrenIds": [], "role": "assistant", "content": "21", "model": "gpt-5", "done": True},
                },
            },
            "messages": [{"id": "a", "role": "user", "content": "How warm?"}],
            "timestamp": 1700000000000,
        },
        "updated_at": 1700000001,
        "created_at": 1700000000,
        "archived": False,
        "pinned": True,
    }
]  # fmt: skip
_OWN = {
    "trunkline_conversation": 1,
    "id": "c1",
    "kind": "text",
    "title": "Rome",
    "model": "m",
    "provider": "openai",
    "settings": {},
    "head": "m2",
    "pinned": False,
    "archived": False,
    "origin": None,
    "created_at": 1.0,
    "changed_at": 2.0,
    "messages": [
        {"id": "m1", "parent": None, "role": "user", "text": "How warm?", "created_at": 1.0},
        {"id": "m2", "parent": "m1", "role": "assistant", "text": "21", "created_at": 2.0, "parts": [{"a": 1}], "cost": 0.5},
    ],
    "tags": ["a"],
}
_FILTERS = {
    "parameters": [
        ["filters", json.dumps([{"key": "cost", "operator": "gt", "value": [0.1]}, {"key": "model", "operator": "contains", "value": ["gp"]}])],
        ["search", "op"],
        ["min_cost", "0.1"],
        ["start_date", "2023-11-14T22:13:20Z"],
        ["order_by", "cost"],
        ["order_by_direction", "asc"],
    ],
    "words": ["status:>=400", 'model:gpt-5,"50%_off"', "metadata.team:!=blue", "duration:<1.5s", "success:true"],
    "filters": [
        {"key": "created_at", "operator": "lte", "value": ["2024-01-01", 1700000000, None]},
        {"key": "metadata.value", "operator": "eq", "value": ["blue", True, 3]},
        {"key": "metadata:n", "operator": "neq", "value": [3]},
        {"key": "tokens_in", "operator": "eq", "value": [None, "5"]},
        {"key": "kind", "operator": "neq", "value": ["sse", None]},
    ],
    "search": "open",
}  # fmt: skip
_SPREAD = {
    "parameters": [["filters[0][key]", "model"], ["filters[0][operator]", "eq"], ["filters[0][value]", "gpt-5"], ["filters.key", "provider"], ["filters.operator", "neq"], ["filters.value", "x"], ["feedback", "1"], ["cached", "false"]],
    "filters": [],
    "words": [],
}  # fmt: skip
_SETTINGS_FILE = b"""host = "127.0.0.1"
port = 9000
gateway_token = "hunter2-secret-token-of-many-letters"
allowed_origins = ["https://a.example"]
[upstream]
connect_timeout = 2.5
[local]
model = "~/x.gguf"
[providers.openai]
base_url = "https://eu.api.openai.com/v1"
api_key = "env:OPENAI_API_KEY"
[providers.custom-mine]
base_url = "http://127.0.0.1:11434/v1"
needs_key = false
# environment
OPENAI_API_KEY=hunter2-secret-key
TRUNKLINE_PORT=8001
TRUNKLINE_PROVIDERS__CUSTOM_MINE__CHAT_PATH=chat/completions
TRUNKLINE_DATABASE_URL=postgresql://u:hunter2-secret@h:5432/n
"""


def _segment(*records: bytes) -> bytes:
    folder = _folder() / "seed"
    folder.mkdir(exist_ok=True)
    with _opened(folder) as written:
        for record in records:
            written.append(record)
    (file,) = folder.glob("*.segment")
    content = file.read_bytes()
    # The mark is random, and seeds are the same each time.
    fixed = content.replace(content[4:8], b"MARK")
    for path in folder.iterdir():
        path.unlink()
    return fixed


TARGETS = [
    Target("journal", journal, [_segment(b"one", b"", b"two" * 20), _segment(b"x" * 300), b"TLJ\x01MARK", b""], [], is_json=False),
    Target("damaged_journal", damaged_journal, [b"one\ntwo\n\nfour\x00\x01", b"\x80one\nMARK" + b"x" * 99 + b"\ntwo\x10\x20", b"a"], [], is_json=False),
    Target(
        "log_records",
        log_records,
        [seed({"provider": "openai", "model": "m", "tokens_in": 5, "cost": 0.5, "usage": {"input": 5, "more": {"a": [1]}}, "metadata": {"team": "blue"}, "status": 200, "success": True})],
        ["trunkline.store.log_record"],
    ),
    Target("log_filters", log_filters, [seed(_FILTERS), seed(_SPREAD)], ["trunkline.store.log_filter", "trunkline.server.management.log_queries", "trunkline.server.log_words"], (MalformedRequest,)),
    Target(
        "search_words",
        search_words,
        [
            b"warm rom\nHow warm is it in Rome?",
            "straße café\nDie Straße am Café, ½ Meile; ﬁn.".encode(),
            "東京 天気\n東京の天気は良い".encode(),
            b'"a" OR NEAR(b) * - :\nwords: "a" AND b*',
            "İstanbul ǅ\nİSTANBUL ǅ ß ſ K Å".encode(),
        ],
        [],
        is_json=False,
    ),
    Target("transfer", transfer, [seed(_HEADER) + b"\n" + seed(_ROW) + b"\n" + seed({"table": "logs", "id": "1"}) + b"\n"], ["trunkline.store.transfer", "trunkline.store.schema.configuration"], is_json=False),
    Target(
        "conversation_imports",
        conversation_imports,
        [seed(_CHATGPT), seed(_OPEN_WEBUI), seed(_OWN), seed([_OWN, _CHATGPT[0], _OPEN_WEBUI[0], 5])],
        ["trunkline.store.conversation_imports", "trunkline.store.conversation_tree"],
        (ImportFault,),
    ),
    Target("settings_files", settings_files, [_SETTINGS_FILE], ["trunkline.settings", "trunkline.providers.schema"], (SettingsError,), is_json=False),
    Target(
        "urls",
        urls,
        [
            b"postgresql://u:hunter2@h:5432/n?sslmode=require",
            b"sqlite:///x/y.db",
            b"https://a.example:8443/x?y=1",
            b"ws://[::1]:80/x",
        ],
        ["trunkline.store.location"],
        (SettingsError,),
        is_json=False,
    ),
]  # fmt: skip
