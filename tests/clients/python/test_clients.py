"""Python clients, unmodified, that know nothing of a gateway but its address and one key of it.

Each talks in writing and in speech, calls a function and is interrupted: once with the embedded provider, where real
models listen and speak, once with a provider that takes OpenAI's current protocol only, as strictly as OpenAI does.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.clients.conftest import SPOKEN
from tests.clients.ga_upstream import KEY, GaUpstream, ga_upstream
from tests.clients.python.driving import Conversation, drive
from tests.contract.administration import administration, new_key
from tests.running import Address, data_directory, gateway, run

HEARD = "Good morning to you."
SCENARIOS = ["text", "speech", "function", "barge_in"]
OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
LIMIT = 240  # seconds; it only ends a test that hangs


def http(below: str = "") -> Callable[[Address, str], str]:
    return lambda address, provider: address.http + address.path(provider) + below


def socket(below: str = "") -> Callable[[Address, str], str]:
    return lambda address, provider: address.ws + address.path(provider) + below


def root(address: Address, provider: str) -> str:
    return f"{address.http}/v1"


@dataclass(frozen=True)
class Client:
    """A client library: its driver, and the base URL that an application gives it."""

    driver: str
    base_url: Callable[[Address, str], str]
    speaks_tls: bool = False
    shows_status: bool = True  # whether an application can see how a response ended

    def __str__(self) -> str:
        return self.driver


# What they ask the gateway for: /openai/realtime, but LiveKit /openai and pipecat /openai/v1/realtime.
CLIENTS = [
    Client("openai_ga", http()),
    Client("openai_beta", http(), speaks_tls=True),  # it makes wss: of whatever it is given
    Client("openai_agents", socket("/realtime")),
    Client("livekit_realtime", http()),
    Client("pipecat_realtime", socket("/v1/realtime"), shows_status=False),
]


@dataclass(frozen=True)
class Stage:
    """A running gateway, what it has behind it, and a key of its own."""

    address: Address
    upstream: GaUpstream
    key: str
    authority: str

    async def drive(
        self, client: Client, provider: str, scenarios: list[str], speech: Path, **environment: str
    ) -> Conversation:
        """Let a client talk to a provider, with a gateway key in the only slot it has for a key."""
        told = {
            "BASE_URL": client.base_url(self.address, provider),
            "API_KEY": self.key,
            "MODEL": "local" if provider == "local" else "gpt-realtime",
            "SPEECH": str(speech),
            "SSL_CERT_FILE": self.authority,
        }
        reports = await drive(client.driver, scenarios, {**told, **environment})
        assert self.upstream.leaks == []
        return Conversation(reports, self.upstream.sessions)


@asynccontextmanager
async def stage(*, tls: bool = False) -> AsyncIterator[Stage]:
    with data_directory() as data_dir:
        async with ga_upstream(hears=HEARD) as upstream, administration(data_dir) as admin:
            key, _ = await new_key(admin)
            providers = {"openai": {"base_url": upstream.http, "api_key": KEY}}
            async with gateway(data_dir=data_dir, tls="local" if tls else "off", providers=providers) as address:
                yield Stage(address, upstream, key, str(data_dir / "tls" / "authority.pem") if tls else "")


def conversation(client: Client, provider: str, scenarios: list[str], speech: Path) -> Conversation:
    found: list[Conversation] = []

    async def main() -> None:
        async with stage(tls=client.speaks_tls) as on:
            found.append(await on.drive(client, provider, scenarios, speech))

    run(main(), LIMIT)
    return found[0]


@pytest.fixture(scope="module", params=CLIENTS, ids=str)
def client(request: pytest.FixtureRequest) -> Client:
    chosen: Client = request.param
    return chosen


@pytest.fixture(scope="module")
def with_local(client: Client, speech: Path) -> Conversation:
    """All that a client does, with the embedded provider."""
    return conversation(client, "local", SCENARIOS, speech)


@pytest.fixture(scope="module")
def with_openai(client: Client, speech: Path) -> Conversation:
    """All that a client does, with a strict provider."""
    return conversation(client, "openai", SCENARIOS, speech)


# The embedded provider: real models


def test_a_client_and_the_local_model_write_to_each_other(client: Client, with_local: Conversation) -> None:
    report = with_local.report("text")
    assert "Paris" in report["said"]
    assert report["tokens"] > 0
    assert not client.shows_status or report["status"] == "completed"


def test_a_client_and_the_local_model_speak_with_each_other(with_local: Conversation) -> None:
    report = with_local.report("speech")
    assert report["heard"] == SPOKEN
    assert "Paris" in report["said"]
    assert report["audio_bytes"] > 24_000
    assert report["in_order"]


def test_the_local_model_calls_a_function_of_the_client(with_local: Conversation) -> None:
    report = with_local.report("function")
    assert report["name"] == "get_weather"
    assert set(json.loads(report["arguments"])) == {"city"}
    assert report["said"]


def test_a_client_interrupts_the_local_model(client: Client, with_local: Conversation) -> None:
    report = with_local.report("barge_in")
    assert report["truncated"]
    if client.shows_status:
        assert (report["status"], report["reason"]) == ("cancelled", "turn_detected")


# A provider that takes the current protocol only


def test_a_client_and_a_strict_provider_write_to_each_other(client: Client, with_openai: Conversation) -> None:
    report = with_openai.report("text")
    assert report["said"] == "You said: What is the capital of France?"
    assert report["tokens"] > 0
    assert not client.shows_status or report["status"] == "completed"


def test_a_client_and_a_strict_provider_speak_with_each_other(with_openai: Conversation) -> None:
    report = with_openai.report("speech")
    assert report["heard"] == HEARD
    assert report["said"] == f"You said: {HEARD}"
    assert report["audio_bytes"] > 24_000
    assert report["in_order"]


def test_a_strict_provider_calls_a_function_of_the_client(with_openai: Conversation) -> None:
    report = with_openai.report("function")
    assert report["name"] == "get_weather"
    assert json.loads(report["arguments"]) == {"city": "Paris"}
    assert report["said"].replace('"', "") == "The function says: rain at nine degrees"


def test_a_client_interrupts_a_strict_provider(client: Client, with_openai: Conversation) -> None:
    report = with_openai.report("barge_in")
    assert report["truncated"]
    if client.shows_status:
        assert (report["status"], report["reason"]) == ("cancelled", "turn_detected")
    interrupted = [seen for seen in with_openai.sessions if "conversation.item.truncated" in seen.types_sent()]
    (seen,) = interrupted
    ended = [event["response"] for event in seen.sent if event["type"] == "response.done"]
    assert ended[0]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}


def test_the_strict_provider_saw_its_own_key_and_nothing_it_has_to_refuse(with_openai: Conversation) -> None:
    assert len(with_openai.sessions) >= len(SCENARIOS)
    for seen in with_openai.sessions:
        assert seen.credentials == [KEY]
        assert seen.query == {"model": "gpt-realtime"}
        assert (seen.refused, seen.errors_sent()) == ("", [])


# Other ways in


@pytest.mark.parametrize("provider", ["local", "openai"])
def test_livekit_transcribes_over_the_realtime_socket(provider: str, speech: Path) -> None:
    found = conversation(Client("livekit_stt", http()), provider, ["speech"], speech)
    report = found.report("speech")
    assert report["heard"] == (SPOKEN if provider == "local" else HEARD)
    assert report["partial"] > 0
    for seen in found.sessions:
        # LiveKit names the model too, for the gateway; the provider would refuse both.
        assert (seen.query, seen.credentials) == ({"intent": "transcription"}, [KEY])
        assert seen.errors_sent() == []
    assert bool(found.sessions) == (provider == "openai")


@pytest.mark.parametrize("driver", ["openai_ga", "livekit_realtime"])
def test_a_client_that_is_given_the_host_alone_is_told_apart_by_its_key(driver: str, speech: Path) -> None:
    found = conversation(Client(driver, root), "openai", ["text"], speech)
    assert found.report("text")["said"] == "You said: What is the capital of France?"
    assert [(seen.path, seen.credentials) for seen in found.sessions] == [("/v1/realtime", [KEY])]


def test_the_older_surface_of_the_official_client_finds_the_older_shapes_without_tls_too(speech: Path) -> None:
    async def main() -> None:
        async with stage() as on:
            told = {"WEBSOCKET_BASE_URL": on.address.ws + on.address.path("openai")}
            found = await on.drive(Client("openai_beta", http()), "openai", ["text"], speech, **told)
            report = found.report("text")
            assert report["session"] == ["pcm16", ["text", "audio"], ["text"], "alloy"]
            assert report["created_items"] == ["user", "assistant"]
            assert report["content"] == "text"
            (seen,) = found.sessions
            assert (seen.credentials, seen.errors_sent()) == ([KEY], [])

    run(main(), LIMIT)


@pytest.mark.parametrize("client", [Client("openai_ga", http()), Client("openai_agents", socket("/realtime"))], ids=str)
def test_a_client_joins_a_call_that_somebody_else_has_made(client: Client, speech: Path) -> None:
    async def main() -> None:
        async with stage() as on, httpx.AsyncClient() as caller:
            parts = {
                "sdp": (None, OFFER, "application/sdp"),
                "session": (None, '{"type": "realtime", "model": "gpt-realtime"}', "application/json"),
            }
            url = f"{on.upstream.http}/realtime/calls"
            made = await caller.post(url, files=parts, headers={"authorization": f"Bearer {KEY}"})
            call_id = made.headers["location"].rpartition("/")[2]
            found = await on.drive(client, "openai", ["call"], speech, CALL_ID=call_id)
            report = found.report("call")
            assert report["first"] == "session.created"
            assert "output_audio_buffer.started" in report["types"]
            assert report["status"] == "completed"
            (seen,) = found.sessions
            assert (seen.query, seen.credentials) == ({"call_id": call_id}, [KEY])

    run(main(), LIMIT)


def test_a_client_can_read_why_the_gateway_refuses_its_key(speech: Path) -> None:
    found = conversation(Client("openai_ga", http()), "openai", ["refused"], speech)
    assert found.report("refused") == {"type": "error", "code": "invalid_api_key"}
    assert found.sessions == []
