"""Exports of ChatGPT, Open WebUI and this gateway, read as they are found in files."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from typing import Any

import pytest

from trunkline.store.conversation_imports import (
    ExportFile,
    ImportFault,
    read_chatgpt,
    read_entry,
    read_open_webui,
)
from trunkline.store.conversation_tree import Conversation, ImportedConversation, Message, as_markdown, branch
from trunkline.store.conversations import as_export_line


def node(id: str, parent: str | None, children: list[str], said: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"id": id, "message": said, "parent": parent, "children": children}


def said(role: str, text: str, **about: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [text]}
    return {
        "id": "x",
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1700000000.5,
        "content": content,
        "status": "finished_successfully",
        "metadata": about,
        "recipient": "all",
    }


def chatgpt(mapping: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "title": "Mountains",
        "create_time": 1700000000.0,
        "update_time": 1700000100.0,
        "mapping": mapping,
        "current_node": "a2",
        "conversation_id": "11111111-2222-3333-4444-555555555555",
        "default_model_slug": "gpt-4o",
        **more,
    }


MAPPING = {
    "root": node("root", None, ["sys"]),
    "sys": node("sys", "root", ["q"], said("system", "", is_visually_hidden_from_conversation=True)),
    "q": node("q", "sys", ["a2", "a1"], said("user", "How high is it?")),
    # Of two answers the second one of the file stands first: the order is the parent's.
    "a1": node("a1", "q", [], said("assistant", "2962 m", model_slug="gpt-4o")),
    "a2": node("a2", "q", [], said("assistant", "Nearly 3 km", model_slug="gpt-4o-mini")),
}


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


def test_a_tree_of_chatgpt_keeps_its_branches_and_leaves_out_what_was_never_shown() -> None:
    read = read_chatgpt(chatgpt(MAPPING))
    assert [(m.id, m.parent, m.role, m.text) for m in read.messages] == [
        ("q", None, "user", "How high is it?"),
        ("a2", "q", "assistant", "Nearly 3 km"),
        ("a1", "q", "assistant", "2962 m"),
    ]
    assert (read.title, read.head, read.model) == ("Mountains", "a2", "gpt-4o")
    assert (read.created_at, read.changed_at) == (1700000000.0, 1700000100.0)
    assert read.messages[1].model == "gpt-4o-mini"
    assert read.messages[0].created_at == 1700000000.5
    assert read.origin == "chatgpt:11111111-2222-3333-4444-555555555555"


def test_what_hangs_on_an_unshown_node_hangs_on_the_one_above() -> None:
    hidden = said("tool", "cache", is_visually_hidden_from_conversation=True)
    mapping = {
        "q": node("q", None, ["t"], said("user", "Weather?")),
        "t": node("t", "q", ["a"], hidden),
        "a": node("a", "t", [], said("assistant", "Rain")),
    }
    read = read_chatgpt(chatgpt(mapping, current_node="t"))
    assert [(m.id, m.parent) for m in read.messages] == [("q", None), ("a", "q")]
    assert read.head == "q"


@pytest.mark.parametrize(
    ("content", "text", "parts"),
    [
        ({"content_type": "text", "parts": ["a", "", "b"]}, "a\n\nb", []),
        ({"content_type": "code", "language": "python", "text": "print(1)"}, "```python\nprint(1)\n```", []),
        ({"content_type": "code", "language": "unknown", "text": "a ``` b"}, "````\na ``` b\n````", []),
        ({"content_type": "execution_output", "text": "1\n"}, "```\n1\n```", []),
        (
            {
                "content_type": "multimodal_text",
                "parts": [
                    {"content_type": "image_asset_pointer", "asset_pointer": "file-service://f1", "width": 3},
                    {"content_type": "audio_transcription", "text": "spoken"},
                    "typed",
                ],
            },
            "spoken\n\ntyped",
            [{"content_type": "image_asset_pointer", "asset_pointer": "file-service://f1", "width": 3}],
        ),
        ({"content_type": "tether_quote", "title": "T", "url": "https://e.example", "text": "Q"}, None, []),
        ({"content_type": "tether_browsing_display", "result": "found", "summary": None}, "found", []),
        ({"content_type": "user_editable_context", "user_profile": "I am"}, "", []),
        ({"content_type": "thoughts", "thoughts": [{"content": "hm"}]}, "", []),
        ({"content_type": "of tomorrow", "unheard": [1]}, "", []),
    ],
)
def test_each_kind_of_content_becomes_text_or_a_part(
    content: dict[str, Any], text: str | None, parts: list[Any]
) -> None:
    mapping = {
        "q": node("q", None, ["m"], said("user", "Go")),
        "m": node("m", "q", [], {**said("assistant", ""), "content": content}),
    }
    read = read_chatgpt(chatgpt(mapping)).messages[1:]
    expected = "T\n\nhttps://e.example\n\nQ" if text is None else text
    assert [(message.text, message.parts) for message in read] == ([(expected, parts)] if expected or parts else [])


def test_a_large_part_is_noted_without_what_is_in_it() -> None:
    part = {"content_type": "image", "data": "A" * 100_000, "name": "cat.png"}
    mapping = {"q": node("q", None, [], {**said("user", ""), "content": {"parts": [part]}})}
    assert read_chatgpt(chatgpt(mapping)).messages[0].parts == [{"content_type": "image", "name": "cat.png"}]


def test_a_conversation_that_is_long_is_read_without_recursion() -> None:
    mapping = {
        f"n{number}": node(f"n{number}", f"n{number - 1}" if number else None, [f"n{number + 1}"], said("user", "x"))
        for number in range(15_000)
    }
    assert len(read_chatgpt(chatgpt(mapping)).messages) == 15_000


def test_a_message_that_is_named_with_nothing_is_a_root_and_none_hangs_on_it() -> None:
    mapping = {"a": node("a", None, [], said("user", "x")), "": node("", "", [""], said("user", "y"))}
    assert [message.text for message in read_chatgpt(chatgpt(mapping)).messages] == ["x", "y"]


def test_a_tree_that_goes_in_a_circle_is_refused() -> None:
    mapping = {"a": node("a", "b", ["b"], said("user", "x")), "b": node("b", "a", ["a"], said("user", "y"))}
    with pytest.raises(ImportFault, match="circle"):
        read_chatgpt(chatgpt(mapping))


def webui(chat: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "w1", "user_id": "u", "title": "Alps", "chat": chat, "created_at": 1700000000, **more}


def test_a_tree_of_open_webui_keeps_its_branches() -> None:
    messages = {
        "q": {"id": "q", "parentId": None, "childrenIds": ["a", "b"], "role": "user", "content": "Hi", "models": ["m"]},
        "b": {
            "id": "b",
            "parentId": "q",
            "childrenIds": [],
            "role": "assistant",
            "content": "Second",
            "model": "llama3",
            "timestamp": 1700000005,
            "usage": {"prompt_tokens": 3, "completion_tokens": 4},
        },
        "a": {"id": "a", "parentId": "q", "childrenIds": [], "role": "assistant", "content": "First"},
    }
    chat = {"models": ["llama3"], "history": {"messages": messages, "currentId": "b"}, "messages": []}
    read = read_open_webui(webui(chat, updated_at=1700000010, pinned=True, archived=False))
    assert [(m.id, m.parent, m.text) for m in read.messages] == [
        ("q", None, "Hi"),
        ("a", "q", "First"),
        ("b", "q", "Second"),
    ]
    assert (read.head, read.model, read.pinned, read.changed_at) == ("b", "llama3", True, 1700000010.0)
    second = read.messages[2]
    assert (second.model, second.tokens_in, second.tokens_out, second.created_at) == ("llama3", 3, 4, 1700000005.0)
    assert read.origin == "open-webui:w1"


def test_an_older_export_of_open_webui_is_a_list_with_one_branch() -> None:
    listed = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {"role": "assistant", "content": "A cat", "error": {"content": "cut"}},
    ]
    for entry in (webui({"title": "T", "messages": listed}), {"id": "w1", "title": "T", "messages": listed}):
        read = read_open_webui(entry)
        assert [(m.id, m.parent, m.text) for m in read.messages] == [("m0", None, "See"), ("m1", "m0", "A cat")]
        assert read.messages[0].parts == [{"type": "image_url", "image_url": {"url": "u"}}]
        assert read.messages[1].status == "failed"
        assert read.head == "m1"


@pytest.mark.parametrize("written", [1700000000, 1700000000000, 1700000000000000, 1700000000000000000])
def test_a_time_is_read_in_whatever_unit_it_was_written(written: int) -> None:
    assert read_open_webui(webui({"messages": []}, created_at=written)).created_at == 1700000000.0


@pytest.mark.parametrize("wrong", [None, 3, "x", [], {}, {"mapping": []}, {"chat": "x"}, {"trunkline_conversation": 2}])
def test_an_entry_that_is_no_conversation_is_refused(wrong: Any) -> None:
    with pytest.raises(ImportFault):
        read_entry(wrong)


@pytest.mark.parametrize("odd", [None, 3, "x", [3], {"a": 3}, True, -1, 1e300])
def test_a_value_of_another_kind_than_expected_never_ends_the_reading(odd: Any) -> None:
    """Each place of each form, one after another, holds something else."""
    chat = {"models": ["m"], "history": {"messages": {"q": {"role": "user", "content": "Hi"}}, "currentId": "q"}}
    for form in (chatgpt(MAPPING), webui(chat), webui({"messages": [{"role": "user", "content": "x"}]})):
        for place in places(form):
            try:
                read = read_entry(with_other(form, place, odd))
            except ImportFault:
                continue
            ids = {message.id for message in read.messages}
            assert all(message.parent is None or message.parent in ids for message in read.messages)
            assert read.head in ids | {""}


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in below for place in [(*above, key), *places(inner, (*above, key))]]


def with_other(form: dict[str, Any], place: tuple[Any, ...], odd: Any) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(form))
    at: Any = changed
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = odd
    return changed


# Files


def read_file(content: bytes) -> list[ImportedConversation | ImportFault]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return list(ExportFile(file).read())


def archive(**members: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return file.getvalue()


ONE = chatgpt(MAPPING)
TWO = webui({"messages": [{"role": "user", "content": "Grüße"}]})


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([ONE, TWO]).encode(),
        b"\xef\xbb\xbf \n" + json.dumps([ONE, TWO], ensure_ascii=False, indent=2).encode(),
        (json.dumps(ONE) + "\n" + json.dumps(TWO) + "\n").encode(),
        archive(**{"export/conversations.json": json.dumps([ONE, TWO]), "export/user.json": "{}"}),
        archive(**{"conversations-000.json": json.dumps([ONE]), "conversations-001.json": json.dumps([TWO])}),
    ],
)
def test_a_file_is_read_in_every_form_it_comes_in(content: bytes) -> None:
    first, second = read_file(content)
    assert isinstance(first, ImportedConversation)
    assert isinstance(second, ImportedConversation)
    assert (texts(first.messages)[0], texts(second.messages)) == ("How high is it?", ["Grüße"])


def test_one_bad_entry_is_told_by_its_number_and_the_others_are_read() -> None:
    first, second, third = read_file(json.dumps([ONE, {"mapping": 3}, TWO]).encode())
    assert isinstance(first, ImportedConversation)
    assert str(second) == "Entry 2: 'mapping' must be an object."
    assert isinstance(third, ImportedConversation)


def test_half_a_character_becomes_a_sign_and_whole_ones_stay() -> None:
    entry = json.dumps(
        [webui({"messages": [{"role": "user", "content": "\ud83d cut, \U0001f600 whole, \\ud83d typed"}]})]
    )
    assert "\\ud83d cut" in entry
    (read,) = read_file(entry.encode())
    assert isinstance(read, ImportedConversation)
    assert texts(read.messages) == ["\ufffd cut, \U0001f600 whole, \\ud83d typed"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"hello", "no JSON"),
        (b'[{"mapping": {}}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff\xfe[", "no JSON"),
        (archive(**{"chat.html": "<p>"}), "no conversations.json"),
        (archive(**{"conversations.json": "[]"})[:-40] + b"x" * 40, "no JSON|damaged"),
    ],
)
def test_a_file_that_is_no_export_is_refused_with_what_to_give(content: bytes, says: str) -> None:
    with pytest.raises(ImportFault, match=says):
        read_file(content)


def test_an_archive_that_unfolds_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.store.conversation_imports.MAX_UNFOLDED_BYTES", 1024 * 1024)
    with pytest.raises(ImportFault, match="unfolds to more than 1 MiB"):
        read_file(archive(**{"conversations.json": " " * 3_000_000}))


def own() -> Conversation:
    messages = [
        Message(id="q", parent=None, role="user", text="Hi", created_at=1.0),
        Message(id="a", parent="q", role="assistant", text="Hello", created_at=2.0, model="m1", cost=0.5),
        Message(id="b", parent="q", role="assistant", text="Hey", created_at=3.0),
    ]
    return Conversation(
        id="c1",
        kind="voice",
        title="Greetings",
        model="m1",
        provider="openai",
        settings={"system_prompt": "Be kind."},
        head="a",
        pinned=True,
        archived=False,
        origin=None,
        created_at=1.0,
        changed_at=4.0,
        messages=messages,
    )


def test_what_is_exported_here_is_read_here_without_loss() -> None:
    (read,) = read_file(as_export_line(own()))
    assert isinstance(read, ImportedConversation)
    assert read.origin == "trunkline:c1"
    for name in set(ImportedConversation.__struct_fields__) - {"origin"}:
        assert getattr(read, name) == getattr(own(), name)


def test_markdown_holds_the_branch_that_is_shown() -> None:
    assert as_markdown(own()) == "# Greetings\n\n## User\n\nHi\n\n## Assistant (m1)\n\nHello\n"
    assert texts(branch(own().messages, "b")) == ["Hi", "Hey"]
