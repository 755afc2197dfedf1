"""What a run comes to: whether one credential had one result everywhere, and whether that means anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import cached_property
from itertools import groupby

from trunkline.credentials.matrix import Presentation, Secret, Way
from trunkline.probe.cell import COLUMNS, Cell, Verdict
from trunkline.probe.rows import Planned, credential, credential_words, is_control, shows
from trunkline.probe.target import Target


class ExitStatus(IntEnum):
    """What the command's exit status says."""

    SAME = 0
    DIFFERS = 1
    NOTHING_SEEN = 2
    MEANS_NOTHING = 3


@dataclass(frozen=True)
class Report:
    """The cells of a run, in the order of the table; fewer than planned where it was stopped.

    ``rows`` and ``columns`` span the table. ``started`` is the time in UTC.
    """

    target: Target
    rows: tuple[Presentation, ...]
    columns: tuple[Way, ...]
    cells: tuple[Cell, ...]
    started: datetime
    allow_billable: bool = False

    @classmethod
    def of(
        cls,
        target: Target,
        planned: Sequence[Planned],
        cells: Iterable[Cell],
        *,
        started: datetime,
        allow_billable: bool = False,
    ) -> Report:
        """Put observed cells, in any order, into the table that was planned."""
        seen = {(cell.row, cell.way): cell for cell in cells}
        places = [(one.row.name, one.way) for one in planned]
        return cls(
            target=target,
            rows=tuple(row for row, _ in groupby(one.row for one in planned)),
            columns=tuple(dict.fromkeys(one.way for one in planned)),
            cells=tuple(seen[place] for place in places if place in seen),
            started=started,
            allow_billable=allow_billable,
        )

    def cell(self, row: Presentation, way: Way) -> Cell | None:
        """Return one cell; None when the run was stopped before it."""
        return self._by_place.get((row.name, way))

    @cached_property
    def is_complete(self) -> bool:
        """Whether every planned cell is there."""
        return len(self.cells) == len(self.rows) * len(self.columns)

    @cached_property
    def differing(self) -> tuple[Cell, ...]:
        """The cells whose credential did better in another one."""
        return tuple(cell for _, cells in self._comparable for cell in cells if cell.verdict is not _best(cells))

    @cached_property
    def same_everywhere(self) -> bool | None:
        """Whether each credential came to the same in every cell; None when there was nothing to compare."""
        return not self.differing if self._comparable else None

    @property
    def controls_hold(self) -> bool:
        """Whether a wrong key was refused in every column in which anything was accepted."""
        return not self.control_faults

    @cached_property
    def control_faults(self) -> tuple[str, ...]:
        """What is wrong with the control rows, in sentences."""
        accepted = [way for way in self.columns if Verdict.ACCEPTED in self._controls(way)]
        unproven = [
            way
            for way in self.columns
            if way not in accepted and self._accepts_anything(way) and set(self._controls(way)) != {Verdict.REFUSED}
        ]
        faults = []
        if accepted:
            faults.append(f"A wrong key was accepted ({_listed(accepted)}): the greens there mean nothing.")
        if unproven:
            faults.append(
                f"A wrong key was not seen to be refused ({_listed(unproven)}): the greens there mean nothing."
            )
        return tuple(faults)

    @property
    def exit_status(self) -> ExitStatus:
        """The result as one number."""
        if not any(cell.verdict in (Verdict.ACCEPTED, Verdict.REFUSED) for cell in self.cells):
            return ExitStatus.NOTHING_SEEN
        if not self.controls_hold:
            return ExitStatus.MEANS_NOTHING
        if self.same_everywhere is None:
            return ExitStatus.NOTHING_SEEN
        return ExitStatus.SAME if self.same_everywhere else ExitStatus.DIFFERS

    @property
    def conclusion(self) -> str:
        """The result as one line."""
        match self.same_everywhere, len(self.differing):
            case None, _:
                answer = "nothing to compare"
            case True, _:
                answer = "yes"
            case _, 1:
                answer = "no (1 cell differs)"
            case _, many:
                answer = f"no ({many} cells differ)"
        return f"Same credential, same result everywhere: {answer}"

    @property
    def explanations(self) -> tuple[str, ...]:
        """A sentence for each differing cell."""
        places = {row.name: shows(row) for row in self.rows}
        return tuple(
            f"{places[cell.row]} over {COLUMNS[cell.way]}: {cell.words}. Elsewhere the same credential"
            f" ({credential_words(shown)}) is {_best(cells).word}. Here, {cell.why}."
            for shown, cells in self._comparable
            for cell in cells
            if cell in self.differing
        )

    @property
    def left_out(self) -> tuple[str, ...]:
        """A sentence for each reason for which rows were skipped."""
        reasons = dict.fromkeys(cell.why for cell in self.cells if cell.verdict is Verdict.SKIPPED)
        return tuple(f"Skipped: {reason}." for reason in reasons)

    @cached_property
    def _by_place(self) -> dict[tuple[str, Way], Cell]:
        return {(cell.row, cell.way): cell for cell in self.cells}

    @cached_property
    def _comparable(self) -> list[tuple[frozenset[Secret], list[Cell]]]:
        """Each credential with its observed cells, where there are two or more of them.

        That a wrong key is refused everywhere is for the controls to say. That no key is refused everywhere is no
        evidence: it would also be so if nothing worked at all.
        """
        groups = []
        for shown in dict.fromkeys(credential(row) for row in self.rows if not is_control(row)):
            cells = [cell for row in self.rows if credential(row) == shown for cell in self._observed(row)]
            if len(cells) > 1 and (shown or _best(cells) is Verdict.ACCEPTED):
                groups.append((shown, cells))
        return groups

    def _observed(self, row: Presentation) -> list[Cell]:
        cells = (self.cell(row, way) for way in self.columns)
        return [cell for cell in cells if cell is not None and cell.verdict.is_observation]

    def _controls(self, way: Way) -> list[Verdict]:
        """The verdicts on the wrong keys that were shown in a column."""
        return [cell.verdict for row in self.rows if is_control(row) for cell in self._observed(row) if cell.way is way]

    def _accepts_anything(self, way: Way) -> bool:
        return any(cell.way is way and cell.verdict is Verdict.ACCEPTED for cell in self.cells)


def _best(cells: Iterable[Cell]) -> Verdict:
    """Return the verdict that says most, in the order of `Verdict`: a key that works once should work everywhere."""
    verdicts = {cell.verdict for cell in cells}
    return next(verdict for verdict in Verdict if verdict in verdicts)


def _listed(ways: Iterable[Way]) -> str:
    return ", ".join(COLUMNS[way] for way in ways)
