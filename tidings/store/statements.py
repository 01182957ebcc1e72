"""Every CQL statement of the project, named after the tables and the Store port.

An INSERT names all columns of its row class, in the order of the class. Optional
columns without a value stay unset, so that no null (a tombstone) is written.
"""

import re
from dataclasses import fields
from functools import cache

from tidings.store.media_rows import MediaRefRow, MediaRow, MediaUsageRow
from tidings.store.rows import (
    BucketRow,
    DeliveredRow,
    GroupRow,
    InboxRow,
    KeyRow,
    MemberRow,
    MessageRow,
    ReadRow,
    ReceiptRow,
    Row,
    SentRow,
    SessionLeftRow,
    SessionModeRow,
    UserSessionRow,
)
from tidings.store.segment_rows import ArchivedShardRow, SegmentByMonthRow, SegmentClosedRow, SegmentRow

_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE) (\w+)")
# The largest number of partition keys or tuples in one IN.
KEYS_PER_REQUEST = 100

ROW_CLASSES: tuple[type[Row], ...] = (
    MessageRow,
    KeyRow,
    SegmentRow,
    SegmentClosedRow,
    SegmentByMonthRow,
    GroupRow,
    MemberRow,
    InboxRow,
    BucketRow,
    UserSessionRow,
    SessionLeftRow,
    SessionModeRow,
    DeliveredRow,
    ReadRow,
    SentRow,
    MediaRefRow,
    MediaUsageRow,
)


@cache
def described(text: str) -> tuple[str, str]:
    """The table and the operation of a statement, for metrics: read, write, delete or transaction."""
    found = _TABLE.search(text)
    assert found is not None, text
    if text in TRANSACTIONS:
        return found[1], "transaction"
    verb = text.split(maxsplit=1)[0]
    return found[1], {"SELECT": "read", "DELETE": "delete"}.get(verb, "write")


_ReadClass = type[Row] | type[ReceiptRow] | type[MediaRow] | type[ArchivedShardRow]


def columns(row_class: _ReadClass) -> tuple[str, ...]:
    """The columns of a row class, in its order. The write timestamp is not a column."""
    return tuple(field.name for field in fields(row_class) if field.name != "write_timestamp")


def has_write_timestamp(row_class: _ReadClass) -> bool:
    """Whether rows of the class define their write timestamp."""
    return hasattr(row_class, "write_timestamp")


def insert(row_class: type[Row] | type[MediaRow] | type[ArchivedShardRow]) -> str:
    """The INSERT of a row class."""
    names = columns(row_class)
    marks = ", ".join("?" * len(names))
    using = " USING TIMESTAMP ?" if has_write_timestamp(row_class) else ""
    return f"INSERT INTO {row_class.table} ({', '.join(names)}) VALUES ({marks}){using}"


def _select(row_class: _ReadClass, rest: str, table: str = "") -> str:
    return f"SELECT {', '.join(columns(row_class))} FROM {table or getattr(row_class, 'table', '')} WHERE {rest}"


