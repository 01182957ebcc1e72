"""Whose receipts are hidden from whom: while a user blocks the peer of a direct session, the peer is told nothing.

The mark is made when a receipt is published, so acks wait for no block list.
"""

from collections.abc import Collection

from services.gateway.blocks import Blocks
from tidings import ids
from tidings.wire.receipts_pb2 import Receipt


class HiddenReceipts:
    """Marks receipts of users who block their peer."""

    def __init__(self, blocks: Blocks | None) -> None:
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
        """Mark these, with block lists read where they are unknown; one that cannot be read hides the receipt."""
        if self._blocks is None:
            return
        pairs = [(one.user_id, peer_id) for one in receipts if (peer_id := _peer_of(one)) is not None]
        hiding = await self._blocks.hiding(pairs)
        for receipt in receipts:
            receipt.is_hidden_from_peer = (receipt.user_id, _peer_of(receipt)) in hiding


def _peer_of(receipt: Receipt) -> str | None:
    """None in a group, and in a note to oneself."""
    return next((one for one in ids.direct_users(receipt.session_id) if one != receipt.user_id), None)
