"""The console's own API: the session that keeps a browser's keys, and who may reach it."""

from __future__ import annotations

import json
import re

import httpx
import pytest
import structlog

from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at
from tests.running import gateway, run
from trunkline.server.serving import configure_logging
from trunkline.store.conversations import Conversations

CONSOLE = {"x-trunkline-console": "1", "sec-fetch-site": "same-origin"}
KEY = "sk-typed-once-abcdef9876"


def test_a_key_typed_once_is_used_for_that_browser_and_never_given_back() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient(headers=CONSOLE) as browser,
            httpx.AsyncClient(headers=CONSOLE) as stranger,
        ):
            stored = await browser.put(
                f"{address.http}/api/session", json={"provider": "openai", "provider_key": f"  {KEY}\n"}
            )
            assert stored.json()["provider_keys"]["openai"] == {"set": True, "tail": KEY[-4:]}
            cookie = stored.headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            everything = stored.text + (await browser.get(f"{address.http}/api/session")).text
            everything += (await browser.get(f"{address.http}/api/config")).text
            assert KEY not in everything

            url = f"{address.http}/v1/local/default/openai/models"
            assert (await browser.get(url)).status_code == 200
            assert upstream.requests[0][1]["authorization"] == [f"Bearer {KEY}"]
            assert "cookie" not in upstream.requests[0][1]
            assert (await stranger.get(url)).status_code == 401

            ended = await browser.request("DELETE", f"{address.http}/api/session")
            assert ended.json()["provider_keys"] == {}
            assert (await browser.get(url)).status_code == 401

    run(main())


def test_a_cookie_alone_is_not_enough_for_a_page_of_another_site() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin), allowed_origins=("https://app.example",)) as address,
            httpx.AsyncClient() as browser,
        ):
            await browser.put(
                f"{address.http}/api/session",
                json={"provider": "openai", "provider_key": KEY},
                headers=CONSOLE,
            )
            url = f"{address.http}/v1/local/default/openai/models"
            # The browser sends the cookie along, but the page is not the console's.
            answer = await browser.get(url, headers={"origin": "https://app.example"})
            assert answer.status_code == 401
            assert (await browser.get(url, headers={"sec-fetch-site": "cross-site"})).status_code == 403
            for headers in (
                {},
                {"x-trunkline-console": "1", "origin": "https://evil.example"},
                {"sec-fetch-site": "same-origin"},
                {**CONSOLE, "host": "evil.example"},
            ):
                changed = await browser.put(f"{address.http}/api/session", json={"model": "x"}, headers=headers)
                assert changed.status_code == 403
        assert upstream.requests == []

    run(main())


def test_a_pasted_key_that_no_header_could_carry_is_refused_without_being_repeated() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(headers=CONSOLE) as browser:
            answer = await browser.put(f"{address.http}/api/session", json={"provider_key": "sk bad\u2013key"})
        assert answer.status_code == 400
        assert "bad" not in answer.text

    run(main())


def test_an_unknown_field_is_refused_and_an_unknown_path_is_404() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(headers=CONSOLE) as browser:
            assert (await browser.put(f"{address.http}/api/session", json={"modle": "x"})).status_code == 422
            assert (await browser.get(f"{address.http}/api/nothing")).status_code == 404

    run(main())


def test_every_answer_has_an_id_of_the_gateways_own_making() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(headers=CONSOLE) as browser:
            ids = [
                (await browser.get(f"{address.http}/api/{path}", headers={"x-request-id": "mine"})).headers.get_list(
                    "x-request-id"
                )
                for path in ("config", "config", "nothing", "conversations/none")
            ]
            assert all(len(one) == 1 and re.fullmatch("[0-9A-Z]{26}", one[0]) for one in ids)
            assert len({one[0] for one in ids}) == len(ids)

    run(main())


def test_an_unforeseen_error_is_told_without_its_words_and_logged_under_the_id_of_its_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError(f"it went wrong near {KEY}")

    async def main() -> None:
        monkeypatch.setattr(Conversations, "get", fail)
        async with gateway() as address, httpx.AsyncClient(headers=CONSOLE) as browser:
            configure_logging("warning", "json")
            answer = await browser.get(f"{address.http}/api/conversations/c1")
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal_error"
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "a request failed" in line]
        told = json.loads(line)
        assert (told["request_id"], told["path"]) == (answer.headers["x-request-id"], "/api/conversations/c1")
        assert "RuntimeError" in told["exception"]
        assert KEY not in line + answer.text

    run(main())
    structlog.reset_defaults()


def test_the_overview_tells_how_the_log_fares_and_which_first_steps_were_done() -> None:
    async def main() -> None:
        upstream = Recorder()
        async with (
            raw_server(upstream) as origin,
            gateway(**openai_at(origin)) as address,
            httpx.AsyncClient(headers={**CONSOLE, "user-agent": "Mozilla/5.0"}, base_url=address.http) as browser,
        ):

            async def done() -> set[str]:
                await browser.get("/api/logs")  # waits until the database has every row
                told = (await browser.get("/api/overview")).json()
                assert (told["database"], told["log"]) == (True, {"waiting_bytes": 0, "held_up": False, "lost": 0})
                return {name for name, is_done in told["steps"].items() if is_done}

            assert await done() == set()
            url, asked = "/v1/local/default/openai/chat/completions", {"model": "m", "messages": []}
            key = {"authorization": f"Bearer {KEY}"}
            await browser.get("/v1/local/default/openai/models", headers=key)
            assert await done() == set()
            await browser.post(url, json=asked, headers=key)
            await browser.post(url, json=asked, headers={**key, "user-agent": "trunkline-probe/1"})
            assert await done() == {"answered"}
            await browser.post(url, json=asked, headers={**key, "user-agent": "curl/8"})
            await browser.put("/api/gateways/default/stored-keys/openai/default", json={"key": KEY})
            made = (await browser.post("/api/gateways/default/keys", json={"name": "for a colleague"})).json()
            assert await done() == {"answered", "program", "provider_key", "gateway_key"}
            await browser.delete(f"/api/gateways/default/keys/{made['id']}")
            assert await done() == {"answered", "program", "provider_key"}

    run(main())


def test_the_local_voice_mints_a_secret_for_the_direct_page() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(headers=CONSOLE, timeout=60) as browser:
            call = await browser.post(f"{address.http}/api/direct", json={"provider": "local", "model": "local"})
            refused = await browser.post(f"{address.http}/api/direct", json={"provider": "openai", "model": "x"})
            none = await browser.post(f"{address.http}/api/direct", json={"provider": "anthropic", "model": "x"})
        assert call.json()["protocols"][0] == "realtime"
        assert call.json()["protocols"][1].startswith("openai-insecure-api-key.ek_")
        assert call.json()["url"].startswith("ws://127.0.0.1:")
        assert refused.json()["error"]["code"] == "no_provider_key"
        assert none.json()["error"]["code"] == "unknown_provider"

    run(main())


@pytest.mark.parametrize("body", [b"{", b'{"a": "\xff"}', b'{"id": "\\ud800"}', b"[" * 5000])
def test_a_body_that_cannot_be_read_is_refused_in_the_apis_own_shape(body: bytes) -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(base_url=address.http) as client:
            headers = {"content-type": "application/json"}
            for path in ("/api/gateways", "/api/direct", "/api/gateways/default/routes/simulate"):
                answer = await client.post(path, content=body, headers=headers)
                assert answer.status_code in (400, 403, 422), path
                assert set(answer.json()["error"]) == {"message", "type", "code"}

    run(main())
