"""``trunkline sessions audio`` and ``forget``: what was recorded, to listen to and to delete."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from trunkline.cli.data_directory import DataDirOption, chosen
from trunkline.cli.output import err

_STDOUT: Final = "-"


def audio(
    id: Annotated[str, typer.Argument(help="The session's id, or the folder of its recording.")],
    out: Annotated[
        str, typer.Option(metavar="FILE", help="Where to write it; by default ID.wav, - is standard output.")
    ] = "",
    data_dir: DataDirOption = None,
) -> None:
    """Write a recorded session as one WAV to listen to: the user on the left, the assistant on the right.

    Everything is where it was heard: answers that arrived faster than they were
    played are played in time, and end where they were interrupted.
    """
    from trunkline.server.listening import Mix
    from trunkline.server.recordings import StoredRecording

    recording = StoredRecording.find(chosen(data_dir), id)
    target = out or f"{recording.session.id}.wav"
    if target == _STDOUT:
        sys.stdout.buffer.writelines(Mix(recording).pieces())
        return
    with Path(target).open("wb") as file:
        mix = Mix(recording)
        seconds = mix.seconds
        file.writelines(mix.pieces())
    err.print(f"{target}: {seconds:.0f} seconds, the user on the left, the assistant on the right.", markup=False)


def forget(
    id: Annotated[str, typer.Argument(help="The session's id, from `trunkline sessions list`.")],
    data_dir: DataDirOption = None,
) -> None:
    """Delete a session's recording. Its record in the database stays, with the words of both sides."""
    from trunkline.server import recordings

    recordings.forget(chosen(data_dir), id)
    err.print(f"The recording of session {id} is deleted.", markup=False)
