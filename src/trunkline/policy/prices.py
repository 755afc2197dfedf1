"""Prices of the operator's or the caller's own, in place of the list's."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

import msgspec

Dollars = Annotated[float, msgspec.Meta(ge=0)]
_LONGEST: Final = 2000


class CustomCost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Prices in US dollars: of one token, or of a whole exchange (``total_cost``, which then counts alone).

    A price that is absent is 0. Of the two cache prices the absent one is ``per_token_in``, so that without either,
    tokens of a cache cost what others do.
    """

    per_token_in: Dollars | None = None
    per_token_out: Dollars | None = None
    per_cache_read_token: Dollars | None = None
    per_cache_write_token: Dollars | None = None
    total_cost: Dollars | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for a price that is no number one can pay."""
        if any(value is not None and not math.isfinite(value) for value in self._values()):
            raise ValueError("a price has to be a finite number")

    @property
    def is_empty(self) -> bool:
        """Whether it sets no price at all."""
        return all(value is None for value in self._values())

    def _values(self) -> list[float | None]:
        return [getattr(self, name) for name in self.__struct_fields__]


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A gateway's own price for the models that fit a pattern such as ``gpt-4o*``.

    ``provider`` is a slug; an empty one is every provider.
    """

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = "*"
    provider: Annotated[str, msgspec.Meta(max_length=100)] = ""
    prices: CustomCost


def parse_custom_cost(header: str) -> CustomCost | None:
    """Return the prices that the header ``cf-aig-custom-cost`` sets: a JSON object with the members of `CustomCost`.

    None for what is none: no JSON object, a price that is negative or no finite number, or no known price at all.
    Other members are ignored.
    """
    if not header or len(header) > _LONGEST:
        return None
    try:
        stated: Any = json.loads(header)
        if not isinstance(stated, dict):
            return None
        known = {name: value for name, value in stated.items() if name in CustomCost.__struct_fields__}
        found = msgspec.convert(known, CustomCost)
    except (ValueError, RecursionError):
        return None
    return None if found.is_empty else found


def custom_cost_for(rules: Sequence[ModelPrice], provider: str, model: str) -> CustomCost | None:
    """Return the prices of the first rule that fits, or None."""
    for rule in rules:
        if rule.provider in ("", "*", provider) and fnmatchcase(model, rule.model):
            return rule.prices
    return None
