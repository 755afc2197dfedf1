"""Which answers a gateway keeps to give again, for which requests, and what tells two requests apart.

Whoever may be given a kept answer would have got it from the provider too: the key of an entry holds the gateway, the
provider and what is shown to it, so that two callers with different provider keys share nothing, and callers for whom
the gateway shows the same stored key share what that key has bought.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from trunkline.credentials.placements import CREDENTIAL_HEADERS
from trunkline.errors import MalformedRequest
from trunkline.policy.facts import Facts
from trunkline.policy.usage import UsageReader
from trunkline.policy.usage.request import Kind
from trunkline.providers.schema import Provider
from trunkline.wire.documents import UNREADABLE
from trunkline.wire.encodings import readable_encodings
from trunkline.wire.head import Head, forwarded_headers

SHORTEST_TTL = 60
LONGEST_TTL = 2_592_000
# What Cloudflare keeps an entry that names its own key, where nobody says how long.
DEFAULT_TTL: Final = 300
LONGEST_KEY: Final = 1024

STATUS_HEADER: Final = b"cf-aig-cache-status"
OURS_HEADER: Final = b"x-trunkline-cache"

# With the older names that Cloudflare's documentation still has; the first that is there counts.
_SKIP: Final = (b"cf-aig-skip-cache", b"cf-skip-cache")
_TTL: Final = (b"cf-aig-cache-ttl", b"cf-cache-ttl")
_KEY: Final = (b"cf-aig-cache-key",)
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}

_KINDS: Final[frozenset[Kind]] = frozenset(
    {"chat", "completion", "responses", "embeddings", "image", "moderation", "rerank"}
)
# What makes an answer depend on more than the request says: a state that the provider keeps, or work that goes on.
_DEPENDS: Final = ("background", "previous_response_id", "conversation", "container")
# Headers by which a provider answers differently, or for somebody else. Two requests that differ in one are two.
_VARYING: Final = (
    b"accept",
    b"anthropic-beta",
    b"anthropic-version",
    b"api-version",
    b"cartesia-version",
    b"openai-beta",
    b"openai-organization",
    b"openai-project",
    b"x-fal-target-url",
    b"x-goog-user-project",
)
# Of a provider that nobody here knows, any header may say for whom it answers, but for those of the way to it.
_OF_THE_WAY: Final = re.compile(
    rb"x-stainless-.*|x-amzn?-.*|x-b3-.*|cf-.*|.*(?:request|correlation|transaction|event)-?id"
    rb"|.*(?:trace|span|baggage|sentry|newrelic|datadog).*|accept-language|cache-control|cdn-loop|content-encoding"
    rb"|content-md5|content-type|date|dnt|idempotency-key|max-forwards|pragma|priority|user-agent|via|x-client-ip"
    rb"|x-powered-by|x-real-ip|x-requested-with|x-title"
)
# Of an answer's headers, those that are about its body. Others are about the exchange that is over: its id, how long it
# took, how much of a rate limit was left, cookies.
_KEPT_HEADERS: Final = frozenset({b"content-type", b"content-encoding", b"content-language"})
# A piece of a stream that is given again: whole events, up to about so many bytes.
_PIECE: Final = 4096
_LARGE_PIECE: Final = 65_536
_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
# A body that is longer is not read for what it says.
_LONGEST_READ: Final = 128 * 1024
_NUMBERS: Final = re.compile(r"\d+")
# An answer of the Responses API that is none yet, or will be none.
_UNFINISHED: Final = frozenset({"failed", "in_progress", "queued", "cancelled"})


class CacheRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A gateway's cache. ``ttl`` is seconds, 0 keeps nothing unless a request asks for it.

    ``max_bytes`` is the largest answer that is kept. ``invalidate_on_update``: a change of the gateway empties its
    cache. ``semantic`` is how alike two questions must be to have the same answer (cosine, 0 to 1); 0 is never.
    """

    ttl: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_TTL)] = 0
    max_bytes: Annotated[int, msgspec.Meta(ge=1024, le=25 * 1024 * 1024)] = 10 * 1024 * 1024
    invalidate_on_update: bool = False
    semantic: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


class CacheWish(NamedTuple):
    """That a request may have a kept answer: for how many seconds its own is kept, and the caller's key for it.

    Without a ``key`` it is computed of what is asked.
    """

    ttl: int
    key: str = ""


def cache_wish(head: Head, rules: CacheRules) -> CacheWish | None:
    """Return how a request is to be cached, or None where it is not.

    Raises `MalformedRequest` naming the header whose value cannot be used, also where another one turns caching off.
    """
    skips, ttl, key = _skip(head), _ttl(head), _key(head)
    if skips:
        return None
    if key:
        return CacheWish(ttl or rules.ttl or DEFAULT_TTL, key)
    return CacheWish(ttl or rules.ttl) if rules.ttl else None


