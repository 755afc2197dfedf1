"""Files of rows: JSON lines, which anything reads, and Parquet, for those who analyse.

A file of JSON lines begins with a `Header`; every other line is a row, whose ``table`` says of what. A folder has a
file for each table, ``logs.jsonl`` or ``logs.parquet``; JSON lines may also stand in one file. Bytes are base64 in
JSON, times Unix seconds. The Parquet files have the same columns, JSON values as text, and the header as metadata.
"""

from __future__ import annotations

import gzip
import importlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, Protocol

import msgspec
from sqlalchemy import (
    JSON,
    Boolean,
    Float,
    Integer,
    LargeBinary,
    Table,
)

from trunkline.errors import SettingsError
from trunkline.store.schema import metadata
from trunkline.store.transfer import AREAS, Row, table_named
from trunkline.wire.documents import UNREADABLE

JSON_LINES: Final = "jsonl"
PARQUET: Final = "parquet"
STANDARD: Final = Path("-")

# Longer lines than any row makes; a file that is something else must not fill the memory.
_MAX_LINE: Final = 256 * 1024 * 1024
_COMPRESSED: Final = (".gz", ".zst")
_METADATA: Final = b"trunkline"
_TABLE: Final = b"trunkline_table"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What an export is: by which Trunkline, of which schema, with which tables.

    ``key_check`` is there where sealed keys are, and tells whether a master key opens them.
    """

    trunkline: str
    schema: str
    tables: list[str]
    key_check: bytes | None = None


class RowWriter(Protocol):
    """Takes rows, a table after the other, in the order of the header."""

    def write(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows of a table."""

    def close(self) -> None:
        """Finish what was written: before this, no file of its name is there."""

    def abandon(self) -> None:
        """Remove what was written."""


def writer(path: Path, kind: str, header: Header) -> RowWriter:
    """Return a writer of a file or folder. Raises `SettingsError`.

    A name that ends in ``.jsonl``, ``.parquet`` or a compression of it is a file, ``-`` standard output, any other a
    folder.
    """
    if kind == PARQUET:
        if path == STANDARD or (_is_file(path) and len(header.tables) > 1):
            raise SettingsError(
                "Parquet keeps one table a file: name a folder, such as `trunkline export rows --format parquet`."
            )
        return _ParquetWriter(path, header)
    return _LinesWriter(path, header)


def kind_of(path: Path) -> str | None:
    """Return the format that a file's name says, if it says one."""
    suffixes = [suffix for suffix in path.suffixes if suffix not in _COMPRESSED]
    return {".jsonl": JSON_LINES, ".ndjson": JSON_LINES, ".parquet": PARQUET}.get(suffixes[-1] if suffixes else "")


def _is_file(path: Path) -> bool:
    return kind_of(path) is not None or path.suffix in _COMPRESSED


class _Place:
    """Where a table's rows go: files are written beside their names and get them at the end."""

    def __init__(self, path: Path, ending: str) -> None:
        self._path, self._ending = path, ending
        self._is_file = _is_file(path)
        self._written: dict[Path, Path] = {}
        if not self._is_file:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def begun(self, table: str) -> Path:
        """Return the file to write a table into, private to its owner: what was said may be in it."""
        final = self._path if self._is_file else self._path / f"{table}.{self._ending}"
        aside = final.with_name(f".{final.name}.part")
        self._written[aside] = final
        aside.unlink(missing_ok=True)
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        return aside

    def finish(self) -> None:
        for aside, final in self._written.items():
            aside.replace(final)

    def remove(self) -> None:
        for aside in self._written:
            aside.unlink(missing_ok=True)


