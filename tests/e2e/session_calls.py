"""Every call and every frame that names a session, and what it needs beyond a membership: the table of the sweep."""

from dataclasses import dataclass
from typing import Any

from tests.sockets import Frame

# What a call needs beyond a membership.
NOTHING = "nothing"
SEND = "to send"
AUTHOR = "to be its author, or an admin"
ADD = "to add"
ADMIN = "an admin"
OWNER = "the owner"

# The calls of PROTOCOL that name no session: they are about the caller.
ABOUT_THE_CALLER = {
    ("POST", "/v1/tokens"),
    ("GET", "/v1/inbox"),
    ("GET", "/v1/sessions"),
    ("POST", "/v1/groups"),
    ("PUT", "/v1/blocks/{user_id}"),
    ("DELETE", "/v1/blocks/{user_id}"),
    ("GET", "/v1/blocks"),
}


def unknown_user(user_id: str) -> str:
    """The user that the calls about this member would add. No table has a row of this user."""
    return f"{user_id}-knows"


@dataclass(frozen=True)
class Call:
    """A well-formed call by its route, and what it needs. `query` and `body` are made for one session."""

    method: str
    route: str
    needs: str = NOTHING
    body: Any = None
    query: str = ""

    def path(self, session_id: str, user_id: str, seq: int) -> str:
        """The path of the call on a session, a member and a message of it."""
        return self.route.format(session_id=session_id, group_id=session_id, user_id=user_id, seq=seq) + self.query

    def json(self, session_id: str, user_id: str) -> Any:
        """The body with its names filled in: the session, the member, and a user in no session."""
        names = {"{session_id}": session_id, "{user_id}": user_id, "{nobody}": unknown_user(user_id)}
        return _filled(self.body, names)

    @property
    def is_of_groups(self) -> bool:
        """Whether it is for groups alone."""
        return "{group_id}" in self.route


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
_SESSION, _GROUP = "/v1/sessions/{session_id}", "/v1/groups/{group_id}"
_MEMBER = f"{_GROUP}/members/{{user_id}}"

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


def frames_of(session_id: str) -> list[tuple[str, Frame]]:
    """(what it needs, frame) of every client frame that names a session."""
    place = {"session_id": session_id, "seq": 2}
    return [
        (SEND, {"type": "send", **_BY_SOCKET, "session_id": session_id}),
        (NOTHING, {"type": "read", **place}),
        (NOTHING, {"type": "ack", "delivered": [place]}),
    ]
