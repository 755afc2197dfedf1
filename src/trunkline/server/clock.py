"""The clock by which time that passes is counted."""

from __future__ import annotations

import time

_OFFSET = time.time() - time.perf_counter()


def steady_time() -> float:
    """Return Unix time as it was when this process began, and what has passed since.

    Nobody sets it: minutes of a session must be minutes, also while the machine's clock is put right.
    When something expires is another matter: that is said in the machine's time.
    """
    return time.perf_counter() + _OFFSET
