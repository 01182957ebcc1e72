"""What messages.inbound, read once from its beginning, makes of every session: a second, much simpler account of
PROTOCOL's rules. It shares nothing with the services but the shape of a command."""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.simulation.ports import EPOCH, Servers
from tidings import ids
from tidings.broker.base import Record
from tidings.codec import decode_command
from tidings.errors import PoisonRecord
from tidings.topics import MESSAGES_INBOUND
from tidings.wire.inbound_pb2 import Command

_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS
WRITE, READ = "write", "read"


@dataclass
class Member:
    """A membership that has not ended."""

    joined_seq: int
    role: str = "member"
    muted_until: int = 0


@dataclass
class Expected:
    """A message as it must be, and whose inbox it must reach."""

    seq: int
    sender_id: str
    client_msg_id: str
    message_id: int
    at: int
    count: int
    body: bytes
    mode: str
    event: str = ""
    mode_to: str = ""
    inbox: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()


@dataclass
class Session:
    """One session as of the last record read."""

    session_id: str
    messages: list[Expected] = field(default_factory=list)
    keys: dict[tuple[str, str], tuple[int, bytes, int]] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    # Of former members: a mute lasts until its time, also after a return.
    mutes: dict[str, int] = field(default_factory=dict)
    owner: str = ""
    mode: str = WRITE
    who_can_send: str = "all"
    who_can_add: str = "all"
    # Whether it ever opened everything to current members.
    has_shared_history: bool = False
    # Of every user the memberships, as [joining, leaving or None]; and the countable messages before the last joining.
    stays: dict[str, list[list[int | None]]] = field(default_factory=lambda: defaultdict(list))
    joined_counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_group(self) -> bool:
        return ids.is_group_session(self.session_id)

    @property
    def seq(self) -> int:
        return len(self.messages)

    @property
    def count(self) -> int:
        return self.messages[-1].count if self.messages else 0

    def stay(self, user_id: str, seq: int) -> int:
        """Which of the user's memberships the message belongs to (a … r, both included); -1 for none."""
        stays = self.stays.get(user_id, [])
        found = (index for index, (first, last) in enumerate(stays) if (first or 0) <= seq <= (last or seq))
        return next(found, -1)


@dataclass
class Effect:
    """What an accepted command does."""

    event: str = ""
    body: bytes = b""
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    dissolves: bool = False


