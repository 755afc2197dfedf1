"""The machine and its Python."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from datetime import UTC, datetime
from typing import Final

from trunkline.cli.doctor.findings import Level, Notes
from trunkline.cli.doctor.installation import Installation
from trunkline.server.open_files import connections_for

_OLDEST: Final = (3, 11)
# Certificates of providers are not valid yet on a machine whose clock is behind this.
_BUILT: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
# Beyond it windows of limits, and ends of keys and sessions, differ noticeably between processes.
_DRIFT_SECONDS: Final = 2.0
_WRONG_SECONDS: Final = 60.0


def python(it: Installation, notes: Notes) -> None:
    """Python and the platform."""
    seen = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores."
    if sys.version_info < _OLDEST:
        notes.fault(seen, "Install Python 3.11 or newer.")
    elif platform.system() != "Linux" or sys.maxsize < 2**32:
        notes.warning(seen, "Trunkline is tested on 64-bit Linux alone.")
    else:
        notes.ok(seen)


def open_files(it: Installation, notes: Notes) -> None:
    """How many files, and so connections, a process may have."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    clients, upstream = connections_for(files), it.settings.max_connections
    if clients and clients < upstream:
        notes.warning(
            f"{files} files may be open at once, enough for {clients} connections of clients. With"
            f" upstream.max_connections = {upstream}, one provider alone can take up more.",
            "Raise the limit (`ulimit -Hn 65536`, LimitNOFILE in systemd), or lower upstream.max_connections.",
        )
    else:
        notes.ok(f"{files} files may be open at once, enough for {clients or 'any number of'} connections of clients.")


def clock(it: Installation, notes: Notes) -> None:
    """The clock, beside those of the servers that are shared."""
    if time.time() < _BUILT:
        notes.fault(
            f"It is {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by this machine, which is in the past.",
            "Set the clock (NTP): providers' certificates and keys' ends are judged by it.",
        )
    for place, ahead in it.clocks.items():
        seen = f"The clock of {place} is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's."
        match drift(ahead):
            case "ok":
                notes.ok(seen)
            case "warning":
                notes.warning(seen, "Keep all machines in time with NTP: windows of limits are cut by their clocks.")
            case "fault":
                notes.fault(seen, "Set the clocks (NTP): limits, keys' ends and sign-ins differ by as much.")
    if not notes.findings:
        notes.ok(f"It is {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; no other clock is shared.")


def drift(seconds: float) -> Level:
    """Judge by how much two clocks differ."""
    if abs(seconds) <= _DRIFT_SECONDS:
        return "ok"
    return "warning" if abs(seconds) <= _WRONG_SECONDS else "fault"
