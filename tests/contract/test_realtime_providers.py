"""Realtime sessions of every provider that has some: the address, the place of the key, and the frames.

The upstream plays each provider's protocol from a script, and writes down what its handshakes showed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.typing import Subprotocol

from tests.contract.administration import administration, new_key
from tests.contract.test_voiceplane import Conversation, close_of, upstream_of
from tests.running import Address, data_directory, gateway, run

TOKEN = "gateway-token-0123456789"
STORED = "stored-provider-key-0123456789"
OWN = "own-provider-key-0123456789"
PCM = bytes(range(256)) * 5
SOUND = b"\xff\x00\xfe\x01" * 64
CAPITAL_PCM = "BAAE"
GEMINI = "ws/google.ai.generativelanguage"


@dataclass
class Upstream:
    """One provider: plays ``script`` on every socket. ``seen`` are its handshakes: path, headers and sub-protocols."""

    script: Conversation
    seen: list[tuple[str, dict[str, str], list[str]]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    async def __call__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        headers = {name.lower(): value for name, value in socket.request.headers.raw_items()}
        protocols = [name.strip() for name in headers.pop("sec-websocket-protocol", "").split(",") if name]
        self.seen.append((socket.request.path, headers, protocols))
        try:
            await self.script(socket)
        except BaseException as error:
            self.failures.append(error)
            raise

    def shown(self) -> tuple[str, dict[str, str], list[str]]:
        """Return the one handshake; nothing of the gateway's own was in it."""
        ((path, headers, protocols),) = self.seen
        assert TOKEN not in f"{path} {headers} {protocols}"
        assert not [name for name in headers if name.startswith("cf-aig-")]
        return path, headers, protocols


# The providers, as they speak


async def said_by(socket: ServerConnection | ClientConnection) -> Any:
    """Return the next message, JSON decoded whether it came as text or in a binary frame."""
    message = await socket.recv()
    return json.loads(message)


async def say(socket: ServerConnection | ClientConnection, **event: Any) -> None:
    await socket.send(json.dumps(event))


async def deepgram_listens(socket: ServerConnection) -> None:
    assert await socket.recv() == PCM
    await say(socket, type="Results", is_final=True, channel={"alternatives": [{"transcript": "hello"}]})
    assert await said_by(socket) == {"type": "CloseStream"}
    await say(socket, type="Metadata", duration=0.1)


async def deepgram_speaks(socket: ServerConnection) -> None:
    assert await said_by(socket) == {"type": "Speak", "text": "Hello"}
    assert await said_by(socket) == {"type": "Flush"}
    await socket.send(SOUND)
    await say(socket, type="Flushed", sequence_id=0)


async def deepgram_converses(socket: ServerConnection) -> None:
    await say(socket, type="Welcome", request_id="r")
    assert (await said_by(socket))["type"] == "Settings"
    await say(socket, type="SettingsApplied")
    assert await socket.recv() == PCM
    await say(socket, type="ConversationText", role="user", content="hello")
    await socket.send(SOUND)


async def cartesia_speaks(socket: ServerConnection) -> None:
    asked = await said_by(socket)
    assert (asked["model_id"], asked["context_id"]) == ("sonic-3", "c")
    await say(socket, type="chunk", data=CAPITAL_PCM, done=False, context_id="c")
    await say(socket, type="done", done=True, context_id="c")


async def cartesia_listens(socket: ServerConnection) -> None:
    assert await socket.recv() == PCM
    assert await socket.recv() == "finalize"
    await say(socket, type="transcript", is_final=True, text="hello")
    await say(socket, type="flush_done")


async def elevenlabs_converses(socket: ServerConnection) -> None:
    assert (await said_by(socket))["type"] == "conversation_initiation_client_data"
    metadata = {"conversation_id": "c", "agent_output_audio_format": "pcm_16000"}
    await say(socket, type="conversation_initiation_metadata", conversation_initiation_metadata_event=metadata)
    await say(socket, type="ping", ping_event={"event_id": 7, "ping_ms": 20})
    # Whatever answered before the client did would be here first.
    assert await said_by(socket) == {"type": "pong", "event_id": 7}
    assert await said_by(socket) == {"user_audio_chunk": CAPITAL_PCM}
    await say(socket, type="audio", audio_event={"audio_base_64": CAPITAL_PCM, "event_id": 8})


