"""What a session would lose with its provider: its settings, its conversation, what was said and not yet answered.

`SessionMemory` sees both sides of a session in OpenAI's GA dialect. When the provider is lost, it ends for the client
what was cut in half, and says what to tell another provider so that the conversation goes on: speech as its transcript
where there is one, and as sound for the turn that nobody has written down yet.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from trunkline.realtime.frames import Frame
from trunkline.realtime.observing.reading import sound_span

# Of text in memory: some three minutes of G.711 or half a minute of PCM, beside the words of a long conversation.
BUDGET: Final = 2 * 1024 * 1024
# What a server keeps of the silence before speech, with room: two seconds of PCM in base64.
_SILENCE: Final = 128 * 1024
# Of a response that is cut, what is kept: more than any that is spoken.
_ITEMS_IN_RESPONSE: Final = 32
_WORDS_OF_ITEM: Final = 32_000
_MARK: Final = "event_trunkline_restore_"
_TELLABLE: Final = frozenset({"message", "function_call", "function_call_output"})
# Of a session's settings, those in which an update changes what it names and leaves the rest.
_TREE: Final[dict[str, Any]] = {"audio": {"input": {}, "output": {}}}
# What of a response is needed to say how far it came.
_TRACES: Final = frozenset(
    {
        "response.output_item.added",
        "response.output_item.done",
        "response.output_audio_transcript.delta",
        "response.output_text.delta",
    }
)
_BYTES_PER_MS: Final = {"audio/pcm": 48, "audio/pcmu": 8, "audio/pcma": 8}
_TIMES: Final = re.compile(r'"audio_(start|end)_ms"\s*:\s*(\d{1,15})(?!\d)')

_LOST: Final[dict[str, Any]] = {
    "type": "failed",
    "error": {
        "type": "server_error",
        "code": "upstream_lost",
        "message": "The gateway lost the provider in the middle of this response; the conversation goes on.",
    },
}


class _Item(msgspec.Struct):
    """One item of the conversation. ``audio`` holds the frames with its sound while no words for it are known."""

    id: str
    document: dict[str, Any]
    audio: list[str] = msgspec.field(default_factory=list)
    size: int = 0


class _Response(msgspec.Struct):
    """A response in progress: its document as created, and its items by id as far as they have come."""

    document: Mapping[str, Any]
    output: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)

    def take(self, frame: Frame) -> None:
        """Take a frame that says how far it has come."""
        document = frame.document
        if document.get("response_id") not in (None, self.document.get("id")):
            return
        if frame.type.startswith("response.output_item."):
            item = document.get("item")
            if isinstance(item, dict) and _id_of(item) and len(self.output) < _ITEMS_IN_RESPONSE:
                self.output[_id_of(item)] = {"content": [], **_without_sound(item)}
            return
        item = self.output.get(str(document.get("item_id")))
        if item is not None and isinstance(item["content"], list):
            _add_words(item["content"], frame.type, str(document.get("delta") or ""))


class SessionMemory:
    """Remembers at most ``budget`` characters; the oldest sound goes first, then the oldest items."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._settings: dict[str, Any] = {}
        self._updates: list[Frame] = []
        self._items: dict[str, _Item] = {}
        self._size = 0
        self._created: list[Frame] = []  # items of the client's that are not acknowledged
        self._asked: list[Frame] = []  # responses that are not
        self._commits = 0
        self._responses: dict[str, _Response] = {}
        self._owes_answer = False
        self._speaking = False
        self._sound: list[tuple[str, int]] = []  # frames with sound that belongs to no item yet, and its bytes
        self._sound_size = 0
        self._heard = 0  # bytes of sound in the present provider's hands or taken by it before
        self._offset_ms = 0
        self._has_restored = False
        self._restored: set[str] = set()

    # What passes

    def client_said(self, frame: Frame) -> None:
        """Remember a frame on its way to the provider."""
        match frame.type:
            case "input_audio_buffer.append":
                self._keep_sound(frame.text)
            case "session.update":
                self._await(self._updates, frame)
            case "conversation.item.create":
                self._await(self._created, frame)
            case "response.create":
                self._await(self._asked, frame)
            case "input_audio_buffer.commit":
                self._commits += 1
            case "input_audio_buffer.clear":
                self._forget_sound()

    def provider_said(self, frame: Frame) -> None:
        """Remember a frame of the provider's."""
        kind = frame.type
        if kind.startswith("response."):
            self._about_response(kind, frame)
            return
        match kind:
            case "session.updated":
                if self._updates:
                    _merge(self._settings, self._updates.pop(0).document.get("session"))
            case "conversation.item.added" | "conversation.item.created" | "conversation.item.done":
                self._take_item(frame.document.get("item"), frame.document.get("previous_item_id"))
            case "conversation.item.deleted" | "conversation.item.truncated":
                self._change_item(kind, frame.document)
            case "conversation.item.input_audio_transcription.completed":
                self._write_down(frame.document)
            case "input_audio_buffer.speech_started":
                self._speaking = True
            case "input_audio_buffer.committed":
                self._commit(frame.document)
            case "error":
                self._refused(frame.document.get("error"))

    def offset(self, frame: Frame) -> Frame:
        """Return a frame with times counted from the session's first sound, whichever provider heard that."""
        if not self._offset_ms or not frame.type.startswith("input_audio_buffer."):
            return frame
        shifted = _TIMES.sub(lambda found: f'"audio_{found[1]}_ms":{int(found[2]) + self._offset_ms}', frame.text)
        return Frame(shifted)

    def is_echo(self, frame: Frame) -> bool:
        """Whether a frame only answers what `restoration` told a provider: the client has seen it before."""
        if not self._has_restored:
            return False
        match frame.type:
            case "conversation.item.added" | "conversation.item.created":
                return _id_of(frame.document.get("item")) in self._restored
            case "conversation.item.done":
                told = _id_of(frame.document.get("item"))
                if told in self._restored:
                    self._restored.discard(told)
                    return True
            case "error":
                error = frame.document.get("error")
                return isinstance(error, dict) and str(error.get("event_id") or "").startswith(_MARK)
        return False

    # What is lost

    def cut(self) -> list[Frame]:
        """Return the frames that end, for the client, every response that is in progress; forget those responses."""
        frames = [_ending(response) for response in self._responses.values()]
        for frame in frames:
            self._keep_partial(frame.document["response"]["output"])
        self._responses.clear()
        return frames

    @property
    def unanswered_updates(self) -> int:
        """How many updates of the settings the client has sent that nobody has answered."""
        return len(self._updates)

    def settings(self) -> Frame | None:
        """Return the update that gives another provider the session's settings, or None where nobody set any."""
        settings: dict[str, Any] = {}
        _merge(settings, self._settings)
        for update in self._updates:  # a provider that refuses one of these would have refused it before
            _merge(settings, update.document.get("session"))
        settings.pop("model", None)
        if not settings:
            return None
        return Frame(json.dumps({"type": "session.update", "event_id": f"{_MARK}session", "session": settings}))

    def restoration(self) -> list[Frame]:
        """Return what to tell another provider, after the settings, in order; count its times anew from there.

        What the client said and nobody acknowledged is told as it was. An answer that the lost provider owed to
        speech is asked for.
        """
        while self._updates:
            _merge(self._settings, self._updates.pop(0).document.get("session"))
        kept = sum(size for _, size in self._sound)
        self._offset_ms = (self._heard - kept) // self._bytes_per_ms()
        self._speaking = False
        asked = list(self._asked)
        if self._owes_answer and not asked:
            asked = [Frame('{"type":"response.create"}')]
        return [
            *self._told_items(),
            *self._created,
            *(Frame(text) for text, _ in self._sound),
            *[Frame('{"type":"input_audio_buffer.commit"}')] * self._commits,
            *asked,
        ]

    # Steps

    def _await(self, waiting: list[Frame], frame: Frame) -> None:
        """Keep a frame until it is answered; where nobody answers, the oldest are forgotten."""
        waiting.append(frame)
        while len(waiting) > 1 and sum(len(one.text) for one in waiting) > self._budget // 4:
            del waiting[0]

    def _about_response(self, kind: str, frame: Frame) -> None:
        match kind:
            case "response.created":
                if self._asked:
                    self._asked.pop(0)
                self._owes_answer = False
                document = frame.document.get("response")
                if isinstance(document, dict) and len(self._responses) < _ITEMS_IN_RESPONSE:
                    self._responses[str(document.get("id"))] = _Response(document)
            case "response.done":
                document = frame.document.get("response")
                if isinstance(document, dict):
                    self._responses.pop(str(document.get("id")), None)
            case _ if kind in _TRACES:
                for response in self._responses.values():  # one, but for those outside the conversation
                    response.take(frame)

    def _keep_sound(self, text: str) -> None:
        size = _sound_bytes(text)
        self._heard += size
        self._sound.append((text, size))
        self._sound_size += len(text)
        limit = _SILENCE if not self._speaking and self._listens_by_itself() else self._budget // 2
        while self._sound_size > limit and len(self._sound) > 1:
            self._sound_size -= len(self._sound.pop(0)[0])

    def _forget_sound(self) -> None:
        self._sound.clear()
        self._sound_size = 0

    def _listens_by_itself(self) -> bool:
        """Whether the provider finds the turns: a session does so until it is told otherwise."""
        return self._input_settings().get("turn_detection", {}) is not None

    def _answers_by_itself(self) -> bool:
        if self._settings.get("type") == "transcription" or not self._listens_by_itself():
            return False
        detection = self._input_settings().get("turn_detection")
        return not (isinstance(detection, dict) and detection.get("create_response") is False)

    def _input_settings(self) -> Mapping[str, Any]:
        audio = self._settings.get("audio")
        heard = audio.get("input") if isinstance(audio, dict) else None
        return heard if isinstance(heard, dict) else {}

    def _bytes_per_ms(self) -> int:
        form = self._input_settings().get("format")
        kind = form.get("type") if isinstance(form, dict) else ""
        return _BYTES_PER_MS.get(str(kind), _BYTES_PER_MS["audio/pcm"])

    def _take_item(self, item: Any, after: Any) -> None:
        if not isinstance(item, dict):
            return
        answered = next((one for one in self._created if _is_answer_to(item, one.document.get("item"))), None)
        if answered is not None:
            self._created.remove(answered)
        if str(item.get("type")) not in _TELLABLE:
            return
        known = self._items.get(_id_of(item))
        document = _without_sound(item)
        if known is None:
            known = _Item(_id_of(item), document)
            self._place(known, after)
        else:
            known.document = {**document, "content": _richer(document.get("content"), known.document.get("content"))}
        self._measure(known)

    def _place(self, item: _Item, after: Any) -> None:
        after = str(after)
        last = next(reversed(self._items), None)
        self._items[item.id] = item
        if after != "root" and (after in (last, item.id) or after not in self._items):
            return
        order = [other for other in self._items.values() if other is not item]
        order.insert(0 if after == "root" else order.index(self._items[after]) + 1, item)
        self._items = {one.id: one for one in order}

    def _change_item(self, kind: str, document: Mapping[str, Any]) -> None:
        item = self._items.get(str(document.get("item_id")))
        if item is None:
            return
        if kind == "conversation.item.deleted":
            self._drop(item)
        else:
            item.document["status"] = "incomplete"

    def _write_down(self, document: Mapping[str, Any]) -> None:
        item = self._items.get(str(document.get("item_id")))
        if item is None:
            return
        item.document["content"] = [{"type": "input_audio", "transcript": document.get("transcript")}]
        item.audio.clear()
        self._measure(item)

    def _commit(self, document: Mapping[str, Any]) -> None:
        self._speaking = False
        self._commits = max(0, self._commits - 1)
        self._owes_answer = self._answers_by_itself()
        named = str(document.get("item_id"))
        item = self._items.get(named)
        if item is None:
            sound = {"type": "input_audio", "transcript": None}
            item = _Item(named, {"id": named, "type": "message", "role": "user", "content": [sound]})
            self._place(item, document.get("previous_item_id"))
        item.audio = [text for text, _ in self._sound]
        self._forget_sound()
        self._measure(item)

    def _refused(self, error: Any) -> None:
        """Forget what the provider refused: it would be refused again."""
        event_id = error.get("event_id") if isinstance(error, dict) else None
        for waiting in (self._updates, self._created, self._asked):
            for frame in list(waiting):
                if event_id is not None and frame.document.get("event_id") == event_id:
                    waiting.remove(frame)
        code = error.get("code") if isinstance(error, dict) else None
        if code == "input_audio_buffer_commit_empty":
            self._commits = max(0, self._commits - 1)
        if event_id is not None:
            return
        # Which frame it is about is told by what it says of it.
        param = str(error.get("param") or "") if isinstance(error, dict) else ""
        if code == "conversation_already_has_active_response" and self._asked:
            self._asked.pop()
        for name, waiting in (("session", self._updates), ("item", self._created), ("response", self._asked)):
            if param.startswith(name) and waiting:
                del waiting[0]

    def _keep_partial(self, output: list[dict[str, Any]]) -> None:
        """Keep of a response that was cut what another provider can go on from."""
        for item in output:
            known = self._items.get(_id_of(item))
            if known is None:  # outside the conversation
                continue
            if item.get("status") == "completed" or _words(item.get("content")):
                self._take_item(item, None)
            else:
                self._drop(known)

    def _measure(self, item: _Item) -> None:
        self._size -= item.size
        item.size = len(json.dumps(item.document)) + sum(map(len, item.audio))
        self._size += item.size
        if self._size <= self._budget:
            return
        for old in list(self._items.values()):
            if self._size <= self._budget:
                return
            if old.audio and old is not item:
                self._size -= sum(map(len, old.audio))
                old.size -= sum(map(len, old.audio))
                old.audio.clear()
        for old in list(self._items.values()):
            if self._size <= self._budget or old is item:
                return
            self._drop(old)

    def _drop(self, item: _Item) -> None:
        del self._items[item.id]
        self._size -= item.size

    def _told_items(self) -> Iterator[Frame]:
        self._has_restored = True
        self._restored = set()
        for number, item in enumerate(self._items.values()):
            document = _tellable(item)
            if document is None:
                continue
            self._restored.add(item.id)
            yield Frame(
                json.dumps({"type": "conversation.item.create", "event_id": f"{_MARK}{number}", "item": document})
            )


