from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.local.realtime.sentences import PassageCutter, speakable


def cut(text: str, step: int = 3) -> list[str]:
    cutter = PassageCutter()
    passages = [passage for at in range(0, len(text), step) for passage in cutter.feed(text[at : at + step])]
    return [passage.text for passage in passages + cutter.finish()]


def spoken(text: str) -> list[str]:
    cutter = PassageCutter()
    return [passage.speech for passage in cutter.feed(text) + cutter.finish() if passage.speech]


@given(st.text(alphabet=st.sampled_from("abc ABC 1.5 ,;: !? \n`*_#-[]()\"'。"), max_size=200), st.integers(1, 9))
def test_the_passages_joined_are_the_text_however_it_comes(text: str, step: int) -> None:
    assert "".join(cut(text, step)) == text
    assert cut(text, step) == cut(text, 1)


@given(st.integers(1, 300))
def test_no_passage_is_longer_than_forty_words(count: int) -> None:
    assert max(len(passage.split()) for passage in cut("word " * count)) <= 40


def test_text_too_long_is_cut_at_its_last_clause() -> None:
    text = "one " * 30 + "end, " + "two " * 30
    assert cut("Short one. " + text)[1].endswith("end,")


def test_sentences_are_cut_apart() -> None:
    assert cut("It rains. Does it? It does!") == ["It rains.", " Does it?", " It does!"]


def test_the_first_passage_may_be_a_clause_so_that_sound_comes_early() -> None:
    passages = cut("That is a good question, and here is one more, which I like. And one more, too, I think.")
    assert passages == [
        "That is a good question,",
        " and here is one more, which I like.",
        " And one more, too, I think.",
    ]


def test_the_first_passage_may_end_before_a_subordinate_clause_and_sounds_unfinished() -> None:
    text = "A bicycle stays upright because its wheels steer. It goes on and on because it must."
    assert cut(text) == [
        "A bicycle stays upright",
        " because its wheels steer.",
        " It goes on and on because it must.",
    ]
    assert spoken(text)[0] == "A bicycle stays upright,"


def test_a_very_short_clause_is_not_a_passage() -> None:
    assert cut("Well, yes, it is.") == ["Well, yes, it is."]


@pytest.mark.parametrize(
    "sentence",
    [
        "Pi is about 3.14 or so.",
        "It costs $1,250.50 today.",
        "Dr. Smith met Mrs. Jones.",
        "Use fruit, e.g. apples.",
        "The U.S. Army came.",
        "J. R. R. Tolkien wrote it.",
        "Visit example.com now.",
    ],
)
def test_numbers_initials_and_abbreviations_do_not_end_a_sentence(sentence: str) -> None:
    assert cut(sentence) == [sentence]


def test_a_number_may_end_a_sentence() -> None:
    assert cut("It was 1995. Then came more.") == ["It was 1995.", " Then came more."]


def test_a_quotation_keeps_its_closing_mark() -> None:
    assert cut('He said "Stop." Then he left.') == ['He said "Stop."', " Then he left."]


def test_a_line_ends_a_passage_and_a_list_number_does_not() -> None:
    assert cut("Two things\n1. First thing\n2. Second") == ["Two things", "\n1. First thing", "\n2. Second"]


def test_a_passage_is_given_as_soon_as_it_is_complete() -> None:
    cutter = PassageCutter()
    assert cutter.feed("It rains.") == []  # 3. may still become 3.14
    assert [passage.text for passage in cutter.feed(" ")] == ["It rains."]


def test_an_empty_answer_has_no_passages() -> None:
    assert cut("") == []


def test_code_is_shown_and_not_spoken() -> None:
    text = "Try this now:\n```python\nprint('a. b c')\n```\nThat is all."
    assert spoken(text) == ["Try this now:", "That is all."]
    assert "".join(cut(text)) == text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("**bold**, _it_ and `code`.", "bold, it and code."),
        ("***both***", "both"),
        ("## A title", "A title"),
        ("- an item", "an item"),
        ("> a quotation", "a quotation"),
        ("see [the docs](https://x.org/y)", "see the docs"),
        ("see https://example.org/a?b=c", "see example.org"),
        ("![a cat](cat.png)", "a cat"),
        ("| a | b |", "a b"),
        ("|---|---|", ""),
        ("---", ""),
        ("snake_case stays", "snake_case stays"),
        ("1. First", "1. First"),
    ],
)
def test_markdown_is_not_read_out(written: str, said: str) -> None:
    assert speakable(written) == said
