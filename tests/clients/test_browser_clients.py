"""The JavaScript clients in a real browser: a client secret of the gateway travels as their sub-protocol."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.clients.stage import Stage, stage
from tests.clients.test_node_clients import (
    CLIENTS,
    LIMIT,
    NODE,
    Reports,
    check_local,
    check_strict,
    check_upstream,
    node,
)
from tests.running import run

ESBUILD = NODE / "node_modules" / ".bin" / "esbuild"
CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",  # the gateway's own authority is known to this machine's tests alone
    "--autoplay-policy=no-user-gesture-required",  # the AI SDK's session plays what it hears, and nobody clicks here
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The page's script with all clients in it."""
    target = tmp_path_factory.mktemp("bundle") / "page.js"

    async def main() -> None:
        assert ESBUILD.exists(), "The clients are not installed: make .venv/stamps/node-clients."
        options = ("--bundle", "--format=esm", "--platform=browser", "--log-level=error", f"--outfile={target}")
        process = await asyncio.create_subprocess_exec(ESBUILD, NODE / "page.mjs", *options)
        assert await process.wait() == 0

    run(main())
    return target.read_bytes()


@asynccontextmanager
async def page(
    bundle: bytes, told: dict[str, str], secret: dict[str, Any], speech: Path
) -> AsyncIterator[tuple[str, asyncio.Future[Reports]]]:
    """Serve the page on loopback; the reports come when it has handed them in."""
    reports: asyncio.Future[Reports] = asyncio.get_running_loop().create_future()
    spoken = speech.read_bytes()  # noqa: ASYNC240 - before anybody is served

    async def index(request: Request) -> Response:
        return HTMLResponse('<!doctype html><script type="module" src="/page.js"></script>')

    async def script(request: Request) -> Response:
        return Response(bundle, media_type="text/javascript")

    async def where(request: Request) -> Response:
        return JSONResponse(told)

    async def give_secret(request: Request) -> Response:
        return JSONResponse(secret)

    async def sound(request: Request) -> Response:
        return Response(spoken)

    async def take(request: Request) -> Response:
        reports.set_result(json.loads(await request.body()))
        return Response(status_code=204)

    routes = [
        Route("/", index),
        Route("/page.js", script),
        Route("/told", where),
        Route("/secret", give_secret, methods=["POST"]),
        Route("/speech", sound),
        Route("/reports", take, methods=["POST"]),
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/", reports
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving


async def in_browser(on: Stage, client: str, provider: str, speech: Path, bundle: bytes) -> Reports:
    """Let a client talk from a page, with a client secret that the app's server got with its gateway key."""
    told = on.told(client, provider)
    secret = await new_secret(on, told)
    told["key"] = secret["token"]
    # Helpers of the browser outlive it for a moment, and may still write.
    with tempfile.TemporaryDirectory(prefix="trunkline-chromium-", ignore_cleanup_errors=True) as profile:
        async with page(bundle, told, secret, speech) as (url, reports):
            browser = await asyncio.create_subprocess_exec(
                *CHROMIUM,
                f"--user-data-dir={profile}",
                url,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            gone = asyncio.create_task(browser.wait())
            try:
                await asyncio.wait({reports, gone}, return_when=asyncio.FIRST_COMPLETED)
                assert reports.done(), "The browser ended before the page had handed in its reports."
                return reports.result()
            finally:
                if browser.returncode is None:
                    browser.terminate()
                await gone


async def new_secret(on: Stage, told: dict[str, str]) -> dict[str, Any]:
    """What an application's server answers its page: a client secret, and with the AI SDK where it is good."""
    if told["client"] == "ai-sdk":
        secret: dict[str, Any] = await node("secret.mjs", on, told)
        assert secret["url"] == f"{on.address.ws}/v1/realtime?model={told['model']}"
    else:
        async with httpx.AsyncClient(verify=False) as server:
            session = {"session": {"type": "realtime", "model": told["model"]}}
            answer = await server.post(
                f"{told['baseUrl']}/realtime/client_secrets",
                json={} if told["client"] == "proof-of-concept" else session,
                headers={"authorization": f"Bearer {on.key}"},
            )
        secret = {"token": answer.json()["value"]}
    assert secret["token"].startswith("ek_tl_")
    return secret


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_in_a_browser_talks_with_the_local_models(
    client: str, speech: Path, bundle: bytes, models: Stage
) -> None:
    async def main() -> None:
        check_local(await in_browser(models, client, "local", speech, bundle))

    run(main(), LIMIT)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_in_a_browser_talks_with_a_strict_provider(client: str, speech: Path, bundle: bytes) -> None:
    async def main() -> None:
        async with stage() as on:
            check_strict(await in_browser(on, client, "openai", speech, bundle))
            check_upstream(on.upstream, "gpt-realtime-2.1" if client == "proof-of-concept" else "gpt-realtime")

    run(main(), LIMIT)
