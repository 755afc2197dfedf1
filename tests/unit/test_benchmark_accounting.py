"""Processor time and memory of a tree of processes: none of it is lost, whoever has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from trunkline.benchmark.accounting import ProcessTree, adopt_orphans, settle

# Spends a given processor time, and says so.
SPEND = "import time\nwhile time.process_time() < {seconds}: pass\n"
AND_WAIT = "print('spent', flush=True)\ntime.sleep(60)\n"


@contextmanager
def started(program: str) -> Iterator[tuple[subprocess.Popen[str], ProcessTree]]:
    """Run a program in a session of its own until it says that it has spent what it was to spend."""
    command = [sys.executable, "-S", "-c", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    tree = ProcessTree(process.pid)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "spent\n"
        yield process, tree
    finally:
        for survivor in tree.survivors():
            os.kill(survivor, 9)
        process.kill()
        process.communicate()
        tree.bury()


def test_time_of_a_process_is_counted_with_that_of_threads_that_ended() -> None:
    busy = SPEND.format(seconds=0.2)
    threaded = f"import threading, time\nt = threading.Thread(target=lambda: exec({busy!r}))\nt.start()\nt.join()\n"
    with started(threaded + AND_WAIT) as (process, tree):
        assert tree.seconds() >= 0.2
        memory = tree.memory()
        assert 1_000_000 < memory.largest <= memory.tree
        assert process.pid not in tree.survivors()


def test_time_of_a_grandchild_that_ended_is_counted() -> None:
    grandchild = SPEND.format(seconds=0.2)
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {grandchild!r}])\n"
    parent = f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-S', '-c', {child!r}])\n"
    with started(parent + AND_WAIT) as (_, tree):
        assert tree.seconds() >= 0.2 - 0.02  # what has ended is counted in hundredths


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to whom they are told")
def test_an_orphan_is_counted_alive_and_dead_and_then_buried() -> None:
    adopt_orphans()
    orphan = f"import os\nos.setsid()\n{SPEND.format(seconds=0.2)}"
    # The child ends at once: its own child has nobody, and a session of its own.
    child = (
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-S', '-c', {orphan!r}])\ntime.sleep(0.3)\n"
    )
    parent = f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-S', '-c', {child!r}])\n"
    with started(parent + AND_WAIT) as (process, tree):
        deadline = time.monotonic() + 20
        while tree.seconds() < 0.2 and time.monotonic() < deadline:
            time.sleep(0.01)
        while len(tree.survivors()) > 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert tree.seconds() >= 0.2
        assert process.poll() is None


def test_what_is_spent_after_the_load_is_waited_for_and_what_is_idle_is_not_counted() -> None:
    later = "print('spent', flush=True)\nimport time\nt = time.process_time() + 0.3\n"
    busy = "while time.process_time() < t: pass\ntime.sleep(60)\n"
    with started(later + busy) as (_, tree):
        settled = settle(tree, window=0.2)
        assert settled.is_quiet
        assert settled.seconds >= 0.3
        assert settled.seconds == pytest.approx(tree.seconds(), abs=0.05)


def test_who_is_never_quiet_is_not_waited_for_for_ever() -> None:
    with started("print('spent', flush=True)\nwhile True: pass\n") as (_, tree):
        settled = settle(tree, window=0.05, longest=0.1)
        assert not settled.is_quiet
        assert settled.seconds > 0
