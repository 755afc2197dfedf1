"""Roles, names, passwords, and how long wrong attempts to sign in make the next one wait."""

from __future__ import annotations

import pytest

from trunkline.errors import SettingsError
from trunkline.policy.accounts import Attempts, checked_name, checked_password, folded
from trunkline.policy.registry import Scope
from trunkline.policy.roles import ADMINISTER, SCOPES, ClaimRules, Role

RULES = ClaimRules(
    "realm_access.roles",
    {Role.ADMIN: ["gateway-admins"], Role.EDITOR: ["devs", "ops"], Role.VIEWER: ["staff"]},
    None,
)


def test_each_role_may_do_all_that_the_one_before_it_may_and_more() -> None:
    viewer, editor, admin = (SCOPES[role] for role in Role)
    assert viewer < editor < admin
    assert (viewer, admin - editor) == ({"read"}, {ADMINISTER})


def test_no_gateway_key_can_be_made_to_administer() -> None:
    assert ADMINISTER not in {scope.value for scope in Scope}


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"realm_access": {"roles": ["staff"]}}, Role.VIEWER),
        ({"realm_access": {"roles": ["staff", "ops"]}}, Role.EDITOR),
        ({"realm_access": {"roles": ["gateway-admins", "staff"]}}, Role.ADMIN),
        ({"realm_access": {"roles": "devs"}}, Role.EDITOR),
        ({"realm_access.roles": ["devs"]}, Role.EDITOR),
        ({"realm_access": {"roles": ["Gateway-Admins"]}}, None),
        ({"realm_access": {"roles": [["gateway-admins"], {"x": 1}, None]}}, None),
        ({"realm_access": ["gateway-admins"]}, None),
        ({"roles": ["gateway-admins"]}, None),
        ({}, None),
    ],
)
def test_claims_give_the_greatest_role_that_is_listed_for_them(claims: dict[str, object], role: Role | None) -> None:
    assert RULES.role(claims) is role


def test_who_has_none_of_the_values_gets_the_default_role() -> None:
    assert ClaimRules("groups", {Role.ADMIN: ["admins"]}, Role.VIEWER).role({"groups": ["others"]}) is Role.VIEWER
    assert ClaimRules("", {Role.ADMIN: ["admins"]}, Role.VIEWER).role({"": "admins"}) is Role.VIEWER


@pytest.mark.parametrize(
    ("one", "other"), [("Ada", " ada "), ("STRASSE", "straße"), ("\ufb01n", "FIN"), ("Ｂob", "bob")]
)
def test_names_that_look_alike_are_one(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x1b[0m", "a\u202eb", "x" * 101])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="1 to 100"):
        checked_name(name)


@pytest.mark.parametrize("password", ["", "short", "elevenchars", "aaaaaaaaaaaaaaaa", "abababababababab", "x" * 1001])
def test_a_weak_password_is_refused_without_being_repeated(password: str) -> None:
    with pytest.raises(SettingsError) as refused:
        checked_password(password, "ada")
    assert not password or password not in str(refused.value)


def test_a_password_is_not_the_name_and_may_hold_anything_else() -> None:
    with pytest.raises(SettingsError):
        checked_password("Ada@Example.ORG", "ada@example.org")
    assert checked_password("p\u00e4ssw\u00f6rter s\u00fc\u00df 日本", "ada") == checked_password(
        "pa\u0308sswo\u0308rter su\u0308\u00df 日本", "ada"
    )


def fail(
    attempts: Attempts, times: int, name: str = "ada", address: str = "192.0.2.1", now: float = 0.0
) -> list[float]:
    return [attempts.begin(name, address, now) for _ in range(times)]


def test_wrong_attempts_at_one_name_from_one_place_wait_longer_and_longer() -> None:
    attempts = Attempts()
    assert fail(attempts, 5) == [0.0] * 5
    waits, now = [], 0.0
    for _ in range(9):
        waits.append(attempts.begin("ADA", "192.0.2.1", now))
        now += waits[-1]
        assert attempts.begin("ada", "192.0.2.1", now) == 0.0
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_a_place_that_tries_one_name_without_end_keeps_nobody_out_who_is_elsewhere() -> None:
    attempts, now, tried = Attempts(), 0.0, 0
    while now < 24 * 3600.0:
        wait = attempts.begin("ada", "192.0.2.1", now)
        tried += wait == 0.0
        now += wait
        assert attempts.begin("ada", f"198.51.100.{int(now) % 250}", now) == 0.0
        attempts.succeeded("ada", f"198.51.100.{int(now) % 250}")
    assert tried > 1000


def test_one_name_that_is_tried_from_everywhere_is_slowed_down_too() -> None:
    attempts = Attempts()
    assert {attempts.begin("ada", f"192.0.2.{n}", 0.0) for n in range(100)} == {0.0}
    assert attempts.begin("ada", "198.51.100.1", 0.0) > 0
    assert attempts.begin("grace", "198.51.100.1", 0.0) == 0.0
    assert attempts.begin("ada", "198.51.100.1", 901.0) == 0.0


def test_a_browser_that_is_known_is_not_held_up_by_strangers_and_is_slowed_down_for_itself() -> None:
    attempts = Attempts()
    for number in range(200):
        attempts.begin("ada", "192.0.2.1", 60.0 * number)
        attempts.begin("ada", f"198.51.100.{number}", 0.0)
    assert attempts.begin("ada", "192.0.2.1", 12_000.0 - 30) > 0
    assert [attempts.begin("ada", "192.0.2.1", 12_000.0, "laptop") for _ in range(5)] == [0.0] * 5
    assert attempts.begin("ada", "192.0.2.1", 12_000.0, "laptop") == 1.0
    assert attempts.begin("ada", "192.0.2.1", 12_000.0, "telephone") == 0.0


def test_one_address_that_tries_many_names_is_slowed_too_and_so_is_its_network() -> None:
    attempts = Attempts()
    assert {attempts.begin(f"name{n}", f"2001:db8:1:2::{n:x}", 0.0) for n in range(20)} == {0.0}
    assert attempts.begin("another", "2001:db8:1:2:ffff::1", 0.0) > 0
    assert attempts.begin("another", "2001:db8:1:3::1", 0.0) == 0.0


def test_a_right_password_forgets_the_wrong_ones_at_its_name_there_alone() -> None:
    attempts = Attempts()
    fail(attempts, 4)
    fail(attempts, 5, name="grace")
    attempts.begin("ada", "192.0.2.1", 0.0)
    attempts.succeeded("ada", "192.0.2.1")
    assert fail(attempts, 5) == [0.0] * 5
    assert attempts.begin("grace", "192.0.2.1", 0.0) > 0


def test_attempts_are_forgotten_after_a_while() -> None:
    attempts = Attempts()
    fail(attempts, 5)
    assert attempts.begin("ada", "192.0.2.1", 901.0) == 0.0
    assert fail(attempts, 4, now=901.0) == [0.0] * 4


def test_what_is_remembered_of_attempts_is_bounded() -> None:
    attempts = Attempts()
    for number in range(30_000):
        attempts.begin(f"name{number}", f"192.0.{number // 250 % 250}.{number % 250}", 0.0)
    assert len(attempts._counts) <= 10_000
