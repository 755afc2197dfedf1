"""What those may do who are nobody here: little, and at nobody's expense."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.contract.people import PASSWORD, add, browser
from tests.running import data_directory, gateway, run
from trunkline.policy.roles import Role
from trunkline.server.logbook import STRANGERS_A_MINUTE
from trunkline.store import Database
from trunkline.store.conversation_tree import ConversationChange, Message
from trunkline.store.conversations import Conversations

TOKEN = "a-token-of-the-gateway-0001"
SHOWN = {"authorization": f"Bearer {TOKEN}"}
CHAT = "/v1/local/default/openai/chat/completions"


async def rows(client: httpx.AsyncClient) -> list[dict[str, object]]:
    answer = await client.get("/api/logs?limit=200", headers=SHOWN)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["logs"]
    return found


@pytest.mark.parametrize("path", ["/api/account/sign-in", "/api/gateways/default/keys", "/client/v4/x"])
def test_a_body_that_no_set_up_needs_is_refused_before_it_is_read(path: str) -> None:
    async def blanks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65536

    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(base_url=address.http) as client:
            declared = await client.post(path, content=b" " * (3 << 20), headers={"content-type": "application/json"})
            assert declared.status_code == 413, declared.text
            chunked = await client.post(path, content=blanks(), headers={"content-type": "application/json"})
            assert chunked.status_code == 413, chunked.text

    run(main())


def test_a_body_of_unknown_length_that_is_short_is_read_as_any_other() -> None:
    async def said() -> AsyncIterator[bytes]:
        yield b'{"id": '
        yield b'"made"}'

    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient(base_url=address.http) as client:
            made = await client.post("/api/gateways", content=said(), headers={"content-type": "application/json"})
            assert made.status_code == 201, made.text

    run(main())


def test_those_who_are_refused_can_neither_tag_their_rows_nor_fill_the_log() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, httpx.AsyncClient(base_url=address.http) as client:
            forged = {"cf-aig-metadata": '{"team": "forged"}', "authorization": "Bearer nobody-knows-this-key"}
            answers = [await client.post(CHAT, json={}, headers=forged) for _ in range(STRANGERS_A_MINUTE * 2 + 5)]
            assert {answer.status_code for answer in answers} == {401}
            told = [answer.headers.get("cf-aig-log-id") for answer in answers]
            kept = await rows(client)
            assert {row["id"] for row in kept} == {given for given in told if given}
            # A minute may have ended between them.
            assert STRANGERS_A_MINUTE <= len(kept) <= STRANGERS_A_MINUTE * 2
            assert all(row["metadata"] == {} for row in kept)

    run(main())


def test_those_who_are_refused_get_no_row_where_the_gateway_keeps_none_whatever_they_ask_for() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, httpx.AsyncClient(base_url=address.http) as client:
            change = {"logging": {"collect": False}}
            assert (await client.patch("/api/gateways/default", json=change, headers=SHOWN)).status_code == 200
            answer = await client.post(CHAT, json={}, headers={"cf-aig-collect-log": "true"})
            assert answer.status_code == 401
            assert "cf-aig-log-id" not in answer.headers
            assert await rows(client) == []

    run(main())


@pytest.mark.parametrize("origin", ["https://app.example", "http://localhost:3000"])
def test_a_page_that_may_call_models_does_not_thereby_administer_an_open_gateway(origin: str) -> None:
    async def main() -> None:
        async with (
            gateway(allowed_origins=("https://app.example",)) as address,
            httpx.AsyncClient(base_url=address.http, headers={"origin": origin}, timeout=60) as client,
        ):
            assert (await client.get("/v1/local/default/local/models")).status_code == 200
            assert (await client.get("/api/gateways")).status_code == 403
            assert (await client.post("/api/gateways", json={"id": "made"})).status_code == 403
            wipe = await client.post("/api/conversations/delete", content='{"all": true}')
            assert wipe.status_code == 403, wipe.text

    run(main())


def test_a_client_secret_opens_no_conversations_of_the_key_that_it_was_made_with() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, httpx.AsyncClient(base_url=address.http) as client:
            made = await client.post("/api/gateways/default/keys", json={"scopes": ["run", "edit"]}, headers=SHOWN)
            key = {"authorization": f"Bearer {made.json()['value']}"}
            kept = await client.put("/api/conversations/c1", json={"title": "Mine"}, headers=key)
            assert kept.status_code == 200, kept.text
            minted = await client.post("/v1/local/default/local/realtime/client_secrets", json={}, headers=key)
            assert minted.status_code == 200, minted.text
            secret = {"authorization": f"Bearer {minted.json()['value']}"}
            assert (await client.get("/api/conversations", headers=secret)).status_code == 403
            wipe = await client.post("/api/conversations/delete", json={"all": True}, headers=secret)
            assert wipe.status_code == 403
            assert len((await client.get("/api/conversations", headers=key)).json()["conversations"]) == 1

    run(main())


def test_a_stranger_cannot_tell_a_gateway_that_is_there_from_one_that_is_not() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, httpx.AsyncClient(base_url=address.http) as client:
            answers = [await client.get(f"/api/gateways/{name}/keys") for name in ("default", "nowhere")]
            assert [answer.status_code for answer in answers] == [401, 401]
            assert answers[0].json() == answers[1].json()
            assert (await client.get("/api/gateways/nowhere/keys", headers=SHOWN)).status_code == 400

    run(main())


def test_the_conversations_of_somebody_whose_account_is_deleted_go_with_it() -> None:
    async def main() -> None:
        with data_directory() as directory:
            await add(directory, "ada@example.org")
            grace = await add(directory, "grace@example.org", Role.EDITOR)
            database = await Database.open(directory)
            said = Message(id="q1", parent=None, role="user", text="Hello", created_at=1.0)
            await Conversations(database).keep(grace.id, "c1", ConversationChange(messages=[said]), 1.0)
            async with gateway(data_dir=directory) as address, browser(address, "ada@example.org", PASSWORD) as page:
                assert (await page.delete(f"/api/users/{grace.id}")).status_code == 204
            assert await Conversations(database).get(grace.id, "c1") is None
            await database.close()

    run(main())
