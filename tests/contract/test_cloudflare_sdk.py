"""Cloudflare's own Python client manages this gateway: each of its methods, with nothing but the base URL changed."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudflare import APIStatusError, AsyncCloudflare, BadRequestError, NotFoundError
from cloudflare._resource import AsyncAPIResource

from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder
from tests.running import Address, data_directory, gateway, run
from trunkline.store import Database, LogRecord, Logs
from trunkline.store.logs import first_ulid
from trunkline.store.rollups import Rollups
from trunkline.upstream.address import Origin

TOKEN = "gateway-token-of-many-characters"
GATEWAY = {
    "cache_invalidate_on_update": True,
    "cache_ttl": 60,
    "collect_logs": True,
    "rate_limiting_interval": 60,
    "rate_limiting_limit": 100,
}
PROMPT = b'{"model": "gpt-4o", "messages": []}'
ANSWER = b'{"object": "chat.completion"}'


@dataclass
class Stage:
    """A gateway with a log, and a client of Cloudflare's."""

    client: AsyncCloudflare
    address: Address
    upstream: Recorder
    origin: Origin
    log_ids: list[str]
    place: dict[str, str] = field(default_factory=lambda: {"account_id": "local", "gateway_id": "default"})

    @property
    def account(self) -> dict[str, str]:
        return {"account_id": "local"}


def rows(count: int, gateway: str = "default") -> list[LogRecord]:
    """Exchanges of the last minutes: every other one is OpenAI's."""
    now = time.time()
    return [
        LogRecord(
            id=first_ulid(now - 60 * (count - number)),
            gateway=gateway,
            created_at=now - 60 * (count - number),
            duration_ms=100.0 * (number + 1),
            provider="anthropic" if number % 2 else "openai",
            model="claude" if number % 2 else "gpt-4o",
            model_type="chat",
            path="chat/completions",
            request_content_type="application/json",
            response_content_type="application/json",
            status=200,
            success=True,
            tokens_in=10 * (number + 1),
            tokens_out=5,
            cost=0.01 * (number + 1),
            metadata={"team": "red" if number % 2 else "blue"},
            request=PROMPT,
            response=ANSWER,
        )
        for number in range(count)
    ]


async def write_rows(data_dir: Path, records: list[LogRecord]) -> None:
    database = await Database.open(data_dir)
    try:
        await Logs(database, [Rollups().add]).write(records)
    finally:
        await database.close()


@asynccontextmanager
async def stage(**settings: Any) -> AsyncIterator[Stage]:
    upstream = Recorder()
    records = rows(4)
    with data_directory() as data_dir:
        await write_rows(data_dir, records)
        async with (
            raw_server(upstream) as origin,
            gateway(
                data_dir=data_dir, gateway_token=TOKEN, custom_provider_hosts=("127.0.0.1",), **settings
            ) as address,
            AsyncCloudflare(api_token=TOKEN, base_url=f"{address.http}/client/v4", max_retries=0) as client,
        ):
            yield Stage(client, address, upstream, origin, [record.id for record in records])


