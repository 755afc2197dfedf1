"""The rule at the centre, last clause: exactly one credential leaves, in the place the provider wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.credentials import PLACEMENTS, Carrier, Placement, Role
from trunkline.errors import GatewayError
from trunkline.providers import Catalogue, Provider, Slot
from trunkline.server.admission import Admission, Doorkeeper
from trunkline.server.origins import Origins
from trunkline.server.outgoing import OutgoingHead, compose
from trunkline.server.registry import LiveRegistry
from trunkline.server.sessions import Sessions
from trunkline.settings import Settings
from trunkline.wire.head import Head, Transport

TOKEN = "gateway-token-of-many-characters"
KEY = "sk-own-key-of-the-caller"
STORED = "sk-stored-key"

PROVIDERS = [provider for provider in Catalogue.build({}).all() if provider.slug != "local"]
every_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)
every_transport = pytest.mark.parametrize("transport", list(Transport))


def applies(provider: Provider, transport: Transport, placement: Placement) -> bool:
    """Whether a place exists on a transport, and for a query parameter: in the provider's own API."""
    match placement.carrier:
        case Carrier.HEADER:
            return True
        case Carrier.SUBPROTOCOL | Carrier.NEXT_SUBPROTOCOL:
            return transport is Transport.WEBSOCKET
        case Carrier.QUERY:
            return placement.name in provider.query_names


def every_cell(*roles: Role) -> pytest.MarkDecorator:
    """The matrix provider x transport x placement, of places with these roles."""
    cells = [
        pytest.param(provider, transport, placement, id=f"{provider.slug}, {transport.value}, {placement}")
        for provider in PROVIDERS
        for transport in Transport
        for placement in PLACEMENTS
        if placement.role in roles and applies(provider, transport, placement)
    ]
    return pytest.mark.parametrize(("provider", "transport", "placement"), cells)


def doorkeeper(providers: Mapping[str, Mapping[str, Any]]) -> Doorkeeper:
    settings = Settings(providers=providers, gateway_token=TOKEN)
    sessions = Sessions("local", "default", secure=False)
    registry = LiveRegistry(settings)
    return Doorkeeper(
        settings, Catalogue.build(providers), Origins(settings), sessions, registry, "the-workers-own-key"
    )


def slots_of(provider: Provider, transport: Transport) -> Sequence[Slot]:
    if transport is Transport.WEBSOCKET and provider.socket is not None:
        return provider.socket.credential_slots
    return provider.credential_slots


def sent(
    slug: str,
    *headers: tuple[str, str],
    transport: Transport = Transport.HTTP,
    query: str = "",
    subprotocols: Sequence[str] = (),
    stored: bool = False,
    providers: Mapping[str, Mapping[str, Any]] | None = None,
) -> OutgoingHead:
    """Admit a request that shows the gateway token, and compose what the provider gets."""
    tables = dict(providers or ({slug: {"api_key": STORED}} if stored else {}))
    token = ("cf-aig-authorization", f"Bearer {TOKEN}")
    raw = [(name.encode(), value.encode()) for name, value in (("host", "127.0.0.1:8787"), token, *headers)]
    head = Head(transport, "POST", f"/v1/local/default/{slug}/x", query, raw, subprotocols)
    admission: Admission = doorkeeper(tables).admit(head)
    return compose(head, admission, slots_of(admission.provider, transport), subprotocols=subprotocols)


def sent_from(
    provider: Provider, transport: Transport, placement: Placement, value: str, *, stored: bool = False
) -> OutgoingHead:
    """As `sent`, with a credential in one place."""
    match placement.carrier:
        case Carrier.HEADER:
            return sent(provider.slug, (placement.name, f"Bearer {value}"), transport=transport, stored=stored)
        case Carrier.SUBPROTOCOL:
            offered = ["realtime", placement.name + value]
            return sent(provider.slug, transport=transport, subprotocols=offered, stored=stored)
        case Carrier.NEXT_SUBPROTOCOL:
            offered = ["realtime", placement.name, value]
            return sent(provider.slug, transport=transport, subprotocols=offered, stored=stored)
        case Carrier.QUERY:
            query = f"a=1&{placement.name}={value}&b=2"
            return sent(provider.slug, transport=transport, query=query, stored=stored)


