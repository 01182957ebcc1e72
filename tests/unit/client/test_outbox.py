"""The file of an outbox: what a crash in the middle of a write leaves, and compaction."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.outboxes import opened_outbox, pending, pending_names, reopened
from tidings_client import FailedDraft, FileInUse, FileOutbox, outbox
from tidings_client.drafts import Draft


def draft(name: str, attempt: int = 1) -> Draft:
    return Draft(name, "text", {"text": f"say {name}\nagain"}, to="bob", mentions=("bob",), attempt=attempt)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


async def test_unsettled_messages_come_back_with_the_next_attempt(path: Path) -> None:
    async with opened_outbox(path) as box:
        await box.add([draft("a"), draft("b")])
        await box.add([draft("c")])
        await box.settle(["b"])
    assert await pending(path) == [draft("a", 2), draft("c", 2)]
    assert await pending(path) == [draft("a", 3), draft("c", 3)]


async def test_a_new_outbox_is_empty(path: Path) -> None:
    assert await reopened(path) == ([], [])


async def add_and_settle(box: FileOutbox) -> None:
    await box.add([draft("b"), draft("c")])
    await box.settle(["a"])


async def change_ids(box: FileOutbox) -> None:
    await box.replace([("a", draft("A")), ("b", draft("B"))])


@pytest.mark.parametrize(
    ("before", "write", "may_be_left"),
    [
        (["a"], add_and_settle, [["a"], ["a", "b"], ["a", "b", "c"], ["b", "c"]]),
        (["a", "b"], change_ids, [["a", "b"], ["A", "b"], ["A", "B"]]),
    ],
)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
async def test_a_crash_at_any_byte_keeps_what_was_promised(
    data: st.DataObject, before: list[str], write: Callable[[FileOutbox], Awaitable[None]], may_be_left: list[list[str]]
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "outbox"
        async with opened_outbox(path) as box:
            await box.add([draft(name) for name in before])
            promised = path.stat().st_size
            await write(box)
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(promised, len(whole)))])
        names = await pending_names(path)
        assert names in may_be_left
        assert await pending_names(path) == names


async def test_damage_before_the_end_is_named_with_its_line(path: Path) -> None:
    await asyncio.to_thread(path.write_bytes, b'{"settled":"x"}\n{"add":\n{"settled":"y"}\n')
    with pytest.raises(ValueError, match="line 2"):
        await FileOutbox(path).load()


@pytest.mark.field_case("27")
async def test_two_holders_of_one_outbox_are_refused(path: Path) -> None:
    async with opened_outbox(path) as first:
        second = FileOutbox(path)
        with pytest.raises(FileInUse, match=f"{path} is in use"):
            await second.load()
        assert isinstance(FileInUse(), BlockingIOError)
        await second.close()
        await first.add([draft("a")])
    assert await pending(path) == [draft("a", 2)]


async def test_a_draft_keeps_its_place_under_another_id(path: Path) -> None:
    async with opened_outbox(path) as box:
        await box.add([draft("a"), draft("b"), draft("c")])
        await box.replace([("b", draft("B")), ("a", draft("a")), ("unknown", draft("d"))])
    for _ in range(2):
        assert await pending_names(path) == ["a", "B", "c", "d"]


@pytest.mark.field_case("37")
async def test_failed_messages_are_listed_until_they_are_settled(path: Path) -> None:
    muted, late = FailedDraft(draft("c"), "muted", "you are muted"), FailedDraft(draft("a"), "timeout", "")
    async with opened_outbox(path) as box:
        await box.add([draft("a"), draft("b"), draft("c"), draft("d")])
        await box.fail([muted, late])
        await box.settle(["d"])
    for attempt in (2, 3):
        assert await reopened(path) == ([draft("b", attempt)], [late, muted])
    async with opened_outbox(path) as box:
        await box.settle(["a"])
        await box.replace([("c", draft("c"))])
    assert await pending_names(path) == ["b", "c"]


async def test_an_outbox_of_release_0_0_is_read(path: Path) -> None:
    line = b'{"add":{"client_msg_id":"a","kind":"text","body":{"text":"x"},"session_id":null,"to":"bob",'
    await asyncio.to_thread(path.write_bytes, line + b'"reply_to":null,"mentions":[],"attempt":1}}\n')
    assert await pending(path) == [Draft("a", "text", {"text": "x"}, to="bob", attempt=2)]


async def test_a_file_mostly_of_settled_messages_is_compacted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "COMPACT_AFTER", 10)
    async with opened_outbox(path) as box:
        await box.add([draft("kept")])
        for n in range(50):
            await box.add([draft(f"m{n}")])
            await box.settle([f"m{n}"])
        await box.add([draft("last")])
    assert (await asyncio.to_thread(path.read_bytes)).count(b"\n") < 25
    assert await pending_names(path) == ["kept", "last"]
