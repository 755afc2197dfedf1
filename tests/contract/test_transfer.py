"""Export, import, backup and restore by their commands, from and to real databases of both engines."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from tests.commands import command
from tests.databases import PASSWORD, Postgres
from tests.running import new_database, run
from trunkline.policy.registry import GatewayRules
from trunkline.store import Configuration, Database, Vault, schema
from trunkline.store.transfer import AREAS, BATCH, STAYS, Selection, is_sealed

MANY: Final = 2 * BATCH + 3
LONG_TABLES: Final = ("logs", "log_payloads", "rollup_latencies", "conversation_messages")
MASTER_KEY: Final = "5e" * 32
START: Final = 1_790_000_000.123456

COPIED: Final = [table for table in schema.metadata.sorted_tables if table.name not in STAYS]


def trunkline(
    *arguments: str, url: str, data_dir: Path, input: bytes = b"", master_key: str = MASTER_KEY, status: int = 0
) -> str:
    variables = {"TRUNKLINE_DATABASE_URL": url, "TRUNKLINE_MASTER_KEY": master_key}
    done = command(*arguments, "--data-dir", str(data_dir), given=input, environment=variables)
    assert done.returncode == status, done.stderr
    return done.stderr


def refusal(*arguments: str, **given: Any) -> str:
    return trunkline(*arguments, **given, status=2)


def value(column: Column[Any], number: int) -> Any:
    """A value of a column's type, another for each number, and that of the row it refers to where it refers to one."""
    for reference in column.foreign_keys:
        return value(reference.column, number % 3)
    if column.nullable and number % 3 == 1:
        return None
    kind = column.type
    if isinstance(kind, Boolean):
        return number % 2 == 0
    if isinstance(kind, BigInteger):
        return 2**40 + number
    if isinstance(kind, Integer):
        return number
    if isinstance(kind, Float):
        return START + number / 7
    if isinstance(kind, LargeBinary):
        return number.to_bytes(4) + bytes(range(256))[: 28 if kind.length == 32 else None]
    if isinstance(kind, JSON):
        return {"plan": f"pro é \N{GRINNING FACE} {number}", "share": 0.1, "on": True}
    assert isinstance(kind, String), kind
    return f"{number:06d}{column.name} 'é\"\\"[: kind.length]


def rows_of(table: Table) -> list[dict[str, Any]]:
    count = MANY if table.name in LONG_TABLES else 3
    return [{column.name: value(column, number) for column in table.columns} for number in range(count)]


async def fill(url: str) -> None:
    """Put rows into every table, and the mark of the master key."""
    database = await Database.open(Path("unused"), url)
    async with database.transaction() as connection:
        for table in COPIED:
            await connection.execute(insert(table), rows_of(table))
    await Configuration(database, Vault(bytes.fromhex(MASTER_KEY)), GatewayRules("default")).check()
    await database.close()


async def contents(url: str, tables: Sequence[Table] = COPIED) -> dict[str, list[tuple[Any, ...]]]:
    """What a copy takes of the tables."""
    whole = Selection(sealed=True)
    database = await Database.open(Path("unused"), url)
    async with database.reading() as connection:
        found = {
            table.name: [
                tuple(row)
                for row in await connection.execute(select(*whole.columns(table)).order_by(*table.primary_key.columns))
            ]
            for table in tables
        }
    await database.close()
    return found


