"""How each protocol's frames are read: one module a protocol, each turning a frame into a few common facts."""

from __future__ import annotations

from typing import Final

from trunkline.providers.schema import Protocol
from trunkline.realtime.observing.cartesia import CartesiaObserver
from trunkline.realtime.observing.deepgram import DeepgramObserver
from trunkline.realtime.observing.elevenlabs import ElevenLabsObserver
from trunkline.realtime.observing.facts import Observer
from trunkline.realtime.observing.google import GoogleObserver
from trunkline.realtime.observing.opaque import OpaqueObserver
from trunkline.realtime.observing.openai import OpenAIObserver

_OBSERVERS: Final[dict[Protocol, type[Observer]]] = {
    "openai": OpenAIObserver,
    "google": GoogleObserver,
    "elevenlabs": ElevenLabsObserver,
    "deepgram": DeepgramObserver,
    "cartesia": CartesiaObserver,
    "none": OpaqueObserver,
}


def observer_of(protocol: Protocol) -> Observer:
    """Return a reader for one session's frames."""
    return _OBSERVERS[protocol]()
