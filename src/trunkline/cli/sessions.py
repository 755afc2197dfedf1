"""``trunkline sessions``: what realtime sessions do and did."""

from __future__ import annotations

import asyncio
import json as json_module
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from trunkline.cli.configuration import chosen_settings
from trunkline.cli.data_directory import DataDirOption
from trunkline.cli.moments import moment
from trunkline.cli.output import day, err, out, plain
from trunkline.cli.recordings import audio, forget
from trunkline.cli.replay import replay
from trunkline.cli.running_gateway import RunningGateway, TokenOption, UrlOption
from trunkline.errors import SettingsError

if TYPE_CHECKING:
    from trunkline.realtime.report import Cost, Latency, Report, Turn
    from trunkline.realtime.usage import Tokens
    from trunkline.store import RealtimeSessions, SessionSummary, StoredSession

Result = TypeVar("Result")

application = typer.Typer(help="Watch realtime sessions, end one, or read what became of them.")

_PATH: Final = "/api/realtime/sessions"
_REDRAWS_PER_SECOND: Final = 2
_STATES: Final = {"speaking": "green", "listening": "cyan", "thinking": "yellow", "connecting": "dim", "closed": "dim"}

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@application.callback(invoke_without_command=True)
def watch(context: typer.Context, url: UrlOption = "", token_from: TokenOption = "", json: JsonOption = False) -> None:
    """Show the open sessions of a running gateway: on a terminal until Ctrl+C, elsewhere once."""
    if context.invoked_subcommand is not None:
        typed = [name for name in ("url", "token_from", "json") if _is_typed(context, name)]
        if typed:
            option = f"--{typed[0].replace('_', '-')}"
            raise SettingsError(f"{option} belongs behind the command: trunkline sessions kill {option} ...")
        return
    gateway = RunningGateway(url, token_from)
    if json:
        typer.echo(json_module.dumps(gateway.get(_PATH)["sessions"], indent=2))
    elif out.is_terminal:
        _follow(gateway)
    else:
        out.print(_Board(gateway.get(_PATH)["sessions"]).drawn())


