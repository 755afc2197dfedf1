"""A session survives its provider, and a gateway that stops says so: real gateways before a strict provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.clients.ga_upstream import GaUpstream, ga_upstream
from tests.contract.test_voiceplane import close_of, refusal_of
from tests.running import Address, gateway, run

KEY = "sk-strict-0123456789"
REALTIME = "/v1/local/default/openai/realtime?model=gpt-realtime"
Event = dict[str, Any]


@asynccontextmanager
async def talking(upstream: GaUpstream, **settings: Any) -> AsyncIterator[tuple[Address, ClientConnection]]:
    """A client in a session through a gateway that holds the provider's key."""
    providers = {"openai": {"base_url": upstream.http, "api_key": KEY}}
    async with gateway(providers=providers, **settings) as address:
        socket = await connect(address.ws + REALTIME, max_size=None, proxy=None)
        await heard(socket, "session.created")
        yield address, socket
    await socket.close()  # not before: a gateway that stops has something to say


async def say(socket: ClientConnection, *events: Event) -> None:
    for event in events:
        await socket.send(json.dumps(event))


async def heard(socket: ClientConnection, last: str) -> list[Event]:
    """Everything up to the next event of a type."""
    events: list[Event] = []
    while not events or events[-1]["type"] != last:
        async with asyncio.timeout(30):
            events.append(json.loads(await socket.recv()))
    return events


def user(id: str, words: str) -> Event:
    item = {"id": id, "type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
    return {"type": "conversation.item.create", "item": item}


def settings(**session: Any) -> Event:
    return {"type": "session.update", "session": {"type": "realtime", **session}}


ASK: Event = {"type": "response.create"}
TEXT = settings(output_modalities=["text"], instructions="Be brief.")


def created_items(upstream: GaUpstream) -> list[Event]:
    return [event["item"] for event in upstream.sessions[-1].received if event["type"] == "conversation.item.create"]


def test_a_lost_provider_is_dialled_again_and_knows_settings_and_conversation() -> None:
    async def main() -> None:
        async with ga_upstream(key=KEY) as upstream, talking(upstream) as (_, socket):
            await say(socket, TEXT, user("item_a", "My name is Ada."), ASK)
            before = await heard(socket, "response.done")
            answer = before[-1]["response"]["output"][0]
            upstream.drop_all()
            await say(socket, user("item_b", "What is my name?"), ASK)
            after = await heard(socket, "response.done")
            assert after[-1]["response"]["status"] == "completed"
            assert [event["type"] for event in after if event["type"].startswith(("session.", "error"))] == []
            added = [event["item"]["id"] for event in after if event["type"] == "conversation.item.added"]
            assert added[0] == "item_b"
            assert "item_a" not in added
            assert len(upstream.sessions) == 2
            again = upstream.sessions[-1].received
            assert again[0]["type"] == "session.update"
            assert again[0]["session"]["instructions"] == "Be brief."
            assert [item["id"] for item in created_items(upstream)] == ["item_a", answer["id"], "item_b"]
            assert upstream.sessions[-1].errors_sent() == []

    run(main())


def test_a_response_cut_in_half_ends_as_failed_and_the_next_one_works() -> None:
    async def main() -> None:
        async with ga_upstream(key=KEY) as upstream, talking(upstream) as (_, socket):
            await say(socket, user("item_a", "Tell me a long story."), ASK)
            await heard(socket, "response.output_audio.delta")
            upstream.drop_all()
            cut = (await heard(socket, "response.done"))[-1]["response"]
            assert cut["status"] == "failed"
            assert cut["status_details"]["error"]["code"] == "upstream_lost"
            await say(socket, {**ASK, "response": {"output_modalities": ["text"]}})  # spoken, the story takes a while
            assert (await heard(socket, "response.done"))[-1]["response"]["status"] == "completed"

    run(main())


def test_a_provider_that_restarts_with_a_close_is_dialled_again_too() -> None:
    async def main() -> None:
        async with ga_upstream(key=KEY) as upstream, talking(upstream) as (_, socket):
            upstream.close_all(1012, "restarting")
            await say(socket, TEXT, user("item_a", "Hello."), ASK)
            assert (await heard(socket, "response.done"))[-1]["response"]["status"] == "completed"

    run(main())


def test_a_provider_that_ends_the_session_ends_it() -> None:
    async def main() -> None:
        async with ga_upstream(key=KEY) as upstream, talking(upstream) as (_, socket):
            upstream.close_all(4000, "invalid_request_error.invalid_model")
            assert await close_of(socket) == (4000, "invalid_request_error.invalid_model")
            assert len(upstream.sessions) == 1

    run(main())


def test_when_nobody_can_go_on_the_client_is_told_to_try_later() -> None:
    async def main() -> None:
        async with ga_upstream(key=KEY) as upstream, talking(upstream) as (_, socket):
            upstream.refuse_new = True
            upstream.drop_all()
            error, code = await refusal_of(socket)
            assert "lost" in error["message"]
            assert code == 1013

    run(main())


def test_a_gateway_that_stops_lets_an_answer_finish_and_says_that_it_restarts() -> None:
    async def main() -> None:
        async with ga_upstream(key=KEY, pace=0.3) as upstream:
            async with talking(upstream, drain_timeout=20.0) as (_, socket):
                await say(socket, user("item_a", "Hello."), ASK)
                await heard(socket, "response.created")
                waiting = asyncio.create_task(last_words(socket))
            done, close = await waiting
            assert done["response"]["status"] == "completed"
            assert close == (1012, "the gateway restarts")

    run(main())


def test_an_answer_that_outlasts_the_drain_ends_as_failed() -> None:
    async def main() -> None:
        async with ga_upstream(key=KEY) as upstream:
            async with talking(upstream, drain_timeout=0.0) as (_, socket):
                await say(socket, user("item_a", "Tell me a long story."), ASK)
                await heard(socket, "response.output_audio.delta")
                waiting = asyncio.create_task(last_words(socket))
            done, close = await waiting
            assert done["response"]["status"] == "failed"
            assert close[0] == 1012

    run(main())


async def last_words(socket: ClientConnection) -> tuple[Event, tuple[int, str]]:
    """The last ``response.done`` and the close."""
    done: Event = {}
    with suppress(ConnectionClosed):
        while True:
            event = json.loads(await socket.recv())
            done = event if event["type"] == "response.done" else done
    return done, await close_of(socket)
