"""One partition of message_keys: each key names a stored message. Raises StoreUnavailable."""

from collections import defaultdict

from tidings.audit.pacing import Pacing
from tidings.audit.rules import Finding
from tidings.audit.stored import stored_ids
from tidings.ids import Position
from tidings.store.audit_tables import FIRST_KEY, AuditTables
from tidings.store.base import KeyBucket, Store

_PAGE_ROWS = 500


class Keys:
    """Looks at buckets of keys."""

    def __init__(self, store: Store, tables: AuditTables, pacing: Pacing) -> None:
        self._store = store
        self._tables = tables
        self._pacing = pacing

    async def look(self, bucket: KeyBucket, confirmed: Position) -> set[Finding]:
        """The findings of a bucket. `confirmed`: read before; later keys may be there before their messages."""
        found: set[Finding] = set()
        after = FIRST_KEY
        while True:
            page = await self._pacing.read(await self._tables.key_page(bucket, after, _PAGE_ROWS))
            judged = [key for key in page if key.made_at < confirmed]
            wanted: defaultdict[str, set[int]] = defaultdict(set)
            for key in judged:
                wanted[key.session_id].add(key.seq)
            stored = await stored_ids(self._store, wanted)
            await self._pacing.read(judged)
            for key in judged:
                problem = stored.problem(key.session_id, key.seq, key.message_id)
                if problem:
                    place = f"key of {bucket.session_id} month {bucket.key_month} shard {bucket.shard}"
                    text = f"{key.client_msg_id!r} of {key.sender_id} {problem}"
                    found.add(Finding("orphaned", place, text))
            if len(page) < _PAGE_ROWS:
                return found
            after = (page[-1].sender_id, page[-1].client_msg_id)
