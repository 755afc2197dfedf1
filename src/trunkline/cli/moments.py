"""Times as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from trunkline.errors import SettingsError

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN: Final = re.compile(r"(\d{1,6})([smhdw])")


def moment(text: str, now: float, *, option: str, example: str, is_past: bool) -> float:
    """Return the Unix time of ``30d`` from now or ago, or of a day or moment in ISO 8601 (else in UTC).

    Raises `SettingsError` naming the option, with an example of a span.
    """
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        seconds = int(span[1]) * _UNITS[span[2]]
        return now - seconds if is_past else now + seconds
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise SettingsError(
            f"{option}: {text!r} is neither a time such as {example} nor a day such as 2027-01-31."
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
