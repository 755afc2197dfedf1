"""Cloudflare's gateway fields that are views of a gateway's own rules: cache, rate, tries, spending, checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trunkline.errors import MalformedRequest, SettingsError
from trunkline.policy import limits
from trunkline.policy.control import ControlRules
from trunkline.policy.guards import GuardRule
from trunkline.policy.guards import cloudflare as guards

# By Cloudflare's name: the field of `AttemptRules`.
_ATTEMPTS: Final = {"retry_max_attempts": "max_attempts", "retry_delay": "delay", "retry_backoff": "backoff"}
_GUARDS: Final = ("guardrails", "dlp")
_RATE: Final = ("rate_limiting_interval", "rate_limiting_limit")


def control_changes(given: Mapping[str, Any], kept: Mapping[str, Any], rules: ControlRules) -> dict[str, Any]:
    """Return what `ControlRules.changed` takes for the fields that are sent, of a gateway whose fields were ``kept``.

    What a field of null sets is as in a new gateway. Rules that were not made of such fields stay. Raises
    `MalformedRequest` or `SettingsError` naming the field.
    """
    fresh = ControlRules()
    changes: dict[str, Any] = {"cache": {}, "attempts": {}}
    if "cache_ttl" in given:
        changes["cache"]["ttl"] = given["cache_ttl"] or 0
    if "cache_invalidate_on_update" in given:
        changes["cache"]["invalidate_on_update"] = given["cache_invalidate_on_update"]
    for name, field in _ATTEMPTS.items():
        if name in given:
            value = given[name]
            changes["attempts"][field] = getattr(fresh.attempts, field) if value is None else value
    try:
        found = limits.from_cloudflare(given, rules.limits)
    except ValueError as error:  # msgspec's is one too
        raise MalformedRequest(f"spend_limits or rate_limiting: {error}.") from error
    if found != rules.limits:
        changes["limits"] = msgspec.to_builtins(found)
    if any(name in given for name in _GUARDS):
        gone = {rule.id for rule in _guards_of(kept) or ()}
        made = guards.from_cloudflare(*({**kept, **given}.get(name) for name in _GUARDS))
        changes["guards"] = msgspec.to_builtins([*(rule for rule in rules.guards if rule.id not in gone), *made])
    return {name: part for name, part in changes.items() if part or name in ("limits", "guards")}


def acting_fields(rules: ControlRules, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as they act, in the words in which they were given where these say the same."""
    fresh = ControlRules().attempts
    ttl = kept.get("cache_ttl")
    shown: dict[str, Any] = {
        "cache_ttl": ttl if (ttl or 0) == rules.cache.ttl else rules.cache.ttl,
        "cache_invalidate_on_update": rules.cache.invalidate_on_update,
    }
    for name, field in _ATTEMPTS.items():
        value = getattr(rules.attempts, field)
        said = kept.get(name)
        default = getattr(fresh, field)
        if value != (default if said is None else said):
            shown[name] = value
        elif name in kept:
            shown[name] = said
    told = limits.to_cloudflare(rules.limits)
    if told["rate_limiting_limit"] is None and any(not kept.get(name) for name in _RATE):
        told |= {name: kept.get(name) for name in _RATE}  # either 0 or null: which of them makes no difference
    if "rate_limiting_technique" not in kept and told["rate_limiting_technique"] == "fixed":
        del told["rate_limiting_technique"]
    shown |= told
    if "spend_limits" in kept and _says(kept["spend_limits"], rules):
        shown["spend_limits"] = kept["spend_limits"]
    made = _guards_of(kept)
    for name in _GUARDS:
        if name in kept:
            # They have no words for each rule of ours: what was said is shown for as long as all of it acts.
            acts = made is not None and all(rule in rules.guards for rule in made)
            shown[name] = kept[name] if acts else None
    return shown


def _guards_of(kept: Mapping[str, Any]) -> tuple[GuardRule, ...] | None:
    """Return the rules that were made of fields, or None for what no rule can be made of."""
    try:
        return guards.from_cloudflare(*(kept.get(name) for name in _GUARDS))
    except (SettingsError, ValueError):
        return None


def _says(spend_limits: Any, rules: ControlRules) -> bool:
    """Whether the rules are just what a field says."""
    try:
        return limits.from_cloudflare({"spend_limits": spend_limits}, rules.limits) == rules.limits
    except ValueError:
        return False


def named(kept: Mapping[str, Any], rules: ControlRules) -> dict[str, Any]:
    """Return fields just sent, with the names that the spending rules without one were given."""
    told = kept.get("spend_limits") or {}
    given = told.get("rules")
    if not given:
        return dict(kept)
    made = limits.to_cloudflare(rules.limits)["spend_limits"]["rules"]
    rules_named = [{**one, "id": rule["id"]} for one, rule in zip(given, made, strict=True)]
    return {**kept, "spend_limits": {**told, "rules": rules_named}}
