"""Every target, for a moment: on what is kept, and on the same few inputs each time."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import running
from tests.fuzz import target as target_module
from tests.fuzz.__main__ import main
from tests.fuzz.examples import failing_example, try_examples
from tests.fuzz.mutation import mutated
from tests.fuzz.running import failure_of, note_crash
from tests.fuzz.target import CORPUS, SEEDS, NotForThis, Target, json_of
from tests.fuzz.targets import TARGETS
from trunkline.errors import GatewayError

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
def test_a_seed_is_taken_and_not_only_refused(target: Target) -> None:
    """Else what is made of it would never get past the first check."""
    refused: list[BaseException] = []
    for data in target.seeds:
        try:
            target.try_one(data)
        except (NotForThis, *target.refuses) as error:
            refused.append(error)
        else:
            return
    pytest.fail(f"none of the seeds is taken: {refused}")


def test_what_is_kept_belongs_to_a_target() -> None:
    for folder in (CORPUS, SEEDS):
        assert {path.name for path in folder.iterdir()} <= TARGETS.keys()


def _breaks_at_a_word(data: bytes) -> None:
    if b"[DONE]" in json.dumps(json_of(data)).encode():
        raise RuntimeError("the fault")


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target with a fault, which one of many changes shows."""
    for name, module in (("SEEDS", target_module), ("CORPUS", target_module), ("CRASHES", running)):
        monkeypatch.setattr(module, name, tmp_path / name)
    (tmp_path / "SEEDS" / "broken").mkdir(parents=True)
    (tmp_path / "SEEDS" / "broken" / "01.json").write_text('{"type": "x", "said": ["a", "b"]}')
    return Target("broken", _breaks_at_a_word, ["trunkline.wire.universal"])


def test_a_fault_is_found_kept_small_and_seen_again(broken: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = next(found for seed in range(20) if (found := failing_example(broken, examples=100, seed=seed)))
    crash = note_crash(broken, failing)
    assert len(crash.read_bytes()) <= len('{"[DONE]":""}')
    kind, file, _ = failure_of(broken, crash.read_bytes()) or ("", "", 0)
    assert (kind, file) == ("RuntimeError", __file__)
    monkeypatch.setitem(TARGETS, "broken", broken)
    monkeypatch.setattr(sys, "argv", ["fuzz", "broken", str(crash)])
    with pytest.raises(RuntimeError, match="the fault"):
        main()


def test_an_undocumented_refusal_is_a_fault() -> None:
    def refuses(data: bytes) -> None:
        raise GatewayError("I made a mistake.")  # of status 500

    with pytest.raises(AssertionError, match="made a mistake"):
        Target("toy", refuses, [], (GatewayError,)).run(b"{}")


def test_json_that_is_changed_stays_json_and_is_the_same_for_the_same_seed() -> None:
    document = b'{"a": [1, {"b": "c"}], "d": null}'
    changed = [mutated(document, Random(number), ["word"], is_json=True) for number in range(300)]
    assert changed == [mutated(document, Random(number), ["word"], is_json=True) for number in range(300)]
    assert len(set(changed)) > 200
    readable = 0
    for one in changed:
        with suppress(ValueError, RecursionError):
            json.loads(one)
            readable += 1
    assert readable > 250
