"""A gateway's checks at work: on what is asked before it leaves, and on what is answered before it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import structlog

from trunkline.errors import GatewayError, MalformedRequest, RequestTooLarge, UpstreamBroken
from trunkline.policy.guards import GuardRule
from trunkline.policy.guards.findings import UNREADABLE, Finding, header_of, refusal
from trunkline.policy.guards.guarding import Guard, GuardSet, said_to, search
from trunkline.policy.guards.rules import Side
from trunkline.policy.guards.streams import Event, StreamReader, is_stream
from trunkline.policy.guards.window import StreamWindow
from trunkline.policy.guards.words import Words, answered, asked
from trunkline.policy.registry import GatewayRules
from trunkline.server.admission import Admission
from trunkline.server.answer import Answer, Asked
from trunkline.server.asking import packing_of
from trunkline.server.judging import Judge
from trunkline.server.logbook import Entry
from trunkline.wire.encodings import Unpacker
from trunkline.wire.head import Head
from trunkline.wire.refusal import Dialect

if TYPE_CHECKING:
    from trunkline.server.gateway import Gateway  # which has these checks

log = structlog.get_logger("trunkline.guards")

_MAX_WHOLE: Final = 32 * 1024 * 1024
_MAX_EVENT: Final = 16 * 1024 * 1024
# From this size on, it is read and searched beside the event loop.
_MUCH_TEXT: Final = 32 * 1024
_FIRST_OTHER_STATUS: Final = 300
# What is answered here is numbers, or a list that the provider made.
_SAYS_NOTHING: Final = frozenset({"embeddings", "moderation", "rerank"})
_BODY_HEADERS: Final = frozenset({b"content-encoding", b"content-length"})


class Guards:
    """The checks of all gateways. What they find goes into the exchange's row and into ``cf-aig-dlp``."""

    def __init__(self, gateway: Gateway) -> None:
        self._judge = Judge(gateway)
        self._sets: dict[str, tuple[tuple[GuardRule, ...], GuardSet]] = {}
        self._noted: WeakKeyDictionary[Entry, list[Finding]] = WeakKeyDictionary()

    def of(self, gateway: GatewayRules) -> GuardSet:
        """Return a gateway's rules, made ready."""
        rules = gateway.control.guards
        kept = self._sets.get(gateway.id)
        if kept is None or kept[0] is not rules:
            kept = self._sets[gateway.id] = rules, GuardSet(rules)
        return kept[1]

    async def check_request(self, asked_for: Asked) -> None:
        """Check what is asked.

        Raises `PromptBlocked`, or `RequestTooLarge` and `MalformedRequest` for a body that cannot be checked.
        """
        guards = self.of(asked_for.admission.rules).request
        if not guards:
            return
        if not asked_for.body:
            _check_bodiless(asked_for.head, guards)
            return
        is_long = len(asked_for.body) > _MUCH_TEXT or asked_for.head.header(b"content-encoding") is not None
        words = await asyncio.to_thread(_asked, asked_for, guards) if is_long else _asked(asked_for, guards)
        found = await self._search(guards, words, "request")
        if not _blocking(found):
            found += await self.judge(guards, "request", words, asked_for.admission, asked_for.head)
        self._note(asked_for.entry, found)
        blocking = _blocking(found)
        if blocking is not None:
            log.info("request blocked", rule=blocking.rule.id, gateway=asked_for.admission.gateway)
            raise refusal(blocking, found)

    async def watch(self, asked_for: Asked, answer: Answer) -> Answer:
        """Return an answer as it may be sent on. Raises `AnswerBlocked` for one that may not, and was not begun.

        What comes in one piece is read whole before this returns. Of a stream no more than its last words is held back;
        one that is blocked ends with an error in its own dialect, and then its body raises `AnswerBlocked`.
        """
        guards = self.of(asked_for.admission.rules).response
        kind = answer.header(b"content-type")
        if not guards or not self._is_to_be_read(asked_for, answer, kind):
            self._tell(asked_for.entry, answer)
            return answer
        try:
            if is_stream(kind):
                self._tell(asked_for.entry, answer)
                reader = StreamReader(kind, Dialect(asked_for.admission.provider.dialect))
                encoding = answer.header(b"content-encoding")
                answer.headers = [pair for pair in answer.headers if pair[0].lower() not in _BODY_HEADERS]
                answer.body = self._stream(asked_for, answer, guards, reader, answer.body, encoding)
            else:
                await self._read_whole(asked_for, answer, guards)
                self._tell(asked_for.entry, answer)
        except BaseException:
            await answer.aclose()
            raise
        return answer

    async def judge(
        self, guards: Iterable[Guard], side: Side, words: Sequence[Words], admission: Admission, head: Head
    ) -> list[Finding]:
        """Return what the rules find that are judged by a model, all asked at once."""
        found = await asyncio.gather(
            *(
                self._judge.find(guard, side, said_to(guard, words, side), admission, head)
                for guard in guards
                if guard.judge is not None
            )
        )
        return [one for one in found if one is not None]

    # Whole answers

    async def _read_whole(self, asked_for: Asked, answer: Answer, guards: Sequence[Guard]) -> None:
        unpacker = Unpacker(answer.header(b"content-encoding"))
        pieces: list[bytes] = []
        plain: list[bytes] = []
        size = 0
        body = answer.body
        async for piece in body:
            pieces.append(piece)
            plain.append(unpacker.feed(piece))
            size += len(piece)
            if size > _MAX_WHOLE:
                break
        answer.body = _again(pieces, body)
        if size > _MAX_WHOLE or not (unpacker.is_whole or not size):
            self._refuse_unreadable(asked_for, guards)
            return
        words = await asyncio.to_thread(answered, b"".join(plain)) if size > _MUCH_TEXT else answered(b"".join(plain))
        found = await self._search(guards, words, "response")
        if not _blocking(found):
            found += await self.judge(guards, "response", words, asked_for.admission, asked_for.head)
        self._note(asked_for.entry, found)
        self._refuse(asked_for, found)

    # Streams

    async def _stream(
        self,
        asked_for: Asked,
        answer: Answer,
        guards: Sequence[Guard],
        reader: StreamReader,
        body: AsyncIterator[bytes],
        encoding: str,
    ) -> AsyncIterator[bytes]:
        window = StreamWindow(guards)
        unpacker = Unpacker(encoding)
        try:
            async for chunk in body:
                events = reader.feed(unpacker.feed(chunk))
                if reader.held > _MAX_EVENT:
                    self._refuse_unreadable(asked_for, guards)
                    events.append(Event(reader.give_up(), []))
                at_end = asked_for.entry.is_answered or any(event.is_last for event in events)
                if passed := await self._pass(asked_for, guards, window, events, at_end=at_end):
                    yield passed
            last = reader.finish()
            if passed := await self._pass(asked_for, guards, window, [last] if last else [], at_end=True):
                yield passed
            if not unpacker.is_whole:
                raise UpstreamBroken("The provider's answer is packed in a way that cannot be read to its end.")
        except GatewayError as error:
            await answer.aclose()
            if not isinstance(error, UpstreamBroken):
                yield reader.ending(error)
            raise

    async def _pass(
        self, asked_for: Asked, guards: Sequence[Guard], window: StreamWindow, events: Iterable[Event], *, at_end: bool
    ) -> bytes:
        for event in events:
            window.add(event.raw, event.words)
        found = window.search(at_end=at_end)
        text = None if _blocking(found) else window.unjudged(at_end=at_end)
        if text is not None:
            judges = guards if at_end else [guard for guard in guards if guard.rule.action == "block"]
            words = [Words("assistant", text)]
            found += await self.judge(judges, "response", words, asked_for.admission, asked_for.head)
            window.judged()
        self._note(asked_for.entry, found)
        self._refuse(asked_for, found)
        return window.release(at_end=at_end)

    # Steps

    async def _search(self, guards: Sequence[Guard], words: Sequence[Words], side: Side) -> list[Finding]:
        if sum(len(one.text) for one in words) > _MUCH_TEXT:
            return await asyncio.to_thread(search, guards, words, side)
        return search(guards, words, side)

    def _note(self, entry: Entry, found: Iterable[Finding]) -> None:
        """Have findings written into the exchange's row, each once however many steps were asked the same."""
        noted = self._noted.setdefault(entry, [])
        for one in found:
            if one not in noted:
                noted.append(one)
                entry.found(one.document())

    def _tell(self, entry: Entry, answer: Answer) -> None:
        noted = self._noted.get(entry)
        if noted:
            answer.told.append(header_of(noted))

    def _refuse(self, asked_for: Asked, found: Sequence[Finding]) -> None:
        blocking = _blocking(found)
        if blocking is not None:
            log.info("answer blocked", rule=blocking.rule.id, gateway=asked_for.admission.gateway)
            raise refusal(blocking, self._noted[asked_for.entry])

    def _refuse_unreadable(self, asked_for: Asked, guards: Iterable[Guard]) -> None:
        """Raise `AnswerBlocked` for an answer that cannot be checked, where a rule blocks."""
        found = [Finding(guard.rule, "response", (UNREADABLE,)) for guard in guards if guard.rule.action == "block"]
        self._note(asked_for.entry, found)
        self._refuse(asked_for, found)

    @staticmethod
    def _is_to_be_read(asked_for: Asked, answer: Answer, content_type: str) -> bool:
        """Whether an answer holds words of a model: no error, no list of models, no sound and no picture."""
        if answer.status >= _FIRST_OTHER_STATUS or asked_for.head.method == "HEAD":
            return False
        places = asked_for.admission.rest.partition("?")[0].strip("/").split("/")[-2:]
        if asked_for.facts.kind in _SAYS_NOTHING or (asked_for.head.method == "GET" and "models" in places):
            return False
        kind = content_type.partition(";")[0].strip().lower()
        return not kind.startswith(("audio/", "image/", "video/")) and kind != "application/octet-stream"


