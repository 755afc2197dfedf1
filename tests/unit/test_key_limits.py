"""Limits of single keys: rules of their gateway that name them."""

from __future__ import annotations

import pytest

from trunkline.policy.key_limits import KeyLimit, own_rules, with_key_limits, with_successor, without_key
from trunkline.policy.limits import LimitRule

ADA, BOB, CAT = "key_aaaaaaaaaaaa", "key_bbbbbbbbbbbb", "key_cccccccccccc"
EACH = LimitRule(id="each", measure="requests", limit=5.0, per=("key",))
SHARED = LimitRule(id="team", measure="cost", limit=9.0, where={"key": (ADA, CAT)})
DAILY = KeyLimit(measure="cost", limit=5, window=86_400)


def test_a_key_s_limits_are_rules_beside_the_others_and_are_replaced_whole() -> None:
    rules = with_key_limits((EACH, SHARED), ADA, [DAILY, KeyLimit(measure="requests", limit=10)])
    assert [rule.id for rule in rules] == ["each", "team", f"{ADA}.cost", f"{ADA}.requests"]
    assert [(rule.limit, rule.window, rule.technique) for rule in own_rules(rules, ADA)] == [
        (5, 86_400, "fixed"),
        (10, 60, "sliding"),
    ]
    assert own_rules(rules, CAT) == []
    assert with_key_limits(rules, ADA, []) == (EACH, SHARED)


def test_the_key_that_follows_another_counts_with_it_wherever_that_is_named() -> None:
    rules = with_successor(with_key_limits((EACH, SHARED), ADA, [DAILY]), ADA, BOB)
    assert [rule.where.get("key") for rule in rules] == [None, (ADA, CAT, BOB), (ADA, BOB)]
    changed = with_key_limits(rules, BOB, [KeyLimit(measure="cost", limit=7, window=60)])
    assert [(rule.id, rule.limit, rule.where["key"]) for rule in own_rules(changed, ADA)] == [
        (f"{ADA}.cost", 7, (ADA, BOB))
    ]


def test_a_key_that_is_gone_takes_its_limits_along_but_not_those_of_its_successor() -> None:
    both = with_successor(with_key_limits((SHARED,), ADA, [DAILY]), ADA, BOB)
    left = without_key(both, ADA)
    assert [rule.where["key"] for rule in left] == [(ADA, CAT, BOB), (BOB,)]
    assert [rule.id for rule in without_key(left, BOB)] == ["team"]
    rotated_again = with_successor(both, BOB, "key_dddddddddddd", dead={ADA})
    assert rotated_again[1].where["key"] == (BOB, "key_dddddddddddd")


@pytest.mark.parametrize(
    ("limits", "fault"),
    [
        ([DAILY, DAILY], "each measure once"),
        ([KeyLimit(measure="requests", limit=1.5)], "counted whole"),
        ([KeyLimit(measure="cost", limit=-1)], ">= 0"),
    ],
)
def test_limits_that_no_rule_can_have_are_refused(limits: list[KeyLimit], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        with_key_limits((), ADA, limits)
