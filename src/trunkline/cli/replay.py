"""``trunkline sessions replay``: a recorded session once more, against another gateway or model, and both compared."""

from __future__ import annotations

import asyncio
import json as encoding
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import click

from trunkline.cli.commands import Command, argument, json_option
from trunkline.cli.configuration import chosen_settings, provider_slug
from trunkline.cli.data_directory import chosen, data_dir_option
from trunkline.cli.endings import judged
from trunkline.cli.output import err, out, plain, styled, table
from trunkline.cli.secrets import ask
from trunkline.credentials.redaction import redact_query
from trunkline.errors import SettingsError
from trunkline.settings import is_loopback_host
from trunkline.wire.subprotocols import BETA_MARKER

if TYPE_CHECKING:
    from trunkline.realtime.comparison import Comparison, Figure
    from trunkline.realtime.record import SessionRecord
    from trunkline.realtime.recording import Session
    from trunkline.realtime.replaying import Heard, Omitted, Replay
    from trunkline.realtime.report import Report
    from trunkline.realtime.usage import Pricer, Usage
    from trunkline.server.recorder import Recorder
    from trunkline.upstream.websocket import UpstreamSocket

_SCHEMES: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
# A wait is never shorter: a run whose last answer is long is looked at this often.
_SHORTEST_WAIT: Final = 0.02
_SAVING_SECONDS: Final = 30.0


@dataclass(frozen=True)
class _Target:
    """Where the session is opened again."""

    url: str
    headers: list[tuple[bytes, bytes]]
    subprotocols: tuple[str, ...]
    provider: str
    model: str
    authority: Path | None


@dataclass(frozen=True)
class _Run:
    """What came of it."""

    report: Report
    omitted: list[Omitted]


@click.command(cls=Command)
@argument("id", help="The session's id, or the folder of its recording.")
@click.option(
    "--against",
    metavar="URL|PROVIDER/MODEL",
    required=True,
    help=(
        "The whole URL of a realtime endpoint (wss://HOST/v1/ACCOUNT/GATEWAY/openai/realtime), or a provider"
        " and model at the gateway that `serve` starts on this machine."
    ),
)
@click.option(
    "--key-from",
    metavar="VARIABLE",
    default="",
    help="Variable with the key to show, in the header Authorization.",
)
@click.option("--model", default="", help="The model to ask for in place of the recorded one.")
@click.option(
    "--speed",
    type=click.FloatRange(0.1, 20.0),
    default=1.0,
    show_default=True,
    help="2.0: say everything in half the time.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the new run as a recording in DIR/recordings.",
)
@json_option
@data_dir_option
def replay(
    id: str,
    against: str,
    key_from: str,
    model: str,
    speed: float,
    save: Path | None,
    json: bool,
    data_dir: Path | None,
) -> None:
    """Say what a client said in a recorded session once more, elsewhere, and compare the two sessions.

    Sound is sent with its timing; what answers the server waits for what it
    answers. The server is a real one, and may bill what is said.

    \b
    Exit status:
    0  nothing got worse
    1  something did
    2  the session could not be held
    """  # noqa: D301 (click keeps the lines of a paragraph that begins so)
    from trunkline.realtime.comparison import compare
    from trunkline.realtime.replaying import Heard, Replay
    from trunkline.server.recordings import StoredRecording

    recording = StoredRecording.find(chosen(data_dir), id)
    session = recording.session
    target = _target(session, against, model, key_from, data_dir)
    heard = [Heard(line.side, said, line.at / 1000) for line, said in recording.frames()]
    if not any(one.side == "client" for one in heard):
        raise SettingsError(f"The client says nothing in {recording.directory}.")
    if session.state != "complete":
        err(f"warning: the recording is not whole ({session.state}); what there is of it is replayed.")
    plan = Replay(heard, session.protocol, speed=speed)
    err(f"Replaying {session.id} against {target.url}: about {plan.seconds:.0f} seconds")
    before = _recorded(session, heard)
    run = asyncio.run(_run(plan, session, target, save))
    comparison = compare(before, run.report)
    if json:
        out(_as_json(session, target, before, run, comparison))
    else:
        _show(target, run, comparison)
    raise judged(is_good=not comparison.regressed)


# Where to


