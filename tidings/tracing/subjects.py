"""What can be traced: a message by its id, by its place, or by its sender's id of it. Pure."""

from dataclasses import dataclass

from tidings import ids

_MOST_ID = 2**63 - 1
# No session comes near it, and the tables hold it.
_MOST_SEQ = 2**53


class InvalidSubject(ValueError):
    """The question is malformed. The text says what to change."""


@dataclass(frozen=True, slots=True)
class ByMessageId:
    """A message_id, as in `send_ack` and in every message."""

    message_id: int


@dataclass(frozen=True, slots=True)
class ByPlace:
    """A message by its session and seq."""

    session_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class ByKey:
    """A message by its sender and the sender's id of it. `session_id` is empty if all sessions are searched."""

    sender_id: str
    client_msg_id: str
    session_id: str = ""


Subject = ByMessageId | ByPlace | ByKey


def subject_of(
    *, message_id: str = "", session: str = "", seq: str = "", sender: str = "", client_msg_id: str = ""
) -> Subject:
    """The subject that these texts name; those that are not given are empty. Raises InvalidSubject."""
    if message_id:
        if session or seq or sender or client_msg_id:
            raise InvalidSubject("a message_id stands alone; leave out session, seq, sender and client_msg_id")
        return ByMessageId(_number(message_id, "message_id", 0, _MOST_ID))
    if session and not ids.is_logged_session_id(session):
        raise InvalidSubject("session is not d:<a>:<b> with the users in byte order, or g:<id>")
    if sender or client_msg_id:
        if seq or not (sender and client_msg_id):
            raise InvalidSubject("give sender and client_msg_id together, with the session or without it, and no seq")
        if not ids.is_logged_user_id(sender):
            raise InvalidSubject(f"sender is not a user id: {ids.USER_ID_TEXT}")
        if not ids.is_client_msg_id(client_msg_id):
            raise InvalidSubject("client_msg_id is not 1-64 printable ASCII characters")
        return ByKey(sender, client_msg_id, session)
    if session and seq:
        return ByPlace(session, _number(seq, "seq", 1, _MOST_SEQ))
    raise InvalidSubject("name one message: its message_id, or session and seq, or sender and client_msg_id")


def _number(text: str, name: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and least <= int(text) <= most):
        raise InvalidSubject(f"{name} is not a whole number from {least} to {most}")
    return int(text)