async def elevenlabs_speaks(socket: ServerConnection) -> None:
    assert await said_by(socket) == {"text": " "}
    assert await said_by(socket) == {"text": ""}
    await say(socket, audio=CAPITAL_PCM, isFinal=True)


async def gemini_converses(socket: ServerConnection) -> None:
    setup = await socket.recv()
    assert json.loads(setup)["setup"]["model"] == "models/gemini-live"
    # Its JSON comes in binary frames.
    await socket.send(json.dumps({"setupComplete": {}}).encode())
    asked = await socket.recv()
    assert isinstance(asked, bytes)
    assert "realtimeInput" in json.loads(asked)
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": CAPITAL_PCM}}
    await socket.send(json.dumps({"serverContent": {"modelTurn": {"parts": [part]}}}).encode())


async def openai_converses(socket: ServerConnection) -> None:
    await say(socket, type="session.created", session={"id": "sess_1"})
    assert (await said_by(socket))["type"] == "response.create"
    await say(socket, type="response.done", response={"id": "resp_1", "status": "completed"})


async def fal_draws(socket: ServerConnection) -> None:
    assert await said_by(socket) == {"prompt": "a cat"}
    await say(socket, type="start", status=200)
    await socket.send(SOUND)
    await say(socket, type="end")


# Their clients


async def client_of_deepgram_that_talks(socket: ClientConnection) -> None:
    await socket.send(PCM)
    assert (await said_by(socket))["type"] == "Results"
    await say(socket, type="CloseStream")
    assert (await said_by(socket))["type"] == "Metadata"


async def client_of_deepgram_that_reads(socket: ClientConnection) -> None:
    await say(socket, type="Speak", text="Hello")
    await say(socket, type="Flush")
    assert await socket.recv() == SOUND
    assert (await said_by(socket))["type"] == "Flushed"


async def client_of_deepgrams_agent(socket: ClientConnection) -> None:
    assert (await said_by(socket))["type"] == "Welcome"
    await say(socket, type="Settings", agent={"think": {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}}})
    assert (await said_by(socket))["type"] == "SettingsApplied"
    await socket.send(PCM)
    assert (await said_by(socket))["content"] == "hello"
    assert await socket.recv() == SOUND


async def client_of_cartesia_that_reads(socket: ClientConnection) -> None:
    await say(socket, model_id="sonic-3", transcript="Hello", context_id="c", voice={"mode": "id", "id": "v"})
    assert [(await said_by(socket))["type"] for _ in range(2)] == ["chunk", "done"]


async def client_of_cartesia_that_talks(socket: ClientConnection) -> None:
    await socket.send(PCM)
    await socket.send("finalize")
    assert [(await said_by(socket))["type"] for _ in range(2)] == ["transcript", "flush_done"]


async def client_of_elevenlabs_agent(socket: ClientConnection) -> None:
    await say(socket, type="conversation_initiation_client_data")
    assert (await said_by(socket))["type"] == "conversation_initiation_metadata"
    ping = await said_by(socket)
    assert ping["type"] == "ping"
    await say(socket, type="pong", event_id=ping["ping_event"]["event_id"])
    await say(socket, user_audio_chunk=CAPITAL_PCM)
    assert (await said_by(socket))["audio_event"]["audio_base_64"] == CAPITAL_PCM


async def client_of_elevenlabs_that_reads(socket: ClientConnection) -> None:
    await say(socket, text=" ")
    await say(socket, text="")
    assert (await said_by(socket))["isFinal"] is True


async def client_of_gemini(socket: ClientConnection) -> None:
    await say(socket, setup={"model": "models/gemini-live"})
    complete = await socket.recv()
    assert complete == b'{"setupComplete": {}}'
    await socket.send(json.dumps({"realtimeInput": {"audio": {"data": CAPITAL_PCM}}}).encode())
    spoken = await socket.recv()
    assert isinstance(spoken, bytes)
    assert CAPITAL_PCM.encode() in spoken


async def client_of_openai(socket: ClientConnection) -> None:
    assert (await said_by(socket))["type"] == "session.created"
    await say(socket, type="response.create")
    assert (await said_by(socket))["type"] == "response.done"


