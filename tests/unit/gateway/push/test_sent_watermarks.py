"""No connection is sent a receipt that is lower than one before, from any source and however late (G8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.push.sent_watermarks import SentWatermarks
from tests.unit.gateway.connections.gateway_of_ann import settled, world
from tidings.wire.deliveries_pb2 import Watermark

SENT = st.lists(st.tuples(st.sampled_from(["alice", "bob"]), st.integers(0, 9), st.integers(0, 9)), max_size=12)


def watermark(user_id: str, delivered_seq: int, read_seq: int, at_ms: int = 0) -> Watermark:
    return Watermark(
        session_id="d:alice:bob", user_id=user_id, delivered_seq=delivered_seq, read_seq=read_seq, at_ms=at_ms
    )


@pytest.mark.promise("G8")
@given(SENT)
def test_sent_watermarks_are_maxima_of_each_user(sent: list[tuple[str, int, int]]) -> None:
    maxima: dict[str, tuple[int, int]] = {}
    memory = SentWatermarks()
    for user_id, delivered_seq, read_seq in sent:
        before = maxima.get(user_id, (0, 0))
        after = maxima[user_id] = (max(before[0], delivered_seq), max(before[1], read_seq))
        risen = memory.risen("ann", watermark(user_id, delivered_seq, read_seq))
        assert (risen.user_id, risen.delivered_seq, risen.read_seq) == (user_id, *after)


def test_a_late_watermark_keeps_the_time_of_the_highest_read() -> None:
    memory = SentWatermarks()
    memory.risen("ann", watermark("bob", 5, 5, at_ms=50))
    assert memory.risen("ann", watermark("bob", 7, 4, at_ms=40)) == watermark("bob", 7, 5, at_ms=50)
    assert memory.risen("ann", watermark("bob", 7, 6, at_ms=60)) == watermark("bob", 7, 6, at_ms=60)


def test_maxima_are_kept_for_each_recipient() -> None:
    """If a user blocks the peer, only the user's devices get it."""
    memory = SentWatermarks()
    memory.risen("bob", watermark("bob", 9, 9))
    assert memory.risen("alice", watermark("bob", 5, 4)) == watermark("bob", 5, 4)


def test_sent_watermarks_are_bounded() -> None:
    memory = SentWatermarks(max_places=2)
    for user_id in ("alice", "bob", "alice", "carol"):
        memory.risen("ann", watermark(user_id, 5, 5))
    assert [memory.risen("ann", watermark(name, 1, 1)).read_seq for name in ("alice", "bob")] == [5, 1]


@pytest.mark.promise("G8")
async def test_a_connection_is_sent_no_lower_receipt() -> None:
    async with world() as here:
        for delivered_seq, read_seq in ((8, 8), (19, 0), (3, 2), (20, 9)):
            moved = watermark("bob", delivered_seq, read_seq)
            moved.recipient_ids.append("ann")
            here.gateway.push(watermark=moved)
        await settled()
        sent = [(frame["delivered_seq"], frame["read_seq"]) for frame in here.gateway.sent_of("receipt")]
        assert sent == [(8, 8), (19, 8), (19, 8), (20, 9)]
