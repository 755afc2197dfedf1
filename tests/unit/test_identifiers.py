"""Identifiers: unlike each other, and in the order in which they were made."""

from __future__ import annotations

import os
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


def test_a_process_that_is_forked_makes_others_than_its_parent() -> None:
    ulid()  # so that there is a supply of random numbers to inherit
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, "".join(ulid()[10:] for _ in range(20)).encode())
        os._exit(0)
    own = {ulid()[10:] for _ in range(20)}
    os.waitpid(child, 0)
    told = os.read(reading, 4096).decode()
    os.close(reading)
    os.close(writing)
    assert len(told) == 20 * 16
    assert own.isdisjoint(told[at : at + 16] for at in range(0, len(told), 16))
