"""Archived messages are read from every object store as they were written."""

from pathlib import Path

import pytest

from tests.contract.media.objects import chunks_of
from tests.fakes.clock import FakeClock
from tests.unit.cold.segments import segment_rows, written_object
from tidings.cold.cache import ObjectCache
from tidings.cold.reader import FAILURE_MS, ColdReader
from tidings.errors import ColdUnavailable
from tidings.media.base import MediaStore

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_archived_messages_are_read_from_the_store(store: MediaStore, name: str, tmp_path: Path) -> None:
    segments = [segment_rows("d:alice:bob", 1, 1, 30), segment_rows("g:large", 4, 30_001, 3_000, body=b"x" * 400)]
    key, clock = f"{name}/object", FakeClock()
    content, directory = written_object(tmp_path / "object", segments, key)
    reader = ColdReader(ObjectCache(store, tmp_path / "cache", 10**8, fetch_timeout_s=20), clock)
    await reader.start()
    with pytest.raises(ColdUnavailable, match="is missing"):
        await reader.messages(directory[0], 1, 30)
    await store.put(key, chunks_of(content))
    clock.now_ms += FAILURE_MS + 1
    for segment, rows in zip(directory, segments, strict=True):
        assert await reader.messages(segment, rows[0].seq, rows[-1].seq) == rows
    await reader.close()


async def test_object_with_other_bytes_is_refused(store: MediaStore, name: str, tmp_path: Path) -> None:
    content, (segment,) = written_object(tmp_path / "object", [segment_rows(count=9)], f"{name}/object")
    await store.put(f"{name}/object", chunks_of(content[:-20] + bytes(20)))
    reader = ColdReader(ObjectCache(store, tmp_path / "cache", 10**8, fetch_timeout_s=20), FakeClock())
    await reader.start()
    with pytest.raises(ColdUnavailable, match="SHA-256"):
        await reader.messages(segment, 1, 9)
    await reader.close()
