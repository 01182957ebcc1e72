"""What must hold after any schedule of watermarks, and of the counts that follow from them: unread, receipts, peers."""

from collections import defaultdict
from typing import TYPE_CHECKING

from services.gateway.reads.sessions import unread
from tests.simulation.admission import peer_of
from tests.simulation.devices import Device
from tests.simulation.oracle import Session
from tests.simulation.ports import SIZES
from tidings import ids
from tidings.store.rows import MessageRow, ReceiptRow
from tidings.topics import DELIVERIES, RECEIPTS_INBOUND
from tidings.wire.deliveries_pb2 import Delivery, GroupCounts, SeqCount
from tidings.wire.receipts_pb2 import Receipt

if TYPE_CHECKING:
    from tests.simulation.schedule import Schedule

Claims = dict[tuple[str, str], tuple[int, int]]


def claims_of(schedule: "Schedule") -> Claims:
    """(session, user) -> the highest delivered and read that Kafka received."""
    claims: Claims = defaultdict(lambda: (0, 0))
    for number in range(SIZES.session_partitions):
        for record in schedule.servers.read(RECEIPTS_INBOUND, number):
            said = Receipt.FromString(record.value or b"")
            before = claims[said.session_id, said.user_id]
            delivered = max(before[0], said.delivered_seq, said.read_seq)
            claims[said.session_id, said.user_id] = (delivered, max(before[1], said.read_seq))
    return claims


def check_watermarks(schedule: "Schedule", sessions: dict[str, Session], claims: Claims) -> None:
    """G8 and G9: maxima of what was said, never above the head; unread equals a recount."""
    receipts = [row for row in schedule.servers.store.rows("receipts") if isinstance(row, ReceiptRow)]
    rows = {(row.session_id, row.user_id): row for row in receipts}
    for (session_id, user_id), row in rows.items():
        session = sessions[session_id]
        head = session.seq
        assert max(row.read_seq, row.delivered_seq) <= head, f"G8: {row} passes the head {head}"
        own = [one for one in session.messages if one.sender_id == user_id and not one.event]
        assert row.sent_seq == (own[-1].seq if own else 0), f"G9: {row}, the last own is {own[-1:]}"
        claimed = claims[session_id, user_id]
        assert row.read_seq <= claimed[1], f"G8: {row}, only {claimed} was said"
        assert row.delivered_seq <= claimed[0], f"G8: {row}, only {claimed} was said"
        if row.read_seq:
            assert row.read_count == session.messages[row.read_seq - 1].count, f"G9: {row}"
    for place, claim in claims.items():
        _check_claim(rows, sessions[place[0]], place, claim)
    for device in schedule.people.devices:
        _check_said(device, rows, sessions)
    for session_id, session in sessions.items():
        for user_id in session.members or ids.direct_users(session_id):
            _check_unread(schedule, session, user_id, rows.get((session_id, user_id)))


def _check_claim(
    rows: dict[tuple[str, str], ReceiptRow], session: Session, place: tuple[str, str], claim: tuple[int, int]
) -> None:
    row = rows.get(place)
    if session.is_group:
        return
    assert row is not None, f"G8: the watermarks of {place} are lost"
    found = (max(row.delivered_seq, row.read_seq), row.read_seq)
    right = (min(claim[0], session.seq), min(claim[1], session.seq))
    assert found == right, f"G8: {place} has {found}, the maxima of what was said are {right}"


def _check_said(device: Device, rows: dict[tuple[str, str], ReceiptRow], sessions: dict[str, Session]) -> None:
    """What an application has said to its SDK, and has shown, is stored: it repeats it through every connection."""
    for session_id, shown in device.shown.items():
        session = sessions[session_id]
        others = [one.seq for one in shown if session.messages[one.seq - 1].sender_id != device.user_id]
        if session.is_group:
            continue  # in read diffusion `delivered` is not kept, and members come and go
        row = rows.get((session_id, device.user_id)) or ReceiptRow(session_id, device.user_id)
        delivered, read = max(row.delivered_seq, row.read_seq), device.said.get(session_id, 0)
        assert delivered >= max(others, default=0), f"G8: {device.user_id} has {session_id} {max(others)}, stored {row}"
        assert row.read_seq >= read, f"G8: {device.user_id} has read {session_id} up to {read}, stored {row}"


