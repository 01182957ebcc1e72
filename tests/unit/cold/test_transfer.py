"""Objects on their way to and from disk, and what differs first between an object and the directory."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.clock import FakeClock
from tests.faults.media import FaultyMediaStore
from tests.unit.cold.segments import segment_rows
from tidings.cold.objects import encode
from tidings.cold.transfer import ObjectFile, bytes_of, fetch, first_problem
from tidings.errors import MediaMissing, MediaUnavailable, UnreadableObject
from tidings.media.memory import MemoryMediaStore

SEGMENTS = [segment_rows("d:alice:bob", 1, 1, 3), segment_rows("d:alice:bob", 2, 4, 2)]


async def test_stored_file_comes_back_with_its_digest(tmp_path: Path) -> None:
    objects, sent, got = MemoryMediaStore(FakeClock()), tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(bytes(range(256)) * 3_000)
    await objects.put("cold/a", bytes_of(sent))
    assert await fetch(objects, "cold/a", got) == hashlib.sha256(sent.read_bytes()).digest()
    assert got.read_bytes() == sent.read_bytes()


async def test_missing_object_raises(tmp_path: Path) -> None:
    with pytest.raises(MediaMissing):
        await fetch(MemoryMediaStore(FakeClock()), "cold/a", tmp_path / "got")


def test_object_as_written_has_no_problem(tmp_path: Path) -> None:
    written = encode(tmp_path / "a", SEGMENTS)
    assert first_problem(tmp_path / "a", written.segments) == ""


def test_wrong_checksum_names_its_segment(tmp_path: Path) -> None:
    first, second = encode(tmp_path / "a", SEGMENTS).segments
    problem = first_problem(tmp_path / "a", [first, second._replace(rows_sha256=b"x" * 32)])
    assert problem == "d:alice:bob, segment 2: its rows have another checksum"


def test_rows_of_another_segment_are_named(tmp_path: Path) -> None:
    first, second = encode(tmp_path / "a", SEGMENTS).segments
    problem = first_problem(tmp_path / "a", [second._replace(first_row=first.first_row)])
    assert problem == "d:alice:bob, segment 2: seq 4 is another message"


@pytest.mark.parametrize("column", ["body", "sender_id", "client_msg_id", "mentions", "reply_to", "count", "at"])
def test_any_changed_column_is_a_problem(tmp_path: Path, column: str) -> None:
    written = encode(tmp_path / "a", SEGMENTS)
    changed: dict[str, Any] = {"body": b"x", "mentions": ("x",), "sender_id": "x", "client_msg_id": "x"}
    row, *rest = SEGMENTS[0]
    other = replace(row, **{column: changed.get(column, 77)})
    encode(tmp_path / "b", [[other, *rest], SEGMENTS[1]])
    assert "segment 1" in first_problem(tmp_path / "b", written.segments)


def test_file_that_is_no_object_cannot_be_decoded(tmp_path: Path) -> None:
    written = encode(tmp_path / "a", SEGMENTS)
    (tmp_path / "a").write_bytes(b"no object")
    with pytest.raises(UnreadableObject):
        first_problem(tmp_path / "a", written.segments)


async def test_object_is_fetched_once_for_all_questions(tmp_path: Path) -> None:
    objects = MemoryMediaStore(FakeClock())
    written = encode(tmp_path / "a", SEGMENTS)
    await objects.put("cold/a", bytes_of(tmp_path / "a"))
    file = ObjectFile(objects, tmp_path / "fetched")
    for one in written.segments:
        assert await file.problem("cold/a", written.sha256, [one]) == ""
    assert await file.problem("cold/a", b"x" * 32, written.segments) == "its bytes are not those that were stored"
    assert objects.calls["open"] == 1
    file.discard()
    assert await file.problem("cold/a", written.sha256, written.segments) == ""
    assert objects.calls["open"] == 2


async def test_missing_object_is_a_problem_and_asked_for_once(tmp_path: Path) -> None:
    objects = MemoryMediaStore(FakeClock())
    written = encode(tmp_path / "a", SEGMENTS)
    file = ObjectFile(objects, tmp_path / "fetched")
    for one in written.segments:
        assert await file.problem("cold/a", written.sha256, [one]) == "the object is missing"
    assert objects.calls["open"] == 1


async def test_store_that_is_away_is_no_problem_of_the_object(tmp_path: Path) -> None:
    objects = FaultyMediaStore(FakeClock())
    written = encode(tmp_path / "a", SEGMENTS)
    await objects.put("cold/a", bytes_of(tmp_path / "a"))
    file = ObjectFile(objects, tmp_path / "fetched")
    objects.stall()
    with pytest.raises(MediaUnavailable):
        await file.problem("cold/a", written.sha256, written.segments)
    objects.heal()
    assert await file.problem("cold/a", written.sha256, written.segments) == ""
