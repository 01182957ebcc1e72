"""Commands and records for tests of the persister's core."""

import hashlib

from services.persister.decisions import Accepted, Decision, Rejected
from services.persister.sequence import decide
from services.persister.state import Draft, SessionState
from tidings.broker.base import Record
from tidings.codec import RULES, post_digest
from tidings.topics import MESSAGES_INBOUND
from tidings.wire.common_pb2 import KIND_TEXT, Origin, Stamps
from tidings.wire.inbound_pb2 import (
    AddMembers,
    ChangeGroup,
    ChangeMember,
    Command,
    CreateGroup,
    DissolveGroup,
    Post,
    RemoveMember,
    TransferGroup,
)

DAY_MS = 24 * 3600 * 1000
# 2026-11-23 12:00 UTC.
NOON_MS = 1_795_435_200_000
SESSION = "d:alice:bob"
GROUP = "g:0123456789abcdef"

GroupAction = CreateGroup | AddMembers | RemoveMember | ChangeMember | TransferGroup | ChangeGroup | DissolveGroup

_FIELDS: dict[type[GroupAction], str] = {
    CreateGroup: "create_group",
    AddMembers: "add_members",
    RemoveMember: "remove_member",
    ChangeMember: "change_member",
    TransferGroup: "transfer_group",
    ChangeGroup: "change_group",
    DissolveGroup: "dissolve_group",
}


def uuid7(time_ms: int, number: int = 0) -> str:
    """A UUIDv7 of that time; different numbers give different ids."""
    text = f"{time_ms:012x}7{number % 4096:03x}8{number // 4096:015x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def stamps(segment_messages: int = 10_000) -> Stamps:
    """The limits as a gateway stamps them."""
    return Stamps(
        rules=RULES,
        segment_messages=segment_messages,
        bucket_rows=5_000,
        recipients_per_part=1_000,
        write_diffusion_max=500,
        month_shards=16,
        group_members_max=20_000,
    )


def command(
    client_msg_id: str,
    text: str = "hello",
    sender: str = "alice",
    session_id: str = SESSION,
    segment_messages: int = 10_000,
    reply_to: int = 0,
) -> Command:
    """A text message on its way."""
    post = Post(kind=KIND_TEXT, body=f'{{"text":"{text}"}}'.encode(), reply_to=reply_to)
    return Command(
        stamps=stamps(segment_messages),
        origin=Origin(gateway=0, gateway_epoch=1, connection_id="c1", ref="r"),
        session_id=session_id,
        sender_id=sender,
        client_msg_id=client_msg_id,
        digest=post_digest(post),
        post=post,
    )


def group_command(client_msg_id: str, action: GroupAction, sender: str = "alice", session_id: str = GROUP) -> Command:
    """A group command on its way."""
    field: dict[str, GroupAction] = {_FIELDS[type(action)]: action}
    content = f"{sorted(field)} ".encode() + action.SerializeToString(deterministic=True)
    sent = command(client_msg_id, sender=sender, session_id=session_id)
    sent.MergeFrom(Command(**field))  # type: ignore[arg-type]
    sent.digest = hashlib.sha256(content).digest()
    return sent


def record(sent: Command, offset: int, at_ms: int = NOON_MS, partition: int = 0) -> Record:
    """The command as it stands on messages.inbound."""
    return Record(MESSAGES_INBOUND, partition, offset, at_ms, None, sent.SerializeToString())


def decided(draft: Draft, sent: Command, offset: int, at_ms: int = NOON_MS) -> Decision:
    """Decide one command at that place of the log."""
    return decide(draft, sent, record(sent, offset, at_ms), 0)


def accepted(decision: Decision) -> Accepted:
    """The decision, which must be to store a message."""
    assert isinstance(decision, Accepted), decision
    return decision


def code(decision: Decision) -> str:
    """The code of the refusal that the decision must be."""
    assert isinstance(decision, Rejected), decision
    return decision.code


def fresh() -> Draft:
    """A session that has no message yet."""
    return Draft.of(SessionState(), 0)


class Log:
    """A session's log as it grows, one round that never ends: all that was decided is in the draft."""

    def __init__(self) -> None:
        self.draft = fresh()
        self.offset = 0
        self.at_ms = NOON_MS
        self.write_diffusion_max = 500
        self.group_members_max = 20_000

    def take(self, sent: Command) -> Decision:
        """Decide the command at the next offset, with the limits that hold now."""
        self.offset += 1
        sent.stamps.write_diffusion_max = self.write_diffusion_max
        sent.stamps.group_members_max = self.group_members_max
        return decided(self.draft, sent, self.offset, self.at_ms)

    def act(self, action: GroupAction, sender: str = "alice") -> Decision:
        """A group command under an id of its own."""
        return self.take(group_command(f"c{self.offset}", action, sender))

    def post(self, sender: str = "alice", reply_to: int = 0) -> Decision:
        """A text message under an id of its own."""
        return self.take(command(f"c{self.offset}", sender=sender, session_id=GROUP, reply_to=reply_to))

    def stored(self, action: GroupAction, sender: str = "alice") -> Accepted:
        """A group command that must be accepted."""
        return accepted(self.act(action, sender))
