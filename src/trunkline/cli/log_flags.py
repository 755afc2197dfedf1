"""The flags for what a gateway keeps of the exchanges that pass it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

from trunkline.cli.session_flags import taking
from trunkline.errors import SettingsError
from trunkline.policy.logging import LoggingRules

_PANEL: Final = "Log"
_CLEAR: Final = "none"
_STRATEGIES: Final = {"delete-oldest": "DELETE_OLDEST", "stop": "STOP_INSERTING"}


def _option(*flags: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(*flags, help=help, metavar=metavar, rich_help_panel=_PANEL)


# By the names of the fields of `LoggingRules`.
_FLAGS: Final[Mapping[str, Any]] = {
    "collect": Annotated[bool | None, _option("--log/--no-log", help="Keep a row of each exchange.")],
    "payloads": Annotated[
        bool | None,
        _option(
            "--log-payloads/--no-log-payloads",
            help="Keep what is said as well: bodies, and what sessions said, without the secrets in it.",
        ),
    ],
    "redact_pii": Annotated[
        bool | None,
        _option(
            "--log-redact-pii/--no-log-redact-pii",
            help="Leave out e-mail addresses, telephone, card and account numbers of what is kept.",
        ),
    ],
    "max_rows": Annotated[
        str | None, _option("--log-max-rows", metavar="N", help="Keep at most so many rows; 'none' for no bound.")
    ],
    "max_age_days": Annotated[
        str | None, _option("--log-max-age", metavar="30d", help="Keep rows so many days; 'none' for no bound.")
    ],
    "strategy": Annotated[
        str | None,
        _option("--log-strategy", metavar="delete-oldest|stop", help="What happens when --log-max-rows is reached."),
    ],
    "usage_in_streams": Annotated[
        bool | None,
        _option(
            "--usage-in-streams/--no-usage-in-streams",
            help="Ask providers for the usage of streamed chats, and keep it from callers who did not ask.",
        ),
    ],
}


def takes_logging(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command those flags; its argument ``logging`` is for `LoggingRules.changed`."""
    return taking(command, "logging", _FLAGS, _rules_given)


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
