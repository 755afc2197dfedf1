"""A gateway's rules made ready: which of them look at which words, and what they find in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from trunkline.policy.guards.checking import Check
from trunkline.policy.guards.data import Personal, Secrets
from trunkline.policy.guards.findings import Finding
from trunkline.policy.guards.injection import Injection
from trunkline.policy.guards.rules import (
    GuardRule,
    InjectionOptions,
    JudgeOptions,
    PersonalOptions,
    SecretsOptions,
    Side,
    TopicsOptions,
)
from trunkline.policy.guards.topics import Topics
from trunkline.policy.guards.words import Speaker, Words


class Guard(msgspec.Struct, frozen=True):
    """One rule. ``check`` is None for one that is judged by a model; ``judge`` are then its options."""

    rule: GuardRule
    check: Check | None
    judge: JudgeOptions | None
    window: int
    include_system: bool

    def hears(self, speaker: Speaker, side: Side) -> bool:
        """Whether the rule is about what somebody said.

        What must not leave counts whoever wrote it. Orders and topics are for those to keep who are not the
        application: what the model said earlier was judged when it said it.
        """
        if side == "response":
            return True
        if speaker == "system":
            return self.include_system
        return speaker != "assistant" or self.rule.is_about_data


class GuardSet:
    """All rules of one gateway that are in force."""

    def __init__(self, rules: Iterable[GuardRule]) -> None:
        guards = [_ready(rule) for rule in rules if rule.enabled]
        self.request = tuple(guard for guard in guards if "request" in guard.rule.sides)
        self.response = tuple(guard for guard in guards if "response" in guard.rule.sides)


def said_to(guard: Guard, words: Iterable[Words], side: Side) -> str:
    """Return what a rule is about, of what was said."""
    return "\n".join(one.text for one in words if guard.hears(one.speaker, side))


def search(guards: Iterable[Guard], words: Sequence[Words], side: Side) -> list[Finding]:
    """Return what the rules that need no model find in words that are complete."""
    texts: dict[tuple[bool, bool], str] = {}
    found: list[Finding] = []
    for guard in guards:
        if guard.check is None:
            continue
        heard = guard.include_system, guard.rule.is_about_data
        if heard not in texts:
            texts[heard] = said_to(guard, words, side)
        kinds = tuple(sorted({match.kind for match in guard.check.search(texts[heard])}))
        if kinds:
            found.append(Finding(guard.rule, side, kinds))
    return found


def _ready(rule: GuardRule) -> Guard:
    check: Check | None = None
    judge: JudgeOptions | None = None
    match rule.check:
        case "secrets":
            check = Secrets(rule.options_as(SecretsOptions))
        case "personal":
            check = Personal(rule.options_as(PersonalOptions))
        case "injection":
            check = Injection(rule.options_as(InjectionOptions))
        case "topics":
            check = Topics(rule.options_as(TopicsOptions))
        case "judge":
            judge = rule.options_as(JudgeOptions)
    common = rule.common()
    return Guard(rule, check, judge, common.window, common.include_system)
