"""Identifiers: unlike each other, and in the order in which they were made."""

from __future__ import annotations

import re
import time

from trunkline.store.identifiers import ulid


def test_a_ulid_has_26_characters_of_crockfords_alphabet() -> None:
    assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", ulid())


def test_no_two_are_alike_and_later_ones_sort_later() -> None:
    first = [ulid() for _ in range(1000)]
    time.sleep(0.002)
    assert len({*first}) == 1000
    assert max(first) < ulid()
    assert first[0][:10] == max(first)[:10] or first[0] < max(first)