async def client_of_fal(socket: ClientConnection) -> None:
    await say(socket, prompt="a cat")
    assert (await said_by(socket))["type"] == "start"
    assert await socket.recv() == SOUND
    assert (await said_by(socket))["type"] == "end"


@dataclass(frozen=True)
class Door:
    """One way into a provider.

    ``path`` follows the gateway's, and ``arrives`` is the path upstream; ``{}`` is the key where it is shown there.
    ``headers`` and ``protocols`` are the client's, ``slot`` is the header upstream that a stored key is written into,
    ``stays`` where the client's own key is upstream, if elsewhere: a query's name. ``selected`` is the sub-protocol
    that the client is given, ``beside`` are those that the provider is offered.
    """

    name: str
    path: str
    arrives: str
    slot: tuple[str, str]
    script: Conversation
    client: Callable[[ClientConnection], Any]
    headers: dict[str, str] = field(default_factory=dict)
    protocols: Sequence[str] = ()
    stays: str = ""
    own: tuple[str, str] = ("", "")
    selected: str | None = None
    beside: Sequence[str] = ()

    @property
    def provider(self) -> str:
        return self.path.split("/")[0].split("?")[0]


TOKEN_SLOT = ("authorization", "Token {}")
BEARER_SLOT = ("authorization", "Bearer {}")
FAL_SLOT = ("authorization", "Key {}")
GOOGLE_SLOT = ("x-goog-api-key", "{}")
XI_SLOT = ("xi-api-key", "{}")
CARTESIA_SLOT = ("x-api-key", "{}")
AZURE_SLOT = ("api-key", "{}")
LISTEN = "v1/listen?model=nova-3&encoding=linear16&sample_rate=16000"
BIDI = f"{GEMINI}.v1beta.GenerativeService.BidiGenerateContent"

