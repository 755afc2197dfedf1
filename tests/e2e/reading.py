"""Somebody who does what a page of the documentation says, from top to bottom, on a fresh machine.

The machine is a home directory of its own, a gateway that has its data there, and a provider in place of everybody who
is elsewhere. A page's commands are given as they are printed: only addresses, keys (``sk-...``) and names that stand
for something (``ID``) are replaced.
"""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import metadata
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.clients.ga_upstream import KEY, GaUpstream, _respond, ga_upstream
from tests.clients.test_browser_clients import CHROMIUM
from tests.commands import command
from tests.contract.administration import administration, new_key
from tests.contract.strict_upstream import served
from tests.contract.test_voiceplane import dial
from tests.contract.waiting import until
from tests.databases import Postgres, pg_program
from tests.e2e.documents import (
    ROOT,
    SHELL,
    WORDS,
    Block,
    Statement,
    blocks,
    check_known,
    is_plain,
    statements,
    words_of,
)
from tests.running import Address, data_directory, gateway
from trunkline.local.supervisor import LocalWorker, Status
from trunkline.policy.registry import Scope

CLIENTS: Final = ROOT / "tests" / "clients" / "node"  # where the npm clients are installed
CAPITAL: Final = "The capital of France is Paris."
# They go on until they are ended: this is what they say when they are at work.
LASTING: Final = {("trunkline", "serve"): "ready: ", ("trunkline", "local"): "ready: "}
# Somebody else makes sure that these work, and for longer than there is time here.
ELSEWHERE: Final = {
    ("trunkline", "reproduce"): "tests/e2e/test_reproduce.py runs it",
}
# After these nothing else of a page would work for whoever has no key, or no such account.
UNDONE: Final = {
    ("set", "--authenticated"): ("gateways", "set", "default", "--open"),
    ("via", "--account"): ("gateways", "via", "openai", "--off"),
}
HOLLOW_KEY: Final = re.compile(r"\b(sk-ant-|sk-|gsk_|gsk-)\.\.\.")


class Everyone(GaUpstream):
    """OpenAI's realtime API as tests know it, and the plain answers of everybody's API of text."""

    async def _serve_request(self, scope: Any, receive: Any, send: Any) -> None:
        if "/realtime" in scope["path"]:
            await super()._serve_request(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        status, kind, answer = self._plain_answer(scope["path"], headers, json.loads(body) if body else {})
        await _respond(send, status, answer.encode(), "http.response", {"content-type": kind})

    def _plain_answer(self, path: str, headers: list[tuple[str, str]], asked: dict[str, Any]) -> tuple[int, str, str]:
        shown = [text.split()[-1] for name, text in headers if name in ("authorization", "x-api-key") and text.strip()]
        if shown != [self.key]:
            error = {
                "message": "Incorrect API key provided.",
                "type": "invalid_request_error",
                "code": "invalid_api_key",
            }
            return 401, "application/json", json.dumps({"error": error})
        whole = _ANSWERS[next((end for end in _ANSWERS if path.endswith(end)), "/models")]
        if not path.endswith("/models") and not (asked.get("messages") or asked.get("input")):
            error = {"message": "There is nothing to answer.", "type": "invalid_request_error", "param": "messages"}
            return 400, "application/json", json.dumps({"error": error})
        if asked.get("stream") and path.endswith("/chat/completions"):
            events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in _CHUNKS)
            return 200, "text/event-stream", events + "data: [DONE]\n\n"
        return 200, "application/json", json.dumps({**whole, **({"model": asked["model"]} if asked else {})})


