"""Results for people: JSON, tables in Markdown, and a picture. All are made from `Results` alone.

Figures are medians over the rounds, with the lowest and the highest. A measurement in which an answer was wrong has no
figures: only that it failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final, NamedTuple

import msgspec

from trunkline.benchmark import picture
from trunkline.benchmark.orders import Latency
from trunkline.benchmark.picture import Bar, Panel
from trunkline.benchmark.results import DIRECT, Paced, Results, Sample
from trunkline.benchmark.workloads import Kind, workload
from trunkline.errors import SettingsError

FLOOR: Final = "nginx"
"""What processor time is compared with: it passes requests on and does nothing else."""

BEGIN: Final = "<!-- Written by trunkline bench: begin -->"
END: Final = "<!-- Written by trunkline bench: end -->"

_NOTHING: Final = "-"
_FAILED: Final = "failed"
_THROUGHPUT: Final = (Kind.CHAT, Kind.LARGE, Kind.CACHE)
_DELAYED: Final = (Kind.SSE, Kind.REALTIME)


class Spread(NamedTuple):
    """The median of some rounds, the lowest and the highest."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return that of values; None of none."""
        known = list(values)
        return cls(median(known), min(known), max(known)) if known else None

    def words(self, form: Callable[[float], str]) -> str:
        """``45 (43 to 48)``; the median alone where all are the same to the eye."""
        middle, low, high = form(self.middle), form(self.low), form(self.high)
        return middle if low == high else f"{middle} ({low} to {high})"


def processor_time(results: Results, gateway: str, name: str) -> Spread | None:
    """Return microseconds of a core for each request, chunk or message of a workload."""
    return Spread.of(_microseconds(one) for one in _right(results, gateway, name) if one.processor is not None)


def relative_time(results: Results, gateway: str, name: str, floor: str = FLOOR) -> Spread | None:
    """Return processor time as a multiple of nginx's in the same round: the machine's moods are in both."""
    floors = {one.round: _microseconds(one) for one in _right(results, floor, name) if one.processor}
    return Spread.of(
        _microseconds(one) / floors[one.round] for one in _right(results, gateway, name) if one.round in floors
    )


def throughput(results: Results, gateway: str, name: str) -> Spread | None:
    """Return requests a second, each connection asking as soon as it is answered."""
    return Spread.of(
        one.outcome.in_time / one.outcome.seconds for one in _right(results, gateway, name) if one.outcome.seconds
    )


def _right(results: Results, gateway: str, name: str) -> list[Sample]:
    return [one for one in _samples(results, gateway, name) if not one.outcome.failures and one.outcome.count]


def _samples(results: Results, gateway: str, name: str) -> list[Sample]:
    return [one for one in results.samples if one.gateway == gateway and one.workload == name]


def _microseconds(sample: Sample) -> float:
    return (sample.processor or 0.0) * 1e6 / sample.outcome.count


# JSON


def as_json(results: Results) -> str:
    """Return all that was found."""
    return msgspec.json.format(msgspec.json.encode(results), indent=2).decode() + "\n"


def from_json(text: str) -> Results:
    """Return the results of a file that `as_json` has made. Raises `msgspec.ValidationError`."""
    return msgspec.json.decode(text, type=Results)


# The picture


def as_svg(results: Results) -> str:
    """Return processor time as bars, in microseconds on a logarithmic scale, the lowest first."""
    panels = []
    for name in results.workloads:
        bars = [bar for gateway in _names(results) if (bar := _bar(results, gateway, name)) is not None]
        if bars:
            title = f"{name}: microseconds of a core for each {workload(name).unit}"
            panels.append(Panel(title, sorted(bars, key=lambda bar: bar.value)))
    return picture.as_svg(f"Processor time of gateways, {results.started[:10]}", panels)


def _bar(results: Results, gateway: str, name: str) -> Bar | None:
    spread = processor_time(results, gateway, name)
    if spread is None or spread.low <= 0:
        return None
    relative = relative_time(results, gateway, name)
    words = f"{_short(spread.middle)} us" + (f", {_times(relative.middle)} {FLOOR}" if relative else "")
    return Bar(gateway, *spread, words, is_ours=gateway.startswith("trunkline"))


