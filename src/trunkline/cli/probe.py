"""``trunkline probe``: the auth matrix against any gateway."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from trunkline.cli.configuration import chosen_settings
from trunkline.cli.output import err, out
from trunkline.errors import SettingsError
from trunkline.settings import is_loopback_host

if TYPE_CHECKING:
    from trunkline import probe as probing

_INTERRUPTED: Final = 130
_STDOUT: Final = "-"
_TOKEN_VARIABLE: Final = "CF_AIG_TOKEN"  # noqa: S105 - its name, not its value

_STYLES: Final = {
    "accepted": "green",
    "refused": "red",
    "unclear": "yellow",
    "unreachable": "yellow",
    "skipped": "dim",
    "not applicable": "dim",
}


def _file(format: str) -> Any:
    return typer.Option(metavar="FILE", help=f"Write the report as {format}; - is standard output.")


def probe(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help=(
                "A gateway (https://HOST/v1/ACCOUNT/GATEWAY) or the base URL of an API (https://api.openai.com/v1);"
                " without it, the gateway that `serve` starts on this machine."
            ),
            show_default=False,
        ),
    ] = "",
    provider: Annotated[str, typer.Option(help="The provider that is asked for; see docs/providers.md.")] = "openai",
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Only what one script of the proof of concept showed: chat-completion (HTTP, SSE) or realtime (WS).",
        ),
    ] = "",
    model: Annotated[str, typer.Option(help="Model named in the chat request.")] = "",
    realtime_model: Annotated[str, typer.Option(help="Model named on the WebSocket.")] = "",
    key_from: Annotated[
        str,
        typer.Option(metavar="VARIABLE", help="Variable with the provider's key; by default like OPENAI_API_KEY."),
    ] = "",
    token_from: Annotated[
        str, typer.Option(metavar="VARIABLE", help="Variable with the gateway's key.")
    ] = _TOKEN_VARIABLE,
    allow_billable: Annotated[
        bool, typer.Option("--allow-billable", help="Ask for one token of an answer in the SSE column.")
    ] = False,
    json: Annotated[str, _file("JSON")] = "",
    markdown: Annotated[str, _file("Markdown")] = "",
    junit: Annotated[str, _file("JUnit XML")] = "",
    html: Annotated[str, _file("one HTML page")] = "",
) -> None:
    """Show one credential in every place and on every transport, and say whether it had the same result everywhere.

    It observes, and asserts nothing about anybody's bugs. Keys are read from the
    environment, sent to the host of URL alone, and never shown. Nothing billable
    is asked for without --allow-billable.

    Exit status:
    0  the same credential had the same result everywhere
    1  it had not
    2  nothing could be seen or compared
    3  a wrong key was accepted, so that the rest means nothing
    """
    from trunkline import probe as probing
    from trunkline.probe import reports

    formats = (
        (json, reports.as_json),
        (markdown, reports.as_markdown),
        (junit, reports.as_junit),
        (html, reports.as_html),
    )
    files = [name for name, _ in formats if name]
    if len(set(files)) < len(files):
        raise SettingsError("Two reports cannot go to one file.")
    target = probing.Target(url or _gateway_of_this_machine(), provider, model, realtime_model)
    _warn_of_plain_text(target)
    key_variable = key_from or f"{target.provider.upper().replace('-', '_')}_API_KEY"
    keys = probing.Keys(os.environ.get(key_variable, ""), os.environ.get(token_from, ""), key_variable, token_from)
    report = _observe(target, keys, _preset(preset), allow_billable=allow_billable)
    _show(report, err if _STDOUT in files else out)
    for name, as_text in formats:
        if name:
            _write(name, as_text(report))
    raise typer.Exit(report.exit_status if report.is_complete else _INTERRUPTED)


def _gateway_of_this_machine() -> str:
    chosen = chosen_settings(None)
    scheme = "http" if chosen.tls == "off" else "https"
    return f"{scheme}://127.0.0.1:{chosen.port}/v1/{chosen.account}/{chosen.gateway}"


def _preset(name: str) -> probing.Preset | None:
    from trunkline.probe import PRESETS

    if name and name not in PRESETS:
        raise SettingsError(f"There is no preset {name!r}; there are {', '.join(PRESETS)}.")
    return PRESETS.get(name)


def _warn_of_plain_text(target: probing.Target) -> None:
    if not target.origin.is_secure and not is_loopback_host(target.origin.host):
        err.print(f"warning: {target.origin} is asked without TLS; keys can be read on the way.", markup=False)


def _observe(
    target: probing.Target, keys: probing.Keys, preset: probing.Preset | None, *, allow_billable: bool
) -> probing.Report:
    """Run the probe under a progress bar. Ctrl+C ends it; what was done by then is reported."""
    from trunkline import probe as probing

    rows, ways = (preset.rows, preset.ways) if preset is not None else (None, None)
    planned = probing.plan(target, keys, rows=rows, ways=ways)
    started = datetime.now(UTC)
    done: list[probing.Cell] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("probing", total=len(planned))

        def count(cell: probing.Cell) -> None:
            done.append(cell)
            progress.advance(task)

        try:
            return asyncio.run(
                probing.run(target, keys, allow_billable=allow_billable, on_cell=count, rows=rows, ways=ways)
            )
        except KeyboardInterrupt:
            err.print(f"Stopped after {len(done)} of {len(planned)} cells.")
            return probing.Report.of(target, planned, done, started=started, allow_billable=allow_billable)


def _show(report: probing.Report, console: Console) -> None:
    from trunkline.probe import COLUMNS, Verdict
    from trunkline.probe.rows import label

    title = Text(f"{report.target.provider} at {report.target.url}")
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("Shown", overflow="fold")
    for way in report.columns:
        table.add_column(COLUMNS[way], no_wrap=True)
    for row in report.rows:
        marks = (_mark(report.cell(row, way)) for way in report.columns)
        table.add_row(Text(label(row)), *marks)
    console.print(table, soft_wrap=False)
    seen = {cell.verdict for cell in report.cells}
    legend = ", ".join(f"{verdict.symbol} {verdict.word}" for verdict in Verdict if verdict in seen)
    console.print(f"{legend}; the figure is a time, an HTTP status or a close code.\n", markup=False)
    for line in (*report.explanations, *report.left_out, report.conclusion, *report.control_faults):
        console.print(line, markup=False)


def _mark(cell: probing.Cell | None) -> Text:
    return Text("") if cell is None else Text(cell.mark, _STYLES[cell.verdict.word])


def _write(name: str, text: str) -> None:
    if name == _STDOUT:
        typer.echo(text, nl=False)
    else:
        Path(name).write_text(text, "utf-8")
