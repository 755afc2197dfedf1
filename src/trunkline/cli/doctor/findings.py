"""What a check has found, for people and programs."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "warning", "fault"]


class Finding(msgspec.Struct, frozen=True):
    """``seen`` and ``advice`` are sentences for a person, and hold no secret; what is well needs no advice."""

    check: str
    level: Level
    seen: str
    advice: str = ""


class Notes:
    """Takes down what one check finds."""

    def __init__(self, check: str) -> None:
        self._check = check
        self.findings: list[Finding] = []

    def ok(self, seen: str) -> None:
        """All is well."""
        self.findings.append(Finding(self._check, "ok", seen))

    def warning(self, seen: str, advice: str) -> None:
        """It works, and not as it should, or not for long."""
        self.findings.append(Finding(self._check, "warning", seen, advice))

    def fault(self, seen: str, advice: str) -> None:
        """Something does not work, or lets somebody in."""
        self.findings.append(Finding(self._check, "fault", seen, advice))
