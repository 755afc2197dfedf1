"""Billing: this gateway sells nothing. It tells what callers cost, and refuses what only a seller has."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from trunkline.errors import NotSoldHere
from trunkline.server.management.access import ManagementRoute, TheCaller, TheGateway
from trunkline.server.management.envelope import Envelope
from trunkline.server.management.gateways import management_of
from trunkline.store.analytics import LAST_MOMENT, Question

_SPENDING_LIMIT: Final = "spending-limit"
_CENTS: Final = 100
_WINDOWS: Final = {"hour": 3600, "day": 86_400}
# What is told when no time is named.
_USUAL: Final = {"hour": 2 * 86_400, "day": 30 * 86_400}


class TopupSettings(BaseModel):
    """When credits are bought by themselves; empty, since none are sold here."""

    amount: float | None = None
    threshold: float | None = None


class CreditBalance(BaseModel):
    """What is left of credits."""

    balance: float
    has_default_payment_method: bool
    payment_method: None = None
    topup_config: TopupSettings


class InvoicePages(BaseModel):
    """Which page a list of invoices is."""

    has_more: bool
    page: int
    per_page: int
    total_count: int


class Invoices(BaseModel):
    """Invoices; there are none."""

    invoices: list[None]
    pagination: InvoicePages


class Usage(BaseModel):
    """What requests cost in one window, in US cents. Times are milliseconds since 1970."""

    id: str
    aggregated_value: float
    start_time: int
    end_time: int


class UsageHistory(BaseModel):
    """Windows in the order of time."""

    history: list[Usage]


class SpendingLimit(BaseModel):
    """A limit for all gateways together. ``amount`` is US cents."""

    model_config = ConfigDict(extra="forbid")

    amount: Annotated[int, Field(ge=100)]
    duration: Literal["daily", "weekly", "monthly"]
    strategy: Literal["fixed", "sliding"]


class SpendingLimitTerms(BaseModel):
    """A limit's terms; null where none is set."""

    amount: float | None = None
    duration: str | None = None
    strategy: str | None = None


class SpendingLimitState(BaseModel):
    """The limit that is set, if one is."""

    enabled: bool
    config: SpendingLimitTerms


routes = APIRouter(prefix="/billing", tags=["billing"], route_class=ManagementRoute)
_Milliseconds = Annotated[float | None, Query(ge=0, le=LAST_MOMENT * 1000, allow_inf_nan=False)]


@routes.get("/credit-balance")
async def credit_balance() -> Envelope[CreditBalance]:
    """Return what is left of credits: none are sold here."""
    return Envelope(result=CreditBalance(balance=0, has_default_payment_method=False, topup_config=TopupSettings()))


@routes.get("/invoice-history")
async def invoice_history(type: Literal["auto", "all", "manual"] = "all") -> Envelope[Invoices]:
    """List invoices: there are none."""
    pages = InvoicePages(has_more=False, page=1, per_page=0, total_count=0)
    return Envelope(result=Invoices(invoices=[], pagination=pages))


@routes.get("/invoice-preview")
async def invoice_preview() -> None:
    """Refuse: no invoice will come."""
    raise _not_sold("There is no invoice to come")


@routes.get("/usage-history")
async def usage_history(
    gateway: TheGateway,
    caller: TheCaller,
    value_grouping_window: Literal["day", "hour"],
    start_time: _Milliseconds = None,
    end_time: _Milliseconds = None,
) -> Envelope[UsageHistory]:
    """Return what requests cost at their providers, as far as their prices are known."""
    await gateway.drain.flush()
    until = time.time() if end_time is None else end_time / 1000
    since = until - _USUAL[value_grouping_window] if start_time is None else start_time / 1000
    filters = {} if caller.gateway is None else {"gateway": [caller.gateway]}
    question = Question(since=since, until=until, measures=("cost",), filters=filters)
    chart = await gateway.analytics.series(question, value_grouping_window)
    costs: dict[int, float] = {}
    for group in chart.groups:
        for start, cost in zip(chart.starts, group.points["cost"], strict=True):
            costs[start] = costs.get(start, 0.0) + (cost or 0.0)
    window = _WINDOWS[value_grouping_window]
    history = [
        Usage(
            id=f"{value_grouping_window}-{start}",
            aggregated_value=cost * _CENTS,
            start_time=start * 1000,
            end_time=(start + window) * 1000,
        )
        for start, cost in sorted(costs.items())
    ]
    return Envelope(result=UsageHistory(history=history))


@routes.get("/spending-limit")
async def get_spending_limit(gateway: TheGateway) -> Envelope[SpendingLimitState]:
    """Return the limit for all gateways together."""
    kept = await management_of(gateway).account_field(_SPENDING_LIMIT)
    return Envelope(result=SpendingLimitState(enabled=kept is not None, config=SpendingLimitTerms(**(kept or {}))))


@routes.post("/spending-limit")
async def set_spending_limit(gateway: TheGateway, wanted: SpendingLimit) -> Envelope[SpendingLimitState]:
    """Keep a limit for all gateways together."""
    await management_of(gateway).set_account_field(_SPENDING_LIMIT, wanted.model_dump())
    return await get_spending_limit(gateway)


@routes.delete("/spending-limit")
async def delete_spending_limit(gateway: TheGateway) -> Envelope[SpendingLimitState]:
    """Set no limit for all gateways together."""
    await management_of(gateway).set_account_field(_SPENDING_LIMIT, None)
    return await get_spending_limit(gateway)


@routes.get("/topup/config")
async def get_topup() -> Envelope[TopupSettings]:
    """Return when credits are bought by themselves: never."""
    return Envelope(result=TopupSettings())


@routes.delete("/topup/config")
async def delete_topup() -> Envelope[dict[str, Any]]:
    """Stop buying credits by themselves: nothing was to be bought."""
    return Envelope(result={})


@routes.post("/topup/config")
async def set_topup() -> None:
    """Refuse: there are no credits."""
    raise _not_sold("Credits cannot be bought")


@routes.post("/topup")
async def top_up() -> None:
    """Refuse: there are no credits."""
    raise _not_sold("Credits cannot be bought")


@routes.post("/topup/status")
async def topup_status() -> None:
    """Refuse: there are no credits."""
    raise _not_sold("No credits were bought")


def _not_sold(what: str) -> NotSoldHere:
    return NotSoldHere(f"{what}: this gateway runs on your own machine, and providers bill you themselves.")
