"""The items of a conversation, in their order."""

from __future__ import annotations

import base64
import math
import re
from typing import Any, Final

import msgspec

from trunkline.local.realtime.events import FunctionCall, FunctionCallOutput, GivenItem, Message
from trunkline.local.realtime.hearing import AudioFormat
from trunkline.local.realtime.mistakes import ClientMistake

FRONT: Final = "root"
_WORD: Final = re.compile(r"\S+")


class Sound(msgspec.Struct, eq=False):
    """The audio of one content part, and the words in it.

    ``words`` are what the model is told was said; None until they are known. ``passages`` are, for speech of the
    assistant, where each passage of its text ends: characters and bytes.
    """

    format: AudioFormat
    audio: bytearray
    words: str | None = None
    passages: list[tuple[int, int]] = msgspec.field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        """The length."""
        return len(self.audio) / self.format.bytes_per_ms

    def truncate(self, end_ms: int) -> None:
        """Cut the audio, and the words that go with what is cut, at the last whole word that was heard."""
        del self.audio[end_ms * self.format.bytes_per_ms :]
        if self.words is not None:
            self.words = _heard(self.words, self.passages, len(self.audio))


def _heard(text: str, passages: list[tuple[int, int]], heard_bytes: int) -> str:
    text_start = audio_start = 0
    for text_end, audio_end in passages:
        if audio_end > heard_bytes:
            share = (heard_bytes - audio_start) / (audio_end - audio_start)
            word_ends = [text_start, *(word.end() for word in _WORD.finditer(text, text_start, text_end))]
            return text[: word_ends[math.floor(share * (len(word_ends) - 1))]].rstrip()
        text_start, audio_start = text_end, audio_end
    return text[:text_start].rstrip()


class Item(msgspec.Struct, eq=False):
    """One item. ``body`` is its wire shape without identity, status and audio; ``sounds`` belong to content parts."""

    id: str
    type: str
    status: str
    body: dict[str, Any]
    sounds: dict[int, Sound] = msgspec.field(default_factory=dict)

    @property
    def role(self) -> str | None:
        """Who speaks in a message."""
        return self.body.get("role")

    @property
    def awaits_words(self) -> bool:
        """Whether some of its audio is still to be recognised."""
        return self.role == "user" and any(sound.words is None for sound in self.sounds.values())

    def shown(self) -> dict[str, Any]:
        """Return the item as events carry it."""
        body = {**self.body}
        if "content" in body:
            body["content"] = [dict(part) for part in body["content"]]
        return {"id": self.id, "object": "realtime.item", "type": self.type, "status": self.status, **body}

    def shown_with_audio(self) -> dict[str, Any]:
        """Return the item with its audio, in the format it had on the wire."""
        shown = self.shown()
        for index, sound in self.sounds.items():
            shown["content"][index]["audio"] = base64.b64encode(sound.audio).decode()
        return shown


class Conversation:
    """Items in order; each id once."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._items: dict[str, Item] = {}
        self._order: list[str] = []

    def __iter__(self) -> Any:
        return iter([self._items[item_id] for item_id in self._order])

    def get(self, item_id: str) -> Item | None:
        """Return an item."""
        return self._items.get(item_id)

    @property
    def last_id(self) -> str | None:
        """The id of the last item."""
        return self._order[-1] if self._order else None

    def previous_id(self, item: Item) -> str | None:
        """Return the id of the item before; None at the front or for one that has been deleted."""
        if item.id not in self._items:
            return None
        place = self._order.index(item.id)
        return self._order[place - 1] if place else None

    def insert(self, item: Item, after: str | None = None) -> None:
        """Put an item behind another, at the `FRONT`, or at the end. Raises `ClientMistake`."""
        if item.id in self._items:
            raise ClientMistake("invalid_value", f"An item with the id '{item.id}' exists already.", "item.id")
        if after is not None and after != FRONT and after not in self._items:
            raise ClientMistake(
                "item_create_invalid_previous_item_id", f"There is no item '{after}'.", "previous_item_id"
            )
        place = len(self._order) if after is None else 0 if after == FRONT else self._order.index(after) + 1
        self._order.insert(place, item.id)
        self._items[item.id] = item

    def delete(self, item_id: str) -> bool:
        """Remove an item; return whether there was one."""
        if item_id not in self._items:
            return False
        del self._items[item_id]
        self._order.remove(item_id)
        return True


def item_of(given: GivenItem, item_id: str) -> Item:
    """Make an item of what a client gave, without its audio."""
    status = given.status if given.status in ("completed", "incomplete") else "completed"
    match given:
        case Message():
            content = [_shown_part(part) for part in given.content]
            return Item(item_id, "message", status, {"role": given.role, "content": content})
        case FunctionCall():
            call = {"name": given.name, "call_id": given.call_id or item_id, "arguments": given.arguments}
            return Item(item_id, "function_call", status, call)
        case FunctionCallOutput():
            return Item(item_id, "function_call_output", status, {"call_id": given.call_id, "output": given.output})


def _shown_part(part: Any) -> dict[str, Any]:
    match part.type:
        case "input_audio":
            return {"type": part.type, "transcript": part.transcript}
        case "input_image":
            return {"type": part.type, "image_url": part.image_url, "detail": part.detail or "auto"}
        case _:
            return {"type": part.type, "text": part.text}
