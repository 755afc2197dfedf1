"""``trunkline sessions audio`` and ``forget``: what was recorded, to listen to and to delete."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from trunkline.cli.commands import Command, argument
from trunkline.cli.data_directory import chosen, data_dir_option
from trunkline.cli.output import err

_STDOUT: Final = "-"


@click.command(cls=Command)
@argument("id", help="The session's id, or the folder of its recording.")
@click.option("--out", metavar="FILE", default="", help="Where to write it; by default ID.wav, - is standard output.")
@data_dir_option
def audio(id: str, out: str, data_dir: Path | None) -> None:
    """Write a recorded session as one WAV to listen to: the user on the left, the assistant on the right.

    Everything is where it was heard: answers that arrived faster than they were
    played are played in time, and end where they were interrupted.
    """
    from trunkline.server.listening import Mix
    from trunkline.server.recordings import StoredRecording

    recording = StoredRecording.find(chosen(data_dir), id)
    target = out or f"{recording.session.id}.wav"
    mix = Mix(recording)  # before the file, which stays as it is where nothing can be played
    if target == _STDOUT:
        sys.stdout.buffer.writelines(mix.pieces())
        return
    with Path(target).open("wb") as file:
        file.writelines(mix.pieces())
    err(f"{target}: {mix.seconds:.0f} seconds, the user on the left, the assistant on the right.")


@click.command(cls=Command)
@argument("id", help="The session's id, from `trunkline sessions list`.")
@data_dir_option
def forget(id: str, data_dir: Path | None) -> None:
    """Delete a session's recording. Its record in the database stays, with the words of both sides."""
    from trunkline.server import recordings

    recordings.forget(chosen(data_dir), id)
    err(f"The recording of session {id} is deleted.")