DOORS = [
    Door(
        "Deepgram, speech to text",
        f"deepgram/{LISTEN}",
        f"/{LISTEN}",
        TOKEN_SLOT,
        deepgram_listens,
        client_of_deepgram_that_talks,
        headers={"authorization": "Token {}"},
    ),
    Door(
        "Deepgram, Flux, in a browser",
        "deepgram/v2/listen?model=flux-general-en",
        "/v2/listen?model=flux-general-en",
        TOKEN_SLOT,
        deepgram_listens,
        client_of_deepgram_that_talks,
        protocols=("token", "{}"),
        selected="token",
    ),
    Door(
        "Deepgram, in a browser with a temporary token",
        f"deepgram/{LISTEN}",
        f"/{LISTEN}",
        TOKEN_SLOT,
        deepgram_listens,
        client_of_deepgram_that_talks,
        protocols=("bearer", "{}"),
        own=BEARER_SLOT,
        selected="bearer",
    ),
    Door(
        "Deepgram, text to speech",
        "deepgram/v1/speak?model=aura-2-thalia-en",
        "/v1/speak?model=aura-2-thalia-en",
        TOKEN_SLOT,
        deepgram_speaks,
        client_of_deepgram_that_reads,
        headers={"authorization": "Token {}"},
    ),
    Door(
        "Deepgram, agent",
        "deepgram/v1/agent/converse",
        "/v1/agent/converse",
        TOKEN_SLOT,
        deepgram_converses,
        client_of_deepgrams_agent,
        protocols=("token", "{}"),
        selected="token",
    ),
    Door(
        "Cartesia, as Cloudflare has it",
        "cartesia?cartesia_version=2024-06-10&api_key={}",
        "/tts/websocket?cartesia_version=2024-06-10",
        CARTESIA_SLOT,
        cartesia_speaks,
        client_of_cartesia_that_reads,
    ),
    Door(
        "Cartesia, its SDK",
        "cartesia/tts/websocket",
        "/tts/websocket",
        CARTESIA_SLOT,
        cartesia_speaks,
        client_of_cartesia_that_reads,
        headers={"authorization": "Bearer {}", "cartesia-version": "2025-04-16"},
        own=BEARER_SLOT,
    ),
    Door(
        "Cartesia, in a browser with an access token",
        "cartesia/stt/websocket?cartesia_version=2025-04-16&access_token={}&model=ink-whisper",
        "/stt/websocket?cartesia_version=2025-04-16&model=ink-whisper",
        CARTESIA_SLOT,
        cartesia_listens,
        client_of_cartesia_that_talks,
        stays="access_token",
    ),
    Door(
        "ElevenLabs, agent, as Cloudflare has it",
        "elevenlabs?agent_id=A",
        "/v1/convai/conversation?agent_id=A",
        XI_SLOT,
        elevenlabs_converses,
        client_of_elevenlabs_agent,
        protocols=("xi-api-key.{}", "convai"),
        own=("", "xi-api-key.{}"),
        selected="convai",
        beside=("convai",),
    ),
    Door(
        "ElevenLabs, agent by a signed URL",
        "elevenlabs/v1/convai/conversation?agent_id=A&conversation_signature={}",
        "/v1/convai/conversation?agent_id=A",
        XI_SLOT,
        elevenlabs_converses,
        client_of_elevenlabs_agent,
        stays="conversation_signature",
    ),
    Door(
        "ElevenLabs, text to speech",
        "elevenlabs/v1/text-to-speech/voice/stream-input?model_id=eleven_flash_v2_5",
        "/v1/text-to-speech/voice/stream-input?model_id=eleven_flash_v2_5",
        XI_SLOT,
        elevenlabs_speaks,
        client_of_elevenlabs_that_reads,
        headers={"xi-api-key": "{}"},
    ),
    Door(
        "Gemini Live, as Cloudflare has it",
        "google?api_key={}",
        f"/{BIDI}",
        GOOGLE_SLOT,
        gemini_converses,
        client_of_gemini,
    ),
    Door(
        "Gemini Live, Google's SDK",
        f"google-ai-studio/{BIDI}?key={{}}",
        f"/{BIDI}",
        GOOGLE_SLOT,
        gemini_converses,
        client_of_gemini,
    ),
    Door(
        "Gemini Live, v1alpha",
        f"google-ai-studio/{GEMINI}.v1alpha.GenerativeService.BidiGenerateContent",
        f"/{GEMINI}.v1alpha.GenerativeService.BidiGenerateContent",
        GOOGLE_SLOT,
        gemini_converses,
        client_of_gemini,
        headers={"x-goog-api-key": "{}"},
    ),
    Door(
        "xAI",
        "grok?model=grok-voice",
        "/v1/realtime?model=grok-voice",
        BEARER_SLOT,
        openai_converses,
        client_of_openai,
        protocols=("realtime", "xai-client-secret.{}"),
        own=("", "xai-client-secret.{}"),
        selected="realtime",
        beside=("realtime",),
    ),
    Door(
        "Azure OpenAI",
        "azure-openai/acme/openai/v1/realtime?model=voice",
        "/acme/openai/v1/realtime?model=voice",
        AZURE_SLOT,
        openai_converses,
        client_of_openai,
        headers={"api-key": "{}"},
    ),
    Door(
        "Azure OpenAI, preview API",
        "azure/acme/openai/realtime?api-version=2025-04-01-preview&deployment=voice",
        "/acme/openai/realtime?api-version=2025-04-01-preview&deployment=voice",
        AZURE_SLOT,
        openai_converses,
        client_of_openai,
        protocols=("realtime", "openai-insecure-api-key.{}"),
        selected="realtime",
        beside=("realtime",),
    ),
    Door(
        "fal, app",
        "fal/fal-ai/fast-lcm-diffusion",
        "/fal-ai/fast-lcm-diffusion",
        FAL_SLOT,
        fal_draws,
        client_of_fal,
        protocols=("fal-api-key.{}", "app"),
        selected="app",
        beside=("app",),
    ),
    Door(
        "fal, realtime app in a browser",
        "fal/fal-ai/fast-lcm-diffusion/realtime?fal_jwt_token={}",
        "/fal-ai/fast-lcm-diffusion/realtime",
        FAL_SLOT,
        fal_draws,
        client_of_fal,
        stays="fal_jwt_token",
    ),
    Door(
        "Workers AI",
        "workers-ai?model=@cf/deepgram/nova-3&encoding=linear16&sample_rate=16000",
        "/client/v4/accounts/acc/ai/run/@cf/deepgram/nova-3?encoding=linear16&sample_rate=16000",
        BEARER_SLOT,
        deepgram_listens,
        client_of_deepgram_that_talks,
        headers={"authorization": "Bearer {}"},
    ),
]


