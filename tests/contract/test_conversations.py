"""Conversations through the API of a real gateway: kept, listed, searched, exported, imported and deleted."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.contract.administration import administration, new_key
from tests.contract.people import add, browser
from tests.running import Address, data_directory, gateway, run
from trunkline.policy.registry import Scope
from trunkline.policy.roles import Role

PATH = "/api/conversations"
TOKEN = "gateway-token-of-many-characters"


@asynccontextmanager
async def client(address: Address, key: str = "", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    shown = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=address.http, headers={**shown, **headers}, timeout=30) as opened:
        yield opened


def message(id: str, parent: str | None, text: str, role: str = "user") -> dict[str, Any]:
    return {"id": id, "parent": parent, "role": role, "text": text, "created_at": 1700000000.0}


CHANGE = {
    "kind": "text",
    "model": "m1",
    "messages": [message("q", None, "How high is the Zugspitze?"), message("a", "q", "2962 m", "assistant")],
}


async def listed(http: httpx.AsyncClient, **wanted: Any) -> list[str]:
    page = (await http.get(PATH, params=wanted)).json()
    return [kept["title"] for kept in page["conversations"]]


def test_a_conversation_is_kept_found_and_deleted() -> None:
    async def main() -> None:
        async with gateway() as address, client(address) as http:
            for _ in range(2):  # an answer may be lost, and the request sent again
                answer = await http.put(f"{PATH}/c1", json=CHANGE)
                assert answer.status_code == 200, answer.text
                assert answer.json()["messages"] == 2
            assert await listed(http) == ["How high is the Zugspitze?"]
            whole = (await http.get(f"{PATH}/c1")).json()
            assert [(kept["id"], kept["parent"]) for kept in whole["messages"]] == [("q", None), ("a", "q")]
            hits = (await http.get(f"{PATH}/search", params={"q": "2962"})).json()["hits"]
            assert [(hit["conversation"]["id"], hit["message"], hit["excerpt"]) for hit in hits] == [
                ("c1", "a", [{"text": "2962", "match": True}, {"text": " m", "match": False}])
            ]
            assert (await http.delete(f"{PATH}/c1")).status_code == 204
            for answer in (await http.get(f"{PATH}/c1"), await http.delete(f"{PATH}/c1")):
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_conversation")

    run(main())


def test_a_conversation_outlives_the_gateway() -> None:
    async def main() -> None:
        with data_directory() as directory:
            async with gateway(data_dir=directory) as address, client(address) as http:
                await http.put(f"{PATH}/c1", json=CHANGE)
            async with gateway(data_dir=directory) as address, client(address) as http:
                assert (await http.get(f"{PATH}/c1")).json()["messages"][1]["text"] == "2962 m"

    run(main())


def test_pictures_are_kept_with_their_question_up_to_a_limit() -> None:
    def shown(characters: int) -> dict[str, Any]:
        parts = [{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + "A" * characters}}]
        return {"messages": [{**message("q", None, ""), "parts": parts}]}

    async def main() -> None:
        async with gateway() as address, client(address) as http:
            kept = shown(4_000_000)
            assert (await http.put(f"{PATH}/c1", json=kept)).status_code == 200
            assert (await http.get(f"{PATH}/c1")).json()["messages"][0]["parts"] == kept["messages"][0]["parts"]
            answer = await http.put(f"{PATH}/c1", json=shown(4 * 1024 * 1024))
            assert answer.status_code == 400
            assert "parts take more than" in answer.json()["error"]["message"]

    run(main())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "no JSON"),
        (b'{"titel": 1}', "titel"),
        (b'{"messages": [{"id": "a"}]}', "parent"),
        (b'{"messages": [{"id":"a","parent":null,"role":"god","text":"x","created_at":1}]}', "role"),
        (b'{"head": "nobody"}', "head"),
    ],
)
def test_a_change_that_cannot_be_kept_is_refused_and_says_why(body: bytes, says: str) -> None:
    async def main() -> None:
        async with gateway() as address, client(address) as http:
            answer = await http.put(f"{PATH}/c1", content=body)
            assert answer.status_code == 400
            assert says in answer.json()["error"]["message"]
            assert await listed(http) == []

    run(main())


def test_bodies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.server.conversation_routes.MAX_IMPORT_BYTES", 10_000)

    async def main() -> None:
        async with gateway() as address, client(address) as http:
            assert (await http.put(f"{PATH}/c1", content=b" " * (8 * 1024 * 1024 + 1))).status_code == 413
            assert (await http.post(f"{PATH}/import", content=b"[" + b" " * 10_000)).status_code == 413
            answer = await http.post(f"{PATH}/import", content=b"[]")
            assert (answer.status_code, json.loads(answer.text)["event"]) == (200, "done")

    run(main())


def test_several_or_all_are_deleted_only_when_it_is_said_which() -> None:
    async def main() -> None:
        async with gateway() as address, client(address) as http:
            for number in range(5):
                await http.put(f"{PATH}/c{number}", json={"title": f"T{number}"})
            for wrong in ({}, {"all": False}, {"ids": ["c1"], "all": True}, {"ids": "c1"}):
                assert (await http.post(f"{PATH}/delete", json=wrong)).status_code == 400
            assert (await http.post(f"{PATH}/delete", json={"ids": ["c1", "c2"]})).json() == {"deleted": 2}
            assert sorted(await listed(http)) == ["T0", "T3", "T4"]
            assert (await http.post(f"{PATH}/delete", json={"all": True})).json() == {"deleted": 3}
            assert await listed(http) == []

    run(main())


def test_an_export_is_imported_elsewhere_and_importing_it_again_adds_nothing() -> None:
    async def main() -> None:
        async with gateway() as first, client(first) as http:
            await http.put(f"{PATH}/c1", json=CHANGE)
            await http.put(f"{PATH}/c1", json={"messages": [message("b", "q", "Nearly 3 km", "assistant")]})
            await http.put(f"{PATH}/c2", json={"kind": "voice", "messages": [message("v", None, "Hello")]})
            exported = await http.get(f"{PATH}/export")
            assert "conversations.ndjson" in exported.headers["content-disposition"]
            assert len(exported.text.splitlines()) == 2
            one = await http.get(f"{PATH}/export", params={"id": "c2"})
            assert [json.loads(line)["id"] for line in one.text.splitlines()] == ["c2"]
            markdown = await http.get(f"{PATH}/c1/export", params={"format": "markdown"})
            assert markdown.text.endswith("## Assistant\n\nNearly 3 km\n")
            assert (await events(http, exported.content))[-1]["unchanged"] == 2
        async with gateway() as second, client(second) as http:
            assert (await events(http, exported.content))[-1] == {"event": "done", "total": 2, "read": 2, "added": 2}
            assert (await events(http, exported.content))[-1]["unchanged"] == 2
            assert sorted(await listed(http)) == ["Hello", "How high is the Zugspitze?"]
            (found,) = (await http.get(f"{PATH}/search", params={"q": "nearly"})).json()["hits"]
            moved = (await http.get(f"{PATH}/{found['conversation']['id']}")).json()
            assert [(kept["id"], kept["parent"]) for kept in moved["messages"]] == [
                ("q", None),
                ("a", "q"),
                ("b", "q"),
            ]

    run(main())


async def events(http: httpx.AsyncClient, content: bytes) -> list[dict[str, Any]]:
    answer = await http.post(f"{PATH}/import", content=content)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_archive_that_chatgpt_sends_is_imported_and_what_is_wrong_in_it_is_told() -> None:
    def said(role: str, text: str) -> dict[str, Any]:
        return {"author": {"role": role}, "content": {"content_type": "text", "parts": [text]}, "metadata": {}}

    good = {
        "title": "Alps",
        "create_time": 1700000000.0,
        "update_time": 1700000001.0,
        "current_node": "a",
        "id": "conversation",
        "mapping": {
            "root": {"id": "root", "message": None, "parent": None, "children": ["q"]},
            "q": {"id": "q", "message": said("user", "Name one"), "parent": "root", "children": ["a"]},
            "a": {"id": "a", "message": said("assistant", "Watzmann"), "parent": "q", "children": []},
        },
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("conversations.json", json.dumps([good, {"mapping": 3}, {**good, "mapping": {}, "id": "e"}]))

    async def main() -> None:
        async with gateway() as address, client(address) as http:
            told = await events(http, packed.getvalue())
            assert told == [
                {"event": "skipped", "read": 2, "message": "Entry 2: 'mapping' must be an object."},
                {"event": "done", "total": 3, "read": 3, "added": 1, "skipped": 2},
            ]
            assert await listed(http) == ["Alps"]
            answer = await http.post(f"{PATH}/import", content=b"PK but no archive")
            assert answer.status_code == 400
            assert "conversations.json of ChatGPT's export" in answer.json()["error"]["message"]

    run(main())


def test_an_authenticated_gateway_shows_conversations_to_whoever_wrote_them_alone() -> None:
    async def main() -> None:
        with data_directory() as directory:
            async with administration(directory) as configuration:
                ada, _ = await new_key(configuration)
                bob, _ = await new_key(configuration, scopes=[Scope.RUN, Scope.READ, Scope.EDIT])
            async with (
                gateway(data_dir=directory, gateway_token=TOKEN) as address,
                client(address) as nobody,
                client(address, ada) as first,
                client(address, bob) as second,
                client(address, TOKEN) as operator,
            ):
                for asked in (nobody.get(PATH), nobody.put(f"{PATH}/c1", json=CHANGE), nobody.get(f"{PATH}/export")):
                    assert (await asked).status_code == 401
                assert (await first.put(f"{PATH}/c1", json=CHANGE)).status_code == 200
                assert await listed(first) == ["How high is the Zugspitze?"]
                for other in (second, operator):
                    assert await listed(other) == []
                    assert (await other.get(f"{PATH}/c1")).status_code == 404
                    assert (await other.put(f"{PATH}/c1", json={"title": "mine"})).status_code == 404
                    assert (await other.post(f"{PATH}/delete", json={"all": True})).json() == {"deleted": 0}
                    assert (await other.get(f"{PATH}/export")).text == ""

    run(main())


def test_who_is_signed_in_has_their_own_conversations_and_nobody_signed_out_has_any() -> None:
    async def main() -> None:
        with data_directory() as directory:
            await add(directory, "ada", Role.VIEWER)
            await add(directory, "bob", Role.ADMIN)
            async with (
                gateway(data_dir=directory) as address,
                browser(address, "ada") as ada,
                browser(address, "bob") as bob,
                client(address) as nobody,
            ):
                assert (await ada.put(f"{PATH}/c1", json=CHANGE)).status_code == 200
                assert await listed(ada) == ["How high is the Zugspitze?"]
                assert await listed(bob) == []
                assert (await bob.get(f"{PATH}/c1")).status_code == 404
                refused = await nobody.get(PATH)
                assert (refused.status_code, refused.json()["error"]["code"]) == (401, "sign_in_required")
                # A form of another site would bring the cookie, and could not bring this header.
                del ada.headers["x-trunkline-console"]
                assert (await ada.put(f"{PATH}/c1", json={"title": "x"})).status_code == 403
                assert (await ada.post(f"{PATH}/delete", json={"all": True})).status_code == 403
                assert await listed(ada) == ["How high is the Zugspitze?"]

    run(main())


def test_a_page_of_another_site_can_do_nothing() -> None:
    async def main() -> None:
        async with (
            gateway() as address,
            client(address) as http,
            client(address, origin="https://evil.example") as evil,
        ):
            await http.put(f"{PATH}/c1", json=CHANGE)
            refused = [
                await evil.get(f"{PATH}/c1"),
                await evil.put(f"{PATH}/c1", json={"title": "x"}),
                await evil.post(f"{PATH}/delete", content=b'{"all": true}', headers={"content-type": "text/plain"}),
                await evil.post(f"{PATH}/import", content=b"[]"),
            ]
            assert [answer.status_code for answer in refused] == [403] * 4
            assert await listed(http) == ["How high is the Zugspitze?"]

    run(main())


def test_the_api_describes_itself_with_every_type() -> None:
    async def main() -> None:
        async with gateway() as address, client(address) as http:
            document = (await http.get("/api/openapi.json")).json()
            schemas = document["components"]["schemas"]
            assert {"Conversation", "ConversationChange", "Message", "SearchHits", "ImportEvent"} <= schemas.keys()
            body = document["paths"][f"{PATH}/{{id}}"]["put"]["requestBody"]
            assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ConversationChange"}

    run(main())
