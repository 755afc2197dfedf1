"""Which cells a run has, before it starts."""

from __future__ import annotations

import pytest

from trunkline.credentials.matrix import PRESENTATIONS, Presentation, Secret, Way
from trunkline.probe import PRESETS, Keys, Planned, ProbeError, Target, Verdict, plan
from trunkline.probe.rows import credential, exposes_key, is_control, label, shows
from trunkline.providers import Catalogue

URL = "https://host/v1/account/gateway"
BOTH = Keys("sk-provider", "gw-gateway")
ROWS = {row.name: row for row in PRESENTATIONS}


def cell(planned: list[Planned], row: str, way: Way) -> Planned:
    return next(one for one in planned if one.row.name == row and one.way is way)


def probeable() -> list[Target]:
    targets = []
    for provider in Catalogue.build().all():
        try:
            targets.append(Target("https://host", provider.slug))
        except ProbeError:
            continue
    return targets


def test_the_rows_of_openai_are_those_the_matrix_marks() -> None:
    names = {one.row.name for one in plan(Target(URL), BOTH)}
    assert names == {row.name for row in PRESENTATIONS if row.probed and "openai" in row.providers}


@pytest.mark.parametrize("target", probeable(), ids=lambda target: target.provider)
def test_every_column_of_every_provider_has_a_key_to_show_and_a_control(target: Target) -> None:
    planned = plan(target, BOTH)
    for way in target.ways:
        asked = [one.row for one in planned if one.way is way and one.verdict is None]
        assert any(is_control(row) for row in asked), way
        assert any(Secret.PROVIDER_KEY in credential(row) for row in asked), way


def test_the_table_is_whole_and_goes_row_by_row() -> None:
    planned = plan(Target(URL), BOTH)
    rows = list(dict.fromkeys(one.row.name for one in planned))
    assert [(one.row.name, one.way) for one in planned] == [(row, way) for row in rows for way in Target(URL).ways]


@pytest.mark.parametrize(
    ("row", "way", "why"),
    [
        ("authorization-provider-key", Way.REALTIME_BROWSER, "a browser cannot set headers"),
        ("protocol-provider-key", Way.HTTP, "only a WebSocket has sub-protocols"),
        ("protocol-provider-key", Way.REALTIME, "no client shows a key like this"),
    ],
)
def test_a_cell_that_no_client_has_says_why(row: str, way: Way, why: str) -> None:
    one = cell(plan(Target(URL), BOTH), row, way)
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert why in one.why


@pytest.mark.parametrize(
    ("keys", "row", "why"),
    [
        (Keys("", "gw"), "authorization-provider-key", "there is no provider key; set OPENAI_API_KEY"),
        (Keys("sk", ""), "cf-aig-bearer", "there is no gateway key; set CF_AIG_TOKEN"),
        (Keys("sk", "", gateway_from="MINE"), "cf-aig-bearer-and-provider-key", "set MINE"),
    ],
)
def test_a_row_without_its_key_is_skipped_and_says_what_to_set(keys: Keys, row: str, why: str) -> None:
    one = cell(plan(Target(URL), keys), row, Way.HTTP)
    assert one.verdict is Verdict.SKIPPED
    assert why in one.why


def test_without_any_key_the_controls_and_no_key_still_run() -> None:
    asked = [one.row for one in plan(Target(URL), Keys()) if one.verdict is None]
    assert {frozenset(), frozenset({Secret.WRONG_KEY})} == {credential(row) for row in asked}


def test_a_key_that_no_subprotocol_can_carry_is_skipped_there_alone() -> None:
    planned = plan(Target(URL), Keys("sk/with=slash", "gw"))
    assert cell(planned, "authorization-provider-key", Way.HTTP).verdict is None
    one = cell(planned, "protocol-provider-key", Way.REALTIME_BROWSER)
    assert one.verdict is Verdict.SKIPPED
    assert "no sub-protocol can carry" in one.why


def test_a_secret_that_the_probe_never_has_skips_its_row() -> None:
    one = cell(plan(Target(URL), BOTH, rows=["trap-revoked-key"]), "trap-revoked-key", Way.HTTP)
    assert one.verdict is Verdict.SKIPPED
    assert "no revoked gateway key" in one.why


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_rows_that_exist_and_always_has_controls(name: str) -> None:
    preset = PRESETS[name]
    planned = plan(Target(URL), BOTH, rows=preset.rows, ways=preset.ways)
    assert {one.row.name for one in planned if not is_control(one.row)} == set(preset.rows)
    for way in preset.ways:
        assert any(is_control(one.row) and one.verdict is None for one in planned if one.way is way)


def test_rows_and_columns_that_are_not_to_be_had_are_refused() -> None:
    with pytest.raises(ProbeError, match="no row 'nonsense'"):
        plan(Target(URL), BOTH, rows=["nonsense"])
    with pytest.raises(ProbeError, match="no column for the universal HTTP"):
        plan(Target(URL), BOTH, ways=[Way.UNIVERSAL_HTTP])
    with pytest.raises(ProbeError, match=r"Groq has nothing .* over WS"):
        plan(Target(URL, "groq"), BOTH, ways=[Way.REALTIME])


@pytest.mark.parametrize(
    ("row", "shown", "head"),
    [
        ("nothing", "no key", "no key"),
        (
            "authorization-provider-key",
            "authorization: Bearer [provider key]",
            "authorization: Bearer [provider key]",
        ),
        (
            "protocol-cf-aig-and-provider-key",
            "sub-protocol cf-aig-authorization.[gateway key], sub-protocol openai-insecure-api-key.[provider key]",
            "sub-protocol cf-aig-authorization.[gateway key], sub-protocol openai-insecure-api-key.[provider key]"
            " (exposes the key)",
        ),
        (
            "control-wrong-provider-key",
            "authorization: Bearer [wrong key]",
            "authorization: Bearer [wrong key] (control: must be refused)",
        ),
        ("query-key-provider-key", "?key=[provider key]", "?key=[provider key] (exposes the key)"),
        ("trap-bearer-undefined", "cf-aig-authorization: Bearer [gateway key], authorization: Bearer undefined", None),
    ],
)
def test_a_row_says_what_it_shows(row: str, shown: str, head: str | None) -> None:
    assert shows(ROWS[row]) == shown
    assert label(ROWS[row]) == (head or shown)


@pytest.mark.parametrize("row", PRESENTATIONS, ids=lambda row: row.name)
def test_a_control_shows_nothing_but_wrong_keys(row: Presentation) -> None:
    assert is_control(row) == (bool(row.shown) and all(one.secret is Secret.WRONG_KEY for one in row.shown))
    assert not (is_control(row) and exposes_key(row))