def _check_unread(schedule: "Schedule", session: Session, user_id: str, row: ReceiptRow | None) -> None:
    own = row or ReceiptRow(session.session_id, user_id)
    messages = schedule.servers.store.rows("messages")
    head = max(
        (one for one in messages if isinstance(one, MessageRow) and one.session_id == session.session_id),
        key=lambda one: one.seq,
    )
    joined_seq = session.stays[user_id][-1][0] or 0
    right = recount(session, user_id, session.seq, own.read_seq, joined_seq)
    found = unread(head, own, session.joined_counts[user_id])
    assert found == right, f"G9: {user_id} of {session.session_id} has {found} unread, a recount says {right}"


def check_counts(schedule: "Schedule", sessions: dict[str, Session], claims: Claims) -> None:
    """Authors, and no other users, get counts that are never above what was said, and that are right in the end."""
    last: dict[tuple[str, int], tuple[int, int]] = {}
    for number in range(SIZES.user_partitions):
        for record in schedule.servers.read(DELIVERIES, number):
            update = Delivery.FromString(record.value or b"").group_counts
            for count in update.counts:
                _check_count(claims, sessions[update.session_id], update, count)
                if record.offset >= schedule.counts_from[number]:
                    last[update.session_id, count.seq] = (count.delivered, count.read)
    rows = [row for row in schedule.servers.store.rows("receipts") if isinstance(row, ReceiptRow)]
    for (session_id, seq), found in last.items():
        session = sessions[session_id]
        if seq < session.seq:
            continue  # a stopped process may have published its state, when it continued
        # Case 22: a user that joined after a message is no reader of it.
        there = {user_id for user_id, member in session.members.items() if member.joined_seq <= seq}
        others = there - {session.messages[seq - 1].sender_id}
        reads = [row.read_seq for row in rows if row.session_id == session_id and row.user_id in others]
        holds = [row.delivered_seq for row in rows if row.session_id == session_id and row.user_id in others]
        right = (
            sum(max(pair) >= seq for pair in zip(reads, holds, strict=True)),
            sum(read >= seq for read in reads),
        )
        assert found == right, f"counts: of {session_id} seq {seq} {found} was sent last, right is {right}"
    for session_id in schedule.groups_in_use():
        if len(sessions[session_id].members) == 1:
            continue
        seq = sessions[session_id].seq
        assert (session_id, seq) in last, f"counts: of {session_id} seq {seq} nothing was sent"


def _check_count(claims: Claims, session: Session, update: GroupCounts, count: SeqCount) -> None:
    author = session.messages[count.seq - 1].sender_id
    assert update.recipient_id == author, f"G10: {update.recipient_id} was sent counts of {author}'s message"
    said = [
        claim
        for (session_id, user_id), claim in claims.items()
        if session_id == session.session_id and user_id != author
    ]
    most = tuple(sum(claim[which] >= count.seq for claim in said) for which in (0, 1))
    assert count.delivered <= most[0], f"counts: {update}, only {most} can have it"
    assert count.read <= most[1], f"counts: {update}, only {most} can have it"


def check_peers(schedule: "Schedule") -> None:
    """In the end no list is unreadable: a peer is shown unless it blocks the user."""
    receipts = [row for row in schedule.servers.store.rows("receipts") if isinstance(row, ReceiptRow)]
    rows = {(row.session_id, row.user_id): row for row in receipts}
    for (session_id, user_id), shown in schedule.people.peers.items():
        other = peer_of(session_id, user_id)
        admission = schedule.servers.admission
        stored = rows.get((session_id, other)) or ReceiptRow(session_id, other)
        right = (max(stored.delivered_seq, stored.read_seq), stored.read_seq)
        found = (shown.delivered_seq, shown.read_seq)
        if admission.must_block(other, user_id):
            assert found == (None, None), f"blocks: {other} blocks {user_id}, which is shown {shown}"
        elif not admission.may_block(other, user_id):
            assert found == right, f"blocks: {user_id} is shown {shown}, stored is {right}"


def recount(session: Session, user_id: str, head_seq: int, read_seq: int, joined_seq: int) -> int:
    """Countable messages up to the head, after what was read, the user's own last one, and the joining."""
    own = [one.seq for one in session.messages[:head_seq] if one.sender_id == user_id and not one.event]
    after = max(read_seq, max(own, default=0), joined_seq - 1)
    return sum(1 for one in session.messages[after:head_seq] if not one.event)
