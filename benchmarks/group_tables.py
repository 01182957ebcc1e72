"""The tables of the group benchmarks: when the rows of a message are all there, and whether everything is right."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from deploy.local.stack import Stack
from tidings.store import history
from tidings.store.base import Store, UserBucket
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.rows import InboxRow, MessageRow

# Rows that take longer are a failure of the run, not a latency.
_ROWS_WITHIN_S = 30.0
_AT_ONCE = 16


def store_of(stack: Stack) -> CassandraStore:
    """The stack's tables; started and stopped by the caller."""
    return CassandraStore(CassandraConfig(hosts=("127.0.0.1",), port=stack.ports.cassandra))


class Arrivals:
    """Watches the inboxes of some users for the next message of a group that they are all in."""

    def __init__(self, store: Store, user_ids: Sequence[str]) -> None:
        """`look` comes first."""
        self._store = store
        self._user_ids = user_ids
        self._buckets: list[UserBucket] = []
        self._tails: dict[str, int] = {}

    async def look(self) -> None:
        """Take the inboxes as they are now."""
        listed = await self._store.inbox_buckets(self._user_ids, 1)
        self._buckets = [UserBucket(user_id, rows[0].bucket) for user_id, rows in listed.items()]
        self._tails = await self._newest()

    async def complete_at_s(self) -> float:
        """The moment (time.perf_counter) at which every one of them was read to have one more row."""
        deadline_s = time.perf_counter() + _ROWS_WITHIN_S
        while time.perf_counter() < deadline_s:
            newest = await self._newest()
            if all(newest[user_id] > tail for user_id, tail in self._tails.items()):
                return time.perf_counter()
        raise RuntimeError(f"not every inbox has its row after {_ROWS_WITHIN_S} s")

    async def _newest(self) -> dict[str, int]:
        rows = await self._store.newest_inbox_rows(self._buckets, 1)
        return {bucket.user_id: rows[bucket][0].inbox_seq for bucket in self._buckets}


async def verify(store: Store, session_id: str, members: Collection[str], told: Mapping[str, Any]) -> dict[str, Any]:
    """What was acked and seen against the log and the inboxes of these members; breaches, none if the promises hold."""
    head = (await history.heads(store, [session_id]))[session_id]
    log = await history.read_range(store, session_id, 1, head.seq, head.seq)
    breaches = list(_of_log(log, told["acked"]))
    joined = {
        row.user_id: row.joined_seq for row in (await store.members_as_of(session_id, head.seq, members)).values()
    }
    slots, acked = asyncio.Semaphore(_AT_ONCE), frozenset(told["acked"].values())

    async def one(user_id: str) -> int:
        async with slots:
            rows = [row for row in await _inbox(store, user_id) if row.session_id == session_id]
        theirs = range(joined[user_id], head.seq + 1)
        breaches.extend(_of_member(user_id, theirs, rows, told["devices"].get(user_id), acked))
        return len(rows)

    counts = await asyncio.gather(*(one(user_id) for user_id in members))
    return {
        "messages": len(log),
        "acked": len(told["acked"]),
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
        breaches.append("the log has holes, or a message twice")
    return breaches


def _of_member(
    user_id: str,
    theirs: range,
    rows: Sequence[InboxRow],
    seen: Mapping[str, list[int]] | None,
    acked: Collection[int],
) -> list[str]:
    """Inboxes hold each seq once in order; a connected device has its inbox, every acked message, nothing not its own.

    What was said in the log of a large group before the device connected is in history alone, which it does not read.
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
