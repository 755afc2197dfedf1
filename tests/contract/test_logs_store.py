"""The log in the database, on both engines: written once, filtered safely, and no longer than it should be."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.running import run
from trunkline.errors import MalformedRequest
from trunkline.policy.logging import LoggingRules
from trunkline.store import AWAY, Database, LogFilter, LogRecord, Logs, Payload
from trunkline.store.identifiers import first_ulid, ulid
from trunkline.store.log_filter import KEYS, OPERATORS, ORDERS
from trunkline.store.schema import log_payloads

ALL = LogFilter()
NOW = 1_790_000_000.0
DAY = 86_400.0


def record(number: int = 0, **fields: Any) -> LogRecord:
    """A record of the ``number``-th second."""
    at = NOW + number
    return LogRecord(**{"id": first_ulid(at), "gateway": "default", "created_at": at, **fields})


Test = Callable[[Logs, Database], Awaitable[None]]


def on(url: str, test: Test, **options: Any) -> None:
    async def main() -> None:
        database = await Database.open(Path("/nowhere"), url)
        try:
            await test(Logs(database, **options), database)
        finally:
            await database.close()

    run(main())


async def ids(logs: Logs, *conditions: Any, **options: Any) -> list[int]:
    """The seconds of the rows that fit."""
    wanted = LogFilter(conditions=conditions, search=options.pop("search", ""), gateway=options.pop("gateway", None))
    return [round(row.created_at - NOW) for row in await logs.list(wanted, **options)]


def test_a_record_comes_back_with_every_field(database_url: str) -> None:
    whole = record(
        duration_ms=12.5,
        provider="openai",
        model="gpt-5",
        model_type="chat",
        method="POST",
        path="chat/completions",
        request_type="universal",
        request_content_type="application/json",
        response_content_type="text/event-stream",
        status=200,
        success=True,
        cached=True,
        step=1,
        attempts=3,
        tokens_in=10,
        tokens_out=2**40,
        tokens_cached=3,
        tokens_audio=4,
        usage={"prompt_tokens": 10, "details": {"cached": [1, 2.5, None]}},
        cost=0.25,
        custom_cost=True,
        connect_ms=1.5,
        first_byte_ms=2.5,
        inter_token_p50_ms=3.5,
        inter_token_p99_ms=4.5,
        end_reason="client_gone",
        error_code=2009,
        error="it broke",
        route="support@v1",
        findings=[{"rule": "keys", "check": "secrets", "side": "request", "action": "flag", "kinds": ["openai"]}],
        key_id="k1",
        caller="team",
        user="ana",
        key_source="stored",
        session_id=ulid(),
        event_id="e-1",
        trace_id="a" * 32,
        parent_span_id="b" * 16,
        user_agent="curl/8",
        metadata={"team": "blue", "n": 1, "share": 0.5, "is_test": True},
        request_size=100,
        response_size=200,
        request=b"ask \x00\xff",
        response=b"answer",
    )
    assert all(
        getattr(whole, field.name) != field.default
        for field in msgspec.structs.fields(LogRecord)
        if field.name != "method"
    )

    async def test(logs: Logs, database: Database) -> None:
        assert await logs.write([whole]) == 1
        row = await logs.get(whole.id)
        assert row is not None
        for field in msgspec.structs.fields(LogRecord):
            if field.name not in ("request", "response"):
                assert getattr(row, field.name) == getattr(whole, field.name), field.name
        assert (row.has_payload, row.feedback, row.score) == (True, None, None)
        assert await logs.payload(whole.id) == Payload(request=b"ask \x00\xff", response=b"answer")
        assert await logs.get(whole.id, "other") is None
        assert await logs.payload(whole.id, "other") is None
        assert await logs.get(ulid()) is None
        assert await logs.get("\0\udcff", "\0") is None
        assert await logs.payload(ulid()) is None

    on(database_url, test)


def test_a_record_is_written_once_however_often_it_comes(database_url: str) -> None:
    told: list[str] = []

    async def listener(connection: AsyncConnection, records: Sequence[LogRecord]) -> None:
        told.extend(record.id for record in records)

    async def test(logs: Logs, database: Database) -> None:
        records = [record(number, request=b"said") for number in range(250)]
        assert await logs.write(records[:100]) == 100
        assert await logs.write([*records, *records]) == 150
        assert await logs.write([msgspec.structs.replace(records[0], model="other")]) == 0
        assert await logs.count(ALL) == 250
        assert [row.model for row in await logs.list(ALL, limit=1, descending=False)] == [""]
        assert sorted(told) == [one.id for one in records]

    on(database_url, test, on_written=[listener])


def test_two_writers_of_the_same_records_write_each_once(database_url: str) -> None:
    told: list[str] = []

    async def listener(connection: AsyncConnection, records: Sequence[LogRecord]) -> None:
        told.extend(record.id for record in records)

    async def test(logs: Logs, database: Database) -> None:
        records = [record(number) for number in range(200)]
        written = await asyncio.gather(*(logs.write(records) for _ in range(3)))
        assert sum(written) == 200
        assert sorted(told) == [one.id for one in records]

    on(database_url, test, on_written=[listener])


def test_when_a_listener_fails_nothing_is_kept(database_url: str) -> None:
    async def listener(connection: AsyncConnection, records: Sequence[LogRecord]) -> None:
        raise ConnectionError("not now")

    async def test(logs: Logs, database: Database) -> None:
        with pytest.raises(ConnectionError):
            await logs.write([record(), record(1)])
        assert await logs.count(ALL) == 0
        assert logs.rejected == 0

    on(database_url, test, on_written=[listener])


def test_values_that_no_column_takes_are_made_to_fit(database_url: str) -> None:
    wild = record(
        model="m\0" * 500,
        error="\udcff é 😀" * 200,
        user_agent="\0",
        status=10**9,
        attempts=10**9,
        error_code=-(10**12),
        tokens_in=2**64 - 1,
        cost=math.nan,
        duration_ms=math.inf,
        first_byte_ms=-math.inf,
        usage={"a\0": [math.nan, "b\0", 2**70, {"deep": None}]},
        metadata={"k\0": "v\0\udcff"},
        end_reason="x" * 100,
    )

    async def test(logs: Logs, database: Database) -> None:
        assert await logs.write([record(1), wild]) == 2
        row = await logs.get(wild.id)
        assert row is not None
        assert (row.model, row.user_agent, row.end_reason) == ("m" * 200, "", "x" * 24)
        assert len(row.error) == 500
        assert (row.status, row.attempts, row.error_code, row.tokens_in) == (32767, 32767, -(2**31) + 1, 2**63 - 1)
        assert (row.cost, row.duration_ms, row.first_byte_ms) == (None, 0.0, None)
        assert row.usage == {"a": [None, "b", 2**63 - 1, {"deep": None}]}
        assert row.metadata == {"k": "v"}
        assert await ids(logs, ("metadata.value", "contains", ["v"])) == [0]

    on(database_url, test)


def test_each_row_of_many_has_its_own_values(database_url: str) -> None:
    """Whatever is alike in a batch, and whatever differs only later or only in its last rows."""

    def one(number: int, **fields: Any) -> LogRecord:
        return record(number, tokens_in=number if number % 7 else None, usage={"n": number}, **fields)

    batches = [
        [one(number) for number in range(450)],
        [one(number, model=f"m{number % 3}", metadata={"team": "é" * (number % 2)}) for number in range(1000, 1230)],
        [one(number, status=number % 500, error="x" * (number % 600)) for number in range(2000, 2100)],
        [one(number, findings=[{"rule": str(number)}] * (number == 3299)) for number in range(3000, 3300)],
        [one(number, success=number % 2 == 0, cost=number / 7, request=b"said") for number in range(4000, 4001)],
    ]

    async def test(logs: Logs, database: Database) -> None:
        for batch in batches:
            assert await logs.write(batch) == len(batch)
        rows = {row.id: row for row in await logs.list(ALL, limit=10_000)}
        written = [record for batch in batches for record in batch]
        assert len(rows) == len(written)
        for record in written:
            row = rows[record.id]
            expected = msgspec.structs.asdict(record) | {"error": record.error[:500], "request": None}
            assert {name: getattr(row, name) for name in expected} == expected

    on(database_url, test)


def test_a_row_that_is_there_keeps_what_was_said(database_url: str) -> None:
    async def test(logs: Logs, database: Database) -> None:
        first = [record(number, request=b"first") for number in range(0, 300, 3)]
        assert await logs.write(first) == 100
        again = [record(number, id=one.id, request=b"second") for number, one in enumerate(first)]
        new = [record(number, request=b"second") for number in range(1000, 1130)]
        mixed = [one for pair in zip(again, new, strict=False) for one in pair] + new[len(again) :]
        assert await logs.write(mixed) == 130
        said = [await logs.payload(one.id) for one in (*first, *new)]
        assert [one.request for one in said if one] == [b"first"] * 100 + [b"second"] * 130

    on(database_url, test)


def test_documents_are_kept_as_they_are_and_made_to_fit_one_by_one(database_url: str) -> None:
    deep: Any = "bottom"
    for _ in range(12):
        deep = {"in": [deep]}
    kept: Any = {"in": [{"in": [{"in": [{"in": [None]}]}]}]}
    cases: list[tuple[Any, Any]] = [
        ({"n": 1}, {"n": 1}),
        ({"n": True}, {"n": True}),
        ({"n": 1.5}, {"n": 1.5}),
        ({"n": "1"}, {"n": "1"}),
        ({}, {}),
        ({"n": 2**63 - 1}, {"n": 2**63 - 1}),
        ({"n": 2**64 - 1, "m": -(2**63)}, {"n": 2**63 - 1, "m": -(2**63) + 1}),
        ({"n": "12345678901234567890123"}, {"n": "12345678901234567890123"}),
        ({"n": 1e300, "m": math.nan, "o": -math.inf}, {"n": 1e300, "m": None, "o": None}),
        ({"a\0b": "\0", "c": "\\u0000"}, {"ab": "", "c": "\\u0000"}),
        ({"é😀\u2028": "ü\x1f\"'"}, {"é😀\u2028": "ü\x1f\"'"}),
        ({"\udcff": "a\udcff"}, {"": "a"}),
        ({"n": [{}, [], {"m": [1, None]}]}, {"n": [{}, [], {"m": [1, None]}]}),
        (deep, kept),
    ]

    async def test(logs: Logs, database: Database) -> None:
        # All that can be together, and each alone: one that does not fit must not change its neighbours.
        for chosen in (cases, *([case] for case in cases)):
            records = [record(id=ulid(), usage=given, metadata=given) for given, _ in chosen]
            await logs.write([*records, *(record(id=ulid(), usage={"n": 1}) for _ in range(120))])
            for one, (_, expected) in zip(records, chosen, strict=True):
                row = await logs.get(one.id)
                assert row is not None
                assert (repr(row.usage), repr(row.metadata)) == (repr(expected), repr(expected))

    on(database_url, test)


def test_a_fault_of_the_database_is_no_records_fault(database_url: str) -> None:
    async def rename(database: Database, old: str, new: str) -> None:
        async with database.transaction() as connection:
            await connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")

    async def test(logs: Logs, database: Database) -> None:
        records = [record(number) for number in range(120)]
        await rename(database, "logs", "elsewhere")
        with pytest.raises(AWAY):
            await logs.write(records)
        await rename(database, "elsewhere", "logs")
        assert logs.rejected == 0
        assert await logs.write(records) == 120

    on(database_url, test)


@pytest.mark.parametrize("fault", ["a value of the wrong kind", "a constraint of the database's"])
def test_a_record_that_cannot_be_written_keeps_no_other_out(database_url: str, fault: str) -> None:
    rejected: list[LogRecord] = []

    async def listener(connection: AsyncConnection, records: Sequence[LogRecord]) -> None:
        if any(record.model == "strange" for record in records):
            await connection.execute(insert(log_payloads), [{"id": "the same"}, {"id": "the same"}])

    async def test(logs: Logs, database: Database) -> None:
        records = [record(number) for number in range(50)]
        records[17] = record(17, model="strange")
        if fault == "a value of the wrong kind":
            records[17] = record(17)
            msgspec.structs.force_setattr(records[17], "gateway", None)
        assert await logs.write(records) == 49
        assert rejected == [records[17]]
        assert logs.rejected == 1
        assert await logs.count(ALL) == 49

    on(database_url, test, on_written=[listener], on_rejected=rejected.append)


def test_what_a_listener_will_not_have_is_rejected_only_when_one_gives_up(database_url: str) -> None:
    rejected: list[LogRecord] = []

    async def listener(connection: AsyncConnection, records: Sequence[LogRecord]) -> None:
        if any(record.model == "strange" for record in records):
            raise KeyError("strange")

    async def test(logs: Logs, database: Database) -> None:
        records = [record(0), record(1, model="strange"), record(2)]
        with pytest.raises(KeyError):
            await logs.write(records)
        assert await logs.count(ALL) == 0
        assert await logs.write(records, gives_up=True) == 2
        assert rejected == [records[1]]

    on(database_url, test, on_written=[listener], on_rejected=rejected.append)


def test_lists_are_newest_first_and_can_be_walked_through(database_url: str) -> None:
    async def test(logs: Logs, database: Database) -> None:
        await logs.write([record(number, gateway="ab"[number % 2], model=f"m{number % 3}") for number in range(10)])
        assert await ids(logs) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
        assert await ids(logs, limit=3, offset=2) == [7, 6, 5]
        assert await ids(logs, limit=3, before=first_ulid(NOW + 4)) == [3, 2, 1]
        assert await ids(logs, gateway="b", descending=False) == [1, 3, 5, 7, 9]
        assert await ids(logs, order="model", limit=5) == [8, 5, 2, 7, 4]
        assert await ids(logs, order="model", descending=False, limit=5) == [0, 3, 6, 9, 1]
        assert await logs.count(LogFilter(gateway="a")) == 5
        for order in ORDERS:
            assert len(await ids(logs, order=order)) == 10
        with pytest.raises(MalformedRequest, match="order_by"):
            await ids(logs, order="id; DROP TABLE logs")

    on(database_url, test)


def test_rows_without_a_value_come_last_in_its_order(database_url: str) -> None:
    async def test(logs: Logs, database: Database) -> None:
        await logs.write([record(0, cost=1.0), record(1), record(2, cost=3.0)])
        assert await ids(logs, order="cost") == [2, 0, 1]
        assert await ids(logs, order="cost", descending=False) == [0, 2, 1]

    on(database_url, test)


ROWS = [
    record(0, provider="openai", model="gpt-5", success=True, status=200, tokens_in=10, tokens_out=5, cost=0.5),
    record(1, provider="openai", model="GPT-5-mini", status=500, error="50% of_it \\ failed", user="ana"),
    record(2, provider="mistral", model="large", success=True, cached=True, tokens_in=100, key_id="k1"),
    record(3, provider="google", model="é", metadata={"team": "blue", "n": 7, "share": 0.5, "on": True}),
    record(4, provider="google", metadata={"team": "red", "boss": "blue", "on": False}, duration_ms=1500.0),
]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (("provider", "eq", ["openai"]), [0, 1]),
        (("provider", "eq", ["openai", "mistral"]), [0, 1, 2]),
        (("provider", "neq", ["openai", "mistral"]), [3, 4]),
        (("provider", "eq", ["OpenAI"]), []),
        (("provider", "eq", []), []),
        (("provider", "neq", []), [0, 1, 2, 3, 4]),
        (("model", "contains", ["gpt"]), [0, 1]),
        (("model", "contains", ["mini", "LARGE"]), [1, 2]),
        (("model", "contains", ["é"]), [3]),
        (("model", "contains", []), []),
        (("error", "contains", ["0% of_it \\ f"]), [1]),
        (("error", "contains", ["%"]), [1]),
        (("error", "contains", ["_"]), [1]),
        (("error", "contains", ["0%o"]), []),
        (("success", "eq", [True]), [0, 2]),
        (("success", "eq", ["false"]), [1, 3, 4]),
        (("success", "neq", [True]), [1, 3, 4]),
        (("cached", "eq", ["true"]), [2]),
        (("status_code", "eq", ["200"]), [0]),
        (("status", "gt", [200.5]), [1]),
        (("tokens", "gt", [14.5]), [0, 2]),
        (("tokens", "lt", ["15"]), [1, 3, 4]),
        (("tokens_in", "eq", [None]), [1, 3, 4]),
        (("tokens_in", "neq", [10]), [1, 2, 3, 4]),
        (("tokens_in", "neq", [10, None]), [2]),
        (("cost", "gt", [0.25]), [0]),
        (("duration", "gt", [1000]), [4]),
        (("feedback", "eq", [None]), [0, 1, 2, 3, 4]),
        (("created_at", "gt", [NOW + 3.5]), [4]),
        (("created_at", "lt", ["2026-09-21T14:13:21Z"]), [0]),
        (("created_at", "lt", ["2026-09-21T16:13:21+02:00"]), [0]),
        (("id", "eq", [first_ulid(NOW + 2)]), [2]),
        (("id", "gt", [first_ulid(NOW + 2)]), [3, 4]),
        (("authentication", "eq", [True]), [2]),
        (("wholesale", "eq", [False]), [0, 1, 2, 3, 4]),
        (("wholesale", "eq", [True]), []),
        (("dlp_action", "eq", ["BLOCK"]), []),
        (("user", "eq", ["ana"]), [1]),
        (("metadata.key", "eq", ["boss", "n"]), [3, 4]),
        (("metadata.key", "neq", ["boss"]), [0, 1, 2, 3]),
        (("metadata.key", "contains", ["tea"]), [3, 4]),
        (("metadata.value", "eq", ["blue"]), [3, 4]),
        (("metadata.value", "eq", [7]), [3]),
        (("metadata.value", "eq", ["0.5"]), [3]),
        (("metadata.value", "eq", [True]), [3]),
        (("metadata.value", "eq", ["false"]), [4]),
        (("metadata.value", "contains", ["LU"]), [3, 4]),
        (("metadata:team", "eq", ["blue"]), [3]),
        (("metadata:team", "neq", ["blue"]), [0, 1, 2, 4]),
        (("metadata:on", "eq", [False]), [4]),
        (("metadata:te'am", "eq", ["blue"]), []),
    ],
)
def test_a_condition_finds_its_rows(database_url: str, condition: Any, expected: list[int]) -> None:
    async def test(logs: Logs, database: Database) -> None:
        await logs.write(ROWS)
        assert await ids(logs, condition, descending=False) == expected
        assert await logs.count(LogFilter(conditions=[condition])) == len(expected)

    on(database_url, test)


def test_all_conditions_must_be_true_and_metadata_key_and_value_are_each_for_itself(database_url: str) -> None:
    async def test(logs: Logs, database: Database) -> None:
        await logs.write(ROWS)
        assert await ids(logs, ("provider", "eq", ["openai"]), ("success", "eq", [True])) == [0]
        pair = [("metadata.key", "eq", ["team"]), ("metadata.value", "eq", ["blue"])]
        assert await ids(logs, *pair, descending=False) == [3, 4]

    on(database_url, test)


def test_a_search_looks_at_a_rows_words_and_metadata(database_url: str) -> None:
    async def test(logs: Logs, database: Database) -> None:
        await logs.write(ROWS)
        assert await ids(logs, search=" Mini ") == [1]
        assert await ids(logs, search="blue", descending=False) == [3, 4]
        assert await ids(logs, search="%") == [1]
        assert await ids(logs, search="é") == [3]
        assert await ids(logs, search="nowhere\0") == []
        assert len(await ids(logs, search="  ")) == 5

    on(database_url, test)


@pytest.mark.parametrize(
    "condition",
    [
        ("nothing", "eq", ["x"]),
        ("request", "eq", ["x"]),
        ("metadata.other", "eq", ["x"]),
        ("provider", "like", ["x"]),
        ("provider", "lt", ["x"]),
        ("success", "contains", ["t"]),
        ("success", "eq", ["perhaps"]),
        ("success", "eq", [[]]),
        ("provider", "eq", "openai"),
        ("provider", "eq", [1]),
        ("provider", "eq", [{}]),
        ("tokens", "gt", ["many"]),
        ("tokens", "gt", [True]),
        ("tokens", "gt", ["nan"]),
        ("tokens", "gt", [10**400]),
        ("created_at", "gt", ["yesterday"]),
        ("metadata.key", "lt", ["x"]),
        ("metadata.value", "eq", [None]),
        ("provider", "eq", ["x"] * 201),
    ],
)
def test_a_condition_that_is_none_is_refused_in_words(tmp_path: Path, condition: Any) -> None:
    async def test(logs: Logs, database: Database) -> None:
        with pytest.raises(MalformedRequest, match="filters: "):
            await logs.list(LogFilter(conditions=[condition]))

    on(f"sqlite:///{tmp_path / 'logs.db'}", test)


def test_so_many_texts_to_look_for_that_the_search_alone_would_stop_the_gateway_are_refused(tmp_path: Path) -> None:
    async def test(logs: Logs, database: Database) -> None:
        many = [("metadata.value", "contains", [f"{one}-{text}" for text in range(100)]) for one in range(3)]
        assert await logs.count(LogFilter(conditions=many[:2])) == 0
        with pytest.raises(MalformedRequest, match="filters: at most 200 texts"):
            await logs.count(LogFilter(conditions=many))
        bounds = [("cost", operator, [*range(200)]) for operator in ("lt", "gt")] * 25
        assert await logs.count(LogFilter(conditions=bounds)) == 0

    on(f"sqlite:///{tmp_path / 'logs.db'}", test)


def test_no_key_operator_or_value_breaks_a_query(database_url: str) -> None:
    values = ["'; DROP TABLE logs; --", "\0", "%_\\", "\udcff", "1", 1, 1.5, True, None, 2**63, -(2**80), "x" * 10_000]

    async def test(logs: Logs, database: Database) -> None:
        await logs.write(ROWS)
        keys = [*KEYS, "metadata.key", "metadata.value", "metadata:team", "metadata:'\"%\0"]
        answered = 0
        for key in keys:
            for operator in OPERATORS:
                for value in values:
                    try:
                        await logs.list(LogFilter(conditions=[(key, operator, [value])]), limit=1)
                    except MalformedRequest:
                        continue
                    answered += 1
        assert answered > len(keys) * 5
        assert await logs.count(ALL) == 5

    on(database_url, test)


def test_people_say_what_they_think_of_a_row(database_url: str) -> None:
    async def test(logs: Logs, database: Database) -> None:
        await logs.write(ROWS)
        row_id = ROWS[3].id
        row = await logs.patch(row_id, feedback=-1)
        assert row is not None
        assert (row.feedback, row.score, row.metadata["team"]) == (-1, None, "blue")
        row = await logs.patch(row_id, score=80, metadata={"team": "green\0"})
        assert row is not None
        assert (row.feedback, row.score, row.metadata) == (-1, 80, {"team": "green"})
        assert await ids(logs, ("feedback", "eq", [-1]), ("score", "gt", [79])) == [3]
        row = await logs.patch(row_id, feedback=None)
        assert row is not None
        assert (row.feedback, row.score) == (None, 80)
        assert await logs.patch(row_id, score=1, gateway="other") is None
        assert await logs.patch(ulid(), score=1) is None
        unchanged = await logs.patch(row_id)
        assert unchanged is not None
        assert unchanged.score == 80
        for wrong in ({"feedback": 0}, {"feedback": True}, {"score": 101}, {"score": -1}, {"score": False}):
            with pytest.raises(MalformedRequest):
                await logs.patch(row_id, **wrong)

    on(database_url, test)


async def payloads_left(database: Database) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(log_payloads))).scalar_one())


def test_rows_are_deleted_with_what_was_said(database_url: str) -> None:
    async def test(logs: Logs, database: Database) -> None:
        await logs.write([record(number, gateway="ab"[number % 2], request=b"said") for number in range(10)])
        assert await logs.delete(LogFilter(gateway="a"), limit=2) == 2
        assert await ids(logs, descending=False) == [1, 3, 4, 5, 6, 7, 8, 9]
        assert await logs.delete(LogFilter(gateway="a"), limit=1, descending=True) == 1
        assert await ids(logs, descending=False) == [1, 3, 4, 5, 6, 7, 9]
        wanted = LogFilter(conditions=[("created_at", "gt", [NOW + 4.5])])
        assert await logs.delete(wanted) == 4
        assert await ids(logs, descending=False) == [1, 3, 4]
        assert await payloads_left(database) == 3
        assert await logs.delete(LogFilter(gateway="nobody")) == 0
        assert await logs.delete(ALL) == 3
        assert await payloads_left(database) == 0

    on(database_url, test)


def test_more_rows_than_go_at_once_are_all_deleted(database_url: str) -> None:
    async def test(logs: Logs, database: Database) -> None:
        await logs.write([record(number, response=b"said") for number in range(4100)])
        assert await logs.delete(ALL, limit=4050) == 4050
        assert await ids(logs, limit=100) == [*range(4099, 4049, -1)]
        assert await payloads_left(database) == 50

    on(database_url, test)


def test_rows_are_kept_for_as_many_days_as_their_gateway_says(database_url: str) -> None:
    async def test(logs: Logs, database: Database) -> None:
        rows = [record(round(-days * DAY), request=b"said") for days in (0, 1, 2, 2.5, 3)]
        foreign = record(round(-9 * DAY), gateway="other")
        await logs.write([*rows, foreign])
        assert await logs.enforce("default", LoggingRules(), NOW) == 0
        assert await logs.enforce("default", LoggingRules(max_age_days=2), NOW + 1) == 3
        assert {row.id for row in await logs.list(ALL)} == {rows[0].id, rows[1].id, foreign.id}
        assert await payloads_left(database) == 2

    on(database_url, test)


def test_a_log_that_deletes_its_oldest_keeps_its_newest(database_url: str) -> None:
    rules = LoggingRules(max_rows=10)

    async def test(logs: Logs, database: Database) -> None:
        await logs.write([record(number, gateway="default" if number % 2 else "other") for number in range(60)])
        assert await logs.enforce("default", rules, NOW) == 20
        assert await ids(logs, gateway="default", descending=False) == [*range(41, 60, 2)]
        assert await logs.enforce("default", rules, NOW) == 0
        assert await logs.count(LogFilter(gateway="other")) == 30

    on(database_url, test)


def test_a_log_that_stops_keeps_its_first_until_there_is_room(database_url: str) -> None:
    rules = LoggingRules(max_rows=10, strategy="STOP_INSERTING")

    async def test(logs: Logs, database: Database) -> None:
        other = [record(1000 + number, gateway="other") for number in range(20)]
        records = [record(number) for number in range(30)]
        assert await logs.write([*records[:8], *other]) == 28
        assert await logs.write(records[:8]) == 0
        assert await logs.write(records[8:]) == 2
        assert await logs.write(records[10:]) == 0
        assert await ids(logs, gateway="default", descending=False) == [*range(10)]
        assert logs.not_kept == {"default": 40}
        assert await logs.enforce("default", rules, time.time()) == 0
        assert await logs.delete(LogFilter(gateway="default"), limit=4) == 4
        assert await logs.write(records[20:]) == 4

    on(database_url, test, rules_of=lambda gateway: rules if gateway == "default" else None)


def test_a_bound_that_comes_later_stops_a_log_that_is_longer(database_url: str) -> None:
    rules = [LoggingRules()]

    async def test(logs: Logs, database: Database) -> None:
        assert await logs.write([record(number) for number in range(20)]) == 20
        rules[0] = LoggingRules(max_rows=10, strategy="STOP_INSERTING")
        assert await logs.write([record(100)]) == 0
        assert await logs.count(ALL) == 20

    on(database_url, test, rules_of=lambda gateway: rules[0])