_USAGE: Final = {"prompt_tokens": 7, "completion_tokens": 7, "total_tokens": 14}
_CHAT: Final = {"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
_CHUNKS: Final = [
    {
        **_CHAT,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
    }
    for delta, reason in (({"role": "assistant", "content": CAPITAL}, None), ({}, "stop"))
]
_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "/chat/completions": {
        **_CHAT,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": CAPITAL}, "finish_reason": "stop"}],
        "usage": _USAGE,
    },
    "/messages": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": CAPITAL}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 7, "output_tokens": 7},
    },
    "/responses": {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "output": [
            {
                "id": "m1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": CAPITAL, "annotations": []}],
            }
        ],
        "usage": {"input_tokens": 7, "output_tokens": 7, "total_tokens": 14},
    },
    "/models": {"object": "list", "data": [{"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "openai"}]},
}


class Samples:
    """Runs samples of Python: `tests.e2e.forking`, until the end of the block."""

    def __init__(self) -> None:
        program = [sys.executable, "-m", "tests.e2e.forking"]
        self._process = subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, asked: dict[str, Any]) -> int:
        """Run a sample; return its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def __enter__(self) -> Samples:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


class SharedModels(LocalWorker):
    """The local models of a gateway, in a process that other gateways use besides: to load them takes seconds."""

    # Starts the process, when first it is wanted, and tells where it is.
    address: ClassVar[Callable[[], Address]]
    _url = ""

    @property
    def base_url(self) -> str:
        return self._url

    async def ensure_started(self) -> None:
        self._url = f"{(await asyncio.to_thread(type(self).address)).http}/v1"
        self.status = Status("ready")


_FAILED: Final = "It failed: "
# What a page says, and what goes wrong in it, is told to the test.
_PAGE: Final = f"""
const say = (text) => fetch('/said', {{ method: 'POST', body: text }});
console.log = (...words) => say(words.join(' '));
const failed = (error) => say(`{_FAILED}${{error}}`);
addEventListener('unhandledrejection', ({{ reason }}) => failed(reason));
addEventListener('error', ({{ message }}) => failed(message));
import('/shown.js').catch(failed);
"""


class Failed(AssertionError):
    """What a page shows does not do what it says."""


@dataclass
class Reader:
    """Somebody at a machine, with a page in front of them."""

    home: Path
    address: Address
    secure: Callable[[], Awaitable[Address]]
    beyond: Callable[[], Awaitable[Address]]
    upstream: GaUpstream
    samples: Callable[[], Samples]
    postgres: Callable[[], Postgres]
    token: str
    environment: dict[str, str]
    said: str = ""
    is_changed: bool = False
    _database: str = ""
    held: AsyncExitStack = field(default_factory=AsyncExitStack)

    def client(self) -> httpx.AsyncClient:
        """A client of the gateway that may do everything."""
        shown = {"cf-aig-authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.AsyncClient(base_url=self.address.http, headers=shown, timeout=None)

    @property
    def desk(self) -> Path:
        """The folder in which commands are given."""
        return self.home / "desk"

    async def read(self, page: str) -> None:
        """Do all that a page says. Raises `Failed`."""
        found = blocks(page)
        for block in found:
            if block.title and block.title != "trunkline.toml":
                (self.desk / block.title).write_text(await self.replaced(block.text), "utf-8")
        async with self.held:
            for block in found:
                before = len(self.said)
                try:
                    await self._do(block)
                except (Exception, asyncio.CancelledError) as error:
                    raise Failed(f"{block.where}: {error}\n{self.said[before:]}") from error
                wanted = block.notes.get("prints")
                if wanted and wanted not in self.said[before:]:
                    raise Failed(f"{block.where} was to print {wanted!r}, and printed:\n{self.said[before:]}")

    async def _do(self, block: Block) -> None:
        if "not run" in block.notes:
            check_by_sight(block)
        elif block.language in SHELL:
            outside = dict(self.environment)
            for statement in statements(block):
                await self._give(statement, int(block.notes.get("exits", "0")))
            self.environment.clear()  # what a block exports is for that block
            self.environment.update(outside)
        elif block.language == "python":
            if "events.jsonl" in block.text:
                await _recording_at_hand(self)
            await self._set_up_is_read()
            await self._run_sample(await self.replaced(block.text))
        elif block.notes.get("runs in") == "a browser":
            await self._set_up_is_read()
            await self._browse(await self.replaced(block.text), block.notes["prints"])
        elif block.language == "js":
            await self._set_up_is_read()
            await self._run(["node", "--input-type=module", "-"], await self.replaced(block.text), CLIENTS)
        elif block.language == "toml":
            await self._load(block)
        else:
            check_by_sight(block)

    async def _load(self, block: Block) -> None:
        """Have the product read a settings file."""
        path = self.desk / "trunkline.toml"
        path.write_text(block.text, "utf-8")
        for name in re.findall(r'"env:(\w+)"', block.text):
            self.environment.setdefault(name, KEY)
        await self._trunkline("settings", "--config", str(path))
        path.unlink()

    async def _give(self, statement: Statement, code: int) -> None:
        words = words_of(statement.text)
        if any(tuple(words[: len(one)]) == one for one in ELSEWHERE):
            check_known(words)
            return
        for begins, prepare in PREPARED.items():
            if tuple(words[: len(begins)]) == begins:
                self.names.update(await prepare(self))
        text = await self.replaced(statement.text)
        words = words_of(text)
        printed = len(self.said)
        if words[0] == "make":
            await self._run(["make", "--dry-run", *words[1:]], "", ROOT)
        elif words[0] == "pip":
            check_installed(words)
        elif words[0] == "export" and "$" not in text:
            given = dict(word.split("=", 1) for word in words[1:])
            self.environment.update({name: text for name, text in given.items() if text != "..."})
        elif announcement := next((said for one, said in LASTING.items() if tuple(words[: len(one)]) == one), ""):
            await self._start(words, announcement)
        elif words[:4] == ["trunkline", "logs", "list", "--follow"]:
            await self._start(words, "openai", meanwhile=self.ask)
        elif words[0] == "trunkline" and is_plain(text):
            await self._trunkline(*words[1:], code=code)
        else:
            await self._set_up_is_read()
            await self._run(["bash", "--norc", "-euo", "pipefail", "-c", text], "", self.desk, code)
        if self.upstream.http in words:  # what it was shown by somebody else than the gateway
            self.upstream.leaks.clear()
        if statement.printed:
            expected = [line.rstrip() for line in statement.printed.strip().split("\n")]
            got = [line.rstrip() for line in self.said[printed:].strip().split("\n")]
            if got != expected:
                raise Failed("It does not print what the page shows, but:\n" + "\n".join(got))
        for told, undo in UNDONE.items():
            if set(told) <= set(words):
                await self._trunkline(*undo)

    async def _trunkline(self, *words: str, code: int = 0) -> None:
        typed = TYPED.get(words[:2], "y\n")
        done = await asyncio.to_thread(command, *words, given=typed, environment=self.environment, directory=self.desk)
        self.said += done.stdout + done.stderr
        self.is_changed = True
        if done.returncode != code and not (done.returncode == 1 and any(words[: len(one)] == one for one in FINDINGS)):
            raise Failed(f"`trunkline {shlex.join(words)}` ended with {done.returncode}.")

    async def _set_up_is_read(self) -> None:
        """Wait until the gateway has seen what commands changed: after a change over HTTP it reads all of them."""
        if not self.is_changed:
            return
        async with self.client() as client:

            async def looked() -> bool:
                return (await client.patch("/api/gateways/default", json={})).is_success

            await until(looked)
        self.is_changed = False

    async def _run(self, program: list[str], typed: str, folder: Path, code: int = 0) -> None:
        process = await asyncio.create_subprocess_exec(
            *program,
            cwd=folder,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate(typed.encode())
        self.said += output.decode()
        if process.returncode != code:
            raise Failed(f"{shlex.join(program)} ended with {process.returncode}.")

    async def _run_sample(self, code: str) -> None:
        output = self.home / "output"
        asked = {"code": code, "folder": str(self.desk), "environment": self.environment, "output": str(output)}
        status = await asyncio.to_thread(self.samples().run, asked)
        self.said += output.read_text("utf-8")
        if status:
            raise Failed(f"The sample ended with {status}.")

    async def _start(
        self, words: list[str], announcement: str, meanwhile: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Start what goes on until it is ended; end it with Ctrl+C once it is at work."""
        elsewhere = {"TRUNKLINE_PORT": "0", "XDG_DATA_HOME": str(self.home / "elsewhere")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *words),
            cwd=self.desk,
            env={**self.environment, **({} if meanwhile else elsewhere)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        asking = asyncio.create_task(_again(meanwhile)) if meanwhile else None
        try:
            heard = ""
            while announcement not in heard:
                line = (await process.stdout.readline()).decode()
                heard += line
                self.said += line
                if not line:
                    raise Failed(f"{shlex.join(words)} has ended by itself.")
        finally:
            if asking:
                asking.cancel()
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            rest, _ = await process.communicate()
            self.said += rest.decode()
        if process.returncode not in (0, 130):
            raise Failed(f"{shlex.join(words)} ended with {process.returncode}.")

    async def _browse(self, script: str, wanted: str) -> None:
        """Run a script in a page of an application whose server gives it a client secret, until it has said so much."""
        said: asyncio.Queue[str] = asyncio.Queue()

        async def index(request: Request) -> Response:
            return HTMLResponse('<!doctype html><script type="module" src="/page.js"></script>')

        async def page(request: Request) -> Response:
            return Response(_PAGE, media_type="text/javascript")

        async def shown(request: Request) -> Response:
            return Response(script, media_type="text/javascript")

        async def secret(request: Request) -> Response:
            session = {"type": "realtime", "model": "gpt-realtime", "output_modalities": ["text"]}
            key = {"authorization": f"Bearer {self.environment['MY_GATEWAY_KEY']}"}
            path = self.address.path("openai/realtime/client_secrets")
            async with httpx.AsyncClient(base_url=self.address.http) as client:
                answer = await client.post(path, json={"session": session}, headers=key)
            return Response(answer.content, media_type="application/json")

        async def say(request: Request) -> Response:
            words = (await request.body()).decode()
            self.said += f"{words}\n"
            said.put_nowait(words)
            return Response(status_code=204)

        routes = [Route("/", index), Route("/page.js", page), Route("/shown.js", shown)]
        routes += [Route("/secret", secret, methods=["POST"]), Route("/said", say, methods=["POST"])]
        # Helpers of the browser outlive it for a moment, and may still write.
        with tempfile.TemporaryDirectory(prefix="trunkline-chromium-", ignore_cleanup_errors=True) as profile:
            async with served(Starlette(routes=routes)) as url:
                browser = await asyncio.create_subprocess_exec(
                    *CHROMIUM,
                    "--use-fake-device-for-media-stream",
                    "--use-fake-ui-for-media-stream",
                    f"--user-data-dir={profile}",
                    url,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                )
                try:
                    while wanted not in (words := await said.get()):
                        if words.startswith(_FAILED):
                            raise Failed(words)
                finally:
                    browser.terminate()
                    await browser.wait()

    async def ask(self) -> None:
        """Ask a question through the gateway, with a key of the provider's."""
        async with self.client() as client:
            answer = await client.post(
                self.address.path("openai/chat/completions"),
                json={"model": "gpt-4o", "messages": [{"role": "user", "content": "What is the capital of France?"}]},
                headers={"authorization": f"Bearer {KEY}"},
            )
            answer.raise_for_status()

    # What stands for something else.

    names: dict[str, str] = field(default_factory=dict)

    async def replaced(self, text: str) -> str:
        """The text with this machine's addresses, and what its placeholders stand for here."""
        text = HOLLOW_KEY.sub(KEY, text)
        if "s://127.0.0.1:8787" in text:
            secure = await self.secure()
            text = text.replace("https://127.0.0.1:8787", secure.http).replace("wss://127.0.0.1:8787", secure.ws)
        if (cloudflare := "https://gateway.ai.cloudflare.com/v1/ACCOUNT/GATEWAY") in text:
            text = text.replace(cloudflare, f"{(await self.beyond()).http}/v1/local/default")
        if "postgresql://" in text:
            text = text.replace("postgresql://.../postgres", await asyncio.to_thread(lambda: self.postgres().url()))
            self._database = self._database or await asyncio.to_thread(lambda: self.postgres().fresh("template0"))
            text = re.sub(r"postgresql://(\.\.\.|trunkline:PASSWORD[^'\"]*)", self._database, text)
        for shown, here in {
            "127.0.0.1:8787": f"127.0.0.1:{self.address.port}",
            "localhost:8787": f"127.0.0.1:{self.address.port}",
            "https://api.openai.com/v1": self.upstream.http,
            "http://localhost:4000": self.upstream.http,
            "https://api.portkey.ai/v1": self.upstream.http,
            "https://api.cloudflare.com/client/v4": f"{self.address.http}/client/v4",
            'account_id="ACCOUNT"': 'account_id="local"',
        }.items():
            text = text.replace(shown, here)
        for name, value in self.names.items():
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w.])", value, text)
        return text


