"""One session of a provider that speaks OpenAI's current (GA) Realtime protocol, and nothing of the older one.

It has no models: it hears speech by its energy, takes every turn for words it was told beforehand, and speaks a tone in
real time, so that it can be interrupted. What a client may say is checked as strictly as the reference says.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import copy
import json
import math
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Event = dict[str, Any]
Kind = Literal["realtime", "transcription"]

RATE = 24_000
FRAME_MS = 20
LOUD = 500.0  # root mean square of 16-bit samples
LOUD_FRAMES = 3  # so many of them are speech
WORD_MS = 200
DELTA_MS = 100
LONG_ANSWER_MS = 30_000
SHORTEST_COMMIT_MS = 100
LONGEST_APPEND = 15 * 1024 * 1024

VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")

# Names a GA session, response, item or event has. What is not here is refused.
INPUT_FIELDS = {"format", "noise_reduction", "transcription", "turn_detection"}
OUTPUT_FIELDS = {"format", "voice", "speed"}
SESSION_FIELDS = {
    "realtime": {
        *("type", "model", "instructions", "output_modalities", "audio", "tools", "tool_choice", "parallel_tool_calls"),
        *("max_output_tokens", "truncation", "tracing", "prompt", "include", "reasoning"),
    },
    "transcription": {"type", "audio", "include"},
}
RESPONSE_FIELDS = {
    *("audio", "conversation", "input", "instructions", "max_output_tokens", "metadata", "output_modalities"),
    *("parallel_tool_calls", "prompt", "reasoning", "tool_choice", "tools"),
}
DETECTION_FIELDS = {
    "server_vad": {
        *("type", "threshold", "prefix_padding_ms", "silence_duration_ms", "idle_timeout_ms"),
        *("create_response", "interrupt_response"),
    },
    "semantic_vad": {"type", "eagerness", "create_response", "interrupt_response"},
}
ITEM_FIELDS = {
    "message": {"role", "content"},
    "function_call": {"name", "call_id", "arguments"},
    "function_call_output": {"call_id", "output"},
}
PARTS = {
    "system": {"input_text": {"text"}},
    "user": {"input_text": {"text"}, "input_audio": {"audio", "transcript"}, "input_image": {"image_url", "detail"}},
    "assistant": {"output_text": {"text"}},
}
# Event type -> the fields it must have and those it may have, besides type and event_id.
CLIENT_EVENTS: dict[str, tuple[set[str], set[str]]] = {
    "session.update": ({"session"}, set()),
    "input_audio_buffer.append": ({"audio"}, set()),
    "input_audio_buffer.commit": (set(), set()),
    "input_audio_buffer.clear": (set(), set()),
    "output_audio_buffer.clear": (set(), set()),
    "conversation.item.create": ({"item"}, {"previous_item_id"}),
    "conversation.item.retrieve": ({"item_id"}, set()),
    "conversation.item.delete": ({"item_id"}, set()),
    "conversation.item.truncate": ({"item_id", "content_index", "audio_end_ms"}, set()),
    "response.create": (set(), {"response"}),
    "response.cancel": (set(), {"response_id"}),
}
FORMATS = {"audio/pcm": RATE, "audio/pcmu": 8_000, "audio/pcma": 8_000}
SILENCE_OF_EAGERNESS = {"low": 1300, "medium": 700, "auto": 700, "high": 400}


class Refused(Exception):
    """What a client said cannot be done; it becomes an ``error`` event and changes nothing."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def error_of(code: str, message: str, param: str | None = None, event_id: str | None = None) -> Event:
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": param, "event_id": event_id}
    return {"type": "error", "event_id": new_id("event"), "error": error}


@dataclass
class Item:
    """An item of the conversation; ``audio`` is kept apart from what events show, ``words`` were heard or said."""

    id: str
    body: dict[str, Any]
    status: str = "completed"
    audio: bytes = b""
    audio_rate: int = RATE
    words: str = ""

    def shown(self, *, with_audio: bool = False) -> dict[str, Any]:
        body = copy.deepcopy(self.body)
        if with_audio:
            for part in body.get("content", ()):
                if part["type"] in ("input_audio", "output_audio"):
                    part["audio"] = base64.b64encode(self.audio).decode()
        return {"id": self.id, "object": "realtime.item", "status": self.status, **body}

    @property
    def audio_ms(self) -> int:
        return len(self.audio) * 1000 // (self.audio_rate * (2 if self.audio_rate == RATE else 1))

    @property
    def is_spoken(self) -> bool:
        return any(part["type"] in ("input_audio", "output_audio") for part in self.body.get("content", ()))


@dataclass
class Response:
    """A response under way."""

    id: str
    in_band: bool
    settings: dict[str, Any]
    metadata: dict[str, str] | None
    context: list[Item]
    conversation_id: str | None
    item: Item | None = None
    task: asyncio.Task[None] | None = None
    part: dict[str, Any] | None = None
    said: str = ""
    audio_ms: int = 0
    has_arguments: bool = False
    call: dict[str, str] | None = None
    status: str = "in_progress"
    details: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    output: list[Item] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        output = self.settings["audio"]["output"]
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": self.details,
            "output": [item.shown() for item in self.output],
            "conversation_id": self.conversation_id,
            "output_modalities": self.settings["output_modalities"],
            "max_output_tokens": self.settings["max_output_tokens"],
            "audio": {"output": {"format": output["format"], "voice": output["voice"]}},
            "usage": self.usage,
            "metadata": self.metadata,
        }


