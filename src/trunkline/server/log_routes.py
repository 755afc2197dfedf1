"""The log over HTTP, below ``/api/logs``: list and read exchanges, say what people think of one, delete some.

For gateway keys with the scopes 'read' and 'edit', for the gateway token and for the console. A key sees the log of its
own gateway, and rows of others as if they did not exist. Whoever asks sees what was answered before.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from trunkline.credentials import Caller
from trunkline.errors import MalformedRequest, UnknownLog
from trunkline.server import audit
from trunkline.server.answers import Deleted, answers, json_answer, schemas_of
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.store import LogFilter, LogRow
from trunkline.store.log_filter import Condition

_PAGE: Final = 50
_MAX_PAGE: Final = 500
_Word = Annotated[str, Query(max_length=200)]


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

    async def found(request: Request, act: Any, id: str) -> tuple[Caller, LogRow]:
        caller, name = asking(request, act, None)
        row = await gateway.log_row(id, name)
        if row is None:
            raise UnknownLog(f"There is no log row {id[:64]!r} here.")
        return caller, row

    @routes.get("", response_class=Response, responses=answers(LogPage))
    async def logs(
        request: Request,
        gateway_: Annotated[str | None, Query(alias="gateway", max_length=64)] = None,
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
        search: _Word = "",
        since: Annotated[float | None, Query(description="Unix time.", allow_inf_nan=False)] = None,
        until: Annotated[float | None, Query(description="Unix time.", allow_inf_nan=False)] = None,
        before: Annotated[str | None, Query(max_length=64)] = None,
        after: Annotated[str | None, Query(max_length=64, description="An id: only newer rows.")] = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _PAGE,
    ) -> Response:
        """List exchanges, newest first."""
        _, name = asking(request, "read", gateway_)
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
        wanted = LogFilter(gateway=name, conditions=conditions, search=search)
        await gateway.drain.flush()
        rows = await gateway.logs.list(wanted, limit=limit + 1, before=before)
        page = rows[:limit]
        return json_answer(LogPage(page, page[-1].id if len(rows) > limit else None).document())

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
        except msgspec.MsgspecError as error:
            raise MalformedRequest(f"The change of a log row cannot be read: {error}.") from error
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


def _document(row: LogRow) -> dict[str, Any]:
    """Return a row with every field, also those that have their default; its bodies are asked for by themselves."""
    return {name: getattr(row, name) for name in row.__struct_fields__ if name not in _BODIES}