# With status 1 these say that they found a difference, and of what is behind a page there are some.
FINDINGS: Final = (("sessions", "replay"), ("probe",))
TYPED: Final = {
    ("vault", "set"): KEY,
    ("users", "add"): "correct horse battery staple\n",
}


async def _again(what: Callable[[], Awaitable[None]]) -> None:
    while True:
        await what()
        await asyncio.sleep(0.2)


# What has to be there before a command can be given, and what its placeholders then stand for.


async def _gateway_key(reader: Reader) -> dict[str, str]:
    await reader._trunkline("keys", "create", "for a page")
    found = re.findall(r"key_[0-9a-f]{12}", reader.said)
    return {"key_0123456789ab": found[-1]}


async def _recorded_session(reader: Reader, modality: str = "text") -> dict[str, str]:
    await reader._trunkline("vault", "set", "openai")
    await reader._set_up_is_read()
    async with reader.client() as client:
        (await client.patch("/api/gateways/default", json={"realtime": {"record": True}})).raise_for_status()
        before = await _records(client)
        async with dial(reader.address, CALL, authorization=f"Bearer {KEY}") as socket:
            await _say(socket, "Hello", modality)
        found = await until(lambda: _new_record(client, before))
    return {"ID": found, "URL": f"{reader.address.ws}{CALL}", "wss://HOST": reader.address.ws}


