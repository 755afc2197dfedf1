"""The flags for what realtime sessions may use and how a gateway treats them: the same for every command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from trunkline.cli.commands import Flag, taking
from trunkline.errors import SettingsError
from trunkline.policy.sessions import Quota, RealtimeRules, SessionLimits, length_words, parse_limit

_CLEAR: Final = "none"


class _Limit(NamedTuple):
    flag: Flag
    words: str  # of a limit that is set


# By the limit's own name.
_LIMITS: Final[Mapping[str, _Limit]] = {
    "max_duration": _Limit(Flag("--max-session", "How long a session may be open.", "30m"), "at most {} long"),
    "idle": _Limit(Flag("--idle", "How long nothing may happen in a session.", "2m"), "{} idle"),
    "concurrent": _Limit(Flag("--concurrent-sessions", "How many may be open at once.", "N"), "{} at once"),
    "sessions": _Limit(Flag("--sessions", "How many may be opened.", "10/minute"), "sessions {}"),
    "minutes": _Limit(Flag("--session-minutes", "How long they may be open together.", "600/day"), "minutes {}"),
    "tokens": _Limit(Flag("--tokens", "How many tokens they may use.", "40000/minute"), "tokens {}"),
    "budget": _Limit(Flag("--budget", "What they may cost, in US dollars.", "5/day"), "dollars {}"),
}
_LIMIT_FLAGS: Final = {
    "Limits of realtime sessions, each key's; 'none' clears one": {name: limit.flag for name, limit in _LIMITS.items()}
}
# By the names of the fields of `RealtimeRules`.
_SWITCHES: Final[Mapping[str, Flag]] = {
    "beta_bridge": Flag("--beta-bridge/--no-beta-bridge", "Translate for clients of OpenAI's retired beta protocol."),
    "resume": Flag("--resume/--no-resume", "Dial again when a provider is lost within a session."),
    "fallbacks": Flag(
        "--fallbacks",
        "Who takes a session, in turn, when its provider is lost or cannot be reached; 'none' for nobody.",
        "PROVIDER/MODEL,...",
    ),
    "record": Flag("--record/--no-record", "Keep all that both sides say, sound included, in the data directory."),
}


def limits_words(limits: SessionLimits) -> str:
    """Return the limits that are set, for a list, or nothing."""
    return ", ".join(
        entry.words.format(length_words(value) if isinstance(value, float) else value)
        for name, entry in _LIMITS.items()
        if (value := getattr(limits, name)) is not None
    )


def realtime_words(rules: RealtimeRules) -> str:
    """Return what differs from a new gateway's switches for realtime, for a list, or nothing."""
    words = [
        *([] if rules.beta_bridge else ["no beta bridge"]),
        *([] if rules.resume else ["no resuming"]),
        *([f"falls back to {' '.join(rules.fallbacks)}"] if rules.fallbacks else []),
        *(["recorded"] if rules.record else []),
        limits_words(rules.limits),
    ]
    return ", ".join(word for word in words if word)


def _limits_given(given: Mapping[str, str]) -> dict[str, float | int | Quota | None]:
    limits: dict[str, float | int | Quota | None] = {}
    for name, text in given.items():
        try:
            limits[name] = None if text.strip().lower() == _CLEAR else parse_limit(name, text)
        except SettingsError as error:
            raise SettingsError(f"{_LIMITS[name].flag.declaration}: {error}") from error
    return limits


def _rules_given(given: Mapping[str, Any]) -> dict[str, Any]:
    rules = {name: value for name, value in given.items() if name in _SWITCHES}
    if "fallbacks" in rules:
        text = rules["fallbacks"].strip()
        rules["fallbacks"] = [] if text.lower() == _CLEAR else [one for one in text.split(",") if one.strip()]
    limits = _limits_given({name: value for name, value in given.items() if name in _LIMITS})
    return {**rules, **({"limits": limits} if limits else {})}


# Gives a command a flag for every limit; its argument ``limits`` is what `SessionLimits.changed` takes.
takes_limits: Final = taking("limits", _LIMIT_FLAGS, _limits_given)
# Gives a command those and the switches; its argument ``realtime`` is for `RealtimeRules.changed`.
takes_realtime: Final = taking("realtime", {"Realtime sessions": _SWITCHES, **_LIMIT_FLAGS}, _rules_given)
