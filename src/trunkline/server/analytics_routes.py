"""Charts over the log, below ``/api/analytics``, for the console and for keys with the scope 'read'.

A gateway key sees its own gateway alone. Answers are JSON, or CSV for ``Accept: text/csv``.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from trunkline.errors import MalformedRequest
from trunkline.server.answers import NO_STORE, answers, json_answer, schemas_of
from trunkline.server.console_access import require_scope
from trunkline.server.gateway import Gateway
from trunkline.server.spreadsheets import cell
from trunkline.store.analytics import DIMENSIONS, LAST_MOMENT, MEASURES, METADATA, Chart, Question, Summary
from trunkline.store.intervals import Interval, fitting

_DAY: Final = 86400.0
_Time = Annotated[float | None, Query(ge=0, le=LAST_MOMENT, allow_inf_nan=False, description="Unix time.")]
_Values = Annotated[list[Annotated[str, Query(max_length=200)]], Query(max_length=100)]
_Statuses = Annotated[
    list[Annotated[str, Query(max_length=5)]],
    Query(max_length=100, description="Three digits, which `!=`, `>=`, `<=`, `>` or `<` may precede."),
]
_Measures = Annotated[
    list[str], Query(max_length=len(MEASURES), description=f"Of {', '.join(MEASURES)}; the first one ranks groups.")
]
_Pairs = Annotated[list[Annotated[str, Query(max_length=301)]], Query(max_length=100, description="KEY:VALUE.")]
_Zone = Annotated[str, Query(max_length=64, description="Where days, weeks and months begin, such as Europe/Berlin.")]


def analytics_schemas() -> dict[str, Any]:
    """Return the JSON schemas of the answers, by name."""
    return schemas_of(Chart, Summary)


def _filters(
    gateway: _Values = [],  # noqa: B006
    provider: _Values = [],  # noqa: B006
    model: _Values = [],  # noqa: B006
    key: _Values = [],  # noqa: B006
    user: _Values = [],  # noqa: B006
    status: _Statuses = [],  # noqa: B006
    metadata: _Pairs = [],  # noqa: B006
) -> dict[str, list[str]]:
    """Read what every question may be narrowed to."""
    named = {"gateway": gateway, "provider": provider, "model": model, "key": key, "user": user, "status": status}
    return named | _by_key(metadata)


_Filters = Annotated[dict[str, list[str]], Depends(_filters)]


def create_analytics_routes(gateway: Gateway) -> APIRouter:
    """Return the routes below ``/api/analytics``."""
    routes = APIRouter(prefix="/api/analytics", tags=["analytics"])

    @routes.get("/series", response_class=Response, responses=answers(Chart, "text/csv"))
    async def series(
        request: Request,
        filters: _Filters,
        since: _Time = None,
        until: _Time = None,
        interval: Interval | None = None,
        tz: _Zone = "UTC",
        measure: _Measures = ["requests"],  # noqa: B006
        by: Annotated[str, Query(max_length=120, description=f"{', '.join(DIMENSIONS)} or {METADATA}KEY.")] = "",
        top: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> Response:
        """Show measures over time, of the last day unless told otherwise.

        Points are whole intervals. Of a dimension that is named in ``by``, the ``top`` groups are told apart.
        """
        asked = _question(gateway, request, since, until, measure, filters, by=by, top=top)
        chosen = interval or fitting(asked.since, asked.until)
        chart = await gateway.analytics.series(asked, chosen, _zone(tz))
        return _csv(chart, asked) if _wants_csv(request) else json_answer(chart)

    @routes.get("/summary", response_class=Response, responses=answers(Summary))
    async def summary(
        request: Request,
        filters: _Filters,
        since: _Time = None,
        until: _Time = None,
        measure: _Measures = ["requests"],  # noqa: B006
    ) -> Response:
        """Show measures of a time as a whole, of the last day unless told otherwise, and of the one before it."""
        asked = _question(gateway, request, since, until, measure, filters)
        return json_answer(await gateway.analytics.summary(asked))

    return routes


def _question(
    gateway: Gateway,
    request: Request,
    since: float | None,
    until: float | None,
    measures: Sequence[str],
    filters: dict[str, list[str]],
    by: str = "",
    top: int = 10,
) -> Question:
    """Return what is asked, within what the caller may see."""
    named: list[str | None] = [*filters["gateway"]]
    callers = [require_scope(gateway, request, "read", name) for name in named or [None]]
    own = callers[0].gateway
    if own is not None:
        filters["gateway"] = [own]
    until = time.time() if until is None else until
    return Question(
        since=max(until - _DAY, 0.0) if since is None else since,
        until=until,
        measures=list(dict.fromkeys(measures)),
        by=by,
        filters={name: wanted for name, wanted in filters.items() if wanted},
        top=top,
    )


def _by_key(pairs: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        key, colon, value = pair.partition(":")
        if not colon:
            raise MalformedRequest("`metadata` is KEY:VALUE, such as team:red.")
        found.setdefault(METADATA + key, []).append(value)
    return found


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise MalformedRequest(
            f"{name!r} is no time zone that is known here; use one such as Europe/Berlin."
        ) from error


def _wants_csv(request: Request) -> bool:
    return request.headers.get("accept", "").split(";")[0].strip() == "text/csv"


def _csv(chart: Chart, question: Question) -> Response:
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(["start", *([question.by, "other"] if question.by else []), *question.measures])
    table.writerows(_lines(chart, question))
    return Response(written.getvalue(), media_type="text/csv; charset=utf-8", headers=NO_STORE)


def _lines(chart: Chart, question: Question) -> Iterator[list[Any]]:
    for place, start in enumerate(chart.starts):
        moment = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for group in chart.groups:
            told = [cell(group.value or ""), str(group.other).lower()]
            numbers = [group.points[name][place] for name in question.measures]
            yield [moment, *(told if question.by else []), *("" if number is None else number for number in numbers)]
