"""The list of prices in the package, against the library that it is made from: the same answer for every name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from genai_prices.types import StartDateConstraint, TieredPrices
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.errors import SettingsError
from trunkline.policy import price_list
from trunkline.policy.cost import cost_of_tokens
from trunkline.policy.price_list import Offer, PriceList, Stepped, use_price_list
from trunkline.policy.usage import TokenUsage
from trunkline.providers import Catalogue
from trunkline.server.gateway import Gateway
from trunkline.settings import Settings

FILE = Path(price_list.__file__).with_name(price_list.FILE)
LIST = msgspec.json.decode(FILE.read_bytes(), type=PriceList)
LIBRARY = get_snapshot().providers
SELLERS = [provider.id for provider in LIBRARY]

# What an answer may state as its tier, and what the library wants to be told then; other words mean the usual prices.
CONTEXTS: dict[str, dict[str, str] | None] = {
    "": None,
    "flex": {"service_tier": "flex", "speed": "flex"},
    "priority": {"service_tier": "priority", "speed": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "batch": {"processing": "batch"},
}
# Dates in both forms; below, what may follow them and what only looks like one.
ENDINGS = ("-2025-01-01", "-20250101")
# Examples of what stands in the list's regular expressions.
PIECES = {
    r"\d{8}": "20260131",
    r"\d{4}": "2026",
    r"\d{2}": "01",
    r"\d": "7",
    "[-@]": "@",
    "(typesafe/)?": "typesafe/",
    "(-20260131)?": "-20260131",
    r"(?!.*-[tT][tT][sS](?:$|-))": "preview",
}


def leaves(clause: Any) -> Iterator[Any]:
    """Yield the clauses of the library that hold no others."""
    inner = getattr(clause, "or_", None) or getattr(clause, "and_", None)
    if inner is None:
        yield clause
    for one in inner or ():
        yield from leaves(one)


def name_for(leaf: Any) -> str:
    """Return a name that a clause fits."""
    ((kind, text),) = vars(leaf).items()
    match kind:
        case "starts_with":
            name = f"{text}-x"
        case "ends_with":
            name = f"x-{text}"
        case "contains":
            name = f"x-{text}-y"
        case "regex":
            name = text.removeprefix("^").removesuffix("$")
            for piece, example in PIECES.items():
                name = name.replace(piece, example)
            name = re.sub(r"\\(.)", r"\1", name)
        case _:
            name = text
    assert leaf.is_match(name.lower()), f"no example is known for {leaf}: add one to PIECES"
    return str(name)


def names_of(model: Any) -> set[str]:
    """Return names that a model goes by, or might: those that its clauses fit, and its id, with dates too."""
    clauses = list(leaves(model.match))
    names = {name_for(leaf) for leaf in clauses}
    if any("[tT]" in getattr(leaf, "regex", "") for leaf in clauses):
        names |= {f"{one}{other}" for one, other in product(names, ("-TTS", "-tts-x", "-ttsx"))}
    return names | {model.id, *(model.id + ending for ending in ENDINGS)}


def asked() -> Iterator[tuple[str, str]]:
    """Yield each seller with each name of its models, and of those of the sellers that it falls back to."""
    by_id = {provider.id: provider for provider in LIBRARY}
    for provider in LIBRARY:
        for seller in (provider.id, *(provider.fallback_model_providers or ())):
            for at, model in enumerate(by_id[seller].models):
                for name in sorted(names_of(model)):
                    yield provider.id, name
                if at % 8 == 0:
                    yield provider.id, model.id.title()
                    yield provider.id, model.id.rpartition("/")[2] if "/" in model.id else f"openai/{model.id}"


def moments(model: Any) -> Iterable[datetime]:
    """Return moments before, at and after every change of a model's prices, and of every day that matters."""
    conditions = [*(model.prices if isinstance(model.prices, list) else ()), *(model.price_variants or ())]
    constraints = [one.constraint for one in conditions if one.constraint is not None]
    starts = [one.start_date for one in constraints if isinstance(one, StartDateConstraint)]
    hours = [
        time
        for one in constraints
        if not isinstance(one, StartDateConstraint)
        for time in (one.start_time, one.end_time)
    ]
    if not constraints:
        return [datetime.now(UTC)]
    midnights = [datetime(start.year, start.month, start.day, tzinfo=UTC) for start in starts]
    days = [datetime(2020, 2, 29, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC), *midnights]
    edges = {*days, *(datetime.combine(day, time, time.tzinfo or UTC) for day in days for time in hours)}
    return [at - before for at in edges for before in (timedelta(), timedelta(microseconds=1))]


def in_library(seller: str, model: str) -> tuple[Any, Any] | None:
    provider = find_provider_by_id(LIBRARY, seller)
    found = provider.find_model(model, all_providers=LIBRARY) if provider is not None else None
    return None if found is None else (provider, found)


def as_ours(prices: Any) -> dict[str, float | Stepped]:
    """Return what the library says in our words."""
    return {
        unit: Stepped(float(price.base), tuple((tier.start, float(tier.price)) for tier in price.tiers))
        if isinstance(price, TieredPrices)
        else float(price)
        for unit, price in vars(prices).items()
        if price is not None
    }


def assert_same_prices(offer: Offer, provider: Any, model: Any) -> int:
    """Compare at every moment that matters and in every tier, and return how often."""
    compared = 0
    for at in moments(model):
        for tier, context in CONTEXTS.items():
            listed = model.calc_price(Usage(), provider, genai_request_timestamp=at, price_context=context).model_price
            assert offer.at(at.timestamp(), tier) == as_ours(listed), (provider.id, model.id, at, tier)
            compared += 1
        assert offer.at(at.timestamp(), "standard") == offer.at(at.timestamp())
    return compared


