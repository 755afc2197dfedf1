"""Conversations in the database. Each belongs to one owner, and is seen by nobody else."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    TableValuedAlias,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    true,
    tuple_,
    update,
)

from trunkline.errors import UnknownConversation
from trunkline.store.async_engine import AsyncConnection
from trunkline.store.conversation_tree import (
    MAX_MESSAGES,
    Conversation,
    ConversationChange,
    ConversationFault,
    ConversationSummary,
    ImportedConversation,
    Kind,
    Message,
    checked,
    given_title,
    is_id,
)
from trunkline.store.database import Database
from trunkline.store.full_text import Term, searchable, spans, terms
from trunkline.store.identifiers import ulid
from trunkline.store.schema.conversations import (
    conversation_messages,
    conversation_words,
    conversations,
)

Imported = Literal["added", "extended", "unchanged"]

# Of what is found, the best are looked at: several may be of one conversation.
_MAX_FOUND: Final = 1000
_BEFORE_MATCH: Final = 60
_FEW: Final = 20
_EXCERPT: Final = 240

_C: Final = conversations.c
_M: Final = conversation_messages.c
_W: Final = conversation_words.c
_PLACE: Final = (_C.pinned, _C.changed_at, _C.id)
_COUNT: Final = select(func.count()).where(_M.conversation == _C.id).scalar_subquery()
_SUMMARY: Final = (
    *(_C[name] for name in ConversationSummary.__struct_fields__ if name != "messages"),
    _COUNT.label("messages"),
)
_MESSAGE: Final = [_M[name] for name in Message.__struct_fields__]

# What a message that is written again may change. Its place in the tree is fixed, so that no circle can come about.
_REWRITTEN: Final = [name for name in Message.__struct_fields__ if name not in ("id", "parent", "role", "created_at")]

_FOUND: Final = {
    "sqlite": text(
        "SELECT w.conversation, w.message FROM conversation_search JOIN conversation_words AS w"
        " ON w.number = conversation_search.rowid JOIN conversations AS c ON c.id = w.conversation"
        " WHERE conversation_search MATCH :query AND c.owner = :owner"
        " ORDER BY w.message = '' DESC, conversation_search.rank, w.number DESC LIMIT :most"
    ),
    "postgresql": text(
        "SELECT w.conversation, w.message FROM conversation_words AS w JOIN conversations AS c"
        " ON c.id = w.conversation, to_tsquery('simple'::regconfig, :query) AS asked"
        " WHERE to_tsvector('simple'::regconfig, w.words) @@ asked AND c.owner = :owner"
        " ORDER BY w.message = '' DESC, ts_rank(to_tsvector('simple'::regconfig, w.words), asked) DESC, w.number DESC"
        " LIMIT :most"
    ),
}


class ExcerptPiece(msgspec.Struct, frozen=True):
    """A piece of a text; ``match`` says whether it is what was looked for."""

    text: str
    match: bool


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that holds what was looked for, and where: in a message, or in the title where that is empty."""

    conversation: ConversationSummary
    message: str
    excerpt: list[ExcerptPiece]


class ConversationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which conversations. None stands for all; ``before`` is a `ConversationPage.next`."""

    kind: Kind | None = None
    archived: bool | None = None
    tag: str | None = None
    before: str | None = None


class ConversationPage(msgspec.Struct, frozen=True):
    """Conversations, the pinned ones first, then as they were changed, newest first.

    ``next``: show it as ``before`` to get more; null at the end.
    """

    conversations: list[ConversationSummary]
    next: str | None


class Conversations:
    """Reads and writes of one database. ``owner`` is a user's id, or empty; ``now`` is in Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers = _Numbers()

    async def list(self, owner: str, wanted: ConversationFilter, limit: int) -> ConversationPage:
        """Return at most ``limit`` conversations. Raises `ConversationFault` for a ``before`` that is none."""
        asked = select(*_SUMMARY).where(_C.owner == owner, *self._conditions(wanted))
        asked = asked.order_by(*(column.desc() for column in _PLACE))
        if wanted.before is not None:
            asked = asked.where(tuple_(*_PLACE) < tuple_(*_place(wanted.before)))
        async with self._database.reading() as connection:
            found = [_summary(row) for row in await connection.execute(asked.limit(limit + 1))]
        page = found[:limit]
        return ConversationPage(page, _cursor(page[-1]) if len(found) > limit else None)

    async def tags(self, owner: str) -> Sequence[str]:
        """Return every tag of an owner's conversations, in the order of their letters."""
        tag = self._each_tag()
        asked = select(tag.c.value).select_from(conversations.join(tag, true())).where(_C.owner == owner).distinct()
        async with self._database.reading() as connection:
            return sorted(await connection.scalars(asked))

    def _conditions(self, wanted: ConversationFilter) -> Iterator[ColumnElement[bool]]:
        if wanted.kind is not None:
            yield _C.kind == wanted.kind
        if wanted.archived is not None:
            yield _C.archived.is_(wanted.archived)
        if wanted.tag is not None:
            tag = self._each_tag()
            yield exists(select(tag.c.value).where(tag.c.value == wanted.tag).correlate(conversations))

    def _each_tag(self) -> TableValuedAlias:
        """Return the tags of a conversation as rows, in the engine's own way."""
        unfold = func.json_each if self._database.dialect == "sqlite" else func.json_array_elements_text
        return unfold(_C.tags).table_valued("value")

    async def get(self, owner: str, id: str) -> Conversation | None:
        """Return a conversation with all its branches."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_owned(owner, id))).one_or_none()
            if row is None:
                return None
            asked = select(*_MESSAGE).where(_M.conversation == id).order_by(_M.position)
            messages = [Message(**message._mapping) for message in await connection.execute(asked)]
        return _conversation(row, messages)

    async def keep(self, owner: str, id: str, change: ConversationChange, now: float) -> ConversationSummary:
        """Change a conversation, or begin it; to do so again changes nothing more.

        Raises `ConversationFault` for a change that cannot be kept, and `UnknownConversation` where the id is somebody
        else's.
        """
        if not is_id(id):
            raise ConversationFault("The id of a conversation must be 1 to 64 letters, digits, '-' or '_'.")
        change = checked(change)
        async with self._database.transaction() as connection:
            begun = {"id": id, "owner": owner, "kind": change.kind, "created_at": now, "changed_at": now}
            is_new = await self._begin(connection, begun)
            row = (await connection.execute(_owned(owner, id).with_for_update())).one_or_none()
            if row is None:
                raise UnknownConversation(_UNKNOWN)
            known = await _known(connection, id)
            await self._add(connection, id, known, change.messages)
            given = {name: getattr(change, name) for name in _CHANGEABLE if getattr(change, name) is not None}
            if change.head is None and change.messages:
                given["head"] = change.messages[-1].id
            if given.get("head", "") not in ("", *known):
                raise ConversationFault("The head must be a message of the conversation.")
            if row.title == "" and not given.get("title"):
                given["title"] = given_title(change.messages)
            if not is_new and (change.messages or any(name in given for name in _TOUCHING)):
                given["changed_at"] = now
            if given:
                await connection.execute(update(conversations).where(_C.id == id).values(given))
            if given.get("title"):
                await self._index(connection, id, {"": given["title"]})
            changed = await connection.execute(select(*_SUMMARY).where(_C.id == id))
            return _summary(changed.one())

    async def delete(self, owner: str, ids: Sequence[str] | None) -> int:
        """Delete conversations, or all of an owner where ``ids`` is None; return how many there were.

        Many are deleted a few at a time, so that no other writer waits for long.
        """
        unwanted = select(_C.id).where(_C.owner == owner).order_by(_C.id)
        if ids is not None:
            unwanted = unwanted.where(_C.id.in_(ids))
        deleted = 0
        while True:
            async with self._database.transaction() as connection:
                few = list(await connection.scalars(unwanted.limit(_FEW)))
                await connection.execute(delete(conversations).where(_C.id.in_(few)))
            deleted += len(few)
            if len(few) < _FEW:
                return deleted

    async def give(self, owner: str, to: str) -> int:
        """Make all conversations of an owner another's; return how many there were.

        Where both have imported the same one, the one that is given forgets where it came from.
        """
        theirs = select(_C.origin).where(_C.owner == to, _C.origin.is_not(None))
        async with self._database.transaction() as connection:
            doubled = (_C.owner == owner) & _C.origin.in_(theirs)
            await connection.execute(update(conversations).where(doubled).values(origin=None))
            given = update(conversations).where(_C.owner == owner).values(owner=to)
            return (await connection.execute(given)).rowcount

    async def search(
        self, owner: str, query: str, limit: int, among: ConversationFilter | None = None
    ) -> Sequence[SearchHit]:
        """Return the conversations with a title or message that holds all words of the query, the best first.

        Words may be beginnings of words. Nothing in a query is syntax. Of the best finds those are returned that are
        ``among`` what is wanted; its ``before`` means nothing here.
        """
        wanted = terms(query)
        if not wanted:
            return []
        asked = {"query": _query(self._database.dialect, wanted), "owner": owner, "most": _MAX_FOUND}
        async with self._database.reading() as connection:
            found: dict[str, str] = {}
            for conversation, message in await connection.execute(_FOUND[self._database.dialect], asked):
                found.setdefault(conversation, message)
            conditions = self._conditions(among or ConversationFilter())
            summaries = await connection.execute(select(*_SUMMARY).where(_C.id.in_(found), *conditions))
            by_id = {summary.id: summary for summary in map(_summary, summaries)}
            best = dict([(key, message) for key, message in found.items() if key in by_id][:limit])
            places = tuple_(_M.conversation, _M.id).in_(list(best.items()))
            rows = await connection.execute(select(_M.conversation, _M.text).where(places))
            texts = {row.conversation: row.text for row in rows}
        return [
            SearchHit(
                conversation=by_id[key], message=message, excerpt=excerpt(texts.get(key) or by_id[key].title, wanted)
            )
            for key, message in best.items()
        ]

    async def export(self, owner: str, ids: Sequence[str] | None = None) -> AsyncIterator[Conversation]:
        """Yield conversations with all their branches, those changed last first; all of an owner, or some."""
        asked = select(_C.id).where(_C.owner == owner).order_by(_C.changed_at.desc(), _C.id.desc())
        if ids is not None:
            asked = asked.where(_C.id.in_(ids))
        async with self._database.reading() as connection:
            found = list(await connection.scalars(asked))
        for key in found:
            conversation = await self.get(owner, key)
            if conversation is not None:  # deleted meanwhile
                yield conversation

    async def add_imported(self, owner: str, read: ImportedConversation) -> Imported:
        """Keep a conversation of an export. One that was imported before gets the messages that are new, if any.

        Raises `ConversationFault` for one that cannot be kept.
        """
        change = checked(
            ConversationChange(
                kind=read.kind,
                title=read.title,
                model=read.model,
                provider=read.provider,
                settings=read.settings,
                head=read.head,
                pinned=read.pinned,
                archived=read.archived,
                tags=read.tags,
                messages=read.messages,
            )
        )
        async with self._database.transaction() as connection:
            there = await connection.scalar(_there(owner, read.origin))
            known = {} if there is None else await _known(connection, there)
            missing = [message for message in change.messages if message.id not in known]
            if there is not None and not missing:
                return "unchanged"
            key = there or ulid()
            if there is None:
                title = change.title or given_title(change.messages)
                begun: dict[str, Any] = {name: getattr(change, name) for name in _CHANGEABLE}
                begun |= {"id": key, "owner": owner, "kind": change.kind, "origin": read.origin, "title": title}
                begun |= {"created_at": read.created_at, "changed_at": read.changed_at}
                await self._begin(connection, begun)
                await self._index(connection, key, {"": title})
            await self._add(connection, key, known, missing)
            if change.head in known:
                shown = {"head": change.head, "changed_at": read.changed_at}
                await connection.execute(update(conversations).where(_C.id == key).values(shown))
            return "extended" if there else "added"

    async def _begin(self, connection: AsyncConnection, values: dict[str, Any]) -> bool:
        fresh = self._database.insert(conversations).values(_BLANK | values)
        return (await connection.execute(fresh.on_conflict_do_nothing(index_elements=["id"]))).rowcount == 1

    async def _add(
        self, connection: AsyncConnection, conversation: str, known: dict[str, str], messages: Sequence[Message]
    ) -> None:
        """Write messages, of which ``known`` (role by id) are there; add to ``known`` those that are new."""
        new: dict[str, Message] = {}
        again: dict[str, Message] = {}
        first = len(known)
        for message in messages:
            if message.id in known:
                if message.role != known[message.id]:
                    raise ConversationFault(f"The message {message.id} is there already, in another role.")
                (new if message.id in new else again)[message.id] = message
                continue
            if message.parent is not None and message.parent not in known:
                raise ConversationFault(f"The parent of the message {message.id} must come before it.")
            known[message.id] = message.role
            new[message.id] = message
        if len(known) > MAX_MESSAGES:
            raise ConversationFault(f"A conversation may hold {MAX_MESSAGES:,} messages.")
        rows = [
            {"conversation": conversation, "position": first + number, **msgspec.structs.asdict(message)}
            for number, message in enumerate(new.values())
        ]
        if rows:
            await connection.execute(insert(conversation_messages), rows)
        for message in again.values():
            values = {name: getattr(message, name) for name in _REWRITTEN}
            its_row = (_M.conversation == conversation) & (_M.id == message.id)
            await connection.execute(update(conversation_messages).where(its_row).values(values))
        await self._index(connection, conversation, {message.id: message.text for message in messages})

    async def _index(self, connection: AsyncConnection, conversation: str, texts: dict[str, str]) -> None:
        """Note the words of messages by their ids, and of the title by an empty one."""
        rows = [
            {
                "number": self._numbers.next(),
                "conversation": conversation,
                "message": message,
                "words": searchable(content),
            }
            for message, content in texts.items()
        ]
        if rows:
            written = self._database.insert(conversation_words)
            replaced = {"words": written.excluded.words}
            await connection.execute(
                written.on_conflict_do_update(index_elements=["conversation", "message"], set_=replaced), rows
            )


# An export of our own names each conversation by its id here.
OWN_ORIGIN: Final = "trunkline:"

_CHANGEABLE: Final = ("title", "model", "provider", "settings", "head", "pinned", "archived", "tags")
# What puts a conversation at the top of the list again.
_TOUCHING: Final = ("title", "model", "provider", "settings")
_BLANK: Final[dict[str, Any]] = {
    "title": "",
    "model": "",
    "provider": "",
    "settings": {},
    "head": "",
    "pinned": False,
    "archived": False,
    "tags": [],
    "origin": None,
}
_UNKNOWN: Final = "There is no such conversation here; it may have been deleted, or belong to somebody else."


class _Numbers:
    """Numbers for rows of words: each greater than the one before, and apart from those of other processes."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        fresh = time.time_ns() // 1_000_000 << 20 | secrets.randbits(20)
        self._last = max(self._last + 1, fresh)
        return self._last


