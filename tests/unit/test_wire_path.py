"""Where a request wants to go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import MalformedRequest
from trunkline.wire.path import ROOT_RESOURCES, Target, is_universal, of_rest, parse_path


@pytest.mark.parametrize(
    ("path", "provider", "rest"),
    [
        ("/v1/a/g/openai/chat/completions", "openai", "chat/completions"),
        ("/v1/a/g/openai/v1/chat/completions", "openai", "v1/chat/completions"),
        ("/v1/a/g/openai", "openai", ""),
        ("/v1/a/g/openai/", "openai", ""),
        ("/v1/a/g/openai/realtime", "openai", "realtime"),
        ("/v1/a/g/azure-openai/res/dep/chat/completions", "azure-openai", "res/dep/chat/completions"),
        ("/v1/a/g/custom-mine/v1/v1/models", "custom-mine", "v1/v1/models"),
        ("/v1/a/g/workers-ai/run/@cf/meta/llama", "workers-ai", "run/@cf/meta/llama"),
        ("/v1/a/g/openai/files/a%2Fb%20c", "openai", "files/a%2Fb%20c"),
        ("/v1/a/g/openai//double//slash/", "openai", "/double//slash/"),
    ],
)
def test_the_provider_native_form_names_account_gateway_provider_and_rest(path: str, provider: str, rest: str) -> None:
    assert parse_path(path) == Target("a", "g", provider, rest)


@pytest.mark.parametrize("resource", sorted(ROOT_RESOURCES))
def test_a_root_path_begins_with_a_resource_of_openais_api(resource: str) -> None:
    assert parse_path(f"/v1/{resource}") == Target(None, None, None, resource)
    assert parse_path(f"/v1/{resource}/a/b/c/d") == Target(None, None, None, f"{resource}/a/b/c/d")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "v1/a/g/openai",
        "/v1",
        "/v1/",
        "/v2/a/g/openai",
        "/V1/a/g/openai",
        "//v1/a/g/openai",
        "x/v1/a/g/openai",
        "/healthz",
    ],
)
def test_a_path_outside_v1_is_refused(path: str) -> None:
    with pytest.raises(MalformedRequest):
        parse_path(path)


@pytest.mark.parametrize("path", ["/v1/a", "/v1/a/g", "/v1/a/g/", "/v1/a//openai/x", "/v1//g/openai/x", "/v1/a/g//x"])
def test_a_path_without_provider_is_refused_with_an_example(path: str) -> None:
    with pytest.raises(MalformedRequest, match="/v1/local/default/openai/chat/completions"):
        parse_path(path)


@given(st.text(max_size=60) | st.text(max_size=40).map("/v1/".__add__))
def test_any_text_is_a_path_or_is_refused(path: str) -> None:
    try:
        target = parse_path(path)
    except MalformedRequest:
        return
    if target.provider is None:
        assert f"/v1/{target.rest}" == path
    else:
        assert path in (
            f"/v1/{target.account}/{target.gateway}/{target.provider}/{target.rest}",
            f"/v1/{target.account}/{target.gateway}/{target.provider}",
        )


@pytest.mark.parametrize("path", ["/v1/a/g", "/v1/a/g/", "/v1/local/default", "/v1/a%2Fb/g%20x/"])
def test_account_and_gateway_alone_are_the_universal_endpoint(path: str) -> None:
    assert is_universal(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1",
        "/v1/",
        "/v1/a",
        "/v1/a/",
        "/v1/a//",
        "/v1//g",
        "/v1/a/g//",
        "/v1/a/g/openai",
        "/v1/a/g/openai/",
        "/v2/a/g",
        "//v1/a/g",
        "/v1/chat/completions",
        "/v1/models/gpt-5",
        "/v1/models/gpt-5/",
    ],
)
def test_no_other_path_is_the_universal_endpoint(path: str) -> None:
    assert not is_universal(path)


@given(st.text(max_size=60) | st.text(max_size=40).map("/v1/".__add__))
def test_a_universal_path_names_no_provider(path: str) -> None:
    if is_universal(path):
        with pytest.raises(MalformedRequest, match="names no provider"):
            parse_path(path)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/client/v4/accounts/a/ai/v1/chat/completions", "/v1/a/g/compat/chat/completions"),
        ("/client/v4/accounts/a/ai/v1/messages", "/v1/a/g/compat/messages"),
        ("/client/v4/accounts/a/ai/run", "/v1/a/g/run"),
        ("/client/v4/accounts/a/ai/run/", "/v1/a/g/run"),
        (
            "/client/v4/accounts/a/ai/run/@cf/meta/llama-3.1-8b-instruct",
            "/v1/a/g/workers-ai/@cf/meta/llama-3.1-8b-instruct",
        ),
        ("/client/v4/accounts/a/ai/models/search", None),
        ("/client/v4/accounts/a/ai/runner", None),
        ("/client/v4/accounts/a/ai-gateway/gateways", None),
        ("/client/v4/accounts/a/b/ai/run", None),
        ("/v1/a/g/compat/chat/completions", None),
    ],
)
def test_cloudflares_rest_addresses_stand_for_others(path: str, asked: str | None) -> None:
    assert of_rest(path, "g") == asked


def test_a_gateway_that_is_named_by_a_header_stays_one_part_of_a_path() -> None:
    assert (
        of_rest("/client/v4/accounts/a/ai/v1/messages", "g/openai/../x?y")
        == "/v1/a/g%2Fopenai%2F..%2Fx%3Fy/compat/messages"
    )
