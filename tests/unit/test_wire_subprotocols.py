"""Sub-protocols: one is selected whenever any is offered, and no secret while there is anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.credentials import PLACEMENTS, Carrier
from trunkline.wire.subprotocols import (
    SCHEMES,
    SECRET_PREFIXES,
    carries_secret,
    select,
    values_behind,
    without_credentials,
    without_secrets,
)

SECRETS = [prefix + "sEcReT-value.more" for prefix in SECRET_PREFIXES]
BETA = "openai-beta.realtime-v1"
AGENTS = "openai-agents-sdk.0.20.0"


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (["realtime"], "realtime"),
        (["realtime", "openai-insecure-api-key.K", BETA, "cf-aig-authorization.T"], "realtime"),
        (["openai-insecure-api-key.K", "realtime"], "realtime"),
        ([BETA, "realtime"], "realtime"),
        (["cf-aig-authorization.T", "openai-insecure-api-key.K", BETA], BETA),
        ([AGENTS, BETA], BETA),
        (["openai-insecure-api-key.K", AGENTS], AGENTS),
        (["cf-aig-authorization.T", "graphql-ws"], "graphql-ws"),
        (["cf-aig-authorization.T"], "cf-aig-authorization.T"),
        (["xi-api-key.K", "cf-aig-authorization.T"], "xi-api-key.K"),
        (["token", "K"], "token"),
        (["bearer", "K", "cf-aig-authorization.T"], "bearer"),
        (["cf-aig-authorization.T", "Token", "K"], "Token"),
        ([], None),
    ],
    ids=[
        "the GA marker",
        "the proof of concept",
        "the marker behind the key",
        "the GA marker before the retired one",
        "the proof of concept's HTML page",
        "the retired marker before a client's tag",
        "a client's tag",
        "anything without a secret",
        "the Google and Cartesia pages",
        "the ElevenLabs page",
        "Deepgram's page",
        "Deepgram's page with a temporary token",
        "Deepgram's page behind the gateway's key",
        "none",
    ],
)
def test_the_selection_follows_the_rule(offered: list[str], selected: str | None) -> None:
    assert select(offered) == selected


@pytest.mark.parametrize("secret", SECRETS)
def test_a_name_that_carries_a_secret_is_known_in_any_letter_case(secret: str) -> None:
    assert carries_secret(secret)
    assert carries_secret(secret.upper())


@pytest.mark.parametrize("name", ["realtime", BETA, AGENTS, "openai-organization.org-1", "openai-project.proj-1"])
def test_other_names_carry_no_secret(name: str) -> None:
    assert not carries_secret(name)


def test_every_sub_protocol_that_is_read_as_a_credential_is_known_to_carry_one() -> None:
    assert {place.name for place in PLACEMENTS if place.carrier is Carrier.SUBPROTOCOL} == set(SECRET_PREFIXES)
    assert {place.name for place in PLACEMENTS if place.carrier is Carrier.NEXT_SUBPROTOCOL} == set(SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_stands_behind_a_scheme_is_a_credential(scheme: str) -> None:
    for spelt in (scheme, scheme.upper()):
        assert list(values_behind(scheme, ["realtime", spelt, "K"])) == ["K"]
        assert without_secrets([spelt, "K"]) == [spelt, "[redacted]"]
        assert without_credentials(["realtime", spelt, "K", "graphql-ws"]) == ["realtime", "graphql-ws"]


@pytest.mark.parametrize("name", ["realtime", BETA, AGENTS, "openai-organization.org-1", "token", "bearer", *SECRETS])
def test_a_name_with_a_meaning_of_its_own_is_no_key_behind_a_scheme(name: str) -> None:
    assert list(values_behind("token", ["token", name])) == []


def test_a_scheme_alone_is_a_sub_protocol_like_any_other() -> None:
    assert list(values_behind("token", ["graphql-ws", "token"])) == []
    assert without_credentials(["graphql-ws", "token"]) == ["graphql-ws", "token"]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_credential_never_goes_on_to_somebody_else(secret: str) -> None:
    assert without_credentials(["realtime", secret, AGENTS]) == ["realtime", AGENTS]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_log_shows_that_a_secret_was_offered_and_not_which(secret: str) -> None:
    (shown,) = without_secrets([secret])
    assert "sEcReT" not in shown
    assert "more" not in shown
    assert shown.split(".")[0] == secret.split(".")[0]


def test_a_log_shows_all_other_names_in_order() -> None:
    assert without_secrets(["realtime", "xi-api-key.K", BETA]) == ["realtime", "xi-api-key.[redacted]", BETA]


offers = st.lists(st.sampled_from([*SECRETS, "realtime", BETA, AGENTS]) | st.text(max_size=10), max_size=6)


@given(offers)
def test_what_is_selected_was_offered_and_is_a_secret_only_where_all_are(offered: list[str]) -> None:
    chosen = select(offered)
    if not offered:
        assert chosen is None
    else:
        assert chosen in offered
        assert carries_secret(chosen) == all(carries_secret(name) for name in offered)


@given(offers, st.sampled_from(["token", "bearer", "Token"]))
def test_a_key_behind_a_scheme_is_never_selected_logged_or_passed_on(offered: list[str], scheme: str) -> None:
    pair = [*offered, scheme, "sEcReT"]
    assert select(pair) != "sEcReT"
    assert all("sEcReT" not in name for name in without_secrets(pair))
    assert all("sEcReT" not in name for name in without_credentials(pair))


@given(offers)
def test_no_secret_is_ever_logged(offered: list[str]) -> None:
    assert all("sEcReT" not in name for name in without_secrets(offered))
