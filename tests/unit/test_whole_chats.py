"""What is read the short way is what is read the long way."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trunkline.policy.usage import Answered, UsageReader
from trunkline.policy.usage.whole_chats import read_chat
from trunkline.providers import Catalogue

OPENAI = Catalogue.build({}).find("openai")
counts = st.one_of(st.integers(-1, 50), st.sampled_from([None, 1.5, "3", True, 10**12]))


def objects(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, counts))


usages = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 50), "completion_tokens": st.integers(0, 50)},
    optional={
        "total_tokens": st.integers(0, 100),
        "prompt_tokens_details": st.none() | objects("cached_tokens", "audio_tokens", "image_tokens"),
        "completion_tokens_details": objects("reasoning_tokens", "audio_tokens", "accepted_prediction_tokens"),
        "cost": st.floats(0, 1),
        "prompt_cache_hit_tokens": counts,
    },
).map(lambda usage: {"total_tokens": usage["prompt_tokens"] + usage["completion_tokens"], **usage})
chats = st.fixed_dictionaries(
    {"usage": usages},
    optional={
        "model": st.sampled_from(["gpt-4o", "", 3]),
        "service_tier": st.sampled_from([None, "flex", "default", 1]),
        "error": st.none() | st.just({"message": "no"}),
        "choices": st.just([{"finish_reason": "stop"}]),
        "usage_info": st.just({"pages_processed": 3}),
        "response": st.just({"usage": {"input_tokens": 1}}),
        "result": st.just({"usage": {"input_tokens": 1}}),
        "object": st.sampled_from(["chat.completion", "response", "error"]),
        "type": st.sampled_from(["error", "message"]),
    },
)


def read_at_length(body: bytes) -> Answered:
    assert OPENAI is not None
    reader = UsageReader(OPENAI, "chat/completions", "asked")
    reader.begin(200, [(b"content-type", b"application/json")])
    reader.feed(body)
    return reader.finish()


@given(chats)
def test_a_chat_that_is_read_the_short_way_says_the_same(chat: dict[str, Any]) -> None:
    body = json.dumps(chat).encode()
    short = read_chat(body, "asked")
    if short is not None:
        assert short == read_at_length(body)._replace(finish_reason="")


def test_the_usual_answer_is_read_the_short_way() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    usual = {"model": "gpt-4o", "choices": [], "usage": usage, "service_tier": "default", "system_fingerprint": "x"}
    found = read_chat(json.dumps(usual).encode(), "gpt")
    assert found is not None
    assert found.usage is not None
    assert (found.model, found.usage.input, found.usage.output) == ("gpt-4o", 5, 2)


@given(st.binary(max_size=40))
def test_no_bytes_raise(body: bytes) -> None:
    read_chat(body, "")
