"""The unified API end to end: unmodified clients on one side, providers with APIs of their own on the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.contract.administration import administration, new_key
from tests.contract.log_rows import json_answer, rows_in, stream_of
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import read_request
from tests.contract.test_universal_socket import asked, create
from tests.contract.test_voiceplane import dial
from tests.contract.waiting import until
from tests.running import Address, data_directory, gateway, run
from trunkline.policy.registry import GatewayRules
from trunkline.store import Configuration, Database
from trunkline.store.routes import Routes

COMPAT = "/v1/local/default/compat"
HELLO = [{"role": "user", "content": "Hello"}]


class Provider:
    """An upstream that keeps what it was asked and gives its answers in turn, the last one for ever."""

    def __init__(self, *answers: bytes | list[bytes]) -> None:
        self.asked: list[tuple[str, dict[str, list[str]], Any]] = []
        self._answers = list(answers)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line, headers, body = await read_request(reader)
            self.asked.append((line.split()[1], headers, json.loads(body) if body else None))
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            for piece in [answer] if isinstance(answer, bytes) else answer:
                writer.write(piece)
                await writer.drain()


def chat_answer(text: str, model: str = "gpt-4o-mini", **more: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    told = {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}
    return json_answer({**told, **more})


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5",
    "content": [{"type": "text", "text": "Good day."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 7, "output_tokens": 3},
}
FAILURE = json_answer({"error": {"message": "overloaded", "type": "server_error"}}, "503 Service Unavailable")


@pytest.fixture
def home() -> Iterator[Path]:
    with data_directory() as directory:
        yield directory


@asynccontextmanager
async def stage(home: Path, **providers: Provider) -> AsyncIterator[tuple[Address, Configuration, Path]]:
    """A gateway that reaches these providers, each with a key that it holds."""
    async with AsyncExitStack() as stack:
        tables = {}
        for name, provider in providers.items():
            origin = await stack.enter_async_context(raw_server(provider))
            base = f"http://{origin.host}:{origin.port}" + ("/v1" if name == "openai" else "")
            tables[name] = {"base_url": base, "api_key": f"sk-{name}-stored"}
        admin = await stack.enter_async_context(administration(home))
        yield await stack.enter_async_context(gateway(data_dir=home, providers=tables)), admin, home


def client_of(address: Address, key: str = "unused") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=address.http + COMPAT, api_key=key, max_retries=0)


def test_an_openai_client_speaks_with_anthropic_by_its_own_key(home: Path) -> None:
    async def main() -> None:
        anthropic = Provider(json_answer(MESSAGE))
        async with (
            stage(home, anthropic=anthropic) as (address, _, directory),
            client_of(address, "sk-ant-api03-mine") as client,
        ):
            answer = await client.chat.completions.create(model="anthropic/claude-haiku-4-5", messages=HELLO)  # type: ignore[arg-type]
            assert answer.choices[0].message.content == "Good day."
            assert answer.usage is not None
            assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 3)
        ((path, headers, body),) = anthropic.asked
        assert path == "/v1/messages"
        assert body["model"] == "claude-haiku-4-5"
        assert headers["x-api-key"] == ["sk-ant-api03-mine"]
        assert "authorization" not in headers
        assert "anthropic-version" in headers
        (row,) = await rows_in(directory)
        assert (row.provider, row.model, row.tokens_in, row.tokens_out) == ("anthropic", "claude-haiku-4-5", 7, 3)
        assert row.request_type == "unified"
        assert row.cost

    run(main())


def test_a_streamed_answer_of_anthropic_arrives_as_chunks(home: Path) -> None:
    events = [
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Good "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "day."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    body = b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    async def main() -> None:
        async with stage(home, anthropic=Provider([head, body[:200], body[200:]])) as (address, _, directory):
            async with client_of(address) as client:
                stream = await client.chat.completions.create(
                    model="anthropic/claude-haiku-4-5",
                    messages=HELLO,  # type: ignore[arg-type]
                    stream=True,
                    extra_headers={"cf-aig-metadata": "{}"},
                )
                words = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            assert "".join(words) == "Good day."
        (row,) = await rows_in(directory)
        assert (row.tokens_in, row.tokens_out, row.end_reason) == (7, 3, "complete")

    run(main())


def test_a_provider_that_speaks_openais_words_gets_them_as_they_are(home: Path) -> None:
    async def main() -> None:
        upstream = Provider(chat_answer("Hi."))
        async with stage(home, openai=upstream) as (address, _, _), httpx.AsyncClient() as client:
            body = {"model": "openai/gpt-4o-mini", "messages": HELLO, "unheard_of": {"kept": [1.50]}}
            answer = await client.post(f"{address.http}{COMPAT}/v1/chat/completions", json=body)
            assert answer.json()["choices"][0]["message"]["content"] == "Hi."
        ((path, headers, sent),) = upstream.asked
        assert path == "/v1/chat/completions"
        assert sent == {**body, "model": "gpt-4o-mini"}
        assert headers["authorization"] == ["Bearer sk-openai-stored"]

    run(main())


def test_a_client_of_anthropics_messages_speaks_with_any_provider(home: Path) -> None:
    async def main() -> None:
        upstream = Provider(chat_answer("Hi."))
        async with stage(home, openai=upstream) as (address, _, _), httpx.AsyncClient() as client:
            body = {"model": "openai/gpt-4o-mini", "max_tokens": 9, "messages": HELLO, "system": "Be short."}
            headers = {"x-api-key": "sk-mine", "anthropic-version": "2023-06-01"}
            answer = await client.post(f"{address.http}{COMPAT}/v1/messages", json=body, headers=headers)
            told = answer.json()
            assert (told["type"], told["content"], told["stop_reason"]) == (
                "message",
                [{"type": "text", "text": "Hi."}],
                "end_turn",
            )
            assert told["usage"]["input_tokens"] == 7
        ((path, sent_headers, sent),) = upstream.asked
        assert path == "/v1/chat/completions"
        assert [one["role"] for one in sent["messages"]] == ["system", "user"]
        assert sent_headers["authorization"] == ["Bearer sk-mine"]
        assert not {"x-api-key", "anthropic-version"} & sent_headers.keys()

    run(main())


def test_a_client_of_openais_responses_speaks_with_a_provider_of_chats(home: Path) -> None:
    async def main() -> None:
        async with (
            stage(home, mistral=Provider(chat_answer("Salut."))) as (address, _, _),
            client_of(address) as client,
        ):
            answer = await client.responses.create(model="mistral/mistral-small-latest", input="Hello")
            assert answer.output_text == "Salut."
            assert answer.usage is not None
            assert answer.usage.input_tokens == 7

    run(main())


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/chat/completions", {"model": "nobody/x", "messages": HELLO}, 400, "no provider 'nobody'"),
        ("/chat/completions", {"messages": HELLO}, 400, "names no model"),
        ("/chat/completions", [1], 400, "JSON object"),
        ("/files", {"model": "openai/x"}, 400, "compat serves"),
        ("/chat/completions", {"model": "dynamic/nowhere", "messages": HELLO}, 404, "'nowhere'"),
        ("/chat/completions", {"model": "anthropic/claude-haiku-4-5", "messages": HELLO, "n": 3}, 400, "n"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(home: Path, path: str, body: Any, status: int, words: str) -> None:
    async def main() -> None:
        async with (
            stage(home, anthropic=Provider(json_answer(MESSAGE))) as (address, _, _),
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(address.http + COMPAT + path, json=body)
            assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text

    run(main())


def test_the_models_of_all_providers_with_a_key_are_listed_by_the_names_to_ask_for(home: Path) -> None:
    async def main() -> None:
        models = json_answer({"object": "list", "data": [{"id": "gpt-4o-mini"}, {"id": "gpt-4o"}]})
        async with stage(home, openai=Provider(models)) as (address, _, _), client_of(address) as client:
            names = [model.id async for model in client.models.list()]
        assert "openai/gpt-4o-mini" in names
        assert any(name.startswith("local/") for name in names)
        assert not any(name.startswith("anthropic/") for name in names)

    run(main())


REST = "/client/v4/accounts/local/ai"


def test_cloudflares_rest_addresses_ask_the_gateway_that_a_header_names(home: Path) -> None:
    async def main() -> None:
        openai_provider = Provider(chat_answer("Hi."))
        async with (
            stage(home, openai=openai_provider, **{"workers-ai": Provider(chat_answer("By hand."))}) as (
                address,
                admin,
                _,
            ),
            openai.AsyncOpenAI(base_url=f"{address.http}{REST}/v1", api_key="unused", max_retries=0) as client,
            httpx.AsyncClient(base_url=address.http + REST) as plain,
        ):
            await admin.create_gateway(GatewayRules("second", authenticated=True))
            second = {"cf-aig-gateway-id": "second"}
            answer = await client.chat.completions.create(model="openai/gpt-4o-mini", messages=HELLO)  # type: ignore[arg-type]
            assert answer.choices[0].message.content == "Hi."
            answer = await client.chat.completions.create(model="@cf/meta/llama", messages=HELLO)  # type: ignore[arg-type]
            assert answer.choices[0].message.content == "By hand."
            done = (await plain.post("/run", json={"model": "openai/m", "input": {"messages": HELLO}})).json()
            assert done["state"] == "Completed"
            for _ in range(3):  # the second time its head is known
                native = await plain.post("/run/@cf/meta/llama", json={"messages": HELLO})
                assert native.json()["choices"][0]["message"]["content"] == "By hand."

            async def refused() -> bool:
                asked = await plain.post(
                    "/v1/chat/completions", json={"model": "openai/m", "messages": HELLO}, headers=second
                )
                return asked.status_code == 401

            await until(refused)
            elsewhere = await plain.post("/v1/chat/completions", json={}, headers={"cf-aig-gateway-id": "nowhere"})
            assert elsewhere.status_code == 400
            assert "no gateway 'nowhere'" in elsewhere.text
        rows = await rows_in(home)
        assert {row.gateway for row in rows if row.success} == {"default"}
        assert any(row.gateway == "second" and row.status == 401 for row in rows)

    run(main())


def test_run_gives_a_whole_answer_with_its_state(home: Path) -> None:
    async def main() -> None:
        async with (
            stage(home, openai=Provider(chat_answer("Hi."), FAILURE)) as (address, _, _),
            httpx.AsyncClient() as client,
        ):
            body = {"model": "openai/gpt-4o-mini", "input": {"messages": HELLO}}
            done = (await client.post(f"{address.http}/v1/local/default/run", json=body)).json()
            assert (done["state"], done["model"]) == ("Completed", "openai/gpt-4o-mini")
            assert done["result"]["choices"][0]["message"]["content"] == "Hi."
            failed = (await client.post(f"{address.http}/v1/local/default/run", json=body)).json()
            assert (failed["state"], failed["error"]["message"]) == ("Failed", "overloaded")

    run(main())


def test_the_universal_endpoint_has_the_unified_api_as_a_provider(home: Path) -> None:
    async def main() -> None:
        anthropic = Provider(json_answer(MESSAGE))
        async with stage(home, openai=Provider(FAILURE), anthropic=anthropic) as (address, _, _):
            query = {"model": "anthropic/claude-haiku-4-5", "messages": HELLO}
            steps = [
                {"provider": "openai", "endpoint": "chat/completions", "query": {"model": "o", "messages": HELLO}},
                {"provider": "compat", "endpoint": "chat/completions", "query": query},
            ]
            async with httpx.AsyncClient() as client:
                answer = await client.post(f"{address.http}/v1/local/default", json=steps)
            assert answer.json()["choices"][0]["message"]["content"] == "Good day."
            assert answer.headers["cf-aig-step"] == "1"
            async with dial(address, "/v1/local/default") as socket:
                said = await asked(socket, create("a", "compat", query=query))
            assert said["response"]["choices"][0]["message"]["content"] == "Good day."

    run(main())


ROUTE = [
    {"id": "in", "type": "start", "outputs": {"next": {"elementId": "plan"}}},
    {
        "id": "plan",
        "type": "conditional",
        "properties": {"conditions": {"metadata.plan": {"$eq": "paid"}}},
        "outputs": {"true": {"elementId": "good"}, "false": {"elementId": "cheap"}},
    },
    {
        "id": "good",
        "type": "model",
        "properties": {"provider": "anthropic", "model": "claude-haiku-4-5", "retries": 1},
        "outputs": {"success": {"elementId": "out"}, "fallback": {"elementId": "cheap"}},
    },
    {
        "id": "cheap",
        "type": "model",
        "properties": {"provider": "openai", "model": "gpt-4o-mini"},
        "outputs": {"success": {"elementId": "out"}},
    },
    {"id": "out", "type": "end", "outputs": {}},
]


async def deployed(directory: Any, elements: Sequence[Any] = ROUTE) -> None:
    database = await Database.open(directory)
    try:
        await Routes(database).create("default", "support", elements)
    finally:
        await database.close()


async def routed(client: httpx.AsyncClient, address: Address, **headers: str) -> httpx.Response:
    """Ask the route, as soon as the gateway knows it."""
    body = {"model": "dynamic/support", "messages": HELLO}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    while True:
        answer = await client.post(f"{address.http}{COMPAT}/chat/completions", json=body, headers=named)
        if answer.status_code != 404:
            return answer
        await asyncio.sleep(0.05)


def test_a_dynamic_route_asks_the_model_that_its_conditions_name_and_falls_back(home: Path) -> None:
    async def main() -> None:
        anthropic, cheap = Provider(json_answer(MESSAGE), FAILURE), Provider(chat_answer("Hi."))
        async with stage(home, openai=cheap, anthropic=anthropic) as (address, admin, directory):
            await admin.ensure_gateway("default")
            await deployed(directory)
            async with httpx.AsyncClient() as client:
                first = await routed(client, address)
                assert first.json()["choices"][0]["message"]["content"] == "Hi."
                assert first.headers["cf-aig-provider"] == "openai"
                paid = await routed(client, address, cf_aig_metadata='{"plan": "paid"}')
                assert paid.headers["cf-aig-model"] == "claude-haiku-4-5"
                assert paid.json()["choices"][0]["message"]["content"] == "Good day."
                fallen = await routed(client, address, cf_aig_metadata='{"plan": "paid"}')
                assert (fallen.headers["cf-aig-provider"], fallen.headers["cf-aig-step"]) == ("openai", "1")
            assert len(anthropic.asked) == 3  # a retry, before the route went on
        rows = [row for row in await rows_in(directory) if row.status == 200]
        assert [row.provider for row in rows] == ["openai", "anthropic", "openai"]
        assert {row.route.split("@")[0] for row in rows} == {"support"}
        assert [row.attempts for row in rows] == [1, 1, 3]

    run(main())


def test_a_route_shows_no_provider_the_key_that_came_with_the_request(home: Path) -> None:
    async def main() -> None:
        cheap = Provider(chat_answer("Hi."))
        async with stage(home, openai=cheap) as (address, admin, directory):
            await admin.ensure_gateway("default")
            await deployed(directory)
            async with httpx.AsyncClient() as client:
                await routed(client, address, authorization="Bearer sk-of-some-provider")
        assert [headers["authorization"] for _, headers, _ in cheap.asked] == [["Bearer sk-openai-stored"]]

    run(main())


def test_a_key_for_a_route_opens_what_the_route_leads_to_and_nothing_else(home: Path) -> None:
    async def main() -> None:
        async with stage(home, openai=Provider(chat_answer("Hi."))) as (address, admin, directory):
            key, _ = await new_key(admin, models=("dynamic/support",))
            other, _ = await new_key(admin, models=("openai/o3",))
            await deployed(directory)
            async with httpx.AsyncClient() as client:
                while (await routed(client, address, authorization=f"Bearer {key}")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                refused = await routed(client, address, authorization=f"Bearer {other}")
                assert refused.status_code == 403
                body = {"model": "openai/gpt-4o-mini", "messages": HELLO}
                headers = {"authorization": f"Bearer {key}"}
                direct = await client.post(f"{address.http}{COMPAT}/chat/completions", json=body, headers=headers)
                assert direct.status_code == 403

    run(main())


Change = Callable[[Configuration], Any]


async def ruled(admin: Configuration, **control: Any) -> None:
    await admin.ensure_gateway("default")
    await admin.change_gateway("default", control=control)


async def asked_until(
    client: httpx.AsyncClient, address: Address, is_known: Callable[[httpx.Response], bool], **headers: str
) -> httpx.Response:
    body = {"model": "openai/gpt-4o-mini", "messages": HELLO}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    while True:
        answer = await client.post(f"{address.http}{COMPAT}/chat/completions", json=body, headers=named)
        if is_known(answer):
            return answer
        await asyncio.sleep(0.05)


def test_a_kept_answer_is_given_again_in_the_clients_words_and_costs_nothing(home: Path) -> None:
    async def main() -> None:
        anthropic = Provider(json_answer(MESSAGE))
        body = {"model": "anthropic/claude-haiku-4-5", "messages": HELLO}
        async with stage(home, anthropic=anthropic) as (address, _, directory), httpx.AsyncClient() as client:
            url, headers = f"{address.http}{COMPAT}/chat/completions", {"cf-aig-cache-key": "greeting"}
            first = await client.post(url, json=body, headers=headers)
            second = await client.post(url, json=body, headers=headers)
            assert (first.headers["cf-aig-cache-status"], second.headers["cf-aig-cache-status"]) == ("MISS", "HIT")
            assert second.json()["choices"] == first.json()["choices"]
        assert len(anthropic.asked) == 1
        rows = await rows_in(directory)
        assert [row.cached for row in rows] == [False, True]
        assert (rows[1].cost, rows[1].tokens_in, rows[1].status) == (0.0, 0, 200)
        assert rows[0].cost

    run(main())


def test_limits_count_what_comes_by_the_unified_api_and_by_a_providers_own_path_together(home: Path) -> None:
    async def main() -> None:
        upstream = Provider(chat_answer("Hi."))
        async with stage(home, openai=upstream) as (address, admin, _), httpx.AsyncClient() as client:
            await ruled(admin, limits=[{"id": "few", "measure": "requests", "limit": 3, "window": 3600}])
            first = await asked_until(client, address, lambda answer: "ratelimit-limit" in str(answer.headers).lower())
            assert first.status_code == 200
            native = f"{address.http}/v1/local/default/openai/chat/completions"
            codes = [
                (await client.post(native, json={"model": "gpt-4o-mini", "messages": HELLO})).status_code
                for _ in range(3)
            ]
            assert codes == [200, 200, 429]
            refused = await client.post(native, json={"model": "gpt-4o-mini", "messages": HELLO})
            assert int(refused.headers["retry-after"]) > 0
            assert "few" in refused.json()["error"]["message"]
            assert refused.headers["cf-aig-error-code"] == "2003"

    run(main())


def test_a_price_of_the_callers_own_opens_no_budget(home: Path) -> None:
    async def main() -> None:
        async with (
            stage(home, openai=Provider(chat_answer("Hi."))) as (address, admin, _),
            httpx.AsyncClient() as client,
        ):
            await ruled(admin, limits=[{"id": "cents", "measure": "cost", "limit": 1e-9, "window": 3600}])
            await asked_until(client, address, lambda answer: answer.status_code == 429)
            free = {"cf_aig_custom_cost": '{"total_cost": 0}'}
            assert (await asked_until(client, address, lambda answer: True, **free)).status_code == 429

    run(main())


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream"])
def test_a_request_of_unknown_length_and_another_type_is_counted_by_its_model(home: Path, kind: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield json.dumps({"model": "gpt-4o-mini", "messages": HELLO}).encode()

    async def main() -> None:
        async with (
            stage(home, openai=Provider(chat_answer("Hi."))) as (address, admin, _),
            httpx.AsyncClient() as client,
        ):
            rule = {"id": "mini", "measure": "requests", "limit": 2, "window": 3600, "where": {"model": ["*mini"]}}
            await ruled(admin, limits=[rule])
            await asked_until(client, address, lambda answer: "ratelimit-limit" in answer.headers)
            url = f"{address.http}/v1/local/default/openai/chat/completions"
            codes = [
                (await client.post(url, content=body(), headers={"content-type": kind})).status_code for _ in range(3)
            ]
            assert codes[-1] == 429
            packed = await client.post(url, content=b"(packed)", headers={"content-encoding": "zstd"})
            assert (packed.status_code, "zstd" in packed.text) == (400, True)

    run(main())


def test_a_key_that_a_provider_quotes_in_its_complaint_stays_here(home: Path) -> None:
    complaint = json_answer({"error": {"message": "Incorrect key: sk-openai-stored."}}, "401 Unauthorized")

    async def main() -> None:
        async with stage(home, openai=Provider(complaint)) as (address, _, _), httpx.AsyncClient() as client:
            for path in (COMPAT, "/v1/local/default/openai"):
                model = "openai/gpt-4o-mini" if path == COMPAT else "gpt-4o-mini"
                answer = await client.post(
                    f"{address.http}{path}/chat/completions", json={"model": model, "messages": HELLO}
                )
                assert answer.status_code == 401
                assert answer.json()["error"]["message"] == "Incorrect key: [redacted]."

    run(main())


def test_an_answer_that_cannot_be_told_in_other_words_is_an_error_and_does_not_break_off(home: Path) -> None:
    async def main() -> None:
        nonsense = json_answer({"type": "message", "content": 7})
        async with stage(home, anthropic=Provider(nonsense)) as (address, _, _), httpx.AsyncClient() as client:
            body = {"model": "anthropic/claude-haiku-4-5", "messages": HELLO}
            answer = await client.post(f"{address.http}{COMPAT}/chat/completions", json=body)
            assert answer.status_code == 502
            assert answer.json()["error"]["code"] == "upstream_broken"

    run(main())


def test_what_is_no_utf_8_in_a_stream_is_replaced_and_a_whole_answer_with_it_is_an_error(home: Path) -> None:
    async def main() -> None:
        whole = json_answer(MESSAGE).replace(b"Good day.", b"Good \xffay.")
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Good day."}}
        start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        begin = {"type": "message_start", "message": {**MESSAGE, "content": []}}
        events = [begin, start, delta, {"type": "message_stop"}]
        said = b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)
        said = said.replace(b"Good day.", b"Good \xffay.")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(said)
        async with (
            stage(home, anthropic=Provider(head + said, whole)) as (address, _, _),
            httpx.AsyncClient(base_url=address.http) as client,
        ):
            body = {"model": "anthropic/claude-haiku-4-5", "messages": HELLO}
            stream = await client.post(f"{COMPAT}/chat/completions", json={**body, "stream": True})
            chunks = [json.loads(line[6:]) for line in stream.content.decode().splitlines() if "delta" in line]
            assert "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks) == "Good \ufffday."
            answer = await client.post(f"{COMPAT}/chat/completions", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_broken")

    run(main())


def test_a_request_that_its_caller_gives_up_keeps_what_was_reserved_for_it(home: Path) -> None:
    async def main() -> None:
        reached = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            reached.set()
            await asyncio.sleep(60)

        async with (
            raw_server(silent) as origin,
            administration(home) as admin,
            gateway(
                data_dir=home,
                providers={"openai": {"base_url": f"http://{origin.host}:{origin.port}/v1", "api_key": "sk-stored"}},
            ) as address,
            httpx.AsyncClient() as client,
        ):
            await ruled(admin, limits=[{"id": "words", "measure": "tokens", "limit": 5000, "window": 3600}])
            url = f"{address.http}/v1/local/default/openai/chat/completions"
            body = {"model": "gpt-4o-mini", "messages": HELLO, "max_tokens": 2000}
            standing = f"{address.http}/api/gateways/default/limits"
            while not (await client.get(standing)).json()["limits"]:  # noqa: ASYNC110 - as `eventually`
                await asyncio.sleep(0.05)
            with pytest.raises(httpx.ReadTimeout):
                await client.post(url, json=body, timeout=0.5)
            assert reached.is_set()
            while not (found := (await client.get(standing)).json()["limits"][0]["buckets"]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert found[0]["used"] >= 2000

    run(main())


def test_a_provider_that_fails_is_asked_again_as_often_as_the_headers_say(home: Path) -> None:
    async def main() -> None:
        upstream = Provider(FAILURE, FAILURE, chat_answer("Hi."))
        async with stage(home, openai=upstream) as (address, _, directory), httpx.AsyncClient() as client:
            headers = {"cf-aig-max-attempts": "3", "cf-aig-retry-delay": "1"}
            body = {"model": "gpt-4o-mini", "messages": HELLO}
            url = f"{address.http}/v1/local/default/openai/chat/completions"
            answer = await client.post(url, json=body, headers=headers)
            assert answer.json()["choices"][0]["message"]["content"] == "Hi."
            wrong = await client.post(url, json=body, headers={"cf-aig-max-attempts": "9"})
            assert wrong.status_code == 400
            assert "cf-aig-max-attempts" in wrong.text
        assert len(upstream.asked) == 3
        assert next(row.attempts for row in await rows_in(directory)) == 3

    run(main())


def test_an_answer_that_a_check_stopped_is_paid_for_all_the_same(home: Path) -> None:
    async def main() -> None:
        upstream = Provider(chat_answer("Hi."), chat_answer("The key is AKIAIOSFODNN7EXAMPLX."))
        async with stage(home, openai=upstream) as (address, admin, directory), httpx.AsyncClient() as client:
            await ruled(admin, guards=[{"id": "keys", "check": "secrets", "action": "block", "sides": ["response"]}])
            stopped = await asked_until(client, address, lambda answer: answer.status_code == 400)
            assert "AKIA" not in stopped.text
        *_, row = await rows_in(directory)
        assert (row.status, row.error_code, row.tokens_in, row.tokens_out) == (400, 2030, 7, 2)
        assert row.cost

    run(main())


def test_a_check_stops_a_secret_on_its_way_out_and_one_on_its_way_in(home: Path) -> None:
    secret = "AKIAIOSFODNN7EXAMPLX"

    async def main() -> None:
        upstream = Provider(chat_answer("Hi."), stream_of("Your key is ", secret[:9], secret[9:], " and more"))
        async with stage(home, openai=upstream) as (address, admin, directory), httpx.AsyncClient() as client:
            await ruled(admin, guards=[{"id": "keys", "check": "secrets", "action": "block"}])
            url = f"{address.http}/v1/local/default/openai/chat/completions"
            asking = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"Keep {secret} for me"}]}
            while (blocked := await client.post(url, json=asking)).status_code == 200:  # noqa: ASYNC110 - as `eventually`
                await asyncio.sleep(0.05)
            assert (blocked.status_code, blocked.headers["cf-aig-error-code"]) == (400, "2029")
            assert secret not in blocked.text
            assert json.loads(blocked.headers["cf-aig-dlp"])["action"] == "BLOCK"
            before = len(upstream.asked)
            upstream._answers = upstream._answers[-1:]
            said: list[str] = []

            async def stream() -> None:
                asking = {"model": "gpt-4o-mini", "messages": HELLO, "stream": True}
                async with client.stream("POST", url, json=asking) as streamed:
                    async for text in streamed.aiter_text():
                        said.append(text)

            with pytest.raises(httpx.RemoteProtocolError):  # it never looks complete
                await stream()
            assert len(upstream.asked) == before + 1
            assert secret[:9] not in "".join(said)
            assert "[DONE]" not in "".join(said)
            assert "response_blocked" in "".join(said)
        rows = await rows_in(directory)
        assert [finding["rule"] for row in rows[-2:] for finding in row.findings] == ["keys", "keys"]

    run(main())
