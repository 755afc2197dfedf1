"""Recordings whose files are gone, cut short or damaged; and a disk that is full in the middle of a recorded call."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import wave
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.clients.ga_upstream import ga_upstream
from tests.commands import command
from tests.contract.administration import administration
from tests.contract.test_governed_sessions import governed, kept
from tests.contract.test_replay import record, speak
from tests.contract.test_resumption import ASK, KEY, REALTIME, heard, say, user
from tests.contract.waiting import until
from tests.faults.test_storage import fill, no_room, small_disk
from tests.running import Program, data_directory, program, run
from trunkline.policy.sessions import RealtimeRules
from trunkline.server.recordings import StoredRecording

RECORDS = "/api/realtime/records"
GARBAGE = b"\x00\xff\xfe{garbage\n" * 500
SPEAKS_OF: dict[str, Any] = {"at": 1.0, "side": "client", "text": "", "audio": ["client.wav", 0, 9600]}

Damage = Callable[[Path], object]


def lost(*names: str) -> Damage:
    return lambda folder: [(folder / name).unlink() for name in names]


def holding(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str, size: int) -> Damage:
    """Leave the first bytes of a file, or all but the last where the size is negative."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def folder_for(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def saying(**changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "session.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))

    return damage


def lines(*documents: dict[str, Any]) -> Damage:
    return holding("events.jsonl", b"".join(json.dumps(one).encode() + b"\n" for one in documents))


def other_rate(folder: Path) -> None:
    header = bytearray((folder / "client.wav").read_bytes())
    header[24:28] = b"\xff" * 4
    (folder / "client.wav").write_bytes(header)


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(GARBAGE)


BOTH, ASSISTANT, USER = (True, True), (False, True), (True, False)

# (what is done to it, who is still heard or else what is said)
DAMAGES: dict[str, tuple[Damage, tuple[bool, bool] | str]] = {
    "is whole": (lambda folder: None, BOTH),
    "is gone": (shutil.rmtree, "There is no recording"),
    "is a file": (a_file, "There is no recording"),
    "has no head": (lost("session.json"), "There is no recording"),
    "has an empty head": (holding("session.json", b""), "session.json cannot be read"),
    "has half a head": (cut("session.json", 40), "session.json cannot be read"),
    "has garbage for a head": (holding("session.json", GARBAGE), "session.json cannot be read"),
    "has a head without depth": (holding("session.json", b'{"report":' * 50_000), "session.json cannot be read"),
    "has a folder for a head": (folder_for("session.json"), "session.json cannot be read"),
    "has another's head": (saying(id="../../elsewhere"), "names no session"),
    "is of a later version": (saying(version=99), "later Trunkline"),
    "has no frames": (lost("events.jsonl"), "events.jsonl cannot be read"),
    "has a folder for frames": (folder_for("events.jsonl"), "events.jsonl cannot be read"),
    "has an empty file of frames": (holding("events.jsonl", b""), "no sound"),
    "has garbage for frames": (holding("events.jsonl", GARBAGE), "no sound"),
    "has frames without depth": (holding("events.jsonl", b'{"x":' * 50_000), "no sound"),
    "has half a last frame": (cut("events.jsonl", -20), BOTH),
    "has a frame that is no base64": (lines({"at": 0, "side": "client", "binary": "?"}, SPEAKS_OF), USER),
    "speaks of a file elsewhere": (lines({**SPEAKS_OF, "audio": ["../x.wav", 0, 9]}), "not in it"),
    "speaks of a file of no name": (lines({**SPEAKS_OF, "audio": ["x\0.wav", 0, 9]}), "not in it"),
    "speaks of sound before the file": (lines({**SPEAKS_OF, "audio": ["client.wav", -9, 9]}), "no sound"),
    "speaks of sound beyond the file": (lines({**SPEAKS_OF, "audio": ["client.wav", 10**9, 9600]}, SPEAKS_OF), USER),
    "speaks of sound beyond all memory": (lines({**SPEAKS_OF, "audio": ["client.wav", 0, 1 << 60]}), "longer than"),
    "speaks of sound beyond all numbers": (lines({**SPEAKS_OF, "audio": ["client.wav", 0, 10**400]}), "no sound"),
    "speaks of a time beyond all calls": (lines(SPEAKS_OF, {**SPEAKS_OF, "at": 1e300}), "longer than"),
    "has no sound": (lost("client.wav", "provider.wav"), "no sound"),
    "has no sound of the user": (lost("client.wav"), ASSISTANT),
    "has a folder for sound": (folder_for("client.wav"), "client.wav cannot be read"),
    "has an empty file of sound": (holding("client.wav", b""), ASSISTANT),
    "has a header of sound that is cut": (cut("client.wav", 30), ASSISTANT),
    "has sound that is cut": (cut("client.wav", 5000), BOTH),
    "has garbage for sound": (holding("client.wav", GARBAGE), ASSISTANT),
    "has a header of sound that is damaged": (other_rate, ASSISTANT),
}