def is_cacheable(head: Head, facts: Facts, body: bytes, wish: CacheWish) -> bool:
    """Whether a request is of a kind that is cached, and its answer depends on nothing but what it says.

    A form is told from another one only by a key of the caller's: the boundary in it is a random one. So is a body that
    was not read because it is too long to be held, and is empty here.
    """
    if head.method != "POST" or facts.kind not in _KINDS:
        return False
    is_form = _essence(head.header(b"content-type") or "").startswith("multipart/")
    if not wish.key and (is_form or not body):
        return False
    return not _depends_on_state(body)


def cache_key(
    *,
    gateway: str,
    provider: str,
    path: str,
    query: str,
    model: str,
    identity: str,
    body: bytes,
    content_type: str,
    key: str = "",
    stream: bool = False,
    variant: Sequence[str] = (),
) -> str:
    """Return the key of an entry: SHA-256, in hex, over a canonical form of all that tells two requests apart.

    Bodies of JSON up to 128 KiB are equal when they say the same, in whatever order and with whatever space: numbers as
    they were written, repeated names kept. Longer ones are when their bytes are. A ``key`` of the caller's stands
    instead of query, model and body; whether the answer is a stream, and of which endpoint it is, counts all the same,
    since a client that asked for one cannot read the other.
    """
    asked = ["key", key] if key else ["request", query, model, *_canonical(body, content_type)]
    return _digest(["1", gateway, provider, path, identity, "stream" if stream else "", list(variant), asked])


def key_name(gateway: str, key: str) -> str:
    """Return by what an entry is found whose key is the caller's: what a caller puts into it is not for others."""
    return _digest([gateway, key])[:32] if key else ""


def identity_of(provider: Provider, key: str, source: str, via: str = "") -> str:
    """Return who a provider takes the request to be from, as a digest that does not tell the key.

    ``via`` is the address and token of a gateway in between. The key of the embedded provider is another one in each
    process, and opens the same to everybody.
    """
    shown = "" if source == "local" else key
    base_url = "" if source == "local" else provider.base_url
    return _digest([base_url, shown, via])


def variant_of(head: Head, *, is_known: bool = True) -> list[str]:
    """Return what a head says by which a provider answers differently, besides path, query and body.

    Without ``is_known``, which headers those are is not known: then it is all that are sent on and no credentials.
    """
    told = [f"{name.decode()}: {value}" for name in _VARYING if (value := head.header(name)) is not None]
    if not is_known:
        told += sorted(
            f"{name.decode('latin-1')}: {value.decode('latin-1')}"
            for name, value in forwarded_headers(head.headers)
            if name not in _VARYING and name not in CREDENTIAL_HEADERS and not _OF_THE_WAY.fullmatch(name)
            if name != b"accept-encoding"
        )
    encodings = head.header(b"accept-encoding")
    # As it is sent on: a client that cannot unpack is not given what one that can was sent.
    return told if encodings is None else [*told, f"accept-encoding: {readable_encodings(encodings)}"]


def query_without(query: str, names: frozenset[str]) -> str:
    """Return a query without the parameters that hold keys."""
    if not query:
        return ""
    kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in names]
    return _encode(kept) if kept else ""


# Answers


