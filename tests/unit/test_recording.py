"""What is written of a session's frames, and what is read back."""

from __future__ import annotations

import base64
import json
import math
import stat
import subprocess
import sys
import time
import wave
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trunkline.errors import SettingsError
from trunkline.providers.schema import Protocol
from trunkline.realtime.listening import arrange, resampled, samples
from trunkline.realtime.record import SessionRecord
from trunkline.realtime.recording import (
    A_LAW,
    MU_LAW,
    PCM,
    Line,
    Recording,
    Session,
    Sound,
    read_line,
    session_of,
    without_credentials,
)
from trunkline.server import recordings
from trunkline.server.recorder import Recorder
from trunkline.server.recordings import StoredRecording
from trunkline.wire.head import Head, Transport

ID = "01JDSESSION0000000000000000"
TONE = array("h", [round(8000 * math.sin(i / 10)) for i in range(2400)]).tobytes()  # 100 ms


def append(sound: bytes = TONE) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(sound).decode()})


def delta(sound: bytes = TONE, item: str = "item_1") -> str:
    place = {"type": "response.output_audio.delta", "event_id": "event_1", "item_id": item}
    return json.dumps({**place, "delta": base64.b64encode(sound).decode(), "content_index": 0})


def settings(heard: str = "audio/pcm", spoken: str = "audio/pcm", **more: Any) -> str:
    audio = {"input": {"format": {"type": heard}}, "output": {"format": {"type": spoken}}}
    return json.dumps({"type": "session.updated", "session": {"type": "realtime", "audio": audio, **more}})


def session(**changes: Any) -> Session:
    return Session(**{"id": ID, "path": "/v1/local/default/openai/realtime", "provider": "openai", **changes})


def recorded(directory: Path, frames: Iterable[tuple[str, str | bytes]], **changes: Any) -> StoredRecording:
    """Record frames, one each 100 ms, and open what is on the disk then."""
    recorder = Recorder.open(directory, session(**changes))
    for place, (side, said) in enumerate(frames, 1):
        (recorder.client if side == "client" else recorder.provider)(said, place / 10)
    recorder.close(None)
    recorder.join(10)
    assert not recorder.is_truncated
    return StoredRecording.find(directory, ID)


# The core


def test_a_frame_of_sound_becomes_a_line_without_it_and_the_sound() -> None:
    written = Recording("openai").client(append(), 1.5)
    line = read_line(written.line)
    assert (line.at, line.side, written.sound) == (1500.0, "client", TONE)
    assert line.audio == Sound("client.wav", 0, len(TONE))
    assert json.loads(line.text or "") == {"type": "input_audio_buffer.append", "audio": ""}
    assert line.frame(TONE) == append()


def test_offsets_go_on_where_the_last_frame_ended_and_each_side_has_its_file() -> None:
    recording = Recording("openai")
    places = [read_line(one.line).audio for one in (recording.client(append(), 0), recording.client(append(), 1))]
    assert places == [Sound("client.wav", 0, 4800), Sound("client.wav", 4800, 4800)]
    assert read_line(recording.provider(delta(), 2).line).audio == Sound("provider.wav", 0, 4800)


def test_a_change_of_format_starts_a_next_file() -> None:
    recording = Recording("openai")
    recording.client(append(), 0)
    recording.provider(settings("audio/pcmu", "audio/pcma"), 1)
    heard, spoken = recording.client(append(b"\xff" * 80), 2).file, recording.provider(delta(b"\xd5" * 80), 3).file
    assert heard is not None
    assert spoken is not None
    assert (heard.name, heard.encoding, heard.rate) == ("client-2.wav", MU_LAW, 8000)
    assert (spoken.name, spoken.encoding, spoken.rate) == ("provider.wav", A_LAW, 8000)


def test_the_beta_dialects_sound_and_formats_are_understood() -> None:
    recording = Recording("openai")
    recording.provider('{"type":"session.created","session":{"output_audio_format":"g711_ulaw"}}', 0)
    frame = delta().replace("response.output_audio.delta", "response.audio.delta")
    written = recording.provider(frame, 1)
    assert written.file is not None
    assert written.file.encoding == MU_LAW
    assert read_line(written.line).frame(written.sound) == frame


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("elevenlabs", json.dumps({"user_audio_chunk": base64.b64encode(TONE).decode()})),
        ("deepgram", TONE),
        ("google", json.dumps({"realtimeInput": {"audio": {"data": base64.b64encode(TONE).decode()}}}).encode()),
        ("none", b"\x00\x01\x02"),
        ("none", "what nobody can read"),
    ],
)
def test_frames_of_every_protocol_come_back_as_they_were(protocol: Protocol, said: str | bytes) -> None:
    written = Recording(protocol).client(said, 0)
    assert read_line(written.line).frame(written.sound) == said