def test_every_model_has_the_prices_of_the_library_by_every_name_at_every_moment_in_every_tier() -> None:
    assert LIST.version == version("genai-prices")
    seen: set[tuple[str, int, int]] = set()
    found = missed = compared = 0
    for seller, name in asked():
        offer, listed = LIST.find(seller, name), in_library(seller, name)
        if listed is None:
            assert offer is None, (seller, name)
            missed += 1
            continue
        assert offer is not None, (seller, name)
        found += 1
        provider, model = listed
        # A model that was compared already is recognised by its prices.
        pair = provider.id, id(model), id(offer.prices)
        if pair not in seen:
            seen.add(pair)
            compared += assert_same_prices(offer, provider, model)
    models = {model for _, model, _ in seen}
    # Some can never be met: an earlier one fits all of their names.
    assert len(models) > 0.97 * sum(len(provider.models) for provider in LIBRARY)
    assert min(found, missed) > 4_000
    assert compared > 20_000


def test_sellers_go_by_the_names_that_the_library_knows_them_by() -> None:
    names = {provider.slug for provider in Catalogue.build().all()}
    names |= {"custom-openai-proxy", "custom-mine", "", " OpenAI ", "Google-Vertex", "amazon bedrock", "together_ai"}
    for provider in LIBRARY:
        names |= {provider.id, provider.id.upper(), f" {provider.id} ", f"custom-{provider.id}"}
        if provider.provider_match is not None:
            names |= {name_for(leaf) for leaf in leaves(provider.provider_match)}
    for name in names:
        provider, ours = find_provider_by_id(LIBRARY, name), LIST._seller(name)
        assert (ours.id if ours is not None else None) == (provider.id if provider is not None else None), name


@settings(max_examples=100)
@given(st.sampled_from(SELLERS), st.text(max_size=30) | st.from_regex(r"[a-z]{2,8}-20[0-9]{6}(:[a-z]+)?\n?"))
def test_names_that_nobody_sells_have_no_price_in_either(seller: str, name: str) -> None:
    listed, offer = in_library(seller, name), LIST.find(seller, name)
    assert (offer is None) == (listed is None)
    if listed is not None and offer is not None:
        now = datetime.now(UTC)
        assert offer.at(now.timestamp()) == as_ours(listed[1].get_prices(now))


@given(st.text(alphabet="-:x0123456789٣", max_size=24))
def test_compact_dates_are_read_as_the_library_reads_them(tail: str) -> None:
    from genai_prices.types import _normalize_compact_dated_ref

    for name in (f"gpt{tail}", f"gpt-2024{tail}", f"gpt-202402{tail}", "gpt-20240229", "gpt-20230229:x\n"):
        assert price_list._COMPACT_DATE.sub(price_list._dashed, name) == _normalize_compact_dated_ref(name)


def test_the_page_on_costs_says_from_where_and_of_which_day_the_list_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "costs.md").read_text("utf-8")
    assert f"version {LIST.version}, taken up on {LIST.day}" in " ".join(page.split())


def document(*offers: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"version": "9", "day": "2030-01-01", "sellers": [{"id": "openai", "offers": offers}]})


def test_another_list_counts_once_it_is_chosen_and_until_it_is_not() -> None:
    usage = TokenUsage(input=1_000_000)
    packaged = cost_of_tokens("openai", "gpt-4o", usage)
    try:
        use_price_list(document({"match": ["equals", ["gpt-4o"]], "prices": {"input_mtok": 77}}))
        assert cost_of_tokens("openai", "gpt-4o", usage) == 77.0
        assert cost_of_tokens("openai", "gpt-4o-mini", usage) is None
    finally:
        use_price_list(None)
    assert cost_of_tokens("openai", "gpt-4o", usage) == packaged != 77.0


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"sellers": []}', "missing required field `version`"),
        (document({"match": ["equals", ["x"]], "prices": {"input_mtok": "3"}}), "sellers"),
        (document({"match": ["equals", ["x"]], "prices": {"input_mtok": -3}}), ">= 0"),
        (document({"match": ["sounds_like", "x"], "prices": {}}), "sounds_like"),
        (document({"match": ["or", [["regex", "("]]], "prices": {}}), "no regular expression"),
    ],
)
def test_what_is_no_list_is_refused_and_changes_nothing(broken: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        use_price_list(broken)
    assert cost_of_tokens("openai", "gpt-4o", TokenUsage(input=1_000_000)) == 2.5


def test_a_gateway_takes_its_prices_from_the_file_of_its_settings_or_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"

    async def start() -> None:
        gateway = Gateway(Settings(data_dir=tmp_path / "data", prices_file=file))
        try:
            await gateway.start()
            await gateway.close()
        finally:
            gateway.worker.release()

    with pytest.raises(SettingsError, match=r"prices_file: .*prices\.json .*No such file"):
        asyncio.run(start())
    file.write_text("{}")
    with pytest.raises(SettingsError, match=r"prices_file: .*prices\.json .*missing required field"):
        asyncio.run(start())
    file.write_bytes(document({"match": ["equals", ["gpt-4o"]], "prices": {"input_mtok": 77}}))
    try:
        asyncio.run(start())
        assert cost_of_tokens("openai", "gpt-4o", TokenUsage(input=1_000_000)) == 77.0
    finally:
        use_price_list(None)
