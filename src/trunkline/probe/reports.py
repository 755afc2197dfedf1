"""A report as JSON, Markdown, JUnit and HTML. None of them holds a secret, because no cell does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final
from xml.etree import ElementTree

from trunkline.credentials.matrix import Presentation, Way
from trunkline.probe.cell import COLUMNS, Cell, Verdict
from trunkline.probe.page import as_html
from trunkline.probe.report import Report
from trunkline.probe.rows import credential, exposes_key, is_control, label, shows

__all__ = ["as_data", "as_html", "as_json", "as_junit", "as_markdown", "cell_data"]

_FORMAT: Final = 1
_MARKUP: Final = re.compile(r"([\\`*_\[\]<>|#~])")


def as_data(report: Report) -> dict[str, Any]:
    """Return a report as plain data. ``format`` changes when a field changes its meaning or goes away."""
    return {
        "format": _FORMAT,
        "target": {
            "url": report.target.url,
            "provider": report.target.provider,
            "model": report.target.model,
            "realtime_model": report.target.realtime_model,
        },
        "started": report.started.isoformat(timespec="seconds"),
        "complete": report.is_complete,
        "billable": report.allow_billable,
        "same_everywhere": report.same_everywhere,
        "controls_hold": report.controls_hold,
        "conclusion": report.conclusion,
        "control_faults": list(report.control_faults),
        "explanations": list(report.explanations),
        "left_out": list(report.left_out),
        "columns": [{"way": way_name(way), "name": COLUMNS[way]} for way in report.columns],
        "rows": [_row_data(row) for row in report.rows],
        "cells": [cell_data(cell) for cell in report.cells],
        "differing": [{"row": cell.row, "way": way_name(cell.way)} for cell in report.differing],
    }


def cell_data(cell: Cell) -> dict[str, Any]:
    """Return one cell as plain data."""
    return {
        "row": cell.row,
        "way": way_name(cell.way),
        "verdict": cell.verdict.word,
        "milliseconds": None if cell.milliseconds is None else round(cell.milliseconds, 1),
        "status": cell.status,
        "close_code": cell.close_code,
        "first_frame": cell.first_frame,
        "request": cell.request,
        "why": cell.why,
    }


def as_json(report: Report) -> str:
    """Return a report as JSON."""
    return json.dumps(as_data(report), indent=2, ensure_ascii=False) + "\n"


def as_markdown(report: Report) -> str:
    """Return a report as a Markdown page: the table, what differs, and a line for each cell that was asked."""
    lines = [
        f"# Auth matrix of {report.target.url}",
        "",
        f"Provider {report.target.provider}, {report.started:%Y-%m-%d %H:%M} UTC.",
        "",
        _markdown_line(["Shown", *(COLUMNS[way] for way in report.columns)]),
        _markdown_line(["---"] * (len(report.columns) + 1)),
        *(
            _markdown_line(
                [_inline(label(row)), *(cell.text if (cell := report.cell(row, way)) else "" for way in report.columns)]
            )
            for row in report.rows
        ),
        "",
        f"**{report.conclusion}**",
        *(f"\n**{fault}**" for fault in report.control_faults),
        *(f"\n- {_inline(sentence)}" for sentence in (*report.explanations, *report.left_out)),
        "",
        "## Cells",
        "",
        *(
            f"- {_inline(shows(row))} over {COLUMNS[way]}: {cell.text}. {_inline(cell.why)}."
            for row in report.rows
            for way in report.columns
            if (cell := report.cell(row, way)) is not None and cell.verdict.is_observation
        ),
    ]
    return "\n".join(lines) + "\n"


def as_junit(report: Report) -> str:
    """Return a report as JUnit XML.

    A cell that differs and a control that was accepted are failures, a cell nobody answered is an error.
    """
    suite = ElementTree.Element("testsuite", name=f"trunkline probe {report.target.url}")
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    controls = {row.name for row in report.rows if is_control(row)}
    for cell in report.cells:
        if cell.verdict is Verdict.NOT_APPLICABLE:
            continue
        counts["tests"] += 1
        seconds = f"{(cell.milliseconds or 0) / 1000:.3f}"
        case = ElementTree.SubElement(suite, "testcase", classname=cell.row, name=COLUMNS[cell.way], time=seconds)
        if cell.verdict is Verdict.SKIPPED:
            counts["skipped"] += 1
            ElementTree.SubElement(case, "skipped", message=cell.why)
        elif cell.verdict is Verdict.UNREACHABLE:
            counts["errors"] += 1
            ElementTree.SubElement(case, "error", message=cell.why)
        elif cell in report.differing or (cell.row in controls and cell.verdict is Verdict.ACCEPTED):
            counts["failures"] += 1
            ElementTree.SubElement(case, "failure", message=f"{cell.text}: {cell.why}").text = cell.request
        ElementTree.SubElement(case, "system-out").text = f"{cell.text}: {cell.why}\n{cell.request}\n{cell.first_frame}"
    for name, count in counts.items():
        suite.set(name, str(count))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, "unicode", xml_declaration=True) + "\n"


def _row_data(row: Presentation) -> dict[str, Any]:
    return {
        "name": row.name,
        "shows": shows(row),
        "client": row.client,
        "credential": sorted(kind.value for kind in credential(row)),
        "control": is_control(row),
        "exposes_key": exposes_key(row),
    }


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _inline(text: str) -> str:
    """Return a text as it is, whatever Markdown would make of it."""
    return _MARKUP.sub(r"\\\1", text)


def way_name(way: Way) -> str:
    return way.name.lower().replace("_", "-")
