"""What a usage costs: as the price list has it, or by prices of the operator's or the caller's own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.policy.cost import cost_of_answer, cost_of_tokens, price_is_known
from trunkline.policy.price_list import find_offer
from trunkline.policy.prices import CustomCost, ModelPrice, custom_cost_for, parse_custom_cost
from trunkline.policy.usage import Answered, TokenUsage

# Every model of every provider that goes by its own name in the list.
SLUGS = {"aws": "aws-bedrock", "azure": "azure-openai", "google": "google-vertex-ai", "x-ai": "grok"}
MODELS = [
    (provider.id, model.id)
    for provider in get_snapshot().providers
    for model in provider.models
    if provider.find_model(model.id) is model
]

COUNTS = st.integers(0, 300_000)


@st.composite
def usages(draw: st.DrawFn) -> TokenUsage:
    """Return a usage whose parts fit into their wholes."""
    text, audio, image, video = (draw(COUNTS) for _ in range(4))
    cached_audio, cached_image = draw(st.integers(0, audio)), draw(st.integers(0, image))
    cached_text = draw(st.integers(0, text))
    written = draw(st.integers(0, text - cached_text))
    made_audio, made_image, made_video, plain = (draw(COUNTS) for _ in range(4))
    reasoning = draw(st.integers(0, plain))
    return TokenUsage(
        input=text + audio + image + video,
        input_audio=audio,
        input_image=image,
        input_video=video,
        cached=cached_text + cached_audio + cached_image,
        cached_audio=cached_audio,
        cached_image=cached_image,
        cache_write=written,
        cache_write_1h=draw(st.integers(0, written)),
        output=plain + made_audio + made_image + made_video,
        output_audio=made_audio,
        output_image=made_image,
        output_video=made_video,
        reasoning=reasoning,
        citations=draw(st.integers(0, plain - reasoning)),
        searches=draw(st.integers(0, 30)),
        tier=draw(st.sampled_from(["", "default", "standard", "flex", "priority", "fast", "batch"])),
    )


def as_listed(usage: TokenUsage) -> Usage:
    """Return a usage under the list's own names."""
    text = usage.input - usage.input_audio - usage.input_image - usage.input_video
    return Usage(
        input_tokens=usage.input,
        input_text_tokens=text,
        input_audio_tokens=usage.input_audio,
        input_image_tokens=usage.input_image,
        input_video_tokens=usage.input_video,
        cache_read_tokens=usage.cached,
        cache_text_read_tokens=usage.cached - usage.cached_audio - usage.cached_image,
        cache_audio_read_tokens=usage.cached_audio,
        cache_image_read_tokens=usage.cached_image,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
        output_text_tokens=usage.output - usage.output_audio - usage.output_image - usage.output_video,
        output_audio_tokens=usage.output_audio,
        output_image_tokens=usage.output_image,
        output_video_tokens=usage.output_video,
        output_reasoning_tokens=usage.reasoning,
        output_citation_tokens=usage.citations,
        web_searches=usage.searches,
        input_characters=0,
    )


