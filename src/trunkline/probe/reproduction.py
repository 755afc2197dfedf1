"""What two runs say together: the reported fault shows in one gateway, and the other has one result everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from trunkline.credentials.matrix import Presentation, Way
from trunkline.probe.cell import COLUMNS, SOCKETS, Cell, Verdict
from trunkline.probe.report import Report
from trunkline.probe.reports import as_data, cell_data
from trunkline.probe.rows import shows

_FORMAT: Final = 1

REPORTED: Final = {
    ("cf-aig-bearer", Way.HTTP): Verdict.ACCEPTED,
    ("cf-aig-bearer", Way.SSE): Verdict.ACCEPTED,
    ("cf-aig-bearer", Way.REALTIME): Verdict.REFUSED,
    ("protocol-cf-aig", Way.REALTIME_BROWSER): Verdict.REFUSED,
    ("cf-aig-bearer-and-provider-key", Way.HTTP): Verdict.ACCEPTED,
    ("cf-aig-bearer-and-provider-key", Way.SSE): Verdict.ACCEPTED,
    ("cf-aig-bearer-and-provider-key", Way.REALTIME): Verdict.REFUSED,
    ("protocol-cf-aig-and-provider-key", Way.REALTIME_BROWSER): Verdict.ACCEPTED,
}
"""What users reported of good credentials, by row of the matrix: see `trunkline.probe.emulation`."""


@dataclass(frozen=True)
class Reproduction:
    """A run against the emulated gateway (``there``) and the same run against ours (``here``)."""

    there: Report
    here: Report

    @property
    def succeeded(self) -> bool:
        """Whether the fault shows there as it was reported, and each credential has one result everywhere here."""
        return not self.faults

    @cached_property
    def faults(self) -> tuple[str, ...]:
        """What speaks against it, a sentence each."""
        return tuple(self._faults())

    @cached_property
    def breaks(self) -> tuple[Cell, ...]:
        """The cells that are refused there and accepted here, as they are there."""
        accepted = {(cell.row, cell.way) for cell in self.here.cells if cell.verdict is Verdict.ACCEPTED}
        return tuple(
            cell for cell in self.there.cells if cell.verdict is Verdict.REFUSED and (cell.row, cell.way) in accepted
        )

    @cached_property
    def works_there(self) -> tuple[Presentation, ...]:
        """The rows with which the emulated gateway lets a client on a WebSocket."""
        accepted = {cell.row for cell in self.there.cells if cell.verdict is Verdict.ACCEPTED and cell.way in SOCKETS}
        return tuple(row for row in self.there.rows if row.name in accepted)

    def as_data(self) -> dict[str, Any]:
        """Return all of it as plain data. ``format`` changes when a field changes its meaning or goes away."""
        return {
            "format": _FORMAT,
            "reproduced": self.succeeded,
            "faults": list(self.faults),
            "breaks": [cell_data(cell) for cell in self.breaks],
            "emulation": as_data(self.there),
            "trunkline": as_data(self.here),
        }

    def _faults(self) -> Iterator[str]:
        for (row, way), reported in REPORTED.items():
            yield from _unlike(self.there, row, way, reported, "the emulated gateway")
            yield from _unlike(self.here, row, way, Verdict.ACCEPTED, "Trunkline")
        for report, name in ((self.there, "the emulated gateway"), (self.here, "Trunkline")):
            yield from (f"Of {name}: {fault}" for fault in report.control_faults)
        if not self.here.same_everywhere:
            yield f"Of Trunkline: {self.here.conclusion}."


def _unlike(report: Report, name: str, way: Way, wanted: Verdict, who: str) -> Iterator[str]:
    """Yield a sentence when a cell is not what it was to be."""
    row = next(row for row in report.rows if row.name == name)
    cell = report.cell(row, way)
    if cell is None or cell.verdict is not wanted:
        seen = "missing" if cell is None else f"{cell.verdict.word}: {cell.why}"
        yield f"Of {who}: {shows(row)} over {COLUMNS[way]} was to be {wanted.word}, and is {seen}."