def _target(session: Session, against: str, model: str, key_from: str, data_dir: Path | None) -> _Target:
    authority: Path | None = None
    provider = session.provider
    if "://" not in against:
        settings = chosen_settings(data_dir)
        name, slash, named = against.partition("/")
        if not slash or not named:
            raise SettingsError(
                f"--against: {against!r} is neither a URL nor PROVIDER/MODEL, such as openai/gpt-realtime."
            )
        provider, model = provider_slug(settings, name), model or named
        scheme = "ws" if settings.tls == "off" else "wss"
        place = f"{quote(settings.account)}/{quote(settings.gateway)}/{provider}/realtime"
        against = f"{scheme}://127.0.0.1:{settings.port}/v1/{place}"
        authority = settings.data_dir / "tls" / "authority.pem"
    parts = urlsplit(against)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise SettingsError(f"--against: {against!r} is no URL of a realtime endpoint (wss://HOST/PATH).")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.username or parts.password or redact_query(parts.query) != urlencode(given):
        raise SettingsError("--against: a key does not belong into a URL, where others can read it; use --key-from.")
    query = {**dict(parse_qsl(session.query, keep_blank_values=True)), **given}
    if model:
        query["model"] = model
    url = f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path or '/'}"
    headers: list[tuple[bytes, bytes]] = []
    if key_from:
        headers.append((b"authorization", b"Bearer " + ask("key", key_from).encode()))
        if parts.scheme in ("ws", "http") and not is_loopback_host(parts.hostname):
            err(f"warning: {parts.netloc} is asked without TLS; the key can be read on the way.")
    if session.beta and BETA_MARKER not in session.subprotocols:
        headers.append((b"openai-beta", b"realtime=v1"))
    return _Target(
        url=f"{url}?{urlencode(query)}" if query else url,
        headers=headers,
        subprotocols=session.subprotocols,
        provider=provider,
        model=query.get("model", session.model),
        authority=authority if authority is not None and authority.is_file() else None,
    )


# The two runs


def _recorded(session: Session, heard: Iterable[Heard]) -> Report:
    """Return the report of the recorded run, made of its frames as the new run's is."""
    from trunkline.realtime.frames import Frame
    from trunkline.realtime.record import SessionRecord

    record = SessionRecord(session.protocol, price=_pricer(session.provider, session.model), model=session.model)
    record.dialled(0.0)
    at = 0.0
    for one in heard:
        said = Frame(one.said) if isinstance(one.said, str) else one.said
        at = one.at
        if one.side == "client":
            record.client_said(said, at)
        else:
            record.connected(at)
            record.provider_said(said, at)
    close = session.report.close if session.report is not None else None
    if close is not None:
        record.closed(close.by, close.code, close.reason, at)
    return record.report(at)


async def _run(plan: Replay, session: Session, target: _Target, save: Path | None) -> _Run:
    """Hold the session again. Raises `SettingsError` where it does not begin, or the `UpstreamError` of dialling."""
    from trunkline.realtime.record import SessionRecord
    from trunkline.upstream import address
    from trunkline.upstream.websocket import Dialer

    record = SessionRecord(session.protocol, price=_pricer(target.provider, target.model), model=target.model)
    context = ssl.create_default_context()
    if target.authority is not None:
        context.load_verify_locations(target.authority)
    origin, path = address.parse(target.url)
    query = urlsplit(target.url).query
    began = time.perf_counter()
    record.dialled(0.0)
    socket = await Dialer(ssl_context=context).dial(
        origin, (f"{path}?{query}" if query else path).encode(), target.headers, target.subprotocols
    )
    recorder = _recorder(session, target, save) if save is not None else None
    conversation = _Conversation(plan, socket, record, recorder, began)
    try:
        await conversation.hold()
    finally:
        socket.abort()
    report = record.report(conversation.now())
    if recorder is not None:
        recorder.close(report)
        await asyncio.to_thread(recorder.join, _SAVING_SECONDS)
        err(f"The new run is kept in {save}/recordings.")
    if not plan.has_begun:
        why = report.errors[-1].message if report.errors else report.close.reason if report.close else ""
        raise SettingsError(f"{target.url} did not open a session: {why or 'it closed without a word'}")
    return _Run(report, plan.omitted)


