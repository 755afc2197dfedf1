"""The table of all targets."""

from __future__ import annotations

from tests.fuzz import of_connections, of_policy, of_realtime, of_store, of_unified, of_wire
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for part in (of_wire, of_connections, of_realtime, of_unified, of_policy, of_store)
    for target in part.TARGETS
}
