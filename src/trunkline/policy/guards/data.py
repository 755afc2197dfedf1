"""Checks for data that must not leave: secrets, and what is personal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from trunkline.credentials.personal_data import PersonalData
from trunkline.credentials.redaction import secrets_in
from trunkline.policy.guards.checking import Match
from trunkline.policy.guards.rules import PersonalOptions, SecretsOptions

# Spaces and hyphens that models and word processors write within numbers.
_TYPED: Final = tuple(zip("\u00a0\u2007\u2009\u202f\u2010\u2011\u2012\u2013", "    ----", strict=True))


class Secrets:
    """Finds keys by their shape, and values that are named as secrets."""

    def __init__(self, options: SecretsOptions) -> None:
        self._kinds = frozenset(options.kinds)

    def search(self, text: str) -> Iterator[Match]:
        """Yield what is found."""
        raw = text.encode(errors="replace")
        for kind, found in secrets_in(raw):
            if not self._kinds or kind in self._kinds:
                yield Match(kind, len(raw) - found.start, len(raw) - found.end)


class Personal:
    """Finds data of people by its form and its check digits."""

    def __init__(self, options: PersonalOptions) -> None:
        self._data = PersonalData(options.kinds, countries=options.countries, regions=options.regions)

    def search(self, text: str) -> Iterator[Match]:
        """Yield what is found."""
        if not text.isascii():
            for printed, typed in _TYPED:
                text = text.replace(printed, typed)
        raw = text.encode(errors="replace")
        for kind, found in self._data.search(raw):
            yield Match(kind, len(raw) - found.start, len(raw) - found.end)
