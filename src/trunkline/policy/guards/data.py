"""Checks for data that must not leave: secrets, and what is personal."""

from __future__ import annotations

from collections.abc import Iterator

from trunkline.credentials.personal_data import personal_data_of
from trunkline.credentials.redaction import secrets_in
from trunkline.policy.guards.checking import Match
from trunkline.policy.guards.rules import PersonalOptions, SecretsOptions


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
        self._kinds = frozenset(options.kinds)

    def search(self, text: str) -> Iterator[Match]:
        """Yield what is found."""
        raw = text.encode(errors="replace")
        for kind, found in personal_data_of(self._kinds, raw):
            yield Match(kind, len(raw) - found.start, len(raw) - found.end)
