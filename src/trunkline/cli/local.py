"""``trunkline local``: the embedded provider alone."""

from __future__ import annotations

import os
from pathlib import Path

import click

from trunkline.cli.commands import Command
from trunkline.cli.data_directory import chosen, data_dir_option
from trunkline.cli.secrets import ask


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8788,
    show_default=True,
    help="Port to listen on; 0 takes any free one.",
)
@click.option(
    "--key-from",
    metavar="VARIABLE",
    help="Variable with a key that every request must show exactly once; without it TRUNKLINE_LOCAL_KEY, if set.",
)
@data_dir_option
@click.option("--model", type=click.Path(path_type=Path), help="A GGUF file to answer with instead of the demo model.")
def local(host: str, port: int, key_from: str | None, data_dir: Path | None, model: Path | None) -> None:
    """Serve the local models alone, as a strict OpenAI-compatible upstream for tests and probes.

    Models named test/... misbehave on demand: test/echo, test/slow-MS, test/slow-stream-MS, test/refuse-NNN,
    test/break, test/huge-MB, test/silent, test/close-NNNN.
    """
    models_home = chosen(data_dir)
    required_key = ask("key", key_from) if key_from is not None else os.environ.get("TRUNKLINE_LOCAL_KEY") or None

    from trunkline.local.worker import run  # late: it loads every model library

    run(host=host, port=port, required_key=required_key, data_dir=models_home, language=model)
