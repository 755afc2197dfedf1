"""The results as a picture: processor time as bars, a panel for each workload. SVG, readable on light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

_WIDTH: Final = 860
_MARGIN: Final = 16
_NAMES: Final = 150
_VALUES: Final = 190
_BAR: Final = 18
_ROW: Final = 26
_HEAD: Final = 52
_STYLE: Final = """\
svg { color-scheme: light dark; }
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 14px; }
.quiet { fill: #59636e; font-size: 11px; }
.line { stroke: #d1d9e0; stroke-width: 1; }
.bar { fill: #8c959f; }
.ours { fill: #0969da; }
.reach { stroke: #59636e; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .quiet { fill: #9198a1; }
  .line { stroke: #3d444d; }
  .bar { fill: #6e7681; }
  .ours { fill: #4493f8; }
  .reach { stroke: #9198a1; }
}"""


class Bar(NamedTuple):
    """One bar: how long, from where to where it was in the rounds, and what stands behind it."""

    name: str
    value: float
    low: float
    high: float
    words: str
    is_ours: bool = False


class Panel(NamedTuple):
    """Bars of one unit, on one logarithmic scale."""

    title: str
    bars: Sequence[Bar]


def as_svg(title: str, panels: Sequence[Panel]) -> str:
    """Return the panels one below the other. Values are greater than zero."""
    parts = []
    top = 40
    for panel in panels:
        parts += _panel(panel, top)
        top += _HEAD + _ROW * len(panel.bars) + 18
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{_MARGIN}" y="24">{escape(title)}</text>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _panel(panel: Panel, top: int) -> list[str]:
    first, last = _decades(panel.bars)
    left, right = _MARGIN + _NAMES, _WIDTH - _MARGIN - _VALUES

    def place(value: float) -> float:
        share = (math.log10(value) - first) / (last - first)
        return round(left + max(share, 0.0) * (right - left), 1)

    bottom = top + _HEAD + _ROW * len(panel.bars) - 6
    parts = [f'<text x="{_MARGIN}" y="{top + 18}">{escape(panel.title)}</text>']
    for decade in range(first, last + 1):
        x = place(10.0**decade)
        parts.append(f'<line class="line" x1="{x}" x2="{x}" y1="{top + 44}" y2="{bottom}"/>')
        parts.append(f'<text class="quiet" x="{x}" y="{top + 38}" text-anchor="middle">{10.0**decade:,g}</text>')
    for row, bar in enumerate(panel.bars):
        y = top + _HEAD + row * _ROW
        end, middle = place(bar.value), y + _BAR / 2
        kind = "bar ours" if bar.is_ours else "bar"
        parts += [
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect class="{kind}" x="{left}" y="{y}" width="{round(max(end - left, 1), 1)}" height="{_BAR}" rx="2"/>',
            f'<line class="reach" x1="{place(bar.low)}" x2="{place(bar.high)}" y1="{middle}" y2="{middle}"/>',
            f'<text x="{max(end, place(bar.high)) + 8}" y="{y + 14}">{escape(bar.words)}</text>',
        ]
    return parts


def _decades(bars: Sequence[Bar]) -> tuple[int, int]:
    """Return the powers of ten between which all bars end; a bar has some length."""
    lowest, highest = min(bar.low for bar in bars), max(bar.high for bar in bars)
    first = math.floor(math.log10(lowest))
    if math.log10(lowest) - first < 0.2:
        first -= 1
    return first, max(math.ceil(math.log10(highest)), first + 1)
