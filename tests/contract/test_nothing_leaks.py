"""A secret in any place of any exchange is nowhere afterwards: not in a file, not in a log line, not in an answer."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from websockets.exceptions import ConnectionClosed

from tests.contract.administration import administration, new_key
from tests.contract.log_rows import json_answer
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import read_request
from tests.contract.test_voiceplane import dial, upstream_of
from tests.running import Program, data_directory, program, run

CHAT = "/v1/local/default/openai/chat/completions"
UNIVERSAL = "/v1/local/default"
GATEWAY_TOKEN = "gateway-token-of-the-test-0001"
STORED_KEY = "stored-provider-key-of-the-test-0002"

# Some have a known shape; the others can only be told by where they are shown.
SHOWN = {
    name: f"{name}-of-the-test-{number:04}"
    for number, name in enumerate(
        ["bearer", "x-api-key", "query", "step", "frame", "subprotocol", "xi-key", "wrong-token"], 100
    )
}
SHAPED = {
    "sk": "sk-proj-0123456789abcdefABCDEF",
    "anthropic": "sk-ant-api03-0123456789abcdef",
    "google": "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "aws": "AKIA0123456789ABCDEF",
    "github": "ghp_0123456789abcdefghij0123",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
}
NAMED = "a-password-of-the-test-0003"


async def echoing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A provider that refuses, and quotes all it was shown: in its headers' order, plainly and encoded."""
    while True:
        line, headers, body = await read_request(reader)
        quoted = [value for values in headers.values() for value in values]
        said = {
            "error": {
                "message": f"Incorrect API key provided: {' '.join(quoted)} for {line}",
                "plain": quoted,
                "inner": json.dumps(quoted),
                "packed": [base64.b64encode(value.encode()).decode() for value in quoted],
                "url": [quote(value, safe="") for value in quoted],
                "body": body.decode("utf-8", "replace"),
            }
        }
        writer.write(json_answer(said, "401 Unauthorized", "x-shown: " + " ".join(quoted)[:1000]))
        await writer.drain()


