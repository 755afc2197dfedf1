"""The rule at the centre, second half: who may go on, and with which key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from trunkline.errors import (
    ForbiddenOrigin,
    GatewayError,
    MalformedRequest,
    NoProviderKey,
    Unauthorized,
    UnknownGateway,
    UnknownProvider,
)
from trunkline.providers import Catalogue
from trunkline.server.admission import Admission, Doorkeeper, ProviderKey
from trunkline.server.origins import Origins
from trunkline.server.registry import LiveRegistry
from trunkline.server.sessions import ConsoleSession, Sessions
from trunkline.settings import Settings
from trunkline.wire.head import Head, Transport

TOKEN = "gateway-token-of-many-characters"
LOCAL_KEY = "the-workers-own-key"
HOST = "127.0.0.1:8787"
OWN_PAGE = f"http://{HOST}"

every_transport = pytest.mark.parametrize("transport", list(Transport))


class Entrance:
    """A doorkeeper with the settings of one test, and the sessions it looks into."""

    def __init__(self, providers: Mapping[str, Mapping[str, Any]] | None = None, **settings: Any) -> None:
        self.settings = Settings(providers=providers or {}, **settings)
        self.sessions = Sessions(self.settings.account, self.settings.gateway, secure=False)
        self.registry = LiveRegistry(self.settings)
        self.doorkeeper = Doorkeeper(
            self.settings,
            Catalogue.build(self.settings.providers),
            Origins(self.settings),
            self.sessions,
            self.registry,
            LOCAL_KEY,
        )

    def admit(
        self,
        path: str = "/v1/local/default/openai/chat/completions",
        *headers: tuple[str, str],
        query: str = "",
        subprotocols: tuple[str, ...] = (),
        transport: Transport = Transport.HTTP,
    ) -> Admission:
        raw = [(name.encode(), value.encode()) for name, value in (("host", HOST), *headers)]
        return self.doorkeeper.admit(Head(transport, "POST", path, query, raw, subprotocols))

    def cookie(self, **session: Any) -> tuple[str, str]:
        """Open a console session; return the header that leads back to it."""
        opened = self.sessions.open(ConsoleSession("local", "default", **session))
        return "cookie", opened.partition(";")[0]


def shown(admission: Admission) -> tuple[str, str] | None:
    return None if admission.key is None else (admission.key.value, admission.key.source)


def key_of(provider: str) -> dict[str, dict[str, Any]]:
    return {provider: {"stored_key": "stored"}}


# Which gateway and provider


@every_transport
def test_an_admission_names_provider_and_the_rest_of_the_path_as_it_was_sent(transport: Transport) -> None:
    admission = Entrance().admit(
        "/v1/local/default/openai/files/a%2Fb", ("authorization", "Bearer k"), transport=transport
    )
    assert (admission.provider.slug, admission.rest, admission.account) == ("openai", "files/a%2Fb", "local")


def test_a_root_path_goes_to_the_root_provider() -> None:
    entrance = Entrance(root_provider="groq")
    admission = entrance.admit("/v1/chat/completions", ("authorization", "Bearer k"))
    assert (admission.provider.slug, admission.rest, admission.account) == ("groq", "chat/completions", "local")


def test_a_provider_is_found_by_its_alias() -> None:
    assert Entrance().admit("/v1/local/default/xai/v1/models", ("authorization", "Bearer k")).provider.slug == "grok"


@pytest.mark.parametrize("path", ["/v1/other/default/openai/models", "/v1/local/other/openai/models"])
def test_another_gateways_path_is_refused_with_the_right_one(path: str) -> None:
    with pytest.raises(UnknownGateway, match="/v1/local/default/"):
        Entrance().admit(path)


def test_the_account_and_gateway_of_the_settings_are_served() -> None:
    entrance = Entrance(account="acme", gateway="voice")
    assert entrance.admit("/v1/acme/voice/local/models").account == "acme"
    with pytest.raises(UnknownGateway):
        entrance.admit("/v1/local/default/local/models")


def test_an_unknown_provider_is_refused_by_its_name() -> None:
    with pytest.raises(UnknownProvider, match="'nobody'"):
        Entrance().admit("/v1/local/default/nobody/chat")


def test_a_path_of_no_form_is_refused() -> None:
    with pytest.raises(MalformedRequest):
        Entrance().admit("/v2/local/default/openai")


def test_the_provider_of_a_head_is_known_before_anything_is_judged() -> None:
    head = Head(Transport.HTTP, "POST", "/v1/wrong/place/anthropic/v1/messages", "", [(b"origin", b"http://evil")])
    provider = Entrance(gateway_token=TOKEN).doorkeeper.provider_of(head)
    assert provider is not None
    assert provider.slug == "anthropic"


# Authentication

PLACES: list[tuple[tuple[tuple[str, str], ...], tuple[str, ...]]] = [
    ((("cf-aig-authorization", f"Bearer {TOKEN}"),), ()),
    ((("cf-aig-authorization", TOKEN),), ()),
    ((("authorization", f"Bearer {TOKEN}"),), ()),
    ((("x-api-key", TOKEN),), ()),
    ((("api-key", TOKEN),), ()),
    ((), (f"cf-aig-authorization.{TOKEN}",)),
    ((), ("realtime", f"openai-insecure-api-key.{TOKEN}")),
]


@pytest.mark.parametrize(("headers", "subprotocols"), PLACES)
def test_the_token_opens_an_authenticated_gateway_and_the_stored_key_is_used(
    headers: tuple[tuple[str, str], ...], subprotocols: tuple[str, ...]
) -> None:
    admission = Entrance(key_of("openai"), gateway_token=TOKEN).admit(
        "/v1/local/default/openai/realtime", *headers, subprotocols=subprotocols, transport=Transport.WEBSOCKET
    )
    assert admission.caller is not None
    assert admission.caller.kind == "gateway_token"
    assert shown(admission) == ("stored", "settings")


@every_transport
@pytest.mark.parametrize("headers", [(), (("authorization", "Bearer sk-somebodys"),)])
def test_without_the_token_an_authenticated_gateway_refuses_alike_on_every_transport(
    headers: tuple[tuple[str, str], ...], transport: Transport
) -> None:
    with pytest.raises(Unauthorized) as refusal:
        Entrance(key_of("openai"), gateway_token=TOKEN).admit(
            "/v1/local/default/openai/chat/completions", *headers, transport=transport
        )
    assert "sk-somebodys" not in refusal.value.message


def test_the_local_provider_is_no_way_around_authentication() -> None:
    with pytest.raises(Unauthorized):
        Entrance(gateway_token=TOKEN).admit("/v1/local/default/local/chat/completions")


def test_trap_which_layer_refused_can_be_told_by_code_reason_and_words() -> None:
    def refusal(entrance: Entrance) -> GatewayError:
        with pytest.raises(GatewayError) as raised:
            entrance.admit()
        return raised.value

    gateway, provider = refusal(Entrance(gateway_token=TOKEN)), refusal(Entrance())
    assert (gateway.status, provider.status) == (401, 401)
    assert gateway.code != provider.code
    assert gateway.reason != provider.reason
    assert "gateway refused" in gateway.message
    assert "no key for OpenAI" in provider.message


def test_without_a_token_in_the_settings_nobody_is_known() -> None:
    registry = LiveRegistry(Settings())
    assert registry.recognise("") is None
    assert registry.recognise("anything") is None


@pytest.mark.parametrize("value", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\xff", "日本"])
def test_only_the_whole_token_is_known(value: str) -> None:
    registry = LiveRegistry(Settings(gateway_token=TOKEN))
    assert registry.recognise(value) is None
    assert registry.recognise(TOKEN) is not None


# Which key is shown to the provider


@every_transport
def test_the_callers_own_key_comes_before_every_stored_one(transport: Transport) -> None:
    entrance = Entrance(key_of("openai"))
    headers = (
        ("authorization", "Bearer own"),
        entrance.cookie(provider_keys={"openai": "typed"}),
        ("origin", OWN_PAGE),
    )
    path = "/v1/local/default/openai/realtime"
    assert shown(entrance.admit(path, *headers, transport=transport)) == ("own", "caller")


def test_the_key_typed_into_the_console_comes_before_that_of_the_settings() -> None:
    entrance = Entrance(key_of("openai"))
    cookie = entrance.cookie(provider_keys={"openai": "typed"})
    assert shown(entrance.admit("/v1/local/default/openai/models", cookie, ("origin", OWN_PAGE))) == (
        "typed",
        "session",
    )


def test_a_key_typed_for_another_provider_is_not_shown() -> None:
    entrance = Entrance(key_of("openai"))
    cookie = entrance.cookie(provider_keys={"groq": "typed"})
    assert shown(entrance.admit("/v1/local/default/openai/models", cookie, ("origin", OWN_PAGE))) == (
        "stored",
        "settings",
    )


def test_a_key_typed_for_an_alias_is_that_of_the_provider() -> None:
    entrance = Entrance()
    cookie = entrance.cookie(provider_keys={"grok": "typed"})
    assert shown(entrance.admit("/v1/local/default/xai/models", cookie, ("origin", OWN_PAGE))) == ("typed", "session")


def test_the_stored_key_is_used_where_the_caller_brought_none() -> None:
    assert shown(Entrance(key_of("openai")).admit()) == ("stored", "settings")


@pytest.mark.parametrize("blank", ["Bearer ", "Bearer undefined", "Bearer null", "Bearer CF_TEMP_TOKEN"])
def test_trap_a_blank_key_does_not_hide_the_stored_one(blank: str) -> None:
    admission = Entrance(key_of("openai")).admit("/v1/local/default/openai/models", ("authorization", blank))
    assert shown(admission) == ("stored", "settings")


def test_trap_the_gateway_token_in_the_providers_place_does_not_hide_the_stored_key() -> None:
    admission = Entrance(key_of("openai"), gateway_token=TOKEN).admit(
        "/v1/local/default/openai/models", ("authorization", f"Bearer {TOKEN}")
    )
    assert shown(admission) == ("stored", "settings")


def test_the_token_in_one_place_and_a_key_in_another_are_both_understood() -> None:
    admission = Entrance(key_of("anthropic"), gateway_token=TOKEN).admit(
        "/v1/local/default/anthropic/v1/messages", ("authorization", f"Bearer {TOKEN}"), ("x-api-key", "own")
    )
    assert shown(admission) == ("own", "caller")


@every_transport
def test_without_any_key_the_refusal_names_provider_place_and_variable(transport: Transport) -> None:
    with pytest.raises(NoProviderKey) as refusal:
        Entrance().admit("/v1/local/default/perplexity/chat/completions", transport=transport)
    for words in ("Perplexity", "authorization", "TRUNKLINE_PROVIDERS__PERPLEXITY_AI__API_KEY"):
        assert words in refusal.value.message


def test_a_provider_that_needs_no_key_is_called_without_one() -> None:
    entrance = Entrance({"custom-lab": {"base_url": "http://127.0.0.1:9/v1"}})
    assert entrance.admit("/v1/local/default/custom-lab/models").key is None


@pytest.mark.parametrize(
    "header", [("authorization", "Bearer own"), ("x-api-key", "own"), ("cf-aig-authorization", "x")]
)
def test_trap_the_local_provider_takes_any_key_in_any_place_and_sees_none_of_them(header: tuple[str, str]) -> None:
    admission = Entrance().admit("/v1/local/default/local/chat/completions", header)
    assert shown(admission) == (LOCAL_KEY, "local")


def test_of_several_keys_the_one_in_the_providers_own_place_is_taken() -> None:
    both = (("authorization", "Bearer for-openai"), ("api-key", "for-azure"))
    entrance = Entrance()
    assert shown(entrance.admit("/v1/local/default/openai/models", *both)) == ("for-openai", "caller")
    assert shown(entrance.admit("/v1/local/default/ideogram/generate", *both)) == ("for-azure", "caller")


@pytest.mark.parametrize(
    ("path", "headers", "subprotocols"),
    [
        ("azure/res/dep/models", (("authorization", "Bearer one-key"), ("api-key", "other-key")), ()),
        ("anthropic/v1/messages", (("authorization", "Bearer sk-ant-api-one-key"), ("x-api-key", "other-key")), ()),
        ("openai", (("authorization", "Bearer one-key"),), ("realtime", "openai-insecure-api-key.other-key")),
    ],
)
def test_two_different_keys_in_places_of_the_provider_are_refused_by_their_places(
    path: str, headers: tuple[tuple[str, str], ...], subprotocols: tuple[str, ...]
) -> None:
    transport = Transport.WEBSOCKET if subprotocols else Transport.HTTP
    with pytest.raises(MalformedRequest) as refusal:
        Entrance().admit(f"/v1/local/default/{path}", *headers, subprotocols=subprotocols, transport=transport)
    assert "header authorization" in refusal.value.message
    assert "one-key" not in refusal.value.message
    assert "other-key" not in refusal.value.message


def test_the_same_key_in_two_places_of_the_provider_is_one_key() -> None:
    admission = Entrance().admit(
        "/v1/local/default/openai",
        ("authorization", "Bearer own"),
        subprotocols=("realtime", "openai-insecure-api-key.own"),
        transport=Transport.WEBSOCKET,
    )
    assert shown(admission) == ("own", "caller")


def test_a_key_in_a_place_the_provider_does_not_have_is_taken_when_it_is_the_only_one() -> None:
    admission = Entrance().admit("/v1/local/default/openai/models", ("x-api-key", "own"))
    assert shown(admission) == ("own", "caller")


@pytest.mark.parametrize("header", [("x-api-key", "own"), ("authorization", "Bearer own")])
def test_trap_anthropics_key_is_understood_in_both_of_its_places(header: tuple[str, str]) -> None:
    assert shown(Entrance().admit("/v1/local/default/anthropic/v1/messages", header)) == ("own", "caller")


def test_a_query_key_is_the_callers_only_where_the_providers_api_has_one() -> None:
    entrance = Entrance()
    admission = entrance.admit("/v1/local/default/google", query="api_key=own", transport=Transport.WEBSOCKET)
    assert shown(admission) == ("own", "caller")
    with pytest.raises(NoProviderKey):
        entrance.admit("/v1/local/default/openai", query="api_key=own", transport=Transport.WEBSOCKET)


def test_a_key_is_not_in_its_representation() -> None:
    assert "secret" not in repr(ProviderKey("secret", "caller"))


# The console's cookie


def test_the_cookie_counts_only_for_the_gateways_own_pages() -> None:
    entrance = Entrance()
    cookie = entrance.cookie(provider_keys={"openai": "typed"})
    for headers in ([("origin", "http://localhost:3000")], [("sec-fetch-site", "same-site")], []):
        with pytest.raises(NoProviderKey):
            entrance.admit("/v1/local/default/openai/models", cookie, *headers)
    with pytest.raises(ForbiddenOrigin):
        entrance.admit("/v1/local/default/openai/models", cookie, ("sec-fetch-site", "cross-site"))


def test_a_same_origin_get_without_an_origin_header_counts_as_the_gateways_own_page() -> None:
    entrance = Entrance()
    cookie = entrance.cookie(provider_keys={"openai": "typed"})
    admission = entrance.admit("/v1/local/default/openai/models", cookie, ("sec-fetch-site", "same-origin"))
    assert shown(admission) == ("typed", "session")


@every_transport
def test_the_token_typed_into_the_console_opens_an_authenticated_gateway(transport: Transport) -> None:
    entrance = Entrance(gateway_token=TOKEN)
    cookie = entrance.cookie(gateway_token=TOKEN, use_authenticated_gateway=True)
    path = "/v1/local/default/local/realtime"
    admission = entrance.admit(path, cookie, ("origin", OWN_PAGE), transport=transport)
    assert admission.caller is not None


@pytest.mark.parametrize(
    "session",
    [
        {"gateway_token": TOKEN, "use_authenticated_gateway": False},
        {"gateway_token": "another-token-of-many-letters", "use_authenticated_gateway": True},
        {"gateway_token": "", "use_authenticated_gateway": True},
    ],
)
def test_a_session_without_the_right_token_in_use_opens_nothing(session: dict[str, Any]) -> None:
    entrance = Entrance(gateway_token=TOKEN)
    with pytest.raises(Unauthorized):
        entrance.admit("/v1/local/default/local/models", entrance.cookie(**session), ("origin", OWN_PAGE))


def test_a_page_of_a_stranger_is_refused_before_its_key_is_looked_at() -> None:
    entrance = Entrance(key_of("openai"))
    with pytest.raises(ForbiddenOrigin):
        entrance.admit("/v1/local/default/openai/models", ("origin", "https://evil.example"))


def test_a_head_like_one_before_is_admitted_alike_until_the_set_up_changes() -> None:
    entrance = Entrance(key_of("openai"))
    first, alike = (
        Head(Transport.HTTP, "POST", "/v1/local/default/openai/responses", "", [(b"host", HOST.encode())])
        for _ in range(2)
    )
    alike.share(first.memo)
    admission = entrance.doorkeeper.admit(first)
    assert admission.is_lasting
    assert entrance.doorkeeper.admit(alike) is admission
    entrance.registry._take(replace(entrance.registry.now))
    assert entrance.doorkeeper.admit(alike) is not admission


def test_an_admission_by_a_cookie_is_good_for_one_request() -> None:
    entrance = Entrance()
    cookie = entrance.cookie(provider_keys={"openai": "typed"})
    admission = entrance.admit("/v1/local/default/openai/responses", cookie, ("origin", OWN_PAGE))
    assert shown(admission) == ("typed", "session")
    assert not admission.is_lasting


def test_what_was_worked_out_for_one_admission_is_not_another_ones() -> None:
    entrance = Entrance(key_of("openai"))
    head = Head(Transport.HTTP, "POST", "/v1/local/default/openai/responses", "", [(b"host", HOST.encode())])
    admission = entrance.doorkeeper.admit(head)
    assert admission.known(head, "kind") is None
    assert admission.remember(head, "kind", "found") == "found"
    assert admission.known(head, "kind") == "found"
    assert replace(admission, rest="models").known(head, "kind") is None
