"""Cells of CSV for programs that take some texts for formulas."""

from __future__ import annotations

from typing import Any, Final

# Clients choose what models and users are called.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def cell(value: Any) -> Any:
    """Return a value so that a spreadsheet shows it as it is: an apostrophe stands before what would be a formula."""
    return "'" + value if isinstance(value, str) and value.startswith(_FORMULA) else value
