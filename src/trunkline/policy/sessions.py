"""What a gateway lets realtime sessions do: their limits, and how the gateway treats them.

Both have a form for people and for JSON: a quota is written ``10/minute`` or ``5/10m``, a length of time ``30m`` or as
a number of seconds. `SessionLimits.changed` and `RealtimeRules.changed` read it, ``document`` writes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from trunkline.errors import SettingsError
from trunkline.providers import Catalogue

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000}
_SHORT: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST_WINDOW: Final = _SECONDS["month"]
"""Seconds: usage further back is forgotten."""

_QUOTA: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?/ ?(\d{0,7}) ?([a-z]+)")
_LENGTH: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?([smhdw]?)")


class Quota(msgspec.Struct, frozen=True):
    """So much of something within any stretch of so many seconds."""

    limit: float
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Quota:
        """Read ``10/minute``, ``5/10m`` or ``2.5/30 days``. Raises `SettingsError`."""
        found = _QUOTA.fullmatch(text.strip().lower())
        unit = None if found is None else _SHORT.get(found[3]) or _SECONDS.get(found[3].removesuffix("s"))
        if found is None or unit is None:
            raise SettingsError(
                f"{text[:80]!r} is no quota; write so much per time, such as 10/minute, 5/day or 5/10m (a second,"
                " minute, hour, day, week or month of 30 days)."
            )
        quota = cls(float(found[1]), int(found[2] or 1) * unit)
        if not quota.limit or not 0 < quota.seconds <= LONGEST_WINDOW:
            raise SettingsError(f"{text[:80]!r}: a quota is more than nothing, in at most 30 days.")
        return quota

    def __str__(self) -> str:
        limit = f"{self.limit:.6f}".rstrip("0").rstrip(".")
        whole = next((name for name, seconds in _SECONDS.items() if seconds == self.seconds), None)
        return f"{limit}/{whole or length_words(self.seconds)}"


def length_words(seconds: float) -> str:
    """Return a length of time as people write it: ``30m``."""
    for unit, size in reversed(_SHORT.items()):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


class SessionLimits(msgspec.Struct, frozen=True):
    """What each key may use of realtime; None is no limit.

    ``max_duration`` and ``idle`` are seconds of one session; ``concurrent`` counts open sessions; ``sessions`` those
    opened, ``minutes`` the time they are open, ``tokens`` and ``budget`` (US dollars) what they use.
    """

    max_duration: float | None = None
    idle: float | None = None
    concurrent: int | None = None
    sessions: Quota | None = None
    minutes: Quota | None = None
    tokens: Quota | None = None
    budget: Quota | None = None

    def changed(self, changes: Mapping[str, Any]) -> SessionLimits:
        """Return the limits with some set, as people or JSON write them; None clears one. Raises `SettingsError`."""
        values: dict[str, Any] = {}
        for name, value in _known(changes, _LIMITS, "limit").items():
            try:
                values[name] = None if value is None else _LIMITS[name](value)
            except SettingsError as error:
                raise SettingsError(f"{name}: {error}") from error
        return replace(self, **values)

    def document(self) -> dict[str, Any]:
        """Return the limits that are set, for JSON."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {
            name: str(value) if isinstance(value, Quota) else value
            for name, value in values.items()
            if value is not None
        }


NO_LIMITS: Final = SessionLimits()


class RealtimeRules(msgspec.Struct, frozen=True):
    """One gateway's switches for realtime.

    ``beta_bridge`` translates for clients of OpenAI's retired dialect; ``resume`` dials again when a provider is lost
    in a session, then ``fallbacks`` (``provider/model``) in turn; ``record`` keeps both sides' audio.
    """

    limits: SessionLimits = NO_LIMITS
    beta_bridge: bool = True
    resume: bool = True
    fallbacks: tuple[str, ...] = ()
    record: bool = False

    def changed(self, changes: Mapping[str, Any]) -> RealtimeRules:
        """Return the switches with some set; what is absent stays, in ``limits`` too. Raises `SettingsError`."""
        values: dict[str, Any] = {}
        for name, value in _known(changes, _RULES, "switch").items():
            try:
                values[name] = self.limits.changed(value) if name == "limits" else _RULES[name](value)
            except SettingsError as error:
                raise SettingsError(f"{name}: {error}") from error
        return replace(self, **values)

    def document(self) -> dict[str, Any]:
        """Return every switch, for JSON."""
        return {
            "limits": self.limits.document(),
            "beta_bridge": self.beta_bridge,
            "resume": self.resume,
            "fallbacks": list(self.fallbacks),
            "record": self.record,
        }


