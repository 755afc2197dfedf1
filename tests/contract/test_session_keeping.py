"""Sessions in the database: what is written when, and what a database that is away may cost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from sqlalchemy import text

from tests.contract.waiting import until
from tests.running import run
from trunkline.errors import GatewayError
from trunkline.realtime.frames import Frame
from trunkline.realtime.record import SessionRecord
from trunkline.realtime.report import Report
from trunkline.server.live_sessions import LiveSessions
from trunkline.server.session_keeper import SessionKeeper
from trunkline.store import Database, RealtimeSessions, SessionFilter, StoredSession
from trunkline.store.identifiers import ulid

ALL = SessionFilter()
OFTEN = 0.02
USAGE = {"output_tokens": 7, "output_token_details": {"text_tokens": 7}}
DONE = json.dumps({"type": "response.done", "response": {"id": "r", "status": "completed", "usage": USAGE}})


class Session:
    """The least that an open session is, around a real record."""

    gateway, key_id, caller, provider, model, user_agent = "default", "", "test", "openai", "gpt-realtime", "agent"

    def __init__(self) -> None:
        self.id = ulid()
        self.started_at = time.time()
        self.record = SessionRecord("openai", price=lambda usage: 0.5, model=self.model)
        self.record.dialled(0.0)
        self.record.connected(0.1)

    def elapsed(self) -> float:
        return time.time() - self.started_at

    def fit_to_keep(self, report: Report) -> Report:
        return report

    def end(self, error: GatewayError) -> None:
        self.record.closed("gateway", error.close_code, error.reason, self.elapsed())

    def last_report(self) -> Report:
        self.record.closed("client", 1000, "bye", self.elapsed())
        return self.record.report(self.elapsed())


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[RealtimeSessions]:
    database = await Database.open(Path("unused"), url)
    try:
        yield RealtimeSessions(database)
    finally:
        await database.close()


@asynccontextmanager
async def writer_in_the_way(url: str) -> AsyncIterator[None]:
    """Another process that lets nobody else write."""
    other = await Database.open(Path("unused"), url)
    async with other.transaction() as connection:
        if other.dialect == "postgresql":  # SQLite's lock comes with every transaction
            await connection.execute(text("LOCK TABLE realtime_sessions IN EXCLUSIVE MODE"))
        yield
    await other.close()


def kept_of(session: Session, *, written_at: float, ended_at: float | None = None) -> StoredSession:
    return StoredSession(
        id=session.id,
        gateway="default",
        key_id="",
        provider="openai",
        model="m",
        started_at=session.started_at,
        written_at=written_at,
        ended_at=ended_at,
        caller="test",
        user_agent="",
        report=session.record.report(1.0),
    )


async def ended_of(store: RealtimeSessions, session: Session) -> StoredSession | None:
    """Return what is kept of a session once it is kept as ended."""
    found = await store.get(session.id)
    return found if found is not None and found.ended_at is not None else None


def test_an_open_session_is_written_again_and_again_and_once_at_its_end(database_url: str) -> None:
    async def main() -> None:
        live, session = LiveSessions(), Session()
        keeper = SessionKeeper(live, interval=OFTEN)
        live.add(session)
        async with store_at(database_url) as store:
            keeper.start(store)
            first = await until(lambda: store.get(session.id))
            assert (first.ended_at, first.report.close) == (None, None)
            session.record.provider_said(Frame(DONE), 0.2)

            async def counted() -> bool:
                found = await store.get(session.id)
                return found is not None and found.report.tokens.total == 7

            await until(counted)
            live.remove(session)
            keeper.ended(session, session.last_report())
            last = await until(lambda: ended_of(store, session))
            assert last.report.close is not None
            assert (last.report.close.by, last.report.close.reason) == ("client", "bye")
            (summary,) = await store.list(ALL, 10)
            assert (summary.tokens, summary.cost, summary.closed_by) == (7, 0.5, "client")
            await keeper.stop()

    run(main())


def test_a_busy_database_delays_nobody_and_loses_nothing(database_url: str) -> None:
    async def main() -> None:
        live = LiveSessions()
        keeper = SessionKeeper(live, interval=OFTEN, retry=OFTEN)
        sessions = [Session() for _ in range(250)]
        async with store_at(database_url) as store:
            async with writer_in_the_way(database_url):
                keeper.start(store)
                for session in sessions:
                    live.add(session)
                    live.remove(session)
                    keeper.ended(session, session.last_report())

            async def all_are_there() -> bool:
                return len(await store.list(ALL, 1000)) == len(sessions)

            await until(all_are_there)
            await keeper.stop()

    run(main())


def test_what_waits_is_written_when_the_gateway_stops(database_url: str) -> None:
    async def main() -> None:
        live, ended, still_open = LiveSessions(), Session(), Session()
        keeper = SessionKeeper(live)
        async with store_at(database_url) as store:
            keeper.start(store)
            live.add(still_open)
            keeper.ended(ended, ended.last_report())
            await keeper.stop()
            found = {one.id: one.ended_at is None for one in await store.list(ALL, 10)}
            assert found == {ended.id: False, still_open.id: True}

    run(main())


def test_beyond_the_bound_the_oldest_end_is_lost(database_url: str) -> None:
    async def main() -> None:
        keeper = SessionKeeper(LiveSessions(), bound=2)
        sessions = [Session() for _ in range(3)]
        for session in sessions:
            keeper.ended(session, session.last_report())
        async with store_at(database_url) as store:
            keeper.start(store)
            await keeper.stop()
            assert {one.id for one in await store.list(ALL, 10)} == {session.id for session in sessions[1:]}

    run(main())


def test_a_session_that_ends_while_it_is_written_as_open_stays_ended(database_url: str) -> None:
    async def main() -> None:
        live, session = LiveSessions(), Session()
        keeper = SessionKeeper(live, interval=OFTEN, retry=OFTEN)
        live.add(session)
        async with store_at(database_url) as store:
            async with writer_in_the_way(database_url):
                keeper.start(store)
                await asyncio.sleep(OFTEN * 3)  # the keeper waits for the lock with the open session in its hands
                live.remove(session)
                keeper.ended(session, session.last_report())
            await until(lambda: ended_of(store, session))
            await keeper.stop()
            assert await ended_of(store, session) is not None

    run(main())


def test_what_a_process_left_open_is_marked_as_ended_unless_another_still_writes_it(database_url: str) -> None:
    async def main() -> None:
        now = time.time()
        left, alive, ended = Session(), Session(), Session()
        async with store_at(database_url) as store:
            await store.write(
                [
                    kept_of(left, written_at=now - 61),
                    kept_of(alive, written_at=now - 59),
                    kept_of(ended, written_at=now - 500, ended_at=now - 500),
                ]
            )
            assert await store.close_abandoned(now) == 1
            found = await store.get(left.id)
            assert found is not None
            assert found.report.close is not None
            assert (found.ended_at, found.report.state) == (now - 61, "closed")
            assert (found.report.close.by, found.report.close.reason) == ("gateway", "process ended")
            assert [one.id for one in await store.list(SessionFilter(open=True), 10)] == [alive.id]
            assert await store.close_abandoned(now) == 0

    run(main())


def test_a_report_comes_back_as_it_was_written(database_url: str) -> None:
    async def main() -> None:
        session = Session()
        written = kept_of(session, written_at=5.0)
        async with store_at(database_url) as store:
            await store.write([written])
            assert await store.get(session.id) == written
            changed = msgspec.structs.replace(written, written_at=6.0, ended_at=6.0)
            await store.write([changed])
            assert await store.get(session.id) == changed

    run(main())
