"""Blocks of messages in memory: how long and how much is kept."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.reads.message_cache import BLOCK_SEQS, PARTIAL_AGE_MS, MessageCache
from tests.builders import message, seqs
from tidings.store.rows import MessageRow

GROUP = "g:0123456789abcdef0123456789abcdef"
OTHER = "g:fedcba9876543210fedcba9876543210"
PLENTY_BYTES = 64 * 1024 * 1024


def rows_of(first_seq: int, last_seq: int, body: bytes = b"{}") -> list[MessageRow]:
    return [message(GROUP, seq, body=body) for seq in range(first_seq, last_seq + 1)]


def test_full_block_is_kept_and_a_partial_one_for_minutes() -> None:
    blocks = MessageCache(PLENTY_BYTES)
    blocks.keep(GROUP, 0, rows_of(1, 64), 0)
    blocks.keep(GROUP, 1, rows_of(65, 70), 0)
    blocks.keep(GROUP, 1, rows_of(71, 72), PARTIAL_AGE_MS - 1)
    assert seqs(blocks.known(GROUP, 1, PARTIAL_AGE_MS - 1)) == list(range(65, 73))
    assert seqs(blocks.known(GROUP, 1, PARTIAL_AGE_MS)) == []
    assert seqs(blocks.known(GROUP, 0, 10**12)) == list(range(1, 65))
    blocks.keep(GROUP, 1, rows_of(73, 74), PARTIAL_AGE_MS)
    assert seqs(blocks.known(GROUP, 1, PARTIAL_AGE_MS)) == []


def test_rows_after_a_gap_are_not_kept() -> None:
    blocks = MessageCache(PLENTY_BYTES)
    blocks.keep(GROUP, 0, [*rows_of(1, 3), *rows_of(5, 9)], 0)
    assert seqs(blocks.known(GROUP, 0, 0)) == [1, 2, 3]
    blocks.keep(GROUP, 0, rows_of(2, 6), 0)
    assert seqs(blocks.known(GROUP, 0, 0)) == [1, 2, 3, 4, 5, 6]


def test_the_blocks_used_longest_ago_make_room() -> None:
    one_block = MessageCache(PLENTY_BYTES)
    one_block.keep(GROUP, 0, rows_of(1, 64, body=bytes(1000)), 0)
    blocks = MessageCache(2 * one_block.size_bytes)
    for number in (0, 1):
        blocks.keep(GROUP, number, rows_of(64 * number + 1, 64 * number + 64, body=bytes(1000)), 0)
    assert blocks.known(GROUP, 0, 0)
    blocks.keep(GROUP, 2, rows_of(129, 192, body=bytes(1000)), 0)
    assert [bool(blocks.known(GROUP, number, 0)) for number in (0, 1, 2)] == [True, False, True]
    assert blocks.size_bytes == 2 * one_block.size_bytes


def test_a_block_larger_than_all_room_is_not_kept() -> None:
    blocks = MessageCache(10_000)
    blocks.keep(GROUP, 0, rows_of(1, 4), 0)
    blocks.keep(GROUP, 0, rows_of(5, 64), 0)
    assert (blocks.known(GROUP, 0, 0), blocks.size_bytes) == ((), 0)


kept = st.tuples(
    st.sampled_from([GROUP, OTHER]), st.integers(0, 2), st.integers(1, BLOCK_SEQS), st.integers(1, 80), st.integers(0)
)


@given(st.lists(kept, max_size=40), st.integers(0, 200_000))
def test_known_rows_begin_a_block_without_a_gap_and_are_bounded(
    puts: Sequence[tuple[str, int, int, int, int]], max_bytes: int
) -> None:
    blocks, now_ms = MessageCache(max_bytes), 0
    for session_id, number, start, length, later_ms in puts:
        now_ms += later_ms % (2 * PARTIAL_AGE_MS)
        first = number * BLOCK_SEQS
        last = min(first + BLOCK_SEQS, first + start + length - 1)
        rows = [message(session_id, seq) for seq in range(first + start, last + 1)]
        blocks.keep(session_id, number, rows, now_ms)
        assert blocks.size_bytes <= max_bytes
        for name in (GROUP, OTHER):
            for block in range(3):
                found = blocks.known(name, block, now_ms)
                assert seqs(found) == list(range(block * BLOCK_SEQS + 1, block * BLOCK_SEQS + 1 + len(found)))
                assert all(row.session_id == name for row in found)
