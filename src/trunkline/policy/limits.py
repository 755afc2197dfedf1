"""What may be used of a gateway, by whom, in which time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, unquote, urlsplit

import msgspec

from trunkline.policy.facts import Facts, Tag
from trunkline.policy.models import is_allowed
from trunkline.settings import is_loopback_host

Measure = Literal["requests", "tokens", "cost", "concurrent", "minutes"]
Technique = Literal["fixed", "sliding"]

WHOLE: Final[frozenset[Measure]] = frozenset({"requests", "concurrent"})
"""Measures of which there are no parts."""

SPENT: Final[frozenset[Measure]] = frozenset({"tokens", "cost"})
"""Measures that an answer tells: what it used."""

_NAMES: Final = ("key", "user", "provider", "model")
_METADATA: Final = "metadata."
_MOST_NAMES: Final = 8
_MOST_VALUES: Final = 200
# Of a bucket's name: what stands for its values. Longer ones are digested.
_LONGEST_VALUES: Final = 120
# Never the first of an encoded value.
_DIGEST: Final = "="
_DIGEST_DIGITS: Final = 40

# The one rule that Cloudflare's fields `rate_limiting_*` are.
RATE: Final = "rate"
_RATE_FIELDS: Final = ("rate_limiting_interval", "rate_limiting_limit", "rate_limiting_technique")
_SPEND_FIELD: Final = "spend_limits"


_LONGEST_ID: Final = 64


class LimitRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """So much of a measure within a time, for everybody together or for each of some.

    ``cost`` is in US dollars, ``minutes`` are those of realtime sessions. ``window`` is seconds; a fixed one is aligned
    to the clock, a sliding one is the last so many seconds. ``concurrent`` has no window. ``per`` names what has a
    count of its own: ``key``, ``user``, ``provider``, ``model`` or ``metadata.NAME``; ``where`` says which exchanges
    count, by the same names and patterns of values. ``warn_at`` is the part of the limit from which on ``webhook`` is
    told.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    measure: Measure
    limit: Annotated[float, msgspec.Meta(ge=0, le=1e15)]
    window: Annotated[int, msgspec.Meta(ge=1, le=31_622_400)] = 60
    technique: Technique = "fixed"
    per: tuple[Annotated[str, msgspec.Meta(max_length=120)], ...] = ()
    where: dict[str, tuple[str, ...]] = {}
    warn_at: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8
    webhook: Annotated[str, msgspec.Meta(max_length=500)] = ""
    enabled: bool = True

    def __post_init__(self) -> None:
        """Raise `ValueError` naming the field at fault and what it may be."""
        if self.measure in WHOLE and not self.limit.is_integer():
            raise ValueError(f"limit: {self.measure} are counted whole; write a whole number, not {self.limit:g}")
        for field, names in (("per", self.per), ("where", tuple(self.where))):
            if len(names) > _MOST_NAMES or len(set(names)) < len(names):
                raise ValueError(f"{field}: at most {_MOST_NAMES} names, each once")
            unknown = next((name for name in names if not _is_known(name)), None)
            if unknown is not None:
                raise ValueError(
                    f"{field}: {unknown[:80]!r} is none of {', '.join(_NAMES)} and metadata.NAME, a tag of the request"
                )
        for name, values in self.where.items():
            if not 1 <= len(values) <= _MOST_VALUES:
                raise ValueError(f"where.{name}: expected 1 to {_MOST_VALUES} values")
        if self.webhook:
            _check_webhook(self.webhook)

    def applies(self, facts: Facts) -> bool:
        """Whether a request counts. ``model`` takes patterns, also of ``provider/model``; all else is compared."""
        return self.enabled and (
            not self.where
            or all(
                is_allowed(facts.model, values, facts.provider) if name == "model" else value_of(facts, name) in values
                for name, values in self.where.items()
            )
        )


class Bucket(msgspec.Struct, frozen=True):
    """One count of a rule: that of everybody, or that of whom ``values`` name, in the order of the rule's ``per``.

    ``name`` tells it from the gateway's others, and changes with what the rule measures and in which time, so that a
    count is never read as one of another kind.
    """

    gateway: str
    rule: LimitRule
    name: str
    values: tuple[str, ...] = ()

    @property
    def measure(self) -> Measure:
        """What is counted."""
        return self.rule.measure

    @property
    def limit(self) -> float:
        """How much there may be of it."""
        return self.rule.limit

    @property
    def window(self) -> int:
        """Within how many seconds."""
        return self.rule.window

    @property
    def technique(self) -> Technique:
        """Whether the window is aligned to the clock."""
        return self.rule.technique