def providers_at(url: str, provider: str, **table: Any) -> dict[str, dict[str, Any]]:
    """The settings that have a provider at another address. Azure's and Workers AI's keep the form they have."""
    provider = {"google": "google-ai-studio", "azure": "azure-openai"}.get(provider, provider)
    if provider == "azure-openai":
        routes = [{"path": "{resource}/openai", "base_url": f"{url}/{{resource}}/openai"}]
        return {provider: {"realtime": {"routes": routes}, **table}}
    if provider == "workers-ai":
        routes = [{"path": "", "base_url": f"{url}/client/v4/accounts/{{account}}/ai/run"}]
        return {provider: {"realtime": {"routes": routes}, "parameters": {"account": "acc"}, **table}}
    return {provider: {"base_url": url, **table}}


def call(
    address: Address, path: str, headers: dict[str, str] | None = None, protocols: Sequence[str] = (), key: str = ""
) -> connect:
    """Dial a provider's path at the gateway, the key wherever there are braces."""
    return connect(
        f"{address.ws}/v1/local/default/{path.replace('{}', key)}",
        additional_headers={name: value.replace("{}", key) for name, value in (headers or {}).items()},
        subprotocols=[Subprotocol(name.replace("{}", key)) for name in protocols] or None,
        max_size=None,
        proxy=None,
    )


@asynccontextmanager
async def scripted(script: Conversation) -> AsyncIterator[tuple[Upstream, str]]:
    """An upstream that plays a script, and its address."""
    upstream = Upstream(script)
    async with upstream_of(upstream) as origin:
        yield upstream, f"http://{origin.host}:{origin.port}"
    assert upstream.failures == []


def assert_key(door: Door, upstream: Upstream, key: str, *, is_own: bool) -> None:
    """The key is upstream where it belongs, once, and the address is the provider's."""
    path, headers, protocols = upstream.shown()
    header, form = door.own if is_own and door.own != ("", "") else door.slot
    offered = list(door.beside)
    arrives = door.arrives
    written = dict.fromkeys(["authorization", "api-key", "x-api-key", "x-goog-api-key", "xi-api-key"])
    if is_own and door.stays:
        arrives += f"{'&' if '?' in arrives else '?'}{door.stays}={key}"
    elif header:
        written[header] = form.replace("{}", key)
    else:
        offered.append(form.replace("{}", key))
    assert path == arrives
    assert {name: headers.get(name) for name in written} == written
    assert protocols == offered


every_door = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)


@every_door
def test_a_client_that_brings_its_own_key_converses_with_its_provider(door: Door) -> None:
    async def main() -> None:
        async with scripted(door.script) as (upstream, url):
            async with (
                gateway(providers=providers_at(url, door.provider)) as address,
                call(address, door.path, door.headers, door.protocols, OWN) as socket,
            ):
                await door.client(socket)
                assert socket.subprotocol == door.selected
            assert_key(door, upstream, OWN, is_own=True)

    run(main())


@every_door
def test_the_gateways_key_alone_in_the_clients_place_opens_it_and_the_stored_key_is_shown(door: Door) -> None:
    async def main() -> None:
        async with scripted(door.script) as (upstream, url):
            providers = providers_at(url, door.provider, api_key=STORED)
            async with (
                gateway(providers=providers, gateway_token=TOKEN) as address,
                call(address, door.path, door.headers, door.protocols, TOKEN) as socket,
            ):
                await door.client(socket)
                assert socket.subprotocol == door.selected
            assert_key(door, upstream, STORED, is_own=False)

    run(main())


def test_the_closing_of_a_provider_reaches_the_client_as_it_was() -> None:
    async def close(socket: ServerConnection) -> None:
        await socket.close(1011, "NET-0001")  # Deepgram's for a client that sends no sound

    async def main() -> None:
        async with (
            scripted(close) as (_, url),
            gateway(providers=providers_at(url, "deepgram")) as address,
            call(address, f"deepgram/{LISTEN}", {"authorization": f"Token {OWN}"}) as socket,
        ):
            assert await close_of(socket) == (1011, "NET-0001")

    run(main())


