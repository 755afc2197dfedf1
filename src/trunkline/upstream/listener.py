"""One end of an open WebSocket on picows: whole messages, exact close codes, back-pressure; the same for either end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NoReturn

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSProtocolError, WSTransport

from trunkline.realtime.closing import ABNORMAL, NO_STATUS, may_be_sent
from trunkline.upstream.messages import Binary, Closed, Take, Text

_HIGH_WATER: Final = 1 << 20
# What a message takes besides its payload: of empty ones, too, there is room for so many only.
_MESSAGE_COST: Final = 128
_LONGEST_REASON: Final = 123
# Every frame is compared with them: a name of the module is found sooner than a member of an enumeration.
_CONTINUATION, _TEXT, _BINARY, _CLOSE = WSMsgType.CONTINUATION, WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CLOSE
_PING: Final = WSMsgType.PING
_FAULTS: Final = (WSCloseCode.PROTOCOL_ERROR, WSCloseCode.INVALID_TEXT, WSCloseCode.MESSAGE_TOO_BIG)


def close_reason(reason: str) -> bytes:
    """Return a reason as a close frame may hold it: at most 123 bytes of whole characters (RFC 6455 section 5.5)."""
    return reason.encode()[:_LONGEST_REASON].decode("utf-8", "ignore").encode()


class MessageListener(WSListener):
    """Collects frames into messages and stops reading when nobody takes them.

    ``is_strict``: texts have to be UTF-8, and what ends a faulty connection is told by its code. Otherwise what is no
    UTF-8 is replaced, and a faulty connection has broken (1006). ``on_lost`` is called when the connection is gone.
    """

    def __init__(self, max_message: int, *, is_strict: bool = False, on_lost: Callable[[], None] | None = None) -> None:
        self.transport: WSTransport | None = None
        self.closed = asyncio.Event()
        self._max_message = max_message
        self._is_strict = is_strict
        self._on_lost = on_lost
        self._take: Take | None = None
        self._messages: deque[tuple[int, Text | Binary]] = deque()
        self._buffered = 0
        self._paused = False
        self._end: Closed | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._owed_pong: bytes | None = None
        self._fragments = bytearray()
        self._fragment_type: Any = None

    async def next(self) -> Text | Binary | Closed:
        """Return the next message, or the close; after a close, the close again."""
        while not self._messages:
            if self._end is not None:
                return self._end
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        size, message = self._messages.popleft()
        self._buffered -= size
        if self._paused and self._buffered < _HIGH_WATER // 2:
            self._resume()
        return message

    def hear(self, take: Take) -> None:
        """Have ``take`` shown messages in the moment they come: those that somebody waits for in `next`.

        A turn of the event loop for each would cost more than most of what is done with it.
        """
        self._take = take

    def send_now(self, payload: str | bytes) -> bool:
        """Send a message where that needs no waiting, and the connection is open; return whether it did."""
        if self._is_over or not self._can_write.is_set():
            return False
        assert self.transport is not None
        self.transport.send(_TEXT if isinstance(payload, str) else _BINARY, payload)
        return True

    async def send(self, payload: str | bytes) -> bool:
        """Send a message when the other side takes it; return whether the connection was open until then."""
        while not self.send_now(payload):
            if self._is_over:
                return False
            await self._can_write.wait()
        return True

    @property
    def _is_over(self) -> bool:
        return self.transport is None or self.transport.is_close_frame_sent or self.closed.is_set()

    def end(self, code: int, reason: str) -> None:
        """Be done: `next` returns this close, and what comes from now on is dropped."""
        self._messages.clear()
        self._buffered = 0
        self._finish(code, reason)
        if self._paused:
            self._resume()

    # What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take the connection, whose handshake is done."""
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame. Raises `WSProtocolError` for a fault of the other side, upon which picows closes."""
        kind = frame.msg_type
        if kind == _CLOSE:
            self._on_close(transport, frame)
            return
        if self._end is not None:
            return
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._fail(WSCloseCode.PROTOCOL_ERROR, "A reserved bit is set.")
        if kind in (_TEXT, _BINARY):
            if self._fragment_type is not None:
                self._fail(WSCloseCode.PROTOCOL_ERROR, "A message began within another.")
            if frame.fin:
                self._deliver(kind, frame.get_payload_as_bytes())
            else:
                self._fragment_type = kind
                self._collect(frame.get_payload_as_bytes())
        elif kind == _CONTINUATION:
            if self._fragment_type is None:
                self._fail(WSCloseCode.PROTOCOL_ERROR, "A message goes on that did not begin.")
            self._collect(frame.get_payload_as_bytes())
            if frame.fin:
                begun, self._fragment_type = self._fragment_type, None
                payload, self._fragments = bytes(self._fragments), bytearray()
                self._deliver(begun, payload)
        elif kind == _PING:
            self._owed_pong = frame.get_payload_as_bytes()
            self._answer_ping(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Learn that the connection is gone."""
        found = transport.close_handshake
        if self._is_strict and found is not None and found.sent is not None and found.sent.code in _FAULTS:
            self._finish(_number(found.sent.code), found.sent.reason or "")  # one that picows has seen
        self._finish(ABNORMAL, "")
        self._can_write.set()
        self.closed.set()
        if self._on_lost is not None:
            self._on_lost()

    def pause_writing(self) -> None:
        """Learn that the other side is slow."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Learn that it has caught up."""
        self._can_write.set()
        if self.transport is not None:
            self._answer_ping(self.transport)

    def _on_close(self, transport: WSTransport, frame: WSFrame) -> None:
        said = frame.get_payload_as_bytes()
        code = int.from_bytes(said[:2], "big") if said else NO_STATUS
        if said and not may_be_sent(code):
            self._fail(WSCloseCode.PROTOCOL_ERROR, f"A close frame holds {code}.")
        self._finish(code, frame.get_close_reason() or "")
        if not transport.is_close_frame_sent:
            if code == NO_STATUS:  # which no frame may say
                transport.send(_CLOSE, None)
            else:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
        transport.disconnect()

    def _answer_ping(self, transport: WSTransport) -> None:
        """Answer the last ping, once that is read (RFC 6455 section 5.5.3): pongs that nobody reads would pile up."""
        if self._owed_pong is not None and self._can_write.is_set() and not transport.is_close_frame_sent:
            pong, self._owed_pong = self._owed_pong, None
            transport.send_pong(pong)

    def _collect(self, fragment: bytes) -> None:
        self._fragments += fragment
        self._check_size(len(self._fragments))

    def _deliver(self, kind: Any, payload: bytes) -> None:
        size = len(payload)
        self._check_size(size)  # picows objects to a frame that is too large, and then hands it over all the same
        message: Text | Binary = Text(self._decoded(payload)) if kind == _TEXT else Binary(payload)
        waiter = self._waiter
        if self._take is not None and waiter is not None and not waiter.done() and not self._messages:
            left = self._take(message)
            if left is None:
                return
            message = left
        size += _MESSAGE_COST
        self._messages.append((size, message))
        self._buffered += size
        if self._buffered > _HIGH_WATER and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.underlying_transport.pause_reading()
        self._wake()

    def _decoded(self, payload: bytes) -> str:
        if not self._is_strict:
            return payload.decode("utf-8", "replace")
        try:
            return payload.decode()
        except UnicodeDecodeError:
            self._fail(WSCloseCode.INVALID_TEXT, "A text is not UTF-8.")

    def _check_size(self, size: int) -> None:
        if size > self._max_message:
            self._fail(WSCloseCode.MESSAGE_TOO_BIG, f"A message is larger than {self._max_message} bytes.")

    def _fail(self, code: WSCloseCode, reason: str) -> NoReturn:
        """End a faulty connection: picows tells the other side, and closes."""
        self._fragments.clear()
        self._finish(_number(code) if self._is_strict else ABNORMAL, reason if self._is_strict else "")
        raise WSProtocolError(code, reason)

    def _finish(self, code: int, reason: str) -> None:
        if self._end is None:
            self._end = Closed(code, reason)
            self._wake()

    def _resume(self) -> None:
        self._paused = False
        if self.transport is not None and not self.transport.is_disconnected:
            self.transport.underlying_transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _number(code: WSCloseCode | int) -> int:
    number = code if isinstance(code, int) else int(code.value)
    return number or NO_STATUS
