"""A report as one HTML file: no script, nothing loaded from anywhere, complete without colour and when read aloud."""

from __future__ import annotations

from html import escape
from typing import Final

from trunkline.credentials.matrix import Presentation, Way
from trunkline.probe.cell import COLUMNS, Cell, Verdict
from trunkline.probe.report import Report
from trunkline.probe.rows import label

_STYLE: Final = """
:root { color-scheme: light dark; --line: #c9ccd1; --good: #0b6b2e; --bad: #a5141e; --odd: #7a4b00; --quiet: #595f69; }
@media (prefers-color-scheme: dark) {
  :root { --line: #474c55; --good: #6fdc8c; --bad: #ff8389; --odd: #f1c21b; --quiet: #a8b0bd; }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
caption { text-align: left; color: var(--quiet); padding-bottom: .5rem; }
th, td { border: 1px solid var(--line); padding: .4rem .6rem; text-align: left; vertical-align: top; }
th[scope=row] { font-weight: normal; } td { white-space: nowrap; }
.accepted { color: var(--good); } .refused { color: var(--bad); } .unclear, .unreachable { color: var(--odd); }
.skipped, .not-applicable { color: var(--quiet); }
td a { color: inherit; }
td.differs { outline: 3px solid var(--bad); outline-offset: -3px; }
pre, code { font: 14px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
dt { font-weight: bold; } dd { margin: 0 0 .5rem; }
"""


def as_html(report: Report) -> str:
    """Return a report as a complete page that may be passed on: it holds no secret."""
    title = f"Auth matrix of {report.target.url}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p><strong>{escape(report.conclusion)}</strong></p>
{"".join(f"<p><strong>{escape(fault)}</strong></p>" for fault in report.control_faults)}
{_explanations(report)}
{"".join(f"<p>{escape(sentence)}</p>" for sentence in report.left_out)}
<div class="scroll" tabindex="0" role="region" aria-label="Results">
{_table(report)}
</div>
<h2>Cells</h2>
{"".join(_details(report, row, way) for row in report.rows for way in report.columns)}
</main>
</body>
</html>
"""


def _explanations(report: Report) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in report.explanations)
    return f"<h2>What differs</h2><ul>{items}</ul>" if items else ""


def _table(report: Report) -> str:
    heads = "".join(f'<th scope="col">{escape(COLUMNS[way])}</th>' for way in report.columns)
    rows = "".join(
        f'<tr><th scope="row">{escape(label(row))}</th>'
        + "".join(_cell(report, row, way) for way in report.columns)
        + "</tr>"
        for row in report.rows
    )
    caption = f"Provider {report.target.provider}, {report.started:%Y-%m-%d %H:%M} UTC"
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f'<thead><tr><th scope="col">Shown</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _cell(report: Report, row: Presentation, way: Way) -> str:
    cell = report.cell(row, way)
    if cell is None:
        return "<td></td>"
    differs = cell in report.differing
    words = f"{cell.text}, differs" if differs else cell.text
    linked = f'<a href="#{_anchor(cell)}">{escape(words)}</a>' if cell.verdict.is_observation else escape(words)
    return f'<td class="{_class(cell.verdict)}{" differs" if differs else ""}">{linked}</td>'


def _details(report: Report, row: Presentation, way: Way) -> str:
    cell = report.cell(row, way)
    if cell is None or not cell.verdict.is_observation:
        return ""
    came = f"<dt>What came</dt><dd><code>{escape(cell.first_frame)}</code></dd>" if cell.first_frame else ""
    return f"""<details>
<summary>{escape(label(row))}, {escape(COLUMNS[way])}: {escape(cell.text)}</summary>
<dl id="{_anchor(cell)}"><dt>Why</dt><dd>{escape(cell.why)}</dd>
<dt>What was sent</dt><dd><pre>{escape(cell.request)}</pre></dd>{came}</dl>
</details>
"""


def _anchor(cell: Cell) -> str:
    return f"{cell.row}-{cell.way.name.lower().replace('_', '-')}"


def _class(verdict: Verdict) -> str:
    return verdict.word.replace(" ", "-")
