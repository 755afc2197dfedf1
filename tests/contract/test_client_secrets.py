"""Client secrets on a real server: made on every surface, good on every path; bounded in time, uses, model, money."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import httpx
import openai
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.contract.administration import administration, new_key
from tests.contract.conftest import STRICT_KEY
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at
from tests.contract.test_gateway_keys import CHAT, JSON, credentials_seen, dial, eventually, served
from tests.contract.test_voiceplane import Conversation, close_of, echo, refusal_of, upstream_of
from tests.running import Address, data_directory, gateway, run
from trunkline.policy.registry import ClientSecretMode, GatewayRules

BASE = "/v1/local/default/openai"
TOKEN = "gateway-token-of-many-characters"


async def mint(
    client: httpx.AsyncClient, address: Address, body: dict[str, Any] | None = None, path: str = BASE, **headers: str
) -> dict[str, Any]:
    answer = await client.post(f"{address.http}{path}/realtime/client_secrets", json=body or {}, headers=headers)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def session(model: str = "gpt-realtime", **settings: Any) -> dict[str, Any]:
    return {"session": {"type": "realtime", "model": model, **settings}}


def terms(**given: Any) -> dict[str, Any]:
    return {**session(), "trunkline": given}


# Where it is good


def test_one_secret_opens_every_transport_and_the_stored_key_goes_upstream(strict_upstream: Address) -> None:
    """The upstream refuses a missing, wrong or doubled key."""

    async def main() -> None:
        providers = {"openai": {"base_url": f"{strict_upstream.http}/v1", "api_key": STRICT_KEY}}
        async with gateway(providers=providers, gateway_token=TOKEN) as address, httpx.AsyncClient() as client:
            made = await mint(client, address, session("test/echo"), authorization=f"Bearer {TOKEN}")
            secret = made["value"]
            body = {"model": "test/echo", "messages": [{"role": "user", "content": "one two"}]}
            bearer = {"authorization": f"Bearer {secret}"}
            for path in (BASE, "/v1"):
                url = f"{address.http}{path}/chat/completions"
                answer = await client.post(url, json=body, headers=bearer)
                assert answer.json()["choices"][0]["message"]["content"] == "one two"
                streamed = await client.post(url, json={**body, "stream": True}, headers=bearer)
                assert streamed.text.endswith("data: [DONE]\n\n")
            for path in (f"{BASE}", f"{BASE}/realtime", "/v1/realtime", f"{BASE}?model=test/echo"):
                for protocols, headers in (
                    (("realtime", f"openai-insecure-api-key.{secret}"), {}),
                    ((f"cf-aig-authorization.{secret}",), {}),
                    ((), bearer),
                    ((), {"cf_aig_authorization": secret}),
                ):
                    async with dial(address, path, *protocols, **headers) as socket:
                        await socket.send("hello")
                        assert await socket.recv() == "hello", (path, protocols)

    run(main())


def test_the_official_client_makes_a_secret_and_the_answer_says_where_it_is_good() -> None:
    async def main() -> None:
        async with upstream_of(echo) as origin, gateway(**openai_at(origin, api_key="sk-stored")) as address:
            client = openai.AsyncOpenAI(base_url=address.http + BASE, api_key="unused")
            made = await client.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60},
                session={"type": "realtime", "model": "gpt-realtime", "instructions": "Be brief."},
                extra_body={"trunkline": {"uses": 1}},
                extra_headers={"x-trunkline-client-secrets": "brokered"},
            )
            assert made.value.startswith("ek_tl_")
            assert 50 < made.expires_at - time.time() <= 60
            ours = made.model_extra["trunkline"] if made.model_extra else {}
            assert ours["mode"] == "brokered"
            assert ours["id"].startswith("sec_")
            assert ours["url"] == f"{address.ws}{BASE}/realtime?model=gpt-realtime"
            await client.close()

    run(main())


def test_at_the_root_the_secret_says_which_provider_is_meant(strict_upstream: Address) -> None:
    async def main() -> None:
        providers = {"custom-mine": {"base_url": f"{strict_upstream.http}/v1", "api_key": STRICT_KEY}}
        providers["custom-mine"] |= {"realtime": {"paths": {"realtime": "realtime"}}, "needs_key": True}
        async with gateway(providers=providers) as address, httpx.AsyncClient() as client:
            made = await mint(client, address, session("test/echo"), "/v1/local/default/custom-mine")
            protocols = ("realtime", f"openai-insecure-api-key.{made['value']}")
            async with dial(address, "/v1/realtime", *protocols) as socket:
                await socket.send("hello")
                assert await socket.recv() == "hello"
            async with dial(address, f"{BASE}?model=test/echo", *protocols) as socket:
                error, code = await refusal_of(socket)
            assert (error["code"], code) == ("not_permitted", 4003)
            assert "custom-mine, not for openai" in error["message"]

    run(main())


def test_the_key_its_maker_brought_goes_upstream_and_a_restart_keeps_both() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with upstream_of(credentials_seen) as origin:
                settings = {"data_dir": data_dir, **openai_at(origin)}
                async with gateway(**settings) as address, httpx.AsyncClient() as client:
                    made = await mint(client, address, session(), authorization="Bearer sk-brought-0123456789")
                async with gateway(**settings) as address:
                    protocols = ("realtime", f"openai-insecure-api-key.{made['value']}")
                    async with dial(address, BASE, *protocols) as socket:
                        authorization, offered = json.loads(await socket.recv())
                assert authorization == "Bearer sk-brought-0123456789"
                assert offered == "realtime"
                written = kept(data_dir)
                assert b"sk-brought" not in written
                assert made["value"].encode() not in written

    def kept(data_dir: Any) -> bytes:
        return b"".join(path.read_bytes() for path in data_dir.iterdir() if path.is_file())

    run(main())


def test_a_key_typed_into_the_console_opens_a_session_and_stays_out_of_the_database() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with (
                upstream_of(credentials_seen) as origin,
                gateway(data_dir=data_dir, **openai_at(origin)) as address,
                httpx.AsyncClient() as client,
            ):
                own = {"origin": address.http, "x-trunkline-console": "1"}
                typed = {"provider": "openai", "provider_key": "sk-typed-0123456789"}
                assert (await client.put(f"{address.http}/api/session", json=typed, headers=own)).is_success
                made = await mint(client, address, session(), origin=address.http)
                protocols = ("realtime", f"openai-insecure-api-key.{made['value']}")
                async with dial(address, BASE, *protocols) as socket:
                    assert json.loads(await socket.recv())[0] == "Bearer sk-typed-0123456789"
            async with administration(data_dir) as admin:
                assert await admin.secrets() == {}

    run(main())


# What bounds it


def test_a_secret_for_one_use_opens_one_session() -> None:
    async def main() -> None:
        async with (
            upstream_of(echo) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            secret = (await mint(client, address, terms(uses=1)))["value"]
            async with dial(address, BASE, "realtime", f"openai-insecure-api-key.{secret}") as first:
                await first.send("hello")
                assert await first.recv() == "hello"
                async with dial(address, BASE, "realtime", f"openai-insecure-api-key.{secret}") as second:
                    error, code = await refusal_of(second)
                assert code == 3000
                assert "has been used" in error["message"]
                await first.send("still here")
                assert await first.recv() == "still here"
            refused = await client.get(f"{address.http}{BASE}/models", headers={"authorization": f"Bearer {secret}"})
            assert refused.status_code == 401

    run(main())


def test_a_secret_expires_and_an_unknown_one_is_never_sent_on() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient() as client,
        ):
            body = {**session(), "expires_after": {"seconds": 10}}
            made = await mint(client, address, body, authorization="Bearer sk-own")
            unknown = {"authorization": "Bearer ek_tl_0123456789abcdef0123456789abcdef0123456789abcdef"}
            answer = await client.post(f"{address.http}{BASE}/chat/completions", content=CHAT, headers=unknown)
            assert answer.status_code == 401
            assert "is not known here" in answer.json()["error"]["message"]
            bearer = {"authorization": f"Bearer {made['value']}"}

            async def expired() -> bool:
                answer = await client.get(f"{address.http}{BASE}/models", headers=bearer)
                return "has expired" in answer.text

            await eventually(expired)
        assert all("ek_tl_" not in str(request) for request in upstream.requests)

    run(main())


def test_a_secret_is_for_its_model_alone() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            secret = (await mint(client, address, session("gpt-4o")))["value"]
            bearer = {"authorization": f"Bearer {secret}", **JSON}
            for body, status in ((CHAT, 200), (b'{"model": "o3"}', 403), (b"{}", 403)):
                answer = await client.post(f"{address.http}{BASE}/chat/completions", content=body, headers=bearer)
                assert answer.status_code == status
            async with dial(address, f"{BASE}?model=o3", "realtime", f"openai-insecure-api-key.{secret}") as socket:
                error, code = await refusal_of(socket)
            assert (error["code"], code) == ("not_permitted", 4003)

    run(main())


def test_a_session_opened_for_one_model_may_choose_what_writes_down_its_speech() -> None:
    """OpenAI's clients name a transcription model in their first frame."""

    async def main() -> None:
        async with (
            upstream_of(echo) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            secret = (await mint(client, address, session()))["value"]
            async with dial(address, BASE, "realtime", f"openai-insecure-api-key.{secret}") as socket:
                heard = {"transcription": {"model": "whisper-1"}}
                fine = json.dumps({"type": "session.update", "session": {"audio": {"input": heard}}})
                await socket.send(fine)
                assert await socket.recv() == fine
                await socket.send('{"type": "session.update", "session": {"model": "o3"}}')
                error, code = await refusal_of(socket)
            assert (error["code"], code) == ("not_permitted", 4003)

    run(main())


def test_a_secret_may_no_more_than_the_key_that_made_it() -> None:
    async def main() -> None:
        upstream = Recorder()
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, raw_server(upstream) as origin:
                key, _ = await new_key(admin, models=("gpt-4o*",))
                async with (
                    gateway(data_dir=data_dir, **openai_at(origin, api_key="sk-stored")) as address,
                    httpx.AsyncClient() as client,
                ):
                    unbound = await mint(client, address, {}, authorization=f"Bearer {key}")
                    bearer = {"authorization": f"Bearer {unbound['value']}", **JSON}
                    url = f"{address.http}{BASE}/chat/completions"
                    for body, status in ((b'{"model": "gpt-4o-mini"}', 200), (b'{"model": "o3"}', 403)):
                        assert (await client.post(url, content=body, headers=bearer)).status_code == status

    run(main())


def test_a_secret_dies_with_the_key_that_made_it_and_so_does_its_session() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, upstream_of(echo) as origin:
                key, key_id = await new_key(admin)
                async with (
                    gateway(data_dir=data_dir, **openai_at(origin, api_key="sk-stored")) as address,
                    httpx.AsyncClient() as client,
                ):
                    secret = (await mint(client, address, session(), authorization=f"Bearer {key}"))["value"]
                    async with dial(address, BASE, "realtime", f"openai-insecure-api-key.{secret}") as socket:
                        await socket.send("hello")
                        assert await socket.recv() == "hello"
                        await admin.revoke_key(key_id)
                        error, code = await refusal_of(socket)
                    assert code == 3000
                    assert "was revoked" in error["message"]
                    async with dial(address, BASE, "realtime", f"openai-insecure-api-key.{secret}") as socket:
                        _, code = await refusal_of(socket)
                    assert code == 3000

    run(main())


def test_a_key_for_some_models_makes_secrets_for_no_other() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin:
                key, _ = await new_key(admin, models=("gpt-realtime",))
                async with gateway(data_dir=data_dir) as address, httpx.AsyncClient() as client:
                    url = f"{address.http}/v1/local/default/local/realtime/client_secrets"
                    headers = {"authorization": f"Bearer {key}"}
                    for body, status in (
                        (session("gpt-realtime"), 200),
                        (session("o3"), 403),
                        (session("gpt-realtime", audio={"input": {"transcription": {"model": "dear"}}}), 403),
                    ):
                        answer = await client.post(url, json=body, headers=headers)
                        assert answer.status_code == status, answer.text

    run(main())


@pytest.mark.parametrize("mode", ["brokered", "relay"])
@pytest.mark.parametrize(
    "surface",
    [
        "realtime/client_secrets",
        "realtime/sessions",
        "v1/realtime/transcription_sessions",
        "realtime/translations/client_secrets",
    ],
)
def test_a_secret_makes_no_other_secret_here_or_at_the_provider(surface: str, mode: str) -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            made = await mint(client, address, session())
            headers = {"authorization": f"Bearer {made['value']}", "x-trunkline-client-secrets": mode}
            answer = await client.post(f"{address.http}{BASE}/{surface}", json=session(), headers=headers)
            assert answer.status_code == 403
        assert upstream.requests == []

    run(main())


def test_which_stored_key_a_secret_uses_was_for_its_maker_to_choose() -> None:
    async def main() -> None:
        upstream = Recorder()
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, raw_server(upstream) as origin:
                for alias in ("low", "high"):
                    await admin.store_key("default", "openai", alias, f"sk-{alias}", "")
                async with (
                    gateway(data_dir=data_dir, **openai_at(origin)) as address,
                    httpx.AsyncClient() as client,
                ):
                    url = f"{address.http}{BASE}"
                    asked = {"cf-aig-byok-alias": "low"}
                    made = await client.post(f"{url}/realtime/client_secrets", json=session("gpt-4o"), headers=asked)
                    bearer = {"authorization": f"Bearer {made.json()['value']}", "cf-aig-byok-alias": "high", **JSON}
                    await client.post(f"{url}/chat/completions", content=CHAT, headers=bearer)
        assert upstream.requests[0][1]["authorization"] == ["Bearer sk-low"]

    run(main())


def test_a_secrets_session_ends_when_the_key_that_made_it_expires() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, upstream_of(echo) as origin:
                key, _ = await new_key(admin, expires_at=time.time() + 3)
                async with (
                    gateway(data_dir=data_dir, **openai_at(origin, api_key="sk-stored")) as address,
                    httpx.AsyncClient() as client,
                ):
                    secret = (await mint(client, address, session(), authorization=f"Bearer {key}"))["value"]
                    async with dial(address, BASE, "realtime", f"openai-insecure-api-key.{secret}") as socket:
                        error, code = await refusal_of(socket)
                    assert code == 3000
                    assert "has expired" in error["message"]

    run(main())


def test_what_a_session_was_promised_is_sealed_too_for_its_tools_have_keys() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with gateway(data_dir=data_dir) as address, httpx.AsyncClient() as client:
                tool = {"type": "mcp", "server_label": "x", "authorization": "mcp-secret-0123456789"}
                await mint(client, address, session("local", tools=[tool]), "/v1/local/default/local")
            assert b"mcp-secret" not in b"".join(path.read_bytes() for path in data_dir.iterdir() if path.is_file())

    run(main())


# Money

USAGE = {
    "total_tokens": 30_000,
    "input_tokens": 10_000,
    "output_tokens": 20_000,
    "input_token_details": {"audio_tokens": 10_000},
    "output_token_details": {"audio_tokens": 20_000},
}


def started(number: int) -> str:
    return json.dumps({"type": "response.created", "response": {"id": f"resp_{number}"}})


def done(number: int) -> str:
    return json.dumps({"type": "response.done", "response": {"id": f"resp_{number}", "usage": USAGE}})


async def costly(socket: ServerConnection) -> None:
    """Answer every message with a turn that costs more than a dollar."""
    number = 0
    async for _ in socket:
        await socket.send(started(number))
        await socket.send(done(number))
        number += 1


def test_a_session_ends_when_its_secrets_cap_is_spent_after_the_turn_that_spent_it() -> None:
    async def main() -> None:
        async with (
            upstream_of(costly) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            secret = (await mint(client, address, terms(spend_cap=2.0)))["value"]
            async with dial(address, BASE, "realtime", f"openai-insecure-api-key.{secret}") as socket:
                for number, words in enumerate(("one", "two")):
                    await socket.send(words)
                    assert [await socket.recv(), await socket.recv()] == [started(number), done(number)]
                error, code = await refusal_of(socket)
            assert (error["code"], error["type"], code) == ("spend_cap_reached", "insufficient_quota", 4000)
            async with dial(address, BASE, "realtime", f"openai-insecure-api-key.{secret}") as socket:
                error, code = await refusal_of(socket)
            assert code == 3000
            assert "spend cap" in error["message"]

    run(main())


def ok(kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(body), body)


async def unfinished(socket: ServerConnection) -> None:
    """Speak for a long time and never come to the end of the turn."""
    async for _ in socket:
        await socket.send(started(0))
        await socket.send(json.dumps({"type": "response.output_audio.delta", "delta": "A" * 500_000}))


async def listening(socket: ServerConnection) -> None:
    """Write down what was heard, for a price of its own."""
    heard = "conversation.item.input_audio_transcription.completed"
    async for _ in socket:
        await socket.send(
            json.dumps({"type": heard, "transcript": "hello", "usage": {"type": "duration", "seconds": 600}})
        )


async def heard_last(socket: ClientConnection) -> None:
    while json.loads(await socket.recv())["type"] == "response.created":
        pass


@pytest.mark.parametrize("conversation", [unfinished, listening])
def test_trap_a_cap_binds_whoever_leaves_before_the_end_of_a_turn_or_only_has_speech_written_down(
    conversation: Conversation,
) -> None:
    async def main() -> None:
        async with (
            upstream_of(conversation) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            secret = (await mint(client, address, terms(spend_cap=0.05)))["value"]
            protocols = ("realtime", f"openai-insecure-api-key.{secret}")
            async with dial(address, BASE, *protocols) as socket:
                await socket.send("one")
                await heard_last(socket)

            async def spent() -> bool:
                async with dial(address, BASE, *protocols) as again:
                    with suppress(ConnectionClosed):  # refused, and closed, before anything is said
                        await again.send("two")
                    return "spend cap" in str(await again.recv())

            await eventually(spent)

    run(main())


def test_a_capped_secret_opens_no_session_whose_cost_cannot_be_told() -> None:
    async def main() -> None:
        async with (
            upstream_of(echo) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            secret = (await mint(client, address, terms(spend_cap=1)))["value"]
            for query in ("intent=transcription", "call_id=rtc_1", "%69ntent=transcription"):
                async with dial(address, f"{BASE}?{query}", "realtime", f"openai-insecure-api-key.{secret}") as socket:
                    error, code = await refusal_of(socket)
                assert (error["code"], code) == ("not_permitted", 4003)
            background = b'{"model": "gpt-realtime", "background": true}'
            bearer = {"authorization": f"Bearer {secret}", **JSON}
            answer = await client.post(f"{address.http}{BASE}/responses", content=background, headers=bearer)
            assert answer.status_code == 400

    run(main())


def test_a_cap_counts_over_http_too_streamed_or_not_and_by_length_where_an_answer_breaks_off() -> None:
    answer = json.dumps({"model": "gpt-4o", "usage": {"prompt_tokens": 100_000, "completion_tokens": 0}}).encode()
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer)
    events = b"data: " + answer + b"\n\ndata: [DONE]\n\n"
    stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%s" % (
        len(events),
        events,
    )
    silent = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 300000\r\n\r\n" + b" " * 300_000

    async def main() -> None:
        for body, upstream, requests_until_refused in (
            (CHAT, Recorder(whole), 2),
            (b'{"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": true}}', Recorder(stream), 2),
            (CHAT, Recorder(silent), 1),
        ):
            async with (
                raw_server(upstream) as origin,
                gateway(**openai_at(origin, api_key="sk-stored")) as address,
                httpx.AsyncClient() as client,
            ):
                # One of these answers costs 25 cents.
                made = await mint(client, address, {**session("gpt-4o"), "trunkline": {"spend_cap": 0.3}})
                url, headers = f"{address.http}{BASE}/chat/completions", {"authorization": f"Bearer {made['value']}"}
                statuses = [
                    (await client.post(url, content=body, headers={**headers, **JSON})).status_code for _ in range(3)
                ]
                assert statuses == [200] * requests_until_refused + [401] * (3 - requests_until_refused)
                assert upstream.requests[0][1]["accept-encoding"] == ["identity"]

    run(main())


def test_a_capped_secret_is_refused_where_the_cost_could_not_be_read() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            made = await mint(client, address, {**session("gpt-4o"), "trunkline": {"spend_cap": 0.3}})
            bearer = {"authorization": f"Bearer {made['value']}", **JSON}
            url = f"{address.http}{BASE}"
            speech = await client.post(f"{url}/audio/speech", content=CHAT, headers=bearer)
            assert speech.status_code == 403
            stream = b'{"model": "gpt-4o", "stream": true}'
            unstated = await client.post(f"{url}/chat/completions", content=stream, headers=bearer)
            assert unstated.status_code == 400
            assert "include_usage" in unstated.json()["error"]["message"]
            for body in (
                {"session": {"type": "realtime"}, "trunkline": {"spend_cap": 1}},
                {**session("a-model-nobody-sells"), "trunkline": {"spend_cap": 1}},
            ):
                answer = await client.post(f"{url}/realtime/client_secrets", json=body)
                assert answer.status_code == 400
            assert upstream.requests == []

    run(main())


# Surfaces and modes


def test_the_older_surfaces_answer_in_their_own_shape_and_their_settings_reach_the_provider_in_the_new_one() -> None:
    heard: list[dict[str, Any]] = []

    async def strict(socket: ServerConnection) -> None:
        await socket.send('{"type": "session.created", "event_id": "e1", "session": {"voice": "alloy"}}')
        heard.append(json.loads(await socket.recv()))
        await socket.send(json.dumps({"type": "session.updated", "session": heard[-1]["session"]}))
        await echo(socket)

    async def main() -> None:
        async with (
            upstream_of(strict) as origin,
            gateway(**openai_at(origin, api_key="sk-stored")) as address,
            httpx.AsyncClient() as client,
        ):
            flat = {
                "model": "gpt-realtime",
                "modalities": ["text", "audio"],
                "voice": "verse",
                "input_audio_format": "g711_ulaw",
                "turn_detection": None,
                "temperature": 0.8,
                "instructions": "Be brief.",
            }
            answer = await client.post(f"{address.http}{BASE}/realtime/sessions", json=flat)
            made = answer.json()
            assert made["object"] == "realtime.session"
            assert made["voice"] == "verse"
            assert 30 < made["client_secret"]["expires_at"] - time.time() <= 60
            protocols = ("realtime", f"openai-insecure-api-key.{made['client_secret']['value']}")
            async with dial(address, BASE, *protocols) as socket:
                created = json.loads(await socket.recv())
                await socket.send("mine comes after")
                assert await socket.recv() == "mine comes after"
            settings = {
                "type": "realtime",
                "output_modalities": ["audio"],
                "audio": {
                    "input": {"format": {"type": "audio/pcmu"}, "turn_detection": None},
                    "output": {"voice": "verse"},
                },
                "instructions": "Be brief.",
            }
            assert heard == [{"type": "session.update", "session": settings}]
            assert (created["type"], created["session"]) == ("session.created", settings)

            transcription = await client.post(
                f"{address.http}{BASE}/v1/realtime/transcription_sessions", json={"input_audio_format": "pcm16"}
            )
            assert transcription.json()["object"] == "realtime.transcription_session"

    run(main())


@pytest.mark.parametrize("how", ["header", "switch"])
def test_in_relay_mode_the_provider_answers_itself(how: str) -> None:
    own = b'{"value":"ek_of_the_provider",  "expires_at":1}'
    upstream = Recorder(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(own), own))

    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as admin, raw_server(upstream) as origin:
                relays = GatewayRules("relays", authenticated=False, client_secrets=ClientSecretMode.RELAY)
                await admin.create_gateway(relays)
                await admin.store_key("relays", "openai", "default", "sk-stored", "")
                async with (
                    gateway(data_dir=data_dir, **openai_at(origin, api_key="sk-stored")) as address,
                    httpx.AsyncClient() as client,
                ):
                    owner = "relays" if how == "switch" else "default"
                    headers = {"x-trunkline-client-secrets": "relay"} if how == "header" else {}
                    url = f"{address.http}/v1/local/{owner}/openai/realtime/client_secrets"
                    answer = await client.post(url, json=session(), headers=headers)
                    assert answer.content == own
        line, sent, body = upstream.requests[0]
        assert line == "POST /v1/realtime/client_secrets HTTP/1.1"
        assert sent["authorization"] == ["Bearer sk-stored"]
        assert "x-trunkline-client-secrets" not in sent
        assert json.loads(body) == session()

    run(main())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not json", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"sesion": {}}', "sesion"),
        (b'{"session": 1}', "session"),
        (b'{"session": {"model": 1}}', "name of a model"),
        (b'{"expires_after": {"seconds": 9}}', "expires_after"),
        (b'{"expires_after": {"seconds": 7201}}', "expires_after"),
        (b'{"trunkline": {"uses": -1}}', "uses"),
        (b'{"trunkline": {"spend_cap": 0}}', "spend_cap"),
        (b'{"trunkline": {"use": 1}}', "use"),
        (b'{"session": {"audio": null, "voice": "alloy"}}', "session.audio"),
        (b'{"session": {"audio": "x", "voice": "alloy"}}', "session.audio"),
        (b'{"session": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001, "nested"),
        (b'{"session": {"instructions": "' + b"x" * 300_000 + b'"}}', "larger than"),
    ],
)
def test_a_request_that_makes_no_sense_is_told_which_field(body: bytes, words: str) -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            url = f"{address.http}/v1/local/default/local/realtime/client_secrets"
            answer = await client.post(url, content=body, headers=JSON)
            assert answer.status_code == 400
            assert words in answer.json()["error"]["message"]
            mode = await client.post(url, content=b"{}", headers={**JSON, "x-trunkline-client-secrets": "maybe"})
            assert mode.status_code == 400
            assert "brokered or relay" in mode.json()["error"]["message"]

    run(main())


def test_a_session_that_a_secret_opened_outlives_it() -> None:
    """As with OpenAI: the secret's end closes the door, not the room."""

    async def main() -> None:
        async with served() as (address, _, _dir), httpx.AsyncClient() as client:
            path = "/v1/local/default/local"
            made = await mint(client, address, {**session("local"), "expires_after": {"seconds": 10}}, path)
            protocols = ("realtime", f"openai-insecure-api-key.{made['value']}")
            async with dial(address, path, *protocols) as socket:
                assert json.loads(await socket.recv())["type"] == "session.created"

                async def closed() -> bool:
                    async with dial(address, path, *protocols) as again:
                        first = json.loads(await again.recv())
                        if first["type"] == "error":
                            await close_of(again)
                    return bool(first["type"] == "error")

                await eventually(closed)
                await socket.send('{"type": "input_audio_buffer.clear"}')
                assert json.loads(await socket.recv())["type"] == "input_audio_buffer.cleared"

    run(main())