def _sound_bytes(text: str) -> int:
    """Return how many bytes of sound a frame holds in base64."""
    span = sound_span(text, '"audio"')
    if span is None:
        return 0
    start, end = span
    return (end - start) * 3 // 4 - text.count("=", max(start, end - 2), end)


def _merge(settings: dict[str, Any], changes: Any, tree: Mapping[str, Any] = _TREE) -> None:
    """Lay an update over settings as a provider does."""
    if not isinstance(changes, dict):
        return
    for name, value in changes.items():
        if name in tree and isinstance(value, dict):
            below = settings.get(name)
            settings[name] = below if isinstance(below, dict) else {}
            _merge(settings[name], value, tree[name])
        else:
            settings[name] = value


def _id_of(item: Any) -> str:
    return str(item.get("id") or "") if isinstance(item, dict) else ""


def _is_answer_to(item: Mapping[str, Any], created: Any) -> bool:
    """Whether an item of the provider's is the one that the client asked for."""
    if not isinstance(created, dict) or item.get("type") != created.get("type"):
        return False
    return _id_of(item) == _id_of(created) if _id_of(created) else item.get("role") == created.get("role")


def _without_sound(item: Mapping[str, Any]) -> dict[str, Any]:
    content = item.get("content")
    if not isinstance(content, list):
        return dict(item)
    bare = [{key: value for key, value in part.items() if key != "audio"} for part in content if isinstance(part, dict)]
    return {**item, "content": bare}


