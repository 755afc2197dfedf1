"""Targets: what a request says of itself before anything is decided, and the framings of streams."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import python_multipart
import werkzeug.http
import werkzeug.sansio.multipart
from python_multipart.exceptions import FormParserError
from werkzeug.exceptions import RequestEntityTooLarge

from tests.fuzz.target import NotForThis, Target, cut, latin, object_of, pairs_of, text_at
from trunkline.credentials import PLACEMENTS, Caller, Carrier, Credentials, Role, read, redact_query
from trunkline.credentials.inheritance import inherit, shows_provider_key
from trunkline.credentials.placements import CREDENTIAL_HEADERS
from trunkline.credentials.redaction import (
    REDACTED,
    Redactor,
    keys_in,
    redact,
    redact_key_shapes,
    redact_message,
    secrets_in,
)
from trunkline.errors import GatewayError, MalformedRequest, Unauthorized, UnknownProvider
from trunkline.policy.attempts import AttemptRules, attempt_rules
from trunkline.policy.caching import CacheRules, cache_wish, query_without, variant_of
from trunkline.policy.prices import parse_custom_cost
from trunkline.policy.usage.streams import UsageStripper
from trunkline.providers import Catalogue, resolve_http, resolve_realtime
from trunkline.server.admission import Doorkeeper
from trunkline.server.origins import Origins
from trunkline.server.outgoing import compose
from trunkline.server.registry import LiveRegistry
from trunkline.server.sessions import Sessions
from trunkline.settings import Settings
from trunkline.wire.aws_events import AwsEventParser
from trunkline.wire.encodings import Unpacker, readable_encodings
from trunkline.wire.forms import UnreadableForm, fields
from trunkline.wire.head import (
    HOP_BY_HOP,
    Head,
    Transport,
    chained_headers,
    forwarded_headers,
    is_for_gateway,
    returned_headers,
)
from trunkline.wire.json_stream import JsonArrayParser, LineParser
from trunkline.wire.log_headers import MAX_TAGS, event_id_of, ignored_headers, logging_wish, metadata_of
from trunkline.wire.path import Target as PathTarget
from trunkline.wire.path import is_unified, is_universal, parse_path
from trunkline.wire.public_addresses import broken_rule
from trunkline.wire.sse import SseParser
from trunkline.wire.subprotocols import carries_secret, select, without_credentials, without_secrets
from trunkline.wire.trace import trace_of
from trunkline.wire.universal import (
    Cancel,
    Create,
    Metadata,
    Unreadable,
    answer_frame,
    chunk_frame,
    parse_frame,
    parse_steps,
)

CATALOGUE = Catalogue.build({})
TOKEN = "gateway-token-of-many-characters"
_SETTINGS = Settings(gateway_token=TOKEN, providers={"anthropic": {"api_key": "sk-ant-stored-0123456789"}})
DOORKEEPER = Doorkeeper(
    _SETTINGS,
    Catalogue.build(_SETTINGS.providers),
    Origins(_SETTINGS),
    Sessions("local", "default", secure=False),
    LiveRegistry(_SETTINGS),
    "the-workers-own-key",
)
REVOKED = "tlk_revoked_0123456789abcdefghij"
SECRET = "sk-proj-0123456789abcdefABCDEF0123"
KEYS = [
    *(
        SECRET,
        "tlk_ABCDEFGHJKMNPQRSTVWXYZ0123456789",
        "AIzaSyA0123456789abcdefghijklmnopqrstuv",
        "gsk_0123456789abcdef",
    ),
    *(
        "xai-0123456789abcdefghij",
        "AKIA0123456789ABCDEF",
        "ghp_0123456789abcdefghijABCDEFGHIJ",
        "hf_0123456789abcdefABCDEF",
    ),
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlMDEyMzQ1Njc4OQ",
]


def head_of(data: bytes) -> Head:
    """Read a head from JSON: names and values as a server hands them over, in latin-1 and names in small letters."""
    told = object_of(data)
    headers = [(latin(name.lower()), latin(value)) for name, value in pairs_of(told.get("headers", []))]
    offered = told.get("subprotocols", [])
    if not isinstance(offered, list) or not all(isinstance(one, str) for one in offered):
        raise NotForThis
    return Head(
        Transport.WEBSOCKET if told.get("transport") == "websocket" else Transport.HTTP,
        text_at(told, "method", "POST"),
        text_at(told, "path", "/v1/local/default/openai/chat/completions"),
        text_at(told, "query").encode("latin-1", "replace").decode("latin-1"),
        headers,
        [one.encode("latin-1", "replace").decode("latin-1") for one in offered],
    )


def path(data: bytes) -> None:
    text, _, query = data.decode("latin-1").partition("?")
    assert not (is_universal(text) and is_unified(text))
    found: PathTarget = parse_path(text)
    assert not is_universal(text)
    if found.provider is None:
        assert text == f"/v1/{found.rest}"
        return
    named = "/".join(("/v1", found.account or "", found.gateway or "", found.provider))
    assert text in (f"{named}/{found.rest}", named)
    provider = CATALOGUE.find(found.provider)
    if provider is None:
        return
    resolve_realtime(provider, found.rest, query)
    target = resolve_http(provider, found.rest)
    there = urlsplit(target.url)
    assert there.username is None
    assert there.scheme in ("http", "https")
    assert "/../" not in f"{there.path}/"


def head(data: bytes) -> None:
    given = head_of(data)
    assert [given.header(name) for name, _ in given.headers] == [
        given.header_values(name)[0] for name, _ in given.headers
    ]
    sent = list(forwarded_headers(given.headers))
    _assert_part_of(sent, given.headers)
    assert not any(name in HOP_BY_HOP or is_for_gateway(name) for name, _ in sent)
    assert list(forwarded_headers(sent)) == sent
    for key_is_there in (True, False):
        _assert_part_of(list(chained_headers(given.headers, key_is_there=key_is_there)), given.headers)
    returned = list(returned_headers(given.headers))
    assert list(returned_headers(returned)) == returned
    assert all(
        given.query_value(name) == given.query_values(name)[0] for name in ("a", "key") if given.query_values(name)
    )
    chosen = select(given.subprotocols)
    assert (chosen is None) == (not given.subprotocols)
    assert chosen is None or chosen in given.subprotocols
    assert len(without_secrets(given.subprotocols)) == len(given.subprotocols)
    left = without_credentials(given.subprotocols)
    assert without_credentials(left) == left or len(without_credentials(left)) < len(left)
    variant_of(given, is_known=False)
    encodings = readable_encodings(given.header(b"accept-encoding") or "")
    assert readable_encodings(encodings) == encodings


def gateway_headers(data: bytes) -> None:
    given = head_of(data)
    tags = metadata_of(given)
    assert len(tags) <= MAX_TAGS
    json.dumps(dict(tags), allow_nan=False).encode()
    assert all(isinstance(value, str | int | float | bool) for value in tags.values())
    wish = logging_wish(given)
    assert wish.payloads in (True, False)
    assert event_id_of(given).isascii()
    assert all(given.header(name.encode()) is not None for name in ignored_headers(given))
    trace = trace_of(given)
    assert len(trace.trace_id) in (0, 32)
    assert len(trace.parent_span_id) in (0, 16)
    cost = parse_custom_cost(given.header(b"cf-aig-custom-cost") or "")
    assert cost is None or not cost.is_empty
    for name in ("cf-aig-cache-ttl", "x"):
        query_without(given.query, frozenset({name}))
    rules = attempt_rules(given, AttemptRules())
    assert 1 <= rules.max_attempts <= 5
    assert 0 <= rules.delay <= 60_000
    cached = cache_wish(given, CacheRules(ttl=60))
    assert cached is None or cached.ttl > 0


def credentials(data: bytes) -> None:
    given = head_of(data)

    def recognise(value: str) -> Caller | None:
        if value == TOKEN:
            return Caller("gateway_token", "the gateway token")
        return Caller("gateway_key", "a key", refusal="was revoked") if value == REVOKED else None

    names = frozenset({"key", "api_key", "access_token"})
    outcome = read(given, recognise, query_names=names)
    if not isinstance(outcome, Credentials):
        assert isinstance(outcome, Unauthorized | MalformedRequest)
        assert not any(secret in outcome.message for secret in (*KEYS, TOKEN, REVOKED))
        return
    order = [PLACEMENTS.index(key.placement) for key in outcome.provider_keys]
    assert order == sorted(order)
    assert all(key.placement.role is Role.PROVIDER for key in outcome.provider_keys)
    assert all(key.value == key.value.strip() and key.value not in (TOKEN, REVOKED) for key in outcome.provider_keys)
    assert not any(secret in outcome.unauthenticated().message for secret in (*KEYS, TOKEN, REVOKED))
    assert not any(secret in repr(given) for secret in KEYS if secret not in given.path and secret not in given.method)
    assert bool(outcome.provider_keys) == shows_provider_key(given, recognise, names)
    parted = inherit(given, recognise)
    assert not any(name in _PROVIDER_HEADERS for name, _ in parted.common)
    assert all(name in _PROVIDER_HEADERS for name, _ in parted.provider_keys)


_PROVIDER_HEADERS = {
    place.field for place in PLACEMENTS if place.role is Role.PROVIDER and place.carrier is Carrier.HEADER
}


def outgoing(data: bytes) -> None:
    """Whatever a head shows, the gateway's own keys stay here, and at most one provider key goes on, once."""
    given = head_of(data)
    admission = DOORKEEPER.admit(given)
    provider = admission.provider
    slots = provider.credential_slots
    if given.transport is Transport.WEBSOCKET and provider.socket is not None:
        slots = provider.socket.credential_slots
    offered = given.subprotocols if given.transport is Transport.WEBSOCKET else ()
    sent = compose(given, admission, slots, subprotocols=offered)
    shown = [value.decode("latin-1") for _, value in sent.headers]
    shown += [value for _, value in parse_qsl(sent.query)]
    shown += sent.subprotocols
    assert not any(text.split()[-1:] == [is_ours] for text in shown for is_ours in (TOKEN, REVOKED)), shown
    # Where a key is looked for, it is so behind a prefix too.
    looked_at = [value.decode("latin-1") for name, value in sent.headers if name in CREDENTIAL_HEADERS]
    looked_at += sent.subprotocols
    assert not any(text.endswith(f".{is_ours}") for text in looked_at for is_ours in (TOKEN, REVOKED)), looked_at
    in_places = [name for name, _ in sent.headers if name in CREDENTIAL_HEADERS]
    in_places += [name.encode() for name in sent.subprotocols if carries_secret(name)]
    in_places += [name.encode() for name, _ in parse_qsl(sent.query) if name in provider.query_names]
    assert len(in_places) <= 1 + len(provider.headers), in_places
    assert not any(is_for_gateway(name) for name, _ in sent.headers)


