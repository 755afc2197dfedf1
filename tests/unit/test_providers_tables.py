"""Tables of providers from settings: what becomes part of a request is checked before the first one is sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import SettingsError
from trunkline.providers import Catalogue, Provider
from trunkline.settings import load

MINE = "https://llm.example/v1"


def built(name: str, **table: Any) -> Provider:
    found = Catalogue.build({name: table}).find(name)
    assert found is not None
    return found


def refusal(name: str, **table: Any) -> str:
    with pytest.raises(SettingsError) as error:
        Catalogue.build({name: table})
    return str(error.value)


@pytest.mark.parametrize(("text", "switch"), [("false", False), ("true", True), ("0", False), ("1", True)])
def test_a_switch_can_be_set_by_a_variable_of_the_environment(text: str, switch: bool) -> None:
    chosen = load(environment={"TRUNKLINE_PROVIDERS__OPENAI__NEEDS_KEY": text})
    openai = Catalogue.build(chosen.providers).find("openai")
    assert openai is not None
    assert openai.needs_key is switch


def test_a_whole_custom_provider_can_be_made_of_variables() -> None:
    variables = {
        "TRUNKLINE_PROVIDERS__CUSTOM_MY_LAB__BASE_URL": MINE,
        "TRUNKLINE_PROVIDERS__CUSTOM_MY_LAB__API_KEY": "k",
        "TRUNKLINE_PROVIDERS__CUSTOM_MY_LAB__REALTIME": "cascade",
    }
    lab = Catalogue.build(load(environment=variables).providers).find("custom-my-lab")
    assert lab is not None
    assert (lab.base_url, lab.stored_key, lab.is_cascade) == (MINE, "k", True)


@pytest.mark.parametrize("name", ["custom-a", "custom-my-llm-2", "custom-7"])
def test_a_custom_name_has_small_letters_digits_and_hyphens(name: str) -> None:
    assert built(name, base_url=MINE).slug == name


@pytest.mark.parametrize(
    "name", ["custom-", "custom--a", "custom-a-", "custom-A", "custom-a/b", "custom-a b", "custom-ä"]
)
def test_a_custom_name_that_no_path_could_hold_is_refused(name: str) -> None:
    message = refusal(name, base_url=MINE)
    assert message.startswith(f"providers.{name}")
    assert "small letters, digits and hyphens" in message


@pytest.mark.parametrize("name", ["openai", "custom-mine"])
def test_a_table_cannot_give_a_provider_the_slug_of_another(name: str) -> None:
    assert "slug" in refusal(name, base_url=MINE, slug="local")


@pytest.mark.parametrize("key", ["sk-1\r\nx-injected: 1", "sk-\x00", "schlüssel"])
def test_a_stored_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    message = refusal("openai", api_key=key)
    assert message.startswith("providers.openai: api_key")
    assert key not in message


@pytest.mark.parametrize(
    "headers", [{"x-a": "1\r\nx-b: 2"}, {"x a": "1"}, {"x\r\n": "1"}, {"": "1"}, {"x-ä": "1"}, {"x-a": "\x00"}]
)
def test_a_header_that_would_break_the_request_is_refused(headers: dict[str, str]) -> None:
    assert "providers.openai: headers." in refusal("openai", headers=headers)


@pytest.mark.parametrize(("name", "header"), [("openai", "Authorization"), ("anthropic", "x-api-key")])
def test_a_header_in_the_place_of_the_key_would_be_a_second_credential_and_is_refused(name: str, header: str) -> None:
    message = refusal(name, headers={header: "sk-secret"})
    assert f"headers.{header}" in message
    assert "api_key" in message
    assert "sk-secret" not in message


def test_a_header_for_a_gateway_in_front_of_the_provider_is_taken() -> None:
    assert built("openai", headers={"cf-aig-authorization": "Bearer t"}).headers == {"cf-aig-authorization": "Bearer t"}


@pytest.mark.parametrize("name", ["X-API-Key", "x key", "", "x-key\r\n"])
def test_the_name_of_a_slot_is_written_in_small_letters_since_heads_are_read_so(name: str) -> None:
    message = refusal("custom-mine", base_url=MINE, credential_slots=[{"kind": "header", "name": name}])
    assert "credential_slots" in message
    assert "name" in message


def test_a_websocket_of_a_provider_without_an_address_of_its_own_needs_one() -> None:
    assert "providers.google-vertex-ai.realtime" in refusal("google-vertex-ai", realtime={"any_path": True})
    vertex = built("google-vertex-ai", realtime={"any_path": True, "base_url": "wss://eu.example/live"})
    assert vertex.socket is not None
    assert vertex.socket.base_url == "wss://eu.example/live"


def test_a_host_of_a_websockets_own_is_checked_like_every_address() -> None:
    routes = [{"path": "v1/agent", "base_url": "http://agent.example"}]
    assert "providers.deepgram.realtime.routes" in refusal("deepgram", realtime={"routes": routes})


def test_a_websocket_without_slots_has_those_of_the_provider_and_one_with_slots_keeps_them() -> None:
    anthropic = built("anthropic", realtime={"any_path": True})
    assert anthropic.socket is not None
    assert anthropic.socket.credential_slots == anthropic.credential_slots
    slots = [{"kind": "subprotocol", "name": "openai-insecure-api-key."}]
    openai = built("openai", realtime={"credential_slots": slots})
    assert openai.socket is not None
    assert [slot.name for slot in openai.socket.credential_slots] == ["openai-insecure-api-key."]


field_names = st.sampled_from(
    ["base_url", "api_key", "headers", "realtime", "credential_slots", "routes", "aliases", "needs_key", "usage", "odd"]
)
field_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.sampled_from(["cascade", MINE, "header"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["kind", "name", "path", "base_url", "paths", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.sampled_from(["openai", "azure-openai", "custom-mine"]), st.dictionaries(field_names, field_values, max_size=3)
)
def test_any_table_makes_a_provider_or_is_refused_by_its_name(name: str, table: dict[str, Any]) -> None:
    message = "providers: taken"
    try:
        built(name, **table)
    except SettingsError as error:
        message = str(error)
    assert message.startswith("providers")