async def _spoken_session(reader: Reader) -> dict[str, str]:
    return await _recorded_session(reader, "audio")


async def _recording_at_hand(reader: Reader) -> None:
    session = (await _spoken_session(reader))["ID"]
    data = reader.home / ".local" / "share" / "trunkline"
    (reader.desk / "events.jsonl").write_bytes((data / "recordings" / session / "events.jsonl").read_bytes())


async def _open_session(reader: Reader) -> dict[str, str]:
    await reader.held.enter_async_context(dial(reader.address, CALL, authorization=f"Bearer {KEY}"))
    async with reader.client() as client:

        async def opened() -> str:
            found = (await client.get("/api/realtime/sessions", headers={"accept": "application/json"})).json()
            found = found["sessions"]
            return str(found[0]["id"]) if found else ""

        return {"ID": await until(opened)}


CALL: Final = "/v1/local/default/openai/realtime?model=gpt-realtime"


async def _say(socket: Any, words: str, modality: str) -> None:
    session = {"type": "realtime", "output_modalities": [modality]}
    await socket.send(json.dumps({"type": "session.update", "session": session}))
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await socket.send('{"type": "response.create"}')
    while json.loads(await socket.recv())["type"] != "response.done":
        pass


async def _records(client: httpx.AsyncClient) -> set[str]:
    found = (await client.get("/api/realtime/records")).json()
    return {one["id"] for one in found["records"] if one["ended_at"]}