def carrying(outgoing: OutgoingHead, *secrets: str) -> list[str]:
    """Return where secrets are found in an outgoing head, one entry for each occurrence."""
    found = [f"header {name.decode()}" for name, value in outgoing.headers if has(value.decode("latin-1"), secrets)]
    found += [f"sub-protocol {name}" for name in outgoing.subprotocols if has(name, secrets)]
    return found + [f"query {pair.partition('=')[0]}" for pair in outgoing.query.split("&") if has(pair, secrets)]


def has(text: str, secrets: Sequence[str]) -> bool:
    return any(secret in text for secret in secrets)


def written(slot: Slot, key: str) -> tuple[str, str]:
    """Return a slot and value as they are found in an outgoing head."""
    value = f"{slot.scheme} {key}" if slot.scheme else key
    return slot.name, value


def in_headers(outgoing: OutgoingHead) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in outgoing.headers]


@every_transport
@every_provider
def test_a_stored_key_is_written_into_the_providers_first_place(provider: Provider, transport: Transport) -> None:
    outgoing = sent(provider.slug, transport=transport, stored=True)
    first = slots_of(provider, transport)[0]
    assert first.kind == "header"
    assert written(first, STORED) in in_headers(outgoing)
    assert len(carrying(outgoing, STORED)) == 1


@every_cell(Role.PROVIDER)
def test_the_callers_key_leaves_once_in_a_place_of_the_provider_wherever_it_was(
    provider: Provider, transport: Transport, placement: Placement
) -> None:
    outgoing = sent_from(provider, transport, placement, KEY)
    places = {
        "header": {f"header {slot.name}" for slot in slots_of(provider, transport)},
        "subprotocol": {f"sub-protocol {slot.name}{KEY}" for slot in slots_of(provider, transport)},
        "query": {f"query {slot.name}" for slot in slots_of(provider, transport)},
    }
    (place,) = carrying(outgoing, KEY)
    assert place in set().union(*places.values())


@every_transport
@every_provider
def test_of_credentials_in_every_place_at_once_exactly_one_leaves(provider: Provider, transport: Transport) -> None:
    headers = [
        (place.name, f"Bearer {KEY}")
        for place in PLACEMENTS
        if place.carrier is Carrier.HEADER and place.role is Role.PROVIDER
    ]
    offered = [place.name + KEY for place in PLACEMENTS if place.carrier is Carrier.SUBPROTOCOL]
    offered += ["token", KEY, "bearer", KEY]
    query = "&".join(f"{name}={KEY}" for name in provider.query_names)
    outgoing = sent(
        provider.slug,
        *headers,
        transport=transport,
        query=query,
        subprotocols=["realtime", *offered] if transport is Transport.WEBSOCKET else [],
        stored=True,
    )
    assert len(carrying(outgoing, KEY, STORED)) == 1
    assert carrying(outgoing, TOKEN) == []


@every_cell(Role.GATEWAY)
def test_another_value_in_the_gateways_place_leaves_nowhere(
    provider: Provider, transport: Transport, placement: Placement
) -> None:
    outgoing = sent_from(provider, transport, placement, KEY, stored=True)
    assert carrying(outgoing, KEY) == []
    assert len(carrying(outgoing, STORED)) == 1


@every_cell(*Role)
def test_trap_the_gateway_token_never_leaves_from_any_place(
    provider: Provider, transport: Transport, placement: Placement
) -> None:
    outgoing = sent_from(provider, transport, placement, TOKEN, stored=True)
    assert carrying(outgoing, TOKEN) == []
    assert len(carrying(outgoing, STORED)) == 1


def test_trap_openai_gets_one_credential_of_a_handshake_that_carried_two() -> None:
    outgoing = sent(
        "openai",
        ("authorization", f"Bearer {KEY}"),
        transport=Transport.WEBSOCKET,
        subprotocols=["realtime", f"openai-insecure-api-key.{KEY}"],
    )
    assert carrying(outgoing, KEY) == ["header authorization"]
    assert outgoing.subprotocols == ["realtime"]


