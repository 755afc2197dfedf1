"""What a run has found, as plain data: it is written to a file as JSON, and every report is made from it."""

from __future__ import annotations

import msgspec

from trunkline.benchmark.orders import Latency, Outcome

FORMAT = 1
DIRECT = "direct"
"""The name under which the upstream is measured without a gateway."""


class Machine(msgspec.Struct, frozen=True):
    """Where it ran. ``gateway_core`` and ``load_core`` are the same where there is one core."""

    processor: str
    cores: int
    memory: int
    kernel: str
    python: str
    gateway_core: int
    load_core: int


class About(msgspec.Struct, frozen=True):
    """A gateway that was measured: ``size`` in bytes and ``packages`` of its environment, None where not known."""

    name: str
    version: str
    setup: str
    size: int | None = None
    packages: int | None = None


class Begun(msgspec.Struct, frozen=True):
    """A start: seconds from exec to the first answered request, and what it took then, in bytes and share of a core."""

    gateway: str
    round: int
    seconds: float
    memory: int
    largest: int
    idle: float


class Sample(msgspec.Struct, frozen=True):
    """One workload of one gateway in one round.

    ``processor`` are seconds of a core, of the whole tree of processes, with what it had left to do afterwards, which
    took ``after`` seconds; `direct` has none. ``busy`` is the share of a core that it took while it was asked.
    """

    gateway: str
    round: int
    workload: str
    outcome: Outcome
    processor: float | None = None
    busy: float | None = None
    after: float = 0.0
    became_quiet: bool = True
    memory: int | None = None
    largest: int | None = None


class Paced(msgspec.Struct, frozen=True):
    """Chat at a fixed rate, and the same without a gateway right after it; ``own``: at 70 % of what it reached."""

    gateway: str
    round: int
    rate: float
    own: bool
    outcome: Outcome
    direct: Outcome

    @property
    def added(self) -> Latency | None:
        """What the gateway adds, in microseconds."""
        through, without = self.outcome.latency, self.direct.latency
        if through is None or without is None:
            return None
        return Latency(
            round(through.p50 - without.p50, 1),
            round(through.p99 - without.p99, 1),
            round(through.p999 - without.p999, 1),
        )


class Results(msgspec.Struct):
    """All of a run. ``left_out`` says why gateways were not measured, ``failed`` what went wrong with others."""

    started: str
    trunkline: str
    machine: Machine
    rounds: int
    seconds: float
    workloads: list[str]
    gateways: list[About] = []
    begun: list[Begun] = []
    samples: list[Sample] = []
    paced: list[Paced] = []
    left_out: dict[str, str] = {}
    failed: list[str] = []
    format: int = FORMAT

    @property
    def failures(self) -> int:
        """How many answers were wrong or missing, and gateways that did not start or gave up."""
        outcomes = [one.outcome for one in self.samples]
        outcomes += [outcome for one in self.paced for outcome in (one.outcome, one.direct)]
        return sum(one.failures for one in outcomes) + len(self.failed)

    def forget_after(self, last: int) -> None:
        """Forget what was seen in later rounds than this one."""
        self.begun = [one for one in self.begun if one.round <= last]
        self.samples = [one for one in self.samples if one.round <= last]
        self.paced = [one for one in self.paced if one.round <= last]