async def _new_record(client: httpx.AsyncClient, before: set[str]) -> str:
    return next(iter(await _records(client) - before), "")


async def _conversation(reader: Reader) -> dict[str, str]:
    async with reader.client() as client:
        message = {"id": "m", "parent": None, "role": "user", "text": "Some words of it", "created_at": 1790000000}
        (await client.put("/api/conversations/kept", json={"messages": [message]})).raise_for_status()
    with zipfile.ZipFile(reader.desk / "conversations.zip", "w") as archive:
        archive.writestr("conversations.json", "[]")
    return {"ID": "kept"}


async def _logged(reader: Reader) -> dict[str, str]:
    async with reader.client() as client:
        (await client.patch("/api/gateways/default", json={"logging": {"payloads": True}})).raise_for_status()
        await reader.ask()

        async def row() -> str:
            found = (await client.get("/api/logs")).json()["logs"]
            return str(found[0]["id"]) if found else ""

        return {"01J...": await until(row)}


async def _no_grace(reader: Reader) -> dict[str, str]:
    done = await asyncio.to_thread(
        command, "users", "delete", "grace@example.org", given="y\n", environment=reader.environment
    )
    assert done.returncode in (0, 2)
    return {}


async def _route(reader: Reader) -> dict[str, str]:
    (route,) = (block for block in blocks("docs/routes.md") if block.title == "support.json")
    (reader.desk / "support.json").write_text(route.text, "utf-8")
    await reader._trunkline("routes", "import", "support", "support.json")
    await reader._trunkline("routes", "show", "support", "--json")
    versions = re.findall(r'"id": "(\w{26})"', reader.said)
    return {"VERSION": versions[-1]} if versions else {}


