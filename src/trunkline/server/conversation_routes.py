"""Conversations of the console over HTTP, below ``/api/conversations``.

Each belongs to who is signed in, or to the gateway key that is shown; on an open gateway without accounts, to whoever
is at its machine. Those of others are as if they did not exist.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, BinaryIO, Final, Literal, TypeVar

import msgspec
import structlog
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from trunkline.errors import MalformedRequest, RequestTooLarge, TooManyRequests, UnknownConversation
from trunkline.server.answers import Deleted, answers, content_of, json_answer, schemas_of
from trunkline.server.console_access import owner_of
from trunkline.server.gateway import Gateway
from trunkline.store import AWAY
from trunkline.store.conversation_imports import ExportFile, ImportFault, take_in
from trunkline.store.conversation_tree import (
    MAX_TAG,
    Conversation,
    ConversationChange,
    ConversationFault,
    ConversationSummary,
    ImportedConversation,
    Kind,
    as_markdown,
)
from trunkline.store.conversations import (
    ConversationFilter,
    ConversationPage,
    Conversations,
    SearchHit,
    as_export_line,
)
from trunkline.wire.documents import UNREADABLE

log = structlog.get_logger("trunkline.conversations")

Answer = TypeVar("Answer")

_PAGE: Final = 50
_MAX_PAGE: Final = 200
_MAX_CHANGE_BYTES: Final = 8 * 1024 * 1024
_MAX_IDS: Final = 1000
MAX_IMPORT_BYTES: Final = 256 * 1024 * 1024
_IMPORT_PIECE: Final = 1024 * 1024
_PROGRESS_SECONDS: Final = 0.5
# How many entries that could not be read are told one by one.
_MAX_TOLD: Final = 100

_NDJSON: Final = "application/x-ndjson"
_Limit = Annotated[int, Query(ge=1, le=_MAX_PAGE)]
_Tag = Annotated[str | None, Query(max_length=MAX_TAG)]


class SearchHits(msgspec.Struct, frozen=True):
    """Conversations that hold what was looked for, the best first."""

    hits: list[SearchHit]


class Tags(msgspec.Struct, frozen=True):
    """Every tag of somebody's conversations, in the order of their letters."""

    tags: list[str]


class Unwanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which conversations to delete: some by their ids, or every one with ``all``."""

    ids: list[str] = []
    all: bool = False


class ImportEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of what an import tells.

    ``progress`` and ``done`` carry counts of entries so far: ``read`` of ``total``, of which were ``added``,
    ``extended`` by messages that were new, ``unchanged`` or ``skipped``. ``skipped`` says in ``message`` why an entry
    cannot be imported, and ``failed`` why the import ended early; what was added by then stays.
    """

    event: Literal["progress", "skipped", "done", "failed"]
    total: int = 0
    read: int = 0
    added: int = 0
    extended: int = 0
    unchanged: int = 0
    skipped: int = 0
    message: str = ""


def conversation_schemas() -> dict[str, Any]:
    """Return the JSON schemas of questions and answers, by name."""
    kept = (ConversationPage, Conversation, ConversationChange, SearchHits, Tags)
    schemas = schemas_of(*kept, Unwanted, Deleted, ImportEvent)
    for schema in schemas.values():
        for field in schema["properties"].values():
            for kind in (field, field.get("items", {}), *field.get("anyOf", ())):
                # With whatever in it: silence about that means nothing to some readers.
                if kind.get("type") == "object":
                    kind["additionalProperties"] = True
    return schemas


