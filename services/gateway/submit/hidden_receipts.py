"""Hides receipts: while a user blocks the peer of a direct session, the peer gets no receipts of the user.

The mark is made when a receipt is published, so acks wait for no block list.
"""

import asyncio
from collections.abc import Collection

from services.gateway.reads.block_lists import BlockLists
from tidings import ids
from tidings.wire.receipts_pb2 import Receipt

# A list that has not come by then hides the receipt, because its user may want to hide it. Kafka gets
# it within 0.6 s, gathering included. The next receipt of the session, or a GET, shows the watermark.
LIST_S = 0.5


class HiddenReceipts:
    """Marks receipts of users who block their peer."""

    def __init__(self, blocks: BlockLists | None) -> None:
        """Without block lists nothing is hidden."""
        self._blocks = blocks

    def mark(self, receipt: Receipt) -> bool:
        """Mark it by what is known; False, and hidden, where its user's block list has to be read first."""
        peer_id = _peer_of(receipt)
        if peer_id is None or self._blocks is None:
            return True
        is_blocked = self._blocks.known_to_block(receipt.user_id, peer_id)
        receipt.is_hidden_from_peer = is_blocked is not False
        return is_blocked is not None

    async def mark_all(self, receipts: Collection[Receipt]) -> None:
        """Mark these, with block lists read where they are unknown; without one within LIST_S it is hidden."""
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
    """None in a group, and in a note to oneself."""
    return next((one for one in ids.direct_users(receipt.session_id) if one != receipt.user_id), None)
