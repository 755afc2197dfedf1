"""``trunkline bench``: this gateway beside others, on this machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from trunkline.cli.commands import Command
from trunkline.cli.data_directory import chosen, data_dir_option
from trunkline.cli.endings import Ending, judged
from trunkline.cli.output import Progress, err, out
from trunkline.errors import SettingsError

if TYPE_CHECKING:
    from trunkline.benchmark.gateways import Gateway
    from trunkline.benchmark.results import Results
    from trunkline.benchmark.running import Plan

_FOLDER: Final = "bench"


@click.command(cls=Command)
@click.option(
    "--gateways",
    metavar="A,B,...",
    default="",
    help="Which gateways; all that are installed, if none are named.",
)
@click.option(
    "--workloads",
    metavar="A,B,...",
    default="",
    help="Which workloads: chat, sse, large, cache, and realtime-N of N sessions.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How often all of it is measured, the gateways in turn.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="How long each measurement takes.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where results go; by default bench/results of a checkout, else ./results.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Put the tables between their marks in this page too.",
)
@click.option("--install", is_flag=True, help="Install the gateways first, each into a folder of its own.")
@data_dir_option
def bench(
    gateways: str,
    workloads: str,
    rounds: int,
    seconds: float,
    output: Path | None,
    page: Path | None,
    install: bool,
    data_dir: Path | None,
) -> None:
    """Measure this gateway beside others: processor time, requests a second, added latency, memory, start and size.

    Everything runs on this machine and on loopback. The gateway has one core,
    the upstream and the load share another. Other work on the machine shows in
    every figure.

    \b
    Exit status:
    0  every answer was right
    1  some were wrong or missing, or a gateway did not start
    2  nothing could be measured
    """  # noqa: D301 (click keeps the lines of a paragraph that begins so)
    from trunkline.benchmark.gateways import GATEWAYS
    from trunkline.benchmark.report import into_page
    from trunkline.benchmark.running import Plan
    from trunkline.benchmark.workloads import DEFAULT_WORKLOADS, workload

    if page is not None:
        into_page(page.read_text("utf-8"), "")  # what cannot be written is told before it is measured
    homes = chosen(data_dir) / _FOLDER
    wanted = _wanted(gateways, GATEWAYS)
    asked = [workload(name) for name in _names(workloads) or DEFAULT_WORKLOADS]
    if install:
        _install(wanted, homes)
    ready = [one for one in wanted if one.environment.version(one.home(homes))]
    left_out = {
        one.name: f"not installed; `trunkline bench --gateways {one.name} --install` does it"
        for one in wanted
        if one not in ready
    }
    for name, why in left_out.items():
        err(f"{name} is left out: {why}.")
    if not ready:
        raise SettingsError("No gateway is left to measure.")
    results = _measure(Plan(ready, asked, rounds, seconds, homes), left_out)
    _write(results, output or _results_folder(), page)
    if results.rounds < rounds:
        raise click.exceptions.Exit(Ending.INTERRUPTED)
    raise judged(is_good=not results.failures)


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def _wanted(listed: str, known: dict[str, Gateway]) -> list[Gateway]:
    names = _names(listed) or list(known)
    for name in names:
        if name not in known:
            raise SettingsError(f"There is no gateway {name!r} to measure; there are {', '.join(known)}.")
    return [known[name] for name in names]


def _install(wanted: list[Gateway], homes: Path) -> None:
    """Install what is named; one that cannot be installed is told of, and left out."""
    from trunkline.benchmark.gateways import BenchmarkError

    for home, gateway in {one.home(homes): one for one in wanted}.items():
        with Progress() as progress:
            progress.show(f"installing {home.name}")
            try:
                gateway.environment.install(home)
            except BenchmarkError as error:
                progress.say(f"{home.name} could not be installed: {error}")


def _measure(plan: Plan, left_out: dict[str, str]) -> Results:
    """Run the plan, and say how far it is. Ctrl+C, and being told to end, end all that was started."""
    from trunkline.benchmark.running import run, steps

    with _ending_on_sigterm(), Progress() as progress:
        total, done = steps(plan), count(1)

        def step(words: str) -> None:
            progress.show(f"{next(done)} of {total}: {words}")

        try:
            results = run(plan, step)
        except KeyboardInterrupt:
            progress.say("Stopped; nothing was written.")
            raise click.exceptions.Exit(Ending.INTERRUPTED) from None
        if results.rounds < plan.rounds:
            progress.say(f"Stopped; what {results.rounds} of {plan.rounds} rounds gave is written.")
    results.left_out = left_out
    return results


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _results_folder() -> Path:
    import trunkline

    checkout = Path(trunkline.__file__).parents[2]
    return checkout / "bench" / "results" if (checkout / "bench").is_dir() else Path("results")


def _write(results: Results, folder: Path, page: Path | None) -> None:
    from trunkline.benchmark import report

    folder.mkdir(parents=True, exist_ok=True)
    text = report.as_markdown(results)
    for name, content in (
        ("results.json", report.as_json(results)),
        ("results.md", text),
        ("results.svg", report.as_svg(results)),
    ):
        (folder / name).write_text(content, "utf-8")
    if page is not None:
        page.write_text(report.into_page(page.read_text("utf-8"), text), "utf-8")
    out(text)
    err(f"Written to {folder}: results.json, results.md, results.svg.")
