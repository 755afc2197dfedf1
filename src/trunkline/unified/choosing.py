"""Which adapter stands between a client and a provider.

What both speak is passed through: the body as it was but for the model's name, the answer byte for byte. Else the
client's surface makes a hub request, and the provider gets it in its own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol
from urllib.parse import quote

import msgspec

from trunkline.errors import MalformedRequest, UnknownProvider
from trunkline.providers.schema import Provider
from trunkline.unified.adapter import Adapter, Headers
from trunkline.unified.anthropic import AnthropicAdapter
from trunkline.unified.bedrock import BedrockAdapter
from trunkline.unified.chat import MOST_HELD, READ_HERE, Json, encode, header_of, read_object
from trunkline.unified.cohere import CohereAdapter, CohereEmbeddings
from trunkline.unified.google import GoogleAdapter, GoogleEmbeddings
from trunkline.unified.messages import MessagesSurface
from trunkline.unified.plain_chat import plain_chat
from trunkline.unified.responses import ResponsesSurface
from trunkline.wire.documents import UNREADABLE, why_unreadable
from trunkline.wire.encodings import Unpacker

Surface = Literal["chat", "embeddings", "responses", "messages"]

_CHAT: Final = "chat/completions"
_EMBEDDINGS: Final = "embeddings"
_IN_OPENAIS_WORDS: Final = ("openai", "azure")
_AI_STUDIO: Final = "v1beta"
_AZURE_VERSION: Final = "2024-10-21"
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ClientSide(Protocol):
    """A client's surface: a hub request, and what makes the client's answer of the hub's."""

    chat: Json

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, Headers]:
        """Take the head of the hub's answer; return that of the client's."""

    def feed(self, chunk: bytes) -> bytes:
        """Take some bytes of the hub's answer; return what they give in the client's words."""

    def finish(self) -> bytes:
        """Return the rest. Raises `UpstreamBroken` for an answer that cannot be told."""


def adapt(surface: Surface, provider: Provider, model: str, body: bytes, *, now: int, id: str) -> Adapter:
    """Return the adapter of one exchange.

    ``now`` is in Unix seconds, ``id`` is a text that no other exchange has, ``model`` is without the provider. Raises
    `MalformedRequest` naming the field that cannot be told to this provider, `UnknownProvider` where it has no such
    surface.
    """
    match surface:
        case "chat":
            if provider.unified_words in _IN_OPENAIS_WORDS:
                path, model = _openai_place(provider, model, _CHAT)
                return PassedThrough(path, with_model(body, model))
            return _chat(provider, model, read_object(body), now=now, id=id)
        case "embeddings":
            return _embeddings(provider, model, body, now=now, id=id)
        case "messages":
            if provider.unified_words == "anthropic":
                return PassedThrough("v1/messages", with_model(body, model))
            return Chained(*_sides(provider, model, MessagesSurface(body, now=now, id=id), now=now, id=id))
        case "responses":
            if provider.responses_path is not None:
                return PassedThrough(provider.responses_path, with_model(body, model))
            return Chained(*_sides(provider, model, ResponsesSurface(body, now=now, id=id), now=now, id=id))


