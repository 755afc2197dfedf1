"""From the address a person has to the addresses that are asked."""

from __future__ import annotations

import pytest

from trunkline.credentials.matrix import Way
from trunkline.probe import ProbeError, Target

CLOUDFLARE = "https://gateway.ai.cloudflare.com/v1/0123abcd/my-gw"
CHAT = "chat/completions"


@pytest.mark.parametrize(
    ("url", "provider", "models", "chat", "realtime"),
    [
        (
            CLOUDFLARE,
            "openai",
            f"{CLOUDFLARE}/openai/models",
            f"{CLOUDFLARE}/openai/{CHAT}",
            "wss://gateway.ai.cloudflare.com/v1/0123abcd/my-gw/openai?model=m%2Fr",
        ),
        (f"{CLOUDFLARE}/openai/", "openai", f"{CLOUDFLARE}/openai/models", None, None),
        (f"{CLOUDFLARE}/grok", "xai", f"{CLOUDFLARE}/grok/v1/models", None, None),
        (CLOUDFLARE, "anthropic", f"{CLOUDFLARE}/anthropic/v1/models", f"{CLOUDFLARE}/anthropic/v1/messages", ""),
        (CLOUDFLARE, "mistral", f"{CLOUDFLARE}/mistral/v1/models", f"{CLOUDFLARE}/mistral/v1/{CHAT}", ""),
        (
            CLOUDFLARE,
            "google",
            f"{CLOUDFLARE}/google-ai-studio/v1beta/models",
            f"{CLOUDFLARE}/google-ai-studio/v1beta/models/m%2Fc:streamGenerateContent?alt=sse",
            "",
        ),
        (
            "https://host/behind/v1/acct/gw",
            "openai",
            "https://host/behind/v1/acct/gw/openai/models",
            None,
            "wss://host/behind/v1/acct/gw/openai?model=m%2Fr",
        ),
        ("https://ai.example.com/openai", "openai", "https://ai.example.com/openai/models", None, None),
        (
            "https://api.openai.com/v1",
            "openai",
            "https://api.openai.com/v1/models",
            f"https://api.openai.com/v1/{CHAT}",
            "wss://api.openai.com/v1/realtime?model=m%2Fr",
        ),
        ("https://api.openai.com", "openai", "https://api.openai.com/v1/models", None, None),
        ("wss://api.openai.com/v1", "openai", "https://api.openai.com/v1/models", None, None),
        ("http://127.0.0.1:4000/v1", "openai", "http://127.0.0.1:4000/v1/models", None, None),
        (
            "http://[::1]:4000/v1",
            "local",
            "http://[::1]:4000/v1/models",
            f"http://[::1]:4000/v1/{CHAT}",
            "ws://[::1]:4000/v1/realtime?model=m%2Fr",
        ),
        ("https://api.groq.com/openai/v1", "groq", "https://api.groq.com/openai/v1/models", None, ""),
        ("https://api.x.ai", "grok", "https://api.x.ai/v1/models", None, "wss://api.x.ai/v1/realtime?model=m%2Fr"),
        ("https://api.x.ai/v1", "grok", "https://api.x.ai/v1/models", None, "wss://api.x.ai/v1/realtime?model=m%2Fr"),
        ("https://api.anthropic.com/v1", "anthropic", "https://api.anthropic.com/v1/models", None, ""),
        ("https://google.example/v1beta", "google", "https://google.example/v1beta/models", None, ""),
    ],
)
def test_every_form_of_address_leads_to_the_same_requests(
    url: str, provider: str, models: str, chat: str | None, realtime: str | None
) -> None:
    target = Target(url, provider, model="m/c", realtime_model="m/r")
    assert target.address(Way.HTTP) == models
    if chat is not None:
        assert target.address(Way.SSE) == chat
    if realtime is not None:
        assert (target.address(Way.REALTIME) or "") == realtime
        assert (target.address(Way.REALTIME_BROWSER) or "") == realtime


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "begins with http"),
        ("api.openai.com/v1", "begins with http"),
        ("ftp://host/v1", "begins with http"),
        ("file:///etc/passwd", "begins with http"),
        ("https:///v1", "begins with http"),
        ("https://host:port/v1", "not a URL"),
        ("https://[::1/v1", "not a URL"),
        ("https://host/a b", "begins with http"),
        ("https://host\\other/", "begins with http"),
        ("https://hidden-user@host/v1", "no user, query or fragment"),
        ("https://u:hidden-word@host/v1", "no user, query or fragment"),
        ("https://host/v1?api_key=hidden", "no user, query or fragment"),
        ("https://host/v1#hidden", "no user, query or fragment"),
        ("https://api.openai.com/v1/chat/completions", "leave out what follows /v1"),
        ("https://api.openai.com/v1/models", "leave out what follows /v1"),
    ],
)
def test_what_is_no_base_url_is_refused_without_showing_it(url: str, said: str) -> None:
    with pytest.raises(ProbeError, match=said) as caught:
        Target(url)
    assert "hidden" not in str(caught.value)


def test_a_provider_that_is_unknown_or_cannot_be_asked_is_named() -> None:
    with pytest.raises(ProbeError, match=r"no provider 'opena'.*openai"):
        Target("https://host", "opena")
    with pytest.raises(ProbeError, match=r"Deepgram has no .* costs nothing"):
        Target("https://host", "deepgram")


def test_columns_are_those_the_provider_has() -> None:
    assert Target("https://host").ways == (Way.HTTP, Way.SSE, Way.REALTIME, Way.REALTIME_BROWSER)
    assert Target("https://host", "groq").ways == (Way.HTTP, Way.SSE)
    assert Target("https://host", "perplexity-ai").ways == (Way.SSE,)