class _LinesWriter:
    def __init__(self, path: Path, header: Header) -> None:
        self._header = header
        self._is_standard = path == STANDARD
        self._is_one = self._is_standard or _is_file(path)
        self._name = path.name
        self._place = None if self._is_standard else _Place(path, JSON_LINES)
        self._table: str | None = None
        self._file: IO[bytes] | None = None
        self._encode = msgspec.json.Encoder().encode
        if self._is_one:
            self._open("")
        else:
            for table in header.tables:  # a table without rows has its file too
                self._open(table)

    def write(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if not self._is_one and self._table != table.name:
            self._open(table.name)
        assert self._file is not None
        self._file.write(b"".join(self._encode({"table": str(table.name), **row}) + b"\n" for row in rows))

    def close(self) -> None:
        self._shut()
        if self._place is not None:
            self._place.finish()

    def abandon(self) -> None:
        with suppress(OSError):
            self._shut()
        if self._place is not None:
            self._place.remove()

    def _open(self, table: str) -> None:
        self._shut()
        self._table = table
        if self._place is None:
            self._file = sys.stdout.buffer
        else:
            self._file = _opened(self._place.begun(table), self._name if self._is_one else "", "wb")
        self._file.write(self._encode(self._header) + b"\n")

    def _shut(self) -> None:
        if self._file is None:
            return
        if self._is_standard:
            self._file.flush()
        else:
            self._file.close()
        self._file = None


class _ParquetWriter:
    def __init__(self, path: Path, header: Header) -> None:
        self._arrow, self._parquet = _arrow()
        self._header = header
        self._place = _Place(path, PARQUET)
        self._open: Any = None
        self._table: str | None = None
        for table in header.tables:
            self._begin(metadata.tables[table])

    def write(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._table != table.name:
            self._begin(table)
        self._open.write_table(self._arrow.Table.from_pylist([_flat(table, row) for row in rows], self._open.schema))

    def close(self) -> None:
        self._shut()
        self._place.finish()

    def abandon(self) -> None:
        with suppress(OSError):
            self._shut()
        self._place.remove()

    def _begin(self, table: Table) -> None:
        self._shut()
        self._table = table.name
        fields = [(column.name, self._type(column.type)) for column in table.columns]
        said = {_METADATA: msgspec.json.encode(self._header), _TABLE: table.name.encode()}
        shape = self._arrow.schema(fields, metadata=said)
        self._open = self._parquet.ParquetWriter(self._place.begun(table.name), shape, compression="zstd")

    def _type(self, kind: Any) -> Any:
        names = {Boolean: "bool_", Integer: "int64", Float: "float64", LargeBinary: "binary"}
        return getattr(self._arrow, next((name for one, name in names.items() if isinstance(kind, one)), "string"))()

    def _shut(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _flat(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: msgspec.json.encode(value).decode()
        if value is not None and isinstance(table.columns[name].type, JSON)
        else value
        for name, value in row.items()
    }


# In


class Exported:
    """An export as it is found on disk."""

    def __init__(self, path: Path) -> None:
        """Look at a file, a folder, or standard input. Raises `SettingsError` when it is no export."""
        self.files = [path] if path == STANDARD or not path.is_dir() else _files_of(path)
        if not self.files:
            raise SettingsError(f"{path} has no files of an export, such as logs.jsonl or logs.parquet.")
        if missing := [file for file in self.files if file != STANDARD and not file.is_file()]:
            raise SettingsError(f"There is no file {missing[0]}.")

    def read(self, file: Path) -> tuple[Header, Iterator[tuple[Table, Row]]]:
        """Return a file's header and its rows. Raises `SettingsError`, the rows do too, naming where."""
        if kind_of(file) == PARQUET:
            return _read_parquet(file)
        return _read_lines(file)


def _files_of(folder: Path) -> list[Path]:
    found = []
    for tables in AREAS.values():
        for table in tables:
            named = (folder / f"{table.name}.{ending}" for ending in (JSON_LINES, f"{JSON_LINES}.gz", PARQUET))
            found += [path for path in named if path.is_file()]
    return found


def _read_lines(file: Path) -> tuple[Header, Iterator[tuple[Table, Row]]]:
    name = "standard input" if file == STANDARD else str(file)
    lines = _lines(file, name)
    try:
        header = msgspec.json.decode(next(lines, b""), type=Header)
    except UNREADABLE as error:
        raise SettingsError(f"{name} is no export of Trunkline: it does not begin with an export's header.") from error

    def rows() -> Iterator[tuple[Table, Row]]:
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        for number, line in enumerate(lines, start=2):
            if not line.strip():
                continue
            place = f"{name}:{number}"
            try:
                values = decode(line)
            except UNREADABLE as error:
                raise SettingsError(f"{place}: {error}. A row is one JSON object on one line.") from error
            yield table_named(str(values.pop("table", "")), place), Row(place, values)

    return header, rows()


def _lines(file: Path, name: str) -> Iterator[bytes]:
    opened = sys.stdin.buffer if file == STANDARD else _opened(file, file.name, "rb")
    try:
        with opened:
            while line := opened.readline(_MAX_LINE):
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SettingsError(f"{name} is damaged or was cut short: {error}.") from error


def _read_parquet(file: Path) -> tuple[Header, Iterator[tuple[Table, Row]]]:
    arrow, parquet = _arrow()
    try:
        opened = parquet.ParquetFile(file)
        said = opened.schema_arrow.metadata or {}
        header, named = msgspec.json.decode(said[_METADATA], type=Header), said[_TABLE].decode()
    except (arrow.ArrowException, KeyError, msgspec.MsgspecError) as error:
        raise SettingsError(f"{file} is no export of Trunkline: {str(error).partition(chr(10))[0]}.") from error
    table = table_named(named, str(file))
    nested = {column.name for column in table.columns if isinstance(column.type, JSON)}

    def rows() -> Iterator[tuple[Table, Row]]:
        number = 0
        for batch in opened.iter_batches(batch_size=1000):
            for values in batch.to_pylist():
                number += 1
                place = f"{file}, row {number}"
                for name in nested & values.keys():
                    if values[name] is not None:
                        values[name] = _decoded(values[name], f"{place}: the field {name} of {table.name}")
                absent = [name for name, value in values.items() if value is None and _is_left_out(table, name)]
                for name in absent:
                    del values[name]
                yield table, Row(place, values)

    return header, rows()


def _decoded(value: str, where: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except UNREADABLE as error:
        raise SettingsError(f"{where} is not JSON: {error}.") from error


def _is_left_out(table: Table, name: str) -> bool:
    """Whether null in a column, which has no other word for a value that was not exported, stands for that."""
    return name in table.columns and not table.columns[name].nullable and table.columns[name].server_default is not None


def _opened(path: Path, name: str, mode: str) -> IO[bytes]:
    """Open a file that may be compressed, as the end of ``name`` says."""
    if name.endswith(".gz"):
        return gzip.open(path, mode)  # type: ignore[return-value]
    if name.endswith(".zst"):
        return _zstandard()(path, mode)
    return open(path, mode)


def _zstandard() -> Callable[[Path, str], IO[bytes]]:
    try:
        found: Callable[[Path, str], IO[bytes]] = importlib.import_module("compression.zstd").open
    except ImportError as error:
        raise SettingsError("Names that end in .zst need Python 3.14; .gz works with every Python.") from error
    return found


def _arrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise SettingsError("Parquet needs a package that is missing: pip install 'trunkline[parquet]'") from error
