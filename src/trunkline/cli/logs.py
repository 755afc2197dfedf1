"""``trunkline logs``: the exchanges that passed a gateway, read from its database."""

from __future__ import annotations

import asyncio
import json as json_module
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.table import Column, Table
from rich.text import Text

from trunkline.cli.configuration import chosen_settings
from trunkline.cli.data_directory import DataDirOption
from trunkline.cli.moments import moment
from trunkline.cli.output import day, err, out, plain
from trunkline.errors import GatewayError, SettingsError

if TYPE_CHECKING:
    from trunkline.store import LogFilter, LogRow, Logs
    from trunkline.store.log_filter import Condition

Result = TypeVar("Result")

application = typer.Typer(help="Read the log of exchanges.", no_args_is_help=True)

# The gateway brings what it has finished into the database twice a second.
_LOOK_SECONDS: Final = 1.0
_FOLLOWED_AT_ONCE: Final = 500
# How long exchanges last whose end is waited for.
_LONGEST_SECONDS: Final = 900.0
_BODIES: Final = frozenset({"request", "response"})

IdArgument = Annotated[str, typer.Argument(help="The row's id: what callers get as cf-aig-log-id.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@application.command("list")
def list_(
    gateway: Annotated[str | None, typer.Option(help="Only those of this gateway.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only those with this provider.")] = None,
    model: Annotated[str | None, typer.Option(help="Only those with this model.")] = None,
    key: Annotated[str | None, typer.Option(help="Only those of this gateway key, by its id.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those for this end user.")] = None,
    status: Annotated[int | None, typer.Option(help="Only those with this HTTP status.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that did not succeed.")] = False,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only those with this tag; may be repeated.")
    ] = None,
    search: Annotated[str, typer.Option(help="Only those with this text in what is told about them.")] = "",
    since: Annotated[
        str | None,
        typer.Option(metavar="7d|2027-01-31", help="Only those since: s, m, h, d or w ago, or on a day (UTC)."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those to come, until Ctrl+C.")] = False,
    json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List exchanges, newest first; with --follow oldest first, one line each."""
    from trunkline.store import LogFilter

    equal = {"provider": provider, "model": model, "key_id": key, "user": user, "status": status}
    conditions: list[Condition] = [(name, "eq", [value]) for name, value in equal.items() if value is not None]
    conditions += [_tag(one) for one in metadata or ()]
    if failed:
        conditions.append(("success", "eq", [False]))
    if since is not None:
        began = moment(since, time.time(), option="--since", example="7d", is_past=True)
        conditions.append(("created_at", "gt", [began]))
    wanted = LogFilter(gateway=gateway, conditions=conditions, search=search)
    if follow:
        _follow(data_dir, wanted, limit, json=json)
        return
    found = _with_logs(data_dir, lambda logs: logs.list(wanted, limit=limit))
    if json:
        typer.echo(json_module.dumps([_document(row) for row in found], indent=2))
    elif found:
        out.print(_table(found))
    else:
        err.print("There is no such exchange. They are kept from the first one on that goes through `trunkline serve`.")


@application.command()
def show(id: IdArgument, json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show all that is known of one exchange."""
    found = _row(data_dir, id)
    if json:
        typer.echo(json_module.dumps(_document(found), indent=2))
        return
    table = Table(Column(style="dim"), Column(), box=None, show_header=False, pad_edge=False)
    for name, value in _document(found).items():
        if value not in (None, "", {}):
            shown = day(value) if name == "created_at" else _words(value)
            table.add_row(name, Text(plain(shown)))
    out.print(table)


@application.command()
def payload(
    id: IdArgument,
    answer: Annotated[bool, typer.Option("--response/--request", help="Which of the two bodies.")] = True,
    data_dir: DataDirOption = None,
) -> None:
    """Write what was said in one exchange to standard output, where the gateway keeps that."""
    found = _row(data_dir, id)
    kept = _with_logs(data_dir, lambda logs: logs.payload(found.id))
    body = None if kept is None else kept.response if answer else kept.request
    if body is None:
        raise SettingsError(
            f"What was said in {plain(id)!r} is not kept; see `trunkline gateways set {found.gateway} --log-payloads`."
        )
    if sys.stdout.isatty():
        # What a stranger said must not steer a terminal.
        typer.echo(plain(body.decode("utf-8", "replace"), lines=True))
    else:
        sys.stdout.buffer.write(body)


def _follow(data_dir: Path | None, wanted: LogFilter, limit: int, *, json: bool) -> None:
    from msgspec.structs import replace

    async def following(logs: Logs) -> None:
        rows = [*reversed(await logs.list(wanted, limit=limit))]
        told: dict[str, None] = {}
        while True:
            for row in rows:
                if row.id not in told:
                    told[row.id] = None
                    typer.echo(json_module.dumps(_document(row)) if json else _line(row))
            while len(told) > 2 * _FOLLOWED_AT_ONCE:
                del told[next(iter(told))]
            await asyncio.sleep(_LOOK_SECONDS)
            # An exchange has the id of its beginning and comes at its end: those of a while ago may be new.
            recent = ("created_at", "gt", [time.time() - _LONGEST_SECONDS])
            again = replace(wanted, conditions=[*wanted.conditions, recent])
            rows = [*reversed(await logs.list(again, limit=_FOLLOWED_AT_ONCE))]

    try:
        _with_logs(data_dir, following)
    except KeyboardInterrupt:
        return


def _row(data_dir: Path | None, id: str) -> LogRow:
    found = _with_logs(data_dir, lambda logs: logs.get(id))
    if found is None:
        raise SettingsError(f"There is no exchange {plain(id)!r}; see `trunkline logs list`.")
    return found


def _with_logs(data_dir: Path | None, act: Callable[[Logs], Awaitable[Result]]) -> Result:
    from trunkline.store import Database, Logs  # late: commands that need no database start without it

    async def acting() -> Result:
        chosen = chosen_settings(data_dir)
        database = await Database.open(chosen.data_dir, chosen.database_url)
        try:
            return await act(Logs(database))
        except GatewayError as error:
            raise SettingsError(error.message) from error
        finally:
            await database.close()

    return asyncio.run(acting())


def _tag(text: str) -> Condition:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise SettingsError(f"--metadata: {text!r} is not of the form NAME=VALUE.")
    return f"metadata:{name}", "eq", [value]


def _document(row: LogRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__ if name not in _BODIES}


def _table(found: Iterable[LogRow]) -> Table:
    columns = ("time", "gateway", "provider", "model", "status", "ended", "ms", "in", "out", "cost", "caller")
    table = Table(Column("id", no_wrap=True), *columns, box=None, pad_edge=False)
    for row in found:
        table.add_row(row.id, *(Text(plain(cell)) for cell in _cells(row)))
    return table


def _cells(row: LogRow) -> Sequence[str]:
    return (
        day(row.created_at),
        row.gateway,
        row.provider,
        row.model or row.path,
        str(row.status or ""),
        row.end_reason,
        f"{row.duration_ms:.0f}",
        _count(row.tokens_in),
        _count(row.tokens_out),
        "" if row.cost is None else f"${row.cost:.6f}".rstrip("0").rstrip("."),
        row.caller,
    )


def _line(row: LogRow) -> str:
    return "  ".join(plain(cell) or "-" for cell in (row.id, *_cells(row))) + (
        f"  {plain(row.error)}" if row.error else ""
    )


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    return f"{value:.1f}" if isinstance(value, float) and value >= 1 else str(value)
