"""The pushes of messages of one round. A gateway gets a message once, if the order of its users allows. Pure.

The workers make the other pushes themselves: `live`, `replaced`, watermarks, counts, and messages in read diffusion.
"""

from collections.abc import Collection, Sequence

from services.fanout.inbox import Placed
from services.fanout.presence import Presences
from tidings.wire.deliveries_pb2 import InboxItem
from tidings.wire.push_pb2 import Push, PushedMessage

_Gateway = tuple[int, int]

# With the longest user ids this keeps a record near 100 KB for a group of any size.
_MOST_USERS = 1_000


class Pushes:
    """Collects the pushes of a round for connected users.

    The parts of a message come by user partition. They share a record, so that the
    gateway encodes the message once. A partition never adds users to a record before
    its last one, so that every user's messages stay in the order of the inbox.
    """

    __slots__ = ("_by_gateway", "_open", "_presences", "_reached")

    def __init__(self, presences: Presences) -> None:
        """`presences` maps users to the gateways of their connections."""
        self._presences = presences
        self._by_gateway: dict[_Gateway, list[Push]] = {}
        # The index of the record that takes more users of a message; the last record to which a partition added.
        self._open: dict[tuple[_Gateway, int], int] = {}
        self._reached: dict[tuple[_Gateway, int], int] = {}

    def add(self, item: InboxItem, placed: Collection[Placed], partition: int) -> None:
        """Add one `deliveries` record with the inbox_seqs of its recipients in that user partition."""
        here: dict[_Gateway, PushedMessage] = {}
        for user_id, inbox_seq in placed:
            for gateway in self._presences.gateways_of(user_id):
                pushed = here.get(gateway)
                if pushed is None:
                    pushed = here[gateway] = self._record(gateway, item, partition)
                pushed.user_ids.append(user_id)
                pushed.inbox_seqs.append(inbox_seq)

    def _record(self, gateway: _Gateway, item: InboxItem, partition: int) -> PushedMessage:
        records = self._by_gateway.setdefault(gateway, [])
        index = self._open.get((gateway, item.message.message_id), -1)
        has_room = index >= 0 and len(records[index].message.user_ids) < _MOST_USERS
        if not has_room or index < self._reached.get((gateway, partition), 0):
            index = len(records)
            records.append(_push(gateway, item))
            self._open[gateway, item.message.message_id] = index
        self._reached[gateway, partition] = index
        return records[index].message

    def records(self) -> Sequence[tuple[int, Push]]:
        """(gateway, record) pairs. The records of each gateway are in order."""
        return [(gateway, push) for (gateway, _), pushes in self._by_gateway.items() for push in pushes]


def _push(gateway: _Gateway, item: InboxItem) -> Push:
    pushed = PushedMessage(
        message=item.message,
        mode=item.mode,
        mode_from=item.mode_from,
        mode_to=item.mode_to,
        joined_ids=item.joined_ids,
        left_ids=item.left_ids,
        dissolves=item.dissolves,
    )
    return Push(gateway_epoch=gateway[1], message=pushed)
