"""``trunkline doctor``: look through a set-up, and say what is wrong with it and what to do."""

from __future__ import annotations

import asyncio
import json as json_module
from pathlib import Path
from typing import Final

import click
import msgspec

import trunkline
from trunkline import settings
from trunkline.cli.commands import Command, json_option
from trunkline.cli.data_directory import data_dir_option
from trunkline.cli.doctor.findings import Finding
from trunkline.cli.endings import judged
from trunkline.cli.output import err, out, styled, table

_COLOURS: Final = {"ok": "green", "warning": "yellow", "fault": "red"}


@click.command(cls=Command)
@click.option("--config", type=click.Path(path_type=Path), help="Settings file to read.")
@data_dir_option
@click.option(
    "--online",
    is_flag=True,
    help="Connect to every provider that has a key here. Neither a key nor a request is sent.",
)
@json_option
def doctor(config: Path | None, data_dir: Path | None, online: bool, json: bool) -> None:
    """Find what is wrong with a set-up, and say what to do.

    Nothing is changed, and no secret is shown. Run it as the user that runs the
    gateway, with the same variables, whether the gateway runs or not.

    \b
    Exit status:
    0  no fault was found; there may be warnings
    1  there are faults
    """  # noqa: D301 (click keeps the lines of a paragraph that begins so)
    from trunkline.cli.doctor.examination import examine  # late: what it looks at is the whole program
    from trunkline.cli.doctor.installation import Installation

    examined = settings.examine({"data_dir": data_dir}, file=config)
    findings = asyncio.run(examine(Installation(examined, is_online=online)))
    counts = {level: sum(one.level == level for one in findings) for level in _COLOURS}
    if json:
        found = [msgspec.structs.asdict(one) for one in findings]
        out(json_module.dumps({"version": trunkline.__version__, **counts, "findings": found}, indent=2))
    else:
        out(table(("", "check", "seen"), map(_row, findings)))
        err(f"{_count(counts['fault'], 'fault')}, {_count(counts['warning'], 'warning')}.")
    raise judged(is_good=not counts["fault"])


def _row(finding: Finding) -> tuple[str, str, str]:
    seen = f"{finding.seen}\n{styled(f'-> {finding.advice}', bold=True)}" if finding.advice else finding.seen
    return styled(finding.level, fg=_COLOURS[finding.level], bold=finding.level != "ok"), finding.check, seen


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
