"""docs/security.md names a test for each threat, and the tests are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")


def rows() -> Iterator[tuple[str, str]]:
    """The threats, and what is in the column of tests."""
    is_table = False
    for line in PAGE.splitlines():
        if line.startswith("| Threat |"):
            is_table = True
        elif not line.startswith("|"):
            is_table = False
        elif is_table and not line.startswith("| ---"):
            threat, _, tests = line.strip("| ").split(" | ")
            yield threat, tests


ROWS = list(rows())


def test_the_page_has_its_tables() -> None:
    assert len(ROWS) > 50
    assert len({threat for threat, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("threat", "tests"), ROWS)
def test_each_threat_is_held_by_tests_that_exist(threat: str, tests: str) -> None:
    named = re.findall(r"`([^`]+)`", tests)
    assert named
    assert re.sub(r"`[^`]+`", "", tests).strip(", ") == ""
    for name in named:
        path, _, test = name.partition("::")
        if test:
            source = (ROOT / "tests" / path).read_text("utf-8")
            assert re.search(rf"^def {re.escape(test)}\(", source, re.MULTILINE), name
        else:
            path, _, test = name.partition(": ")
            assert f"('{test}'" in re.sub(r"\.each\(\w+\)", "", (ROOT / path).read_text("utf-8")), name
