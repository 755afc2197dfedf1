"""All checks, in their order."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from trunkline.cli.doctor import access, asking, configuration, directory, listening, machine, records
from trunkline.cli.doctor.findings import Finding, Notes
from trunkline.cli.doctor.installation import Installation

Check = Callable[[Installation, Notes], Awaitable[None] | None]

# In this order: what comes later may stand on what came before.
CHECKS: Final[Sequence[tuple[str, Check]]] = (
    ("python", machine.python),
    ("open files", machine.open_files),
    ("settings", configuration.settings),
    ("packages", configuration.packages),
    ("data directory", directory.data_directory),
    ("secret files", directory.secret_files),
    ("disk", directory.disk),
    ("database", records.database),
    ("master key", records.master_key),
    ("journal", records.journal),
    ("valkey", records.valkey),
    ("clock", machine.clock),
    ("address", listening.address),
    ("tls", listening.tls),
    ("public address", access.public_address),
    ("access", access.access),
    ("console", listening.console),
    ("local models", asking.local_models),
    ("providers", asking.providers),
)


async def examine(it: Installation) -> list[Finding]:
    """Make all checks. One that fails itself is a fault, and the others go on."""
    findings: list[Finding] = []
    try:
        for name, check in CHECKS:
            notes = Notes(name)
            try:
                waiting = check(it, notes)
                if waiting is not None:
                    await waiting
            except Exception as error:  # its words may hold anything
                place = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(place.filename).name}:{place.lineno}"
                notes.fault(f"The check itself failed: {type(error).__name__} at {where}.", "Report this as a bug.")
            findings += notes.findings
    finally:
        if it.database is not None:
            await it.database.close()
    return findings
