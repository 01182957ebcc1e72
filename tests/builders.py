"""Rows of the tables for all tests, and writing them."""

from collections.abc import Iterable, Sequence

from tidings.store.base import Store, TaggedRow
from tidings.store.rows import MODE_WRITE, ROLE_MEMBER, BucketRow, GroupRow, InboxRow, MemberRow, MessageRow, Row
from tidings.store.segment_rows import SegmentRow
from tidings.wire.common_pb2 import KIND_TEXT


async def write_confirmed(store: Store, rows: Iterable[Row]) -> None:
    """Write rows; all are confirmed."""
    assert await store.write([TaggedRow(0, row) for row in rows]) == frozenset()


def message(
    session_id: str,
    seq: int,
    segment: int = 1,
    offset: int | None = None,
    body: bytes = b"{}",
    *,
    sender_id: str = "alice",
    kind: int = KIND_TEXT,
) -> MessageRow:
    """A message; its offset is its seq unless given."""
    return MessageRow(
        session_id=session_id,
        segment=segment,
        seq=seq,
        message_id=2**62 + seq,
        sender_id=sender_id,
        client_msg_id=f"m-{seq}",
        kind=kind,
        body=body,
        at=1_764_000_000_000 + seq,
        count=seq,
        log_epoch=0,
        log_offset=seq if offset is None else offset,
    )


def segment(session_id: str, number: int, first_seq: int, offset: int | None = None) -> SegmentRow:
    """A segment opened at the offset of its first message, in the month of `message`."""
    return SegmentRow(session_id, number, first_seq, 202511, 0, first_seq if offset is None else offset)


def session(session_id: str, *lengths: int) -> list[Row]:
    """A session with one segment of each length, its messages made at the offsets of their seqs."""
    rows: list[Row] = []
    first_seq = 1
    for number, length in enumerate(lengths, start=1):
        rows.append(segment(session_id, number, first_seq))
        rows += [message(session_id, seq, number) for seq in range(first_seq, first_seq + length)]
        first_seq += length
    return rows


def inbox_row(
    user_id: str,
    inbox_seq: int,
    bucket: int = 0,
    offset: int | None = None,
    *,
    session_id: str = "d:alice:bob",
    seq: int | None = None,
    at: int = 1_764_000_000_000,
) -> InboxRow:
    """A row of an inbox; the offset of its delivery and the seq of its message are its number unless given."""
    return InboxRow(
        user_id=user_id,
        bucket=bucket,
        inbox_seq=inbox_seq,
        session_id=session_id,
        seq=inbox_seq if seq is None else seq,
        message_id=inbox_seq,
        at=at,
        delivery_epoch=0,
        delivery_offset=inbox_seq if offset is None else offset,
        delivery_at=1_764_000_000_000,
    )


def bucket(user_id: str, number: int, first_inbox_seq: int, offset: int | None = None) -> BucketRow:
    """A bucket opened at the offset of its first row."""
    return BucketRow(user_id, number, first_inbox_seq, 0, first_inbox_seq if offset is None else offset)


def group(
    session_id: str,
    as_of_seq: int,
    member_count: int = 3,
    mode: int = MODE_WRITE,
    *,
    name: str = "Fête",
    settings: str = "{}",
) -> GroupRow:
    """A version of a group, made at the offset of its seq."""
    return GroupRow(session_id, as_of_seq, name, "alice", mode, member_count, settings, 0, as_of_seq)


def member(
    session_id: str,
    user_id: str,
    as_of_seq: int,
    joined_seq: int = 1,
    left_seq: int = 0,
    *,
    role: int = ROLE_MEMBER,
) -> MemberRow:
    """A version of a member, made at the offset of its seq."""
    return MemberRow(session_id, user_id, as_of_seq, joined_seq, joined_seq - 1, left_seq, role, 0, 0, as_of_seq)


def seqs(rows: Sequence[MessageRow]) -> list[int]:
    """The seqs of messages, in their order."""
    return [row.seq for row in rows]


def inbox_seqs(rows: Sequence[InboxRow]) -> list[int]:
    """The numbers of inbox rows, in their order."""
    return [row.inbox_seq for row in rows]