async def telling(socket: Any) -> None:
    """A provider of realtime that says in its first event what it was shown, and then what it hears."""
    shown = [*socket.request.headers.raw_items()]
    await socket.send(json.dumps({"type": "error", "error": {"code": "invalid_api_key", "message": str(shown)}}))
    async for message in socket:
        said = {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i", "transcript": message}
        await socket.send(json.dumps(said))


@asynccontextmanager
async def running(directory: Path, **origins: Any) -> AsyncIterator[Program]:
    environment = {
        "TRUNKLINE_LOG_LEVEL": "debug",
        "TRUNKLINE_GATEWAY_TOKEN": GATEWAY_TOKEN,
        **{
            f"TRUNKLINE_PROVIDERS__{slug.upper().replace('-', '_')}__BASE_URL": f"http://{origin.host}:{origin.port}/v1"
            for slug, origin in origins.items()
        },
    }
    with program("serve", "--port", "0", "--data-dir", str(directory), environment=environment) as served:
        yield served


def test_no_secret_of_a_run_is_found_anywhere_afterwards() -> None:
    async def main() -> None:
        with data_directory() as directory:
            async with administration(directory) as configuration:
                await configuration.change_gateway("default", logging={"payloads": True})
                key, _ = await new_key(configuration)
                await configuration.store_key("default", "groq", "default", STORED_KEY, "")
            secrets = [GATEWAY_TOKEN, STORED_KEY, NAMED, key, *SHOWN.values(), *SHAPED.values()]
            async with raw_server(echoing) as origin, upstream_of(telling) as voice:
                origins = {"openai": origin, "groq": origin, "anthropic": origin, "google-ai-studio": origin}
                async with running(directory, **origins, elevenlabs=voice, grok=voice) as served:
                    answers = await exchanged(served, key)
                output = "".join(served.output)
            kept = dict(files(directory)) | answers | {"process output": output.encode()}
            leaks = [(where, secret) for where, found in kept.items() for secret in secrets if holds(found, secret)]
            assert not leaks, "\n".join(f"{where}: {secret}" for where, secret in leaks)

    run(main(), seconds=120)


async def exchanged(served: Program, key: str) -> dict[str, bytes]:
    """Have all exchanges, and return what the gateway tells of them."""
    async with httpx.AsyncClient(base_url=served.address.http, timeout=30) as client:
        count = await ask_everything(client, key)
        count += await ask_on_sockets(served, key)
        return await read_everything(client, count)


async def ask_everything(client: httpx.AsyncClient, key: str) -> int:
    """Show secrets in every place of HTTP requests; return how many of them are exchanges."""
    ours = {"cf-aig-authorization": f"Bearer {key}"}
    talkative = {
        "model": f"gpt-4o {SHAPED['sk']}",
        "user": SHAPED["github"],
        "messages": [{"role": "user", "content": f"My keys: {' '.join(SHAPED.values())}, {SHOWN['bearer']}."}],
        "tools": [{"type": "mcp", "authorization": NAMED, "headers": {"Authorization": f"Bearer {NAMED}-1"}}],
        "arguments": json.dumps({"password": NAMED, "nested": json.dumps({"api_key": NAMED})}),
    }
    guarded = {**talkative, "messages": [{"role": "user", "content": f"My keys: {' '.join(SHAPED.values())}."}]}
    careless = {
        "cf-aig-metadata": json.dumps({"key": SHOWN["bearer"], "other": SHAPED["aws"]}),
        "cf-aig-event-id": SHAPED["google"],
        "user-agent": f"agent {SHAPED['jwt']}",
        "traceparent": SHAPED["sk"],
    }
    bearer = {"authorization": f"Bearer {SHOWN['bearer']}"}
    requests: list[dict[str, Any]] = [
        {"url": CHAT, "headers": {**ours, **bearer, **careless}, "json": talkative},
        {"url": CHAT, "headers": {"cf-aig-authorization": SHOWN["wrong-token"], **bearer}, "json": talkative},
        {"url": CHAT, "headers": {"authorization": f"Bearer {GATEWAY_TOKEN}"}, "json": guarded},
        {"url": f"{UNIVERSAL}/anthropic/v1/messages", "headers": {**ours, "x-api-key": SHOWN["x-api-key"]}, "json": {}},
        {"url": f"{UNIVERSAL}/groq/chat/completions", "headers": ours, "json": guarded},
        {
            "url": f"{UNIVERSAL}/google-ai-studio/v1/models/gemini:generateContent",
            "params": {"key": SHOWN["query"]},
            "headers": ours,
            "json": {},
        },
        {"url": f"{UNIVERSAL}/openai/files/{SHAPED['anthropic']}", "headers": {**ours, **bearer}, "json": {}},
        {
            "url": UNIVERSAL,
            "headers": ours,
            "json": [
                {
                    "provider": "openai",
                    "endpoint": "chat/completions",
                    "headers": {"Authorization": f"Bearer {SHOWN['step']}"},
                    "query": guarded,
                }
            ],
        },
    ]
    for request in requests:
        answer = await client.post(**request)
        assert answer.headers["cf-aig-log-id"], request["url"]
    return len(requests)


async def ask_on_sockets(served: Program, key: str) -> int:
    """Show secrets in every place of WebSockets; return how many exchanges these are."""
    async with dial(served.address, UNIVERSAL, cf_aig_authorization=key) as socket:
        request = {
            "eventId": SHAPED["aws"],
            "provider": "openai",
            "endpoint": "chat/completions",
            "headers": {"Authorization": f"Bearer {SHOWN['frame']}"},
            "query": {"model": SHAPED["sk"], "password": NAMED},
        }
        await socket.send(json.dumps({"type": "universal.create", "request": request}))
        await socket.recv()
    protocols = ["realtime", f"openai-insecure-api-key.{SHOWN['subprotocol']}", f"cf-aig-authorization.{key}"]
    agent = {"user_agent": f"agent {SHAPED['jwt']}"}
    async with dial(served.address, f"{UNIVERSAL}/grok/realtime?model=m", protocols=protocols, **agent) as socket:
        with suppress(ConnectionClosed):
            await socket.send(f"I say {SHAPED['sk']} and {SHOWN['subprotocol']}")
            await socket.recv()
            await socket.recv()
    refused = ["realtime", f"cf-aig-authorization.{SHOWN['wrong-token']}"]
    async with dial(served.address, f"{UNIVERSAL}/grok/realtime?model=m", protocols=refused, **agent) as socket:
        with suppress(ConnectionClosed):
            await socket.recv()
            await socket.recv()
    path = f"{UNIVERSAL}/elevenlabs/v1/convai/conversation?agent_id=a"
    async with dial(served.address, path, protocols=[f"xi-api-key.{SHOWN['xi-key']}", f"cf-aig-authorization.{key}"]):
        pass
    return 4


async def read_everything(client: httpx.AsyncClient, count: int) -> dict[str, bytes]:
    """Return all that the gateway tells of the exchanges, once it knows of all of them."""
    client.headers["authorization"] = f"Bearer {GATEWAY_TOKEN}"
    until = time.monotonic() + 30
    while True:
        logs = (await client.get("/api/logs", params={"limit": 100})).raise_for_status()
        rows = logs.json()["logs"]
        if len(rows) >= count or time.monotonic() > until:
            break
        await asyncio.sleep(0.1)
    assert len(rows) == count
    assert any(row["has_payload"] for row in rows)
    answers = {"logs": logs.content}
    for row in rows:
        answers[row["id"]] = (await client.get(f"/api/logs/{row['id']}")).content
        answers[f"payload of {row['id']}"] = (await client.get(f"/api/logs/{row['id']}/payload")).content
    for path in ("/metrics", "/api/realtime/records", "/api/gateways"):
        answers[path] = (await client.get(path)).raise_for_status().content
    assert any(b"[redacted]" in answer for where, answer in answers.items() if where.startswith("payload"))
    return answers


def files(directory: Path) -> Iterator[tuple[str, bytes]]:
    for parent, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if name != "models"]
        for name in names:
            path = Path(parent) / name
            yield str(path.relative_to(directory)), path.read_bytes()


def holds(found: bytes, secret: str) -> bool:
    """Whether a secret is in there, plainly or in a form that anybody can read."""
    raw = secret.encode()
    packed = base64.b64encode(b"Bearer " + raw).rstrip(b"=")[10:-2]
    return any(form in found for form in (raw, quote(secret, safe="").encode(), base64.b64encode(raw)[:-4], packed))
