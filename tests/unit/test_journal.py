"""The journal: what a killed process, a full disk or a damaged file costs, and who may touch whose files."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trunkline.errors import SettingsError
from trunkline.store.journal import MAX_RECORD_BYTES, Journal, records_of

RECORDS = [b"first", b"", bytes(range(256)) * 3, b"last \xff record"]
HEADER = 12  # of a record


@contextmanager
def journal(directory: Path, **options: Any) -> Iterator[Journal]:
    opened = Journal.open(directory, **options)
    try:
        yield opened
    finally:
        opened.close()


def left_by_a_dead_process(directory: Path, records: list[bytes], **options: Any) -> Path:
    """Leave records as a process does that was killed; return their file."""
    with journal(directory, **options) as dead:
        assert all(dead.append(record) for record in records)
    return segments(directory)[-1]


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.segment"))


def drained(opened: Journal, most: int = 1000) -> list[bytes]:
    found: list[bytes] = []
    while batch := opened.next_batch(most):
        found += batch.records
        opened.done(batch)
    return found


def test_records_come_back_in_order_and_leave_nothing_behind(tmp_path: Path) -> None:
    with journal(tmp_path) as opened:
        assert all(opened.append(record) for record in RECORDS)
        assert drained(opened, 3) == RECORDS
        assert opened.next_batch(3) is None
        stats = opened.stats()
        assert (stats.appended, stats.drained, stats.waiting_bytes) == (4, 4, 0)
    assert [*tmp_path.iterdir()] == []


def test_short_and_long_records_come_back_in_order(tmp_path: Path) -> None:
    lengths = [0, 10, 500_000, 1, 2, *([300] * 2000), 5_000_000, 300_000, 300_000, 3]
    records = [bytes([number % 256]) * length for number, length in enumerate(lengths)]
    with journal(tmp_path) as opened:
        assert all(opened.append(record) for record in records)
        assert drained(opened, 100) == records
        assert all(opened.append(record) for record in records)
        assert drained(opened, 10_000) == records


def test_a_batch_has_as_many_short_records_as_are_asked_for(tmp_path: Path) -> None:
    records = [b"%d" % number * 100 for number in range(5000)]
    with journal(tmp_path) as opened:
        assert all(opened.append(record) for record in records)
        batch = opened.next_batch(4000)
        assert batch is not None
        assert [*batch.records] == records[:4000]


def test_a_batch_is_given_again_until_it_is_done(tmp_path: Path) -> None:
    with journal(tmp_path) as opened:
        opened.append(b"one")
        first = opened.next_batch(10)
        assert opened.next_batch(10) == first
        assert first is not None
        opened.append(b"two")
        opened.done(first)
        opened.done(first)
        assert drained(opened) == [b"two"]
        assert opened.stats().drained == 2


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    left_by_a_dead_process(tmp_path / "journal", RECORDS)
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "journal").iterdir()} == {0o600}


def test_what_a_process_left_is_taken_over(tmp_path: Path) -> None:
    left_by_a_dead_process(tmp_path, RECORDS)
    with journal(tmp_path) as opened:
        assert not opened.is_drained
        opened.append(b"mine")
        assert drained(opened) == [*RECORDS, b"mine"]
        assert opened.is_drained
    assert [*tmp_path.iterdir()] == []


def test_cut_at_any_byte_of_the_last_record_all_before_it_are_there(tmp_path: Path) -> None:
    whole = left_by_a_dead_process(tmp_path / "made", RECORDS).read_bytes()
    last = len(whole) - HEADER - len(RECORDS[-1])
    for end in range(last, len(whole)):
        directory = tmp_path / str(end)
        directory.mkdir()
        (directory / "dead-000001.segment").write_bytes(whole[:end])
        with journal(directory) as opened:
            assert drained(opened) == RECORDS[:-1]
            assert opened.stats().torn == (end > last)
            assert opened.stats().corrupt == 0
        assert [*directory.iterdir()] == []


def test_cut_within_its_own_header_a_file_holds_nothing(tmp_path: Path) -> None:
    whole = left_by_a_dead_process(tmp_path / "made", RECORDS).read_bytes()
    for end in range(8):
        (tmp_path / "dead-000001.segment").write_bytes(whole[:end])
        with journal(tmp_path) as opened:
            assert drained(opened) == []
        assert segments(tmp_path) == []


def test_room_that_was_never_written_to_is_a_torn_end(tmp_path: Path) -> None:
    left_by_a_dead_process(tmp_path, RECORDS).open("ab").write(bytes(5000))
    with journal(tmp_path) as opened:
        assert drained(opened) == RECORDS
        assert (opened.stats().torn, opened.stats().corrupt) == (1, 0)


@pytest.mark.parametrize("at", [0, 2, 4, 6, 8, 11, 12, 14])
def test_a_damaged_record_costs_itself_and_its_file_is_put_aside(tmp_path: Path, at: int) -> None:
    records = [b"before", b"damaged", b"after", b"the end"]
    file = left_by_a_dead_process(tmp_path, records)
    content = bytearray(file.read_bytes())
    content[8 + HEADER + len(b"before") + at] ^= 0xFF
    file.write_bytes(content)
    with journal(tmp_path) as opened:
        assert drained(opened) == [b"before", b"after", b"the end"]
        stats = opened.stats()
        assert (stats.corrupt, stats.torn, stats.drained) == (1, 0, 3)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [bytes(content)]
    assert [path.suffix for path in tmp_path.iterdir()] == [".corrupt"]


def test_a_damaged_last_record_is_not_taken_for_a_torn_one(tmp_path: Path) -> None:
    file = left_by_a_dead_process(tmp_path, RECORDS)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with journal(tmp_path) as opened:
        assert drained(opened) == RECORDS[:-1]
        assert (opened.stats().corrupt, opened.stats().torn) == (1, 0)
    assert [path.suffix for path in tmp_path.iterdir()] == [".corrupt"]


def test_a_file_of_another_kind_is_put_aside_and_never_read(tmp_path: Path) -> None:
    (tmp_path / "dead-000001.segment").write_bytes(b"TLJ\x63" + bytes(100))
    (tmp_path / "notes.txt").write_text("mine")
    with journal(tmp_path) as opened:
        assert drained(opened) == []
        assert opened.stats().corrupt == 1
    assert {path.name for path in tmp_path.iterdir()} == {"dead-000001.corrupt", "notes.txt"}


def test_a_record_within_a_record_is_never_read_as_one(tmp_path: Path) -> None:
    inner = left_by_a_dead_process(tmp_path / "other", [b"forged"]).read_bytes()[8:]
    file = left_by_a_dead_process(tmp_path / "journal", [inner + b"something", b"after"])
    content = bytearray(file.read_bytes())
    content[8 + HEADER + len(inner)] ^= 1
    file.write_bytes(content)
    with journal(tmp_path / "journal") as opened:
        assert drained(opened) == [b"after"]


def test_segments_end_at_their_size_and_are_removed_one_by_one(tmp_path: Path) -> None:
    with journal(tmp_path, segment_bytes=1000) as opened:
        records = [bytes([number]) * 300 for number in range(10)]
        assert all(opened.append(record) for record in records)
        assert len(segments(tmp_path)) == opened.stats().segments == 4
        assert opened.stats().bytes == sum(path.stat().st_size for path in segments(tmp_path))
        batch = opened.next_batch(100)
        assert batch is not None
        assert batch.records == records[:3]
        opened.done(batch)
        assert len(segments(tmp_path)) == 3
        assert drained(opened) == records[3:]


def test_segments_end_at_their_age(tmp_path: Path) -> None:
    with journal(tmp_path, segment_seconds=0.0) as opened:
        assert opened.append(b"one")
        assert opened.append(b"two")
        assert len(segments(tmp_path)) == 2
        assert drained(opened) == [b"one", b"two"]
        assert segments(tmp_path) == []


def test_a_record_longer_than_a_batch_comes_back_whole(tmp_path: Path) -> None:
    records = [b"small", os.urandom(21 << 20), b"small again"]
    with journal(tmp_path) as opened:
        assert all(opened.append(record) for record in records)
        assert drained(opened) == records


def test_a_record_beyond_all_bounds_is_refused(tmp_path: Path) -> None:
    with journal(tmp_path) as opened:
        assert not opened.append(bytes(MAX_RECORD_BYTES))
        assert opened.stats().refused == 1


def test_at_its_limit_a_journal_that_stops_refuses_until_there_is_room(tmp_path: Path) -> None:
    with journal(tmp_path, limit_bytes=2000, segment_bytes=600, policy="stop") as opened:
        kept = [opened.append(bytes([number]) * 200) for number in range(20)]
        assert kept == sorted(kept, reverse=True)
        stats = opened.stats()
        assert stats.bytes <= 2000
        assert (stats.appended, stats.refused, stats.dropped) == (sum(kept), 20 - sum(kept), 0)
        assert drained(opened) == [bytes([number]) * 200 for number in range(sum(kept))]
        assert opened.append(b"room again")


def test_a_limit_below_a_segment_does_not_stop_for_ever(tmp_path: Path) -> None:
    with journal(tmp_path, limit_bytes=1000) as opened:
        for _ in range(10):
            while opened.append(bytes(200)):
                pass
            assert drained(opened)
        assert opened.stats().appended == opened.stats().drained == 40


def test_at_its_limit_a_journal_that_drops_keeps_the_newest(tmp_path: Path) -> None:
    records = [bytes([number]) * 200 for number in range(20)]
    with journal(tmp_path, limit_bytes=2000, segment_bytes=600, policy="drop-oldest") as opened:
        assert all(opened.append(record) for record in records)
        stats = opened.stats()
        assert stats.bytes <= 2000
        assert (stats.appended, stats.refused) == (20, 0)
        assert stats.dropped > 0
        assert drained(opened) == records[stats.dropped :]


def test_what_is_dropped_while_it_is_written_is_not_counted_as_lost(tmp_path: Path) -> None:
    with journal(tmp_path, limit_bytes=1000, segment_bytes=500, policy="drop-oldest") as opened:
        opened.append(b"a" * 300)
        batch = opened.next_batch(10)
        assert batch is not None
        for _ in range(4):
            opened.append(b"b" * 300)
        assert opened.stats().dropped == 2
        opened.done(batch)
        assert (opened.stats().dropped, opened.stats().drained) == (1, 1)


def test_dropping_counts_what_an_earlier_process_left(tmp_path: Path) -> None:
    left_by_a_dead_process(tmp_path, [bytes(100)] * 7)
    with journal(tmp_path, limit_bytes=1500, policy="drop-oldest") as opened:
        assert opened.append(bytes(1000))
        assert opened.stats().dropped == 7


def test_two_processes_leave_each_others_files_alone(tmp_path: Path) -> None:
    with journal(tmp_path) as one, journal(tmp_path) as other:
        one.append(b"of one")
        other.append(b"of the other")
        other.adopt()
        assert other.stats().segments == one.stats().segments + 1 == 2
        assert drained(other) == [b"of the other"]
        one.adopt()
        assert drained(one) == [b"of one"]


def test_the_limit_is_for_all_processes_together(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        one.append(bytes(900))
        with journal(tmp_path, limit_bytes=1000) as other:
            assert not other.append(bytes(200))
            assert drained(one)
            one.close()
            other.adopt()
            assert other.append(bytes(200))


def test_the_living_take_over_from_one_that_dies(tmp_path: Path) -> None:
    program = """
        import sys, time
        from pathlib import Path
        from trunkline.store.journal import Journal
        journal = Journal.open(Path(sys.argv[1]))
        journal.append(b"the last words")
        print("ready", flush=True)
        time.sleep(600)
    """
    with (
        journal(tmp_path) as alive,
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], stdout=subprocess.PIPE
        ) as dying,
    ):
        assert dying.stdout is not None
        assert dying.stdout.readline() == b"ready\n"
        alive.adopt()
        assert drained(alive) == []
        dying.send_signal(signal.SIGKILL)
        dying.wait()
        alive.adopt()
        assert drained(alive) == [b"the last words"]
    assert [*tmp_path.iterdir()] == []


def test_what_the_database_will_not_have_is_tried_again_at_the_next_start(tmp_path: Path) -> None:
    with journal(tmp_path) as opened:
        opened.set_aside(b"strange")
        opened.set_aside(b"stranger")
        assert opened.next_batch(10) is None
        assert opened.stats().set_aside == 2
        assert [[*records_of(path)] for path in tmp_path.glob("*.rejected")] == [[b"strange", b"stranger"]]
    with journal(tmp_path) as opened:
        assert drained(opened) == [b"strange", b"stranger"]


def test_a_full_disk_refuses_and_leaves_no_piece_of_a_record(tmp_path: Path) -> None:
    # As a disk that is full does: a write is cut short, and the next one fails.
    with journal(tmp_path) as opened:
        assert opened.append(b"kept")
        size = segments(tmp_path)[0].stat().st_size
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, old[1]))
            assert not opened.append(b"x" * 500)
            assert segments(tmp_path)[0].stat().st_size == size
            assert opened.append(b"fits")
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
            assert not opened.append(b"x")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            signal.signal(signal.SIGXFSZ, handler)
        assert opened.append(b"room again")
        assert opened.stats().refused == 2
        assert drained(opened) == [b"kept", b"fits", b"room again"]


def test_a_directory_that_cannot_be_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(SettingsError, match="journal"):
        Journal.open(tmp_path / "journal")


def test_a_directory_that_is_removed_comes_back(tmp_path: Path) -> None:
    with journal(tmp_path / "journal", segment_seconds=0.0) as opened:
        opened.append(b"lost with its directory")
        for path in (tmp_path / "journal").iterdir():
            path.unlink()
        (tmp_path / "journal").rmdir()
        assert opened.append(b"kept")
        assert drained(opened) == [b"kept"]


def test_forcing_to_the_disk_changes_nothing_else(tmp_path: Path) -> None:
    with journal(tmp_path, fsync="interval", segment_bytes=1000) as opened:
        records = [bytes([number]) * 300 for number in range(10)]
        assert all(opened.append(record) for record in records)
        assert drained(opened) == records
        assert opened.append(b"left")
    with journal(tmp_path) as opened:
        assert drained(opened)[-1] == b"left"
    assert [*tmp_path.iterdir()] == []


def test_a_closed_journal_keeps_nothing(tmp_path: Path) -> None:
    opened = Journal.open(tmp_path)
    opened.close()
    opened.close()
    assert not opened.append(b"too late")
    assert opened.next_batch(1) is None
