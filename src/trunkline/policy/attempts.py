"""How often a provider is asked before the answer is that it has none, and which of several keys is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from trunkline.errors import MalformedRequest
from trunkline.policy.usage.request import Kind
from trunkline.wire.documents import UNREADABLE
from trunkline.wire.head import Head

# Longer than this nobody waits for a provider that says when to come back.
LONGEST_WAIT: Final = 60.0
# So many parts of a delay are left to chance, so that those who failed together do not come back together.
_JITTER: Final = 0.25

# A later try may go better: the request took too long (408), met another one in the same place (409, which OpenAI's and
# Anthropic's clients repeat as well), came too early (425) or too often (429); the provider failed (500) or those in
# front of it did (502 to 504, and Cloudflare's 520 to 524); it is overloaded (529, Anthropic).
RETRYABLE: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
# These say something of the key that was shown: it is not good, not paid for, not for this, or used too much.
OF_THE_KEY: Final = frozenset({401, 402, 403, 429})

# Segments, none of which climbs out of another.
_SEGMENT: Final = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._~@:-]+"
_PATH: Final = rf"^(?:{_SEGMENT}(?:/{_SEGMENT})*)?$"

Backoff = Literal["constant", "linear", "exponential"]


class Member(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One of several places for the same work: a stored key by its alias, or another provider with its own.

    ``model`` is asked for instead of the request's. ``path`` stands instead of as many leading segments of the path as
    it has itself: where a provider has the region, the resource or the deployment there, it names another.
    """

    alias: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "default"
    provider: Annotated[str, msgspec.Meta(max_length=64)] = ""
    model: Annotated[str, msgspec.Meta(max_length=200)] = ""
    path: Annotated[str, msgspec.Meta(max_length=300, pattern=_PATH)] = ""
    weight: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1.0


class Pool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who shares the requests for ``provider``, for models that fit ``model`` (``*`` stands for anything).

    ``weighted`` shares them by weight, ``least-busy`` gives to whom has the fewest open exchanges for its weight,
    ``latency`` to whom begins its answers soonest.
    """

    provider: str
    model: str = "*"
    strategy: Literal["weighted", "least-busy", "latency"] = "weighted"
    members: Annotated[tuple[Member, ...], msgspec.Meta(min_length=1, max_length=100)]


class AttemptRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A gateway's tries. ``delay`` and ``timeout`` are milliseconds; a timeout ends with the first byte, 0 is none.

    ``hedge`` is after how many milliseconds without a first byte the same is asked a second time, 0 is never.
    ``breaker`` is after how many failures in a row a provider rests, 0 is never, and ``rest`` for how many seconds.
    """

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    delay: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    backoff: Backoff = "constant"
    timeout: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 0
    hedge: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    breaker: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    rest: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 30
    pools: tuple[Pool, ...] = ()


def attempt_rules(head: Head, rules: AttemptRules) -> AttemptRules:
    """Return a gateway's rules with what a request's own headers say instead.

    Raises `MalformedRequest` naming the header, what is wrong with its value, and the range.
    """
    said: dict[str, Any] = {}
    for name, (field, least, most, unit) in _NUMBERS.items():
        value = head.header(name)
        if value is not None:
            said[field] = _number(name.decode(), value.strip(), least, most, unit)
    backoff = head.header(_BACKOFF_HEADER)
    if backoff is not None:
        said["backoff"] = _backoff(backoff.strip().lower())
    return msgspec.structs.replace(rules, **said) if said else rules


def delay_ms(rules: AttemptRules, attempt: int, chance: float, retry_after: float | None) -> float:
    """Return how many milliseconds to wait after the try of this number, the first being 1, before the next.

    The delay grows as the rules say, up to a minute, and a quarter of it either way is left to ``chance`` (0 to 1).
    ``retry_after`` are the seconds that the provider asked for: it is not asked earlier. Infinity says that it would be
    too long to wait.
    """
    if retry_after is not None and retry_after > LONGEST_WAIT:
        return math.inf
    growth = {"constant": 1, "linear": attempt, "exponential": 1 << (attempt - 1)}[rules.backoff]
    delay = rules.delay * growth * (1 + _JITTER * (2 * chance - 1))
    return min(max(delay, (retry_after or 0.0) * 1000), LONGEST_WAIT * 1000)


def is_retryable(status: int) -> bool:
    """Whether the same request may be answered better when it is sent again."""
    return status in RETRYABLE


def is_to_be_repeated(status: int, headers: Mapping[bytes, str]) -> bool:
    """As `is_retryable`, unless the provider itself says of this answer whether the request is to be sent again.

    ``headers`` are those of the answer, names in lower case: OpenAI and Anthropic have one for that.
    """
    said = headers.get(b"x-should-retry", "").strip().lower()
    return status >= _FIRST_ERROR and (said == "true" or (said != "false" and is_retryable(status)))


def seconds_said(headers: Mapping[bytes, str]) -> float | None:
    """Return for how many seconds a provider asks to be left alone, where it says so as a number."""
    for name, unit in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if value.replace(".", "", 1).isdecimal() and len(value) <= _MOST_DIGITS and value.isascii():
            return float(value) / unit
    return None


def is_hedgeable(method: str, kind: Kind, path: str, body: bytes) -> bool:
    """Whether the same request may be under way twice: it leaves nothing behind but its cost.

    That is what computes an answer and keeps none. A response or conversation that the provider stores is another one
    each time it is asked for.
    """
    if method != "POST" or kind not in _COMPUTES:
        return False
    stores = kind == "responses" or path.partition("?")[0].endswith("interactions")
    try:
        said = _stores.decode(body).store
    except UNREADABLE:
        return False
    return said is False or (said is None and not stores)


_COMPUTES: Final[frozenset[Kind]] = frozenset({"chat", "completion", "responses", "embeddings", "moderation", "rerank"})
_BACKOFF_HEADER: Final = b"cf-aig-backoff"
_NUMBERS: Final = {
    b"cf-aig-request-timeout": ("timeout", 1, 600_000, " milliseconds"),
    b"cf-aig-max-attempts": ("max_attempts", 1, 5, ""),
    b"cf-aig-retry-delay": ("delay", 0, 60_000, " milliseconds"),
}
_FIRST_ERROR: Final = 400
_MOST_DIGITS: Final = 15
_SHOWN: Final = 40


class _Stores(msgspec.Struct):
    store: Any = None


_stores: Final = msgspec.json.Decoder(_Stores)


def _number(name: str, value: str, least: int, most: int, unit: str) -> int:
    allowed = f"Give a whole number from {least} to {most}{unit}."
    if not value:
        raise MalformedRequest(f"The header {name} is empty. {allowed}")
    if not (value.isascii() and value.isdecimal()):
        raise MalformedRequest(f"The header {name} is {value[:_SHOWN]!r}, which is no whole number. {allowed}")
    if len(value) > _MOST_DIGITS or not least <= int(value) <= most:
        raise MalformedRequest(f"The header {name} is {value[:_SHOWN]}, which is out of range. {allowed}")
    return int(value)


def _backoff(value: str) -> Backoff:
    match value:
        case "constant" | "linear" | "exponential":
            return value
        case _:
            raise MalformedRequest(
                f"The header cf-aig-backoff is {value[:_SHOWN]!r}. Give one of constant, linear and exponential."
            )
