"""Console sessions: keys stay in this process, the browser holds a cookie that scripts cannot read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.server import sessions as module
from trunkline.server.sessions import IDLE_SECONDS, MAX_SESSIONS, ConsoleSession, Sessions
from trunkline.wire.head import Head, Transport

KEY = "sk-typed-into-the-console"


class Clock:
    """The time of a test, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def plain() -> Sessions:
    return Sessions("local", "default", secure=False)


def cookie_of(set_cookie: str) -> str:
    """What a browser sends back for a ``Set-Cookie``."""
    return set_cookie.partition(";")[0]


def opened(sessions: Sessions) -> tuple[ConsoleSession, str]:
    session = sessions.fresh()
    return session, cookie_of(sessions.open(session))


def test_a_fresh_session_has_the_gateways_own_settings_and_no_key() -> None:
    session = Sessions("acme", "voice", secure=False).fresh()
    assert (session.account_id, session.gateway_id) == ("acme", "voice")
    assert (session.provider, session.model, session.realtime_model) == ("local", "local", "local")
    assert session.provider_keys == {}
    assert session.gateway_token == ""
    assert not session.use_authenticated_gateway


def test_a_fresh_session_is_not_kept_before_it_is_opened() -> None:
    sessions = plain()
    sessions.fresh()
    assert sessions.find_by_cookie(f"{sessions.cookie.name}=") is None


def test_fresh_sessions_share_no_keys() -> None:
    sessions = plain()
    sessions.fresh().provider_keys["openai"] = KEY
    assert sessions.fresh().provider_keys == {}


def test_a_cookie_leads_back_to_its_session() -> None:
    sessions = plain()
    first, first_cookie = opened(sessions)
    second, second_cookie = opened(sessions)
    assert sessions.find_by_cookie(first_cookie) is first
    assert sessions.find_by_cookie(second_cookie) is second


@pytest.mark.parametrize("transport", list(Transport))
def test_a_session_is_found_from_a_head_of_every_transport(transport: Transport) -> None:
    sessions = plain()
    session, cookie = opened(sessions)
    assert sessions.find(Head(transport, "GET", "/", "", [(b"cookie", cookie.encode())])) is session
    assert sessions.find(Head(transport, "GET", "/", "", [])) is None


@pytest.mark.parametrize(
    "around", ["{}", "a=1; {}", "{}; a=1", 'a="quoted; value"; {}', "theme=dark; {}; other=x=y", "a=1;{}"]
)
def test_a_cookie_is_found_among_others(around: str) -> None:
    sessions = plain()
    session, cookie = opened(sessions)
    assert sessions.find_by_cookie(around.format(cookie)) is session


@pytest.mark.parametrize("strange", ['prefs={"a":1}', "list[0]=1", "a name=1"])
def test_a_cookie_is_found_after_a_strange_one_of_another_program_on_this_host(strange: str) -> None:
    """Browsers send the cookies of every port of a host: those of each app under development on localhost."""
    sessions = plain()
    session, cookie = opened(sessions)
    assert sessions.find_by_cookie(f"{strange}; {cookie}") is session


def test_a_cookie_of_somebody_else_leads_nowhere() -> None:
    sessions = plain()
    _, cookie = opened(sessions)
    for other in (None, "", "a=1", f"{cookie}x", f"x{cookie}", f"{sessions.cookie.name}=", cookie.lower() + "0"):
        assert sessions.find_by_cookie(other) is None


@given(st.text(max_size=80))
def test_any_cookie_header_is_read_without_an_error(header: str) -> None:
    sessions = plain()
    _, cookie = opened(sessions)
    sessions.find_by_cookie(header)
    sessions.find_by_cookie(f"{header}; {cookie}")
    sessions.find_by_cookie(f"{sessions.cookie.name}={header}")
    sessions.close(f"{sessions.cookie.name}={header}")


def test_scripts_and_other_sites_cannot_use_the_cookie() -> None:
    set_cookie = plain().open(plain().fresh())
    attributes = {part.strip() for part in set_cookie.split(";")[1:]}
    assert attributes == {"Path=/", "HttpOnly", "SameSite=Strict"}


def test_over_tls_the_cookie_is_bound_to_it_and_to_this_host() -> None:
    sessions = Sessions("local", "default", secure=True)
    set_cookie = sessions.open(sessions.fresh())
    assert set_cookie.startswith("__Host-")
    # A browser refuses the prefix unless the cookie is Secure, for the whole host and names no domain.
    assert {"Secure", "Path=/"} <= {part.strip() for part in set_cookie.split(";")}
    assert "Domain" not in set_cookie


def test_a_cookie_holds_no_key_and_cannot_be_guessed() -> None:
    sessions = plain()
    made = set()
    for _ in range(20):
        session = sessions.fresh()
        session.provider_keys["openai"] = KEY
        set_cookie = sessions.open(session)
        assert KEY not in set_cookie
        made.add(cookie_of(set_cookie).partition("=")[2])
    assert len(made) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in made)  # 256 bits


def test_what_is_kept_does_not_hold_the_cookie_itself() -> None:
    sessions = plain()
    _, cookie = opened(sessions)
    token = cookie.partition("=")[2]
    assert not any(token.encode() in digest for digest in sessions._entries)


def test_a_closed_session_is_gone_and_its_cookie_removed() -> None:
    sessions = plain()
    session, cookie = opened(sessions)
    kept, kept_cookie = opened(sessions)
    removal = sessions.close(cookie)
    assert removal.startswith(f"{sessions.cookie.name}=;")
    assert "Max-Age=0" in removal
    assert sessions.find_by_cookie(cookie) is None
    assert sessions.find_by_cookie(kept_cookie) is kept
    assert session is not kept


def test_closing_without_a_session_only_removes_the_cookie() -> None:
    sessions = plain()
    for header in (None, "", "a=1", f"{sessions.cookie.name}=unknown"):
        assert "Max-Age=0" in sessions.close(header)


def test_a_session_ends_when_it_was_not_used_for_too_long(clock: Clock) -> None:
    sessions = plain()
    session, cookie = opened(sessions)
    clock.now += IDLE_SECONDS
    assert sessions.find_by_cookie(cookie) is session
    clock.now += IDLE_SECONDS + 1
    assert sessions.find_by_cookie(cookie) is None
    clock.now -= IDLE_SECONDS
    assert sessions.find_by_cookie(cookie) is None


def test_each_use_of_a_session_begins_its_time_anew(clock: Clock) -> None:
    sessions = plain()
    session, cookie = opened(sessions)
    for _ in range(5):
        clock.now += IDLE_SECONDS * 0.9
        assert sessions.find_by_cookie(cookie) is session


def test_when_there_are_too_many_the_one_unused_longest_is_forgotten() -> None:
    sessions = plain()
    used, used_cookie = opened(sessions)
    _, unused_cookie = opened(sessions)
    for _ in range(MAX_SESSIONS - 2):
        opened(sessions)
    assert sessions.find_by_cookie(used_cookie) is used
    opened(sessions)
    assert sessions.find_by_cookie(used_cookie) is used
    assert sessions.find_by_cookie(unused_cookie) is None


def test_the_representation_of_a_session_holds_no_secret() -> None:
    session = ConsoleSession("a", "g", provider_keys={"openai": KEY}, gateway_token="gateway-token-secret")
    assert KEY not in repr(session)
    assert "gateway-token-secret" not in repr(session)