class _Conversation:
    """The new run: what the plan says is sent, what comes is told to the plan and the record."""

    def __init__(
        self, plan: Replay, socket: UpstreamSocket, record: SessionRecord, recorder: Recorder | None, began: float
    ) -> None:
        self._plan = plan
        self._socket = socket
        self._record = record
        self._recorder = recorder
        self._began = began
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()

    def now(self) -> float:
        """Return the seconds since the run began."""
        return time.perf_counter() - self._began

    async def hold(self) -> None:
        """Say everything, and wait for what is said to it."""
        self._plan.connected(self.now())
        self._record.connected(self.now())
        listening = asyncio.create_task(self._listen())
        try:
            await self._speak()
            if not self._closed.is_set():
                self._record.closed("client", 1000, "", self.now())
                await self._socket.close(1000, "")
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _speak(self) -> None:
        while not self._closed.is_set() and not self._plan.is_over(self.now()):
            self._changed.clear()
            for said in self._plan.due(self.now()):
                await self._say(said)
                if self._closed.is_set():
                    return
            try:
                async with asyncio.timeout(max(self._plan.wake() - self.now(), _SHORTEST_WAIT)):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _say(self, said: str | bytes) -> None:
        from trunkline.realtime.frames import Frame

        at = self.now()
        self._record.client_said(Frame(said) if isinstance(said, str) else said, at)
        if self._recorder is not None:
            self._recorder.client(said, at)
        await self._socket.send(said)

    async def _listen(self) -> None:
        from trunkline.realtime.frames import Frame
        from trunkline.upstream.messages import Closed

        while not self._closed.is_set():
            heard = await self._socket.receive()
            at = self.now()
            if isinstance(heard, Closed):
                self._closed.set()
                self._record.closed("provider", heard.code, heard.reason, at)
            else:
                said = heard.payload
                self._record.provider_said(Frame(said) if isinstance(said, str) else said, at)
                if self._recorder is not None:
                    self._recorder.provider(said, at)
                self._plan.heard(said, at)
            self._changed.set()


def _recorder(session: Session, target: _Target, save: Path) -> Recorder:
    import msgspec

    from trunkline.server.recorder import Recorder
    from trunkline.store.identifiers import ulid

    parts = urlsplit(target.url)
    fresh = msgspec.structs.replace(
        session,
        id=ulid(),
        path=parts.path,
        query=redact_query(parts.query),
        provider=target.provider,
        model=target.model,
        started_at=time.time(),
        state="open",
        report=None,
    )
    return Recorder.open(save, fresh)


def _pricer(provider: str, model: str) -> Pricer:
    from trunkline.policy.cost import cost_of_usage

    def price(usage: Usage) -> float | None:
        if not usage.stated:
            return None
        return cost_of_usage(provider, usage.model or model, seconds=usage.seconds, **usage.tokens.counts())

    return price


# What came of it


def _show(target: _Target, run: _Run, comparison: Comparison) -> None:
    rows = [_row(figure) for figure in comparison.figures if figure.before is not None or figure.after is not None]
    out(table(("figure", "before", "after", ""), rows))
    for one in run.omitted:
        out(plain(f"Not said again: {one.type} at {one.at_ms / 1000:.1f} s; {one.why}."))
    worse = [figure.name for figure in comparison.figures if figure.worse]
    out(f"Worse: {', '.join(worse)}." if worse else "Nothing got worse.")


def _row(figure: Figure) -> Sequence[str]:
    before, after = (_value(figure, value) for value in (figure.before, figure.after))
    if not figure.worse:
        return figure.name, before, after, ""
    return figure.name, before, styled(after, fg="red"), styled("worse", fg="red", bold=True)


def _value(figure: Figure, value: float | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return plain(value)
    match figure.unit:
        case "ms":
            return f"{value:.0f} ms"
        case "USD":
            return f"${value:.4f}"
        case "ratio":
            return f"{value:.1%}"
    return f"{value:g}"


def _as_json(session: Session, target: _Target, before: Report, run: _Run, comparison: Comparison) -> str:
    import msgspec

    document: dict[str, Any] = {
        "session": session.id,
        "against": target.url,
        "regressed": comparison.regressed,
        "figures": comparison.figures,
        "omitted": run.omitted,
        "before": before,
        "after": run.report,
    }
    # In ASCII: what a stranger said must not steer a terminal.
    return encoding.dumps(msgspec.to_builtins(document), indent=2)
