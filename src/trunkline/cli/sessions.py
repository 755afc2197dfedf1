"""``trunkline sessions``: what realtime sessions do and did."""

from __future__ import annotations

import asyncio
import json as json_module
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from trunkline.cli.commands import Group, argument, json_option
from trunkline.cli.configuration import chosen_settings
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.moments import moment
from trunkline.cli.output import day, err, facts, out, plain, styled, table
from trunkline.cli.recordings import audio, forget
from trunkline.cli.replay import replay
from trunkline.cli.running_gateway import RunningGateway, token_option, url_option
from trunkline.errors import SettingsError

if TYPE_CHECKING:
    from trunkline.realtime.report import Cost, Latency, Report, Turn
    from trunkline.realtime.usage import Tokens
    from trunkline.store import RealtimeSessions, SessionSummary, StoredSession

Result = TypeVar("Result")

_PATH: Final = "/api/realtime/sessions"
_REDRAW_SECONDS: Final = 0.5
_STATES: Final = {"speaking": "green", "listening": "cyan", "thinking": "yellow"}
# Of a terminal: long lines are cut or go on in the next; go up some lines; clear what is below.
_CUT, _WRAP, _UP, _CLEAR = "\x1b[?7l", "\x1b[?7h", "\x1b[{}F", "\x1b[J"


@click.group(
    cls=Group, invoke_without_command=True, help="Watch realtime sessions, end one, or read what became of them."
)
@url_option
@token_option
@json_option
@click.pass_context
def application(context: click.Context, url: str, token_from: str, json: bool) -> None:
    """Show the open sessions of a running gateway: on a terminal until Ctrl+C, elsewhere once."""
    if context.invoked_subcommand is not None:
        typed = [name for name in ("url", "token_from", "json") if _is_typed(context, name)]
        if typed:
            option = f"--{typed[0].replace('_', '-')}"
            raise SettingsError(f"{option} belongs behind the command: trunkline sessions kill {option} ...")
        return
    gateway = RunningGateway(url, token_from)
    if json:
        out(json_module.dumps(gateway.get(_PATH)["sessions"], indent=2))
    elif sys.stdout.isatty():
        _follow(gateway)
    else:
        out(_Board(gateway.get(_PATH)["sessions"]).drawn())


@application.command("list")
@click.option("--gateway", help="Only those of this gateway.")
@click.option("--key", help="Only those of this gateway key, by its id.")
@click.option("--provider", help="Only those with this provider.")
@click.option("--since", metavar="7d|2027-01-31", help="Only what began since: s, m, h, d or w ago, or on a day (UTC).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@json_option
@data_dir_option
def list_(
    gateway: str | None,
    key: str | None,
    provider: str | None,
    since: str | None,
    limit: int,
    json: bool,
    data_dir: Path | None,
) -> None:
    """List the sessions that have ended, newest first, from the database."""
    from trunkline.store import SessionFilter

    began = None if since is None else moment(since, time.time(), option="--since", example="7d", is_past=True)
    wanted = SessionFilter(gateway=gateway, key_id=key, provider=provider, since=began, open=False)
    found = _with_sessions(data_dir, lambda sessions: sessions.list(wanted, limit))
    if json:
        _print_json(found)
    elif found:
        out(_list_table(found))
    else:
        err("There is no such session. They are kept from the first one on that goes through `trunkline serve`.")


@application.command()
@argument("id", help="The session's id, from `trunkline sessions list`.")
@json_option
@data_dir_option
def show(id: str, json: bool, data_dir: Path | None) -> None:
    """Show a session: what both sides said, how long answers took, what they cost, and how it ended."""
    found = _with_sessions(data_dir, lambda sessions: sessions.get(id))
    if found is None:
        raise SettingsError(f"There is no session {plain(id)!r}; see `trunkline sessions list`.")
    if json:
        _print_json(found)
    else:
        _show(found)


@application.command()
@argument("id", help="The session's id, from `trunkline sessions`.")
@url_option
@token_option
def kill(id: str, url: str, token_from: str) -> None:
    """End an open session at once. Its client is told why, and that it must not come back by itself."""
    if not id.isalnum():
        raise SettingsError(f"{plain(id)!r} is no id of a session; see `trunkline sessions`.")
    RunningGateway(url, token_from).delete(f"{_PATH}/{id}")
    err(f"Session {id} was told to end.")


for _command in (replay, audio, forget):
    application.add_command(_command)


def _is_typed(context: click.Context, name: str) -> bool:
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

    def drawn(self) -> str:
        """Return the table, or the sentence in its place."""
        if not self._sessions:
            return "No session is open."
        since = time.monotonic() - self._told
        columns = ("id", "state", "gateway", "provider", "model", "caller", "for", "turns", "tokens", "cost", "cut")
        return table((*columns, "errors"), [_open_row(one, since) for one in self._sessions])


def _open_row(one: Mapping[str, Any], since: float) -> Sequence[str]:
    return (
        one["id"],
        styled(one["state"], fg=_STATES.get(one["state"]), dim=one["state"] not in _STATES),
        *(plain(one[name]) for name in ("gateway", "provider", "model", "caller")),
        _clock(one["seconds"] + since),
        *(str(one[name]) for name in ("turns", "tokens")),
        _dollars(one["cost"]),
        *(str(one[name]) for name in ("interruptions", "errors")),
    )


def _follow(gateway: RunningGateway) -> None:
    board = _Board()
    refused = ""
    try:
        with _on_the_terminal(board):
            for event in gateway.events(_PATH):
                told = json_module.loads(event.data)
                if event.event == "sessions":
                    board.take(told["sessions"])
                elif event.event == "refused":
                    refused = told["message"]
    except KeyboardInterrupt:
        return
    raise SettingsError(refused or f"The gateway at {gateway.origin} has stopped.")


@contextmanager
def _on_the_terminal(board: _Board) -> Iterator[None]:
    """Show the board, and draw it anew in its place until the block ends."""
    ended = Event()
    drawing = Thread(target=_draw, args=(board, ended), daemon=True)
    drawing.start()
    try:
        yield
    finally:
        ended.set()
        drawing.join()


def _draw(board: _Board, ended: Event) -> None:
    back = ""
    while True:
        lines = board.drawn().splitlines()[: shutil.get_terminal_size().lines - 1]
        sys.stdout.write("".join((back, _CUT, *(f"{line}\n" for line in lines), _WRAP)))
        sys.stdout.flush()
        if ended.wait(_REDRAW_SECONDS):
            return
        back = _UP.format(len(lines)) + _CLEAR


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


def _list_table(found: Iterable[SessionSummary]) -> str:
    columns = ("id", "began", "gateway", "provider", "model", "caller", "for", "turns", "tokens", "cost", "errors")
    return table((*columns, "closed by"), map(_list_row, found))


def _list_row(one: SessionSummary) -> Sequence[str]:
    return (
        one.id,
        day(one.started_at),
        *map(plain, (one.gateway, one.provider, one.model, one.caller)),
        _clock(one.seconds),
        str(one.turns),
        str(one.tokens),
        _dollars(one.cost),
        str(one.errors),
        "" if one.closed_by is None else f"{one.closed_by} {one.close_code}",
    )


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
    out(facts((plain(name), plain(value)) for name, value in about if value))
    if report.turns_dropped:
        out(f"\nThe first {report.turns_dropped} turns are not kept.")
    for turn in report.turns:
        _show_turn(turn)
    if report.errors:
        out(f"\nErrors: {report.error_count}")
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
    out(json_module.dumps(msgspec.to_builtins(found), indent=2))


def _say(text: str) -> None:
    out(plain(text, lines=True))


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
