"""The log as it grows, for whoever watches: rows come when they are written, whichever process wrote them.

Nothing happens while nobody watches; who does asks the database once a second for what is new.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec

from trunkline.errors import GatewayError
from trunkline.store import LogFilter, LogRow, Logs

LOOK_SECONDS: Final = 1.0
# A transaction may be committed after one that began later, and clocks of several machines differ.
OVERLAP_SECONDS: Final = 10.0
# Of one look. Nobody reads more in a second, and a list shows them better.
MOST_AT_ONCE: Final = 500
_SILENT_LOOKS: Final = 15


class Tail:
    """What one listener is told. It holds the ids of the last seconds, so that no row comes twice, and no rows."""

    def __init__(self, logs: Logs, since: float | None, *, most: int = MOST_AT_ONCE) -> None:
        """Begin with what was written since ``since``, Unix time; None where nobody knows since when: that is a gap."""
        self._logs = logs
        self._has_gap = since is None
        self._since = time.time() if since is None else since
        self._most = most
        self._told: dict[str, float] = {}

    async def look(self, wanted: LogFilter) -> list[LogRow] | None:
        """Return what is new, in the order in which it was written; None where that is too much to be told."""
        now = time.time()
        if now < self._since:  # the clock was set back
            self._since = now - OVERLAP_SECONDS
        rows = await self._logs.written_since(wanted, self._since, self._told, self._most)
        if rows is None:
            self._since, self._told = now, {}
            return None
        self._told |= {row.id: row.written_at for row in rows}
        self._since = max(self._since, now - OVERLAP_SECONDS)
        self._told = {row: at for row, at in self._told.items() if at >= self._since}
        return rows

    async def events(
        self,
        wanted: Callable[[], LogFilter],
        over: Callable[[float], Awaitable[bool]],
        document: Callable[[LogRow], Any],
    ) -> AsyncIterator[bytes]:
        """Yield server-sent events until ``over``, which waits for so many seconds, says so or ``wanted`` refuses.

        ``rows`` has rows as ``logs``, and the id of the last one as its own; ``gap`` says that there were too many, and
        that a list has them; ``refused`` comes last. A comment after 15 silent looks shows that the line is open.
        """
        yield b"retry: 2000\n\n"
        if self._has_gap:
            yield _event("gap", {})
        silent = 0
        while True:
            try:
                rows = await self.look(wanted())
            except GatewayError as error:
                yield _event("refused", {"message": error.message, "code": error.reason})
                return
            silent += 1
            if rows is None:
                yield _event("gap", {})
            elif rows:
                yield _event("rows", {"logs": [document(row) for row in rows]}, rows[-1].id)
            elif silent >= _SILENT_LOOKS:
                yield b": still here\n\n"
            if rows != [] or silent >= _SILENT_LOOKS:
                silent = 0
            if await over(LOOK_SECONDS):
                return


def _event(name: str, data: Any, id: str = "") -> bytes:
    head = f"id: {id}\n" if id else ""
    return head.encode() + b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
