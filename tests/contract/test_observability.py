"""What a gateway tells those who watch it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import uvloop
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.contract.raw_server import raw_server
from tests.contract.test_dataplane import read_request
from tests.running import gateway
from trunkline.errors import SettingsError
from trunkline.server.observability.tracing import tracer_for
from trunkline.settings import Settings
from trunkline.store import LogRecord

TOKEN = "a-token-of-the-gateway-0001"
TRACE, CALLERS_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def run(main: object) -> None:
    uvloop.run(main)  # type: ignore[arg-type]


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest], list[str]]]:
    """An OTLP collector on loopback: its address, what it got, and the authorizations shown."""
    received: list[ExportTraceServiceRequest] = []
    shown: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            received.append(ExportTraceServiceRequest.FromString(body))
            shown.append(self.headers.get("authorization", ""))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", received, shown
    finally:
        server.shutdown()
        server.server_close()


def spans_of(received: list[ExportTraceServiceRequest]) -> list[Span]:
    return [span for got in received for of in got.resource_spans for scope in of.scope_spans for span in scope.spans]


def attributes_of(span: Span) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in span.attributes}


def record(**fields: object) -> LogRecord:
    told = {"id": "01J", "gateway": "prod", "created_at": 1_800_000_000.0, "duration_ms": 1500.0, "status": 200}
    told |= {"provider": "openai", "model": "gpt-5", "model_type": "chat", "success": True}
    return LogRecord(**{**told, **fields})  # type: ignore[arg-type]


def test_a_gateway_says_that_it_lives_and_that_it_is_ready() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            assert (await client.get(f"{address.http}/healthz")).json() == {"status": "ok"}
            ready = await client.get(f"{address.http}/readyz")
            assert (ready.status_code, ready.json()["status"]) == (200, "ready")
            assert ready.json()["checks"] == {"accepting": True, "database": True, "records": True}
            assert (await client.post(f"{address.http}/readyz")).status_code == 405

    run(main())


def test_metrics_are_for_those_who_may_look() -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, httpx.AsyncClient() as client:
            assert (await client.get(f"{address.http}/metrics")).status_code == 401
            headers = {"authorization": f"Bearer {TOKEN}"}
            page = await client.get(f"{address.http}/metrics", headers=headers)
            assert page.status_code == 200
            assert "trunkline_open_sessions 0.0" in page.text
            made = await client.post(
                f"{address.http}/api/gateways/default/keys",
                headers=headers,
                json={"name": "scraper", "scopes": ["read"]},
            )
            scraper = {"authorization": f"Bearer {made.json()['value']}"}
            own = await client.get(f"{address.http}/metrics", headers=scraper)
            assert own.status_code == 200
            assert "trunkline_open_sessions" not in own.text
            caller = await client.post(
                f"{address.http}/api/gateways/default/keys", headers=headers, json={"name": "app", "scopes": ["run"]}
            )
            app = {"authorization": f"Bearer {caller.json()['value']}"}
            assert (await client.get(f"{address.http}/metrics", headers=app)).status_code == 403

    run(main())


def test_a_page_of_another_site_cannot_read_the_metrics() -> None:
    async def main() -> None:
        async with gateway() as address, httpx.AsyncClient() as client:
            strange = {"origin": "https://evil.example"}
            assert (await client.get(f"{address.http}/metrics", headers=strange)).status_code == 403

    run(main())


def test_spans_and_their_headers_go_to_nobody_that_a_collector_points_to() -> None:
    async def main() -> None:
        asked: list[str] = []
        with collector() as (elsewhere, received, _):

            async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                line, _, _ = await read_request(reader)
                asked.append(line)
                head = f"HTTP/1.1 307 Moved\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                writer.write(head.encode())
                await writer.drain()

            async with raw_server(moved) as origin:
                url = f"http://{origin.host}:{origin.port}/v1/traces"
                tracer = tracer_for(Settings(otel_endpoint=url, otel_headers=("x-key=secret",)))
                assert tracer is not None
                tracer.take(record())
                await asyncio.to_thread(tracer.close)
            assert asked
            assert received == []

    run(main())


def test_an_exchange_becomes_a_span_in_the_genai_conventions_within_the_callers_trace() -> None:
    with collector() as (url, received, shown):
        tracer = tracer_for(Settings(otel_endpoint=url, otel_headers=("authorization=Bearer collector",)))
        assert tracer is not None
        tracer.take(
            record(
                trace_id=TRACE,
                parent_span_id=CALLERS_SPAN,
                tokens_in=12,
                tokens_out=3,
                cost=0.5,
                metadata={"team": "voice", "gen_ai.request.model": "a lie"},
            )
        )
        tracer.close()
        (span,) = spans_of(received)
        assert shown == ["Bearer collector"]
        assert (span.trace_id.hex(), span.parent_span_id.hex(), span.name) == (TRACE, CALLERS_SPAN, "chat gpt-5")
        assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_000_000
        told = attributes_of(span)
        assert told["gen_ai.operation.name"] == "chat"
        assert told["gen_ai.request.model"] == "gpt-5"
        assert told["gen_ai.provider.name"] == "openai"
        assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (12, 3)
        assert (told["gen_ai.usage.cost"], told["team"]) == (0.5, "voice")
        assert "error.type" not in told


def test_a_trace_that_was_named_without_a_span_is_joined_at_its_root() -> None:
    with collector() as (url, received, _):
        tracer = tracer_for(Settings(otel_endpoint=url))
        assert tracer is not None
        tracer.take(record(trace_id=TRACE))
        tracer.take(record())
        tracer.close()
        joined, alone = spans_of(received)
        assert (joined.trace_id.hex(), joined.parent_span_id) == (TRACE, b"")
        assert alone.trace_id.hex() not in (TRACE, "0" * 32)


def test_a_failure_is_a_span_with_an_error_and_payloads_are_sent_only_when_wanted() -> None:
    failed = record(success=False, status=502, end_reason="upstream_error", error="No answer.", request=b'{"a":1}')
    for wanted in (False, True):
        with collector() as (url, received, _):
            tracer = tracer_for(Settings(otel_endpoint=url, otel_payloads=wanted))
            assert tracer is not None
            tracer.take(failed)
            tracer.close()
            (span,) = spans_of(received)
            told = attributes_of(span)
            assert (span.status.code, span.status.message, told["error.type"]) == (2, "No answer.", "502")
            assert told.get("gen_ai.prompt_json") == ('{"a":1}' if wanted else None)


def test_a_header_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(SettingsError, match="entry 1") as refused:
        tracer_for(Settings(otel_endpoint="http://127.0.0.1:1/v1/traces", otel_headers=("sk-secret",)))
    assert "sk-secret" not in str(refused.value)


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert tracer_for(Settings()) is None


def test_a_gateway_that_stops_says_that_it_is_not_ready_any_more() -> None:
    from trunkline.server.application import Application

    async def main() -> None:
        application = Application(Settings())
        await application.leave(0.0)
        sent: list[dict[str, object]] = []

        async def send(message: object) -> None:
            sent.append(dict(message))  # type: ignore[call-overload]

        async def receive() -> dict[str, object]:
            return {"type": "http.request"}

        scope = {"type": "http", "method": "GET", "path": "/readyz", "query_string": b"", "headers": []}
        await application(scope, receive, send)  # type: ignore[arg-type]
        assert sent[0]["status"] == 503
        assert b'"leaving"' in sent[1]["body"]  # type: ignore[operator]

    asyncio.run(main())
