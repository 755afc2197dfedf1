"""What commands print: tables, and how far something is."""

from __future__ import annotations

import io
import os
import sys

import click
import pytest

from trunkline.cli.output import Progress, facts, styled, table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "40")


def lines(text: str) -> list[str]:
    return click.unstyle(text).split("\n")


def test_columns_are_as_wide_as_their_widest_cell_and_the_last_one_ends_with_its_text() -> None:
    assert lines(table(("id", "model", ""), [("1", "gpt-4o", "a b"), ("key_2", "", "c"), ("3", "", "")])) == [
        "id     model",
        "1      gpt-4o  a b",
        "key_2          c",
        "3",
    ]


def test_a_wide_character_takes_two_places_and_one_that_stands_over_another_none() -> None:
    assert lines(table(("name", "of"), [("日本", "x"), ("e\u0301te\u0301", "y")])) == [
        "name  of",
        "日本  x",
        "e\u0301te\u0301   y",
    ]


def test_styles_take_no_place_and_numbers_end_together() -> None:
    rows = [(styled("red", fg="red"), "5"), ("blue", "1,234")]
    assert lines(table(("colour", "count"), rows, right=("count",))) == [
        "colour  count",
        "red         5",
        "blue    1,234",
    ]


def test_a_cell_of_several_lines_is_one_row() -> None:
    assert lines(table(("way", "seen"), [("HTTP\nSSE", "yes\nno"), ("WS", "no")])) == [
        "way   seen",
        "HTTP  yes",
        "SSE   no",
        "WS    no",
    ]


def test_what_no_person_looks_at_is_never_cut_off_or_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert lines(table(("id", "words"), [("1", "word " * 50)])) == ["id  words", "1   " + ("word " * 50).rstrip()]


def test_a_terminal_has_the_widest_column_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_narrow_terminal(monkeypatch)
    shown = lines(table(("id", "words", "state"), [("1", "word " * 10, "on"), ("2", "short", "off")]))
    assert shown == [
        "id  words                          state",
        "1   word word word word word word  on",
        "    word word word word",
        "2   short                          off",
    ]


def test_what_has_no_room_even_so_goes_beyond_and_keeps_its_words_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_narrow_terminal(monkeypatch)
    address = "https://gateway.example.org/v1/account/default"
    assert lines(facts([("base URL", address)])) == [f"base URL  {address}"]


def test_nothing_to_show_is_no_line() -> None:
    assert facts([]) == ""
    assert lines(table(("id", "name"), [])) == ["id  name"]


def test_colours_are_left_out_for_who_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert styled("worse", fg="red") != "worse"
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("worse", fg="red") == "worse"


def test_how_far_something_is_changes_in_one_line_and_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress() as progress:
        progress.show("1 of 2")
        progress.say("fetching the second")
        progress.show("2 of 2")
    written = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert written.split("\r\x1b[K") == ["", "1 of 2", f"fetching the second{os.linesep}", "2 of 2", ""]


def test_what_is_no_terminal_has_messages_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.show("1 of 2")
        progress.say("fetching the second")
    assert capsys.readouterr().err == "fetching the second\n"