def test_deepgrams_agent_is_dialled_at_its_own_host_and_the_rest_where_the_rest_is() -> None:
    async def main() -> None:
        async with scripted(deepgram_converses) as (agent, there), scripted(deepgram_listens) as (api, here):
            realtime = {"base_url": here, "routes": [{"path": "v1/agent", "base_url": f"{there}/v1/agent"}]}
            async with gateway(providers={"deepgram": {"realtime": realtime}}) as address:
                async with call(address, "deepgram/v1/agent/converse", {"authorization": f"Token {OWN}"}) as socket:
                    await client_of_deepgrams_agent(socket)
                async with call(address, f"deepgram/{LISTEN}", {"authorization": f"Token {OWN}"}) as socket:
                    await client_of_deepgram_that_talks(socket)
            assert agent.shown()[0] == "/v1/agent/converse"
            assert api.shown()[0] == f"/{LISTEN}"

    run(main())


# Credentials that are good in one place only


EPHEMERAL = "auth_tokens/0123456789abcdef"
CONSTRAINED = f"{GEMINI}.v1alpha.GenerativeService.BidiGenerateContentConstrained"


@pytest.mark.parametrize(
    ("query", "headers", "arrives", "shown"),
    [
        (f"?access_token={EPHEMERAL}", {}, f"/{CONSTRAINED}?access_token=auth_tokens%2F0123456789abcdef", {}),
        ("", {"authorization": f"Token {EPHEMERAL}"}, f"/{CONSTRAINED}", {"authorization": f"Token {EPHEMERAL}"}),
        ("", {"x-goog-api-key": EPHEMERAL}, f"/{CONSTRAINED}", {"authorization": f"Token {EPHEMERAL}"}),
        (f"?key={EPHEMERAL}", {}, f"/{CONSTRAINED}", {"authorization": f"Token {EPHEMERAL}"}),
    ],
    ids=["where JavaScript has it", "where Python has it", "where the key was", "where the key was in the query"],
)
def test_an_ephemeral_token_of_geminis_is_never_shown_as_an_api_key(
    query: str, headers: dict[str, str], arrives: str, shown: dict[str, str]
) -> None:
    async def main() -> None:
        async with scripted(gemini_converses) as (upstream, url):
            async with (
                gateway(providers=providers_at(url, "google", api_key=STORED)) as address,
                call(address, f"google-ai-studio/{CONSTRAINED}{query}", headers) as socket,
            ):
                await client_of_gemini(socket)
            path, seen, _ = upstream.shown()
            assert path == arrives
            assert {name: seen[name] for name in ("authorization", "x-goog-api-key") if name in seen} == shown

    run(main())


def test_a_login_with_azure_stays_a_bearer_token() -> None:
    async def main() -> None:
        login = "eyJ0eXAiOiJKV1QifQ.e30.c2ln"
        async with scripted(openai_converses) as (upstream, url):
            async with (
                gateway(providers=providers_at(url, "azure", api_key=STORED)) as address,
                call(address, "azure/acme/openai/v1/realtime?model=v", {"authorization": f"Bearer {login}"}) as socket,
            ):
                await client_of_openai(socket)
            _, headers, _ = upstream.shown()
            assert headers["authorization"] == f"Bearer {login}"
            assert "api-key" not in headers

    run(main())


def test_two_keys_of_one_provider_are_refused_in_its_words_and_neither_leaves() -> None:
    async def main() -> None:
        async with (
            scripted(deepgram_listens) as (upstream, url),
            gateway(providers=providers_at(url, "deepgram")) as address,
            call(address, f"deepgram/{LISTEN}", {"authorization": f"Token {OWN}"}, ("token", "another")) as socket,
        ):
            refusal = await said_by(socket)
            assert refusal["type"] == "Error"
            assert "the sub-protocol behind token" in refusal["description"]
            assert OWN not in str(refusal)
            assert (await close_of(socket))[0] == 4000
            assert upstream.seen == []

    run(main())


# Through a Cloudflare AI Gateway


