"""The meaning of each of PROTOCOL's codes, for the OpenAPI document. Its examples show them as `detail`."""

from collections.abc import Mapping
from types import MappingProxyType

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "invalid_frame": "an id, a type, or a field is missing, malformed or contradictory",
        "invalid_body": "something in kind, body, reply_to or mentions is wrong or missing",
        "unauthorized": "send the header Authorization with a valid bearer token",
        "token_expired": "the token has expired; fetch a new one",
        "origin_not_allowed": "the page's origin is not in TIDINGS_ALLOWED_ORIGINS",
        "forbidden": "the caller lacks the right to do this",
        "user_blocked": "the recipient blocks the sender",
        "muted": "the sender is muted in this group",
        "session_not_found": "no such session, or the caller is not a member of it",
        "message_not_found": "no message with this seq in the session",
        "media_not_found": "the URL is not an upload of the sender",
        "not_member": "the named user is not a member of the group",
        "conflict": "the client_msg_id was used for other content; use a new one",
        "clock_skew": "the UUIDv7 lies in the future; make it with the server's time",
        "too_old": "the UUIDv7 is more than 90 days old; compose the message again",
        "group_full": "the group has as many members as TIDINGS_LIMIT_GROUP_MEMBERS_MAX allows",
        "block_list_full": "the block list has as many users as TIDINGS_BLOCKS_MAX allows; unblock a user first",
        "cursor_ahead": "the acknowledged inbox_seq is above the tail of the inbox",
        "too_large": "the request is too large; send less",
        "rate_limited": "too many at once; repeat after retry_after_ms",
        "unavailable": "storage or Kafka is temporarily unavailable; retry",
        "timeout": "not confirmed in time, the outcome is unknown; repeat with the same id",
    }
)
