"""A gateway's limits in realtime sessions, by a real gateway before a strict provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.clients.ga_upstream import GaUpstream, ga_upstream
from tests.contract.administration import administration
from tests.contract.test_gateway_keys import eventually
from tests.contract.test_governed_sessions import dial, turn
from tests.contract.test_resumption import KEY, heard
from tests.contract.test_voiceplane import refusal_of
from tests.running import Address, data_directory, gateway, run


@asynccontextmanager
async def limited(data: Path, *limits: dict[str, Any]) -> AsyncIterator[tuple[GaUpstream, Address]]:
    async with administration(data) as configuration:
        await configuration.change_gateway("default", control={"limits": list(limits)})
    async with ga_upstream(key=KEY) as upstream:
        providers = {"openai": {"base_url": upstream.http, "api_key": KEY}}
        async with gateway(providers=providers, data_dir=data) as address:
            yield upstream, address


def limit(id: str, measure: str, limit: float, **given: Any) -> dict[str, Any]:
    return {"id": id, "measure": measure, "limit": limit, "window": 31_622_400, **given}


async def used(address: Address, rule: str) -> list[float]:
    async with httpx.AsyncClient() as client:
        answer = (await client.get(f"{address.http}/api/gateways/default/limits")).json()
    return [bucket["used"] for one in answer["limits"] if one["id"] == rule for bucket in one["buckets"]]


def test_a_session_over_a_limit_is_refused_in_band_before_anything_is_dialled() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with limited(data, limit("opened", "requests", 1)) as (upstream, address):
                async with dial(address) as socket:
                    await heard(socket, "session.created")
                async with dial(address) as socket:
                    error, code = await refusal_of(socket)
                assert (error["code"], code) == ("rate_limit_exceeded", 1013)
                assert "'opened'" in error["message"]
                assert len(upstream.sessions) == 1

    run(main())


def test_a_place_is_free_again_when_its_session_has_ended() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with limited(data, limit("at-once", "concurrent", 1)) as (_, address):
                async with dial(address) as first:
                    await heard(first, "session.created")
                    async with dial(address) as second:
                        error, _ = await refusal_of(second)
                    assert "'at-once'" in error["message"]
                    assert await used(address, "at-once") == [1]

                async def is_free() -> bool:
                    return await used(address, "at-once") == []

                await eventually(is_free)
                async with dial(address) as third:
                    await heard(third, "session.created")

    run(main())


def test_minutes_that_are_used_up_end_the_session() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with limited(data, limit("minutes", "minutes", 0.01)) as (_, address), dial(address) as socket:
                await heard(socket, "session.created")
                error, code = await refusal_of(socket)
                assert (error["code"], code) == ("rate_limit_exceeded", 1013)
                assert "0.01 minutes of sessions" in error["message"]

    run(main())


def test_what_sessions_use_and_cost_counts_by_who_uses_it() -> None:
    async def main() -> None:
        with data_directory() as data:
            rules = (
                limit("tokens", "tokens", 1_000_000, per=["model"]),
                limit("elsewhere", "tokens", 1, where={"provider": ["groq"]}),
                limit("spend", "cost", 0.000001),
            )
            async with limited(data, *rules) as (_, address):
                async with dial(address) as socket:
                    await turn(socket)
                    error = (await heard(socket, "error"))[-1]["error"]
                    assert (error["code"], error["type"]) == ("spend_limit_reached", "insufficient_quota")
                (tokens,) = await used(address, "tokens")
                assert tokens > 0
                async with dial(address) as socket:
                    error, _ = await refusal_of(socket)
                assert "'spend'" in error["message"]

    run(main())


def test_a_limit_that_is_set_while_a_session_is_open_counts_in_it() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with limited(data) as (_, address), dial(address) as socket:
                await heard(socket, "session.created")
                async with administration(data) as configuration:
                    rules = [limit("minutes", "minutes", 0.001)]
                    await configuration.change_gateway("default", control={"limits": rules})
                error, _ = await refusal_of(socket)
                assert "'minutes'" in error["message"]

    run(main())
