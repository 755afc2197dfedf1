"""What a gateway takes: processor time and memory of a whole tree of processes, by the kernel's accounts.

Time is read from each process's own clock, to the nanosecond; threads that have ended are in it. Processes that have
ended are in their parent's account of children, to a hundredth of a second, once it has waited for them. One whose
parent ended first comes to this process (`adopt_orphans`), which leaves it unburied until it has been counted.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

_PR_SET_CHILD_SUBREAPER: Final = 36
_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
QUIET_SHARE: Final = 0.02
LONGEST_WAIT: Final = 60.0


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own has ended, in place of init. Linux only."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class _Process(NamedTuple):
    id: int
    parent: int
    session: int
    children_seconds: float  # of children that were waited for, and theirs
    started: int  # in ticks since boot: with the id it names one process for ever
    resident: int  # bytes


class Memory(msgspec.Struct, frozen=True):
    """Resident bytes: of all processes added up, and of the largest one. Shared pages count in each."""

    tree: int
    largest: int


class ProcessTree:
    """A process that was started in a session of its own, and all that came of it."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._known: set[tuple[int, int]] = set()

    def seconds(self) -> float:
        """Return the processor time that all of them have taken, those that have ended too."""
        return sum(_own_seconds(one.id) + one.children_seconds for one in self._members())

    def memory(self) -> Memory:
        """Return what they take now."""
        sizes = [one.resident for one in self._members()]
        return Memory(sum(sizes), max(sizes, default=0))

    def bury(self) -> None:
        """Let go of orphans that have ended. The root is for whoever started it."""
        for one in self._members():
            if one.parent == os.getpid() and one.id != self._root:
                with suppress(ChildProcessError):
                    os.waitpid(one.id, os.WNOHANG)

    def survivors(self) -> list[int]:
        """Return the ids of all but the root, for whoever ends the tree."""
        return [one.id for one in self._members() if one.id != self._root]

    def _members(self) -> list[_Process]:
        processes = {one.id: one for one in _processes()}
        of_parent: dict[int, list[_Process]] = {}
        for one in processes.values():
            of_parent.setdefault(one.parent, []).append(one)
        members: dict[int, _Process] = {}
        waiting = [
            one
            for one in processes.values()
            if one.id == self._root or one.session == self._root or (one.id, one.started) in self._known
        ]
        while waiting:
            one = waiting.pop()
            if one.id not in members:
                members[one.id] = one
                waiting += of_parent.get(one.id, [])
        self._known |= {(one.id, one.started) for one in members.values()}
        return list(members.values())


def _processes() -> Iterator[_Process]:
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                # The name before the parenthesis may hold anything.
                fields = (Path(entry.path) / "stat").read_text("latin-1").rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield _Process(
                id=int(entry.name),
                parent=int(fields[1]),
                session=int(fields[3]),
                children_seconds=(int(fields[13]) + int(fields[14])) * _TICK,
                started=int(fields[19]),
                resident=int(fields[21]) * _PAGE,
            )


def _own_seconds(process: int) -> float:
    # clock_getcpuclockid(3): the clock of another process's time, for all of its threads, those that ended too.
    clock = (~process << 3) | 2
    try:
        return time.clock_gettime_ns(clock) / 1e9
    except OSError:  # it has just been buried: it is in its parent's account, if in any
        return 0.0


class Settled(NamedTuple):
    """When a tree has become quiet: its processor time until then, how long that took, and whether it did."""

    seconds: float
    waited: float
    is_quiet: bool


def settle(tree: ProcessTree, *, usual: float = 0.0, window: float = 1.0, longest: float = LONGEST_WAIT) -> Settled:
    """Wait until a tree takes less than 2 % of a core above its ``usual`` share, over a ``window`` of seconds.

    What was taken within that window is not counted: it is what the tree takes when nothing is asked of it.
    """
    began = since = time.monotonic()
    before = tree.seconds()
    while True:
        time.sleep(window)
        after, now = tree.seconds(), time.monotonic()
        if (after - before) / (now - since) < usual + QUIET_SHARE:
            return Settled(before, since - began, is_quiet=True)
        before, since = after, now
        if now - began > longest:
            return Settled(after, now - began, is_quiet=False)
