"""WebSockets to providers, on picows: whole messages, exact close codes, back-pressure both ways."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, cast

import picows
from picows import WSCloseCode, WSTransport

from trunkline.errors import UpstreamBroken, UpstreamError, UpstreamTimeout, UpstreamUpgradeRefused
from trunkline.upstream import failures
from trunkline.upstream.address import Origin
from trunkline.upstream.connecting import Connector
from trunkline.upstream.listener import MessageListener, close_reason
from trunkline.upstream.messages import Binary, Closed, Take, Text
from trunkline.upstream.timeouts import Timeouts

# A guard against a length field gone wild, not a limit: providers send items with minutes of audio in one frame.
_MAX_MESSAGE: Final = 1 << 30
# Grows where frames are larger; most connections are silent most of the time.
_READ_BUFFER: Final = 2048
_MAX_REFUSAL_BODY: Final = 64 * 1024
_CLOSE_SECONDS: Final = 5.0

# picows logs whole handshakes, keys included, below INFO.
_log = logging.getLogger("trunkline.upstream.websocket")
_log.setLevel(logging.CRITICAL)


class Dialer:
    """Opens WebSockets to providers."""

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxies: Mapping[str, str] | None = None,
        connector: Connector | None = None,
        max_message: int = _MAX_MESSAGE,
    ) -> None:
        """``connector`` replaces the one that would be made of ``ssl_context`` and ``proxies``.

        A message of more than ``max_message`` bytes ends the connection: it is then reported as broken (1006).
        """
        self._timeouts = timeouts or Timeouts()
        self._connector = connector or Connector(ssl_context, proxies)
        self._max_message = max_message

    async def dial(
        self, origin: Origin, target: bytes, headers: Sequence[tuple[bytes, bytes]], subprotocols: Sequence[str] = ()
    ) -> UpstreamSocket:
        """Return an open WebSocket, or raise the `UpstreamError` that says why there is none.

        A provider that answers the handshake with an HTTP response raises `UpstreamUpgradeRefused`, which holds it.
        """
        extra = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        if subprotocols:
            extra.append(("sec-websocket-protocol", ", ".join(subprotocols)))
        scheme = "wss" if origin.is_secure else "ws"
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        listener = _Listener(self._max_message)
        try:
            async with asyncio.timeout(self._timeouts.connect):
                opened = await self._connector.open(origin)
                try:
                    await picows.ws_connect(
                        lambda: listener,
                        f"{scheme}://{host}:{origin.port}{target.decode('latin-1')}",
                        ssl_context=self._connector.ssl_for(origin),
                        websocket_handshake_timeout=None,  # the timeout around all of this
                        logger_name=_log,
                        max_frame_size=self._max_message,
                        read_buffer_init_size=_READ_BUFFER,
                        enable_auto_pong=False,  # the listener's
                        extra_headers=[("Host", origin.netloc), *extra],
                        max_redirects=0,  # a redirect would carry the key to a host of the answer's choice
                        socket_factory=lambda _: opened,
                        use_aiofastnet=False,
                    )
                except BaseException:
                    # The event loop's transport holds the socket too, and would keep it open.
                    with suppress(OSError):
                        opened.shutdown(socket.SHUT_RDWR)
                    opened.close()
                    raise
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise _dial_failure(error, origin) from error
        if listener.transport is None:
            raise UpstreamBroken(f"{origin} closed the connection during the WebSocket handshake.")
        if "sec-websocket-extensions" in listener.transport.response.headers:
            listener.transport.disconnect(graceful=False)
            raise UpstreamBroken(f"{origin} chose an extension of WebSockets that it was not offered.")
        return UpstreamSocket(listener, listener.transport)


def _dial_failure(error: Exception, origin: Origin) -> UpstreamError:
    if isinstance(error, picows.WSHandshakeError):
        answer = error.response
        status = getattr(answer, "status", None)
        if answer is None or status is None:
            return UpstreamBroken(f"{origin} answered the WebSocket handshake with something that is not HTTP.")
        body = (error.raw_body or b"")[:_MAX_REFUSAL_BODY]
        headers = [
            (name.encode("ascii"), value.encode("ascii", "surrogateescape"))  # as picows has decoded them
            for name, value in (answer.headers or {}).items()
        ]
        said = f": {words}" if (words := _printable(body)) else "."
        return UpstreamUpgradeRefused(
            f"{origin} refused the WebSocket with HTTP {int(status)}{said}",
            upstream_status=int(status),
            headers=headers,
            body=body,
        )
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(f"{origin} did not complete the WebSocket handshake in time (upstream.connect_timeout).")
    return failures.connecting(error, origin)


def _printable(body: bytes) -> str:
    """Return the beginning of a refusal's body if a person can read it."""
    text = body[:500].decode("utf-8", "replace").strip()
    return " ".join(text.split()) if text.isprintable() or "{" in text else ""


class UpstreamSocket:
    """An open WebSocket to a provider."""

    def __init__(self, listener: _Listener, transport: WSTransport) -> None:
        self._listener = listener
        self._transport = transport

    @property
    def subprotocol(self) -> str | None:
        """The sub-protocol that the provider selected."""
        selected: str | None = self._transport.response.headers.get("sec-websocket-protocol")
        return selected

    async def receive(self) -> Text | Binary | Closed:
        """Return the next message, or the close; after a close, the close again."""
        return await self._listener.next()

    def hear(self, take: Take) -> None:
        """Have ``take`` shown messages in the moment they come, as `MessageListener.hear` says."""
        self._listener.hear(take)

    def send_now(self, payload: str | bytes) -> bool:
        """Send a message where that needs no waiting, and the connection is open; return whether it did."""
        return self._listener.send_now(payload)

    async def send(self, payload: str | bytes) -> None:
        """Send a message; waits while the provider does not take what was sent before."""
        await self._listener.send(payload)

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame and wait a moment for the provider's."""
        if self._transport.is_disconnected:
            return
        if not self._transport.is_close_frame_sent:
            self._transport.send_close(cast("WSCloseCode", code), close_reason(reason))  # any code may be relayed
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._listener.closed.wait()
        except TimeoutError:
            pass
        self.abort()

    def abort(self) -> None:
        """Close the connection without waiting."""
        self._transport.disconnect(graceful=False)


class _Listener(MessageListener):
    """Takes note of how a connection ended: asyncio complains of errors that nobody looks at."""

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        super().on_ws_disconnected(transport)
        self._farewell = asyncio.get_running_loop().create_task(_take_note(transport))


async def _take_note(transport: WSTransport) -> None:
    with suppress(Exception):
        await transport.wait_disconnected()
