"""What answers used reaches the log, from every provider's formats, through a running gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from openai import AsyncOpenAI

from tests.contract.log_rows import chunk, logged, stream_of
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import openai_at, read_request
from tests.running import run
from tests.unit.test_usage_reader import CASES
from trunkline.policy.cost import cost_of_answer
from trunkline.policy.usage import Answered

# The embedded provider is a process of its own, which answers for itself; the characters are those of the request here.
SENT = [case for case in CASES if case.provider != "local" and not case.characters]
PIECE = 50


async def answer_as_asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Give the answer whose number the request names, in pieces."""
    while True:
        _, headers, _ = await read_request(reader)
        case = SENT[int(headers["x-case"][0])]
        named = [(b"content-type", case.kind.encode()), (b"transfer-encoding", b"chunked"), *case.headers]
        writer.write(b"HTTP/1.1 %d Whatever\r\n" % case.status)
        writer.write(b"".join(b"%b: %b\r\n" % pair for pair in named) + b"\r\n")
        for at in range(0, len(case.body), PIECE):
            piece = case.body[at : at + PIECE]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def test_every_providers_usage_and_cost_is_in_the_log_and_its_answer_is_untouched() -> None:
    async def main() -> None:
        async with raw_server(answer_as_asked) as origin:
            there = {"base_url": f"http://{origin.host}:{origin.port}", "routes": [], "version": "", "api_key": "sk-1"}
            providers = {case.provider: there for case in SENT}
            async with logged(providers=providers) as gateway, httpx.AsyncClient() as client:
                for number, case in enumerate(SENT):
                    url = f"{gateway.http}/v1/local/default/{case.provider}/{case.rest}"
                    answer = await client.post(url, json={"model": "asked"}, headers={"x-case": str(number)})
                    assert (answer.status_code, answer.content) == (case.status, case.body), case.name
        assert len(gateway.rows) == len(SENT)
        for case, row in zip(SENT, gateway.rows, strict=True):
            usage = case.usage
            assert row.usage == (usage.counts() if usage is not None else {}), case.name
            assert row.tokens_in == (usage.input if usage is not None else None), case.name
            assert row.tokens_out == (usage.output if usage is not None else None), case.name
            told = Answered(**{"asked_model": row.model, "model": row.model, "usage": usage, **case.told})
            assert row.cost == (cost_of_answer(case.provider, told) if case.status == 200 else None), case.name
        priced = {case.provider for case, row in zip(SENT, gateway.rows, strict=True) if row.cost}
        assert priced >= {"openai", "anthropic", "google-ai-studio", "aws-bedrock", "grok", "openrouter", "deepseek"}

    run(main())


def test_openais_library_sees_the_usage_of_a_stream_only_where_it_asked() -> None:
    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(b"".join(stream_of("Hel", "lo")))
            await writer.drain()

    async def main() -> None:
        async with (
            raw_server(upstream) as origin,
            logged({"usage_in_streams": True}, **openai_at(origin, api_key="sk-stored")) as gateway,
            AsyncOpenAI(base_url=f"{gateway.http}/v1/local/default/openai", api_key="unused") as client,
        ):
            seen: list[list[Any]] = []
            for options in ({}, {"stream_options": {"include_usage": True}}):
                stream = await client.chat.completions.create(
                    model="gpt-4o",
                    messages=[{"role": "user", "content": "Hello"}],
                    stream=True,
                    **options,  # type: ignore[call-overload]
                )
                seen.append([piece async for piece in stream])
        assert [len(pieces) for pieces in seen] == [2, 3]
        assert all(piece.choices for piece in seen[0])
        assert seen[1][-1].usage.prompt_tokens == 5
        assert [(row.tokens_in, row.tokens_out) for row in gateway.rows] == [(5, 2), (5, 2)]

    run(main())


def test_an_error_within_a_stream_passes_the_one_who_takes_out_the_usage() -> None:
    pieces = [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        chunk('data: {"choices":[{"delta":{"content":"Hel"}}],"model":"gpt-4o","usage":null}\r\n\r\n'),
        chunk('data: {"error":{"message":"The server had an error","type":"server_error"}}\r\n'),
        chunk("\r\n"),
        b"0\r\n\r\n",
    ]

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"".join(pieces))

    async def main() -> None:
        async with (
            raw_server(upstream) as origin,
            logged({"usage_in_streams": True}, **openai_at(origin, api_key="sk-stored")) as gateway,
            httpx.AsyncClient() as client,
        ):
            url = f"{gateway.http}/v1/local/default/openai/chat/completions"
            answer = await client.post(url, json={"model": "gpt-4o", "stream": True})
        assert answer.text.count("\r\n\r\n") == 2
        assert '"usage":null' in answer.text
        assert "The server had an error" in answer.text
        assert (gateway.row.error, gateway.row.success) == ("server_error: The server had an error", False)

    run(main())
