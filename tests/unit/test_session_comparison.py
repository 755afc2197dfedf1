"""Two reports are compared figure by figure, and what got worse beyond its tolerance is a regression."""

from __future__ import annotations

import msgspec
import pytest

from trunkline.realtime.comparison import Comparison, Figure, Tolerances, compare, word_error_rate
from trunkline.realtime.report import Close, Cost, FunctionCall, Latency, Report, Turn
from trunkline.realtime.usage import Tokens

BEFORE = Report(
    protocol="openai",
    model="gpt-realtime",
    turns=(
        Turn(index=0, started_ms=0, user="What is the weather in Oslo?", calls=(FunctionCall("weather", "{}", 2),)),
        Turn(index=1, started_ms=9, assistant="It is raining in Oslo, take an umbrella."),
    ),
    turn_count=2,
    first_byte=Latency(2, 300.0, 500.0),
    first_audio=Latency(2, 400.0, 600.0),
    tokens=Tokens(input_audio=600, output_audio=400),
    cost=Cost(total=0.05),
    close=Close(by="client", code=1000, reason=""),
)


def changed(**members: object) -> Report:
    return msgspec.structs.replace(BEFORE, **members)


def figure(comparison: Comparison, name: str) -> Figure:
    return next(figure for figure in comparison.figures if figure.name == name)


def worse(after: Report, **tolerances: float) -> set[str]:
    comparison = compare(BEFORE, after, Tolerances(**tolerances))  # type: ignore[arg-type]
    found = {figure.name for figure in comparison.figures if figure.worse}
    assert comparison.regressed == bool(found)
    return found


def test_a_session_is_no_worse_than_itself() -> None:
    assert worse(BEFORE) == set()


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ({"turn_count": 1}, {"turns"}),
        ({"turn_count": 3}, {"turns"}),
        ({"interruptions": 1}, set()),
        ({"interruptions": 2}, {"interruptions"}),
        ({"error_count": 1}, {"errors"}),
        ({"close": Close(by="provider", code=1011, reason="")}, {"closed by"}),
        ({"close": None}, {"closed by"}),
        ({"close": Close(by="client", code=1001, reason="")}, set()),
        ({"first_audio": Latency(2, 599.0, 849.0)}, set()),  # 400 + 25 % + 100 ms are 600; 600 so are 850
        ({"first_audio": Latency(2, 601.0, 851.0)}, {"first audio, median", "first audio, p95"}),
        ({"first_audio": Latency(2, 100.0, 110.0)}, set()),
        ({"first_audio": None}, {"first audio, median", "first audio, p95"}),
        ({"barge_in": Latency(1, 9000.0, 9000.0)}, set()),  # nothing to compare with
        ({"tokens": Tokens(input_audio=850, output_audio=400)}, set()),
        ({"tokens": Tokens(input_audio=851, output_audio=400)}, {"tokens"}),
        ({"cost": Cost(total=0.07)}, {"cost"}),
        ({"cost": Cost(total=None)}, set()),
        ({"turns": (BEFORE.turns[0],)}, {"assistant transcript"}),
        ({"turns": (msgspec.structs.replace(BEFORE.turns[0], calls=()), BEFORE.turns[1])}, {"function calls"}),
    ],
)
def test_what_got_worse_is_named(members: dict[str, object], names: set[str]) -> None:
    assert worse(changed(**members)) == names


def test_tolerances_are_arguments() -> None:
    slow = changed(first_audio=Latency(2, 450.0, 600.0), interruptions=5)
    assert worse(slow, latency_ms=0, latency_share=0.1, interruptions=5) == {"first audio, median"}


def test_transcripts_are_compared_by_their_words() -> None:
    heard = msgspec.structs.replace(BEFORE.turns[0], user="what is the weather in Bergen")
    comparison = compare(BEFORE, changed(turns=(heard, BEFORE.turns[1])))
    row = figure(comparison, "user transcript")
    assert (row.before, row.after, row.unit, row.worse) == (0.0, 0.167, "ratio", False)
    assert figure(comparison, "function calls").before == "weather"


def test_repeated_calls_are_shown_short() -> None:
    calls = tuple(FunctionCall(name, "{}", 2) for name in ("weather", "weather", "stop"))
    again = changed(turns=(msgspec.structs.replace(BEFORE.turns[0], calls=calls), BEFORE.turns[1]))
    assert figure(compare(BEFORE, again), "function calls").after == "weather ×2, stop"


def test_a_comparison_is_plain_data() -> None:
    comparison = compare(BEFORE, changed(error_count=3))
    assert msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison) == comparison


@pytest.mark.parametrize(
    ("reference", "heard", "rate"),
    [
        ("one two three four", "one two three four", 0.0),
        ("One, two; THREE. Four!", "one two three four", 0.0),
        ("one two three four", "one two four", 0.25),
        ("one two three four", "one two five three four", 0.25),
        ("one two three four", "one six three seven", 0.5),
        ("one", "two three", 2.0),
        ("don’t", "don't", 0.0),
        ("今天天气", "今天天天", 0.25),
        ("one", "", 1.0),
        ("", "one", 1.0),
        ("", "", 0.0),
    ],
)
def test_the_word_error_rate(reference: str, heard: str, rate: float) -> None:
    assert word_error_rate(reference, heard) == rate
