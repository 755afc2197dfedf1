"""A conversation as it is kept and exported: a tree of messages, of which one branch is shown.

Asking again or editing a question makes a sibling: another message with the same parent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

Kind = Literal["text", "voice"]
Role = Literal["user", "assistant", "system", "tool"]
Status = Literal["complete", "stopped", "interrupted", "failed"]

MAX_TITLE: Final = 200
MAX_TEXT: Final = 1_000_000
MAX_MESSAGES: Final = 20_000
_MAX_OPAQUE: Final = 65_536
# Pictures of a question are in its parts, in base64. A message with the longest text still fits into one change.
MAX_PARTS_BYTES: Final = 4 * 1024 * 1024
_GIVEN_TITLE: Final = 80

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. ``id`` is made by whoever writes it, out of letters, digits, ``-`` and ``_``, 64 at most.

    ``parent`` is null for a first message, and stays what it was, as ``role`` does, when a message is written again.
    ``text`` is what is searched and shown; ``parts`` holds what is no text, as the origin described it: pictures of the
    console as OpenAI's ``image_url`` with all of it in a ``data:`` address, 4 MiB at most. ``created_at`` is in Unix
    seconds, ``cost`` in US dollars. ``log_id`` is the log's row of the exchange, ``session_id`` the realtime session of
    a spoken message. ``details`` is the console's own, such as why an answer failed.
    """

    id: str
    parent: str | None
    role: Role
    text: str
    created_at: float
    parts: list[dict[str, Any]] = []
    model: str = ""
    provider: str = ""
    status: Status = "complete"
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    log_id: str = ""
    session_id: str = ""
    details: dict[str, Any] = {}


class ConversationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation in a list. Times are Unix seconds; ``messages`` is how many there are on all branches."""

    id: str
    kind: Kind
    title: str
    model: str
    provider: str
    pinned: bool
    archived: bool
    created_at: float
    changed_at: float
    messages: int


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A whole conversation: ``messages`` in the order they came, a parent before its children.

    ``head`` is the last message of the branch that is shown, empty where there is none; ``settings`` is the console's
    own, such as a system prompt; ``origin`` says where an imported conversation came from, else it is null.
    """

    id: str
    kind: Kind
    title: str
    model: str
    provider: str
    settings: dict[str, Any]
    head: str
    pinned: bool
    archived: bool
    origin: str | None
    created_at: float
    changed_at: float
    messages: list[Message]


class ConversationChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a conversation, or with what to begin it; what is absent stays as it is.

    Without a ``title`` a new conversation is named after its first message. ``messages`` are added; one whose id is
    known is written again in its place.
    """

    kind: Kind = "text"
    title: str | None = None
    model: str | None = None
    provider: str | None = None
    settings: dict[str, Any] | None = None
    head: str | None = None
    pinned: bool | None = None
    archived: bool | None = None
    messages: list[Message] = []


class ImportedConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation read from an export. ``origin``, at most 200 characters, is the same each time it is read."""

    origin: str
    kind: Kind
    title: str
    model: str
    provider: str
    settings: dict[str, Any]
    head: str
    pinned: bool
    archived: bool
    created_at: float
    changed_at: float
    messages: list[Message]


class ConversationFault(ValueError):
    """A change cannot be kept; ``str()`` is a sentence that says what is wrong with it and quotes no text of it."""


def is_id(id: str) -> bool:
    """Whether an id of a conversation or message has the form of one."""
    return _ID.fullmatch(id) is not None


def checked(change: ConversationChange) -> ConversationChange:
    """Return a change as it can be kept, characters that no database takes left out. Raises `ConversationFault`."""
    _check_length("The model", change.model or "", 200)
    _check_length("The provider", change.provider or "", 64)
    if change.settings is not None:
        _check_opaque("The settings", change.settings)
    return msgspec.structs.replace(
        change,
        title=None if change.title is None else one_line(change.title, MAX_TITLE),
        model=None if change.model is None else storable(change.model),
        provider=None if change.provider is None else storable(change.provider),
        messages=[_checked_message(message) for message in change.messages],
    )


def _checked_message(message: Message) -> Message:
    if not is_id(message.id):
        raise ConversationFault("The id of a message must be 1 to 64 letters, digits, '-' or '_'.")
    what = f"The message {message.id}"
    if len(message.text) > MAX_TEXT:
        raise ConversationFault(f"{what} is longer than {MAX_TEXT:,} characters.")
    for name, longest in (("model", 200), ("provider", 64), ("log_id", 26), ("session_id", 64)):
        _check_length(f"The {name} of {what.lower()}", getattr(message, name), longest)
    _check_opaque(f"{what}: details", message.details)
    _check_opaque(f"{what}: parts", message.parts, MAX_PARTS_BYTES)
    texts = {name: storable(getattr(message, name)) for name in ("text", "model", "provider", "log_id", "session_id")}
    return msgspec.structs.replace(message, **texts)


def _check_length(what: str, value: str, longest: int) -> None:
    if len(value) > longest:
        raise ConversationFault(f"{what} is longer than {longest} characters.")


def _check_opaque(what: str, value: Any, longest: int = _MAX_OPAQUE) -> None:
    if len(msgspec.json.encode(value)) > longest:
        raise ConversationFault(f"{what} take more than {longest} bytes.")


def storable(text: str) -> str:
    """Leave out what PostgreSQL takes in no text: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode()


def one_line(text: str, longest: int) -> str:
    """Return the beginning of a text as one line."""
    line = " ".join(storable(text[: longest * 8]).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def given_title(messages: Iterable[Message]) -> str:
    """Return the title of a conversation that was given none: how its first question begins."""
    texts = {message.role: message.text for message in reversed(list(messages)) if message.text.strip()}
    return one_line(texts.get("user") or next(iter(texts.values()), ""), _GIVEN_TITLE)


def branch(messages: Sequence[Message], head: str) -> list[Message]:
    """Return the messages that lead to ``head``, oldest first; without one, to the newest message."""
    by_id = {message.id: message for message in messages}
    at = by_id.get(head) or (messages[-1] if messages else None)
    found: list[Message] = []
    while at is not None:
        found.append(at)
        at = by_id.get(at.parent) if at.parent is not None else None
    return found[::-1]


_SPEAKERS: Final[Mapping[Role, str]] = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}


def as_markdown(conversation: Conversation) -> str:
    """Return the branch of a conversation that is shown, as a Markdown document."""
    pieces = [f"# {conversation.title or 'Conversation'}"]
    for message in branch(conversation.messages, conversation.head):
        speaker = _SPEAKERS[message.role]
        pieces.append(f"## {speaker} ({message.model})" if message.model else f"## {speaker}")
        if message.text.strip():
            pieces.append(message.text.strip())
    return "\n\n".join(pieces) + "\n"