# Markdown


def as_markdown(results: Results) -> str:
    """Return the tables."""
    parts = [
        _where(results),
        _relative_table(results),
        _processor_table(results),
        _throughput_table(results),
        _latency_table(results),
        _delay_table(results),
        _footprint_table(results),
        _setups(results),
        _faults(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def into_page(page: str, text: str) -> str:
    """Return a page with ``text`` between its marks. Raises `SettingsError` when it has none."""
    if BEGIN not in page or END not in page:
        raise SettingsError(f"The page has no marks {BEGIN} and {END}.")
    marked = f"{BEGIN}\n\n{text.strip()}\n\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: marked, page, count=1, flags=re.DOTALL)


def _where(results: Results) -> str:
    machine = results.machine
    cores = (
        f"gateway on core {machine.gateway_core}, upstream and load on core {machine.load_core}"
        if machine.gateway_core != machine.load_core
        else "everything on one core"
    )
    return (
        f"Trunkline {results.trunkline}, {results.started[:10]}. {machine.processor}, {machine.cores} cores,"
        f" {machine.memory / 2**30:.0f} GiB, Linux {machine.kernel}, Python {machine.python}; {cores}."
        f" {results.rounds} {'round' if results.rounds == 1 else 'rounds'}, {results.seconds:g} s for each measurement;"
        " medians of the rounds, the lowest and highest in brackets."
    )


def _relative_table(results: Results) -> str:
    if FLOOR not in _names(results):
        return ""
    return _by_workload(
        "Processor time, as a multiple of nginx's in the same round",
        [one.name for one in results.gateways],
        results.workloads,
        lambda gateway, name: _cell(results, gateway, name, relative_time(results, gateway, name), _times),
    )


def _processor_table(results: Results) -> str:
    return _by_workload(
        "Processor time, in microseconds",
        [one.name for one in results.gateways],
        results.workloads,
        lambda gateway, name: _cell(results, gateway, name, processor_time(results, gateway, name), _short),
    )


def _throughput_table(results: Results) -> str:
    def cell(gateway: str, name: str) -> str:
        words = _cell(results, gateway, name, throughput(results, gateway, name), _short)
        busy = Spread.of(one.busy for one in _right(results, gateway, name) if one.busy is not None)
        return f"{words}, core {busy.middle:.0%}" if busy else words

    names = [name for name in results.workloads if workload(name).kind in _THROUGHPUT]
    rows = [DIRECT, *_names(results)]
    return _by_workload("Requests a second, and how busy the gateway's core was", rows, names, cell)


def _latency_table(results: Results) -> str:
    lines = []
    for gateway in _names(results):
        for own in (False, True):
            found = [one for one in results.paced if one.gateway == gateway and one.own is own]
            if found:
                rate = Spread.of(one.rate for one in found)
                assert rate is not None
                pace = f"70 % of its own, {_short(rate.middle)}/s" if own else f"{_short(rate.middle)}/s"
                lines.append([gateway, pace, *_added(found)])
    return _table(
        "Latency that the gateway adds to a chat at a fixed rate, in microseconds",
        ["Gateway", "Rate", "p50", "p99", "p99.9"],
        lines,
    )


def _added(found: Sequence[Paced]) -> list[str]:
    if any(one.outcome.failures or one.direct.failures for one in found):
        return [_FAILED] * 3
    latencies = [one.added for one in found if one.added is not None]
    return _quantiles(latencies)


def _quantiles(latencies: Sequence[Latency]) -> list[str]:
    spreads = (
        Spread.of(one.p50 for one in latencies),
        Spread.of(one.p99 for one in latencies),
        Spread.of(one.p999 for one in latencies),
    )
    return [spread.words(_short) if spread else _NOTHING for spread in spreads]


def _delay_table(results: Results) -> str:
    lines = []
    for name in results.workloads:
        if workload(name).kind in _DELAYED:
            for gateway in (DIRECT, *_names(results)):
                found = [one.outcome.latency for one in _right(results, gateway, name) if one.outcome.latency]
                if found:
                    lines.append([name, gateway, *_quantiles(found)])
    return _table(
        "How long a chunk takes to the client, and a realtime message there and back, in microseconds",
        ["Workload", "Gateway", "p50", "p99", "p99.9"],
        lines,
    )


def _footprint_table(results: Results) -> str:
    lines = []
    for about in results.gateways:
        begun = [one for one in results.begun if one.gateway == about.name]
        samples = [one for one in results.samples if one.gateway == about.name and one.memory is not None]
        # The most of each round: what it took in the end depends on the order of the workloads.
        rounds = sorted({one.round for one in samples})
        spreads: list[tuple[Spread | None, Callable[[float], str]]] = [
            (Spread.of(one.seconds for one in begun), _seconds),
            (Spread.of(one.memory for one in begun), _megabytes),
            (Spread.of(max(one.memory or 0 for one in samples if one.round == r) for r in rounds), _megabytes),
            (Spread.of(max(one.largest or 0 for one in samples if one.round == r) for r in rounds), _megabytes),
            (Spread.of(one.idle for one in begun), _share),
        ]
        lines.append(
            [
                about.name,
                *(spread.words(form) if spread else _NOTHING for spread, form in spreads),
                _NOTHING if about.size is None else _megabytes(about.size),
                _NOTHING if about.packages is None else str(about.packages),
            ]
        )
    return _table(
        "Start, memory and size",
        [
            "Gateway",
            "Start to first answer",
            "Memory at start",
            "Most memory",
            "Largest process",
            "Of a core, idle",
            "On the disk",
            "Packages",
        ],
        lines,
    )


def _setups(results: Results) -> str:
    lines = [f"- {about.name} {about.version}: {about.setup}." for about in results.gateways]
    return "\n".join(["#### What was measured", "", *lines]) if lines else ""


def _faults(results: Results) -> str:
    lines = [f"- {name}: {why}." for name, why in results.left_out.items()]
    lines += [f"- Failed: {one}" for one in results.failed]
    for one in results.samples:
        if one.outcome.failures:
            why = "; ".join(_inline(word) for word in one.outcome.why)
            lines.append(f"- Failed: {one.gateway}, {one.workload}, round {one.round}, {one.outcome.failures}: {why}")
        if not one.became_quiet:
            lines.append(f"- {one.gateway} was not quiet {one.after:.0f} s after {one.workload}, round {one.round}.")
    for paced in results.paced:
        for who, outcome in ((paced.gateway, paced.outcome), (DIRECT, paced.direct)):
            if outcome.failures:
                why = "; ".join(_inline(word) for word in outcome.why)
                lines.append(
                    f"- Failed: {who}, {paced.rate:.0f} a second, round {paced.round}, {outcome.failures}: {why}"
                )
    return "\n".join(["#### Left out, and failed", "", *lines]) if lines else ""


def _by_workload(title: str, rows: Sequence[str], names: Sequence[str], cell: Callable[[str, str], str]) -> str:
    heads = ["Gateway", *(f"{name}, a {workload(name).unit}" for name in names)]
    lines = [[gateway, *(cell(gateway, name) for name in names)] for gateway in rows]
    return _table(title, heads, [line for line in lines if set(line[1:]) != {_NOTHING}]) if names else ""


def _cell(results: Results, gateway: str, name: str, spread: Spread | None, form: Callable[[float], str]) -> str:
    if spread is not None:
        return spread.words(form)
    return _FAILED if any(one.outcome.failures for one in _samples(results, gateway, name)) else _NOTHING


def _table(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join([f"#### {title}", "", *(f"| {' | '.join(cells)} |" for cells in (heads, rule, *lines))])


def _names(results: Results) -> list[str]:
    return [one.name for one in results.gateways]


def _inline(text: str) -> str:
    """Return what a stranger said as one piece of code in a line."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


# Numbers


def _short(value: float) -> str:
    """Three digits that mean something: ``0.123``, ``45.6``, ``12,300``."""
    if value == 0:
        return "0"
    digits = 3 - len(str(int(abs(value)))) if abs(value) >= 1 else 3
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def _times(value: float) -> str:
    return f"{value:.2f}x" if value < 10 else f"{value:.0f}x"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB" if value < 1e8 else f"{value / 1e6:.0f} MB"


def _share(value: float) -> str:
    return f"{value:.1%}"