PREPARED: Final[dict[tuple[str, ...], Callable[[Reader], Awaitable[dict[str, str]]]]] = {
    ("trunkline", "keys", "revoke"): _gateway_key,
    ("trunkline", "keys", "limit"): _gateway_key,
    **{("trunkline", "sessions", one): _recorded_session for one in ("show", "replay", "forget")},
    ("trunkline", "sessions", "audio"): _spoken_session,
    ("trunkline", "sessions", "kill"): _open_session,
    ("trunkline", "conversations"): _conversation,
    ("trunkline", "logs", "show"): _logged,
    ("trunkline", "logs", "payload"): _logged,
    ("trunkline", "users", "add"): _no_grace,
    ("trunkline", "routes", "simulate"): _route,
    ("trunkline", "routes", "deploy"): _route,
}


# What can be judged without doing it.


def check_by_sight(block: Block) -> None:
    """Raise `Failed` or an error of a parser unless a block is what it says it is."""
    match block.language:
        case "json":
            text = block.text.strip()
            while text:
                _, end = json.JSONDecoder().raw_decode(text)
                text = text[end:].lstrip(", \n")
        case "yaml":
            for line in _run_lines(list(yaml.safe_load_all(block.text))):
                _check_statement(line)
        case "toml":
            tomllib.loads(block.text)
        case "ini":
            configparser.ConfigParser(strict=False, interpolation=None).read_string(block.text)
        case "python":
            compile(block.text, block.where, "exec")
        case language if language in SHELL:
            for statement in statements(block):
                _check_statement(statement.text)
        case language if language in WORDS:
            for line in block.text.split("\n"):
                if re.match(r"(\$ )?(trunkline|curl|pip|python|make) ", line):
                    raise Failed(f"A command is hidden in what is said to be text: {line}")
        case language if "not run" not in block.notes:
            raise Failed(f"Nobody knows how to check a block of {language or 'no language'}.")


def _run_lines(document: Any) -> Iterator[str]:
    match document:
        case {"run": str(text)}:
            yield text
        case dict():
            for inner in document.values():
                yield from _run_lines(inner)
        case list():
            for inner in document:
                yield from _run_lines(inner)


