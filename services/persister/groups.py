"""The rules of a group: settings, rights, and the delivery mode of its messages. Pure.

A group's state is its version rows: the newest GroupRow, and the newest MemberRow
of every user concerned. Law 7 (nothing is overwritten) requires versions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import orjson

from services.persister.decisions import NOTHING, Change, Entry, Rejected, not_found
from services.persister.state import Draft
from tidings.broker.base import Record
from tidings.codec import canonical_json
from tidings.groups import ADMINS, ALL, DEFAULT_SETTINGS, MODE_NAMES, WHO_CAN_SEND
from tidings.store.rows import MODE_READ, MODE_WRITE, ROLE_ADMIN, ROLE_MEMBER, ROLE_OWNER, GroupRow, MemberRow
from tidings.wire.common_pb2 import KIND_SYSTEM
from tidings.wire.inbound_pb2 import Command, GroupSettings


@dataclass(frozen=True, slots=True)
class Place:
    """The seq, count and log coordinates that a command's message would have. A version row carries them."""

    seq: int
    count: int
    log_epoch: int
    log_offset: int


@dataclass(frozen=True, slots=True)
class Acting:
    """The current member that sent a group command."""

    group: GroupRow
    member: MemberRow

    @property
    def is_owner(self) -> bool:
        """Whether the sender owns the group. The owner has every right."""
        return self.member.role == ROLE_OWNER

    @property
    def governs(self) -> bool:
        """Whether the sender is the owner or an admin."""
        return self.member.role >= ROLE_ADMIN

    def may(self, setting: str) -> bool:
        """Whether the setting (who_can_send or who_can_add) permits the action to this member."""
        return self.governs or orjson.loads(self.group.settings)[setting] == ALL

    def may_act_on(self, other: MemberRow) -> bool:
        """PROTOCOL, rights: the owner may act on every member; an admin on all but the owner and other admins."""
        is_self = other.user_id == self.member.user_id
        return self.is_owner or (self.governs and (is_self or other.role == ROLE_MEMBER))


def acting(draft: Draft, user_id: str) -> Acting | Rejected:
    """The user as a member of the group at this offset, or the refusal that a non-member gets."""
    member = draft.member(user_id)
    if draft.group is None or member is None:
        return not_found()
    return Acting(draft.group, member)


def forbidden(text: str) -> Rejected:
    """The refusal of a member without the right."""
    return Rejected("forbidden", text)


def forbidden_by(setting: str) -> Rejected:
    """The refusal of a member that lacks the right by who_can_send or who_can_add."""
    return forbidden(f"{setting} is {ADMINS} in this group; ask an admin")


def not_member(user_id: str) -> Rejected:
    """The refusal of a command that names a user outside the group."""
    return Rejected("not_member", f"{user_id} is not a member of the group; name a member")


def post_to_group(draft: Draft, command: Command, record: Record) -> Change | Rejected:
    """The change of a post with the group's delivery mode, or the refusal when the sender may not post here."""
    actor = acting(draft, command.sender_id)
    if isinstance(actor, Rejected):
        return actor
    if actor.member.muted_until > record.at_ms:
        return Rejected("muted", f"you are muted in this group until {actor.member.muted_until}; send after that")
    if not actor.may(WHO_CAN_SEND):
        return forbidden_by(WHO_CAN_SEND)
    return NOTHING[actor.group.mode]


def version(row: GroupRow, place: Place, **columns: object) -> GroupRow:
    """The group's next version, with these columns changed."""
    at = {"as_of_seq": place.seq, "log_epoch": place.log_epoch, "log_offset": place.log_offset}
    return replace(row, **at, **columns)  # type: ignore[arg-type]


def member_version(row: MemberRow, place: Place, **columns: int) -> MemberRow:
    """The member's next version, with these columns changed."""
    at = {"as_of_seq": place.seq, "log_epoch": place.log_epoch, "log_offset": place.log_offset}
    return replace(row, **at, **columns)  # type: ignore[arg-type]


def joining_version(
    session_id: str, user_id: str, place: Place, role: int = ROLE_MEMBER, before: MemberRow | None = None
) -> MemberRow:
    """The version of a user that joins at this place. System messages do not count, so `count` stays as it was.

    `before` is the version with which the user had left. Its mute still applies, because otherwise a muted member
    could end the mute by leaving and being added again.
    """
    return MemberRow(
        session_id=session_id,
        user_id=user_id,
        as_of_seq=place.seq,
        joined_seq=place.seq,
        joined_count=place.count,
        left_seq=0,
        role=role,
        muted_until=before.muted_until if before else 0,
        log_epoch=place.log_epoch,
        log_offset=place.log_offset,
    )


def merged_settings(old: Mapping[str, object], asked: GroupSettings) -> dict[str, object]:
    """The settings after the given fields replace the old ones."""
    given = {name: getattr(asked, name) for name in DEFAULT_SETTINGS if asked.HasField(name)}
    return {**old, **given}


def settings_text(settings: dict[str, object]) -> str:
    """The settings as a GroupRow stores them."""
    return canonical_json(settings).decode()


def next_mode(mode: int, member_count: int, write_diffusion_max: int) -> int:
    """Read diffusion above the limit; write diffusion again at 80 % of it.

    The margin prevents a mode switch each time a single member joins or leaves.
    """
    if member_count > write_diffusion_max:
        return MODE_READ
    if mode == MODE_READ and member_count * 10 <= write_diffusion_max * 8:
        return MODE_WRITE
    return mode


def system_message(mode_before: int, event: Mapping[str, object], change: Change) -> Entry:
    """The message of a group command. If the mode switches, the message states both modes and is write-diffused.

    The switch is part of the message because of law 10 (one command, at most one message).
    """
    mode = change.group.mode if change.group else mode_before
    if mode == mode_before:
        return Entry(KIND_SYSTEM, canonical_json(dict(event)), replace(change, mode=mode))
    event = {**event, "mode_from": MODE_NAMES[mode_before], "mode_to": MODE_NAMES[mode]}
    change = replace(change, mode=MODE_WRITE, mode_from=mode_before, mode_to=mode)
    return Entry(KIND_SYSTEM, canonical_json(event), change)
