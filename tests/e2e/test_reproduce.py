"""`trunkline reproduce` as a user runs it: what it shows, its exit status, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import data_directory

LONG = re.compile(r"[A-Za-z0-9_-]{40,}")  # every key of a run is one of these


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with data_directory(has_database=False) as directory:
        yield directory
        assert [path.name for path in directory.iterdir()] == ["models"]


def start(scratch: Path, *arguments: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "trunkline", "reproduce", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, "COLUMNS": "120", "TMPDIR": str(scratch)},
    )


def started_by(scratch: Path) -> list[str]:
    """The running programs that have been told to keep their temporary files there."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={scratch}".encode() in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return found


def left_by(scratch: Path) -> list[Path]:
    """Our own temporary files that are still there; libraries may keep some of theirs."""
    return list(scratch.glob("trunkline-*"))


def test_it_shows_what_breaks_there_and_works_here(data_dir: Path, tmp_path: Path) -> None:
    scratch, report = tmp_path / "scratch", tmp_path / "report.json"
    scratch.mkdir()
    process = start(scratch, "--data-dir", str(data_dir), "--json", str(report))
    output, progress = process.communicate(timeout=120)
    assert process.returncode == 0, output + progress
    found = json.loads(report.read_text("utf-8"))
    assert found["reproduced"] is True
    assert found["faults"] == []

    there, here = (
        {(cell["row"], cell["way"]): (cell["verdict"], cell["close_code"]) for cell in found[side]["cells"]}
        for side in ("emulation", "trunkline")
    )
    for place, seen in {
        ("cf-aig-bearer", "http"): "accepted",
        ("cf-aig-bearer", "sse"): "accepted",
        ("cf-aig-bearer", "realtime"): "refused",
        ("cf-aig-bearer-and-provider-key", "http"): "accepted",
        ("cf-aig-bearer-and-provider-key", "realtime"): "refused",
        ("protocol-cf-aig", "realtime-browser"): "refused",
        ("protocol-cf-aig-and-provider-key", "realtime-browser"): "accepted",
    }.items():
        assert there[place] == (seen, 4001 if seen == "refused" else None), place
        assert here[place] == ("accepted", None), place
    assert found["trunkline"]["same_everywhere"] is True
    for side in ("emulation", "trunkline"):
        assert found[side]["controls_hold"] is True
        assert {cell["verdict"] for cell in found[side]["cells"] if cell["row"].startswith("control-")} <= {
            "refused",
            "not applicable",
        }

    assert re.search(r"WS .*✗ refused 4001 .*✓ accepted \d+ ms", output)
    assert "emulated gateway is made from what users of one reported" in output
    assert not LONG.search(output + progress + report.read_text("utf-8"))
    assert started_by(scratch) == []
    assert left_by(scratch) == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["Starting the local models", "Probing Trunkline"])
def test_interrupted_it_ends_all_that_it_started(
    data_dir: Path, tmp_path: Path, moment: str, ending: signal.Signals
) -> None:
    process = start(tmp_path, "--data-dir", str(data_dir))
    assert process.stderr is not None
    assert any(moment in line for line in iter(process.stderr.readline, ""))
    until(lambda: any("trunkline.local.worker" in program for program in started_by(tmp_path)))
    process.send_signal(ending)
    _, complaints = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in complaints
    assert started_by(tmp_path) == []
    assert left_by(tmp_path) == []


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_without_models_it_names_the_command_that_brings_them(tmp_path: Path) -> None:
    process = start(tmp_path, "--data-dir", str(tmp_path / "nothing"))
    _, complaints = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "trunkline models install" in complaints
    assert "Traceback" not in complaints