@application.command("list")
def list_(
    gateway: Annotated[str | None, typer.Option(help="Only those of this gateway.")] = None,
    key: Annotated[str | None, typer.Option(help="Only those of this gateway key, by its id.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only those with this provider.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="7d|2027-01-31", help="Only what began since: s, m, h, d or w ago, or on a day (UTC)."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List the sessions that have ended, newest first, from the database."""
    from trunkline.store import SessionFilter

    began = None if since is None else moment(since, time.time(), option="--since", example="7d", is_past=True)
    wanted = SessionFilter(gateway=gateway, key_id=key, provider=provider, since=began, open=False)
    found = _with_sessions(data_dir, lambda sessions: sessions.list(wanted, limit))
    if json:
        _print_json(found)
    elif found:
        out.print(_list_table(found))
    else:
        err.print("There is no such session. They are kept from the first one on that goes through `trunkline serve`.")


@application.command()
def show(
    id: Annotated[str, typer.Argument(help="The session's id, from `trunkline sessions list`.")],
    json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show a session: what both sides said, how long answers took, what they cost, and how it ended."""
    found = _with_sessions(data_dir, lambda sessions: sessions.get(id))
    if found is None:
        raise SettingsError(f"There is no session {plain(id)!r}; see `trunkline sessions list`.")
    if json:
        _print_json(found)
    else:
        _show(found)


@application.command()
def kill(
    id: Annotated[str, typer.Argument(help="The session's id, from `trunkline sessions`.")],
    url: UrlOption = "",
    token_from: TokenOption = "",
) -> None:
    """End an open session at once. Its client is told why, and that it must not come back by itself."""
    if not id.isalnum():
        raise SettingsError(f"{plain(id)!r} is no id of a session; see `trunkline sessions`.")
    RunningGateway(url, token_from).delete(f"{_PATH}/{id}")
    err.print(f"Session {id} was told to end.", markup=False)


application.command("replay")(replay)
application.command("audio")(audio)
application.command("forget")(forget)


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


# Open sessions


class _Board:
    """The open sessions as they were told last; durations go on by themselves."""

    def __init__(self, sessions: Sequence[Mapping[str, Any]] = ()) -> None:
        self._told = time.monotonic()
        self._sessions = sessions

    def take(self, sessions: Sequence[Mapping[str, Any]]) -> None:
        """Show other sessions from now on."""
        self._told = time.monotonic()
        self._sessions = sessions

    def drawn(self) -> Table | str:
        """Return the table, or the sentence in its place."""
        if not self._sessions:
            return "No session is open."
        since = time.monotonic() - self._told
        columns = ("gateway", "provider", "model", "caller", "for", "turns", "tokens", "cost", "cut", "errors")
        table = Table(Column("id", no_wrap=True), Column("state"), *columns, box=None, pad_edge=False)
        for one in self._sessions:
            table.add_row(
                one["id"],
                Text(one["state"], _STATES.get(one["state"], "")),
                *(Text(plain(one[name])) for name in ("gateway", "provider", "model", "caller")),
                _clock(one["seconds"] + since),
                *(str(one[name]) for name in ("turns", "tokens")),
                _dollars(one["cost"]),
                *(str(one[name]) for name in ("interruptions", "errors")),
            )
        return table


def _follow(gateway: RunningGateway) -> None:
    board = _Board()
    refused = ""
    try:
        with Live(get_renderable=board.drawn, console=out, refresh_per_second=_REDRAWS_PER_SECOND):
            for event in gateway.events(_PATH):
                told = json_module.loads(event.data)
                if event.event == "sessions":
                    board.take(told["sessions"])
                elif event.event == "refused":
                    refused = told["message"]
    except KeyboardInterrupt:
        return
    raise SettingsError(refused or f"The gateway at {gateway.origin} has stopped.")


# Kept sessions


def _with_sessions(data_dir: Path | None, act: Callable[[RealtimeSessions], Awaitable[Result]]) -> Result:
    from trunkline.store import Database, RealtimeSessions  # late: commands that need no database start without it

    async def acting() -> Result:
        chosen = chosen_settings(data_dir)
        database = await Database.open(chosen.data_dir, chosen.database_url)
        try:
            return await act(RealtimeSessions(database))
        finally:
            await database.close()

    return asyncio.run(acting())


def _list_table(found: Iterable[SessionSummary]) -> Table:
    columns = (
        "began",
        "gateway",
        "provider",
        "model",
        "caller",
        "for",
        "turns",
        "tokens",
        "cost",
        "errors",
        "closed by",
    )
    table = Table(Column("id", no_wrap=True), *columns, box=None, pad_edge=False)
    for one in found:
        table.add_row(
            one.id,
            day(one.started_at),
            *(Text(plain(text)) for text in (one.gateway, one.provider, one.model, one.caller)),
            _clock(one.seconds),
            str(one.turns),
            str(one.tokens),
            _dollars(one.cost),
            str(one.errors),
            "" if one.closed_by is None else f"{one.closed_by} {one.close_code}",
        )
    return table


def _show(found: StoredSession) -> None:
    report = found.report
    about = [
        ("session", found.id),
        ("gateway", found.gateway),
        ("caller", found.caller + (f" (key {found.key_id})" if found.key_id else "")),
        ("client", found.user_agent),
        ("provider", found.provider),
        ("model", found.model + (f", voice {report.voice}" if report.voice else "")),
        ("began", day(found.started_at)),
        ("lasted", _clock(report.duration_ms / 1000) + ("" if found.ended_at else ", and is open")),
        ("connected", "" if report.connect_ms is None else f"after {report.connect_ms:.0f} ms"),
        ("tokens", _tokens(report.tokens)),
        *((f"written by {one.model or 'unknown'}", _tokens(one.tokens)) for one in report.transcriptions),
        ("cost", _cost(report.cost)),
        ("first byte", _latency(report.first_byte)),
        ("first audio", _latency(report.first_audio)),
        ("barge-in", _latency(report.barge_in)),
        ("turns", f"{report.turn_count}, {report.interruptions} interrupted, {report.function_calls} function calls"),
        ("losses", f"{report.losses}, {report.resumes} resumed" if report.losses else ""),
        ("closed", _closed(report)),
    ]
    table = Table(Column(style="dim"), Column(), box=None, show_header=False, pad_edge=False)
    for name, value in about:
        if value:
            table.add_row(Text(plain(name)), Text(plain(value)))
    out.print(table)
    if report.turns_dropped:
        out.print(f"\nThe first {report.turns_dropped} turns are not kept.")
    for turn in report.turns:
        _show_turn(turn)
    if report.errors:
        out.print(f"\nErrors: {report.error_count}")
        for error in report.errors:
            _say(f"  {_clock(error.at_ms / 1000)} {error.source} {error.code}: {error.message}")


def _show_turn(turn: Turn) -> None:
    facts = [
        turn.ending + (f" ({turn.reason})" if turn.reason else ""),
        "interrupted" * turn.interrupted,
        "" if turn.cut_at_ms is None else f"heard {turn.cut_at_ms / 1000:.1f} s of it",
        "" if turn.first_byte_ms is None else f"first byte {turn.first_byte_ms:.0f} ms",
        "" if turn.first_audio_ms is None else f"first audio {turn.first_audio_ms:.0f} ms",
        "" if turn.barge_in_ms is None else f"barge-in {turn.barge_in_ms:.0f} ms",
        _dollars(turn.cost),
    ]
    _say(f"\nTurn {turn.index}, at {_clock(turn.started_ms / 1000)}: {', '.join(filter(None, facts))}")
    if turn.user:
        _say(f"  user       {turn.user}")
    if turn.assistant:
        _say(f"  assistant  {turn.assistant}")
    for call in turn.calls:
        _say(f"  function   {call.name}({call.arguments})")


# Words


def _print_json(found: Any) -> None:
    import msgspec

    # In ASCII: what a stranger said must not steer a terminal.
    typer.echo(json_module.dumps(msgspec.to_builtins(found), indent=2))


def _say(text: str) -> None:
    out.print(plain(text, lines=True), markup=False)


def _clock(seconds: float) -> str:
    """``3725`` -> ``1:02:05``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _dollars(cost: float | None) -> str:
    return "" if cost is None else f"${cost:.4f}"


def _cost(cost: Cost) -> str:
    parts = [
        _dollars(cost.total),
        f"{cost.unpriced} without a price" if cost.unpriced else "",
        f"{cost.estimated} estimated" if cost.estimated else "",
    ]
    return ", ".join(filter(None, parts))


def _tokens(tokens: Tokens) -> str:
    counts = {name: count for name, count in tokens.counts().items() if count}
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _latency(times: Latency | None) -> str:
    return "" if times is None else f"median {times.median_ms:.0f} ms, 95% within {times.p95_ms:.0f} ms"


def _closed(report: Report) -> str:
    close = report.close
    return "" if close is None else f"by the {close.by}, {close.code} {close.reason}".rstrip()
