"""The probe as the console's page runs it: one request, answered line by line as the cells come.

What a page can make a server connect to is bounded (`trunkline.probe.guard`); the gateway itself may always be probed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from trunkline import probe
from trunkline.credentials.matrix import Way
from trunkline.errors import MalformedRequest, NotPermitted, TrunklineError
from trunkline.probe import reports
from trunkline.probe.rows import is_control, label, shows
from trunkline.server.console_access import require_administrator, require_console, session_of
from trunkline.server.gateway import Gateway
from trunkline.server.sessions import ConsoleSession
from trunkline.settings import Settings

_Text = Annotated[str, Field(max_length=2048)]
_Secret = Annotated[str, Field(max_length=8192, pattern=r"^[\x21-\x7e]*$")]

# Completes "there is no provider key; set".
_WHERE: Final = "it in the settings, or type it here"


class ProbeRequest(BaseModel):
    """What to probe. ``target`` is a URL; null means this gateway.

    ``use_session_keys`` takes the keys that this browser's session keeps, where none are given here and this gateway is
    the target: they are sent to no other.
    """

    model_config = ConfigDict(extra="forbid")

    target: _Text | None = None
    provider: Annotated[str, Field(min_length=1, max_length=200)] = "openai"
    model: _Text = ""
    realtime_model: _Text = ""
    provider_key: _Secret = ""
    gateway_key: _Secret = ""
    use_session_keys: bool = True
    allow_billable: bool = False


class ProbeRow(BaseModel):
    """A row of the table: what is shown where, and by which clients. ``control``: it must be refused."""

    name: str
    shows: str
    label: str
    client: str
    control: bool


class ProbeColumn(BaseModel):
    """A column of the table: a transport."""

    way: str
    title: str


class ProbePlan(BaseModel):
    """The first line: the empty table."""

    type: Literal["plan"] = "plan"
    target: str
    provider: str
    rows: list[ProbeRow]
    columns: list[ProbeColumn]
    cells: int


class ProbeCell(BaseModel):
    """One line for each cell, as it is done."""

    type: Literal["cell"] = "cell"
    row: str
    way: str
    verdict: Literal["accepted", "refused", "unclear", "unreachable", "skipped", "not applicable"]
    milliseconds: float | None
    status: int | None
    close_code: int | None
    first_frame: str
    request: str
    why: str


class ProbeReports(BaseModel):
    """The whole run in formats to keep."""

    markdown: str
    json_: Annotated[str, Field(alias="json")]
    junit: str
    html: str

    model_config = ConfigDict(populate_by_name=True)


class ProbeReport(BaseModel):
    """The last line: what the run came to."""

    type: Literal["report"] = "report"
    controls_hold: bool
    control_faults: list[str]
    same_everywhere: bool | None
    conclusion: str
    explanations: list[str]
    left_out: list[str]
    differing: list[dict[str, str]]
    reports: ProbeReports


class ProbeFailed(BaseModel):
    """The last line of a run that could not go on."""

    type: Literal["failed"] = "failed"
    message: str


class ProbeLines(BaseModel):
    """One of these stands on each line of the answer."""

    line: ProbePlan | ProbeCell | ProbeReport | ProbeFailed


class _Ndjson(StreamingResponse):
    media_type = "application/x-ndjson"


def create_probe_routes(gateway: Gateway) -> APIRouter:
    """Return the route that runs the probe."""
    routes = APIRouter()

    @routes.post("/api/probe", response_class=_Ndjson, responses={200: {"model": ProbeLines}})
    async def run_probe(request: Request, wanted: Annotated[ProbeRequest, Body()]) -> StreamingResponse:
        """Run the auth matrix; the answer is one JSON object a line. Closing the connection ends the run."""
        require_console(gateway, request)
        session = session_of(gateway, request) or gateway.sessions.fresh()
        require_administrator(gateway, request)
        run = _Run(gateway.settings, wanted, session, request.scope["server"])
        await run.check()
        return _Ndjson(run.lines())

    return routes


class _Run:
    """One run of the probe, and its lines."""

    def __init__(
        self, settings: Settings, wanted: ProbeRequest, session: ConsoleSession, server: tuple[str, int]
    ) -> None:
        own = wanted.target is None
        url = wanted.target or _own_url(settings, session, server)
        try:
            self._target = probe.Target(url, wanted.provider, wanted.model, wanted.realtime_model)
            self._keys = _keys(wanted, session, self._target.provider)
            self._planned = probe.plan(self._target, self._keys)
        except probe.ProbeError as error:
            raise MalformedRequest(str(error)) from error
        self._guard = None if own else probe.AddressGuard(settings.probe_allowed_hosts)
        self._ssl = _unverified() if own and self._target.origin.is_secure else None
        self._allow_billable = wanted.allow_billable

    async def check(self) -> None:
        """Raise `NotPermitted` for an address that the console may not reach, before the answer begins."""
        if self._guard is None:
            return
        try:
            await self._guard.connector(self._target.origin)
        except probe.AddressRefused as error:
            raise NotPermitted(f"{error} (setting probe_allowed_hosts, TRUNKLINE_PROBE_ALLOWED_HOSTS)") from error
        except OSError:
            pass  # a name without an address is what the run itself will tell

    async def lines(self) -> AsyncIterator[str]:
        """Yield the lines of the answer; the run ends when nobody takes them."""
        yield _line(self._plan())
        cells: asyncio.Queue[probe.Cell | None] = asyncio.Queue()
        running = asyncio.create_task(self._observe(cells))
        try:
            while (cell := await cells.get()) is not None:
                yield _line(ProbeCell(**reports.cell_data(cell)))
            yield _line(_last(await running))
        except TrunklineError as error:
            yield _line(ProbeFailed(message=str(error)))
        finally:
            running.cancel()

    async def _observe(self, cells: asyncio.Queue[probe.Cell | None]) -> probe.Report:
        try:
            return await probe.run(
                self._target,
                self._keys,
                allow_billable=self._allow_billable,
                guard=self._guard,
                on_cell=cells.put,
                ssl_context=self._ssl,
            )
        finally:
            cells.put_nowait(None)

    def _plan(self) -> ProbePlan:
        rows = {one.row.name: one.row for one in self._planned}
        return ProbePlan(
            target=self._target.url,
            provider=self._target.provider,
            rows=[
                ProbeRow(name=row.name, shows=shows(row), label=label(row), client=row.client, control=is_control(row))
                for row in rows.values()
            ],
            columns=[ProbeColumn(way=reports.way_name(way), title=probe.COLUMNS[way]) for way in self._ways()],
            cells=len(self._planned),
        )

    def _ways(self) -> list[Way]:
        return list(dict.fromkeys(one.way for one in self._planned))


def _last(report: probe.Report) -> ProbeReport:
    data: dict[str, Any] = reports.as_data(report)
    kept = ("controls_hold", "control_faults", "same_everywhere", "conclusion", "explanations", "left_out", "differing")
    texts = ProbeReports(
        markdown=reports.as_markdown(report),
        json_=reports.as_json(report),
        junit=reports.as_junit(report),
        html=reports.as_html(report),
    )
    return ProbeReport(**{name: data[name] for name in kept}, reports=texts)


def _line(model: BaseModel) -> str:
    return model.model_dump_json(by_alias=True) + "\n"


def _keys(wanted: ProbeRequest, session: ConsoleSession, provider: str) -> probe.Keys:
    provider_key, gateway_key = wanted.provider_key, wanted.gateway_key
    if wanted.use_session_keys and wanted.target is None:
        provider_key = provider_key or session.provider_keys.get(provider, "")
        gateway_key = gateway_key or session.gateway_token
    return probe.Keys(provider_key, gateway_key, _WHERE, _WHERE)


def _own_url(settings: Settings, session: ConsoleSession, server: tuple[str, int]) -> str:
    """Return the gateway's own base URL, at the very socket on which the request came."""
    host, port = server
    named = f"[{host}]" if ":" in host else host
    scheme = "http" if settings.tls == "off" else "https"
    return f"{scheme}://{named}:{port}/v1/{session.account_id}/{session.gateway_id}"


def _unverified() -> ssl.SSLContext:
    """Return a context for this process's own socket, whose certificate is for the name that others call it by."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
