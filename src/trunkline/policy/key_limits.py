"""Limits that single gateway keys have of everything they call: rules of their gateway that name them.

Such a rule is called ``key_0123456789ab.cost``: after the first key that it was for, and what it measures. A key that
follows another one when that is rotated is named beside it, so that both count together and rotating gives nobody a new
budget.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, Literal, get_args

import msgspec

from trunkline.policy.limits import LimitRule

KeyMeasure = Literal["requests", "tokens", "cost", "concurrent"]

_OWN: Final = re.compile(rf"key_[0-9a-f]{{12}}\.(?:{'|'.join(get_args(KeyMeasure))})")


class KeyLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So much of a measure within ``window`` seconds; ``concurrent`` has no window."""

    measure: KeyMeasure
    limit: float
    window: int = 60


def own_rules(rules: Sequence[LimitRule], key_id: str) -> list[LimitRule]:
    """Return the rules that are a key's own."""
    return [rule for rule in rules if _is_own(rule, key_id)]


def with_key_limits(rules: Sequence[LimitRule], key_id: str, wanted: Sequence[KeyLimit]) -> tuple[LimitRule, ...]:
    """Return the rules with a key's own replaced. Raises `ValueError` for limits that no rule can have.

    A rule of the same measure keeps its name, and the other keys that it counts.
    """
    measures = [limit.measure for limit in wanted]
    if len(set(measures)) < len(measures):
        raise ValueError("limits: each measure once")
    old = {rule.measure: rule for rule in own_rules(rules, key_id)}
    new: dict[str, LimitRule] = {limit.measure: _rule(limit, key_id, old.get(limit.measure)) for limit in wanted}
    kept = [new.pop(rule.measure, None) if _is_own(rule, key_id) else rule for rule in rules]
    return (*(rule for rule in kept if rule is not None), *new.values())


def with_successor(rules: Sequence[LimitRule], old: str, new: str, dead: Collection[str] = ()) -> tuple[LimitRule, ...]:
    """Return the rules with a key named wherever another one is. Of ``dead`` keys the others' own rules are rid."""
    return tuple(_succeeded(rules, old, new, dead))


def without_key(rules: Sequence[LimitRule], key_id: str) -> tuple[LimitRule, ...]:
    """Return the rules without a key's own, but for those that count other keys too."""
    return tuple(_bereft(rules, key_id))


def _succeeded(rules: Sequence[LimitRule], old: str, new: str, dead: Collection[str]) -> Iterator[LimitRule]:
    for rule in rules:
        named = rule.where.get("key", ())
        if old not in named:
            yield rule
            continue
        kept = [one for one in named if one not in dead] if _is_own(rule, old) else named
        yield _for_keys(rule, (*kept, new))


def _bereft(rules: Sequence[LimitRule], key_id: str) -> Iterator[LimitRule]:
    for rule in rules:
        left = tuple(one for one in rule.where.get("key", ()) if one != key_id)
        if not _is_own(rule, key_id):
            yield rule
        elif left:
            yield _for_keys(rule, left)


def _is_own(rule: LimitRule, key_id: str) -> bool:
    return key_id in rule.where.get("key", ()) and not rule.per and _OWN.fullmatch(rule.id) is not None


def _rule(limit: KeyLimit, key_id: str, old: LimitRule | None) -> LimitRule:
    # Money is counted from a time that can be told; of what is meant by the minute no burst fits in twice.
    technique = "fixed" if limit.measure == "cost" else "sliding"
    told: dict[str, Any] = {"id": f"{key_id}.{limit.measure}", "where": {"key": (key_id,)}}
    if old is not None:
        told = msgspec.structs.asdict(old)
    told |= {"technique": technique, "enabled": True, **msgspec.structs.asdict(limit)}
    return msgspec.convert(told, LimitRule)


def _for_keys(rule: LimitRule, keys: Sequence[str]) -> LimitRule:
    return msgspec.structs.replace(rule, where={**rule.where, "key": tuple(keys)})
