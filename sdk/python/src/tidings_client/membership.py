"""What the system messages of a group mean for this user (PROTOCOL, *System messages* and *Membership*)."""

from __future__ import annotations

from tidings_client.frames import Message


def reads_log_after(message: Message, user_id: str) -> bool | None:
    """Whether the user reads the session from its log after this message. None: the message changes nothing.
    False: write mode, or no membership."""
    if message.kind != "system":
        return None
    if leaves(message, user_id):
        return False
    if mode_to := message.body.get("mode_to"):
        return bool(mode_to == "read")
    if joins(message, user_id):
        return message.body.get("mode") == "read"
    return None


def joins(message: Message, user_id: str) -> bool:
    """This message adds the user."""
    added = message.body.get("user_ids") or ()
    return message.kind == "system" and message.body.get("event") == "members_added" and user_id in added


def leaves(message: Message, user_id: str) -> bool:
    """This message is the last of the user's membership."""
    if message.kind != "system":
        return False
    event = message.body.get("event")
    removed = event == "member_removed" and message.body.get("user_id") == user_id
    return removed or event == "group_dissolved"
