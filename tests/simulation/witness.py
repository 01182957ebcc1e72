"""What processes write, compared over the whole run: laws 1 and 7 (every owner writes a row with the same bytes)."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from services.persister.sequence import KEY_LIFE_MS
from tidings.broker.base import TopicPartition
from tidings.store.base import TaggedRow
from tidings.store.memory import MemoryStore
from tidings.store.memory_tables import _CLUSTERING, partition_of
from tidings.store.rows import BucketRow, InboxRow, KeyRow, MessageRow, Row
from tidings.store.segment_rows import SegmentByMonthRow, SegmentRow
from tidings.store.statements import has_write_timestamp


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
            if has_write_timestamp(type(row)):
                continue  # a later one may replace it
            if isinstance(row, SegmentByMonthRow):
                row = replace(row, dropped_of=None)  # the archiver's mark
            before = self._first.setdefault(_primary_key(row), row)
            if before != row:
                self.rewritten.append((before, row))
        self.mutation_bytes.extend(bodies.values())


def _primary_key(row: Row) -> object:
    if isinstance(row, KeyRow):
        # A key may be stored again after 91 days of log time: then with another `at`.
        return row.table, row.session_id, row.sender_id, row.client_msg_id, row.at // KEY_LIFE_MS
    return type(row), partition_of(row), _CLUSTERING[type(row)](row)


def check_directories(store: MemoryStore) -> None:
    """Every message and every inbox row is in the segment or bucket that its directory has for it."""
    rows, first = store.rows, defaultdict[object, dict[int, int]](dict)
    for row in (*rows("segments"), *rows("inbox_buckets")):
        if isinstance(row, SegmentRow):
            first[row.session_id][row.segment] = row.first_seq
        elif isinstance(row, BucketRow):
            first[row.user_id][row.bucket] = row.first_inbox_seq
    for row in (*rows("messages"), *rows("inbox")):
        if isinstance(row, MessageRow):
            owner, number, place = row.session_id, row.seq, row.segment
        else:
            assert isinstance(row, InboxRow)
            owner, number, place = row.user_id, row.inbox_seq, row.bucket
        right = max(part for part, lowest in first[owner].items() if lowest <= number)
        assert place == right, f"G3, G7: {number} of {owner} is in part {place}, its readers look in {right}"