def heard_in(sound: bytes) -> tuple[bool, bool]:
    """Who is heard in a WAV that is whole."""
    with wave.open(io.BytesIO(sound)) as file:
        frames = file.readframes(file.getnframes())
        assert len(frames) == 4 * file.getnframes()
    both = array("h", frames)
    return any(both[0::2]), any(both[1::2])


@contextmanager
def damaged(folder: Path, damage: Damage) -> Iterator[None]:
    """Damage a recording, and make it whole again."""
    whole = folder.with_name("whole")
    shutil.copytree(folder, whole)
    damage(folder)
    try:
        yield
    finally:
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.unlink(missing_ok=True)
        whole.rename(folder)


SOME = ("is whole", "is a file", "has garbage for a head", "has no frames", "has no sound of the user")


@pytest.mark.parametrize(
    "names", [pytest.param(SOME, id="some"), pytest.param(tuple(DAMAGES), id="all", marks=pytest.mark.whole)]
)
def test_what_is_left_of_a_damaged_recording_is_played_and_the_rest_is_said(names: Sequence[str]) -> None:
    async def main() -> None:
        with data_directory() as data:
            async with (
                governed(data, RealtimeRules(record=True), pace=0.0) as (_, address),
                httpx.AsyncClient(base_url=address.http, timeout=30) as console,
            ):
                session = await record(data, address, speak)
                folder, target = data / "recordings" / session, data / "heard.wav"

                async def said(*words: str) -> tuple[int, str]:
                    done = await asyncio.to_thread(command, "sessions", *words, "--data-dir", str(data))
                    return done.returncode, done.stderr

                for name in names:
                    damage, expected = DAMAGES[name]
                    with damaged(folder, damage):
                        is_there = (folder / "session.json").is_file()
                        shown = await console.get(f"{RECORDS}/{session}")
                        assert (shown.status_code, shown.json()["is_recorded"]) == (200, is_there), name
                        assert (await console.get(RECORDS)).json()["records"][0]["id"] == session, name
                        sound = await console.get(f"{RECORDS}/{session}/audio")
                        status, words = await said("audio", session, "--out", str(target))
                        if isinstance(expected, str):
                            assert (sound.status_code, sound.json()["error"]["code"]) == (404, "unknown_session"), name
                            assert status == 2, name
                            assert expected in words, (name, words)
                            assert not target.exists(), name
                        else:
                            assert sound.status_code == 200, (name, sound.text)
                            assert status == 0, (name, words)
                            assert target.read_bytes() == sound.content, name
                            assert heard_in(sound.content) == expected, name
                            target.unlink()
                        # Whatever there is of it is said again, to nobody here.
                        status, words = await said("replay", session, "--against", "ws://127.0.0.1:9/v1/realtime")
                        assert (status, bool(words)) == (2, True), name
                        assert (await said("show", session))[0] == 0, name
                        is_folder = folder.is_dir()
                        assert (await said("forget", session))[0] == (0 if is_folder else 2), name
                        assert not folder.is_dir(), name

    run(main(), 120)


