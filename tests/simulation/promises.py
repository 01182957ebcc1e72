"""What must hold after any schedule: each assertion carries the promise of PROTOCOL that it checks."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import orjson

from tests.simulation.deployment import GROUP_MEMBERS_MAX
from tests.simulation.devices import Device
from tests.simulation.oracle import READ, Expected, Session
from tests.simulation.ports import GATEWAYS
from tests.simulation.watermark_promises import check_counts, check_peers, check_watermarks, claims_of, recount
from tests.simulation.witness import check_directories
from tidings import ids
from tidings.store.rows import MODE_READ, GroupRow, InboxRow, MemberRow, MessageRow, UserSessionRow
from tidings.topics import PUSH
from tidings.wire.common_pb2 import KIND_SYSTEM
from tidings.wire.push_pb2 import Push

if TYPE_CHECKING:
    from tests.simulation.schedule import Schedule

WRONG_CLOCK = ("clock_skew", "too_old")
_ROLES = {1: "member", 2: "admin", 3: "owner"}


def check(schedule: "Schedule") -> None:
    """Raises AssertionError, with the promise that is broken."""
    breaches = [*schedule.watcher.breaches, *schedule.oracle.breaches, *schedule.servers.admission.breaches]
    assert not breaches, breaches[:3]
    assert not schedule.people.unexpected, f"a user was refused: {schedule.people.unexpected[:3]}"
    rewritten = schedule.servers.witness.rewritten
    assert not rewritten, f"G4: two owners wrote different rows: {rewritten[:2]}"
    sessions = {name: one for name, one in schedule.oracle.sessions.items() if one.messages}
    check_sizes(schedule)
    check_messages(schedule, sessions)
    check_versions(schedule, sessions)
    check_answers(schedule)
    check_frames(schedule, sessions)
    check_inboxes(schedule, sessions)
    check_directories(schedule.servers.store)
    check_texts(schedule)
    check_session_lists(schedule, sessions)
    for device in schedule.people.devices:
        check_device(device, sessions)
    claims = claims_of(schedule)
    check_watermarks(schedule, sessions, claims)
    check_counts(schedule, sessions, claims)
    check_peers(schedule)
    found = schedule.auditing.found if schedule.auditing else []
    assert not found, f"the audit finds {found[:3]} in sound tables"


def check_sizes(schedule: "Schedule") -> None:
    """No group ever had more members than gateways allow. That the others were not full, `check_answers` says."""
    for group in schedule.servers.store.rows("groups"):
        assert isinstance(group, GroupRow)
        assert group.member_count <= GROUP_MEMBERS_MAX, f"group_full: {group} has too many members"


def check_messages(schedule: "Schedule", sessions: dict[str, Session]) -> None:
    """G1, G2, G3, G4: what the log says stands in the tables, once, in order."""
    stored: dict[str, dict[int, MessageRow]] = defaultdict(dict)
    for row in schedule.messages():
        stored[row.session_id][row.seq] = row
    assert stored.keys() <= sessions.keys(), f"G11: {stored.keys() - sessions.keys()} should not exist"
    for session_id, session in sessions.items():
        rows = stored[session_id]
        assert sorted(rows) == list(range(1, session.seq + 1)), f"G3: {session_id} has seqs {sorted(rows)}"
        keys = [(row.sender_id, row.client_msg_id, row.at // (91 * 86_400_000)) for row in rows.values()]
        assert len(keys) == len(set(keys)), f"G2: a command of {session_id} has two seqs"
        for expected in session.messages:
            _check_message(session_id, rows[expected.seq], expected)


def check_texts(schedule: "Schedule") -> None:
    """G2: each text of the simulated users is another one, and is stored once, whatever ids it was sent under."""
    rows = schedule.messages()
    said = [(row.session_id, row.body) for row in rows if row.kind != KIND_SYSTEM]
    twice = [place for place, count in Counter(said).items() if count > 1]
    assert not twice, f"G2: a text is stored under two ids: {twice}"


def _check_message(session_id: str, row: MessageRow, expected: Expected) -> None:
    place = f"{session_id} seq {row.seq}"
    is_same = (row.message_id, row.sender_id, row.client_msg_id, row.at, row.count) == (
        expected.message_id,
        expected.sender_id,
        expected.client_msg_id,
        expected.at,
        expected.count,
    )
    assert is_same, f"G1, G4: {place} is not what its log says: {row} {expected}"
    if expected.event:
        body = orjson.loads(row.body)
        assert body["event"] == expected.event, f"G4: {place} says {body}"
        assert body.get("mode_to", "") == expected.mode_to, f"H4: {place} says {body}, switches to {expected.mode_to}"
    else:
        assert row.body == expected.body, f"G4: {place} says {row.body!r}"


def check_versions(schedule: "Schedule", sessions: dict[str, Session]) -> None:
    """The newest group and member versions are the state that the log makes."""
    groups: dict[str, GroupRow] = {}
    members: dict[tuple[str, str], MemberRow] = {}
    for group in schedule.servers.store.rows("groups"):
        assert isinstance(group, GroupRow)
        groups[group.session_id] = max(group, groups.get(group.session_id, group), key=lambda one: one.as_of_seq)
    for row in schedule.servers.store.rows("group_members"):
        assert isinstance(row, MemberRow)
        place = (row.session_id, row.user_id)
        members[place] = max(row, members.get(place, row), key=lambda one: one.as_of_seq)
    for session_id, session in sessions.items():
        if not session.is_group:
            continue
        newest = groups[session_id]
        assert newest.member_count == len(session.members), f"law 7: {session_id} counts {newest.member_count}"
        if not session.members:
            continue
        mode = "read" if newest.mode == MODE_READ else "write"
        assert (mode, newest.owner) == (session.mode, session.owner), f"law 7: {newest}"
        found = {
            user_id: (row.joined_seq, _ROLES[row.role], row.muted_until)
            for (name, user_id), row in members.items()
            if name == session_id and row.left_seq == 0
        }
        wanted = {user: (one.joined_seq, one.role, one.muted_until) for user, one in session.members.items()}
        assert found == wanted, f"law 7: members of {session_id}"


def check_answers(schedule: "Schedule") -> None:
    """G1, G2, G11: every answer ever given is one that a copy of its command must get."""
    right: dict[tuple[str, str], set[tuple[str, object]]] = defaultdict(set)
    for (session_id, _, client_msg_id), answers in schedule.oracle.answers.items():
        right[session_id, client_msg_id] |= answers
    for gateway in range(GATEWAYS):
        for record in schedule.servers.read(PUSH, gateway):
            push = Push.FromString(record.value or b"")
            if push.HasField("send_ack"):
                ack, given = push.send_ack, ("ack", push.send_ack.seq)
                assert given in right[ack.session_id, ack.client_msg_id], f"G1, G2: {ack} is not {right}"
            elif push.HasField("send_error"):
                error, refused = push.send_error, ("error", push.send_error.refusal.code)
                assert refused in right[error.session_id, error.client_msg_id], f"G11: {error}"
    for (session_id, user_id, client_msg_id), seqs in schedule.watcher.seqs.items():
        answers = schedule.oracle.answers.get((session_id, user_id, client_msg_id), set())
        wrong = [seq for seq in seqs if ("ack", seq) not in answers]
        assert not wrong, f"G1, G2: {user_id} in {session_id} was answered {wrong}, right is {answers}"


def check_frames(schedule: "Schedule", sessions: dict[str, Session]) -> None:
    """G4, G9, G10: what frames and answers have carried, whether or not a client made something of it."""
    watcher = schedule.watcher
    for user_id, session_id, seq, message_id in sorted(watcher.messages):
        session = sessions[session_id]
        assert message_id == session.messages[seq - 1].message_id, f"G4: {user_id} got another {session_id} seq {seq}"
        assert _is_open(session, user_id, seq), f"G10: {user_id} got {session_id} seq {seq}"
    for user_id, session_id, seq in sorted(watcher.read_pushed):
        assert sessions[session_id].stay(user_id, seq) >= 0, f"G10: {user_id} was pushed {session_id} seq {seq}"
    for user_id, session_id, seq in sorted(watcher.heads):
        assert _is_open(sessions[session_id], user_id, seq), f"G10: {user_id} was sent that {session_id} is at {seq}"
    for shown in watcher.unread:
        session = sessions[shown.session_id]
        right = recount(session, shown.user_id, shown.head_seq, shown.read_seq, shown.joined_seq)
        assert shown.unread == right, f"G9: {shown}, a recount says {right}"


def _is_open(session: Session, user_id: str, seq: int) -> bool:
    """Direct sessions are open to their users; groups to members of the time, or to all that ever were."""
    if not session.is_group:
        return user_id in ids.direct_users(session.session_id)
    return session.stay(user_id, seq) >= 0 or (session.has_shared_history and bool(session.stays.get(user_id)))


def check_inboxes(schedule: "Schedule", sessions: dict[str, Session]) -> None:
    """G6, G10: each inbox holds exactly what was written to its user, once, in seq order per session."""
    inboxes: dict[str, list[InboxRow]] = defaultdict(list)
    for row in schedule.servers.store.rows("inbox"):
        assert isinstance(row, InboxRow)
        inboxes[row.user_id].append(row)
    wanted: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for session_id, session in sessions.items():
        for message in session.messages:
            for user_id in message.inbox:
                wanted[user_id][session_id].append(message.seq)
    assert inboxes.keys() == wanted.keys(), "G6: an inbox too much or too few"
    for user_id, rows in inboxes.items():
        rows.sort(key=lambda row: row.inbox_seq)
        numbers = [row.inbox_seq for row in rows]
        assert numbers == list(range(1, len(rows) + 1)), f"G6, G7: the inbox of {user_id} has numbers {numbers}"
        found: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            found[row.session_id].append(row.seq)
        for session_id in found.keys() | wanted[user_id].keys():
            here, right = found[session_id], wanted[user_id][session_id]
            assert here == right, f"G6, G10: {user_id} of {session_id} has {here}, should have {right}"


def check_session_lists(schedule: "Schedule", sessions: dict[str, Session]) -> None:
    """G9 rests on user_sessions: the last joining, its count, the leaving, and the mode."""
    rows = {
        (row.user_id, row.session_id): row
        for row in schedule.servers.store.rows("user_sessions")
        if isinstance(row, UserSessionRow)
    }
    wanted = {(user_id, name) for name, session in sessions.items() for user_id in session.stays}
    assert rows.keys() == wanted, f"G6: listed are {rows.keys() ^ wanted}"
    for (user_id, session_id), row in rows.items():
        session = sessions[session_id]
        joined, left = session.stays[user_id][-1]
        stay = (row.joined_seq, row.left_seq if row.left_seq >= row.joined_seq else 0)
        assert stay == (joined, left or 0), f"G10: {user_id} in {session_id}: {row}, should be {joined}..{left}"
        assert row.joined_count == session.joined_counts[user_id], f"G9: {row}"
        if not left:
            assert (row.mode == MODE_READ) == (session.mode == READ), f"H4: {row}, the mode is {session.mode}"


def check_device(device: Device, sessions: dict[str, Session]) -> None:
    """G3, G4, G6, G10: what this device has shown of each session."""
    who = f"{device.user_id} {device.device_id}"
    assert not device.to_come_again, f"G6: {who} was not shown again what it had not handled: {device.to_come_again}"
    for session_id, seen in device.shown.items():
        session = sessions.get(session_id)
        assert session is not None, f"G11: {who} was shown {session_id}, which does not exist"
        _check_order(who, session, device.user_id, [one.seq for one in seen])
        for one in seen:
            is_open = session.stay(device.user_id, one.seq) >= 0 or session.has_shared_history
            assert is_open, f"G10: {who} was shown {session_id} seq {one.seq}"
            right = session.messages[one.seq - 1].message_id
            assert one.message_id == right, f"G4: {who} was shown another {session_id} seq {one.seq}"
    for unsent in device.client.unsent():
        is_own = unsent.message.id_is_given
        assert is_own or unsent.code not in WRONG_CLOCK, f"ids: the client of {who} did not change the id of {unsent}"
    missing = missing_at(device, sessions)
    assert not missing, f"G6: {who} was never shown {missing}"


def missing_at(device: Device, sessions: dict[str, Session]) -> dict[str, list[int]]:
    """What the device must have shown in the end, and has not: seqs by session."""
    missing = {}
    for session_id, session in sessions.items():
        shown = {one.seq for one in device.shown.get(session_id, [])}
        lacking = [message.seq for message in session.messages if _must_show(device, session, message) - shown]
        if lacking:
            missing[session_id] = lacking
    return missing


def _check_order(who: str, session: Session, user_id: str, seqs: list[int]) -> None:
    """Once, in order; only the end of an earlier membership may come after the beginning of the next."""
    assert len(seqs) == len(set(seqs)), f"G6: {who} was shown a message of {session.session_id} twice: {seqs}"
    highest = 0
    for seq in seqs:
        is_of_before = session.stay(user_id, seq) < session.stay(user_id, highest)
        assert seq > highest or is_of_before, f"G6: {who} was shown {session.session_id} in the order {seqs}"
        highest = max(highest, seq)


def _must_show(device: Device, session: Session, message: Expected) -> set[int]:
    """Everything in its inbox; and what is only in the log, of the membership that still lasts.

    A former member of a large group may miss its last messages (docs/LIMITS.md): pushes of later ones may come first,
    and history is closed to former members. That the group has ended is in every inbox.
    """
    stays = session.stays.get(device.user_id, ())
    has_ended = device.user_id not in session.members or session.stay(device.user_id, message.seq) < len(stays) - 1
    is_large = session.is_group and any(READ in (one.mode, one.mode_to) for one in session.messages)
    if is_large and has_ended and message.event != "group_dissolved":
        return set()
    if device.user_id in message.inbox:
        return {message.seq}
    member = session.members.get(device.user_id)
    return {message.seq} if member is not None and message.seq >= member.joined_seq else set()
