"""``trunkline probe``: the auth matrix against any gateway."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from trunkline.cli.commands import Command, argument
from trunkline.cli.configuration import chosen_settings
from trunkline.cli.endings import Ending
from trunkline.cli.output import Progress, err, out, styled, table
from trunkline.errors import SettingsError
from trunkline.settings import is_loopback_host

if TYPE_CHECKING:
    from trunkline import probe as probing

_STDOUT: Final = "-"
_TOKEN_VARIABLE: Final = "CF_AIG_TOKEN"  # noqa: S105 - its name, not its value

_STYLES: Final[Mapping[str, dict[str, Any]]] = {
    "accepted": {"fg": "green"},
    "refused": {"fg": "red"},
    "unclear": {"fg": "yellow"},
    "unreachable": {"fg": "yellow"},
    "skipped": {"dim": True},
    "not applicable": {"dim": True},
}


def _report_option(flag: str, format: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(flag, metavar="FILE", default="", help=f"Write the report as {format}; - is standard output.")


@click.command(cls=Command)
@argument(
    "url",
    metavar="[URL]",
    default="",
    help=(
        "A gateway (https://HOST/v1/ACCOUNT/GATEWAY) or the base URL of an API (https://api.openai.com/v1);"
        " without it, the gateway that `serve` starts on this machine."
    ),
)
@click.option(
    "--provider",
    default="openai",
    show_default=True,
    help="The provider that is asked for; see docs/providers.md.",
)
@click.option(
    "--preset",
    metavar="NAME",
    default="",
    help="Only what one script of the proof of concept showed: chat-completion (HTTP, SSE) or realtime (WS).",
)
@click.option("--model", default="", help="Model named in the chat request.")
@click.option("--realtime-model", default="", help="Model named on the WebSocket.")
@click.option(
    "--key-from",
    metavar="VARIABLE",
    default="",
    help="Variable with the provider's key; by default like OPENAI_API_KEY.",
)
@click.option(
    "--token-from",
    metavar="VARIABLE",
    default=_TOKEN_VARIABLE,
    show_default=True,
    help="Variable with the gateway's key.",
)
@click.option("--allow-billable", is_flag=True, help="Ask for one token of an answer in the SSE column.")
@_report_option("--json", "JSON")
@_report_option("--markdown", "Markdown")
@_report_option("--junit", "JUnit XML")
@_report_option("--html", "one HTML page")
def probe(
    url: str,
    provider: str,
    preset: str,
    model: str,
    realtime_model: str,
    key_from: str,
    token_from: str,
    allow_billable: bool,
    json: str,
    markdown: str,
    junit: str,
    html: str,
) -> None:
    """Show one credential in every place and on every transport, and say whether it had the same result everywhere.

    \b
    It observes, and asserts nothing about anybody's bugs. Keys are read from the
    environment, sent to the host of URL alone, and never shown. Nothing billable
    is asked for without --allow-billable.

    \b
    Exit status:
    0  the same credential had the same result everywhere
    1  it had not
    2  nothing could be seen or compared
    3  a wrong key was accepted, so that the rest means nothing
    """  # noqa: D301 (click keeps the lines of a paragraph that begins so)
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
    raise click.exceptions.Exit(report.exit_status if report.is_complete else Ending.INTERRUPTED)


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
        err(f"warning: {target.origin} is asked without TLS; keys can be read on the way.")


def _observe(
    target: probing.Target, keys: probing.Keys, preset: probing.Preset | None, *, allow_billable: bool
) -> probing.Report:
    """Run the probe, and say how far it is. Ctrl+C ends it; what was done by then is reported."""
    from trunkline import probe as probing

    rows, ways = (preset.rows, preset.ways) if preset is not None else (None, None)
    planned = probing.plan(target, keys, rows=rows, ways=ways)
    started = datetime.now(UTC)
    done: list[probing.Cell] = []
    with Progress() as progress:

        def count(cell: probing.Cell) -> None:
            done.append(cell)
            progress.show(f"probing: {len(done)} of {len(planned)}")

        try:
            return asyncio.run(
                probing.run(target, keys, allow_billable=allow_billable, on_cell=count, rows=rows, ways=ways)
            )
        except KeyboardInterrupt:
            progress.say(f"Stopped after {len(done)} of {len(planned)} cells.")
            return probing.Report.of(target, planned, done, started=started, allow_billable=allow_billable)


def _show(report: probing.Report, say: Callable[[str], None]) -> None:
    from trunkline.probe import COLUMNS, Verdict
    from trunkline.probe.rows import label

    columns = ("Shown", *(COLUMNS[way] for way in report.columns))
    rows = [(label(row), *(_mark(report.cell(row, way)) for way in report.columns)) for row in report.rows]
    say(f"{report.target.provider} at {report.target.url}\n\n{table(columns, rows)}\n")
    seen = {cell.verdict for cell in report.cells}
    legend = ", ".join(f"{verdict.symbol} {verdict.word}" for verdict in Verdict if verdict in seen)
    say(f"{legend}; the figure is a time, an HTTP status or a close code.\n")
    for line in (*report.explanations, *report.left_out, report.conclusion, *report.control_faults):
        say(line)


def _mark(cell: probing.Cell | None) -> str:
    return "" if cell is None else styled(cell.mark, **_STYLES[cell.verdict.word])


def _write(name: str, text: str) -> None:
    if name == _STDOUT:
        click.echo(text, nl=False)
    else:
        Path(name).write_text(text, "utf-8")