def create_conversation_routes(gateway: Gateway) -> APIRouter:
    """Return the routes below ``/api/conversations``."""
    routes = APIRouter(prefix="/api/conversations", tags=["conversations"])
    importing = asyncio.Lock()

    @routes.get("", response_class=Response, responses=answers(ConversationPage))
    async def conversations(
        request: Request,
        kind: Kind | None = None,
        archived: bool | None = None,
        tag: _Tag = None,
        before: Annotated[str | None, Query(max_length=200)] = None,
        limit: _Limit = _PAGE,
    ) -> Response:
        """List conversations, the pinned ones first, then those changed last."""
        owner = owner_of(gateway, request)
        wanted = ConversationFilter(kind=kind, archived=archived, tag=tag, before=before)
        try:
            return json_answer(await gateway.conversations.list(owner, wanted, limit))
        except ConversationFault as fault:
            raise MalformedRequest(str(fault)) from None

    @routes.get("/search", response_class=Response, responses=answers(SearchHits))
    async def search(
        request: Request,
        q: Annotated[str, Query(max_length=500)],
        kind: Kind | None = None,
        archived: bool | None = None,
        tag: _Tag = None,
        limit: _Limit = _PAGE,
    ) -> Response:
        """Find conversations whose title or messages hold all words of ``q``, or words that begin so."""
        owner = owner_of(gateway, request)
        among = ConversationFilter(kind=kind, archived=archived, tag=tag)
        return json_answer(SearchHits(list(await gateway.conversations.search(owner, q, limit, among))))

    @routes.get("/tags", response_class=Response, responses=answers(Tags))
    async def tags(request: Request) -> Response:
        """List every tag of the conversations."""
        return json_answer(Tags(list(await gateway.conversations.tags(owner_of(gateway, request)))))

    @routes.get("/export", response_class=StreamingResponse, responses=_texts(_NDJSON))
    async def export(
        request: Request, ids: Annotated[list[str] | None, Query(alias="id", max_length=_MAX_IDS)] = None
    ) -> Response:
        """Export all conversations, or some by their ids, one a line with all their branches."""
        owner = owner_of(gateway, request)
        lines = (as_export_line(one) async for one in gateway.conversations.export(owner, ids))
        return StreamingResponse(lines, media_type=_NDJSON, headers=_download("conversations.ndjson"))

    @routes.post("/import", response_class=StreamingResponse, responses=_texts(_NDJSON), openapi_extra=_ANY_BODY)
    async def import_(request: Request) -> Response:
        """Import ChatGPT's export (the .zip or its conversations.json), Open WebUI's, or one from here.

        The file itself is the body. The answer is a line of JSON for each `ImportEvent`. To import a file again adds
        only what is new in it.
        """
        owner = owner_of(gateway, request)
        if importing.locked():
            raise TooManyRequests("Another import is under way; wait until it is done.", retry_after=5)
        async with importing:
            file = await _received(request, gateway)
            try:
                export = await asyncio.to_thread(ExportFile, file)
            except BaseException as error:
                file.close()
                if isinstance(error, ImportFault):
                    raise MalformedRequest(str(error)) from None
                raise
        events = _imported(gateway.conversations, owner, export, file, importing)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(events, media_type=_NDJSON, headers=headers)

    @routes.post("/delete", response_class=Response, responses=answers(Deleted), openapi_extra=_body(Unwanted))
    async def delete(request: Request) -> Response:
        """Delete some conversations, or all. There is no way back but an export made before."""
        owner = owner_of(gateway, request)
        unwanted = await _body_of(request, Unwanted)
        if unwanted.all == bool(unwanted.ids) or len(unwanted.ids) > _MAX_IDS:
            raise MalformedRequest(
                f"Name the conversations to delete in 'ids', at most {_MAX_IDS}, or give 'all': true."
            )
        return json_answer(Deleted(await gateway.conversations.delete(owner, None if unwanted.all else unwanted.ids)))

    @routes.get("/{id}", response_class=Response, responses=answers(Conversation))
    async def conversation(request: Request, id: str) -> Response:
        """Show a conversation with all its branches."""
        return json_answer(await _wanted(request, id))

    @routes.put(
        "/{id}",
        response_class=Response,
        responses=answers(ConversationSummary),
        openapi_extra=_body(ConversationChange),
    )
    async def keep(request: Request, id: str) -> Response:
        """Change a conversation, or begin it: the id is the client's own. To send the same again changes nothing."""
        owner = owner_of(gateway, request)
        change = await _body_of(request, ConversationChange)
        try:
            return json_answer(await gateway.conversations.keep(owner, id, change, time.time()))
        except ConversationFault as fault:
            raise MalformedRequest(str(fault)) from None

    @routes.delete("/{id}", status_code=204)
    async def delete_one(request: Request, id: str) -> None:
        """Delete a conversation."""
        if not await gateway.conversations.delete(owner_of(gateway, request), [id]):
            raise _unknown()

    @routes.get("/{id}/export", response_class=Response, responses=_texts(_NDJSON, "text/markdown"))
    async def export_one(request: Request, id: str, format: Literal["json", "markdown"] = "json") -> Response:
        """Export a conversation: as JSON with all its branches, or the branch that is shown as Markdown."""
        found = await _wanted(request, id)
        if format == "markdown":
            headers = _download(f"conversation-{found.id}.md")
            return Response(as_markdown(found), media_type="text/markdown; charset=utf-8", headers=headers)
        return Response(as_export_line(found), media_type=_NDJSON, headers=_download(f"conversation-{found.id}.ndjson"))

    async def _wanted(request: Request, id: str) -> Conversation:
        found = await gateway.conversations.get(owner_of(gateway, request), id)
        if found is None:
            raise _unknown()
        return found

    return routes


