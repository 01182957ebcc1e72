"""The audit's questions to Cassandra. Each is one statement of statements.py."""

from collections.abc import Sequence

from tidings.store import statements
from tidings.store.audit_tables import FoundPartition, Walked
from tidings.store.base import KeyBucket
from tidings.store.cassandra_session import CassandraSession
from tidings.store.rows import KeyRow


class CassandraAuditTables:
    """Implements AuditTables."""

    def __init__(self, session: CassandraSession) -> None:
        """`session`: that of the store, which starts and stops it."""
        self._session = session

    async def partitions(self, table: Walked, after: int, limit: int) -> Sequence[FoundPartition]:
        rows = await self._session.execute(statements.PARTITIONS[table], (after, limit))
        return [FoundPartition(token, tuple(key)) for *key, token in rows]

    async def key_page(self, bucket: KeyBucket, after: tuple[str, str], limit: int) -> Sequence[KeyRow]:
        rows = await self._session.execute(statements.KEYS_ABOVE, (*bucket, *after, limit))
        return [KeyRow(*row) for row in rows]
