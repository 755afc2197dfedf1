"""The log of a gateway: its rows, what people say about them, and the bodies where they are kept."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from trunkline.errors import NotFound
from trunkline.server.audit import Target, record
from trunkline.server.gateway import Gateway
from trunkline.server.management.access import ManagementRoute, TheCaller, TheGateway
from trunkline.server.management.envelope import Envelope, Listing, Paging, moment
from trunkline.server.management.log_queries import log_filter, order_of
from trunkline.store.log_sums import spreads
from trunkline.store.logs import LogRow, Payload

# Of a body, so many characters are shown with its row.
_HEAD: Final = 2048
_SPREADS: Final = {
    "cost": "cost",
    "duration": "duration",
    "tokens_in": "tokens_in",
    "tokens_out": "tokens_out",
    "tokens": "total_tokens",
}
_Limit = Annotated[int | None, Query(ge=1, le=1_000_000)]


class LogEntry(BaseModel):
    """One exchange, with Cloudflare's names. ``duration`` is milliseconds, ``metadata`` a JSON object in a text."""

    id: str
    created_at: datetime
    provider: str
    model: str
    model_type: str
    path: str
    duration: int
    request_type: str
    request_content_type: str
    response_content_type: str
    status_code: int
    success: bool
    cached: bool
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    custom_cost: bool
    step: int
    metadata: str
    event_id: str
    feedback: int | None
    score: int | None
    user_agent: str
    authentication: bool


class LogDetails(LogEntry):
    """One exchange with the beginnings of its bodies, where they are kept."""

    request_size: int
    request_head: str | None
    request_head_complete: bool | None
    response_size: int
    response_head: str | None
    response_head_complete: bool | None
    timings: dict[str, float]
    usage_metadata: dict[str, Any]


class LogChange(BaseModel):
    """What somebody says about an exchange; what is absent stays. ``metadata`` replaces all of it."""

    model_config = ConfigDict(extra="forbid")

    feedback: int | None = None
    score: Annotated[float, Field(ge=0, le=100)] | None = None
    metadata: Annotated[dict[str, str | int | float | bool], Field(max_length=20)] | None = None


class Deleted(BaseModel):
    """How many rows are gone."""

    count: int


routes = APIRouter(prefix="/gateways/{gateway_id}/logs", tags=["logs"], route_class=ManagementRoute)


@routes.get("")
async def list_logs(
    request: Request,
    gateway: TheGateway,
    gateway_id: str,
    paging: Annotated[Paging, Depends()],
    meta_info: bool = False,
) -> Listing[LogEntry]:
    """List a gateway's exchanges, newest first. ``meta_info`` adds the least and greatest of their numbers."""
    await gateway.drain.flush()
    parameters = request.query_params.multi_items()
    wanted = log_filter(gateway_id, parameters)
    order, descending = order_of(parameters)
    rows = await gateway.logs.list(
        wanted, limit=paging.per_page, offset=paging.offset, order=order, descending=descending
    )
    more: dict[str, Any] = {}
    if meta_info:
        total, found = await spreads(gateway.database, [wanted], list(_SPREADS))
        for key, name in _SPREADS.items():
            more |= {f"min_{name}": found[key].least, f"max_{name}": found[key].most}
    else:
        total = await gateway.logs.count(wanted)
    return Listing(result=[LogEntry(**_fields(row)) for row in rows], result_info=paging.info(len(rows), total, **more))


@routes.delete("")
async def delete_logs(
    request: Request, gateway: TheGateway, caller: TheCaller, gateway_id: str, limit: _Limit = None
) -> Envelope[Deleted]:
    """Delete the exchanges that are asked for, with their bodies: without a filter or limit, all of the gateway's."""
    await gateway.drain.flush()
    parameters = request.query_params.multi_items()
    order, descending = order_of(parameters, default="asc")
    wanted = log_filter(gateway_id, parameters)
    count = await gateway.logs.delete(wanted, limit=limit, order=order, descending=descending)
    details = {"count": count, "filters": [list(one) for one in wanted.conditions], "search": wanted.search}
    await record(gateway, caller, "log.delete", Target("log", "", gateway_id), details)
    return Envelope(result=Deleted(count=count))


