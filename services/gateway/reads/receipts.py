"""The members that have read a message: a paged query over their watermarks, because no row per message exists.

A member counts for messages after its own joining. `members` is the number of current members without the author. It
includes members that joined after the message, because excluding them would need a read of every member (ADR 24).
"""

from collections.abc import Collection

import orjson

from services.gateway.reads.batching import Batched
from services.gateway.reads.block_lists import BlockLists
from services.gateway.reads.groups import current_members
from services.gateway.reads.membership import Membership, Memberships
from tidings import ids
from tidings.errors import Refused
from tidings.store import history
from tidings.store.base import ColdRows, Store
from tidings.store.rows import ROLE_ADMIN, ROLE_OWNER, MessageRow, ReceiptRow


class ReceiptReads:
    """Returns JSON. The caller must have checked the membership. Raises StoreUnavailable."""

    def __init__(
        self, store: Store, memberships: Memberships, blocks: BlockLists | None = None, cold: ColdRows | None = None
    ) -> None:
        """`blocks`: a peer that blocks the caller is not shown."""
        self._cold = cold
        self._blocks = blocks
        self._store = store
        self._memberships = memberships
        self._receipts: Batched[tuple[str, str], ReceiptRow] = Batched(store.receipts)

    async def of_message(self, member: Membership, seq: int, after: str, limit: int) -> bytes:
        """The members above `after` that have received or read the message, by user_id. Raises Refused."""
        message = await self._message(member, seq)
        is_admin = member.group is not None and member.role in (ROLE_ADMIN, ROLE_OWNER)
        if message.sender_id != member.user_id and not is_admin:
            raise Refused("forbidden", "only the author of a message and admins of the group may list its readers")
        if member.group is None:
            peers = [user_id for user_id in ids.direct_users(member.session_id) if user_id != member.user_id]
            hiding = await self._blocks.hiding([(one, member.user_id) for one in peers]) if self._blocks else ()
            shown = [one for one in peers if (one, member.user_id) not in hiding]
            return await self._answer(message, shown, len(peers), None)
        others, following = await current_members(self._store, member.group, after, limit)
        peers = [row.user_id for row in others if row.user_id != message.sender_id and row.joined_seq <= seq]
        members = member.group.member_count - await self._is_in(message.sender_id, member)
        return await self._answer(message, peers, members, following)

    async def _message(self, member: Membership, seq: int) -> MessageRow:
        wanted = {member.session_id: [seq]} if seq >= member.first_seq else {}
        stored = await history.rows_at(self._store, wanted, self._cold)
        message = stored.get((member.session_id, seq))
        if message is None:
            raise Refused("message_not_found", "no message with this seq in the session")
        return message

    async def _is_in(self, user_id: str, member: Membership) -> bool:
        if user_id == member.user_id:
            return True
        return bool(await self._memberships.check_many(user_id, (member.session_id,)))

    async def _answer(self, message: MessageRow, peers: Collection[str], members: int, following: str | None) -> bytes:
        session_id, seq = message.session_id, message.seq
        watermarks = await self._receipts.get_many([(session_id, peer) for peer in peers])
        rows = [watermarks[session_id, peer] for peer in peers if (session_id, peer) in watermarks]
        answer: dict[str, object] = {
            "delivered": [row.user_id for row in rows if max(row.delivered_seq, row.read_seq) >= seq],
            "read": [_reader(row) for row in rows if row.read_seq >= seq],
            "members": members,
        }
        if following is not None:
            answer["next"] = following
        return orjson.dumps(answer)


def _reader(row: ReceiptRow) -> dict[str, object]:
    """A reader, with the time of reading if it is stored."""
    return {"user_id": row.user_id, "at": row.read_at} if row.read_at else {"user_id": row.user_id}
