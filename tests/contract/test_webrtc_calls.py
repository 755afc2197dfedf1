"""WebRTC calls through a real gateway: the offer, the way back, and the ear beside the call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.ga_upstream import GaUpstream, ga_upstream
from tests.contract.administration import administration, new_key
from tests.contract.test_client_secrets import mint, terms
from tests.contract.test_gateway_keys import eventually
from tests.running import Address, data_directory, gateway, run

KEY = "sk-strict-0123456789"
CALLS = "/v1/local/default/openai/realtime/calls"
OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
SDP = {"content-type": "application/sdp"}


@asynccontextmanager
async def placed(**settings: Any) -> AsyncIterator[tuple[GaUpstream, Address, httpx.AsyncClient]]:
    async with ga_upstream(key=KEY) as upstream:
        providers = {"openai": {"base_url": upstream.http, "api_key": KEY}}
        async with (
            gateway(providers=providers, **settings) as address,
            httpx.AsyncClient(base_url=address.http) as client,
        ):
            yield upstream, address, client


def parts(session: dict[str, Any]) -> dict[str, Any]:
    return {
        "sdp": (None, OFFER, "application/sdp"),
        "session": (None, json.dumps(session), "application/json"),
    }


def test_an_offer_goes_to_the_provider_with_the_right_key_and_the_call_is_at_the_gateway() -> None:
    async def main() -> None:
        async with placed() as (upstream, _, client):
            session = {"type": "realtime", "model": "gpt-realtime", "audio": {"output": {"voice": "marin"}}}
            answer = await client.post(CALLS, files=parts(session))
            assert answer.status_code == 201
            assert answer.headers["content-type"] == "application/sdp"
            assert answer.text.startswith("v=0")
            (call_id,) = upstream.calls
            assert answer.headers["location"] == f"{CALLS}/{call_id}"
            (request,) = upstream.requests
            assert request.parts == {"sdp": OFFER, "session": json.dumps(session)}
            assert dict(request.headers)["authorization"] == f"Bearer {KEY}"
            hung_up = await client.post(f"{answer.headers['location']}/hangup")
            assert hung_up.status_code == 200
            assert upstream.calls == {}
            assert upstream.leaks == []

    run(main())


def test_the_gateway_listens_beside_the_call_and_ends_with_it() -> None:
    async def main() -> None:
        async with placed() as (upstream, _, client):
            answer = await client.post(f"{CALLS}?model=gpt-realtime", content=OFFER, headers=SDP)
            assert answer.status_code == 201
            (call_id,) = upstream.calls

            async def listens() -> bool:
                return [seen.query for seen in upstream.open_sessions] == [{"call_id": call_id}]

            await eventually(listens)
            (ear,) = upstream.sessions
            assert ear.credentials == [KEY]
            await client.post(f"{CALLS}/{call_id}/hangup")

            async def gone() -> bool:
                return not upstream.open_sessions

            await eventually(gone)
            assert ear.received == []

    run(main())


def test_a_client_secret_brings_its_settings_into_the_call_and_never_reaches_the_provider() -> None:
    async def main() -> None:
        async with placed() as (upstream, address, client):
            session = {"type": "realtime", "model": "gpt-realtime", "instructions": "Be brief."}
            secret = (await mint(client, address, {"session": session}))["value"]
            headers = {**SDP, "authorization": f"Bearer {secret}"}
            answer = await client.post(CALLS, content=OFFER, headers=headers)
            assert answer.status_code == 201, answer.text
            sent = upstream.requests[-1].parts
            assert sent["sdp"].replace("\r\n", "\n").strip() == OFFER.replace("\r\n", "\n").strip()
            assert json.loads(sent["session"]) == session
            assert upstream.leaks == []

    run(main())


def test_a_call_is_hung_up_when_its_secrets_cap_is_spent() -> None:
    async def main() -> None:
        async with placed() as (upstream, address, client):
            secret = (await mint(client, address, terms(spend_cap=0.000001)))["value"]
            headers = {**SDP, "authorization": f"Bearer {secret}"}
            assert (await client.post(CALLS, content=OFFER, headers=headers)).status_code == 201
            (call_id,) = upstream.calls

            async def listens() -> bool:
                return bool(upstream.open_sessions)

            await eventually(listens)
            upstream.speak_in_call(call_id, "Tell me something.")

            async def hung_up() -> bool:
                return not upstream.calls

            await eventually(hung_up)

    run(main())


def test_a_key_for_some_models_places_calls_to_those_only() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with administration(data) as configuration:
                key, _ = await new_key(configuration, models=("gpt-realtime-mini",))
            await calls_with(key, data)

    async def calls_with(key: str, data: Path) -> None:
        async with placed(data_dir=data) as (upstream, _, client):
            headers = {"authorization": f"Bearer {key}"}
            refused = await client.post(
                CALLS, files=parts({"type": "realtime", "model": "gpt-realtime"}), headers=headers
            )
            assert refused.status_code == 403
            nameless = await client.post(CALLS, content=OFFER, headers={**headers, **SDP})
            assert nameless.status_code == 403
            taken = await client.post(
                CALLS, files=parts({"type": "realtime", "model": "gpt-realtime-mini"}), headers=headers
            )
            assert taken.status_code == 201
            assert len(upstream.calls) == 1

    run(main())


def form(*pieces: tuple[str, str, str]) -> tuple[bytes, dict[str, str]]:
    """A form as somebody might write it by hand: name, further header lines, content."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n{more}\r\n{text}\r\n' for name, more, text in pieces
    ]
    return "".join([*parts, "--b--\r\n"]).encode(), {"content-type": "multipart/form-data; boundary=b"}


