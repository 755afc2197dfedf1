"""Accounts: the first one by its link, signing in and out, roles, and what refuses everybody else."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from pathlib import Path

import httpx
import pytest

from tests.contract.administration import administration, new_key
from tests.contract.people import CONSOLE, PASSWORD, add, browser
from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import Recorder, openai_at
from tests.contract.test_gateway_keys import dial
from tests.contract.test_voiceplane import echo, refusal_of, upstream_of
from tests.contract.waiting import until
from tests.running import data_directory, gateway, run
from trunkline.errors import SettingsError
from trunkline.policy.registry import Scope
from trunkline.policy.roles import Role
from trunkline.server.control import create_api
from trunkline.server.gateway import Gateway
from trunkline.settings import Settings
from trunkline.store import Database, Users

MODELS = "/v1/local/default/openai/models"
TOKEN = "gateway-token-of-many-characters"
OTHER_PASSWORD = "eleven blue elephants dancing"


def link_in(output: str) -> str:
    found = re.search(r"/login#(\S+)", output)
    assert found, output
    return found[1]


async def may_run(page: httpx.AsyncClient) -> bool:
    """Whether the data plane lets a browser through to a provider, for which it then finds no key."""
    answer: dict[str, dict[str, str]] = (await page.get(MODELS)).json()
    return answer["error"]["code"] == "no_provider_key"


def test_the_first_account_is_made_by_the_printed_link_and_then_everybody_signs_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            async with gateway(data_dir=data_dir) as address, browser(address) as page, browser(address) as other:
                token = link_in(capsys.readouterr().err)
                assert (await other.get("/api/gateways")).status_code == 200
                before = (await page.get("/api/account")).json()
                assert (before["user"], before["sign_in_required"]) == (None, False)
                looked = await page.post("/api/account/link", json={"token": token})
                assert looked.json() == {"purpose": "first-admin", "name": None}
                weak = await page.post("/api/account/redeem", json={"token": token, "name": "Ada", "password": "short"})
                assert weak.status_code == 400
                wanted = {"token": token, "name": "Ada", "password": PASSWORD}
                made = await page.post("/api/account/redeem", json=wanted)
                assert (made.status_code, made.json()["user"]["role"]) == (200, "admin")
                cookie = made.headers["set-cookie"]
                assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
                again = await other.post("/api/account/redeem", json={**wanted, "name": "Eve"})
                assert (again.status_code, again.json()["error"]["code"]) == (401, "sign_in_refused")

                for path in ("/api/config", "/api/session", "/api/gateways", "/api/nowhere", "/metrics"):
                    refused = await other.get(path)
                    assert refused.status_code == 401, path
                assert (await other.get("/api/config")).json()["error"]["code"] == "sign_in_required"
                assert (await other.get("/api/account")).json()["sign_in_required"] is True
                assert (await page.get("/api/config")).status_code == 200
                assert (await other.get("/login", headers={"accept": "text/html"})).status_code == 200
                # The data plane of an open gateway stays as it is.
                assert await may_run(other)
            capsys.readouterr()
            async with gateway(data_dir=data_dir) as address:
                assert "/login#" not in capsys.readouterr().err
                signed_in = dict(page.cookies)
                async with browser(address) as page_after_restart:
                    page_after_restart.cookies.update(signed_in)
                    assert (await page_after_restart.get("/api/account")).json()["user"]["name"] == "Ada"
            kept = (data_dir / "trunkline.db").read_bytes() + b"".join(p.read_bytes() for p in data_dir.glob("*.db-*"))
            for secret in (token, PASSWORD, *signed_in.values()):
                assert secret.encode() not in kept

    run(main())


def test_wrong_names_wrong_passwords_and_disabled_accounts_are_refused_alike() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "Ada")
            gone = await add(data_dir, "Gone")
            async with (
                gateway(data_dir=data_dir) as address,
                browser(address, "ada") as page,
                browser(address) as other,
            ):
                assert (await page.patch(f"/api/users/{gone.id}", json={"disabled": True})).status_code == 200
                answers = [
                    await other.post("/api/account/sign-in", json={"name": name, "password": password})
                    for name, password in (("ada", "wrong password"), ("nobody", PASSWORD), ("gone", PASSWORD))
                ]
                assert {answer.status_code for answer in answers} == {401}
                assert len({answer.text for answer in answers}) == 1
                assert not [answer for answer in answers if "set-cookie" in answer.headers]

    run(main())


def test_guessing_is_slowed_down_for_known_and_unknown_names_alike() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with gateway(data_dir=data_dir) as address, browser(address) as page:
                for name in ("ada", "nobody"):
                    wrong = {"name": name, "password": "wrong password"}
                    codes = [(await page.post("/api/account/sign-in", json=wrong)).status_code for _ in range(5)]
                    assert codes == [401] * 5
                    # Each wait is twice the last, so that sooner or later it is longer than this machine takes to look.
                    for _ in range(15):
                        if (await page.post("/api/account/sign-in", json=wrong)).status_code == 429:
                            break
                    right = await page.post("/api/account/sign-in", json={"name": name, "password": PASSWORD})
                    assert right.status_code == 429
                    assert int(right.headers["retry-after"]) >= 1

    run(main())


def test_strangers_who_guess_keep_nobody_out_of_a_browser_that_was_signed_in() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with gateway(data_dir=data_dir) as address, browser(address, "ada") as owner:
                wrong = {"name": "ada", "password": "wrong password"}
                right = {"name": "ada", "password": PASSWORD}
                assert (await owner.post("/api/account/sign-out")).status_code == 200
                async with browser(address) as stranger:  # behind the same proxy: the address is the same
                    while (await stranger.post("/api/account/sign-in", json=wrong)).status_code != 429:
                        pass
                    stranger.cookies.set("trunkline_known_browser", "bm90aGluZw", domain="127.0.0.1", path="/")
                    assert (await stranger.post("/api/account/sign-in", json=right)).status_code == 429
                assert (await owner.post("/api/account/sign-in", json=right)).status_code == 200
                assert (await owner.post("/api/account/sign-out")).status_code == 200
                # It is known for one name, and slowed down as any other where it guesses.
                assert (await owner.post("/api/account/sign-in", json={**wrong, "name": "grace"})).status_code == 401
                while (await owner.post("/api/account/sign-in", json=wrong)).status_code != 429:
                    pass

    run(main())


def test_another_role_ends_what_was_opened_in_the_one_before() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            grace = await add(data_dir, "grace", Role.VIEWER)
            async with (
                gateway(data_dir=data_dir) as address,
                browser(address, "ada") as admin,
                browser(address, "grace") as page,
            ):
                change = {"role": "viewer"}
                assert (await admin.patch(f"/api/users/{grace.id}", json=change)).status_code == 200
                assert (await page.get("/api/gateways")).status_code == 200  # nothing changed
                before = page.cookies["trunkline_sign_in"]
                change = {"role": "admin"}
                assert (await admin.patch(f"/api/users/{grace.id}", json=change)).status_code == 200
                assert (await page.get("/api/gateways")).status_code == 401
                async with browser(address, "grace") as again:
                    assert (await again.get("/api/users")).status_code == 200
                    assert again.cookies["trunkline_sign_in"] != before

    run(main())


def test_a_sign_in_gives_a_new_cookie_and_forgets_what_was_typed_before() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with gateway(data_dir=data_dir) as address, browser(address) as page:
                planted = "x" * 43
                page.cookies.set("trunkline_sign_in", planted, domain="127.0.0.1", path="/")
                answer = await page.post("/api/account/sign-in", json={"name": "ada", "password": PASSWORD})
                first = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
                assert first not in ("", planted)
                page.cookies.clear()
                page.cookies.set("trunkline_sign_in", first, domain="127.0.0.1", path="/")
                typed = await page.put("/api/session", json={"provider": "openai", "provider_key": "sk-typed-0123"})
                assert typed.status_code == 200
                second = await page.post("/api/account/sign-in", json={"name": "ada", "password": PASSWORD})
                assert second.status_code == 200
                assert (await page.get("/api/session")).json()["provider_keys"] == {}
                async with browser(address) as thief:
                    thief.cookies.set("trunkline_sign_in", first, domain="127.0.0.1", path="/")
                    assert (await thief.get("/api/account")).json()["user"] is None

    run(main())


def test_signing_out_ends_one_browser_and_a_new_password_all_the_others() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with (
                gateway(data_dir=data_dir) as address,
                browser(address, "ada") as first,
                browser(address, "ada") as second,
                browser(address, "ada") as third,
            ):
                stolen = dict(first.cookies)
                assert (await first.post("/api/account/sign-out")).json()["user"] is None
                assert "trunkline_sign_in" not in first.cookies
                first.cookies.update(stolen)
                assert (await first.get("/api/config")).status_code == 401
                wrong = {"current": "not the password", "password": OTHER_PASSWORD}
                assert (await second.put("/api/account/password", json=wrong)).status_code == 401
                changed = await second.put(
                    "/api/account/password", json={"current": PASSWORD, "password": OTHER_PASSWORD}
                )
                assert changed.status_code == 200, changed.text
                assert (await second.get("/api/config")).status_code == 200
                assert (await third.get("/api/config")).status_code == 401
                async with browser(address, "ada", OTHER_PASSWORD) as fourth:
                    assert (await fourth.get("/api/config")).status_code == 200

    run(main())


@pytest.mark.parametrize(
    ("method", "path", "body", "viewer", "editor", "admin"),
    [
        ("GET", "/api/gateways", None, 200, 200, 200),
        ("GET", "/api/realtime/records", None, 200, 200, 200),
        ("POST", "/api/gateways/default/keys", {"scopes": ["run", "read", "edit"]}, 403, 201, 201),
        ("PUT", "/api/gateways/default/stored-keys/openai/default", {"key": "sk-stored"}, 403, 200, 200),
        ("PATCH", "/api/gateways/default", {"authenticated": True}, 403, 200, 200),
        ("PATCH", "/api/gateways/default", {"authenticated": False}, 403, 403, 200),
        ("POST", "/api/gateways", {"id": "team"}, 403, 403, 201),
        ("GET", "/api/users", None, 403, 403, 200),
        ("POST", "/api/users", {"name": "new", "role": "viewer"}, 403, 403, 201),
        ("GET", "/api/audit", None, 403, 403, 200),
        ("POST", "/api/probe", {"target": "http://10.0.0.1:9"}, 403, 403, 403),
        ("GET", MODELS, None, 403, 401, 401),  # there is no key for the provider
    ],
)
def test_a_person_may_do_what_their_role_says(
    method: str, path: str, body: object, viewer: int, editor: int, admin: int
) -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            for role in Role:
                await add(data_dir, role.value, role)
            async with gateway(data_dir=data_dir, gateway_token=TOKEN) as address:
                for role, expected in zip(Role, (viewer, editor, admin), strict=True):
                    async with browser(address, role.value) as page:
                        answer = await page.request(method, path, json=body)
                        assert answer.status_code == expected, (role, answer.text)

    run(main())


def test_an_invited_person_chooses_a_password_by_a_link_that_is_good_once() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with gateway(data_dir=data_dir) as address, browser(address, "ada") as page, browser(address) as new:
                made = await page.post("/api/users", json={"name": "Grace", "role": "editor"})
                assert (made.status_code, made.json()["user"]["state"]) == (201, "invited")
                assert made.json()["link"].startswith(f"{address.http}/login#")
                token = link_in(made.json()["link"])
                taken = await page.post("/api/users", json={"name": "GRACE", "role": "viewer"})
                assert taken.status_code == 400
                nobody = await new.post("/api/account/sign-in", json={"name": "grace", "password": PASSWORD})
                assert nobody.status_code == 401
                looked = await new.post("/api/account/link", json={"token": token})
                assert looked.json() == {"purpose": "invite", "name": "Grace"}
                redeemed = await new.post("/api/account/redeem", json={"token": token, "password": OTHER_PASSWORD})
                assert redeemed.json()["user"]["name"] == "Grace"
                assert redeemed.json()["may"] == ["edit", "read", "run"]
                again = await new.post("/api/account/redeem", json={"token": token, "password": PASSWORD})
                assert again.status_code == 401

                reset = await page.post(f"/api/users/{made.json()['user']['id']}/reset")
                old, token = token, link_in(reset.json()["link"])
                assert old != token
                async with browser(address) as elsewhere:
                    done = await elsewhere.post("/api/account/redeem", json={"token": token, "password": PASSWORD})
                    assert done.status_code == 200
                    assert (await new.get("/api/config")).status_code == 401
                    assert (await elsewhere.get("/api/config")).status_code == 200

    run(main())


def test_a_disabled_person_is_out_at_once_and_the_last_administrator_stays() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            ada = await add(data_dir, "ada")
            grace = await add(data_dir, "grace")
            async with (
                gateway(data_dir=data_dir, gateway_token=TOKEN) as address,
                browser(address, "ada") as page,
                browser(address, "grace") as other,
            ):
                assert await may_run(other)
                assert (await page.patch(f"/api/users/{grace.id}", json={"disabled": True})).status_code == 200
                assert (await other.get("/api/config")).status_code == 401
                assert not await may_run(other)
                for method, body in (("PATCH", {"role": "editor"}), ("PATCH", {"disabled": True}), ("DELETE", None)):
                    refused = await page.request(method, f"/api/users/{ada.id}", json=body)
                    assert refused.status_code == 400
                    assert "last administrator" in refused.text
                assert (await page.post(f"/api/users/{grace.id}/reset")).status_code == 400
                assert (await page.patch(f"/api/users/{grace.id}", json={"disabled": False})).status_code == 200
                assert (await page.patch(f"/api/users/{ada.id}", json={"role": "viewer"})).status_code == 200
                assert (await page.get("/api/users")).status_code == 401
                async with browser(address, "ada") as page, browser(address, "grace") as back:
                    assert (await page.get("/api/users")).status_code == 403
                    assert (await back.delete(f"/api/users/{ada.id}")).status_code == 204
                    assert (await page.get("/api/config")).status_code == 401

    run(main())


def test_keys_and_the_gateway_token_open_the_api_as_before_and_the_token_administers() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with administration(data_dir) as admin:
                reader, _ = await new_key(admin, scopes=[Scope.READ])
                editor, _ = await new_key(admin, scopes=[Scope.READ, Scope.EDIT])
            async with gateway(data_dir=data_dir, gateway_token=TOKEN) as address, httpx.AsyncClient() as program:
                for key, path, status in (
                    (reader, "config", 200),
                    (reader, "gateways", 200),
                    (editor, "users", 403),
                    (editor, "audit", 403),
                    (TOKEN, "users", 200),
                    (TOKEN, "audit", 200),
                    ("", "gateways", 401),
                ):
                    headers = {"authorization": f"Bearer {key}"} if key else {}
                    answer = await program.get(f"{address.http}/api/{path}", headers=headers)
                    assert answer.status_code == status, (path, answer.text)
                invited = await program.post(
                    f"{address.http}/api/users",
                    json={"name": "bot", "role": "viewer"},
                    headers={"authorization": f"Bearer {TOKEN}"},
                )
                assert invited.status_code == 201

    run(main())


def test_being_at_the_machine_makes_no_account() -> None:
    async def main() -> None:
        async with gateway() as address, browser(address) as page:
            assert (await page.get("/api/users")).json() == []
            refused = await page.post("/api/users", json={"name": "eve", "role": "admin"})
            assert refused.status_code == 403
            assert (await page.get("/api/users")).json() == []

    run(main())


def test_a_signed_in_person_calls_models_from_the_consoles_pages_and_from_no_other() -> None:
    async def main() -> None:
        upstream = Recorder()
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with (
                raw_server(upstream) as origin,
                gateway(data_dir=data_dir, gateway_token=TOKEN, **openai_at(origin)) as address,
                browser(address, "ada") as page,
            ):
                shown = {"cf-aig-byok-alias": "default"}
                await page.put("/api/gateways/default/stored-keys/openai/default", json={"key": "sk-stored-01"})
                assert (await page.get(MODELS, headers=shown)).status_code == 200
                assert "cookie" not in upstream.requests[-1][1]
                foreign = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
                assert (await page.get(MODELS, headers=foreign)).status_code in (401, 403)
                assert len(upstream.requests) == 1

    run(main())


def routes() -> list[tuple[str, str]]:
    """Every method and path of the API."""
    with data_directory() as data_dir:
        paths = create_api(Gateway(Settings(data_dir=data_dir)), "").openapi()["paths"]
    found = [(method.upper(), re.sub(r"\{[^}]*\}", "x", path)) for path, methods in paths.items() for method in methods]
    return [*found, ("GET", "/api/unknown"), ("POST", "/api/unknown")]


def test_no_route_of_the_api_but_those_to_sign_in_with_answers_a_stranger_once_there_is_an_account() -> None:
    known = routes()
    assert len(known) > 20

    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with gateway(data_dir=data_dir) as address, browser(address) as page:
                for method, path in known:
                    if path.startswith("/api/account"):
                        continue
                    answer = await page.request(method, path)
                    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign_in_required"), path

    run(main())


def test_every_change_with_a_cookie_is_asked_for_by_a_page_of_the_console() -> None:
    changes = [(method, path) for method, path in routes() if method != "GET"]
    foreign = [
        {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:1", "sec-fetch-site": "same-site"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ]

    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with gateway(data_dir=data_dir) as address, browser(address, "ada") as page:
                for method, path in changes:
                    for headers in foreign:
                        answer = await page.request(method, path, headers=headers, json={})
                        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed"), path
                    request = page.build_request(method, path, json={})
                    del request.headers["x-trunkline-console"]
                    assert (await page.send(request)).status_code == 403, path
                assert (await page.get("/api/config")).status_code == 200

    run(main())


def test_signing_in_is_for_pages_of_the_console_even_without_a_cookie() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with gateway(data_dir=data_dir) as address, httpx.AsyncClient() as other:
                body = {"name": "ada", "password": PASSWORD}
                for headers in ({}, {"origin": "http://evil.example"}, {"x-trunkline-console": "1"}):
                    answer = await other.post(f"{address.http}/api/account/sign-in", json=body, headers=headers)
                    assert answer.status_code == 403
                    assert "set-cookie" not in answer.headers
                answer = await other.post(f"{address.http}/api/account/sign-in", json=body, headers=CONSOLE)
                assert answer.status_code == 200

    run(main())


def test_another_process_sees_who_signed_in_and_who_was_disabled() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            grace = await add(data_dir, "grace")
            async with (
                gateway(data_dir=data_dir) as one,
                gateway(data_dir=data_dir) as two,
                browser(one, "grace") as page,
            ):

                async def seen(expected: int) -> bool:
                    async with browser(two) as there:
                        there.cookies.update(page.cookies)
                        return (await there.get("/api/config")).status_code == expected

                await until(lambda: seen(200))
                async with browser(one, "ada") as admin:
                    assert (await admin.patch(f"/api/users/{grace.id}", json={"disabled": True})).status_code == 200
                await until(lambda: seen(401))

    run(main())


def test_an_expired_sign_in_and_an_idle_one_count_no_more() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            async with gateway(data_dir=data_dir) as address, browser(address, "ada") as page:
                cookies = dict(page.cookies)
            for column, status in (("created_at", 200), ("last_seen_at", 401), ("expires_at", 401)):
                with sqlite3.connect(data_dir / "trunkline.db") as database:
                    kept = database.execute("SELECT last_seen_at, expires_at FROM sign_ins").fetchone()
                    database.execute(f"UPDATE sign_ins SET {column} = {column} - 31 * 86400")
                database.close()
                async with gateway(data_dir=data_dir) as address, browser(address) as page:
                    page.cookies.update(cookies)
                    assert (await page.get("/api/config")).status_code == status, column
                with sqlite3.connect(data_dir / "trunkline.db") as database:
                    database.execute("UPDATE sign_ins SET last_seen_at = ?, expires_at = ?", kept)
                database.close()

    run(main())


def test_a_realtime_session_ends_when_the_person_who_opened_it_is_disabled() -> None:
    async def main() -> None:
        with data_directory() as data_dir:
            await add(data_dir, "ada")
            grace = await add(data_dir, "grace", Role.EDITOR)
            async with (
                upstream_of(echo) as origin,
                gateway(data_dir=data_dir, gateway_token=TOKEN, **openai_at(origin, api_key="sk-stored")) as address,
                browser(address, "ada") as admin,
                browser(address, "grace") as page,
            ):
                cookie = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
                path = "/v1/local/default/openai/realtime?model=m"
                async with dial(address, path, cookie=cookie, origin="http://evil.example") as stranger:
                    assert (await refusal_of(stranger))[1] in (3000, 4003)
                async with dial(address, path, cookie=cookie, origin=address.http) as socket:
                    await socket.send("hello")
                    assert await socket.recv() == "hello"
                    sessions = (
                        await admin.get("/api/realtime/sessions", headers={"accept": "application/json"})
                    ).json()
                    assert [one["key_id"] for one in sessions["sessions"]] == [grace.id]
                    assert (await admin.patch(f"/api/users/{grace.id}", json={"disabled": True})).status_code == 200
                    error, code = await refusal_of(socket)
                assert code == 3000
                assert "account that is disabled" in error["message"]

    run(main())


def test_accounts_are_kept_alike_by_both_databases(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        database = await Database.open(tmp_path, database_url)
        users, now = Users(database), time.time()
        try:
            assert await users.offer_first_account(b"1" * 32, now + 60)
            assert await users.redeem(b"2" * 32, "hash", now, name="ada", id="usr_1") is None
            assert await users.redeem(b"1" * 32, "hash", now + 61, name="ada", id="usr_1") is None
            ada = await users.redeem(b"1" * 32, "hash", now, name="Ada", id="usr_1")
            assert ada is not None
            assert (ada.id, ada.role, ada.has_password) == ("usr_1", Role.ADMIN, True)
            assert await users.redeem(b"1" * 32, "hash", now, name="eve", id="usr_2") is None
            assert not await users.offer_first_account(b"3" * 32, now + 60)
            with pytest.raises(SettingsError, match="already"):
                await users.add("ADA", Role.VIEWER)

            grace = await users.invite("grace", Role.ADMIN, b"4" * 32, now + 60)
            with pytest.raises(SettingsError, match="last administrator"):  # who was invited has not come yet
                await users.delete(ada.id)
            assert await users.redeem(b"4" * 32, "hash", now) is not None
            await users.sign_in(grace, b"5" * 32, now + 60)
            await users.sign_in(grace, b"6" * 32, now + 60, instead_of=b"5" * 32)
            await users.saw({b"6" * 32: now + 5})
            known, sign_ins = await users.load(now)
            assert sorted(known) == sorted([ada.id, grace.id])
            assert {digest: found.last_seen_at for digest, found in sign_ins.items()} == {b"6" * 32: now + 5}
            assert (await users.load(now + 61))[1] == {}

            both = await asyncio.gather(users.disable(ada.id), users.disable(grace.id), return_exceptions=True)
            assert [type(one) for one in both].count(SettingsError) == 1
            there = await users.from_issuer("https://login.example", "s1", "edsger", Role.VIEWER)
            same = await users.from_issuer("https://login.example", "s1", "edsger", Role.EDITOR)
            assert (there.id, same.role) == (same.id, Role.EDITOR)
            await users.delete(there.id)
            assert await users.find("Edsger") is None
        finally:
            await database.close()

    run(main())
