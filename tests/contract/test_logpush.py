"""The log as it grows, to a file or an address."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.contract.waiting import until
from trunkline.errors import SettingsError
from trunkline.server.observability.logpush import Logpush
from trunkline.settings import Settings
from trunkline.store import LogRecord
from trunkline.upstream.http import HttpPool


def record(number: int, **fields: Any) -> LogRecord:
    return LogRecord(id=f"log-{number}", gateway="prod", created_at=float(number), provider="openai", **fields)


def pushing(tmp_path: Path, pool: HttpPool, url: str, **settings: Any) -> Logpush:
    made = Logpush.of(Settings(data_dir=tmp_path, logpush_url=url, **settings), pool)
    assert made is not None
    made._pause = 0.01
    return made


async def told(condition: Callable[[], object]) -> None:
    async def look() -> object:
        return condition()

    await until(look)


class Sink:
    """What a collector got; ``status`` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.rows: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.refused = 0
        self.url = ""


@contextmanager
def sink() -> Iterator[Sink]:
    got = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            lines = gzip.decompress(self.rfile.read(int(self.headers["content-length"]))).decode().splitlines()
            if got.status == 200:
                got.headers.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
                got.rows += [json.loads(line) for line in lines]
            else:
                got.refused += 1
            self.send_response(got.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    got.url = f"http://127.0.0.1:{server.server_port}/ingest?source=gateway"
    try:
        yield got
    finally:
        server.shutdown()
        server.server_close()


def test_rows_are_appended_to_a_file_as_lines_of_json_and_bodies_only_when_wanted(tmp_path: Path) -> None:
    async def main(wanted: bool) -> list[dict[str, Any]]:
        file = tmp_path / f"{wanted}.ndjson"
        pool = HttpPool()
        push = pushing(tmp_path / str(wanted), pool, file.as_uri(), logpush_payloads=wanted)
        push.start()
        for number in range(3):
            push.take(record(number, cost=0.5, metadata={"team": "ö"}, request=b'{"secret":"talk"}'))
        await push.close()
        await pool.aclose()
        assert file.stat().st_mode & 0o077 == 0
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()]

    rows = uvloop.run(main(False))
    assert [row["id"] for row in rows] == ["log-0", "log-1", "log-2"]
    assert (rows[0]["cost"], rows[0]["metadata"], rows[0]["tokens_in"]) == (0.5, {"team": "ö"}, None)
    assert "request" not in rows[0]
    assert uvloop.run(main(True))[0]["request"] == '{"secret":"talk"}'


def test_rows_are_posted_with_the_headers_of_the_settings(tmp_path: Path) -> None:
    async def main(got: Sink) -> None:
        pool = HttpPool()
        push = pushing(tmp_path, pool, got.url, logpush_headers=("Authorization=Bearer of-the-sink",))
        push.start()
        push.take(record(1))
        await told(lambda: got.rows)
        await push.close()
        await pool.aclose()
        assert got.headers[0]["authorization"] == "Bearer of-the-sink"
        assert got.headers[0]["content-type"] == "application/x-ndjson"
        assert got.headers[0]["path"] == "/ingest?source=gateway"

    with sink() as got:
        uvloop.run(main(got))


def test_a_destination_that_is_away_gets_every_row_when_it_is_back_even_after_a_restart(tmp_path: Path) -> None:
    async def main(got: Sink) -> None:
        pool = HttpPool()
        got.status = 503
        push = pushing(tmp_path, pool, got.url)
        push.start()
        for number in range(5):
            push.take(record(number))
        await told(lambda: got.refused >= 2)
        await push.close()
        assert not got.rows
        again = pushing(tmp_path, pool, got.url)
        again.start()
        again.take(record(5))
        refused = got.refused
        await told(lambda: got.refused > refused)
        got.status = 200
        await told(lambda: len(got.rows) >= 6)
        await again.close()
        await pool.aclose()
        assert sorted(row["id"] for row in got.rows) == [f"log-{number}" for number in range(6)]

    with sink() as got:
        uvloop.run(main(got))


def test_what_waits_for_a_destination_is_bounded_and_what_is_given_up_is_counted(tmp_path: Path) -> None:
    async def main() -> None:
        pool = HttpPool()
        push = pushing(tmp_path, pool, "http://127.0.0.1:1/nobody", logpush_limit=8, logpush_payloads=True)
        for number in range(40):
            push.take(record(number, request=bytes(1 << 20)))
        assert push.journal.stats().dropped >= 30
        assert push.journal.stats().bytes <= 8 << 20
        push.start()
        await push.close()
        await pool.aclose()

    uvloop.run(main())


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "file://other/x", "file:///", "https://user:hunter2@host/x", "nonsense", "file:relative"],
)
def test_a_destination_that_is_none_is_refused_and_shown_to_nobody(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="logpush_url") as refused:
        Logpush.of(Settings(data_dir=tmp_path, logpush_url=url), HttpPool())
    assert "hunter2" not in str(refused.value)