class Ear:
    """Tells speech from silence by energy; the clock is the audio since the session's first sample."""

    def __init__(self) -> None:
        self.rate = RATE
        self.buffer = bytearray()
        self._rest = np.zeros(0, np.int16)
        self._frames = 0
        self._loud = 0
        self._quiet_ms = 0
        self.speaking = False

    @property
    def now_ms(self) -> int:
        return self._frames * FRAME_MS

    @property
    def buffered_ms(self) -> int:
        return len(self.buffer) * 1000 // (self.rate * (2 if self.rate == RATE else 1))

    def take(self) -> bytes:
        audio = bytes(self.buffer)
        self.buffer.clear()
        self.speaking, self._loud, self._quiet_ms = False, 0, 0
        return audio

    def hear(self, audio: bytes, format: str, detection: dict[str, Any] | None) -> Iterable[tuple[str, int]]:
        """Yield ("started", ms) and ("stopped", ms) while it takes in audio."""
        self.rate = FORMATS[format]
        width = 2 if self.rate == RATE else 1
        samples = np.concatenate([self._rest, decoded(audio, format)])
        size = self.rate * FRAME_MS // 1000
        whole = len(samples) // size * size
        self._rest = samples[whole:]
        at = 0
        for frame in samples[:whole].reshape(-1, size).astype(np.float64):
            taken = audio[at * width * size : (at + 1) * width * size]
            at += 1
            self.buffer += taken
            self._frames += 1
            if detection is None:
                continue
            loud = math.sqrt(float(np.mean(frame * frame))) > LOUD
            self._loud = self._loud + 1 if loud else 0
            self._quiet_ms = 0 if loud else self._quiet_ms + FRAME_MS
            prefix_ms = detection.get("prefix_padding_ms", 300)
            if not self.speaking and self._loud >= LOUD_FRAMES:
                self.speaking = True
                start = max(0, self.now_ms - LOUD_FRAMES * FRAME_MS - prefix_ms)
                yield "started", start
            elif self.speaking and self._quiet_ms >= silence_ms(detection):
                self.speaking = False
                yield "stopped", self.now_ms
            elif not self.speaking:
                # Silence before speech is kept only as far as the prefix reaches.
                keep = (prefix_ms + LOUD_FRAMES * FRAME_MS) * self.rate * width // 1000
                del self.buffer[: max(0, len(self.buffer) - keep)]
        self.buffer += audio[at * width * size :]


def silence_ms(detection: dict[str, Any]) -> int:
    if detection["type"] == "semantic_vad":
        return SILENCE_OF_EAGERNESS[detection["eagerness"]]
    return int(detection["silence_duration_ms"])


