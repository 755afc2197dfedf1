"""What this machine can do of the fault suite. What it cannot is not collected, and said: nothing is skipped."""

from __future__ import annotations

import os

from tests.faults import network

collect_ignore = [] if network.is_possible() else ["test_network.py"]


def pytest_report_header() -> list[str]:
    told = []
    if not network.is_possible():
        told.append(
            "faults: no network between namespaces (takes root, `ip` and /dev/net/tun): test_network.py is left out"
        )
    if os.geteuid() != 0:
        told.append("faults: no disk of its own (takes root): a limit for files stands in for one that is full")
    return told
