"""The models of answers and queries of REST calls, for the calls and the OpenAPI document.

The models of requests are in `protocol.requests`, next to the commands. `reads` returns its answers as JSON. Their
models are used by the document only, and tests compare the answers with them.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from services.gateway.protocol.field_types import (
    MOST_TIME_MS,
    ClientMsgId,
    ContentType,
    GroupId,
    GroupName,
    MediaId,
    Seq,
    SessionId,
    Side,
    Size,
    UserId,
)
from services.gateway.protocol.limits import MAX_NUMBER
from tidings.errors import HTTP_STATUS
from tidings.groups import Mode, Role, Who

HISTORY_DEFAULT = 50
SESSIONS_DEFAULT = 50
MEMBERS_DEFAULT = 200
INBOX_DEFAULT = 200

Position = Annotated[
    int,
    Meta(
        ge=0,
        le=MAX_NUMBER,
        description=f"a whole number from 0 to {MAX_NUMBER}: the last seq that counts",
        examples=[7],
    ),
]
Cursor = Annotated[
    int,
    Meta(
        ge=0, le=MAX_NUMBER, description=f"a whole number from 0 to {MAX_NUMBER}: a place in the inbox", examples=[57]
    ),
]
Time = Annotated[int, Meta(ge=0, description="milliseconds since 1970", examples=[1_790_000_000_000])]
When = Annotated[
    int,
    Meta(ge=0, le=MOST_TIME_MS, description="a time in milliseconds since 1970", examples=[1_790_000_000_000]),
]
Limit = Annotated[int, Meta(ge=1, description="a whole number, 1 or more; cut at the maximum", examples=[50])]
AboveUser = Annotated[
    UserId, Meta(description="a user id: `next` of the previous page, or the id after which the page begins")
]
NextUser = Annotated[UserId, Meta(description="`after` of the next page; absent on the last")]
NextSessions = Annotated[str, Meta(max_length=600, description="`before` of the next page; absent on the last")]
Diffusion = Annotated[Mode, Meta(description="write or read diffusion", examples=["write"])]
MessageId = Annotated[str, Meta(pattern="^[0-9]+$", description="an int64, as a string", examples=["330147"])]
PurgedSeq = Annotated[
    int,
    Meta(ge=1, le=MAX_NUMBER, description="messages up to this seq are gone: they have reached the end of their life"),
]
IsAhead = Annotated[bool, Meta(description="true if the requested place is above the last stored one")]


# -- queries ---------------------------------------------------------------------------------------


class InboxQuery(Struct, frozen=True):
    """Where a page of the inbox begins."""

    after: Cursor = 0
    limit: Limit = INBOX_DEFAULT


class SessionsQuery(Struct, frozen=True):
    """Where a page of the list begins."""

    limit: Limit = SESSIONS_DEFAULT
    before: Annotated[str, Meta(max_length=600, description="`next` of an earlier answer, unchanged")] | UnsetType = (
        UNSET
    )


class HistoryQuery(Struct, frozen=True):
    """A part of a history. Without a bound, the newest messages."""

    before_seq: Seq | UnsetType = UNSET
    after_seq: Position | UnsetType = UNSET
    at: When | UnsetType = UNSET
    limit: Limit = HISTORY_DEFAULT

    def __post_init__(self) -> None:
        """Check that at most one bound is given."""
        if sum(bound is not UNSET for bound in (self.before_seq, self.after_seq, self.at)) > 1:
            raise ValueError("give one of before_seq, after_seq and at")


class ReceiptsQuery(Struct, frozen=True):
    """Where a page of readers begins."""

    after: AboveUser | UnsetType = UNSET
    limit: Limit = HISTORY_DEFAULT


class MembersQuery(Struct, frozen=True):
    """Where a page of members begins."""

    after: AboveUser | UnsetType = UNSET
    limit: Limit = MEMBERS_DEFAULT


class PathFields(Struct, frozen=True):
    """The fields of all paths."""

    session_id: SessionId | UnsetType = UNSET
    group_id: GroupId | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET
    seq: Seq | UnsetType = UNSET
    media_id: MediaId | UnsetType = UNSET


# -- errors ----------------------------------------------------------------------------------------

Code = Annotated[
    str,
    Meta(description="one of PROTOCOL's codes", examples=["muted"], extra_json_schema={"enum": sorted(HTTP_STATUS)}),
]
Retryable = Annotated[bool, Meta(description="whether the same call may be repeated", examples=[False])]
RetryAfter = Annotated[int, Meta(ge=0, description="milliseconds after which a repeat is taken", examples=[250])]


class Problem(Struct, frozen=True):
    """Every error (RFC 9457)."""

    type: Annotated[str, Meta(examples=["about:blank"])]
    title: Annotated[str, Meta(description="the phrase of the status", examples=["Bad Request"])]
    status: Annotated[int, Meta(ge=400, le=599, examples=[400])]
    detail: Annotated[str, Meta(description="what happened and what to change")]
    code: Code
    retryable: Retryable
    retry_after_ms: RetryAfter | UnsetType = UNSET


# -- messages --------------------------------------------------------------------------------------


class TokenAnswer(Struct, frozen=True):
    """A token of development mode."""

    token: Annotated[str, Meta(description="a JWT", examples=["eyJhbGciOi…"])]
    user_id: UserId
    expires_at: Time


class SentMessage(Struct, frozen=True):
    """A message that is stored by a quorum."""

    client_msg_id: ClientMsgId
    message_id: MessageId
    session_id: SessionId
    seq: Seq
    at: Time
    duplicate: Annotated[bool, Meta(description="an earlier try had stored it", examples=[False])]


class RefusedMessage(Struct, frozen=True):
    """A message of a batch that was refused."""

    code: Code
    message: Annotated[str, Meta(description="what happened and what to change")]
    retryable: Retryable
    client_msg_id: ClientMsgId | UnsetType = UNSET
    retry_after_ms: RetryAfter | UnsetType = UNSET


class BatchAnswer(Struct, frozen=True):
    """One result for each message, in their order."""

    results: Annotated[
        list[Any],
        Meta(
            extra_json_schema={
                "items": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/SentMessage"},
                        {"$ref": "#/components/schemas/RefusedMessage"},
                    ]
                }
            }
        ),
    ]


class Message(Struct, frozen=True):
    """A stored message."""

    message_id: MessageId
    session_id: SessionId
    seq: Seq
    sender_id: UserId
    client_msg_id: ClientMsgId
    at: Time
    kind: Annotated[
        str, Meta(description="text, image, file, custom, system; later versions may add kinds", examples=["text"])
    ]
    body: Annotated[dict[str, Any], Meta(description="the body of this kind", examples=[{"text": "hello"}])]
    reply_to: Seq | UnsetType = UNSET
    mentions: list[UserId] | UnsetType = UNSET


class InboxItem(Struct, frozen=True):
    """A message with its inbox_seq."""

    inbox_seq: Annotated[int, Meta(ge=1, examples=[57])]
    message: Message


class Deployment(Struct, frozen=True):
    """The life of the tables. Each inbox_seq and seq is valid within one life."""

    id: Annotated[str, Meta(description="names this life", examples=["4b1f0a"])]
    origin: Annotated[str, Meta(description="names the set of tables", examples=["4b1f0a"])]
    since: Time
    restored: Annotated[list[Time], Meta(description="when each restored life began")] | UnsetType = UNSET


class InboxPage(Struct, frozen=True):
    """A page of the inbox, in order."""

    after: Cursor
    items: list[InboxItem]
    next: Annotated[Cursor, Meta(description="`after` of the next page")]
    tail: Cursor
    more: Annotated[bool, Meta(description="next < tail", examples=[False])]
    truncated: Annotated[bool, Meta(description="numbers before these items have expired", examples=[False])]
    deployment: Deployment
    ahead: IsAhead | UnsetType = UNSET


# -- sessions --------------------------------------------------------------------------------------


class Head(Struct, frozen=True):
    """The newest message; only seq 0 if the session has none, only seq and `at` if it is at the end of its life."""

    seq: Position
    at: Time | UnsetType = UNSET
    sender_id: UserId | UnsetType = UNSET
    preview: Annotated[str, Meta(max_length=100, examples=["hello"])] | UnsetType = UNSET


class Peer(Struct, frozen=True):
    """The other user of a direct session. The watermarks are absent if that user blocks the caller."""

    user_id: UserId
    delivered_seq: Position | UnsetType = UNSET
    read_seq: Position | UnsetType = UNSET


class Session(Struct, frozen=True):
    """A session as its member sees it."""

    session_id: SessionId
    session_kind: Literal["direct", "group"]
    mode: Diffusion
    head: Head
    unread: Annotated[int, Meta(ge=0, examples=[2])]
    read_seq: Position
    delivered_seq: Position
    name: Annotated[GroupName, Meta(description="of a group")] | UnsetType = UNSET
    joined_seq: Annotated[Seq, Meta(description="of a group")] | UnsetType = UNSET
    peer: Peer | UnsetType = UNSET
    purged_seq: PurgedSeq | UnsetType = UNSET


class SessionPage(Struct, frozen=True):
    """Sessions, newest activity first."""

    sessions: list[Session]
    next: NextSessions | UnsetType = UNSET


class HistoryPage(Struct, frozen=True):
    """Messages of a session, ascending by seq."""

    messages: list[Message]
    head_seq: Position
    has_more: Annotated[bool, Meta(description="in the direction asked", examples=[False])]
    ahead: IsAhead | UnsetType = UNSET
    purged_seq: PurgedSeq | UnsetType = UNSET


class UploadAnswer(Struct):
    """An upload. `thumb_url`, `width` and `height` are absent for a file."""

    url: Annotated[str, Meta(description="the URL for messages and downloads", examples=[f"/v1/media/{'0' * 32}"])]
    size: Size
    content_type: ContentType
    name: Annotated[str, Meta(description="the name of X-File-Name; `file` without one", examples=["a.png"])]
    thumb_url: Annotated[str, Meta(examples=[f"/v1/media/{'0' * 32}/thumb"])] | UnsetType = UNSET
    width: Side | UnsetType = UNSET
    height: Side | UnsetType = UNSET


class ReadMark(Struct, frozen=True):
    """The stored watermarks of the caller."""

    session_id: SessionId
    read_seq: Position
    delivered_seq: Position


class Reader(Struct, frozen=True):
    """A member that has read the message."""

    user_id: UserId
    at: Annotated[Time, Meta(description="when it was first read; absent if unknown")] | UnsetType = UNSET


class ReceiptsPage(Struct, frozen=True):
    """Members that have the message, without its author."""

    delivered: list[UserId]
    read: list[Reader]
    members: Annotated[int, Meta(ge=0, description="all current members but the author", examples=[2])]
    next: NextUser | UnsetType = UNSET


# -- groups and blocks -----------------------------------------------------------------------------


class LeftOut(Struct, frozen=True):
    """A user that was not added."""

    user_id: UserId
    code: Annotated[str, Meta(extra_json_schema={"enum": ["already_member", "user_blocked"]})]


class GroupChange(Struct, frozen=True):
    """The message of a group command."""

    session_id: GroupId
    seq: Seq


class CreatedGroup(Struct, frozen=True):
    """A new group."""

    session_id: GroupId
    seq: Seq
    left_out: Annotated[list[LeftOut], Meta(description="users that block the caller, if any")] | UnsetType = UNSET


class AddedMembers(Struct, frozen=True):
    """The result for each user. `seq` is absent if no user was added."""

    session_id: GroupId
    added: list[UserId]
    left_out: list[LeftOut]
    seq: Seq | UnsetType = UNSET


class Settings(Struct, frozen=True):
    """The settings of a group."""

    share_history: Annotated[bool, Meta(description="members read earlier messages", examples=[False])]
    who_can_send: Who
    who_can_add: Who


class Group(Struct, frozen=True):
    """A group as its members see it."""

    session_id: GroupId
    name: GroupName
    owner: UserId
    mode: Diffusion
    member_count: Annotated[int, Meta(ge=1, examples=[3])]
    settings: Settings


class Member(Struct, frozen=True):
    """A member of a group."""

    user_id: UserId
    role: Role
    joined_seq: Seq
    muted_until: Time | UnsetType = UNSET


class MemberPage(Struct, frozen=True):
    """Members by user id."""

    members: list[Member]
    next: NextUser | UnsetType = UNSET


class BlockList(Struct, frozen=True):
    """The users that the caller blocks."""

    blocks: list[UserId]