def buckets(rules: Sequence[LimitRule], facts: Facts) -> list[Bucket]:
    """Return what a request counts in: one bucket of each rule that applies to it.

    A tag that the request lacks has a bucket of its own, that of the empty value.
    """
    found = []
    for rule in rules:
        if rule.applies(facts):
            values = tuple([value_of(facts, name) for name in rule.per])
            found.append(Bucket(facts.gateway, rule, f"{prefix_of(rule)}{_encoded(values)}", values))
    return found


def concerning(rules: Sequence[LimitRule], key: str) -> tuple[LimitRule, ...]:
    """Return those rules that can apply to requests with a gateway key, or with none: most are other keys' own."""
    return tuple([rule for rule in rules if rule.enabled and key in rule.where.get("key", (key,))])


def stored_key_rule(provider: str, alias: str, limit: float | None, period: float | None) -> LimitRule | None:
    """Return the limit of a stored key: so many requests in so many seconds, or None where none is set."""
    if not limit or not period:
        return None
    name = f"stored-key.{provider}.{alias}"
    if len(name) > _LONGEST_ID:
        name = f"stored-key.{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return LimitRule(id=name, measure="requests", limit=limit, window=max(1, int(period)), technique="sliding")


def prefix_of(rule: LimitRule) -> str:
    """Return how the names of a rule's buckets begin."""
    if rule.measure == "concurrent":
        return f"{rule.id}/concurrent/"
    return f"{rule.id}/{rule.measure}/{rule.window}{rule.technique[0]}/"


def window_in(name: str) -> tuple[int, Technique] | None:
    """Return the window (seconds) and technique that a bucket's name tells, or None for ``concurrent``."""
    _, measure, told, *_ = name.split("/")
    if measure == "concurrent":
        return None
    return int(told[:-1]), "sliding" if told[-1] == "s" else "fixed"


def values_in(rule: LimitRule, name: str) -> dict[str, str]:
    """Return what a bucket's name tells of whom it counts, by the names of the rule's ``per``.

    Values that were too long to stand in it are shown as one digest.
    """
    told = name.removeprefix(prefix_of(rule))
    if told.startswith(_DIGEST):
        return dict.fromkeys(rule.per, f"sha256:{told[1:]}")
    return dict(zip(rule.per, map(unquote, told.split(",")), strict=False))


def value_of(facts: Facts, name: str) -> str:
    """Return what a request has under a name of ``per`` and ``where``, as text; empty where it has nothing."""
    match name:
        case "key":
            return facts.key
        case "user":
            return facts.user
        case "provider":
            return facts.provider
        case "model":
            return facts.model
        case _:
            return _text(facts.metadata.get(name.removeprefix(_METADATA), ""))


def _is_known(name: str) -> bool:
    return name in _NAMES or (name.startswith(_METADATA) and len(name) > len(_METADATA))


def _text(value: Tag) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    return str(value)


@lru_cache(maxsize=1024)
def _encoded(values: tuple[str, ...]) -> str:
    joined = ",".join(quote(value, safe="", errors="replace") for value in values)
    if len(joined) <= _LONGEST_VALUES:
        return joined
    # Each with its length, so that no two lists of values run together to the same text.
    whole = "".join(f"{len(value)}:{value}" for value in values).encode(errors="replace")
    return _DIGEST + hashlib.sha256(whole).hexdigest()[:_DIGEST_DIGITS]


