"""What a gateway does with requests besides passing them on: its flags, and the command ``trunkline limits``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click
import msgspec

from trunkline.cli.commands import Command, Flag, Group, argument, taking
from trunkline.cli.configuration import chosen_settings, with_configuration
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.output import err, out, table
from trunkline.errors import SettingsError
from trunkline.policy.control import ControlRules
from trunkline.policy.limits import LimitRule
from trunkline.policy.registry import GatewayRules
from trunkline.policy.sessions import length_words

if TYPE_CHECKING:
    from trunkline.store import Configuration

application = Group(help="Limit what a gateway's callers may use.")

Value = TypeVar("Value")

_NONE: Final = "none"
_UNITS: Final[Mapping[str, int]] = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


class _Field(NamedTuple):
    part: str  # of `ControlRules`
    field: str
    metavar: str
    help: str
    read: Callable[[str], int | float | str]


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise SettingsError("expected a whole number, or none")
    return int(text)


def _part(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError("expected a number from 0 to 1, or none") from error


def _milliseconds(text: str) -> int:
    return _length(text, "ms")


def _seconds(text: str) -> int:
    found = _length(text, "s")
    if found % 1000:
        raise SettingsError("expected whole seconds")
    return found // 1000


def _length(text: str, usual: str) -> int:
    """Return milliseconds; a number alone is of the unit ``usual``."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = _UNITS.get(text[len(number) :] or usual)
    if not number.isdecimal() or unit is None:
        raise SettingsError(f"expected a number of {usual}, or a length such as 500ms, 20s, 10m, 1h or 1d")
    return int(number) * unit


_FLAGS: Final[Mapping[str, _Field]] = {
    "--cache-ttl": _Field(
        "cache", "ttl", "600|10m", "How long answers are kept to be given again; none: not.", _seconds
    ),
    "--cache-max-bytes": _Field("cache", "max_bytes", "N", "The largest answer that is kept.", _whole_number),
    "--cache-semantic": _Field(
        "cache", "semantic", "0.95", "How alike two questions must be to have one answer; none: the same.", _part
    ),
    "--retries": _Field("attempts", "max_attempts", "0..4", "How often a provider that fails is asked again.", str),
    "--retry-delay": _Field("attempts", "delay", "200|2s", "How long to wait before (ms).", _milliseconds),
    "--backoff": _Field("attempts", "backoff", "constant|linear|exponential", "How that grows.", str),
    "--timeout": _Field(
        "attempts",
        "timeout",
        "20s",
        "How long to wait for the first byte of an answer (ms); none: as upstream.*.",
        _milliseconds,
    ),
    "--hedge": _Field(
        "attempts",
        "hedge",
        "800",
        "After how long without a first byte the same is asked a second time (ms).",
        _milliseconds,
    ),
    "--breaker": _Field(
        "attempts", "breaker", "N", "After how many failures in a row a provider rests.", _whole_number
    ),
    "--breaker-rest": _Field("attempts", "rest", "30s", "How long it rests.", _seconds),
}
_RETRIES: Final = "--retries"
_BACKOFF: Final = "--backoff"
_INVALIDATE: Final = "invalidate_on_update"


def control_words(rules: ControlRules) -> str:
    """Return what is done with requests, for a list, or nothing."""
    cache, attempts = rules.cache, rules.attempts
    words = [
        f"cached {length_words(cache.ttl)}" if cache.ttl else "",
        f"alike from {cache.semantic:g}" if cache.semantic else "",
        f"{attempts.max_attempts - 1} retries" if attempts.max_attempts > 1 else "",
        f"first byte within {attempts.timeout:,} ms" if attempts.timeout else "",
        f"hedged after {attempts.hedge:,} ms" if attempts.hedge else "",
        f"rests after {attempts.breaker} failures" if attempts.breaker else "",
        f"{len(attempts.pools)} pools" if attempts.pools else "",
        f"{len(rules.limits)} limits" if rules.limits else "",
        f"{len(rules.guards)} checks" if rules.guards else "",
    ]
    return ", ".join(word for word in words if word)