@settings(max_examples=300)
@given(st.sampled_from(MODELS), usages())
def test_every_model_costs_what_its_price_list_says(named: tuple[str, str], usage: TokenUsage) -> None:
    seller, model = named
    context = {"service_tier": usage.tier} if usage.tier in ("flex", "priority", "fast") else None
    if usage.tier == "fast" and seller == "anthropic":
        context = {"speed": "fast"}
    if usage.tier == "batch":
        context = {"processing": "batch"}
    listed = calc_price(as_listed(usage), model, provider_id=seller, price_context=context)
    found = cost_of_tokens(SLUGS.get(seller, seller), model, usage)
    has_tokens = any(getattr(listed.model_price, unit) is not None for unit in ("input_mtok", "output_mtok"))
    if usage.total and not has_tokens:
        assert found is None
    else:
        assert found == pytest.approx(float(listed.total_price), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "dollars"),
    [
        ("openai", "gpt-4o", TokenUsage(input=1000, cached=400, output=100), (600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6),
        ("azure-openai", "gpt-4o", TokenUsage(input=1000, output=100), (1000 * 2.5 + 100 * 10) / 1e6),
        (
            "anthropic",
            "claude-sonnet-4-5",
            TokenUsage(input=1000, cached=100, cache_write=300, cache_write_1h=100, output=10, searches=2),
            (600 * 3 + 100 * 0.3 + 200 * 3.75 + 100 * 6 + 10 * 15) / 1e6 + 2 * 0.01,
        ),
        ("anthropic", "claude-opus-4-8", TokenUsage(input=1000, output=10, tier="fast"), (1000 * 10 + 10 * 50) / 1e6),
        # Above 200,000 tokens all of them cost more.
        (
            "anthropic",
            "claude-sonnet-4-5",
            TokenUsage(input=200_001, output=10),
            (200_001 * 6 + 10 * 22.5) / 1e6,
        ),
        (
            "google-ai-studio",
            "gemini-2.5-flash",
            TokenUsage(input=1000, input_audio=500, cached=300, cached_audio=100, output=50, reasoning=20),
            (300 * 0.3 + 200 * 0.03 + 400 * 1 + 100 * 0.1 + 50 * 2.5) / 1e6,
        ),
        ("openai", "text-embedding-3-small", TokenUsage(input=1000), 1000 * 0.02 / 1e6),
        (
            "openai",
            "gpt-image-1",
            TokenUsage(input=140, input_image=100, output=4160, output_image=4160, images=1),
            (40 * 5 + 100 * 10 + 4160 * 40) / 1e6,
        ),
        ("openai", "tts-1", TokenUsage(characters=1000), 1000 * 15 / 1e6),
        ("openai", "whisper-1", TokenUsage(seconds=90), 90 / 3600 * 0.36),
        ("groq", "whisper-large-v3", TokenUsage(seconds=2), 10 / 3600 * 0.111),
        ("openai", "gpt-4o-transcribe", TokenUsage(seconds=2.5), 25 * 6 / 1e6),
        ("perplexity-ai", "sonar", TokenUsage(), 0.012),
        (
            "perplexity-ai",
            "sonar-deep-research",
            TokenUsage(input=33, output=7163 + 73997 + 20016, reasoning=73997, citations=20016, searches=21),
            (33 * 2 + 7163 * 8 + 73997 * 3 + 20016 * 2) / 1e6 + 21 * 0.005,
        ),
        ("mistral", "mistral-ocr-2503", TokenUsage(pages=4), 0.004),
        ("workers-ai", "@cf/meta/llama-3.1-8b-instruct", TokenUsage(input=1000), 1000 * 0.282 / 1e6),
        ("local", "anything", TokenUsage(input=1000, seconds=3, images=2), 0.0),
        # Parts that do not fit into their whole are a slip of the provider's.
        ("openai", "gpt-4o", TokenUsage(input=100, cached=900), 100 * 1.25 / 1e6),
        ("openai", "gpt-4o", TokenUsage(output=10, reasoning=900), 10 * 10 / 1e6),
        # Unknown to the list, or used in a way that it has no price for.
        ("openai", "my-own-finetune-of-nothing", TokenUsage(input=10), None),
        ("deepgram", "nova-3", TokenUsage(seconds=10), None),
        ("openai", "dall-e-3", TokenUsage(images=1), None),
        ("openai", "gpt-4o", TokenUsage(images=1), None),
        ("openai", "gpt-4o-mini-tts", TokenUsage(characters=1000), None),
        ("openai", "whisper-1", TokenUsage(input=10), None),
        ("openai", "gpt-4o", TokenUsage(pages=1), None),
        ("custom-mine", "gpt-4o", TokenUsage(input=10), None),
    ],
)
def test_each_kind_of_use_has_its_own_price(
    provider: str, model: str, usage: TokenUsage, dollars: float | None
) -> None:
    found = cost_of_tokens(provider, model, usage)
    assert found == (None if dollars is None else pytest.approx(dollars))


def answered(**told: Any) -> Answered:
    return Answered(**{"model": "gpt-4o", "asked_model": "gpt-4o", "usage": TokenUsage(input=1000), **told})


def test_an_answer_costs_what_its_provider_says_else_what_the_list_says() -> None:
    listed = pytest.approx(0.0025)
    assert cost_of_answer("openai", answered()) == listed
    assert cost_of_answer("openrouter", answered(stated_cost=0.5)) == 0.5
    assert cost_of_answer("openai", answered(usage=None)) is None
    assert cost_of_answer("local", answered(usage=None)) == 0.0
    # The model that answered counts, or, where the list lacks it, the one that was asked for.
    assert cost_of_answer("openai", answered(model="gpt-4o-mini")) == pytest.approx(0.00015)
    assert cost_of_answer("openai", answered(model="a-deployment-of-ours")) == listed
    assert cost_of_answer("openai", answered(model="x", asked_model="y")) is None