def kept_headers(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return those of an answer's headers that are given again."""
    return [(lower, value) for name, value in headers if (lower := name.lower()) in _KEPT_HEADERS]


def is_stream(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether an answer comes as it is made, so that its reader waits for the first of it and not for the last."""
    return _is_of_a_stream(_header(headers, b"content-type"))


@lru_cache(maxsize=64)
def _is_of_a_stream(content_type: str) -> bool:
    return _essence(content_type) in ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")


def declared_length(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return the size an answer says it has, in bytes, or 0."""
    value = _header(headers, b"content-length")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0


def is_whole(provider: Provider, path: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
    """Whether an answer with status 200 is one: complete, and no error in the form of an answer.

    A stream counts as complete when its last event was there, or one that says why the model stopped.
    """
    if not body:
        return False
    reader = UsageReader(provider, path)
    reader.begin(200, headers)
    reader.feed(body)
    said = reader.finish()
    if said.error:
        return False
    if is_stream(headers) or reader.is_stream:
        return said.is_done or bool(said.finish_reason)
    if _essence(_header(headers, b"content-type")) != "application/json" or _header(headers, b"content-encoding"):
        return True
    return _is_answer(body)


def pieces(headers: Sequence[tuple[bytes, bytes]], body: bytes) -> list[bytes]:
    """Cut a kept body as it is given again: a stream of events where events end."""
    if _essence(_header(headers, b"content-type")) != "text/event-stream" or _header(headers, b"content-encoding"):
        return [body[at : at + _LARGE_PIECE] for at in range(0, len(body), _LARGE_PIECE)]
    found, start, end = [], 0, 0
    for match in _EVENT_END.finditer(body):
        if match.end() - start > _PIECE and end > start:
            found.append(body[start:end])
            start = end
        end = match.end()
    if end > start:
        found.append(body[start:end])
    if end < len(body):
        found.append(body[end:])
    return found


# Questions that are alike


class Question(NamedTuple):
    """The last thing a user says in a conversation, and ``rest``: the request without it.

    Two questions are compared only where the rest is the same. ``numbers`` of a question belong to it, because to a
    model of meanings 7 and 8 are much alike.
    """

    text: str
    rest: bytes


def question_of(body: bytes) -> Question | None:
    """Return the question of a chat request, or None where it cannot be told from the rest, or is more than text."""
    if len(body) > _LONGEST_READ:
        return None
    try:
        asked = json.loads(body, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict):
        return None
    turns = next((asked[name] for name in ("messages", "contents") if isinstance(asked.get(name), list)), None)
    last = turns[-1] if turns else None
    if not isinstance(last, dict) or last.get("role", "user") != "user":
        return None
    name = "content" if "content" in last else "parts"
    text = _text_of(last.get(name))
    if text is None:
        return None
    last[name] = ["question", _NUMBERS.findall(text)]
    return Question(text, json.dumps(asked, sort_keys=True).encode())


def _text_of(content: Any) -> str | None:
    if isinstance(content, str):
        return content.strip() or None
    if not isinstance(content, list):
        return None
    texts = []
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str) or set(part) - {"type", "text"}:
            return None
        texts.append(part["text"])
    return "\n".join(texts).strip() or None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


# Headers of a request


def _skip(head: Head) -> bool:
    name, value = _named(head, _SKIP)
    if not value:
        return False
    skips = _BOOLEANS.get(value.lower())
    if skips is None:
        raise MalformedRequest(f"The header {name} is {value[:64]!r}; it takes true or false.")
    return skips


def _ttl(head: Head) -> int:
    """Return the seconds of the header, or 0 where there is none."""
    name, value = _named(head, _TTL)
    if not value:
        return 0
    seconds = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0
    if not SHORTEST_TTL <= seconds <= LONGEST_TTL:
        raise MalformedRequest(
            f"The header {name} is {value[:64]!r}; it takes whole seconds from {SHORTEST_TTL} to {LONGEST_TTL}."
            " To have nothing kept, send cf-aig-skip-cache: true."
        )
    return seconds


def _key(head: Head) -> str:
    name, value = _named(head, _KEY)
    if len(value) > LONGEST_KEY:
        raise MalformedRequest(f"The header {name} has {len(value)} characters; it takes 1 to {LONGEST_KEY}.")
    return value


def _named(head: Head, names: Sequence[bytes]) -> tuple[str, str]:
    """Return the first header of these names that says anything, and what it says."""
    for name in names:
        value = (head.header(name) or "").strip()
        if value:
            return name.decode(), value
    return names[0].decode(), ""


# Bodies


class _State(msgspec.Struct):
    background: Any = None
    previous_response_id: Any = None
    conversation: Any = None
    container: Any = None


class _Answer(msgspec.Struct):
    error: Any = None
    status: Any = None


_state: Final = msgspec.json.Decoder(_State)
_answer: Final = msgspec.json.Decoder(_Answer | list[msgspec.Raw])


def _depends_on_state(body: bytes) -> bool:
    if not any(name.encode() in body for name in _DEPENDS) and b"\\u" not in body:
        return False
    try:
        asked = _state.decode(body)
    except UNREADABLE:
        return False
    return any(getattr(asked, name) for name in _DEPENDS)


def _is_answer(body: bytes) -> bool:
    try:
        answer = _answer.decode(body)
    except UNREADABLE:
        return False
    if isinstance(answer, list):
        return True
    is_unfinished = isinstance(answer.status, str) and answer.status in _UNFINISHED
    return not answer.error and not is_unfinished


def _canonical(body: bytes, content_type: str) -> list[Any]:
    """Return what a body says, so that nothing but what it says tells two of them apart.

    An object becomes its members in the order of their names, a number how it is written. Which of repeated members
    counts is the provider's to say. What is long is told apart by its bytes: to read it would take all others' time.
    """
    kind = _essence(content_type)
    if len(body) <= _LONGEST_READ and (kind in ("", "application/json") or kind.endswith("+json")):
        try:
            return ["json", _encode(_decode(body.decode()))]
        except (ValueError, RecursionError):
            pass
    return ["bytes", content_type, hashlib.sha256(body).hexdigest()]


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {"{": sorted(pairs, key=itemgetter(0))}


def _number(text: str) -> dict[str, str]:
    return {"#": text}


def _no_number(word: str) -> Any:
    raise ValueError(word)


# Made once: `json.loads` and `json.dumps` make theirs anew for each text.
_decode: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_number, parse_float=_number, parse_constant=_no_number
).decode
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(_encode(parts).encode()).hexdigest()


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _header(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str:
    return next((value.decode("latin-1") for found, value in headers if found.lower() == name), "")
