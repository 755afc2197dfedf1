"""The client's side of a WebSocket: uvicorn's until a session is accepted, and picows' from then on.

uvicorn's parser is written in Python and stops and starts reading for each message; picows' is compiled. The handshake,
which an application answers when it has looked at it, stays uvicorn's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from trunkline.realtime.closing import NORMAL, SERVICE_RESTART
from trunkline.server.asgi import DIRECT, Direct
from trunkline.upstream.messages import Binary, Closed, Take, Text, Undone

if TYPE_CHECKING:
    from picows import WSCloseCode
    from websockets.http11 import Request, Response

    from trunkline.upstream.listener import MessageListener

_VERSION: Final = "13"
_NO_HANDSHAKE: Final = "This is no handshake of a WebSocket: that is a GET of HTTP/1.1 without a body.\n"
_READ_BUFFER: Final = 2048
# What a client sends before its handshake is answered; past that it is not read.
_MOST_EARLY: Final = 64 * 1024
# What picows wants to see of a handshake that was checked already.
_HANDSHAKE: Final = (
    b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: %b\r\n\r\n"
)

# picows logs whole handshakes below INFO, and every fault of a client as an error.
_log = logging.getLogger("trunkline.server.websocket")
_log.setLevel(logging.CRITICAL)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, whose messages are picows'."""

    _messages: MessageListener | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._early = bytearray()

    def data_received(self, data: bytes) -> None:
        """Take the handshake; what comes behind it waits until that is answered."""
        if not self.handshake_initiated:
            self._begin(data)
            return
        self._early += data
        if len(self._early) > _MOST_EARLY and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def _begin(self, handshake: bytes) -> None:
        super().data_received(handshake)
        if not self.handshake_initiated:
            self._refuse_handshake(self.conn.reject(400, _NO_HANDSHAKE))
        elif not self.close_sent:  # it was no good
            self.scope["extensions"][DIRECT] = {"direct": Direct(self._hear, self._send_now)}

    async def send(self, message: Any) -> None:
        """Send what the application sends, when the client reads fast enough. Raises `ClientDisconnected`."""
        if self._messages is not None:
            await self._say(self._messages, message)
        elif message["type"] == "websocket.accept" and not self.handshake_complete and self.initial_response is None:
            self._accept(message)
        else:
            await super().send(message)

    async def receive(self) -> Any:
        """Return the next message of the client, or its leaving."""
        if self._messages is None:  # from then on the queue holds no more than a loss, which waits for what came before
            return await super().receive()
        match await self._messages.next():
            case Undone() as undone:
                return {"type": "websocket.receive", "undone": undone}
            case Text(text):
                return {"type": "websocket.receive", "text": text}
            case Binary(data):
                return {"type": "websocket.receive", "bytes": data}
            case Closed(code, reason):
                return {"type": "websocket.disconnect", "code": code, "reason": reason}

    def shutdown(self) -> None:
        """Close because the server stops."""
        if self._messages is None:
            super().shutdown()
        else:
            self._close(self._messages, SERVICE_RESTART, "")
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        """Take a handshake; of another version is said which one is spoken here (RFC 6455 section 4.4)."""
        if event.headers.get_all("Sec-WebSocket-Version") == [_VERSION]:
            super().handle_connect(event)
            return
        refusal = self.conn.reject(426, f"Version {_VERSION} of the WebSocket protocol is spoken here.\n")
        refusal.headers["Sec-WebSocket-Version"] = _VERSION
        refusal.headers["Upgrade"] = "websocket"
        self._refuse_handshake(refusal)

    def _refuse_handshake(self, refusal: Response) -> None:
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        # The second parser has answers to some; nobody asks it for them.
        self.transport.write(b"".join(self.conn.data_to_send()) or refusal.serialize())
        self.transport.close()

    def _accept(self, message: Any) -> None:
        """Answer the handshake, and hand the connection to picows."""
        import picows  # late: it takes a while, and chats need none
        from picows.picows import WSProtocol  # type: ignore[attr-defined]  # compiled, and not in its stub

        from trunkline.upstream.listener import MessageListener

        if self.disconnected or self.transport.is_closing():
            raise ClientDisconnected
        headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in (*self.default_headers, *message.get("headers", ()))
        ]
        if subprotocol := message.get("subprotocol"):
            headers.append(("Sec-WebSocket-Protocol", subprotocol))
        messages = MessageListener(self.config.ws_max_size, is_strict=True, on_lost=lambda: self.connection_lost(None))
        answer = picows.WSUpgradeResponseWithListener(
            picows.WSUpgradeResponse.create_101_response(headers),
            messages,
        )
        protocol = WSProtocol(
            None,
            None,
            False,
            lambda request: answer,
            _log,
            True,
            None,
            bool(self.ping_interval),
            self.ping_interval,
            self.ping_timeout,
            picows.WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # the listener answers pings
            self.config.ws_max_size,
            None,
            _READ_BUFFER,
        )
        protocol.connection_made(self.transport)
        _feed(protocol, _HANDSHAKE % self.request.headers["Sec-WebSocket-Key"].encode("latin-1"))
        self.handshake_complete = True
        self._messages = messages
        del self.conn, self.request, self.response  # of the handshake; a session may last for hours
        self.transport.set_protocol(protocol)
        _feed(protocol, bytes(self._early))
        self._early.clear()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def _hear(self, take: Take) -> None:
        if self._messages is not None:
            self._messages.hear(take)

    def _send_now(self, payload: str | bytes) -> bool:
        return self._messages is not None and self._messages.send_now(payload)

    async def _say(self, messages: MessageListener, message: Any) -> None:
        if message["type"] == "websocket.close":
            if not self.close_sent and not self.disconnected:
                self._close(messages, message.get("code", NORMAL), message.get("reason") or "")
                self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)
            return
        text = message.get("text")
        if not await messages.send(text if text is not None else message["bytes"]):
            raise ClientDisconnected

    def _close(self, messages: MessageListener, code: int, reason: str) -> None:
        from trunkline.upstream.listener import close_reason

        messages.end(code, reason)
        self.close_sent = True
        if messages.transport is not None:
            messages.transport.send_close(cast("WSCloseCode", code), close_reason(reason))


def _feed(protocol: Any, data: bytes) -> None:
    """Give bytes to a protocol that has a buffer of its own."""
    while data:
        space = protocol.get_buffer(-1)
        size = min(len(space), len(data))
        space[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]