def test_a_browsers_key_stays_in_its_sub_protocol_where_the_provider_has_that_place() -> None:
    for slug, prefix in (("openai", "openai-insecure-api-key."), ("elevenlabs", "xi-api-key.")):
        outgoing = sent(slug, transport=Transport.WEBSOCKET, subprotocols=["realtime", prefix + KEY])
        assert outgoing.subprotocols == ["realtime", prefix + KEY]
        assert carrying(outgoing, KEY) == [f"sub-protocol {prefix}{KEY}"]


def test_a_browsers_key_becomes_a_header_where_the_provider_has_no_such_place() -> None:
    outgoing = sent("fal", transport=Transport.WEBSOCKET, subprotocols=[f"fal-api-key.{KEY}"])
    assert ("authorization", f"Key {KEY}") in in_headers(outgoing)
    assert outgoing.subprotocols == []


def test_a_query_key_becomes_the_header_the_provider_prefers() -> None:
    outgoing = sent("google", transport=Transport.WEBSOCKET, query=f"api_key={KEY}&alt=sse")
    assert ("x-goog-api-key", KEY) in in_headers(outgoing)
    assert outgoing.query == "alt=sse"


@pytest.mark.parametrize(
    ("slug", "header", "value"),
    [
        ("openai", "authorization", f"Bearer {STORED}"),
        ("anthropic", "x-api-key", STORED),
        ("azure-openai", "api-key", STORED),
        ("google-ai-studio", "x-goog-api-key", STORED),
        ("cohere", "authorization", f"Token {STORED}"),
        ("deepgram", "authorization", f"Token {STORED}"),
        ("fal", "authorization", f"Key {STORED}"),
        ("ideogram", "api-key", STORED),
        ("cartesia", "x-api-key", STORED),
        ("elevenlabs", "xi-api-key", STORED),
        ("parallel", "x-api-key", STORED),
        ("workers-ai", "authorization", f"Bearer {STORED}"),
    ],
)
def test_each_provider_gets_its_stored_key_as_its_own_documentation_asks(slug: str, header: str, value: str) -> None:
    assert (header, value) in in_headers(sent(slug, stored=True))


def test_the_callers_scheme_is_kept_in_a_place_of_the_provider() -> None:
    signature = "Credential=AKIA/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=abc"
    outgoing = sent("aws-bedrock", ("authorization", f"AWS4-HMAC-SHA256 {signature}"))
    assert ("authorization", f"AWS4-HMAC-SHA256 {signature}") in in_headers(outgoing)


@pytest.mark.parametrize("written", [f"Token {KEY}", KEY, f"bearer {KEY}", f"Basic {KEY}"])
def test_a_custom_provider_gets_what_the_client_wrote(written: str) -> None:
    providers = {"custom-lab": {"base_url": "http://127.0.0.1:9"}}
    assert in_headers(sent("custom-lab", ("authorization", written), providers=providers)) == [
        ("authorization", written)
    ]


def test_a_key_without_its_scheme_gets_the_providers() -> None:
    assert ("authorization", f"Bearer {KEY}") in in_headers(sent("openai", ("authorization", KEY)))


def test_a_scheme_the_provider_does_not_know_is_replaced() -> None:
    assert ("authorization", f"Bearer {KEY}") in in_headers(sent("openai", ("authorization", f"Token {KEY}")))


