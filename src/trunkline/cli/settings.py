"""``trunkline settings``: what is set, and by what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from trunkline import settings as table
from trunkline.cli.output import out


def settings(config: Annotated[Path | None, typer.Option(help="Settings file to read.")] = None) -> None:
    """Show every setting: its value, where it comes from, and what it does."""
    chosen, sources = table.load_with_sources(file=config)
    for entry in table.table():
        if entry.name == "providers":
            value, variable = ", ".join(chosen.providers) or "none", f"{table.PROVIDER_PREFIX}*"
        else:
            value, variable = table.value_words(entry, getattr(chosen, entry.name)), table.environment_name(entry)
        name, source = ".".join(table.file_key(entry)), sources[entry.name]
        out.print(f"[bold]{name}[/bold] = {escape(value)}  ({escape(source)}; {variable})")
        out.print(f"    {escape(entry.metadata['help'])}")
