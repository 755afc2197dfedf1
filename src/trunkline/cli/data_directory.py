"""The data directory, for commands that use nothing else of the settings."""

from __future__ import annotations

from pathlib import Path

import click

from trunkline import settings

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The data directory; by default the one that `serve` uses.",
)


def chosen(data_dir: Path | None) -> Path:
    """Return the flag's value, else what ``trunkline serve`` would use. Raises `SettingsError`."""
    # These commands open no gateway, so one that is set up to be reached from elsewhere needs no token here.
    return settings.load({"data_dir": data_dir, "host": "127.0.0.1"}).data_dir
