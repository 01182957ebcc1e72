"""What PROTOCOL says of unread and receipts, counted from the raw rows of one session.

Nothing here is shared with the services: no counts of the tables are used, only author and time of each message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidings.ids import direct_users
from tidings.store import history, session_tails
from tidings.store.base import ColdRows, Store
from tidings.store.rows import NEWEST, GroupRow, MemberRow, MessageRow, ReceiptRow
from tidings.wire.common_pb2 import KIND_SYSTEM

_PAGE = 500


@dataclass(frozen=True)
class Account:
    """All rows of a session: its messages, the newest version of the group and of its members, the watermarks."""

    session_id: str
    messages: Sequence[MessageRow]
    group: GroupRow | None
    versions: Sequence[MemberRow]
    watermarks: Mapping[str, ReceiptRow]

    @property
    def head_seq(self) -> int:
        """The newest seq."""
        return self.messages[-1].seq

    @property
    def joined(self) -> dict[str, int]:
        """The members, and the seq of each one's joining."""
        if self.group is None:
            return dict.fromkeys(direct_users(self.session_id), 1)
        is_living = self.group.member_count > 0
        return {row.user_id: row.joined_seq for row in self.versions if is_living and not row.left_seq}

    def delivered(self, user_id: str) -> int:
        """Up to where the user holds the session; reading implies it."""
        row = self.watermarks.get(user_id)
        return max(row.delivered_seq, row.read_seq) if row else 0

    def read(self, user_id: str) -> int:
        """Up to where the user has read it."""
        row = self.watermarks.get(user_id)
        return row.read_seq if row else 0

    @property
    def countable(self) -> list[MessageRow]:
        """The messages that make unread."""
        return [row for row in self.messages if row.kind != KIND_SYSTEM]

    @property
    def sent(self) -> dict[str, int]:
        """The last countable message of each author."""
        return {row.sender_id: row.seq for row in self.countable}

    def unread(self, user_id: str) -> int:
        """G9: countable messages after the read watermark, the last own one, or the one before joining."""
        after = max(self.read(user_id), self.sent.get(user_id, 0), self.joined[user_id] - 1)
        return sum(row.seq > after for row in self.countable)

    def receipts(self, message: MessageRow) -> tuple[list[str], list[str], int]:
        """The users that hold a message, its readers, and the number of current members without its author.

        Only members that had joined by then count as readers.
        """
        others = sorted(self.joined.keys() - {message.sender_id})
        there = [user_id for user_id in others if self.joined[user_id] <= message.seq]
        delivered = [user_id for user_id in there if self.delivered(user_id) >= message.seq]
        return delivered, [user_id for user_id in there if self.read(user_id) >= message.seq], len(others)


async def account_of(store: Store, session_id: str, cold: ColdRows | None = None) -> Account:
    """Read everything. `cold`: for sessions with archived messages."""
    head = (await session_tails.heads(store, [session_id]))[session_id]
    messages = await history.read_range(store, session_id, 1, head.seq, head.seq, cold=cold)
    group = (await store.groups_as_of({session_id: NEWEST})).get(session_id)
    versions: list[MemberRow] = []
    after: str | None = ""
    while after is not None:
        page, after = await store.member_page(session_id, NEWEST, after, _PAGE)
        versions += page
    watermarks: dict[str, ReceiptRow] = {}
    while rows := await store.receipt_page(session_id, max(watermarks, default=""), _PAGE):
        watermarks |= {row.user_id: row for row in rows}
    return Account(session_id, messages, group, versions, watermarks)