def redaction(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for personal in (False, True):
        redactor = Redactor([SECRET, TOKEN], personal=personal)
        clean = redactor.redact(data)
        assert SECRET.encode() not in clean
        assert TOKEN.encode() not in clean
        assert not keys_in(clean.decode("utf-8", "replace"))
        assert not [*secrets_in(clean)]
        assert redactor.redact(clean).count(REDACTED.encode()) <= clean.count(REDACTED.encode()) + len(clean)
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            continue
        _assert_same_shape(document, json.loads(clean))
    assert not keys_in(redact_key_shapes(text))
    assert not keys_in(redact(text))
    assert not keys_in(redact_message(text))
    redact_query(text)


def _assert_same_shape(before: Any, after: Any) -> None:
    assert isinstance(before, dict) == isinstance(after, dict)
    assert isinstance(before, list) == isinstance(after, list)


def sse(data: bytes) -> None:
    whole = SseParser().feed(data)
    parser = SseParser()
    assert [event for piece in cut(data) for event in parser.feed(piece)] == whole
    counted = SseParser().count(data)
    assert counted in (0, len(whole))
    for longest in (0, 8, 200):
        bounded = SseParser(longest)
        found = [event for piece in cut(data) for event in bounded.feed(piece)]
        assert all(len(event.data) <= longest for event in found)
        left = iter(whole)
        assert all(any(event == other for other in left) for event in found)


def stripped_stream(data: bytes) -> None:
    whole = UsageStripper()
    expected = whole.feed(data) + whole.finish()
    pieces = UsageStripper()
    assert b"".join([pieces.feed(piece) for piece in cut(data)]) + pieces.finish() == expected
    _assert_subsequence(expected, data)
    again = UsageStripper()
    assert again.feed(expected) + again.finish() == expected or b"\r" in data


def _assert_subsequence(part: bytes, whole: bytes) -> None:
    left = iter(whole)
    assert all(byte in left for byte in part)


def framings(data: bytes) -> None:
    """Whatever a framing makes of some bytes, it makes of them in pieces."""
    makers: list[tuple[str, Callable[[], Any]]] = [
        ("aws", AwsEventParser),
        ("array", lambda: JsonArrayParser(500)),
        ("lines", lambda: LineParser(500)),
    ]
    for name, make in makers:
        whole, pieces = make(), make()
        expected = whole.feed(data)
        assert [one for piece in cut(data) for one in pieces.feed(piece)] == expected, name
        if name == "lines":
            assert pieces.finish() == whole.finish()
    for encoding in ("gzip", "deflate", "", "br"):
        whole, pieces = Unpacker(encoding, 10_000), Unpacker(encoding, 10_000)
        expected, found = whole.feed(data), b"".join([pieces.feed(piece) for piece in cut(data)])
        assert len(found) <= 10_001 or not encoding
        if whole.is_whole:
            assert found == expected
            assert pieces.is_whole


def universal_steps(data: bytes) -> None:
    for step in parse_steps(data):
        given = step.head("/v1/local/default", [(b"content-length", b"7"), (b"x-mine", b"1")])
        assert given.path.startswith(f"/v1/local/default/{step.provider}/")
        assert given.path.isascii()
        assert given.query.isascii()
        assert not any(character in given.path + given.query for character in " \r\n\x00#")
        assert all(b"\r" not in value and b"\n" not in value and b"\x00" not in value for _, value in given.headers)
        json.loads(step.body)


def universal_frames(data: bytes) -> None:
    said = parse_frame(data)
    assert isinstance(said, Create | Cancel | Unreadable)
    text = data.decode("utf-8", "surrogateescape")
    assert isinstance(parse_frame(text), Create | Cancel | Unreadable)
    metadata = Metadata(event_id="e", log_id="l", content_type="application/json")
    for frame in (answer_frame(metadata, data), chunk_frame("e", data.decode("utf-8", "replace"))):
        json.loads(frame.encode())


def forms(data: bytes) -> None:
    """What is read in a form is what others read in it, to the same byte."""
    line, _, body = data.partition(b"\n")
    kind = line.decode("latin-1")
    found = list(fields(kind, body))
    assert all(content in body for _, content in found)
    for another in (_form_of_werkzeug, _form_of_python_multipart):
        try:
            other = another(kind, body)
        except (ValueError, RequestEntityTooLarge, FormParserError):
            continue
        assert other == found, (another.__name__, other, found)


def _form_of_werkzeug(kind: str, body: bytes) -> list[tuple[str, bytes]]:
    _, options = werkzeug.http.parse_options_header(kind)
    decoder = werkzeug.sansio.multipart.MultipartDecoder(options.get("boundary", "").encode("latin-1"))
    decoder.receive_data(body)
    decoder.receive_data(None)
    found: list[tuple[str, bytes]] = []
    while not isinstance(event := decoder.next_event(), werkzeug.sansio.multipart.Epilogue):
        if isinstance(event, werkzeug.sansio.multipart.NeedData):
            raise ValueError("It has no end.")
        if isinstance(event, werkzeug.sansio.multipart.Field | werkzeug.sansio.multipart.File):
            found.append((event.name, b""))
        elif isinstance(event, werkzeug.sansio.multipart.Data):
            found[-1] = (found[-1][0], found[-1][1] + event.data)
    return found


def _form_of_python_multipart(kind: str, body: bytes) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []

    def on_field(field: Any) -> None:
        found.append(((field.field_name or b"").decode("utf-8", "replace"), field.value or b""))

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        found.append(((file.field_name or b"").decode("utf-8", "replace"), file.file_object.read()))

    parser = python_multipart.create_form_parser({"Content-Type": kind.encode("latin-1")}, on_field, on_file)
    parser.write(body)
    parser.finalize()
    return found


def addresses(data: bytes) -> None:
    broken_rule(data.decode("latin-1"))


def _assert_part_of(part: list[tuple[bytes, bytes]], whole: Any) -> None:
    left = iter(whole)
    assert all(pair in left for pair in part)


def compressed(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


TARGETS = [
    Target(
        "path",
        path,
        ["trunkline.wire.path", "trunkline.providers.resolution"],
        (
            MalformedRequest,
            UnknownProvider,
        ),
        is_json=False,
    ),
    Target("head", head, ["trunkline.wire.head", "trunkline.wire.subprotocols"]),
    Target(
        "gateway_headers",
        gateway_headers,
        [
            "trunkline.policy.attempts",
            "trunkline.policy.caching",
            "trunkline.policy.prices",
            "trunkline.wire.log_headers",
        ],
        (MalformedRequest,),
    ),
    Target("credentials", credentials, ["trunkline.credentials.placements", "trunkline.wire.subprotocols"]),
    Target(
        "outgoing",
        outgoing,
        ["trunkline.credentials.placements", "trunkline.wire.subprotocols", "trunkline.server.outgoing"],
        (GatewayError,),
    ),
    Target("redaction", redaction, ["trunkline.credentials.redaction", "trunkline.credentials.personal_data"]),
    Target("sse", sse, ["trunkline.wire.sse"], is_json=False),
    Target("stripped_stream", stripped_stream, ["trunkline.policy.usage.streams"], is_json=False),
    Target("framings", framings, [], is_json=False),
    Target("universal_steps", universal_steps, ["trunkline.wire.universal"], (MalformedRequest,)),
    Target("universal_frames", universal_frames, ["trunkline.wire.universal"]),
    Target("forms", forms, ["trunkline.wire.forms"], (UnreadableForm,), is_json=False),
    Target("addresses", addresses, [], (ValueError,), is_json=False),
]
