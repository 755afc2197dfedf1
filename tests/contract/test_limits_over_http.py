"""A gateway's limits in requests over HTTP: what clients are told, and what administrators see."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.administration import administration, new_key
from tests.contract.log_rows import stream_of
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import read_request
from tests.contract.test_gateway_keys import eventually
from tests.running import Address, data_directory, gateway, run
from trunkline.policy.cost import cost_of_tokens
from trunkline.policy.registry import Scope
from trunkline.policy.usage import TokenUsage

CHAT = "/v1/local/default/openai/chat/completions"
ASKED = {"model": "gpt-4o-mini", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello."}]}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


class Provider:
    """Answers every chat alike, after `pause` seconds; remembers how many there were."""

    def __init__(self) -> None:
        self.pause = 0.0
        self.asked = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
            self.asked += 1
            await asyncio.sleep(self.pause)
            said = {"role": "assistant", "content": "Hi."}
            whole = {"id": "x", "model": "gpt-4o-mini", "choices": [{"index": 0, "message": said}], "usage": USAGE}
            body = json.dumps(whole).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
            writer.write(body)


@asynccontextmanager
async def limited(
    data: Path, *limits: dict[str, Any], **settings: Any
) -> AsyncIterator[tuple[Provider, Address, httpx.AsyncClient]]:
    async with administration(data) as configuration:
        await configuration.change_gateway("default", control={"limits": list(limits)})
    provider = Provider()
    async with raw_server(provider) as origin:
        providers = {"openai": {"base_url": f"http://{origin}/v1", "api_key": "sk-test-0123456789abcdef"}}
        async with (
            gateway(providers=providers, data_dir=data, **settings) as address,
            httpx.AsyncClient(base_url=address.http) as client,
        ):
            yield provider, address, client


def limit(id: str, measure: str, limit: float, **given: Any) -> dict[str, Any]:
    return {"id": id, "measure": measure, "limit": limit, "window": 31_622_400, **given}


async def standing(client: httpx.AsyncClient, rule: str) -> list[tuple[dict[str, str], float]]:
    answer = (await client.get("/api/gateways/default/limits")).json()
    (found,) = [one for one in answer["limits"] if one["id"] == rule]
    return [(bucket["values"], bucket["used"]) for bucket in found["buckets"]]


def test_who_is_over_a_limit_is_told_which_and_the_provider_is_not_asked() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with limited(data, limit("few", "requests", 2)) as (provider, _, client):
                for left in ("1", "0"):
                    answer = await client.post(CHAT, json=ASKED)
                    assert answer.status_code == 200
                    assert answer.headers["ratelimit-limit"] == "2"
                    assert answer.headers["ratelimit-remaining"] == left
                refused = await client.post(CHAT, json=ASKED)
                assert refused.status_code == 429
                assert refused.headers["cf-aig-error-code"] == "2003"
                assert int(refused.headers["retry-after"]) > 0
                assert refused.headers["ratelimit-remaining"] == "0"
                assert refused.json()["error"]["code"] == "rate_limit_exceeded"
                assert "'few'" in refused.json()["error"]["message"]
                assert provider.asked == 2

    run(main())


def test_each_value_of_a_tag_has_its_own_count_and_administrators_see_them() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with limited(data, limit("team", "requests", 1, per=["metadata.team"])) as (_, _, client):

                async def status(team: str) -> int:
                    headers = {"cf-aig-metadata": json.dumps({"team": team})}
                    return (await client.post(CHAT, json=ASKED, headers=headers)).status_code

                assert [await status(team) for team in ("red", "red", "blue")] == [200, 429, 200]
                assert sorted(await standing(client, "team"), key=str) == [
                    ({"metadata.team": "blue"}, 1),
                    ({"metadata.team": "red"}, 1),
                ]

    run(main())


def test_tokens_count_as_the_answer_states_them() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with limited(data, limit("t", "tokens", 1000)) as (_, _, client):
                for expected in (12, 24):
                    await client.post(CHAT, json=ASKED)

                    async def is_settled(expected: int = expected) -> bool:
                        return await standing(client, "t") == [({}, expected)]

                    await eventually(is_settled)

    run(main())


def test_an_answer_from_the_cache_is_a_request_without_tokens_and_is_refused_as_any() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with limited(data, limit("few", "requests", 3), limit("t", "tokens", 1000)) as (provider, _, client):
                cached = {"cf-aig-cache-ttl": "600", "cf-aig-cache-key": "one"}
                answers = [await client.post(CHAT, json=ASKED, headers=cached) for _ in range(4)]
                assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
                assert [answer.headers["cf-aig-cache-status"] for answer in answers[:3]] == ["MISS", "HIT", "HIT"]
                assert provider.asked == 1

                async def is_settled() -> bool:
                    return await standing(client, "t") == [({}, 12)]

                await eventually(is_settled)

    run(main())


def test_money_is_held_back_while_requests_are_under_way() -> None:
    async def main() -> None:
        with data_directory() as data:
            # An estimate is 60 millionths of a dollar and a little, an answer costs 3.15 millionths.
            async with limited(data, limit("b", "cost", 0.0002)) as (provider, _, client):
                provider.pause = 0.3
                answers = await asyncio.gather(*(client.post(CHAT, json=ASKED) for _ in range(10)))
                passed = [answer.status_code for answer in answers].count(200)
                assert 1 <= passed <= 3
                refused = next(answer for answer in answers if answer.status_code == 429)
                assert refused.json()["error"]["code"] == "spend_limit_reached"
                assert refused.headers["cf-aig-error-code"] == "2041"
                ((_, used),) = await standing(client, "b")
                assert used < 0.00002
                assert (await client.post(CHAT, json=ASKED)).status_code == 200

    run(main())


def test_a_limit_that_is_set_is_in_force_within_seconds_and_counts_outlast_a_restart() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with limited(data) as (_, _, client):
                async with administration(data) as configuration:
                    await configuration.change_gateway("default", control={"limits": [limit("few", "requests", 3)]})

                async def is_refused() -> bool:
                    return (await client.post(CHAT, json=ASKED)).status_code == 429

                await eventually(is_refused)
            async with limited(data, limit("few", "requests", 3)) as (_, _, client):
                assert await is_refused_by(client)

    async def is_refused_by(client: httpx.AsyncClient) -> bool:
        return (await client.post(CHAT, json=ASKED)).status_code == 429

    run(main())


def test_a_key_sees_the_limits_of_its_own_gateway_only() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with administration(data) as configuration:
                reader, _ = await new_key(configuration, scopes=[Scope.READ])
                caller, _ = await new_key(configuration, scopes=[Scope.RUN])
            token = "gateway-token-0123456789"
            async with limited(data, limit("few", "requests", 3), gateway_token=token) as (_, _, client):

                async def status(key: str, name: str = "default") -> int:
                    headers = {"authorization": f"Bearer {key}"} if key else {}
                    return (await client.get(f"/api/gateways/{name}/limits", headers=headers)).status_code

                assert await status(reader) == 200
                assert await status(token) == 200
                assert await status(token, "nowhere") == 400
                assert await status(caller) == 403
                assert await status(reader, "other") == 403
                assert await status("") == 401

    run(main())


def test_what_money_is_spent_is_not_for_the_caller_to_say() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with limited(data, limit("money", "cost", 1)) as (_, _, client):
                headers = {"cf-aig-custom-cost": json.dumps({"per_token_in": 1e-12, "per_token_out": 1e-12})}
                assert (await client.post(CHAT, json=ASKED, headers=headers)).status_code == 200
                real = cost_of_tokens("openai", "gpt-4o-mini", TokenUsage(input=9, output=3))

                async def is_settled() -> bool:
                    return await standing(client, "money") == [({}, pytest.approx(real))]

                await eventually(is_settled)

    run(main())


async def _streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        _, _, body = await read_request(reader)
        asks = json.loads(body).get("stream_options", {}).get("include_usage", False)
        for piece in stream_of("Hi", "."):
            if asks or b"usage" not in piece:
                writer.write(piece)


def test_a_stream_whose_usage_nobody_asked_for_counts_as_it_was_all_the_same() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with administration(data) as configuration:
                await configuration.change_gateway("default", control={"limits": [limit("t", "tokens", 5000)]})
            async with raw_server(_streams) as origin:
                providers = {"openai": {"base_url": f"http://{origin}/v1", "api_key": "sk-test-0123456789abcdef"}}
                async with (
                    gateway(providers=providers, data_dir=data) as address,
                    httpx.AsyncClient(base_url=address.http) as client,
                ):
                    answer = await client.post(CHAT, json={**ASKED, "stream": True})
                    assert answer.status_code == 200
                    assert "usage" not in answer.text

                    async def is_settled() -> bool:
                        return await standing(client, "t") == [({}, 7)]

                    await eventually(is_settled)

    run(main())


def test_a_packed_request_counts_for_the_model_it_names() -> None:
    async def main() -> None:
        with data_directory() as data:
            rule = limit("mini", "requests", 1, where={"model": ["gpt-4o-mini"]})
            async with limited(data, rule) as (_, _, client):
                body = gzip.compress(json.dumps(ASKED).encode())
                headers = {"content-type": "application/json", "content-encoding": "gzip"}
                answers = [await client.post(CHAT, content=body, headers=headers) for _ in range(2)]
                assert [answer.status_code for answer in answers] == [200, 429]

    run(main())


SPEECH = "/v1/local/default/openai/audio/transcriptions"
FORM = {"content-type": "multipart/form-data; boundary=x"}


def form(*parts: tuple[str, str]) -> bytes:
    return (
        b"".join(
            f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in parts
        )
        + b"--x--\r\n"
    )


DECOY = 'name="model"\r\n\r\nwhisper-1'


def test_a_form_is_counted_by_the_model_that_it_asks_for_and_refused_where_that_is_not_one() -> None:
    async def main() -> None:
        rule = limit("dear", "requests", 1, where={"model": ["gpt-4o-transcribe"]})
        dear = ("model", "gpt-4o-transcribe")
        with data_directory() as data:
            async with limited(data, rule) as (provider, _, client):

                async def status(body: bytes) -> int:
                    return (await client.post(SPEECH, content=body, headers=FORM)).status_code

                assert await status(form(("model", "whisper-1"))) == 200
                twice = await client.post(SPEECH, content=form(dear, ("model", "whisper-1")), headers=FORM)
                assert twice.status_code == 400
                assert "names its model twice" in twice.json()["error"]["message"]
                before = await client.post(SPEECH, content=b"hello" + form(dear), headers=FORM)
                assert before.status_code == 400
                assert "in one way" in before.json()["error"]["message"]
                # What stands within a file names nothing.
                assert await status(form(dear, ("file", DECOY))) == 200
                assert await status(form(dear, ("file", DECOY))) == 429
                assert await status(form(("model", "whisper-1"))) == 200
                assert provider.asked == 3

    run(main())