def test_a_price_of_ones_own_goes_before_all_others() -> None:
    prices = CustomCost(per_token_in=0.001, per_token_out=0.01)
    usage = TokenUsage(input=100, cached=60, cache_write=10, output=5)
    for provider, model in (("openai", "gpt-4o"), ("local", "local"), ("custom-mine", "nothing")):
        assert cost_of_tokens(provider, model, usage, prices) == pytest.approx(0.15)
    assert cost_of_answer("openrouter", answered(usage=usage, stated_cost=9.0), prices) == pytest.approx(0.15)
    assert cost_of_answer("openai", answered(usage=None), prices) is None
    assert cost_of_answer("openai", answered(usage=None), CustomCost(total_cost=2)) == 2.0


@pytest.mark.parametrize(
    ("read", "write", "dollars"),
    [
        (None, None, 100 * 0.5),
        (0.25, None, 30 * 0.5 + 60 * 0.25 + 10 * 0.5),
        (None, 1.0, 30 * 0.5 + 60 * 0.5 + 10 * 1.0),
        (0.0, 0.0, 30 * 0.5),
    ],
)
def test_the_cache_price_that_is_absent_is_that_of_the_input(
    read: float | None, write: float | None, dollars: float
) -> None:
    prices = CustomCost(per_token_in=0.5, per_cache_read_token=read, per_cache_write_token=write)
    usage = TokenUsage(input=100, cached=60, cache_write=10)
    assert cost_of_tokens("openai", "gpt-4o", usage, prices) == pytest.approx(dollars)


@pytest.mark.parametrize(
    ("header", "prices"),
    [
        ('{"per_token_in":0.000001,"per_token_out":0.00002}', CustomCost(per_token_in=1e-6, per_token_out=2e-5)),
        ('{"total_cost": 1, "unknown": "x"}', CustomCost(total_cost=1)),
        ('{"per_cache_read_token": 0}', CustomCost(per_cache_read_token=0)),
        ("{}", None),
        ('{"unknown": 1}', None),
        ('{"per_token_in": -0.1}', None),
        ('{"per_token_in": "1"}', None),
        ('{"per_token_in": true}', None),
        ('{"per_token_in": NaN}', None),
        ('{"per_token_in": Infinity}', None),
        ('{"per_token_in": 1e999}', None),
        ('{"per_token_in": 1%s}' % ("0" * 400), None),
        ("[1]", None),
        ("0.5", None),
        ("", None),
        ("{", None),
        ('{"a":' * 300 + "1" + "}" * 300, None),
        ('{"per_token_in": 1}' + " " * 3000, None),
    ],
)
def test_the_header_for_a_custom_cost_sets_prices_or_nothing(header: str, prices: CustomCost | None) -> None:
    assert parse_custom_cost(header) == prices


@given(st.text())
def test_no_header_makes_parsing_fail(header: str) -> None:
    assert parse_custom_cost(header) is None  # a price would need the name of one


def test_the_first_rule_of_a_gateway_that_fits_sets_the_price() -> None:
    mini, any_4o, all_of_mine = (CustomCost(per_token_in=price) for price in (1.0, 2.0, 3.0))
    rules = (
        ModelPrice(model="gpt-4o-mini", prices=mini),
        ModelPrice(provider="openai", model="gpt-4o*", prices=any_4o),
        ModelPrice(provider="custom-mine", prices=all_of_mine),
    )
    assert custom_cost_for(rules, "azure-openai", "gpt-4o-mini") == mini
    assert custom_cost_for(rules, "openai", "gpt-4o-2024-08-06") == any_4o
    assert custom_cost_for(rules, "azure-openai", "gpt-4o") is None
    assert custom_cost_for(rules, "custom-mine", "whatever") == all_of_mine
    assert custom_cost_for((), "openai", "gpt-4o") is None


def test_a_rule_is_kept_and_read_as_json_and_a_misspelt_one_is_refused() -> None:
    rule = ModelPrice(provider="openai", model="gpt-4o*", prices=CustomCost(per_token_in=1e-6))
    assert msgspec.convert(msgspec.to_builtins(rule), ModelPrice) == rule
    for broken in (
        {"model": "x", "prices": {"per_token": 1}},
        {"model": "x", "prices": {"per_token_in": -1}},
        {"model": "x", "prices": {"per_token_in": float("inf")}},
        {"model": "", "prices": {}},
        {"model": "x"},
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(broken, ModelPrice)


def test_of_the_names_that_callers_make_up_the_price_list_remembers_so_many() -> None:
    for at in range(5000):
        assert not price_is_known(f"custom-{at}", f"made-up-{at}")
    remembered = find_offer.cache_info()
    assert remembered.currsize == remembered.maxsize == 4096
