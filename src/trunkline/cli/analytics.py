"""``trunkline analytics``: sums of the log as a table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from trunkline.cli.commands import Command
from trunkline.cli.configuration import chosen_settings
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.moments import moment
from trunkline.cli.output import err, out, plain, table

if TYPE_CHECKING:
    from trunkline.store.analytics import Chart, Question

_TIMINGS: Final = ("duration_", "first_byte_")
_MEASURES: Final = ("requests", "error_rate", "tokens", "cost", "duration_p95")


@click.command(cls=Command)
@click.option(
    "--by", metavar="DIMENSION", default="", help="gateway, provider, model, key, user, status or metadata:KEY."
)
@click.option(
    "--measure",
    "measures",
    multiple=True,
    help="What to show; may be given several times. The first one ranks groups.",
)
@click.option(
    "--since",
    metavar="7d|2027-01-31",
    default="7d",
    show_default=True,
    help="From this day on (UTC), or that of s, m, h, d or w ago.",
)
@click.option(
    "--top",
    type=click.IntRange(1, 100),
    default=20,
    show_default=True,
    help="So many groups, and all others as one.",
)
@click.option("--gateway", default="", help="Only this gateway.")
@click.option("--json", is_flag=True, help="Print JSON, with a point for each day (UTC).")
@data_dir_option
def analytics(
    by: str, measures: Sequence[str], since: str, top: int, gateway: str, json: bool, data_dir: Path | None
) -> None:
    """Show how much was asked, how it went and what it cost, from the database."""
    import msgspec

    from trunkline.store.analytics import Question

    now = time.time()
    began = moment(since, now, option="--since", example="7d", is_past=True)
    asked = [*(measures or _MEASURES)]
    filters = {"gateway": [gateway]} if gateway else {}
    chart = _ask(Question(since=began, until=now, measures=asked, by=by, filters=filters, top=top), data_dir)
    if json:
        out(msgspec.json.encode(chart).decode())
    elif chart.groups:
        out(_drawn(chart, asked, by))
    else:
        err("Nothing was asked in that time.")


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


def _drawn(chart: Chart, measures: Sequence[str], by: str) -> str:
    names = [name.replace("_", " ") for name in measures]
    rows = []
    for group in chart.groups:
        told = ["all others" if group.other else plain(group.value or "-")] if by else []
        rows.append([*told, *(_written(name, group.total[name]) for name in measures)])
    return table([*([by] if by else []), *names], rows, right=names)


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