def decoded(audio: bytes, format: str) -> np.ndarray[Any, np.dtype[np.int16]]:
    if format == "audio/pcm":
        return np.frombuffer(audio[: len(audio) // 2 * 2], "<i2")
    code = np.frombuffer(audio, np.uint8).astype(np.int32)
    if format == "audio/pcmu":
        code = ~code & 0xFF
        value = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
        return np.where(code & 0x80, -value, value).astype(np.int16)
    code ^= 0x55
    exponent, low = (code >> 4) & 7, (code & 0x0F) << 4
    value = np.where(exponent == 0, low + 8, (low + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, value, -value).astype(np.int16)


def encoded(samples: np.ndarray[Any, Any], format: str) -> bytes:
    if format == "audio/pcm":
        return samples.astype("<i2").tobytes()
    # The nearest of the 256 values there are.
    table = decoded(bytes(range(256)), format).astype(np.int32)
    order = np.argsort(table)
    places = np.clip(np.searchsorted(table[order], samples), 0, 255)
    return order[places].astype(np.uint8).tobytes()


def tone(start_ms: int, length_ms: int, format: str) -> bytes:
    rate = FORMATS[format]
    at = np.arange(start_ms * rate // 1000, (start_ms + length_ms) * rate // 1000)
    return encoded(8000 * np.sin(2 * np.pi * 440 * at / rate), format)


def tokens(text: str) -> int:
    return math.ceil(len(text) / 4)


class GaSession:
    """The protocol of one session. ``tell`` takes the server's events; nothing here waits for a client."""

    def __init__(
        self,
        kind: Kind,
        model: str | None,
        tell: Callable[[Event], None],
        *,
        hears: Callable[[], str],
        pace: float = 1.0,
        over_webrtc: bool = False,
    ) -> None:
        """Set up the defaults. ``hears`` gives the words of a spoken turn; ``pace`` 1 is real time, 0 at once."""
        self.configuration = default_configuration(kind, model)
        self._kind = kind
        self._tell_client = tell
        self._hears = hears
        self._pace = pace
        self._over_webrtc = over_webrtc
        self._conversation_id = new_id("conv")
        self._items: list[Item] = []
        self._ear = Ear()
        self._turn_item_id = ""
        self._active: Response | None = None
        self._responses: dict[str, Response] = {}
        self._has_spoken = False
        self._cached = (0, 0)  # text and audio tokens of the last response's input
        self._requests_left = 999
        self._tasks: set[asyncio.Task[None]] = set()

    def configure(self, session: dict[str, Any]) -> None:
        """Start from a (checked) session that was given beforehand: with a client secret or a call."""
        self.configuration = merged(self.configuration, session)

    def open(self, tell: Callable[[Event], None] | None = None) -> None:
        """Greet the client, or with ``tell`` one that joins later."""
        session = copy.deepcopy(self.configuration)
        (tell or self._tell_client)({"type": "session.created", "event_id": new_id("event"), "session": session})

    def end(self) -> None:
        """Stop whatever is under way."""
        for task in self._tasks:
            task.cancel()

    def receive(self, text: str) -> None:
        """Take a frame of the client."""
        event: Any = None
        try:
            event = decoded_event(text)
            self._take(event)
        except Refused as refused:
            event_id = event.get("event_id") if isinstance(event, dict) else event_id_of(text)
            self._tell_client(error_of(refused.code, str(refused), refused.param, event_id))

    def hear_spoken(self, words: str, length_ms: int = 1000) -> None:
        """Take a turn that was spoken where this session's events do not carry audio: in a call."""
        item_id = new_id("item")
        self._speech_started(0, item_id)
        self._tell("input_audio_buffer.speech_stopped", audio_end_ms=length_ms, item_id=item_id)
        self._commit(item_id, bytes(length_ms * RATE * 2 // 1000), words, create_response=True)

    # What a client asks for.

    def _take(self, event: Event) -> None:
        match event["type"]:
            case "session.update":
                self._update(event["session"])
            case "input_audio_buffer.append":
                self._append(event["audio"])
            case "input_audio_buffer.commit":
                if self._ear.buffered_ms < SHORTEST_COMMIT_MS:
                    raise Refused(
                        "input_audio_buffer_commit_empty",
                        f"Error committing input audio buffer: buffer too small, {self._ear.buffered_ms}ms of audio.",
                    )
                item_id, self._turn_item_id = self._turn_item_id or new_id("item"), ""
                self._commit(item_id, self._ear.take(), self._hears(), create_response=False)
            case "input_audio_buffer.clear":
                self._ear.take()
                self._turn_item_id = ""
                self._tell("input_audio_buffer.cleared")
            case "output_audio_buffer.clear":
                self._clear_output()
            case "conversation.item.create":
                self._create_item(event["item"], event.get("previous_item_id"))
            case "conversation.item.retrieve":
                item = self._known(event["item_id"], "item_retrieve_invalid_item_id")
                self._tell("conversation.item.retrieved", item=item.shown(with_audio=True))
            case "conversation.item.delete":
                item = self._known(event["item_id"], "item_delete_invalid_item_id")
                self._items.remove(item)
                self._tell("conversation.item.deleted", item_id=item.id)
            case "conversation.item.truncate":
                self._truncate(event["item_id"], event["content_index"], event["audio_end_ms"])
            case "response.create":
                self._create_response(event.get("response") or {})
            case "response.cancel":
                self._cancel(event.get("response_id"))

    def _update(self, change: Any) -> None:
        check_session(change, self._kind)
        if "model" in change and change["model"] != self.configuration["model"]:
            raise Refused("invalid_value", "The model of a session cannot be changed.", "session.model")
        after = merged(self.configuration, change)
        if self._has_spoken and after["audio"]["output"]["voice"] != self.configuration["audio"]["output"]["voice"]:
            raise Refused(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                "session.audio.output.voice",
            )
        self.configuration = after
        self._tell("session.updated", session=copy.deepcopy(after))

    def _append(self, audio: Any) -> None:
        pcm = decoded_base64(audio, "audio")
        settings = self.configuration["audio"]["input"]
        detection = settings["turn_detection"]
        for what, at_ms in self._ear.hear(pcm, settings["format"]["type"], detection):
            if what == "started":
                self._turn_item_id = new_id("item")
                self._speech_started(at_ms, self._turn_item_id)
            else:
                item_id, self._turn_item_id = self._turn_item_id, ""
                self._tell("input_audio_buffer.speech_stopped", audio_end_ms=at_ms, item_id=item_id)
                audio_of_turn = self._ear.take()
                self._commit(item_id, audio_of_turn, self._hears(), create_response=detection["create_response"])

    def _speech_started(self, start_ms: int, item_id: str) -> None:
        self._tell("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=item_id)
        detection = self.configuration["audio"]["input"]["turn_detection"]
        if self._active is not None and detection and detection["interrupt_response"]:
            self._close(self._active, "cancelled", "turn_detected")

    def _commit(self, item_id: str, audio: bytes, words: str, *, create_response: bool) -> None:
        settings = self.configuration["audio"]["input"]
        body = {"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": None}]}
        item = Item(item_id, body, audio=audio, audio_rate=FORMATS[settings["format"]["type"]], words=words)
        self._tell("input_audio_buffer.committed", previous_item_id=self._last_id(), item_id=item_id)
        self._insert(item)
        self._tell_item("added", item)
        self._tell_item("done", item)
        if settings["transcription"] is not None:
            self._start(self._transcribe(item, settings["transcription"]))
        if create_response and self._kind == "realtime" and self._active is None:
            self._respond(self._settings_of({}), None, in_band=True, context=self._items)

    def _create_item(self, given: Any, previous_id: str | None) -> None:
        item = checked_item(given)
        if self._find(item.id):
            raise Refused("item_create_duplicate_item_id", f"Item with id '{item.id}' already exists.", "item.id")
        self._insert(item, previous_id)
        self._tell_item("added", item)
        self._tell_item("done", item)

    def _truncate(self, item_id: Any, content_index: Any, audio_end_ms: Any) -> None:
        item = self._known(item_id, "item_truncate_invalid_item_id")
        if item.body.get("role") != "assistant" or not item.is_spoken:
            raise Refused("invalid_value", "Only audio of the assistant can be truncated.", "item_id")
        if content_index != 0:
            raise Refused("invalid_value", "There is no such content part.", "content_index")
        if not isinstance(audio_end_ms, int) or not 0 <= audio_end_ms <= item.audio_ms:
            message = f"Audio content of {item.audio_ms}ms is already shorter than {audio_end_ms}ms"
            raise Refused("invalid_value", message, "audio_end_ms")
        item.audio = item.audio[: audio_end_ms * len(item.audio) // max(1, item.audio_ms) // 2 * 2]
        item.body["content"][0].pop("transcript", None)
        item.words = ""
        self._tell(
            "conversation.item.truncated", item_id=item.id, content_index=content_index, audio_end_ms=audio_end_ms
        )

    def _clear_output(self) -> None:
        if not self._over_webrtc:
            raise Refused("invalid_event", "output_audio_buffer.clear is for WebRTC and SIP only.", "type")
        self._tell("output_audio_buffer.cleared", response_id=self._active.id if self._active else "")

    def _create_response(self, given: Any) -> None:
        if self._kind == "transcription":
            raise Refused("invalid_event", "A transcription session has no responses.", "type")
        check_response(given)
        in_band = given.get("conversation", "auto") == "auto"
        if in_band and self._active is not None:
            raise Refused(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._active.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        context = self._items if given.get("input") is None else self._given_context(given["input"])
        self._respond(self._settings_of(given), given.get("metadata"), in_band=in_band, context=context)

    def _given_context(self, entries: list[Any]) -> list[Item]:
        found = []
        for entry in entries:
            if isinstance(entry, dict) and entry.get("type") == "item_reference":
                found.append(self._known(entry.get("id"), "item_reference_invalid_item_id"))
            else:
                found.append(checked_item(entry))
        return found

    def _cancel(self, response_id: str | None) -> None:
        response = self._responses.get(response_id) if response_id else self._active
        if response is None:
            raise Refused("response_cancel_not_active", "Cancellation failed: no active response found")
        self._close(response, "cancelled", "client_cancelled")

    # Responses.

    def _settings_of(self, given: dict[str, Any]) -> dict[str, Any]:
        names = ("output_modalities", "instructions", "tools", "tool_choice", "max_output_tokens", "audio")
        settings = {name: copy.deepcopy(self.configuration[name]) for name in names}
        audio = (given.get("audio") or {}).get("output") or {}
        settings["audio"]["output"].update(audio)
        settings.update({name: given[name] for name in names if given.get(name) is not None and name != "audio"})
        return settings

    def _respond(
        self, settings: dict[str, Any], metadata: dict[str, str] | None, *, in_band: bool, context: list[Item]
    ) -> None:
        conversation_id = self._conversation_id if in_band else None
        response = Response(new_id("resp"), in_band, settings, metadata, list(context), conversation_id)
        self._responses[response.id] = response
        if in_band:
            self._active = response
        self._tell("response.created", response=response.shown())
        tool = chosen_tool(settings, response.context)
        work = self._call(response, tool) if tool else self._answer(response)
        response.task = self._start(work)

    async def _call(self, response: Response, tool: dict[str, Any]) -> None:
        call = {"name": tool["name"], "call_id": new_id("call"), "arguments": json.dumps(arguments_for(tool))}
        response.call = call
        body = {"type": "function_call", **call, "arguments": ""}
        item = self._begin_item(response, Item(new_id("item"), body, "in_progress"))
        place = {"response_id": response.id, "item_id": item.id, "output_index": 0, "call_id": call["call_id"]}
        for delta in split(call["arguments"]):
            self._tell("response.function_call_arguments.delta", **place, delta=delta)
            item.body["arguments"] += delta
            await asyncio.sleep(0.002)
        self._close(response, "completed")

    async def _answer(self, response: Response) -> None:
        words, length_ms = answer_to(response.context, response.settings)
        spoken = response.settings["output_modalities"] == ["audio"]
        content_type = "audio" if spoken else "text"
        body = {"type": "message", "role": "assistant", "content": []}
        item = self._begin_item(response, Item(new_id("item"), body, "in_progress"))
        response.part = {"type": content_type, "transcript" if spoken else "text": ""}
        if spoken:
            item.audio_rate = FORMATS[response.settings["audio"]["output"]["format"]["type"]]
            item.body["content"] = [{"type": "output_audio", "transcript": ""}]
        else:
            item.body["content"] = [{"type": "output_text", "text": ""}]
        place = {"response_id": response.id, "item_id": item.id, "output_index": 0, "content_index": 0}
        self._tell("response.content_part.added", **place, part=dict(response.part))
        limit = response.settings["max_output_tokens"]
        pieces = split(words)
        cut = limit != "inf" and len(pieces) > limit
        for piece in pieces[: limit if cut else None]:
            response.said += piece
            kind = "output_audio_transcript" if spoken else "output_text"
            self._tell(f"response.{kind}.delta", **place, delta=piece)
            if not spoken:
                await asyncio.sleep(0.002)
        if spoken:
            await self._speak(response, item, place, length_ms)
        if cut:
            self._close(response, "incomplete", "max_output_tokens")
        else:
            self._close(response, "completed")

    async def _speak(self, response: Response, item: Item, place: dict[str, Any], length_ms: int) -> None:
        encoding = response.settings["audio"]["output"]["format"]["type"]
        if self._over_webrtc:
            self._tell("output_audio_buffer.started", response_id=response.id)
        began = time.monotonic()
        for at_ms in range(0, length_ms, DELTA_MS):
            sound = tone(at_ms, DELTA_MS, encoding)
            self._has_spoken = True
            item.audio += sound
            response.audio_ms += DELTA_MS
            if not self._over_webrtc:
                self._tell("response.output_audio.delta", **place, delta=base64.b64encode(sound).decode())
            await asyncio.sleep(max(0.0, began + (at_ms + DELTA_MS) / 1000 * self._pace - time.monotonic()))

    def _begin_item(self, response: Response, item: Item) -> Item:
        response.item = item
        self._tell("response.output_item.added", response_id=response.id, output_index=0, item=item.shown())
        if response.in_band:
            self._insert(item)
            self._tell_item("added", item)
        return item

    def _close(self, response: Response, status: str, reason: str | None = None) -> None:
        """End a response: what is open in it is closed first, innermost first."""
        if response.status != "in_progress":
            return
        if response.task is not None and status == "cancelled":
            response.task.cancel()
        del self._responses[response.id]
        if response is self._active:
            self._active = None
        response.status = status
        if reason:
            response.details = {"type": status, "reason": reason}
        if response.item is not None:
            self._close_item(response, response.item, "completed" if status == "completed" else "incomplete")
        response.usage = self._usage(response)
        if self._over_webrtc and response.audio_ms:
            self._tell("output_audio_buffer.stopped", response_id=response.id)
        self._tell("response.done", response=response.shown())
        self._requests_left -= 1
        self._tell("rate_limits.updated", rate_limits=self._rate_limits(response))

    def _close_item(self, response: Response, item: Item, status: str) -> None:
        place = {"response_id": response.id, "item_id": item.id, "output_index": 0}
        item.status = status
        if response.call is not None and status == "completed":
            call_id, name = response.call["call_id"], response.call["name"]
            self._tell(
                "response.function_call_arguments.done",
                **place,
                call_id=call_id,
                name=name,
                arguments=item.body["arguments"],
            )
        elif response.part is not None:
            item.words = response.said
            part = {**place, "content_index": 0}
            if response.part["type"] == "audio":
                item.body["content"][0]["transcript"] = response.said
                response.part["transcript"] = response.said
                self._tell("response.output_audio.done", **part)
                self._tell("response.output_audio_transcript.done", **part, transcript=response.said)
            else:
                item.body["content"][0]["text"] = response.said
                response.part["text"] = response.said
                self._tell("response.output_text.done", **part, text=response.said)
            self._tell("response.content_part.done", **part, part=dict(response.part))
        response.output.append(item)
        if response.in_band:
            self._tell_item("done", item)
        self._tell("response.output_item.done", response_id=response.id, output_index=0, item=item.shown())

    def _usage(self, response: Response) -> dict[str, Any]:
        text = tokens(response.settings["instructions"]) + tokens(json.dumps(response.settings["tools"]))
        audio = 0
        for item in response.context:
            if item.is_spoken and item.audio:
                audio += math.ceil(item.audio_ms / 100)
            else:
                text += 4 + tokens(text_of(item))
        cached_text, cached_audio = min(text, self._cached[0]), min(audio, self._cached[1])
        if response.in_band:
            self._cached = (text, audio)
        said = tokens(response.said) + (tokens(response.call["arguments"]) + 8 if response.call else 0)
        spoken = math.ceil(response.audio_ms / 50)
        return {
            "total_tokens": text + audio + said + spoken,
            "input_tokens": text + audio,
            "output_tokens": said + spoken,
            "input_token_details": {
                "text_tokens": text,
                "audio_tokens": audio,
                "image_tokens": 0,
                "cached_tokens": cached_text + cached_audio,
                "cached_tokens_details": {
                    "text_tokens": cached_text,
                    "audio_tokens": cached_audio,
                    "image_tokens": 0,
                },
            },
            "output_token_details": {"text_tokens": said, "audio_tokens": spoken},
        }

    def _rate_limits(self, response: Response) -> list[dict[str, Any]]:
        used = response.usage["total_tokens"] if response.usage else 0
        return [
            {"name": "requests", "limit": 1000, "remaining": self._requests_left, "reset_seconds": 60.0},
            {"name": "tokens", "limit": 40_000, "remaining": max(0, 40_000 - used), "reset_seconds": 1.5},
        ]

    async def _transcribe(self, item: Item, transcription: dict[str, Any]) -> None:
        place = {"item_id": item.id, "content_index": 0}
        for piece in split(item.words):
            await asyncio.sleep(0.005)
            self._tell("conversation.item.input_audio_transcription.delta", **place, delta=piece)
        seconds = item.audio_ms / 1000
        if transcription.get("model") == "whisper-1":
            usage: dict[str, Any] = {"type": "duration", "seconds": round(seconds, 3)}
        else:
            audio, said = math.ceil(seconds * 10), tokens(item.words)
            usage = {
                "type": "tokens",
                "total_tokens": audio + said,
                "input_tokens": audio,
                "output_tokens": said,
                "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
            }
        item.body["content"][0]["transcript"] = item.words
        self._tell("conversation.item.input_audio_transcription.completed", **place, transcript=item.words, usage=usage)

    # The conversation.

    def _find(self, item_id: Any) -> Item | None:
        return next((item for item in self._items if item.id == item_id), None)

    def _known(self, item_id: Any, code: str) -> Item:
        item = self._find(item_id)
        if item is None:
            raise Refused(code, f"Item with item_id not found: {item_id}", "item_id")
        return item

    def _insert(self, item: Item, previous_id: str | None = None) -> None:
        if previous_id is None:
            self._items.append(item)
        elif previous_id == "root":
            self._items.insert(0, item)
        else:
            previous = self._known(previous_id, "item_create_invalid_previous_item_id")
            self._items.insert(self._items.index(previous) + 1, item)

    def _last_id(self) -> str | None:
        return self._items[-1].id if self._items else None

    def _tell_item(self, what: str, item: Item) -> None:
        at = self._items.index(item) if item in self._items else 0
        previous = self._items[at - 1].id if at else None
        self._tell(f"conversation.item.{what}", previous_item_id=previous, item=item.shown())

    def _tell(self, type: str, **fields: Any) -> None:
        self._tell_client({"type": type, "event_id": new_id("event"), **fields})

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def text_of(item: Item) -> str:
    """What an item says in words."""
    if item.words:
        return item.words
    body = item.body
    parts = " ".join(part.get("text") or part.get("transcript") or "" for part in body.get("content", ()))
    return parts or body.get("output") or body.get("arguments") or ""


def chosen_tool(settings: dict[str, Any], context: list[Item]) -> dict[str, Any] | None:
    """The first tool, when one is demanded or the user's last words are about the weather."""
    tools: list[dict[str, Any]] = [tool for tool in settings["tools"] if tool.get("type") == "function"]
    choice = settings["tool_choice"]
    last = context[-1] if context else None
    if not tools or choice == "none":
        return None
    if isinstance(choice, dict):
        return next((tool for tool in tools if tool["name"] == choice.get("name")), None)
    if choice == "required":
        return tools[0]
    if last is not None and last.body.get("role") == "user" and "weather" in text_of(last).lower():
        return tools[0]
    return None


def arguments_for(tool: dict[str, Any]) -> dict[str, Any]:
    """Arguments that fit a function's schema."""
    parameters = tool.get("parameters") or {}
    properties = parameters.get("properties") or {}
    return {name: value_for(properties.get(name) or {}) for name in parameters.get("required") or properties}


def value_for(schema: dict[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    examples = {"string": "Paris", "integer": 3, "number": 1.5, "boolean": True, "array": [], "object": {}}
    return examples.get(schema.get("type", "string"), "Paris")


def answer_to(context: list[Item], settings: dict[str, Any]) -> tuple[str, int]:
    """The words of an answer and how long speaking them takes, ms. A user who asks for a long one gets it."""
    last = context[-1] if context else None
    if last is None:
        words = f"Hello. {settings['instructions']}".strip()
    elif last.body["type"] == "function_call_output":
        words = f"The function says: {last.body['output']}"
    else:
        words = f"You said: {text_of(last)}"
    length_ms = WORD_MS * len(words.split())
    asked = f"{words} {settings['instructions']}".lower()
    return words, LONG_ANSWER_MS if "long story" in asked else length_ms


def split(text: str) -> list[str]:
    """Cut text after each space: joined again it is the same."""
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + words[-1:]


# What is checked.


def decoded_event(text: str) -> Event:
    try:
        event = json.loads(text)
    except ValueError:
        raise Refused("invalid_json", "The message is no JSON.") from None
    if not isinstance(event, dict):
        raise Refused("invalid_event", "An event is an object.")
    kind = event.get("type")
    if not isinstance(kind, str):
        raise Refused("missing_required_parameter", "Missing required parameter: 'type'.", "type")
    if kind not in CLIENT_EVENTS:
        known = ", ".join(f"'{name}'" for name in CLIENT_EVENTS)
        raise Refused("invalid_value", f"Invalid value: '{kind}'. Supported values are: {known}.", "type")
    required, optional = CLIENT_EVENTS[kind]
    check_fields(event, required | optional | {"type", "event_id"}, "")
    for name in required:
        if name not in event:
            raise Refused("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
    return event


def event_id_of(text: str) -> str | None:
    try:
        event = json.loads(text)
    except ValueError:
        return None
    return event.get("event_id") if isinstance(event, dict) else None


def check_fields(given: Any, known: Iterable[str], where: str) -> None:
    if not isinstance(given, dict):
        raise Refused("invalid_type", f"Invalid type for '{where}': expected an object.", where)
    for name in given:
        if name not in known:
            path = f"{where}.{name}".lstrip(".")
            raise Refused("unknown_parameter", f"Unknown parameter: '{path}'.", path)


def check_choice(value: Any, known: Iterable[Any], where: str) -> None:
    if value not in known:
        raise Refused("invalid_value", f"Invalid value: {value!r}. Supported values are: {list(known)}.", where)


def check_session(given: Any, kind: Kind) -> None:
    """Raise `Refused` unless this can be the session of an update, or of a client secret."""
    if not isinstance(given, dict) or "type" not in given:
        raise Refused("missing_required_parameter", "Missing required parameter: 'session.type'.", "session.type")
    if given["type"] != kind:
        raise Refused(
            "invalid_value", f"Passing a {given['type']} session to a {kind} session is not allowed.", "session.type"
        )
    check_fields(given, SESSION_FIELDS[kind], "session")
    check_shared(given, "session")
    audio = given.get("audio")
    if audio is not None:
        check_fields(audio, {"input", "output"} if kind == "realtime" else {"input"}, "session.audio")
        if audio.get("input") is not None:
            check_input(audio["input"], "session.audio.input")
    if "truncation" in given and not isinstance(given["truncation"], dict):
        check_choice(given["truncation"], ("auto", "disabled"), "session.truncation")
    if given.get("tracing") is not None and not isinstance(given["tracing"], dict):
        check_choice(given["tracing"], ("auto",), "session.tracing")


def check_response(given: Any) -> None:
    """Raise `Refused` unless this can be the object of ``response.create``."""
    check_fields(given, RESPONSE_FIELDS, "response")
    check_shared(given, "response")
    check_choice(given.get("conversation", "auto"), ("auto", "none"), "response.conversation")
    metadata = given.get("metadata")
    if metadata is not None:
        check_fields(metadata, metadata, "response.metadata")
        fits = all(isinstance(value, str) and len(value) <= 512 and len(name) <= 64 for name, value in metadata.items())
        if len(metadata) > 16 or not fits:
            raise Refused("invalid_value", "Metadata is 16 pairs of 64 and 512 characters.", "response.metadata")
    if given.get("input") is not None and not isinstance(given["input"], list):
        raise Refused("invalid_type", "Invalid type for 'response.input': expected a list.", "response.input")


def check_shared(given: dict[str, Any], where: str) -> None:
    """Check what sessions and responses have in common."""
    if "output_modalities" in given:
        check_choice(given["output_modalities"], (["audio"], ["text"]), f"{where}.output_modalities")
    # LiveKit writes null into a response that has no instructions of its own.
    if not isinstance(given.get("instructions") or "", str):
        raise Refused("invalid_type", f"Invalid type for '{where}.instructions'.", f"{where}.instructions")
    limit = given.get("max_output_tokens", "inf")
    if limit != "inf" and not (isinstance(limit, int) and 1 <= limit <= 4096):
        raise Refused("invalid_value", f"Invalid value: {limit!r}; 1 to 4096 or 'inf'.", f"{where}.max_output_tokens")
    output = (given.get("audio") or {}).get("output")
    if output is not None:
        check_fields(output, OUTPUT_FIELDS, f"{where}.audio.output")
        check_format(output.get("format"), f"{where}.audio.output.format")
        if isinstance(output.get("voice", "alloy"), str):
            check_choice(output.get("voice", "alloy"), VOICES, f"{where}.audio.output.voice")
        speed = output.get("speed", 1)
        if not isinstance(speed, int | float) or not 0.25 <= speed <= 1.5:
            raise Refused("invalid_value", f"Invalid value: {speed!r}; 0.25 to 1.5.", f"{where}.audio.output.speed")
    for at, tool in enumerate(given.get("tools") or ()):
        check_fields(tool, {"type", "name", "description", "parameters"}, f"{where}.tools[{at}]")
        check_choice(tool.get("type"), ("function",), f"{where}.tools[{at}].type")
        if not isinstance(tool.get("name"), str):
            raise Refused("missing_required_parameter", "A tool has a name.", f"{where}.tools[{at}].name")
    choice = given.get("tool_choice", "auto")
    if isinstance(choice, dict):
        check_fields(choice, {"type", "name"}, f"{where}.tool_choice")
    else:
        check_choice(choice, ("auto", "none", "required"), f"{where}.tool_choice")


def check_input(given: Any, where: str) -> None:
    check_fields(given, INPUT_FIELDS, where)
    check_format(given.get("format"), f"{where}.format")
    if given.get("noise_reduction") is not None:
        check_fields(given["noise_reduction"], {"type", "strength"}, f"{where}.noise_reduction")
    if given.get("transcription") is not None:
        known = {"model", "language", "languages", "prompt", "keywords", "delay"}
        check_fields(given["transcription"], known, f"{where}.transcription")
    detection = given.get("turn_detection")
    if detection is not None:
        check_fields(detection, detection, f"{where}.turn_detection")
        check_choice(detection.get("type"), DETECTION_FIELDS, f"{where}.turn_detection.type")
        check_fields(detection, DETECTION_FIELDS[detection["type"]], f"{where}.turn_detection")


def check_format(given: Any, where: str) -> None:
    if given is None:
        return
    check_fields(given, {"type", "rate"}, where)
    check_choice(given.get("type"), FORMATS, f"{where}.type")
    if given["type"] == "audio/pcm":
        check_choice(given.get("rate", RATE), (RATE,), f"{where}.rate")


def checked_item(given: Any) -> Item:
    """Return the item a client describes. Raises `Refused`."""
    check_fields(given, given if isinstance(given, dict) else (), "item")
    kind = given.get("type")
    check_choice(kind, ITEM_FIELDS, "item.type")
    check_fields(given, {"id", "object", "type", "status", *ITEM_FIELDS[kind]}, "item")
    for name in ITEM_FIELDS[kind] - ({"call_id"} if kind == "function_call" else set()):
        if name not in given:
            raise Refused("missing_required_parameter", f"Missing required parameter: 'item.{name}'.", f"item.{name}")
    body = {"type": kind, **{name: given[name] for name in ITEM_FIELDS[kind] if name in given}}
    item = Item(given.get("id") or new_id("item"), body)
    if kind == "message":
        check_choice(given["role"], PARTS, "item.role")
        content = [checked_part(part, given["role"], at) for at, part in enumerate(given["content"])]
        for part in content:
            item.audio += decoded_base64(part.pop("audio"), "item.content") if "audio" in part else b""
        item.body["content"] = content
    return item


def checked_part(given: Any, role: str, at: int) -> dict[str, Any]:
    where = f"item.content[{at}]"
    if not isinstance(given, dict):
        raise Refused("invalid_type", f"Invalid type for '{where}': expected an object.", where)
    check_choice(given.get("type"), PARTS[role], f"{where}.type")
    check_fields(given, PARTS[role][given["type"]] | {"type"}, where)
    return dict(given)


def decoded_base64(given: Any, where: str) -> bytes:
    try:
        audio = base64.b64decode(given, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Refused("invalid_value", f"Invalid '{where}': expected base64.", where) from None
    if len(audio) > LONGEST_APPEND:
        raise Refused("invalid_value", "At most 15 MiB of audio are taken at once.", where)
    return audio


# Sessions.


def default_configuration(kind: Kind, model: str | None) -> dict[str, Any]:
    listening = {
        "format": {"type": "audio/pcm", "rate": RATE},
        "noise_reduction": None,
        "transcription": None,
        "turn_detection": with_defaults({"type": "server_vad", "silence_duration_ms": 200}),
    }
    identity = {"type": kind, "id": new_id("sess"), "expires_at": int(time.time()) + 3600}
    if kind == "transcription":
        return {
            "object": "realtime.transcription_session",
            **identity,
            "audio": {"input": listening, "output": {"voice": None}},
            "include": None,
        }
    return {
        "object": "realtime.session",
        **identity,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "You are a helpful assistant.",
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "include": None,
        "reasoning": None,
        "audio": {
            "input": listening,
            "output": {"format": {"type": "audio/pcm", "rate": RATE}, "voice": "marin", "speed": 1.0},
        },
    }


def with_defaults(detection: dict[str, Any]) -> dict[str, Any]:
    if detection["type"] == "semantic_vad":
        return {"eagerness": "auto", "create_response": True, "interrupt_response": True, **detection}
    return {
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
        **detection,
    }


def merged(before: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with a (checked) update in place: the two sides of audio field by field, else whole."""
    after = copy.deepcopy(before)
    for name, value in copy.deepcopy(change).items():
        if name != "audio":
            after[name] = value
            continue
        for side, fields in value.items():
            after["audio"][side].update(fields or {})
    for side in after["audio"].values():
        if side.get("format"):
            rate = {"rate": RATE} if side["format"]["type"] == "audio/pcm" else {}
            side["format"] = {"type": side["format"]["type"], **rate}
    detection = after["audio"]["input"]["turn_detection"]
    if detection is not None:
        after["audio"]["input"]["turn_detection"] = with_defaults(detection)
    return after
