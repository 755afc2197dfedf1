"""The benchmark's reports: exact tables of known results, and what holds of all of them."""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from trunkline.benchmark.orders import Latency, Outcome
from trunkline.benchmark.report import (
    BEGIN,
    END,
    Spread,
    _short,
    as_json,
    as_markdown,
    as_svg,
    from_json,
    into_page,
    processor_time,
    relative_time,
)
from trunkline.benchmark.results import DIRECT, About, Begun, Machine, Paced, Results, Sample
from trunkline.errors import SettingsError

MACHINE = Machine("A processor", 2, 24 * 2**30, "6.1", "3.11.7", 0, 1)


def outcome(count: int, failures: int = 0, latency: Latency | None = None) -> Outcome:
    why = ["HTTP 500: `oh`"] if failures else []
    return Outcome(count, count, 2.0, failures, why, latency)


def sample(gateway: str, round: int, workload: str, count: int, microseconds: float, **more: object) -> Sample:
    made = Sample(
        gateway,
        round,
        workload,
        outcome(count),
        processor=microseconds * count / 1e6,
        busy=0.5,
        memory=20_000_000,
        largest=10_000_000,
    )
    return msgspec.structs.replace(made, **more)


def results(*samples: Sample, rounds: int = 2) -> Results:
    return Results(
        started="2026-12-01T10:00:00+00:00",
        trunkline="1.0",
        machine=MACHINE,
        rounds=rounds,
        seconds=2.0,
        workloads=list(dict.fromkeys(one.workload for one in samples)),
        gateways=[About("nginx", "1.22", "the floor", 1_400_000, 1), About("trunkline", "1.0", "all on")],
        samples=list(samples),
    )


KNOWN = results(
    Sample(DIRECT, 1, "chat", outcome(40_000)),
    Sample(DIRECT, 2, "chat", outcome(44_000)),
    sample("nginx", 1, "chat", 10_000, 20.0),
    sample("nginx", 2, "chat", 10_000, 40.0),
    sample("trunkline", 1, "chat", 10_000, 60.0),
    sample("trunkline", 2, "chat", 12_000, 100.0),
    Sample(DIRECT, 1, "realtime-32", outcome(3200, latency=Latency(100.0, 200.0, 300.0))),
    sample("trunkline", 1, "realtime-32", 3200, 13.0, outcome=outcome(3200, latency=Latency(150.0, 900.0, 1234.0))),
    sample("trunkline", 2, "realtime-32", 3200, 13.0, outcome=outcome(3199, failures=1)),
)
KNOWN.begun = [
    Begun("nginx", 1, 0.02, 9_000_000, 5_000_000, 0.0),
    Begun("trunkline", 1, 1.5, 110_000_000, 110_000_000, 0.004),
]
KNOWN.paced = [
    Paced(
        "trunkline",
        number,
        3500.0,
        False,
        outcome(7000, latency=Latency(400.0, 900.0, 2000.0 * number)),
        outcome(7000, latency=Latency(150.0, 300.0, 1000.0)),
    )
    for number in (1, 2)
]
KNOWN.left_out = {"litellm": "not installed"}


@pytest.mark.parametrize(
    "table",
    [
        """\
#### Processor time, as a multiple of nginx's in the same round

| Gateway | chat, a request | realtime-32, a message |
| --- | ---: | ---: |
| nginx | 1.00x | - |
| trunkline | 2.75x (2.50x to 3.00x) | failed |
""",
        """\
#### Processor time, in microseconds

| Gateway | chat, a request | realtime-32, a message |
| --- | ---: | ---: |
| nginx | 30.0 (20.0 to 40.0) | - |
| trunkline | 80.0 (60.0 to 100) | 13.0 |
""",
        """\
#### Requests a second, and how busy the gateway's core was

| Gateway | chat, a request |
| --- | ---: |
| direct | 21,000 (20,000 to 22,000) |
| nginx | 5,000, core 50% |
| trunkline | 5,500 (5,000 to 6,000), core 50% |
""",
        """\
| Gateway | Rate | p50 | p99 | p99.9 |
| --- | ---: | ---: | ---: | ---: |
| trunkline | 3,500/s | 250 | 600 | 2,000 (1,000 to 3,000) |
""",
        """\
| Workload | Gateway | p50 | p99 | p99.9 |
| --- | ---: | ---: | ---: | ---: |
| realtime-32 | direct | 100 | 200 | 300 |
| realtime-32 | trunkline | 150 | 900 | 1,230 |
""",
        """\
| nginx | 0.02 s | 9.0 MB | 20.0 MB | 10.0 MB | 0.0% | 1.4 MB | 1 |
| trunkline | 1.50 s | 110 MB | 20.0 MB | 10.0 MB | 0.4% | - | - |
""",
        """\
#### Left out, and failed

- litellm: not installed.
- Failed: trunkline, realtime-32, round 2, 1: `HTTP 500: 'oh'`
""",
    ],
)
def test_known_results_make_these_tables(table: str) -> None:
    assert table in as_markdown(KNOWN)


