"""Where the database is: a file of SQLite's, or a PostgreSQL server by its URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from trunkline.errors import SettingsError

FILE_NAME: Final = "trunkline.db"
_POSTGRESQL: Final = ("postgres", "postgresql", "postgresql+asyncpg")
_SHAPES: Final = "postgresql://USER:PASSWORD@HOST:PORT/NAME, sqlite:///PATH, or nothing for the file in data_dir"


class SqliteFile(msgspec.Struct, frozen=True):
    """A file, made when it is not there."""

    path: Path

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A database of a server. ``dsn`` is libpq's URL and may hold a password; ``str()`` names the place without it."""

    place: str
    dsn: str = field(repr=False)

    def __str__(self) -> str:
        """Return host, port and name of the database."""
        return self.place


Location = SqliteFile | PostgresServer


def locate(data_dir: Path, url: str) -> Location:
    """Return where the database of a setting is. Raises `SettingsError`, which never shows the URL."""
    if not url:
        return SqliteFile(data_dir / FILE_NAME)
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if separator and scheme in ("sqlite", "sqlite+aiosqlite"):
        # As SQLAlchemy writes it: an empty host, then the path, so that four slashes begin an absolute one.
        path = unquote(rest.removeprefix("/"))
        if not rest.startswith("/") or not path or path.startswith(":") or "\0" in path:
            raise SettingsError("database_url: expected sqlite:///PATH with the path of a file.")
        try:
            return SqliteFile(Path(path).expanduser())
        except RuntimeError as error:
            raise SettingsError("database_url names the home of a user this machine does not know.") from error
    if separator and scheme in _POSTGRESQL:
        return PostgresServer(_place(rest), f"postgresql://{rest}")
    raise SettingsError(f"database_url: expected {_SHAPES}.")


def _place(rest: str) -> str:
    """Return host, port and database of what follows ``postgresql://``."""
    try:
        parts = urlsplit(f"postgresql://{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _unreadable() from None  # the reason quotes what may be a piece of the password
    name = parts.path.removeprefix("/")
    # A sign of a password that ended the URL's host too early, and stands where a name is expected.
    if any("@" in part for part in (name, parts.query, parts.fragment)) or "/" in name or parts.fragment:
        raise _unreadable()
    where = f"{host}:{port or 5432}" if host else "its socket"
    return f"PostgreSQL at {where}, database {unquote(name) or 'of the same name as the user'}"


def _unreadable() -> SettingsError:
    return SettingsError(
        "database_url: it cannot be read as postgresql://USER:PASSWORD@HOST:PORT/NAME. In a password, the characters"
        " / ? # @ : % are written as %2F %3F %23 %40 %3A %25."
    )
