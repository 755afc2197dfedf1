"""The flags for what a gateway keeps of the exchanges that pass it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from trunkline.cli.commands import Flag, taking
from trunkline.errors import SettingsError
from trunkline.policy.logging import LoggingRules

_CLEAR: Final = "none"
_STRATEGIES: Final = {"delete-oldest": "DELETE_OLDEST", "stop": "STOP_INSERTING"}

# By the names of the fields of `LoggingRules`.
_FLAGS: Final[Mapping[str, Flag]] = {
    "collect": Flag("--log/--no-log", "Keep a row of each exchange."),
    "payloads": Flag(
        "--log-payloads/--no-log-payloads",
        "Keep what is said as well: bodies, and what sessions said, without the secrets in it.",
    ),
    "redact_pii": Flag(
        "--log-redact-pii/--no-log-redact-pii",
        "Leave out e-mail addresses, telephone, card and account numbers of what is kept.",
    ),
    "max_rows": Flag("--log-max-rows", "Keep at most so many rows; 'none' for no bound.", "N"),
    "max_age_days": Flag("--log-max-age", "Keep rows so many days; 'none' for no bound.", "30d"),
    "strategy": Flag("--log-strategy", "What happens when --log-max-rows is reached.", "delete-oldest|stop"),
    "usage_in_streams": Flag(
        "--usage-in-streams/--no-usage-in-streams",
        "Ask providers for the usage of streamed chats, and keep it from callers who did not ask.",
    ),
}


def logging_words(rules: LoggingRules) -> str:
    """Return what differs from a new gateway's log, for a list, or nothing."""
    words = [
        "" if rules.collect else "no log",
        "payloads kept" if rules.payloads else "",
        "without personal data" if rules.payloads and rules.redact_pii else "",
        f"log of {rules.max_rows} rows" if rules.max_rows is not None else "",
        "which stops when full" if rules.max_rows is not None and rules.strategy == "STOP_INSERTING" else "",
        f"log of {rules.max_age_days} days" if rules.max_age_days is not None else "",
        "usage asked for in streams" if rules.usage_in_streams else "",
        f"{len(rules.custom_costs)} prices of its own" if rules.custom_costs else "",
    ]
    return ", ".join(word for word in words if word)


def _rules_given(given: Mapping[str, Any]) -> dict[str, Any]:
    rules = dict(given)
    if "max_rows" in rules:
        rules["max_rows"] = _count(rules["max_rows"], "--log-max-rows", "10000")
    if "max_age_days" in rules:
        rules["max_age_days"] = _count(rules["max_age_days"].strip().removesuffix("d"), "--log-max-age", "30d")
    if "strategy" in rules:
        strategy = _STRATEGIES.get(rules["strategy"].strip().lower())
        if strategy is None:
            raise SettingsError(f"--log-strategy: expected {' or '.join(_STRATEGIES)}.")
        rules["strategy"] = strategy
    return rules


def _count(text: str, flag: str, example: str) -> int | None:
    text = text.strip().lower()
    if text == _CLEAR:
        return None
    if not text.isdecimal() or not int(text):
        raise SettingsError(f"{flag}: expected a number such as {example}, or none.")
    return int(text)


# Gives a command these flags; its argument ``logging`` is for `LoggingRules.changed`.
takes_logging: Final = taking("logging", {"Log": _FLAGS}, _rules_given)
