"""Targets: what passes in a realtime session, and what is made of it."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec

from tests.fuzz.target import NotForThis, Target, json_of, seed
from trunkline.credentials.redaction import keys_in
from trunkline.errors import LocalError, MalformedRequest, Unauthorized, UpstreamRefused
from trunkline.local.realtime.events import decode as decode_local
from trunkline.local.realtime.mistakes import ClientMistake
from trunkline.policy.cost import cost_of_unfinished_turn, cost_of_usage
from trunkline.policy.models import UnreadableFrame, models_in_frame
from trunkline.providers.schema import Protocol
from trunkline.realtime import closing
from trunkline.realtime.beta import BetaBridge
from trunkline.realtime.comparison import compare
from trunkline.realtime.dialect import response_to_beta, response_to_ga, session_to_beta, session_to_ga
from trunkline.realtime.events import (
    AskBrain,
    BrainSaid,
    ClientBinary,
    ClientClosed,
    ClientText,
    CloseClient,
    CloseUpstream,
    Effect,
    Event,
    Failed,
    Leaving,
    Redial,
    SendClient,
    SendUpstream,
    UpstreamBinary,
    UpstreamClosed,
    UpstreamConnected,
    UpstreamText,
)
from trunkline.realtime.frames import Frame
from trunkline.realtime.listening import arrange
from trunkline.realtime.memory import SessionMemory
from trunkline.realtime.record import SessionRecord
from trunkline.realtime.recording import Recording, bytes_per_second, read_line
from trunkline.realtime.replaying import Heard, Replay
from trunkline.realtime.report import Report
from trunkline.realtime.session import RelaySession
from trunkline.realtime.speech import ResponseStopper, SpeechReader
from trunkline.realtime.usage import Usage
from trunkline.wire.refusal import Dialect

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

Said = tuple[bool, str]


def frames_of(data: bytes) -> list[Said]:
    """Read a session: a list of ["client" or "provider", frame], where a frame is JSON or a text."""
    told = json_of(data)
    if not isinstance(told, list):
        raise NotForThis
    found = []
    for one in told[:40]:
        if not isinstance(one, list) or len(one) != 2:
            continue
        side, said = one
        # What comes over a WebSocket is UTF-8; halves of characters are escaped in its JSON.
        text = said.encode("utf-8", "replace").decode() if isinstance(said, str) else json.dumps(said)
        found.append((side == "client", text))
    return found


def price(usage: Usage) -> float | None:
    counts = usage.tokens.counts()
    cost = cost_of_usage("openai", usage.model or "gpt-realtime", **counts, seconds=usage.seconds)
    assert cost is None or cost >= 0
    return cost


def beta_bridge(data: bytes) -> None:
    bridge = BetaBridge()
    for by_client, text in frames_of(data):
        frame = Frame(text)
        for told in bridge.to_provider(frame) if by_client else bridge.to_client(frame):
            told.text.encode()
            if told is not frame:
                json.loads(told.text)
        assert frame.document == Frame(text).document
        session = frame.document.get("session")
        if isinstance(session, dict):
            try:
                ga = session_to_ga(session)
            except MalformedRequest:
                continue
            assert session_to_ga(ga) == ga
            beta = session_to_beta(session)
            assert session_to_beta(beta) == beta
        response = frame.document.get("response")
        if isinstance(response, dict):
            ga = response_to_ga(response)
            assert response_to_ga(ga) == ga
            beta = response_to_beta(response)
            assert response_to_beta(beta) == beta


def relay_session(data: bytes) -> None:
    """A session goes from state to state by what the shell may tell it, and never says what cannot be sent."""
    told = json_of(data)
    if not isinstance(told, list):
        raise NotForThis
    flags = told[0] if told and isinstance(told[0], dict) else {}
    memory = SessionMemory() if flags.get("memory") else None
    bridge = BetaBridge() if flags.get("beta") else None
    record = SessionRecord("openai", price=price)
    session = RelaySession(Dialect.OPENAI, "event_1", record, memory=memory, bridge=bridge)
    is_connected = is_over = was_relaying = False
    closes = 0
    for at, one in enumerate(told[:40]):
        event = _event(one)
        # The shell connects once, then once for each time that it was told to dial anew.
        if event is None or (isinstance(event, UpstreamConnected) and is_connected):
            continue
        if isinstance(event, UpstreamText | UpstreamBinary | UpstreamClosed | BrainSaid) and not is_connected:
            continue
        if isinstance(event, ClientText | ClientBinary) and not session.is_relaying and not was_relaying:
            continue  # it waits in its socket
        is_connected = is_connected or isinstance(event, UpstreamConnected)
        effects = session.receive(event, float(at))
        assert not (is_over and effects)
        for effect in effects:
            _check_effect(effect)
            is_connected = is_connected and not isinstance(effect, Redial)
        if isinstance(event, UpstreamClosed):
            is_connected = False
        closes += sum(isinstance(effect, CloseClient) for effect in effects)
        was_relaying = was_relaying or session.is_relaying
        is_over = session.is_closed
    assert closes <= 1
    _check_report(record.report(50.0))


def _event(one: Any) -> Event | None:
    if not isinstance(one, list) or len(one) != 2 or not isinstance(one[0], str):
        return None
    kind, said = one
    text = said.encode("utf-8", "replace").decode() if isinstance(said, str) else json.dumps(said)
    code = said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= 65535 else 1000
    match kind:
        case "client":
            return ClientText(text)
        case "provider":
            return UpstreamText(text)
        case "client binary":
            return ClientBinary(text.encode())
        case "provider binary":
            return UpstreamBinary(text.encode())
        case "connected":
            update = json.dumps({"type": "session.update", "session": said}) if isinstance(said, dict) else None
            return UpstreamConnected(update, cascade=said is True)
        case "client closed":
            return ClientClosed(code, "bye")
        case "provider closed":
            return UpstreamClosed(code, "bye")
        case "brain":
            return BrainSaid(text)
        case "failed":
            return Failed(UpstreamRefused("No provider.") if said else Unauthorized("No key."))
        case "leaving":
            return Leaving(now=bool(said))
        case _:
            return None


def _check_effect(effect: Effect) -> None:
    match effect:
        case SendClient(str() as payload) | SendUpstream(str() as payload):
            payload.encode()
        case CloseClient(code, reason) | CloseUpstream(code, reason):
            assert closing.may_be_sent(code)
            assert len(reason.encode()) <= 123
        case AskBrain(_, body):
            json.dumps(body)
        case _:
            pass


def _check_report(report: Report) -> None:
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    assert report.turn_count >= len(report.turns)
    assert report.cost.total is None or report.cost.total >= 0
    compare(report, report)


def session_record(data: bytes) -> None:
    frames = frames_of(data)
    for protocol in PROTOCOLS:
        record = SessionRecord(protocol, price=price)
        record.connected(0.5)
        for at, (by_client, text) in enumerate(frames):
            said: Frame | bytes = text.encode() if at % 5 == 4 else Frame(text)
            if by_client:
                record.client_said(said, float(at))
            else:
                used = record.provider_said(said, float(at))
                assert used is None or used.cost is None or used.cost >= 0
        assert record.unsettled_bytes >= 0
        cost = cost_of_unfinished_turn("openai", "gpt-realtime", record.unsettled_bytes)
        assert cost is None or cost >= 0
        record.closed("provider", 1006, "", 50.0)
        report = record.report(51.0)
        _check_report(report)
        assert report.from_client.frames + report.from_provider.frames == len(frames)


def recording(data: bytes) -> None:
    """What was said is written so that it can be read again, and said again: the same, but for credentials."""
    frames = frames_of(data)
    for protocol in PROTOCOLS:
        written = Recording(protocol)
        heard, lines, files = [], [], {}
        for at, (by_client, text) in enumerate(frames):
            said: str | bytes = text.encode() if at % 5 == 4 else text
            one = (written.client if by_client else written.provider)(said, at / 10)
            line = read_line(one.line)
            lines.append(line)
            if one.file is not None:
                files[one.file.name] = bytes_per_second(one.file.encoding, one.file.rate)
                assert len(one.file.header(len(one.sound))) in (0, 58)
            assert one.line.endswith(b"\n")
            assert one.line.count(b"\n") == 1
            again = line.frame(one.sound)
            if line.audio is not None or line.binary is not None:
                assert again == said
            assert isinstance(again, type(said))
            assert not keys_in(line.text or "")
            heard.append(Heard("client" if by_client else "provider", again, at / 10))
        arrange(lines, protocol, files)
        replay = Replay(heard, protocol, speed=4.0)
        replay.connected(0.0)
        now, said_again = 0.0, 0
        for _ in range(3000):
            said_again += sum(1 for _ in replay.due(now))
            if replay.is_over(now):
                break
            wake = replay.wake()
            assert wake >= 0
            now = max(now + 0.05, min(wake, now + 60))
        assert replay.is_over(now)
        assert said_again <= sum(by_client for by_client, _ in frames)


def speech(data: bytes) -> None:
    for protocol in PROTOCOLS:
        reader, stopper = SpeechReader(protocol), ResponseStopper()
        for by_client, text in frames_of(data):
            frame = Frame(text)
            if by_client:
                reader.client(frame)
                continue
            told = stopper.listen(frame)
            for spoken in reader.provider(frame):
                told += stopper.stop(spoken.id) if spoken.by == "assistant" else stopper.stop_answer_to(spoken.id)
            passed = stopper.passed(frame)
            assert passed is None or passed is frame or json.loads(passed.text)["type"] == "response.done"
            assert all(json.loads(order)["type"] for order in told)


def session_memory(data: bytes) -> None:
    memory = SessionMemory(budget=2000)
    for by_client, text in frames_of(data):
        frame = Frame(text)
        (memory.client_said if by_client else memory.provider_said)(frame)
        memory.is_echo(frame)
        memory.offset(frame).text.encode()
    for frame in [*memory.cut(), *memory.restoration()]:
        assert Frame(frame.text).type
    settings = memory.settings()
    assert settings is None or settings.type == "session.update"


def client_frames(data: bytes) -> None:
    """What a client's frame may be told to the local provider, and which models it names."""
    text = data.decode("utf-8", "replace")
    try:
        named = models_in_frame(text)
    except UnreadableFrame:
        named = []
    assert all(isinstance(one.name, str) for one in named)
    decode_local(text)


