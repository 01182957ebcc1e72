"""What must hold whatever happened: the tables against the log, by a second, much simpler account of the rules."""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.unit.hazards.pipeline import Pipeline
from tidings import ids, topics
from tidings.broker.base import Record
from tidings.codec import decode_command
from tidings.errors import PoisonRecord
from tidings.store.rows import BucketRow, InboxRow, MessageRow, SegmentRow, UserSessionRow
from tidings.wire.inbound_pb2 import Command

_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS


@dataclass(frozen=True)
class Expected:
    """A message as the log says it must be."""

    seq: int
    sender_id: str
    client_msg_id: str
    message_id: int
    at: int
    body: bytes


@dataclass
class _Session:
    messages: list[Expected] = field(default_factory=list)
    keys: dict[tuple[str, str], int] = field(default_factory=dict)


def expected_messages(records: list[Record]) -> dict[str, list[Expected]]:
    """What messages.inbound, read once from its beginning, makes of every session."""
    sessions: dict[str, _Session] = defaultdict(_Session)
    for record in records:
        try:
            sent = decode_command(record.value)
        except PoisonRecord:
            continue
        _apply(sessions[sent.session_id], sent, record)
    return {session_id: session.messages for session_id, session in sessions.items() if session.messages}


def _apply(session: _Session, sent: Command, record: Record) -> None:
    key = (sent.sender_id, sent.client_msg_id)
    stored_at = session.keys.get(key)
    if stored_at is not None and record.at_ms - stored_at <= 91 * _DAY_MS:
        return
    id_time_ms = ids.uuid7_time_ms(sent.client_msg_id)
    apart_ms = 12 * 60 * _MINUTE_MS
    age_ms = None if id_time_ms is None else record.at_ms - id_time_ms
    if age_ms is not None and not -5 * _MINUTE_MS - apart_ms <= age_ms <= 90 * _DAY_MS + apart_ms:
        return
    if sent.sender_id not in ids.direct_users(sent.session_id) or sent.post.reply_to > len(session.messages):
        return
    at = max(record.at_ms, session.messages[-1].at if session.messages else 0, (id_time_ms or 0) - 5 * _MINUTE_MS)
    session.keys[key] = at
    number = ids.message_id(0, record.partition, record.offset)
    session.messages.append(Expected(len(session.messages) + 1, *key, number, at, sent.post.body))


def check(line: Pipeline) -> None:
    """Raises AssertionError unless every promise about stored, acked and delivered messages holds."""
    expected = expected_messages(list(line.records(topics.MESSAGES_INBOUND)))
    assert not line.witness.rewritten, f"two owners wrote different rows: {line.witness.rewritten[:3]}"
    _check_messages(line, expected)
    _check_segments(line)
    _check_acks(line, expected)
    _check_inboxes(line, expected)


def _check_messages(line: Pipeline, expected: dict[str, list[Expected]]) -> None:
    stored: dict[str, list[Expected]] = defaultdict(list)
    for row in line.store.rows("messages"):
        assert isinstance(row, MessageRow)
        stored[row.session_id].append(
            Expected(row.seq, row.sender_id, row.client_msg_id, row.message_id, row.at, row.body)
        )
    for session_id in stored.keys() | expected.keys():
        rows = sorted(stored[session_id], key=lambda row: row.seq)
        assert rows == expected.get(session_id, []), f"{session_id} differs from what its log says"


def _check_segments(line: Pipeline) -> None:
    """Every message stands in the segment that the directory names for its seq."""
    first_seqs: dict[str, dict[int, int]] = defaultdict(dict)
    for segment in line.store.rows("segments"):
        assert isinstance(segment, SegmentRow)
        first_seqs[segment.session_id][segment.segment] = segment.first_seq
    for row in line.store.rows("messages"):
        assert isinstance(row, MessageRow)
        directory = first_seqs[row.session_id]
        right = max(number for number, first in directory.items() if first <= row.seq)
        assert row.segment == right, f"seq {row.seq} of {row.session_id} stands where nobody looks for it"


def _check_acks(line: Pipeline, expected: dict[str, list[Expected]]) -> None:
    for ack in line.acks():
        message = expected[ack.session_id][ack.seq - 1]
        promised = (ack.client_msg_id, ack.message_id, ack.at_ms)
        assert promised == (message.client_msg_id, message.message_id, message.at), f"a false ack: {ack}"


def _check_inboxes(line: Pipeline, expected: dict[str, list[Expected]]) -> None:
    wanted: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for session_id, messages in expected.items():
        for user_id in ids.direct_users(session_id):
            wanted[user_id].update((session_id, message.seq) for message in messages)
    inboxes = inboxes_of(line)
    assert inboxes.keys() == wanted.keys()
    for user_id, rows in inboxes.items():
        assert [row.inbox_seq for row in rows] == list(range(1, len(rows) + 1)), f"holes in the inbox of {user_id}"
        places = [(row.session_id, row.seq) for row in rows]
        assert len(places) == len(set(places)), f"{user_id} got a message twice"
        assert set(places) == wanted[user_id], f"{user_id} lacks {wanted[user_id] - set(places)}"
        _check_order(user_id, places)
        _check_buckets(line, user_id, rows)
    listed = {
        (row.user_id, row.session_id) for row in line.store.rows("user_sessions") if isinstance(row, UserSessionRow)
    }
    assert listed == {(user_id, session_id) for user_id, places in wanted.items() for session_id, _ in places}


def _check_order(user_id: str, places: list[tuple[str, int]]) -> None:
    seen: dict[str, int] = defaultdict(int)
    for session_id, seq in places:
        assert seq == seen[session_id] + 1, f"{user_id} got seq {seq} of {session_id} out of order"
        seen[session_id] = seq


def _check_buckets(line: Pipeline, user_id: str, rows: list[InboxRow]) -> None:
    first_seqs = {
        row.bucket: row.first_inbox_seq
        for row in line.store.rows("inbox_buckets")
        if isinstance(row, BucketRow) and row.user_id == user_id
    }
    for row in rows:
        right = max(number for number, first in first_seqs.items() if first <= row.inbox_seq)
        assert row.bucket == right, f"inbox_seq {row.inbox_seq} of {user_id} stands where nobody looks for it"


def inboxes_of(line: Pipeline) -> dict[str, list[InboxRow]]:
    """Every user's inbox rows by inbox_seq."""
    inboxes: dict[str, list[InboxRow]] = defaultdict(list)
    for row in line.store.rows("inbox"):
        assert isinstance(row, InboxRow)
        inboxes[row.user_id].append(row)
    return {user_id: sorted(rows, key=lambda row: row.inbox_seq) for user_id, rows in inboxes.items()}
