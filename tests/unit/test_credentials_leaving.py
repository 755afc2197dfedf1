"""The rule at the centre at its edges: keys in places no table lists, places of settings, traps others fell into."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_outgoing import KEY, STORED, TOKEN, carrying, in_headers, sent
from trunkline.wire.head import Transport

CUSTOM: dict[str, dict[str, Any]] = {
    "custom-acme": {
        "base_url": "https://acme.example",
        "api_key": STORED,
        "credential_slots": [{"kind": "header", "name": "x-acme-key"}],
    }
}


def test_trap_the_gateway_token_never_leaves_in_a_query_parameter_the_provider_does_not_have() -> None:
    """Never forward a value equal to one of our gateway keys, wherever it sits."""
    for written in (TOKEN, f"Bearer%20{TOKEN}", f"Bearer+{TOKEN}%20"):
        assert carrying(sent("openai", query=f"a=1&key={written}", stored=True), TOKEN) == []


@pytest.mark.parametrize("value", [TOKEN, f"Bearer {TOKEN}", f"Bearer\t{TOKEN}"])
def test_trap_the_gateway_token_never_leaves_in_a_header_of_another_name(value: str) -> None:
    assert carrying(sent("openai", ("x-portkey-api-key", value), stored=True), TOKEN) == []


def test_trap_the_gateway_token_never_leaves_as_a_bare_sub_protocol() -> None:
    """Deepgram's browser form is ``token, KEY``."""
    outgoing = sent("deepgram", transport=Transport.WEBSOCKET, subprotocols=["token", TOKEN], stored=True)
    assert carrying(outgoing, TOKEN) == []


def test_a_place_of_a_custom_provider_holds_one_credential() -> None:
    outgoing = sent("custom-acme", ("x-acme-key", KEY), providers=CUSTOM)
    assert len([name for name, _ in in_headers(outgoing) if name == "x-acme-key"]) == 1


def test_trap_an_api_key_for_anthropic_sent_as_bearer_goes_on_as_x_api_key() -> None:
    """API keys upstream as ``x-api-key``; OAuth tokens stay bearer tokens."""
    outgoing = sent("anthropic", ("authorization", "Bearer sk-ant-api03-abc"))
    assert in_headers(outgoing) == [("x-api-key", "sk-ant-api03-abc")]


def test_trap_an_oauth_token_for_anthropic_stays_a_bearer_token() -> None:
    outgoing = sent("anthropic", ("authorization", "Bearer sk-ant-oat01-abc"))
    assert in_headers(outgoing) == [("authorization", "Bearer sk-ant-oat01-abc")]


def test_trap_the_callers_key_survives_every_turn_of_a_tool_loop() -> None:
    """The second call of a loop lost its key elsewhere; here no call remembers another."""
    calls = [sent("anthropic", ("x-api-key", KEY), ("x-turn", str(turn))) for turn in range(3)]
    assert all(("x-api-key", KEY) in in_headers(call) for call in calls)
