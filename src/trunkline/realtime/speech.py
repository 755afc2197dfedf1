"""What both sides of a session say, as it is said; and how a response is ended in the middle, with the session open.

OpenAI's protocol can do the latter. The others have no word for it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from trunkline.providers.schema import Protocol
from trunkline.realtime.frames import Frame
from trunkline.realtime.observing import observer_of
from trunkline.realtime.observing.facts import AssistantSaid, Called, Fact, ResponseEnded, UserSaid, Utterance
from trunkline.realtime.observing.reading import members, words

_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"
_DELTAS: Final = frozenset(
    {
        "response.output_audio_transcript.delta",
        "response.audio_transcript.delta",
        "response.output_text.delta",
        "response.text.delta",
        "response.function_call_arguments.delta",
    }
)
# By these the gateway's own events are told from the client's when the provider complains of one.
_OWN: Final = "trunkline_guard_"
_TEXTS_DONE: Final = frozenset({kind.replace(".delta", ".done") for kind in _DELTAS})
_ITEMS_KEPT: Final = 200


class Spoken(NamedTuple):
    """Something that was said.

    ``id`` is the item of the user's, or the response. A ``piece`` goes on with what was said before in the same
    ``place``; ``is_over``: nothing more comes of the response.
    """

    by: Literal["user", "assistant"]
    text: str
    id: str = ""
    piece: bool = False
    place: str = ""
    is_over: bool = False


class SpeechReader:
    """Reads the frames of one session's provider. It never raises, whatever they hold."""

    def __init__(self, protocol: Protocol) -> None:
        self._is_openai = protocol == "openai"
        self._observer = observer_of(protocol)

    def provider(self, said: Frame | bytes) -> list[Spoken]:
        """Return what a frame says, on either side: the user's words are written down by the provider."""
        if self._is_openai and isinstance(said, Frame):
            return list(_of_openai(said))
        facts = self._observer.provider(said)
        return [] if isinstance(facts, int) else [spoken for fact in facts for spoken in _of_fact(fact)]

    def client(self, said: Frame | bytes) -> list[Spoken]:
        """Return what a client of another protocol than OpenAI's types."""
        facts = self._observer.client(said)
        return [] if isinstance(facts, int) else [spoken for fact in facts for spoken in _of_fact(fact)]


def _of_openai(frame: Frame) -> Iterator[Spoken]:
    kind = frame.type
    if kind in _DELTAS:
        document = frame.document
        yield Spoken(
            "assistant",
            words(document.get("delta")),
            words(document.get("response_id")),
            piece=True,
            place=f"{words(document.get('item_id'))}/{document.get('content_index', 0)}",
        )
    elif kind in _TEXTS_DONE:
        yield Spoken("assistant", "", words(frame.document.get("response_id")))
    elif kind == _TRANSCRIBED:
        document = frame.document
        yield Spoken("user", words(document.get("transcript")), words(document.get("item_id")))
    elif kind == "response.done":
        yield Spoken("assistant", "", words(members(frame.document, "response").get("id")), is_over=True)


def _of_fact(fact: Fact) -> Iterator[Spoken]:
    match fact:
        case UserSaid(text, item, piece):
            yield Spoken("user", text, item, piece=piece)
        case Utterance(text):
            yield Spoken("user", text)
        case AssistantSaid(text, piece):
            yield Spoken("assistant", text, piece=piece)
        case Called(_, arguments):
            yield Spoken("assistant", arguments, place="call")
        case ResponseEnded():
            yield Spoken("assistant", "", is_over=True)
        case _:
            pass


class ResponseStopper:
    """Ends responses of a provider that speaks OpenAI's protocol.

    The provider is told to, and of what it still says nothing passes but that the response is over.
    """

    def __init__(self) -> None:
        self._active: dict[str, None] = {}
        self._stopped: set[str] = set()
        self._items: deque[str] = deque(maxlen=_ITEMS_KEPT)  # of responses that were stopped
        self._awaits_next = False
        self._events = 0

    def stop(self, response: str) -> list[str]:
        """End one response; return what to tell the provider."""
        if response not in self._active:
            return []
        self._stopped.add(response)
        return [self._told("response.cancel", response_id=response)]

    def stop_answer_to(self, item: str) -> list[str]:
        """End the response to something the user said, or else the next one; return what to tell the provider.

        It is also told to forget what was said.
        """
        told = [order for response in self._active if response not in self._stopped for order in self.stop(response)]
        self._awaits_next = not told
        if item:
            told.append(self._told("conversation.item.delete", item_id=item))
        return told

    def stop_next(self, *, really: bool) -> None:
        """End the next response as soon as it begins, or do not after all: something else was asked meanwhile."""
        self._awaits_next = really

    def listen(self, frame: Frame) -> list[str]:
        """Take a frame of the provider's before anything else does; return what to tell the provider."""
        match frame.type:
            case "response.created":
                response = words(members(frame.document, "response").get("id"))
                self._active[response] = None
                if self._awaits_next:
                    self._awaits_next = False
                    return self.stop(response)
            case "input_audio_buffer.speech_started":
                self._awaits_next = False
        return []

    def passed(self, frame: Frame) -> Frame | None:
        """Return a frame as it may pass, or None where it may not."""
        if frame.type == "response.done":
            return self._done(frame)
        if frame.type == "error" and self._events:
            asked = words(members(frame.document, "error").get("event_id"))
            return None if asked.startswith(_OWN) else frame
        if not self._stopped and not self._items:
            return frame
        document = frame.document
        item = words(document.get("item_id")) or words(members(document, "item").get("id"))
        if words(document.get("response_id")) in self._stopped:
            if item and item not in self._items:
                self._items.append(item)
            return None
        return None if item in self._items and frame.type != "conversation.item.deleted" else frame

    def _done(self, frame: Frame) -> Frame:
        response = members(frame.document, "response")
        ended = words(response.get("id"))
        self._active.pop(ended, None)
        if ended not in self._stopped:
            return frame
        self._stopped.discard(ended)
        return emptied(frame)

    def _told(self, kind: str, **members: str) -> str:
        self._events += 1
        return json.dumps({"type": kind, "event_id": f"{_OWN}{self._events}", **members})


def emptied(frame: Frame) -> Frame:
    """Return the end of a response as that of one that was ended in the middle, without what it said."""
    response = members(frame.document, "response")
    ended: dict[str, Any] = {
        **response,
        "status": "cancelled",
        "status_details": {"type": "cancelled", "reason": "content_filter"},
        "output": [],
    }
    return Frame(json.dumps({**frame.document, "response": ended}))
