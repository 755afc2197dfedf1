"""Which hosts and web pages may speak to the gateway."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import ForbiddenOrigin
from trunkline.server.origins import Origins
from trunkline.settings import Settings
from trunkline.wire.head import Head, Transport

TOKEN = "gateway-token-of-many-characters"


def head(
    method: str = "POST", transport: Transport = Transport.HTTP, host: str | None = "127.0.0.1:8787", **headers: str
) -> Head:
    found = {"host": host, **headers}
    raw = [
        (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in found.items() if value is not None
    ]
    return Head(transport, method, "/v1/local/default/openai/models", "", raw)


def origins(**settings: Any) -> Origins:
    return Origins(Settings(**settings))


def allows(rules: Origins, asked: Head) -> bool:
    try:
        rules.check(asked)
    except ForbiddenOrigin:
        return False
    return True


# Hosts


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8787", "localhost:8787", "LOCALHOST", "localhost.", "[::1]:8787", "127.0.0.1", "127.1.2.3:1"]
)
def test_a_loopback_name_is_always_the_gateways(host: str) -> None:
    assert allows(origins(), head(host=host))


@pytest.mark.parametrize(
    "host", ["evil.example:8787", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.7:8787", "0.0.0.0"]
)
def test_trap_a_strangers_name_that_points_here_is_refused(host: str) -> None:
    """Else a page could make its own name resolve to 127.0.0.1 and count as same-origin."""
    with pytest.raises(ForbiddenOrigin, match="allowed_hosts"):
        origins().check(head(host=host))


@pytest.mark.parametrize("host", ["gateway.test", "Gateway.Test:8787"])
def test_a_name_on_the_list_is_the_gateways(host: str) -> None:
    assert allows(origins(allowed_hosts=("gateway.TEST",)), head(host=host))
    assert not allows(origins(allowed_hosts=("other.test",)), head(host=host))


def test_the_address_it_listens_on_is_the_gateways() -> None:
    assert allows(origins(host="192.168.0.7"), head(host="192.168.0.7:8787"))


def test_a_star_allows_every_host() -> None:
    assert allows(origins(allowed_hosts=("*",)), head(host="anything.example"))


def test_an_authenticated_gateway_may_have_any_name() -> None:
    assert allows(origins(gateway_token=TOKEN), head(host="gateway.example"))


def test_a_head_without_a_host_is_no_browsers() -> None:
    assert allows(origins(), head(host=None))


@given(st.text(st.characters(max_codepoint=0xFF), max_size=40))
def test_any_host_header_is_judged(host: str) -> None:
    allows(origins(), head(host=host))


# Origins


@pytest.mark.parametrize("transport", list(Transport))
def test_a_program_that_sends_no_origin_is_served(transport: Transport) -> None:
    assert allows(origins(), head(transport=transport))


@pytest.mark.parametrize("settings", [{}, {"allowed_origins": ("https://app.example",)}, {"gateway_token": TOKEN}])
def test_trap_what_a_strangers_page_refers_to_without_an_origin_is_refused(settings: dict[str, Any]) -> None:
    """A picture or a link in any page makes a browser ask so, and an open gateway would spend a stored key on it."""
    with pytest.raises(ForbiddenOrigin, match="crossorigin"):
        origins(**settings).check(head(sec_fetch_site="cross-site"))
    with pytest.raises(ForbiddenOrigin):
        origins(**settings).check_origin(head(sec_fetch_site="cross-site"), ("https://listed.example",))


def test_whoever_opens_the_gateway_to_every_page_opens_it_to_their_pictures_too() -> None:
    assert allows(origins(allowed_origins=("*",)), head(sec_fetch_site="cross-site"))
    origins().check_origin(head(sec_fetch_site="cross-site"), ("*",))


@pytest.mark.parametrize("said", ["same-origin", "same-site", "none"])
def test_what_a_person_or_a_page_of_this_site_asks_for_is_served(said: str) -> None:
    assert allows(origins(), head(sec_fetch_site=said))


@pytest.mark.parametrize("transport", list(Transport))
def test_a_page_of_the_gateway_itself_is_served(transport: Transport) -> None:
    assert allows(origins(), head(transport=transport, origin="http://127.0.0.1:8787"))


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "file://", "http://localhost.evil.example"])
def test_a_page_of_a_stranger_is_refused_on_every_transport(transport: Transport, origin: str) -> None:
    with pytest.raises(ForbiddenOrigin, match="allowed_origins"):
        origins().check(head(transport=transport, origin=origin))


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:3000"])
def test_an_app_under_development_on_this_machine_is_served(origin: str) -> None:
    assert allows(origins(), head(origin=origin))


def test_a_gateway_beyond_loopback_serves_no_loopback_page_of_somebody_else() -> None:
    public = origins(host="192.168.0.7", gateway_token=TOKEN)
    assert not allows(public, head(host="192.168.0.7:8787", origin="http://localhost:3000"))
    assert allows(public, head(host="192.168.0.7:8787", origin="http://192.168.0.7:8787"))


@pytest.mark.parametrize("listed", ["https://app.example", "https://app.example/", "HTTPS://App.Example"])
def test_an_origin_on_the_list_is_served(listed: str) -> None:
    rules = origins(allowed_origins=(listed,))
    assert allows(rules, head(origin="https://app.example"))
    assert not allows(rules, head(origin="http://app.example"))
    assert not allows(rules, head(origin="https://app.example:8443"))
    assert not allows(rules, head(origin="https://other.example"))


def test_a_star_allows_every_origin() -> None:
    assert allows(origins(allowed_origins=("*",)), head(origin="https://anything.example"))


def test_a_token_does_not_make_a_strangers_page_welcome() -> None:
    rules = origins(gateway_token=TOKEN)
    assert not allows(rules, head(host="gateway.example", origin="https://evil.example", authorization=TOKEN))


def test_an_allowed_origin_does_not_make_up_for_a_wrong_host() -> None:
    rules = origins(allowed_origins=("https://app.example",))
    assert not allows(rules, head(host="evil.example", origin="https://app.example"))


def test_a_refusal_shows_no_more_than_a_piece_of_what_was_sent() -> None:
    for asked in (head(host="h" * 5000), head(origin="https://" + "o" * 5000)):
        with pytest.raises(ForbiddenOrigin) as refusal:
            origins().check(asked)
        assert len(refusal.value.message) < 500


@pytest.mark.parametrize("origin", ["http://[", "https://[::1", "http://a]"])
def test_an_origin_that_is_no_url_is_refused(origin: str) -> None:
    assert not allows(origins(), head(origin=origin))


# Same origin


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8787", "http://127.0.0.1:8787/"])
def test_the_same_host_and_port_is_the_same_origin(origin: str) -> None:
    assert origins().same_origin(head(origin=origin))


@pytest.mark.parametrize("origin", ["http://127.0.0.1:3000", "http://localhost:8787", "http://127.0.0.1", "null"])
def test_another_port_or_name_is_another_origin(origin: str) -> None:
    assert not origins().same_origin(head(origin=origin))


@pytest.mark.parametrize(
    ("site", "same"), [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False)]
)
def test_without_an_origin_the_browsers_own_word_counts(site: str, same: bool) -> None:
    assert origins().same_origin(head("GET", sec_fetch_site=site)) is same


def test_an_origin_counts_more_than_the_browsers_word() -> None:
    assert not origins().same_origin(head(origin="http://127.0.0.1:3000", sec_fetch_site="same-origin"))


def test_a_program_is_not_a_page_of_the_gateway() -> None:
    assert not origins().same_origin(head())


# Cross-origin answers


def test_a_page_of_another_origin_is_told_that_it_may_read() -> None:
    found = dict(origins().cors_headers(head(origin="http://localhost:3000")))
    assert found[b"access-control-allow-origin"] == b"http://localhost:3000"
    assert found[b"vary"] == b"origin"
    assert b"access-control-allow-credentials" not in found


def test_a_program_and_the_gateways_own_page_need_no_permission() -> None:
    assert origins().cors_headers(head()) == []
    assert origins().cors_headers(head(origin="http://127.0.0.1:8787")) == []


def test_a_preflight_is_answered_with_what_it_asks_for() -> None:
    asked = head(
        "OPTIONS",
        origin="http://localhost:3000",
        access_control_request_method="POST",
        access_control_request_headers="authorization, x-stainless-os",
    )
    found = dict(origins().preflight_headers(asked) or [])
    assert found[b"access-control-allow-origin"] == b"http://localhost:3000"
    assert found[b"access-control-allow-methods"] == b"POST"
    assert found[b"access-control-allow-headers"] == b"authorization, x-stainless-os"
    assert int(found[b"access-control-max-age"]) > 0


@pytest.mark.parametrize(
    "asked",
    [
        head("OPTIONS"),
        head("OPTIONS", origin="http://localhost:3000"),
        head("OPTIONS", access_control_request_method="POST"),
        head("POST", origin="http://localhost:3000", access_control_request_method="POST"),
    ],
)
def test_an_options_request_that_is_no_preflight_goes_to_the_provider(asked: Head) -> None:
    assert origins().preflight_headers(asked) is None