@pytest.fixture(scope="module")
def filled_urls(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of each engine a database with rows. Nothing writes to them: who needs other rows has a database of its own."""
    file = tmp_path_factory.mktemp("filled") / "filled.db"
    file.write_bytes(new_database())
    urls = {"sqlite": f"sqlite:///{file}", "postgresql": postgres.fresh()}
    for url in urls.values():
        run(fill(url))
    return urls


@pytest.fixture(params=["sqlite", "postgresql"])
def filled_url(request: pytest.FixtureRequest, filled_urls: dict[str, str]) -> str:
    url: str = filled_urls[request.param]
    return url


@pytest.fixture
def target_url(filled_url: str, postgres: Postgres, tmp_path: Path) -> str:
    """An empty database of the other engine: between the two there is nothing but a file, which knows no engine."""
    return postgres.fresh() if filled_url.startswith("sqlite") else f"sqlite:///{tmp_path / 'target.db'}"


def test_every_table_is_copied_or_stays_for_a_reason() -> None:
    copied = [table.name for tables in AREAS.values() for table in tables]
    assert sorted(copied) == sorted(set(copied))
    assert set(copied) | STAYS == set(schema.metadata.tables)
    for table in COPIED:
        assert len(table.primary_key.columns) > 0
        assert "table" not in table.columns  # what a line says which table its row is of
        secret = [column for column in table.columns if isinstance(column.type, LargeBinary) and is_sealed(column)]
        assert all(column.name in ("sealed", "sealed_token") for column in secret)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "folder", "parquet-folder"])
def test_all_rows_move_from_one_engine_to_the_other(
    filled_url: str, target_url: str, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    kind = ("--format", "parquet") if name.startswith("parquet") else ()
    told = trunkline("export", str(file), *kind, "--with-sealed-keys", url=filled_url, data_dir=tmp_path)
    total = sum(len(rows_of(table)) for table in COPIED)
    assert f"{total} rows are in" in told
    assert f"logs: {MANY} rows" in told
    files = list(file.iterdir()) if file.is_dir() else [file]
    assert len(files) == (len(COPIED) if file.is_dir() else 1)
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600] * len(files)

    told = trunkline("import", str(file), url=target_url, data_dir=tmp_path)
    assert f"{total} rows are added, 0 were there already" in told
    assert asyncio.run(contents(target_url)) == asyncio.run(contents(filled_url))

    told = trunkline("import", str(file), url=target_url, data_dir=tmp_path)
    assert f"0 rows are added, {total} were there already" in told


def test_an_import_that_broke_off_goes_on_where_it_was(filled_url: str, target_url: str, tmp_path: Path) -> None:
    file = tmp_path / "logs.jsonl"
    trunkline("export", str(file), "--what", "logs", url=filled_url, data_dir=tmp_path)
    whole = file.read_bytes()
    lines = whole.split(b"\n")
    file.write_bytes(b"\n".join(lines[: MANY // 2]) + b'\n{"table":"logs","id":"cut sh')
    told = refusal("import", str(file), url=target_url, data_dir=tmp_path)
    assert f"logs.jsonl:{MANY // 2 + 1}:" in told
    file.write_bytes(whole)
    told = trunkline("import", str(file), url=target_url, data_dir=tmp_path)
    assert f"{2 * MANY - BATCH} rows are added, {BATCH} were there already" in told
    tables = list(AREAS["logs"])
    assert asyncio.run(contents(target_url, tables)) == asyncio.run(contents(filled_url, tables))


def test_logs_that_come_without_sums_are_in_the_charts_once(database_url: str, tmp_path: Path) -> None:
    row = {"id": "01J00000000000000000000000", "created_at": START, "duration_ms": 12.5}
    file = tmp_path / "logs.jsonl"

    async def sums() -> tuple[int, int]:
        database = await Database.open(tmp_path, database_url)
        table = schema.analytics.rollup_sums
        async with database.reading() as connection:
            asked = select(func.count(), func.sum(table.c.requests)).where(table.c.cube == 1, table.c.step == 86400)
            found = (await connection.execute(asked)).one()
        await database.close()
        return found[0], found[1]

    source = f"sqlite:///{tmp_path / 'source.db'}"

    async def fill_logs() -> None:
        database = await Database.open(tmp_path, source)
        async with database.transaction() as connection:
            values = {column.name: value(column, 0) for column in schema.logs.columns}
            for number in range(3):
                await connection.execute(insert(schema.logs).values(values | row | {"id": f"01J{number:023d}"}))
        await database.close()

    run(fill_logs())
    trunkline("export", str(file), "--what", "logs", url=source, data_dir=tmp_path)
    for _ in range(2):
        trunkline("import", str(file), url=database_url, data_dir=tmp_path)
        assert asyncio.run(sums()) == (1, 3)


def test_what_is_exported_is_one_gateways_and_of_one_time(filled_url: str, tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"

    def exported(*options: str) -> list[dict[str, Any]]:
        trunkline("export", str(file), *options, url=filled_url, data_dir=tmp_path)
        return [json.loads(line) for line in file.read_text().splitlines()[1:]]

    some = exported("--what", "logs", "--since", "2026-09-21T14:13:21+00:00", "--until", "2026-09-21T14:13:22+00:00")
    times = [row["created_at"] for row in some if row["table"] == "logs"]
    assert times == [START + number / 7 for number in range(7, 14)]
    assert len([row for row in some if row["table"] == "log_payloads"]) == 7

    second = value(schema.gateways.c.id, 1)
    some = exported("--what", "setup", "--gateway", second, "--with-sealed-keys")
    owned = {row["table"]: row for row in some}
    assert owned["gateways"]["id"] == owned["stored_keys"]["gateway"] == owned["routes"]["gateway"] == second
    assert owned["route_versions"]["route"] == owned["routes"]["id"]
    assert len([row for row in some if row["table"] == "route_deployments"]) == 1

    assert "narrows nothing" in refusal(
        "export", str(file), "--what", "setup", "--since", "1d", url=filled_url, data_dir=tmp_path
    )


def test_provider_keys_stay_unless_they_are_asked_for(filled_url: str, target_url: str, tmp_path: Path) -> None:
    file = tmp_path / "setup.jsonl"
    told = trunkline("export", str(file), "--what", "setup", url=filled_url, data_dir=tmp_path)
    assert "Provider keys are not in it" in told
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert "stored_keys" not in rows[0]["tables"]
    assert rows[0]["key_check"] is None
    assert not [name for row in rows for name in row if name.startswith("sealed")]
    trunkline("import", str(file), url=target_url, data_dir=tmp_path)
    found = asyncio.run(contents(target_url, AREAS["setup"]))
    assert (len(found["vias"]), len(found["stored_keys"])) == (3, 0)


def test_sealed_keys_need_the_master_key_they_were_sealed_with(
    filled_url: str, target_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "setup.jsonl"
    trunkline("export", str(file), "--what", "setup", "--with-sealed-keys", url=filled_url, data_dir=tmp_path)
    told = refusal("import", str(file), url=target_url, data_dir=tmp_path, master_key="77" * 32)
    assert "another master key" in told
    assert asyncio.run(contents(target_url, [schema.gateways]))["gateways"] == []


def test_a_running_gateway_sees_an_imported_set_up(filled_url: str, target_url: str, tmp_path: Path) -> None:
    async def number() -> int:
        return (await contents(target_url, [schema.vault_state]))["vault_state"][0][1]

    file = tmp_path / "setup.jsonl"
    trunkline("export", str(file), "--what", "setup", url=filled_url, data_dir=tmp_path)
    before = asyncio.run(number())
    trunkline("import", str(file), url=target_url, data_dir=tmp_path)
    assert asyncio.run(number()) > before


def test_a_bad_field_is_named_with_its_line_and_nothing_of_its_batch_is_written(
    filled_url: str, target_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "logs.jsonl"
    trunkline("export", str(file), "--what", "logs", url=filled_url, data_dir=tmp_path)
    lines = file.read_text().splitlines()
    lines[4] = json.dumps(json.loads(lines[4]) | {"status": "ok"})
    file.write_text("\n".join(lines))
    told = refusal("import", str(file), url=target_url, data_dir=tmp_path)
    assert told == f"error: {file}:5: the field status of logs is not a whole number in range but 'ok'.\n"
    assert asyncio.run(contents(target_url, AREAS["logs"])) == {"logs": [], "log_payloads": []}


def test_a_row_whose_gateway_is_missing_is_refused_and_says_so(
    filled_url: str, target_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "setup.jsonl"
    trunkline("export", str(file), "--what", "setup", url=filled_url, data_dir=tmp_path)
    lines = [line for line in file.read_text().splitlines() if '"table":"gateways"' not in line]
    file.write_text("\n".join(lines))
    told = refusal("import", str(file), url=target_url, data_dir=tmp_path)
    assert "refers to a row that is not there" in told


def test_files_that_are_no_exports_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    other = tmp_path / "other.jsonl"
    other.write_text('{"some": "thing"}\n')
    assert "no export of Trunkline" in refusal("import", str(other), url=url, data_dir=tmp_path)
    (tmp_path / "other.parquet").write_bytes(b"PAR1 or not")
    assert "no export of Trunkline" in refusal("import", str(tmp_path / "other.parquet"), url=url, data_dir=tmp_path)
    (tmp_path / "cut.jsonl.gz").write_bytes(
        gzip.compress(b'{"trunkline":"1","schema":"1","tables":[]}\n' + b"\n" * 99)[:-9]
    )
    assert "cut short" in refusal("import", str(tmp_path / "cut.jsonl.gz"), url=url, data_dir=tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no files of an export" in refusal("import", str(tmp_path / "empty"), url=url, data_dir=tmp_path)
    assert "no file" in refusal("import", str(tmp_path / "nothing.jsonl"), url=url, data_dir=tmp_path)
    assert "name a folder" in refusal("export", str(tmp_path / "all.parquet"), url=url, data_dir=tmp_path)
    told = refusal("export", str(tmp_path / "all.jsonl"), "--format", "parquet", url=url, data_dir=tmp_path)
    assert "says jsonl" in told
    assert not list(tmp_path.glob("all*"))


def test_without_the_extra_parquet_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    told = refusal("export", str(tmp_path / "rows"), "--format", "parquet", url=url, data_dir=tmp_path)
    assert "pip install 'trunkline[parquet]'" in told


def test_rows_pass_through_standard_output_and_input(filled_url: str, target_url: str, tmp_path: Path) -> None:
    variables = {**os.environ, "TRUNKLINE_DATABASE_URL": filled_url}
    export = [sys.executable, "-m", "trunkline", "export", "-", "--what", "sessions", "--data-dir", str(tmp_path)]
    done = subprocess.run(export, env=variables, capture_output=True, check=True, timeout=60)
    told = trunkline("import", "-", url=target_url, data_dir=tmp_path, input=done.stdout)
    assert "3 rows are added" in told
    tables = list(AREAS["sessions"])
    assert asyncio.run(contents(target_url, tables)) == asyncio.run(contents(filled_url, tables))


def test_a_backup_is_taken_while_others_write_and_put_back(tmp_path: Path) -> None:
    url, copy = f"sqlite:///{tmp_path / 'live.db'}", tmp_path / "copy.db"
    run(fill(url))
    before = asyncio.run(contents(url))

    async def main() -> None:
        database = await Database.open(tmp_path, url)  # as a gateway that is running
        async with database.reading() as reader:
            await reader.execute(select(schema.gateways))
            told = await asyncio.to_thread(trunkline, "backup", str(copy), url=url, data_dir=tmp_path, master_key="")
        assert str(tmp_path / "master.key") in told
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        async with database.transaction() as connection:
            await connection.execute(delete(schema.logs))
            await connection.execute(update(schema.vault_state).values(number=50))
        await asyncio.to_thread(trunkline, "restore", str(copy), "--yes", url=url, data_dir=tmp_path)
        async with database.reading() as connection:
            assert await connection.scalar(select(func.count()).select_from(schema.logs)) == MANY
            assert await connection.scalar(select(schema.vault_state.c.number)) > 50
        await database.close()

    run(main())
    assert asyncio.run(contents(url)) == before
    assert "there already" in refusal("backup", str(copy), url=url, data_dir=tmp_path)
    (tmp_path / "other.db").write_bytes(b"no database" * 500)
    assert "other.db" in refusal("restore", str(tmp_path / "other.db"), "--yes", url=url, data_dir=tmp_path)
    assert asyncio.run(contents(url)) == before


def test_for_postgresql_a_backup_names_its_own_tool(postgres: Postgres, tmp_path: Path) -> None:
    told = refusal("backup", str(tmp_path / "copy"), url=postgres.url(), data_dir=tmp_path)
    assert "pg_dump" in told
    assert PASSWORD not in told
    told = refusal("restore", str(tmp_path / "copy"), "--yes", url=postgres.url(), data_dir=tmp_path)
    assert "pg_restore" in told
