"""Inputs as hypothesis draws them: those of a target's seeds and corpus, each changed a few times, and any bytes."""

from __future__ import annotations

from random import Random

import hypothesis
from hypothesis import strategies as st

from tests.fuzz.mutation import mutated
from tests.fuzz.target import Target


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Return a strategy for the inputs of a target."""
    beginnings = [*target.seeds, *(path.read_bytes() for path in target.kept)]
    changes = st.lists(st.integers(0, 2**32 - 1), max_size=6)
    changed = st.builds(lambda data, numbers: _changed(target, data, numbers), st.sampled_from(beginnings), changes)
    return changed | st.binary(max_size=100)


def _changed(target: Target, data: bytes, numbers: list[int]) -> bytes:
    for number in numbers:
        data = mutated(data, Random(number), target.words, is_json=target.is_json)
    return data


def try_examples(target: Target, *, examples: int, seed: int | None = None) -> None:
    """Try so many inputs: the same ones each time, or those of a seed."""

    @hypothesis.settings(
        max_examples=examples,
        derandomize=seed is None,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(inputs(target))
    def try_one(data: bytes) -> None:
        target.run(data)

    (try_one if seed is None else hypothesis.seed(seed)(try_one))()


def failing_example(target: Target, *, examples: int, seed: int) -> bytes | None:
    """Return the smallest of the inputs for which a target fails, or None."""
    failing: list[bytes] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(inputs(target))
    def try_one(data: bytes) -> None:
        try:
            target.run(data)
        except Exception:
            failing.append(data)
            raise

    try:
        try_one()
    except Exception:
        return min(failing, key=len, default=None)
    return None
