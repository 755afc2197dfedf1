"""``trunkline doctor``: each fault is made for real, found, and told without a secret."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.commands import Done, command
from tests.databases import Postgres
from tests.running import data_directory, gateway, program, run
from tests.valkeys import PASSWORD, ValkeyServer, valkey_server
from trunkline.cli.doctor import configuration, examination, machine
from trunkline.local import models
from trunkline.store import Journal

SECRET = "sk-never-shown-0123456789abcdef"


@pytest.fixture
def data() -> Iterator[Path]:
    with data_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        server.client().config_set("maxmemory", "64mb")
        server.client().config_set("maxmemory-policy", "volatile-lru")
        yield server


class Findings:
    """What a run found, by check."""

    def __init__(self, done: Done) -> None:
        document = json.loads(done.stdout)
        self.returncode = done.returncode
        self.all: list[dict[str, str]] = document["findings"]
        faults = sum(one["level"] == "fault" for one in self.all)
        assert (document["fault"], self.returncode) == (faults, 1 if faults else 0)
        for one in self.all:
            assert one["seen"]
            assert bool(one["advice"]) == (one["level"] != "ok"), one

    def of(self, check: str, level: str | None = None) -> str:
        """The sentences of one check, or of those of one level."""
        found = [one for one in self.all if one["check"] == check and level in (None, one["level"])]
        return "\n".join(f"{one['level']}: {one['seen']} {one['advice']}" for one in found)

    def faults(self) -> set[str]:
        return {one["check"] for one in self.all if one["level"] == "fault"}


def examined(data: Path | str, *arguments: str, **environment: str) -> Findings:
    """Run it as JSON. ``environment`` are settings by name; the port is free unless one is given."""
    variables = {"TRUNKLINE_PORT": "0", **{f"TRUNKLINE_{name.upper()}": value for name, value in environment.items()}}
    return Findings(
        command(
            "doctor",
            "--json",
            "--data-dir",
            str(data),
            *arguments,
            environment=variables,
            directory=Path("/"),
        )
    )


# The command


def test_a_good_set_up_has_no_fault_and_every_check_says_what_it_saw(data: Path) -> None:
    found = examined(data)
    assert not found.faults(), found.all
    assert found.returncode == 0
    assert list(dict.fromkeys(one["check"] for one in found.all)) == [name for name, _ in examination.CHECKS]
    assert "sound, and up to date" in found.of("database")


def test_every_check_has_its_line_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text("utf-8")
    assert re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE) == [name for name, _ in examination.CHECKS]


def test_for_people_it_is_a_table_with_advice_and_a_count(data: Path) -> None:
    (data / "master.key").write_text("0" * 64)
    (data / "master.key").chmod(0o644)
    done = command("doctor", "--data-dir", str(data), environment={"TRUNKLINE_PORT": "0"}, directory=data)
    assert done.returncode == 1
    assert "fault" in done.stdout
    assert f"-> chmod 600 {data / 'master.key'}" in done.stdout
    assert done.stderr.startswith("1 fault, ")


def test_nothing_is_changed_by_a_look(tmp_path: Path, data: Path) -> None:
    with closing(sqlite3.connect(data / "trunkline.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    before = {path: path.read_bytes() for path in data.iterdir() if path.is_file()}
    examined(data)
    assert {path: path.read_bytes() for path in data.iterdir() if path.is_file()} == before
    absent = tmp_path / "new"
    found = examined(absent)
    assert not absent.exists()
    assert not found.faults()
    assert "`serve` makes it" in found.of("data directory") + found.of("database") + found.of("master key")


def test_a_check_that_fails_itself_is_told_without_its_words_and_the_others_go_on(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(examination, "CHECKS", (("broken", broken), *examination.CHECKS[-2:]))
    found = examined(data)
    assert "The check itself failed: RuntimeError at test_doctor.py:" in found.of("broken", "fault")
    assert found.of("providers")
    assert SECRET not in str(found.all)


def test_no_secret_is_shown_whatever_is_wrong(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "trunkline.toml"
    config.write_text(
        f'oidc_secret = "{SECRET}-1"\nmaster_key = "{SECRET}-2"\n[otel]\nheaders = ["authorization={SECRET}-3"]\n'
        f'[providers.openai]\napi_key = "{SECRET}-4\\n"\n[providers.custom-x]\nbase_url = "https://u:{SECRET}@x.invalid"\n'
    )
    variables = {
        "TRUNKLINE_PORT": "-1",
        "TRUNKLINE_GATEWAY_TOKEN": f"{SECRET} 5",
        "TRUNKLINE_DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/x",
        "TRUNKLINE_VALKEY_URL": f"valkey://:{SECRET}@127.0.0.1:1/0",
        "TRUNKLINE_OIDC__CLIENT_SECRET": SECRET,
        "TRUNKLINE_PROVIDERS__GROQ__API_KEY": SECRET,
    }
    for form in ((), ("--json",)):
        done = command("doctor", *form, "--config", str(config), "--data-dir", str(data), environment=variables)
        assert done.returncode == 1
        assert "sk-never" not in done.stdout + done.stderr
        assert "itself failed" not in done.stdout


# Settings


def test_all_that_is_wrong_with_the_settings_is_told_at_once(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "trunkline.toml"
    config.write_text('prot = 1\nlog_level = "loud"\n[journal]\nlimt = 5\n')
    said = examined(
        data, "--config", str(config), host="0.0.0.0", gatway_token="x", oidc_issuer="https://x.example"
    ).of("settings", "fault")
    for part in (
        "unknown setting prot; did you mean port?",
        "unknown setting journal.limt; did you mean journal.limit?",
        "log_level in",
        "Unknown variable TRUNKLINE_GATWAY_TOKEN; did you mean TRUNKLINE_GATEWAY_TOKEN?",
        "Refusing to listen on 0.0.0.0 without authentication",
        "oidc_issuer needs oidc_client_id",
    ):
        assert part in said


@pytest.mark.parametrize("text", [None, "port = ", 'port = "\xff"'])
def test_a_settings_file_that_cannot_be_read_is_a_fault_and_the_rest_is_looked_at(
    data: Path, tmp_path: Path, text: str | None
) -> None:
    config = tmp_path / "trunkline.toml"
    if text is not None:
        config.write_bytes(text.encode("latin-1"))
    found = examined(data, "--config", str(config))
    assert str(config) in found.of("settings", "fault")
    assert "sound" in found.of("database")


def test_settings_that_do_nothing_are_told(data: Path) -> None:
    said = examined(
        data, oidc_client_id="x", otel_service_name="x", logpush_limit="9", limits_fail="closed", tls_key="/x.key"
    ).of("settings", "warning")
    for part in (
        "oidc_client_id is set and does nothing without oidc_issuer",
        "otel_service_name is set and does nothing without otel_endpoint",
        "logpush_limit is set and does nothing without logpush_url",
        "limits_fail is set and does nothing without valkey_url",
        "tls_key is set, and tls is 'off'",
    ):
        assert part in said


def test_roles_prices_and_destinations_that_lead_nowhere_are_told(data: Path, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text("{}")
    issuer = {"oidc_issuer": "https://login.example", "oidc_client_id": "x"}
    found = examined(
        data, prices_file=str(tmp_path / "prices.json"), logpush_url=f"file://{tmp_path}/none/rows.ndjson", **issuer
    )
    said = found.of("settings", "fault")
    assert "Single sign-on lets nobody in" in said
    assert "prices_file" in said
    assert "which is no folder" in said
    assert "makes nobody an admin" in examined(data, oidc_viewer="staff", **issuer).of("settings", "warning")


def test_a_missing_package_is_a_fault_where_the_settings_need_it(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = configuration._is_installed
    monkeypatch.setattr(configuration, "_is_installed", lambda name: name not in ("redis", "pyarrow") and there(name))
    assert "not needed: parquet, valkey" in examined(data).of("packages", "ok")
    said = examined(data, valkey_url="valkey://127.0.0.1:1/0").of("packages", "fault")
    assert "missing: redis" in said
    assert "pip install 'trunkline[valkey]'" in said


# The machine and its disk


def test_too_few_open_files_are_told(data: Path) -> None:
    assert "one provider alone can take up" in examined(data, max_connections="10000000").of("open files", "warning")


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.0, "ok"), (-2.0, "ok"), (2.1, "warning"), (-59.0, "warning"), (61.0, "fault")]
)
def test_clocks_that_differ_are_judged_by_how_much(seconds: float, level: str) -> None:
    assert machine.drift(seconds) == level


def test_a_data_directory_that_cannot_be_is_a_fault() -> None:
    assert "/dev/null is no folder" in examined("/dev/null/data").of("data directory", "fault")


def test_a_data_directory_of_somebody_else_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    if os.geteuid() == 0:
        os.chown(directory, pwd.getpwnam("nobody").pw_uid, -1)
        assert "belongs to nobody, and this is run by root" in examined(directory).of("data directory", "warning")
    else:
        directory.chmod(0o500)
        assert "cannot be read and written" in examined(directory).of("data directory", "fault")


def test_secret_files_that_others_can_read_are_faults(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "trunkline.toml"
    config.write_text(f'[providers.openai]\napi_key = "{SECRET}"\n')
    (data / "tls").mkdir()
    for path in (data / "master.key", data / "tls" / "authority.key", data / "trunkline.db", config):
        path.touch()
        path.chmod(0o640)
    found = examined(data, "--config", str(config))
    said = found.of("secret files", "fault")
    for path in (data / "master.key", data / "tls" / "authority.key", config):
        assert f"{path}, which holds keys (mode 640)" in said
    assert str(data / "trunkline.db") in found.of("secret files", "warning")
    config.write_text('[providers.openai]\napi_key = "env:HOME"\n')
    assert str(config) not in examined(data, "--config", str(config)).of("secret files")


def test_a_disk_that_is_too_small_for_what_is_kept_is_told(data: Path) -> None:
    said = examined(data, journal_limit=str(10**9)).of("disk", "warning")
    assert "journal_limit and cache_disk allow" in said


# What is kept


@pytest.mark.parametrize("version", ["0003", "9999", None])
def test_tables_of_another_version_are_told(data: Path, version: str | None) -> None:
    with closing(sqlite3.connect(data / "trunkline.db")) as connection, connection:
        if version is None:
            connection.execute("DROP TABLE alembic_version")
        else:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    found = examined(data)
    said = {
        "0003": ("warning", "are of an older Trunkline (0003, not"),
        "9999": ("fault", "are of a newer Trunkline (9999; this one knows"),
        None: ("warning", "are not there yet"),
    }[version]
    assert said[1] in found.of("database", said[0])


def test_a_file_that_is_no_database_is_a_fault(data: Path) -> None:
    (data / "trunkline.db").write_text("this is no database, and long enough to be looked at as one" * 40)
    found = examined(data)
    assert "cannot be used: file is not a database" in found.of("database", "fault")
    assert found.faults() == {"database"}


def test_a_damaged_database_is_a_fault(data: Path) -> None:
    command("keys", "create", "phone", "--data-dir", str(data))
    with closing(sqlite3.connect(data / "trunkline.db")) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'log_payloads'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (data / "trunkline.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size))
    found = examined(data)
    assert "is damaged: " in found.of("database", "fault")
    assert "restore a backup" in found.of("database", "fault")


def test_a_postgresql_server_is_looked_at_and_its_clock(postgres: Postgres, data: Path) -> None:
    url = postgres.fresh()
    found = examined(data, database_url=url)
    assert "PostgreSQL 1" in found.of("database", "ok")
    assert f"database {url.rpartition('/')[2]}" in found.of("clock", "ok")
    assert found.returncode == 0
    postgres.drop(url)


def test_rights_that_are_missing_in_postgresql_are_faults(postgres: Postgres, data: Path) -> None:
    url = postgres.fresh()
    name = url.rpartition("/")[2]
    postgres.execute("DROP ROLE IF EXISTS guest")
    postgres.execute("CREATE ROLE guest LOGIN PASSWORD 'guest-password'")
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest; GRANT DELETE ON logs TO guest", name)
    guest = f"postgresql://guest:guest-password@127.0.0.1:{postgres.port}/{name}"
    said = examined(data, database_url=guest).of("database", "fault")
    assert "may not make tables in its schema" in said
    assert "may not read and write the tables" in said
    assert "gateway_keys" in said
    postgres.drop(url)


def test_a_postgresql_server_that_is_away_is_a_fault(postgres: Postgres, data: Path) -> None:
    url = postgres.fresh()
    postgres.stop()
    try:
        found = examined(data, database_url=url)
    finally:
        postgres.start()
    assert f"PostgreSQL at 127.0.0.1:{postgres.port}" in found.of("database", "fault")
    assert found.faults() == {"database"}
    postgres.drop(url)


def store_a_key(data: Path) -> None:
    done = command("vault", "set", "openai", "--data-dir", str(data), given=SECRET)
    assert done.returncode == 0, done.stderr


def test_the_master_key_opens_what_is_stored(data: Path) -> None:
    store_a_key(data)
    found = examined(data)
    assert "opens all 1 stored values" in found.of("master key", "ok")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), "this database was used with one: 1 stored values cannot be opened"),
        (lambda path: path.write_text("1" * 64), "is not the one with which"),
        (lambda path: path.write_text("short"), "is not a master key"),
    ],
)
def test_a_master_key_that_does_not_fit_is_a_fault(data: Path, change: Any, said: str) -> None:
    store_a_key(data)
    change(data / "master.key")
    assert said in examined(data).of("master key", "fault")


def test_a_stored_value_that_was_moved_does_not_open(data: Path) -> None:
    store_a_key(data)
    with closing(sqlite3.connect(data / "trunkline.db")) as connection, connection:
        connection.execute("UPDATE stored_keys SET provider = 'groq'")
    assert examined(data).of("master key", "fault")


def test_the_journal_is_looked_through_and_left_as_it_is(data: Path) -> None:
    journal = Journal.open(data / "journal")
    for number in range(3):
        assert journal.append(b"record %d " % number * 20)
    journal.close()
    assert "3 records in 1 files wait for the database" in examined(data).of("journal", "ok")
    segment = next((data / "journal").glob("*.segment"))
    raw = bytearray(segment.read_bytes())
    raw[40] ^= 255  # within the first record
    segment.write_bytes(raw)
    (data / "journal" / "old.corrupt").write_bytes(b"x")
    (data / "journal" / "old.rejected").write_bytes(b"x")
    said = examined(data).of("journal", "warning")
    assert f"{segment} is damaged in places" in said
    assert "1 files were put away as damaged" in said
    assert "1 files hold records that the database would not have" in said
    assert segment.read_bytes() == raw


def test_a_journal_near_its_limit_is_told(data: Path) -> None:
    journal = Journal.open(data / "journal")
    assert journal.append(bytes(900_000))
    journal.close()
    assert "of the 1 MiB that it may" in examined(data, journal_limit="1").of("journal", "warning")


# Valkey


def test_a_valkey_server_is_looked_at_and_its_clock(valkey: ValkeyServer, data: Path) -> None:
    found = examined(data, valkey_url=valkey.url)
    assert "maxmemory 67.1 MB, volatile-lru" in found.of("valkey", "ok")
    assert f"Valkey at 127.0.0.1:{valkey.port}" in found.of("clock", "ok")


@pytest.mark.parametrize(
    ("setting", "bad", "good", "said"),
    [
        ("maxmemory", "0", "64mb", "has no maxmemory"),
        ("maxmemory-policy", "noeviction", "volatile-lru", "has the policy noeviction"),
    ],
)
def test_a_valkey_server_that_cannot_keep_what_it_is_given_is_told(
    valkey: ValkeyServer, data: Path, setting: str, bad: str, good: str, said: str
) -> None:
    valkey.client().config_set(setting, bad)
    try:
        assert said in examined(data, valkey_url=valkey.url).of("valkey", "warning")
    finally:
        valkey.client().config_set(setting, good)


def test_a_valkey_server_that_threw_out_keys_or_is_a_replica_is_told(valkey: ValkeyServer, data: Path) -> None:
    client = valkey.client()
    client.config_set("maxmemory", "3mb")
    for number in range(40):
        client.set(f"old-{number}", bytes(100_000), ex=100)
    client.config_set("maxmemory", "64mb")
    client.replicaof("127.0.0.1", 1)
    try:
        found = examined(data, valkey_url=valkey.url)
    finally:
        client.replicaof("NO", "ONE")
        client.config_resetstat()
        client.flushall()
    assert "keys for want of room" in found.of("valkey", "warning")
    assert "is a replica, and takes no writes" in found.of("valkey", "fault")


def test_a_valkey_server_that_is_away_or_refuses_is_a_fault(valkey: ValkeyServer, data: Path) -> None:
    wrong = examined(data, valkey_url=valkey.url.replace(PASSWORD, SECRET))
    assert "cannot be used: invalid username-password pair" in wrong.of("valkey", "fault")
    valkey.stop()
    try:
        assert "cannot be used" in examined(data, valkey_url=valkey.url).of("valkey", "fault")
    finally:
        valkey.start()
    assert "expected valkey://" in examined(data, valkey_url="mysql://x").of("valkey", "fault")


# Where it listens


def test_a_port_that_another_program_has_is_a_fault(data: Path) -> None:
    with listener(None) as (port, came):
        found = examined(data, port=str(port), gateway_token=SECRET)
    assert "is in use" in found.of("address", "fault")
    assert b"GET /readyz" in came[0]
    assert SECRET.encode() not in came[0], "a stranger is shown no token"
    assert "is no address of this machine" in examined(data, host="nowhere.invalid").of("address", "fault")


def test_a_trunkline_that_runs_there_is_told_with_its_version_and_health(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with gateway(data_dir=data) as address:
            port = str(address.port)
            found = await asyncio.to_thread(examined, data, port=port)
            assert "runs at 127.0.0.1:" in found.of("address", "ok")
            assert "and is well" in found.of("address", "ok")
            monkeypatch.setattr("trunkline.cli.doctor.listening.trunkline.__version__", "99.0")
            # What runs in this process would say the same number of itself.
            monkeypatch.setattr("trunkline.cli.doctor.listening._version_of", lambda gateway: "1.0")
            found = await asyncio.to_thread(examined, data, port=port)
            assert "Trunkline 1.0 runs at" in found.of("address", "warning")

    run(main())


def test_a_trunkline_whose_database_is_away_is_a_fault(postgres: Postgres, data: Path) -> None:
    url = postgres.fresh()

    environment = {"TRUNKLINE_DATABASE_URL": url}
    with program("serve", "--port", "0", "--data-dir", str(data), environment=environment) as running:
        postgres.stop()
        try:
            found = examined(data, port=str(running.address.port), database_url=url)
        finally:
            postgres.start()
    assert "its database does not answer" in found.of("address", "fault")
    postgres.drop(url)


@contextmanager
def pair(folder: Path, *names: str, days: float = 90) -> Iterator[dict[str, str]]:
    """A certificate and its key, as settings."""
    leaf = trustme.CA().issue_cert(*names, not_after=datetime.now(UTC) + timedelta(days=days))
    certificate, key = folder / "chain.pem", folder / "key.pem"
    leaf.private_key_pem.write_to_path(key)
    leaf.cert_chain_pems[0].write_to_path(certificate)
    key.chmod(0o600)
    yield {"tls": "files", "tls_certificate": str(certificate), "tls_key": str(key)}


def test_a_certificate_is_judged_by_its_end_and_its_names(data: Path, tmp_path: Path) -> None:
    with pair(tmp_path, "gateway.example") as files:
        assert "is valid until" in examined(data, public_url="https://gateway.example", **files).of("tls", "ok")
        said = examined(data, public_url="https://other.example", **files).of("tls", "warning")
        assert "is not for other.example, but for gateway.example" in said
    with pair(tmp_path, "*.example", days=2) as files:
        assert "ends on" in examined(data, public_url="https://gateway.example", **files).of("tls", "warning")
        assert "is not for" not in examined(data, public_url="https://gateway.example", **files).of("tls")
    with pair(tmp_path, "gateway.example", days=-1) as files:
        assert "and not now" in examined(data, **files).of("tls", "fault")


def test_a_key_that_does_not_fit_or_is_not_there_is_a_fault(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pair(tmp_path, "a.example") as files, pair(other, "a.example") as others:
        assert "do not fit each other" in examined(data, **{**files, "tls_key": others["tls_key"]}).of("tls", "fault")
        Path(files["tls_key"]).write_text("no key")
        assert "are no certificate and key in PEM" in examined(data, **files).of("tls", "fault")
        Path(files["tls_key"]).unlink()
        assert "cannot be read: No such file" in examined(data, **files).of("tls", "fault")
    assert "needs tls_certificate" in examined(data, tls="files").of("tls", "fault")


def test_an_authority_of_its_own_is_looked_at(data: Path) -> None:
    assert "`serve` makes an authority" in examined(data, tls="local").of("tls", "ok")

    async def main() -> None:
        async with gateway(data_dir=data, tls="local"):
            pass

    run(main())
    assert "is valid until" in examined(data, tls="local").of("tls", "ok")


def test_an_installation_without_the_console_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.server.console.files", lambda package: data)
    assert "built without the console" in examined(data).of("console", "warning")


# Who gets in


def test_a_gateway_that_strangers_reach_has_to_ask_who_they_are(data: Path) -> None:
    published = {"public_url": "https://gateway.example", "allowed_hosts": "gateway.example"}
    assert "from this machine alone" in examined(data).of("access", "ok")
    assert "whoever reaches it can spend its keys" in examined(data, **published).of("access", "fault")
    token = {"gateway_token": "t" * 24}
    assert "has no accounts" in examined(data, **published, **token).of("access", "warning")
    assert "has no accounts" in examined(data, host="0.0.0.0", **token).of("access", "warning")
    command("users", "add", "ada", "--role", "admin", "--data-dir", str(data), given="correct horse battery 9\n" * 2)
    assert "callers need no key for models" in examined(data, **published).of("access", "warning")
    command("gateways", "set", "default", "--authenticated", "--data-dir", str(data))
    assert "callers show a key; 1 accounts" in examined(data, **published).of("access", "ok")


def test_addresses_that_do_not_fit_each_other_are_told(data: Path) -> None:
    refused = examined(data, public_url="https://gateway.example").of("public address", "fault")
    assert "is not known by the name gateway.example" in refused
    found = examined(
        data, allowed_hosts="https://a.example,b.example:8080", allowed_origins="a.example,https://b.example/path"
    )
    said = found.of("public address", "fault")
    assert said.count("which fits no request") == 2
    assert said.count("which no browser sends") == 2
    plain = examined(data, host="0.0.0.0", gateway_token="t" * 24).of("public address", "warning")
    assert "keys can be read on the way" in plain
    mixed = examined(data, tls="local", public_url="http://127.0.0.1:8787").of("public address", "warning")
    assert "the listener speaks TLS" in mixed


# Whom it asks


def test_models_that_are_not_there_or_cut_short_are_told(tmp_path: Path) -> None:
    assert "The local provider answers nothing" in examined(tmp_path).of("local models", "warning")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / models.FILES[0].name).write_bytes(b"cut short")
    assert "Missing in" in examined(tmp_path).of("local models", "fault")


def test_a_model_of_the_users_own_has_to_be_there(data: Path) -> None:
    assert "There is no file /nowhere.gguf" in examined(data, local_model="/nowhere.gguf").of("local models", "fault")


def provider(url: str) -> dict[str, str]:
    return {"providers__custom_mine__base_url": url, "providers__custom_mine__api_key": SECRET}


@pytest.mark.parametrize("url", ["http://models.example/v1", "https://models.example/v1?key=1", "ftp://x"])
def test_an_address_that_cannot_be_used_is_a_fault(data: Path, url: str) -> None:
    assert "base_url" in examined(data, **provider(url)).of("providers", "fault") or url.startswith("http:")
    assert examined(data, **provider(url)).of("providers", "fault")


def test_a_provider_whose_host_has_no_address_is_a_fault(data: Path) -> None:
    found = examined(data, **provider("https://models.invalid/v1"))
    assert "custom-mine (key in the settings): models.invalid cannot be reached" in found.of("providers", "fault")


def test_providers_with_keys_in_the_vault_and_added_ones_are_looked_at(data: Path) -> None:
    command(
        "vault",
        "set",
        "custom-mine",
        "--data-dir",
        str(data),
        given=SECRET,
        environment={"TRUNKLINE_PROVIDERS__CUSTOM_MINE__BASE_URL": "http://127.0.0.1:9/v1"},
    )
    command(
        "providers",
        "add",
        "house",
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--data-dir",
        str(data),
        environment={"TRUNKLINE_CUSTOM_PROVIDER_HOSTS": "127.0.0.1"},
    )
    found = examined(data, custom_provider_hosts="127.0.0.1", providers__custom_mine__base_url="http://127.0.0.1:9/v1")
    said = found.of("providers", "ok")
    assert "custom-mine (key in the vault of gateway default): 127.0.0.1:9 has an address." in said
    assert "custom-house (without a key)" in said
    assert "custom-house: keys would be readable on the way to 127.0.0.1" in examined(data).of("providers", "fault")


@contextmanager
def listener(context: ssl.SSLContext | None) -> Iterator[tuple[int, list[bytes]]]:
    """A server on loopback that takes what comes; yields its port and, afterwards, what came."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    secured = context.wrap_socket(connection, server_side=True) if context else connection
                    came.append(secured.recv(1000))
                except OSError:
                    came.append(b"")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], came
        thread.join(10)


def test_online_connects_and_sends_neither_a_key_nor_a_request(data: Path) -> None:
    with listener(None) as (port, came):
        found = examined(data, "--online", **provider(f"http://127.0.0.1:{port}/v1"))
    assert "took a connection in" in found.of("providers", "ok")
    assert came == [b""]


def test_online_tells_a_certificate_that_is_not_trusted_and_a_host_that_refuses(data: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with listener(context) as (port, _):
        found = examined(data, "--online", **provider(f"https://127.0.0.1:{port}/v1"))
    assert "showed a certificate that is not trusted" in found.of("providers", "fault")
    said = examined(data, "--online", **provider(f"https://127.0.0.1:{port}/v1")).of("providers", "fault")
    assert "refused the connection" in said
