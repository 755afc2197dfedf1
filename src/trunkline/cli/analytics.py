"""``trunkline analytics``: sums of the log as a table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from trunkline.cli.configuration import chosen_settings
from trunkline.cli.data_directory import DataDirOption
from trunkline.cli.moments import moment
from trunkline.cli.output import err, out, plain

if TYPE_CHECKING:
    from trunkline.store.analytics import Chart, Question

_TIMINGS: Final = ("duration_", "first_byte_")
_MEASURES: Final = ["requests", "error_rate", "tokens", "cost", "duration_p95"]


def analytics(
    by: Annotated[
        str, typer.Option(metavar="DIMENSION", help="gateway, provider, model, key, user, status or metadata:KEY.")
    ] = "",
    measure: Annotated[
        list[str] | None, typer.Option(help="What to show; may be given several times. The first one ranks groups.")
    ] = None,
    since: Annotated[
        str,
        typer.Option(metavar="7d|2027-01-31", help="From this day on (UTC), or that of s, m, h, d or w ago."),
    ] = "7d",
    top: Annotated[int, typer.Option(min=1, max=100, help="So many groups, and all others as one.")] = 20,
    gateway: Annotated[str, typer.Option(help="Only this gateway.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with a point for each day (UTC).")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show how much was asked, how it went and what it cost, from the database."""
    import msgspec

    from trunkline.store.analytics import Question

    now = time.time()
    began = moment(since, now, option="--since", example="7d", is_past=True)
    measures = measure or _MEASURES
    filters = {"gateway": [gateway]} if gateway else {}
    chart = _ask(Question(since=began, until=now, measures=measures, by=by, filters=filters, top=top), data_dir)
    if json:
        typer.echo(msgspec.json.encode(chart).decode())
    elif chart.groups:
        out.print(_drawn(chart, measures, by))
    else:
        err.print("Nothing was asked in that time.")


def _ask(question: Question, data_dir: Path | None) -> Chart:
    from trunkline.store import Database  # late: commands that need no database start without it
    from trunkline.store.analytics import Analytics

    async def asking() -> Chart:
        chosen = chosen_settings(data_dir)
        database = await Database.open(chosen.data_dir, chosen.database_url)
        try:
            return await Analytics(database).series(question, "day")
        finally:
            await database.close()

    return asyncio.run(asking())


def _drawn(chart: Chart, measures: Sequence[str], by: str) -> Table:
    table = Table(box=None, pad_edge=False)
    if by:
        table.add_column(by, overflow="fold")
    for name in measures:
        table.add_column(name.replace("_", " "), justify="right")
    for group in chart.groups:
        told = ["all others" if group.other else escape(plain(group.value or "-"))] if by else []
        table.add_row(*told, *(_written(name, group.total[name]) for name in measures))
    return table


def _written(measure: str, number: float | None) -> str:
    if number is None:
        return "-"
    if measure == "cost":
        return f"${number:,.2f}"
    if measure.endswith("_rate"):
        return f"{number:.1%}"
    if measure == "session_seconds":
        return f"{number:,.0f} s"
    return f"{number:,.0f} ms" if measure.startswith(_TIMINGS) else f"{number:,.0f}"
