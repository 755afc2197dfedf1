"""The embedded provider as a strict upstream: real models, real refusals."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.contract.conftest import STRICT_KEY
from tests.running import Address

SENTENCE = "The quick brown fox jumps over the lazy dog."


@pytest.fixture
def api(strict_upstream: Address) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"{strict_upstream.http}/v1", headers={"authorization": f"Bearer {STRICT_KEY}"}, timeout=60
    ) as client:
        yield client


def wait_for_close(socket: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed):
        socket.recv()


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def events(answer: httpx.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "missing_api_key"),
        ([("authorization", "Bearer sk-wrong")], "invalid_api_key"),
        ([("authorization", "Basic abc")], "missing_api_key"),
        ([("authorization", f"Bearer {STRICT_KEY}"), ("authorization", "Bearer x")], "duplicate_api_key"),
    ],
)
def test_a_missing_wrong_or_doubled_key_is_refused(
    strict_upstream: Address, headers: list[tuple[str, str]], code: str
) -> None:
    answer = httpx.get(f"{strict_upstream.http}/v1/models", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("headers", "protocols", "code"),
    [
        ({}, ["realtime"], "missing_api_key"),
        ({"authorization": "Bearer sk-wrong"}, None, "invalid_api_key"),
        ({}, ["realtime", "openai-insecure-api-key.sk-wrong"], "invalid_api_key"),
        (
            {"authorization": f"Bearer {STRICT_KEY}"},
            ["realtime", f"openai-insecure-api-key.{STRICT_KEY}"],
            "duplicate_api_key",
        ),
    ],
)
def test_a_websocket_with_a_bad_key_is_refused_in_band_with_3000(
    strict_upstream: Address, headers: dict[str, str], protocols: list[str] | None, code: str
) -> None:
    with connect(
        f"{strict_upstream.ws}/v1/realtime?model=local", additional_headers=headers, subprotocols=protocols, proxy=None
    ) as socket:
        assert json.loads(socket.recv())["error"]["code"] == code
        wait_for_close(socket)
    assert socket.close_code == 3000
    assert socket.close_reason == f"invalid_request_error.{code}"


@pytest.mark.parametrize(
    ("query", "protocols", "code", "close_code"),
    [
        ("?model=nope", ["realtime"], "model_not_found", 4004),
        ("", ["realtime"], "missing_model", 4000),
        ("?intent=dance", ["realtime"], "invalid_intent", 4000),
        ("?model=local", ["realtime", "openai-beta.realtime-v1"], "beta_api_shape_disabled", 4000),
    ],
)
def test_a_websocket_that_asks_for_what_is_not_there_is_refused_as_openai_does(
    strict_upstream: Address, query: str, protocols: list[str], code: str, close_code: int
) -> None:
    offered = [*protocols, f"openai-insecure-api-key.{STRICT_KEY}"]
    with connect(f"{strict_upstream.ws}/v1/realtime{query}", subprotocols=offered, proxy=None) as socket:
        assert json.loads(socket.recv())["error"]["code"] == code
        wait_for_close(socket)
    assert socket.close_code == close_code


def test_an_ephemeral_secret_opens_a_realtime_session_and_nothing_else(
    api: httpx.Client, strict_upstream: Address
) -> None:
    minted = api.post("/realtime/client_secrets", json={"session": {"type": "realtime", "model": "local"}}).json()
    assert minted["value"].startswith("ek_")
    refused = httpx.get(f"{strict_upstream.http}/v1/models", headers={"authorization": f"Bearer {minted['value']}"})
    assert refused.status_code == 401
    with connect(
        f"{strict_upstream.ws}/v1/realtime?model=local",
        subprotocols=["realtime", f"openai-insecure-api-key.{minted['value']}"],
        proxy=None,
    ) as socket:
        assert json.loads(socket.recv())["type"] == "session.created"


def test_models_lists_what_is_served(api: httpx.Client) -> None:
    assert [model["id"] for model in api.get("/models").json()["data"]] == ["local"]
    assert api.get("/models/local").json()["object"] == "model"
    assert api.get("/models/gpt-4o").status_code == 404


def test_chat_answers_and_counts_its_tokens(api: httpx.Client) -> None:
    answer = api.post("/chat/completions", json={"model": "local", "messages": user("What is the capital of France?")})
    body = answer.json()
    assert "Paris" in body["choices"][0]["message"]["content"]
    assert body["choices"][0]["finish_reason"] == "stop"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_a_chat_stream_has_the_same_words_as_the_whole_answer(api: httpx.Client) -> None:
    request = {"model": "local", "messages": user("Name a color."), "temperature": 0, "max_tokens": 24}
    whole = api.post("/chat/completions", json=request).json()
    streamed = api.post("/chat/completions", json={**request, "stream": True})
    assert streamed.headers["content-type"] == "text/event-stream"
    *chunks, done = events(streamed)
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in parsed)
    assert text == whole["choices"][0]["message"]["content"]
    assert parsed[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert not any("usage" in chunk for chunk in parsed)


def test_usage_comes_last_in_a_stream_that_asks_for_it(api: httpx.Client) -> None:
    request = {
        "model": "local",
        "messages": user("Hi"),
        "max_tokens": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    *_, last, done = events(api.post("/chat/completions", json=request))
    assert done == "[DONE]"
    assert json.loads(last)["choices"] == []
    assert json.loads(last)["usage"]["completion_tokens"] == 4


def test_max_tokens_stop_and_seed_do_what_they_say(api: httpx.Client) -> None:
    short = api.post(
        "/chat/completions", json={"model": "local", "messages": user("Tell a story."), "max_completion_tokens": 5}
    ).json()
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 5

    stopped = api.post(
        "/chat/completions",
        json={"model": "local", "messages": user("What is the capital of France?"), "stop": ["Paris"]},
    ).json()
    assert "Paris" not in stopped["choices"][0]["message"]["content"]
    assert stopped["choices"][0]["finish_reason"] == "stop"

    seeded = {"model": "local", "messages": user("Say something odd."), "temperature": 1, "seed": 7, "max_tokens": 12}
    first, second = (api.post("/chat/completions", json=seeded).json() for _ in range(2))
    assert first["choices"][0]["message"] == second["choices"][0]["message"]


def test_json_mode_gives_json_of_the_schema(api: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}
    answer = api.post(
        "/chat/completions",
        json={
            "model": "local",
            "messages": user("Which city is the capital of France?"),
            "response_format": {"type": "json_schema", "json_schema": {"name": "c", "schema": schema, "strict": True}},
            "max_tokens": 60,
        },
    ).json()
    assert isinstance(json.loads(answer["choices"][0]["message"]["content"])["city"], str)


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": "gpt-4o"}, 404, "model_not_found", "model"),
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"messages": [{"role": "usr", "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
        ({"temperature": 3}, 400, "invalid_value", "temperature"),
        ({"n": 2}, 400, "invalid_value", "n"),
        ({"typo": 1}, 400, "unknown_parameter", "typo"),
        ({"tool_choice": "required"}, 400, "invalid_value", "tool_choice"),
        ({"messages": [{"role": "user", "content": "word " * 4000}]}, 400, "context_length_exceeded", "messages"),
    ],
)
def test_a_bad_chat_request_is_refused_by_name(
    api: httpx.Client, change: dict[str, object], status: int, code: str, param: str
) -> None:
    answer = api.post("/chat/completions", json={"model": "local", "messages": user("Hi"), **change})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["param"] == param


def test_a_body_that_is_not_json_and_a_path_that_is_not_there_are_refused(api: httpx.Client) -> None:
    assert api.post("/chat/completions", content=b"{").json()["error"]["code"] == "invalid_json"
    assert api.get("/nothing").status_code == 404
    assert api.get("/chat/completions").status_code == 405


def test_embeddings_of_like_texts_are_alike(api: httpx.Client) -> None:
    body = api.post("/embeddings", json={"model": "local", "input": ["a cat", "a kitten", "stock market"]}).json()
    cat, kitten, market = (np.array(entry["embedding"]) for entry in body["data"])
    assert len(cat) == 384
    assert cat @ kitten > cat @ market + 0.3
    assert math.isclose(float(cat @ cat), 1, abs_tol=1e-4)
    packed = api.post("/embeddings", json={"model": "local", "input": "a cat", "encoding_format": "base64"}).json()
    assert np.allclose(np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4"), cat, atol=1e-3)


@pytest.mark.parametrize("form", ["mp3", "opus", "flac", "wav", "pcm"])
def test_speech_can_be_heard_and_is_what_was_written(api: httpx.Client, form: str) -> None:
    spoken = api.post(
        "/audio/speech", json={"model": "local", "input": SENTENCE, "voice": "alloy", "response_format": form}
    )
    assert spoken.status_code == 200
    content = spoken.content
    if form == "pcm":
        file = io.BytesIO()
        soundfile.write(file, np.frombuffer(content, "<i2"), 24_000, format="WAV", subtype="PCM_16")
        content = file.getvalue()
    heard = api.post("/audio/transcriptions", files={"file": ("speech", content)}, data={"model": "local"})
    assert heard.json()["text"] == SENTENCE


def test_transcription_tells_when_something_was_said_and_hears_nothing_in_silence(api: httpx.Client) -> None:
    spoken = api.post(
        "/audio/speech", json={"model": "local", "input": SENTENCE, "voice": "nova", "response_format": "wav"}
    )
    samples, rate = soundfile.read(io.BytesIO(spoken.content))
    file = io.BytesIO()
    soundfile.write(file, np.concatenate((np.zeros(2 * rate), samples)), rate, format="WAV")
    verbose = api.post(
        "/audio/transcriptions",
        files={"file": ("speech.wav", file.getvalue())},
        data={"model": "local", "response_format": "verbose_json"},
    ).json()
    assert 1.5 < verbose["segments"][0]["start"] < 2.5
    silence = io.BytesIO()
    soundfile.write(silence, np.random.default_rng(1).normal(0, 0.001, 3 * rate), rate, format="WAV")
    nothing = api.post(
        "/audio/transcriptions", files={"file": ("silence.wav", silence.getvalue())}, data={"model": "local"}
    )
    assert nothing.json()["text"] == ""


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"voice": "darth"}, "voice"),
        ({"response_format": "aac"}, "response_format"),
        ({"speed": 9}, "speed"),
        ({"input": "Привет"}, "input"),
    ],
)
def test_a_bad_speech_request_is_refused_by_name(api: httpx.Client, change: dict[str, object], param: str) -> None:
    answer = api.post("/audio/speech", json={"model": "local", "input": "Hi", "voice": "alloy", **change})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_file_that_is_no_audio_is_refused(api: httpx.Client) -> None:
    answer = api.post("/audio/transcriptions", files={"file": ("a.txt", b"hello")}, data={"model": "local"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_audio"


def test_behaviours_do_what_their_names_say(api: httpx.Client) -> None:
    def ask(model: str, *, stream: bool = False) -> httpx.Response:
        return api.post("/chat/completions", json={"model": model, "messages": user("a b c d"), "stream": stream})

    assert ask("test/echo").json()["choices"][0]["message"]["content"] == "a b c d"
    refused = ask("test/refuse-429")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert ask("test/refuse-500").json()["error"]["type"] == "server_error"
    assert len(ask("test/huge-3").content) > 3 * 2**20
    assert ask("test/slow-10").status_code == 200
    assert ask("test/unheard-of").status_code == 404
    for stream in (False, True):
        with pytest.raises(httpx.RemoteProtocolError):
            ask("test/break", stream=stream)


def test_websocket_behaviours_do_what_their_names_say(strict_upstream: Address) -> None:
    def dial(model: str) -> connect:
        return connect(
            f"{strict_upstream.ws}/v1/realtime?model={model}",
            additional_headers={"authorization": f"Bearer {STRICT_KEY}"},
            proxy=None,
        )

    with dial("test/echo") as socket:
        socket.send("text")
        socket.send(b"bytes")
        assert [socket.recv(), socket.recv()] == ["text", b"bytes"]
    with dial("test/close-4321") as socket:
        socket.send("now")
        wait_for_close(socket)
    assert (socket.close_code, socket.close_reason) == (4321, "asked.for")
    with pytest.raises(InvalidStatus) as refused:
        dial("test/refuse-403")
    assert refused.value.response.status_code == 403