class PassedThrough:
    """An exchange of two that understand each other."""

    def __init__(self, path: str, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.path = path
        self.body = body
        self.headers: Headers = list(headers)

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, Headers]:
        """Return the head as it is."""
        return status, list(headers)

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes as they are."""
        return chunk

    def finish(self) -> bytes:
        """Return nothing: all is said."""
        return b""


class Chained:
    """An exchange by way of the hub: what the provider's side says is said again by the client's."""

    def __init__(self, client: ClientSide, provider: Adapter) -> None:
        self._client = client
        self._provider = provider
        self.path = provider.path
        self.body = provider.body
        self.headers = provider.headers
        self._unpacker = Unpacker("", MOST_HELD)

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, Headers]:
        """Take the head of the provider's answer; return that of the client's."""
        status, told = self._provider.begin(status, headers)
        # What is passed through comes packed where a provider does not heed that plain bytes were asked for.
        self._unpacker = Unpacker(header_of(told, b"content-encoding"), MOST_HELD)
        return self._client.begin(status, told)

    def feed(self, chunk: bytes) -> bytes:
        """Take some bytes of the provider's answer; return what they give in the client's words."""
        said = self._unpacker.feed(self._provider.feed(chunk))
        return self._client.feed(said) if said else b""

    def finish(self) -> bytes:
        """Return the rest. Raises `UpstreamBroken` for an answer that cannot be told."""
        rest = self._provider.finish()
        said = self._client.feed(rest) if rest else b""
        return said + self._client.finish()


def with_model(body: bytes, model: str) -> bytes:
    """Return a JSON object with another ``model``; the other members keep their order and their bytes."""
    try:
        told = _MEMBERS.decode(body)
    except UNREADABLE as error:
        raise MalformedRequest(f"The body is not a JSON object: {why_unreadable(error)}.") from error
    told["model"] = msgspec.Raw(encode(model))
    return encode(told)


def _sides(provider: Provider, model: str, client: ClientSide, *, now: int, id: str) -> tuple[ClientSide, Adapter]:
    if provider.unified_words not in _IN_OPENAIS_WORDS:
        return client, _chat(provider, model, client.chat, now=now, id=id)
    path, model = _openai_place(provider, model, _CHAT)
    body = encode(plain_chat({**client.chat, "model": model}, provider.slug))
    return client, PassedThrough(path, body, READ_HERE)


def _chat(provider: Provider, model: str, chat: Json, *, now: int, id: str) -> Adapter:
    match provider.unified_words:
        case "anthropic":
            return AnthropicAdapter(chat, model, now=now, id=id)
        case "google":
            place, model = _google_place(provider, model)
            return GoogleAdapter(chat, model, now=now, id=id, at=place)
        case "bedrock":
            return BedrockAdapter(chat, model, now=now, id=id, region=provider.parameters.get("region", ""))
        case "cohere":
            return CohereAdapter(chat, model, now=now, id=id)
        case _:
            raise UnknownProvider(
                f"{provider.name} has no chat that the unified API can ask; use its own API, at /{provider.slug}/..."
            )


def _embeddings(provider: Provider, model: str, body: bytes, *, now: int, id: str) -> Adapter:
    match provider.unified_words:
        case "openai" | "azure":
            path, model = _openai_place(provider, model, _EMBEDDINGS)
            return PassedThrough(path, with_model(body, model))
        case "google" if not _is_vertex(provider):
            return GoogleEmbeddings(read_object(body), model, now=now, id=id, at=_AI_STUDIO)
        case "cohere":
            return CohereEmbeddings(read_object(body), model, now=now, id=id)
        case _:
            raise UnknownProvider(
                f"{provider.name} has no embeddings that the unified API can ask for; use a provider that has, or this"
                f" one's own API, at /{provider.slug}/..."
            )


def _openai_place(provider: Provider, model: str, surface: str) -> tuple[str, str]:
    """Return the path of a surface in OpenAI's words, and the model's name: embeddings are a sibling of chat.

    Azure has a path for each deployment of a resource, which is from the settings, or before the deployment's name.
    """
    if provider.unified_words == "azure":
        resource, slash, deployment = model.rpartition("/")
        resource = resource if slash else provider.parameters.get("resource", "")
        if not resource:
            raise MalformedRequest(
                f"model: {provider.name} needs a resource. Write {provider.slug}/RESOURCE/DEPLOYMENT, or set resource"
                f" under [providers.{provider.slug}.parameters]."
            )
        version = quote(provider.parameters.get("api_version", _AZURE_VERSION), safe="")
        return f"{quote(resource, safe='')}/{quote(deployment, safe='')}/{surface}?api-version={version}", deployment
    path = provider.chat_path
    if path is None:
        raise UnknownProvider(
            f"{provider.name}: unified is openai, so it needs a chat_path: set it under [providers.{provider.slug}]."
        )
    if surface == _EMBEDDINGS and not path.endswith(_CHAT):
        raise UnknownProvider(
            f"{provider.name}: its chat_path does not end in {_CHAT}, so nobody knows its embeddings."
        )
    return path if surface == _CHAT else path.removesuffix(_CHAT) + surface, model


def _google_place(provider: Provider, model: str) -> tuple[str, str]:
    """Return what the path of a model begins with, and the model's name.

    Vertex AI wants a project and a region: from the settings, or before the name as ``project/region/model``.
    """
    if not _is_vertex(provider):
        return _AI_STUDIO, model
    project, region = provider.parameters.get("project", ""), provider.parameters.get("region", "")
    parts = model.split("/", 2)
    if len(parts) == 3 and parts[0] not in ("publishers", "google"):
        project, region, model = parts
    if not project or not region:
        raise MalformedRequest(
            f"model: {provider.name} needs a project and a region. Write {provider.slug}/PROJECT/REGION/MODEL, or set"
            f" project and region under [providers.{provider.slug}.parameters]."
        )
    return f"v1/projects/{quote(project, safe='')}/locations/{quote(region, safe='')}", model


def _is_vertex(provider: Provider) -> bool:
    """Whether Google's models are below a project's location there."""
    return "project" in provider.parameters or any("{project}" in route.path for route in provider.routes)
