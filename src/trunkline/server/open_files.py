"""How many connections clients may have: what a process may open has to do for everything else too."""

from __future__ import annotations

import resource
from typing import Final

# For records, databases, names and a refusal or two, besides what each connection needs.
_FOR_ALL_ELSE: Final = 256
# What a request or a session needs: a connection to its client, and one to its provider.
_EACH: Final = 2


def raise_limit() -> int:
    """Let this process open as many files as its user may; return how many connections of clients that is enough for.

    Zero is no bound.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS has no limit, and takes none that high
        return connections_for(soft)
    return connections_for(hard)


def connections_for(files: int) -> int:
    """Return for how many connections of clients so many open files are enough; zero where there is no limit."""
    return 0 if files == resource.RLIM_INFINITY else max(1, (files - _FOR_ALL_ELSE) // _EACH)
