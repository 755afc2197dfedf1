"""The auth-matrix tool: shows one credential in every place and on every transport, and says what came of it.

It runs against any gateway and is a stranger to this one: it knows the wire and nothing of the server. It observes; it
draws no conclusion about whose fault a difference is.
"""

from trunkline.probe.cell import COLUMNS, Cell, Verdict
from trunkline.probe.errors import AddressRefused, ProbeError
from trunkline.probe.guard import AddressGuard
from trunkline.probe.keys import Keys
from trunkline.probe.presets import PRESETS, Preset
from trunkline.probe.report import ExitStatus, Report
from trunkline.probe.rows import Planned, plan
from trunkline.probe.running import run
from trunkline.probe.target import Target

__all__ = [
    "COLUMNS",
    "PRESETS",
    "AddressGuard",
    "AddressRefused",
    "Cell",
    "ExitStatus",
    "Keys",
    "Planned",
    "Preset",
    "ProbeError",
    "Report",
    "Target",
    "Verdict",
    "plan",
    "run",
]
