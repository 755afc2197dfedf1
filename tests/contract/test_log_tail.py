"""The log as it grows, and as a file, over HTTP; and the sound of a recorded session."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.test_logs_api import AS_OPERATOR, Stage, stage
from tests.contract.test_logs_store import on, record
from tests.running import run
from trunkline.server.log_tail import Tail
from trunkline.store import Database, LogFilter, Logs


class Listener:
    """Reads server-sent events: their names, ids and data."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def event(self) -> tuple[str, str, Any]:
        found: dict[str, str] = {}
        async for line in self._lines:
            if not line and "event" in found:
                return found["event"], found.get("id", ""), json.loads(found["data"])
            name, _, value = line.partition(": ")
            if name:
                found[name] = value
        raise AssertionError("the stream ended")

    async def rows(self, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            name, last, data = await self.event()
            assert name == "rows"
            found += [row["id"] for row in data["logs"]]
            assert last == found[-1]
        return found


@asynccontextmanager
async def listening(stand: Stage, headers: dict[str, str] | None = None, **params: Any) -> AsyncIterator[Listener]:
    async with stand.client.stream("GET", "/api/logs/tail", headers=headers or AS_OPERATOR, params=params) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Listener(answer)


def test_rows_come_as_they_are_written_for_the_filters_that_are_asked_for() -> None:
    async def main() -> None:
        async with stage() as stand, listening(stand) as everything, listening(stand, filter="user:=ada") as hers:
            first = await stand.chat()
            second = await stand.chat(**{"cf-aig-metadata": '{"team": "red"}'})
            assert await everything.rows(2) == [first, second]
            async with listening(stand, filter='metadata.team:"red"') as red:
                # What was written in the last seconds comes too, so that nothing is lost between a list and this.
                assert await red.rows(1) == [second]
            await stand.client.post(
                "/v1/local/default/openai/chat/completions",
                headers={
                    "authorization": "Bearer sk-caller-12345678",
                    "cf-aig-authorization": "the-gateway-token-0123456789",
                },
                json={"model": "gpt-4o", "messages": [], "user": "ada"},
            )
            (found,) = await hers.rows(1)
            assert found == (await stand.ids(user="ada"))[0]

    run(main())


def test_after_an_interruption_what_was_missed_comes_and_an_unknown_row_is_a_gap() -> None:
    async def main() -> None:
        async with stage() as stand:
            seen = await stand.chat()
            async with listening(stand) as listener:
                assert await listener.rows(1) == [seen]
            missed = [await stand.chat(), await stand.chat()]
            async with listening(stand, AS_OPERATOR | {"last-event-id": seen}) as again:
                found = await again.rows(2)
                assert set(missed) <= {*found, *([] if len(found) > 2 else await again.rows(1))}
            async with listening(stand, AS_OPERATOR | {"last-event-id": "01JUNKNOWN"}) as lost:
                assert (await lost.event())[0] == "gap"

    run(main())


def test_a_key_follows_its_own_gateway_only_and_a_key_without_the_scope_nothing() -> None:
    async def main() -> None:
        async with stage() as stand:
            async with listening(stand, stand.shows("other")) as theirs:
                await stand.chat()
                own = await stand.chat("other")
                assert await theirs.rows(1) == [own]
            for path in ("/api/logs/tail", "/api/logs/export"):
                refused = await stand.client.get(path, headers=stand.shows("run"))
                assert refused.status_code == 403
                foreign = await stand.client.get(path, headers=stand.shows("other"), params={"gateway": "default"})
                assert foreign.status_code == 403
                wrong = await stand.client.get(path, headers=AS_OPERATOR, params={"filter": "status:>=many"})
                assert wrong.status_code == 400
                assert "expects a number" in wrong.text

    run(main())


def test_a_long_exchange_comes_when_it_ends_whichever_process_wrote_it(database_url: str) -> None:
    async def test(here: Logs, database: Database) -> None:
        elsewhere = await Database.open(Path("/nowhere"), database_url)
        try:
            tail, others = Tail(here, time.time() - 1), Logs(elsewhere)
            quick, long = record(1), record(0)
            assert long.id < quick.id
            for one in (quick, long):
                await others.write([one])
                assert [row.id for row in await tail.look(LogFilter()) or ()] == [one.id]
            assert await tail.look(LogFilter()) == []
        finally:
            await elsewhere.close()

    on(database_url, test)


def test_what_is_too_much_for_a_listener_is_a_gap_and_it_goes_on_behind_it(database_url: str) -> None:
    async def test(rows: Logs, database: Database) -> None:
        tail = Tail(rows, time.time() - 1, most=2)
        await rows.write([record(place) for place in range(3)])
        assert await tail.look(LogFilter()) is None
        after = record(9)
        await rows.write([after])
        assert [row.id for row in await tail.look(LogFilter()) or ()] == [after.id]

    on(database_url, test)


def test_all_rows_of_a_filter_are_exported_and_a_spreadsheet_gets_no_formula() -> None:
    async def main() -> None:
        async with stage() as stand:
            made = [await stand.chat(**{"user-agent": "=HYPERLINK(1)"}) for _ in range(3)]
            answer = await stand.client.get("/api/logs/export", headers=AS_OPERATOR, params={"filter": "status:<400"})
            assert "attachment" in answer.headers["content-disposition"]
            lines = [*csv.DictReader(io.StringIO(answer.text))]
            assert [line["id"] for line in lines] == made[::-1]
            assert {line["user_agent"] for line in lines} == {"'=HYPERLINK(1)"}
            assert lines[0]["success"] == "true"
            params = {"format": "jsonl", "limit": "2"}
            answer = await stand.client.get("/api/logs/export", headers=AS_OPERATOR, params=params)
            assert [json.loads(line)["id"] for line in answer.text.splitlines()] == made[:0:-1]
            none = await stand.client.get("/api/logs/export", headers=AS_OPERATOR, params={"filter": "status:>=400"})
            assert none.text.count("\n") == 1

    run(main())


@pytest.mark.parametrize("words", [("status:>=200",), ("status:<=200", "status:!=404"), ("kind:http",), ("cost:>0",)])
def test_comparisons_find_rows(words: tuple[str, ...]) -> None:
    async def main() -> None:
        async with stage() as stand:
            made = await stand.chat()
            assert await stand.ids(filter=[*words]) == [made]
            assert await stand.ids(filter=["status:>200"]) == []

    run(main())
