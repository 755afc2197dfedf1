"""``trunkline conversations`` against a database of its own."""

from __future__ import annotations

import json
from pathlib import Path

from tests import commands
from tests.commands import Done

CHATGPT = {
    "title": "Alps \x1b[31m[red]",
    "create_time": 1700000000.0,
    "update_time": 1700000000.0,
    "id": "one",
    "mapping": {
        "q": {
            "parent": None,
            "children": ["a"],
            "message": {"author": {"role": "user"}, "content": {"parts": ["Name a mountain"]}},
        },
        "a": {
            "parent": "q",
            "children": [],
            "message": {"author": {"role": "assistant"}, "content": {"parts": ["Watzmann"]}},
        },
    },
}


def command(data_dir: Path, *arguments: str, status: int = 0, typed: str = "") -> Done:
    done = commands.command(*arguments, given=typed, environment={"TRUNKLINE_DATA_DIR": str(data_dir)})
    assert done.returncode == status, done.stderr
    return done


def test_conversations_are_imported_found_exported_given_and_deleted(tmp_path: Path) -> None:
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps([CHATGPT, {"mapping": 3}]))
    data = tmp_path / "data"
    told = command(data, "conversations", "import", str(file)).stderr
    assert told.splitlines() == [
        "Left out: Entry 2: 'mapping' must be an object.",
        "Imported: 1 new, 0 with more messages, 0 known already, 1 left out.",
    ]
    assert "0 new, 0 with more messages, 1 known already" in command(data, "conversations", "import", str(file)).stderr

    (listed,) = json.loads(command(data, "conversations", "list", "--json").stdout)
    assert (listed["title"], listed["messages"]) == (CHATGPT["title"], 2)
    shown = command(data, "conversations", "list").stdout
    assert listed["id"] in shown
    assert "\x1b" not in shown
    assert "[red]" in shown
    assert "Watzmann" in command(data, "conversations", "search", "watz").stdout
    assert "Nothing is found." in command(data, "conversations", "search", "Zugspitze").stderr

    exported = tmp_path / "all.ndjson"
    command(data, "conversations", "export", str(exported))
    assert json.loads(exported.read_text())["messages"][1]["text"] == "Watzmann"
    assert "there already" in command(data, "conversations", "export", str(exported), status=2).stderr
    markdown = command(data, "conversations", "export", "-", "--id", listed["id"], "--markdown").stdout
    assert markdown.endswith("## Assistant\n\nWatzmann\n")

    command(data, "users", "add", "ada", "--role", "admin", typed="a long enough pass phrase\n")
    assert "ada has 1 more" in command(data, "conversations", "give", "ada").stderr
    assert "There are no conversations." in command(data, "conversations", "list").stderr
    assert listed["id"] in command(data, "conversations", "list", "--user", "ada").stdout

    assert command(data, "conversations", "delete", status=2).stderr
    assert "Deleted: 0." in command(data, "conversations", "delete", listed["id"]).stderr
    assert "Deleted: 1." in command(data, "conversations", "delete", "--all", "--yes", "--user", "ada").stderr
    command(data, "conversations", "import", str(exported), "--user", "ada")
    (back,) = json.loads(command(data, "conversations", "list", "--json", "--user", "ada").stdout)
    assert back["title"] == listed["title"]


def test_what_is_no_export_is_refused_with_what_to_give(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("hello")
    told = command(tmp_path / "data", "conversations", "import", str(file), status=2).stderr
    assert "conversations.json of ChatGPT's export" in told