class PastUsage(msgspec.Struct, frozen=True):
    """What a gateway key (``key_id``, empty for callers without one) had used of realtime by the Unix time ``at``.

    ``sessions`` are those that began then; ``cost`` is in US dollars.
    """

    gateway: str
    key_id: str
    at: float
    sessions: int = 0
    minutes: float = 0.0
    tokens: int = 0
    cost: float = 0.0


def merged(gateway: SessionLimits, key: SessionLimits) -> SessionLimits:
    """Return the limits of one key: its own where they are set, else its gateway's."""
    own = {name: getattr(key, name) for name in key.__struct_fields__}
    return replace(gateway, **{name: value for name, value in own.items() if value is not None})


def parse_limit(name: str, value: Any) -> float | int | Quota:
    """Return one of the `SessionLimits` by its name. Raises `SettingsError`, without naming the limit."""
    return _LIMITS[name](value)


def checked_fallbacks(names: Sequence[str], catalogue: Catalogue) -> tuple[str, ...]:
    """Return fallbacks with their providers' slugs. Raises `SettingsError` for one that could not take a session."""
    found = []
    for name in names:
        slug, _, model = name.strip().partition("/")
        provider = catalogue.find(slug)
        if not model:
            raise SettingsError(f"Fallback {name[:200]!r}: write provider/model, such as openai/gpt-realtime.")
        if provider is None:
            raise SettingsError(
                f"Fallback {name[:200]!r}: there is no provider {slug!r}; docs/providers.md lists them."
            )
        if not provider.has_realtime:
            raise SettingsError(
                f"Fallback {name[:200]!r}: {provider.name} does not speak OpenAI's realtime protocol, so no session can"
                " go on there."
            )
        found.append(f"{provider.slug}/{model}")
    return tuple(dict.fromkeys(found))


def _known(changes: Any, names: Mapping[str, object], what: str) -> Mapping[str, Any]:
    if not isinstance(changes, Mapping):
        raise SettingsError(f"expected an object with a {what} by each name, not {type(changes).__name__}.")
    for name in changes:
        if name not in names:
            raise SettingsError(
                f"There is no {what} {str(name)[:80]!r} of realtime sessions. Known: {', '.join(names)}."
            )
    return changes


def _length(value: Any) -> float:
    seconds = value
    if isinstance(value, str):
        found = _LENGTH.fullmatch(value.strip().lower())
        seconds = None if found is None else float(found[1]) * _SHORT[found[2] or "s"]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise SettingsError(f"{str(value)[:80]!r} is no length of time; write 90s, 30m or a number of seconds.")
    return float(seconds)


def _count(value: Any) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()) else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise SettingsError(f"{str(value)[:80]!r} is no number of sessions; write a whole one from 1.")
    return number


def _quota(value: Any) -> Quota:
    return value if isinstance(value, Quota) else Quota.parse(str(value))


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"expected true or false, not {str(value)[:80]!r}.")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise SettingsError("expected a list of provider/model.")
    return tuple(value)


_LIMITS: Final[Mapping[str, Callable[[Any], float | int | Quota]]] = {
    "max_duration": _length,
    "idle": _length,
    "concurrent": _count,
    "sessions": _quota,
    "minutes": _quota,
    "tokens": _quota,
    "budget": _quota,
}
_RULES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "limits": lambda value: value,
    "beta_bridge": _switch,
    "resume": _switch,
    "fallbacks": _names,
    "record": _switch,
}
