"""The list of prices that is in the package: what a seller takes for a model, by unit, at a moment and in a tier.

`docs/generate.py` makes it from the library genai-prices, in whose order it is, since the first model that fits counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

import msgspec

from trunkline.policy.prices import Dollars

FILE: Final = "price_list.json"
_DAY: Final = 86_400
_COMPACT_DATE: Final = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")
_DAYS_OF_MONTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Stepped(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A price that depends on how much went in: beyond a step's start, all of it costs what the step says."""

    base: Dollars
    steps: tuple[tuple[int, Dollars], ...]

    def at(self, given: int) -> float:
        """Return the price where so many tokens went in."""
        return next((price for start, price in reversed(self.steps) if given > start), self.base)


# US dollars by unit, such as ``input_mtok`` (a million tokens).
Prices = Mapping[str, float | Stepped]


class Equals(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="equals"):
    """Fits any of some names; all names here are in small letters."""

    names: tuple[str, ...]

    def fits(self, name: str) -> bool:
        """Whether a name, in small letters, is meant."""
        return name in self.names


class StartsWith(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="starts_with"):
    """Fits by a name's beginning."""

    text: str

    def fits(self, name: str) -> bool:
        """Whether a name, in small letters, is meant."""
        return name.startswith(self.text)


class EndsWith(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="ends_with"):
    """Fits by a name's end."""

    text: str

    def fits(self, name: str) -> bool:
        """Whether a name, in small letters, is meant."""
        return name.endswith(self.text)


class Contains(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="contains"):
    """Fits by any part of a name."""

    text: str

    def fits(self, name: str) -> bool:
        """Whether a name, in small letters, is meant."""
        return self.text in name


class Regex(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="regex"):
    """Fits where the pattern is found in a name."""

    pattern: str

    def fits(self, name: str) -> bool:
        """Whether a name, in small letters, is meant."""
        return _compiled(self.pattern).search(name) is not None


class AnyOf(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="or"):
    """Fits where one of its clauses does."""

    clauses: tuple[Clause, ...]

    def fits(self, name: str) -> bool:
        """Whether a name, in small letters, is meant."""
        return any(clause.fits(name) for clause in self.clauses)


class AllOf(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="and"):
    """Fits where all of its clauses do."""

    clauses: tuple[Clause, ...]

    def fits(self, name: str) -> bool:
        """Whether a name, in small letters, is meant."""
        return all(clause.fits(name) for clause in self.clauses)


Clause = Equals | StartsWith | EndsWith | Contains | Regex | AnyOf | AllOf


class Change(msgspec.Struct, frozen=True, gc=False):
    """Other prices: from a moment on, or in some hours of each day, or else always.

    ``since`` is in seconds since 1970, ``hours`` in seconds since midnight, both in UTC; the second hour is no more.
    """

    prices: dict[str, Dollars | Stepped]
    since: int = 0
    hours: tuple[int, int] | None = None

    def counts(self, now: float) -> bool:
        """Whether these prices count at a moment."""
        if self.hours is None:
            return now >= self.since
        start, end = self.hours
        second = now % _DAY
        return start <= second < end if start <= end else second >= start or second < end


class Offer(msgspec.Struct, frozen=True, gc=False):
    """A model, by the names that it goes by, and what it costs.

    Of the later changes the last that counts replaces the prices. In a tier, changes of that tier replace those units
    that they name; for each unit the first that counts.
    """

    match: Clause
    prices: dict[str, Dollars | Stepped]
    later: tuple[Change, ...] = ()
    tiers: dict[str, tuple[Change, ...]] | None = None

    def at(self, now: float, tier: str = "") -> Prices:
        """Return the prices that count at a moment, for an answer that states that it was billed by a tier."""
        prices = next((change.prices for change in reversed(self.later) if change.counts(now)), self.prices)
        changes = self.tiers.get(tier, ()) if self.tiers is not None else ()
        if not changes:
            return prices
        merged = dict(prices)
        for change in reversed(changes):
            if change.counts(now):
                merged.update(change.prices)
        return merged


class Seller(msgspec.Struct, frozen=True):
    """Who sells models: under which other names, and whose prices count for models that are not listed here."""

    id: str
    offers: tuple[Offer, ...]
    match: Clause | None = None
    falls_back_to: tuple[str, ...] = ()

    def offer(self, name: str) -> Offer | None:
        """Return the first offer that a name fits."""
        return next((offer for offer in self.offers if offer.match.fits(name)), None)


class PriceList(msgspec.Struct, frozen=True):
    """All sellers, and which version of the library, taken up on which day, they are from."""

    version: str
    day: str
    sellers: tuple[Seller, ...]

    def find(self, seller: str, model: str) -> Offer | None:
        """Return what a seller offers under a name, or None. Dates such as ``-20250131`` may have hyphens here."""
        who = self._seller(seller)
        if who is None:
            return None
        name = model.lower()
        found = self._offer(who, name)
        if found is None and (dashed := _COMPACT_DATE.sub(_dashed, name)) != name:
            found = self._offer(who, dashed)
        return found

    def clauses(self) -> Iterable[Clause]:
        """Yield every clause, those within others too."""
        left = [offer.match for seller in self.sellers for offer in seller.offers]
        left += [seller.match for seller in self.sellers if seller.match is not None]
        while left:
            clause = left.pop()
            yield clause
            if isinstance(clause, AnyOf | AllOf):
                left += clause.clauses

    def _seller(self, asked: str) -> Seller | None:
        name = asked.lower().strip()
        called = (seller for seller in self.sellers if seller.id == name)
        meant = (seller for seller in self.sellers if seller.match is not None and seller.match.fits(name))
        return next(called, None) or next(meant, None)

    def _offer(self, who: Seller, name: str) -> Offer | None:
        found = who.offer(name)
        if found is not None or not who.falls_back_to:
            return found
        for other in who.falls_back_to:
            for seller in self.sellers:
                if seller.id == other and (found := seller.offer(name)) is not None:
                    # The tiers are the other seller's own.
                    return msgspec.structs.replace(found, tiers=None)
        return None


_given: PriceList | None = None


@lru_cache(maxsize=4096)
def find_offer(seller: str, model: str) -> Offer | None:
    """Return what a seller offers under a name, or None. Callers choose the names: only so many are remembered."""
    return (_given or _packaged()).find(seller, model)


def use_price_list(document: bytes | None) -> None:
    """From now on let the prices of a document count, or the package's own.

    Raises `ValueError` for a document that is no such list; the prices are then what they were.
    """
    global _given
    given = None if document is None else msgspec.json.decode(document, type=PriceList)
    for clause in given.clauses() if given is not None else ():
        if isinstance(clause, Regex):
            try:
                _compiled(clause.pattern)
            except re.error as error:
                raise ValueError(f"{clause.pattern!r} is no regular expression: {error}") from error
    _given = given
    find_offer.cache_clear()


@cache
def _packaged() -> PriceList:
    return msgspec.json.decode(files("trunkline.policy").joinpath(FILE).read_bytes(), type=PriceList)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _dashed(found: re.Match[str]) -> str:
    """Return ``-2025-01-31`` for ``-20250131``, and what is no date as it is."""
    year, month, day = (int(part) for part in found.groups())
    is_leap_day = (month, day) == (2, 29) and year % 4 == 0
    if day > _DAYS_OF_MONTHS[month - 1] and not is_leap_day:
        return found[0]
    return f"-{year:04d}-{month:02d}-{day:02d}"
