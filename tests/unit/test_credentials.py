"""The rule at the centre, first half: one table of places, one function that reads them, on every transport."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.credentials import (
    PLACEMENTS,
    Caller,
    Candidate,
    Carrier,
    Credentials,
    Placement,
    Rejection,
    Role,
    candidates,
    read,
)
from trunkline.credentials.placements import CREDENTIAL_HEADERS
from trunkline.errors import MalformedRequest, Unauthorized
from trunkline.wire.head import Head, Transport

TOKEN = "gateway-token-of-many-characters"
KEY = "sk-provider-key"
US = Caller("gateway_token", "gateway token")
QUERY_NAMES = frozenset(place.name for place in PLACEMENTS if place.carrier is Carrier.QUERY)
ON_SOCKETS = (Carrier.SUBPROTOCOL, Carrier.NEXT_SUBPROTOCOL)

every_transport = pytest.mark.parametrize("transport", list(Transport))
every_placement = pytest.mark.parametrize("placement", PLACEMENTS, ids=str)


REVOKED = "gateway-key-that-was-revoked"
COLLEAGUE = Caller("gateway_key", "a colleague", id="key_2")


def recognise(value: str) -> Caller | None:
    return {
        TOKEN: US,
        "key-of-a-colleague": COLLEAGUE,
        REVOKED: Caller("gateway_key", "old", refusal="was revoked"),
    }.get(value)


def head(
    *headers: tuple[str, str],
    transport: Transport = Transport.HTTP,
    query: str = "",
    subprotocols: Sequence[str] = (),
) -> Head:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Head(transport, "GET", "/v1/local/default/openai/realtime", query, raw, subprotocols)


def head_with(placement: Placement, value: str, transport: Transport = Transport.WEBSOCKET) -> Head:
    """A head that carries one credential, in one place."""
    match placement.carrier:
        case Carrier.HEADER:
            return head((placement.name, value), transport=transport)
        case Carrier.SUBPROTOCOL:
            return head(transport=transport, subprotocols=["realtime", placement.name + value])
        case Carrier.NEXT_SUBPROTOCOL:
            return head(transport=transport, subprotocols=["realtime", placement.name, value])
        case Carrier.QUERY:
            return head(transport=transport, query=f"model=m&{placement.name}={value}")


def found(asked: Head, query_names: frozenset[str] = frozenset()) -> list[tuple[str, str, str]]:
    return [(str(one.placement), one.scheme, one.value) for one in candidates(asked, query_names)]


def judged(asked: Head, *, authenticated: bool = False, known: Caller | None = None) -> Credentials | Rejection:
    outcome = read(asked, recognise, query_names=QUERY_NAMES, known=known)
    if isinstance(outcome, Credentials) and authenticated and outcome.caller is None:
        return outcome.unauthenticated()
    return outcome


def accepted(asked: Head, *, authenticated: bool = False, known: Caller | None = None) -> Credentials:
    outcome = judged(asked, authenticated=authenticated, known=known)
    assert isinstance(outcome, Credentials)
    return outcome


def refused(asked: Head) -> Unauthorized:
    outcome = judged(asked, authenticated=True)
    assert isinstance(outcome, Unauthorized)
    return outcome


def keys(outcome: Credentials) -> list[str]:
    return [candidate.value for candidate in outcome.provider_keys]


# Clause 1: the places and their order


def test_the_gateways_own_places_are_read_before_the_providers() -> None:
    roles = [placement.role for placement in PLACEMENTS]
    assert roles == sorted(roles, key=[Role.GATEWAY, Role.PROVIDER].index)


def test_all_places_are_read_in_the_order_of_the_table() -> None:
    asked = head(
        *((place.name, f"value-{place.name}") for place in reversed(PLACEMENTS) if place.carrier is Carrier.HEADER),
        transport=Transport.WEBSOCKET,
        query="&".join(f"{place.name}=value" for place in reversed(PLACEMENTS) if place.carrier is Carrier.QUERY),
        subprotocols=[
            *(place.name + "value" for place in reversed(PLACEMENTS) if place.carrier is Carrier.SUBPROTOCOL),
            *(
                name
                for place in reversed(PLACEMENTS)
                if place.carrier is Carrier.NEXT_SUBPROTOCOL
                for name in (place.name, "value")
            ),
        ],
    )
    assert [candidate.placement for candidate in candidates(asked, QUERY_NAMES)] == list(PLACEMENTS)


def test_the_order_of_the_design_is_the_order_of_the_table() -> None:
    assert [(place.carrier.value, place.name) for place in PLACEMENTS if place.name != "xai-client-secret."] == [
        ("header", "cf-aig-authorization"),
        ("subprotocol", "cf-aig-authorization."),
        ("header", "authorization"),
        ("header", "x-api-key"),
        ("header", "api-key"),
        ("header", "x-goog-api-key"),
        ("header", "xi-api-key"),
        ("subprotocol", "openai-insecure-api-key."),
        ("subprotocol", "xi-api-key."),
        ("subprotocol", "fal-api-key."),
        ("next subprotocol", "token"),
        ("next subprotocol", "bearer"),
        ("query", "api_key"),
        ("query", "key"),
        ("query", "access_token"),
        ("query", "conversation_signature"),
        ("query", "single_use_token"),
        ("query", "token"),
        ("query", "fal_jwt_token"),
    ]


def test_every_header_of_the_table_counts_as_a_credential() -> None:
    headers = {place.name.encode() for place in PLACEMENTS if place.carrier is Carrier.HEADER}
    assert headers == CREDENTIAL_HEADERS


@every_placement
def test_every_place_is_read_from_a_websocket(placement: Placement) -> None:
    assert [(one.placement, one.value) for one in candidates(head_with(placement, KEY), QUERY_NAMES)] == [
        (placement, KEY)
    ]


@pytest.mark.parametrize("placement", [place for place in PLACEMENTS if place.carrier not in ON_SOCKETS])
def test_headers_and_queries_are_read_alike_on_every_transport(placement: Placement) -> None:
    over_http = found(head_with(placement, KEY, Transport.HTTP), QUERY_NAMES)
    over_websocket = found(head_with(placement, KEY, Transport.WEBSOCKET), QUERY_NAMES)
    assert over_http == over_websocket != []


def test_a_query_key_is_read_only_where_the_providers_own_api_has_one() -> None:
    asked = head(query=f"key={KEY}&api_key=other")
    assert found(asked) == []
    assert found(asked, frozenset({"key"})) == [("query parameter key", "", KEY)]


def test_a_query_key_is_decoded() -> None:
    assert found(head(query="key=a%2Fb"), QUERY_NAMES) == [("query parameter key", "", "a/b")]


@every_transport
@pytest.mark.parametrize("written", [f"Bearer {TOKEN}", TOKEN, f"bearer {TOKEN}", f"  BEARER   {TOKEN}  "])
def test_the_gateway_token_is_understood_with_and_without_bearer(transport: Transport, written: str) -> None:
    assert accepted(head(("cf-aig-authorization", written), transport=transport), authenticated=True).caller == US


@pytest.mark.parametrize(
    ("written", "scheme", "value"),
    [
        ("Bearer abc", "Bearer", "abc"),
        ("bearer abc", "bearer", "abc"),
        ("Token abc", "Token", "abc"),
        ("Key id:secret", "Key", "id:secret"),
        ("Basic dXNlcjpwYXNz", "Basic", "dXNlcjpwYXNz"),
        ("abc", "", "abc"),
        ("AWS4-HMAC-SHA256 Credential=A, Signature=B", "AWS4-HMAC-SHA256", "Credential=A, Signature=B"),
    ],
)
def test_authorization_is_read_with_any_scheme(written: str, scheme: str, value: str) -> None:
    assert found(head(("authorization", written))) == [("header authorization", scheme, value)]


def test_a_sub_protocol_keeps_the_letter_case_of_its_secret() -> None:
    asked = head(transport=Transport.WEBSOCKET, subprotocols=["OpenAI-Insecure-API-Key.sK-AbC"])
    assert [candidate.value for candidate in candidates(asked)] == ["sK-AbC"]


def test_other_sub_protocols_are_no_credentials() -> None:
    offered = ["realtime", "openai-beta.realtime-v1", "openai-organization.org-1", "openai-agents-sdk.0.20.0"]
    assert found(head(transport=Transport.WEBSOCKET, subprotocols=offered)) == []


def test_a_header_sent_twice_gives_both_values() -> None:
    assert keys(accepted(head(("authorization", "Bearer one"), ("authorization", "Bearer two")))) == ["one", "two"]


# Clause 1: what counts as absent


@every_placement
@pytest.mark.parametrize("blank", ["", "undefined", "null", "Undefined", "NULL"])
def test_a_blank_in_any_place_is_no_credential(placement: Placement, blank: str) -> None:
    assert found(head_with(placement, blank), QUERY_NAMES) == []


@pytest.mark.parametrize("written", ["Bearer ", "Bearer", "bearer:", "Token", "Key ", "   "])
def test_trap_an_empty_key_is_no_key(written: str) -> None:
    assert found(head(("authorization", written))) == []


@pytest.mark.parametrize("written", ["Bearer undefined", "Bearer null", "Bearer  undefined "])
def test_trap_bearer_undefined_is_no_key(written: str) -> None:
    assert found(head(("authorization", written))) == []


@pytest.mark.parametrize("written", ["CF_TEMP_TOKEN", "Bearer CF_TEMP_TOKEN"])
def test_trap_the_dummy_token_of_cloudflares_sdk_is_no_key(written: str) -> None:
    assert found(head(("authorization", written))) == []


def test_trap_a_header_written_with_a_colon_after_bearer_is_understood() -> None:
    assert accepted(head(("cf-aig-authorization", f"Bearer: {TOKEN}")), authenticated=True).caller == US
    assert found(head(("authorization", "Bearer: abc"))) == [("header authorization", "Bearer", "abc")]


@pytest.mark.parametrize("word", ["unused", "sk-placeholder", "dummy", "x"])
def test_trap_words_that_look_like_placeholders_are_keys(word: str) -> None:
    """Guessing from a list of words is what loses real keys: only our own keys are told apart."""
    assert keys(accepted(head(("authorization", f"Bearer {word}")))) == [word]


# Clause 2: our own key authenticates from anywhere, and is consumed


@every_placement
def test_the_gateway_token_authenticates_from_every_place_and_is_consumed(placement: Placement) -> None:
    outcome = accepted(head_with(placement, TOKEN), authenticated=True)
    assert outcome.caller == US
    assert outcome.provider_keys == ()


@every_placement
def test_on_an_open_gateway_the_token_is_consumed_all_the_same(placement: Placement) -> None:
    assert accepted(head_with(placement, TOKEN)) == Credentials(US, ())


def test_trap_a_token_sent_in_two_places_is_taken_from_both() -> None:
    asked = head(("cf-aig-authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}"))
    assert accepted(asked, authenticated=True) == Credentials(US, ())


def test_trap_a_token_in_the_providers_place_leaves_room_for_the_stored_key() -> None:
    assert keys(accepted(head(("authorization", f"Bearer {TOKEN}")), authenticated=True)) == []


@pytest.mark.parametrize(
    "asked",
    [
        head(("cf-aig-authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {KEY}")),
        head(("cf-aig-authorization", TOKEN), ("x-api-key", KEY)),
        head(("authorization", f"Bearer {TOKEN}"), ("x-api-key", KEY)),
        head(("authorization", f"Bearer {KEY}"), ("x-api-key", TOKEN)),
        head(("authorization", f"Key {TOKEN}"), ("x-api-key", KEY)),
        head(("cf-aig-authorization", TOKEN), query=f"api_key={KEY}", transport=Transport.WEBSOCKET),
        head(
            transport=Transport.WEBSOCKET,
            subprotocols=["realtime", f"openai-insecure-api-key.{KEY}", f"cf-aig-authorization.{TOKEN}"],
        ),
        head(transport=Transport.WEBSOCKET, subprotocols=[f"xi-api-key.{KEY}", f"cf-aig-authorization.{TOKEN}"]),
        head(transport=Transport.WEBSOCKET, subprotocols=[f"fal-api-key.{KEY}", f"cf-aig-authorization.{TOKEN}"]),
        head(
            ("authorization", f"Bearer {KEY}"),
            transport=Transport.WEBSOCKET,
            subprotocols=["realtime", f"openai-insecure-api-key.{TOKEN}"],
        ),
    ],
    ids=[
        "most samples",
        "raw token, Anthropic key",
        "Anthropic SDK with the token as bearer",
        "Claude Code with the token as x-api-key",
        "the fal page",
        "the Cartesia page",
        "the proof of concept",
        "the ElevenLabs page",
        "the fal realtime page",
        "a voice framework with both",
    ],
)
def test_the_samples_that_send_token_and_key_are_told_apart(asked: Head) -> None:
    outcome = accepted(asked, authenticated=True)
    assert outcome.caller == US
    assert keys(outcome) == [KEY]


# Clause 3: what is left is the caller's own key


@pytest.mark.parametrize("placement", [place for place in PLACEMENTS if place.role is Role.PROVIDER], ids=str)
def test_another_value_in_a_providers_place_is_the_callers_own_key(placement: Placement) -> None:
    outcome = accepted(head_with(placement, KEY))
    assert outcome.caller is None
    assert [(candidate.placement, candidate.value) for candidate in outcome.provider_keys] == [(placement, KEY)]


@pytest.mark.parametrize("placement", [place for place in PLACEMENTS if place.role is Role.GATEWAY], ids=str)
def test_another_value_in_the_gateways_place_is_nobodys_key(placement: Placement) -> None:
    assert accepted(head_with(placement, KEY)) == Credentials(None, ())


# Authentication


@every_placement
def test_an_authenticated_gateway_refuses_another_value_in_every_place_by_its_name(placement: Placement) -> None:
    refusal = refused(head_with(placement, KEY))
    assert str(placement) in refusal.message
    assert (refusal.status, refusal.code, refusal.close_code) == (401, 2009, 3000)


@every_placement
def test_a_refusal_never_holds_the_value(placement: Placement) -> None:
    assert KEY not in refused(head_with(placement, KEY)).message


@every_transport
def test_an_authenticated_gateway_refuses_who_sends_nothing(transport: Transport) -> None:
    message = refused(head(transport=transport)).message
    assert "no credential was sent" in message
    assert "cf-aig-authorization" in message


def test_trap_a_refusal_says_that_the_gateway_refused() -> None:
    for asked in (head(), head(("authorization", f"Bearer {KEY}"))):
        assert refused(asked).message.startswith("The gateway refused")


def test_a_refusal_names_each_place_once() -> None:
    asked = head(("authorization", "Bearer one"), ("authorization", "Bearer two"), ("x-api-key", "three"))
    assert refused(asked).message.count("header authorization") == 1


def test_a_caller_known_otherwise_needs_no_token() -> None:
    known = Caller("console_session", "console")
    assert accepted(head(("authorization", f"Bearer {KEY}")), authenticated=True, known=known).caller == known


def test_a_token_on_the_request_says_more_than_the_cookie() -> None:
    known = Caller("console_session", "console")
    assert accepted(head(("authorization", f"Bearer {TOKEN}")), known=known).caller == US


def test_an_open_gateway_serves_a_caller_it_does_not_know() -> None:
    assert accepted(head()) == Credentials(None, ())


# Keys of ours that count no more


@every_placement
def test_a_revoked_key_refuses_the_request_on_an_open_gateway_too(placement: Placement) -> None:
    outcome = judged(head_with(placement, REVOKED))
    assert isinstance(outcome, Unauthorized)
    assert "was revoked" in outcome.message
    assert str(placement) in outcome.message
    assert REVOKED not in outcome.message


def test_a_good_key_counts_beside_a_revoked_one_which_goes_nowhere() -> None:
    for asked in (
        head(("cf-aig-authorization", TOKEN), ("authorization", f"Bearer {REVOKED}")),
        head(("cf-aig-authorization", REVOKED), ("authorization", f"Bearer {TOKEN}")),
    ):
        assert accepted(asked, authenticated=True) == Credentials(US, ())


def test_of_two_good_keys_the_first_place_of_the_table_counts() -> None:
    asked = head(("authorization", f"Bearer {TOKEN}"), ("cf-aig-authorization", "key-of-a-colleague"))
    assert accepted(asked).caller == COLLEAGUE


def test_a_revoked_key_refuses_a_page_of_the_console_too() -> None:
    outcome = judged(head(("authorization", f"Bearer {REVOKED}")), known=US)
    assert isinstance(outcome, Unauthorized)


# Whatever arrives

header_names = st.sampled_from([place.name for place in PLACEMENTS if place.carrier is Carrier.HEADER])
header_values = st.text(st.characters(max_codepoint=0xFF), max_size=30)
protocols = st.builds(
    str.__add__,
    st.sampled_from([place.name for place in PLACEMENTS if place.carrier is Carrier.SUBPROTOCOL] + ["realtime"]),
    header_values,
)
heads = st.builds(
    lambda transport, headers, query, offered: head(*headers, transport=transport, query=query, subprotocols=offered),
    st.sampled_from(list(Transport)),
    st.lists(st.tuples(header_names, header_values), max_size=4),
    st.text(max_size=40),
    st.lists(protocols, max_size=3),
)


@given(heads, st.booleans())
def test_any_head_is_read_or_refused(asked: Head, authenticated: bool) -> None:
    outcome = judged(asked, authenticated=authenticated)
    assert isinstance(outcome, Credentials | Unauthorized | MalformedRequest)
    if isinstance(outcome, Credentials):
        assert TOKEN not in keys(outcome)
        assert all(value and value == value.strip() for value in keys(outcome))


@given(heads)
def test_a_consumed_token_is_never_left_among_the_keys(asked: Head) -> None:
    with_token = Head(
        Transport.WEBSOCKET,
        "GET",
        asked.path,
        f"{asked.query}&api_key={TOKEN}",
        [*asked.headers, (b"authorization", f"Bearer {TOKEN}".encode()), (b"x-api-key", TOKEN.encode())],
        [*asked.subprotocols, f"openai-insecure-api-key.{TOKEN}"],
    )
    outcome = judged(with_token, authenticated=True)
    assert not isinstance(outcome, Unauthorized)
    if isinstance(outcome, Credentials):
        assert outcome.caller == US
        assert TOKEN not in keys(outcome)


@every_placement
@pytest.mark.parametrize("character", ["\x00", "\x7f"])
def test_a_key_that_no_header_could_carry_is_refused_by_its_place(placement: Placement, character: str) -> None:
    for authenticated in (True, False):
        outcome = judged(head_with(placement, f"sk-{character}hidden"), authenticated=authenticated)
        assert isinstance(outcome, MalformedRequest)
        assert str(placement) in outcome.message
        assert "hidden" not in outcome.message


@every_placement
@pytest.mark.parametrize("prefix", [".", "sk-other.", "a.b.c."])
def test_a_gateway_key_behind_a_prefix_is_refused_by_its_place(placement: Placement, prefix: str) -> None:
    outcome = judged(head_with(placement, prefix + TOKEN))
    assert isinstance(outcome, MalformedRequest)
    assert str(placement) in outcome.message
    assert TOKEN not in outcome.message


def test_a_provider_key_may_have_dots() -> None:
    outcome = judged(head(("authorization", "Bearer eyJhbGciOi.eyJzdWIi.c2ln")))
    assert isinstance(outcome, Credentials)
    assert keys(outcome) == ["eyJhbGciOi.eyJzdWIi.c2ln"]


@pytest.mark.parametrize("encoded", ["%0d%0ax-injected:%201", "%00", "%E4%B8%96"])
def test_a_query_key_cannot_bring_more_than_a_value_into_a_header(encoded: str) -> None:
    assert isinstance(judged(head(query=f"key=sk{encoded}x")), MalformedRequest)


def test_the_representation_of_a_candidate_holds_no_secret() -> None:
    (candidate,) = candidates(head(("authorization", f"Bearer {KEY}")))
    assert isinstance(candidate, Candidate)
    assert KEY not in repr(candidate)
