"""A provider in OpenAI's place that speaks the current (GA) Realtime protocol only, for tests of what dials it.

It refuses what OpenAI refuses, in the same way, and anything of a gateway that should never have reached it. As a
program:

    python -m tests.clients.ga_upstream --port 0 --key sk-...

prints one line of JSON with its addresses when it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import email
import email.policy
import json
import re
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import uvicorn

from tests.clients.ga_session import Event, GaSession, Kind, Refused, check_session, error_of

KEY = "sk-ga-upstream-0123456789abcdef"
MODELS = (
    *("gpt-realtime", "gpt-realtime-1.5", "gpt-realtime-2", "gpt-realtime-2.1", "gpt-realtime-2.1-mini"),
    *("gpt-realtime-mini", "gpt-realtime-2025-08-28"),
)
HEARD = "Tell me something nice."
KEY_PROTOCOL = "openai-insecure-api-key."
BETA_HEADER = ("openai-beta", "realtime=v1")
BETA_PROTOCOL = "openai-beta."
# Places of other providers' keys, and of no key of OpenAI's.
FOREIGN_KEY_HEADERS = ("api-key", "x-api-key", "x-goog-api-key", "xi-api-key")
# What only a gateway knows: its headers, and the keys and secrets it gives out.
GATEWAY_HEADERS = ("cf-aig-", "x-trunkline-")
GATEWAY_SECRETS = re.compile(r"\b(tlk_|ek_tl_)\w*")

SDP_ANSWER = "\r\n".join(
    (
        *("v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1", "a=ice-lite"),
        *(
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "c=IN IP4 127.0.0.1",
            "a=mid:0",
            "a=sendrecv",
            "a=rtcp-mux",
            "a=rtpmap:111 opus/48000/2",
        ),
        *("a=ice-ufrag:upstream", "a=ice-pwd:0123456789abcdef01234567", "a=setup:active"),
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        *("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 127.0.0.1", "a=mid:1", "a=sctp-port:5000", ""),
    )
)


class Closing(Exception):
    """A handshake that is answered with an ``error`` event and a close."""

    def __init__(self, close_code: int, code: str, message: str) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.code = code


@dataclass
class SeenSession:
    """A WebSocket that was opened: its handshake, what came and went on it, and how it ended."""

    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]
    subprotocols: list[str]
    received: list[Event] = field(default_factory=list)
    sent: list[Event] = field(default_factory=list)
    refused: str = ""
    close_code: int | None = None

    @property
    def credentials(self) -> list[str]:
        """Every key that the handshake showed, wherever."""
        shown = [text.split()[-1] for name, text in self.headers if name == "authorization" and text.strip()]
        shown += [text for name, text in self.headers if name in FOREIGN_KEY_HEADERS]
        return shown + [one[len(KEY_PROTOCOL) :] for one in self.subprotocols if one.startswith(KEY_PROTOCOL)]

    @property
    def is_open(self) -> bool:
        return self.close_code is None and not self.refused

    def types_received(self) -> list[str]:
        return [str(event.get("type")) for event in self.received]

    def types_sent(self) -> list[str]:
        return [str(event["type"]) for event in self.sent]

    def errors_sent(self) -> list[Event]:
        return [event["error"] for event in self.sent if event["type"] == "error"]


@dataclass
class SeenRequest:
    """An HTTP request; ``parts`` are those of a multipart body by name."""

    method: str
    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]
    body: bytes
    status: int = 0
    parts: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """A WebRTC call: its media is nowhere, its events go to the sockets that are attached to it."""

    id: str
    session: GaSession
    listeners: list[Callable[[Event], None]] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        for listener in list(self.listeners):
            listener(event)


@dataclass(eq=False)
class _Socket:
    """An open socket: ``outgoing`` takes events, and a (code, reason) that ends it."""

    seen: SeenSession
    client: tuple[str, int]
    outgoing: asyncio.Queue[Event | tuple[int, str]]

    def tell(self, event: Event) -> None:
        self.seen.sent.append(event)
        self.outgoing.put_nowait(event)


class GaUpstream:
    """The provider: what it saw, and how to make it misbehave.

    ``hears`` are the words of every spoken turn. ``refuse_new`` answers handshakes with 503. ``leaks`` names everything
    of a gateway that reached it. ``pace`` 1 speaks in real time, 0 as fast as it can.
    """

    def __init__(self, key: str, *, models: tuple[str, ...] = MODELS, hears: str = HEARD, pace: float = 1.0) -> None:
        self.key = key
        self.models = models
        self.hears = hears
        self.pace = pace
        self.http = ""
        self.ws = ""
        self.sessions: list[SeenSession] = []
        self.requests: list[SeenRequest] = []
        self.calls: dict[str, Call] = {}
        self.leaks: list[str] = []
        self.refuse_new = False
        self._secrets: dict[str, tuple[float, dict[str, Any]]] = {}
        self._sockets: set[_Socket] = set()
        self._server: uvicorn.Server | None = None

    # Misbehaviour, and what happens in calls.

    def drop_all(self) -> None:
        """Abort the TCP connection of every open session: no close frame."""
        assert self._server is not None
        doomed = {socket.client for socket in self._sockets}
        for connection in list(self._server.server_state.connections):
            transport: Any = connection.transport
            if transport is not None and transport.get_extra_info("peername") in doomed:
                transport.abort()

    def close_all(self, code: int = 1011, reason: str = "") -> None:
        """Close every open session."""
        for socket in self._sockets:
            socket.outgoing.put_nowait((code, reason))

    def expire_all(self) -> None:
        """End every open session as after an hour: an ``error``, then close 1001."""
        for socket in self._sockets:
            socket.tell(error_of("session_expired", "Your session hit the maximum duration of 60 minutes."))
        self.close_all(1001, "session hit the maximum duration")

    def speak_in_call(self, call_id: str, words: str, length_ms: int = 1000) -> None:
        """Have the user of a call say something."""
        self.calls[call_id].session.hear_spoken(words, length_ms)

    @property
    def open_sessions(self) -> list[SeenSession]:
        return [socket.seen for socket in self._sockets]

    # The ASGI application.

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve_request(scope, receive, send)

    async def _serve_socket(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        seen = SeenSession(scope["path"], _query(scope), headers, list(scope["subprotocols"]))
        await receive()
        if self.refuse_new or scope["path"] != "/v1/realtime":
            await _respond(send, 503 if self.refuse_new else 404, b"", "websocket.http.response")
            return
        self.sessions.append(seen)
        await send({"type": "websocket.accept", "subprotocol": _selected(seen.subprotocols)})
        socket = _Socket(seen, scope["client"], asyncio.Queue())
        try:
            session, detach = self._joined(scope, socket)
        except Closing as closing:
            seen.refused, seen.close_code = closing.code, closing.close_code
            error = error_of(closing.code, str(closing))
            seen.sent.append(error)
            await send({"type": "websocket.send", "text": json.dumps(error)})
            reason = f"invalid_request_error.{closing.code}"
            await send({"type": "websocket.close", "code": closing.close_code, "reason": reason})
            return
        self._sockets.add(socket)
        writing = asyncio.create_task(_write(socket.outgoing, send))
        try:
            await self._read(session, socket, receive)
        finally:
            self._sockets.discard(socket)
            detach()
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing

    async def _read(self, session: GaSession, socket: _Socket, receive: Any) -> None:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            if text is None:
                socket.tell(error_of("invalid_event", "Binary messages are not supported."))
                continue
            with suppress(ValueError):
                event = json.loads(text)
                socket.seen.received.append(event if isinstance(event, dict) else {"type": None, "value": event})
            if leak := GATEWAY_SECRETS.search(text):
                self._note_leak(f"a gateway's credential {leak[1]}... in a frame")
                socket.tell(error_of("gateway_credential", "A gateway's credential has reached the provider."))
                continue
            session.receive(text)
        socket.seen.close_code = message.get("code", 1006)

    def _joined(self, scope: Any, socket: _Socket) -> tuple[GaSession, Callable[[], None]]:
        """Start the session that a handshake asks for, or join its call. Raises `Closing`."""
        seen = socket.seen
        self._check_leaks(scope, b"")
        if BETA_HEADER in seen.headers or any(one.startswith(BETA_PROTOCOL) for one in seen.subprotocols):
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
            raise Closing(4000, "beta_api_shape_disabled", message)
        configured = self._authenticated(seen.credentials, with_secrets=True)
        pairs = parse_qsl(scope["query_string"].decode(), keep_blank_values=True)
        names = Counter(name for name, _ in pairs)
        unknown = sorted(set(names) - {"model", "intent", "call_id"})
        if unknown or len(pairs) != len(names):
            raise Closing(4000, "unknown_parameter", f"Unknown or repeated query parameters: {unknown or list(names)}.")
        if "intent" in names and seen.query["intent"] != "transcription":
            raise Closing(4000, "invalid_intent", "The intent can only be 'transcription'.")
        if len(names) > 1:
            raise Closing(4000, "invalid_intent", f"Only one of these can be given: {', '.join(sorted(names))}.")
        if "call_id" in names:
            return self._joined_call(seen.query["call_id"], socket)
        kind, model = self._kind_of(seen.query, configured)
        session = GaSession(kind, model, socket.tell, **self._voice())
        if configured:
            session.configure(configured)
        session.open()
        return session, session.end

    def _joined_call(self, call_id: str, socket: _Socket) -> tuple[GaSession, Callable[[], None]]:
        call = self.calls.get(call_id)
        if call is None:
            raise Closing(4004, "call_id_not_found", f"No session found for call_id: {call_id}")
        call.session.open(socket.tell)
        call.listeners.append(socket.tell)
        return call.session, lambda: call.listeners.remove(socket.tell)

    def _kind_of(self, query: dict[str, str], configured: dict[str, Any]) -> tuple[Kind, str | None]:
        if "intent" in query or configured.get("type") == "transcription":
            return "transcription", None
        model = query.get("model") or configured.get("model")
        if not model:
            raise Closing(4000, "missing_model", "You must provide a model parameter.")
        if model not in self.models:
            raise Closing(
                4004, "model_not_found", f"The model `{model}` does not exist or you do not have access to it."
            )
        return "realtime", model

    def _authenticated(self, shown: list[str], *, with_secrets: bool) -> dict[str, Any]:
        """Return the session that the client secret at hand was made for, {} with the key. Raises `Closing`."""
        if len(shown) != 1:
            places = "No API key was provided" if not shown else f"{len(shown)} API keys were provided"
            raise Closing(3000, "invalid_api_key", f"{places}; exactly one is needed.")
        expires_at, session = self._secrets.get(shown[0], (0.0, {}))
        if shown[0] == self.key or (with_secrets and time.time() < expires_at):
            return session
        raise Closing(3000, "invalid_api_key", "Incorrect API key provided.")

    def _check_leaks(self, scope: Any, body: bytes) -> None:
        """Raise `Closing` if anything of a gateway has come through."""
        found = []
        for raw_name, raw in scope["headers"]:
            name, text = raw_name.decode().lower(), raw.decode("latin-1")
            if name.startswith(GATEWAY_HEADERS) or "cf-aig-" in text:
                found.append(f"a gateway's header {name}")
            if GATEWAY_SECRETS.search(text):
                found.append(f"a gateway's credential in the header {name}")
        if GATEWAY_SECRETS.search(scope["query_string"].decode() + scope["path"]):
            found.append("a gateway's credential in the URL")
        if GATEWAY_SECRETS.search(body.decode("latin-1")):
            found.append("a gateway's credential in a body")
        if found:
            self._note_leak(", ".join(found))
            raise Closing(4000, "gateway_credential", f"What only a gateway knows came through: {', '.join(found)}.")

    def _note_leak(self, what: str) -> None:
        self.leaks.append(what)
        print(f"ga_upstream: {what}", file=sys.stderr)  # noqa: T201 - loud

    # HTTP.

    async def _serve_request(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        seen = SeenRequest(scope["method"], scope["path"], _query(scope), headers, body)
        self.requests.append(seen)
        try:
            seen.status, answer, extra = self._answer(scope, seen)
        except Closing as closing:
            seen.status = 401 if closing.close_code == 3000 else 400
            answer, extra = json.dumps({"error": error_of(closing.code, str(closing))["error"]}), {}
        except Refused as refused:
            seen.status, extra = 400, {}
            answer = json.dumps({"error": error_of(refused.code, str(refused), refused.param)["error"]})
        await _respond(
            send, seen.status, answer.encode(), "http.response", {"content-type": "application/json", **extra}
        )

    def _answer(self, scope: Any, seen: SeenRequest) -> tuple[int, str, dict[str, str]]:
        """Answer with a status, a body and headers. Raises `Closing` or `Refused`."""
        self._check_leaks(scope, seen.body)
        action = re.fullmatch(r"/v1/realtime/calls/(rtc_\w+)/(accept|reject|refer|hangup)", seen.path)
        known = action or seen.path in ("/v1/realtime/client_secrets", "/v1/realtime/calls")
        if seen.method != "POST" or not known:
            message = f"Invalid URL ({seen.method} {seen.path})"
            return 404, json.dumps({"error": error_of("not_found", message)["error"]}), {}
        if BETA_HEADER in seen.headers:
            raise Closing(4000, "beta_api_shape_disabled", "The Realtime Beta API is no longer supported.")
        shown = SeenSession(seen.path, {}, seen.headers, []).credentials
        configured = self._authenticated(shown, with_secrets=seen.path == "/v1/realtime/calls")
        if action:
            return self._act_on_call(action[1], action[2])
        if seen.path.endswith("client_secrets"):
            return 200, json.dumps(self._new_secret(seen.body)), {}
        return self._new_call(seen, configured)

    def _new_secret(self, body: bytes) -> dict[str, Any]:
        given = _json_object(body)
        unknown = sorted(set(given) - {"expires_after", "session"})
        if unknown:
            raise Refused("unknown_parameter", f"Unknown parameter: '{unknown[0]}'.", unknown[0])
        seconds = (given.get("expires_after") or {}).get("seconds", 600)
        if not isinstance(seconds, int) or not 10 <= seconds <= 7200:
            raise Refused("invalid_value", "A client secret lives 10 to 7200 seconds.", "expires_after.seconds")
        session = given.get("session") or {"type": "realtime", "model": self.models[0]}
        check_session(session, "transcription" if session.get("type") == "transcription" else "realtime")
        value, expires_at = f"ek_{secrets.token_hex(16)}", int(time.time()) + seconds
        self._secrets[value] = (expires_at, session)
        shown = GaSession(session["type"], session.get("model"), lambda event: None, hears=lambda: "")
        shown.configure(session)
        return {"value": value, "expires_at": expires_at, "session": shown.configuration}

    def _new_call(self, seen: SeenRequest, configured: dict[str, Any]) -> tuple[int, str, dict[str, str]]:
        content_type = next((text for name, text in seen.headers if name == "content-type"), "")
        session: dict[str, Any] = dict(configured)
        if content_type.startswith("multipart/form-data"):
            seen.parts = _parts(content_type, seen.body)
            unknown = sorted(set(seen.parts) - {"sdp", "session"})
            if unknown:
                raise Refused("unknown_parameter", f"Unknown parameter: '{unknown[0]}'.", unknown[0])
            offer = seen.parts.get("sdp", "")
            if "session" in seen.parts:
                session |= _json_object(seen.parts["session"].encode())
        elif content_type.split(";")[0] == "application/sdp":
            offer = seen.body.decode()
        else:
            raise Refused("unsupported_content_type", "Send application/sdp or multipart/form-data.", "content-type")
        if not offer.startswith("v=0") or "\nm=" not in offer:
            raise Refused("invalid_offer", "The SDP offer cannot be read.", "sdp")
        model = seen.query.get("model") or session.get("model")
        session = {"type": "realtime", **session}
        check_session(session, "realtime")
        if model not in self.models:
            raise Refused("model_not_found", f"The model `{model}` does not exist.", "session.model")
        call_id = f"rtc_{secrets.token_hex(12)}"
        call = Call(
            call_id, GaSession("realtime", model, lambda event: call.tell(event), **self._voice(over_webrtc=True))
        )
        call.session.configure(session)
        self.calls[call_id] = call
        return 201, SDP_ANSWER, {"content-type": "application/sdp", "location": f"/v1/realtime/calls/{call_id}"}

    def _voice(self, *, over_webrtc: bool = False) -> dict[str, Any]:
        return {"hears": lambda: self.hears, "pace": self.pace, "over_webrtc": over_webrtc}

    def _act_on_call(self, call_id: str, action: str) -> tuple[int, str, dict[str, str]]:
        call = self.calls.get(call_id)
        if call is None:
            return 404, json.dumps({"error": error_of("call_id_not_found", f"No call {call_id}.")["error"]}), {}
        if action in ("hangup", "reject"):
            del self.calls[call_id]
            call.session.end()
            for socket in self._sockets:
                if socket.tell in call.listeners:
                    socket.outgoing.put_nowait((1000, ""))
        return 200, "", {}


async def _write(outgoing: asyncio.Queue[Event | tuple[int, str]], send: Any) -> None:
    while True:
        message = await outgoing.get()
        with suppress(Exception):  # the client may be gone; reading notices
            if isinstance(message, tuple):
                await send({"type": "websocket.close", "code": message[0], "reason": message[1]})
                return
            await send({"type": "websocket.send", "text": json.dumps(message)})


async def _respond(send: Any, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
    named = [(name.encode(), text.encode()) for name, text in (headers or {}).items()]
    await send({"type": f"{kind}.start", "status": status, "headers": named})
    await send({"type": f"{kind}.body", "body": body})


def _selected(offered: list[str]) -> str | None:
    if "realtime" in offered:
        return "realtime"
    return next((one for one in offered if not one.startswith(KEY_PROTOCOL)), offered[0] if offered else None)


def _query(scope: Any) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        raise Refused("invalid_json", "The body is no JSON.") from None
    if not isinstance(value, dict):
        raise Refused("invalid_type", "The body is no object.")
    return value


def _parts(content_type: str, body: bytes) -> dict[str, str]:
    head = f"content-type: {content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    found: dict[str, str] = {}
    for part in message.iter_parts():
        payload: Any = part.get_payload(decode=True)
        found[str(part.get_param("name", header="content-disposition"))] = payload.decode()
    return found


@asynccontextmanager
async def ga_upstream(
    *,
    key: str = KEY,
    models: tuple[str, ...] = MODELS,
    hears: str = HEARD,
    pace: float = 1.0,
    port: int = 0,
    kind: type[GaUpstream] = GaUpstream,
) -> AsyncIterator[GaUpstream]:
    """Serve a provider on loopback until the end of the block."""
    upstream = kind(key, models=models, hears=hears, pace=pace)
    config = uvicorn.Config(
        upstream,
        port=port,
        ws="websockets-sansio",
        ws_max_size=32 * 1024 * 1024,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    upstream._server = server
    serving = asyncio.create_task(server._serve())
    while not server.started:
        assert not serving.done(), serving.exception()
        await asyncio.sleep(0.005)
    address = f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    upstream.http, upstream.ws = f"http://{address}/v1", f"ws://{address}/v1"
    try:
        yield upstream
    finally:
        upstream.close_all(1001, "")
        server.should_exit = True
        await serving


async def _main(arguments: argparse.Namespace) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    options = {"hears": arguments.hears, "pace": arguments.pace}
    async with ga_upstream(key=arguments.key, port=arguments.port, **options) as upstream:
        print(json.dumps({"http": upstream.http, "ws": upstream.ws}), flush=True)  # noqa: T201
        await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A provider that speaks the GA Realtime protocol only.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--hears", default=HEARD, help="the words of every spoken turn")
    parser.add_argument("--pace", type=float, default=1.0, help="1 speaks in real time, 0 at once")
    asyncio.run(_main(parser.parse_args()))
