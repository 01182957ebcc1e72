"""The file of a cursor: what a crash in the middle of a write leaves, and several processes."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tidings_client import FileCursorStore
from tidings_client.effects import Cursor
from tidings_client.frames import Deployment


async def test_a_cursor_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    store = FileCursorStore(tmp_path / "deep" / "cursor")
    assert await store.load() is None
    await store.save(Cursor(7, {"g:x": 3}))
    assert await FileCursorStore(tmp_path / "deep" / "cursor").load() == Cursor(7, {"g:x": 3})


async def test_a_cursor_write_that_was_cut_off_leaves_the_old_cursor(tmp_path: Path) -> None:
    store = FileCursorStore(tmp_path / "cursor")
    await store.save(Cursor(7))
    (tmp_path / "cursor.new").write_bytes(b'{"inbox_s')
    assert await store.load() == Cursor(7)
    await store.save(Cursor(8))
    assert await store.load() == Cursor(8)


async def test_a_cursor_is_replaced_and_never_written_over(tmp_path: Path) -> None:
    store = FileCursorStore(tmp_path / "cursor")
    await store.save(Cursor(7))
    with (tmp_path / "cursor").open("rb") as before:
        await store.save(Cursor(8))
        assert b"7" in before.read()


async def test_a_file_that_is_no_cursor_is_no_new_device(tmp_path: Path) -> None:
    (tmp_path / "cursor").write_text("{}")
    with pytest.raises(ValueError, match="not a cursor file"):
        await FileCursorStore(tmp_path / "cursor").load()


SAVER = """
import asyncio, sys
from tidings_client import Cursor, FileCursorStore
async def main():
    store = FileCursorStore(sys.argv[1])
    for n in range(1, 101):
        await store.save(Cursor(n, {"g:" + "x" * (n % 7): n}))
        assert await store.load() is not None
asyncio.run(main())
"""


@pytest.mark.field_case("27")
async def test_processes_that_save_one_cursor_leave_it_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "cursor")
    starts = [asyncio.create_subprocess_exec(sys.executable, "-c", SAVER, path, stderr=PIPE) for _ in range(3)]
    processes = await asyncio.gather(*starts)
    errors = [(await process.communicate())[1] for process in processes]
    assert errors == [b""] * 3
    assert await FileCursorStore(path).load() == Cursor(100, {"g:xx": 100})
    assert sorted(await asyncio.to_thread(os.listdir, tmp_path)) == ["cursor", "cursor.lock"]


async def test_a_cursor_file_of_an_older_client_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    path.write_text('{"inbox_seq":8,"groups":{"g:X":10}}')
    store = FileCursorStore(path)
    assert await store.load() == Cursor(8, {"g:X": 10})
    kept = Cursor(9, {}, Deployment(id="b", origin="a", since=2, restored=(2,)))
    await store.save(kept)
    assert await FileCursorStore(path).load() == kept
