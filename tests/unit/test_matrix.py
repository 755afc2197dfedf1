"""The table of presentations itself: complete, named, and an oracle that does not ask the code it judges."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from pathlib import Path

import pytest

from trunkline.credentials import PLACEMENTS, Carrier, Role, matrix
from trunkline.credentials.matrix import PRESENTATIONS, Case, Outcome, Presentation, Seat, Secret, Way, cases
from trunkline.providers import Catalogue

CELLS = list(cases())
ROWS = {row.name: row for row in PRESENTATIONS}
# Section by section, what users of other gateways stumbled over.
NAMED_TRAPS = [
    "trap-placeholder",
    "trap-bearer-undefined",
    "trap-bearer-null",
    "trap-blank",
    "trap-scheme-alone",
    "trap-temporary-token",
    "trap-bearer-colon",
    "trap-gateway-key-in-both-slots",
    "trap-gateway-key-in-every-slot",
    "trap-same-key-twice",
    "trap-header-and-protocol",
    "trap-two-keys",
    "trap-key-of-another-gateway",
    "trap-revoked-key",
    "anthropic-bearer-provider-key",
    "x-api-key-gateway-key",
    "protocol-cf-aig",
    "protocol-cf-aig-alone",
    "step-cf-aig-repeated",
]


def test_rows_and_cells_have_names_of_their_own() -> None:
    for names in ([row.name for row in PRESENTATIONS], [cell.id for cell in CELLS]):
        assert [name for name, count in Counter(names).items() if count > 1] == []


def test_there_are_many_cells_on_every_transport_and_with_every_outcome() -> None:
    assert len(CELLS) >= 1000
    assert {cell.way for cell in CELLS} == set(Way)
    assert {cell.expected for cell in CELLS} == set(Outcome)
    assert {(cell.authenticated, cell.stored) for cell in CELLS} == {
        (a, s) for a in (True, False) for s in (True, False)
    }


def test_every_place_is_shown_with_a_gateway_key_and_every_place_of_providers_with_theirs() -> None:
    shown = {(one.placement, one.secret) for row in PRESENTATIONS for one in row.shown}
    for place in PLACEMENTS:
        assert (place, Secret.GATEWAY_KEY) in shown, place
        if place.role is Role.PROVIDER:
            assert (place, Secret.PROVIDER_KEY) in shown, place


def test_every_provider_is_in_the_matrix_with_a_key_of_its_callers_and_with_a_stored_one() -> None:
    known = {provider.slug for provider in Catalogue.build().all()} - {"local"}
    for outcome in (Outcome.CALLERS_KEY, Outcome.STORED_KEY):
        covered = {cell.provider for cell in CELLS if cell.expected is outcome}
        assert known - covered == set(), outcome


@pytest.mark.parametrize("name", NAMED_TRAPS)
def test_a_trap_has_a_row_that_says_what_happened_elsewhere(name: str) -> None:
    row = ROWS[name]
    assert row.client
    assert row.trap


@pytest.mark.parametrize("row", [row for row in PRESENTATIONS if row.trap], ids=lambda row: row.name)
def test_whatever_went_wrong_elsewhere_is_answered_with_what_happens_here(row: Presentation) -> None:
    assert row.here.endswith(".")


@pytest.mark.parametrize(
    ("row", "authenticated", "stored", "outcome"),
    [
        ("nothing", False, False, Outcome.NO_PROVIDER_KEY),
        ("nothing", False, True, Outcome.STORED_KEY),
        ("nothing", True, True, Outcome.NO_GATEWAY_KEY),
        ("authorization-provider-key", False, True, Outcome.CALLERS_KEY),
        ("authorization-provider-key", True, True, Outcome.NO_GATEWAY_KEY),
        ("cf-aig-bearer", True, True, Outcome.STORED_KEY),
        ("cf-aig-bearer", True, False, Outcome.NO_PROVIDER_KEY),
        ("cf-aig-bearer-and-provider-key", True, True, Outcome.CALLERS_KEY),
        ("trap-placeholder", True, True, Outcome.WRONG_KEY),
        ("trap-bearer-undefined", True, True, Outcome.STORED_KEY),
        ("trap-two-keys", True, True, Outcome.TWO_KEYS),
        ("trap-revoked-key", False, True, Outcome.NO_GATEWAY_KEY),
        ("revoked-key-beside-a-good-one", True, True, Outcome.STORED_KEY),
        ("trap-key-of-another-gateway", False, True, Outcome.NOT_PERMITTED),
        ("control-wrong-provider-key", False, True, Outcome.WRONG_KEY),
        ("control-wrong-gateway-key", False, True, Outcome.STORED_KEY),
        ("control-wrong-gateway-key", True, True, Outcome.NO_GATEWAY_KEY),
    ],
)
def test_the_oracle_follows_the_rule(row: str, authenticated: bool, stored: bool, outcome: Outcome) -> None:
    found = ROWS[row]
    assert Case(found, found.ways[0], found.providers[0], authenticated, stored).expected is outcome


@pytest.mark.parametrize("row", PRESENTATIONS, ids=lambda row: row.name)
def test_a_row_comes_to_the_same_on_every_transport_and_before_every_provider(row: Presentation) -> None:
    outcomes = {(cell.gateway, cell.expected) for cell in CELLS if cell.presentation is row}
    assert len(outcomes) == 4


@pytest.mark.parametrize("row", PRESENTATIONS, ids=lambda row: row.name)
def test_no_client_sends_what_its_transport_does_not_have(row: Presentation) -> None:
    if Carrier.HEADER in row.carriers:
        assert Way.REALTIME_BROWSER not in row.ways
    if row.carriers & {Carrier.SUBPROTOCOL, Carrier.NEXT_SUBPROTOCOL}:
        assert not {Way.HTTP, Way.SSE, Way.UNIVERSAL_HTTP} & set(row.ways)
    names = [one.placement for one in row.shown if one.seat is not Seat.REQUEST]
    if len(names) > len(set(names)):  # an object has each name once
        assert not any(way.is_universal for way in row.ways)


def test_the_providers_with_a_socket_are_those_of_the_catalogue() -> None:
    sockets = {provider.slug for provider in Catalogue.build().all() if provider.socket is not None} - {"local"}
    assert sockets == matrix.REALTIME_PROVIDERS


@pytest.mark.parametrize(
    "name",
    [
        "test_trap_a_placeholder_does_not_hide_the_stored_key_where_the_stored_key_wins",
        "test_trap_a_401_says_which_layer_refused",
        "test_trap_the_second_call_of_a_tool_loop_shows_the_same_key_as_the_first",
        "test_trap_the_local_provider_takes_the_same_key_in_any_slot",
        "test_trap_codex_is_sent_from_its_socket_to_http_where_the_same_key_counts",
    ],
)
def test_a_trap_that_is_no_row_is_a_test_beside_the_matrix(name: str) -> None:
    beside = Path(__file__).parents[1] / "contract" / "test_matrix.py"
    assert f"def {name}(" in beside.read_text("utf-8")


def test_the_oracle_does_not_ask_the_code_it_judges() -> None:
    imported = {
        name.name
        for node in ast.walk(ast.parse(inspect.getsource(matrix)))
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert imported.isdisjoint({"read", "candidates", "Credentials"})