class Oracle:
    """Reads along messages.inbound."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._offsets = dict.fromkeys(range(servers.sizes.session_partitions), 0)
        self.sessions: dict[str, Session] = {}
        # (session, sender, client_msg_id) -> every answer that one of its copies must have got.
        self.answers: dict[tuple[str, str, str], set[tuple[str, object]]] = defaultdict(set)
        self.breaches: list[str] = []

    def read_on(self) -> None:
        """Take in what has arrived since."""
        for number in self._offsets:
            for record in self._servers.read(MESSAGES_INBOUND, number, self._offsets[number]):
                self._offsets[number] = record.offset + 1
                self._take(record)

    def session(self, session_id: str) -> Session:
        """A session, begun or not."""
        return self.sessions.setdefault(session_id, Session(session_id))

    def _take(self, record: Record) -> None:
        try:
            command = decode_command(record.value)
        except PoisonRecord:
            return
        if command.HasField("close_segment"):
            return  # no reader of the session sees it
        session = self.session(command.session_id)
        key = (command.session_id, command.sender_id, command.client_msg_id)
        head = session.seq
        self.answers[key].add(_decide(session, command, record))
        if session.seq > head and record.value in self._servers.admission.refusable:
            self.breaches.append(
                f"blocks: the blocked {command.sender_id} has sent {session.session_id} seq {head + 1}"
            )


def _decide(session: Session, command: Command, record: Record) -> tuple[str, object]:
    known = session.keys.get((command.sender_id, command.client_msg_id))
    if known is not None and record.at_ms - known[2] <= 91 * _DAY_MS:
        return ("ack", known[0]) if known[1] == command.digest else ("error", "conflict")
    id_time_ms = ids.uuid7_time_ms(command.client_msg_id)
    if id_time_ms is not None and id_time_ms > record.at_ms + 12 * 60 * _MINUTE_MS + 5 * _MINUTE_MS:
        return "error", "clock_skew"
    if id_time_ms is not None and id_time_ms < record.at_ms - 90 * _DAY_MS - 12 * 60 * _MINUTE_MS:
        return "error", "too_old"
    effect = _effect(session, command, record)
    if isinstance(effect, str):
        return ("ack", 0) if effect == "unchanged" else ("error", effect)
    return "ack", _store(session, command, record, effect)


def _effect(session: Session, command: Command, record: Record) -> Effect | str:
    """What the command does, or the code of its refusal."""
    action = command.WhichOneof("action")
    if action == "create_group":
        return _create(session, command)
    if session.is_group:
        actor = session.members.get(command.sender_id)
        if actor is None:
            return "session_not_found"
        if action != "post":
            return _ADMINISTRATION[action or ""](session, actor, command)
        if actor.muted_until > record.at_ms:
            return "muted"
        if session.who_can_send == "admins" and actor.role == "member":
            return "forbidden"
    elif command.sender_id not in ids.direct_users(session.session_id):
        return "session_not_found"
    if command.post.reply_to > session.seq:
        return "invalid_body"
    first = () if session.is_group or session.seq else ids.direct_users(session.session_id)
    return Effect(body=command.post.body, joined=first)


def _create(session: Session, command: Command) -> Effect | str:
    if session.messages:
        return "conflict"
    asked = command.create_group
    users = {*asked.member_ids} - {*asked.blocking_ids} | {command.sender_id}
    if len(users) > command.stamps.group_members_max:
        return "group_full"
    session.owner = command.sender_id
    _take_settings(session, command)
    return Effect("group_created", joined=tuple(sorted(users)))


def _add(session: Session, actor: Member, command: Command) -> Effect | str:
    if session.who_can_add == "admins" and actor.role == "member":
        return "forbidden"
    asked = command.add_members
    users = [one for one in dict.fromkeys(asked.user_ids) if one not in session.members | set_of(asked.blocking_ids)]
    if not users:
        return "unchanged"
    if len(session.members) + len(users) > command.stamps.group_members_max:
        return "group_full"
    return Effect("members_added", joined=tuple(users))


def set_of(names: object) -> dict[str, None]:
    """Names as the keys of a dict, which keeps their order."""
    return dict.fromkeys(names)  # type: ignore[call-overload,no-any-return]


def _remove(session: Session, actor: Member, command: Command) -> Effect | str:
    user_id = command.remove_member.user_id
    if user_id == command.sender_id:
        return "forbidden" if actor.role == "owner" else Effect("member_removed", left=(user_id,))
    if actor.role == "member":
        return "forbidden"
    member = session.members.get(user_id)
    if member is None:
        return "not_member"
    if actor.role == "admin" and member.role != "member":
        return "forbidden"
    return Effect("member_removed", left=(user_id,))


def _change(session: Session, actor: Member, command: Command) -> Effect | str:
    asked = command.change_member
    if actor.role == "member":
        return "forbidden"
    member = session.members.get(asked.user_id)
    if member is None:
        return "not_member"
    is_self = asked.user_id == command.sender_id
    if actor.role == "admin" and member.role != "member" and not is_self:
        return "forbidden"
    if member.role == "owner" and asked.HasField("role"):
        return "forbidden"
    if is_self and actor.role != "owner" and asked.HasField("muted_until_ms"):
        return "forbidden"
    if asked.HasField("role"):
        member.role = asked.role
    if asked.HasField("muted_until_ms"):
        member.muted_until = asked.muted_until_ms
    return Effect("member_changed", named=(asked.user_id,))


def _transfer(session: Session, actor: Member, command: Command) -> Effect | str:
    user_id = command.transfer_group.user_id
    if actor.role != "owner" or user_id == command.sender_id:
        return "forbidden"
    if user_id not in session.members:
        return "not_member"
    actor.role, session.members[user_id].role, session.owner = "admin", "owner", user_id
    return Effect("owner_changed", named=(user_id,))


def _change_group(session: Session, actor: Member, command: Command) -> Effect | str:
    if actor.role == "member":
        return "forbidden"
    _take_settings(session, command)
    return Effect("group_changed")


def _dissolve(session: Session, actor: Member, command: Command) -> Effect | str:
    return Effect("group_dissolved", dissolves=True) if actor.role == "owner" else "forbidden"


_ADMINISTRATION = {
    "add_members": _add,
    "remove_member": _remove,
    "change_member": _change,
    "transfer_group": _transfer,
    "change_group": _change_group,
    "dissolve_group": _dissolve,
}


def _take_settings(session: Session, command: Command) -> None:
    action = command.WhichOneof("action")
    asked = command.create_group.settings if action == "create_group" else command.change_group.settings
    if asked.HasField("share_history"):
        session.has_shared_history = session.has_shared_history or asked.share_history
    if asked.HasField("who_can_send"):
        session.who_can_send = asked.who_can_send
    if asked.HasField("who_can_add"):
        session.who_can_add = asked.who_can_add


def _store(session: Session, command: Command, record: Record, effect: Effect) -> int:
    seq, before = session.seq + 1, session.mode
    for user_id in effect.joined:
        role = "owner" if effect.event == "group_created" and user_id == session.owner else "member"
        session.members[user_id] = Member(seq, role, session.mutes.pop(user_id, 0))
        session.stays[user_id].append([seq, None])
        session.joined_counts[user_id] = session.count
    all_members = frozenset(session.members)
    leaving = tuple(session.members) if effect.dissolves else effect.left
    for user_id in leaving:
        session.mutes[user_id] = session.members.pop(user_id).muted_until
        session.stays[user_id][-1][1] = seq
    if effect.event in ("group_created", "members_added", "member_removed"):
        session.mode = _mode_after(before, len(session.members), command.stamps.write_diffusion_max)
    switches = session.mode != before
    is_written = before == WRITE or switches or effect.dissolves
    expected = Expected(
        seq=seq,
        sender_id=command.sender_id,
        client_msg_id=command.client_msg_id,
        message_id=ids.message_id(EPOCH, record.partition, record.offset),
        at=max(
            record.at_ms,
            session.messages[-1].at if session.messages else 0,
            (ids.uuid7_time_ms(command.client_msg_id) or 0) - 5 * _MINUTE_MS,
        ),
        count=session.count + (not effect.event),
        body=effect.body,
        mode=WRITE if switches else before,
        event=effect.event,
        mode_to=session.mode if switches else "",
        inbox=all_members if is_written else frozenset((*effect.joined, *effect.left, *effect.named)),
        members=all_members,
    )
    session.keys[command.sender_id, command.client_msg_id] = (seq, command.digest, expected.at)
    session.messages.append(expected)
    return seq


def _mode_after(mode: str, members: int, write_diffusion_max: int) -> str:
    if members > write_diffusion_max:
        return READ
    if mode == READ and members * 5 <= write_diffusion_max * 4:
        return WRITE
    return mode
