"""Rows that are there before a gateway starts."""

import json
from collections.abc import Iterable
from typing import Any

from tidings.ids import direct_users
from tidings.store.base import TaggedRow
from tidings.store.memory import MemoryStore
from tidings.store.rows import MODE_WRITE, BucketRow, InboxRow, KeyRow, MessageRow, Row, UserSessionRow
from tidings.store.segment_rows import SegmentRow
from tidings.wire.common_pb2 import KIND_TEXT


def message_row(seq: int, session_id: str = "d:alice:bob", sender_id: str = "bob", **changes: Any) -> MessageRow:
    """A stored text message; its count is its seq."""
    fields: dict[str, Any] = {
        "session_id": session_id,
        "segment": 1,
        "seq": seq,
        "message_id": 1000 + seq,
        "sender_id": sender_id,
        "client_msg_id": f"m{seq}",
        "kind": KIND_TEXT,
        "body": json.dumps({"text": f"message {seq}"}).encode(),
        "at": 10_000 + seq,
        "count": seq,
        "log_epoch": 0,
        "log_offset": seq,
    }
    return MessageRow(**(fields | changes))


async def fill_session(store: MemoryStore, seqs: Iterable[int], session_id: str = "d:alice:bob") -> None:
    """Messages of one session in its first segment, and its place in both users' lists."""
    rows: list[Row] = [SegmentRow(session_id, 1, 1, 202611, 0, 1)]
    rows += [message_row(seq, session_id) for seq in seqs]
    rows += [UserSessionRow(user_id, session_id, 1, 0, 0, MODE_WRITE) for user_id in direct_users(session_id)]
    await store.write([TaggedRow(0, row) for row in rows])


async def fill_inbox(store: MemoryStore, user_id: str, numbers: Iterable[int], first: int = 1) -> None:
    """Messages of d:alice:bob in a user's inbox, numbered as in the session, in the bucket that begins at first."""
    numbers = list(numbers)
    await fill_session(store, numbers)
    rows: list[Row] = [BucketRow(user_id, first, first, 0, 1)]
    rows += [InboxRow(user_id, first, n, "d:alice:bob", n, 1000 + n, 10_000 + n, 0, n, 10_000 + n) for n in numbers]
    await store.write([TaggedRow(0, row) for row in rows])


def stored_key(client_msg_id: str) -> KeyRow:
    """A message of alice to bob that is stored already."""
    return KeyRow("d:alice:bob", 0, 0, "alice", client_msg_id, 1, 1001, b"d" * 32, 10_001, 0, 1)
