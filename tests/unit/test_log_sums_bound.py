"""Sums over rows that several filters choose."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from trunkline.errors import MalformedRequest
from trunkline.store.log_filter import LogFilter
from trunkline.store.log_sums import spreads


def test_filters_that_compare_with_too_much_together_are_refused_before_a_statement_is_made_of_them() -> None:
    database: Any = None  # it is not asked
    filters = [LogFilter(conditions=[("metadata.value", "eq", ["x"] * 200)])] * 6
    with pytest.raises(MalformedRequest, match="filters: at most 1000 values"):
        asyncio.run(spreads(database, filters, ["cost"]))