def _blocking(found: Iterable[Finding]) -> Finding | None:
    return next((one for one in found if one.blocks), None)


async def _again(pieces: Iterable[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what was read, and what was not."""
    for piece in pieces:
        yield piece
    async for piece in rest:
        yield piece


def _check_bodiless(head: Head, guards: Iterable[Guard]) -> None:
    """Refuse a body that is not here to be checked, because it was too long to wait for."""
    has_body = head.header(b"transfer-encoding") is not None or (head.header(b"content-length") or "0") != "0"
    if has_body and any(guard.rule.action == "block" for guard in guards):
        raise RequestTooLarge(
            "The gateway checks what is sent, and can do so up to 32 MiB. Send a smaller body, with its Content-Length."
        )


def _asked(asked_for: Asked, guards: Iterable[Guard]) -> list[Words]:
    content_type = asked_for.head.header(b"content-type") or "application/json"
    return asked(content_type, _unpacked(asked_for, guards))


def _unpacked(asked_for: Asked, guards: Iterable[Guard]) -> bytes:
    encoding = packing_of(asked_for.head)
    unpacker = Unpacker(encoding)
    body = unpacker.feed(asked_for.body)
    if not unpacker.is_whole and any(guard.rule.action == "block" for guard in guards):
        raise MalformedRequest(
            f"Content-Encoding {encoding[:40]!r}: the gateway checks what is asked and cannot unpack this body. Send it"
            " plain, or with gzip or deflate."
        )
    return body
