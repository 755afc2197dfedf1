"""A gateway with its database on either engine: keys, a chat, its log row, a realtime session, a change by another."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.clients.ga_upstream import ga_upstream
from tests.commands import command
from tests.contract.administration import administration, new_key
from tests.contract.conftest import STRICT_KEY
from tests.contract.test_gateway_keys import eventually
from tests.contract.test_governed_sessions import dial, turn
from tests.contract.test_resumption import KEY
from tests.databases import PASSWORD, everything
from tests.running import Address, data_directory, gateway, run
from trunkline.store import Database, RealtimeSessions, SessionFilter, StoredSession
from trunkline.store.log_filter import LogFilter
from trunkline.store.logs import LogRow, Logs

CHAT = {"model": "local", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}


async def kept(url: str) -> tuple[list[LogRow], list[StoredSession]]:
    database = await Database.open(Path("unused"), url)
    try:
        sessions = RealtimeSessions(database)
        found = [await sessions.get(one.id) for one in await sessions.list(SessionFilter(), 10)]
        return await Logs(database).list(LogFilter(), limit=1000), [one for one in found if one is not None]
    finally:
        await database.close()


def test_a_gateway_keeps_all_that_it_keeps_in_the_database_of_the_setting(
    strict_upstream: Address, database_url: str
) -> None:
    async def main() -> None:
        with data_directory(has_database=False) as data:
            async with (
                ga_upstream(key=KEY) as realtime,
                administration(data, url=database_url) as admin,
                gateway(
                    data_dir=data,
                    database_url=database_url,
                    providers={
                        "groq": {"base_url": f"{strict_upstream.http}/v1"},
                        "openai": {"base_url": realtime.http, "api_key": KEY},
                    },
                ) as address,
                httpx.AsyncClient(base_url=address.http) as client,
            ):
                await admin.change_gateway("default", authenticated=True)
                await admin.store_key("default", "groq", "default", STRICT_KEY, "cdef")
                key, key_id = await new_key(admin)
                header = {"cf-aig-authorization": f"Bearer {key}"}

                async def chat() -> int:
                    answer = await client.post(address.path("groq/chat/completions"), json=CHAT, headers=header)
                    return answer.status_code

                async def is_known() -> bool:
                    return await chat() == 200

                async def is_refused() -> bool:
                    return await chat() == 401

                await eventually(is_known)
                async with dial(address, key) as socket:
                    await turn(socket)
                await admin.revoke_key(key_id)
                await eventually(is_refused)

                async def is_kept() -> bool:
                    rows, sessions = await kept(database_url)
                    return any(one.ended_at for one in sessions) and any(row.status == 200 for row in rows)

                await eventually(is_kept)
            rows, sessions = await kept(database_url)
            assert {(row.provider, row.key_id) for row in rows if row.status == 200} == {("groq", key_id)}
            (session,) = sessions
            assert session.key_id == key_id
            assert (len(session.report.turns), session.report.tokens.total > 0) == (1, True)
            written = await everything(database_url)
            assert not [secret for secret in (key, KEY, STRICT_KEY) if secret in written]
            assert not (data / "trunkline.db").exists()

    run(main())


def test_the_password_of_the_database_is_shown_nowhere() -> None:
    url = f"postgresql://app:{PASSWORD}@127.0.0.1:9/gate"
    shown = command("settings", environment={"TRUNKLINE_DATABASE_URL": url})
    assert "database_url = set, not shown" in shown.stdout
    assert PASSWORD not in shown.stdout + shown.stderr
