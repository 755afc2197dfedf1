"""Which credentials of a request are its steps' too."""

from __future__ import annotations

import pytest

from trunkline.credentials import Carrier, Placement, Role
from trunkline.credentials.inheritance import inherit, shows_provider_key
from trunkline.wire.head import Head, Transport

OURS = "gateway-key-0123456789"
OTHER = "sk-of-some-provider"
OWN = [Placement(Carrier.HEADER, "x-own-key", Role.PROVIDER)]


def is_ours(value: str) -> bool:
    return value == OURS


def head(*headers: tuple[bytes, bytes], subprotocols: tuple[str, ...] = (), query: str = "") -> Head:
    transport = Transport.WEBSOCKET if subprotocols else Transport.HTTP
    return Head(transport, "POST", "/v1/a/g", query, headers, subprotocols)


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"xi-api-key"])
def test_a_providers_key_is_kept_apart_from_what_every_step_gets(name: bytes) -> None:
    parted = inherit(head((b"x-a", b"1"), (name, OTHER.encode())), is_ours)
    assert parted.common == [(b"x-a", b"1")]
    assert parted.provider_keys == [(name, OTHER.encode())]


def test_a_place_that_one_provider_has_alone_is_kept_apart_too() -> None:
    parted = inherit(head((b"x-own-key", OTHER.encode())), is_ours, OWN)
    assert parted.common == []
    assert parted.provider_keys == [(b"x-own-key", OTHER.encode())]


@pytest.mark.parametrize(
    "header",
    [
        (b"cf-aig-authorization", f"Bearer {OURS}"),
        (b"cf-aig-authorization", OURS),
        (b"authorization", f"Bearer {OURS}"),
        (b"authorization", f"Key {OURS}"),
        (b"x-api-key", OURS),
        (b"x-own-key", OURS),
    ],
)
def test_a_key_of_the_gateway_opens_every_step_wherever_it_sat(header: tuple[bytes, str]) -> None:
    parted = inherit(head((header[0], header[1].encode())), is_ours, OWN)
    assert parted.common == [(b"cf-aig-authorization", f"Bearer {OURS}".encode())]


@pytest.mark.parametrize("name", ["cf-aig-authorization.", "openai-insecure-api-key.", "xi-api-key."])
def test_a_key_of_the_gateway_in_a_sub_protocol_opens_every_step(name: str) -> None:
    parted = inherit(head(subprotocols=("realtime", name + OURS)), is_ours)
    assert parted.common == [(b"cf-aig-authorization", f"Bearer {OURS}".encode())]


def test_a_providers_key_in_a_sub_protocol_goes_nowhere() -> None:
    parted = inherit(head(subprotocols=("openai-insecure-api-key." + OTHER,)), is_ours)
    assert (parted.common, parted.provider_keys) == ([], [])


def test_a_wrong_gateway_key_stays_so_that_the_refusal_can_name_its_place() -> None:
    parted = inherit(head((b"cf-aig-authorization", b"Bearer wrong")), is_ours)
    assert parted.common == [(b"cf-aig-authorization", b"Bearer wrong")]


def test_what_is_kept_apart_is_not_printed() -> None:
    assert OTHER not in repr(inherit(head((b"authorization", OTHER.encode())), is_ours))


@pytest.mark.parametrize(
    ("given", "shows"),
    [
        (head((b"authorization", b"Bearer " + OTHER.encode())), True),
        (head((b"x-own-key", OTHER.encode())), True),
        (head(query=f"key={OTHER}"), True),
        (head(query=f"other={OTHER}"), False),
        (head((b"authorization", b"Bearer " + OURS.encode())), False),
        (head((b"authorization", b"Bearer undefined")), False),
        (head((b"cf-aig-authorization", OTHER.encode())), False),
        (head(), False),
    ],
)
def test_whether_a_head_shows_a_providers_key(given: Head, shows: bool) -> None:
    assert shows_provider_key(given, is_ours, frozenset({"key"}), OWN) is shows