def with_key_for_mini(main: Callable[[str, Path], Coroutine[Any, Any, None]]) -> None:
    """Run with a gateway key that is good for one model only."""

    async def whole(data: Path) -> None:
        async with administration(data) as configuration:
            key, _ = await new_key(configuration, models=("gpt-realtime-mini",))
        await main(key, data)

    with data_directory() as data:
        run(whole(data))


MINI = '{"type": "realtime", "model": "gpt-realtime-mini"}'
OTHER = '{"type": "realtime", "model": "gpt-realtime"}'


@pytest.mark.parametrize(
    ("query", "pieces"),
    [
        ("?model=gpt-realtime", [("sdp", "", OFFER), ("session", "", MINI)]),
        ("", [("sdp", "", OFFER), ("session", "", OTHER), ("session", "", MINI)]),
        ("", [("sdp", "", OFFER), ("session", "Content-Transfer-Encoding: quoted-printable\r\n", MINI)]),
        (
            "",
            [
                ("sdp", "", OFFER),
                ("session", "", '{"model": "gpt-realtime-mini", "type": "realtime", "model": "gpt-realtime"}'),
            ],
        ),
    ],
)
def test_no_other_model_gets_past_a_keys_limits(query: str, pieces: list[tuple[str, str, str]]) -> None:
    async def main(key: str, data: Path) -> None:
        async with placed(data_dir=data) as (upstream, _, client):
            body, headers = form(*pieces)
            headers["authorization"] = f"Bearer {key}"
            refused = await client.post(CALLS + query, content=body, headers=headers)
            assert refused.status_code in (400, 403), refused.text
            assert upstream.calls == {}

    with_key_for_mini(main)


def test_what_was_judged_is_what_leaves() -> None:
    async def main(key: str, data: Path) -> None:
        async with placed(data_dir=data) as (upstream, _, client):
            twice = '{"model": "gpt-realtime", "type": "realtime", "model": "gpt-realtime-mini"}'
            body, headers = form(("sdp", "", OFFER), ("session", "", twice))
            headers["authorization"] = f"Bearer {key}"
            assert (await client.post(CALLS, content=body, headers=headers)).status_code == 201
            assert json.loads(upstream.requests[-1].parts["session"]) == json.loads(MINI)
            assert upstream.requests[-1].parts["session"].count("model") == 1

    with_key_for_mini(main)


@pytest.mark.parametrize("path", [CALLS, CALLS.replace("calls", "%63alls"), CALLS.replace("/calls", "//calls")])
def test_a_caller_at_its_limit_places_no_call_however_the_path_is_written(path: str) -> None:
    async def main() -> None:
        with data_directory() as data:
            async with administration(data) as configuration:
                await configuration.change_gateway("default", realtime={"limits": {"concurrent": 1}})
            async with placed(data_dir=data) as (upstream, _, client):
                session = {"type": "realtime", "model": "gpt-realtime"}
                assert (await client.post(CALLS, files=parts(session))).status_code == 201
                refused = await client.post(path, files=parts(session))
                assert refused.status_code == 429
                assert len(upstream.calls) == 1

    run(main())


def test_a_call_with_limits_that_cannot_be_heard_is_hung_up() -> None:
    async def main() -> None:
        with data_directory() as data:
            async with administration(data) as configuration:
                await configuration.change_gateway("default", realtime={"limits": {"max_duration": 3600}})
            async with placed(data_dir=data) as (upstream, _, client):
                upstream.refuse_new = True
                made = await client.post(CALLS, files=parts({"type": "realtime", "model": "gpt-realtime"}))
                assert made.status_code == 201

                async def hung_up() -> bool:
                    return not upstream.calls

                await eventually(hung_up)

    run(main())


def test_an_ear_that_is_lost_listens_again() -> None:
    async def main() -> None:
        async with placed() as (upstream, _, client):
            await client.post(CALLS, files=parts({"type": "realtime", "model": "gpt-realtime"}))

            async def listens() -> bool:
                return len(upstream.open_sessions) == 1

            await eventually(listens)
            upstream.drop_all()

            async def listens_again() -> bool:
                return len(upstream.sessions) == 2 and len(upstream.open_sessions) == 1

            await eventually(listens_again)

    run(main())


@pytest.mark.parametrize(("body", "kind"), [(b"{}", "application/json"), (b"x", "multipart/form-data"), (b"", "")])
def test_what_is_no_offer_is_refused_with_words(body: bytes, kind: str) -> None:
    async def main() -> None:
        async with placed() as (upstream, _, client):
            refused = await client.post(CALLS, content=body, headers={"content-type": kind})
            assert refused.status_code == 400
            assert "SDP offer" in refused.json()["error"]["message"]
            assert upstream.requests == []

    run(main())


def test_a_provider_that_refuses_the_offer_is_heard() -> None:
    async def main() -> None:
        async with placed() as (upstream, _, client):
            refused = await client.post(f"{CALLS}?model=nothing", content=OFFER, headers=SDP)
            assert refused.status_code == 400
            assert "nothing" in refused.json()["error"]["message"]
            assert "location" not in refused.headers
            assert upstream.sessions == []

    run(main())
