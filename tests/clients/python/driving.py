"""Drivers of client libraries, run as programs in the clients' own environment."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.ga_upstream import SeenSession

ROOT = Path(__file__).parents[3]
INTERPRETER = ROOT / ".venv" / "clients" / "bin" / "python"
DRIVERS = Path(__file__).parent / "drivers"
# Where an application would keep keys and addresses of its own: none may reach a driver.
FOREIGN = ("OPENAI_", "TRUNKLINE_", "AZURE_", "LIVEKIT_", "PYTHON")


@dataclass(frozen=True)
class Conversation:
    """What a driver reported, by scenario, and the sessions that its upstream saw meanwhile."""

    reports: dict[str, dict[str, Any]]
    sessions: list[SeenSession]

    def report(self, scenario: str) -> dict[str, Any]:
        report = self.reports[scenario]
        assert "failure" not in report, report["failure"]
        return report


async def drive(driver: str, scenarios: list[str], environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Run a driver to its end; return its reports."""
    assert INTERPRETER.exists(), f"The clients are not installed: make .venv/stamps/clients ({INTERPRETER} is missing)."
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    told = {name: value for name, value in environment.items() if value}
    process = await asyncio.create_subprocess_exec(
        INTERPRETER,
        DRIVERS / f"{driver}.py",
        env={**clean, **told, "SCENARIOS": " ".join(scenarios)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = output.decode().splitlines()
    assert process.returncode == 0, errors.decode()
    assert lines, errors.decode()
    reports: dict[str, dict[str, Any]] = json.loads(lines[-1])
    return reports
