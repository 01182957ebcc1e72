"""Stored messages held against the plan of a seeding."""

from collections.abc import Sequence

from cli.seeding.plan import PlannedMessage
from tidings.store.rows import MessageRow
from tidings.wire.common_pb2 import KIND_SYSTEM


def check_planned(rows: Sequence[MessageRow], planned: Sequence[PlannedMessage]) -> None:
    """The rows are exactly these messages, with their seqs and times."""
    assert [(row.seq, row.at, row.sender_id, row.client_msg_id) for row in rows] == [
        (one.seq, one.at_ms, one.command.sender_id, one.command.client_msg_id) for one in planned
    ]
    for row, one in zip(rows, planned, strict=True):
        if one.command.HasField("post"):
            post = one.command.post
            assert (row.kind, row.body, row.reply_to or 0) == (post.kind, post.body, post.reply_to)
        else:
            assert row.kind == KIND_SYSTEM
