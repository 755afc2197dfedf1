"""The probe against real servers: the strict provider, our gateway before it, and servers with manners of their own."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.contract.conftest import STRICT_KEY
from tests.contract.raw_server import answering, raw_server
from tests.running import Address, gateway, run
from trunkline import probe
from trunkline.credentials.matrix import PRESENTATIONS, Way
from trunkline.probe import AddressGuard, AddressRefused, Cell, ExitStatus, Keys, ProbeError, Report, Target, Verdict
from trunkline.probe.emulation import emulated_gateway
from trunkline.probe.reports import as_html, as_json, as_junit, as_markdown
from trunkline.probe.rows import is_control
from trunkline.probe.serving import served

ACCEPTED, REFUSED, UNCLEAR, UNREACHABLE = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.UNCLEAR, Verdict.UNREACHABLE
HTTP, SSE, WS, BROWSER = Way.HTTP, Way.SSE, Way.REALTIME, Way.REALTIME_BROWSER
TOKEN = "gateway-token-0123456789"
KEYS = Keys(STRICT_KEY, TOKEN)
MODELS = {"object": "list", "data": []}
CREATED = json.dumps({"type": "session.created", "session": {"id": "sess_1"}})


def target(url: str, provider: str = "openai") -> Target:
    return Target(url, provider, model="test/echo", realtime_model="local")


def verdicts(report: Report, way: Way | None = None) -> dict[str, set[Verdict]]:
    """The verdicts on what was asked, by row."""
    found: dict[str, set[Verdict]] = {}
    for cell in report.cells:
        if cell.verdict.is_observation and way in (None, cell.way):
            found.setdefault(cell.row, set()).add(cell.verdict)
    return found


def cell(report: Report, row: str, way: Way) -> Cell:
    return next(one for one in report.cells if one.row == row and one.way is way)


# The strict provider and gateways before it


def test_the_provider_itself_takes_its_key_wherever_it_is_shown_and_no_other(strict_upstream: Address) -> None:
    async def main() -> None:
        report = await probe.run(target(f"{strict_upstream.http}/v1"), KEYS)
        assert report.exit_status is ExitStatus.SAME, report.explanations
        shown = {row for row, seen in verdicts(report).items() if seen == {ACCEPTED}}
        assert shown == {
            "authorization-provider-key",
            "cf-aig-bearer-and-provider-key",
            "protocol-provider-key",
            "protocol-cf-aig-and-provider-key",
        }
        assert all(seen == {REFUSED} for row, seen in verdicts(report).items() if row not in shown)
        assert cell(report, "authorization-provider-key", WS).status == 101
        assert cell(report, "authorization-provider-key", WS).first_frame.startswith('{"type":"session.created"')
        assert cell(report, "control-wrong-protocol-key", BROWSER).close_code == 3000

    run(main())


def test_our_gateway_gives_each_credential_one_result(strict_upstream: Address) -> None:
    async def main() -> None:
        providers = {"openai": {"base_url": f"{strict_upstream.http}/v1", "api_key": STRICT_KEY}}
        async with gateway(providers=providers, gateway_token=TOKEN) as address:
            report = await probe.run(target(f"{address.http}/v1/local/default"), KEYS)
        assert report.exit_status is ExitStatus.SAME, report.explanations
        for row, seen in verdicts(report).items():
            knows_gateway = ("gateway-key" in row or "cf-aig" in row) and not row.startswith("control")
            assert seen == {ACCEPTED if knows_gateway else REFUSED}, row
        refused = cell(report, "authorization-provider-key", HTTP)
        assert refused.why == "the gateway answered 2009: it wants its own key"

    run(main())


def test_an_open_gateway_with_a_stored_key_takes_any_word_for_its_key_and_the_controls_say_so(
    strict_upstream: Address,
) -> None:
    async def main() -> None:
        providers = {"openai": {"base_url": f"{strict_upstream.http}/v1", "api_key": STRICT_KEY}}
        async with gateway(providers=providers) as address:
            report = await probe.run(target(f"{address.http}/v1/local/default"), KEYS)
        assert verdicts(report)["control-wrong-gateway-key"] == {ACCEPTED}
        assert report.exit_status is ExitStatus.MEANS_NOTHING

    run(main())


@pytest.mark.parametrize("preset", probe.PRESETS)
def test_the_scripts_of_the_proof_of_concept_pass_before_our_gateway(strict_upstream: Address, preset: str) -> None:
    async def main() -> None:
        chosen = probe.PRESETS[preset]
        providers = {"openai": {"base_url": f"{strict_upstream.http}/v1", "api_key": STRICT_KEY}}
        async with gateway(providers=providers, gateway_token=TOKEN) as address:
            url = f"{address.http}/v1/local/default"
            report = await probe.run(target(url), KEYS, rows=chosen.rows, ways=chosen.ways)
        assert report.columns == chosen.ways
        assert report.exit_status is ExitStatus.SAME, report.explanations
        assert all(verdicts(report)[row] == {ACCEPTED} for row in chosen.rows)

    run(main())


def test_a_gateway_that_forgets_the_key_on_a_websocket_is_told_apart(strict_upstream: Address) -> None:
    async def main() -> None:
        upstream = f"{strict_upstream.http}/v1"
        async with emulated_gateway(upstream, token=TOKEN, stored_key=STRICT_KEY) as url:
            report = await probe.run(target(url), KEYS)
        assert report.exit_status is ExitStatus.DIFFERS
        assert report.controls_hold
        assert {one.way for one in report.differing} == {WS, BROWSER}
        differing = {one.row for one in report.differing}
        assert {"cf-aig-bearer", "cf-aig-bearer-and-provider-key", "protocol-cf-aig"} <= differing
        assert cell(report, "protocol-cf-aig-and-provider-key", BROWSER).verdict is ACCEPTED
        assert cell(report, "cf-aig-bearer", WS).close_code == 4001
        async with emulated_gateway(upstream, token=TOKEN, stored_key=STRICT_KEY, fixed=True) as url:
            rows = [row.name for row in report.rows if row.name != "protocol-gateway-key"]
            assert (await probe.run(target(url), KEYS, rows=rows)).exit_status is ExitStatus.SAME

    run(main())


def test_a_paid_question_is_a_real_one_of_one_token_and_only_if_allowed(strict_upstream: Address) -> None:
    async def main() -> None:
        url = f"{strict_upstream.http}/v1"
        rows = ["authorization-provider-key"]
        free = await probe.run(target(url), KEYS, rows=rows, ways=[SSE])
        paid = await probe.run(target(url), KEYS, rows=rows, ways=[SSE], allow_billable=True)
        assert '"messages": []' in cell(free, rows[0], SSE).request
        assert cell(free, rows[0], SSE).status == 400
        assert '"max_tokens": 1' in cell(paid, rows[0], SSE).request
        assert cell(paid, rows[0], SSE).status == 200
        assert '"object": "chat.completion.chunk"' in cell(paid, rows[0], SSE).first_frame
        for report in (free, paid):
            controls = {f"control-wrong-{kind}-key": {REFUSED} for kind in ("gateway", "provider")}
            assert verdicts(report) == {rows[0]: {ACCEPTED}, **controls}

    run(main())


# Servers with manners of their own


@dataclass
class Manners:
    """What a server answers, and what it was asked."""

    http: Callable[[Request], Awaitable[Response]]
    ws: Callable[[WebSocket], Awaitable[None]]
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


async def welcome(request: Request) -> Response:
    return JSONResponse(MODELS)


async def greet(websocket: WebSocket, subprotocol: str | None = "realtime") -> None:
    await websocket.accept(subprotocol if websocket.scope["subprotocols"] else None)
    await websocket.send_text(CREATED)
    await websocket.receive()


def asked(connection: HTTPConnection) -> str:
    """The address as it was sent, which Starlette decodes."""
    raw: bytes = connection.scope["raw_path"]
    query = f"?{connection.url.query}" if connection.url.query else ""
    return f"{connection.url.scheme}://{connection.url.netloc}{raw.decode()}{query}"


@asynccontextmanager
async def server(http: Any = welcome, ws: Any = greet) -> AsyncIterator[tuple[str, Manners]]:
    """A server that answers every path alike; it says what it was asked."""
    manners = Manners(http, ws)

    async def on_request(request: Request) -> Response:
        manners.requests.append((asked(request), dict(request.headers), await request.body()))
        return await manners.http(request)

    async def on_socket(websocket: WebSocket) -> None:
        manners.requests.append((asked(websocket), dict(websocket.headers), b""))
        await manners.ws(websocket)

    methods = ["GET", "POST"]
    app = Starlette(
        routes=[Route("/{path:path}", on_request, methods=methods), WebSocketRoute("/{path:path}", on_socket)]
    )
    config = uvicorn.Config(app, ws="websockets-sansio", lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    listener = socket.create_server(("127.0.0.1", 0))
    async with served(config, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", manners


def test_where_any_key_is_taken_the_greens_mean_nothing() -> None:
    async def main() -> None:
        async with server() as (url, _):
            report = await probe.run(target(url), KEYS)
        assert report.same_everywhere
        assert report.exit_status is ExitStatus.MEANS_NOTHING
        assert report.control_faults == (
            "A wrong key was accepted (HTTP, SSE, WS, WS (browser)): the greens there mean nothing.",
        )

    run(main())


def test_what_is_shown_of_a_request_is_what_was_sent_less_its_secrets() -> None:
    async def main() -> None:
        async with server() as (url, manners):
            for row in PRESENTATIONS:
                if not row.probed or is_control(row):
                    continue
                report = await probe.run(target(url), KEYS, rows=[row.name])
                for one in report.cells:
                    if one.row != row.name or not one.verdict.is_observation:
                        continue
                    lines = one.request.split("\n\n")[0].splitlines()
                    revealed = [
                        line.replace("[provider key]", STRICT_KEY).replace("[gateway key]", TOKEN) for line in lines
                    ]
                    shown = {tuple(line.split(": ", 1)) for line in revealed[1:]}
                    address = revealed[0].split(" ", 1)[1]
                    assert any(
                        address == asked and shown <= set(headers.items()) for asked, headers, _ in manners.requests
                    )
                    assert not {name for name, _ in shown} & {"host", "connection"}

    run(main())


def test_no_secret_comes_back_out_however_it_is_echoed(caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys("sk-S3cret/provider+key", "gw-S3cret.gateway_token")

    def echoes(values: list[str]) -> str:
        written = " ".join(values)
        escaped = written.replace("/", "\\/").replace("-", "\\u002d")
        twice = json.dumps(escaped)[1:-1]
        message = f"{escaped} {twice} {quote(written)} {written.upper()}"
        return f'{{"error": {{"message": "{message}", "code": "invalid_api_key"}}}}'

    async def echo(request: Request) -> Response:
        body = echoes(list(request.headers.values()))
        return Response(body, 401, headers={"location": f"https://{keys.gateway_key}/", "x": keys.provider_key})

    async def echo_and_close(websocket: WebSocket) -> None:
        shown = [*websocket.scope["subprotocols"], *websocket.headers.values()]
        await websocket.accept((websocket.scope["subprotocols"] or [None])[-1])
        await websocket.send_text(f'{{"type": "error", {echoes(shown)[1:]}')
        await websocket.close(3000, keys.gateway_key)

    async def redirect(request: Request) -> Response:
        return RedirectResponse(f"https://{keys.gateway_key.lower()}/?key={keys.provider_key}")

    async def close(websocket: WebSocket) -> None:
        await websocket.accept("realtime" if websocket.scope["subprotocols"] else None)
        await websocket.close(3000, f"{keys.gateway_key} {keys.provider_key}")

    async def main() -> None:
        caplog.set_level(logging.DEBUG)
        for http, ws in ((echo, echo_and_close), (redirect, close)):
            async with server(http, ws) as (url, manners):
                report = await probe.run(Target(url), keys)
            sent = "".join(json.dumps(headers) for _, headers, _ in manners.requests)
            wrong = {part for part in sent.replace('"', " ").replace(",", " ").split() if "sk-wrong-" in part}
            assert keys.provider_key in sent
            assert wrong
            for text in (as_json(report), as_markdown(report), as_junit(report), as_html(report), repr(report)):
                for trace in ("s3cret", "S3CRET", "sk-wrong", "provider%2Bkey", *wrong):
                    assert trace.lower() not in text.lower().replace("\\_", "_")
        ours = [record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn")]
        assert "s3cret" not in "".join(ours).lower()

    run(main())


def test_a_redirect_is_not_followed_and_says_where_it_led() -> None:
    async def main() -> None:
        async with server() as (elsewhere, visited):

            async def redirect(request: Request) -> Response:
                return RedirectResponse(f"{elsewhere}/models")

            async def refuse(websocket: WebSocket) -> None:
                await websocket.send_denial_response(RedirectResponse(elsewhere))

            async with server(redirect, refuse) as (url, _):
                report = await probe.run(target(url), KEYS)
            assert {one.verdict for one in report.cells if one.verdict.is_observation} == {UNCLEAR}
            assert all("a redirect to 127.0.0.1" in one.why for one in report.cells if one.verdict is UNCLEAR)
            assert report.exit_status is ExitStatus.NOTHING_SEEN
            assert visited.requests == []

    run(main())


def test_a_browser_does_without_a_socket_for_which_no_subprotocol_was_selected() -> None:
    async def main() -> None:
        async with server(ws=lambda websocket: greet(websocket, None)) as (url, _):
            report = await probe.run(target(url), KEYS, ways=[WS, BROWSER])
        assert verdicts(report, WS)["nothing"] == {ACCEPTED}
        dropped = cell(report, "nothing", BROWSER)
        assert (dropped.verdict, dropped.status, dropped.close_code) == (REFUSED, 101, 1006)
        assert "selected none" in dropped.why

    run(main())


def test_a_server_that_keeps_silent_is_given_up() -> None:
    async def silent(request: Request) -> Response:
        await asyncio.sleep(60)
        return Response()

    async def listen_only(websocket: WebSocket) -> None:
        await websocket.accept("realtime")
        await websocket.receive()

    async def main() -> None:
        async with server(silent, listen_only) as (url, _):
            report = await probe.run(target(url), KEYS, rows=["nothing"], seconds=0.3)
        assert cell(report, "nothing", HTTP).verdict is UNREACHABLE
        assert cell(report, "nothing", HTTP).why == "no answer within 0.3 seconds"
        assert (cell(report, "nothing", WS).verdict, cell(report, "nothing", WS).status) == (UNCLEAR, 101)
        assert report.exit_status is ExitStatus.NOTHING_SEEN

    run(main())


def test_an_answer_that_stalls_or_breaks_keeps_its_status() -> None:
    async def stalls(status: int) -> AsyncIterator[bytes]:
        yield b'{"error": {"code": "invalid_api_key", "message": "no"}}' if status == 401 else b'{"object": '
        await asyncio.sleep(60)

    async def main() -> None:
        for status, verdict, said in ((200, UNCLEAR, "it stopped in the middle"), (401, REFUSED, "invalid_api_key")):

            async def answer(request: Request, status: int = status) -> Response:
                return StreamingResponse(stalls(status), status)

            async with server(answer) as (url, _):
                report = await probe.run(target(url), KEYS, rows=["nothing"], ways=[HTTP], seconds=0.5)
            assert cell(report, "nothing", HTTP).verdict is verdict
            assert said in cell(report, "nothing", HTTP).why

    run(main())


def test_huge_answers_are_read_in_part() -> None:
    sent, whole = 0, 250_000_000

    async def flood(request: Request) -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < whole and not await request.is_disconnected():
            sent += 65_536
            yield b'{"data": "' + b"x" * 65_526

    async def answer(request: Request) -> Response:
        return StreamingResponse(flood(request))

    async def flood_socket(websocket: WebSocket) -> None:
        await websocket.accept("realtime")
        await websocket.send_text("x" * 1_000_000)
        await websocket.receive()

    async def main() -> None:
        async with server(answer, flood_socket) as (url, _):
            report = await probe.run(target(url), KEYS, rows=["nothing"], ways=[HTTP, WS])
        assert sent < whole / 4, "the server was let finish"
        assert all(len(one.first_frame) <= 301 for one in report.cells)
        assert cell(report, "nothing", HTTP).status == 200
        flooded = cell(report, "nothing", WS)
        assert (flooded.verdict, flooded.close_code, flooded.first_frame) == (UNCLEAR, 1006, "")

    run(main())


def test_text_of_a_server_cannot_move_a_terminal() -> None:
    async def answer(request: Request) -> Response:
        escaped, raw = b'{"error": {"message": "\\u001b[2J\\u0000\\ud800 gone"}}', b"\x1b[2J\x00 gone"
        return Response(escaped if request.method == "GET" else raw, 401)

    async def main() -> None:
        async with server(answer) as (url, _):
            report = await probe.run(target(url), KEYS, rows=["nothing"], ways=[HTTP, SSE])
        assert "gone" in cell(report, "nothing", HTTP).why
        assert "gone" in cell(report, "nothing", SSE).first_frame
        assert all(one.why.isprintable() and one.first_frame.isprintable() for one in report.cells)
        for text in (as_json(report), as_markdown(report), as_junit(report), as_html(report)):
            assert text.encode()

    run(main())


UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00" * 5000,
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/1.1 520 Unknown\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 401 \xff\xfe\r\nx: \xc3\xa9\xff\r\ncontent-length: 3\r\n\r\n\xff\xfe\xfd",
        "HTTP/1.1 401 No\r\nlocation: https://\u4e2d\r\ncontent-length: 0\r\n\r\n".encode(),
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\n\n\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000,
        UPGRADED + b"\r\n",
        UPGRADED + b"sec-websocket-accept: wrong\r\n\r\n",
    ],
    ids=range(13),
)
def test_whatever_a_server_sends_is_a_verdict(garbage: bytes) -> None:
    async def main() -> None:
        async with raw_server(answering(garbage, then_close=True)) as origin:
            report = await probe.run(target(f"http://{origin}/v1"), KEYS, rows=["nothing"], seconds=2)
        seen = {one.verdict for one in report.cells if one.verdict.is_observation}
        assert seen <= {UNCLEAR, UNREACHABLE, REFUSED}
        assert report.is_complete
        assert as_junit(report).encode()

    run(main())


@pytest.mark.parametrize(
    ("provider", "paths", "header", "body"),
    [
        ("anthropic", ["/v1/models", "/v1/messages"], "anthropic-version", '"messages": []'),
        (
            "google-ai-studio",
            ["/v1/v1beta/models", "/v1/v1beta/models/test%2Fecho:streamGenerateContent?alt=sse"],
            "user-agent",
            '"contents": []',
        ),
        ("groq", ["/v1/models", "/v1/chat/completions"], "user-agent", '"messages": []'),
    ],
)
def test_each_provider_is_asked_in_its_own_manner(provider: str, paths: list[str], header: str, body: str) -> None:
    async def main() -> None:
        async with server() as (url, manners):
            await probe.run(target(url, provider), KEYS, rows=["nothing"])
        host = url.removesuffix("/v1")
        assert {asked.removeprefix(host) for asked, *_ in manners.requests} == set(paths)
        assert all(header in headers for _, headers, _ in manners.requests)
        assert all(body in sent.decode() for asked, _, sent in manners.requests if asked.endswith(paths[1]))

    run(main())


# Nobody there, TLS, the guard, and an end before the end


def test_a_closed_port_is_one_error_and_no_table() -> None:
    async def main() -> None:
        with pytest.raises(ProbeError, match=r"127\.0\.0\.1:1 cannot be probed: the host refused"):
            await probe.run(target("http://127.0.0.1:1/v1"), KEYS)
        with pytest.raises(ProbeError, match="has no address"):
            await probe.run(target("http://nobody.invalid/v1"), KEYS)

    run(main())


def test_a_certificate_that_nobody_vouches_for_is_a_verdict(strict_upstream: Address, tmp_path: Path) -> None:
    async def main() -> None:
        providers = {"openai": {"base_url": f"{strict_upstream.http}/v1", "api_key": STRICT_KEY}}
        async with gateway(providers=providers, gateway_token=TOKEN, tls="local", data_dir=tmp_path) as address:
            url = f"{address.http}/v1/local/default"
            distrusted = await probe.run(target(url), KEYS)
            assert {one.verdict for one in distrusted.cells if one.verdict.is_observation} == {UNREACHABLE}
            assert all("not trusted" in one.why for one in distrusted.cells if one.verdict is UNREACHABLE)
            assert distrusted.exit_status is ExitStatus.NOTHING_SEEN
            authority = ssl.create_default_context(cafile=str(tmp_path / "tls" / "authority.pem"))
            trusted = await probe.run(target(url), KEYS, ssl_context=authority)
            assert trusted.exit_status is ExitStatus.SAME, trusted.explanations

    run(main())


def test_the_guard_refuses_this_machine_before_anything_is_sent() -> None:
    async def main() -> None:
        async with server() as (url, manners):
            with pytest.raises(AddressRefused, match=r"rule 'loopback' refuses its address 127\.0\.0\.1"):
                await probe.run(target(url), KEYS, guard=AddressGuard())
            assert manners.requests == []
            guard = AddressGuard(["127.0.0.1"])
            report = await probe.run(target(url), KEYS, rows=["nothing"], guard=guard)
            assert verdicts(report)["nothing"] == {ACCEPTED}

    run(main())


def test_every_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["127.0.0.1"])

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        assert host == "moving.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (next(answers), port))]

    async def main() -> None:
        async with server() as (url, manners):
            monkeypatch.setattr("trunkline.wire.public_addresses.RULES", ())
            monkeypatch.setattr(socket, "getaddrinfo", resolve)
            moving = url.replace("127.0.0.1", "moving.example")
            report = await probe.run(target(moving), KEYS, rows=["nothing"], guard=AddressGuard())
        assert verdicts(report)["nothing"] == {ACCEPTED}
        assert all(headers["host"].startswith("moving.example:") for _, headers, _ in manners.requests)

    asyncio.run(main())


def test_cancelling_ends_at_once_and_keeps_what_was_done() -> None:
    done: list[Cell] = []
    first, holding = asyncio.Event(), asyncio.Event()

    def keep(one: Cell) -> None:
        done.append(one)
        first.set()

    async def hold(request: Request) -> Response:
        if request.method == "POST":
            holding.set()
            await asyncio.sleep(3600)
        return JSONResponse(MODELS)

    async def main() -> None:
        async with server(hold) as (url, _):
            running = asyncio.create_task(
                probe.run(target(url), KEYS, rows=["nothing"], ways=[HTTP, SSE], on_cell=keep, seconds=600)
            )
            await holding.wait()
            await first.wait()
            running.cancel()
            ended, _ = await asyncio.wait({running}, timeout=20)
            assert ended == {running}
            assert running.cancelled()
            assert [(one.row, one.way) for one in done] == [("nothing", HTTP)]
            assert not [task for task in asyncio.all_tasks() if "observe" in repr(task)]

    run(main())


def test_each_cell_is_told_as_it_comes_and_a_listener_that_fails_ends_the_run() -> None:
    async def main() -> None:
        told: list[Cell] = []

        async def tell(one: Cell) -> None:
            told.append(one)

        async def fail(one: Cell) -> None:
            raise RuntimeError("nobody listens")

        async with server() as (url, _):
            report = await probe.run(target(url), KEYS, on_cell=tell)
            assert sorted(map(repr, told)) == sorted(map(repr, report.cells))
            assert len(told) == len(probe.plan(target(url), KEYS))
            with pytest.raises(RuntimeError, match="nobody listens"):
                await probe.run(target(url), KEYS, on_cell=fail)

    run(main())