SEGMENTS = _select(SegmentRow, "session_id IN ? PER PARTITION LIMIT ?")
SEGMENTS_BELOW = _select(SegmentRow, "session_id = ? AND segment < ? LIMIT ?")
SEGMENTS_FROM = _select(SegmentRow, "session_id = ? AND segment >= ? ORDER BY segment ASC LIMIT ?")
NEWEST_MESSAGES = _select(MessageRow, "session_id IN ? AND segment = ? PER PARTITION LIMIT ?")
MESSAGES = _select(MessageRow, "session_id = ? AND segment = ? AND seq >= ? AND seq <= ?")
KEYS = _select(KeyRow, "session_id = ? AND key_month = ? AND shard = ? AND (sender_id, client_msg_id) IN ?")
GROUPS_AS_OF = _select(GroupRow, "session_id IN ? AND as_of_seq <= ? PER PARTITION LIMIT 1")
# Versions are clustered newest first, and this statement reads only the first one.
MEMBER_AS_OF = _select(MemberRow, "session_id = ? AND user_id = ? AND as_of_seq <= ? LIMIT 1")
# GROUP BY returns the first row after it has read all versions: 100,000 versions of one member take a second.
MEMBERS_AS_OF = _select(MemberRow, "session_id = ? AND user_id IN ? AND as_of_seq <= ? GROUP BY session_id, user_id")
MEMBER_VERSIONS = _select(MemberRow, "session_id = ? AND user_id > ? LIMIT ?")
INBOX_BUCKETS = _select(BucketRow, "user_id IN ? PER PARTITION LIMIT ?")
NEWEST_INBOX_ROWS = _select(InboxRow, "user_id IN ? AND bucket = ? PER PARTITION LIMIT ?")
INBOX_ROWS = _select(InboxRow, "user_id = ? AND bucket = ? AND inbox_seq >= ? AND inbox_seq <= ?")
USER_SESSIONS = _select(UserSessionRow, "user_id = ?")
# A direct session has at most two rows, so its whole partition is read.
DIRECT_RECEIPTS = _select(ReceiptRow, "session_id IN ?", "receipts")
GROUP_RECEIPTS = _select(ReceiptRow, "session_id = ? AND user_id IN ?", "receipts")
RECEIPT_PAGE = _select(ReceiptRow, "session_id = ? AND user_id > ? LIMIT ?", "receipts")
# One small row per partition, never deleted, so that a read of a hundred of them meets no tombstone (ADR 35).
BLOCK_LISTS = "SELECT user_id, blocked, version FROM block_lists WHERE user_id IN ?"
# A lightweight transaction, so that the order of changes does not depend on the clocks of the gateways.
REPLACE_BLOCK_LIST = "UPDATE block_lists SET blocked = ?, version = ? WHERE user_id = ? IF version = ?"
MEDIA = _select(MediaRow, "media_id IN ?")
# Lightweight transactions: of two uploads under one Idempotency-Key one is kept, and a removal begins once.
ADD_MEDIA = insert(MediaRow) + " IF NOT EXISTS"
MARK_MEDIA = "UPDATE media SET removing_at = ? WHERE media_id = ? IF removing_at = ?"
DROP_MEDIA = "DELETE FROM media WHERE media_id = ? IF removing_at = ?"
MEDIA_REFS = _select(MediaRefRow, "media_id = ? LIMIT ?")
MEDIA_REFS_IN = _select(MediaRefRow, "media_id = ? AND session_id IN ?")
MEDIA_USAGE = "SELECT sum(size) FROM media_usage WHERE user_id = ? AND day = ?"

# -- the archiver's --------------------------------------------------------------------------------

# DISTINCT reads only the partition keys, of which there are 16 a month.
INDEXED_SHARDS = "SELECT DISTINCT month, shard FROM segments_by_month"
SEGMENTS_OF_MONTH = _select(SegmentByMonthRow, "month = ? AND shard = ? AND (session_id, segment) > (?, ?) LIMIT ?")
SET_COLD = "UPDATE segments SET cold = ? WHERE session_id = ? AND segment = ?"
UNMARK_SEGMENT = (
    "UPDATE segments_by_month SET dropped_of = null WHERE month = ? AND shard = ? AND session_id = ? AND segment = ?"
)
# The timestamp is that of the read which the object was made of, so that rows that were restored later stay.
DROP_MESSAGES = "DELETE FROM messages USING TIMESTAMP ? WHERE session_id = ? AND segment = ?"
DROP_MESSAGES_BELOW = "DELETE FROM messages USING TIMESTAMP ? WHERE session_id = ? AND segment = ? AND seq < ?"
SET_PURGED = "UPDATE segments USING TIMESTAMP ? SET purged_seq = ?, purged_count = ? WHERE session_id = ?"
ADD_ARCHIVED_SHARD = insert(ArchivedShardRow)
ARCHIVED_SHARDS = f"SELECT {', '.join(columns(ArchivedShardRow))}, reopenings FROM archived_shards"
REOPENINGS = "SELECT reopenings FROM archived_shards WHERE month = ? AND shard = ?"
REOPEN_SHARD = "UPDATE archived_shards USING TIMESTAMP ? SET reopenings = ? WHERE month = ? AND shard = ?"
# Not the whole row: its tombstone would be newer than any later number of reopenings, and hide it.
DROP_ARCHIVED_SHARD = (
    "DELETE segments, messages, object_bytes, done_at, reopenings_seen FROM archived_shards"
    " WHERE month = ? AND shard = ?"
)
DROP_INDEX = "DELETE FROM segments_by_month WHERE month = ? AND shard = ?"
# Lightweight transactions: one archiver at a time works on a (month, shard).
CLAIM_SHARD = "INSERT INTO archive_claims (month, shard, holder) VALUES (?, ?, ?) IF NOT EXISTS USING TTL ?"
KEEP_SHARD = "UPDATE archive_claims USING TTL ? SET holder = ? WHERE month = ? AND shard = ? IF holder = ?"
RELEASE_SHARD = "DELETE FROM archive_claims WHERE month = ? AND shard = ? IF holder = ?"

