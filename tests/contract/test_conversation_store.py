"""Conversations in a real database of either engine: trees, lists, search, export and what is imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from tests.running import run
from trunkline.errors import UnknownConversation
from trunkline.store import Database, schema
from trunkline.store.conversation_tree import (
    ConversationChange,
    ConversationFault,
    ImportedConversation,
    Message,
    Role,
    branch,
)
from trunkline.store.conversations import ConversationFilter, Conversations, SearchHit

ALL = ConversationFilter()


def message(id: str, parent: str | None, said: str, role: Role = "user", **more: Any) -> Message:
    return Message(id=id, parent=parent, role=role, text=said, created_at=1000.0, **more)


@asynccontextmanager
async def opened(data_dir: Path, url: str) -> AsyncIterator[tuple[Conversations, Database]]:
    database = await Database.open(data_dir, url)
    try:
        yield Conversations(database), database
    finally:
        await database.close()


def change(*messages: Message, **more: Any) -> ConversationChange:
    return ConversationChange(messages=list(messages), **more)


QUESTION = message("q1", None, "How high is the Zugspitze?")
ANSWER = message("a1", "q1", "It is 2962 m high.", "assistant", model="m1", tokens_in=7, tokens_out=9, cost=0.001)


def test_a_conversation_is_begun_once_however_often_it_is_sent(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            sent = change(QUESTION, ANSWER, model="m1", settings={"system_prompt": "Be brief."})
            first = await store.keep("", "c1", sent, 10.0)
            assert (first.title, first.messages, first.created_at) == ("How high is the Zugspitze?", 2, 10.0)
            again = await store.keep("", "c1", sent, 20.0)
            assert (again.messages, again.created_at) == (2, 10.0)
            whole = await store.get("", "c1")
            assert whole is not None
            assert whole.messages == [QUESTION, ANSWER]
            assert (whole.head, whole.settings) == ("a1", {"system_prompt": "Be brief."})
            assert [kept.id for kept in (await store.list("", ALL, 10)).conversations] == ["c1"]

    run(main())


def test_a_message_that_is_written_again_is_replaced_in_its_place(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            half = message("a1", "q1", "It is", "assistant", status="interrupted")
            await store.keep("", "c1", change(QUESTION, half, message("q2", "a1", "Go on")), 10.0)
            await store.keep("", "c1", change(ANSWER), 20.0)
            whole = await store.get("", "c1")
            assert whole is not None
            assert [kept.text for kept in whole.messages] == [QUESTION.text, ANSWER.text, "Go on"]
            assert whole.messages[1].status == "complete"
            assert [hit.message for hit in await store.search("", "2962", 5)] == ["a1"]
            with pytest.raises(ConversationFault, match="another role"):
                await store.keep("", "c1", change(message("a1", "q1", "no")), 30.0)

    run(main())


def test_siblings_are_branches_and_the_head_chooses_one(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            other = message("a2", "q1", "2962 metres.", "assistant")
            await store.keep("", "c1", change(QUESTION, ANSWER, other), 10.0)
            whole = await store.get("", "c1")
            assert whole is not None
            assert [kept.id for kept in branch(whole.messages, whole.head)] == ["q1", "a2"]
            shown = await store.keep("", "c1", change(head="a1"), 20.0)
            assert shown.changed_at == 10.0
            whole = await store.get("", "c1")
            assert whole is not None
            assert [kept.id for kept in branch(whole.messages, whole.head)] == ["q1", "a1"]

    run(main())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (change(message("a", "nobody", "x")), "parent of the message a"),
        (change(message("a", "b", "x"), message("b", None, "x")), "parent of the message a"),
        (change(message("a b", None, "x")), "id of a message"),
        (change(QUESTION, head="nobody"), "head"),
        (change(message("a", None, "x" * 1_000_001)), "longer than 1,000,000"),
        (change(message("a", None, "x", details={"x": "y" * 70_000})), "details"),
        (change(model="x" * 201), "model"),
    ],
)
def test_what_cannot_be_kept_is_refused_whole(
    tmp_path: Path, database_url: str, wrong: ConversationChange, says: str
) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            with pytest.raises(ConversationFault, match=says):
                await store.keep("", "c1", wrong, 10.0)
            assert await store.get("", "c1") is None

    run(main())


def test_nobody_sees_or_changes_what_is_somebody_elses(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            await store.keep("ada", "c1", change(QUESTION), 10.0)
            assert await store.get("bob", "c1") is None
            assert (await store.list("bob", ALL, 10)).conversations == []
            assert await store.search("bob", "Zugspitze", 5) == []
            assert await store.delete("bob", ["c1"]) == 0
            assert [one async for one in store.export("bob")] == []
            with pytest.raises(UnknownConversation):
                await store.keep("bob", "c1", change(title="mine"), 20.0)
            kept = await store.get("ada", "c1")
            assert kept is not None
            assert kept.title == "How high is the Zugspitze?"

    run(main())


def test_lists_are_paged_pinned_ones_first_and_none_is_left_out(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            for number in range(7):
                await store.keep("", f"c{number}", change(QUESTION), 10.0 + number // 2)
            await store.keep("", "c0", change(pinned=True), 99.0)
            await store.keep("", "c1", change(archived=True), 99.0)
            await store.keep("", "v1", change(kind="voice"), 5.0)
            seen: list[str] = []
            before: str | None = None
            while True:
                page = await store.list("", ConversationFilter(archived=False, before=before), 2)
                seen += [kept.id for kept in page.conversations]
                before = page.next
                if before is None:
                    break
            assert seen == ["c0", "c6", "c5", "c4", "c3", "c2", "v1"]
            voices = await store.list("", ConversationFilter(kind="voice"), 10)
            assert [kept.id for kept in voices.conversations] == ["v1"]
            with pytest.raises(ConversationFault, match="before"):
                await store.list("", ConversationFilter(before="x"), 2)

    run(main())


def shown(hit: SearchHit) -> str:
    return "".join(f"[{piece.text}]" if piece.match else piece.text for piece in hit.excerpt)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("zugspitze", "How high is the [Zugspitze]?"),
        ("zug hoch", None),
        ("HIGH zug", "How [high] is the [Zugspitze]?"),
        ("uber", "[Über] den Wolken, café-crème"),
        ("cafe-cr", "Über den Wolken, [café-crème]"),
        ("creme cafe", "Über den Wolken, [café]-[crème]"),
        ("東京", "私は[東京]に行く"),
        ("京東", None),
        ("straße", "[STRASSE]"),
        ('" OR *', None),
        ("NOT high", None),
        ("high') & ('is:*", "How [high] [is] the Zugspitze?"),
        ("words:high", None),
        ("", None),
    ],
)
def test_search_takes_words_in_any_writing_and_nothing_as_syntax(
    tmp_path: Path, database_url: str, query: str, found: str | None
) -> None:
    texts = ["How high is the Zugspitze?", "Über den Wolken, café-crème", "私は東京に行く", "STRASSE"]

    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            for number, said in enumerate(texts):
                await store.keep("", f"c{number}", change(message("m", None, said), title="-"), 10.0)
            assert [shown(hit) for hit in await store.search("", query, 5)] == ([found] if found else [])

    run(main())


def test_a_title_is_found_before_a_message_and_a_conversation_only_once(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            await store.keep("", "c1", change(message("m1", None, "alps alps"), message("m2", "m1", "alps")), 10.0)
            await store.keep("", "c2", change(message("m1", None, "hello"), title="In the Alps"), 10.0)
            await store.keep("", "c1", change(title="Mountains"), 10.0)
            hits = await store.search("", "alps", 5)
            assert [(hit.conversation.id, hit.message) for hit in hits] == [("c2", ""), ("c1", "m1")]
            await store.keep("", "c2", change(title="Elsewhere"), 10.0)
            assert [hit.conversation.id for hit in await store.search("", "alps", 5)] == ["c1"]

    run(main())


def test_what_is_deleted_is_in_no_table_and_in_no_index(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, database):
            for number in range(44):
                await store.keep("", f"c{number}", change(message("m", None, f"planet number{number}")), 10.0)
            assert await store.delete("", ["c0", "c1", "nobody"]) == 2
            assert {hit.conversation.id for hit in await store.search("", "number2 planet", 99)} == {
                f"c{number}" for number in (2, *range(20, 30))
            }
            assert await store.delete("", None) == 42
            assert await store.search("", "planet", 9) == []
            async with database.reading() as connection:
                for table in (schema.conversations.conversation_messages, schema.conversations.conversation_words):
                    assert await connection.scalar(select(func.count()).select_from(table)) == 0
                if database.dialect == "sqlite":
                    left = text("SELECT count(*) FROM conversation_search WHERE conversation_search MATCH 'planet'")
                    assert await connection.scalar(left) == 0

    run(main())


def test_tags_are_kept_tidy_listed_and_narrow_lists_and_searches(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            kept = await store.keep(
                "", "c1", change(QUESTION, tags=[" work ", "alps", "alps", "", "a 'b' \"c\""]), 10.0
            )
            assert kept.tags == ["a 'b' \"c\"", "alps", "work"]
            await store.keep("", "c2", change(QUESTION, kind="voice", tags=["work"]), 20.0)
            await store.keep("", "c3", change(QUESTION), 30.0)
            await store.keep("ada", "c4", change(QUESTION, tags=["hers"]), 40.0)
            assert await store.tags("") == ["a 'b' \"c\"", "alps", "work"]

            async def listed(**wanted: Any) -> list[str]:
                page = await store.list("", ConversationFilter(**wanted), 10)
                found = await store.search("", "zugspitze", 10, ConversationFilter(**wanted))
                assert sorted(hit.conversation.id for hit in found) == sorted(one.id for one in page.conversations)
                return [one.id for one in page.conversations]

            assert await listed(tag="work") == ["c2", "c1"]
            assert await listed(tag="work", kind="text") == ["c1"]
            assert await listed(tag="a 'b' \"c\"") == ["c1"]
            assert await listed(tag="wor") == []
            assert (await store.keep("", "c1", change(title="x"), 50.0)).tags == kept.tags
            assert (await store.keep("", "c1", change(tags=[]), 50.0)).tags == []
            with pytest.raises(ConversationFault, match="20 tags"):
                await store.keep("", "c1", change(tags=[str(number) for number in range(21)]), 60.0)

    run(main())


def imported(*messages: Message, **more: Any) -> ImportedConversation:
    values: dict[str, Any] = {
        "origin": "chatgpt:1",
        "kind": "text",
        "title": "T",
        "model": "",
        "provider": "",
        "settings": {},
        "head": messages[-1].id if messages else "",
        "pinned": False,
        "archived": False,
        "created_at": 1.0,
        "changed_at": 2.0,
        "messages": list(messages),
    }
    return ImportedConversation(**values | more)


def test_importing_twice_makes_no_doubles_and_brings_what_is_new(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            assert await store.add_imported("", imported(QUESTION)) == "added"
            assert await store.add_imported("", imported(QUESTION)) == "unchanged"
            assert await store.add_imported("", imported(QUESTION, ANSWER, changed_at=3.0)) == "extended"
            assert await store.add_imported("ada", imported(QUESTION)) == "added"
            (kept,) = (await store.list("", ALL, 9)).conversations
            assert (kept.title, kept.created_at, kept.changed_at, kept.messages) == ("T", 1.0, 3.0, 2)
            whole = await store.get("", kept.id)
            assert whole is not None
            assert (whole.origin, whole.head) == ("chatgpt:1", "a1")
            assert (
                await store.add_imported("", imported(QUESTION, ANSWER, origin=f"trunkline:{kept.id}")) == "unchanged"
            )
            await store.delete("", None)
            assert await store.add_imported("", imported(QUESTION)) == "added"

    run(main())


def test_characters_that_no_database_takes_are_left_out(tmp_path: Path, database_url: str) -> None:
    async def main() -> None:
        async with opened(tmp_path, database_url) as (store, _):
            odd = message("m", None, "a\0b\ud800c", model="x\0y", details={"why": "n\0"})
            await store.keep("", "c1", change(odd, title="t\0"), 10.0)
            whole = await store.get("", "c1")
            assert whole is not None
            assert (whole.messages[0].text, whole.messages[0].model, whole.title) == ("abc", "xy", "t")

    run(main())