@click.command(cls=Command)
@argument("name", help="The gateway's id.")
@click.option(
    "--set",
    "file",
    metavar="FILE|-",
    help="JSON to set: fields of cache and attempts one by one, limits and guards as whole lists.",
)
@click.option("--replace", is_flag=True, help="What --set does not name is set back.")
@data_dir_option
def control(name: str, file: str | None, replace: bool, data_dir: Path | None) -> None:
    """Print what a gateway does with requests as JSON: cache, limits, attempts and guards. Or set it."""
    chosen = chosen_settings(data_dir)
    if replace and file is None:
        raise SettingsError("--replace goes with --set.")
    if file is None:
        found = with_configuration(chosen, lambda configuration: _rules_of(configuration, name))
    else:
        changes = _document(file)
        if replace:
            changes = ControlRules().changed(changes).whole()
        found = with_configuration(
            chosen, lambda configuration: configuration.change_gateway(name, control=changes or None)
        )
        err(f"Gateway {name}: {control_words(found.control) or 'nothing beside passing requests on'}.")
    out(json.dumps(found.control.whole(), indent=2))


@application.command()
@argument("gateway", help="The gateway whose callers are limited.")
@click.option("--measure", required=True, help="requests, tokens, cost (US dollars), concurrent, minutes (realtime).")
@click.option("--limit", type=float, required=True, help="How much of it.")
@click.option("--window", metavar="1m", default="1m", show_default=True, help="In which time; concurrent has none.")
@click.option(
    "--technique",
    default="fixed",
    show_default=True,
    help="fixed: aligned to the clock; sliding: the last so long.",
)
@click.option(
    "--per",
    multiple=True,
    help="What has a count of its own: key, user, provider, model or metadata.NAME. May be repeated.",
)
@click.option(
    "--where",
    metavar="NAME=PATTERN,...",
    multiple=True,
    help="Which requests count, by the same names, such as model=openai/gpt-*. May be repeated.",
)
@click.option("--webhook", metavar="URL", default="", help="Whom to tell when much of it is used.")
@click.option("--warn-at", type=float, default=0.8, show_default=True, help="From which part of the limit on.")
@click.option("--id", help="A name for the rule; by default made of what it limits.")
@data_dir_option
def add(
    gateway: str,
    measure: str,
    limit: float,
    window: str,
    technique: str,
    per: Sequence[str],
    where: Sequence[str],
    webhook: str,
    warn_at: float,
    id: str | None,
    data_dir: Path | None,
) -> None:
    """Add a rule. It counts within a second, in every process."""
    rule: dict[str, Any] = {
        "id": id or _rule_name(measure, window, per),
        "measure": measure,
        "limit": limit,
        "window": _flagged("--window", _seconds, window),
        "technique": technique,
        "per": [*per],
        "where": _patterns(where),
        "warn_at": warn_at,
        "webhook": webhook,
    }
    _checked("the rule", {"limits": [rule]})

    def added(present: ControlRules) -> Mapping[str, Any]:
        if id is None:
            rule["id"] = _free(rule["id"], present.limits)
        return {"limits": [*msgspec.to_builtins(present.limits), rule]}

    with_configuration(
        chosen_settings(data_dir), lambda configuration: configuration.change_gateway(gateway, control=added)
    )
    err(f"Gateway {gateway} has the limit {rule['id']}.")


@application.command("list")
@argument("gateway", required=False, help="Only the limits of this gateway.")
@data_dir_option
def list_(gateway: str | None, data_dir: Path | None) -> None:
    """List the limits."""
    chosen = chosen_settings(data_dir)
    known = with_configuration(chosen, lambda configuration: configuration.gateways())
    found = [(rules.id, rule) for rules in known if gateway in (None, rules.id) for rule in rules.control.limits]
    if not found:
        err("There are no limits. Add one: trunkline limits add GATEWAY --measure requests --limit 100")
        return
    rows = []
    for owner, rule in found:
        where = ", ".join(f"{name} {' or '.join(values)}" for name, values in rule.where.items())
        state = "on" if rule.enabled else "off"
        each = ", ".join(rule.per) or "everybody together"
        rows.append((owner, rule.id, _allows(rule), each, where or "all", state))
    out(table(("gateway", "limit", "allows", "for each", "where", "state"), rows))


