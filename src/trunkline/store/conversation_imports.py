"""Conversations out of files that other programs export: ChatGPT, Open WebUI, and this gateway itself.

A file is read as a map of its entries, and one entry at a time: of a large export only one conversation is in memory
twice. What an entry holds that is no conversation is told with the number of the entry, and the others are read on.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO, Final, Literal, cast

import msgspec

from trunkline.store.conversation_tree import (
    MAX_MESSAGES,
    MAX_TEXT,
    MAX_TITLE,
    Conversation,
    ConversationFault,
    ImportedConversation,
    Message,
    Role,
    is_id,
    one_line,
    storable,
)
from trunkline.store.conversations import OWN_ORIGIN, Conversations, Imported
from trunkline.wire.documents import UNREADABLE

MAX_ENTRIES: Final = 100_000
# Of one conversation, and of all that a compressed file unfolds to.
MAX_ENTRY_BYTES: Final = 64 * 1024 * 1024
MAX_UNFOLDED_BYTES: Final = 512 * 1024 * 1024

_PIECE: Final = 1024 * 1024
_ROLES: Final[Mapping[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system", "tool": "tool"}
_MAX_PARTS: Final = 32
_MAX_PART_BYTES: Final = 1500


class ImportFault(ValueError):
    """A file, or an entry of it, cannot be imported; ``str()`` is a sentence that says why and quotes nothing of it."""


class ExportFile:
    """An export in an open file, which must stay open while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        """Find the entries of a file. Raises `ImportFault` for one that is no export."""
        documents = _unfolded(file) if zipfile.is_zipfile(file) else [_mapped(file)]
        self._entries = [entry for document in documents for entry in _entries(document)]
        if len(self._entries) > MAX_ENTRIES:
            raise ImportFault(f"The file holds more than {MAX_ENTRIES:,} conversations; import it in parts.")

    def __len__(self) -> int:
        return len(self._entries)

    def read(self) -> Iterator[ImportedConversation | ImportFault]:
        """Yield each conversation, or why it could not be read."""
        for number, entry in enumerate(self._entries, start=1):
            yield _read(number, entry)


async def take_in(
    store: Conversations, owner: str, entry: ImportedConversation | ImportFault
) -> tuple[Imported | Literal["skipped"], str]:
    """Keep what was read; return what became of it, and why where it was skipped for more than being empty."""
    if isinstance(entry, ImportFault):
        return "skipped", str(entry)
    if not entry.messages:
        return "skipped", ""
    try:
        return await store.add_imported(owner, entry), ""
    except ConversationFault as fault:
        return "skipped", str(fault)


def _mapped(file: BinaryIO) -> mmap.mmap:
    if not file.seek(0, os.SEEK_END):
        raise ImportFault("The file is empty.")
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # unmapped with the last entry that looks into it


def _read(number: int, entry: msgspec.Raw) -> ImportedConversation | ImportFault:
    if len(memoryview(entry)) > MAX_ENTRY_BYTES:
        return ImportFault(f"Entry {number} is larger than {MAX_ENTRY_BYTES // 1024 // 1024} MiB.")
    try:
        return read_entry(msgspec.json.decode(entry))
    except ImportFault as fault:
        return ImportFault(f"Entry {number}: {fault}")
    except (ValueError, RecursionError):
        return ImportFault(f"Entry {number}: it is no JSON that can be read.")


def read_entry(entry: Any) -> ImportedConversation:
    """Read one conversation in whichever of the known forms it is. Raises `ImportFault`."""
    if not isinstance(entry, dict):
        raise ImportFault("a conversation must be an object.")
    for mark, reader in _FORMS.items():
        if mark in entry:
            return reader(entry)
    raise ImportFault("it is no conversation of ChatGPT, Open WebUI or Trunkline.")


def read_chatgpt(entry: Mapping[str, Any]) -> ImportedConversation:
    """Read an element of ChatGPT's ``conversations.json``. Raises `ImportFault`.

    Nodes that ChatGPT does not show are passed over: their children stand in their place.
    """
    nodes = _object(entry.get("mapping"), "'mapping'")
    tree = {
        key: _Node(_text(node.get("parent")), [_text(child) for child in _list(node.get("children"))])
        for key, node in nodes.items()
        if isinstance(node, dict)
    }

    def read(id: str, parent: str | None) -> Message | None:
        said = nodes[id].get("message")
        return _chatgpt_message(id, parent, said, began) if isinstance(said, dict) else None

    began = _time(entry.get("create_time"), 0.0)
    messages, heads = _flattened(tree, read)
    return _imported(
        origin=f"chatgpt:{_text(entry.get('conversation_id')) or _text(entry.get('id')) or _print_of(entry)}",
        title=_text(entry.get("title")),
        model=_text(entry.get("default_model_slug")),
        head=heads.get(_text(entry.get("current_node"))),
        archived=entry.get("is_archived") is True,
        pinned=entry.get("is_starred") is True,
        created_at=began,
        changed_at=_time(entry.get("update_time"), began),
        messages=messages,
    )


