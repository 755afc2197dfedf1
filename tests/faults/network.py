"""Two hosts with a network between them: namespaces of this machine, joined by a wire that loses and delays packets.

Not with ``tc netem``, which many kernels lack: a thread holds both ends of the wire (TUN devices) and does the same,
and can be cut as well. It takes root.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HOSTS: Final = {"tl-gateway": "10.77.0.1", "tl-provider": "10.77.0.2"}
_TUNSETIFF: Final = 0x400454CA
_TUN_WITHOUT_HEADER: Final = 0x1001
_CLONE_NEWNET: Final = 0x40000000
_PACKET: Final = 65536


def is_possible() -> bool:
    """Whether this machine lets networks be made."""
    return os.geteuid() == 0 and Path("/dev/net/tun").exists() and Path("/usr/sbin/ip").exists()


class Cable:
    """The wire. ``delay`` is in seconds one way, ``loss`` the part of the packets that is lost, either way."""

    def __init__(self, ends: list[int]) -> None:
        self.delay = 0.0
        self.loss = 0.0
        self.is_cut = False
        self.passed = self.lost = 0
        self._ends = ends
        self._random = random.Random(7)  # the same packets each time, as far as they come in the same order
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._pass, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()
        for end in self._ends:
            os.close(end)

    def _pass(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        number = 0
        while not self._is_over.is_set():
            pause = min(max(waiting[0][0] - time.monotonic(), 0.0), 0.05) if waiting else 0.05
            for end in select.select(self._ends, [], [], pause)[0]:
                packet = os.read(end, _PACKET)
                if self.is_cut or self._random.random() < self.loss:
                    self.lost += 1
                    continue
                number += 1
                other = self._ends[1 - self._ends.index(end)]
                heapq.heappush(waiting, (time.monotonic() + self.delay, number, other, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                self.passed += 1
                os.write(waiting[0][2], heapq.heappop(waiting)[3])


@contextmanager
def network() -> Iterator[Cable]:
    """The two hosts of `HOSTS`, each with its address, while it lasts."""
    made: list[str] = []
    ends: list[int] = []
    try:
        for host in HOSTS:
            _ip("netns", "add", host)
            made.append(host)
        for host, address in HOSTS.items():
            with within(host):
                ends.append(_tun())
                _ip("link", "set", "lo", "up")
                _ip("address", "add", f"{address}/24", "dev", "tun0")
                _ip("link", "set", "tun0", "up")
        cable = Cable(ends)
        try:
            yield cable
        finally:
            cable.stop()
    finally:
        for host in made:
            _ip("netns", "delete", host)


@contextmanager
def within(host: str) -> Iterator[None]:
    """Have this thread, and the programs it starts, on a host. Sockets stay where they were made."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{host}", os.O_RDONLY)
    try:
        _enter(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)
        os.close(there)


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _tun() -> int:
    end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", b"tun0", _TUN_WITHOUT_HEADER))
    return end


def _ip(*arguments: str) -> None:
    subprocess.run(["/usr/sbin/ip", *arguments], check=True)
