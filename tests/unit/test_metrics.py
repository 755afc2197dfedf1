"""Metrics of finished exchanges."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from trunkline.server import observability
from trunkline.server.observability.metrics import Metrics
from trunkline.store import LogRecord


def metrics() -> Metrics:
    return Metrics(lambda: {"open_sessions": 2}, lambda: {"journal_records_dropped": 7})


def record(**fields: object) -> LogRecord:
    told = {"id": "1", "gateway": "prod", "created_at": 1.0, "provider": "openai", "model": "gpt-5", "status": 200}
    return LogRecord(**{**told, "success": True, **fields})  # type: ignore[arg-type]


def samples(of: Metrics, gateway: str | None = None) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    body, kind = of.page("text/plain", gateway)
    assert kind.startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def total(of: Metrics, name: str, **labels: str) -> float:
    return sum(
        value for (found, held), value in samples(of).items() if found == name and set(labels.items()) <= set(held)
    )


def test_exchanges_tokens_and_cost_are_counted_by_gateway_provider_and_model() -> None:
    counted = metrics()
    counted.take(record(tokens_in=10, tokens_out=5, tokens_cached=4, cost=0.25, duration_ms=120.0, first_byte_ms=30.0))
    counted.take(record(tokens_in=1, tokens_out=2, cost=0.5, duration_ms=9000.0))
    counted.take(record(status=502, success=False, end_reason="upstream_error"))
    assert total(counted, "trunkline_requests_total", gateway="prod", provider="openai", model="gpt-5") == 3
    assert total(counted, "trunkline_requests_total", status="502", end_reason="upstream_error") == 1
    assert total(counted, "trunkline_tokens_total", kind="input") == 11
    assert total(counted, "trunkline_tokens_total", kind="cached") == 4
    assert total(counted, "trunkline_cost_usd_total") == 0.75
    assert total(counted, "trunkline_request_duration_seconds_count") == 3
    assert total(counted, "trunkline_request_duration_seconds_bucket", le="0.25") == 2
    assert total(counted, "trunkline_first_byte_seconds_count") == 1
    assert total(counted, "trunkline_unpriced_requests_total") == 0


def test_an_answer_without_a_price_is_counted_as_such_and_adds_no_cost() -> None:
    counted = metrics()
    counted.take(record(cost=None))
    assert total(counted, "trunkline_unpriced_requests_total") == 1
    assert total(counted, "trunkline_cost_usd_total") == 0


def test_a_session_counts_by_its_length_and_not_among_the_durations_of_requests() -> None:
    counted = metrics()
    counted.take(record(request_type="realtime", status=101, duration_ms=45_000.0))
    assert total(counted, "trunkline_session_duration_seconds_count") == 1
    assert total(counted, "trunkline_session_duration_seconds_bucket", le="60.0") == 1
    assert total(counted, "trunkline_request_duration_seconds_count") == 0


def test_names_of_models_that_callers_make_up_cannot_grow_the_page_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observability.metrics, "MAX_MODELS", 60)
    counted = metrics()
    for number in range(60 + 50):
        counted.take(record(model=f"made-up-{number}"))
    counted.take(record(model="made-up-0"))
    models = {dict(labels).get("model") for name, labels in samples(counted) if name == "trunkline_requests_total"}
    assert len(models) == 60 + 1
    assert total(counted, "trunkline_requests_total", model="other") == 50
    assert total(counted, "trunkline_requests_total", model="made-up-0") == 2


def test_names_of_providers_that_strangers_make_up_cannot_grow_the_page() -> None:
    counted = metrics()
    for number in range(50):
        refused = record(provider=f"made-up-{number}", model="", status=400, success=False, attempts=0)
        counted.take(refused)
    counted.take(record(provider="openai", status=401, success=False, attempts=0))
    counted.take(record(provider="custom-mine", status=502, success=False))
    counted.take(record(provider="custom-mine", status=401, success=False, attempts=0))
    counts = [dict(labels) for name, labels in samples(counted) if name == "trunkline_requests_total"]
    providers = {labels.get("provider") for labels in counts}
    assert providers == {"other", "openai", "custom-mine"}
    assert total(counted, "trunkline_requests_total", provider="other") == 50
    assert total(counted, "trunkline_requests_total", provider="custom-mine") == 2


def test_what_stands_at_the_moment_is_read_when_asked() -> None:
    found = samples(metrics())
    assert found["trunkline_open_sessions", frozenset()] == 2
    assert found["trunkline_journal_records_dropped_total", frozenset()] == 7
    assert any(name.startswith("process_") for name, _ in found)


def test_one_gateways_page_has_nothing_of_another_or_of_the_process() -> None:
    counted = metrics()
    counted.take(record(gateway="prod"))
    counted.take(record(gateway="secret-project"))
    body, _ = counted.page("text/plain", "prod")
    assert b"secret-project" not in body
    found = samples(counted, "prod")
    assert found
    assert all(("gateway", "prod") in labels for _, labels in found)


def test_models_of_many_providers_are_not_all_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observability.metrics, "MAX_TOLD_APART", 400)
    counted = metrics()
    for provider in range(50):
        for model in range(12):
            counted.take(record(provider=f"custom-{provider}", model=f"model-{model}", attempts=1))
    shown = samples(counted)
    who = {labels for name, labels in shown if name == "trunkline_request_duration_seconds_count"}
    assert 400 <= len(who) <= 400 + 50
    asked = [(labels, count) for (name, labels), count in shown.items() if name == "trunkline_requests_total"]
    assert sum(count for _, count in asked) == 50 * 12
    others = {("provider", "custom-49"), ("model", "other")}
    assert sum(count for labels, count in asked if others <= labels) == 12