def test_gateway_headers_and_browser_headers_stay_here() -> None:
    ours = [
        ("cf-aig-metadata", "{}"),
        ("cf-aig-byok-alias", "default"),
        ("cookie", "trunkline_session=abc"),
        ("origin", "http://127.0.0.1:8787"),
        ("sec-fetch-site", "same-origin"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-trunkline-console", "1"),
    ]
    names = {name for name, _ in in_headers(sent("openai", *ours, ("openai-organization", "org-1"), stored=True))}
    assert names == {"openai-organization", "authorization"}


def test_headers_of_the_provider_replace_those_of_the_client() -> None:
    providers = {"openai": {"api_key": STORED, "headers": {"OpenAI-Project": "ours"}}}
    outgoing = sent("openai", ("openai-project", "theirs"), providers=providers)
    assert [value for name, value in in_headers(outgoing) if name == "openai-project"] == ["ours"]


def test_the_rest_of_the_query_is_left_byte_for_byte() -> None:
    outgoing = sent("google", query=f"a=%20+%2f&key={KEY}&b&c=&k%65y={KEY}")
    assert outgoing.query == "a=%20+%2f&b&c="


def test_a_provider_without_query_keys_keeps_a_parameter_of_that_name() -> None:
    assert sent("openai", query="key=sorted-by", stored=True).query == "key=sorted-by"


def test_a_key_can_be_written_into_the_query_where_that_is_a_providers_place() -> None:
    providers = {
        "custom-old": {
            "base_url": "https://old.example",
            "api_key": "a key/&",
            "query_keys": ["key"],
            "credential_slots": [{"kind": "query", "name": "key"}],
        }
    }
    assert sent("custom-old", query="a=1&key=theirs&b=2", providers=providers).query.startswith("a=1&b=2&key=")
    assert sent("custom-old", providers=providers).query == "key=a%20key%2F%26"


def test_a_provider_without_a_key_gets_none() -> None:
    providers = {"custom-lab": {"base_url": "http://127.0.0.1:9"}}
    outgoing = sent("custom-lab", ("accept", "*/*"), providers=providers)
    assert in_headers(outgoing) == [("accept", "*/*")]


def test_sub_protocols_are_offered_in_order_and_without_those_that_carry_secrets() -> None:
    offered = ["realtime", f"cf-aig-authorization.{TOKEN}", "openai-agents-sdk.0.20.0", "xi-api-key.other"]
    outgoing = sent("openai", transport=Transport.WEBSOCKET, subprotocols=offered, stored=True)
    assert outgoing.subprotocols == ["realtime", "openai-agents-sdk.0.20.0"]


def test_a_gateway_key_with_its_scheme_in_one_sub_protocol_stays_here() -> None:
    offered = ["realtime", f"Bearer {TOKEN}", f"Token:{TOKEN}"]
    assert sent("openai", transport=Transport.WEBSOCKET, subprotocols=offered, stored=True).subprotocols == ["realtime"]


@pytest.mark.parametrize("offered", [f".{TOKEN}", f"some-key.{TOKEN}", f"a.b.{TOKEN}"])
def test_a_gateway_key_behind_a_prefix_that_nobody_knows_stays_here(offered: str) -> None:
    shown = ["realtime", f"cf-aig-authorization.{TOKEN}", offered, "v1.2.json"]
    outgoing = sent("openai", transport=Transport.WEBSOCKET, subprotocols=shown, stored=True)
    assert outgoing.subprotocols == ["realtime", "v1.2.json"]


words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
places = st.sampled_from([place for place in PLACEMENTS if place.carrier is not Carrier.QUERY])


@given(
    st.sampled_from(PROVIDERS),
    st.sampled_from(list(Transport)),
    st.lists(st.tuples(places, st.sampled_from(["", "Bearer ", "Token "]), words), max_size=6),
)
def test_however_credentials_are_strewn_at_most_one_leaves(
    provider: Provider, transport: Transport, strewn: list[tuple[Any, str, str]]
) -> None:
    def marked(word: str) -> str:
        return f"MARK-{word}"

    headers = [(place.name, scheme + marked(word)) for place, scheme, word in strewn if place.carrier is Carrier.HEADER]
    offered = [place.name + marked(word) for place, _, word in strewn if place.carrier is Carrier.SUBPROTOCOL]
    offered += [
        name
        for place, _, word in strewn
        if place.carrier is Carrier.NEXT_SUBPROTOCOL
        for name in (place.name, marked(word))
    ]
    try:
        outgoing = sent(
            provider.slug,
            *headers,
            transport=transport,
            subprotocols=offered if transport is Transport.WEBSOCKET else [],
        )
    except GatewayError:
        return
    assert len(carrying(outgoing, "MARK-")) == 1
    assert carrying(outgoing, TOKEN) == []
