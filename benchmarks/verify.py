"""After a run: what the clients were told against what the tables hold."""

from typing import Any

from tidings.store import history
from tidings.store.base import Store, UserBucket
from tidings.store.rows import InboxRow


async def verify(store: Store, told: dict[str, Any]) -> dict[str, Any]:
    """Counts of what was checked, and every breach found (none, if the promises hold)."""
    breaches: list[str] = []
    messages = 0
    for session_id, acked in told["acked"].items():
        messages += await _session(store, session_id, acked, breaches)
    deliveries = 0
    for user_id, device in told["devices"].items():
        deliveries += await _inbox(store, user_id, device, breaches)
    acked_count = sum(map(len, told["acked"].values()))
    return {
        "acked": acked_count,
        "messages": messages,
        "inbox_rows_seen_once": deliveries,
        "breaches": breaches[:20],
        "breach_count": len(breaches),
    }


async def _session(store: Store, session_id: str, acked: dict[str, int], breaches: list[str]) -> int:
    """Every acked message exactly once under its seq; seqs 1..n."""
    head = (await history.heads(store, [session_id])).get(session_id)
    rows = await history.read_range(store, session_id, 1, head.seq, head.seq) if head else []
    if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
        breaches.append(f"{session_id}: seqs have holes")
    stored: dict[str, list[int]] = {}
    for row in rows:
        stored.setdefault(row.client_msg_id, []).append(row.seq)
    for client_msg_id, seq in acked.items():
        if stored.get(client_msg_id) != [seq]:
            breaches.append(f"{session_id}: {client_msg_id} acked as {seq}, stored as {stored.get(client_msg_id)}")
    return len(rows)


async def _inbox(store: Store, user_id: str, device: dict[str, Any], breaches: list[str]) -> int:
    """The device has seen exactly the inbox: every row once, in seq order per session."""
    rows: list[InboxRow] = []
    for bucket in (await store.inbox_buckets([user_id], 100)).get(user_id, ()):
        rows += await store.inbox_rows(UserBucket(user_id, bucket.bucket), 1, 2**40)
    rows.sort(key=lambda row: row.inbox_seq)
    if [row.inbox_seq for row in rows] != list(range(1, len(rows) + 1)):
        breaches.append(f"{user_id}: inbox has holes")
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
