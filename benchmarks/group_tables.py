"""Reads the tables for the group benchmarks: when all rows of a message exist, and whether all rows are right."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from deploy.local.stack import Stack
from tidings.store import history, session_tails
from tidings.store.base import Store, UserBucket
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_cluster import connect
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.rows import InboxRow, MessageRow

# Rows that take longer fail the run and do not count as a latency.
_ROWS_WITHIN_S = 30.0
_REST_S = 0.5
_AT_ONCE = 16


def store_of(stack: Stack) -> CassandraStore:
    """A store for the stack's tables. The caller starts and stops it."""
    return CassandraStore(CassandraConfig(hosts=("127.0.0.1",), port=stack.ports.cassandra))


class Arrivals:
    """Watches the inboxes of some users, which get one message at a time.

    It uses the driver directly and reads one column, because the services' own reads of 500 inboxes take 100 ms.
    """

    def __init__(self, stack: Stack, user_ids: Sequence[str]) -> None:
        """Connect. All methods block."""
        # Connects as the services do, because the driver's default chunks of 4 KiB wait 40 ms for each TCP ack.
        self._session = connect(CassandraConfig(port=stack.ports.cassandra), _ROWS_WITHIN_S)
        self._session.set_keyspace("tidings")
        buckets = self._session.prepare("SELECT max(bucket) FROM inbox_buckets WHERE user_id = ?")
        self._newest = self._session.prepare(
            "SELECT user_id, inbox_seq FROM inbox WHERE user_id IN ? AND bucket = ? PER PARTITION LIMIT 1"
        )
        self._bucket_of = {user_id: self._session.execute(buckets, (user_id,)).one()[0] for user_id in user_ids}

    def look(self, user_ids: Collection[str]) -> dict[str, int]:
        """The newest inbox_seq of these users."""
        by_bucket: dict[int, list[str]] = {}
        for user_id in user_ids:
            by_bucket.setdefault(self._bucket_of[user_id], []).append(user_id)
        asked = [(users, bucket) for bucket, users in by_bucket.items()]
        return {user_id: seq for one in asked for user_id, seq in self._session.execute(self._newest, one)}

    def at_rest(self) -> dict[str, int]:
        """The newest inbox_seq of all users, once no more rows arrive."""
        before: dict[str, int] = {}
        now = self.look(self._bucket_of)
        while before != now:
            time.sleep(_REST_S)
            before, now = now, self.look(self._bucket_of)
        return now

    def complete_at_s(self, before: Mapping[str, int]) -> float:
        """The time (time.perf_counter) at which the last inbox was found to have a new row."""
        missing, deadline_s = set(before), time.perf_counter() + _ROWS_WITHIN_S
        while missing:
            if time.perf_counter() > deadline_s:
                raise RuntimeError(f"{len(missing)} inboxes do not have their row after {_ROWS_WITHIN_S} s")
            missing -= {user_id for user_id, seq in self.look(missing).items() if seq > before[user_id]}
        return time.perf_counter()

    def close(self) -> None:
        """Close the session."""
        self._session.cluster.shutdown()


async def verify(
    store: Store, session_id: str, members: Collection[str], report: Mapping[str, Any], *, is_written: bool
) -> dict[str, Any]:
    """Compare the report with the log and the inboxes of these members. The result lists breaches of promises.

    `is_written`: every message must be in every inbox.
    """
    head = (await session_tails.heads(store, [session_id]))[session_id]
    log = await history.read_range(store, session_id, 1, head.seq, head.seq)
    breaches = list(_of_log(log, report["acked"]))
    joined = {
        row.user_id: row.joined_seq for row in (await store.members_as_of(session_id, head.seq, members)).values()
    }
    slots, acked = asyncio.Semaphore(_AT_ONCE), frozenset(report["acked"].values())

    async def one(user_id: str) -> int:
        async with slots:
            rows = [row for row in await _inbox(store, user_id) if row.session_id == session_id]
        theirs = range(joined[user_id], head.seq + 1)
        if is_written and [row.seq for row in rows] != list(theirs):
            breaches.append(f"{user_id}: {len(rows)} rows in the inbox for {len(theirs)} messages")
        breaches.extend(_of_member(user_id, theirs, rows, report["devices"].get(user_id), acked))
        return len(rows)

    counts = await asyncio.gather(*(one(user_id) for user_id in members))
    return {
        "messages": len(log),
        "acked": len(report["acked"]),
        "members": len(members),
        "inbox_rows": sum(counts),
        "inbox_rows_of_a_member": [min(counts), max(counts)],
        "breaches": breaches[:20],
        "breach_count": len(breaches),
    }


def _of_log(log: Sequence[MessageRow], acked: Mapping[str, int]) -> list[str]:
    stored = {row.client_msg_id: row.seq for row in log}
    breaches = [f"{name} acked as {seq}, stored as {stored.get(name)}" for name, seq in acked.items()
                if stored.get(name) != seq]  # fmt: skip
    if [row.seq for row in log] != list(range(1, len(log) + 1)) or len(stored) != len(log):
        breaches.append("the log has gaps, or a message twice")
    return breaches


def _of_member(
    user_id: str,
    theirs: range,
    rows: Sequence[InboxRow],
    seen: Mapping[str, list[int]] | None,
    acked: Collection[int],
) -> list[str]:
    """Breaches of one member: the inbox has each seq once in order, and a device has its inbox and all acked messages.

    Messages of a large group from before the device connected are in history only, which it does not read.
    """
    inbox = [row.seq for row in rows]
    breaches = []
    if inbox != sorted(set(inbox)):
        breaches.append(f"{user_id}: a seq twice or out of order in the inbox")
    if seen is None:
        return breaches
    if seen["inbox"] != inbox:
        breaches.append(f"{user_id}: what the device has seen is not its inbox")
    has = {*seen["inbox"], *seen["read"]}
    if not has.issuperset(acked) or not has.issubset(theirs):
        breaches.append(
            f"{user_id}: has {len(has)} messages, {len(has.intersection(acked))} of {len(acked)} acked ones"
        )
    return breaches


async def _inbox(store: Store, user_id: str) -> list[InboxRow]:
    rows: list[InboxRow] = []
    for bucket in (await store.inbox_buckets([user_id], 100)).get(user_id, ()):
        rows += await store.inbox_rows(UserBucket(user_id, bucket.bucket), 1, 2**40)
    return sorted(rows, key=lambda row: row.inbox_seq)
