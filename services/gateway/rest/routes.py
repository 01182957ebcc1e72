"""Every REST call with its models, its status and the codes of its errors: the single definition of the REST API.

The application routes by it, the calls use its models, and `openapi` generates the document from it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct
from starlette.responses import Response

from services.gateway.protocol import requests
from services.gateway.rest import models
from services.gateway.rest.blocks import BlockCalls
from services.gateway.rest.groups import GroupCalls
from services.gateway.rest.media import MediaCalls
from services.gateway.rest.messages import MessageCalls
from services.gateway.rest.sessions import SessionCalls
from services.gateway.rest.tokens import TokenCalls
from tidings.errors import HTTP_STATUS

Call = Callable[..., Awaitable[Response]]

# The codes of every call that goes through Kafka: of its id, its rate, and the wait for the answer.
_LOG_CODES = ("conflict", "clock_skew", "too_old", "rate_limited", "timeout")
_SEND_CODES = ("invalid_body", "session_not_found", "media_not_found", "forbidden", "user_blocked", "muted")
_GROUP_CODES = ("session_not_found", "forbidden")


@dataclass(frozen=True, slots=True)
class RestCalls:
    """All calls of PROTOCOL's REST table."""

    tokens: TokenCalls
    messages: MessageCalls
    sessions: SessionCalls
    groups: GroupCalls
    blocks: BlockCalls
    media: MediaCalls


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call. `answer` is None for an answer without a JSON body. `codes` come in addition to those of all calls.

    `is_of_log`: marked *log* in PROTOCOL, so that it takes a client_msg_id. `takes_bytes`: the body is an upload.
    `gives_bytes`: the answer is the content of an upload, or a part of it.
    """

    method: str
    path: str
    call: Call
    answer: type[Struct] | None
    status: int = 200
    request: type[Struct] | None = None
    query: type[Struct] | None = None
    codes: Sequence[str] = ()
    is_of_log: bool = False
    takes_bytes: bool = False
    gives_bytes: bool = False
    needs_token: bool = True

    @property
    def name(self) -> str:
        """The unique name of the method that serves the call."""
        return str(getattr(self.call, "__name__", ""))

    @property
    def takes_body(self) -> bool:
        """Whether the call reads a body, which can be too large or in a wrong encoding."""
        return self.request is not None or self.is_of_log or self.takes_bytes

    def codes_by_status(self) -> Mapping[int, Sequence[str]]:
        """Every error of the call: codes by HTTP status."""
        codes = ["invalid_frame", *self.codes, "unavailable"]
        codes += ["unauthorized", "token_expired"] if self.needs_token else []
        codes += _LOG_CODES if self.is_of_log else []
        codes += ["too_large"] if self.takes_body else []
        found: dict[int, list[str]] = {}
        for code in dict.fromkeys(codes):
            found.setdefault(HTTP_STATUS[code], []).append(code)
        # Errors of HTTP itself (PROTOCOL): a slow request, an unsupported encoding, an internal error.
        found[408], found[500] = ["timeout"], ["unavailable"]
        if self.gives_bytes:
            found[416] = ["invalid_frame"]
        if self.takes_body:
            found[415] = ["invalid_frame"]
        return dict(sorted(found.items()))


def routes_of(calls: RestCalls) -> Sequence[Route]:
    """All calls of PROTOCOL's REST table, in its order."""
    return (
        Route(
            method="POST",
            path="/v1/tokens",
            call=calls.tokens.issue_token,
            request=requests.TokenRequest,
            answer=models.TokenAnswer,
            codes=("forbidden",),
            needs_token=False,
        ),
        *_message_routes(calls.messages),
        *_session_routes(calls.sessions),
        *_group_routes(calls.groups),
        *_member_routes(calls.groups),
        *_block_routes(calls.blocks),
        *_media_routes(calls.media),
    )


def _message_routes(messages: MessageCalls) -> Sequence[Route]:
    return (
        Route(
            method="POST",
            path="/v1/messages",
            call=messages.send_message,
            request=requests.MessageRequest,
            answer=models.SentMessage,
            status=201,
            codes=_SEND_CODES,
            is_of_log=True,
        ),
        Route(
            method="POST",
            path="/v1/messages:batch",
            call=messages.send_batch,
            request=requests.BatchRequest,
            answer=models.BatchAnswer,
        ),
        Route(
            method="GET",
            path="/v1/inbox",
            call=messages.read_inbox,
            query=models.InboxQuery,
            answer=models.InboxPage,
        ),
    )