def _check_statement(text: str) -> None:
    words = words_of(text)
    if words[0] == "trunkline":
        check_known(words)
    elif words[0] == "python":
        source = (ROOT / words[1]).read_text("utf-8")
        for word in words[2:]:
            if word.startswith("--") and f'"{word}"' not in source:
                raise Failed(f"{words[1]} has no {word}.")


def check_installed(words: list[str]) -> None:
    """Raise unless what pip is asked for is what this environment has, extras and all: a test fetches nothing."""
    for word in words[2:]:
        if word.startswith("-"):
            continue
        name, _, extras = word.rstrip("]").partition("[")
        known = metadata(name).get_all("Provides-Extra") or []
        for extra in filter(None, extras.split(",")):
            if extra not in known:
                raise Failed(f"{name} has no extra {extra!r}.")


@asynccontextmanager
async def machine(
    folder: Path, samples: Callable[[], Samples], postgres: Callable[[], Postgres], token: str = ""
) -> AsyncIterator[Reader]:
    """A machine with a gateway that runs, and a provider in place of everybody elsewhere.

    With a ``token`` the gateway demands that or a key; ``TOKEN`` in the environment is the token, or else a key.
    """
    async with AsyncExitStack() as stack:
        data = stack.enter_context(data_directory())
        share = folder / ".local" / "share"
        for place in (share, folder / "desk", folder / "bin", folder / "elsewhere" / "trunkline"):
            place.mkdir(parents=True)
        (share / "trunkline").symlink_to(data, target_is_directory=True)
        (folder / "elsewhere" / "trunkline" / "models").symlink_to(data / "models", target_is_directory=True)
        _write_program(folder / "bin" / "trunkline", f'exec {sys.executable} -m trunkline "$@"')
        (folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n", "utf-8")
        upstream = await stack.enter_async_context(ga_upstream(kind=Everyone, pace=0))
        base = upstream.http.removesuffix("/v1")
        providers = {
            "openai": {"base_url": upstream.http},
            "groq": {"base_url": upstream.http},
            "anthropic": {"base_url": base},
        }
        async with administration(data) as admin:
            key, _ = await new_key(admin, scopes=list(Scope))
        address = await stack.enter_async_context(gateway(data_dir=data, providers=providers, gateway_token=token))
        environment = {
            "PATH": f"{folder / 'bin'}:{Path(pg_program('pg_dump')).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HOME": str(folder),
            "XDG_DATA_HOME": str(share),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "COLUMNS": "300",
            "TRUNKLINE_PORT": str(address.port),
            **{f"TRUNKLINE_PROVIDERS__{name.upper()}__BASE_URL": one["base_url"] for name, one in providers.items()},
            **dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROQ_API_KEY", "KEY_VARIABLE"), KEY),
            **dict.fromkeys(("CF_AIG_TOKEN", "MY_GATEWAY_KEY"), key),
            "TOKEN": token or key,
            **({"TRUNKLINE_GATEWAY_TOKEN": token} if token else {}),
        }

        others: dict[str, Address] = {}

        async def secure() -> Address:
            if "secure" not in others:
                terms: dict[str, Any] = {"data_dir": data, "providers": providers, "tls": "local"}
                others["secure"] = await stack.enter_async_context(gateway(**terms))
                authority = str(data / "tls" / "authority.pem")
                environment.update(NODE_EXTRA_CA_CERTS=authority, SSL_CERT_FILE=authority)
            return others["secure"]

        async def beyond() -> Address:
            if "beyond" not in others:
                terms = {"providers": providers, "gateway_token": environment["CF_AIG_TOKEN"]}
                others["beyond"] = await stack.enter_async_context(gateway(**terms))
            return others["beyond"]

        yield Reader(folder, address, secure, beyond, upstream, samples, postgres, token, environment)


def _write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", "utf-8")
    path.chmod(0o755)
