"""A whole copy of the database, taken and put back while gateways use it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from trunkline.errors import SettingsError
from trunkline.store.location import Location, PostgresServer, SqliteFile
from trunkline.store.schema import HEAD

_WAIT_SECONDS: Final = 30


def back_up(location: Location, target: Path) -> int:
    """Write the database, as it is at one moment, into a new file for its owner alone; return its size in bytes.

    Raises `SettingsError`, also when it is a PostgreSQL server's, which has a tool of its own.
    """
    source = _file_of(location, "pg_dump --format=custom --file=FILE 'postgresql://...'")
    if not source.is_file():
        raise SettingsError(f"There is no database at {source}.")
    if target.exists():
        raise SettingsError(f"{target} is there already; give another name.")
    aside = target.with_name(f".{target.name}.part")
    aside.unlink(missing_ok=True)
    os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(source, timeout=_WAIT_SECONDS)) as connection:
            # SQLite writes into an empty file, which was made with the mode that it has to have.
            connection.execute("VACUUM INTO ?", (str(aside),))
        aside.replace(target)
    except sqlite3.Error as error:
        raise SettingsError(f"The database {source} cannot be copied: {error}.") from error
    finally:
        aside.unlink(missing_ok=True)
    return target.stat().st_size


def restore(location: Location, source: Path) -> None:
    """Put a copy in the place of all that the database holds. Raises `SettingsError`, and changes nothing then."""
    target = _file_of(location, "pg_restore --clean --if-exists --dbname='postgresql://...' FILE")
    if not source.is_file():
        raise SettingsError(f"There is no file {source}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        target.touch(0o600)
    try:
        with closing(sqlite3.connect(source.absolute().as_uri() + "?mode=ro", uri=True)) as copy:
            if copy.execute("PRAGMA quick_check").fetchone() != ("ok",) or not _is_ours(copy):
                raise SettingsError(f"{source} is no backup of Trunkline, or is damaged.")
            if copy.execute("SELECT version_num FROM alembic_version").fetchone()[0] > HEAD:
                raise SettingsError(f"{source} was made by a newer Trunkline; install that one.")
            with closing(sqlite3.connect(target, timeout=_WAIT_SECONDS)) as connection:
                # Page by page under SQLite's own locks: a gateway that is running goes on with what was restored.
                number = _number(connection)
                copy.backup(connection)
                # Beyond both, so that a running gateway sees that something changed.
                connection.execute("UPDATE vault_state SET number = max(number, ?) + 1", (number,))
                connection.commit()
    except sqlite3.Error as error:
        raise SettingsError(f"{source} cannot be restored into {target}: {error}.") from error


def _is_ours(connection: sqlite3.Connection) -> bool:
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {"alembic_version", "vault_state"} <= names


def _number(connection: sqlite3.Connection) -> int:
    if not _is_ours(connection):
        return 0
    found: int = connection.execute("SELECT number FROM vault_state").fetchone()[0]
    return found


def _file_of(location: Location, command: str) -> Path:
    match location:
        case SqliteFile(path):
            return path
        case PostgresServer():
            raise SettingsError(f"The database is {location}; PostgreSQL's own tool does this: {command}")