def as_export_line(conversation: Conversation) -> bytes:
    """Return a conversation as a line of an export, which `trunkline.store.conversation_imports` reads."""
    return b'{"trunkline_conversation":1,' + msgspec.json.encode(conversation)[1:] + b"\n"


def excerpt(content: str, wanted: Sequence[Term]) -> list[ExcerptPiece]:
    """Return the part of a text around its first match, cut where a match begins and ends."""
    found = spans(content, wanted)
    start = max(found[0][0] - _BEFORE_MATCH, 0) if found else 0
    if start:  # at the beginning of a word, where there is one
        start = content.find(" ", start, found[0][0]) + 1 or start
    end = min(start + _EXCERPT, len(content))
    pieces = [ExcerptPiece("… ", False)] if start else []
    at = start
    for begin, stop in found:
        if stop > end:
            break
        if begin > at:
            pieces.append(ExcerptPiece(content[at:begin], False))
        pieces.append(ExcerptPiece(content[begin:stop], True))
        at = stop
    if at < end:
        pieces.append(ExcerptPiece(content[at:end], False))
    return [*pieces, ExcerptPiece(" …", False)] if end < len(content) else pieces


def _query(dialect: str, wanted: Sequence[Term]) -> str:
    """Say in an engine's own syntax what a text must hold. Words are letters and digits: there is nothing to escape."""
    if dialect == "sqlite":
        return " AND ".join(f'"{" ".join(term)}" *' for term in wanted)
    return " & ".join(
        "(" + " <-> ".join([*(f"'{word}'" for word in term[:-1]), f"'{term[-1]}':*"]) + ")" for term in wanted
    )


