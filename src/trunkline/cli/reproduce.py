"""``trunkline reproduce``: the reported fault, and the same requests without it, on this machine alone."""

from __future__ import annotations

import asyncio
import json as encoding
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import click

from trunkline.cli.commands import Command
from trunkline.cli.data_directory import chosen, data_dir_option
from trunkline.cli.endings import judged
from trunkline.cli.output import Progress, err, out, styled, table

if TYPE_CHECKING:
    from trunkline.probe import Cell, Keys, Report
    from trunkline.probe.reproduction import Reproduction

_MODEL: Final = "local"
_STDOUT: Final = "-"
_STYLES: Final = {"accepted": "green", "refused": "red"}


@click.command(cls=Command)
@click.option("--json", metavar="FILE", default="", help="Write both matrices as JSON; - is standard output.")
@data_dir_option
def reproduce(json: str, data_dir: Path | None) -> None:
    """Show the reported fault beside Trunkline: the same keys, in the same places, on every transport.

    Starts, on loopback, the local models as a strict provider, an emulation of the gateway as its users reported it,
    and Trunkline; probes both; ends all of it. Needs no account, no key and no network, and touches nothing of yours.

    Exit status: 0 the fault shows there, and here each credential has one result everywhere; 1 not so; 2 it could not
    run.
    """
    import uvloop

    from trunkline.server.serving import configure_logging

    models_home = chosen(data_dir)
    configure_logging("error")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # what was started ends in order
    with Progress() as progress, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_probe_both(models_home, progress))
    _show(found, err if json == _STDOUT else out)
    if json:
        _write(json, found)
    raise judged(is_good=found.succeeded)


async def _probe_both(models_home: Path, progress: Progress) -> Reproduction:
    """Put the same strict provider, token and stored key behind both gateways, and probe one after the other."""
    from trunkline.local.supervisor import LocalWorker
    from trunkline.probe import Keys
    from trunkline.probe.emulation import emulated_gateway
    from trunkline.probe.reproduction import Reproduction

    provider = LocalWorker(models_home)
    keys = Keys(provider_key=provider.key, gateway_key=secrets.token_urlsafe(32))
    try:
        progress.say("Starting the local models as a provider that is strict about its key")
        await provider.ensure_started()
        async with emulated_gateway(provider.base_url, token=keys.gateway_key, stored_key=keys.provider_key) as url:
            there = await _probe(url, keys, "the emulated gateway", progress)
        async with _our_gateway(provider.base_url, token=keys.gateway_key, stored_key=keys.provider_key) as url:
            here = await _probe(url, keys, "Trunkline", progress)
    finally:
        await provider.stop()
    return Reproduction(there, here)


@asynccontextmanager
async def _our_gateway(upstream_base_url: str, *, token: str, stored_key: str) -> AsyncIterator[str]:
    """Serve the gateway itself on a free loopback port, with a data directory of its own; yield its base URL."""
    from trunkline.probe.serving import served
    from trunkline.server.serving import create_server, listen
    from trunkline.settings import Settings

    with TemporaryDirectory(prefix="trunkline-reproduce-") as scratch:
        settings = Settings(
            port=0,
            data_dir=Path(scratch),
            gateway_token=token,
            providers={"openai": {"base_url": upstream_base_url, "api_key": stored_key}},
        )
        listener = listen(settings)
        async with served(create_server(settings, listener).config, listener):
            port = listener.getsockname()[1]
            yield f"http://{settings.host}:{port}/v1/{settings.account}/{settings.gateway}"


async def _probe(url: str, keys: Keys, name: str, progress: Progress) -> Report:
    from trunkline import probe

    target = probe.Target(url, model=_MODEL, realtime_model=_MODEL)
    progress.say(f"Probing {name} at {url}")
    total, done = len(probe.plan(target, keys)), count(1)
    return await probe.run(target, keys, on_cell=lambda _: progress.show(f"probing {name}: {next(done)} of {total}"))


def _show(found: Reproduction, say: Callable[[str], None]) -> None:
    say(f"One provider, one key, two gateways\n\n{_table(found)}")
    for line in _sentences(found):
        say(line)


def _table(found: Reproduction) -> str:
    """Return the two matrices as one table: a line for each transport, both results beside each other."""
    from trunkline.probe import COLUMNS
    from trunkline.probe.rows import label

    rows = []
    for row in found.there.rows:
        cells = [(found.there.cell(row, way), found.here.cell(row, way)) for way in found.there.columns]
        asked = [(there, here) for there, here in cells if there and here and there.verdict.is_observation]
        rows.append(
            (
                label(row),
                "\n".join(COLUMNS[there.way] for there, _ in asked),
                "\n".join(_result(there) for there, _ in asked),
                "\n".join(_result(here) for _, here in asked),
            )
        )
    return table(("What the client shows", "Transport", "Emulated gateway", "Trunkline"), rows)


def _result(cell: Cell) -> str:
    return styled(cell.text, fg=_STYLES.get(cell.verdict.word, "yellow"))


def _sentences(found: Reproduction) -> Iterator[str]:
    """Yield what the table comes to, for people."""
    from trunkline.probe import COLUMNS
    from trunkline.probe.rows import shows

    words = {row.name: shows(row) for row in found.there.rows}
    for why in dict.fromkeys(cell.why for cell in found.breaks):
        yield f"\nThis works here; there, {why}:"
        yield from (f"- {words[cell.row]} over {COLUMNS[cell.way]}" for cell in found.breaks if cell.why == why)
    yield "\nTo be let in there on a WebSocket, the client had to show:"
    yield from (f"- {words[row.name]}" for row in found.works_there)
    if found.succeeded:
        yield (
            "That is the provider's own key, in a place that every browser shows to whoever opens its developer tools."
            " Here the gateway's key alone is enough, in each of the places above; the provider's stays on the server."
        )
        yield "\nReproduced: it breaks there as reported, and here each credential has the same result everywhere."
    else:
        yield "\nNot reproduced:"
        yield from (f"- {fault}" for fault in found.faults)
    yield (
        "The emulated gateway is made from what users of one reported. It says nothing about any service as it is"
        " today; to see one, ask it: trunkline probe URL."
    )


def _write(name: str, found: Reproduction) -> None:
    text = encoding.dumps(found.as_data(), indent=2, ensure_ascii=False) + "\n"
    if name == _STDOUT:
        click.echo(text, nl=False)
    else:
        Path(name).write_text(text, "utf-8")
