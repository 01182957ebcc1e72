"""The audit's questions to the tables in memory: the same promises as Cassandra's adapter."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from tidings.store.audit_tables import FoundPartition, Walked
from tidings.store.base import KeyBucket
from tidings.store.memory import MemoryStore
from tidings.store.rows import KeyRow


class MemoryAuditTables:
    """Implements AuditTables over the rows of a MemoryStore."""

    def __init__(self, store: MemoryStore) -> None:
        """The store that holds the rows."""
        self._store = store

    async def partitions(self, table: Walked, after: int, limit: int) -> Sequence[FoundPartition]:
        await self._store.answer("partitions")
        names = self._store.partition_keys(table)
        keys = [name if isinstance(name, tuple) else (name,) for name in names]
        found = sorted(FoundPartition(_token(key), key) for key in keys)
        return [one for one in found if one.token > after][:limit]

    async def key_page(self, bucket: KeyBucket, after: tuple[str, str], limit: int) -> Sequence[KeyRow]:
        await self._store.answer("key_page")
        rows = self._store.visible("message_keys", tuple(bucket), KeyRow)
        return [row for row in rows if (row.sender_id, row.client_msg_id) > after][:limit]


def _token(key: tuple[Any, ...]) -> int:
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), signed=True)
