"""``trunkline logs``: the exchanges that passed a gateway, read from its database."""

from __future__ import annotations

import asyncio
import json as json_module
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from trunkline.cli.commands import Group, argument, json_option
from trunkline.cli.configuration import chosen_settings
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.moments import moment
from trunkline.cli.output import day, err, facts, out, plain, table
from trunkline.errors import GatewayError, SettingsError

if TYPE_CHECKING:
    from trunkline.store import LogFilter, LogRow, Logs
    from trunkline.store.log_filter import Condition

Result = TypeVar("Result")

application = Group(help="Read the log of exchanges.")

# The gateway brings what it has finished into the database twice a second.
_LOOK_SECONDS: Final = 1.0
_FOLLOWED_AT_ONCE: Final = 500
# How long exchanges last whose end is waited for.
_LONGEST_SECONDS: Final = 900.0
_BODIES: Final = frozenset({"request", "response"})

id_argument = argument("id", help="The row's id: what callers get as cf-aig-log-id.")


@application.command("list")
@click.option("--gateway", help="Only those of this gateway.")
@click.option("--provider", help="Only those with this provider.")
@click.option("--model", help="Only those with this model.")
@click.option("--key", help="Only those of this gateway key, by its id.")
@click.option("--user", help="Only those for this end user.")
@click.option("--status", type=int, help="Only those with this HTTP status.")
@click.option("--failed", is_flag=True, help="Only those that did not succeed.")
@click.option("--metadata", metavar="NAME=VALUE", multiple=True, help="Only those with this tag; may be repeated.")
@click.option("--search", default="", help="Only those with this text in what is told about them.")
@click.option("--since", metavar="7d|2027-01-31", help="Only those since: s, m, h, d or w ago, or on a day (UTC).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@click.option("--follow", "-f", is_flag=True, help="Go on with those to come, until Ctrl+C.")
@json_option
@data_dir_option
def list_(
    gateway: str | None,
    provider: str | None,
    model: str | None,
    key: str | None,
    user: str | None,
    status: int | None,
    failed: bool,
    metadata: Sequence[str],
    search: str,
    since: str | None,
    limit: int,
    follow: bool,
    json: bool,
    data_dir: Path | None,
) -> None:
    """List exchanges, newest first; with --follow oldest first, one line each."""
    from trunkline.store import LogFilter

    equal = {"provider": provider, "model": model, "key_id": key, "user": user, "status": status}
    conditions: list[Condition] = [(name, "eq", [value]) for name, value in equal.items() if value is not None]
    conditions += [_tag(one) for one in metadata]
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
        out(json_module.dumps([_document(row) for row in found], indent=2))
    elif found:
        out(_table(found))
    else:
        err("There is no such exchange. They are kept from the first one on that goes through `trunkline serve`.")


@application.command()
@id_argument
@json_option
@data_dir_option
def show(id: str, json: bool, data_dir: Path | None) -> None:
    """Show all that is known of one exchange."""
    found = _row(data_dir, id)
    if json:
        out(json_module.dumps(_document(found), indent=2))
        return
    told = {name: value for name, value in _document(found).items() if value not in (None, "", {})}
    out(facts((name, plain(day(value) if name == "created_at" else _words(value))) for name, value in told.items()))


@application.command()
@id_argument
@click.option("--response/--request", "answer", default=True, show_default=True, help="Which of the two bodies.")
@data_dir_option
def payload(id: str, answer: bool, data_dir: Path | None) -> None:
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
        out(plain(body.decode("utf-8", "replace"), lines=True))
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
                    out(json_module.dumps(_document(row)) if json else _line(row))
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


def _table(found: Iterable[LogRow]) -> str:
    columns = ("id", "time", "gateway", "provider", "model", "status", "ended", "ms", "in", "out", "cost", "caller")
    return table(columns, ([row.id, *map(plain, _cells(row))] for row in found))


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