def read_open_webui(entry: Mapping[str, Any]) -> ImportedConversation:
    """Read an element of Open WebUI's export of chats: a tree or, of older versions, a list. Raises `ImportFault`."""
    chat = _object(entry.get("chat", entry), "'chat'")
    began = _time(entry.get("created_at") or chat.get("timestamp"), 0.0)
    history = chat.get("history")
    nodes, current = _open_webui_nodes(history if isinstance(history, dict) else {}, _list(chat.get("messages")))
    tree = {
        key: _Node(_text(node.get("parentId")), [_text(child) for child in _list(node.get("childrenIds"))])
        for key, node in nodes.items()
    }
    models = [_text(model) for model in _list(chat.get("models"))]

    def read(id: str, parent: str | None) -> Message | None:
        return _open_webui_message(id, parent, nodes[id], began)

    messages, heads = _flattened(tree, read)
    return _imported(
        origin=f"open-webui:{_text(entry.get('id')) or _text(chat.get('id')) or _print_of(entry)}",
        title=_text(entry.get("title")) or _text(chat.get("title")),
        model=next((model for model in models if model), ""),
        settings={"system_prompt": system} if (system := _text(chat.get("system"))) else {},
        head=heads.get(current),
        archived=entry.get("archived") is True,
        pinned=entry.get("pinned") is True,
        created_at=began,
        changed_at=_time(entry.get("updated_at"), began),
        messages=messages,
    )


def read_own(entry: Mapping[str, Any]) -> ImportedConversation:
    """Read a line of this gateway's own export. Raises `ImportFault`."""
    if entry.get("trunkline_conversation") != 1:
        raise ImportFault("it was exported by a newer Trunkline, in a form that this one does not know.")
    try:
        kept = msgspec.convert(entry, Conversation)
    except msgspec.ValidationError as error:
        raise ImportFault(f"it is no conversation as Trunkline exports it: {error}.") from None
    values = {name: getattr(kept, name) for name in ImportedConversation.__struct_fields__ if name != "origin"}
    return ImportedConversation(**values, origin=kept.origin or f"{OWN_ORIGIN}{kept.id}"[:MAX_TITLE])


# By what each form has and no other.
_FORMS: Final[dict[str, Callable[[Mapping[str, Any]], ImportedConversation]]] = {
    "trunkline_conversation": read_own,
    "mapping": read_chatgpt,
    "chat": read_open_webui,
    "history": read_open_webui,
    "messages": read_open_webui,
}


class _Node(msgspec.Struct):
    parent: str
    children: list[str]


def _flattened(
    tree: Mapping[str, _Node], read: Callable[[str, str | None], Message | None]
) -> tuple[list[Message], dict[str, str]]:
    """Return the messages of a tree, a parent before its children, and by node the message that stands for it.

    That is its own, or where it has none to show that of the nearest node above.
    """
    children: dict[str | None, list[str]] = {}
    for key, node in tree.items():  # a node may be named with nothing, as may what is above a root
        children.setdefault(node.parent if node.parent and node.parent in tree else None, []).append(key)
    for above, node in tree.items():
        order = {key: number for number, key in enumerate(node.children)}
        children.get(above, []).sort(key=partial(_order_of, order))
    messages: list[Message] = []
    stands_for: dict[str, str] = {}
    # Of what is in a circle nothing hangs on a root: it is never reached, so this ends.
    waiting: list[tuple[str, str | None]] = [(key, None) for key in reversed(children.get(None, []))]
    reached = 0
    while waiting:
        key, parent = waiting.pop()
        reached += 1
        message = read(key, parent)
        if message is not None:
            messages.append(message)
            parent = message.id
        if parent is not None:
            stands_for[key] = parent
        waiting += [(child, parent) for child in reversed(children.get(key, []))]
    if reached < len(tree):
        raise ImportFault("its messages go in a circle.")
    if len(messages) > MAX_MESSAGES:
        raise ImportFault(f"it has more than {MAX_MESSAGES:,} messages.")
    return messages, stands_for