def _owned(owner: str, id: str) -> Select[Any]:
    return select(conversations).where(_C.id == id, _C.owner == owner)


def _there(owner: str, origin: str) -> Select[Any]:
    """Ask for the conversation of an origin: imported from there before, or exported from here."""
    its_own = _C.origin == origin
    if origin.startswith(OWN_ORIGIN):
        its_own |= _C.id == origin.removeprefix(OWN_ORIGIN)
    asked = select(_C.id).where(_C.owner == owner, its_own)
    return asked.order_by(_C.origin.is_(None), _C.id).limit(1).with_for_update()


async def _known(connection: AsyncConnection, id: str) -> dict[str, str]:
    rows = await connection.execute(select(_M.id, _M.role).where(_M.conversation == id))
    return {row.id: row.role for row in rows}


def _summary(row: Row[Any]) -> ConversationSummary:
    return ConversationSummary(**row._mapping)


def _conversation(row: Row[Any], messages: list[Message]) -> Conversation:
    values = {name: row._mapping[name] for name in Conversation.__struct_fields__ if name != "messages"}
    return Conversation(**values, messages=messages)


def _cursor(last: ConversationSummary) -> str:
    return f"{last.pinned:d}~{last.changed_at!r}~{last.id}"


def _place(cursor: str) -> tuple[bool, float, str]:
    pinned, _, rest = cursor.partition("~")
    changed_at, _, key = rest.partition("~")
    try:
        return pinned == "1", float(changed_at), key
    except ValueError:
        raise ConversationFault("'before' must be the 'next' of an earlier answer.") from None
