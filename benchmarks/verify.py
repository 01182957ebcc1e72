"""Compares the acks and messages that the clients received with the tables, after a run."""

from typing import Any

from tidings.store import history, session_tails
from tidings.store.base import Store, UserBucket
from tidings.store.rows import InboxRow


async def verify(store: Store, report: dict[str, Any]) -> dict[str, Any]:
    """The number of checked items, and every breach of a promise."""
    breaches: list[str] = []
    messages = 0
    for session_id, acked in report["acked"].items():
        messages += await _session(store, session_id, acked, breaches)
    deliveries = 0
    for user_id, device in report["devices"].items():
        deliveries += await _inbox(store, user_id, device, breaches)
    acked_count = sum(map(len, report["acked"].values()))
    return {
        "acked": acked_count,
        "messages": messages,
        "inbox_rows_seen_once": deliveries,
        "breaches": breaches[:20],
        "breach_count": len(breaches),
    }


async def _session(store: Store, session_id: str, acked: dict[str, int], breaches: list[str]) -> int:
    """Check that every acked message is stored exactly once under its seq, and that seqs are 1..n."""
    head = (await session_tails.heads(store, [session_id])).get(session_id)
    rows = await history.read_range(store, session_id, 1, head.seq, head.seq) if head else []
    if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
        breaches.append(f"{session_id}: seqs have gaps")
    stored: dict[str, list[int]] = {}
    for row in rows:
        stored.setdefault(row.client_msg_id, []).append(row.seq)
    for client_msg_id, seq in acked.items():
        if stored.get(client_msg_id) != [seq]:
            breaches.append(f"{session_id}: {client_msg_id} acked as {seq}, stored as {stored.get(client_msg_id)}")
    return len(rows)


async def _inbox(store: Store, user_id: str, device: dict[str, Any], breaches: list[str]) -> int:
    """Check that the device has received each row of the inbox once, in seq order per session."""
    rows: list[InboxRow] = []
    for bucket in (await store.inbox_buckets([user_id], 100)).get(user_id, ()):
        rows += await store.inbox_rows(UserBucket(user_id, bucket.bucket), 1, 2**40)
    rows.sort(key=lambda row: row.inbox_seq)
    if [row.inbox_seq for row in rows] != list(range(1, len(rows) + 1)):
        breaches.append(f"{user_id}: inbox has gaps")
    if device["cursor"] != len(rows):
        breaches.append(f"{user_id}: device ended at {device['cursor']} of {len(rows)}")
    by_session: dict[str, list[int]] = {}
    for row in rows:
        by_session.setdefault(row.session_id, []).append(row.seq)
    if by_session != device["seen"]:
        breaches.append(f"{user_id}: what the device has seen is not its inbox")
    for session_id, seqs in by_session.items():
        if seqs != list(range(1, len(seqs) + 1)):
            breaches.append(f"{user_id}: {session_id} not delivered once in order")
    return len(rows)
