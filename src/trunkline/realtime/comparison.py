"""Two reports of what should be the same session, figure by figure: what a change of model or provider made worse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from trunkline.realtime.report import Latency, Report

# Chinese and Japanese put no spaces between words: each of their characters counts as one.
_IDEOGRAPH: Final = "\u3040-\u30ff\u3400-\u9fff"
_WORD: Final = re.compile(rf"[{_IDEOGRAPH}]|[^\W_{_IDEOGRAPH}]+(?:['’][^\W_{_IDEOGRAPH}]+)*")
# The distance of two texts takes their product of steps; what is beyond says nothing new.
_WORDS_COMPARED: Final = 2_000

Unit = Literal["", "ms", "tokens", "USD", "ratio"]


class Tolerances(msgspec.Struct, frozen=True, kw_only=True):
    """How much worse a figure may get before it counts.

    Latencies may grow by a share and, so that noise in small ones does not count, by as many milliseconds besides;
    tokens and cost by a share. ``transcript`` is the highest word error rate of a side's words, counts are absolute.
    """

    turns: int = 0
    interruptions: int = 1
    errors: int = 0
    user_transcript: float = 0.2
    assistant_transcript: float = 0.6
    latency_share: float = 0.25
    latency_ms: float = 100.0
    tokens_share: float = 0.25
    cost_share: float = 0.25


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One row. None where a report has no such figure; ``worse``: beyond what is tolerated."""

    name: str
    before: float | str | None
    after: float | str | None
    unit: Unit = ""
    worse: bool = False


class Comparison(msgspec.Struct, frozen=True):
    """All rows, and whether any of them got worse."""

    figures: tuple[Figure, ...]
    regressed: bool


def compare(before: Report, after: Report, tolerances: Tolerances | None = None) -> Comparison:
    """Return each figure of both reports and whether it got worse beyond its tolerance."""
    allowed = tolerances or Tolerances()
    figures = (
        _count("turns", before.turn_count, after.turn_count, abs(after.turn_count - before.turn_count) > allowed.turns),
        _more("interruptions", before.interruptions, after.interruptions, allowed.interruptions),
        _more("errors", before.error_count, after.error_count, allowed.errors),
        _closing(before, after),
        _transcript("user transcript", _said(before, "user"), _said(after, "user"), allowed.user_transcript),
        _transcript(
            "assistant transcript", _said(before, "assistant"), _said(after, "assistant"), allowed.assistant_transcript
        ),
        _calls(before, after),
        *_latencies("first byte", before.first_byte, after.first_byte, allowed),
        *_latencies("first audio", before.first_audio, after.first_audio, allowed),
        *_latencies("barge-in", before.barge_in, after.barge_in, allowed),
        _share("tokens", before.tokens.total, after.tokens.total, allowed.tokens_share, "tokens"),
        _share("cost", before.cost.total, after.cost.total, allowed.cost_share, "USD"),
    )
    return Comparison(figures, any(figure.worse for figure in figures))


def word_error_rate(reference: str, heard: str) -> float:
    """Return how many words were put in, left out or changed, by the words of the reference; case does not count.

    0.0 for the same words; 1.0 where the reference has none and the other has some. It may exceed 1.0.
    """
    expected, found = _words(reference), _words(heard)
    if not expected:
        return 1.0 if found else 0.0
    return _distance(expected, found) / len(expected)


def _words(text: str) -> list[str]:
    return [word.replace("’", "'") for word in _WORD.findall(text.casefold())][:_WORDS_COMPARED]


def _distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(other) + 1))
    for above, word in enumerate(one, 1):
        diagonal, row[0] = row[0], above
        for column, rival in enumerate(other, 1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (word != rival)),
            )
    return row[-1]


def _said(report: Report, side: Literal["user", "assistant"]) -> str:
    return "\n".join(filter(None, (getattr(turn, side) for turn in report.turns)))


def _count(name: str, before: int, after: int, worse: bool) -> Figure:
    return Figure(name=name, before=before, after=after, worse=worse)


def _more(name: str, before: int, after: int, allowed: int) -> Figure:
    return _count(name, before, after, after - before > allowed)


def _closing(before: Report, after: Report) -> Figure:
    """Compare who closed, and with which code: another end than before is worse, unless it was the client's own."""
    told = [f"{close.by} {close.code}" if (close := report.close) else None for report in (before, after)]
    return Figure(
        name="closed by",
        before=told[0],
        after=told[1],
        worse=told[0] != told[1] and not (after.close is not None and after.close.by == "client"),
    )


def _transcript(name: str, before: str, after: str, allowed: float) -> Figure:
    """Give the word error rate against what was said before, which itself has none."""
    if not before and not after:
        return Figure(name=name, before=None, after=None, unit="ratio")
    rate = round(word_error_rate(before, after), 3)
    return Figure(name=name, before=0.0, after=rate, unit="ratio", worse=rate > allowed)


def _calls(before: Report, after: Report) -> Figure:
    """Compare which functions were called, in order; their arguments are too free to compare."""
    told = [[call.name for turn in report.turns for call in turn.calls] for report in (before, after)]
    shown = [", ".join(_summed(names)) or None for names in told]
    return Figure(name="function calls", before=shown[0], after=shown[1], worse=told[0] != told[1])


def _summed(names: Iterable[str]) -> list[str]:
    """Return names in order, with those that follow each other as one: ``weather ×3``."""
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return [name if times == 1 else f"{name} ×{times}" for name, times in runs]


def _latencies(name: str, before: Latency | None, after: Latency | None, allowed: Tolerances) -> tuple[Figure, ...]:
    """Return the median and the 95th percentile; one that is gone is worse: nothing was answered any more."""
    return tuple(
        _latency(
            f"{name}, {which}",
            getattr(before, member) if before is not None else None,
            getattr(after, member) if after is not None else None,
            allowed,
        )
        for which, member in (("median", "median_ms"), ("p95", "p95_ms"))
    )


def _latency(name: str, before: float | None, after: float | None, allowed: Tolerances) -> Figure:
    if before is None or after is None:
        worse = before is not None and not name.startswith("barge-in")  # nobody has to be interrupted
    else:
        worse = after - before > before * allowed.latency_share + allowed.latency_ms
    return Figure(name=name, before=before, after=after, unit="ms", worse=worse)


def _share(name: str, before: float | None, after: float | None, allowed: float, unit: Unit) -> Figure:
    worse = before is not None and after is not None and after > before * (1 + allowed)
    return Figure(name=name, before=before, after=after, unit=unit, worse=worse)
