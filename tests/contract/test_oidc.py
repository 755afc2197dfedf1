"""Single sign-on: the whole way through a real provider, and every answer of one that must not let anybody in."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.contract.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, oidc_provider
from tests.contract.people import PASSWORD, add, browser
from tests.running import Address, data_directory, gateway, run
from trunkline.errors import SettingsError
from trunkline.server.single_sign_on import SingleSignOn
from trunkline.settings import Settings, load

CALLBACK = "/api/account/oidc/callback"
# As a browser does that another site sent here.
NAVIGATION = {"sec-fetch-site": "cross-site", "accept": "text/html", "x-trunkline-console": ""}


@dataclass
class Stage:
    provider: Provider
    address: Address
    page: httpx.AsyncClient
    data_dir: Path

    async def go(self, page: httpx.AsyncClient | None = None) -> tuple[httpx.Response, str]:
        """Follow the whole way in a browser; return the gateway's answer at its end, and where it came back from."""
        page = page or self.page
        begun = await page.get("/api/account/oidc/start", headers=NAVIGATION)
        assert begun.status_code == 303, begun.text
        async with httpx.AsyncClient() as there:
            sent_back = await there.get(begun.headers["location"])
        assert sent_back.status_code == 302, sent_back.text
        back = sent_back.headers["location"]
        return await page.get(back, headers=NAVIGATION), back

    async def who(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = (await self.page.get("/api/account")).json()["user"]
        return found


@asynccontextmanager
async def stage(**changes: Any) -> AsyncIterator[Stage]:
    async with oidc_provider() as provider:
        with data_directory() as data_dir:
            chosen = {
                "oidc_issuer": provider.issuer,
                "oidc_client_id": CLIENT_ID,
                "oidc_client_secret": CLIENT_SECRET,
                "oidc_admin": ("admins",),
                "oidc_editor": ("devs",),
                "data_dir": data_dir,
                **changes,
            }
            async with gateway(**chosen) as address, browser(address) as page:
                provider.redirect_uris = {f"{address.http}{CALLBACK}"}
                yield Stage(provider, address, page, data_dir)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS384"])
def test_a_person_signs_in_at_the_provider_and_has_the_role_it_says(algorithm: str) -> None:
    async def main() -> None:
        async with stage() as at:
            at.provider.algorithm = algorithm
            before = (await at.page.get("/api/account")).json()
            host = urlsplit(at.provider.issuer).netloc
            assert (before["sign_in_required"], before["single_sign_on"]) == (True, host)
            assert (await at.page.get("/api/config")).status_code == 401
            answer, _ = await at.go()
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            cookies = answer.headers.get_list("set-cookie")
            assert any("trunkline_sign_in=" in one and "SameSite=Strict" in one for one in cookies)
            user = await at.who()
            assert user is not None
            assert (user["name"], user["role"], user["issuer"]) == ("ada", "admin", at.provider.issuer)
            assert (await at.page.get("/api/users")).status_code == 200

            at.provider.claims["groups"] = ["devs", "others"]
            await at.go()
            again = await at.who()
            assert again is not None
            assert (again["id"], again["role"]) == (user["id"], "editor")
            assert (await at.page.get("/api/users")).status_code == 403

    run(main())


def test_who_is_in_no_group_comes_in_only_where_a_default_role_says_so() -> None:
    async def main() -> None:
        async with stage() as at:
            at.provider.claims["groups"] = []
            answer, _ = await at.go()
            assert answer.headers["location"] == "/login?refused=role"
            assert await at.who() is None
        async with stage(oidc_default_role="viewer") as at:
            at.provider.claims = {"sub": "x", "email": "grace@example.org", "email_verified": True}
            await at.go()
            user = await at.who()
            assert user is not None
            assert (user["name"], user["role"]) == ("grace@example.org", "viewer")

    run(main())


def wrong(**attributes: Any) -> Callable[[Provider], None]:
    def change(provider: Provider) -> None:
        for name, value in attributes.items():
            setattr(provider, name, value)

    change.__name__ = "_".join(f"{name}_{value}" for name, value in attributes.items())
    return change


def other_issuer(provider: Provider) -> None:
    provider.claims["iss"] = "https://elsewhere.example"


def no_subject(provider: Provider) -> None:
    del provider.claims["sub"]


@pytest.mark.parametrize(
    "change",
    [
        wrong(algorithm="none"),
        wrong(algorithm="HS256"),
        wrong(audience="another-client"),
        wrong(audience=[CLIENT_ID, "another-client"]),
        wrong(expires_in=-120),
        wrong(nonce="a nonce of another sign-in"),
        wrong(refuses=True),
        wrong(sends_kid=False),
        wrong(methods=["client_secret_post", "private_key_jwt"], named_issuer="https://elsewhere.example"),
        other_issuer,
        no_subject,
    ],
    ids=lambda change: change.__name__,
)
def test_an_answer_that_cannot_be_trusted_lets_nobody_in(change: Callable[[Provider], None]) -> None:
    async def main() -> None:
        async with stage() as at:
            change(at.provider)
            if at.provider.named_issuer:
                begun = await at.page.get("/api/account/oidc/start", headers=NAVIGATION)
                assert begun.headers["location"] == "/login?refused=failed"
                return
            answer, _ = await at.go()
            assert (answer.status_code, answer.headers["location"]) == (303, "/login?refused=failed")
            assert await at.who() is None
            assert not any("trunkline_sign_in=" in one for one in answer.headers.get_list("set-cookie"))

    run(main())


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
def test_an_issuer_that_sends_the_secret_over_plain_http_is_not_followed(name: str) -> None:
    async def main() -> None:
        async with stage() as at:
            at.provider.named_places = {name: "http://login.example/there?tenant=1"}
            begun = await at.page.get("/api/account/oidc/start", headers=NAVIGATION)
            assert begun.headers["location"] == "/login?refused=failed"
            at.provider.named_places = {"authorization_endpoint": "https://login.example/there?tenant=1"}
            begun = await at.page.get("/api/account/oidc/start", headers=NAVIGATION)
            assert begun.headers["location"].startswith("https://login.example/there?tenant=1&")

    run(main())


def test_a_client_may_post_its_secret_where_the_provider_takes_it_no_other_way() -> None:
    async def main() -> None:
        async with stage() as at:
            at.provider.methods = ["client_secret_post"]
            await at.go()
            assert await at.who() is not None

    run(main())


def test_an_answer_counts_once_and_only_in_the_browser_that_asked() -> None:
    async def main() -> None:
        async with stage() as at, browser(at.address) as victim:
            begun = await at.page.get("/api/account/oidc/start", headers=NAVIGATION)
            async with httpx.AsyncClient() as there:
                back = (await there.get(begun.headers["location"])).headers["location"]
            # The attacker's own answer, given to somebody else to be signed in as the attacker.
            planted = await victim.get(back, headers=NAVIGATION)
            assert planted.headers["location"] == "/login?refused=failed"
            await victim.get("/api/account/oidc/start", headers=NAVIGATION)
            assert (await victim.get(back, headers=NAVIGATION)).headers["location"] == "/login?refused=failed"
            assert (await victim.get("/api/account")).json()["user"] is None

            query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
            for change in ({"state": "x"}, {"iss": "https://elsewhere.example"}, {"code": "never given"}):
                kept = dict(at.page.cookies)
                refused = await at.page.get(f"{CALLBACK}?{urlencode({**query, **change})}", headers=NAVIGATION)
                assert refused.headers["location"] == "/login?refused=failed", change
                at.page.cookies.update(kept)
            assert (await at.page.get(back, headers=NAVIGATION)).headers["location"] == "/"
            repeated = await at.page.get(back, headers=NAVIGATION)
            assert repeated.headers["location"] == "/login?refused=failed"

    run(main())


def test_new_keys_of_the_provider_are_fetched_when_they_are_first_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.server.single_sign_on._KEYS_AGAIN_SECONDS", 0.0)

    async def main() -> None:
        async with stage() as at:
            await at.go()
            await at.go()
            assert at.provider.asked_for_keys == 1
            at.provider.rotate()
            assert (await at.go())[0].headers["location"] == "/"
            assert at.provider.asked_for_keys == 2

    run(main())


def test_tokens_with_unknown_keys_do_not_make_the_gateway_ask_again_and_again() -> None:
    async def main() -> None:
        async with stage() as at:
            await at.go()
            for _ in range(3):
                at.provider.rotate()
                assert (await at.go())[0].headers["location"] == "/login?refused=failed"
            assert at.provider.asked_for_keys == 1

    run(main())


def test_a_local_account_of_the_same_name_is_not_given_to_who_comes_from_the_provider() -> None:
    async def main() -> None:
        async with stage() as at:
            await add(at.data_dir, "Ada")
            answer, _ = await at.go()
            assert answer.headers["location"] == "/login?refused=name"
            assert await at.who() is None

    run(main())


def test_a_disabled_person_stays_out_whatever_the_provider_says() -> None:
    async def main() -> None:
        async with stage() as at:
            await add(at.data_dir, "grace")
            await at.go()
            user = await at.who()
            assert user is not None
            async with browser(at.address, "grace", PASSWORD) as admin:
                assert (await admin.patch(f"/api/users/{user['id']}", json={"disabled": True})).status_code == 200
                assert (await admin.post(f"/api/users/{user['id']}/reset")).status_code == 400
            assert await at.who() is None
            answer, _ = await at.go()
            assert answer.headers["location"] == "/login?refused=failed"
            assert await at.who() is None

    run(main())


def test_the_public_address_is_where_the_provider_sends_people_back_to() -> None:
    async def main() -> None:
        async with stage(public_url="https://gateway.example.org/") as at:
            begun = await at.page.get("/api/account/oidc/start", headers=NAVIGATION)
            query = parse_qs(urlsplit(begun.headers["location"]).query)
            assert query["redirect_uri"] == [f"https://gateway.example.org{CALLBACK}"]
            assert begun.headers["set-cookie"].startswith("__Host-trunkline_single_sign_on=")
            assert "; Secure" in begun.headers["set-cookie"]

    run(main())


def test_without_its_packages_single_sign_on_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "authlib", None)
    monkeypatch.setattr("trunkline.server.single_sign_on.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"trunkline\[oidc\]"):
        SingleSignOn(Settings(oidc_issuer="https://login.example.org", oidc_client_id="x"))


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TRUNKLINE_OIDC_ISSUER": "http://login.example.org"}, "oidc_issuer"),
        ({"TRUNKLINE_OIDC_ISSUER": "login.example.org"}, "oidc_issuer"),
        ({"TRUNKLINE_OIDC_ISSUER": "https://login.example.org/realm"}, "oidc_client_id"),
        ({"TRUNKLINE_PUBLIC_URL": "https://gateway.example.org/path"}, "public_url"),
        ({"TRUNKLINE_PUBLIC_URL": "http://gateway.example.org"}, "public_url"),
        ({"TRUNKLINE_OIDC_DEFAULT_ROLE": "boss"}, "viewer"),
    ],
)
def test_settings_that_could_not_work_are_refused_at_the_start(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(environment=environment)
