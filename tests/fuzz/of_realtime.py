"""Targets: what passes in a realtime session, and what is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import msgspec

from tests.fuzz.target import NotForThis, Target, json_of
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
        pass
    else:
        assert {*_models_within(text)} <= {one.name for one in named}
    decode_local(text)


def _models_within(text: str) -> Iterator[str]:
    """Yield the models of a session's settings that a parser finds to which capital and small letters are the same."""
    with suppress(NotForThis):
        document = json_of(text.encode())
        for settings in (document, *(value for name, value in _items(document) if name.lower() not in _OF_PEOPLE)):
            for name, value in _items(settings):
                if name.lower() == "model" and isinstance(value, str):
                    yield value.removeprefix("models/")


_OF_PEOPLE = {"item", "metadata", "dynamic_variables"}


def _items(document: Any) -> list[tuple[str, Any]]:
    return list(document.items()) if isinstance(document, dict) else []


TARGETS = [
    Target("beta_bridge", beta_bridge, ["trunkline.realtime.beta", "trunkline.realtime.dialect"]),
    Target(
        "relay_session",
        relay_session,
        ["trunkline.realtime.session", "trunkline.realtime.memory", "trunkline.realtime.observing.openai"],
    ),
    Target(
        "session_record",
        session_record,
        [
            "trunkline.realtime.observing.openai",
            "trunkline.realtime.observing.google",
            "trunkline.realtime.observing.deepgram",
            "trunkline.realtime.observing.elevenlabs",
            "trunkline.realtime.observing.cartesia",
            "trunkline.realtime.replaying",
        ],
    ),
    Target(
        "recording",
        recording,
        [
            "trunkline.realtime.observing.openai",
            "trunkline.realtime.observing.google",
            "trunkline.realtime.observing.deepgram",
            "trunkline.realtime.observing.elevenlabs",
            "trunkline.realtime.observing.cartesia",
            "trunkline.realtime.replaying",
        ],
    ),
    Target(
        "speech",
        speech,
        [
            "trunkline.realtime.speech",
            "trunkline.realtime.observing.openai",
            "trunkline.realtime.observing.google",
            "trunkline.realtime.observing.deepgram",
            "trunkline.realtime.observing.elevenlabs",
            "trunkline.realtime.observing.cartesia",
            "trunkline.realtime.replaying",
        ],
    ),
    Target("session_memory", session_memory, ["trunkline.realtime.memory"]),
    Target(
        "client_frames",
        client_frames,
        ["trunkline.policy.models", "trunkline.local.realtime.events"],
        (
            ClientMistake,
            LocalError,
            MalformedRequest,
        ),
    ),
]
