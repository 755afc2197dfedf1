"""The universal endpoint on a real server: steps tried in order over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.contract.conftest import STRICT_KEY
from tests.contract.raw_server import answering, raw_server
from tests.contract.test_dataplane import Recorder, garbage, openai_at, read_request, silent
from tests.running import Address, gateway, run

UNIVERSAL = "/v1/local/default"
TOKEN = "gateway-token-0123456789"
UNREACHABLE = "http://127.0.0.1:9/v1"
OK_JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n" + b'{"ok": true}'
BUSY = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nbusy"


def step(provider: str = "openai", endpoint: str = "chat/completions", key: str = "", **more: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {"provider": provider, "endpoint": endpoint, "headers": headers, "query": {"model": "m"}, **more}


def chat(model: str, words: str = "hello there", *, stream: bool = False, **more: Any) -> dict[str, Any]:
    query = {"model": model, "messages": [{"role": "user", "content": words}], "stream": stream}
    return step(key=STRICT_KEY, query=query, **more)


def at(**base_urls: Any) -> dict[str, Any]:
    """Settings for providers at the addresses given by slug; a hyphen is written as an underscore."""
    return {
        "providers": {
            slug.replace("_", "-"): {"base_url": url if isinstance(url, str) else f"http://{url.host}:{url.port}/v1"}
            for slug, url in base_urls.items()
        }
    }


def shown_keys(upstream: Recorder) -> list[list[str] | None]:
    return [headers.get("authorization") for _, headers, _ in upstream.requests]


@pytest.mark.parametrize(
    ("provider", "endpoint", "arrives_as"),
    [
        ("openai", "chat/completions", "/v1/chat/completions"),
        ("openai", "/chat/completions", "/v1/chat/completions"),
        ("openai", "v1/chat/completions", "/v1/chat/completions"),
        ("openai", "/v1/responses", "/v1/responses"),
        ("anthropic", "v1/messages", "/v1/messages"),
        (
            "azure",
            "res/dep/chat/completions?api-version=2024-10-21",
            "/v1/res/dep/chat/completions?api-version=2024-10-21",
        ),
        ("azure-openai", "/res/dep/chat/completions?api-version=1", "/v1/res/dep/chat/completions?api-version=1"),
        ("custom-mine", "models/größe 1", "/v1/models/gr%C3%B6%C3%9Fe%201"),
    ],
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_spelling_of_an_endpoint_reaches_the_provider(
    provider: str, endpoint: str, arrives_as: str, slash: str
) -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**at(openai=origin, anthropic=origin, azure_openai=origin, custom_mine=origin)) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(address.http + UNIVERSAL + slash, json=[step(provider, endpoint, key="sk-1")])
        assert answer.text == "ok"
        assert answer.headers["cf-aig-step"] == "0"
        assert upstream.requests[0][0] == f"POST {arrives_as} HTTP/1.1"

    run(main())


def test_an_array_and_a_bare_step_are_answered_alike(strict_upstream: Address) -> None:
    async def main() -> None:
        async with gateway(**openai_at(strict_upstream)) as address, httpx.AsyncClient() as client:
            for body in ([chat("test/echo")], chat("test/echo"), [chat("test/echo", endpoint="/v1/chat/completions")]):
                answer = await client.post(address.http + UNIVERSAL, json=body)
                assert answer.status_code == 200
                assert answer.headers["cf-aig-step"] == "0"
                assert answer.json()["choices"][0]["message"]["content"] == "hello there"

    run(main())


def test_the_provider_gets_the_query_byte_for_byte_and_the_steps_headers_over_the_requests() -> None:
    async def main() -> None:
        upstream = Recorder()
        body = (
            b'[{"provider":"openai","endpoint":"x","query": {"n": 1.0,  "m":"\xc3\xbc"} ,"authorization":"Bearer sk-1",'
        )
        body += b'"headers":{"X-Both":"step","cf-aig-metadata":{"a":1}}}]'
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            await client.post(
                address.http + UNIVERSAL,
                content=body,
                headers={"content-type": "text/plain", "x-both": "request", "x-one": "request", "cookie": "a=b"},
            )
        _, headers, received = upstream.requests[0]
        assert received == b'{"n": 1.0,  "m":"\xc3\xbc"}'
        assert headers["content-type"] == ["application/json"]
        assert headers["x-both"] == ["step"]
        assert headers["x-one"] == ["request"]
        assert headers["authorization"] == ["Bearer sk-1"]
        assert not {"cookie", "cf-aig-metadata"} & headers.keys()

    run(main())


# Fallback


@pytest.mark.parametrize(
    "failing",
    [
        chat("test/refuse-429"),
        chat("test/refuse-502"),
        chat("test/refuse-400"),
        step("groq", key="sk-1"),  # unreachable
        step("mistral", key="sk-1"),  # sends what is not HTTP
        step("anthropic"),  # there is no key for it
        step("no-such-provider"),
    ],
    ids=["429", "502", "400", "unreachable", "garbage", "no key", "unknown"],
)
def test_a_step_that_fails_gives_way_to_the_next(strict_upstream: Address, failing: dict[str, Any]) -> None:
    async def main() -> None:
        settings = {"openai": strict_upstream, "groq": UNREACHABLE}
        async with (
            raw_server(garbage) as broken,
            gateway(**at(**settings, mistral=broken)) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(address.http + UNIVERSAL, json=[failing, failing, chat("test/echo"), failing])
        assert answer.status_code == 200
        assert answer.headers["cf-aig-step"] == "2"
        assert "cf-aig-error-code" not in answer.headers
        assert answer.json()["model"] == "test/echo"

    run(main())


def test_a_provider_that_is_too_slow_gives_way_to_the_next(strict_upstream: Address) -> None:
    async def main() -> None:
        async with (
            raw_server(silent) as never,
            gateway(**at(openai=strict_upstream, groq=never), first_byte_timeout=0.3) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(address.http + UNIVERSAL, json=[step("groq", key="sk-1"), chat("test/echo")])
        assert (answer.status_code, answer.headers["cf-aig-step"]) == (200, "1")

    run(main())


def test_the_last_steps_own_answer_is_relayed_whatever_it_is(strict_upstream: Address) -> None:
    async def main() -> None:
        async with gateway(**openai_at(strict_upstream)) as address, httpx.AsyncClient() as client:
            answer = await client.post(
                address.http + UNIVERSAL, json=[chat("test/refuse-500"), chat("test/refuse-429")]
            )
        assert (answer.status_code, answer.headers["cf-aig-step"]) == (429, "1")
        assert answer.headers["retry-after"] == "7"
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"

    run(main())


@pytest.mark.parametrize(
    ("last", "status", "code"),
    [
        (step("openai", key="sk-1"), 502, 2005),
        (step("anthropic"), 401, 2040),
        (step("no-such-provider"), 400, 2008),
    ],
)
def test_when_the_gateway_refuses_the_last_step_it_says_so_in_cloudflares_envelope(
    last: dict[str, Any], status: int, code: int
) -> None:
    async def main() -> None:
        async with gateway(**at(openai=UNREACHABLE)) as address, httpx.AsyncClient() as client:
            answer = await client.post(address.http + UNIVERSAL, json=[step("no-such-provider"), last])
        said = answer.json()
        assert answer.status_code == status
        assert answer.headers["cf-aig-step"] == "1"
        assert answer.headers["cf-aig-error-code"] == str(code)
        assert said["success"] is False
        assert said["error"][0]["code"] == said["internalCode"] == code
        assert said["name"] == "AiGatewayError"

    run(main())


@pytest.mark.parametrize(
    ("path", "headers", "first", "status", "code"),
    [
        (UNIVERSAL, {}, step(), 401, 2009),
        (UNIVERSAL, {"cf-aig-authorization": "Bearer wrong"}, step(), 401, 2009),
        ("/v1/local/other", {"cf-aig-authorization": TOKEN}, step(), 400, 2001),
        ("/v1/other/default", {"cf-aig-authorization": TOKEN}, step(), 400, 2001),
        (UNIVERSAL, {"cf-aig-authorization": TOKEN, "origin": "https://evil.example"}, step(), 403, 2009),
        (UNIVERSAL, {"cf-aig-authorization": TOKEN}, step(endpoint="../../x"), 400, 2019),
        (UNIVERSAL, {"cf-aig-authorization": TOKEN}, step(headers={"Origin": "http://127.0.0.1"}), 400, 2019),
    ],
    ids=["no key", "wrong key", "gateway", "account", "origin", "path", "header"],
)
def test_a_caller_who_is_refused_gets_no_other_step(
    path: str, headers: dict[str, str], first: dict[str, Any], status: int, code: int
) -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(gateway_token=TOKEN, **openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            second = step(headers={"cf-aig-authorization": TOKEN})
            answer = await client.post(address.http + path, json=[first, second], headers=headers)
        assert answer.status_code == status
        assert answer.json()["error"][0]["code"] == code
        assert TOKEN not in answer.text
        assert upstream.requests == []

    run(main())


def test_a_gateway_further_on_does_not_say_which_step_answered() -> None:
    async def main() -> None:
        chained = b"HTTP/1.1 200 OK\r\ncf-aig-step: 7\r\ncf-aig-log-id: theirs\r\ncontent-length: 2\r\n\r\nok"
        async with (
            raw_server(answering(chained)) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(address.http + UNIVERSAL, json=step(key="sk-1"))
        assert answer.headers.get_list("cf-aig-step") == ["0"]
        assert answer.headers.get_list("cf-aig-log-id") != ["theirs"]

    run(main())


# Streams


def test_a_stream_reaches_the_client_piece_by_piece() -> None:
    async def main() -> None:
        client_has_first = asyncio.Event()

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(b"9\r\ndata: a\n\n\r\n")
            await client_has_first.wait()
            writer.write(b"9\r\ndata: b\n\n\r\n0\r\n\r\n")
            await writer.drain()

        async with (
            raw_server(upstream) as origin,
            gateway(**at(openai=origin, groq=UNREACHABLE)) as address,
            httpx.AsyncClient() as client,
        ):
            steps = [step("groq", key="sk-1"), step(key="sk-1")]
            async with client.stream("POST", address.http + UNIVERSAL, json=steps) as answer:
                received = []
                async for text in answer.aiter_text():
                    received.append(text)
                    client_has_first.set()
        assert answer.headers["cf-aig-step"] == "1"
        assert answer.headers["content-type"] == "text/event-stream"
        assert "".join(received) == "data: a\n\ndata: b\n\n"

    run(main())


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_breaks_off_is_cut_short_and_no_other_step_is_tried(
    strict_upstream: Address, stream: bool
) -> None:
    async def main() -> None:
        other = Recorder()
        async with (
            raw_server(other) as origin,
            gateway(**at(openai=strict_upstream, groq=origin)) as address,
            httpx.AsyncClient() as client,
        ):
            broken = chat("test/break", "one two three four", stream=stream)
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(address.http + UNIVERSAL, json=[broken, step("groq", key="sk-1")])
        assert other.requests == []

    run(main())


@pytest.mark.parametrize("begun", [True, False])
def test_a_client_that_goes_away_ends_the_providers_work(begun: bool) -> None:
    async def main() -> None:
        asked, provider_saw_the_end = asyncio.Event(), asyncio.Event()
        other = Recorder()

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            if begun:
                writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            asked.set()
            if await reader.read() == b"":
                provider_saw_the_end.set()

        async with (
            raw_server(upstream) as origin,
            raw_server(other) as next_origin,
            gateway(**at(openai=origin, groq=next_origin)) as address,
        ):
            async with httpx.AsyncClient() as client:
                steps = [step(key="sk-1"), step("groq", key="sk-2")]
                asking = asyncio.create_task(client.post(address.http + UNIVERSAL, json=steps))
                await asked.wait()
                asking.cancel()
            await provider_saw_the_end.wait()
        assert other.requests == []

    run(main())


# Credentials


def test_each_step_shows_its_own_key_to_its_own_provider() -> None:
    async def main() -> None:
        first, second = Recorder(BUSY), Recorder()
        async with (
            raw_server(first) as openai,
            raw_server(second) as groq,
            gateway(**at(openai=openai, groq=groq)) as address,
            httpx.AsyncClient() as client,
        ):
            steps = [step("openai", key="sk-openai"), step("groq", key="sk-groq")]
            answer = await client.post(address.http + UNIVERSAL, json=steps)
        assert answer.headers["cf-aig-step"] == "1"
        assert shown_keys(first) == [["Bearer sk-openai"]]
        assert shown_keys(second) == [["Bearer sk-groq"]]

    run(main())


@pytest.mark.parametrize(
    ("header", "value"),
    [("authorization", "Bearer sk-request"), ("x-api-key", "sk-request"), ("api-key", "sk-request")],
)
def test_a_providers_key_in_the_request_is_for_all_steps_when_they_have_one_provider(header: str, value: str) -> None:
    async def main() -> None:
        upstream = Recorder(BUSY)
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            steps = [step(), step(key="undefined"), step(key="sk-own")]
            await client.post(address.http + UNIVERSAL, json=steps, headers={header: value})
        assert shown_keys(upstream) == [["Bearer sk-request"], ["Bearer sk-request"], ["Bearer sk-own"]]
        assert all(not {"x-api-key", "api-key"} & headers.keys() for _, headers, _ in upstream.requests)

    run(main())


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key", "xi-api-key"])
def test_a_providers_key_in_the_request_reaches_nobody_when_steps_have_several_providers(header: str) -> None:
    async def main() -> None:
        first, second = Recorder(BUSY), Recorder()
        async with (
            raw_server(first) as openai,
            raw_server(second) as groq,
            gateway(
                providers={
                    "openai": {"base_url": f"http://127.0.0.1:{openai.port}/v1", "api_key": "sk-stored"},
                    "groq": {"base_url": f"http://127.0.0.1:{groq.port}/v1"},
                }
            ) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(
                address.http + UNIVERSAL,
                json=[step("openai"), step("groq")],
                headers={header: "Bearer sk-secret" if header == "authorization" else "sk-secret"},
            )
        assert answer.status_code == 401
        assert answer.json()["error"][0]["code"] == 2040
        assert shown_keys(first) == [["Bearer sk-stored"]]
        assert second.requests == []
        assert "sk-secret" not in json.dumps(first.requests, default=repr)

    run(main())


def test_the_gateways_key_may_sit_in_a_step_where_the_request_has_the_providers() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(gateway_token=TOKEN, **openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            headers = {"authorization": "Bearer sk-request"}
            await client.post(address.http + UNIVERSAL, json=[step(key=TOKEN)], headers=headers)
        assert shown_keys(upstream) == [["Bearer sk-request"]]

    run(main())


def test_aliases_of_one_provider_are_one_provider() -> None:
    async def main() -> None:
        upstream = Recorder(BUSY)
        async with (
            raw_server(upstream) as origin,
            gateway(**at(azure_openai=origin)) as address,
            httpx.AsyncClient() as client,
        ):
            steps = [step("azure", "res/dep/x"), step("azure-openai", "res/dep/x")]
            await client.post(address.http + UNIVERSAL, json=steps, headers={"api-key": "sk-request"})
        assert [headers["api-key"] for _, headers, _ in upstream.requests] == [["sk-request"]] * 2

    run(main())


@pytest.mark.parametrize(
    "headers",
    [
        {"cf-aig-authorization": f"Bearer {TOKEN}"},
        {"cf-aig-authorization": TOKEN},
        {"authorization": f"Bearer {TOKEN}"},
        {"x-api-key": TOKEN},
        {"x-goog-api-key": TOKEN},
    ],
)
@pytest.mark.parametrize("place", ["request", "step"])
def test_the_gateways_key_opens_every_step_from_any_place_and_stays_here(headers: dict[str, str], place: str) -> None:
    async def main() -> None:
        first, second = Recorder(BUSY), Recorder()
        async with (
            raw_server(first) as openai,
            raw_server(second) as groq,
            gateway(
                gateway_token=TOKEN,
                providers={
                    "openai": {"base_url": f"http://127.0.0.1:{openai.port}/v1", "api_key": "sk-openai"},
                    "groq": {"base_url": f"http://127.0.0.1:{groq.port}/v1", "api_key": "sk-groq"},
                },
            ) as address,
            httpx.AsyncClient() as client,
        ):
            of_step = headers if place == "step" else {}
            answer = await client.post(
                address.http + UNIVERSAL,
                json=[step("openai", headers=of_step), step("groq", headers=of_step)],
                headers=headers if place == "request" else {},
            )
        assert (answer.status_code, answer.headers["cf-aig-step"]) == (200, "1")
        assert shown_keys(first) == [["Bearer sk-openai"]]
        assert shown_keys(second) == [["Bearer sk-groq"]]
        assert TOKEN not in json.dumps([first.requests, second.requests], default=repr)

    run(main())


def test_a_key_that_a_step_brings_does_not_displace_the_gateways_key_in_the_same_place() -> None:
    async def main() -> None:
        first, second = Recorder(BUSY), Recorder()
        async with (
            raw_server(first) as openai,
            raw_server(second) as groq,
            gateway(gateway_token=TOKEN, **at(openai=openai, groq=groq)) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(
                address.http + UNIVERSAL,
                json=[step("openai", key="sk-openai"), step("groq", key="sk-groq")],
                headers={"authorization": f"Bearer {TOKEN}"},
            )
        assert (answer.status_code, answer.headers["cf-aig-step"]) == (200, "1")
        assert shown_keys(first) == [["Bearer sk-openai"]]
        assert shown_keys(second) == [["Bearer sk-groq"]]

    run(main())


def test_the_refusal_of_a_wrong_key_names_the_place_it_sat_in() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, httpx.AsyncClient() as client:
            answer = await client.post(
                address.http + UNIVERSAL,
                json=[step("openai"), step("groq")],
                headers={"authorization": "Bearer sk-not-the-token"},
            )
        assert answer.status_code == 401
        assert "header authorization" in answer.json()["message"]
        assert "sk-not-the-token" not in answer.text

    run(main())


# What is no list of steps


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "array of steps"),
        (b"nonsense", "array of steps"),
        (b"[]", "The array of steps is empty"),
        (b'{"model":"gpt","messages":[]}', "unknown field `model`"),
        (json.dumps([step(), step(config={})]).encode(), "step 1: Object contains unknown field `config`"),
        (json.dumps([step(), step(headers={"Host": "x"})]).encode(), "'Host' in step 1"),
    ],
)
def test_what_is_no_list_of_steps_is_answered_with_what_would_be(body: bytes, words: str) -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            answer = await client.post(address.http + UNIVERSAL, content=body)
        assert answer.status_code == 400
        assert answer.json()["error"][0]["code"] == 2019
        assert words in answer.json()["error"][0]["message"]
        assert "cf-aig-step" not in answer.headers

    run(main())


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_another_method_is_told_which_one_it_is(method: str) -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            answer = await client.request(method, address.http + UNIVERSAL)
        assert answer.status_code == 400
        assert "POST" in answer.json()["message"]

    run(main())


def test_a_large_body_is_taken_and_one_that_is_too_large_is_413(strict_upstream: Address) -> None:
    async def main() -> None:
        async with gateway(**openai_at(strict_upstream)) as address, httpx.AsyncClient(timeout=30) as client:
            words = "word " * 200_000
            large = await client.post(address.http + UNIVERSAL, json=[chat("test/echo", words)])
            too_large = await client.post(address.http + UNIVERSAL, content=b" " * (33 * 2**20))
        assert large.json()["choices"][0]["message"]["content"] == words
        assert too_large.status_code == 413
        assert too_large.json()["httpCode"] == 413

    run(main())


def test_a_page_on_the_allow_list_may_ask_and_read_the_answer(strict_upstream: Address) -> None:
    async def main() -> None:
        page = {"origin": "https://app.example"}
        async with (
            gateway(allowed_origins=("https://app.example",), **openai_at(strict_upstream)) as address,
            httpx.AsyncClient() as client,
        ):
            url = address.http + UNIVERSAL
            asking = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
            preflight = await client.options(url, headers={**page, **asking})
            stranger = await client.options(url, headers={"origin": "https://evil.example", **asking})
            answer = await client.post(url, json=chat("test/echo"), headers=page)
            refused = await client.post(url, json=[], headers=page)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-headers"] == "content-type"
        assert stranger.status_code == 403
        for given in (answer, refused):
            assert given.headers["access-control-allow-origin"] == "https://app.example"
            assert given.headers["access-control-expose-headers"] == "*"

    run(main())


def test_what_documented_clients_send_is_answered(strict_upstream: Address) -> None:
    """npm `ai-gateway-provider` posts an array, strips only the host of each endpoint, and reads ``cf-aig-step``."""

    async def main() -> None:
        async with (
            gateway(gateway_token=TOKEN, **openai_at(strict_upstream, api_key=STRICT_KEY)) as address,
            httpx.AsyncClient() as client,
        ):
            told = {"content-type": "application/json", "user-agent": "ai-sdk/5.0"}
            steps = [
                {"endpoint": "v1/responses", "headers": told, "provider": "anthropic", "query": {}},
                {**chat("test/echo", endpoint="v1/chat/completions"), "headers": told},
            ]
            answer = await client.post(
                address.http + UNIVERSAL,
                json=steps,
                headers={"cf-aig-authorization": f"Bearer {TOKEN}", "cf-aig-metadata": '{"a":1}'},
            )
        assert (answer.status_code, answer.headers["cf-aig-step"]) == (200, "1")

    run(main())
