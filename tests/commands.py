"""Commands of ``trunkline`` as somebody gives them, in this process: to start one takes longer than most of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from trunkline.cli import application


class Done(NamedTuple):
    """What a command printed, and how it ended."""

    returncode: int
    stdout: str
    stderr: str


def command(
    *arguments: str,
    given: str | bytes = "",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Done:
    """Give a command and what is typed. Of the settings in the environment there are those of ``environment`` alone."""
    clean = {name: None for name in os.environ if name.startswith("TRUNKLINE_")}
    with chdir(directory or Path.cwd()):
        result = CliRunner().invoke(
            application, arguments, input=given, env={**clean, "COLUMNS": "300", **(environment or {})}
        )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)
