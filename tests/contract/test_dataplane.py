"""The HTTP data plane on a real server, before upstreams that behave and upstreams that do not."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.contract.raw_server import answering, raw_server, read_head
from tests.running import Address, gateway, run
from trunkline.upstream.address import Origin

KEY = {"authorization": "Bearer sk-caller-1234"}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def openai_at(origin: Origin | Address, **more: object) -> dict[str, object]:
    return {"providers": {"openai": {"base_url": f"http://{origin.host}:{origin.port}/v1", **more}}}


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, list[str]], bytes]:
    """Read one request with a declared or chunked body; return its line, headers and body."""
    head = (await read_head(reader)).decode("latin-1").split("\r\n")
    headers: dict[str, list[str]] = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    body = b""
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"][0]))
    elif "transfer-encoding" in headers:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    return head[0], headers, body


class Recorder:
    """An upstream that keeps what it received and answers 200."""

    def __init__(self, answer: bytes = OK) -> None:
        self.requests: list[tuple[str, dict[str, list[str]], bytes]] = []
        self._answer = answer

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.requests.append(await read_request(reader))
            writer.write(self._answer)
            await writer.drain()


@pytest.mark.parametrize(
    ("path", "arrives_as"),
    [
        ("/v1/local/default/openai/chat/completions", "/v1/chat/completions"),
        ("/v1/local/default/openai/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/local/default/openai/files/a%2Fb?limit=2&x=%20", "/v1/files/a%2Fb?limit=2&x=%20"),
        ("/v1/local/default/openai/models", "/v1/models"),
    ],
)
def test_every_form_of_a_path_reaches_the_provider_as_its_own(path: str, arrives_as: str) -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.get(address.http + path, headers=KEY)
        assert answer.text == "ok"
        assert upstream.requests[0][0] == f"GET {arrives_as} HTTP/1.1"

    run(main())


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_any_method_and_any_body_pass_as_they_are(method: str) -> None:
    async def main() -> None:
        upstream = Recorder()
        body = bytes(range(256)) * 40
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            await client.request(
                method,
                f"{address.http}/v1/local/default/openai/files",
                headers={**KEY, "content-type": "application/x-strange"},
                content=body,
            )
        line, headers, received = upstream.requests[0]
        assert line.startswith(method + " ")
        assert received == body
        assert headers["content-type"] == ["application/x-strange"]

    run(main())


def test_headers_of_one_hop_cookies_and_gateway_headers_stay_behind() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            await client.post(
                f"{address.http}/v1/local/default/openai/chat/completions",
                headers={
                    **KEY,
                    "connection": "keep-alive, x-one-hop",
                    "x-one-hop": "1",
                    "te": "trailers",
                    "cookie": "a=b",
                    "cf-aig-metadata": "{}",
                    "x-kept": "yes",
                    "openai-organization": "org-1",
                },
                content=b"{}",
            )
        _, headers, _ = upstream.requests[0]
        assert headers["x-kept"] == ["yes"]
        assert headers["openai-organization"] == ["org-1"]
        assert headers["authorization"] == ["Bearer sk-caller-1234"]
        assert headers["host"] == [f"127.0.0.1:{origin.port}"]
        assert not {"x-one-hop", "te", "cookie", "cf-aig-metadata"} & headers.keys()

    run(main())


def test_an_upload_is_streamed_on_while_it_still_arrives() -> None:
    async def main() -> None:
        first_part_arrived = asyncio.Event()
        received = b""

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal received
            await read_head(reader)
            while not received.endswith(b"0\r\n\r\n"):
                received += await reader.read(65_536)
                first_part_arrived.set()
            writer.write(OK)
            await writer.drain()

        async def body() -> AsyncIterator[bytes]:
            yield b"first"
            # The second part is sent only once the provider has the first: nothing waits for the whole.
            await first_part_arrived.wait()
            yield b"second"

        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(f"{address.http}/v1/local/default/openai/files", headers=KEY, content=body())
        assert answer.status_code == 200
        assert b"first" in received
        assert b"second" in received

    run(main())


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
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            url = f"{address.http}/v1/local/default/openai/chat/completions"
            async with client.stream("POST", url, headers=KEY, content=b"{}") as answer:
                received = []
                async for text in answer.aiter_text():
                    received.append(text)
                    client_has_first.set()
        assert "".join(received) == "data: a\n\ndata: b\n\n"

    run(main())


@pytest.mark.parametrize("framing", [b"content-length: 40000000", b"transfer-encoding: chunked"])
def test_a_client_that_reads_slowly_holds_the_provider_back_and_gets_all_of_it(framing: bytes) -> None:
    sent = 0
    piece = bytes(range(250)) * 400
    written = piece if b"length" in framing else b"%x\r\n%b\r\n" % (len(piece), piece)

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        for _ in range(400):
            writer.write(written)
            await writer.drain()
            sent += len(piece)
        writer.write(b"" if b"length" in framing else b"0\r\n\r\n")

    async def main() -> None:
        async with (
            raw_server(floods) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient(timeout=20) as client,
            client.stream("GET", f"{address.http}/v1/local/default/openai/files/f/content", headers=KEY) as answer,
        ):
            before = -1
            while sent > before:  # until everybody between waits for the client
                before = sent
                await asyncio.sleep(0.5)
            assert sent < 30_000_000
            size = 0
            async for chunk in answer.aiter_raw():
                assert chunk[0] == size % 250
                size += len(chunk)
            assert size == 40_000_000

    run(main())


def test_the_providers_own_refusal_is_relayed_unchanged() -> None:
    async def main() -> None:
        body = b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'
        head = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 17\r\nx-request-id: r1\r\ncontent-length: %d\r\n\r\n"
        async with (
            raw_server(answering(head % len(body) + body)) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(f"{address.http}/v1/local/default/openai/responses", headers=KEY, content=b"{}")
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "17"
        assert answer.headers["x-request-id"] == "r1"
        assert answer.content == body

    run(main())


def test_content_encoding_is_relayed_as_it_is() -> None:
    async def main() -> None:
        packed = gzip.compress(b'{"ok": true}')
        head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
        async with (
            raw_server(answering(head + packed)) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            url = f"{address.http}/v1/local/default/openai/models"
            async with client.stream("GET", url, headers=KEY) as answer:
                raw = b"".join([chunk async for chunk in answer.aiter_raw()])
        assert answer.headers["content-encoding"] == "gzip"
        assert raw == packed

    run(main())


@pytest.mark.parametrize(("status", "line"), [(204, b"204 No Content"), (304, b"304 Not Modified")])
def test_answers_without_a_body_end_where_they_should(status: int, line: bytes) -> None:
    async def main() -> None:
        async with (
            raw_server(answering(b"HTTP/1.1 " + line + b"\r\netag: x\r\n\r\n")) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            for _ in range(2):  # the second shows that the connections are still in step
                answer = await client.get(f"{address.http}/v1/local/default/openai/files/f", headers=KEY)
                assert answer.status_code == status
                assert answer.content == b""

    run(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nXX garbage",
    ],
)
def test_an_answer_that_breaks_off_is_never_shown_as_a_clean_end(answer: bytes) -> None:
    async def main() -> None:
        async with (
            raw_server(answering(answer, then_close=True)) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(f"{address.http}/v1/local/default/openai/responses", headers=KEY, content=b"{}")

    run(main())


def test_a_client_that_goes_away_ends_the_providers_work() -> None:
    async def main() -> None:
        provider_saw_the_end = asyncio.Event()

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            await writer.drain()
            if await reader.read() == b"":
                provider_saw_the_end.set()

        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            url = f"{address.http}/v1/local/default/openai/responses"
            async with client.stream("POST", url, headers=KEY, content=b"{}") as answer:
                await anext(answer.aiter_bytes())
            await provider_saw_the_end.wait()

    run(main())


def test_a_client_that_goes_away_before_the_answer_ends_the_providers_work_too() -> None:
    async def main() -> None:
        asked, provider_saw_the_end = asyncio.Event(), asyncio.Event()

        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            asked.set()
            if await reader.read() == b"":
                provider_saw_the_end.set()

        async with raw_server(upstream) as origin, gateway(**openai_at(origin)) as address:
            async with httpx.AsyncClient() as client:
                url = f"{address.http}/v1/local/default/openai/responses"
                asking = asyncio.create_task(client.post(url, headers=KEY, content=b"{}"))
                await asked.wait()
                asking.cancel()
            await provider_saw_the_end.wait()

    run(main())


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(b"not http at all\r\n\r\n")
    await writer.drain()


async def slams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)


@pytest.mark.parametrize(
    ("upstream", "status", "reason"),
    [(silent, 504, "upstream_timeout"), (garbage, 502, "upstream_broken"), (slams, 502, "upstream_broken")],
)
def test_an_upstream_without_an_answer_is_502_or_504_with_code_2005(upstream: object, status: int, reason: str) -> None:
    async def main() -> None:
        async with (
            raw_server(upstream) as origin,  # type: ignore[arg-type]
            gateway(**openai_at(origin), first_byte_timeout=0.2) as address,
            httpx.AsyncClient() as client,
        ):
            answer = await client.post(f"{address.http}/v1/local/default/openai/responses", headers=KEY, content=b"{}")
        assert answer.status_code == status
        assert answer.headers["cf-aig-error-code"] == "2005"
        assert answer.json()["error"]["code"] == reason

    run(main())


@pytest.mark.parametrize(
    ("base_url", "reason"),
    [
        ("http://127.0.0.1:9/v1", "upstream_refused"),
        ("https://no-such-host.invalid/v1", "upstream_unresolved"),
    ],
)
def test_an_upstream_that_cannot_be_reached_is_named_with_its_reason(base_url: str, reason: str) -> None:
    async def main() -> None:
        async with gateway(providers={"openai": {"base_url": base_url}}) as address, httpx.AsyncClient() as client:
            answer = await client.get(f"{address.http}/v1/local/default/openai/models", headers=KEY)
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == reason

    run(main())


def test_a_caller_who_speaks_cloudflares_headers_gets_its_envelope() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            answer = await client.get(
                f"{address.http}/v1/local/default/openai/models", headers={"cf-aig-skip-cache": "true"}
            )
        body = answer.json()
        assert answer.status_code == 401
        assert body["success"] is False
        assert body["error"][0]["code"] == 2040

    run(main())


def test_each_provider_is_refused_in_its_own_dialect() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            anthropic = await client.post(f"{address.http}/v1/local/default/anthropic/v1/messages", content=b"{}")
            google = await client.post(
                f"{address.http}/v1/local/default/google-ai-studio/v1beta/models/gemini:generateContent", content=b"{}"
            )
        assert anthropic.json()["type"] == "error"
        assert anthropic.json()["error"]["type"] == "authentication_error"
        assert google.json()["error"]["status"] == "UNAUTHENTICATED"

    run(main())


def test_a_page_of_a_stranger_gets_nothing() -> None:
    async def main() -> None:
        # The local worker loads its models for the first request that may pass.
        async with gateway() as address, httpx.AsyncClient(timeout=60) as client:
            url = f"{address.http}/v1/local/default/local/models"
            foreign = await client.get(url, headers={"origin": "https://evil.example"})
            rebound = await client.get(url, headers={"host": "evil.example"})
            own = await client.get(url, headers={"origin": address.http, "sec-fetch-site": "same-origin"})
        assert foreign.status_code == 403
        assert foreign.json()["error"]["code"] == "origin_not_allowed"
        assert rebound.status_code == 403
        assert own.status_code == 200

    run(main())


def test_a_page_on_the_allow_list_may_read_the_answer() -> None:
    async def main() -> None:
        async with (
            gateway(allowed_origins=("https://app.example",)) as address,
            httpx.AsyncClient(timeout=60) as client,
        ):
            url = f"{address.http}/v1/local/default/local/models"
            preflight = await client.options(
                url,
                headers={
                    "origin": "https://app.example",
                    "access-control-request-method": "POST",
                    "access-control-request-headers": "authorization",
                },
            )
            answer = await client.get(url, headers={"origin": "https://app.example"})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-headers"] == "authorization"
        assert answer.headers["access-control-allow-origin"] == "https://app.example"

    run(main())


def test_an_authenticated_gateway_consumes_its_token_and_shows_the_stored_key_upstream() -> None:
    async def main() -> None:
        upstream = Recorder()
        token = "gateway-token-0123456789"
        async with (
            raw_server(upstream) as origin,
            gateway(gateway_token=token, **openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            url = f"{address.http}/v1/local/default/openai/models"
            refused = await client.get(url)
            unknown = await client.get(url, headers={"authorization": "Bearer sk-somebody"})
            for headers in ({"cf-aig-authorization": f"Bearer {token}"}, {"authorization": f"Bearer {token}"}):
                answer = await client.get(url, headers=headers)
                assert answer.status_code == 200
        assert refused.status_code == unknown.status_code == 401
        assert refused.headers["cf-aig-error-code"] == "2009"
        assert len(upstream.requests) == 2
        for _, headers, _ in upstream.requests:
            assert headers["authorization"] == ["Bearer sk-stored"]
            assert token not in json.dumps(headers)

    run(main())


def test_healthz_answers_when_ready() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            answer = await client.get(f"{address.http}/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    run(main())
