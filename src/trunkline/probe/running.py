"""A run: every planned cell asked once, a row at a time."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from trunkline.credentials.matrix import Way
from trunkline.probe.cell import Cell
from trunkline.probe.errors import ProbeError
from trunkline.probe.guard import AddressGuard
from trunkline.probe.keys import Keys, Secrets
from trunkline.probe.observing import Observer
from trunkline.probe.reading import read_failure
from trunkline.probe.report import Report
from trunkline.probe.rows import plan
from trunkline.probe.target import Target
from trunkline.upstream import failures
from trunkline.upstream.connecting import Connector

CELL_SECONDS: Final = 10.0

OnCell = Callable[[Cell], Awaitable[None] | None]


async def run(
    target: Target,
    keys: Keys,
    *,
    allow_billable: bool = False,
    guard: AddressGuard | None = None,
    on_cell: OnCell | None = None,
    rows: Sequence[str] | None = None,
    ways: Sequence[Way] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    seconds: float = CELL_SECONDS,
) -> Report:
    """Ask every cell of `plan` and report; ``on_cell`` is given each as it comes.

    ``guard`` limits where the probe may connect; without one it goes wherever it is sent. The cells of a row are asked
    side by side, each for at most ``seconds``. Cancelling ends it at once; ``on_cell`` has then had the cells that were
    done. Raises `ProbeError` when there is nobody to ask, `AddressRefused` when the guard forbids it, and what
    ``on_cell`` raises; whatever goes wrong with the target after that is a cell's verdict.
    """
    started = datetime.now(UTC)
    planned = plan(target, keys, rows=rows, ways=ways)
    connector = await _reach(target, guard, ssl_context, seconds)
    observer = Observer(target, Secrets(keys), connector, seconds, allow_billable)
    cells: list[Cell] = []
    for _, row in groupby(planned, key=lambda one: one.row.name):
        asked = [asyncio.create_task(observer.observe(one)) for one in row]
        try:
            for next_done in asyncio.as_completed(asked):
                cells.append(await next_done)
                if on_cell is not None and inspect.isawaitable(told := on_cell(cells[-1])):
                    await told
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
    return Report.of(target, planned, cells, started=started, allow_billable=allow_billable)


async def _reach(
    target: Target, guard: AddressGuard | None, ssl_context: ssl.SSLContext | None, seconds: float
) -> Connector:
    """Return what connects to the target, after it has done so once: a wrong address is one error, not a table."""
    try:
        async with asyncio.timeout(seconds):
            if guard is None:
                connector = Connector(ssl_context)
            else:
                connector = await guard.connector(target.origin, ssl_context)
            (await connector.open(target.origin)).close()
    except ProbeError:
        raise
    except Exception as error:
        words = read_failure(failures.connecting(error, target.origin), seconds).why
        raise ProbeError(f"{target.origin} cannot be probed: {words}.") from error
    return connector
