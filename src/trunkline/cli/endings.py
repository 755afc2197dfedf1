"""How commands end, for scripts: exit statuses. docs/troubleshooting.md explains each."""

from __future__ import annotations

from enum import IntEnum

from click.exceptions import Exit


class Ending(IntEnum):
    """An exit status."""

    DONE = 0
    FAULTS_FOUND = 1
    REFUSED = 2
    INTERRUPTED = 130


def judged(*, is_good: bool) -> Exit:
    """Return what ends a command whose work is to judge something: raise it."""
    return Exit(Ending.DONE if is_good else Ending.FAULTS_FOUND)
