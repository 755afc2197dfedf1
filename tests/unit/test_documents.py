"""What the documents name is there: commands with their flags, files, headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from trunkline.cli import application

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(text: str) -> Iterator[str]:
    """What is written as a command of trunkline's, in blocks and within lines."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^ *```\w*\n.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [line for line in rest.replace("\\\n", " ").splitlines() if line.startswith("    ")]
    for line in lines:
        if found := re.match(r"\s*(?:[A-Z_]+=\S+ )*(?:\S*/)?(trunkline [^|>#&]+)", line):
            yield found[1].strip()
    yield from re.findall(r"`(trunkline [^`]+)`", rest.replace("\n", " "))


def check(line: str) -> None:
    """Walk the words of a command down to the last one that is a command, and look at its flags."""
    found: click.Command = application
    context = click.Context(found)
    for word in shlex.split(line.replace("'", " ").replace("\N{HORIZONTAL ELLIPSIS}", " "))[1:]:
        if isinstance(found, click.Group) and (inner := found.get_command(context, word)) is not None:
            found = inner
        elif isinstance(found, click.Group) and not word.startswith("-"):
            assert found.invoke_without_command or word in ("...", "|"), f"{line}: there is no {word!r}"
        elif word.startswith("--"):
            flags = {flag for option in found.get_params(context) for flag in (*option.opts, *option.secondary_opts)}
            assert word.partition("=")[0] in flags | {"--help"}, f"{line}: there is no {word}"


@cache
def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_commands_and_their_flags_are_there(page: Path) -> None:
    for line in commands(page.read_text("utf-8")):
        check(line)


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text("utf-8")):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def figures(page: str, heading: str) -> list[list[str]]:
    """The cells of the table behind a heading, without its head."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not set("".join(row)) <= set("-: ")][1:]


def test_what_a_billion_requests_cost_is_computed_from_what_was_measured() -> None:
    scale = (ROOT / "docs" / "scale.md").read_text("utf-8")
    measured = (ROOT / "docs" / "performance.md").read_text("utf-8")
    table = measured.partition("#### Processor time, in microseconds\n")[2].partition("\n#### ")[0]
    row = re.search(r"^\| trunkline \| (.*) \|$", table, re.MULTILINE)
    opened = re.search(r"^\| trunkline-open \| ([\d.,]+)", table, re.MULTILINE)
    assert row is not None
    assert opened is not None
    chat, chunk, _, message, _, cached = (float(cell.split()[0].replace(",", "")) for cell in row[1].split("|"))
    expected = [float(opened[1]), chat, cached, 200 * chunk, 3000 * message]
    found = [row for row in figures(scale, "What a billion requests cost") if len(row) == 4]
    assert len(found) == len(expected)
    for (what, each, hours, dollars), microseconds in zip(found, expected, strict=True):
        core_hours = microseconds * 1000 / 3600
        said = tuple(float(cell.replace(",", "")) for cell in (each, hours, dollars))
        assert said == (round(microseconds), round(core_hours), round(core_hours / 0.6 * 0.04)), what