@pytest.mark.parametrize(
    ("path", "arrives", "header"),
    [
        (
            "workers-ai?model=@cf/deepgram/nova-3&encoding=linear16",
            "/v1/acct/gw/workers-ai?model=@cf/deepgram/nova-3&encoding=linear16",
            f"Bearer {STORED}",
        ),
        ("deepgram/v1/listen?model=nova-3", "/v1/acct/gw/deepgram/v1/listen?model=nova-3", f"Token {STORED}"),
    ],
)
def test_behind_a_gateway_of_cloudflares_a_session_has_the_address_it_has_there(
    path: str, arrives: str, header: str
) -> None:
    async def main() -> None:
        async with scripted(deepgram_listens) as (upstream, url):
            via = {"base_url": f"{url}/v1/acct/gw", "token": "cloudflares-token"}
            async with (
                gateway(providers={path.split("?")[0].split("/")[0]: {"api_key": STORED, "via": via}}) as address,
                call(address, path) as socket,
            ):
                await client_of_deepgram_that_talks(socket)
            ((there, headers, _),) = upstream.seen
            assert there == arrives
            assert headers["authorization"] == header
            assert headers["cf-aig-authorization"] == "Bearer cloudflares-token"

    run(main())


def test_a_signed_url_is_not_taken_for_a_key_behind_a_gateway_of_cloudflares() -> None:
    async def main() -> None:
        async with scripted(elevenlabs_converses) as (upstream, url):
            via = {"base_url": f"{url}/v1/acct/gw", "token": "cloudflares-token"}
            async with (
                gateway(providers={"elevenlabs": {"api_key": STORED, "via": via}}) as address,
                call(address, "elevenlabs?agent_id=A&conversation_signature=signed") as socket,
            ):
                await client_of_elevenlabs_agent(socket)
            ((path, headers, _),) = upstream.seen
            assert path == "/v1/acct/gw/elevenlabs?agent_id=A&conversation_signature=signed"
            assert "xi-api-key" not in headers

    run(main())


# Refusals, and keys for some models only


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("elevenlabs?agent_id=A", ("error_event", "message")),
        (f"deepgram/{LISTEN}", ("description",)),
        ("workers-ai?model=@cf/deepgram/nova-3", ("description",)),
        ("cartesia", ("error",)),
        ("google", ("error", "message")),
        ("azure-openai/acme/openai/v1/realtime?model=v", ("error", "message")),
        ("grok?model=m", ("error", "message")),
        ("fal/fal-ai/app", ("error", "message")),
    ],
)
def test_a_refusal_is_an_error_that_clients_of_the_provider_can_read(path: str, words: tuple[str, ...]) -> None:
    async def main() -> None:
        async with gateway(gateway_token=TOKEN) as address, call(address, path) as socket:
            refusal = await said_by(socket)
            for word in words:
                refusal = refusal[word]
            assert refusal.startswith("The gateway refused this request: it is authenticated")
            assert await close_of(socket) == (3000, "invalid_request_error.invalid_api_key")

    run(main())


@asynccontextmanager
async def restricted(provider: str, url: str, *models: str) -> AsyncIterator[tuple[Address, str]]:
    """A gateway before a provider, and a key of it that is good for these models only."""
    with data_directory() as data_dir:
        async with administration(data_dir) as admin:
            key, _ = await new_key(admin, models=models)
        providers = providers_at(url, provider, api_key=STORED)
        async with gateway(data_dir=data_dir, providers=providers) as address:
            yield address, key


SETTINGS = {"type": "Settings", "agent": {"think": {"provider": {"type": "open_ai", "model": "gpt-5"}}}}


@pytest.mark.parametrize(
    ("path", "frame"),
    [
        ("google", json.dumps({"setup": {"model": "models/gemini-other"}})),
        ("google", json.dumps({"setup": {"model": "models/gemini-other"}}).encode()),
        ("google", json.dumps({"setup": {"generationConfig": {"x": "y" * 100}, "model": "gemini-other"}}).encode()),
        ("google", b'\xef\xbb\xbf {"setup": {"MODEL": "gemini-other"}}'),
        ("deepgram/v1/agent/converse", json.dumps(SETTINGS)),
        ("cartesia", json.dumps({"model_id": "sonic-3", "transcript": "Hello"})),
    ],
    ids=["Gemini", "Gemini, binary", "Gemini, far behind", "Gemini, behind a mark", "Deepgram's agent", "Cartesia"],
)
def test_a_first_frame_with_a_model_that_the_key_is_not_for_goes_nowhere(path: str, frame: str | bytes) -> None:
    heard: list[str | bytes] = []

    async def listens(socket: ServerConnection) -> None:
        heard.extend([message async for message in socket])

    async def main() -> None:
        async with (
            scripted(listens) as (_, url),
            restricted(path.split("/")[0], url, "gemini-live") as (address, key),
            call(address, path, {"cf-aig-authorization": key}) as socket,
        ):
            await socket.send(frame)
            assert "is not good for the model" in str(await said_by(socket))
            assert (await close_of(socket))[0] == 4003
        assert heard == []

    run(main())


