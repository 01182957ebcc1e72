"""What processes write, compared over the whole run: laws 1 and 7 (every owner writes a row with the same bytes)."""

from collections import Counter
from collections.abc import Sequence

from services.persister.sequence import KEY_LIFE_MS
from tidings.broker.base import TopicPartition
from tidings.store.base import TaggedRow
from tidings.store.rows import (
    BucketRow,
    DeliveredRow,
    GroupRow,
    InboxRow,
    KeyRow,
    MemberRow,
    MessageRow,
    ReadRow,
    Row,
    SegmentRow,
    SentRow,
)


class Witness:
    """Sees every write and produce call."""

    def __init__(self) -> None:
        self.rewritten: list[tuple[Row, Row]] = []
        self.mutation_bytes: list[int] = []
        self.produces: Counter[TopicPartition] = Counter()
        self._first: dict[object, Row] = {}

    def see(self, rows: Sequence[TaggedRow]) -> None:
        """Compare with what was written before under the same primary key."""
        bodies: Counter[object] = Counter()
        for _, row in rows:
            if isinstance(row, MessageRow):
                bodies[row.session_id, row.segment] += len(row.body)
            if isinstance(row, DeliveredRow | ReadRow | SentRow):
                continue  # maxima, written with themselves as timestamp
            before = self._first.setdefault((row.table, _primary_key(row)), row)
            if before != row:
                self.rewritten.append((before, row))
        self.mutation_bytes.extend(bodies.values())


def _primary_key(row: Row) -> object:
    match row:
        case MessageRow():
            return row.session_id, row.segment, row.seq
        case InboxRow():
            return row.user_id, row.bucket, row.inbox_seq
        case SegmentRow():
            return row.session_id, row.segment
        case GroupRow():
            return row.session_id, row.as_of_seq
        case MemberRow():
            return row.session_id, row.user_id, row.as_of_seq
        case BucketRow():
            return row.user_id, row.bucket
        case KeyRow():
            # A key may be stored again after 91 days of log time: then with another `at`.
            return row.session_id, row.sender_id, row.client_msg_id, row.at // KEY_LIFE_MS
        case _:
            return row
