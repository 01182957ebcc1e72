"""What only the audit asks of the tables, as a port. Adapters: CassandraAuditTables and MemoryAuditTables.

All calls only read, at LOCAL_QUORUM. Each raises StoreUnavailable.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from tidings.store.base import KeyBucket
from tidings.store.rows import KeyRow

Walked = Literal["segments", "messages", "message_keys", "inbox_buckets", "inbox", "media_refs"]
# Below the token of every partition. Cassandra gives this token to none.
FIRST_TOKEN = -(2**63)
# Below every key of a bucket.
FIRST_KEY = ("", "")


class FoundPartition(NamedTuple):
    """A partition of a table: its place in the walk, and the columns of its key."""

    token: int
    key: tuple[Any, ...]


class AuditTables(Protocol):
    """Walks whole tables, also rows that nothing else names."""

    async def partitions(self, table: Walked, after: int, limit: int) -> Sequence[FoundPartition]:
        """The next partitions of a table above a token, by token. An empty answer is the end.

        A token is a hash of the key with 64 bits, so that a walk can begin anywhere. Partitions whose rows have
        expired may be among them. A partition that is there during the whole walk is in it once.
        """
        ...

    async def key_page(self, bucket: KeyBucket, after: tuple[str, str], limit: int) -> Sequence[KeyRow]:
        """The next keys of a bucket above (sender_id, client_msg_id), in this order."""
        ...
