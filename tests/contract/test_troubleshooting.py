"""docs/troubleshooting.md explains each code that the product can emit, and none that it cannot."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest

from trunkline.cli.endings import Ending
from trunkline.errors import GatewayError, UpstreamUpgradeRefused
from trunkline.local.codes import FailureCode, MistakeCode, ProblemCode
from trunkline.probe.report import ExitStatus
from trunkline.realtime import closing

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "trunkline"
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
# They observe others' codes, and have none.
STRANGERS = ("probe", "benchmark")
RFC6455 = {"PROTOCOL_ERROR": 1002, "INVALID_TEXT": 1007, "MESSAGE_TOO_BIG": 1009, "GOING_AWAY": 1001}


@cache
def modules() -> dict[Path, list[ast.AST]]:
    """What of each module's syntax may hold a code."""
    paths = [path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] not in STRANGERS]
    kinds = (ast.keyword, ast.Dict, ast.Assign, ast.Attribute, ast.Call, ast.ClassDef)
    return {
        path: [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
        for path in paths
        if re.search(
            r'\bcode ?=|"code"|code: |close_code|WSCloseCode|\breason = |[Ee]xit\(|\.close\([^)]',
            text := path.read_text("utf-8"),
        )
    }


def nodes(kind: type[Any], folder: str = "") -> Iterator[Any]:
    for path, found in modules().items():
        if path.is_relative_to(SOURCE / folder):
            yield from (node for node in found if isinstance(node, kind))


@cache
def errors() -> list[type[GatewayError]]:
    """All errors that are answered, wherever their classes are."""
    for path, found in modules().items():
        names = {
            part.targets[0].id
            for node in found
            if isinstance(node, ast.ClassDef)
            for part in node.body
            if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)
        }
        if names & {"code", "reason", "close_code"}:
            import_module(".".join(path.relative_to(SOURCE.parent).with_suffix("").parts))
    known, waiting = [], [GatewayError]
    while waiting:
        known.append(waiting.pop())
        waiting += known[-1].__subclasses__()
    return [error for error in known if error.__module__.startswith("trunkline.")]


def words_in(node: ast.AST | None) -> set[str]:
    """The words that an expression may come to, as far as they stand there."""
    match node:
        case ast.Constant(str() as word) if re.fullmatch(r"[a-z]+(_[a-z]+)+", word):
            return {word}
        case ast.IfExp():
            return words_in(node.body) | words_in(node.orelse)
    return set()


def inline_codes() -> set[str]:
    """The codes that are given where they are used: as ``code=``, in an error object, or by way of a variable."""
    found: set[str] = set()
    for call in nodes(ast.keyword):
        found |= words_in(call.value) if call.arg == "code" else set()
    for table in nodes(ast.Dict):
        for key, value in zip(table.keys, table.values, strict=True):
            found |= words_in(value) if isinstance(key, ast.Constant) and key.value == "code" else set()
    for assignment in nodes(ast.Assign):
        names = {target.id for target in assignment.targets if isinstance(target, ast.Name)}
        found |= words_in(assignment.value) if "code" in names else set()
    return found


def table(heading: str) -> dict[str, str]:
    """The rows of the table in a section: what stands first in each, and the rest."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (.*) \|$", section, re.MULTILINE)
    assert len(dict(rows)) == len(rows), heading
    return dict(rows)


@cache
def entries() -> dict[str, str]:
    found = re.findall(r"^### `([^`]+)`\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert len(dict(found)) == len(found)
    return dict(found)


def local_codes() -> set[str]:
    return {code for kind in (ProblemCode, MistakeCode, FailureCode) for code in get_args(kind)}


def test_each_code_in_words_has_an_entry_and_each_entry_a_code() -> None:
    explained = entries().keys() | table("The local provider").keys()
    emitted = {error.reason for error in errors()} | inline_codes() | local_codes()
    assert explained == emitted


def test_the_local_providers_table_has_its_codes_alone() -> None:
    assert table("The local provider").keys() == local_codes()


@pytest.mark.parametrize("reason", sorted({error.reason for error in errors()}))
def test_an_entry_has_the_facts_of_its_errors_and_an_example_as_it_is_answered(reason: str) -> None:
    same = [error for error in errors() if error.reason == reason]
    entry = entries()[reason]
    numbers = " or ".join(f"`{number}`" for number in sorted({error.code for error in same}))
    for error in same:
        facts = f"Status {error.status} · number {numbers} · type `{error.type}` · close code `{error.close_code}`"
        assert facts in entry, error.__name__
    example = json.loads(re.findall(r"^```json\n(.*)\n```$", entry, re.MULTILINE)[0])["error"]
    assert example["message"].strip()
    assert example == {"message": example["message"], "type": same[0].type, "param": None, "code": reason}


@pytest.mark.parametrize("code", sorted(entries()))
def test_an_entry_says_what_it_means_why_and_what_to_do(code: str) -> None:
    meaning, causes, advice, example = re.fullmatch(
        r"\n.+\n\n((?:.+\n)+)\n((?:- .+\n(?:  .+\n)*)+)\n\*\*What to do\.\*\* ((?:.+\n)+)\n```json\n(.+)\n```\n+",
        entries()[code],
    ).groups()  # type: ignore[union-attr]
    assert meaning
    assert causes
    assert advice
    assert code in str(json.loads(example))


def test_each_number_has_an_entry_with_its_words() -> None:
    words: dict[str, set[str]] = {}
    for error in errors():
        words.setdefault(str(error.code), set()).add(error.reason)
    explained = {number: set(re.findall(r"`(\w+)`", rest)) for number, rest in table("Numbers").items()}
    assert explained == words


def test_each_number_of_the_management_api_has_an_entry() -> None:
    envelope = import_module("trunkline.server.management.envelope")
    given = [call for call in nodes(ast.Call, "server/management") if ast.unparse(call.func) == "Problem"]
    assert given
    for call in given:  # by its name, or by the error's
        code = next(keyword.value for keyword in call.keywords if keyword.arg == "code")
        assert not isinstance(code, ast.Constant), ast.unparse(call)
    named = {value for name, value in vars(envelope).items() if name.isupper() and type(value) is int and value >= 1000}
    assert {str(number) for number in named} | {"7010"} == table("Cloudflare's management API").keys()


def test_each_close_code_has_an_entry() -> None:
    codes = {error.close_code for error in errors()}
    codes |= {
        UpstreamUpgradeRefused("", upstream_status=status, headers=[], body=b"").close_code
        for status in range(400, 600)
    }
    codes |= {value for name, value in vars(closing).items() if name.isupper() and name[0] != "_"}
    for attribute in nodes(ast.Attribute):
        if isinstance(attribute.value, ast.Name) and attribute.value.id == "WSCloseCode":
            codes.add(RFC6455[attribute.attr])
    for keyword in nodes(ast.keyword):
        if keyword.arg == "close_code" and isinstance(keyword.value, ast.Constant):
            codes.add(keyword.value.value)
    for call in nodes(ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "close" and call.args:
            codes |= {call.args[0].value} if isinstance(call.args[0], ast.Constant) else set()
    assert {str(code) for code in codes} == table("WebSocket close codes").keys()


def test_each_exit_status_has_an_entry_and_commands_end_with_no_other() -> None:
    assert {str(int(status)) for status in (*Ending, *ExitStatus)} == table("Exit statuses").keys()
    for call in nodes(ast.Call, "cli"):
        name = ast.unparse(call.func)
        if name.rpartition(".")[2] in ("Exit", "exit", "_exit"):
            assert not any(isinstance(part, ast.Constant) for part in ast.walk(call) if part is not call), name