@pytest.mark.parametrize("broken", ["a", "ab=c", "YWJjZB==", "Y WJj", "YWJj\\n"])
def test_base64_that_cannot_be_put_back_exactly_stays_in_the_frame(broken: str) -> None:
    frame = f'{{"type":"input_audio_buffer.append","audio":"{broken}"}}'
    written = Recording("openai").client(frame, 0)
    assert written.file is None
    assert read_line(written.line).frame() == frame


# Credentials


SECRET = "s3cr3t-value-of-somebody"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.created", "session": {"client_secret": {"value": SECRET, "expires_at": 1}}},
        {"type": "session.update", "session": {"tools": [{"type": "mcp", "authorization": SECRET}]}},
        {"type": "session.update", "session": {"tools": [{"type": "mcp", "headers": {"Authorization": SECRET}}]}},
        {"type": "session.update", "session": {"tools": [{"type": "mcp", "headers": {"X-Custom": SECRET}}]}},
        {"type": "session.update", "session": {"tools": [{"server_url": f"https://mcp.example/sse?api_key={SECRET}"}]}},
        {"type": "session.update", "session": {"tools": [{"server_url": f"https://me:{SECRET}@mcp.example/sse"}]}},
        {"type": "response.create", "response": {"tools": [{"type": "mcp", "authorization": SECRET}]}},
        {"text": " ", "xi_api_key": SECRET},
        {"type": "error", "error": {"message": "Wrong key: sk-proj-0123456789abcdefghij"}},
        {"type": "x", "note": "it is tlk_0123456789abcdef0123456789abcdef"},
    ],
)
def test_no_credential_is_written(event: dict[str, Any]) -> None:
    for recording in (Recording("openai").client, Recording("openai").provider):
        line = recording(json.dumps(event), 0).line.decode()
        assert SECRET not in line
        assert "0123456789abcdef" not in line


def test_a_credential_beside_the_sound_is_not_written_either() -> None:
    frame = append()[:-1] + f', "authorization": "{SECRET}"}}'
    written = Recording("openai").client(frame, 0)
    assert SECRET not in written.line.decode()


@pytest.mark.parametrize(
    "text",
    [
        f'{{"type":"session.update","\\u0061uthorization":"{SECRET}"}}',
        f'{{"type":"x","authorization":"{SECRET}","authorization":null}}',
        f'{{"type":"x","authorization":"{SECRET}"',
        f'[{{"authorization":"{SECRET}"}}]',
    ],
)
def test_a_frame_made_to_hide_a_credential_does_not(text: str) -> None:
    assert SECRET not in without_credentials(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "conversation.item.create",  "item": {"content": [{"text": "my password is a secret, token"}]}}',
        '{"type":"session.update","session":{"tools":[{"parameters":{"properties":{"key":{"type":"string"}}}}]}}',
        '{"type":"x","logprobs":[{"token":"hello","logprob":-0.5}],"max_output_tokens":7}',
        '{"type":"x","image_url":"https://pictures.example/cat.png?size=2"}',
        "no JSON at all",
    ],
)
def test_a_frame_without_a_credential_stays_character_for_character(text: str) -> None:
    assert without_credentials(text) == text


def test_the_beginning_of_a_session_is_kept_without_its_credentials() -> None:
    offered = ("realtime", "openai-insecure-api-key.sk-caller", "openai-agents-sdk.0.20.0")
    query = f"model=gpt-realtime&api_key={SECRET}"
    head = Head(Transport.WEBSOCKET, "GET", "/v1/local/default/openai", query, [], offered)
    told = session_of(ID, head, provider="openai", protocol="openai", model="gpt-realtime", beta=False, started_at=1.0)
    assert told.query == "model=gpt-realtime"
    assert told.subprotocols == ("realtime", "openai-agents-sdk.0.20.0")


# On the disk