async def _received(request: Request, gateway: Gateway) -> BinaryIO:
    """Return a file without a name, beside the database, that holds the body of a request."""
    file: BinaryIO = tempfile.TemporaryFile(dir=gateway.settings.data_dir)  # noqa: SIM115 - closed by who reads it
    try:
        size = 0
        piece = bytearray()
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_IMPORT_BYTES:
                raise RequestTooLarge(f"A file to import may have {MAX_IMPORT_BYTES // 1024 // 1024} MiB.")
            piece += chunk
            if len(piece) >= _IMPORT_PIECE:
                await asyncio.to_thread(file.write, bytes(piece))
                piece.clear()
        await asyncio.to_thread(file.write, bytes(piece))
        await asyncio.to_thread(file.flush)
    except BaseException:
        file.close()
        raise
    return file


async def _imported(
    store: Conversations, owner: str, export: ExportFile, file: BinaryIO, importing: asyncio.Lock
) -> AsyncIterator[bytes]:
    so_far = ImportEvent(event="progress", total=len(export))
    told = time.monotonic()
    with file:
        async with importing:
            entries = export.read()
            while (entry := await asyncio.to_thread(_next, entries)) is not None:
                try:
                    outcome, why = await take_in(store, owner, entry)
                except AWAY as error:
                    log.warning("an import ended early", error=type(error).__name__)
                    message = "The database does not answer; import the file again later, which makes no doubles."
                    yield _event(msgspec.structs.replace(so_far, event="failed", message=message))
                    return
                one_more = {"read": so_far.read + 1, outcome: getattr(so_far, outcome) + 1}
                so_far = msgspec.structs.replace(so_far, **one_more)
                if why and so_far.skipped <= _MAX_TOLD:
                    yield _event(ImportEvent(event="skipped", read=so_far.read, message=why))
                if time.monotonic() - told >= _PROGRESS_SECONDS:
                    told = time.monotonic()
                    yield _event(so_far)
            yield _event(msgspec.structs.replace(so_far, event="done"))


def _next(entries: Iterator[ImportedConversation | ImportFault]) -> ImportedConversation | ImportFault | None:
    return next(entries, None)


def _event(event: ImportEvent) -> bytes:
    return msgspec.json.encode(event) + b"\n"


async def _body_of(request: Request, kind: type[Answer]) -> Answer:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_CHANGE_BYTES:
            raise RequestTooLarge(f"A change may have {_MAX_CHANGE_BYTES // 1024 // 1024} MiB; send messages in parts.")
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except UNREADABLE as error:
        why = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON."
        raise MalformedRequest(f"The body cannot be read: {why}") from None


def _unknown() -> UnknownConversation:
    return UnknownConversation("There is no such conversation here; it may have been deleted, or be somebody else's.")


def _download(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}


def _body(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content_of(kind)}}


def _texts(*kinds: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {"schema": {"type": "string"}} for kind in kinds}}}


_ANY_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
