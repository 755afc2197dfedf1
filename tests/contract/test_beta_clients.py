"""Clients of OpenAI's retired dialect before a provider that has given it up."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.clients.ga_upstream import GaUpstream, ga_upstream
from tests.contract.test_resumption import heard, say
from tests.running import Address, gateway, run

KEY = "sk-strict-0123456789"
PATH = "/v1/local/default/openai?model=gpt-4o-realtime-preview-2024-10-01"
MARKER = Subprotocol("openai-beta.realtime-v1")
Event = dict[str, Any]


def behind(upstream: GaUpstream) -> dict[str, Any]:
    return {"providers": {"openai": {"base_url": upstream.http, "api_key": KEY}}}


def dial(address: Address, *, by_header: bool) -> connect:
    if by_header:
        return connect(address.ws + PATH, additional_headers={"OpenAI-Beta": "realtime=v1"}, proxy=None)
    return connect(address.ws + PATH, subprotocols=[Subprotocol("realtime"), MARKER], proxy=None)


@pytest.mark.parametrize("by_header", [True, False])
def test_a_beta_client_has_a_text_turn_with_a_provider_that_speaks_ga_only(by_header: bool) -> None:
    async def main() -> None:
        async with ga_upstream(key=KEY) as upstream, gateway(**behind(upstream)) as address:
            async with dial(address, by_header=by_header) as socket:
                (created,) = await heard(socket, "session.created")
                assert created["session"]["modalities"] == ["text", "audio"]
                assert created["session"]["input_audio_format"] == "pcm16"
                flat = {"modalities": ["text"], "voice": "alloy", "temperature": 0.7, "turn_detection": None}
                await say(socket, {"type": "session.update", "session": flat})
                updated = (await heard(socket, "session.updated"))[-1]["session"]
                assert (updated["modalities"], updated["voice"], updated["turn_detection"]) == (["text"], "alloy", None)
                item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]}
                await say(socket, {"type": "conversation.item.create", "item": item}, {"type": "response.create"})
                events = await heard(socket, "response.done")
                types = list(dict.fromkeys(event["type"] for event in events))
                assert types == [
                    "conversation.item.created",
                    "response.created",
                    "response.output_item.added",
                    "response.content_part.added",
                    "response.text.delta",
                    "response.text.done",
                    "response.content_part.done",
                    "response.output_item.done",
                    "response.done",
                ]
                (message,) = events[-1]["response"]["output"]
                assert message["content"][0]["type"] == "text"
                assert message["content"][0]["text"]
            (session,) = upstream.sessions
            assert session.errors_sent() == []
            assert session.credentials == [KEY]
            assert "openai-beta" not in dict(session.headers)
            assert MARKER not in session.subprotocols
            assert session.query == {"model": "gpt-realtime-2.1"}

    run(main())


def test_what_a_beta_client_asks_for_wrongly_is_refused_in_its_own_words() -> None:
    async def main() -> None:
        async with (
            ga_upstream(key=KEY) as upstream,
            gateway(**behind(upstream)) as address,
            dial(address, by_header=False) as socket,
        ):
            await say(socket, {"type": "session.update", "session": {"input_audio_format": "webm-opus"}})
            error = (await heard(socket, "error"))[-1]["error"]
            assert error["param"] == "session.input_audio_format"

    run(main())
