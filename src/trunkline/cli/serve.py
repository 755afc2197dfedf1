"""``trunkline serve``: its flags are made from the settings table."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable
from dataclasses import Field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from trunkline import settings
from trunkline.settings import Settings


def serve(config: Path | None = None, **flags: Any) -> None:
    """Start the gateway: data plane, console and its API on one port."""
    typed = {name: value.value if isinstance(value, Enum) else value for name, value in flags.items()}
    chosen = settings.load(typed, file=config)

    gc.disable()  # while so much is imported, of which nothing is garbage; `run` has it looked for again
    from trunkline.server.serving import run  # late: `--help` and errors in settings need no server

    run(chosen)


def command() -> Callable[..., None]:
    """Return `serve` with one flag for each setting that may be shown in a process list."""
    file = typer.Option(help="Settings file; else ./trunkline.toml or the data directory's.")
    annotations: dict[str, Any] = {"config": Annotated[Path | None, file]}
    types = get_type_hints(Settings)
    annotations |= {entry.name: _flag(entry, types[entry.name]) for entry in settings.table() if _has_flag(entry)}

    def started(**flags: Any) -> None:
        serve(**flags)

    started.__doc__ = serve.__doc__
    started.__annotations__ = annotations
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in annotations.items()]
    started.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return started


def _has_flag(entry: Field[Any]) -> bool:
    # A secret on a command line is in every process list; tables of providers are for the file.
    return entry.name != "providers" and not entry.metadata["secret"]


def _flag(entry: Field[Any], type_: Any) -> Any:
    choices = entry.metadata["choices"]
    option = typer.Option(
        f"--{entry.name.replace('_', '-')}",
        help=(
            f"{entry.metadata['help']} Default: {settings.default_words(entry)}."
            f" Variable: {settings.environment_name(entry)}."
        ),
        metavar=None if choices else _metavar(type_),
        show_default=False,
    )
    # Values stay text: the settings table converts and checks them, whatever source they come from.
    kind: Any = Enum(entry.name, {choice: choice for choice in choices}) if choices else str
    return Annotated[kind | None, option]


def _metavar(kind: Any) -> str:
    words = {bool: "true|false", int: "NUMBER", float: "NUMBER", str: "TEXT", tuple[str, ...]: "A,B,..."}
    return words.get(kind, "PATH")


flagged = command()