Case = Callable[[Stage], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(method: str) -> Callable[[Case], Case]:
    def keep(run: Case) -> Case:
        assert method not in CASES
        CASES[method] = run
        return run

    return keep


def methods(resource: AsyncAPIResource, name: str = "") -> Iterator[str]:
    """Yield every method that sends a request, with the path by which it is reached."""
    for attribute, value in inspect.getmembers(type(resource)):
        if attribute.startswith(("_", "with_")):
            continue
        if inspect.isfunction(value):
            yield f"{name}{attribute}"
        elif attribute not in {"with_raw_response", "with_streaming_response"}:
            below = getattr(resource, attribute)
            assert isinstance(below, AsyncAPIResource), attribute
            yield from methods(below, f"{name}{attribute}.")


def test_every_method_of_the_client_has_a_case() -> None:
    client = AsyncCloudflare(api_token=TOKEN)
    assert sorted(methods(client.ai_gateway)) == sorted(CASES)


def origin_url(on: Stage) -> str:
    return f"http://127.0.0.1:{on.origin.port}"


async def every(page: Any) -> list[Any]:
    return [one async for one in page]


# Gateways


@case("create")
async def create(on: Stage) -> None:
    made = await on.client.ai_gateway.create(
        **on.account,
        id="team",
        **GATEWAY,
        authentication=True,
        log_management=5000,
        log_management_strategy="STOP_INSERTING",
        retry_max_attempts=3,
        retry_backoff="linear",
        guardrails={"prompt": {"p1": "BLOCK"}, "response": {"s1": "FLAG"}},
        spend_limits={"enabled": True, "rules": [{"limit": 5, "limit_type": "cost", "window": 3600}]},
        otel=[{"url": "https://spans.example.com", "headers": {"x-api-key": "planted-secret"}, "authorization": "s3"}],
        dlp={"enabled": True, "action": "FLAG", "profiles": ["cards"]},
        zdr=True,
    )
    assert (made.id, made.cache_ttl, made.log_management, made.is_default) == ("team", 60, 5000, False)
    assert made.guardrails is not None
    assert (made.guardrails.prompt.p1, made.guardrails.response.s1) == ("BLOCK", "FLAG")
    assert made.spend_limits is not None
    assert made.spend_limits.rules is not None
    assert made.spend_limits.rules[0].limit_type == "cost"
    assert made.otel is not None
    assert (made.otel[0].headers, made.otel[0].authorization) == ({"x-api-key": "********"}, "********")
    assert made.created_at.timestamp() == pytest.approx(time.time(), abs=600)
    async with httpx.AsyncClient() as app:
        answer = await app.get(f"{on.address.http}/v1/local/team/openai/models")
    assert answer.status_code == 401  # it is there, and asks for a key
    with pytest.raises(APIStatusError) as twice:
        await on.client.ai_gateway.create(**on.account, id="team", **GATEWAY)
    assert twice.value.status_code == 409


@case("update")
async def update(on: Stage) -> None:
    await on.client.ai_gateway.create(
        **on.account, id="changed", **GATEWAY, zdr=True, stripe={"authorization": "sk_live_1", "usage_events": []}
    )
    changed = await on.client.ai_gateway.update(
        "changed",
        **on.account,
        **{**GATEWAY, "collect_logs": False, "cache_ttl": None},
        stripe={"authorization": "********", "usage_events": [{"payload": "{}"}]},
    )
    assert (changed.collect_logs, changed.cache_ttl, changed.zdr) == (False, None, True)
    assert changed.stripe is not None
    assert len(changed.stripe.usage_events) == 1
    assert changed.modified_at > changed.created_at


@case("list")
async def list_(on: Stage) -> None:
    for name in ("one", "two"):
        await on.client.ai_gateway.create(**on.account, id=name, **GATEWAY)
    page = await on.client.ai_gateway.list(**on.account, per_page=2)
    assert [one.id for one in page.result] == ["default", "one"]
    assert page.result[0].is_default is True
    assert [one.id for one in await every(on.client.ai_gateway.list(**on.account, per_page=1))] == [
        "default",
        "one",
        "two",
    ]
    assert [one.id for one in await every(on.client.ai_gateway.list(**on.account, search="TW"))] == ["two"]


@case("delete")
async def delete(on: Stage) -> None:
    await on.client.ai_gateway.create(**on.account, id="gone", **GATEWAY)
    assert (await on.client.ai_gateway.delete("gone", **on.account)).id == "gone"
    with pytest.raises(NotFoundError):
        await on.client.ai_gateway.get("gone", **on.account)
    with pytest.raises(BadRequestError, match="always there"):
        await on.client.ai_gateway.delete("default", **on.account)


@case("get")
async def get(on: Stage) -> None:
    found = await on.client.ai_gateway.get("default", **on.account)
    assert (found.id, found.is_default, found.collect_logs) == ("default", True, True)
    with pytest.raises(NotFoundError) as refused:
        await on.client.ai_gateway.get("nowhere", **on.account)
    assert refused.value.errors[0].code == 7003
    with pytest.raises(NotFoundError):
        await on.client.ai_gateway.get("default", account_id="somebody-else")


@case("urls.get")
async def url(on: Stage) -> None:
    found = await on.client.ai_gateway.urls.get("openai", **on.place)
    assert found == f"{on.address.http}/v1/local/default/openai"


# The log


@case("logs.list")
async def logs(on: Stage) -> None:
    client = on.client.ai_gateway.logs
    newest_first = on.log_ids[::-1]
    everything = await every(client.list(**on.place, per_page=3))
    assert [one.id for one in everything] == newest_first
    first = everything[0]
    assert (first.provider, first.ai_model_type, first.duration, first.cost) == ("anthropic", "chat", 400, 0.04)
    assert json.loads(first.metadata or "") == {"team": "red"}

    async def ids(**asked: Any) -> list[str]:
        return [one.id for one in await every(client.list(**on.place, **asked))]

    openai = {"key": "provider", "operator": "eq", "value": ["openai"]}
    cheap = {"key": "cost", "operator": "lt", "value": [0.025]}
    assert await ids(filters=[openai]) == newest_first[1::2]
    assert await ids(filters=[openai, cheap]) == [on.log_ids[0]]
    both = {"key": "provider", "operator": "eq", "value": ["openai", "anthropic"]}
    assert await ids(filters=[both]) == newest_first
    with pytest.raises(BadRequestError, match="JSON array"):
        await ids(filters=[both, cheap])  # the client sends no sign of which value belongs to which
    assert await ids(extra_query={"filters": json.dumps([both, cheap])}) == [on.log_ids[1], on.log_ids[0]]
    assert await ids(provider="openai", min_cost=0.03) == [on.log_ids[2]]
    assert await ids(max_total_tokens=25) == [on.log_ids[1], on.log_ids[0]]
    assert await ids(search="red") == newest_first[::2]
    assert await ids(success=False) == []
    assert await ids(order_by="provider", order_by_direction="desc") == [*newest_first[1::2], *newest_first[::2]]
    assert await ids(direction="asc") == on.log_ids
    assert await ids(start_date="2020-01-01T00:00:00Z", end_date="2020-02-01T00:00:00Z") == []
    raw = await client.with_raw_response.list(**on.place, meta_info=True)
    info = json.loads(await raw.text())["result_info"]
    assert (info["total_count"], info["min_cost"], info["max_total_tokens"]) == (4, 0.01, 45)
    with pytest.raises(BadRequestError, match="nonsense") as refused:
        await client.list(**on.place, filters=[{"key": "nonsense", "operator": "eq", "value": ["x"]}])  # type: ignore[typeddict-item]
    assert refused.value.errors[0].code == 7001


@case("logs.get")
async def log(on: Stage) -> None:
    found = await on.client.ai_gateway.logs.get(on.log_ids[0], **on.place)
    assert (found.id, found.model, found.tokens_in) == (on.log_ids[0], "gpt-4o", 10)
    assert (found.request_head, found.request_head_complete) == (PROMPT.decode(), True)
    with pytest.raises(NotFoundError):
        await on.client.ai_gateway.logs.get("no-such-row", **on.place)


@case("logs.edit")
async def edit_log(on: Stage) -> None:
    client = on.client.ai_gateway.logs
    await client.edit(on.log_ids[0], **on.place, feedback=1, score=87, metadata={"checked": True})
    await client.edit(on.log_ids[1], **on.place, feedback=-1)
    assert [one.id for one in await every(client.list(**on.place, feedback=1))] == [on.log_ids[0]]
    found: Any = await client.get(on.log_ids[0], **on.place)
    assert (found.feedback, found.score, json.loads(found.metadata)) == (1, 87, {"checked": True})
    await client.edit(on.log_ids[0], **on.place, feedback=None)
    found = await client.get(on.log_ids[0], **on.place)
    assert (found.feedback, found.score) == (None, 87)
    with pytest.raises(BadRequestError, match="feedback"):
        await client.edit(on.log_ids[0], **on.place, feedback=7)


@case("logs.request")
async def log_request(on: Stage) -> None:
    assert await on.client.ai_gateway.logs.request(on.log_ids[0], **on.place) == json.loads(PROMPT)


@case("logs.response")
async def log_response(on: Stage) -> None:
    assert await on.client.ai_gateway.logs.response(on.log_ids[0], **on.place) == json.loads(ANSWER)


@case("logs.delete")
async def delete_logs(on: Stage) -> None:
    client = on.client.ai_gateway.logs
    gone = await client.delete(
        **on.place, filters=[{"key": "provider", "operator": "eq", "value": ["openai"]}], limit=1, order_by="created_at"
    )
    assert gone.success is True
    assert [one.id for one in await every(client.list(**on.place))] == on.log_ids[:0:-1]
    await client.delete(**on.place)
    assert await every(client.list(**on.place)) == []


# Providers


@case("provider_configs.create")
async def create_key(on: Stage) -> None:
    made = await on.client.ai_gateway.provider_configs.create(
        "default",
        **on.account,
        alias="blue",
        default_config=True,
        provider_slug="openai",
        secret="sk-stored-0123456789",
    )
    assert (made.alias, made.default_config, made.gateway_id, made.provider_slug) == ("blue", True, "default", "openai")
    assert made.secret_preview.endswith("6789")
    assert "sk-stored" not in str(made)
    async with httpx.AsyncClient(headers={"cf-aig-authorization": f"Bearer {TOKEN}"}) as app:
        await on.client.ai_gateway.custom_providers.create(
            **on.account, name="Own", slug="own", base_url=origin_url(on), enable=True
        )
        await on.client.ai_gateway.provider_configs.create(
            "default",
            **on.account,
            alias="green",
            default_config=True,
            provider_slug="custom-own",
            secret="sk-own-1234",
        )
        answer = await app.post(f"{on.address.http}{on.address.path('custom-own/chat/completions')}", json={})
    assert answer.status_code == 200
    # The one that is marked serves callers who name no alias.
    assert on.upstream.requests[-1][1]["authorization"] == ["Bearer sk-own-1234"]
    with pytest.raises(BadRequestError, match="secret"):
        await on.client.ai_gateway.provider_configs.create(
            "default", **on.account, alias="red", default_config=False, provider_slug="openai", secret_id="elsewhere"
        )


@case("provider_configs.list")
async def list_keys(on: Stage) -> None:
    client = on.client.ai_gateway.provider_configs
    for alias in ("one", "two"):
        await client.create(
            "default",
            **on.account,
            alias=alias,
            default_config=True,
            provider_slug="openai",
            secret=f"sk-{alias}-12345678",
        )
    found = await every(client.list("default", **on.account))
    assert [(one.alias, one.default_config) for one in found] == [("one", False), ("two", True)]
    assert len({one.id for one in found}) == 2


@case("custom_providers.create")
async def create_provider(on: Stage) -> None:
    client = on.client.ai_gateway.custom_providers
    made = await client.create(
        **on.account,
        name="Own models",
        slug="mine",
        base_url=f"{origin_url(on)}/base",
        headers='{"x-tenant": "planted-tenant-secret"}',
        description="Ours",
        position=3,
    )
    assert (made.slug, made.enable, made.description, made.position) == ("mine", False, "Ours", 3)
    assert made.headers == '{"x-tenant": "********"}'
    url = f"{on.address.http}{on.address.path('custom-mine/chat/completions')}"
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as app:
        assert (await app.post(url, json={})).status_code == 400  # not before it is enabled
        enabled = await on.client.patch(
            f"/accounts/local/ai-gateway/custom-providers/{made.id}", body={"enable": True}, cast_to=object
        )
        assert enabled["result"]["enable"] is True  # type: ignore[index]
        assert (await app.post(url, json={})).status_code == 200
        path, headers, _ = on.upstream.requests[-1]
        assert path == "POST /base/chat/completions HTTP/1.1"
        assert headers["x-tenant"] == ["planted-tenant-secret"]
        await client.delete(made.id, **on.account)
        assert (await app.post(url, json={})).status_code == 400
    await client.create(**on.account, name="Twice", slug="twice", base_url="https://api.example.com")
    with pytest.raises(APIStatusError) as refused:
        await client.create(**on.account, name="Twice", slug="twice", base_url="https://api.example.com")
    assert (refused.value.status_code, refused.value.errors[0].code) == (409, 1003)
    for address in ("http://example.com", "https://10.0.0.1", "https://localhost", "https://user:key@example.com", "x"):
        with pytest.raises(BadRequestError) as not_that:
            await client.create(**on.account, name="Bad", slug="bad", base_url=address)
        assert not_that.value.errors[0].code == 1002


@case("custom_providers.list")
async def list_providers(on: Stage) -> None:
    client = on.client.ai_gateway.custom_providers
    for name in ("alpha", "beta"):
        await client.create(
            **on.account, name=name, slug=name, base_url="https://api.example.com", enable=name == "beta"
        )
    assert [one.slug for one in await every(client.list(**on.account, per_page=1))] == ["alpha", "beta"]
    assert [one.slug for one in await every(client.list(**on.account, enable=True))] == ["beta"]
    assert [one.slug for one in await every(client.list(**on.account, search="ALP"))] == ["alpha"]


@case("custom_providers.get")
async def get_provider(on: Stage) -> None:
    client = on.client.ai_gateway.custom_providers
    made = await client.create(**on.account, name="Own", slug="own", base_url="https://api.example.com")
    assert (await client.get(made.id, **on.account)).model_dump() == made.model_dump()
    with pytest.raises(NotFoundError) as refused:
        await client.get("nothing", **on.account)
    assert refused.value.errors[0].code == 1004


@case("custom_providers.delete")
async def delete_provider(on: Stage) -> None:
    client = on.client.ai_gateway.custom_providers
    made = await client.create(**on.account, name="Own", slug="own", base_url="https://api.example.com")
    assert (await client.delete(made.id, **on.account)).id == made.id
    assert await every(client.list(**on.account)) == []


# Datasets and evaluations

OPENAI_ROWS: Any = [{"key": "provider", "operator": "eq", "value": ["openai"]}]
LATER_ROWS: Any = [{"key": "duration", "operator": "gt", "value": [250]}]


async def dataset(on: Stage, name: str = "mine", filters: Any = OPENAI_ROWS) -> Any:
    return await on.client.ai_gateway.datasets.create("default", **on.account, name=name, enable=True, filters=filters)


@case("datasets.create")
async def create_dataset(on: Stage) -> None:
    made = await dataset(on)
    assert (made.name, made.enable, made.gateway_id) == ("mine", True, "default")
    assert (made.filters[0].key, made.filters[0].value) == ("provider", ["openai"])
    with pytest.raises(BadRequestError, match="already"):
        await dataset(on)
    with pytest.raises(BadRequestError, match="number"):
        await dataset(on, "other", [{"key": "cost", "operator": "lt", "value": ["cheap"]}])


@case("datasets.update")
async def update_dataset(on: Stage) -> None:
    made = await dataset(on)
    changed = await on.client.ai_gateway.datasets.update(
        made.id, **on.place, name="renamed", enable=False, filters=LATER_ROWS
    )
    assert (changed.id, changed.name, changed.enable, changed.filters[0].key) == (made.id, "renamed", False, "duration")
    other = await dataset(on, "other")
    with pytest.raises(BadRequestError, match="already"):
        await on.client.ai_gateway.datasets.update(other.id, **on.place, name="renamed", enable=True, filters=[])


@case("datasets.list")
async def list_datasets(on: Stage) -> None:
    for name in ("red", "blue"):
        await dataset(on, name)
    found = await every(on.client.ai_gateway.datasets.list("default", **on.account, per_page=1))
    assert [one.name for one in found] == ["red", "blue"]
    found = await every(on.client.ai_gateway.datasets.list("default", **on.account, name="blue"))
    assert [one.name for one in found] == ["blue"]


@case("datasets.get")
async def get_dataset(on: Stage) -> None:
    made = await dataset(on)
    found = await on.client.ai_gateway.datasets.get(made.id, **on.place)
    assert (found.id, found.created_at) == (made.id, made.created_at)


@case("datasets.delete")
async def delete_dataset(on: Stage) -> None:
    made = await dataset(on)
    assert (await on.client.ai_gateway.datasets.delete(made.id, **on.place)).id == made.id
    with pytest.raises(NotFoundError):
        await on.client.ai_gateway.datasets.get(made.id, **on.place)


async def evaluation(on: Stage, name: str = "first") -> Any:
    sets = [await dataset(on, f"{name}-openai"), await dataset(on, f"{name}-later", LATER_ROWS)]
    return await on.client.ai_gateway.evaluations.create(
        "default",
        **on.account,
        name=name,
        dataset_ids=[one.id for one in sets],
        evaluation_type_ids=["cost", "speed", "human-feedback"],
    )


@case("evaluations.create")
async def create_evaluation(on: Stage) -> None:
    for row, feedback in zip(on.log_ids, (1, 1, -1, -1), strict=True):
        await on.client.ai_gateway.logs.edit(row, **on.place, feedback=feedback)
    made = await evaluation(on)
    # Rows 1 and 3 are OpenAI's, rows 3 and 4 took longer: three rows, each once.
    assert (made.processed, made.total_logs, len(made.datasets)) == (True, 3, 2)
    results = {one.evaluation_type_id: one for one in made.results}
    assert float(results["cost"].result) == pytest.approx((0.01 + 0.03 + 0.04) / 3, abs=1e-8)
    assert float(results["speed"].result) == pytest.approx((100 + 300 + 400) / 3, abs=0.1)
    assert float(results["human-feedback"].result) == pytest.approx(-1 / 3, abs=1e-4)
    assert {one.status for one in made.results} == {1}


@case("evaluations.list")
async def list_evaluations(on: Stage) -> None:
    for name in ("first", "second"):
        await evaluation(on, name)
    client = on.client.ai_gateway.evaluations
    assert [one.name for one in await every(client.list("default", **on.account))] == ["second", "first"]
    assert await every(client.list("default", **on.account, processed=False)) == []


@case("evaluations.get")
async def get_evaluation(on: Stage) -> None:
    made = await evaluation(on)
    found = await on.client.ai_gateway.evaluations.get(made.id, **on.place)
    assert found.model_dump() == made.model_dump()


@case("evaluations.delete")
async def delete_evaluation(on: Stage) -> None:
    made = await evaluation(on)
    assert (await on.client.ai_gateway.evaluations.delete(made.id, **on.place)).id == made.id
    with pytest.raises(NotFoundError):
        await on.client.ai_gateway.evaluations.get(made.id, **on.place)


@case("evaluation_types.list")
async def list_types(on: Stage) -> None:
    client = on.client.ai_gateway.evaluation_types
    assert [one.id for one in await every(client.list(**on.account))] == ["cost", "speed", "human-feedback"]
    found = await every(client.list(**on.account, order_by="name", order_by_direction="desc"))
    assert [one.name for one in found] == ["Speed", "Human feedback", "Cost"]


# Dynamic routes


def elements(model: str = "gpt-4o") -> Any:
    return [
        {"id": "in", "type": "start", "outputs": {"next": {"element_id": "plan"}}},
        {
            "id": "plan",
            "type": "conditional",
            "properties": {"conditions": {"metadata.plan": {"$eq": "free"}}},
            "outputs": {"true": {"element_id": "share"}, "false": {"element_id": "ask"}},
        },
        {
            "id": "share",
            "type": "percentage",
            "outputs": {"10%": {"element_id": "limit"}, "90%": {"element_id": "ask"}},
        },
        {
            "id": "limit",
            "type": "rate",
            "properties": {"key": "metadata.user_id", "limit": 10, "limit_type": "count", "window": 60},
            "outputs": {"success": {"element_id": "ask"}, "fallback": {"element_id": "out"}},
        },
        {
            "id": "ask",
            "type": "model",
            "properties": {"provider": "openai", "model": model, "timeout": 1000, "retries": 1},
            "outputs": {"success": {"element_id": "out"}, "fallback": {"element_id": "out"}},
        },
        {"id": "out", "type": "end", "outputs": {}},
    ]


async def route(on: Stage, name: str = "support") -> Any:
    return await on.client.ai_gateway.dynamic_routing.create("default", **on.account, name=name, elements=elements())


def model_of(shown: Any) -> str:
    found: str = next(one.properties.model for one in shown.elements if one.type == "model")
    return found


@case("dynamic_routing.create")
async def create_route(on: Stage) -> None:
    made = await route(on)
    assert (made.name, made.gateway_id, model_of(made)) == ("support", "default", "gpt-4o")
    assert (made.version.active, made.deployment.version_id) == ("true", made.version.version_id)
    assert json.loads(made.version.data)[0]["id"] == "in"
    with pytest.raises(APIStatusError) as twice:
        await route(on)
    assert twice.value.status_code == 409
    broken = [*elements()[:-1], {"id": "out", "type": "end", "outputs": {"next": {"element_id": "in"}}}]
    with pytest.raises(BadRequestError, match="'out'"):
        await on.client.ai_gateway.dynamic_routing.create("default", **on.account, name="broken", elements=broken)


@case("dynamic_routing.update")
async def rename_route(on: Stage) -> None:
    made = await route(on)
    changed = await on.client.ai_gateway.dynamic_routing.update(made.id, **on.place, name="help")
    assert (changed.success, changed.route.id, changed.route.name) == (True, made.id, "help")


@case("dynamic_routing.list")
async def list_routes(on: Stage) -> None:
    for name in ("one", "two"):
        await route(on, name)
    found = await on.client.ai_gateway.dynamic_routing.list("default", **on.account, per_page=1, page=2)
    assert ([one.name for one in found.data.routes], found.data.page) == (["two"], 2)


@case("dynamic_routing.delete")
async def delete_route(on: Stage) -> None:
    made = await route(on)
    assert (await on.client.ai_gateway.dynamic_routing.delete(made.id, **on.place)).id == made.id
    assert (await on.client.ai_gateway.dynamic_routing.list("default", **on.account)).data.routes == []
    assert (await route(on)).name == "support"  # the name is free again


@case("dynamic_routing.get")
async def get_route(on: Stage) -> None:
    made = await route(on)
    found = await on.client.ai_gateway.dynamic_routing.get(made.id, **on.place)
    assert (found.name, found.version.version_id, len(found.elements)) == ("support", made.version.version_id, 6)


@case("dynamic_routing.create_version")
async def create_version(on: Stage) -> None:
    client, made = on.client.ai_gateway.dynamic_routing, await route(on)
    newer = await client.create_version(made.id, **on.place, elements=elements("gpt-4o-mini"))
    assert model_of(newer) == "gpt-4o-mini"
    assert model_of(await client.get(made.id, **on.place)) == "gpt-4o"  # not before it is deployed


@case("dynamic_routing.list_versions")
async def list_versions(on: Stage) -> None:
    client, made = on.client.ai_gateway.dynamic_routing, await route(on)
    await client.create_version(made.id, **on.place, elements=elements("gpt-4o-mini"))
    found = await client.list_versions(made.id, **on.place)
    assert [one.active for one in found.data.versions] == ["false", "true"]


@case("dynamic_routing.get_version")
async def get_version(on: Stage) -> None:
    client, made = on.client.ai_gateway.dynamic_routing, await route(on)
    found = await client.get_version(made.version.version_id, **on.place, id=made.id)
    assert (found.id, found.active, model_of(found)) == (made.id, "true", "gpt-4o")
    with pytest.raises(NotFoundError):
        await client.get_version("nothing", **on.place, id=made.id)


@case("dynamic_routing.create_deployment")
async def create_deployment(on: Stage) -> None:
    client, made = on.client.ai_gateway.dynamic_routing, await route(on)
    await client.create_version(made.id, **on.place, elements=elements("gpt-4o-mini"))
    versions = (await client.list_versions(made.id, **on.place)).data.versions
    deployed = await client.create_deployment(made.id, **on.place, version_id=versions[0].version_id)
    assert model_of(deployed) == "gpt-4o-mini"
    assert model_of(await client.get(made.id, **on.place)) == "gpt-4o-mini"
    back = await client.create_deployment(made.id, **on.place, version_id=versions[1].version_id)
    assert model_of(back) == "gpt-4o"


@case("dynamic_routing.list_deployments")
async def list_deployments(on: Stage) -> None:
    client, made = on.client.ai_gateway.dynamic_routing, await route(on)
    await client.create_deployment(made.id, **on.place, version_id=made.version.version_id)
    found = await client.list_deployments(made.id, **on.place)
    assert [one.version_id for one in found.data.deployments] == [made.version.version_id] * 2


# Billing


async def refused_as_not_sold(asked: Awaitable[Any]) -> None:
    with pytest.raises(BadRequestError, match="your own machine") as refused:
        await asked
    assert refused.value.errors[0].code == 7010


@case("billing.credit_balance")
async def credit_balance(on: Stage) -> None:
    found = await on.client.ai_gateway.billing.credit_balance(**on.account)
    assert (found.balance, found.has_default_payment_method) == (0, False)


@case("billing.invoice_history")
async def invoice_history(on: Stage) -> None:
    assert (await on.client.ai_gateway.billing.invoice_history(**on.account, type="all")).invoices == []


@case("billing.invoice_preview")
async def invoice_preview(on: Stage) -> None:
    await refused_as_not_sold(on.client.ai_gateway.billing.invoice_preview(**on.account))


@case("billing.usage_history")
async def usage_history(on: Stage) -> None:
    client = on.client.ai_gateway.billing
    by_day = (await client.usage_history(**on.account, value_grouping_window="day")).history
    assert sum(one.aggregated_value for one in by_day) == pytest.approx(10)  # cents
    now = time.time() * 1000
    by_hour = (
        await client.usage_history(**on.account, value_grouping_window="hour", start_time=now - 7_200_000, end_time=now)
    ).history
    assert sum(one.aggregated_value for one in by_hour) == pytest.approx(10)
    assert all(one.end_time - one.start_time == 3_600_000 for one in by_hour)
    with pytest.raises(BadRequestError, match="end_time"):
        await client.usage_history(**on.account, value_grouping_window="day", end_time=1.3e16)


@case("billing.spending_limit.create")
async def set_limit(on: Stage) -> None:
    client = on.client.ai_gateway.billing.spending_limit
    await client.create(**on.account, amount=5000, duration="monthly", strategy="sliding")
    assert (await client.get(**on.account)).enabled is True
    with pytest.raises(BadRequestError, match="amount"):
        await client.create(**on.account, amount=1, duration="monthly", strategy="sliding")


@case("billing.spending_limit.get")
async def get_limit(on: Stage) -> None:
    client = on.client.ai_gateway.billing.spending_limit
    assert (await client.get(**on.account)).enabled is False
    await client.create(**on.account, amount=5000, duration="daily", strategy="fixed")
    found = (await client.get(**on.account)).config
    assert (found.amount, found.duration, found.strategy) == (5000, "daily", "fixed")


@case("billing.spending_limit.delete")
async def delete_limit(on: Stage) -> None:
    client = on.client.ai_gateway.billing.spending_limit
    await client.create(**on.account, amount=5000, duration="daily", strategy="fixed")
    await client.delete(**on.account)
    assert (await client.get(**on.account)).enabled is False


@case("billing.topup.create")
async def top_up(on: Stage) -> None:
    await refused_as_not_sold(on.client.ai_gateway.billing.topup.create(**on.account, amount=1000))


@case("billing.topup.status")
async def top_up_status(on: Stage) -> None:
    await refused_as_not_sold(on.client.ai_gateway.billing.topup.status(**on.account, payment_intent_id="in_1"))


@case("billing.topup.config.create")
async def set_top_up(on: Stage) -> None:
    await refused_as_not_sold(
        on.client.ai_gateway.billing.topup.config.create(**on.account, amount=1000, threshold=500)
    )


@case("billing.topup.config.get")
async def get_top_up(on: Stage) -> None:
    assert (await on.client.ai_gateway.billing.topup.config.get(**on.account)).amount is None


@case("billing.topup.config.delete")
async def delete_top_up(on: Stage) -> None:
    await on.client.ai_gateway.billing.topup.config.delete(**on.account)


@pytest.mark.parametrize("method", sorted(CASES))
def test_cloudflares_client_manages_the_gateway(method: str) -> None:
    async def main() -> None:
        async with stage() as on:
            await CASES[method](on)

    run(main())
