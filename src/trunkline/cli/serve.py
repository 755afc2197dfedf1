"""``trunkline serve``: its flags are made from the settings table."""

from __future__ import annotations

import gc
from dataclasses import Field
from pathlib import Path
from typing import Any, get_type_hints

import click

from trunkline import settings
from trunkline.cli.commands import Command
from trunkline.settings import Settings


def serve(config: Path | None, **flags: str | None) -> None:
    """Start the gateway: data plane, console and its API on one port."""
    chosen = settings.load(flags, file=config)

    gc.disable()  # while so much is imported, of which nothing is garbage; `run` has it looked for again
    from trunkline.server.serving import run  # late: `--help` and errors in settings need no server

    run(chosen)


def _options() -> list[click.Parameter]:
    """Return one flag for each setting that may be shown in a process list."""
    types = get_type_hints(Settings)
    file = click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        help="Settings file; else ./trunkline.toml or the data directory's.",
    )
    return [file, *(_option(entry, types[entry.name]) for entry in settings.table() if _has_flag(entry))]


def _has_flag(entry: Field[Any]) -> bool:
    # A secret on a command line is in every process list; tables of providers are for the file.
    return entry.name != "providers" and not entry.metadata["secret"]


def _option(entry: Field[Any], kind: Any) -> click.Option:
    choices = entry.metadata["choices"]
    # Values stay text: the settings table converts and checks them, whatever source they come from.
    return click.Option(
        [f"--{entry.name.replace('_', '-')}", entry.name],
        type=click.Choice(choices) if choices else str,
        metavar=None if choices else _metavar(kind),
        help=(
            f"{entry.metadata['help']} Default: {settings.default_words(entry)}."
            f" Variable: {settings.environment_name(entry)}."
        ),
    )


def _metavar(kind: Any) -> str:
    words = {bool: "true|false", int: "NUMBER", float: "NUMBER", str: "TEXT", tuple[str, ...]: "A,B,..."}
    return words.get(kind, "PATH")


command = Command("serve", callback=serve, params=_options(), help=serve.__doc__)
