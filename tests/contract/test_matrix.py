"""The matrix on real servers: whatever is shown, wherever, on every transport, the right key reaches the provider.

Each cell of `trunkline.credentials.matrix` is a test. Traps that are no cell follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from websockets.exceptions import InvalidStatus

from tests.contract.matrix_stage import ALIAS, STORED_FIRST, TRACES, Stage, in_background, stage, stored_key
from tests.contract.presenting import Answer, Client, create, request
from tests.contract.strict_upstream import REFUSED, is_written
from trunkline.credentials import Carrier, Role
from trunkline.credentials.matrix import PRESENTATIONS, Case, Outcome, Secret, Shown, Way, cases

ROWS = {row.name: row for row in PRESENTATIONS}
CELLS = list(cases())
LOCKED_STORED = "locked-stored"

# What a client is told, over HTTP and in the frames of the universal WebSocket.
STATUS = {
    Outcome.CALLERS_KEY: "200",
    Outcome.STORED_KEY: "200",
    Outcome.WRONG_KEY: "401",
    Outcome.NO_GATEWAY_KEY: "401 2009",
    Outcome.NOT_PERMITTED: "403 2009",
    Outcome.NO_PROVIDER_KEY: "401 2040",
    Outcome.TWO_KEYS: "400 2019",
}
# And in a realtime session.
SESSION = {
    Outcome.CALLERS_KEY: "session.created",
    Outcome.STORED_KEY: "session.created",
    Outcome.WRONG_KEY: f"{REFUSED[0]} {REFUSED[1]}",
    Outcome.NO_GATEWAY_KEY: "3000 invalid_request_error.invalid_api_key",
    Outcome.NOT_PERMITTED: "4003 invalid_request_error.not_permitted",
    Outcome.NO_PROVIDER_KEY: "3000 invalid_request_error.no_provider_key",
    Outcome.TWO_KEYS: "4000 invalid_request_error.malformed_request",
}
REACHES_PROVIDER = frozenset({Outcome.CALLERS_KEY, Outcome.STORED_KEY, Outcome.WRONG_KEY})
OF_PROVIDERS = (Secret.PROVIDER_KEY, Secret.ACCESS_TOKEN, Secret.WRONG_KEY)


@pytest.fixture(scope="module", name="stage")
def running_stage() -> Iterator[Stage]:
    with in_background(stage()) as running:
        yield running


@pytest.mark.parametrize("case", CELLS, ids=lambda case: case.id)
def test_a_cell_of_the_matrix(stage: Stage, case: Case) -> None:
    answer = stage.show(case)
    assert answer.verdict == verdict(case.expected, case.way), answer.message
    assert secrets_in(answer.raw) == []
    assert secrets_in(str(stage.log)) == []
    assert_selected(stage, case, answer)
    if case.expected in REACHES_PROVIDER:
        assert_arrived_once(stage, case, *key_for_provider(stage, case))
    else:
        assert stage.upstream.received == []
        assert_says_where_it_looked(case, answer.message)


def verdict(outcome: Outcome, way: Way) -> str:
    return (SESSION if way.is_realtime else STATUS)[outcome]


def secrets_in(text: str) -> list[str]:
    return [trace for trace in TRACES if trace in text]


def assert_selected(stage: Stage, case: Case, answer: Answer) -> None:
    """A browser drops a socket for which none of its sub-protocols was selected; a secret one is the last resort."""
    offered = stage.written(case).subprotocols
    harmless = [name for name in offered if not secrets_in(name)]
    assert answer.selected in (harmless or offered or (None,))


def assert_arrived_once(stage: Stage, case: Case, key: str, shown: list[Shown]) -> None:
    """One credential reached the provider: this key, where it was shown if that is a slot, else in the first slot."""
    slots = stage.upstream.slots(case.provider, key, is_socket=case.way.is_realtime)
    own = [slot for slot in slots if any(is_written(*sent(one, key), slot, key) for one in shown)]
    (received,) = stage.upstream.received
    ((place, text),) = received.credentials
    assert is_written(place, text, (own or slots)[0], key)
    assert bool(received.problem) is (case.expected is Outcome.WRONG_KEY)


def key_for_provider(stage: Stage, case: Case) -> tuple[str, list[Shown]]:
    """Return the key that the provider must see, and where the client showed it, if it did."""
    values = stage.values(case.gateway, case.provider)
    if case.expected is Outcome.STORED_KEY:
        return stored_key(case.gateway, case.provider), []
    if case.presentation.holds(Secret.CLIENT_SECRET):
        return values(Secret.PROVIDER_KEY), []
    shown = [
        one
        for one in case.presentation.in_table_order
        if one.secret in OF_PROVIDERS and one.placement.role is Role.PROVIDER
    ]
    first = shown[0]
    return values(first.secret) if "{}" in first.form else first.form.rpartition(" ")[2], shown


def sent(shown: Shown, key: str) -> tuple[str, str]:
    """Return place and text as the provider would see them; the colon of ``Bearer:`` is a slip of the pen.

    Behind the sub-protocol of a scheme is what others write into ``Authorization``.
    """
    if shown.placement.carrier is Carrier.NEXT_SUBPROTOCOL:
        return "header authorization", f"{shown.name} {key}"
    return str(shown.placement), shown.form.replace("Bearer:", "Bearer").replace("{}", key)


def assert_says_where_it_looked(case: Case, message: str) -> None:
    assert "gateway" in message or case.expected is Outcome.TWO_KEYS
    for words in named_in_refusal(case):
        assert words in message


def named_in_refusal(case: Case) -> list[str]:
    """Return the words by which a refusal must be understood."""
    shown = [one for one in case.presentation.in_table_order if one.secret is not Secret.NOTHING]
    dead = [one for one in shown if one.secret in (Secret.REVOKED_KEY, Secret.EXPIRED_KEY)]
    match case.expected:
        case Outcome.NO_GATEWAY_KEY if dead:
            return [str(dead[0].placement), "revoked" if dead[0].secret is Secret.REVOKED_KEY else "expired"]
        case Outcome.NO_GATEWAY_KEY:
            return [str(one.placement) for one in shown] or ["no credential was sent", "cf-aig-authorization"]
        case Outcome.NOT_PERMITTED:
            return ["another gateway", repr(case.gateway)]
        case Outcome.TWO_KEYS:
            keys = (Secret.PROVIDER_KEY, Secret.OTHER_PROVIDER_KEY)
            return ["two different", *(str(one.placement) for one in shown if one.secret in keys)]
        case _:
            return ["has no key for"]


# Traps that are no cell

every_way = pytest.mark.parametrize("way", Way, ids=lambda way: way.value)
# On these a client sets headers of its own.
every_way_with_headers = pytest.mark.parametrize("way", ROWS["cf-aig-bearer"].ways, ids=lambda way: way.value)


@pytest.mark.parametrize(
    "case",
    [case for case in CELLS if case.presentation.name.startswith("trap-placeholder") and case.gateway == LOCKED_STORED],
    ids=lambda case: case.id,
)
def test_trap_a_placeholder_does_not_hide_the_stored_key_where_the_stored_key_wins(stage: Stage, case: Case) -> None:
    answer = stage.show(case, gateway=STORED_FIRST)
    assert answer.verdict == verdict(Outcome.STORED_KEY, case.way)
    assert stage.arrived() == stored_key(STORED_FIRST, case.provider)


@every_way
def test_trap_a_401_says_which_layer_refused(stage: Stage, way: Way) -> None:
    wrong = ROWS["control-wrong-protocol-key" if way is Way.REALTIME_BROWSER else "control-wrong-provider-key"]
    answers = [
        stage.show(Case(ROWS["nothing"], way, "openai", authenticated=True, stored=True)),
        stage.show(Case(ROWS["nothing"], way, "openai", authenticated=False, stored=False)),
        stage.show(Case(wrong, way, "openai", authenticated=False, stored=True)),
    ]
    assert len({answer.verdict for answer in answers}) == 3
    for answer, words in zip(
        answers,
        ("The gateway refused this request: it is authenticated", "The gateway has no key for OpenAI", "Refused: "),
        strict=True,
    ):
        assert answer.message.startswith(words)


@pytest.mark.parametrize("way", [Way.HTTP, Way.UNIVERSAL_HTTP, Way.UNIVERSAL_WEBSOCKET], ids=lambda way: way.value)
@pytest.mark.parametrize(
    "row", ["cf-aig-bearer", "x-api-key-gateway-key", "anthropic-token-beside-key", "cf-aig-bearer-and-x-api-key"]
)
def test_trap_the_second_call_of_a_tool_loop_shows_the_same_key_as_the_first(stage: Stage, row: str, way: Way) -> None:
    case = Case(ROWS[row], way, "anthropic", authenticated=True, stored=True)
    client, written = stage.client(case.gateway, case.provider), stage.written(case)
    stage.clear()
    if way is Way.UNIVERSAL_WEBSOCKET:
        with client.dial(client.universal_path, written) as socket:
            answers = [create(socket, client.step(written)) for _ in range(2)]
    else:
        path, body = (client.path, {}) if way is Way.HTTP else (client.universal_path, client.step(written))
        with closing(client.connection()) as connection:
            answers = [request(connection, path, written.headers, body) for _ in range(2)]
    assert [answer.verdict for answer in answers] == ["200", "200"]
    first, second = stage.upstream.received
    assert first == second


@pytest.mark.parametrize("name", ["cf-aig-authorization", "authorization", "x-api-key"])
def test_trap_the_local_provider_takes_the_same_key_in_any_slot(stage: Stage, name: str) -> None:
    question = {"model": "test/echo", "messages": [{"role": "user", "content": "hello"}]}
    for gateway, key in (("open", "any-key-0123456789"), ("locked", stage.keys["locked", Secret.GATEWAY_KEY])):
        client = Client(stage.addresses["open"], gateway, "local")
        with closing(client.connection()) as connection:
            assert request(connection, client.path, [(name, f"Bearer {key}")], question).verdict == "200"


@every_way_with_headers
def test_trap_a_gateway_key_in_a_place_that_is_none_never_leaves(stage: Stage, way: Way) -> None:
    case = Case(ROWS["cf-aig-bearer"], way, "openai", authenticated=True, stored=True)
    key = stage.keys[case.gateway, Secret.GATEWAY_KEY]
    strays = [("x-my-key", key), ("x-my-token", f"Token {key}")]
    written = stage.written(case)
    strewn = replace(
        written,
        headers=[*written.headers, *strays],
        query=f"my_key={key}",
        subprotocols=["realtime", "token", key],
        step_headers=[*written.step_headers, *strays],
        step_query=f"my_key={key}",
    )
    stage.clear()
    answer = stage.client(case.gateway, case.provider).send(strewn, way)
    assert answer.verdict == verdict(Outcome.STORED_KEY, way), answer.message
    assert stage.arrived() == stored_key(case.gateway, "openai")


@every_way_with_headers
def test_trap_what_is_said_to_the_gateway_is_not_said_to_the_provider(stage: Stage, way: Way) -> None:
    ours = [
        ("cf-aig-metadata", '{"team": "blue"}'),
        ("cf-aig-collect-log", "false"),
        ("cf-skip-cache", "true"),  # as two of them were called before
        ("cf-cache-ttl", "60"),
        ("cf-access-jwt-assertion", "eyJ"),
        ("x-trunkline-client-secrets", "relay"),
        ("x-forwarded-for", "10.0.0.1"),
        ("cookie", "trunkline_session=abc"),
    ]
    answer = stage.show(Case(ROWS["cf-aig-bearer"], way, "openai", authenticated=True, stored=True), *ours)
    assert answer.verdict == verdict(Outcome.STORED_KEY, way), answer.message
    assert stage.arrived() == stored_key(LOCKED_STORED, "openai")


@every_way_with_headers
def test_an_alias_chooses_the_stored_key_and_an_unknown_one_is_refused(stage: Stage, way: Way) -> None:
    case = Case(ROWS["cf-aig-bearer"], way, "openai", authenticated=True, stored=True)
    answer = stage.show(case, ("cf-aig-byok-alias", ALIAS))
    assert answer.verdict == verdict(Outcome.STORED_KEY, way), answer.message
    assert stage.arrived() == stored_key(case.gateway, "openai", ALIAS)
    unknown = stage.show(case, ("cf-aig-byok-alias", "team-red"))
    assert unknown.verdict == ("4000 invalid_request_error.unknown_alias" if way.is_realtime else "400 2040")
    assert ALIAS in unknown.message
    assert stage.upstream.received == []


@pytest.mark.parametrize("row", ["authorization-gateway-key", "cf-aig-bearer-and-provider-key"])
def test_trap_codex_is_sent_from_its_socket_to_http_where_the_same_key_counts(stage: Stage, row: str) -> None:
    case = Case(ROWS[row], Way.HTTP, "openai", authenticated=True, stored=True)
    client, written = stage.client(case.gateway, case.provider), stage.written(case)
    path = f"{client.universal_path}/openai/responses"
    with pytest.raises(InvalidStatus) as refused:
        client.dial(path, written)
    assert refused.value.response.status_code == 426
    with closing(client.connection()) as connection:
        assert request(connection, path, written.headers, {}).verdict == "200"