def _session_routes(sessions: SessionCalls) -> Sequence[Route]:
    return (
        Route(
            method="GET",
            path="/v1/sessions",
            call=sessions.list_sessions,
            query=models.SessionsQuery,
            answer=models.SessionPage,
        ),
        Route(
            method="GET",
            path="/v1/sessions/{session_id}",
            call=sessions.get_session,
            answer=models.Session,
            codes=("session_not_found",),
        ),
        Route(
            method="GET",
            path="/v1/sessions/{session_id}/messages",
            call=sessions.read_history,
            query=models.HistoryQuery,
            answer=models.HistoryPage,
            codes=("session_not_found",),
        ),
        Route(
            method="PUT",
            path="/v1/sessions/{session_id}/read",
            call=sessions.mark_read,
            request=requests.ReadRequest,
            answer=models.ReadMark,
            codes=("session_not_found", "timeout"),
        ),
        Route(
            method="GET",
            path="/v1/sessions/{session_id}/messages/{seq}/receipts",
            call=sessions.message_receipts,
            query=models.ReceiptsQuery,
            answer=models.ReceiptsPage,
            codes=("forbidden", "session_not_found", "message_not_found"),
        ),
    )


def _group_routes(groups: GroupCalls) -> Sequence[Route]:
    return (
        Route(
            method="POST",
            path="/v1/groups",
            call=groups.create_group,
            request=requests.CreateGroupRequest,
            answer=models.CreatedGroup,
            status=201,
            codes=("group_full", "session_not_found"),
            is_of_log=True,
        ),
        Route(
            method="GET",
            path="/v1/groups/{group_id}",
            call=groups.get_group,
            answer=models.Group,
            codes=("session_not_found",),
        ),
        Route(
            method="PATCH",
            path="/v1/groups/{group_id}",
            call=groups.change_group,
            request=requests.ChangeGroupRequest,
            answer=models.GroupChange,
            codes=_GROUP_CODES,
            is_of_log=True,
        ),
        Route(
            method="DELETE",
            path="/v1/groups/{group_id}",
            call=groups.dissolve_group,
            answer=models.GroupChange,
            codes=_GROUP_CODES,
            is_of_log=True,
        ),
        Route(
            method="POST",
            path="/v1/groups/{group_id}/transfer",
            call=groups.transfer_group,
            request=requests.TransferRequest,
            answer=models.GroupChange,
            codes=(*_GROUP_CODES, "not_member"),
            is_of_log=True,
        ),
    )


def _member_routes(groups: GroupCalls) -> Sequence[Route]:
    return (
        Route(
            method="GET",
            path="/v1/groups/{group_id}/members",
            call=groups.list_members,
            query=models.MembersQuery,
            answer=models.MemberPage,
            codes=("session_not_found",),
        ),
        Route(
            method="POST",
            path="/v1/groups/{group_id}/members",
            call=groups.add_members,
            request=requests.AddMembersRequest,
            answer=models.AddedMembers,
            codes=(*_GROUP_CODES, "group_full"),
            is_of_log=True,
        ),
        Route(
            method="PUT",
            path="/v1/groups/{group_id}/members/{user_id}",
            call=groups.change_member,
            request=requests.ChangeMemberRequest,
            answer=models.GroupChange,
            codes=(*_GROUP_CODES, "not_member"),
            is_of_log=True,
        ),
        Route(
            method="DELETE",
            path="/v1/groups/{group_id}/members/{user_id}",
            call=groups.remove_member,
            answer=models.GroupChange,
            codes=(*_GROUP_CODES, "not_member"),
            is_of_log=True,
        ),
    )


def _block_routes(blocks: BlockCalls) -> Sequence[Route]:
    return (
        Route(
            method="PUT",
            path="/v1/blocks/{user_id}",
            call=blocks.block,
            answer=None,
            status=204,
            codes=("block_list_full", "rate_limited"),
        ),
        Route(
            method="DELETE",
            path="/v1/blocks/{user_id}",
            call=blocks.unblock,
            answer=None,
            status=204,
            codes=("rate_limited",),
        ),
        Route(method="GET", path="/v1/blocks", call=blocks.list_blocks, answer=models.BlockList),
    )


def _media_routes(media: MediaCalls) -> Sequence[Route]:
    return (
        Route(
            method="POST",
            path="/v1/media",
            call=media.upload_media,
            answer=models.UploadAnswer,
            status=201,
            codes=("invalid_body", "conflict", "rate_limited"),
            takes_bytes=True,
        ),
        Route(
            method="GET",
            path="/v1/media/{media_id}",
            call=media.download_media,
            answer=None,
            codes=("media_not_found",),
            gives_bytes=True,
        ),
        Route(
            method="GET",
            path="/v1/media/{media_id}/thumb",
            call=media.download_thumb,
            answer=None,
            codes=("media_not_found",),
            gives_bytes=True,
        ),
    )
