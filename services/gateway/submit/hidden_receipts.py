"""Hides receipts: while a user blocks the peer of a direct session, the peer gets no receipts of the user.

The flag is set when a receipt is published, so that acks wait for no block list.
"""

import asyncio
from collections.abc import Collection

from services.gateway.reads.block_lists import BlockLists
from tidings import ids
from tidings.wire.receipts_pb2 import Receipt

# If a block list is not read within this time, the receipt is hidden, because its user may block the peer. So it
# reaches Kafka within 0.6 s, gathering included. The next receipt of the session, or a GET, shows the watermark.
LIST_S = 0.5


class HiddenReceipts:
    """Flags receipts of users that block their peer."""

    def __init__(self, blocks: BlockLists | None) -> None:
        """Without block lists nothing is hidden."""
        self._blocks = blocks

    def mark(self, receipt: Receipt) -> bool:
        """Set the flag from the cached block list. Without one, hide the receipt and return False."""
        peer_id = _peer_of(receipt)
        if peer_id is None or self._blocks is None:
            return True
        is_blocked = self._blocks.known_to_block(receipt.user_id, peer_id)
        receipt.is_hidden_from_peer = is_blocked is not False
        return is_blocked is not None

    async def mark_all(self, receipts: Collection[Receipt]) -> None:
        """Set the flags, and read block lists that are not cached. Without a list after LIST_S a receipt is hidden."""
        if self._blocks is None:
            return
        pairs = [(one.user_id, peer_id) for one in receipts if (peer_id := _peer_of(one)) is not None]
        try:
            async with asyncio.timeout(LIST_S):
                hiding = await self._blocks.hiding(pairs)
        except TimeoutError:
            hiding = set(pairs)
        for receipt in receipts:
            receipt.is_hidden_from_peer = (receipt.user_id, _peer_of(receipt)) in hiding


def _peer_of(receipt: Receipt) -> str | None:
    """The peer of a direct session; None in a group and in a user's notes."""
    return next((one for one in ids.direct_users(receipt.session_id) if one != receipt.user_id), None)
