"""Every call and frame that names a session or an upload sent to it, and what it needs beyond a membership.

The table of the sweep of rights.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.sockets import Frame

# What a call needs beyond a membership.
NOTHING = "nothing"
SEND = "to send"
AUTHOR = "to be its author, or an admin"
ADD = "to add"
ADMIN = "an admin"
OWNER = "the owner"
UPLOADER = "to be the uploader"

# The calls of PROTOCOL that name no session and no upload: they are about the caller.
ABOUT_THE_CALLER = {
    ("POST", "/v1/tokens"),
    ("GET", "/v1/inbox"),
    ("GET", "/v1/sessions"),
    ("POST", "/v1/groups"),
    ("PUT", "/v1/blocks/{user_id}"),
    ("DELETE", "/v1/blocks/{user_id}"),
    ("GET", "/v1/blocks"),
    ("POST", "/v1/media"),
}


def unknown_user(user_id: str) -> str:
    """The user that the calls about this member would add. No table has a row of this user."""
    return f"{user_id}-knows"


@dataclass(frozen=True)
class Target:
    """What a call is about: a session, a member and a message of it, and an image that was sent to it.

    `etag` and `thumb_etag` are those of the image. `own_media_id` is an upload of the caller's own.
    """

    session_id: str
    user_id: str
    seq: int
    media_id: str
    etag: str
    thumb_etag: str
    own_media_id: str


@dataclass(frozen=True)
class Call:
    """A well-formed call by its route, and what it needs. `query`, `body` and `headers` are made for one target.

    `status`: of the answer to a member; None: any success.
    """

    method: str
    route: str
    needs: str = NOTHING
    body: Any = None
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None

    def hidden(self, session_id: str) -> str:
        """The code outside of the session."""
        return "media_not_found" if "{media_id}" in self.route else _hidden(self.needs, session_id)

    def path(self, target: Target) -> str:
        """The path of the call on a target."""
        return self.route.format(group_id=target.session_id, **asdict(target)) + self.query

    def json(self, target: Target) -> Any:
        """The body with its names filled in: those of the target, and a user in no session."""
        return _filled(self.body, _names(target))

    def headers_for(self, target: Target) -> dict[str, str]:
        """The headers, with the tags of the target's upload."""
        return {name: value.format(**asdict(target)) for name, value in self.headers.items()}

    @property
    def is_of_groups(self) -> bool:
        """Whether it is for groups alone."""
        return "{group_id}" in self.route


def _hidden(needs: str, session_id: str) -> str:
    """The code of a message. The id of a direct session names its users, so they are checked before an upload."""
    return "media_not_found" if needs == UPLOADER and session_id.startswith("g:") else "session_not_found"


def _names(target: Target) -> dict[str, str]:
    names = {f"{{{name}}}": str(value) for name, value in asdict(target).items()}
    uploads = {f"/v1/media/{name}": f"/v1/media/{names[name]}" for name in ("{media_id}", "{own_media_id}")}
    return names | uploads | {"{nobody}": unknown_user(target.user_id)}


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(field, names) for key, field in value.items()}
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


_HELLO = {"client_msg_id": "sweep", "session_id": "{session_id}", "kind": "text", "body": {"text": "x"}}
_BATCHED = _HELLO | {"client_msg_id": "batched"}
_BY_SOCKET = _HELLO | {"client_msg_id": "by-socket"}
_REPLY = _HELLO | {"client_msg_id": "reply", "reply_to": 1, "mentions": ["{user_id}"]}
_FILE = {"client_msg_id": "upload", "session_id": "{session_id}", "kind": "file"}
_UPLOAD = _FILE | {"body": {"url": "/v1/media/{media_id}"}}
_OWN_UPLOAD = _FILE | {"client_msg_id": "own-upload", "body": {"url": "/v1/media/{own_media_id}"}}
_SESSION, _GROUP = "/v1/sessions/{session_id}", "/v1/groups/{group_id}"
_MEMBER = f"{_GROUP}/members/{{user_id}}"


def _downloads(route: str, etag: str) -> tuple[Call, ...]:
    """With every header that could disclose an upload: that it exists, its size, or its bytes."""
    asked: tuple[tuple[dict[str, str], int], ...] = (
        ({}, 200),
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"Range": "bytes=0-0"}, 206),
        ({"Range": "bytes=1000000-"}, 416),
        ({"Range": "bytes=0-0", "If-Range": etag}, 206),
    )
    return tuple(
        Call(method, route, headers=headers, status=status) for headers, status in asked for method in ("GET", "HEAD")
    )


CALLS = (
    Call("GET", _SESSION),
    Call("GET", f"{_SESSION}/messages"),
    Call("GET", f"{_SESSION}/messages", query="?after_seq=0&limit=200"),
    Call("GET", f"{_SESSION}/messages", query="?before_seq=3"),
    Call("PUT", f"{_SESSION}/read", body={"seq": 1}),
    Call("PUT", f"{_SESSION}/read", body={"seq": 2**40}),
    Call("GET", f"{_SESSION}/messages/{{seq}}/receipts", AUTHOR),
    Call("POST", "/v1/messages", SEND, _HELLO),
    Call("POST", "/v1/messages", SEND, _REPLY),
    Call("POST", "/v1/messages:batch", SEND, {"messages": [_BATCHED]}),
    *_downloads("/v1/media/{media_id}", "{etag}"),
    *_downloads("/v1/media/{media_id}/thumb", "{thumb_etag}"),
    Call("POST", "/v1/messages", UPLOADER, _UPLOAD),
    Call("POST", "/v1/messages", SEND, _OWN_UPLOAD),
    Call("GET", _GROUP),
    Call("GET", f"{_GROUP}/members"),
    Call("GET", f"{_GROUP}/members", query="?after=a&limit=1"),
    Call("POST", f"{_GROUP}/members", ADD, {"user_ids": ["{nobody}"]}),
    Call("PATCH", _GROUP, ADMIN, {"name": "Mine"}),
    Call("PATCH", _GROUP, ADMIN, {"settings": {"share_history": True}}),
    Call("PUT", _MEMBER, ADMIN, {"role": "admin"}),
    Call("PUT", _MEMBER, ADMIN, {"muted_until": 4 * 10**12}),
    Call("DELETE", _MEMBER, ADMIN),
    Call("POST", f"{_GROUP}/transfer", OWNER, {"user_id": "{user_id}"}),
    Call("DELETE", _GROUP, OWNER),
)
DOWNLOADS = tuple(one for one in CALLS if one.route.startswith("/v1/media/"))


def frames_of(target: Target) -> list[tuple[str, str, Frame]]:
    """(what it needs, its code outside of the session, frame) of every client frame that names a session."""
    place = {"session_id": target.session_id, "seq": 2}
    names = _names(target)
    return [
        (needs, _hidden(needs, target.session_id), frame)
        for needs, frame in (
            (SEND, {"type": "send", **_filled(_BY_SOCKET, names)}),
            (UPLOADER, {"type": "send", **_filled(_UPLOAD, names)}),
            (NOTHING, {"type": "read", **place}),
            (NOTHING, {"type": "ack", "delivered": [place]}),
        )
    ]