def _order_of(order: Mapping[str, int], key: str) -> int:
    return order.get(key, len(order))


def _imported(
    *,
    origin: str,
    title: str,
    model: str,
    head: str | None,
    archived: bool,
    pinned: bool,
    created_at: float,
    changed_at: float,
    messages: list[Message],
    settings: dict[str, Any] | None = None,
) -> ImportedConversation:
    return ImportedConversation(
        origin=storable(origin)[:MAX_TITLE],
        kind="text",
        title=one_line(title, MAX_TITLE),
        model=model[:200],
        provider="",
        settings=settings or {},
        head=head or (messages[-1].id if messages else ""),
        pinned=pinned,
        archived=archived,
        created_at=created_at,
        changed_at=changed_at,
        messages=messages,
    )


def _chatgpt_message(id: str, parent: str | None, said: Mapping[str, Any], began: float) -> Message | None:
    about = said.get("metadata")
    about = about if isinstance(about, dict) else {}
    if about.get("is_visually_hidden_from_conversation") is True:
        return None
    content = said.get("content")
    content = content if isinstance(content, dict) else {}
    text, parts = _chatgpt_content(content)
    author = said.get("author")
    role = _ROLES.get(_text(author.get("role")) if isinstance(author, dict) else "", "tool")
    if not text and not parts:
        return None
    return _message(
        id,
        parent,
        role,
        text,
        parts,
        model=_text(about.get("model_slug")) if role == "assistant" else "",
        created_at=_time(said.get("create_time"), began),
    )


# What the model told itself about the person, and about its own thinking.
_CHATGPT_UNSHOWN: Final = {"user_editable_context", "model_editable_context", "thoughts", "reasoning_recap"}