# A full disk


async def turn(socket: ClientConnection) -> None:
    """Ask once more; the call goes on."""
    await say(socket, user("", "And then?"), ASK)
    assert (await heard(socket, "response.done"))[-1]["response"]["status"] == "completed"


@contextmanager
def no_room_for(process: int, data: Path) -> Iterator[None]:
    with no_room(process):
        yield


@contextmanager
def full_disk(process: int, data: Path) -> Iterator[None]:
    fill(data / "filler")
    yield
    (data / "filler").unlink()


def recording_of(data: Path) -> Path:
    [folder] = (data / "recordings").iterdir()
    return folder


def frames_in(folder: Path) -> int:
    return sum(1 for _ in StoredRecording.find(folder.parent.parent, folder.name).lines())


def until_written(folder: Path) -> Any:
    async def is_written() -> bool:
        return frames_in(folder) > 0

    return until(is_written)


def until_said(running: Program, words: str) -> Any:
    async def is_said() -> bool:
        return any(words in line for line in running.output)

    return until(is_said)


def until_ended(folder: Path) -> Any:
    async def is_ended() -> bool:
        return StoredRecording.find(folder.parent.parent, folder.name).session.state != "open"

    return until(is_ended)


# A limit of sizes forbids to write over what is there, too, so there must be room at the end.
FULL: list[Any] = [pytest.param(no_room_for, False, id="for a while")]
if os.geteuid() == 0:  # only root can make a disk
    FULL.append(pytest.param(full_disk, True, id="to the end"))


@pytest.mark.whole
@pytest.mark.parametrize(("fault", "lasts"), FULL)
def test_a_call_goes_on_when_the_disk_is_full_and_its_recording_ends_as_truncated(fault: Any, lasts: bool) -> None:
    async def main() -> None:
        with ExitStack() as stack:
            fresh = stack.enter_context(data_directory())
            data = stack.enter_context(small_disk(16)) if fault is full_disk else fresh
            if data != fresh:
                (data / "trunkline.db").write_bytes((fresh / "trunkline.db").read_bytes())
                (data / "models").symlink_to(fresh / "models")
            async with administration(data) as configuration:
                await configuration.change_gateway("default", realtime=RealtimeRules(record=True).document())
            async with ga_upstream(key=KEY, pace=0.0) as upstream:
                environment = {
                    "TRUNKLINE_DATA_DIR": str(data),
                    "TRUNKLINE_PROVIDERS__OPENAI__BASE_URL": upstream.http,
                    "TRUNKLINE_PROVIDERS__OPENAI__API_KEY": KEY,
                }
                started = program("serve", "--port", "0", environment=environment)
                running = await asyncio.to_thread(started.__enter__)
                try:
                    async with connect(running.address.ws + REALTIME, max_size=None, proxy=None) as socket:
                        await speak(socket)
                        folder = recording_of(data)
                        await until_written(folder)
                        with fault(running.process.pid, data):
                            for _ in range(50):
                                await turn(socket)
                                if any("a recording is truncated" in line for line in running.output):
                                    break
                            await until_said(running, "a recording is truncated")
                            await turn(socket)
                            if lasts:
                                await socket.close()
                                await until_ended(folder)
                        if not lasts:
                            await turn(socket)
                    await until_ended(folder)
                    assert StoredRecording.find(data, folder.name).session.state == "truncated"
                finally:
                    await asyncio.to_thread(started.__exit__, None, None, None)
            said = [json.loads(frame) for _, frame in StoredRecording.find(data, folder.name).frames()]
            assert said[0]["type"] == "session.created"
            assert {*os.listdir(folder)} == {"session.json", "events.jsonl", "client.wav", "provider.wav"}
            assert len([line for line in running.output if "a recording is truncated" in line]) == 1
            (session,) = await kept(data)
            assert session.report.close is not None
            assert (session.report.close.by, session.report.close.code) == ("client", 1000)

    run(main(), 120)
