"""What tests of the unified API share: an exchange with an adapter, and its answer as OpenAI's own client reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trunkline.unified.adapter import Adapter, Headers

JSON = b"application/json"
EVENTS = b"text/event-stream"


class Answered(NamedTuple):
    """An answer as the client gets it."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answered(
    adapter: Adapter,
    pieces: bytes | Sequence[bytes],
    *,
    status: int = 200,
    type: bytes = JSON,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> Answered:
    """Feed an adapter a provider's answer and return the client's."""
    status, headers = adapter.begin(status, [(b"content-type", type), *more])
    said = [adapter.feed(piece) for piece in ([pieces] if isinstance(pieces, bytes) else pieces)]
    return Answered(status, headers, b"".join([*said, adapter.finish()]))


def told(adapter: Adapter, whole: Any, **options: Any) -> Answered:
    """Feed an adapter a provider's JSON."""
    return answered(adapter, json.dumps(whole, ensure_ascii=False).encode(), **options)


def asked(adapter: Adapter) -> Any:
    """Return what the provider is asked."""
    return json.loads(adapter.body)


def events(*values: Any, named: bool = False) -> bytes:
    """Return a provider's server-sent events; ``named`` puts the type of each before it."""
    lines = []
    for value in values:
        name = f"event: {value['type']}\n" if named else ""
        lines.append(f"{name}data: {json.dumps(value, ensure_ascii=False)}\n\n")
    return "".join(lines).encode()


def chunks(body: bytes) -> list[Any]:
    """Return what the events of a stream hold, each checked: a chunk of OpenAI's, an error, or the end."""
    found: list[Any] = []
    for block in body.decode().split("\n\n"):
        if not block:
            continue
        assert block.startswith("data: ")
        data = block.removeprefix("data: ")
        if data == "[DONE]":
            found.append("[DONE]")
            continue
        value = json.loads(data)
        if "error" not in value:
            ChatCompletionChunk.model_validate(value)
        found.append(value)
    return found


def deltas(body: bytes) -> list[Any]:
    """Return the deltas of a stream with one answer, in order, empty ones left out."""
    return [
        one["choices"][0]["delta"]
        for one in chunks(body)
        if one != "[DONE]" and one.get("choices") and one["choices"][0]["delta"]
    ]


def put_together(body: bytes) -> ChatCompletion:
    """Return a streamed answer as OpenAI's client puts it together; it has to be whole."""
    found = chunks(body)
    assert found[-1] == "[DONE]"
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for one in found[:-1]:
        state.handle_chunk(ChatCompletionChunk.model_validate(one))
    return ChatCompletion.model_validate(state.current_completion_snapshot.model_dump())


def completion(answer: Answered) -> ChatCompletion:
    """Return a whole answer as OpenAI's client reads it."""
    assert dict(answer.headers)[b"content-type"] == JSON
    return ChatCompletion.model_validate(answer.json, strict=True)


def each_byte(stream: bytes) -> list[bytes]:
    """Cut a stream into its bytes."""
    return [stream[at : at + 1] for at in range(len(stream))]


def cuts(stream: bytes) -> st.SearchStrategy[list[bytes]]:
    """Return ways to cut a stream."""
    places = st.lists(st.integers(0, len(stream)), max_size=12).map(sorted)
    return places.map(lambda at: list(_cut(stream, at)))


def _cut(stream: bytes, places: Iterable[int]) -> Iterable[bytes]:
    start = 0
    for place in places:
        yield stream[start:place]
        start = place
    yield stream[start:]
