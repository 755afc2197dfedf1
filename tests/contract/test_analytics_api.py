"""Charts over HTTP and on the command line, from a real server: what went through it, and who may see what."""

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

from tests import commands
from tests.commands import Done
from tests.contract.administration import administration, new_key
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at
from tests.contract.waiting import until
from tests.running import data_directory, gateway, run
from trunkline.policy.registry import GatewayRules, Scope
from trunkline.store import Database, LogRecord, Logs
from trunkline.store.rollups import Rollups

SERIES, SUMMARY = "/api/analytics/series", "/api/analytics/summary"
TOKEN = "gateway-token-of-many-characters"


async def fill(data_dir: Path, *records: LogRecord) -> None:
    database = await Database.open(data_dir)
    try:
        await Logs(database, [Rollups().add]).write(records)
    finally:
        await database.close()


def record(number: int, gateway: str = "default", **fields: Any) -> LogRecord:
    given = {"provider": "openai", "model": "gpt-5", "status": 200, "success": True, "duration_ms": 100.0, **fields}
    return LogRecord(id=f"{number:026}", gateway=gateway, created_at=time.time() - 60 - number, **given)


@asynccontextmanager
async def server(*records: LogRecord, key: str = "", **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    shown = {"authorization": f"Bearer {key}"} if key else {}
    with data_directory() as data_dir:
        await fill(data_dir, *records)
        async with (
            gateway(data_dir=data_dir, **settings) as address,
            httpx.AsyncClient(base_url=address.http, headers=shown, timeout=30) as client,
        ):
            yield client


def test_what_goes_through_the_gateway_is_in_the_charts() -> None:
    async def main() -> None:
        async with raw_server(Recorder()) as origin, server(**openai_at(origin)) as client:
            for _ in range(3):
                response = await client.post(
                    "/v1/local/default/openai/chat/completions",
                    headers={"authorization": "Bearer sk-caller-1234", "cf-aig-metadata": '{"team": "red"}'},
                    json={"model": "gpt-5", "messages": [{"role": "user", "content": "hello"}]},
                )
                assert response.status_code == 200

            async def counted() -> Any:
                chart = (await client.get(SERIES, params={"by": "provider", "interval": "hour"})).json()
                return chart if chart["groups"] and chart["groups"][0]["total"]["requests"] == 3 else None

            chart = await until(counted)
            assert [group["value"] for group in chart["groups"]] == ["openai"]
            by_team = (await client.get(SERIES, params={"by": "metadata:team"})).json()
            assert [(group["value"], group["total"]) for group in by_team["groups"]] == [("red", {"requests": 3})]

    run(main())


def test_a_chart_names_its_measures_and_a_summary_compares() -> None:
    async def main() -> None:
        records = [record(number, cost=0.5, model=f"model-{number % 2}") for number in range(10)]
        async with server(*records) as client:
            measures = {"measure": ["cost", "requests", "duration_p95"]}
            chart = (await client.get(SERIES, params={**measures, "by": "model", "tz": "Europe/Berlin"})).json()
            assert [group["value"] for group in chart["groups"]] == ["model-0", "model-1"]
            assert chart["groups"][0]["total"]["cost"] == 2.5
            assert chart["groups"][0]["total"]["duration_p95"] == pytest.approx(100, rel=0.05)
            assert {len(points) for points in chart["groups"][0]["points"].values()} == {len(chart["starts"])}
            summary = (await client.get(SUMMARY, params=measures)).json()
            assert summary["now"]["total"]["requests"] == 10
            assert summary["before"]["total"] == {"cost": 0, "requests": 0, "duration_p95": None}
            only = (await client.get(SUMMARY, params={"model": "model-1"})).json()
            assert only["now"]["total"]["requests"] == 5

    run(main())


def test_csv_has_a_line_for_each_point_and_group_and_no_formula() -> None:
    async def main() -> None:
        async with server(record(1, user="ada"), record(2, user="=HYPERLINK(1)")) as client:
            params = {"by": "user", "interval": "day", "measure": ["requests", "error_rate"], "tz": "UTC"}
            response = await client.get(SERIES, params=params, headers={"accept": "text/csv"})
            assert response.headers["content-type"] == "text/csv; charset=utf-8"
            head, *lines = csv.reader(io.StringIO(response.text))
            assert head == ["start", "user", "other", "requests", "error_rate"]
            counted = {line[1]: line[3:] for line in lines if line[3] != "0"}
            assert counted == {"ada": ["1", "0.0"], "'=HYPERLINK(1)": ["1", "0.0"]}
            assert all(line[0].endswith("T00:00:00Z") for line in lines)

    run(main())


def test_a_key_sees_its_own_gateway_alone() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with administration(data_dir) as configuration:
                await configuration.create_gateway(GatewayRules("prod", authenticated=True))
                reader, _ = await new_key(configuration, "prod", scopes=[Scope.READ])
                runner, _ = await new_key(configuration, "prod", scopes=[Scope.RUN])
            await fill(data_dir, record(1), record(2), record(3, "prod"))
            async with (
                gateway(data_dir=data_dir, gateway_token=TOKEN) as address,
                httpx.AsyncClient(base_url=address.http, timeout=30) as client,
            ):

                async def ask(key: str, path: str = SERIES, **params: str) -> httpx.Response:
                    shown = {"authorization": f"Bearer {key}"} if key else {}
                    return await client.get(path, params={"by": "gateway", **params}, headers=shown)

                def counts(response: httpx.Response) -> dict[str, int]:
                    return {group["value"]: group["total"]["requests"] for group in response.json()["groups"]}

                assert counts(await ask(TOKEN)) == {"default": 2, "prod": 1}
                assert counts(await ask(TOKEN, gateway="prod")) == {"prod": 1}
                assert counts(await ask(reader)) == {"prod": 1}
                assert (await ask(reader, SUMMARY)).json()["now"]["total"] == {"requests": 1}
                assert (await ask(reader, gateway="default")).status_code == 403
                assert (await ask(reader, SUMMARY, gateway="default")).status_code == 403
                assert (await ask(runner)).status_code == 403
                assert (await ask("")).status_code == 401

    run(main())


@pytest.mark.parametrize(
    ("params", "status", "why"),
    [
        ({"tz": "Mars/Olympus"}, 400, "Mars/Olympus"),
        ({"tz": "../../etc/passwd"}, 400, "no time zone"),
        ({"tz": "America"}, 400, "no time zone"),
        ({"metadata": "team"}, 400, "KEY:VALUE"),
        ({"measure": "beauty"}, 400, "no measure beauty"),
        ({"by": "user", "interval": "minute"}, 400, "kept by the hour"),
        ({"interval": "century"}, 422, "interval"),
        ({"since": "nan"}, 422, "since"),
        ({"since": "1e300"}, 422, "since"),
        ({"since": "5", "until": "4"}, 400, "ends before it begins"),
        ({"since": "0", "until": "32503680000", "interval": "month"}, 400, "too much for a chart"),
    ],
)
def test_a_bad_question_is_answered_with_what_is_wrong(params: dict[str, str], status: int, why: str) -> None:
    async def main() -> None:
        async with server() as client:
            response = await client.get(SERIES, params=params)
            assert (response.status_code, why in response.json()["error"]["message"]) == (status, True), response.text

    run(main())


def test_the_command_prints_a_table_or_json(tmp_path: Path) -> None:
    run(fill(tmp_path, *(record(number, model=f"model-{number % 2}", cost=0.25) for number in range(6))))

    def command(*arguments: str) -> Done:
        return commands.command("analytics", *arguments, "--data-dir", str(tmp_path))

    shown = command("--by", "model", "--measure", "requests", "--measure", "cost")
    assert shown.returncode == 0, shown.stderr
    assert [line.split() for line in shown.stdout.splitlines() if line.startswith("model-")] == [
        ["model-0", "3", "$0.75"],
        ["model-1", "3", "$0.75"],
    ]
    chart = json.loads(command("--json").stdout)
    assert chart["groups"][0]["total"]["requests"] == 6
    assert chart["groups"][0]["total"]["cost"] == 1.5
    refused = command("--by", "colour")
    assert refused.returncode == 2
    assert "no dimension 'colour'" in refused.stderr
