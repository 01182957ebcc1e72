"""The SDK's files: what a crash in the middle of a write leaves, and compaction."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings_client import FailedDraft, FileCursorStore, FileInUse, FileOutbox, outbox
from tidings_client.drafts import Draft
from tidings_client.effects import Cursor
from tidings_client.rest import http_url_of, ws_url_of


def draft(name: str, attempt: int = 1) -> Draft:
    return Draft(name, "text", {"text": f"say {name}\nagain"}, to="bob", mentions=("bob",), attempt=attempt)


def names_in(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


async def reopened(path: Path) -> list[Draft]:
    again = FileOutbox(path)
    drafts = list(await again.load())
    await again.close()
    return drafts


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


async def test_a_file_that_is_no_cursor_is_named_and_not_taken_for_a_new_device(tmp_path: Path) -> None:
    (tmp_path / "cursor").write_text("{}")
    with pytest.raises(ValueError, match="not a cursor file"):
        await FileCursorStore(tmp_path / "cursor").load()


async def test_unsettled_messages_come_back_in_order_with_the_next_attempt(tmp_path: Path) -> None:
    box = FileOutbox(tmp_path / "outbox")
    assert await box.load() == ()
    await box.add([draft("a"), draft("b")])
    await box.add([draft("c")])
    await box.settle(["b"])
    await box.close()
    assert await reopened(tmp_path / "outbox") == [draft("a", 2), draft("c", 2)]
    assert await reopened(tmp_path / "outbox") == [draft("a", 3), draft("c", 3)]


@settings(max_examples=60, deadline=None)
@given(st.data())
async def test_a_crash_at_any_byte_of_a_write_keeps_all_that_was_promised_before(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "outbox"
        box = FileOutbox(path)
        await box.load()
        await box.add([draft("a")])
        promised = path.stat().st_size
        await box.add([draft("b"), draft("c")])
        await box.settle(["a"])
        await box.close()
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(promised, len(whole)))])
        names = [found.client_msg_id for found in await reopened(path)]
        assert names in (["a"], ["a", "b"], ["a", "b", "c"], ["b", "c"])
        assert [found.client_msg_id for found in await reopened(path)] == names


async def test_damage_before_the_end_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_bytes(b'{"settled":"x"}\n{"add":\n{"settled":"y"}\n')
    with pytest.raises(ValueError, match="line 2"):
        await FileOutbox(tmp_path / "outbox").load()


@pytest.mark.field_case("27")
async def test_two_holders_of_one_outbox_are_refused(tmp_path: Path) -> None:
    first = FileOutbox(tmp_path / "outbox")
    await first.load()
    second = FileOutbox(tmp_path / "outbox")
    with pytest.raises(FileInUse, match=f"{tmp_path}/outbox is in use"):
        await second.load()
    assert isinstance(FileInUse(), BlockingIOError)
    await second.close()
    await first.add([draft("a")])
    await first.close()
    assert await reopened(tmp_path / "outbox") == [draft("a", 2)]


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
    assert names_in(tmp_path) == ["cursor", "cursor.lock"]


async def test_a_draft_keeps_its_place_under_another_id(tmp_path: Path) -> None:
    box = FileOutbox(tmp_path / "outbox")
    await box.load()
    await box.add([draft("a"), draft("b"), draft("c")])
    await box.replace([("b", draft("B")), ("a", draft("a")), ("unknown", draft("d"))])
    await box.close()
    names = [found.client_msg_id for found in await reopened(tmp_path / "outbox")]
    assert names == ["a", "B", "c", "d"]
    assert [found.client_msg_id for found in await reopened(tmp_path / "outbox")] == names


@settings(max_examples=60, deadline=None)
@given(st.data())
async def test_a_crash_in_a_change_of_ids_leaves_one_of_the_two(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "outbox"
        box = FileOutbox(path)
        await box.load()
        await box.add([draft("a"), draft("b")])
        promised = path.stat().st_size
        await box.replace([("a", draft("A")), ("b", draft("B"))])
        await box.close()
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(promised, len(whole)))])
        names = [found.client_msg_id for found in await reopened(path)]
        assert names in (["a", "b"], ["A", "b"], ["A", "B"])


@pytest.mark.field_case("37")
async def test_failed_messages_are_listed_until_they_are_settled(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    box = FileOutbox(path)
    await box.load()
    await box.add([draft("a"), draft("b"), draft("c"), draft("d")])
    await box.fail([FailedDraft(draft("c"), "muted", "you are muted"), FailedDraft(draft("a"), "timeout", "")])
    await box.settle(["d"])
    await box.close()
    for _ in range(2):
        again = FileOutbox(path)
        assert [found.client_msg_id for found in await again.load()] == ["b"]
        listed = [FailedDraft(draft("a"), "timeout", ""), FailedDraft(draft("c"), "muted", "you are muted")]
        assert await again.failed() == tuple(listed)
        await again.close()
    last = FileOutbox(path)
    await last.load()
    await last.settle(["a"])
    await last.replace([("c", draft("c"))])
    await last.close()
    assert [found.client_msg_id for found in await reopened(path)] == ["b", "c"]


async def test_an_outbox_of_release_0_0_is_read(tmp_path: Path) -> None:
    line = b'{"add":{"client_msg_id":"a","kind":"text","body":{"text":"x"},"session_id":null,"to":"bob",'
    (tmp_path / "outbox").write_bytes(line + b'"reply_to":null,"mentions":[],"attempt":1}}\n')
    assert await reopened(tmp_path / "outbox") == [Draft("a", "text", {"text": "x"}, to="bob", attempt=2)]


async def test_the_file_is_written_anew_when_most_of_it_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "COMPACT_AFTER", 10)
    box = FileOutbox(tmp_path / "outbox")
    await box.load()
    await box.add([draft("kept")])
    for n in range(50):
        await box.add([draft(f"m{n}")])
        await box.settle([f"m{n}"])
    await box.add([draft("last")])
    await box.close()
    assert (tmp_path / "outbox").read_bytes().count(b"\n") < 25
    assert [found.client_msg_id for found in await reopened(tmp_path / "outbox")] == ["kept", "last"]


@pytest.mark.parametrize("given_url", ["ws://h:1", "ws://h:1/", "ws://h:1/v1/ws", "http://h:1", "http://h:1/v1/ws"])
def test_any_address_of_the_server_will_do(given_url: str) -> None:
    assert http_url_of(given_url) == "http://h:1"
    assert ws_url_of(given_url) == "ws://h:1/v1/ws"
    assert ws_url_of("https://h/chat") == "wss://h/chat/v1/ws"