def test_the_first_lines_say_where_and_how_it_was_measured() -> None:
    assert as_markdown(KNOWN).startswith(
        "Trunkline 1.0, 2026-12-01. A processor, 2 cores, 24 GiB, Linux 6.1, Python 3.11.7; gateway on core 0, upstream"
        " and load on core 1. 2 rounds, 2 s for each measurement; medians of the rounds, the lowest and highest in"
        " brackets."
    )


def test_without_nginx_there_is_no_comparison_with_it() -> None:
    found = results(sample("trunkline", 1, "chat", 100, 50.0))
    found.gateways = found.gateways[1:]
    assert "multiple of nginx" not in as_markdown(found)
    assert "50.0 us<" in as_svg(found)


def test_failures_of_a_run_are_all_counted() -> None:
    assert KNOWN.failures == 1
    with_a_dead_one = msgspec.structs.replace(KNOWN, failed=["envoy, round 1: it ended at its start"])
    assert with_a_dead_one.failures == 2
    assert "- Failed: envoy, round 1: it ended at its start" in as_markdown(with_a_dead_one)


def test_the_picture_has_a_bar_for_each_gateway_that_was_right_and_says_what_it_shows() -> None:
    picture = as_svg(KNOWN)
    ElementTree.fromstring(picture)
    assert picture.count("<rect") == 3
    assert "80.0 us, 2.75x nginx" in picture
    assert "prefers-color-scheme: dark" in picture


def test_results_come_back_from_json_as_they_were() -> None:
    assert from_json(as_json(KNOWN)) == KNOWN


def test_a_page_keeps_what_stands_around_the_marks() -> None:
    page = f"# A\n{BEGIN}\nold \\1\n{END}\nafter {END}"
    assert into_page(page, "new \\1 \\g<0>") == f"# A\n{BEGIN}\n\nnew \\1 \\g<0>\n\n{END}\nafter {END}"
    with pytest.raises(SettingsError, match="no marks"):
        into_page("# A\n", "new")


@given(some.lists(some.floats(0, 1e9), min_size=1))
def test_a_spread_holds_its_median_between_its_ends(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread is not None
    assert min(values) == spread.low <= spread.middle <= spread.high == max(values)


@given(some.floats(0.001, 1e9))
def test_a_short_number_is_the_number_to_three_digits(value: float) -> None:
    assert float(_short(value).replace(",", "")) == pytest.approx(value, rel=0.006, abs=0.0006)


names = some.sampled_from(["nginx", "trunkline", "<other> & co"])
counts = some.integers(1, 10_000)
seconds = some.floats(1e-6, 1e3)


@given(some.lists(some.builds(sample, names, some.integers(1, 3), some.sampled_from(["chat", "sse"]), counts, seconds)))
def test_all_reports_can_be_made_of_all_results_and_agree(samples: list[Sample]) -> None:
    found = results(*samples)
    found.gateways = [About(name, "1", "set up") for name in ("nginx", "trunkline", "<other> & co")]
    text = as_markdown(found)
    ElementTree.fromstring(as_svg(found))
    assert from_json(as_json(found)) == found
    for name in found.workloads:
        for gateway in ("nginx", "trunkline"):
            spread, relative = processor_time(found, gateway, name), relative_time(found, gateway, name)
            assert spread is None or spread.low > 0
            assert relative is None or relative.low > 0
            assert f"{name}, a " in text
