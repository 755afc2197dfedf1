"""From a planned cell to an observed one. The border at which secrets end: a cell may be shown to anybody."""

from __future__ import annotations

from time import perf_counter
from typing import Final

import msgspec
from msgspec.structs import replace

from trunkline.errors import UpstreamError
from trunkline.probe.asking import Question, question
from trunkline.probe.cell import Cell
from trunkline.probe.exchange import HttpAnswer, SocketAnswer, ask
from trunkline.probe.keys import Secrets
from trunkline.probe.reading import BROWSER_CLOSE, browser_fault, read_failure, read_http, read_socket
from trunkline.probe.rows import Planned
from trunkline.probe.target import Target
from trunkline.upstream.connecting import Connector

_MOST_OF_A_FRAME: Final = 300
_MOST_OF_A_REASON: Final = 500
_SWITCHING_PROTOCOLS: Final = 101


class Observer(msgspec.Struct, frozen=True):
    """Asks cells of one run. ``seconds`` is what each may take until its answer begins."""

    target: Target
    secrets: Secrets
    connector: Connector
    seconds: float
    allow_billable: bool

    async def observe(self, planned: Planned) -> Cell:
        """Ask what a cell asks, once; return what came of it. A failure is a verdict too."""
        row, way = planned.row, planned.way
        if planned.verdict is not None:
            return Cell(row.name, way, planned.verdict, why=planned.why)
        asked = question(row, way, self.target, self.secrets, allow_billable=self.allow_billable)
        started = perf_counter()
        try:
            answer = self._scrubbed(await ask(asked, self.connector, self.seconds))
        except (TimeoutError, UpstreamError) as error:
            reading = read_failure(error, self.seconds)
            milliseconds = (perf_counter() - started) * 1000
            return Cell(row.name, way, reading.verdict, milliseconds, why=reading.why, request=asked.shown)
        return self._cell(row.name, asked, answer)

    def _cell(self, row: str, asked: Question, answer: HttpAnswer | SocketAnswer) -> Cell:
        if isinstance(answer, HttpAnswer):
            reading = read_http(answer, asked.way, allow_billable=self.allow_billable)
            status, close_code, frame = answer.status, None, answer.body
        else:
            reading = read_socket(answer, asked.way)
            status, close_code = _SWITCHING_PROTOCOLS, answer.close_code
            if browser_fault(answer, asked.way):
                close_code = BROWSER_CLOSE
            frame = f"({len(answer.frame)} bytes)" if isinstance(answer.frame, bytes) else answer.frame or ""
        return Cell(
            row=row,
            way=asked.way,
            verdict=reading.verdict,
            milliseconds=answer.milliseconds,
            status=status,
            close_code=close_code,
            first_frame=_shortened(frame, _MOST_OF_A_FRAME),
            request=asked.shown,
            why=_shortened(reading.why, _MOST_OF_A_REASON),
        )

    def _scrubbed(self, answer: HttpAnswer | SocketAnswer) -> HttpAnswer | SocketAnswer:
        """Return an answer without the secrets that it echoes, before anything of it is taken apart or shortened."""
        scrub = self.secrets.scrub
        if isinstance(answer, HttpAnswer):
            headers = [(name, scrub(value.decode("latin-1")).encode("latin-1")) for name, value in answer.headers]
            return replace(answer, headers=headers, body=scrub(answer.body))
        frame = scrub(answer.frame) if isinstance(answer.frame, str) else answer.frame
        return replace(answer, frame=frame, close_reason=scrub(answer.close_reason))


def _shortened(text: str, most: int) -> str:
    """Return a text on one line, its end left out where it is long, and without what would move a terminal."""
    line = "".join(character if character.isprintable() else "�" for character in " ".join(text.split()))
    return line if len(line) <= most else f"{line[:most]}…"
