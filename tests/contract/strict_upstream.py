"""A provider that believes nothing: of every request it writes down each credential, wherever that sits.

All providers are here, each below its slug (``/openai/v1/...``), over HTTP, as a stream and on WebSockets. A request is
served when it shows exactly one credential, that is a key of the provider asked, and it sits where that provider's
documentation wants it on that transport. What is right is written down here by hand, not read from the data under test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import uvicorn

from trunkline.credentials import PLACEMENTS, Carrier

BEARER = ("header authorization", "Bearer {}")
TOKEN = ("header authorization", "Token {}")
X_API_KEY = ("header x-api-key", "{}")
API_KEY = ("header api-key", "{}")
GOOGLE = ("header x-goog-api-key", "{}")
ELEVENLABS = ("header xi-api-key", "{}")
SIGNED = (
    "header authorization",
    "AWS4-HMAC-SHA256 Credential={}/20261123/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0f",
)

# A place and what is written there around the key. The first is where a gateway puts a key that it holds.
Slots = tuple[tuple[str, str], ...]

# A login's token, unlike a key, is a bearer token with every provider that has logins. Google's ephemeral ones are not.
ACCESS_TOKEN_SLOTS: Mapping[str, Slots] = {
    "anthropic": (BEARER,),
    "azure-openai": (BEARER,),
    "google-vertex-ai": (BEARER,),
    "google-ai-studio": (TOKEN, ("query parameter access_token", "{}")),
}

# Google and Cartesia take a key in the query too. From a gateway it had better not come there: queries are logged. A
# token that is good there alone has no choice.
HTTP_SLOTS: Mapping[str, Slots] = {
    "openai": (BEARER,),
    "anthropic": (X_API_KEY,),
    "google-ai-studio": (GOOGLE, BEARER),  # as a bearer token: its OpenAI-compatible surface
    "google-vertex-ai": (BEARER,),
    "azure-openai": (API_KEY,),
    "aws-bedrock": (BEARER, SIGNED),
    "workers-ai": (BEARER,),
    "grok": (BEARER,),
    "groq": (BEARER,),
    "deepseek": (BEARER,),
    "mistral": (BEARER,),
    "perplexity-ai": (BEARER,),
    "cerebras": (BEARER,),
    "openrouter": (BEARER,),
    "cohere": (TOKEN, BEARER),
    "huggingface": (BEARER,),
    "replicate": (BEARER, TOKEN),
    "fal": (("header authorization", "Key {}"),),
    "ideogram": (API_KEY,),
    "cartesia": (X_API_KEY, BEARER),
    "deepgram": (TOKEN, BEARER),
    "elevenlabs": (ELEVENLABS,),
    "baseten": (BEARER, ("header authorization", "Api-Key {}")),
    "parallel": (X_API_KEY,),
    "fireworks": (BEARER,),
    "custom-mine": (BEARER, ("header authorization", "{}"), X_API_KEY, API_KEY),
}

SOCKET_SLOTS: Mapping[str, Slots] = {
    "openai": (BEARER, ("sub-protocol openai-insecure-api-key.*", "{}")),
    "azure-openai": (API_KEY,),
    "grok": (BEARER, ("sub-protocol xai-client-secret.*", "{}")),
    "google-ai-studio": (GOOGLE, ("query parameter access_token", "{}")),
    "elevenlabs": (
        ELEVENLABS,
        ("sub-protocol xi-api-key.*", "{}"),
        ("query parameter conversation_signature", "{}"),
        ("query parameter single_use_token", "{}"),
        ("query parameter token", "{}"),
    ),
    "cartesia": (X_API_KEY, BEARER, ("query parameter access_token", "{}")),
    "deepgram": (TOKEN, BEARER),
    "fal": (("header authorization", "Key {}"), ("query parameter fal_jwt_token", "{}")),
    "workers-ai": (BEARER,),
}

# A header of one of these names is a credential or something of a gateway's, whatever it holds.
_SUSPECT_NAMES = frozenset(
    {
        *(place.name for place in PLACEMENTS if place.carrier is Carrier.HEADER),
        "proxy-authorization",
        "cookie",
        "cf-skip-cache",
        "cf-cache-ttl",
    }
)
_SUSPECT_PREFIXES = ("cf-aig-", "cf-access-", "x-trunkline-", "x-forwarded-")
_SECRET_PREFIXES = tuple(place.name for place in PLACEMENTS if place.carrier is Carrier.SUBPROTOCOL)
_SECRET_PARAMETERS = frozenset(place.name for place in PLACEMENTS if place.carrier is Carrier.QUERY)

REFUSED = (3000, "invalid_request_error.strict_upstream")
CHUNKS = ('{"n": 1}', '{"n": 2}', "[DONE]")


@dataclass(frozen=True)
class Received:
    """One request: every credential in it as place and text, and what was wrong with them, if anything."""

    credentials: list[tuple[str, str]]
    problem: str


class StrictUpstream:
    """The ASGI application, and what it ``received``.

    ``keys`` are the good keys of each provider, ``access_tokens`` those of them that logins gave; ``secrets`` is every
    value that may only ever be found in a place for credentials.
    """

    def __init__(
        self, keys: Mapping[str, Collection[str]], access_tokens: Collection[str], secrets: Collection[str]
    ) -> None:
        self.received: list[Received] = []
        self._keys = keys
        self._access_tokens = access_tokens
        self._secrets = secrets

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._speak(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        problem = self._judge(scope, body.decode())
        if problem:
            kind, answer, status = "application/json", json.dumps(_error(problem)), 401
        elif json.loads(body).get("stream"):
            kind, answer, status = "text/event-stream", "".join(f"data: {chunk}\n\n" for chunk in CHUNKS), 200
        else:
            kind, answer, status = "application/json", '{"served": true}', 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]})
        await send({"type": "http.response.body", "body": answer.encode()})

    async def _speak(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        problem = self._judge(scope)
        offered = scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": "realtime" if "realtime" in offered else None})
        if problem:
            await send({"type": "websocket.send", "text": json.dumps({"type": "error", **_error(problem)})})
            await send({"type": "websocket.close", "code": REFUSED[0], "reason": REFUSED[1]})
            return
        await send({"type": "websocket.send", "text": '{"type": "session.created", "session": {}}'})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})

    def _judge(self, scope: Any, body: str = "") -> str:
        found = list(self._credentials(scope, body))
        problem = self._problem(scope["path"].split("/")[1], scope["type"] == "websocket", found)
        self.received.append(Received(found, problem))
        return problem

    def _credentials(self, scope: Any, body: str) -> Iterator[tuple[str, str]]:
        for raw_name, raw in scope["headers"]:
            name, value = raw_name.decode(), raw.decode("latin-1")
            if name == "sec-websocket-protocol":
                continue
            if name in _SUSPECT_NAMES or name.startswith(_SUSPECT_PREFIXES) or self._has_secret(value):
                yield f"header {name}", value
        for offered in scope.get("subprotocols", ()):
            prefix = next((one for one in _SECRET_PREFIXES if offered.lower().startswith(one)), "")
            if prefix or self._has_secret(offered):
                yield f"sub-protocol {prefix}*", offered[len(prefix) :]
        for name, value in parse_qsl(scope["query_string"].decode(), keep_blank_values=True):
            if name in _SECRET_PARAMETERS or self._has_secret(value):
                yield f"query parameter {name}", value
        if self._has_secret(body) or self._has_secret(scope["path"]):
            yield "body or path", "a secret"

    def _has_secret(self, text: str) -> bool:
        return any(secret in text for secret in self._secrets)

    def _problem(self, provider: str, is_socket: bool, found: list[tuple[str, str]]) -> str:
        places = ", ".join(place for place, _ in found)
        if len(found) != 1:
            return f"exactly one credential is wanted, and these were shown: {places or 'none'}"
        ((place, text),) = found
        key = next((key for key in self._keys[provider] if key in text), None)
        if key is None:
            return f"what the {places} holds is no key of {provider}"
        if not any(is_written(place, text, slot, key) for slot in self.slots(provider, key, is_socket=is_socket)):
            return f"{provider} does not take a key in the {places} as it is written there"
        return ""

    def slots(self, provider: str, key: str, *, is_socket: bool) -> Slots:
        """Return where a provider takes a key."""
        if key in self._access_tokens:
            return ACCESS_TOKEN_SLOTS[provider]
        return (SOCKET_SLOTS if is_socket else HTTP_SLOTS)[provider]


def is_written(place: str, text: str, slot: tuple[str, str], key: str) -> bool:
    """Whether a key is written as a slot has it; RFC 9110 section 11.1: a scheme has no large or small letters."""
    before, _, after = slot[1].partition("{}")
    return place == slot[0] and text[: len(before)].lower() == before.lower() and text[len(before) :] == key + after


@asynccontextmanager
async def served(upstream: Any) -> AsyncIterator[str]:
    """Serve it on a free port; yield its address."""
    config = uvicorn.Config(
        upstream, port=0, ws="websockets-sansio", lifespan="off", log_config=None, access_log=False, server_header=False
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:
        assert not serving.done(), serving.exception()
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def _error(problem: str) -> dict[str, Any]:
    return {"error": {"message": f"Refused: {problem}.", "type": "invalid_request_error", "code": "strict_upstream"}}
