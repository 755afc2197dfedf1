"""What a request to the unified API asks for: which surface, and which model of which provider."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from trunkline.errors import MalformedRequest
from trunkline.unified.choosing import Surface
from trunkline.wire.documents import UNREADABLE

# Clients keep a ``v1`` of their own or not.
_SURFACES: Final[dict[str, Surface]] = {
    "chat/completions": "chat",
    "embeddings": "embeddings",
    "responses": "responses",
    "messages": "messages",
}
# Clients of these surfaces know only the names of one provider's models.
_NATIVE: Final[dict[Surface, str]] = {"messages": "anthropic"}
# How the names of Workers AI's own models begin.
_OF_WORKERS_AI: Final = ("@cf", "@hf")
# What clients say to their own provider alone.
FOREIGN: Final = (b"anthropic-", b"openai-", b"x-stainless-", b"x-goog-")


class Wanted(NamedTuple):
    """What is asked for. ``provider`` is empty where ``model`` is that of a dynamic route, ``dynamic/NAME``."""

    surface: Surface
    provider: str
    model: str


class _Named(msgspec.Struct):
    model: Any = None


_NAMED: Final = msgspec.json.Decoder(_Named)


def surface_of(path: str) -> Surface:
    """Return the surface of a path below ``compat/``. Raises `MalformedRequest` for one that is none."""
    surface = _SURFACES.get(path.strip("/").removeprefix("v1/"))
    if surface is None:
        served = ", ".join(_SURFACES)
        raise MalformedRequest(f"The endpoint compat serves {served} and models, not {path[:100]!r}.")
    return surface


def wanted(path: str, body: bytes, default: str) -> Wanted:
    """Read a request. ``default`` is the provider of a model whose name has none.

    Raises `MalformedRequest` where it names no model.
    """
    surface = surface_of(path)
    try:
        model = _NAMED.decode(body).model
    except UNREADABLE as error:
        raise MalformedRequest("The body is not a JSON object.") from error
    if not isinstance(model, str) or not model.strip():
        raise MalformedRequest(
            'The body names no model; write "model": "provider/model", such as "openai/gpt-4o-mini", or "dynamic/NAME".'
        )
    return named(surface, model.strip(), default)


def named(surface: Surface, model: str, default: str) -> Wanted:
    """Return the provider and the model that a name means. Raises `MalformedRequest` where it is half a name."""
    provider, slash, rest = model.partition("/")
    if provider == "dynamic" and slash:
        return Wanted(surface, "", model)
    if provider in _OF_WORKERS_AI:
        return Wanted(surface, "workers-ai", model)
    if not slash:
        return Wanted(surface, _NATIVE.get(surface, default), model)
    if not provider:
        raise MalformedRequest('model: there is no provider before the slash. Write "provider/model".')
    return Wanted(surface, provider, rest)
