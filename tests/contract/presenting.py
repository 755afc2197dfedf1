"""Clients that show a credential exactly as a row of the matrix writes it, on every transport.

The standard library's HTTP client and `websockets` send what they are told: blank values, two headers of one name, any
sub-protocol. Both block, so that a test reads from top to bottom; the servers run elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.contract.strict_upstream import CHUNKS
from tests.running import Address
from trunkline.credentials import Carrier
from trunkline.credentials.matrix import Presentation, Seat, Secret, Shown, Way

SECONDS = 10
PAGE = "http://localhost:3000"

# What follows the provider in a path, where it is not the usual one.
HTTP_PATHS = {
    "anthropic": "v1/messages",
    "azure-openai": "resource/deployment/chat/completions?api-version=2024-10-21",
    "google-ai-studio": "v1beta/openai/chat/completions",
}
# Cloudflare's own realtime paths, and those of the SDKs.
REALTIME_PATHS = {
    "openai": "openai?model=gpt-realtime",
    "azure-openai": "azure-openai/openai/v1/realtime?model=deployment",
    "grok": "grok/v1/realtime?model=grok-voice",
    "google-ai-studio": "google",
    "cartesia": "cartesia?cartesia_version=2024-06-10",
    "elevenlabs": "elevenlabs?agent_id=agent",
    "fal": "fal/fal-ai/fast-lcm-diffusion",
    "deepgram": "deepgram/v1/listen?model=nova-3",
    "workers-ai": "workers-ai?model=@cf/deepgram/nova-3&encoding=linear16&sample_rate=16000",
}


@dataclass(frozen=True)
class Answer:
    """What a client was told.

    ``verdict`` is the status, followed by the gateway's code where the gateway itself answers; of a realtime session
    it is the type of the first event, or the code and reason with which it was closed. ``raw`` is every byte of it.
    """

    verdict: str
    message: str
    raw: str = field(repr=False)
    selected: str | None = None


@dataclass(frozen=True)
class Client:
    """Asks one gateway for one provider; ``headers`` are sent besides what a row shows."""

    address: Address
    gateway: str
    provider: str
    headers: Sequence[tuple[str, str]] = ()

    def send(self, written: Written, way: Way) -> Answer:
        """Send on a transport what is written for it."""
        match way:
            case Way.HTTP | Way.SSE:
                return self._request(self.path, written, {"stream": way is Way.SSE})
            case Way.UNIVERSAL_HTTP:
                return self._request(self.universal_path, written, [self.step(written)])
            case Way.UNIVERSAL_WEBSOCKET:
                with self.dial(self.universal_path, written) as socket:
                    return create(socket, self.step(written))
            case Way.REALTIME:
                return self._session(f"{self.universal_path}/{REALTIME_PATHS[self.provider]}", written)
            case Way.REALTIME_BROWSER:
                return self._session(f"{self.universal_path}/{REALTIME_PATHS[self.provider]}", written, PAGE)
            case Way.REALTIME_ROOT:
                return self._session("/v1/realtime?model=gpt-realtime", written)

    @property
    def path(self) -> str:
        """The path of an ordinary request."""
        return f"{self.universal_path}/{self.provider}/{rest_of(self.provider)}"

    def connection(self) -> HTTPConnection:
        """Return an HTTP connection to the server, which stays open until it is closed."""
        return HTTPConnection(self.address.host, self.address.port, timeout=SECONDS)

    @property
    def universal_path(self) -> str:
        """The path of the universal endpoint, with which every other path of the gateway begins."""
        return f"/v1/local/{self.gateway}"

    def dial(self, path: str, written: Written, origin: str | None = None) -> ClientConnection:
        """Open a WebSocket."""
        return connect(
            self.address.ws + with_query(path, written.query),
            additional_headers=[*written.headers, *self.headers],
            subprotocols=[Subprotocol(name) for name in written.subprotocols] or None,
            origin=None if origin is None else Origin(origin),
            open_timeout=SECONDS,
            close_timeout=SECONDS,
            compression=None,
            proxy=None,
        )

    def _request(self, path: str, written: Written, body: Any) -> Answer:
        with closing(self.connection()) as connection:
            return request(connection, with_query(path, written.query), [*written.headers, *self.headers], body)

    def step(self, written: Written) -> dict[str, Any]:
        """Return a step of a universal request."""
        endpoint = with_query(rest_of(self.provider), written.step_query)
        return {
            "provider": self.provider,
            "endpoint": endpoint,
            "headers": dict(written.step_headers),
            "query": {"model": "m"},
            **written.step_fields,
        }

    def _session(self, path: str, written: Written, origin: str | None = None) -> Answer:
        with self.dial(path, written, origin) as socket:
            raw = str(socket.recv(SECONDS))
            event = json.loads(raw)
            if event.get("type") == "session.created":
                assert said_back(socket, "hello") == "hello"
                return Answer("session.created", "", raw, socket.subprotocol)
            with pytest.raises(ConnectionClosed):
                socket.recv(SECONDS)
            verdict = f"{socket.close_code} {socket.close_reason}"
            return Answer(verdict, message_in(event), raw + verdict, socket.subprotocol)


@dataclass(frozen=True)
class Written:
    """A row put into the parts of a request. Those of a step are empty where there are no steps."""

    headers: list[tuple[str, str]]
    query: str
    subprotocols: list[str]
    step_headers: list[tuple[str, str]]
    step_query: str
    step_fields: dict[str, str]

    @classmethod
    def of(cls, row: Presentation, way: Way, value_of: Callable[[Secret], str]) -> Written:
        """Write a row for a transport."""

        def written(carrier: Carrier, *seats: Seat) -> list[tuple[str, str]]:
            return [
                (one.name, one.text(value_of(one.secret)))
                for one in row.shown
                if one.placement.carrier is carrier and _seat(one, way) in seats
            ]

        protocols = [name for one in row.shown for name in one.subprotocols(value_of(one.secret))]
        return cls(
            headers=written(Carrier.HEADER, Seat.REQUEST),
            query=_encoded(written(Carrier.QUERY, Seat.REQUEST)),
            subprotocols=[*row.subprotocols, *protocols] if way.is_realtime or protocols else [],
            step_headers=written(Carrier.HEADER, Seat.STEP),
            step_query=_encoded(written(Carrier.QUERY, Seat.STEP)),
            step_fields=dict(written(Carrier.HEADER, Seat.STEP_FIELD)),
        )


def request(connection: HTTPConnection, path: str, headers: list[tuple[str, str]], body: Any) -> Answer:
    """POST a body as JSON, the headers byte for byte as they are given."""
    data = json.dumps(body).encode()
    connection.putrequest("POST", path)
    for name, value in [*headers, ("content-type", "application/json"), ("content-length", str(len(data)))]:
        connection.putheader(name, value)
    connection.endheaders(data)
    response = connection.getresponse()
    text = response.read().decode()
    if response.getheader("content-type") == "text/event-stream":
        assert [line for line in text.split("\n") if line] == [f"data: {chunk}" for chunk in CHUNKS]
        return Answer(str(response.status), "", text)
    code = response.getheader("cf-aig-error-code")
    raw = f"{text}\n{response.headers}"
    return Answer(f"{response.status} {code}" if code else str(response.status), message_in(json.loads(text)), raw)


def create(socket: ClientConnection, step: Mapping[str, Any]) -> Answer:
    """Ask for a step on a universal WebSocket that is open."""
    socket.send(json.dumps({"type": "universal.create", "request": {"eventId": "event", **step}}))
    raw = str(socket.recv(SECONDS))
    frame = json.loads(raw)
    assert frame["type"] == "universal.created", raw
    status, body = frame["metadata"]["status"], frame["response"]
    verdict = f"{status} {body['internalCode']}" if "internalCode" in body else str(status)
    return Answer(verdict, message_in(body), raw, socket.subprotocol)


def said_back(socket: ClientConnection, text: str) -> str:
    """Say something to a provider that repeats it."""
    socket.send(text)
    return str(socket.recv(SECONDS))


def message_in(body: Mapping[str, Any]) -> str:
    """Return the words of an error object, whoever's it is; nothing when it is none."""
    error = body.get("error")
    if body.get("type") in ("error", "Error") and "message" in body:  # ElevenLabs, Deepgram, Cartesia
        return str(body["message"])
    if isinstance(error, list):
        return str(error[0]["message"])
    return str(error["message"]) if isinstance(error, dict) else ""


def with_query(path: str, query: str) -> str:
    """Add parameters to a path that may have some."""
    return f"{path}{'&' if '?' in path else '?'}{query}" if query else path


def rest_of(provider: str) -> str:
    """Return what follows a provider in the path of a request."""
    return HTTP_PATHS.get(provider, "chat/completions")


def _seat(shown: Shown, way: Way) -> Seat:
    return shown.seat if way.is_universal else Seat.REQUEST


def _encoded(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