def _check_webhook(url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_local = parts.scheme == "http" and is_loopback_host(host)
    if not host or not (parts.scheme == "https" or is_local) or parts.username is not None or not url.isascii():
        raise ValueError("webhook: expected https://HOST/PATH, or http:// at a loopback address, without a password")


# Cloudflare's form


def from_cloudflare(fields: Mapping[str, Any], before: Sequence[LimitRule] = ()) -> tuple[LimitRule, ...]:
    """Return ``before`` with what the fields of Cloudflare's gateway object say; an absent field changes nothing.

    ``rate_limiting_interval`` and ``rate_limiting_limit`` are the rule ``rate``, which is gone when either is 0 or
    null. ``spend_limits`` replaces the rules that `to_cloudflare` shows there; one that keeps its id keeps its webhook.
    Raises `ValueError`, or `msgspec.ValidationError`, for values that no rule can have.
    """
    rules = list(before)
    if any(name in fields for name in _RATE_FIELDS):
        old = next((rule for rule in rules if rule.id == RATE), None)
        rules = [rule for rule in rules if rule.id != RATE]
        rules[:0] = _rate_rule(fields, old)
    if _SPEND_FIELD in fields:
        known = {rule.id: rule for rule in rules}
        rules = [rule for rule in rules if not _is_spend_rule(rule)]
        rules += _spend_rules(fields[_SPEND_FIELD] or {}, known, {rule.id for rule in rules})
    return tuple(rules)


def to_cloudflare(rules: Sequence[LimitRule]) -> dict[str, Any]:
    """Return the fields of Cloudflare's gateway object for the rules that it has words for; others are left out."""
    rate = next((rule for rule in rules if rule.id == RATE and rule.measure == "requests"), None)
    spend = [rule for rule in rules if _is_spend_rule(rule)]
    is_on = rate is not None and rate.enabled
    found: dict[str, Any] = {
        "rate_limiting_interval": rate.window if rate is not None and is_on else None,
        "rate_limiting_limit": int(rate.limit) if rate is not None and is_on else None,
        "rate_limiting_technique": rate.technique if rate is not None else "fixed",
    }
    if spend:
        shown = [_cloudflare_rule(rule) for rule in spend]
        found[_SPEND_FIELD] = {"enabled": any(rule.enabled for rule in spend), "rules": shown}
    return found


def _rate_rule(fields: Mapping[str, Any], old: LimitRule | None) -> list[LimitRule]:
    limit = fields.get("rate_limiting_limit", old.limit if old else 0)
    interval = fields.get("rate_limiting_interval", old.window if old else 0)
    if not limit or not interval:
        return []
    technique = fields.get("rate_limiting_technique") or (old.technique if old else "fixed")
    whole = {} if old is None else msgspec.structs.asdict(old)
    told = {"id": RATE, "measure": "requests", "limit": limit, "window": interval, "technique": technique}
    return [msgspec.convert({**whole, **told, "enabled": True}, LimitRule)]


def _spend_rules(told: Mapping[str, Any], known: Mapping[str, LimitRule], taken: set[str]) -> Iterator[LimitRule]:
    is_on = told.get("enabled") is not False
    rules = told.get("rules") or ()
    taken = taken | {str(rule["id"]) for rule in rules if rule.get("id")}
    number = 0
    for rule in rules:
        name = rule.get("id")
        while not name:
            number += 1
            name = None if f"spend.{number}" in taken else f"spend.{number}"
        per, where = _narrowed(rule)
        old = known.get(name)
        ours = {} if old is None else {"webhook": old.webhook, "warn_at": old.warn_at}
        enabled = is_on and rule.get("enabled") is not False
        technique = rule.get("technique") or "fixed"
        yield msgspec.convert(
            {
                **ours,
                "id": name,
                "measure": "cost",
                "limit": rule["limit"],
                "window": rule["window"],
                "technique": technique,
                "per": per,
                "where": where,
                "enabled": enabled,
            },
            LimitRule,
        )


def _narrowed(rule: Mapping[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    """Return Cloudflare's partitions and filters as ``per`` and ``where``."""
    told = {f"{_METADATA}{name}": one for name, one in (rule.get("metadata") or {}).items()}
    told |= {name: rule[name] for name in ("model", "provider") if rule.get(name)}
    per = [name for name, one in told.items() if one["mode"] == "partition"]
    return per, {name: [_text(value) for value in one["values"]] for name, one in told.items() if name not in per}


def _is_spend_rule(rule: LimitRule) -> bool:
    """Whether Cloudflare has words for a rule: it cannot narrow by key or user, nor both split and filter one name."""
    names = {*rule.per, *rule.where}
    is_expressible = not names & {"key", "user"} and not set(rule.per) & set(rule.where)
    return rule.measure == "cost" and is_expressible


def _cloudflare_rule(rule: LimitRule) -> dict[str, Any]:
    modes: dict[str, Any] = {name: {"mode": "partition"} for name in rule.per}
    modes |= {name: {"mode": "filter", "values": list(values)} for name, values in rule.where.items()}
    shown: dict[str, Any] = {
        "id": rule.id,
        "enabled": rule.enabled,
        "limit": rule.limit,
        "limitType": "cost",
        "window": rule.window,
        "technique": rule.technique,
    }
    metadata = {name.removeprefix(_METADATA): one for name, one in modes.items() if name.startswith(_METADATA)}
    if metadata:
        shown["metadata"] = metadata
    return shown | {name: modes[name] for name in ("model", "provider") if name in modes}