def _chatgpt_content(content: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    kind = _text(content.get("content_type"))
    if kind in _CHATGPT_UNSHOWN:
        return "", []
    if kind in ("code", "execution_output"):
        code = _text(content.get("text")).strip("\n")
        language = _text(content.get("language")) if kind == "code" else ""
        return (_fenced(code, "" if language == "unknown" else language), []) if code.strip() else ("", [])
    if kind == "tether_quote":
        source = [_text(content.get(name)) for name in ("title", "url")]
        return "\n\n".join(piece for piece in (*source, _text(content.get("text"))) if piece), []
    texts = [_text(content.get(name)) for name in ("text", "result")]
    parts: list[dict[str, Any]] = []
    for part in _list(content.get("parts")):
        if isinstance(part, dict):
            texts.append(_text(part.get("text")))
            if not texts[-1]:
                parts.append(part)
        else:
            texts.append(_text(part))
    return "\n\n".join(text for text in texts if text.strip()), parts


def _fenced(code: str, language: str) -> str:
    fence = "```"
    while fence in code:
        fence += "`"
    return f"{fence}{language if language.isalnum() else ''}\n{code}\n{fence}"


def _open_webui_nodes(history: Mapping[str, Any], listed: Sequence[Any]) -> tuple[dict[str, Mapping[str, Any]], str]:
    """Return messages by id, and the id of the last one shown. A list without a tree is a tree with one branch."""
    tree = history.get("messages")
    if isinstance(tree, dict) and tree:
        nodes: dict[str, Mapping[str, Any]] = {key: node for key, node in tree.items() if isinstance(node, dict)}
        return nodes, _text(history.get("currentId"))
    made: dict[str, Mapping[str, Any]] = {}
    last = ""
    for number, message in enumerate(listed):
        if isinstance(message, dict):
            made[f"m{number}"] = {**message, "parentId": last or None, "childrenIds": []}
            last = f"m{number}"
    return made, last


def _open_webui_message(id: str, parent: str | None, node: Mapping[str, Any], began: float) -> Message | None:
    role = _ROLES.get(_text(node.get("role")), "tool")
    content = node.get("content")
    text, parts = "", []
    if isinstance(content, str):
        text = content
    else:  # parts as in a request to OpenAI
        shown = [part for part in _list(content) if isinstance(part, dict)]
        text = "\n\n".join(said for part in shown if (said := _text(part.get("text"))))
        parts = [part for part in shown if not _text(part.get("text"))]
    parts += [file for file in _list(node.get("files")) if isinstance(file, dict)]
    error = node.get("error")
    if not text and not parts and not error:
        return None
    usage = node.get("usage") or node.get("info")
    usage = usage if isinstance(usage, dict) else {}
    return _message(
        id,
        parent,
        role,
        text,
        parts,
        model=_text(node.get("model")) if role == "assistant" else "",
        created_at=_time(node.get("timestamp"), began),
        is_failed=bool(error),
        tokens_in=_count(usage.get("prompt_tokens", usage.get("prompt_eval_count"))),
        tokens_out=_count(usage.get("completion_tokens", usage.get("eval_count"))),
    )


def _message(
    id: str,
    parent: str | None,
    role: Role,
    text: str,
    parts: Iterable[dict[str, Any]],
    *,
    model: str,
    created_at: float,
    is_failed: bool = False,
    tokens_in: int | None = None,
    tokens_out: int | None = None,
) -> Message:
    if len(text) > MAX_TEXT:
        raise ImportFault(f"a message of it is longer than {MAX_TEXT:,} characters.")
    return Message(
        id=id if is_id(id) else hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[:32],
        parent=parent,
        role=role,
        text=text,
        parts=[_small(part) for part in parts][:_MAX_PARTS],
        model=model[:200],
        status="failed" if is_failed else "complete",
        created_at=created_at,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
    )


def _small(part: dict[str, Any]) -> dict[str, Any]:
    """Leave out the values of a part that are large: files themselves are not imported, only that there were some."""
    small: dict[str, Any] = {}
    left = _MAX_PART_BYTES
    for name, value in part.items():
        size = len(msgspec.json.encode({name: value}))
        if size <= left:
            small[name] = value
            left -= size
    return small


def _entries(document: bytes | mmap.mmap) -> list[msgspec.Raw]:
    """Find the entries of a document: the elements of an array, or values one after another. Raises `ImportFault`."""
    try:
        try:
            return _split(memoryview(document)[3 if document[:3] == _MARK else 0 :])
        except msgspec.DecodeError:
            return _split(memoryview(_ESCAPE.sub(_whole_character, document[:].removeprefix(_MARK))))
    except UNREADABLE:
        raise ImportFault(
            "The file is no JSON that can be read. Give the .zip or the conversations.json of ChatGPT's export, the"
            " .json of Open WebUI's, or the .ndjson of this gateway's."
        ) from None


_MARK: Final = b"\xef\xbb\xbf"
# JavaScript writes half of a character where it has cut a text, which strict readers refuse.
_ESCAPE: Final = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


def _whole_character(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]


def _split(document: memoryview) -> list[msgspec.Raw]:
    if bytes(document[:1024]).lstrip()[:1] == b"[":
        return msgspec.json.decode(document, type=list[msgspec.Raw])
    return msgspec.json.Decoder(msgspec.Raw).decode_lines(cast(bytes, document))


def _unfolded(file: BinaryIO) -> list[bytes]:
    """Return the documents with conversations in an archive, such as ChatGPT's export. Raises `ImportFault`."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = sorted(
                (member for member in archive.infolist() if _holds_conversations(member.filename)),
                key=lambda member: member.filename,
            )
            if not members:
                raise ImportFault("The archive holds no conversations.json, as ChatGPT's export does.")
            left = MAX_UNFOLDED_BYTES
            documents = []
            for member in members:
                documents.append(_unpacked(archive, member, left))
                left -= len(documents[-1])
            return documents
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise ImportFault("The archive is damaged, or locked with a password.") from error


def _holds_conversations(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    stem = base.removesuffix(".json").removesuffix(".ndjson")
    return base != stem and (stem == "conversations" or stem.startswith("conversations-"))


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    whole = bytearray()
    with archive.open(member) as packed:
        while piece := packed.read(_PIECE):  # what an archive says of its sizes need not be true
            whole += piece
            if len(whole) > most:
                raise ImportFault(f"The archive unfolds to more than {MAX_UNFOLDED_BYTES // 1024 // 1024} MiB.")
    return bytes(whole)


def _time(value: Any, otherwise: float) -> float:
    """Return Unix seconds; versions of Open WebUI wrote milliseconds and nanoseconds too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return otherwise
    for limit, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
        if value > limit:
            return min(float(value) / unit, 1e11)
    return float(value)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ImportFault(f"{name} must be an object.")
    return value


def _print_of(entry: Mapping[str, Any]) -> str:
    """Return a name for an entry that has none: the same for the same entry."""
    return hashlib.sha256(msgspec.json.encode(entry, order="sorted")).hexdigest()[:32]