@routes.get("/{id}")
async def get_log(gateway: TheGateway, gateway_id: str, id: str) -> Envelope[LogDetails]:
    """Return an exchange."""
    row = await _row(gateway, gateway_id, id)
    kept = await gateway.logs.payload(id, gateway_id) if row.has_payload else None
    timings = {
        name: value
        for name in ("connect_ms", "first_byte_ms", "inter_token_p50_ms", "inter_token_p99_ms", "duration_ms")
        if (value := getattr(row, name)) is not None
    }
    return Envelope(
        result=LogDetails(
            **_fields(row),
            **_head("request", row.request_size, kept.request if kept else None),
            **_head("response", row.response_size, kept.response if kept else None),
            timings=timings,
            usage_metadata=row.usage,
        )
    )


@routes.patch("/{id}")
async def edit_log(
    gateway: TheGateway, caller: TheCaller, gateway_id: str, id: str, wanted: LogChange
) -> Envelope[LogEntry]:
    """Say what an exchange was worth: ``feedback`` is -1 or 1, ``score`` 0 to 100, and null takes one back."""
    await _row(gateway, gateway_id, id)
    given = wanted.model_dump(exclude_unset=True)
    if given.get("metadata", {}) is None:
        given["metadata"] = {}
    changed = await gateway.logs.patch(id, gateway=gateway_id, **given)
    if changed is None:
        raise _unknown(id)
    await record(gateway, caller, "log.edit", Target("log", id, gateway_id), {"fields": sorted(given)})
    return Envelope(result=LogEntry(**_fields(changed)))


@routes.get("/{id}/request", response_class=Response)
async def get_request(gateway: TheGateway, gateway_id: str, id: str) -> Response:
    """Return the body of the request, redacted, where the gateway keeps bodies."""
    row = await _row(gateway, gateway_id, id)
    return _body((await _payload(gateway, row)).request, row.request_content_type)


@routes.get("/{id}/response", response_class=Response)
async def get_response(gateway: TheGateway, gateway_id: str, id: str) -> Response:
    """Return the body of the answer, redacted, where the gateway keeps bodies."""
    row = await _row(gateway, gateway_id, id)
    return _body((await _payload(gateway, row)).response, row.response_content_type)


async def _row(gateway: Gateway, name: str, id: str) -> LogRow:
    row = await gateway.log_row(id, name)
    if row is None:
        raise _unknown(id)
    return row


def _unknown(id: str) -> NotFound:
    return NotFound(f"There is no exchange with the id {id[:64]!r} in this gateway's log.")


async def _payload(gateway: Gateway, row: LogRow) -> Payload:
    found = await gateway.logs.payload(row.id, row.gateway)
    if found is None:
        raise NotFound("The bodies of this exchange are not kept; the gateway's switch for that is `log_payloads`.")
    return found


def _body(content: bytes | None, content_type: str) -> Response:
    """Answer with what somebody sent once: as JSON or plain text, so that a browser never takes it for a page."""
    if content is None:
        raise NotFound("There was no body, or none is kept.")
    kind = content_type.partition(";")[0].strip().lower()
    safe = "application/json" if kind == "application/json" or kind.endswith("+json") else "text/plain; charset=utf-8"
    return Response(
        content,
        media_type=safe,
        headers={"x-content-type-options": "nosniff", "content-security-policy": "sandbox; default-src 'none'"},
    )


def _fields(row: LogRow) -> dict[str, Any]:
    same = (
        *("id", "provider", "model", "model_type", "path", "request_type", "request_content_type"),
        *("response_content_type", "success", "cached", "tokens_in", "tokens_out", "cost", "custom_cost", "step"),
        *("event_id", "feedback", "score", "user_agent"),
    )
    return {
        **{name: getattr(row, name) for name in same},
        "created_at": moment(row.created_at),
        "duration": round(row.duration_ms),
        "status_code": row.status,
        "metadata": json.dumps(row.metadata),
        "authentication": bool(row.key_id),
    }


def _head(side: str, size: int, content: bytes | None) -> dict[str, Any]:
    text = None if content is None else content.decode("utf-8", "replace")
    return {
        f"{side}_size": size,
        f"{side}_head": None if text is None else text[:_HEAD],
        f"{side}_head_complete": None if text is None else len(text) <= _HEAD,
    }