def test_a_recording_is_read_back_as_it_was_said(tmp_path: Path) -> None:
    said: list[tuple[str, str | bytes]] = [
        ("provider", settings()),
        ("client", append()),
        ("client", b"\x00binary"),
        ("provider", delta()),
        ("provider", '{"type":"response.done","response":{"id":"resp_1","status":"completed"}}'),
    ]
    recording = recorded(tmp_path, said)
    read = list(recording.frames())
    assert [(line.side, frame) for line, frame in read] == said
    assert [line.at for line, _ in read] == [100.0, 200.0, 300.0, 400.0, 500.0]
    assert recording.session.state == "complete"


def test_a_recording_is_for_its_owner_alone(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "data", [("client", append()), ("provider", delta())])
    assert {path.name for path in recording.directory.iterdir()} == {
        "session.json",
        "events.jsonl",
        "client.wav",
        "provider.wav",
    }
    for path in (recording.directory.parent, recording.directory):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in recording.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_sound_is_a_wav_that_any_program_reads(tmp_path: Path) -> None:
    recording = recorded(tmp_path, [("client", append()), ("client", append())])
    with wave.open(str(recording.directory / "client.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24000)
        assert file.readframes(10**6) == TONE * 2


def test_the_report_is_kept_with_the_recording(tmp_path: Path) -> None:
    record = SessionRecord("openai", price=lambda usage: None, model="gpt-realtime")
    record.dialled(0.0)
    record.closed("client", 1000, "bye", 2.0)
    recorder = Recorder.open(tmp_path, session())
    recorder.close(record.report(2.0))
    recorder.join(10)
    report = StoredRecording.find(tmp_path, ID).session.report
    assert report is not None
    assert report.close is not None
    assert (report.close.by, report.close.reason) == ("client", "bye")


def test_a_disk_that_does_not_follow_truncates_the_recording_and_nothing_else(tmp_path: Path) -> None:
    recorder = Recorder.open(tmp_path, session(), queue_bytes=1000)
    recorder.client(append(), 0.1)  # more than the queue holds
    assert recorder.is_truncated
    recorder.client("{}", 0.2)
    recorder.close(None)
    recorder.join(10)
    recording = StoredRecording.find(tmp_path, ID)
    assert recording.session.state == "truncated"
    assert list(recording.lines()) == []


RECORDING = """
import resource, signal, sys, time
from pathlib import Path
from tests.unit.test_recording import append, session
from trunkline.server.recorder import Recorder

if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
recorder = Recorder.open(Path(sys.argv[1]), session())
for place in range(20):
    recorder.client(append(), place / 10)
if sys.argv[2] == "full":
    recorder.close(None)
    recorder.join(10)
    sys.exit(0 if recorder.is_truncated else 1)
print("said", flush=True)
time.sleep(60)
"""


def test_a_full_disk_truncates_the_recording_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", RECORDING, str(tmp_path), "full"], capture_output=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    recording = StoredRecording.find(tmp_path, ID)
    assert recording.session.state == "truncated"
    assert all(frame == append() for _, frame in recording.frames())


def test_a_recording_whose_end_finds_no_room_says_that_it_is_truncated(tmp_path: Path) -> None:
    recorder = Recorder.open(tmp_path, session())
    folder = tmp_path / "recordings" / ID
    deadline = time.monotonic() + 30
    while not (folder / "events.jsonl").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    (folder / "session.new").mkdir()  # in the place of the file that would be written
    recorder.client(append(), 0.1)
    recorder.close(None)
    recorder.join(10)
    assert recorder.is_truncated
    recording = StoredRecording.find(tmp_path, ID)
    assert recording.session == session(state="truncated")
    assert len(list(recording.frames())) == 1


def test_what_a_killed_gateway_has_recorded_can_be_read_and_heard(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", RECORDING, str(tmp_path), "kill"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"said\n"
        events = tmp_path / "recordings" / ID / "events.jsonl"
        deadline = time.monotonic() + 30
        while not (events.is_file() and events.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    recording = StoredRecording.find(tmp_path, ID)
    assert recording.session.state == "open"
    read = list(recording.frames())
    assert read
    with wave.open(str(recording.directory / "client.wav")) as file:
        assert file.getnframes() * 2 >= len(read) * len(TONE)


def test_a_folder_that_cannot_be_made_truncates_the_recording(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("not a folder")
    recorder = Recorder.open(tmp_path, session())
    recorder.client(append(), 0.1)
    recorder.close(None)
    recorder.join(10)
    assert recorder.is_truncated


def test_what_a_crash_has_cut_is_left_out(tmp_path: Path) -> None:
    recording = recorded(tmp_path, [("client", append()), ("client", append()), ("client", append())])
    events = recording.directory / "events.jsonl"
    events.write_bytes(events.read_bytes()[:-20])
    assert len(list(recording.frames())) == 2
    sound = recording.directory / "client.wav"
    sound.write_bytes(sound.read_bytes()[:-5000])
    assert len(list(recording.frames())) == 1


@pytest.mark.parametrize("id", ["../../etc", "", "a b", ".."])
def test_what_is_no_id_opens_no_file(tmp_path: Path, id: str) -> None:
    with pytest.raises(SettingsError):
        recordings.forget(tmp_path, id)


def test_a_line_that_points_outside_the_recording_is_refused(tmp_path: Path) -> None:
    recording = recorded(tmp_path, [("client", "{}")])
    line = Line(at=0, side="client", text="", audio=Sound("../session.json", 0, 1))
    (recording.directory / "events.jsonl").write_bytes(msgspec.json.encode(line) + b"\n")
    with pytest.raises(SettingsError, match="not in it"):
        list(recording.frames())


def test_a_recording_can_be_forgotten_once(tmp_path: Path) -> None:
    recording = recorded(tmp_path, [("client", "{}")])
    assert recordings.is_recorded(tmp_path, ID)
    recordings.forget(tmp_path, ID)
    assert not recording.directory.exists()
    with pytest.raises(SettingsError, match="no recording"):
        recordings.forget(tmp_path, ID)


# Listening


SPEED = {"client.wav": 48000, "provider.wav": 48000}


def placed(lines: Iterable[Line]) -> list[tuple[str, float, float]]:
    return [(piece.side, round(piece.start, 3), round(piece.end, 3)) for piece in arrange(lines, "openai", SPEED)]


def sound(side: Any, at: float, seconds: float, item: str = "item_1") -> Line:
    text = delta(b"", item) if side == "provider" else append(b"")
    return Line(at=at * 1000, side=side, text=text, audio=Sound(f"{side}.wav", 0, round(seconds * 48000)))


def test_the_user_is_heard_before_what_was_said_is_sent_and_without_gaps_of_the_network() -> None:
    assert placed([sound("client", 1.0, 0.1), sound("client", 1.15, 0.1), sound("client", 3.0, 0.1)]) == [
        ("client", 0.9, 1.0),
        ("client", 1.0, 1.1),
        ("client", 2.9, 3.0),
    ]


def test_an_answer_that_comes_at_once_is_heard_in_its_own_time() -> None:
    assert placed([sound("provider", 1.0, 2.0), sound("provider", 1.01, 2.0)]) == [
        ("provider", 1.0, 3.0),
        ("provider", 3.0, 5.0),
    ]


def test_an_answer_that_is_cut_is_heard_to_where_the_client_stopped_it() -> None:
    cut = Line(
        at=2500,
        side="client",
        text='{"type":"conversation.item.truncate","item_id":"item_1","content_index":0,"audio_end_ms":1500}',
    )
    assert placed([sound("provider", 1.0, 2.0), sound("provider", 1.01, 2.0), cut]) == [("provider", 1.0, 2.5)]


def test_a_cancelled_answer_is_silent_and_the_next_one_does_not_wait_for_it() -> None:
    done = Line(at=2000, side="provider", text='{"type":"response.done","response":{"id":"r","status":"cancelled"}}')
    lines = [sound("provider", 1.0, 5.0), sound("provider", 1.1, 5.0), done, sound("provider", 4.0, 1.0, "item_2")]
    assert placed(lines) == [("provider", 1.0, 2.0), ("provider", 4.0, 5.0)]


def test_g711_is_decoded_as_the_standard_says() -> None:
    assert list(samples(MU_LAW, b"\xff\x7f\x80\x00")) == [0, 0, 32124, -32124]
    assert list(samples(A_LAW, b"\xd5\x55\xaa\x2a")) == [8, -8, 32256, -32256]
    assert list(samples(PCM, b"\x01\x00\xff\xff\x00")) == [1, -1]


def test_sound_keeps_its_shape_at_another_rate() -> None:
    assert list(resampled(array("h", [0, 30, 60]), 8000, 24000)) == [0, 10, 20, 30, 40, 50, 60, 60, 60]
    assert list(resampled(array("h", [0, 10, 20, 30]), 24000, 12000)) == [0, 20]
