"""The log over HTTP, below ``/api/logs``: list and read exchanges, say what people think of one, delete some.

For gateway keys with the scopes 'read' and 'edit', for the gateway token and for the console. A key sees the log of its
own gateway, and rows of others as if they did not exist. Whoever asks sees what was answered before.
"""

from __future__ import annotations

import base64
import csv
import io
import time
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from msgspec.structs import replace

from trunkline.credentials import Caller
from trunkline.errors import MalformedRequest, UnknownLog
from trunkline.server import audit
from trunkline.server.answers import NO_STORE, Deleted, answers, json_answer, schemas_of
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.server.log_tail import OVERLAP_SECONDS, Tail
from trunkline.server.log_words import FIELDS, conditions_of
from trunkline.server.spreadsheets import cell
from trunkline.store import LogFilter, LogRow
from trunkline.store.log_filter import Condition, clauses_of
from trunkline.wire.documents import UNREADABLE, why_unreadable

_PAGE: Final = 50
_MAX_PAGE: Final = 500
_MAX_EXPORT: Final = 100_000
_Word = Annotated[str, Query(max_length=200)]
_EVENTS: Final = "text/event-stream"
_FORMATS: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}
_TEXT: Final[dict[str, Any]] = {"schema": {"type": "string"}}
_TAIL: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {_EVENTS: _TEXT}}}
_EXPORTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {kind.partition(";")[0]: _TEXT for kind in _FORMATS.values()}}
}


class LogPage(msgspec.Struct, frozen=True):
    """Rows, newest first. ``next``: show it as ``before`` to get more; null at the end."""

    logs: list[LogRow]
    next: str | None

    def document(self) -> dict[str, Any]:
        """Return it as it is answered."""
        return {"logs": [_document(row) for row in self.logs], "next": self.next}


class Bodies(msgspec.Struct, frozen=True):
    """What was said in an exchange, as text; null where nothing was kept. What is no UTF-8 is in base64."""

    request: str | None
    response: str | None
    encoding: str = "utf-8"


class LogChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people think of an exchange; what is absent stays, and null takes it back."""

    feedback: int | msgspec.UnsetType | None = msgspec.UNSET
    score: float | msgspec.UnsetType | None = msgspec.UNSET
    metadata: dict[str, str | int | float | bool] | msgspec.UnsetType = msgspec.UNSET


_BODIES: Final = frozenset({"request", "response"})
_change: Final = msgspec.json.Decoder(LogChange)


def _asked(
    gateway: Annotated[str | None, Query(max_length=64)] = None,
    provider: _Word | None = None,
    model: _Word | None = None,
    key: Annotated[str | None, Query(max_length=64, description="Id of a gateway key.")] = None,
    user: _Word | None = None,
    session: _Word | None = None,
    success: bool | None = None,
    status: int | None = None,
    end_reason: _Word | None = None,
    request_type: _Word | None = None,
    metadata: Annotated[list[str] | None, Query(description="NAME=VALUE, and may be repeated.")] = None,
    filter: Annotated[
        list[_Word] | None,
        Query(max_length=50, description=f"Such as status:>=400, and may be repeated. Names: {', '.join(FIELDS)}."),
    ] = None,
    search: _Word = "",
    since: Annotated[float | None, Query(description="Unix time.", allow_inf_nan=False)] = None,
    until: Annotated[float | None, Query(description="Unix time.", allow_inf_nan=False)] = None,
    after: Annotated[str | None, Query(max_length=64, description="An id: only newer rows.")] = None,
) -> LogFilter:
    """Read which exchanges are meant."""
    equal = {
        "provider": provider,
        "model": model,
        "key_id": key,
        "user": user,
        "session_id": session,
        "success": success,
        "status": status,
        "end_reason": end_reason,
        "request_type": request_type,
        **dict(_tag(one) for one in metadata or ()),
    }
    conditions: list[Condition] = [(one, "eq", [value]) for one, value in equal.items() if value is not None]
    bounds = (("created_at", "gt", since), ("created_at", "lt", until), ("id", "gt", after))
    conditions += [(one, operator, [value]) for one, operator, value in bounds if value is not None]
    return LogFilter(gateway=gateway, conditions=[*conditions, *conditions_of(filter or ())], search=search)


_Asked = Annotated[LogFilter, Depends(_asked)]


def log_schemas() -> dict[str, Any]:
    """Return the JSON schemas of the answers, by name."""
    schemas = schemas_of(LogPage, LogRow, Bodies, Deleted)
    row = schemas[LogRow.__name__]
    row["properties"] = {name: kind for name, kind in row["properties"].items() if name not in _BODIES}
    row["required"] = list(row["properties"])
    return schemas


def create_log_routes(gateway: Gateway) -> APIRouter:
    """Return the routes below ``/api/logs``."""
    routes = APIRouter(prefix="/api/logs", tags=["logs"])

    def asking(request: Request, act: Any, name: str | None) -> tuple[Caller, str | None]:
        caller = require_scope(gateway, request, act, name)
        return caller, name or caller.gateway

    def within(request: Request, asked: LogFilter) -> LogFilter:
        """Return a filter within what the caller may see."""
        _, name = asking(request, "read", asked.gateway)
        return replace(asked, gateway=name)

    async def all_rows(wanted: LogFilter, page: list[LogRow], limit: int) -> AsyncIterator[list[LogRow]]:
        left = limit
        while page:
            yield page
            left -= len(page)
            if left <= 0 or len(page) < _MAX_PAGE:
                return
            page = await gateway.logs.list(wanted, limit=min(left, _MAX_PAGE), before=page[-1].id)

    async def found(request: Request, act: Any, id: str) -> tuple[Caller, LogRow]:
        caller, name = asking(request, act, None)
        row = await gateway.log_row(id, name)
        if row is None:
            raise UnknownLog(f"There is no log row {id[:64]!r} here.")
        return caller, row

    @routes.get("", response_class=Response, responses=answers(LogPage))
    async def logs(
        request: Request,
        asked: _Asked,
        before: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _PAGE,
    ) -> Response:
        """List exchanges, newest first."""
        wanted = within(request, asked)
        await gateway.drain.flush()
        rows = await gateway.logs.list(wanted, limit=limit + 1, before=before)
        page = rows[:limit]
        return json_answer(LogPage(page, page[-1].id if len(rows) > limit else None).document())

    @routes.get("/tail", response_class=StreamingResponse, responses=_TAIL)
    async def tail(
        request: Request,
        asked: _Asked,
        last_event_id: Annotated[str, Header(max_length=64, description="Id of the row that came last.")] = "",
    ) -> Response:
        """Tell of exchanges as they are written, as server-sent events: ``rows`` with ``logs``, oldest first.

        ``gap`` in their place: there were too many, and a list has them. After an interruption everything since the row
        ``Last-Event-ID`` comes, some of it perhaps a second time. ``refused`` comes when the caller may look no more.
        """
        clauses_of(within(request, asked), "sqlite")  # refuses what could be refused by an event only later
        since: float | None = time.time() - OVERLAP_SECONDS
        if last_event_id:
            row = await gateway.log_row(last_event_id, None)
            since = row.written_at - OVERLAP_SECONDS if row is not None and row.written_at else None
        events = Tail(gateway.logs, since).events(lambda: within(request, asked), gateway.live.closed_within, _document)
        return StreamingResponse(events, media_type=_EVENTS, headers={**NO_STORE, "x-accel-buffering": "no"})

    @routes.get("/export", response_class=StreamingResponse, responses=_EXPORTS)
    async def export(
        request: Request,
        asked: _Asked,
        format: Literal["csv", "jsonl"] = "csv",
        limit: Annotated[int, Query(ge=1, le=_MAX_EXPORT)] = _MAX_EXPORT,
    ) -> Response:
        """Write exchanges to a file, newest first: all of them up to the limit, without what was said."""
        wanted = within(request, asked)
        await gateway.drain.flush()
        first = await gateway.logs.list(wanted, limit=min(limit, _MAX_PAGE))
        name = time.strftime("logs-%Y%m%d-%H%M%S", time.gmtime())
        headers = {**NO_STORE, "content-disposition": f'attachment; filename="{name}.{format}"'}
        write = _csv_lines if format == "csv" else _json_lines
        return StreamingResponse(write(all_rows(wanted, first, limit)), media_type=_FORMATS[format], headers=headers)

    @routes.get("/{id}", response_class=Response, responses=answers(LogRow))
    async def log_row(request: Request, id: str) -> Response:
        """Show one exchange."""
        _, row = await found(request, "read", id)
        return json_answer(_document(row))

    @routes.get("/{id}/payload", response_class=Response, responses=answers(Bodies))
    async def payload(request: Request, id: str) -> Response:
        """Show what was said in one exchange, where the gateway keeps that. Secrets in it were replaced."""
        _, row = await found(request, "read", id)
        kept = await gateway.logs.payload(row.id, row.gateway)
        if kept is None:
            raise UnknownLog(f"What was said in {id[:64]!r} is not kept; see `trunkline gateways set --log-payloads`.")
        return json_answer(_bodies(kept.request, kept.response))

    @routes.patch("/{id}", response_class=Response, responses=answers(LogRow))
    async def change(request: Request, id: str) -> Response:
        """Give an exchange feedback (-1 or 1), a score (0 to 100), or other metadata."""
        caller, row = await found(request, "edit", id)
        try:
            wanted = _change.decode(await request.body())
        except UNREADABLE as error:
            raise MalformedRequest(f"The change of a log row cannot be read: {why_unreadable(error)}.") from error
        score = round(wanted.score) if isinstance(wanted.score, float) else wanted.score
        changed = await gateway.logs.patch(
            row.id, feedback=wanted.feedback, score=score, metadata=wanted.metadata, gateway=row.gateway
        )
        await audit.record(gateway, caller, "log.change", audit.Target("log", row.id, row.gateway))
        return json_answer(_document(changed or row))

    @routes.delete("", response_class=Response, responses=answers(Deleted))
    async def delete(
        request: Request,
        gateway_: Annotated[str, Query(alias="gateway", max_length=64)],
        until: Annotated[float, Query(description="Unix time: older rows are deleted.", allow_inf_nan=False)],
    ) -> Response:
        """Delete the rows of a gateway that are older than a moment, with what was said in them."""
        caller, name = asking(request, "edit", gateway_)
        await gateway.drain.flush()
        count = await gateway.logs.delete(LogFilter(gateway=name, conditions=[("created_at", "lt", [until])]))
        await audit.record(gateway, caller, "log.delete", audit.Target("gateway", gateway_, gateway_))
        return json_answer(Deleted(count))

    @routes.delete("/{id}", status_code=204)
    async def delete_one(request: Request, id: str) -> None:
        """Delete one row, with what was said in it."""
        caller, row = await found(request, "edit", id)
        await gateway.logs.delete(LogFilter(gateway=row.gateway, conditions=[("id", "eq", [row.id])]))
        await audit.record(gateway, caller, "log.delete", audit.Target("log", row.id, row.gateway))

    return routes


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise MalformedRequest("metadata: expected NAME=VALUE.")
    return f"metadata:{name}", value


def _bodies(request: bytes | None, response: bytes | None) -> Bodies:
    def text(body: bytes | None) -> str | None:
        return None if body is None else body.decode()

    def packed(body: bytes | None) -> str | None:
        return None if body is None else base64.b64encode(body).decode()

    try:
        return Bodies(text(request), text(response))
    except UnicodeDecodeError:
        return Bodies(packed(request), packed(response), "base64")


async def _csv_lines(pages: AsyncIterator[list[LogRow]]) -> AsyncIterator[str]:
    names = [name for name in LogRow.__struct_fields__ if name not in _BODIES]
    yield _csv([names])
    async for page in pages:
        yield _csv([_cell(getattr(row, name)) for name in names] for row in page)


async def _json_lines(pages: AsyncIterator[list[LogRow]]) -> AsyncIterator[bytes]:
    async for page in pages:
        yield b"".join(msgspec.json.encode(_document(row)) + b"\n" for row in page)


def _csv(lines: Iterable[Iterable[Any]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(lines)
    return written.getvalue()


def _cell(value: Any) -> Any:
    match value:
        case dict() | list():
            return msgspec.json.encode(value).decode() if value else ""
        case bool():
            return str(value).lower()
        case _:
            return cell(value)


def _document(row: LogRow) -> dict[str, Any]:
    """Return a row with every field, also those that have their default; its bodies are asked for by themselves."""
    return {name: getattr(row, name) for name in row.__struct_fields__ if name not in _BODIES}
