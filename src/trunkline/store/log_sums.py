"""Sums over rows of the log itself, for what the roll-ups cannot tell apart: rows that a filter chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Float, and_, cast, false, func, or_, select, true

from trunkline.errors import MalformedRequest
from trunkline.store.database import Database
from trunkline.store.log_filter import KEYS, LogFilter, clauses_of
from trunkline.store.schema import logs

# Of all filters together: to put a statement together takes the longer the more it compares.
_MAX_VALUES: Final = 1000


class Spread(msgspec.Struct, frozen=True):
    """Of those rows that have a value: how many, and the values' least, greatest and mean; None where there is none."""

    rows: int
    least: float | None
    most: float | None
    mean: float | None


async def spreads(
    database: Database, wanted: Sequence[LogFilter], names: Sequence[str]
) -> tuple[int, dict[str, Spread]]:
    """Return how many rows any of the filters chooses, each once, and the spread of named numbers among them.

    Names are keys of `trunkline.store.log_filter.KEYS` that are numbers. Raises `MalformedRequest` for a filter that is
    none.
    """
    if len(wanted) > 1 and sum(len(values) for one in wanted for _, _, values in one.conditions) > _MAX_VALUES:
        raise MalformedRequest(
            f"filters: at most {_MAX_VALUES} values of all datasets together can be asked for at once."
        )
    chosen: ColumnElement[bool] = or_(false(), *(and_(true(), *clauses_of(one, database.dialect)) for one in wanted))
    asked: list[Any] = [func.count()]
    for name in names:
        value = cast(KEYS[name].column, Float)
        asked += [func.count(value), func.min(value), func.max(value), func.avg(value)]
    async with database.reading() as connection:
        rows, *found = (await connection.execute(select(*asked).select_from(logs).where(chosen))).one()
    return int(rows), {name: Spread(*found[4 * place : 4 * place + 4]) for place, name in enumerate(names)}
