"""What a run comes to, and the forms in which it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from trunkline.credentials.matrix import Way
from trunkline.probe import COLUMNS, PRESETS, Cell, ExitStatus, Keys, Report, Target, Verdict, plan
from trunkline.probe.reports import as_data, as_html, as_json, as_junit, as_markdown

ACCEPTED, REFUSED, UNCLEAR = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.UNCLEAR
UNREACHABLE, SKIPPED, NONE = Verdict.UNREACHABLE, Verdict.SKIPPED, Verdict.NOT_APPLICABLE
HTTP, SSE, WS, BROWSER = Way.HTTP, Way.SSE, Way.REALTIME, Way.REALTIME_BROWSER
URL = "https://host/v1/account/gateway"

# Columns in this order; "." is not applicable.
LETTERS = {"a": ACCEPTED, "r": REFUSED, "u": UNCLEAR, "x": UNREACHABLE, "s": SKIPPED, ".": NONE}
WORKING = {
    "nothing": "rrrr",
    "authorization-provider-key": "rrr.",
    "cf-aig-bearer": "aaa.",
    "protocol-cf-aig": "...a",
    "control-wrong-gateway-key": "rrr.",
    "control-wrong-gateway-key-in-protocol": "...r",
    "control-wrong-provider-key": "rrr.",
    "control-wrong-protocol-key": "...r",
}

ONLY_NO_KEY = {**WORKING, "authorization-provider-key": "sss.", "cf-aig-bearer": "sss.", "protocol-cf-aig": "...s"}


def report(
    verdicts: Mapping[str, str], *, frame: str = "", why: str = "because", stop_after: int | None = None
) -> Report:
    target = Target(URL)
    planned = plan(target, Keys("sk", "gw"), rows=list(verdicts))
    cells = [
        Cell(
            one.row.name,
            one.way,
            LETTERS[verdicts[one.row.name][target.ways.index(one.way)]],
            milliseconds=41.4,
            status=200,
            first_frame=frame,
            request="GET https://host/\nauthorization: Bearer [provider key]",
            why=why,
        )
        for one in planned
    ]
    started = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
    return Report.of(target, planned, reversed(cells[:stop_after]), started=started)


@pytest.mark.parametrize(
    ("changes", "same", "differing", "holds", "status"),
    [
        ({}, True, [], True, ExitStatus.SAME),
        # One place where the key that works elsewhere does not.
        ({"cf-aig-bearer": "aar."}, False, [("cf-aig-bearer", WS)], True, ExitStatus.DIFFERS),
        ({"protocol-cf-aig": "...r"}, False, [("protocol-cf-aig", BROWSER)], True, ExitStatus.DIFFERS),
        ({"cf-aig-bearer": "aux."}, False, [("cf-aig-bearer", SSE), ("cf-aig-bearer", WS)], True, ExitStatus.DIFFERS),
        # What works in one place only is still what should be everywhere.
        (
            {"authorization-provider-key": "rra."},
            False,
            [("authorization-provider-key", way) for way in (HTTP, SSE)],
            True,
            ExitStatus.DIFFERS,
        ),
        ({"authorization-provider-key": "rru."}, False, [("authorization-provider-key", WS)], True, ExitStatus.DIFFERS),
        ({"nothing": "aara"}, False, [("nothing", WS)], True, ExitStatus.DIFFERS),
        ({"nothing": "rrur"}, True, [], True, ExitStatus.SAME),
        ({"authorization-provider-key": "sss."}, True, [], True, ExitStatus.SAME),
        # Controls.
        ({"control-wrong-provider-key": "arr."}, True, [], False, ExitStatus.MEANS_NOTHING),
        ({"control-wrong-gateway-key": "rra."}, True, [], False, ExitStatus.MEANS_NOTHING),
        ({"control-wrong-provider-key": "rru."}, True, [], False, ExitStatus.MEANS_NOTHING),
        ({"control-wrong-protocol-key": "...x"}, True, [], False, ExitStatus.MEANS_NOTHING),
        (
            {"cf-aig-bearer": "aar.", "control-wrong-protocol-key": "...a"},
            False,
            [("cf-aig-bearer", WS)],
            False,
            ExitStatus.MEANS_NOTHING,
        ),
        # Nothing was accepted in that column, so nothing there needs a control.
        (
            {"cf-aig-bearer": "aar.", "control-wrong-provider-key": "rru."},
            False,
            [("cf-aig-bearer", WS)],
            True,
            ExitStatus.DIFFERS,
        ),
        # Nothing to compare, or nobody there.
        (ONLY_NO_KEY, None, [], True, ExitStatus.NOTHING_SEEN),
        (dict.fromkeys(WORKING, "xxxx"), True, [], True, ExitStatus.NOTHING_SEEN),
    ],
)
def test_one_credential_has_one_result_and_a_wrong_one_has_none(
    changes: dict[str, str],
    same: bool | None,
    differing: list[tuple[str, Way]],
    holds: bool,
    status: ExitStatus,
) -> None:
    found = report({**WORKING, **changes})
    assert found.same_everywhere is same
    assert [(cell.row, cell.way) for cell in found.differing] == differing
    assert found.controls_hold is holds
    assert found.exit_status is status
    assert len(found.explanations) == len(differing)


def test_the_conclusion_counts_and_the_explanations_say_where_and_why() -> None:
    assert report(WORKING).conclusion == "Same credential, same result everywhere: yes"
    one = report({**WORKING, "cf-aig-bearer": "aar."}, why="the gateway answered 2009: it wants its own key")
    assert one.conclusion == "Same credential, same result everywhere: no (1 cell differs)"
    assert one.explanations == (
        "cf-aig-authorization: Bearer [gateway key] over WS: refused 200. Elsewhere the same credential (gateway key)"
        " is accepted. Here, the gateway answered 2009: it wants its own key.",
    )
    assert report({**WORKING, "cf-aig-bearer": "arr."}).conclusion.endswith("no (2 cells differ)")


def test_a_fault_of_the_controls_names_its_columns() -> None:
    found = report({**WORKING, "control-wrong-provider-key": "aur."})
    assert found.control_faults == (
        "A wrong key was accepted (HTTP): the greens there mean nothing.",
        "A wrong key was not seen to be refused (SSE): the greens there mean nothing.",
    )


def test_skipped_rows_say_why_once() -> None:
    found = report(
        {**WORKING, "authorization-provider-key": "sss."}, why="there is no provider key; set OPENAI_API_KEY"
    )
    assert found.left_out == ("Skipped: there is no provider key; set OPENAI_API_KEY.",)


def test_a_run_that_was_stopped_reports_what_it_has() -> None:
    found = report(WORKING, stop_after=5)
    assert not found.is_complete
    assert [(cell.row, cell.way) for cell in found.cells[:2]] == [("nothing", HTTP), ("nothing", SSE)]
    assert len(found.cells) == 5
    for text in (as_json(found), as_markdown(found), as_junit(found), as_html(found)):
        assert text
    assert as_data(found)["complete"] is False


HOSTILE = "<script>alert(1)</script> ]]> &amp; | `x` \x1b[31m \x00"


def test_json_holds_the_whole_table() -> None:
    data = json.loads(as_json(report(WORKING)))
    assert data["format"] == 1
    assert data["target"]["url"] == URL
    assert data["same_everywhere"] is True
    assert [column["way"] for column in data["columns"]] == ["http", "sse", "realtime", "realtime-browser"]
    assert {row["name"] for row in data["rows"]} == set(WORKING)
    assert len(data["cells"]) == len(WORKING) * 4
    cell = next(cell for cell in data["cells"] if cell["verdict"] == "accepted")
    assert cell["milliseconds"] == 41.4
    assert cell["request"].endswith("Bearer [provider key]")
    assert next(row for row in data["rows"] if row["control"])["credential"] == ["wrong key"]


def test_junit_counts_differences_and_accepted_controls_as_failures() -> None:
    suite = ElementTree.fromstring(
        as_junit(
            report(
                {**WORKING, "cf-aig-bearer": "aax.", "protocol-cf-aig": "...s", "control-wrong-provider-key": "arr."}
            )
        )
    )
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "19",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    failed = [case for case in suite if case.find("failure") is not None]
    assert [(case.get("classname"), case.get("name")) for case in failed] == [("control-wrong-provider-key", "HTTP")]


def test_markdown_shows_text_of_others_as_text() -> None:
    page = as_markdown(
        report({**WORKING, "cf-aig-bearer": "aar."}, why=HOSTILE.replace("\x00", "").replace("\x1b", ""))
    )
    assert "<script>" not in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {6}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


def test_the_page_loads_nothing_runs_nothing_and_can_be_read_aloud() -> None:
    page = as_html(report({**WORKING, "cf-aig-bearer": "aar."}, frame=HOSTILE, why=HOSTILE))
    reader = Tags()
    reader.feed(page)
    names = [tag for tag, _ in reader.tags]
    assert not {"script", "img", "link", "iframe", "object"} & set(names)
    addresses = [
        value or "" for _, attributes in reader.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    anchors = {attributes.get("id") for _, attributes in reader.tags}
    assert {address.removeprefix("#") for address in addresses} <= anchors
    assert "default-src 'none'" in page
    assert ("html", {"lang": "en"}) in reader.tags
    assert {"main", "h1", "caption"} <= set(names)
    assert {attributes.get("scope") for tag, attributes in reader.tags if tag == "th"} == {"row", "col"}
    assert "prefers-color-scheme: dark" in page
    assert "✗ refused 200, differs" in page


def test_the_page_of_documentation_explains_every_verdict_status_and_preset() -> None:
    page = (Path(__file__).parents[2] / "docs" / "probe.md").read_text("utf-8")
    for verdict in Verdict:
        assert f"| {verdict.symbol} | {verdict.word} |" in page
    for status in ExitStatus:
        assert f"\n| {status.value} | " in page
    for name in PRESETS:
        assert f"`{name}`" in page
    for heading in COLUMNS.values():
        assert f"\n| {heading} | " in page
