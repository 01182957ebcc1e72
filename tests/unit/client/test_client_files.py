"""The SDK's files: what a crash in the middle of a write leaves, and compaction."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings_client import FileCursorStore, FileOutbox, outbox, tokens
from tidings_client.effects import Cursor
from tidings_client.rest import http_url_of, ws_url_of
from tidings_client.sending import Draft


def draft(name: str, attempt: int = 1) -> Draft:
    return Draft(name, "text", {"text": f"say {name}\nagain"}, to="bob", mentions=("bob",), attempt=attempt)


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


async def test_two_holders_of_one_outbox_are_refused(tmp_path: Path) -> None:
    first = FileOutbox(tmp_path / "outbox")
    await first.load()
    second = FileOutbox(tmp_path / "outbox")
    with pytest.raises(BlockingIOError):
        await second.load()
    await second.close()
    await first.close()


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


def jwt(claims: dict[str, object]) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.x"


def test_the_end_of_a_token_is_read_where_it_says_one() -> None:
    remaining_ms = tokens.expires_in_ms(jwt({"exp": time.time() + 600}))
    assert remaining_ms is not None
    assert 500_000 < remaining_ms <= 600_000
    assert tokens.expires_in_ms(jwt({"exp": 5})) == 0
    assert tokens.expires_in_ms(jwt({})) is None
    assert tokens.expires_in_ms("no token at all") is None


async def test_a_provider_is_asked_again_only_near_the_end_or_on_demand() -> None:
    given_out: list[str] = []

    async def provider() -> str:
        given_out.append(jwt({"exp": time.time() + (600 if given_out else 10), "n": len(given_out)}))
        return given_out[-1]

    source = tokens.Tokens(provider)
    assert [await source.get() for _ in range(3)] == [given_out[0], given_out[1], given_out[1]]
    await source.get(fresh=True)
    assert len(given_out) == 3


@pytest.mark.parametrize("given_url", ["ws://h:1", "ws://h:1/", "ws://h:1/v1/ws", "http://h:1", "http://h:1/v1/ws"])
def test_any_address_of_the_server_will_do(given_url: str) -> None:
    assert http_url_of(given_url) == "http://h:1"
    assert ws_url_of(given_url) == "ws://h:1/v1/ws"
    assert ws_url_of("https://h/chat") == "wss://h/chat/v1/ws"
