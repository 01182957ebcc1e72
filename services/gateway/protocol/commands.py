"""Builds commands from the requests of clients. Pure."""

from dataclasses import dataclass

from services.gateway.protocol.bodies import BodyRules, checked_post
from services.gateway.protocol.frames import Send, is_given, is_ref, whole
from tidings import codec, ids
from tidings.errors import Refused
from tidings.wire.inbound_pb2 import Command, Post

# PROTOCOL's bounds for the time inside a UUIDv7. The gateway checks them by its own clock, which `welcome.server_time`
# shows to the client, and not by the brokers' clock (ADR 0029).
MAX_FUTURE_MS = 5 * 60_000
MAX_AGE_MS = 90 * 24 * 3_600_000
MAX_ATTEMPT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that has passed all checks that need no table."""

    session_id: str
    client_msg_id: str
    post: Post
    attempt: int


def usable_client_msg_id(value: object) -> str | None:
    """The id if it is valid, otherwise None."""
    return value if isinstance(value, str) and ids.is_client_msg_id(value) else None


def checked_draft(user_id: str, send: Send, rules: BodyRules, wall_ms: int) -> Draft:
    """Check a `send`, or a REST message, which has the same fields. Raises Refused."""
    client_msg_id = usable_client_msg_id(send.client_msg_id)
    if client_msg_id is None:
        raise Refused("invalid_frame", "client_msg_id is a string of 1-64 printable ASCII characters")
    if is_given(send.ref) and not is_ref(send.ref):
        raise Refused("invalid_frame", "ref is a string of at most 64 characters")
    session_id = asked_session(user_id, send.session_id, send.to)
    attempt = _checked_attempt(send.attempt)
    post = checked_post(send.kind, send.body, send.reply_to, send.mentions, rules)
    check_id_time(client_msg_id, wall_ms)
    return Draft(session_id, client_msg_id, post, attempt)


def asked_session(user_id: str, session_id: object, to: object) -> str:
    """The session named by `session_id` or `to`. Raises Refused if they are malformed or differ.

    Also raises Refused for a direct session of other users. Memberships of groups are not checked here, because the
    persister checks them as of the seq of a message.
    """
    named = _named_session(session_id) if is_given(session_id) else None
    direct = _session_with(user_id, to) if is_given(to) else None
    if named is None and direct is None:
        raise Refused("invalid_frame", "session_id or to is missing")
    if named is not None and direct is not None and named != direct:
        raise Refused("invalid_frame", "session_id and to name different sessions; give one of them")
    chosen = named or direct or ""
    if not ids.is_group_session(chosen):
        check_membership(user_id, chosen)
    return chosen


def _named_session(session_id: object) -> str:
    if not isinstance(session_id, str) or not ids.is_session_id(session_id):
        raise Refused("invalid_frame", "session_id is d:<a>:<b> with a <= b in byte order, or g:<id>")
    return session_id


def _session_with(user_id: str, to: object) -> str:
    if not isinstance(to, str) or not ids.is_user_id(to):
        raise Refused("invalid_frame", f"to is a user id of {ids.USER_ID_TEXT}")
    return ids.direct_session(user_id, to)


def check_membership(user_id: str, session_id: str) -> None:
    """Refuse a direct session of other users, with the same text as for a missing session (G11)."""
    if user_id not in ids.direct_users(session_id):
        raise session_not_found()


def session_not_found() -> Refused:
    """The refusal for a session that does not exist and for one that the caller is not in."""
    return Refused("session_not_found", "no such session, or you are not a member of it")


def _checked_attempt(attempt: object) -> int:
    if not is_given(attempt):
        return 1
    number = whole(attempt)
    if number is None or number < 1:
        raise Refused("invalid_frame", "attempt is a whole number, 1 or more")
    return min(number, MAX_ATTEMPT)


def check_id_time(client_msg_id: str, wall_ms: int) -> None:
    """Refuse a UUIDv7 far in the future or past, by the gateway's clock."""
    made_ms = ids.uuid7_time_ms(client_msg_id)
    if made_ms is None:
        return
    if made_ms > wall_ms + MAX_FUTURE_MS:
        raise Refused("clock_skew", "the UUIDv7 lies in the future; make it with welcome.server_time")
    if made_ms < wall_ms - MAX_AGE_MS:
        raise Refused("too_old", "the UUIDv7 is more than 90 days old; compose the message again")


def command_of(user_id: str, draft: Draft) -> Command:
    """The record for messages.inbound, without origin and stamps, which the publisher adds."""
    return Command(
        session_id=draft.session_id,
        sender_id=user_id,
        client_msg_id=draft.client_msg_id,
        digest=codec.post_digest(draft.post),
        attempt=draft.attempt,
        post=draft.post,
    )