@application.command()
@argument("gateway", help="The gateway's id.")
@argument("id", help="The limit's name, from `trunkline limits list`.")
@data_dir_option
def remove(gateway: str, id: str, data_dir: Path | None) -> None:
    """Remove a rule."""

    def left(present: ControlRules) -> Mapping[str, Any]:
        kept = [rule for rule in present.limits if rule.id != id]
        if len(kept) == len(present.limits):
            raise SettingsError(f"Gateway {gateway!r} has no limit {id!r}; see `trunkline limits list`.")
        return {"limits": msgspec.to_builtins(kept)}

    with_configuration(
        chosen_settings(data_dir), lambda configuration: configuration.change_gateway(gateway, control=left)
    )
    err(f"Gateway {gateway} has the limit {id} no more.")


async def _rules_of(configuration: Configuration, name: str) -> GatewayRules:
    found = next((rules for rules in await configuration.gateways() if rules.id == name), None)
    if found is None:
        raise SettingsError(f"There is no gateway {name!r}; see `trunkline gateways list`.")
    return found


def _allows(rule: LimitRule) -> str:
    amount = f"${rule.limit:,g}" if rule.measure == "cost" else f"{rule.limit:,g} {rule.measure}"
    if rule.measure == "concurrent":
        return amount
    within = f"{'any ' if rule.technique == 'sliding' else ''}{length_words(rule.window)}"
    return f"{amount} in {within}"


def _rule_name(measure: str, window: str, per: Sequence[str]) -> str:
    words = [measure, *per, *([] if measure == "concurrent" else [window])]
    return "-".join("".join(char for char in word if char.isalnum() or char in "._") for word in words)[:60]


def _free(name: str, known: Sequence[LimitRule]) -> str:
    taken = {rule.id for rule in known}
    return next(one for one in (name, *(f"{name}-{number}" for number in range(2, 1000))) if one not in taken)


def _patterns(given: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise SettingsError("--where: NAME=PATTERN, such as model=openai/gpt-* or metadata.team=red,blue.")
        found.setdefault(name.strip(), []).extend(one.strip() for one in values.split(",") if one.strip())
    return found


def _document(file: str) -> dict[str, Any]:
    text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file}: not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{file}: expected a JSON object with cache, limits, attempts or guards.")
    return found


def _given(given: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, dict[str, Any]] = {}
    for flag, entry in _FLAGS.items():
        text = given.get(_name(flag))
        if text is None:
            continue
        value = _value(flag, entry, text.strip().lower())
        _checked(flag, {entry.part: {entry.field: value}})
        changes.setdefault(entry.part, {})[entry.field] = value
    if given.get(_INVALIDATE) is not None:
        changes.setdefault("cache", {})[_INVALIDATE] = given[_INVALIDATE]
    return changes


def _value(flag: str, entry: _Field, text: str) -> int | float | str:
    if flag == _RETRIES:
        retries = 0 if text == _NONE else _flagged(flag, _whole_number, text)
        if retries > 4:
            raise SettingsError(f"{flag}: expected 0 to 4.")
        return retries + 1
    if text == _NONE and flag != _BACKOFF:
        return 0
    return _flagged(flag, entry.read, text)


def _flagged(flag: str, read: Callable[[str], Value], text: str) -> Value:
    try:
        return read(text)
    except SettingsError as error:
        raise SettingsError(f"{flag}: {error}.") from error


def _checked(what: str, changes: Mapping[str, Any]) -> None:
    try:
        ControlRules().changed(changes)
    except SettingsError as error:
        raise SettingsError(f"{what}: {str(error).removeprefix('control: ')}") from error


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


# Gives a command these flags; its argument ``control`` is for `ControlRules.changed`.
takes_control: Final = taking(
    "control",
    {
        "Cache and tries": {
            **{_name(flag): Flag(flag, entry.help, entry.metavar) for flag, entry in _FLAGS.items()},
            _INVALIDATE: Flag(
                "--cache-invalidate/--no-cache-invalidate", "Whether a change of the gateway empties its cache."
            ),
        }
    },
    _given,
)
