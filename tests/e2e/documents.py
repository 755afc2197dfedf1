"""What the pages of the documentation show: their blocks of commands, code and settings, in order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from trunkline.cli import application

ROOT = Path(__file__).parents[2]
SHELL = frozenset({"sh", "bash", "console"})
# Output, and what stands for it. No command may hide here.
WORDS = frozenset({"text", "http"})

_FENCE = re.compile(r"^(\s*)(`{3,})\s*([\w-]*)(.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_NOTE = re.compile(r"^\s*<!--\s*(not run|prints|exits|runs in):\s*(.+?)\s*-->\s*$")
_LIST_ITEM = re.compile(r"^\s*([-*+]|\d+\.)\s")
_INLINE = re.compile(r"(?<!`)`(trunkline [^`]+)`(?!`)")
_HERE = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")


@dataclass(frozen=True)
class Block:
    """A block of a page. ``title`` is the file that it shows; ``notes`` are the HTML comments above it."""

    page: str
    line: int
    language: str
    text: str
    title: str
    notes: dict[str, str]

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """The README and every page of docs/, by their paths in the checkout."""
    docs = ROOT / "docs"
    return ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in docs.rglob("*.md"))]


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order; an indented one is a shell's."""
    return list(_blocks(page, (ROOT / page).read_text("utf-8")))


def commands_in_words(page: str) -> list[str]:
    """The commands that a page names within its sentences."""
    return [" ".join(text.split()) for text in _INLINE.findall((ROOT / page).read_text("utf-8"))]


def _blocks(page: str, text: str) -> Iterator[Block]:
    lines = [*text.split("\n"), ""]
    notes: dict[str, str] = {}
    in_list = False
    at = 0
    while at < len(lines):
        line = lines[at]
        if note := _NOTE.match(line):
            notes[note[1]] = note[2]
        elif fence := _FENCE.match(line):
            inner = list(_until(lines, at + 1, fence[2]))
            shown = "\n".join(one.removeprefix(fence[1]) for one in inner)
            title = _TITLE.search(fence[4])
            yield Block(page, at + 1, fence[3], shown, title[1] if title else "", notes)
            at, notes = at + len(inner) + 1, {}
        elif line.startswith("    ") and not lines[at - 1].strip() and not in_list:
            inner = list(_indented(lines, at))
            yield Block(page, at + 1, "sh", "\n".join(one[4:] for one in inner).strip(), "", notes)
            at, notes = at + len(inner) - 1, {}
        elif line.strip():
            notes = {}
            in_list = bool(_LIST_ITEM.match(line)) or (in_list and line.startswith(" "))
        at += 1


def _until(lines: list[str], start: int, fence: str) -> Iterator[str]:
    for line in lines[start:]:
        if line.strip() == fence:
            return
        yield line
    raise AssertionError(f"A block that begins at line {start} does not end.")


def _indented(lines: list[str], start: int) -> Iterator[str]:
    for line in lines[start:]:
        if line.strip() and not line.startswith("    "):
            return
        yield line


@dataclass(frozen=True)
class Statement:
    """A command of a shell block, and what the page says that it prints."""

    text: str
    printed: str


def statements(block: Block) -> list[Statement]:
    """The commands of a shell block. With ``$`` before the first, what begins otherwise is output."""
    found: list[Statement] = []
    lines = block.text.split("\n")
    shows_output = any(line.startswith("$ ") for line in lines)
    while lines:
        line = lines.pop(0)
        if shows_output and not line.startswith("$ "):
            found[-1] = Statement(found[-1].text, f"{found[-1].printed}{line}\n")
            continue
        text = line.removeprefix("$ ") if shows_output else line
        while lines and not _is_whole(text):
            text += "\n" + lines.pop(0)
        if shlex.split(text, comments=True):
            found.append(Statement(text, ""))
    return found


def _is_whole(text: str) -> bool:
    """Whether nothing of a command is to come: no open quote, no line that goes on, no text that is still read."""
    if text.endswith("\\"):
        return False
    if here := _HERE.search(text):
        return text.split("\n")[-1].strip() == here[2]
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def words_of(statement: str) -> list[str]:
    """A command's words, without its comment."""
    return shlex.split(statement, comments=True)


def is_plain(statement: str) -> bool:
    """Whether a command is words alone: no pipe, no redirection, no variable, nothing for a shell to do."""
    lexer = shlex.shlex(statement, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return not any(set(word) <= set("|<>&;()") for word in lexer) and "$" not in statement and "`" not in statement


def check_known(words: list[str]) -> None:
    """Raise `click.UsageError` unless ``trunkline`` has that command with those options."""
    found: click.Command = application
    rest = words[1:]
    while isinstance(found, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        inner = found.get_command(click.Context(found), name)
        if inner is None:
            raise click.UsageError(f"There is no {name!r} in {' '.join(words)!r}.")
        found = inner
    known = {option for one in found.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
    for word in rest:
        if word.startswith("-") and word != "-" and word.split("=")[0] not in known:
            raise click.UsageError(f"{word!r} in {' '.join(words)!r} is no option.")
