"""Words as the full-text index takes them."""

from __future__ import annotations

import pytest

from trunkline.store.full_text import MAX_SEARCHABLE, searchable, spans, terms

TEXTS = ["Plain words, 3 of them_here.", "É café CRÈME", "Straße ½ ﬁn", "私は東京に", "a\u0301b", "x" * 100, "", "!?"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Plain words, 3 of them_here.", "plain words 3 of them here"),
        ("É café CRÈME", "e cafe creme"),
        ("Straße ½ ﬁn", "strasse 12 fin"),
        ("私は東京に", "私 は 東 京 に"),
        ("x" * 100 + " é", "x" * 64 + " e"),
        ("x" * 100, "x" * 64),
        ("!?", ""),
    ],
)
def test_words_are_folded_and_split(text: str, words: str) -> None:
    assert searchable(text) == words


@pytest.mark.parametrize("text", ["Ask me", "it's 10:30, o_k?", "A" * 70 + "-b", "1 2 3"])
def test_plain_text_is_folded_as_any_other(text: str) -> None:
    assert searchable(text) == searchable(text + " ë").removesuffix("e").rstrip()


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_found_by_each_of_its_own_words(text: str) -> None:
    for word in text.split():
        wanted = terms(word)
        assert bool(wanted) == bool(searchable(word))
        assert bool(spans(text, wanted)) == bool(wanted)


def test_places_are_those_of_the_text_as_it_is_written() -> None:
    text = "Der Cafe\u0301-Besuch in 東京都"
    found = [text[begin:end] for begin, end in spans(text, [*terms("café"), *terms("bes"), *terms("東京")])]
    assert found == ["Cafe\u0301", "Besuch", "東京"]


def test_only_the_beginning_of_a_long_text_is_indexed() -> None:
    assert len(searchable("é " * MAX_SEARCHABLE)) <= MAX_SEARCHABLE
    assert "end" not in searchable("a " * MAX_SEARCHABLE + "end")
