"""``trunkline settings``: what is set, and by what."""

from __future__ import annotations

from pathlib import Path

import click

from trunkline import settings as table
from trunkline.cli.commands import Command
from trunkline.cli.output import out, styled


@click.command(cls=Command)
@click.option("--config", type=click.Path(path_type=Path), help="Settings file to read.")
def settings(config: Path | None) -> None:
    """Show every setting: its value, where it comes from, and what it does."""
    chosen, sources = table.load_with_sources(file=config)
    for entry in table.table():
        if entry.name == "providers":
            value, variable = ", ".join(chosen.providers) or "none", f"{table.PROVIDER_PREFIX}*"
        else:
            value, variable = table.value_words(entry, getattr(chosen, entry.name)), table.environment_name(entry)
        name, source = ".".join(table.file_key(entry)), sources[entry.name]
        out(f"{styled(name, bold=True)} = {value}  ({source}; {variable})")
        out(f"    {entry.metadata['help']}")
