"""A clock that ticks in microseconds: event loops wake by the millisecond, which is longer than what is measured."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable


class _Interval(ctypes.Structure):
    _fields_ = [
        ("every_seconds", ctypes.c_long),
        ("every_nanoseconds", ctypes.c_long),
        ("first_seconds", ctypes.c_long),
        ("first_nanoseconds", ctypes.c_long),
    ]


class Ticker:
    """Calls ``tick`` with how many intervals of ``seconds`` have passed since the last call, until it is stopped."""

    def __init__(self, seconds: float, tick: Callable[[int], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._tick = tick
        self._clock = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._clock < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        whole, part = divmod(max(round(seconds * 1e9), 1), 1_000_000_000)
        interval = _Interval(whole, part, whole, part)
        if libc.timerfd_settime(self._clock, 0, ctypes.byref(interval), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._clock, self._read)

    def stop(self) -> None:
        """Tick no more. May be called more than once."""
        if self._clock >= 0:
            self._loop.remove_reader(self._clock)
            os.close(self._clock)
            self._clock = -1

    def _read(self) -> None:
        try:
            passed = int.from_bytes(os.read(self._clock, 8), "little")
        except BlockingIOError:
            return
        self._tick(passed)
