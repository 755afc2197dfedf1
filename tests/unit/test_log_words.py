"""Conditions on the log as people type them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import MalformedRequest
from trunkline.server.log_words import FIELDS, conditions_of
from trunkline.server.spreadsheets import cell
from trunkline.store.log_filter import LogFilter, clauses_of

CONSOLE = Path(__file__).parents[2] / "web" / "src" / "core" / "filters.ts"


@pytest.mark.parametrize(
    ("word", "condition"),
    [
        ("model:gpt-4o", ("model", "eq", ["gpt-4o"])),
        ('model:"a b","c,d",e', ("model", "eq", ["a b", "c,d", "e"])),
        ("model:!=a,b", ("model", "neq", ["a", "b"])),
        ("status:>=400", ("status", "gte", ["400"])),
        ("cost:<0.5", ("cost", "lt", ["0.5"])),
        ("duration:>2s", ("duration_ms", "gt", [2000.0])),
        ("ttft:<=350ms", ("first_byte_ms", "lte", [350.0])),
        ("ttft:>350", ("first_byte_ms", "gt", ["350"])),
        ("key:01J", ("key_id", "eq", ["01J"])),
        ("metadata.team:!blue", ("metadata:team", "neq", ["blue"])),
        ("metadata.a.b:=x:y", ("metadata:a.b", "eq", ["x:y"])),
    ],
)
def test_a_word_is_a_condition(word: str, condition: tuple[str, str, list[object]]) -> None:
    (found,) = conditions_of([word])
    assert found == condition
    for dialect in ("sqlite", "postgresql"):
        clauses_of(LogFilter(conditions=[found]), dialect)


@pytest.mark.parametrize("word", ["", "model", "model:", "model:,", "nothing:1", "metadata.:x", ":x", "status >= 4"])
def test_what_is_no_condition_is_refused_with_the_names_there_are(word: str) -> None:
    with pytest.raises(MalformedRequest, match="filter:"):
        conditions_of([word])


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for word in (text, f"model:{text}", f"duration:{text}", f"metadata.{text}"):
        try:
            found = conditions_of([word])
            clauses_of(LogFilter(conditions=found), "sqlite")
        except MalformedRequest:
            pass


def test_the_console_offers_the_same_names() -> None:
    listed = re.search(r"FIELDS = \[(.*?)\]", CONSOLE.read_text(), re.DOTALL)
    assert listed is not None
    assert re.findall(r"'([a-z]+)'", listed[1]) == [*FIELDS]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_is_given_no_formula(text: str) -> None:
    assert cell(text) == "'" + text
    assert cell("gpt-4o") == "gpt-4o"
    assert cell(-1.5) == -1.5
