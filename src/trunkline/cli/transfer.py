"""``trunkline export``, ``import``, ``backup`` and ``restore``: the database in files, while gateways use it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

import trunkline
from trunkline.cli.configuration import chosen_settings
from trunkline.cli.data_directory import DataDirOption
from trunkline.cli.moments import moment
from trunkline.cli.output import err, megabytes
from trunkline.errors import SettingsError
from trunkline.settings import Settings

if TYPE_CHECKING:
    from trunkline.store.transfer import Selection
    from trunkline.store.transfer_files import Exported


class Format(Enum):
    """Formats of exported files."""

    JSON_LINES = "jsonl"
    PARQUET = "parquet"


class Area(Enum):
    """What can be exported; `trunkline.store.transfer` says which tables those are."""

    ALL = "all"
    SETUP = "setup"
    USERS = "users"
    LOGS = "logs"
    SESSIONS = "sessions"
    CONVERSATIONS = "conversations"
    ANALYTICS = "analytics"


_STORE_KEYS_AGAIN: Final = "Provider keys are not in it: store them again with `trunkline vault set`."


def export(
    path: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="rows.jsonl, rows.jsonl.gz, a folder, or -.")],
    format: Annotated[Format | None, typer.Option(help="By default what the name says, else jsonl.")] = None,
    what: Annotated[Area, typer.Option(help="What to export.")] = Area.ALL,
    gateway: Annotated[str | None, typer.Option(help="Only what belongs to one gateway.")] = None,
    since: Annotated[str | None, typer.Option(help="Only logs and sessions from then on: 30d, 2027-01-31.")] = None,
    until: Annotated[str | None, typer.Option(help="Only logs and sessions before: 1d, 2027-02-01.")] = None,
    with_sealed_keys: Annotated[
        bool, typer.Option("--with-sealed-keys", help="Provider keys too, sealed: of use with the same master key.")
    ] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Write rows of the database into files, as it is at one moment."""
    from trunkline.store.transfer import Selection  # late: commands that need no database start without it
    from trunkline.store.transfer_files import kind_of

    now = time.time()
    selection = Selection(
        area=what.value,
        gateway=gateway,
        since=moment(since, now, option="--since", example="30d", is_past=True) if since else None,
        until=moment(until, now, option="--until", example="1d", is_past=True) if until else None,
        sealed=with_sealed_keys,
    )
    named = kind_of(path)
    if format is not None and named is not None and named != format.value:
        raise SettingsError(f"--format {format.value}: the name {path.name} says {named}.")
    kind = format.value if format is not None else named or Format.JSON_LINES.value
    count = asyncio.run(_export(chosen_settings(data_dir), path, kind, selection))
    err.print(f"{count} rows are in {'standard output' if str(path) == '-' else path}.", markup=False)
    if what in (Area.ALL, Area.SETUP) and not with_sealed_keys:
        err.print(_STORE_KEYS_AGAIN)


def import_(
    path: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="What `trunkline export` wrote, or -.")],
    data_dir: DataDirOption = None,
) -> None:
    """Add exported rows to the database; those that are there stay as they are, so it may be done again."""
    from trunkline.store.transfer_files import Exported

    added, known = asyncio.run(_import(chosen_settings(data_dir), Exported(path)))
    err.print(f"{added} rows are added, {known} were there already.")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    data_dir: DataDirOption = None,
) -> None:
    """Copy the SQLite database into a file, while the gateway runs."""
    from trunkline.store.backup import back_up
    from trunkline.store.location import locate
    from trunkline.store.vault import FILE_NAME

    chosen = chosen_settings(data_dir)
    size = back_up(locate(chosen.data_dir, chosen.database_url), file)
    err.print(f"The database is in {file} ({megabytes(size)}).", markup=False)
    if not chosen.master_key:
        key = chosen.data_dir / FILE_NAME
        err.print(f"Keep {key} too, in another place: it opens the provider keys in it.", markup=False)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `trunkline backup` wrote.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Put a backup in the place of all that the SQLite database holds."""
    from trunkline.store import Database
    from trunkline.store.backup import restore as put_back
    from trunkline.store.location import locate

    chosen = chosen_settings(data_dir)
    location = locate(chosen.data_dir, chosen.database_url)
    if not yes:
        typer.confirm(f"All that is in {location} is replaced. Go on?", abort=True, err=True)
    put_back(location, file)

    async def bring_up_to_date() -> None:
        await (await Database.open(chosen.data_dir, chosen.database_url)).close()

    asyncio.run(bring_up_to_date())
    err.print(f"{location} is as it was in {file}.", markup=False)


async def _export(chosen: Settings, path: Path, kind: str, selection: Selection) -> int:
    from trunkline.store import Database, schema
    from trunkline.store.transfer import exporting
    from trunkline.store.transfer_files import Header, writer

    tables = selection.tables()
    database = await Database.open(chosen.data_dir, chosen.database_url)
    try:
        async with exporting(database, selection) as found:
            header = Header(
                trunkline=trunkline.__version__,
                schema=schema.HEAD,
                tables=[str(table.name) for table in tables],
                key_check=await found.key_check() if selection.sealed else None,
            )
            written = writer(path, kind, header)
            done = 0
            try:
                with _progress() as progress:
                    for table in tables:
                        told = progress.begin(table.name, await found.count(table))
                        async for rows in found.rows(table):
                            written.write(table, rows)
                            progress.advance(told, len(rows))
                            done += len(rows)
                        progress.end(told)
                written.close()
            except BaseException:
                written.abandon()
                raise
            return done
    finally:
        await database.close()


async def _import(chosen: Settings, exported: Exported) -> tuple[int, int]:
    from trunkline.store import Database, Vault, schema
    from trunkline.store.transfer import Import, batches, require_same_master_key

    database = await Database.open(chosen.data_dir, chosen.database_url)
    added = known = 0
    try:
        with _progress() as progress:
            for file in exported.files:
                header, rows = exported.read(file)
                if header.key_check is not None:
                    require_same_master_key(header.key_check, Vault.at(chosen.data_dir, chosen.master_key))
                importing = Import(database, sums=schema.analytics.rollup_sums.name in header.tables)
                told = progress.begin(file.name, None)
                for table, batch in batches(rows):
                    new = await importing.add(table, batch)
                    added, known = added + new, known + len(batch) - new
                    progress.advance(told, len(batch))
                progress.end(told)
    finally:
        await database.close()
    return added, known


class _Progress:
    """Bars on a terminal; elsewhere a line for each table when it is done."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def begin(self, what: str, total: int | None) -> TaskID:
        return self._bars.add_task(what, total=total)

    def advance(self, told: TaskID, rows: int) -> None:
        self._bars.advance(told, rows)

    def end(self, told: TaskID) -> None:
        task = next(task for task in self._bars.tasks if task.id == told)
        self._bars.update(told, total=task.completed)
        if self._bars.disable:
            err.print(f"{task.description}: {task.completed:.0f} rows", markup=False)


@contextmanager
def _progress() -> Iterator[_Progress]:
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        yield _Progress(bars)
