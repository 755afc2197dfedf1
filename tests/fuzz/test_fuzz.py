"""Every target, for a moment: on what is kept, and on the same few inputs each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.examples import failing_example, try_examples
from tests.fuzz.mutation import mutated
from tests.fuzz.running import failure_of, note_crash
from tests.fuzz.target import CORPUS, NotForThis, Target
from tests.fuzz.targets import TARGETS

# Inputs in which a fault was found take as long as they take; of those that are drawn there are only a few.
EXAMPLES = 25

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@every_target
def test_seeds_and_what_is_kept_are_taken_as_they_should_be(target: Target) -> None:
    for data in [*target.seeds, *(path.read_bytes() for path in target.kept)]:
        target.run(data)


@every_target
def test_a_few_other_inputs_are_taken_as_they_should_be(target: Target) -> None:
    try_examples(target, examples=EXAMPLES)


@every_target
def test_a_seed_is_an_input_of_its_target(target: Target) -> None:
    def try_one() -> None:
        try:
            target.try_one(target.seeds[0])
        except target.refuses as error:
            pytest.fail(f"the first seed is refused: {error}")
        except NotForThis:
            pytest.fail("the first seed is none of its inputs")

    try_one()


def test_what_is_kept_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= TARGETS.keys()


def _fails_on_a_word(data: bytes) -> None:
    assert b"zyx" not in data