def test_a_first_frame_with_a_model_that_the_key_is_for_passes() -> None:
    async def main() -> None:
        async with scripted(gemini_converses) as (upstream, url):
            async with (
                restricted("google", url, "gemini-live") as (address, key),
                call(address, "google", {"x-goog-api-key": key}) as socket,
            ):
                await client_of_gemini(socket)
            assert upstream.shown()[1]["x-goog-api-key"] == STORED

    run(main())


@pytest.mark.parametrize(
    "path",
    [
        "fal/fal-ai/fast-lcm-diffusion",
        "fal/fal-ai/fast-lcm-diffusion/realtime",
        "workers-ai?model=@cf/deepgram/flux",
        "workers-ai/run/@cf/deepgram/flux",
        "elevenlabs/v1/text-to-speech/v/stream-input?model_id=eleven_v3",
        "azure-openai/acme/openai/realtime?api-version=1&deployment=other",
        "azure-openai/acme/openai/realtime?api-version=1&Deployment=other&deployment=voice",
        "deepgram/v1/listen?model=nova-2",
    ],
)
def test_a_path_or_query_with_a_model_that_the_key_is_not_for_is_not_dialled(path: str) -> None:
    async def main() -> None:
        async with (
            scripted(deepgram_listens) as (upstream, url),
            restricted(path.split("/")[0].split("?")[0], url, "@cf/deepgram/nova-3", "voice") as (address, key),
            call(address, path, {"cf-aig-authorization": key}) as socket,
        ):
            assert "is not good for the model" in str(await said_by(socket))
            assert (await close_of(socket))[0] == 4003
            assert upstream.seen == []

    run(main())


# Real clients


def test_openais_sdk_for_azure_reaches_a_resource_named_in_its_endpoint() -> None:
    async def main() -> None:
        async with scripted(openai_converses) as (upstream, url):
            providers = providers_at(url, "azure", api_key=STORED)
            async with gateway(providers=providers, gateway_token=TOKEN) as address:
                client = AsyncAzureOpenAI(
                    api_key=TOKEN,
                    api_version="2025-04-01-preview",
                    azure_endpoint=f"{address.http}/v1/local/default/azure-openai/acme",
                    # By itself it dials wss:, also where the endpoint is http:.
                    websocket_base_url=f"{address.ws}/v1/local/default/azure-openai/acme/openai",
                )
                async with client.realtime.connect(model="voice") as connection:
                    assert (await connection.recv()).type == "session.created"
                    await connection.response.create()
                    assert (await connection.recv()).type == "response.done"
            path, headers, _ = upstream.shown()
            assert path == "/acme/openai/realtime?api-version=2025-04-01-preview&deployment=voice"
            assert headers["api-key"] == STORED

    run(main())


def test_openais_sdk_reaches_azures_current_api() -> None:
    async def main() -> None:
        async with scripted(openai_converses) as (upstream, url):
            providers = providers_at(url, "azure", api_key=STORED)
            async with gateway(providers=providers, gateway_token=TOKEN) as address:
                base = f"{address.http}/v1/local/default/azure-openai/acme/openai/v1"
                async with AsyncOpenAI(api_key=TOKEN, base_url=base).realtime.connect(model="voice") as connection:
                    assert (await connection.recv()).type == "session.created"
                    await connection.response.create()
                    assert (await connection.recv()).type == "response.done"
            path, headers, _ = upstream.shown()
            assert path == "/acme/openai/v1/realtime?model=voice"
            assert headers["api-key"] == STORED
            assert "authorization" not in headers

    run(main())
