"""Dynamic routes on the way of requests over HTTP: who is asked, who stands behind, and what the answer says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.contract.administration import administration
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import read_request
from tests.contract.test_dynamic_routes_realtime import END, element
from tests.running import data_directory, gateway, run
from trunkline.store import Database
from trunkline.store.routes import Routes

OPENAI_KEY, GROQ_KEY = "sk-stored-openai-0123456789", "gsk-stored-groq-0123456789"
A = element("a", "model", {"success": "out", "fallback": "b"}, provider="openai", model="gpt-a", retries=0, timeout=0)
B = element("b", "model", {"success": "out"}, provider="groq", model="llama-b")
FALLING_BACK = [element("in", "start", {"next": "a"}), A, B, END]


@dataclass
class Provider:
    """Chat completions that answer with ``status``; ``asked`` are the bodies that came, ``keys`` those shown."""

    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[list[str]] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, headers, body = await read_request(reader)
            self.asked.append(json.loads(body))
            self.keys.append(headers.get("authorization", []))
            said = {"model": self.asked[-1]["model"], "choices": [], "status": self.status}
            answer = json.dumps(said if self.status == 200 else {"error": {"message": "busy", "code": "busy"}}).encode()
            head = (
                f"HTTP/1.1 {self.status} X\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
            )
            writer.write(head.encode() + answer)
            await writer.drain()


@dataclass
class Stage:
    """A gateway with two providers and the route ``r``."""

    client: httpx.AsyncClient
    openai: Provider
    groq: Provider

    async def ask(self, path: str = "compat/chat/completions", **headers: str) -> httpx.Response:
        body = {"model": "dynamic/r", "messages": [{"role": "user", "content": "Hello"}]}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(f"/v1/local/default/{path}", json=body, headers=named)


@asynccontextmanager
async def stage(elements: list[dict[str, Any]]) -> AsyncIterator[Stage]:
    openai, groq = Provider(), Provider()
    with data_directory() as data:
        async with administration(data) as configuration:
            await configuration.change_gateway("default", authenticated=False)
        database = await Database.open(data)
        try:
            await Routes(database).create("default", "r", elements)
        finally:
            await database.close()
        async with raw_server(openai) as first, raw_server(groq) as second:
            providers = {
                "openai": {"base_url": f"http://{first.host}:{first.port}/v1", "api_key": OPENAI_KEY},
                "groq": {"base_url": f"http://{second.host}:{second.port}/openai/v1", "api_key": GROQ_KEY},
            }
            async with (
                gateway(providers=providers, data_dir=data) as address,
                httpx.AsyncClient(base_url=address.http) as client,
            ):
                yield Stage(client, openai, groq)


def test_the_first_model_that_answers_is_named_in_the_headers() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there:
            answer = await there.ask(authorization="Bearer sk-of-the-caller-012345")
            assert answer.status_code == 200
            told = [answer.headers[f"cf-aig-{name}"] for name in ("provider", "model", "step")]
            assert told == ["openai", "gpt-a", "0"]
            assert there.openai.asked[0]["model"] == "gpt-a"
            # A key that the caller shows is for no provider in particular: nobody gets it.
            assert there.openai.keys == [[f"Bearer {OPENAI_KEY}"]]
            assert there.groq.asked == []

    run(main())


def test_a_model_that_fails_is_followed_by_its_fallback() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there:
            for there.openai.status in (503, 429, 400):
                answer = await there.ask()
                assert (answer.status_code, answer.headers["cf-aig-step"]) == (200, "1")
                assert answer.headers["cf-aig-model"] == "llama-b"
                assert there.groq.keys[-1] == [f"Bearer {GROQ_KEY}"]
            there.groq.status = 418
            answer = await there.ask()
            assert answer.status_code == 418
            assert answer.json()["error"]["message"] == "busy"

    run(main())


def test_a_condition_and_a_quota_choose_by_metadata() -> None:
    async def main() -> None:
        quota = {"key": "metadata.user", "limit": 1, "limitType": "count", "window": 86400}
        elements = [
            element("in", "start", {"next": "paid"}),
            element("paid", "conditional", {"true": "b", "false": "q"}, condition={"metadata.plan": {"$eq": "paid"}}),
            element("q", "rate", {"success": "a"}, **quota),
            *(A, B, END),
        ]
        async with stage(elements) as there:
            paid = await there.ask(cf_aig_metadata='{"plan": "paid", "user": "ada"}')
            assert paid.headers["cf-aig-model"] == "llama-b"
            free = await there.ask(cf_aig_metadata='{"user": "ada"}')
            assert free.headers["cf-aig-model"] == "gpt-a"
            other = await there.ask(cf_aig_metadata='{"user": "bob"}')
            assert other.headers["cf-aig-model"] == "gpt-a"
            beyond = await there.ask(cf_aig_metadata='{"user": "ada"}')
            assert beyond.status_code == 429
            assert int(beyond.headers["retry-after"]) >= 1
            assert len(there.openai.asked) == 2

    run(main())


def test_a_route_that_is_not_there_is_refused() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there:
            body = {"model": "dynamic/nobody", "messages": []}
            answer = await there.client.post("/v1/local/default/compat/chat/completions", json=body)
            assert answer.status_code == 404
            assert "nobody" in answer.text

    run(main())


def test_a_step_of_the_universal_endpoint_takes_a_route_too() -> None:
    async def main() -> None:
        async with stage(FALLING_BACK) as there:
            there.openai.status = 500
            query = {"model": "dynamic/r", "messages": [{"role": "user", "content": "Hello"}]}
            step = {"provider": "compat", "endpoint": "chat/completions", "headers": {}, "query": query}
            answer = await there.client.post("/v1/local/default", json=[step])
            assert answer.status_code == 200
            assert answer.headers["cf-aig-model"] == "llama-b"

    run(main())
