"""The flags for what realtime sessions may use and how a gateway treats them: the same for every command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, Final, NamedTuple, get_type_hints

import typer

from trunkline.errors import SettingsError
from trunkline.policy.sessions import Quota, RealtimeRules, SessionLimits, length_words, parse_limit

_CLEAR: Final = "none"


class _LimitFlag(NamedTuple):
    flag: str
    metavar: str
    help: str
    words: str  # of a limit that is set


# By the limit's own name.
_LIMITS: Final[Mapping[str, _LimitFlag]] = {
    "max_duration": _LimitFlag("--max-session", "30m", "How long a session may be open.", "at most {} long"),
    "idle": _LimitFlag("--idle", "2m", "How long nothing may happen in a session.", "{} idle"),
    "concurrent": _LimitFlag("--concurrent-sessions", "N", "How many may be open at once.", "{} at once"),
    "sessions": _LimitFlag("--sessions", "10/minute", "How many may be opened.", "sessions {}"),
    "minutes": _LimitFlag("--session-minutes", "600/day", "How long they may be open together.", "minutes {}"),
    "tokens": _LimitFlag("--tokens", "40000/minute", "How many tokens they may use.", "tokens {}"),
    "budget": _LimitFlag("--budget", "5/day", "What they may cost, in US dollars.", "dollars {}"),
}
_PANEL: Final = "Limits of realtime sessions, each key's; 'none' clears one"
_SWITCH_PANEL: Final = "Realtime sessions"
_SWITCHES: Final[Mapping[str, Any]] = {
    "beta_bridge": Annotated[
        bool | None,
        typer.Option(
            "--beta-bridge/--no-beta-bridge",
            help="Translate for clients of OpenAI's retired beta protocol.",
            rich_help_panel=_SWITCH_PANEL,
        ),
    ],
    "resume": Annotated[
        bool | None,
        typer.Option(
            "--resume/--no-resume",
            help="Dial again when a provider is lost within a session.",
            rich_help_panel=_SWITCH_PANEL,
        ),
    ],
    "fallbacks": Annotated[
        str | None,
        typer.Option(
            "--fallbacks",
            metavar="PROVIDER/MODEL,...",
            help="Who takes a session, in turn, when its provider is lost or cannot be reached; 'none' for nobody.",
            rich_help_panel=_SWITCH_PANEL,
        ),
    ],
    "record": Annotated[
        bool | None,
        typer.Option(
            "--record/--no-record",
            help="Keep all that both sides say, sound included, in the data directory.",
            rich_help_panel=_SWITCH_PANEL,
        ),
    ],
}


def takes_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for every limit; its argument ``limits`` is what `SessionLimits.changed` takes."""
    return taking(command, "limits", {name: _annotation(name) for name in _LIMITS}, _limits_given)


def takes_realtime(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command those of the limits and switches; its argument ``realtime`` is for `RealtimeRules.changed`."""
    return taking(command, "realtime", {**_SWITCHES, **{name: _annotation(name) for name in _LIMITS}}, _rules_given)


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


def _annotation(limit: str) -> Any:
    entry = _LIMITS[limit]
    return Annotated[
        str | None, typer.Option(entry.flag, metavar=entry.metavar, help=entry.help, rich_help_panel=_PANEL)
    ]


def taking(
    command: Callable[..., None], argument: str, flags: Mapping[str, Any], gather: Callable[[dict[str, Any]], Any]
) -> Callable[..., None]:
    """Give a command ``flags``, by the names of what they set; ``argument`` is what ``gather`` makes of those given."""
    kinds = get_type_hints(command, include_extras=True)
    own = [
        entry.replace(annotation=kinds[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, entry in inspect.signature(command).parameters.items()
        if name != argument
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in flags.items()
    ]

    @wraps(command)
    def wrapped(**given: Any) -> None:
        picked = {name: given.pop(name, None) for name in flags}
        command(**given, **{argument: gather({name: value for name, value in picked.items() if value is not None})})

    parameters = [*own, *added]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {entry.name: entry.annotation for entry in parameters}
    del wrapped.__wrapped__  # whose flags would be read instead
    return wrapped


def _limits_given(given: Mapping[str, str]) -> dict[str, float | int | Quota | None]:
    limits: dict[str, float | int | Quota | None] = {}
    for name, text in given.items():
        try:
            limits[name] = None if text.strip().lower() == _CLEAR else parse_limit(name, text)
        except SettingsError as error:
            raise SettingsError(f"{_LIMITS[name].flag}: {error}") from error
    return limits


def _rules_given(given: Mapping[str, Any]) -> dict[str, Any]:
    rules = {name: value for name, value in given.items() if name in _SWITCHES}
    if "fallbacks" in rules:
        text = rules["fallbacks"].strip()
        rules["fallbacks"] = [] if text.lower() == _CLEAR else [one for one in text.split(",") if one.strip()]
    limits = _limits_given({name: value for name, value in given.items() if name in _LIMITS})
    return {**rules, **({"limits": limits} if limits else {})}
