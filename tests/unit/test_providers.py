"""Who can be reached, and at which address: every slug of Cloudflare AI Gateway."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import GatewayError, MalformedRequest, SettingsError, UnknownProvider
from trunkline.providers import Catalogue, Provider, Via, chained_realtime, resolve_http, resolve_realtime
from trunkline.providers.catalogue import check_address, packaged_data, provider_from

CATALOGUE = Catalogue.build({})


def provider(name: str, **overrides: Any) -> Provider:
    found = Catalogue.build({name: overrides} if overrides else {}).find(name)
    assert found is not None
    return found


def url(name: str, rest: str) -> str:
    return resolve_http(provider(name), rest).url


# Every slug and alias

SLUGS = {
    "openai": (),
    "anthropic": (),
    "google-ai-studio": ("google",),
    "google-vertex-ai": (),
    "azure-openai": ("azure",),
    "aws-bedrock": ("bedrock",),
    "workers-ai": (),
    "grok": ("xai",),
    "groq": (),
    "deepseek": (),
    "mistral": (),
    "perplexity-ai": ("perplexity",),
    "cerebras": (),
    "openrouter": (),
    "cohere": (),
    "huggingface": (),
    "replicate": (),
    "fal": (),
    "ideogram": (),
    "cartesia": (),
    "deepgram": (),
    "elevenlabs": (),
    "baseten": (),
    "parallel": (),
    "fireworks": (),
    "local": (),
}


@pytest.mark.parametrize("slug", SLUGS)
def test_every_slug_and_alias_of_the_contract_is_known(slug: str) -> None:
    found = CATALOGUE.find(slug)
    assert found is not None
    assert found.slug == slug
    for alias in SLUGS[slug]:
        assert CATALOGUE.find(alias) is found


def test_no_provider_is_missing_from_this_list() -> None:
    assert {one.slug for one in CATALOGUE.all()} == set(SLUGS)


def test_local_and_openai_come_first_and_each_provider_comes_once() -> None:
    slugs = [one.slug for one in CATALOGUE.all()]
    assert slugs[:2] == ["local", "openai"]
    assert len(set(slugs)) == len(slugs)


def test_an_unknown_name_finds_nobody() -> None:
    assert CATALOGUE.find("nobody") is None
    assert CATALOGUE.find("OpenAI") is None


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if slug != "local"])
def test_every_packaged_address_is_https(slug: str) -> None:
    data = packaged_data()[slug]
    addresses = [data.get("base_url"), *(route["base_url"] for route in data.get("routes", ()))]
    assert {urlsplit(address).scheme for address in addresses if address} == {"https"}


@pytest.mark.parametrize("one", list(CATALOGUE.all()), ids=lambda one: one.slug)
def test_every_providers_own_surfaces_resolve(one: Provider) -> None:
    named = provider(one.slug, parameters={"account": "acc"}) if one.slug == "workers-ai" else one
    for path in (one.chat_path, one.models_path, one.client_secrets_path):
        if path is not None:
            assert resolve_http(named, path).url.endswith(path)


# Base URL and path

ADDRESSES = [
    ("openai", "chat/completions", "https://api.openai.com/v1/chat/completions"),
    ("openai", "v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
    ("openai", "v1/responses", "https://api.openai.com/v1/responses"),
    ("anthropic", "v1/messages", "https://api.anthropic.com/v1/messages"),
    ("anthropic", "messages", "https://api.anthropic.com/v1/messages"),
    (
        "google-ai-studio",
        "v1beta/models/gemini:generateContent",
        "https://generativelanguage.googleapis.com/v1beta/models/gemini:generateContent",
    ),
    (
        "google-ai-studio",
        "v1/models/gemini:streamGenerateContent",
        "https://generativelanguage.googleapis.com/v1/models/gemini:streamGenerateContent",
    ),
    (
        "google-vertex-ai",
        "v1/projects/p/locations/us-east1/publishers/google/models/m:generateContent",
        "https://us-east1-aiplatform.googleapis.com/v1/projects/p/locations/us-east1/publishers/google/models/m:generateContent",
    ),
    (
        "google-vertex-ai",
        "v1/projects/p/locations/global/publishers/google/models/m:generateContent",
        "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google/models/m:generateContent",
    ),
    (
        "azure-openai",
        "my-resource/gpt-4/chat/completions",
        "https://my-resource.openai.azure.com/openai/deployments/gpt-4/chat/completions",
    ),
    (
        "aws-bedrock",
        "bedrock-runtime/us-east-1/model/anthropic.claude%3A0/invoke",
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude%3A0/invoke",
    ),
    ("grok", "chat/completions", "https://api.x.ai/v1/chat/completions"),
    ("grok", "v1/chat/completions", "https://api.x.ai/v1/chat/completions"),
    ("groq", "chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
    ("groq", "v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
    ("deepseek", "chat/completions", "https://api.deepseek.com/chat/completions"),
    ("deepseek", "v1/chat/completions", "https://api.deepseek.com/v1/chat/completions"),
    ("mistral", "v1/chat/completions", "https://api.mistral.ai/v1/chat/completions"),
    ("mistral", "chat/completions", "https://api.mistral.ai/v1/chat/completions"),
    ("perplexity-ai", "chat/completions", "https://api.perplexity.ai/chat/completions"),
    ("cerebras", "chat/completions", "https://api.cerebras.ai/v1/chat/completions"),
    ("cerebras", "v1/chat/completions", "https://api.cerebras.ai/v1/chat/completions"),
    ("openrouter", "v1/chat/completions", "https://openrouter.ai/api/v1/chat/completions"),
    ("openrouter", "chat/completions", "https://openrouter.ai/api/v1/chat/completions"),
    ("cohere", "v2/chat", "https://api.cohere.ai/v2/chat"),
    ("huggingface", "bigcode/starcoder", "https://api-inference.huggingface.co/models/bigcode/starcoder"),
    ("replicate", "predictions", "https://api.replicate.com/v1/predictions"),
    ("replicate", "v1/predictions", "https://api.replicate.com/v1/predictions"),
    ("fal", "fal-ai/fast-sdxl", "https://fal.run/fal-ai/fast-sdxl"),
    ("ideogram", "generate", "https://api.ideogram.ai/generate"),
    ("cartesia", "tts/bytes", "https://api.cartesia.ai/tts/bytes"),
    ("deepgram", "v1/listen", "https://api.deepgram.com/v1/listen"),
    ("elevenlabs", "v1/text-to-speech/voice", "https://api.elevenlabs.io/v1/text-to-speech/voice"),
    ("baseten", "v1/chat/completions", "https://inference.baseten.co/v1/chat/completions"),
    ("baseten", "model/abc123/production/predict", "https://model-abc123.api.baseten.co/production/predict"),
    ("parallel", "v1/tasks/runs", "https://api.parallel.ai/v1/tasks/runs"),
    ("fireworks", "chat/completions", "https://api.fireworks.ai/inference/v1/chat/completions"),
    ("fireworks", "v1/chat/completions", "https://api.fireworks.ai/inference/v1/chat/completions"),
]


@pytest.mark.parametrize(("slug", "rest", "address"), ADDRESSES)
def test_a_path_goes_where_the_provider_has_it(slug: str, rest: str, address: str) -> None:
    assert url(slug, rest) == address
    for alias in SLUGS[slug]:
        assert url(alias, rest) == address


def test_every_provider_has_its_address_tested() -> None:
    assert {slug for slug, _, _ in ADDRESSES} == set(SLUGS) - {"local", "workers-ai"}


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("@cf/meta/llama-3.1-8b-instruct", "run/@cf/meta/llama-3.1-8b-instruct"),
        ("run/@cf/meta/llama-3.1-8b-instruct", "run/@cf/meta/llama-3.1-8b-instruct"),
        ("v1/chat/completions", "v1/chat/completions"),
    ],
)
def test_workers_ai_has_the_account_of_the_settings(rest: str, path: str) -> None:
    named = provider("workers-ai", parameters={"account": "0123abcd"})
    assert resolve_http(named, rest).url == f"https://api.cloudflare.com/client/v4/accounts/0123abcd/ai/{path}"


def test_a_parameter_that_is_not_set_is_asked_for_by_its_place_in_the_settings() -> None:
    with pytest.raises(UnknownProvider, match=r"\[providers\.workers-ai\.parameters\] account"):
        url("workers-ai", "v1/chat/completions")


def test_only_one_duplicate_version_is_taken_away() -> None:
    assert url("openai", "v1/v1/models") == "https://api.openai.com/v1/v1/models"


def test_a_version_alone_or_nothing_is_the_version() -> None:
    for rest in ("", "v1", "v1/"):
        assert url("openai", rest).rstrip("/") == "https://api.openai.com/v1"
        assert url("mistral", rest).rstrip("/") == "https://api.mistral.ai/v1"


def test_a_resource_that_only_begins_like_the_version_is_no_version() -> None:
    assert url("openai", "v1beta/x") == "https://api.openai.com/v1/v1beta/x"


def test_encoding_of_the_path_is_kept() -> None:
    assert url("openai", "files/a%2Fb%20c%E4%B8%96") == "https://api.openai.com/v1/files/a%2Fb%20c%E4%B8%96"


def test_slashes_before_the_path_do_not_name_a_host() -> None:
    assert url("openai", "//evil.example/x") == "https://api.openai.com/v1/evil.example/x"
    assert url("openai", "/models") == "https://api.openai.com/v1/models"


@pytest.mark.parametrize("slug", ["azure-openai", "aws-bedrock", "google-vertex-ai"])
def test_a_path_that_fits_no_route_is_refused_with_the_form(slug: str) -> None:
    with pytest.raises(UnknownProvider, match="begins with"):
        url(slug, "nothing")


@pytest.mark.parametrize(
    "rest",
    [
        "evil.example%2F/dep/chat",
        "evil.example/dep/chat",
        "evil@host/dep/chat",
        "evil:80/dep/chat",
        "-evil/dep/chat",
        "a" * 64 + "/dep/chat",
        "res/..%2f/chat",
        "res/d%65p/chat",
    ],
)
def test_a_path_cannot_choose_another_host(rest: str) -> None:
    with pytest.raises(GatewayError):
        url("azure-openai", rest)


@pytest.mark.parametrize(
    "rest",
    [
        "..",
        "../x",
        "a/../b",
        "a/..",
        "./a",
        "a/%2e%2e/b",
        "a/%2E%2e%2Fb",
        "a/.%2e/b",
        "a\\b",
        "a%5cb",
        "a%00b",
        "a b",
        "a\nb",
        "a\r\nHost: evil",
        "a?b",
        "a#b",
        "a\x7f",
    ],
)
def test_a_path_that_servers_read_differently_is_refused(rest: str) -> None:
    for resolve in (lambda: url("openai", rest), lambda: resolve_realtime(provider("deepgram"), rest, "")):
        with pytest.raises(MalformedRequest):
            resolve()


def test_dots_within_a_segment_are_ordinary() -> None:
    assert url("openai", "models/gpt-4.1..x/...") == "https://api.openai.com/v1/models/gpt-4.1..x/..."


@given(st.sampled_from(sorted(set(SLUGS) - {"workers-ai"})), st.text(max_size=40))
def test_any_path_resolves_below_the_providers_own_host_or_is_refused(slug: str, rest: str) -> None:
    one = provider(slug)
    try:
        target = resolve_http(one, rest)
    except GatewayError:
        return
    parts = urlsplit(target.url)
    hosts = {urlsplit(address).hostname or "" for address in (one.base_url, *(route.base_url for route in one.routes))}
    suffixes = {host.rpartition("}")[2] for host in hosts if host}
    assert any((parts.hostname or "").endswith(suffix) for suffix in suffixes)
    assert parts.username is None
    assert not parts.query
    assert not parts.fragment


@given(
    st.sampled_from(["azure-openai", "aws-bedrock", "google-vertex-ai", "baseten"]),
    st.lists(st.text(max_size=12), min_size=5, max_size=7),
)
def test_any_value_in_a_host_stays_a_label_of_the_providers_domain(slug: str, segments: list[str]) -> None:
    starts = {
        "azure-openai": segments,
        "aws-bedrock": ["bedrock-runtime", *segments],
        "google-vertex-ai": ["v1", "projects", segments[0], "locations", *segments[1:]],
        "baseten": ["model", *segments],
    }
    domain = {
        "azure-openai": ".openai.azure.com",
        "aws-bedrock": ".amazonaws.com",
        "google-vertex-ai": "aiplatform.googleapis.com",
        "baseten": ".baseten.co",
    }
    try:
        target = resolve_http(provider(slug), "/".join(starts[slug]))
    except GatewayError:
        return
    assert (urlsplit(target.url).hostname or "").endswith(domain[slug])


# Realtime

SOCKETS = [
    ("openai", "", "model=m", "wss://api.openai.com/v1/realtime"),
    ("openai", "realtime", "model=m", "wss://api.openai.com/v1/realtime"),
    ("openai", "v1/realtime", "model=m", "wss://api.openai.com/v1/realtime"),
    ("openai", "realtime/", "model=m", "wss://api.openai.com/v1/realtime"),
    ("openai", "realtime/translations", "model=m", "wss://api.openai.com/v1/realtime/translations"),
    ("grok", "", "", "wss://api.x.ai/v1/realtime"),
    ("grok", "v1/realtime", "", "wss://api.x.ai/v1/realtime"),
    (
        "google",
        "",
        "",
        "wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
    ),
    ("cartesia", "", "cartesia_version=2024-06-10", "wss://api.cartesia.ai/tts/websocket"),
    ("cartesia", "stt/websocket", "", "wss://api.cartesia.ai/stt/websocket"),
    ("elevenlabs", "", "agent_id=A", "wss://api.elevenlabs.io/v1/convai/conversation"),
    (
        "elevenlabs",
        "v1/text-to-speech/v/stream-input",
        "",
        "wss://api.elevenlabs.io/v1/text-to-speech/v/stream-input",
    ),
    ("fal", "fal-ai/fast-lcm-diffusion", "", "wss://ws.fal.run/fal-ai/fast-lcm-diffusion"),
    ("fal", "fal-ai/fast-lcm-diffusion/realtime", "", "wss://fal.run/fal-ai/fast-lcm-diffusion/realtime"),
    ("fal", "fal-ai/flux-2/klein/realtime", "", "wss://fal.run/fal-ai/flux-2/klein/realtime"),
    ("deepgram", "v1/listen", "model=nova-3", "wss://api.deepgram.com/v1/listen"),
    ("deepgram", "v2/listen", "model=flux-general-en", "wss://api.deepgram.com/v2/listen"),
    ("deepgram", "v1/speak", "", "wss://api.deepgram.com/v1/speak"),
    ("deepgram", "v1/agent/converse", "", "wss://agent.deepgram.com/v1/agent/converse"),
    ("azure", "acme/openai/v1/realtime", "model=d", "wss://acme.openai.azure.com/openai/v1/realtime"),
    ("azure", "acme/openai/realtime", "api-version=1&deployment=d", "wss://acme.openai.azure.com/openai/realtime"),
    ("azure", "acme/realtime", "model=d", "wss://acme.openai.azure.com/openai/v1/realtime"),
    *(
        ("google", f"ws/{service}.{method}", "", f"wss://generativelanguage.googleapis.com/ws/{service}.{method}")
        for service in (
            f"google.ai.generativelanguage.{version}.GenerativeService" for version in ("v1alpha", "v1beta")
        )
        for method in ("BidiGenerateContent", "BidiGenerateContentConstrained")
    ),
    ("local", "", "model=local", "ws://127.0.0.1/v1/realtime"),
    ("local", "realtime", "model=local", "ws://127.0.0.1/v1/realtime"),
]


@pytest.mark.parametrize(("slug", "rest", "query", "address"), SOCKETS)
def test_a_websocket_goes_where_the_provider_has_it(slug: str, rest: str, query: str, address: str) -> None:
    target = resolve_realtime(provider(slug), rest, query)
    assert target is not None
    assert (target.url, target.query) == (address, query)


@pytest.mark.parametrize(
    ("slug", "rest"),
    [
        ("openai", "chat/completions"),
        ("openai", "realtime/x"),
        ("google", "v1beta/models"),
        ("groq", ""),
        ("azure", "acme/deployment/chat/completions"),
        ("cartesia", "tts/bytes"),
    ],
)
def test_a_websocket_where_the_provider_has_none_goes_nowhere(slug: str, rest: str) -> None:
    assert resolve_realtime(provider(slug), rest, "") is None


@pytest.mark.parametrize(
    ("rest", "query", "left"),
    [
        ("", "model=@cf/deepgram/nova-3&encoding=linear16", "encoding=linear16"),
        ("", "encoding=linear16&model=%40cf%2Fdeepgram%2Fnova-3", "encoding=linear16"),
        ("run/@cf/deepgram/nova-3", "encoding=linear16", "encoding=linear16"),
        ("@cf/deepgram/nova-3", "", ""),
    ],
)
def test_a_model_of_workers_ai_is_a_path_of_the_account_wherever_the_client_names_it(
    rest: str, query: str, left: str
) -> None:
    target = resolve_realtime(provider("workers-ai", parameters={"account": "acc"}), rest, query)
    assert target is not None
    assert target.url == "wss://api.cloudflare.com/client/v4/accounts/acc/ai/run/@cf/deepgram/nova-3"
    assert target.query == left


@pytest.mark.parametrize("model", ["../../other", "%2e%2e/x", "a/%252e%252e/b", "m?x=1", "m#x", "m x", "日本"])
def test_a_model_that_becomes_a_path_cannot_leave_the_account(model: str) -> None:
    workers_ai = provider("workers-ai", parameters={"account": "acc"})
    try:
        target = resolve_realtime(workers_ai, "", f"model={model}")
    except MalformedRequest:
        return
    assert target is not None
    assert target.url.isascii()
    assert target.url.startswith("wss://api.cloudflare.com/client/v4/accounts/acc/ai/run/")
    assert not {"?", "#", " ", ".."} & {*target.url, *target.url.split("/")}


def test_a_resource_is_one_label_of_a_host_name() -> None:
    for resource in ("evil.example%2f", "a.b", "x%23", "-"):
        with pytest.raises(MalformedRequest):
            resolve_realtime(provider("azure"), f"{resource}/openai/v1/realtime", "")


def test_a_resource_set_once_need_not_be_in_the_path() -> None:
    with pytest.raises(UnknownProvider, match="parameters"):
        resolve_realtime(provider("azure-openai"), "realtime", "model=d")
    target = resolve_realtime(provider("azure-openai", parameters={"resource": "acme"}), "realtime", "model=d")
    assert target is not None
    assert target.url == "wss://acme.openai.azure.com/openai/v1/realtime"


@pytest.mark.parametrize(
    ("slug", "rest", "address"),
    [
        ("deepgram", "v1/agent/converse", "wss://dg.example/v1/agent/converse"),
        ("azure-openai", "openai/realtime", "wss://dg.example/openai/realtime"),
        ("fal", "fal-ai/x/realtime", "wss://dg.example/fal-ai/x/realtime"),
        ("workers-ai", "", "wss://dg.example/@cf/m"),
    ],
)
def test_another_base_url_stands_for_every_host_of_a_provider(slug: str, rest: str, address: str) -> None:
    target = resolve_realtime(provider(slug, base_url="https://dg.example"), rest, "" if rest else "model=@cf/m")
    assert target is not None
    assert target.url == address


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("intent=transcription&model=m", "intent=transcription"),
        ("model=m&intent=transcription&x=%20", "intent=transcription&x=%20"),
        ("call_id=rtc_1&model=m", "call_id=rtc_1"),
        ("model=m", "model=m"),
        ("model=intent", "model=intent"),
        ("intent=transcription", "intent=transcription"),
        ("%69ntent=transcription&mod%65l=m", "%69ntent=transcription"),
        ("", ""),
    ],
)
def test_the_model_that_livekit_adds_for_gateways_is_not_sent_to_openai(query: str, sent: str) -> None:
    target = resolve_realtime(provider("openai"), "realtime", query)
    assert target is not None
    assert target.query == sent


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("model=gpt-4o-realtime-preview", "model=gpt-realtime-2.1"),
        ("model=gpt-4o-mini-realtime-preview-2024-12-17", "model=gpt-realtime-2.1-mini"),
        ("a=%20+&mod%65l=gpt%2D4o-realtime-preview-2024-10-01&b", "a=%20+&mod%65l=gpt-realtime-2.1&b"),
        ("model=gpt-4o-realtime-preview&model=x", "model=gpt-realtime-2.1&model=x"),
        ("model=gpt-realtime", "model=gpt-realtime"),
        ("model=GPT-4o-realtime-preview", "model=GPT-4o-realtime-preview"),
        ("other=gpt-4o-realtime-preview", "other=gpt-4o-realtime-preview"),
        ("intent=transcription&model=gpt-4o-realtime-preview", "intent=transcription"),
    ],
)
def test_a_retired_model_is_replaced_on_a_websocket_and_nothing_else_of_the_query_changes(
    query: str, sent: str
) -> None:
    target = resolve_realtime(provider("openai"), "realtime", query)
    assert target is not None
    assert target.query == sent
    via = Via("https://gateway.ai.cloudflare.com/v1/a/g")
    chained = chained_realtime(provider("openai"), via, "realtime", query)
    assert chained is not None
    assert chained.query == sent


def test_the_settings_say_which_models_take_the_place_of_others() -> None:
    query = "model=gpt-4o-realtime-preview"
    for models, sent in (
        ({"gpt-4o-*": "my own/model"}, "model=my%20own%2Fmodel"),
        ({"gpt-4o-realtime-preview": "first", "gpt-*": "second"}, "model=first"),
        ({}, query),
    ):
        target = resolve_realtime(provider("openai", realtime={"models": models}), "realtime", query)
        assert target is not None
        assert (target.url, target.query) == ("wss://api.openai.com/v1/realtime", sent)


def test_a_deployment_of_azure_keeps_its_name() -> None:
    query = "model=gpt-4o-realtime-preview"
    target = resolve_realtime(provider("azure"), "acme/openai/v1/realtime", query)
    assert target is not None
    assert target.query == query


@pytest.mark.parametrize("one", [one for one in CATALOGUE.all() if one.socket], ids=lambda one: one.slug)
def test_every_websocket_has_a_place_for_a_key_and_its_first_is_no_sub_protocol(one: Provider) -> None:
    assert one.socket is not None
    assert one.socket.credential_slots
    assert one.socket.credential_slots[0].kind == "header"


def test_a_text_model_can_get_the_local_voice() -> None:
    voiced = provider("groq", realtime="cascade")
    assert voiced.is_cascade
    assert voiced.socket is None
    assert not provider("groq").is_cascade


# Settings over the packaged data


def test_a_base_url_of_the_settings_replaces_the_providers() -> None:
    moved = provider("openai", base_url="http://127.0.0.1:9000/v1")
    assert resolve_http(moved, "v1/chat/completions").url == "http://127.0.0.1:9000/v1/chat/completions"
    target = resolve_realtime(moved, "realtime", "")
    assert target is not None
    assert target.url == "ws://127.0.0.1:9000/v1/realtime"


def test_a_base_url_without_the_version_gets_it() -> None:
    moved = provider("openai", base_url="https://proxy.example/openai")
    assert resolve_http(moved, "chat/completions").url == "https://proxy.example/openai/v1/chat/completions"


def test_a_base_url_replaces_a_providers_routes() -> None:
    moved = provider("azure-openai", base_url="https://eu.example/deployments/d")
    assert resolve_http(moved, "chat/completions").url == "https://eu.example/deployments/d/chat/completions"


def test_an_alias_names_the_provider_in_settings_too() -> None:
    catalogue = Catalogue.build({"xai": {"api_key": "k"}})
    grok = catalogue.find("grok")
    assert grok is not None
    assert grok.stored_key == "k"


def test_a_stored_key_is_trimmed() -> None:
    assert provider("openai", api_key=" k\n").stored_key == "k"


def test_other_providers_stay_as_they_are() -> None:
    catalogue = Catalogue.build({"openai": {"api_key": "k"}})
    for one in catalogue.all():
        if one.slug != "openai":
            assert one == CATALOGUE.find(one.slug)
    assert packaged_data()["openai"].get("stored_key") is None


def test_tables_merge_and_lists_replace() -> None:
    merged = provider("openai", realtime={"any_path": True}, credential_slots=[{"kind": "header", "name": "x-key"}])
    assert merged.socket is not None
    assert merged.socket.any_path
    assert merged.socket.paths["realtime"] == "realtime"
    assert [slot.name for slot in merged.credential_slots] == ["x-key"]


def test_the_representation_of_a_provider_holds_no_key() -> None:
    assert "secret" not in repr(provider("openai", api_key="sk-secret"))


# Custom providers


def test_a_custom_provider_takes_its_base_url_as_it_is() -> None:
    mine = provider("custom-mine", base_url="https://llm.example/v1")
    assert resolve_http(mine, "chat/completions").url == "https://llm.example/v1/chat/completions"
    assert resolve_http(mine, "v1/models").url == "https://llm.example/v1/v1/models"
    assert mine.name == "mine"
    assert not mine.needs_key
    assert mine.chat_path == "chat/completions"


def test_a_custom_provider_can_have_a_voice() -> None:
    mine = provider("custom-mine", base_url="https://llm.example/v1", realtime={"paths": {"": "realtime"}})
    target = resolve_realtime(mine, "", "")
    assert target is not None
    assert target.url == "wss://llm.example/v1/realtime"
    assert mine.socket is not None
    assert mine.socket.credential_slots == mine.credential_slots


def test_a_custom_provider_needs_a_base_url() -> None:
    with pytest.raises(SettingsError, match=r"providers\.custom-mine.*base_url"):
        Catalogue.build({"custom-mine": {}})


def test_a_provider_that_does_not_exist_is_refused_with_what_to_do() -> None:
    with pytest.raises(SettingsError, match="custom-opnai"):
        Catalogue.build({"opnai": {"api_key": "k"}})


# The schema

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("openai", {"bse_url": "https://x.example"}, "bse_url"),
    ("openai", {"base_url": 7}, "base_url"),
    ("openai", {"api_key": 7}, "api_key"),
    ("openai", {"needs_key": "perhaps"}, "needs_key"),
    ("openai", {"usage": "guessed"}, "usage"),
    ("openai", {"dialect": "latin"}, "dialect"),
    ("openai", {"realtime": "cascading"}, "realtime"),
    ("openai", {"realtime": {"path": {}}}, "path"),
    ("openai", {"headers": {"x": ["a"]}}, "headers"),
    ("openai", {"credential_slots": [{"kind": "cookie", "name": "x"}]}, "kind"),
    ("openai", {"credential_slots": [{"kind": "header"}]}, "name"),
    ("openai", {"credential_slots": []}, "credential_slots"),
    ("azure-openai", {"routes": [{"path": "x"}]}, "base_url"),
    ("openai", {"base_url": "api.example"}, "base_url"),
    ("openai", {"base_url": ""}, "base_url"),
    ("openai", {"realtime": {"base_url": "http://api.example"}}, "realtime"),
]


@pytest.mark.parametrize(("name", "table", "field"), BAD)
def test_bad_data_is_refused_naming_table_and_field(name: str, table: dict[str, Any], field: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Catalogue.build({name: table})
    assert f"providers.{name}" in str(refusal.value)
    assert field in str(refusal.value)


def test_a_refusal_never_holds_a_key() -> None:
    for table in ({"api_key": "sk-secret", "usage": "x"}, {"base_url": "https://user:sk-secret@api.example"}):
        with pytest.raises(SettingsError) as refusal:
            Catalogue.build({"openai": table})
        assert "sk-secret" not in str(refusal.value)


def test_two_providers_of_one_name_are_refused() -> None:
    openai = provider("openai")
    with pytest.raises(SettingsError, match="openai names two providers"):
        Catalogue([openai, openai])


def test_the_smallest_provider_is_three_lines() -> None:
    one = provider_from({"slug": "x", "name": "X", "base_url": "https://x.example"}, "providers.x")
    assert [(slot.kind, slot.name, slot.scheme) for slot in one.credential_slots] == [
        ("header", "authorization", "Bearer")
    ]


# Addresses


@pytest.mark.parametrize(
    "address",
    [
        "https://api.example",
        "https://api.example:8443/v1/",
        "wss://api.example/v1",
        "http://127.0.0.1:8080/v1",
        "http://127.9.9.9",
        "http://localhost:11434",
        "http://[::1]:8080/v1",
        "ws://localhost",
        "https://{resource}.example/{deployment}",
    ],
)
def test_https_anywhere_and_plain_http_on_this_machine_are_taken(address: str) -> None:
    check_address(address, "providers.x")


@pytest.mark.parametrize(
    "address",
    [
        "http://api.example",
        "ws://api.example",
        "http://10.0.0.1",
        "http://0.0.0.0:8080",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://[2001:db8::1]",
        "HTTP://api.example",
    ],
)
def test_plain_http_to_another_machine_is_refused_since_keys_would_be_readable(address: str) -> None:
    with pytest.raises(SettingsError, match="this machine only"):
        check_address(address, "providers.x")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "api.example",
        "//api.example",
        "/v1",
        "https://",
        "https:///v1",
        "ftp://api.example",
        "file:///etc/passwd",
        "https://user@api.example",
        "https://user:pass@api.example",
        "http://127.0.0.1@api.example",
        "https://api.example?key=1",
        "https://api.example#x",
        "https://[::1",
        "https://api.example:port",
        "https://api.example:99999",
        "https://api .example",
        "https://api\n.example",
        "https://api.example\\@evil.example",
        "http://127.0.0.1\\.evil.example",
    ],
)
def test_what_is_no_plain_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match=r"providers\.x"):
        check_address(address, "providers.x")


@given(
    st.text(max_size=40) | st.text(max_size=30).map("https://".__add__) | st.text(max_size=30).map("http://".__add__)
)
def test_any_text_is_an_address_or_is_refused(address: str) -> None:
    try:
        check_address(address, "providers.x")
    except SettingsError:
        return
    assert urlsplit(address).hostname
