"""One answer, told in events: opened, said piece by piece, closed. Pure; the order is the protocol's."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Literal

from trunkline.local.realtime.conversation import FRONT, Conversation, Item, Sound
from trunkline.local.realtime.hearing import FORMATS
from trunkline.local.realtime.prompts import Plan
from trunkline.local.realtime.usage import response_usage

ServerEvent = dict[str, Any]
"""An event without its ``event_id``."""

Outcome = Literal["completed", "cancelled", "failed", "incomplete"]


class Response:
    """A response under way. ``conversation`` is None for one out of band, of whose items only the response tells.

    ``context`` are the items it answers to.
    """

    def __init__(
        self,
        response_id: str,
        conversation: Conversation | None,
        context: list[Item],
        settings: dict[str, Any],
        metadata: dict[str, str] | None,
        new_id: Callable[[str], str],
    ) -> None:
        self.id = response_id
        self.conversation = conversation
        self.context = context
        self.settings = settings
        self.plan: Plan | None = None
        self.reported_usage: dict[str, Any] | None = None
        self.format = FORMATS[settings["output"]["format"]["type"]]
        self._metadata = metadata
        self._new_id = new_id
        self._follows = (conversation.last_id if conversation is not None else None) or FRONT
        self._output: list[Item] = []
        self._message: Item | None = None
        self._calls: dict[int, Item] = {}

    @property
    def is_spoken(self) -> bool:
        """Whether it answers in audio."""
        return bool(self.settings["output_modalities"] == ["audio"])

    @property
    def awaits_words(self) -> bool:
        """Whether something it answers to is still to be recognised."""
        return any(item.awaits_words for item in self.context)

    @property
    def spoken_ms(self) -> float:
        """How much audio it has given."""
        return sum(sound.milliseconds for item in self._output for sound in item.sounds.values())

    def open(self) -> list[ServerEvent]:
        """Announce the response."""
        return [{"type": "response.created", "response": self._shown("in_progress", None, None)}]

    def say(self, text: str) -> list[ServerEvent]:
        """Go on with the text, or with the transcript of what `sound` will give next."""
        events = [] if self._message else self._open_message()
        part = self._part
        if self.is_spoken:
            # The client may have truncated the item, transcript and all, while it is still being spoken.
            part["transcript"] = part.get("transcript", "") + text
            self._sound.words = (self._sound.words or "") + text
            self._mark_passage()
            return [*events, {"type": "response.output_audio_transcript.delta", **self._place, "delta": text}]
        part["text"] += text
        return [*events, {"type": "response.output_text.delta", **self._place, "delta": text}]

    def sound(self, audio: bytes) -> list[ServerEvent]:
        """Go on with the audio, in the response's format."""
        events = [] if self._message else self._open_message()
        self._sound.audio += audio
        self._mark_passage()
        delta = base64.b64encode(audio).decode()
        return [*events, {"type": "response.output_audio.delta", **self._place, "delta": delta}]

    def call(self, index: int, name: str, call_id: str) -> list[ServerEvent]:
        """Begin the model's call number ``index``."""
        call = {"name": name, "call_id": call_id, "arguments": ""}
        item = self._calls[index] = Item(self._new_id("item"), "function_call", "in_progress", call)
        return self._open_item(item)

    def has_call(self, index: int) -> bool:
        """Whether the call has begun."""
        return index in self._calls

    def argue(self, index: int, arguments: str) -> list[ServerEvent]:
        """Go on with a call's arguments."""
        item = self._calls[index]
        item.body["arguments"] += arguments
        place = {**self._item_place(item), "call_id": item.body["call_id"]}
        return [{"type": "response.function_call_arguments.delta", **place, "delta": arguments}]

    def close(self, outcome: Outcome, details: dict[str, Any] | None = None) -> list[ServerEvent]:
        """End the response with every event that is still owed.

        A call that was cut off has no ``arguments.done``: clients would make the call.
        """
        item_status = "completed" if outcome == "completed" else "incomplete"
        events: list[ServerEvent] = []
        for item in self._output:
            item.status = item_status
            events += self._close_message() if item is self._message else self._close_call(item)
            if self._is_kept(item):
                events.append(self._conversation_event("done", item))
            place = {"response_id": self.id, "output_index": self._output.index(item)}
            events.append({"type": "response.output_item.done", **place, "item": item.shown()})
        usage = response_usage(self.context, self.plan, self._output, self.reported_usage)
        if details is not None:
            details = {"type": outcome, **details}
        return [*events, {"type": "response.done", "response": self._shown(outcome, details, usage)}]

    def _open_message(self) -> list[ServerEvent]:
        item = Item(self._new_id("item"), "message", "in_progress", {"role": "assistant", "content": []})
        self._message = item
        events = self._open_item(item)
        if self.is_spoken:
            item.sounds[0] = Sound(self.format, bytearray(), words="")
            item.body["content"].append({"type": "output_audio", "transcript": ""})
        else:
            item.body["content"].append({"type": "output_text", "text": ""})
        return [*events, {"type": "response.content_part.added", **self._place, "part": self._shown_part()}]

    def _open_item(self, item: Item) -> list[ServerEvent]:
        self._output.append(item)
        place = {"response_id": self.id, "output_index": len(self._output) - 1}
        events: list[ServerEvent] = [{"type": "response.output_item.added", **place, "item": item.shown()}]
        if self.conversation is not None:
            self.conversation.insert(item, self._place_in(self.conversation))
            self._follows = item.id
            events.append(self._conversation_event("added", item))
        return events

    def _place_in(self, conversation: Conversation) -> str | None:
        """Return the item to follow: what was answered, even if the user has said more since."""
        return self._follows if self._follows == FRONT or conversation.get(self._follows) else None

    def _close_message(self) -> list[ServerEvent]:
        place, part = self._place, self._shown_part()
        if self.is_spoken:
            said: list[ServerEvent] = [
                {"type": "response.output_audio.done", **place},
                {"type": "response.output_audio_transcript.done", **place, "transcript": part["transcript"]},
            ]
        else:
            said = [{"type": "response.output_text.done", **place, "text": part["text"]}]
        return [*said, {"type": "response.content_part.done", **place, "part": part}]

    def _close_call(self, item: Item) -> list[ServerEvent]:
        if item.status != "completed":
            return []
        return [{"type": "response.function_call_arguments.done", **self._item_place(item), **item.body}]

    def _is_kept(self, item: Item) -> bool:
        """Whether the item is in the conversation still: the client may have deleted it."""
        return self.conversation is not None and self.conversation.get(item.id) is item

    def _conversation_event(self, what: str, item: Item) -> ServerEvent:
        assert self.conversation is not None
        previous = self.conversation.previous_id(item)
        return {"type": f"conversation.item.{what}", "previous_item_id": previous, "item": item.shown()}

    @property
    def _part(self) -> dict[str, Any]:
        assert self._message is not None
        part: dict[str, Any] = self._message.body["content"][0]
        return part

    @property
    def _sound(self) -> Sound:
        assert self._message is not None
        return self._message.sounds[0]

    def _shown_part(self) -> dict[str, Any]:
        """Return the content part in the words of part events, which name it without ``output_``."""
        part = self._part
        if self.is_spoken:
            return {"type": "audio", "transcript": part.get("transcript", "")}
        return {"type": "text", "text": part["text"]}

    def _mark_passage(self) -> None:
        """Note how far the audio of the text so far goes."""
        sound = self._sound
        text_end, audio_end = len(sound.words or ""), len(sound.audio)
        if sound.passages and sound.passages[-1][0] == text_end:
            sound.passages[-1] = (text_end, audio_end)
        else:
            sound.passages.append((text_end, audio_end))

    @property
    def _place(self) -> dict[str, Any]:
        assert self._message is not None
        return {**self._item_place(self._message), "content_index": 0}

    def _item_place(self, item: Item) -> dict[str, Any]:
        return {"response_id": self.id, "item_id": item.id, "output_index": self._output.index(item)}

    def _shown(self, status: str, details: dict[str, Any] | None, usage: dict[str, Any] | None) -> dict[str, Any]:
        output = self.settings["output"]
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [item.shown() for item in self._output] if status != "in_progress" else [],
            "conversation_id": self.conversation.id if self.conversation is not None else None,
            "output_modalities": self.settings["output_modalities"],
            "max_output_tokens": self.settings["max_output_tokens"],
            "audio": {"output": {"format": output["format"], "voice": output["voice"]}},
            "usage": usage,
            "metadata": self._metadata,
        }
