"""Cloudflare's guardrails and DLP policies as rules of ours.

Profiles whose names speak of what is known here become rules; any other is refused, so that nobody relies on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from trunkline.errors import SettingsError
from trunkline.policy.guards.rules import Action, CheckName, GuardRule, Side

# The kinds of harm as MLCommons lists them, in our words.
HAZARDS: Final[Mapping[str, str]] = {
    "S1": "violent crime: planning, praising or helping with violence against people or animals",
    "S2": "non-violent crime: fraud, theft, drugs, weapons, hacking, trafficking goods",
    "S3": "sex crimes: trafficking, assault, harassment",
    "S4": "child sexual exploitation in any form",
    "S5": "defamation: false claims about a living person that harm their reputation",
    "S6": "specialized advice: medical, legal or financial advice as if by a professional, or danger called safe",
    "S7": "privacy: private facts about a person that could hurt them",
    "S8": "intellectual property: copying what belongs to others",
    "S9": "indiscriminate weapons: chemical, biological, radiological, nuclear or high-yield explosive",
    "S10": "hate: demeaning people for what they are, such as race, religion, sex or disability",
    "S11": "suicide and self-harm: encouraging or helping with it, eating disorders included",
    "S12": "sexual content: erotica",
    "S13": "elections: false claims about how, when or where to vote",
}
_INJECTION: Final = "P1"
_SIDES: Final[Mapping[str, Side]] = {"prompt": "request", "response": "response"}
_CHECKS: Final[Mapping[str, Side]] = {"REQUEST": "request", "RESPONSE": "response"}
_ACTIONS: Final[Mapping[str, Action]] = {"FLAG": "flag", "BLOCK": "block"}

# What words of a profile's name mean: a check, and its kinds where it is about some only.
_PROFILES: Final[Sequence[tuple[re.Pattern[str], CheckName, tuple[str, ...]]]] = (
    (re.compile(r"credential|secret|api.?key|token|source.?code"), "secrets", ()),
    (re.compile(r"financ|bank"), "personal", ("card", "iban")),
    (re.compile(r"card|pci"), "personal", ("card",)),
    (re.compile(r"iban"), "personal", ("iban",)),
    (re.compile(r"social.?security|ssn|national.?id|tax|insurance"), "personal", ("national_id", "ssn")),
    (re.compile(r"e-?mail"), "personal", ("email",)),
    (re.compile(r"phone|telephone"), "personal", ("phone",)),
    (re.compile(r"\bip\b|ip.?address"), "personal", ("ip",)),
    (re.compile(r"personal|pii|contact|customer|gdpr|private"), "personal", ()),
)
_KNOWN: Final = (
    "names that speak of credentials, secrets, financial information, cards, IBAN, social security, e-mail, phone, IP"
    " addresses or personal data"
)
_NO_ID: Final = re.compile(r"[^A-Za-z0-9._-]+")


def from_cloudflare(
    guardrails: Mapping[str, Any] | None, dlp: Mapping[str, Any] | None, *, provider: str = "local", model: str = ""
) -> tuple[GuardRule, ...]:
    """Return the rules for a gateway's two fields as the API has them, in either form of ``dlp``.

    ``provider`` and ``model`` judge the kinds of harm. Raises `SettingsError` for a profile that is not known here.
    """
    return (*_of_guardrails(guardrails or {}, provider, model), *_of_dlp(dlp or {}))


def _of_guardrails(guardrails: Mapping[str, Any], provider: str, model: str) -> Iterator[GuardRule]:
    for place, side in _SIDES.items():
        wanted: Mapping[str, Any] = guardrails.get(place) or {}
        for said, action in _ACTIONS.items():
            hazards = {name: HAZARDS[name] for name in HAZARDS if wanted.get(name) == said}
            if hazards:
                options: dict[str, Any] = {"provider": provider, "model": model, "categories": hazards}
                yield GuardRule(
                    id=f"guardrails-{place}-{action}", check="judge", action=action, sides=(side,), options=options
                )
            if wanted.get(_INJECTION) == said:
                yield GuardRule(id=f"guardrails-{place}-injection", check="injection", action=action, sides=(side,))


def _of_dlp(dlp: Mapping[str, Any]) -> Iterator[GuardRule]:
    is_enabled = dlp.get("enabled") is not False
    policies = dlp.get("policies")
    if policies is None:
        policies = [{"id": "dlp", "check": [*_CHECKS], **dlp}] if dlp.get("profiles") else []
    taken: set[str] = set()
    for policy in policies:
        sides = tuple(_CHECKS[check] for check in policy.get("check") or _CHECKS if check in _CHECKS)
        wanted: dict[CheckName, set[str] | None] = {}
        for profile in policy.get("profiles") or ():
            check, kinds = _check_of(profile)
            known = wanted.get(check, set())
            # None stands for all kinds.
            wanted[check] = None if not kinds or known is None else {*known, *kinds}
        for check, found in wanted.items():
            name = _free(f"{_NO_ID.sub('-', str(policy['id']))[:48]}-{check}", taken)
            yield GuardRule(
                id=name,
                check=check,
                action=_ACTIONS[policy["action"]],
                sides=sides,
                options={"kinds": sorted(found)} if found else {},
                enabled=is_enabled and policy.get("enabled") is not False,
            )


def _check_of(profile: str) -> tuple[CheckName, tuple[str, ...]]:
    lower = profile.lower().replace("_", " ")
    for pattern, check, kinds in _PROFILES:
        if pattern.search(lower):
            return check, kinds
    raise SettingsError(f"dlp: the profile {profile[:100]!r} is not known here. Known are {_KNOWN}.")


def _free(name: str, taken: set[str]) -> str:
    """Return a name that no other rule has."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free
