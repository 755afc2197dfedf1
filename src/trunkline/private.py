"""What keeps a process' memory and files from others on its machine."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path
from typing import Any, Final

_PR_SET_DUMPABLE: Final = 4
_OTHERS: Final = 0o077


def keep_memory_private() -> None:
    """Have the kernel write no core file of this process or its children, where every key it knows would be in.

    On Linux nobody but root may look into its memory and environment from then on, other programs of its user neither;
    a child that is another program has to say so for itself.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        libc: Any = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def make_folder(path: Path) -> None:
    """Make a folder for its owner alone. One that is there stays as it is: who may enter it was somebody's choice."""
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)


def is_open_to_others(path: Path) -> bool:
    """Whether other users of this machine may use a file, or look into a folder."""
    return bool(path.stat().st_mode & _OTHERS)
