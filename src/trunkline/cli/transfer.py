"""``trunkline export``, ``import``, ``backup`` and ``restore``: the database in files, while gateways use it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import trunkline
from trunkline.cli.commands import Command, argument, yes_option
from trunkline.cli.configuration import chosen_settings
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.moments import moment
from trunkline.cli.output import Progress, err, megabytes
from trunkline.errors import SettingsError
from trunkline.settings import Settings

if TYPE_CHECKING:
    from trunkline.store.transfer import Selection
    from trunkline.store.transfer_files import Exported


_FORMATS: Final = ("jsonl", "parquet")
# `trunkline.store.transfer` says which tables those are.
_AREAS: Final = ("all", "setup", "users", "logs", "sessions", "conversations", "analytics")
_STORE_KEYS_AGAIN: Final = "Provider keys are not in it: store them again with `trunkline vault set`."


@click.command(cls=Command)
@argument(
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE|FOLDER",
    help="rows.jsonl, rows.jsonl.gz, a folder, or -.",
)
@click.option("--format", type=click.Choice(_FORMATS), help="By default what the name says, else jsonl.")
@click.option("--what", type=click.Choice(_AREAS), default="all", show_default=True, help="What to export.")
@click.option("--gateway", help="Only what belongs to one gateway.")
@click.option("--since", help="Only logs and sessions from then on: 30d, 2027-01-31.")
@click.option("--until", help="Only logs and sessions before: 1d, 2027-02-01.")
@click.option("--with-sealed-keys", is_flag=True, help="Provider keys too, sealed: of use with the same master key.")
@data_dir_option
def export(
    path: Path,
    format: str | None,
    what: str,
    gateway: str | None,
    since: str | None,
    until: str | None,
    with_sealed_keys: bool,
    data_dir: Path | None,
) -> None:
    """Write rows of the database into files, as it is at one moment."""
    from trunkline.store.transfer import Selection  # late: commands that need no database start without it
    from trunkline.store.transfer_files import kind_of

    now = time.time()
    selection = Selection(
        area=what,
        gateway=gateway,
        since=moment(since, now, option="--since", example="30d", is_past=True) if since else None,
        until=moment(until, now, option="--until", example="1d", is_past=True) if until else None,
        sealed=with_sealed_keys,
    )
    named = kind_of(path)
    if format is not None and named is not None and named != format:
        raise SettingsError(f"--format {format}: the name {path.name} says {named}.")
    kind = format or named or "jsonl"
    count = asyncio.run(_export(chosen_settings(data_dir), path, kind, selection))
    err(f"{count} rows are in {'standard output' if str(path) == '-' else path}.")
    if what in ("all", "setup") and not with_sealed_keys:
        err(_STORE_KEYS_AGAIN)


@click.command(cls=Command)
@argument(
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE|FOLDER",
    help="What `trunkline export` wrote, or -.",
)
@data_dir_option
def import_(path: Path, data_dir: Path | None) -> None:
    """Add exported rows to the database; those that are there stay as they are, so it may be done again."""
    from trunkline.store.transfer_files import Exported

    added, known = asyncio.run(_import(chosen_settings(data_dir), Exported(path)))
    err(f"{added} rows are added, {known} were there already.")


@click.command(cls=Command)
@argument("file", type=click.Path(path_type=Path), metavar="FILE", help="A new file.")
@data_dir_option
def backup(file: Path, data_dir: Path | None) -> None:
    """Copy the SQLite database into a file, while the gateway runs."""
    from trunkline.store.backup import back_up
    from trunkline.store.location import locate
    from trunkline.store.vault import FILE_NAME

    chosen = chosen_settings(data_dir)
    size = back_up(locate(chosen.data_dir, chosen.database_url), file)
    err(f"The database is in {file} ({megabytes(size)}).")
    if not chosen.master_key:
        key = chosen.data_dir / FILE_NAME
        err(f"Keep {key} too, in another place: it opens the provider keys in it.")


@click.command(cls=Command)
@argument("file", type=click.Path(path_type=Path), metavar="FILE", help="What `trunkline backup` wrote.")
@yes_option
@data_dir_option
def restore(file: Path, yes: bool, data_dir: Path | None) -> None:
    """Put a backup in the place of all that the SQLite database holds."""
    from trunkline.store import Database
    from trunkline.store.backup import restore as put_back
    from trunkline.store.location import locate

    chosen = chosen_settings(data_dir)
    location = locate(chosen.data_dir, chosen.database_url)
    if not yes:
        click.confirm(f"All that is in {location} is replaced. Go on?", abort=True, err=True)
    put_back(location, file)

    async def bring_up_to_date() -> None:
        await (await Database.open(chosen.data_dir, chosen.database_url)).close()

    asyncio.run(bring_up_to_date())
    err(f"{location} is as it was in {file}.")


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
                with Progress() as progress:
                    for table in tables:
                        total, count = await found.count(table), 0
                        async for rows in found.rows(table):
                            written.write(table, rows)
                            count += len(rows)
                            progress.show(f"{table.name}: {count} of {total} rows")
                        progress.say(f"{table.name}: {count} rows")
                        done += count
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
        with Progress() as progress:
            for file in exported.files:
                header, rows = exported.read(file)
                if header.key_check is not None:
                    require_same_master_key(header.key_check, Vault.at(chosen.data_dir, chosen.master_key))
                importing = Import(database, sums=schema.analytics.rollup_sums.name in header.tables)
                count = 0
                for table, batch in batches(rows):
                    new = await importing.add(table, batch)
                    added, known = added + new, known + len(batch) - new
                    count += len(batch)
                    progress.show(f"{file.name}: {count} rows")
                progress.say(f"{file.name}: {count} rows")
    finally:
        await database.close()
    return added, known