# -- the audit's -----------------------------------------------------------------------------------


def _partitions(row_class: type[Row]) -> str:
    key = ", ".join(row_class.partition_key)
    return f"SELECT DISTINCT {key}, token({key}) FROM {row_class.table} WHERE token({key}) > ? LIMIT ?"


# By token, so that a walk goes through the nodes one after the other, and can begin anywhere.
PARTITIONS = {
    row_class.table: _partitions(row_class)
    for row_class in (SegmentRow, MessageRow, KeyRow, BucketRow, InboxRow, MediaRefRow)
}
KEYS_ABOVE = _select(
    KeyRow, "session_id = ? AND key_month = ? AND shard = ? AND (sender_id, client_msg_id) > (?, ?) LIMIT ?"
)
AUDIT = (*PARTITIONS.values(), KEYS_ABOVE)

READS = (
    SEGMENTS,
    SEGMENTS_BELOW,
    NEWEST_MESSAGES,
    MESSAGES,
    KEYS,
    GROUPS_AS_OF,
    MEMBER_AS_OF,
    MEMBERS_AS_OF,
    MEMBER_VERSIONS,
    INBOX_BUCKETS,
    NEWEST_INBOX_ROWS,
    INBOX_ROWS,
    USER_SESSIONS,
    DIRECT_RECEIPTS,
    GROUP_RECEIPTS,
    RECEIPT_PAGE,
    BLOCK_LISTS,
    MEDIA,
    MEDIA_REFS,
    MEDIA_REFS_IN,
    MEDIA_USAGE,
)

# Single statements of the archiver. Each may be repeated.
ARCHIVE = (
    SEGMENTS_FROM,
    INDEXED_SHARDS,
    SEGMENTS_OF_MONTH,
    SET_COLD,
    UNMARK_SEGMENT,
    DROP_MESSAGES,
    DROP_MESSAGES_BELOW,
    SET_PURGED,
    ADD_ARCHIVED_SHARD,
    ARCHIVED_SHARDS,
    REOPENINGS,
    REOPEN_SHARD,
    DROP_ARCHIVED_SHARD,
    DROP_INDEX,
)

# Lightweight transactions.
TRANSACTIONS = (
    REPLACE_BLOCK_LIST,
    ADD_MEDIA,
    MARK_MEDIA,
    DROP_MEDIA,
    CLAIM_SHARD,
    KEEP_SHARD,
    RELEASE_SHARD,
)

# -- checked when a service starts -----------------------------------------------------------------

SCHEMA_VERSIONS = "SELECT version FROM schema_migrations"
DEPLOYMENT = "SELECT id, origin, since, restored FROM deployments WHERE name = 'tables'"
SERVER_SETTING = "SELECT value FROM system_views.settings WHERE name = ?"

# -- the migration runner's ------------------------------------------------------------------------

CREATE_KEYSPACE = "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}"
CREATE_MIGRATIONS = """
    CREATE TABLE IF NOT EXISTS schema_migrations (version int PRIMARY KEY, name text, checksum text, applied_at bigint)
"""
CREATE_LOCK = "CREATE TABLE IF NOT EXISTS schema_lock (name text PRIMARY KEY, holder text)"
APPLIED_MIGRATIONS = "SELECT version, checksum FROM schema_migrations"
RECORD_MIGRATION = "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)"
# Lightweight transactions: two runners at once must not both apply a migration.
TAKE_LOCK = "INSERT INTO schema_lock (name, holder) VALUES ('migrations', ?) IF NOT EXISTS USING TTL ?"
KEEP_LOCK = "UPDATE schema_lock USING TTL ? SET holder = ? WHERE name = 'migrations' IF holder = ?"
RELEASE_LOCK = "DELETE FROM schema_lock WHERE name = 'migrations' IF holder = ?"
# The table before migration 2, with a row per block.
OLD_BLOCKS = "SELECT user_id, blocked_id FROM blocks"
TABLE_NAMES = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?"
# Runs under the lock of the migrations, so that the first name is given only once.
NAME_DEPLOYMENT = "INSERT INTO deployments (name, id, origin, since, restored) VALUES ('tables', ?, ?, ?, ?)"