_ITEM = {"id": "item_1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "How warm is it?"}]}
_USAGE = {
    "total_tokens": 30,
    "input_tokens": 10,
    "output_tokens": 20,
    "input_token_details": {"text_tokens": 4, "audio_tokens": 6, "cached_tokens": 2, "cached_tokens_details": {"text_tokens": 2}},
    "output_token_details": {"text_tokens": 5, "audio_tokens": 15},
}
_GA = [
    ["client", {"type": "session.update", "session": {"type": "realtime", "instructions": "Be kind.", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": {"type": "server_vad"}, "transcription": {"model": "whisper-1"}}, "output": {"voice": "marin", "format": {"type": "audio/pcmu"}}}, "tools": [{"type": "mcp", "server_url": "https://a.example", "authorization": "sk-proj-0123456789abcdefABCDEF0123", "headers": {"x": "y"}}]}}],
    ["provider", {"type": "session.created", "event_id": "e", "session": {"type": "realtime", "id": "sess_1", "model": "gpt-realtime", "output_modalities": ["audio"]}}],
    ["provider", {"type": "session.updated", "session": {"type": "realtime", "model": "gpt-realtime", "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}}}],
    ["client", {"type": "input_audio_buffer.append", "audio": "AAECAwQFBgc="}],
    ["provider", {"type": "input_audio_buffer.speech_started", "audio_start_ms": 100, "item_id": "item_1"}],
    ["provider", {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": "item_1"}],
    ["provider", {"type": "input_audio_buffer.committed", "item_id": "item_1", "previous_item_id": None}],
    ["provider", {"type": "conversation.item.added", "item": _ITEM, "previous_item_id": None}],
    ["provider", {"type": "conversation.item.input_audio_transcription.completed", "item_id": "item_1", "transcript": "How warm is it?", "usage": {"type": "duration", "seconds": 1.5}}],
    ["client", {"type": "response.create", "response": {"output_modalities": ["audio"], "metadata": {"a": "b"}}}],
    ["provider", {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}],
    ["provider", {"type": "response.output_item.added", "response_id": "resp_1", "output_index": 0, "item": {"id": "item_2", "type": "message", "role": "assistant", "content": []}}],
    ["provider", {"type": "response.output_audio_transcript.delta", "response_id": "resp_1", "item_id": "item_2", "delta": "Quite"}],
    ["provider", {"type": "response.output_audio.delta", "response_id": "resp_1", "item_id": "item_2", "delta": "AAECAwQFBgc="}],
    ["provider", {"type": "response.function_call_arguments.done", "response_id": "resp_1", "item_id": "item_3", "call_id": "call_1", "name": "weather", "arguments": "{}"}],
    ["client", {"type": "conversation.item.truncate", "item_id": "item_2", "content_index": 0, "audio_end_ms": 500}],
    ["provider", {"type": "response.done", "response": {"id": "resp_1", "status": "completed", "output": [{"id": "item_2", "type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": "Quite warm."}]}, {"id": "item_3", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"}], "usage": _USAGE}}],
    ["client", {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "call_1", "output": "21"}}],
    ["provider", {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "limit": 100, "remaining": 90, "reset_seconds": 1.5}]}],
    ["provider", {"type": "error", "error": {"type": "invalid_request_error", "code": "x", "message": "No.", "param": "session.audio.output.voice", "event_id": "e"}}],
]  # fmt: skip
_BETA = [
    ["client", {"type": "session.update", "session": {"modalities": ["text", "audio"], "voice": "ash", "input_audio_format": "pcm16", "output_audio_format": "g711_ulaw", "input_audio_transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad", "threshold": 0.5}, "temperature": 0.8, "max_response_output_tokens": "inf", "tools": []}}],
    ["client", {"type": "transcription_session.update", "session": {"input_audio_format": "pcm16", "input_audio_transcription": {"model": "gpt-4o-transcribe"}}}],
    ["client", {"type": "response.create", "response": {"modalities": ["text"], "conversation": "none", "output_audio_format": "pcm16", "max_output_tokens": 10}}],
    ["client", {"type": "conversation.item.create", "item": {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi."}]}}],
    *_GA[1:],
]  # fmt: skip
_GOOGLE = [
    ["client", {"setup": {"model": "models/gemini-live", "generationConfig": {"responseModalities": ["AUDIO"], "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Puck"}}}}}}],
    ["provider", {"setupComplete": {}}],
    ["client", {"realtimeInput": {"audio": {"mimeType": "audio/pcm;rate=16000", "data": "AAECAw=="}}}],
    ["client", {"clientContent": {"turns": [{"role": "user", "parts": [{"text": "Hi"}]}], "turnComplete": True}}],
    ["provider", {"serverContent": {"inputTranscription": {"text": "Hi"}}}],
    ["provider", {"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAECAw=="}}]}, "outputTranscription": {"text": "Hello"}}}],
    ["provider", {"toolCall": {"functionCalls": [{"id": "1", "name": "f", "args": {"a": 1}}]}}],
    ["provider", {"serverContent": {"turnComplete": True, "interrupted": True}, "usageMetadata": {"promptTokenCount": 5, "responseTokenCount": 7, "totalTokenCount": 12, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}]}}],
    ["provider", {"goAway": {"timeLeft": "10s"}}],
]  # fmt: skip
_OTHERS = [
    ["provider", {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": {"conversation_id": "c", "agent_output_audio_format": "pcm_16000", "user_input_audio_format": "ulaw_8000"}}],
    ["client", {"user_audio_chunk": "AAECAw=="}],
    ["provider", {"type": "user_transcript", "user_transcription_event": {"user_transcript": "Hi"}}],
    ["provider", {"type": "agent_response", "agent_response_event": {"agent_response": "Hello"}}],
    ["provider", {"type": "audio", "audio_event": {"audio_base_64": "AAECAw==", "event_id": 1}}],
    ["client", {"type": "Settings", "audio": {"input": {"encoding": "linear16", "sample_rate": 16000}, "output": {"encoding": "mulaw", "sample_rate": 8000}}, "agent": {"speak": {"provider": {"model": "aura-2"}}, "think": {"provider": {"model": "gpt-4o-mini"}}}}],
    ["provider", {"type": "Results", "is_final": True, "speech_final": True, "channel": {"alternatives": [{"transcript": "hi"}]}, "start": 0.0, "duration": 1.0}],
    ["provider", {"type": "ConversationText", "role": "assistant", "content": "Hello"}],
    ["provider", {"type": "FunctionCallRequest", "functions": [{"id": "1", "name": "f", "arguments": "{}"}]}],
    ["client", {"model_id": "sonic-2", "transcript": "Hello", "voice": {"mode": "id", "id": "v"}, "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 44100}, "context_id": "c"}],
    ["provider", {"type": "chunk", "data": "AAECAw==", "context_id": "c", "done": False, "step_time": 1.0}],
    ["provider", {"type": "done", "context_id": "c", "done": True}],
]  # fmt: skip
_SESSIONS = [seed(_GA), seed(_BETA), seed(_GOOGLE), seed(_OTHERS), seed(_GA[:6]), seed(_GA[9:])]
_READERS = [
    *("trunkline.realtime.observing.openai", "trunkline.realtime.observing.google", "trunkline.realtime.observing.deepgram"),
    *("trunkline.realtime.observing.elevenlabs", "trunkline.realtime.observing.cartesia", "trunkline.realtime.replaying"),
]

TARGETS = [
    Target(
        "beta_bridge",
        beta_bridge,
        [seed(_GA), seed(_BETA), seed(_BETA[:4])],
        ["trunkline.realtime.beta", "trunkline.realtime.dialect"],
    ),
    Target(
        "relay_session",
        relay_session,
        [
            seed([{"memory": True}, ["connected", {"voice": "ash"}], *_GA, ["provider closed", 1006], ["connected", None], *_GA[1:], ["client closed", 1000]]),
            seed([{"beta": True, "memory": True}, ["connected", None], *_BETA, ["leaving", False], ["provider", {"type": "response.done", "response": {}}]]),
            seed([{}, ["connected", True], ["provider", {"type": "trunkline.brain.ask", "request_id": "1", "body": {"messages": []}}], ["brain", {"type": "x"}], ["client", {"type": "response.create"}], ["failed", True]]),
            seed([{"memory": True}, ["leaving", True], ["client closed", 1005]]),
        ],
        ["trunkline.realtime.session", "trunkline.realtime.memory", "trunkline.realtime.observing.openai"],
    ),
    Target("session_record", session_record, _SESSIONS, _READERS),
    Target("recording", recording, _SESSIONS, _READERS),
    Target("speech", speech, _SESSIONS, ["trunkline.realtime.speech", *_READERS]),
    Target("session_memory", session_memory, [seed(_GA), seed(_GA[9:])], ["trunkline.realtime.memory"]),
    Target(
        "client_frames",
        client_frames,
        [seed(said) for _, said in _GA + _BETA if _ == "client"],
        ["trunkline.policy.models", "trunkline.local.realtime.events"],
        (ClientMistake, LocalError, MalformedRequest),
    ),
]  # fmt: skip