def _richer(new: Any, old: Any) -> Any:
    """Return the content that says more: an item is told again with its words still to come."""
    return new if _words(new) or not _words(old) else old


def _words(content: Any) -> str:
    if not isinstance(content, list):
        return ""
    return "".join(str(part.get("transcript") or part.get("text") or "") for part in content if isinstance(part, dict))


def _ending(response: _Response) -> Frame:
    """Return the ``response.done`` of a response that was cut, with what is known to have come of it."""
    output = response.output
    for item in output.values():
        if item.get("status") != "completed":
            item["status"] = "incomplete"
    ended = {**response.document, "status": "failed", "status_details": _LOST, "output": list(output.values())}
    event_id = f"event_trunkline_{response.document.get('id')}"
    return Frame(json.dumps({"type": "response.done", "event_id": event_id, "response": {"usage": None, **ended}}))


def _add_words(content: list[dict[str, Any]], kind: str, delta: str) -> None:
    form, member = ("output_audio", "transcript") if "audio" in kind else ("output_text", "text")
    if not content or content[-1].get("type") != form:
        content.append({"type": form, member: ""})
    content[-1][member] = (str(content[-1].get(member) or "") + delta)[:_WORDS_OF_ITEM]


def _tellable(item: _Item) -> dict[str, Any] | None:
    """Return an item in a form in which a client may create it, or None where nothing of it can be told."""
    document = {name: value for name, value in item.document.items() if name not in ("object", "status")}
    if document.get("type") != "message":
        return document
    content = document.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    told = [one for part in parts if (one := _told_part(document.get("role"), part)) is not None]
    if not told and item.audio:
        told = [{"type": "input_audio", "audio": _joined(item.audio)}]
    return {**document, "content": told} if told else None


def _told_part(role: Any, part: Mapping[str, Any]) -> dict[str, Any] | None:
    words = part.get("transcript") or part.get("text")
    if words:
        return {"type": "output_text" if role == "assistant" else "input_text", "text": words}
    return dict(part) if part.get("type") == "input_image" else None


def _joined(frames: list[str]) -> str:
    """Join sound that was sent in pieces, each in base64 of its own."""
    sound = bytearray()
    for text in frames:
        piece = Frame(text).document.get("audio")
        try:
            sound += base64.b64decode(piece if isinstance(piece, str) else "")
        except ValueError:  # no base64
            continue
    return base64.b64encode(sound).decode()
