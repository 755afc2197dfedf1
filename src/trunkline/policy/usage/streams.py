"""Asking for the usage of a stream on behalf of a caller who did not, and keeping it from that caller.

A streamed chat completion states its usage only when asked, in a chunk of its own before the end.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from trunkline.policy.usage.request import kind_of, path_end
from trunkline.providers.schema import Provider
from trunkline.wire.documents import UNREADABLE

# Whose streams state their usage in any case, and whose APIs refuse members that they do not know.
_STATES_IT_ANYWAY: Final = frozenset({"mistral", "perplexity-ai"})
_ASKS: Final = b'"stream_options":{"include_usage":true}'
_OPTIONS: Final = re.compile(rb'"stream_options"\s*:\s*(?=[{n])')
# Two ends of lines, each of them a whole one.
_BOUNDARY: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_STATES_USAGE: Final = re.compile(rb'"usage"\s*:\s*(?:data:\s*)?\{')
# A chunk with usage is short. A longer event is passed on as it comes.
_LONGEST: Final = 65_536


class _Options(msgspec.Struct):
    include_usage: Any = None


class _Asked(msgspec.Struct):
    stream: Any = None
    stream_options: msgspec.Raw = msgspec.Raw()


_asked: Final = msgspec.json.Decoder(_Asked)
_options: Final = msgspec.json.Decoder(_Options | None)


class _Chunk(msgspec.Struct):
    choices: Any = None
    usage: Any = None


_chunks: Final = msgspec.json.Decoder(_Chunk)


def with_usage(provider: Provider, rest: str, body: bytes) -> bytes | None:
    """Return the body of a streamed chat with ``stream_options.include_usage`` set, all else byte for byte.

    None where it is to be left alone: it is no streamed chat in OpenAI's shape, it asks already, or what it says of
    ``stream_options`` cannot be told for sure.
    """
    asked = _asks_silently(provider, rest, body)
    if asked is None:
        return None
    if not asked.stream_options:
        return _with_member(body)
    return _with_option(body, bytes(asked.stream_options))


def states_usage(provider: Provider, rest: str, body: bytes) -> bool:
    """Whether the answer to a request will state its usage, as far as that is the request's to say."""
    return _asks_silently(provider, rest, body) is None


def _asks_silently(provider: Provider, rest: str, body: bytes) -> _Asked | None:
    """Return what was asked when it is a streamed chat whose usage will not be stated, else None."""
    path = path_end(rest)
    if provider.slug in _STATES_IT_ANYWAY or not path.endswith("completions") or kind_of(path) == "other":
        return None
    try:
        asked = _asked.decode(body)
    except UNREADABLE:
        return None
    if not asked.stream:
        return None
    try:
        options = _options.decode(asked.stream_options) if asked.stream_options else None
    except UNREADABLE:
        return asked
    return None if options is not None and options.include_usage is True else asked


def _with_member(body: bytes) -> bytes:
    """Put the member in front of all others; the object has at least ``stream``."""
    at = body.index(b"{") + 1
    return body[:at] + _ASKS + b"," + body[at:]


def _with_option(body: bytes, options: bytes) -> bytes | None:
    """Set the option within options that are there, or are null. The last of repeated members counts, as in JSON."""
    found = [match.end() for match in _OPTIONS.finditer(body) if body.startswith(options, match.end())]
    if len(found) != 1:
        return None  # also within a text that somebody wrote
    at = found[0]
    if options == b"null":
        changed = b'{"include_usage":true}'
    else:
        try:
            kept = msgspec.json.decode(options, type=dict[str, msgspec.Raw])
        except UNREADABLE:
            return None
        kept["include_usage"] = msgspec.Raw(b"true")
        changed = msgspec.json.encode(kept)
    return body[:at] + changed + body[at + len(options) :]


class UsageStripper:
    """Takes out of a stream of chat completions the chunk that states the usage, which its caller did not ask for.

    All other bytes pass as they came, each event no later than its end.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._looked_at = 0
        self._passes = False

    def feed(self, chunk: bytes) -> bytes:
        """Take some bytes; return those of the events they complete, without the one that states the usage."""
        self._held += chunk
        kept: list[bytes] = []
        while (end := self._end_of_event()) is not None:
            event = bytes(self._held[:end])
            del self._held[:end]
            self._looked_at = 0
            if self._passes or not _states_usage_only(event):
                kept.append(event)
            self._passes = False
        self._looked_at = len(self._held)
        if len(self._held) > _LONGEST or (self._passes and self._held):
            # All but what may be the beginning of a boundary.
            self._passes = True
            kept.append(bytes(self._held[:-3]))
            del self._held[:-3]
            self._looked_at = 0
        return b"".join(kept)

    def finish(self) -> bytes:
        """Return what is left: an event without its end."""
        rest = bytes(self._held)
        self._held.clear()
        return b"" if not self._passes and _states_usage_only(rest) else rest

    def _end_of_event(self) -> int | None:
        """Return where the first event ends, or None while that cannot be told."""
        start = max(self._looked_at - 3, 0)
        if b"\r" not in self._held:
            found = self._held.find(b"\n\n", start)
            return found + 2 if found >= 0 else None
        match = _BOUNDARY.search(self._held, start)
        # Of a last CRLF only the half may be there yet.
        if match is None or (match.end() == len(self._held) and match[0].endswith(b"\r")):
            return None
        return match.end()


def _states_usage_only(event: bytes) -> bool:
    if b'"choices"' not in event or not _STATES_USAGE.search(event):
        return False
    lines = [line for line in re.split(rb"\r\n|\n|\r", event) if line]
    data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    if not data:
        return False
    try:
        chunk = _chunks.decode(b"\n".join(data))
    except UNREADABLE:
        return False
    return chunk.choices == [] and isinstance(chunk.usage, dict)
