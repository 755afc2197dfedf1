"""One cell of the table: what one presentation of a credential came to on one transport."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from trunkline.credentials.matrix import Way

COLUMNS: Final = {
    Way.HTTP: "HTTP",
    Way.SSE: "SSE",
    Way.REALTIME: "WS",
    Way.REALTIME_BROWSER: "WS (browser)",
}
"""The transports a probe knows, and how a table heads them."""

SOCKETS: Final = frozenset({Way.REALTIME, Way.REALTIME_BROWSER})


class Verdict(Enum):
    """What was seen. The order is that of how much it says: see `trunkline.probe.report`."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNCLEAR = "unclear"
    UNREACHABLE = "unreachable"
    SKIPPED = "skipped"
    NOT_APPLICABLE = "not applicable"

    @property
    def word(self) -> str:
        """The verdict for people."""
        return self.value

    @property
    def symbol(self) -> str:
        """One character that is never the only bearer of the meaning."""
        return _SYMBOLS[self]

    @property
    def is_observation(self) -> bool:
        """Whether a request was sent, or tried to be."""
        return self not in (Verdict.SKIPPED, Verdict.NOT_APPLICABLE)


_SYMBOLS: Final = {
    Verdict.ACCEPTED: "✓",
    Verdict.REFUSED: "✗",
    Verdict.UNCLEAR: "?",
    Verdict.UNREACHABLE: "!",
    Verdict.SKIPPED: "○",
    Verdict.NOT_APPLICABLE: "-",
}


class Cell(msgspec.Struct, frozen=True):
    """One observation, fit to be shown to anybody: no field holds a secret.

    ``row`` names the presentation. ``milliseconds`` run from connecting to the first bytes of the answer's body or the
    first message. ``request`` is what was sent, one header a line, each secret replaced by what it is. ``first_frame``
    is the beginning of what came back. ``why`` is a sentence, without its full stop.
    """

    row: str
    way: Way
    verdict: Verdict
    milliseconds: float | None = None
    status: int | None = None
    close_code: int | None = None
    first_frame: str = ""
    request: str = ""
    why: str = ""

    @property
    def detail(self) -> str:
        """The one figure that belongs to the verdict: a time, a status or a close code; often nothing."""
        if self.verdict is Verdict.ACCEPTED and self.milliseconds is not None:
            return f"{self.milliseconds:.0f} ms"
        if self.close_code is not None:
            return str(self.close_code)
        return "" if self.status is None else str(self.status)

    @property
    def words(self) -> str:
        """The verdict with its figure."""
        return f"{self.verdict.word} {self.detail}".rstrip()

    @property
    def mark(self) -> str:
        """The cell for a narrow table that explains its symbols."""
        return f"{self.verdict.symbol} {self.detail}".rstrip()

    @property
    def text(self) -> str:
        """The cell for a table: symbol, word and figure."""
        return f"{self.verdict.symbol} {self.words}"
