"""Rules for every test."""

from __future__ import annotations

import os
from functools import cache

import httpx._config
import httpx._transports.default as transports
import hypothesis  # imported late, at the end of a run, its import crashes Python 3.11.7
import pytest

# The workers of pytest-xdist are told how wide a terminal is, and commands would fit what they print to it.
os.environ.pop("COLUMNS", None)

# Every client reads the machine's authorities, 30 ms of a core: minutes, in thousands of tests that speak no TLS.
transports.create_ssl_context = cache(transports.create_ssl_context)  # type: ignore[attr-defined]

# How long an answer takes, too, says something of the machine: five seconds are over soon beside other work.
httpx._config.DEFAULT_TIMEOUT_CONFIG.read = httpx._config.DEFAULT_TIMEOUT_CONFIG.connect = 60.0

# How long an example takes says something of the machine, not of the code.
# CI draws the same examples each time, as its fuzzing does: what chance finds is for everybody else's runs.
hypothesis.settings.register_profile("trunkline", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("trunkline")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """On CI a skipped test counts as missing: nobody reads the summary of a green run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and skipped:
        reporter.ensure_newline()
        reporter.write_line(f"{len(skipped)} skipped tests count as failed on CI", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
