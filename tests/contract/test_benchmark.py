"""`trunkline bench` for real, and short: the upstream, the load and a gateway, each a program of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.commands import command as in_process
from trunkline.benchmark.report import BEGIN, END, from_json
from trunkline.benchmark.running import _Runner

SHORT = ("--rounds", "1", "--seconds", "0.3")


def command(*arguments: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "trunkline", "bench", *arguments, "--data-dir", str(folder)]


def bench(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments, folder=folder), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("bench")
    page = folder / "page.md"
    page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter.\n", "utf-8")
    chosen = ("--gateways", "python,trunkline-open", "--workloads", "chat-4,sse-4,realtime-2")
    output = ("--output", str(folder / "results"), "--page", str(page))
    return folder, bench(*chosen, *SHORT, *output, folder=folder)


def test_every_answer_through_the_gateway_is_right(ended: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = ended
    assert done.returncode == 0, done.stdout + done.stderr
    results = from_json((folder / "results" / "results.json").read_text("utf-8"))
    assert results.failures == 0
    assert [one.name for one in results.gateways] == ["python", "trunkline-open"]
    for gateway in ("direct", "python", "trunkline-open"):
        counts = {one.workload: one.outcome.count for one in results.samples if one.gateway == gateway}
        assert counts["chat-4"] > 0
        assert counts["sse-4"] == 4 * 200
        assert counts["realtime-2"] == 2 * 2 * round(0.3 / 0.04)
    assert all(one.processor and one.memory for one in results.samples if one.gateway != "direct")
    assert not results.paced[0].own
    assert {one.gateway for one in results.paced} == {"python", "trunkline-open"}
    assert results.begun[0].seconds > 0


def test_it_writes_tables_a_picture_and_the_section_of_a_page(
    ended: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = ended
    text = (folder / "results" / "results.md").read_text("utf-8")
    assert text.strip() in done.stdout
    assert "| trunkline-open |" in text
    ElementTree.fromstring((folder / "results" / "results.svg").read_text("utf-8"))
    page = (folder / "page.md").read_text("utf-8")
    assert page.startswith("# Before\n")
    assert page.endswith("After.\n")
    assert text.strip() in page
    assert "old" not in page


def test_who_is_not_installed_is_left_out_with_a_line_that_helps(tmp_path: Path) -> None:
    done = bench("--gateways", "litellm,portkey", folder=tmp_path)
    assert done.returncode == 2
    assert "litellm is left out: not installed; `trunkline bench --gateways litellm --install` does it." in done.stderr
    assert "No gateway is left to measure." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gateways", "nobody"), "no gateway 'nobody'"),
        (("--workloads", "chats"), "no workload 'chats'"),
        (("--page", "/nowhere.md"), "/nowhere.md"),
        (("--page", os.devnull), "no marks"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = bench(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_all_that_was_started_and_leaves_no_file(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        command(
            "--gateways", "trunkline-open", "--workloads", "sse", "--output", str(tmp_path / "out"), folder=tmp_path
        ),
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (started := programs(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert started
    assert not programs(tmp_path)
    assert not list(tmp_path.glob("trunkline-bench-*"))
    assert not (tmp_path / "out").exists()


def test_ctrl_c_in_a_later_round_leaves_what_the_rounds_before_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = _Runner._step

    def interrupted(self: _Runner, who: str, what: str) -> None:
        step(self, who, what)
        if self._number == 3 and who != "direct":
            raise KeyboardInterrupt

    monkeypatch.setattr(_Runner, "_step", interrupted)
    chosen = ("--gateways", "python", "--workloads", "chat-1", "--rounds", "9", "--seconds", "0.1")
    done = in_process("bench", *chosen, "--output", str(tmp_path), "--data-dir", str(tmp_path))
    assert done.returncode == 130
    assert "what 2 of 9 rounds gave is written" in done.stderr
    results = from_json((tmp_path / "results.json").read_text())
    assert results.rounds == 2
    assert {one.round for one in (*results.begun, *results.samples, *results.paced)} == {1, 2}


def programs(folder: Path) -> list[int]:
    """The upstream, the load and gateways of this test's benchmark: they have its folder in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment, arguments = (path / "environ").read_bytes(), (path / "cmdline").read_bytes()
        except OSError:
            continue
        if f"TMPDIR={folder}\0".encode() in environment and b"\0bench\0" not in arguments:
            found.append(int(path.name))
    return found
